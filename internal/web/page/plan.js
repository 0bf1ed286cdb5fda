"use strict";
// The plan in the making: what was clicked, in order, and the file it becomes. It
// knows nothing of the page.

const plan = {
  acts: [], // {kind: "point", name, place} or {kind: "waypoint", mover, from, grip, place}; places as the server lifts them
  cleared: [], // acts that were cleared at once, each time
  hand: [0, 0, 0],

  begin(hand) { Object.assign(this, { acts: [], cleared: [], hand }); },

  get points() { return this.acts.filter((a) => a.kind === "point"); },
  get waypoints() { return this.acts.filter((a) => a.kind === "waypoint"); },

  // spot is where a point is: m, base frame.
  spot(name) {
    const p = this.points.find((a) => a.name === name);
    return p ? p.place.at : this.hand;
  },

  // free is a name that no point has.
  free(names) {
    const taken = new Set(this.points.map((p) => p.name));
    if (names) return names.find((n) => !taken.has(n)) || "";
    for (let i = 1; ; i++) if (!taken.has("p" + i)) return "p" + i;
  },

  // clear takes all acts back, in one act that undo reverts.
  clear() {
    if (this.acts.length) this.cleared.push(this.acts);
    this.acts = [];
  },

  // undo takes the last act back and returns it, {kind: "clear"} for what was cleared.
  undo() {
    if (this.acts.length || !this.cleared.length) return this.acts.pop();
    this.acts = this.cleared.pop();
    return { kind: "clear" };
  },

  // whole is the plan as reward/kagi reads it: waypoints of one point in a row are a
  // stage.
  whole(task) {
    const stages = [];
    for (const w of this.waypoints) {
      let s = stages[stages.length - 1];
      if (!s || s.point !== w.mover) stages.push(s = { point: w.mover, waypoints: [] });
      const from = w.from ? this.spot(w.from) : [0, 0, 0];
      const v = { at: w.place.at.map((x, i) => Math.round(1e5 * (x - from[i])) / 1e5) };
      if (w.from) v.from = w.from;
      if (w.grip) v.grip = w.grip;
      s.waypoints.push(v);
    }
    return { task, points: [{ name: "hand", hand: true }, ...this.points.map((p) => ({ ...p.place.point, name: p.name }))], stages };
  },
};

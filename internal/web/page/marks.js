"use strict";
// Segments: stretches of steps marked good or bad, on two lanes under the time
// line. A mark is of steps [from, to); step t leads from picture t to t+1.

const marks = {
  list: [], // {from, to, good}, in order, apart
  begun: null, // {from, good}: begun by a key or button, not ended
  steps: 0,
  first: 0, // step of the clip's first picture
  onchange: () => {},

  begin(first, steps) {
    Object.assign(this, { first, steps, list: [], begun: null });
    this.draw();
  },

  // draft is how far it is, and resume goes on from there.
  draft() { return { list: this.list, begun: this.begun }; },
  resume(d) {
    Object.assign(this, d);
    this.draw();
  },

  // add marks [from, to), whatever was marked there before.
  add(from, to, good) {
    from = Math.max(this.first, Math.min(from, to));
    to = Math.min(this.first + this.steps, Math.max(from + 1, to));
    if (to <= from) return;
    this.list = this.list.flatMap((m) => [{ ...m, to: Math.min(m.to, from) }, { ...m, from: Math.max(m.from, to) }].filter((x) => x.from < x.to));
    // Touching stretches of one kind are one.
    const near = this.list.filter((m) => m.good === good && (m.to === from || m.from === to));
    this.list = this.list.filter((m) => !near.includes(m));
    this.list.push({ from: Math.min(from, ...near.map((m) => m.from)), to: Math.max(to, ...near.map((m) => m.to)), good });
    this.list.sort((a, b) => a.from - b.from);
    this.draw();
  },

  // press begins a stretch at a step, or ends the one that was begun.
  press(good, at) {
    const b = this.begun;
    this.begun = null;
    if (b) {
      if (b.from !== at) this.add(Math.min(b.from, at), Math.max(b.from, at), b.good);
      else if (b.good === good) this.add(at, at + 1, good);
    }
    if (!b || b.good !== good) this.begun = { from: at, good };
    this.draw();
  },

  // finish ends what was begun at a step.
  finish(at) { if (this.begun) this.press(this.begun.good, at); },

  remove(m) {
    this.list = this.list.filter((x) => x !== m);
    this.draw();
  },

  draw() {
    for (const lane of document.querySelectorAll("#marks .lane")) {
      const good = lane.dataset.good === "1";
      lane.replaceChildren(...this.list.filter((m) => m.good === good).map((m) => {
        const b = make("b");
        b.style.left = 100 * (m.from - this.first) / this.steps + "%";
        b.style.width = 100 * (m.to - m.from) / this.steps + "%";
        b.title = `steps ${m.from} to ${m.to}`;
        b.mark = m;
        return b;
      }));
    }
    this.onchange();
  },
};

for (const lane of document.querySelectorAll("#marks .lane")) {
  const at = (e) => {
    const r = lane.getBoundingClientRect();
    return marks.first + Math.max(0, Math.min(marks.steps, Math.round((e.clientX - r.left) / r.width * marks.steps)));
  };
  lane.addEventListener("pointerdown", (e) => {
    e.preventDefault();
    lane.setPointerCapture(e.pointerId);
    const from = at(e), x0 = e.clientX, hit = e.target.mark, good = lane.dataset.good === "1";
    const was = marks.list;
    const move = (m) => {
      if (Math.abs(m.clientX - x0) < 6) return;
      marks.list = was;
      marks.add(Math.min(from, at(m)), Math.max(from, at(m)), good);
      player.show(at(m) - marks.first);
    };
    const end = (m) => {
      lane.removeEventListener("pointermove", move);
      lane.removeEventListener("pointerup", end);
      lane.removeEventListener("pointercancel", end);
      if (m.type === "pointercancel") { marks.list = was; marks.draw(); } else if (Math.abs(m.clientX - x0) < 6 && hit) marks.remove(hit);
    };
    lane.addEventListener("pointermove", move);
    lane.addEventListener("pointerup", end);
    lane.addEventListener("pointercancel", end);
  });
}

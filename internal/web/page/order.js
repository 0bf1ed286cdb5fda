"use strict";
// Rankings: letters in a row, from the best to the worst, placed by tapping clips
// or by dragging.

const order = {
  n: 0,
  placed: [], // clips, the best first
  rest: [], // those not placed yet
  ties: new Set(), // clips that are tied with the one before them
  onchange: () => {},

  begin(n) {
    this.n = n;
    this.placed = [];
    this.rest = Array.from({ length: n }, (_, i) => i);
    this.ties.clear();
    this.draw();
  },

  // draft is how far it is, and resume goes on from there.
  draft() { return { placed: [...this.placed], rest: [...this.rest], ties: new Set(this.ties) }; },
  resume(d) {
    Object.assign(this, d);
    this.draw();
  },

  // tap places a clip after those that are placed, or takes it out again.
  tap(i) {
    if (this.rest.includes(i)) {
      this.rest.splice(this.rest.indexOf(i), 1);
      this.placed.push(i);
    } else {
      this.placed.splice(this.placed.indexOf(i), 1);
      this.rest.push(i);
      this.rest.sort((a, b) => a - b);
      this.ties.delete(i);
      if (this.placed.length) this.ties.delete(this.placed[0]);
    }
    this.draw();
  },

  tie(i) {
    if (!this.ties.delete(i)) this.ties.add(i);
    this.draw();
  },

  // whole says that every clip has its place.
  whole() { return this.n > 0 && this.rest.length === 0; },

  // places (n,) are those of the clips, 1 the best; who shares one takes up as many.
  places() {
    const out = Array(this.n).fill(0);
    this.placed.forEach((c, k) => { out[c] = k > 0 && this.ties.has(c) ? out[this.placed[k - 1]] : k + 1; });
    return out;
  },

  draw() {
    const nodes = [];
    this.placed.concat(this.rest).forEach((c, k) => {
      if (k > 0 && k < this.placed.length) {
        const tied = this.ties.has(c), b = make("button", "sign", tied ? "=" : ">");
        b.type = "button";
        b.setAttribute("aria-label", tied ? "tied; tap for better" : "better; tap for a tie");
        b.addEventListener("click", () => this.tie(c));
        nodes.push(b);
      }
      const chip = make("span", k < this.placed.length ? "chip placed" : "chip", letter(c));
      chip.dataset.clip = c;
      nodes.push(chip);
    });
    el("order").replaceChildren(...nodes);
    this.onchange();
  },
};

const letter = (i) => String.fromCharCode(65 + i);

// Dragging a letter puts it elsewhere in the row, which then is the order.
el("order").addEventListener("pointerdown", (e) => {
  const chip = e.target.closest(".chip");
  if (!chip) return;
  e.preventDefault();
  const c = Number(chip.dataset.clip), box = el("order"), x0 = e.clientX, y0 = e.clientY;
  let moved = false;
  box.setPointerCapture(e.pointerId);
  const move = (m) => {
    if (!moved && Math.hypot(m.clientX - x0, m.clientY - y0) < 8) return;
    moved = true;
    const row = order.placed.concat(order.rest).filter((k) => k !== c);
    // Before the first letter whose middle is right of the finger, in its line.
    let at = row.length;
    for (const other of box.querySelectorAll(".chip")) {
      const k = Number(other.dataset.clip), r = other.getBoundingClientRect();
      if (k !== c && m.clientY < r.bottom && (m.clientX < r.left + r.width / 2 || m.clientY < r.top)) { at = row.indexOf(k); break; }
    }
    row.splice(at, 0, c);
    if (order.rest.length || row.join() !== order.placed.join()) {
      order.placed = row;
      order.rest = [];
      order.ties.clear();
      order.draw();
    }
  };
  const end = (m) => {
    box.removeEventListener("pointermove", move);
    box.removeEventListener("pointerup", end);
    box.removeEventListener("pointercancel", end);
    if (!moved && m.type === "pointerup") order.tap(c);
  };
  box.addEventListener("pointermove", move);
  box.addEventListener("pointerup", end);
  box.addEventListener("pointercancel", end);
});

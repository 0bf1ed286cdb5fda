"use strict";
// Clips side by side at one common step. A step is drawn on all canvases in one
// go, once all its pictures are decoded; what is late makes all wait, so that the
// same step is seen on each.

const bitmapPixels = 24e6; // decoded pixels that are kept, about 100 MB
const silence = 2000; // ms: steps leave out what is longer

// address is where a clip's pictures are.
const address = (clip, camera) => "label/frames?" + new URLSearchParams({ episode: clip.episode, camera, from: clip.from || 0, to: clip.to || 0 });

// Film is what one camera saw in a clip, which is called name.
class Film {
  constructor(clip, camera, canvas, name) {
    Object.assign(this, { clip, camera, canvas, name, last: 0, cache: new Map(), room: 8, gone: false, buf: null });
  }

  async load(fetchBytes) {
    const buf = await fetchBytes(address(this.clip, this.camera));
    const n = new DataView(buf).getUint32(0);
    this.head = JSON.parse(new TextDecoder().decode(new Uint8Array(buf, 4, n)));
    this.buf = buf;
    this.last = this.head.sizes.length - 1;
    // Where each step's picture lies; a step without one has that before it.
    let at = 4 + n, here = -1;
    this.at = [];
    this.source = this.head.sizes.map((size, i) => {
      if (size > 0) here = i;
      this.at.push(at);
      at += size;
      return here;
    });
  }

  // pace is how many ms a step takes, which a camera may be faster or slower than; NaN if
  // its pictures do not tell. A stretch's first picture may be of before it.
  pace() {
    const own = this.source.flatMap((k, i) => (k === i ? [i] : []));
    let ms = 0, steps = 0;
    for (let j = this.head.from > 0 && own.length > 2 ? 2 : 1; j < own.length; j++) {
      const took = this.head.stamps[own[j]] - this.head.stamps[own[j - 1]];
      if (took < 0 || took > silence) continue;
      ms += took;
      steps += own[j] - own[j - 1];
    }
    return ms / steps;
  }

  // bitmap is the picture of step i, or of the last one there is; null for none.
  async bitmap(i) {
    if (this.gone || !this.buf) return null;
    const k = this.source[Math.min(i, this.last)];
    if (k < 0) return null;
    let p = this.cache.get(k);
    if (p) this.cache.delete(k);
    else p = createImageBitmap(new Blob([new Uint8Array(this.buf, this.at[k], this.head.sizes[k])], { type: this.head.type })).catch(() => null);
    this.cache.set(k, p); // the newest use last
    while (this.cache.size > this.room) {
      const [old, gone] = this.cache.entries().next().value;
      this.cache.delete(old);
      gone.then((b) => b && b.close());
    }
    return p;
  }

  // sample is one of its pictures, or null: one that is damaged says nothing of the others.
  async sample() {
    const have = this.source.flatMap((k, i) => (k >= 0 ? [i] : []));
    for (const n of new Set([0, have.length >> 1, have.length - 1])) {
      const b = await this.bitmap(have[n] ?? 0);
      if (b) return b;
    }
    return null;
  }

  draw(b, i) {
    const c = this.canvas;
    if (!b) return;
    if (c.width !== b.width || c.height !== b.height) {
      c.width = b.width; c.height = b.height;
      c.style.aspectRatio = `${b.width} / ${b.height}`;
    }
    c.getContext("2d").drawImage(b, 0, 0);
    c.dataset.step = (this.clip.from || 0) + Math.min(i, this.last);
    this.canvas.parentElement.classList.toggle("over", i > this.last);
  }

  drop() {
    this.gone = true;
    for (const p of this.cache.values()) p.then((b) => b && b.close());
    this.cache.clear();
    this.buf = null;
  }
}

// player shows the films of one question.
const player = {
  films: [],
  step: 0,
  wish: 0, // the step that was asked for last, which may not be drawn yet
  last: 0, // of the longest clip
  period: 100, // ms between steps
  playing: false,
  busy: false,
  wanted: null,
  onstep: () => {},

  async open(films, fetchBytes, signal) {
    this.close();
    this.films = films;
    await Promise.all(films.map((f) => f.load(fetchBytes)));
    if (signal.aborted) return false;
    this.last = Math.max(0, ...films.map((f) => f.last));
    // As fast as it was, by most of the cameras.
    const steps = films.map((f) => f.pace()).filter((d) => d > 0 && d < Infinity).sort((a, b) => a - b);
    this.period = steps.length ? Math.min(1000, Math.max(10, steps[steps.length >> 1])) : 100;
    const first = await Promise.all(films.map((f) => f.sample()));
    if (signal.aborted) return false;
    // Nobody judges a clip of which nothing is seen.
    const shown = new Set(films.filter((f, i) => first[i]).map((f) => f.clip));
    const blank = films.find((f) => !shown.has(f.clip));
    if (blank) throw Object.assign(new Error(`${blank.name}: none of them is a picture that can be shown`), { final: true });
    const area = Math.max(1, ...first.map((b) => (b ? b.width * b.height : 1)));
    for (const f of films) f.room = Math.max(8, Math.floor(bitmapPixels / area / films.length));
    await this.show(0);
    return !signal.aborted;
  },

  close() {
    this.playing = false;
    for (const f of this.films) f.drop();
    this.films = [];
    this.step = this.wish = this.last = 0;
    this.wanted = null;
  },

  // show draws step i, or, if it is drawing, does so next; what was asked for in
  // between is left out.
  async show(i) {
    this.wanted = this.wish = Math.max(0, Math.min(this.last, Math.round(i)));
    if (this.busy) return;
    this.busy = true;
    try {
      while (this.wanted !== null) {
        const at = this.wanted, films = this.films;
        this.wanted = null;
        const bs = await Promise.all(films.map((f) => f.bitmap(at)));
        if (films !== this.films) continue;
        this.step = at;
        films.forEach((f, k) => f.draw(bs[k], at));
        this.onstep(at);
        // What comes next is decoded meanwhile.
        for (let k = 1; k <= 3; k++) for (const f of films) if (at + k <= f.last) f.bitmap(at + k);
      }
    } finally {
      this.busy = false;
    }
  },

  toggle() {
    if (!this.playing && this.step >= this.last) this.show(0);
    this.playing = !this.playing;
    this.since = now();
    this.begin = this.step >= this.last ? 0 : this.step;
  },

  pace(speed) { // goes on from here at another speed
    this.speed = speed;
    this.since = now();
    this.begin = this.step;
  },

  speed: 1,
  tick(loop) {
    if (!this.playing || this.films.length === 0) return;
    // A pause at the end, so that one sees how it ended.
    const rest = 5;
    let at = this.begin + Math.floor((now() - this.since) * this.speed / this.period);
    if (at > this.last + rest) {
      if (!loop) { this.playing = false; this.onstep(this.step); return; }
      this.since = now();
      this.begin = at = 0;
    }
    at = Math.min(at, this.last);
    if (at !== this.step && !this.busy) this.show(at);
  },
};

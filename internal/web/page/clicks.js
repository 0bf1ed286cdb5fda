"use strict";
// The page on which a plan is clicked: pictures of a reset, what was clicked on them,
// and the plan that is saved. Places are lifted and judged by the server.

const lookEvery = 1000; // ms between looks at whether a plan is wanted

let state = null;
let scene = 0; // whose pictures are shown
let making = "point"; // what the next click makes
let pending = null; // a click that waits for a second one: {camera, pixel}
let busy = false;
let done = false; // the plan is saved, and whoever asked for it is gone
const sights = new Map(); // camera: {canvas, bitmap, w, h}
const halt = stops("page of clicks", () => "an operator");

const metres = (at) => at.map((v) => v.toFixed(3)).join(" ");
const say = (words, bad) => { text(el("said"), words); el("said").classList.toggle("bad", Boolean(bad)); };

// --- what is shown ---

async function look() {
  if (!token) { alarm("token", "This page has no token: open the link that the program printed."); return; }
  try {
    const v = await (await call("clicks/state", null)).json();
    alarm("link", "");
    if (!done) await show(v);
  } catch (e) {
    if (!done) alarm("link", e.message);
  }
  if (done) return;
  setTimeout(look, lookEvery);
}

async function show(v) {
  const fresh = scene !== v.n;
  text(el("session"), v.session);
  document.title = `Clicks ${v.session} – Rapport`;
  showLive(v.live, v.live);
  text(el("waits"), v.waits ? "The arm stands still and waits for a plan." : v.again ? "The next reset waits for a plan." : "No plan is waited for.");
  el("waits").classList.toggle("now", v.waits);
  text(el("file"), v.plan ? `The last plan, ${v.plan.points.length} points and ${v.plan.stages.length} stages, is in ${v.file}.` : `The plan will be in ${v.file}.`);
  el("again").disabled = v.waits || v.again || !v.plan;
  if (fresh) {
    el("table").hidden = true; // nothing is clicked on pictures of before
    await pictures(v);
    scene = v.n;
    plan.begin(v.hand);
    pending = null;
    el("task").value = v.plan ? v.plan.task : v.task;
    el("name").readOnly = Boolean(v.names);
  }
  state = v;
  el("table").hidden = false;
  draw();
  if (fresh) document.body.dataset.scene = v.n; // all of it is shown
}

async function pictures(v) {
  const came = [];
  for (const c of v.cameras) {
    try {
      came.push([c, await createImageBitmap(await (await call("clicks/picture?" + new URLSearchParams({ camera: c.name }), null)).blob())]);
    } catch (e) {
      throw new Error(`The picture of camera ${c.name} did not come (${e.message}). Trying again.`);
    }
  }
  const box = el("pictures");
  box.replaceChildren();
  sights.clear();
  for (const [c, b] of came) {
    const fig = make("figure", "ok"), canvas = make("canvas");
    canvas.dataset.camera = c.name;
    canvas.setAttribute("aria-label", "camera " + c.name + ": click here");
    // Marks are drawn finer than the pixels of a small camera.
    const k = Math.max(1, Math.round(768 / c.w));
    canvas.width = k * c.w;
    canvas.height = k * c.h;
    canvas.style.aspectRatio = `${c.w} / ${c.h}`;
    canvas.addEventListener("click", (e) => {
      const r = canvas.getBoundingClientRect();
      clicked(c.name, [(e.clientX - r.left) / r.width * c.w - 0.5, (e.clientY - r.top) / r.height * c.h - 0.5]);
    });
    fig.append(canvas, make("figcaption", "", c.name));
    box.append(fig);
    sights.set(c.name, { canvas, bitmap: b, k });
  }
}

function draw() {
  for (const [camera, s] of sights) {
    const g = s.canvas.getContext("2d"), k = s.k;
    const at = (px) => [(px[0] + 0.5) * k, (px[1] + 0.5) * k];
    g.drawImage(s.bitmap, 0, 0, s.canvas.width, s.canvas.height);
    const unit = s.canvas.width / 100;
    g.lineWidth = unit / 2;
    g.font = `bold ${3.6 * unit}px sans-serif`;
    const name = (words, x, y, colour, dx = 2.4, dy = -1.6) => {
      g.lineWidth = 0.9 * unit;
      g.strokeStyle = "#000";
      g.strokeText(words, x + dx * unit, y + dy * unit);
      g.fillStyle = colour;
      g.fillText(words, x + dx * unit, y + dy * unit);
      g.lineWidth = unit / 2;
    };
    const seen = (place) => { const v = place.seen.find((v) => v.camera === camera); return v && at(v.pixel); };
    let last = null, mover = "", n = 0;
    for (const w of plan.waypoints) {
      n++;
      const p = seen(w.place);
      if (w.mover !== mover) {
        const start = plan.points.find((a) => a.name === w.mover);
        last = start ? seen(start.place) : null;
        mover = w.mover;
      }
      if (p && last) {
        g.strokeStyle = "#ffd23f";
        g.beginPath();
        g.moveTo(...last);
        g.lineTo(...p);
        g.stroke();
      }
      if (p) {
        g.fillStyle = "#ffd23f";
        g.fillRect(p[0] - unit, p[1] - unit, 2 * unit, 2 * unit);
        name(String(n), p[0], p[1], "#ffd23f", -4.4, 3.2); // where no point's name is
      }
      last = p;
    }
    for (const a of plan.points) {
      const p = seen(a.place);
      if (!p) continue;
      g.strokeStyle = "#fff";
      g.fillStyle = "#1fb6ff";
      g.beginPath();
      g.arc(p[0], p[1], 1.4 * unit, 0, 7);
      g.fill();
      g.stroke();
      name(a.name, p[0], p[1], "#7fdcff");
    }
    if (pending && pending.camera === camera) {
      const [x, y] = at(pending.pixel);
      g.strokeStyle = "#ff5d73";
      g.beginPath();
      g.moveTo(x - 3 * unit, y);
      g.lineTo(x + 3 * unit, y);
      g.moveTo(x, y - 3 * unit);
      g.lineTo(x, y + 3 * unit);
      g.stroke();
    }
  }
  const names = ["hand", ...plan.points.map((p) => p.name)];
  choices(el("mover"), names.map((n) => [n, n]));
  choices(el("from"), [["the base", ""], ...names.map((n) => [n, n])]);
  // Not while it is written in: who empties it is about to write.
  if (el("name").readOnly || document.activeElement !== el("name") && (!el("name").value || plan.points.some((p) => p.name === el("name").value))) el("name").value = plan.free(state && state.names);
  let n = 0;
  el("list").replaceChildren(...plan.acts.map((a) => make("li", "", a.kind === "point"
    ? `${a.name} at ${metres(a.place.at)} m, ${a.place.point.colour ? "by its colour" : "from this pixel"}`
    : `${++n}: ${a.mover} to ${metres(a.place.at)} m${a.from ? ", counted from " + a.from : ""}${a.grip ? ", then " + a.grip : ""}`)));
  el("clear").disabled = !plan.acts.length && !pending;
  el("undo").disabled = el("clear").disabled && !plan.cleared.length;
  el("save").disabled = busy || !state || !state.waits || !plan.waypoints.length;
  for (const kind of ["point", "waypoint"]) el(kind + "s").setAttribute("aria-pressed", String(making === kind));
  el("ofpoint").hidden = making !== "point";
  el("ofway").hidden = making !== "waypoint";
}

function choices(select, all) {
  const had = select.value;
  if (select.options.length !== all.length || all.some(([n], i) => select.options[i].text !== n)) select.replaceChildren(...all.map(([n, v]) => new Option(n, v)));
  if (all.some(([, v]) => v === had)) select.value = had;
}

// --- what is clicked ---

async function clicked(camera, pixel) {
  if (busy) return;
  const here = { camera, pixel }, typed = el("height").value.trim().replace(",", ".");
  const sight = { views: [here] };
  if (typed !== "") {
    if (!Number.isFinite(Number(typed))) { say(`The height is "${typed}"; enter millimetres, as 25.`, true); return; }
    sight.height = Number(typed) / 1000;
  } else if (pending && pending.camera !== camera) {
    sight.views = [pending, here];
  } else {
    pending = here;
    say(sights.size > 1 ? "Click the same spot in another view, or enter its height and click again." : "Enter its height, and click again.");
    draw();
    return;
  }
  if (making === "point") {
    const name = el("name").value.trim();
    if (!name || name === "hand" || plan.points.some((p) => p.name === name)) {
      say(state.names ? "All points are clicked that the policy sees; click the way." : `A point needs a name of its own, other than "${name}".`, true);
      return;
    }
    sight.find = el("find").checked;
  }
  pending = null;
  busy = true;
  try {
    const place = await (await call("clicks/lift", sight)).json();
    const act = making === "point" ? { kind: "point", name: el("name").value.trim(), place }
      : { kind: "waypoint", mover: el("mover").value, from: el("from").value, grip: el("grip").value, place };
    plan.acts.push(act);
    say(`x ${place.at[0].toFixed(3)}, y ${place.at[1].toFixed(3)}, z ${place.at[2].toFixed(3)} m` + (place.miss > 0 ? `; the two sights miss each other by ${(1000 * place.miss).toFixed(0)} mm` : ""));
  } catch (e) {
    say(e.message, true);
  }
  busy = false;
  draw();
}

function choose(kind) {
  making = kind;
  pending = null;
  draw();
}

function undo() {
  if (busy) return;
  if (pending) pending = null;
  else {
    const a = plan.undo();
    // What was counted from a point, or moved it, came after it and is gone already.
    if (a) say(a.kind === "clear" ? "What was cleared is back." : a.kind === "point" ? `${a.name} is taken back.` : "The last waypoint is taken back.");
  }
  draw();
}

function clear() {
  if (busy || el("clear").disabled) return;
  say(plan.acts.length ? "Cleared; undo (Z) brings it back." : "The first click is forgotten.");
  plan.clear();
  pending = null;
  draw();
}

async function save() {
  if (el("save").disabled) return;
  busy = true;
  draw();
  try {
    const v = await (await call("clicks/save", { scene, plan: plan.whole(el("task").value.trim()) })).json();
    state.waits = false;
    done = !live; // without a session the program ends with the plan
    say(`Saved: ${v.file}. ${done ? "That is all; you may close this page." : "The session goes on."}`);
    if (done) {
      text(el("waits"), "The plan is saved.");
      text(el("file"), "");
      el("waits").classList.remove("now");
      el("again").hidden = true;
    }
  } catch (e) {
    say(e.message, true);
  }
  busy = false;
  draw();
}

async function again() {
  try {
    await call("clicks/again", {});
    say("The next reset's pictures will be shown here, and the session waits then.");
    el("again").disabled = true;
  } catch (e) {
    say(e.message, true);
  }
}

for (const [id, f] of [["points", () => choose("point")], ["waypoints", () => choose("waypoint")], ["undo", undo], ["clear", clear], ["save", save], ["again", again]]) el(id).addEventListener("click", f);

el("name").addEventListener("blur", draw);

// A field that is written in has its keys to itself.
const writing = (e) => e.target instanceof HTMLInputElement && e.target.type !== "checkbox" || e.target instanceof HTMLSelectElement;
const keys = { p: () => choose("point"), w: () => choose("waypoint"), z: undo, c: clear, Enter: save, Escape: () => { pending = null; draw(); } };
addEventListener("keydown", (e) => {
  if (writing(e) || e.repeat || e.ctrlKey || e.metaKey || e.altKey || !state) return;
  const k = e.key.length === 1 ? e.key.toLowerCase() : e.key;
  if (k === " ") {
    e.preventDefault();
    if (live) halt();
  } else if (k >= "1" && k <= "9") {
    if (Number(k) <= el("mover").options.length) el("mover").selectedIndex = Number(k) - 1;
  } else if (k in keys && !(k === "Enter" && e.target.closest("button, input"))) {
    e.preventDefault();
    keys[k]();
  }
});
// A button that was tapped does not keep the keys.
addEventListener("click", (e) => { const b = e.detail > 0 && e.target.closest && e.target.closest("button"); if (b) b.blur(); });
addEventListener("hashchange", () => location.reload());
look();

"use strict";
// The page: listens to the session, shows it, and stops it. Texts from the
// session are set as text, never as HTML. Nothing that is old is shown as live:
// every part carries the age of what it shows.

const token = location.hash.slice(1);
const liveFor = 1000; // ms after which a thing is old
const silentFor = 1500; // ms after which the session counts as silent; it says twice a second how it stands

let socket = null;
let heard = -Infinity; // performance.now() of the last message of the server
let sight = null; // the newest
let delay = 0;
let left = false; // the page is being left
const ages = {}; // name: age in ms when it came, counted from then on

// facts fills a <dl>, reusing its nodes.
function facts(dl, rows) {
  while (dl.children.length > 2 * rows.length) dl.lastChild.remove();
  while (dl.children.length < 2 * rows.length) dl.append(make("dt"), make("dd"));
  rows.forEach(([k, v], i) => { text(dl.children[2 * i], k); text(dl.children[2 * i + 1], v); });
}

const fixed = (x, n) => x === null || x === undefined ? "–" : x.toFixed(n);
function since(ms) {
  if (ms < 0) return "never";
  const s = ms / 1000;
  return s < 10 ? s.toFixed(1) + " s" : s < 120 ? Math.round(s) + " s" : s < 7200 ? Math.round(s / 60) + " min" : Math.round(s / 3600) + " h";
}

// note remembers how old a thing was when it came; ageOf tells how old it is.
function note(name, age) { ages[name] = now() - age - delay; }
function ageOf(name) { return name in ages ? now() - ages[name] : -1; }

// --- the socket ---

function connect() {
  if (left) return;
  if (!token) {
    alarm("token", "This page has no token: open the link that the program printed.");
    return;
  }
  const s = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`, ["rapport.v1", "token." + token]);
  s.binaryType = "arraybuffer";
  socket = s;
  let open = false;
  s.onopen = () => { open = true; alarm("token", ""); };
  s.onmessage = (e) => {
    if (s !== socket) return;
    heard = now();
    if (typeof e.data === "string") {
      const v = JSON.parse(e.data);
      s.send(JSON.stringify({ ack: v.n }));
      delay = v.delay;
      show(v);
    } else {
      picture(e.data);
    }
    watch();
  };
  s.onclose = () => {
    if (s !== socket) return;
    socket = null;
    handsOff();
    watch();
    if (!open) refused();
    setTimeout(connect, 500);
  };
}

// refused says whether it is the link that the server does not take, which a socket does not tell.
async function refused() {
  try {
    const r = await fetch("arm", { headers: { Authorization: "Bearer " + token }, signal: AbortSignal.timeout(2000), cache: "no-store", credentials: "omit" });
    alarm("token", r.status === 401 ? "THIS LINK IS NOT VALID HERE: open the link that the program printed." : "");
  } catch { alarm("token", ""); } // nobody is there
}

function say(v) {
  if (!socket || socket.readyState !== WebSocket.OPEN || socket.bufferedAmount > 4096) return false;
  socket.send(JSON.stringify(v));
  return true;
}

// ended says whether all that the session is made of said good-bye. What is lost
// afterwards is no loss.
function ended() { return sight !== null && (sight.work || []).length > 0 && sight.work.every((w) => w.bye); }

// connected says whether what is shown comes from the session just now.
function connected() { return now() - heard < liveFor && sight !== null && sight.bus; }

// --- what is shown ---

function show(v) {
  sight = v;
  text(el("session"), v.session);
  document.title = v.session + " – Rapport";
  el("clicks").hidden = !v.clicks;
  showWork(v.work || []);
  showPeers(v.peers || []);
  if (v.status) { note("status", v.status.age); showStatus(v.status); }
  showFault(v.status ? v.status.fault : null);
  if (v.state) { note("state", v.state.age); showState(v.state); }
  if (v.rewards) {
    note("rewards", v.rewards.age);
    drawCurve(el("reward"), v.rewards.values, 1, "step", v.status ? v.status.horizon : 0);
  }
  if (v.returns) drawCurve(el("returns"), v.returns.values, v.returns.first, "episode");
  facts(el("success"), (v.success || []).map((s) => ["Success " + s.when, `${s.hits} of ${s.of} (${Math.round(100 * s.hits / s.of)} %)`]));
  showMetrics(v.metrics || []);
  for (const c of v.cameras || []) camera(c.name).lag = c.lag;
  showPilot(v);
}

const roleNames = { run: "", learner: "learner: ", actor: "arm: " };
function showWork(list) {
  const box = el("work");
  while (box.children.length > list.length) box.lastChild.remove();
  list.forEach((w, i) => {
    if (!box.children[i]) {
      const d = make("div");
      d.append(make("span"), make("progress"));
      box.append(d);
    }
    note("work." + w.role, w.age);
    const [s, p] = box.children[i].children;
    const count = w.total > 1 ? ` ${w.done} of ${w.total}` : "";
    text(s, `${roleNames[w.role] ?? w.role + ": "}${w.bye ? "ended after " : ""}${w.stage || "beginning"}${count}${w.note ? ", " + w.note : ""}`);
    p.max = Math.max(w.total, 1);
    p.value = Math.min(w.done, p.max);
    p.setAttribute("aria-label", w.stage);
  });
}

function showPeers(list) {
  const ul = el("peers");
  ul.parentElement.hidden = list.length === 0; // a session in one process
  while (ul.children.length > list.length) ul.lastChild.remove();
  list.forEach((p, i) => {
    if (!ul.children[i]) ul.append(make("li"));
    ul.children[i].className = p.alive ? "good" : "bad";
    text(ul.children[i], `${p.role}: ${p.name}${p.alive ? "" : " is gone"}`);
  });
}

const deciders = { policy: "policy", human: "a person", guard: "guard", log: "recording" };
function showStatus(s) {
  const by = el("by");
  by.className = "by " + (s.fault ? "held" : s.moving && !ended() && s.by in deciders ? s.by : "");
  text(by, s.fault ? "held" : !s.moving || ended() ? "nobody" : deciders[s.by] || "–");
  text(el("episode"), (s.episode || "–") + ({ forward: ", the way there", backward: ", the way back" }[s.way] || ""));
  text(el("step"), s.horizon ? `${s.step} of ${s.horizon}` : s.step);
  text(el("version"), s.version);
  text(el("human"), `${s.human} here, ${s.humans} ${s.role === "actor" ? "since its start" : "in all"}`);
  const g = s.guard;
  facts(el("guard"), [["Commands", g.steps], ["Cut at a limit", g.clipped], ["Shortened", g.scaled], ["Held", g.held], ["Leases lapsed", g.lapsed], ["Faults", g.faults], ["Unfit frames", s.bad_frames]]);
}

function showState(s) {
  const [x, y, z] = s.p;
  facts(el("pose"), [
    ["Position x, y, z", `${fixed(x, 3)}, ${fixed(y, 3)}, ${fixed(z, 3)} m`],
    ["Orientation wxyz", s.r.map((v) => fixed(v, 2)).join(", ")],
    ["Grip", `${s.grip === null ? "–" : (1000 * s.grip).toFixed(0)} mm`],
    ["Force", s.wrench.slice(0, 3).map((v) => fixed(v, 1)).join(", ") + " N"],
    ["Torque", s.wrench.slice(3).map((v) => fixed(v, 2)).join(", ") + " Nm"],
  ]);
  const box = el("joints");
  while (box.children.length < 4 * s.q.length) {
    const bar = make("div", "bar");
    bar.append(make("i"));
    box.append(make("span"), bar, make("span"), make("span"));
  }
  s.q.forEach((q, i) => {
    const [name, bar, rad, speed] = [0, 1, 2, 3].map((k) => box.children[4 * i + k]);
    text(name, i + 1);
    text(rad, fixed(q, 2) + " rad");
    text(speed, fixed(s.dq[i], 2) + " rad/s");
    const part = 50 * Math.max(-1, Math.min(1, (q || 0) / Math.PI));
    bar.firstChild.style.left = (part < 0 ? 50 + part : 50) + "%";
    bar.firstChild.style.width = Math.abs(part) + "%";
  });
}

function showMetrics(list) {
  if (list.length === 0) return;
  const box = el("metrics");
  if (box.children.length !== 2 * list.length) {
    box.replaceChildren(...list.flatMap(() => [make("p", "small"), make("dl", "facts two")]));
  }
  list.forEach((m, i) => {
    text(box.children[2 * i], `${m.role}: ${m.updates} updates, ${since(m.age + delay)} ago`);
    facts(box.children[2 * i + 1], (m.values || []).map((x) => [x.name, shortly(x.value)]));
  });
}

// --- cameras ---

const cameras = new Map();
function camera(name) {
  let c = cameras.get(name);
  if (c) return c;
  if (cameras.size === 0) el("cameras").replaceChildren();
  const fig = make("figure"), canvas = make("canvas"), cap = make("figcaption"), age = make("span", "age"), cover = make("div", "cover", "no picture yet");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "camera " + name);
  cap.append(make("span", "", name), age);
  fig.append(canvas, cover, cap);
  el("cameras").append(fig);
  c = { fig, canvas, age, cover, lag: 0, seq: 0, busy: false };
  cameras.set(name, c);
  return c;
}

async function picture(buf) {
  const n = new DataView(buf).getUint16(0);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(buf, 2, n)));
  const c = camera(head.camera), came = now();
  if (c.busy) return; // a slow machine leaves pictures out, it does not queue them
  c.busy = true;
  try {
    const img = await createImageBitmap(new Blob([new Uint8Array(buf, 2 + n)], { type: "image/jpeg" }));
    if (c.canvas.width !== img.width || c.canvas.height !== img.height) { c.canvas.width = img.width; c.canvas.height = img.height; }
    c.canvas.getContext("2d").drawImage(img, 0, 0);
    img.close();
    c.fig.dataset.seq = head.seq;
    note("camera." + head.camera, head.age + (now() - came));
  } catch {
    // A broken picture: the old one stays, and its age tells.
  } finally {
    c.busy = false;
  }
}

// --- ages and connections, several times a second whatever comes ---

function watch() {
  keysGo(); // a field that vanishes tells nobody that it lost the focus
  const gap = now() - heard;
  const up = gap < liveFor;
  const over = ended();
  alarm("link", up || over || !token ? "" : "CONNECTION LOST: what is shown is old, and STOP may not reach the arm. Use the stop at the arm.");
  alarm("bus", up && !over && sight && !sight.bus ? "NO CONNECTION FROM HERE TO THE SESSION'S BUS: what is shown is old, and STOP does not reach the arm. Use the stop at the arm." : "");
  const driving = ["work.run", "work.actor", "status"].map(ageOf).filter((a) => a >= 0);
  const quiet = up && sight && sight.bus && !over && (driving.length === 0 || Math.min(...driving) > silentFor);
  alarm("quiet", quiet && driving.length > 0 ? "THE SESSION IS SILENT: what is shown is old. Look at the arm." : "");
  const live = connected() && !quiet && !over;
  document.body.classList.toggle("lost", !live);
  const link = el("link");
  link.className = "pill " + (live ? delay > 250 ? "warn" : "good" : over ? "warn" : "bad");
  text(link, live ? delay > 250 ? `live, ${(delay / 1000).toFixed(1)} s late` : "live" : over ? "session ended" : !up ? "connection lost" : sight && !sight.bus ? "bus lost" : driving.length ? "session silent" : sight && (sight.work || []).length ? "no arm yet" : "waiting for the session");
  for (const s of document.querySelectorAll("[data-live]")) {
    const a = ageOf(s.dataset.live), fresh = live && a >= 0 && a < (s.dataset.live === "status" ? silentFor : liveFor);
    const label = s.querySelector(".age");
    s.classList.toggle("old", !fresh);
    label.className = fresh ? "age live" : "age";
    text(label, a < 0 ? "" : fresh ? "live" : since(a) + " old");
  }
  for (const [name, c] of cameras) {
    const a = ageOf("camera." + name), fresh = live && a >= 0 && a < liveFor;
    c.fig.className = fresh ? "ok" : "";
    c.age.title = "since it came here, and behind the arm by the arm's own clock";
    c.age.className = fresh ? "age live" : "age";
    text(c.age, a < 0 ? "" : `${Math.round(a)} ms old` + (c.lag > 50 ? `, ${c.lag} behind` : ""));
    if (!fresh) {
      text(c.age, a < 0 ? "" : "not live");
      text(c.cover, a < 0 ? "no picture yet" : `NOT LIVE: ${since(a)} old`);
    }
  }
}

// --- acts ---

async function post(path, body, limit) {
  const stop = new AbortController(), timer = setTimeout(() => stop.abort(), limit);
  try {
    const r = await fetch(path, { method: "POST", headers: { Authorization: "Bearer " + token, "Content-Type": "application/json" }, body: JSON.stringify(body), signal: stop.signal, cache: "no-store", credentials: "omit", keepalive: true });
    const v = await r.json();
    if (!r.ok) throw new Error(v.error || r.statusText);
    return v;
  } finally {
    clearTimeout(timer);
  }
}

function person() { return el("name").value.trim(); }

// stopArm tries until the stop is delivered or half a minute is over.
let stopping = false;
async function stopArm(why) {
  handsOff();
  if (stopping) return;
  stopping = true;
  const began = now();
  text(el("stopped"), "stopping…");
  for (;;) {
    try {
      const r = await post("stop", { who: person(), why }, 2000);
      alarm("stop", "");
      text(el("stopped"), r.already ? "Stopped already." : r.held ? `Stopped: held ${(r.hold_ns / 1e6).toFixed(1)} ms after the session heard it, ${Math.round(now() - began)} ms after you pressed.` : r.idle ? "Stopped: nothing moves in this stage, and nothing will." : `Stopped: held from the next tick on, heard after ${Math.round(now() - began)} ms.`);
      break;
    } catch (e) {
      alarm("stop", `STOP WAS NOT DELIVERED (${e.name === "AbortError" ? "no answer" : e.message}). USE THE STOP AT THE ARM.`);
      if (now() - began > 30000) {
        text(el("stopped"), "Gave up trying; press again.");
        break;
      }
      text(el("stopped"), "Trying again…");
      await new Promise((go) => setTimeout(go, 500));
    }
  }
  stopping = false;
}

let pressed = -Infinity;
el("stop").addEventListener("pointerdown", (e) => { e.preventDefault(); pressed = now(); leaveField(); stopArm("STOP on the page"); });
// Keys and screen readers click without a pointer.
el("stop").addEventListener("click", () => { if (now() - pressed > 1000) stopArm("STOP on the page"); });

// The space bar stops, wherever the focus is, unless words are being typed.
for (const kind of ["keydown", "keyup"]) {
  addEventListener(kind, (e) => {
    if (e.code !== "Space" || e.target instanceof HTMLInputElement) return;
    e.preventDefault();
    e.stopImmediatePropagation();
    if (kind === "keydown" && !e.repeat) stopArm("space bar on the page");
  }, true);
}

// keysGo says on the button whether the space bar is it.
function keysGo() {
  const words = typing();
  text(el("stop").lastElementChild, words ? "press here: keys are words now" : "space bar");
  if (words) el("stop").removeAttribute("aria-keyshortcuts");
  else el("stop").setAttribute("aria-keyshortcuts", "Space");
}
for (const kind of ["focusin", "focusout"]) addEventListener(kind, keysGo);

// Whoever is done with a field has the keys back.
const leaves = { pilot: () => el("pilot").blur(), name: () => el("note").focus() };
addEventListener("keydown", (e) => {
  if (!(e.target instanceof HTMLInputElement) || e.isComposing) return;
  if (e.key === "Escape") e.target.blur();
  if (e.key !== "Enter" || !(e.target.id in leaves)) return;
  e.preventDefault(); // a name alone acknowledges nothing
  leaves[e.target.id]();
});

let fault = null;
function showFault(f) {
  const form = el("fault");
  if (!f) {
    alarm("held", "");
    if (fault !== null) { fault = null; form.hidden = true; text(el("stopped"), ""); }
    return;
  }
  form.hidden = false;
  alarm("held", `ARM HELD (${f.cause}): ${f.detail}`);
  text(el("cause"), f.cause);
  text(el("detail"), f.detail);
  text(el("when"), `Fault ${f.id}${f.episode ? " in " + f.episode : ""}, ${new Date(f.at).toLocaleString()}. The arm stays held until somebody who has seen it gives a name.`);
  if (fault !== f.id) {
    fault = f.id;
    text(el("acked"), "");
    el("note").value = "";
  }
}

// No Enter acknowledges, be it held from the field before.
el("ack").addEventListener("click", () => el("fault").requestSubmit());
el("fault").addEventListener("submit", async (e) => {
  e.preventDefault();
  const who = person();
  keep(who);
  el("ack").disabled = true;
  try {
    const r = await post("acknowledge", { fault, who, note: el("note").value.trim() }, 2500);
    text(el("acked"), r.left > 0 ? `Acknowledged; ${r.left} more to acknowledge.` : "Acknowledged.");
  } catch (err) {
    text(el("acked"), "Not acknowledged: " + (err.name === "AbortError" ? "no answer" : err.message));
  } finally {
    el("ack").disabled = false;
  }
});

// There is one name, asked for where it is needed.
for (const [a, b] of [["name", "pilot"], ["pilot", "name"]]) el(a).addEventListener("input", () => { el(b).value = el(a).value; });
el("pilot").addEventListener("change", () => keep(person()));

// It is kept on this device, for the next time; the label page keeps one of its own.
function keep(who) { try { localStorage.setItem("rapport.driver", who); } catch { /* not allowed here */ } }
try { el("name").value = el("pilot").value = localStorage.getItem("rapport.driver") || ""; } catch { /* not allowed here */ }

addEventListener("pagehide", () => { left = true; });
addEventListener("pageshow", (e) => { if (e.persisted) { left = false; connect(); } });
addEventListener("hashchange", () => location.reload());
el("label").href = "label#" + token;
el("clicks").href = "clicks#" + token;
connect();
watch();
setInterval(watch, 200);
setInterval(drive, driveEvery);

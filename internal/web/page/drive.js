"use strict";
// Reads a gamepad, the pads on the page or the keys, and tells the session
// thirty times a second while somebody holds on. The session's own limits apply
// to all of it.

const driveEvery = 33; // ms
const shoulder = [4, 5]; // of the standard gamepad: either one is the deadman switch

const layout = new Set(["ShiftLeft", "ShiftRight", "KeyW", "KeyA", "KeyS", "KeyD", "KeyR", "KeyF", "KeyQ", "KeyE", "KeyC", "KeyO"]);
const keys = new Set(); // codes that are down
const fingers = new Map(); // pad: [x, y] in -1..1, x to the right, y up
const grips = new Set(); // "close", "open": buttons on the page that are held
const stuck = new Set(); // codes, pads and grips that were let go of here and not by the hand yet
// typing says that keys are words just now.
const typing = () => document.activeElement instanceof HTMLInputElement;
let seq = 0;
let held = false; // what the session was told last
let fresh = false; // the switch was seen released since the page got the focus

// handsOff lets go of everything at once, and what is still held must be pressed
// anew.
function handsOff() {
  for (const k of [...keys, ...fingers.keys(), ...grips]) stuck.add(k);
  keys.clear();
  fingers.clear();
  grips.clear();
  fresh = false;
  drawPads();
  if (held) tell({ device: "keys", axes: [0, 0, 0, 0], buttons: [false, false] }, false);
}

function tell(r, deadman) {
  seq++;
  const sent = say({ teleop: { who: person(), device: r.device, seq, at: performance.now(), deadman, axes: r.axes, buttons: r.buttons } });
  // A release that could not be sent is sent again by the next call of drive.
  held = deadman ? held || sent : held && !sent;
}

const clamp = (x) => Math.max(-1, Math.min(1, Number.isFinite(x) ? x : 0));

// gamepad is the one that is read: of those in the standard layout, or of all where there is
// none, the first whose switch is held, or else the first. Receivers and keyboards that say
// that they are gamepads may come before real ones.
function gamepad() {
  const there = Array.from(navigator.getGamepads ? navigator.getGamepads() : []).filter((g) => g && g.connected);
  const standard = there.filter((g) => g.mapping === "standard"), pads = standard.length > 0 ? standard : there;
  const holds = (g) => shoulder.some((i) => Boolean(g.buttons[i] && g.buttons[i].pressed));
  const g = pads.find(holds) || pads[0];
  if (!g) return null;
  return { id: g.id, standard: standard.length > 0, deadman: holds(g), device: "gamepad", axes: Array.from(g.axes, clamp).slice(0, 16), buttons: Array.from(g.buttons, (b) => Boolean(b.pressed)).slice(0, 32) };
}

// hands is what keys and pads say, in the layout of the standard gamepad, so that
// one mapping does for all: sticks to the right and down count up.
function hands() {
  const k = (code) => keys.has(code) ? 1 : 0;
  const [lx, ly] = fingers.get("pad-xy") || [0, 0], [rx, ry] = fingers.get("pad-zr") || [0, 0];
  const axes = [k("KeyD") - k("KeyA") + lx, k("KeyS") - k("KeyW") - ly, k("KeyE") - k("KeyQ") + rx, k("KeyF") - k("KeyR") - ry].map(clamp);
  const buttons = [grips.has("close") || keys.has("KeyC"), grips.has("open") || keys.has("KeyO")];
  return { device: fingers.size + grips.size > 0 ? "pads" : "keys", deadman: keys.has("ShiftLeft") || keys.has("ShiftRight") || fingers.size > 0 || grips.size > 0, axes, buttons };
}

function drive() {
  const pad = gamepad(), mine = hands();
  const r = pad && pad.deadman ? pad : mine;
  showDriver(pad, r);
  if (!sight || !sight.teleop || document.hidden || !document.hasFocus() || !connected()) {
    if (held || r.deadman) handsOff();
    return;
  }
  if (fresh && stuck.size > 0) handsOff(); // a key of before came to light
  if (!fresh) {
    fresh = stuck.size === 0 && !r.deadman && !(pad && pad.deadman);
    return;
  }
  if (r.deadman) tell(r, true);
  else if (held) tell(r, false);
}

let pilot = { name: "", yours: false };
function showPilot(v) { pilot = { name: v.pilot || "", yours: Boolean(v.yours) }; }

// mine says whether the arm does what this page's hand says.
function mine() { return held && pilot.yours && sight.status && sight.status.by === "human" && !still(); }

// still is why no hand moves the arm just now.
function still() {
  const s = sight.status;
  return !s ? "" : s.fault ? "The arm is held by a fault: no hand moves it." : !s.moving ? "Nothing moves in this stage: no hand moves the arm." : !s.episode ? "No hand is heard in this stage." : "";
}

const others = { policy: "the policy", human: "another hand", guard: "the guard", log: "the recording" };

function showDriver(pad, r) {
  const p = el("driver");
  const other = pilot.name && !pilot.yours;
  const heard = sight && sight.teleop;
  p.parentElement.classList.toggle("old", !heard);
  p.className = "driver" + (heard && mine() ? " good" : other ? " warn" : "");
  text(p, heard ? driverSays(pad, r, other) : ended() ? "The session has ended." : "This session hears no hand. It does with teleop.input: bus.");
}

function driverSays(pad, r, other) {
  const why = still();
  if (other) return pilot.name + " drives, at another page";
  if (mine()) return "You drive";
  if (held && !why) return `You hold on; ${others[sight.status?.by] || "nobody"} decides`;
  if (!document.hasFocus()) return "Click on this page first: it hears no hand.";
  if (stuck.size > 0 || r.deadman && !fresh) return "Let go first, then hold on again";
  if (why) return why;
  if (pad) return (pad.standard ? "Gamepad ready: hold a shoulder button. " : "Gamepad ready, of another layout: buttons 4 and 5 hold, and its sticks may be others. ") + pad.id.slice(0, 60);
  return typing() ? "Keys go into the field now. Press Enter to drive by keys." : "Hold a pad, or Shift and keys. No gamepad found.";
}

// leave lets go, too, where nobody will tell when a key comes up: one that is still down
// afterwards repeats itself, or is told with the next.
function leave() {
  handsOff();
  for (const code of layout) stuck.delete(code);
}
for (const gone of ["blur", "pagehide"]) addEventListener(gone, leave);
document.addEventListener("visibilitychange", () => { if (document.hidden) leave(); });

// lifted forgets Shift where an event says that it is up: of two that are down, or as the layout
// is switched, a browser may not tell that one came up.
function lifted(e) {
  if (e.shiftKey) return;
  for (const code of ["ShiftLeft", "ShiftRight"]) {
    keys.delete(code);
    stuck.delete(code);
  }
}

addEventListener("keydown", (e) => {
  lifted(e); // first: what follows may be Shift itself
  if (e.target instanceof HTMLInputElement || e.ctrlKey || e.altKey || e.metaKey || !layout.has(e.code)) return;
  if (e.repeat) {
    if (!keys.has(e.code)) stuck.add(e.code);
    return;
  }
  stuck.delete(e.code);
  keys.add(e.code);
  // A Shift that is down and was not pressed since this page listens.
  if (e.shiftKey && !keys.has("ShiftLeft") && !keys.has("ShiftRight")) stuck.add("ShiftLeft");
});
addEventListener("keyup", (e) => {
  keys.delete(e.code);
  stuck.delete(e.code);
  lifted(e);
});

function drawPads() {
  for (const id of ["pad-xy", "pad-zr"]) {
    const v = fingers.get(id), [x, y] = v || [0, 0];
    el(id).classList.toggle("held", Boolean(v));
    el(id).firstElementChild.style.transform = `translate(${100 * x}%, ${-100 * y}%)`;
  }
  for (const g of ["close", "open"]) el("grip-" + g).setAttribute("aria-pressed", grips.has(g));
}

// leaveField gives the keys back to whoever drives.
function leaveField() { if (typing()) document.activeElement.blur(); }

for (const id of ["pad-xy", "pad-zr"]) {
  const pad = el(id);
  const at = (e) => {
    const b = pad.getBoundingClientRect();
    stuck.delete(id);
    fingers.set(id, [clamp(2.4 * ((e.clientX - b.left) / b.width - 0.5)), clamp(-2.4 * ((e.clientY - b.top) / b.height - 0.5))]);
    drawPads();
  };
  const off = () => { fingers.delete(id); stuck.delete(id); drawPads(); };
  pad.addEventListener("pointerdown", (e) => { e.preventDefault(); leaveField(); pad.setPointerCapture(e.pointerId); at(e); });
  pad.addEventListener("pointermove", (e) => { if (fingers.has(id)) at(e); });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) pad.addEventListener(end, off);
  pad.addEventListener("contextmenu", (e) => e.preventDefault());
}

for (const g of ["close", "open"]) {
  const b = el("grip-" + g);
  b.addEventListener("pointerdown", (e) => { e.preventDefault(); leaveField(); b.setPointerCapture(e.pointerId); stuck.delete(g); grips.add(g); drawPads(); });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) b.addEventListener(end, () => { grips.delete(g); stuck.delete(g); drawPads(); });
  b.addEventListener("contextmenu", (e) => e.preventDefault());
}

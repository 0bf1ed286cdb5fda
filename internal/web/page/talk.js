"use strict";
// What the labelling page and the page of clicks say to the server: requests with
// the token, what went wrong, and STOP.

const token = location.hash.slice(1);
const spaced = (s) => s.replace(/\s/g, " ").trim(); // names that are pasted bring other spaces along
const wait = (ms) => new Promise((go) => setTimeout(go, ms));

async function call(path, body, limit = 25000) {
  let r;
  try {
    r = await fetch(path, {
      method: body ? "POST" : "GET", cache: "no-store", credentials: "omit",
      headers: { Authorization: "Bearer " + token, ...(body ? { "Content-Type": "application/json" } : {}) },
      body: body ? JSON.stringify(body) : undefined, signal: AbortSignal.timeout(limit),
    });
  } catch (e) {
    throw new Error(e.name === "TimeoutError" ? "no answer" : `${live ? "the session" : "the program of this page"} has ended, or its machine cannot be reached`);
  }
  if (r.ok) return r;
  let why = r.statusText;
  try { why = (await r.json()).error || why; } catch { /* no JSON */ }
  const e = new Error(why);
  e.code = r.status;
  e.final = r.status < 500; // the same request will fare no better
  throw e;
}

// --- the arm of a session that runs ---

const armEvery = 1000; // ms between looks at it
const tellFor = 1000; // ms that what the session says of its arm may be under way
let live = false; // there is one
let stopped = -Infinity; // when a stop of this page was delivered

function showLive(yes, shown) {
  live = yes;
  el("halt").hidden = !live;
  el("dashboard").hidden = !shown;
  el("dashboard").href = "./#" + token;
  document.body.classList.toggle("running", live);
}

function showHeld(fault) {
  alarm("held", fault && `The arm is ${fault.cause === "stopped" ? "stopped" : "held: " + fault.cause} (${fault.detail}). It is acknowledged on the dashboard, by somebody who has seen it.`);
}

async function watchArm() {
  const began = now();
  try {
    const v = await (await call("arm", null, 5000)).json();
    showLive(v.live, v.shown);
    alarm("arm", "");
    // What was said before a stop was heard says nothing of it.
    if (v.held) showHeld(v.held);
    else if (!v.live || (v.age >= 0 && began - v.age > stopped + tellFor)) showHeld(null);
  } catch {
    alarm("arm", live ? "NO CONNECTION TO THE SESSION: STOP may not reach the arm. Use the stop at the arm." : "");
  }
  setTimeout(watchArm, armEvery);
}

// stops lets #halt stop the arm in the name of who(), at once when it is pressed.
function stops(where, who) {
  let halting = false, pressed = -Infinity;
  const halt = async () => {
    if (halting) return;
    halting = true;
    const until = now() + 30000;
    for (;;) {
      try {
        const v = await (await call("stop", { who: who(), why: "STOP on the " + where }, 2000)).json();
        stopped = now();
        alarm("stop", "");
        showHeld(v.fault);
        break;
      } catch (e) {
        const over = now() > until;
        alarm("stop", `STOP WAS NOT DELIVERED (${e.message}). USE THE STOP AT THE ARM.` + (over ? " This page gave up trying; press again." : ""));
        if (over) break;
        await wait(500);
      }
    }
    halting = false;
  };
  el("halt").addEventListener("pointerdown", (e) => { e.preventDefault(); pressed = now(); halt(); });
  el("halt").addEventListener("click", () => { if (now() - pressed > 1000) halt(); });
  if (token) watchArm();
  return halt;
}

"use strict";
// What the labelling page and the page of clicks say to the server: requests with
// the token, what went wrong, and STOP.

const token = location.hash.slice(1);
const wait = (ms) => new Promise((go) => setTimeout(go, ms));

async function call(path, body, limit = 25000) {
  const r = await fetch(path, {
    method: body ? "POST" : "GET", cache: "no-store", credentials: "omit",
    headers: { Authorization: "Bearer " + token, ...(body ? { "Content-Type": "application/json" } : {}) },
    body: body ? JSON.stringify(body) : undefined, signal: AbortSignal.timeout(limit),
  });
  if (r.ok) return r;
  let why = r.statusText;
  try { why = (await r.json()).error || why; } catch { /* no JSON */ }
  const e = new Error(why);
  e.final = r.status < 500; // the same request will fare no better
  throw e;
}

function alarm(words) {
  const box = el("alarms");
  if (!words) { box.replaceChildren(); return; }
  if (box.textContent !== words) box.replaceChildren(make("p", "alarm", words));
}

// stops lets #halt stop the arm in the name of who(), at once when it is pressed.
function stops(where, who) {
  let halting = false, pressed = -Infinity;
  const halt = async () => {
    if (halting) return;
    halting = true;
    const until = now() + 30000;
    do {
      try {
        await call("stop", { who: who(), why: "STOP on the " + where });
        alarm("The arm is stopped. It is acknowledged on the dashboard, by somebody who has seen it.");
        break;
      } catch (e) {
        alarm(`STOP WAS NOT DELIVERED (${e.message}). USE THE STOP AT THE ARM.`);
        await wait(500);
      }
    } while (now() < until);
    halting = false;
  };
  el("halt").addEventListener("pointerdown", (e) => { e.preventDefault(); pressed = now(); halt(); });
  el("halt").addEventListener("click", () => { if (now() - pressed > 1000) halt(); });
  return halt;
}

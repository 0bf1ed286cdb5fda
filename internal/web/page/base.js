"use strict";
// What all of the page's scripts use. They are loaded in the order base, chart,
// drive, app, and only app starts anything.

const el = (id) => document.getElementById(id);
const now = () => performance.now();

function text(node, s) {
  s = String(s);
  if (node.textContent !== s) node.textContent = s;
}

function make(tag, cls, s) {
  const e = document.createElement(tag);
  if (cls) e.className = cls;
  if (s !== undefined) e.textContent = s;
  return e;
}

// Alarms have names, so that none takes another's place. Texts are constant while an
// alarm lasts, since screen readers read each change.
const alarms = new Map();
function alarm(name, words) {
  let p = alarms.get(name);
  if (!words) {
    if (p) { p.remove(); alarms.delete(name); }
    return;
  }
  if (!p) {
    p = make("p", "alarm");
    p.dataset.alarm = name;
    alarms.set(name, p);
    el("alarms").append(p);
  }
  text(p, words);
}

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

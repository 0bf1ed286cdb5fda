"use strict";
// Draws one curve as SVG. values may hold null, where the curve has a gap.

const svgNS = "http://www.w3.org/2000/svg";

function shortly(x) {
  if (x === null || x === undefined) return "–";
  const a = Math.abs(x);
  return a !== 0 && (a < 1e-3 || a >= 1e5) ? x.toExponential(2) : x.toFixed(a < 10 ? 3 : a < 1000 ? 2 : 0);
}

function drawCurve(box, values, first, what, span) {
  const known = values.filter((v) => v !== null);
  box.replaceChildren();
  if (known.length === 0) {
    box.append(make("p", "none", "Nothing yet."));
    return;
  }
  let lo = Math.min(...known), hi = Math.max(...known);
  if (hi - lo < 1e-9) { lo -= 0.5; hi += 0.5; }
  const n = Math.max(span || values.length, 2), x = (i) => 100 * i / (n - 1), y = (v) => 100 - 100 * (v - lo) / (hi - lo);
  const svg = document.createElementNS(svgNS, "svg");
  svg.setAttribute("viewBox", "0 0 100 100");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `${what}: ${known.length} values from ${shortly(lo)} to ${shortly(hi)}, the last ${shortly(known[known.length - 1])}`);
  const put = (tag, at) => {
    const e = document.createElementNS(svgNS, tag);
    for (const k in at) e.setAttribute(k, at[k]);
    svg.append(e);
  };
  for (const h of [0, 50, 100]) put("line", { x1: 0, x2: 100, y1: h, y2: h });
  let d = "", pen = false;
  values.forEach((v, i) => {
    if (v === null) { pen = false; return; }
    d += `${pen ? "L" : "M"}${x(i).toFixed(2)} ${y(v).toFixed(2)}`;
    // A point alone, and the last one, is drawn as a short stroke.
    if (i === values.length - 1 || !pen && (i + 1 >= values.length || values[i + 1] === null)) d += "h0.6";
    pen = true;
  });
  put("path", { d });
  const axis = (...words) => {
    const row = make("div", "axis");
    for (const w of words) row.append(make("span", "", w));
    box.append(row);
  };
  axis(`${shortly(hi)}`, `last ${shortly(values[values.length - 1])}`);
  box.append(svg);
  axis(`${shortly(lo)}`, `${what} ${first} to ${first + values.length - 1}`);
}

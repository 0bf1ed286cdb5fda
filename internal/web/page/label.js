"use strict";
// The labelling page: shows a question, takes an answer, and shows the next one
// once the answer is stored. What a person said is sent until it is stored; its ID
// came with the question, so sending it twice stores it once.

const retryEvery = 1500; // ms
const blindFor = 300; // ms for which a new question takes no answer: the last press may have been a double one

let state = null;
let seen = []; // of each clip, the cameras that were shown
let began = 0; // when the question was shown
let ready = false; // it may be answered
let blank = false; // a clip of it can never be seen: it may be passed over
let sending = false;
let loading = null; // AbortController of what is being loaded
let turn = 0; // counts who asks for what is shown: an answer to an earlier one comes too late
const picked = new Set(); // reasons
const drafts = new Map(); // by the ID that its answer has: what was said of a question that was left
let posed = ""; // the ID that an answer to what is shown has

const remember = (k, v) => { try { localStorage.setItem("rapport." + k, v); } catch { /* not allowed here */ } };
const recall = (k) => { try { return localStorage.getItem("rapport." + k) || ""; } catch { return ""; } };
// Who answers, and what is asked, are this tab's: another day, whoever started the
// program says.
const hold = (k, v) => { try { sessionStorage.setItem("rapport." + k, v); } catch { /* not allowed here */ } };
const held = (k) => { try { return sessionStorage.getItem("rapport." + k) || ""; } catch { return ""; } };
const person = () => (state && state.annotator) || held("annotator");

// --- asking the server ---

// Pictures that were shown are kept for a while: an episode is asked about more
// than once, and undo shows a question again.
const bufferBytes = 64e6;
const buffers = new Map(); // path: ArrayBuffer, the newest use last
const coming = new Map(); // path: promise of one
async function bytes(path) {
  let b = buffers.get(path);
  if (!b) {
    let p = coming.get(path);
    if (!p) {
      p = call(path, null, 120000).then((r) => r.arrayBuffer()); // a network may be slow
      coming.set(path, p);
      p.finally(() => coming.delete(path)).catch(() => {});
    }
    b = await p;
  }
  buffers.delete(path);
  buffers.set(path, b);
  let sum = 0;
  for (const x of buffers.values()) sum += x.byteLength;
  for (const [k, x] of buffers) {
    if (sum <= bufferBytes) break;
    sum -= x.byteLength;
    buffers.delete(k);
  }
  return b;
}

// insist sends until it is answered, or not wanted any more. Refusals are thrown.
async function insist(path, body, what, wanted = () => true) {
  while (wanted()) {
    try {
      const v = await (await call(path, body)).json();
      alarm("send", "");
      return v;
    } catch (e) {
      if (e.final) throw e;
      alarm("send", `${what} (${e.message}). Trying again; leave this page open.`);
      await wait(retryEvery);
    }
  }
}

// --- what is shown ---

const asks = {
  pair: "Which is better?",
  triplet: "Which is more like the anchor?",
  ranking: "Put the clips in order, the best first.",
  segments: "Which stretches are good, which are bad?",
};

async function refresh(kind, way = "", who = person()) {
  if (!token) { alarm("token", "This page has no token: open the link that the program printed."); return; }
  const q = new URLSearchParams({ annotator: who, kind: kind ?? held("kind"), way });
  const mine = ++turn;
  try {
    const v = await insist("label/state?" + q, null, "The question did not come", () => mine === turn);
    if (mine !== turn) return;
    if (who && !state) hold("annotator", v.annotator); // a name counts once it is taken
    await show(v);
  } catch (e) {
    if (mine !== turn) return;
    alarm("send", e.message);
    if (e.code === 400 && !state) { hold("annotator", ""); el("who").hidden = false; }
  }
}

async function show(v) {
  alarm("send", "");
  const fresh = !state || !state.question || !v.question || state.question.id !== v.question.id || v.taken || state.label !== v.label;
  state = v;
  text(el("session"), v.session || "Rapport");
  document.title = `Label ${v.session} – Rapport`;
  // Where somebody waits for what all people answer together, that is what counts.
  const all = v.together, answered = all ? all.answers : v.answered, asked = all ? all.asked : v.asked;
  text(el("count"), `${answered} of ${asked}${all ? " that count, by all" : v.all > v.answered ? `, ${v.all} by all` : ""}`);
  el("progress").max = asked;
  el("progress").value = Math.min(answered, asked);
  const kinds = el("kind");
  if (kinds.options.length === 0) kinds.append(...v.kinds.map((k) => new Option(k, k)));
  kinds.value = v.kind;
  const ways = el("way");
  if (ways.options.length === 0) ways.append(...v.ways.map((k) => new Option(k, k)));
  ways.value = v.way;
  ways.parentElement.hidden = v.ways.length < 2;
  el("who").hidden = v.annotator !== "";
  el("stay").hidden = true;
  el("table").hidden = !v.annotator;
  // Where everything is asked, the last answer can still be taken back.
  el("shown").hidden = el("reasons").hidden = !v.question;
  el("note").hidden = !v.note && (all !== undefined || v.answered < v.asked);
  text(el("note"), v.note || `That is all that was asked for: ${v.answered} answers. Thank you. You may go on.`);
  text(el("me"), v.annotator ? `You are ${v.annotator}.` : "");
  showAgreement(v);
  el("warn").replaceChildren(...(v.warn || []).map((w) => make("li", "", w)));
  el("undo").disabled = !v.last;
  if (!v.annotator && !el("name").value) el("name").value = recall("operator");
  if (!v.question) {
    player.close();
    allow(false);
    document.body.dataset.ready = "";
    el("choices").hidden = el("ranking").hidden = el("marking").hidden = true;
    text(el("why"), "");
    return;
  }
  if (!fresh) { drawTags(); return; }
  if (posed) drafts.set(posed, { order: order.draft(), marks: marks.draft(), tags: [...picked] });
  posed = v.label;
  showTags(v.taken ? v.taken.tags : drafts.has(posed) ? drafts.get(posed).tags : []);
  await pose(v);
}

const words = { left: "left", right: "right", tie: "alike", unsure: "cannot tell" };
function spoken(l) {
  if (l.choice) return words[l.choice];
  if (l.places) return l.places.map((p, i) => [p, letter(i)]).sort((a, b) => a[0] - b[0]).map(([p, c], i, all) => (i ? (p === all[i - 1][0] ? " = " : " > ") : "") + c).join("");
  const n = (l.marks || []).length;
  return n === 0 ? "no marks" : n === 1 ? "1 mark" : n + " marks";
}

function showAgreement(v) {
  const list = v.agree || [];
  el("agree").replaceChildren(...(list.length ? list.map((a) => make("li", "", `with ${a.with}: ${Math.round(100 * a.share)} % of ${a.both}`)) : [make("li", "small", "Nobody else has answered what you have.")]));
  const n = Math.round(list.reduce((s, a) => s + a.both, 0));
  el("agree").dataset.both = n;
  text(el("others"), v.last && v.others ? `Your last: ${spoken(v.last)}. ` + v.others.map((l) => `${l.annotator}: ${spoken(l)}`).join(", ") + "." : "");
}

// panel is a clip's place on the page.
function panel(q, i) {
  const clip = q.clips[i], f = q.films[i];
  const names = q.kind === "pair" ? ["left", "right"] : q.kind === "triplet" ? ["anchor", "left", "right"] : q.kind === "ranking" ? q.clips.map((_, k) => letter(k)) : ["clip"];
  const card = make("div", "clip " + names[i]), head = make("div", "name", names[i]), pictures = make("div", "pictures");
  card.dataset.clip = i;
  card.append(head, pictures);
  const all = clip.cameras && clip.cameras.length ? clip.cameras : f.cameras;
  const one = el("camera").value, cameras = all.includes(one) ? [one] : all;
  pictures.dataset.n = cameras.length;
  for (const c of cameras) if (!seen[i].includes(c)) seen[i].push(c);
  return { card, films: cameras.map((c) => {
    const fig = make("figure"), canvas = make("canvas");
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `${names[i]}, camera ${c}`);
    fig.append(canvas, make("span", "ended", "ended"));
    if (all.length > 1) fig.append(make("figcaption", "", c));
    pictures.append(fig);
    return new Film(clip, c, canvas, names[i]);
  }) };
}

// Why a question was asked, where the name of the reason says too little.
const whys = { root: "what you found best so far, beside something new", again: "once more, the other way round, since much follows from your answer" };

// pose shows a question from its beginning.
async function pose(v) {
  const q = v.question;
  allow(false);
  document.body.dataset.ready = "";
  text(el("ask"), asks[q.kind]);
  text(el("why"), q.why ? `This question was chosen: ${whys[q.why] ?? q.why}${q.gain ? `, ${q.gain.toFixed(2)} bits expected` : ""}.` : "");
  const cameras = [...new Set(q.films.flatMap((f, i) => q.clips[i].cameras || f.cameras))], pick = el("camera"), was = pick.value || recall("camera");
  pick.replaceChildren(new Option("all", ""), ...cameras.map((c) => new Option(c, c)));
  pick.value = cameras.includes(was) ? was : "";
  pick.parentElement.hidden = cameras.length < 2;
  el("choices").hidden = q.kind !== "pair" && q.kind !== "triplet";
  el("ranking").hidden = q.kind !== "ranking";
  el("marking").hidden = el("marks").hidden = q.kind !== "segments";
  el("clips").className = "clips " + q.kind;
  order.begin(q.kind === "ranking" ? q.clips.length : 0);
  const c = q.clips[0];
  marks.begin(c.from || 0, Math.max(1, (c.to || q.films[0].steps) - (c.from || 0)));
  if (v.taken) {
    text(el("said"), `Taken back: ${spoken(v.taken)}.`);
    if (v.taken.marks) { marks.list = v.taken.marks.map((m) => ({ from: m.from, to: m.to, good: m.good === true })); marks.draw(); }
  }
  const draft = drafts.get(v.label);
  if (draft && q.kind === "ranking") order.resume(draft.order);
  if (draft && q.kind === "segments") marks.resume(draft.marks);
  began = now();
  await film(true);
}

// allow says whether the question may be answered; what cannot be pressed looks so.
function allow(yes) {
  ready = yes;
  blank = false;
  for (const id of ["left", "right", "tie", "unsure", "good", "bad", "marked"]) el(id).disabled = !yes;
  el("ranked").disabled = !yes || !order.whole();
}

// pass lets a question be passed over of which a clip can never be seen, and says how: it would be
// asked until it is answered.
function pass(q) {
  blank = true;
  for (const id of ["unsure", "marked"]) el(id).disabled = false;
  return q.kind === "ranking" ? " Choose another kind of question." : q.kind === "segments" ? " Go on without marks." : " Go on by: cannot tell.";
}

// film loads the pictures of the question that is shown, and plays them; anew from the
// beginning, and until they are there nothing is answered.
async function film(anew) {
  if (loading) loading.abort();
  const mine = loading = new AbortController(), q = state.question, at = anew ? 0 : player.step, plays = anew || player.playing;
  if (anew) seen = q.clips.map(() => []);
  el("loading").hidden = false;
  for (;;) {
    // Anew each time: a film that was dropped shows nothing any more.
    const panels = q.clips.map((_, i) => panel(q, i));
    el("clips").replaceChildren(...panels.map((p) => p.card));
    order.onchange();
    try {
      if (!await player.open(panels.flatMap((p) => p.films), bytes, mine.signal)) return;
      break;
    } catch (e) {
      if (mine.signal.aborted) return;
      alarm("pictures", `The pictures did not come (${e.message}).` + (e.final ? pass(q) : " Trying again."));
      if (e.final) return;
      await wait(retryEvery);
      if (mine.signal.aborted) return;
    }
  }
  alarm("pictures", "");
  el("loading").hidden = true;
  el("scrub").max = player.last;
  await player.show(at);
  if (plays) player.toggle();
  if (!anew) return;
  began = now();
  await wait(blindFor);
  if (mine.signal.aborted || !state || state.question !== q) return;
  allow(true);
  document.body.dataset.ready = state.label;
  // What comes next is fetched meanwhile, where that is known.
  const one = el("camera").value;
  for (const c of state.ahead || []) {
    for (const name of c.cameras.includes(one) ? [one] : c.cameras) {
      if (mine.signal.aborted || !state || state.question !== q) return;
      try { await bytes(address(c, name)); } catch { return; } // it is asked for again when it is shown
    }
  }
}

player.onstep = (at) => {
  el("scrub").value = at;
  text(el("step"), `${at} of ${player.last}`);
  text(el("play"), player.playing ? "❚❚" : "▶");
  el("play").setAttribute("aria-label", player.playing ? "pause" : "play");
  el("needle").style.left = 100 * at / Math.max(1, player.last) + "%";
  const b = marks.begun;
  el("good").setAttribute("aria-pressed", String(Boolean(b && b.good)));
  el("bad").setAttribute("aria-pressed", String(Boolean(b && !b.good)));
};
marks.onchange = () => player.onstep(player.step);
order.onchange = () => {
  const places = order.places();
  for (const c of document.querySelectorAll(".clips.ranking .clip")) {
    const p = places[c.dataset.clip];
    c.dataset.place = p || "";
  }
  el("ranked").disabled = !ready || !order.whole();
};

// --- reasons ---

function showTags(chosen) {
  picked.clear();
  for (const t of chosen || []) picked.add(t);
  drawTags();
}

function drawTags() {
  let own = [];
  try { own = JSON.parse(recall("tags") || "[]"); } catch { /* not ours */ }
  const all = [...new Set([...(state ? state.tags : []), ...own, ...picked])];
  el("tags").replaceChildren(...all.map((t) => {
    const b = make("button", "tag", t);
    b.type = "button";
    b.setAttribute("aria-pressed", String(picked.has(t)));
    b.addEventListener("click", () => { if (!picked.delete(t) && picked.size < 12) picked.add(t); drawTags(); });
    return b;
  }));
}

el("own").addEventListener("submit", (e) => {
  e.preventDefault();
  const t = spaced(el("tag").value);
  if (!t || picked.size >= 12) return;
  picked.add(t);
  el("tag").value = "";
  el("tag").blur();
  let own = [];
  try { own = JSON.parse(recall("tags") || "[]"); } catch { /* not ours */ }
  if (!own.includes(t)) remember("tags", JSON.stringify([...own, t].slice(-20)));
  drawTags();
});

// --- answers ---

async function answer(part) {
  const passed = blank && (part.choice === "unsure" || part.marks && part.marks.length === 0);
  if (!ready && !passed || sending || !state || !state.question) return;
  const { id, kind, clips, why, gain } = state.question;
  const body = {
    id: state.label, annotator: state.annotator, tags: [...picked], took_ns: Math.round(now() - began) * 1e6,
    query: { id, kind, why: why || "", gain: gain || 0, clips: clips.map((c, i) => ({ ...c, cameras: (c.cameras || state.question.films[i].cameras).filter((x) => seen[i].includes(x)) })) },
    ...part,
  };
  await send(async () => {
    const v = await insist("label/answer", body, "YOUR ANSWER IS NOT STORED YET");
    drafts.delete(posed);
    posed = "";
    text(el("said"), v.added ? `Stored: ${spoken(body)}${picked.size ? " (" + [...picked].join(", ") + ")" : ""}.` : "This was stored before; undo to change it.");
    return v;
  });
}

async function undo() {
  if (sending || !state || !state.last) return;
  const body = { annotator: state.annotator, id: state.last.id };
  await send(() => insist("label/undo", body, "NOTHING IS TAKEN BACK YET"));
}

// send does one thing at a time, and shows what is next.
async function send(act) {
  sending = true;
  turn++;
  document.body.classList.add("sending");
  try {
    const v = await act();
    sending = false;
    document.body.classList.remove("sending");
    await show(v);
  } catch (e) {
    alarm("send", "Not stored: " + e.message);
  } finally {
    sending = false;
    document.body.classList.remove("sending");
  }
}

// here is the step that is marked: what is seen while it plays, else what was asked for.
const here = () => marks.first + (player.playing ? player.step : player.wish);
const choose = (choice) => { if (!el("choices").hidden) answer({ choice }); };
for (const c of ["left", "right", "tie", "unsure"]) el(c).addEventListener("click", () => choose(c));
const store = () => {
  if (!el("ranking").hidden && order.whole()) answer({ places: order.places() });
  if (!el("marking").hidden) { marks.finish(here()); answer({ marks: marks.list.map(({ from, to, good }) => ({ from, to, good })) }); }
};
el("ranked").addEventListener("click", store);
el("marked").addEventListener("click", store);
el("good").addEventListener("click", () => marks.press(true, here()));
el("bad").addEventListener("click", () => marks.press(false, here()));
el("undo").addEventListener("click", undo);
el("clips").addEventListener("click", (e) => {
  const c = e.target.closest(".clip");
  if (c && !el("ranking").hidden) order.tap(Number(c.dataset.clip));
});

// --- playing ---

const still = () => { player.playing = false; };
el("play").addEventListener("click", () => { player.toggle(); player.onstep(player.step); });
el("back").addEventListener("click", () => { still(); player.show(player.wish - 1); });
el("on").addEventListener("click", () => { still(); player.show(player.wish + 1); });
el("scrub").addEventListener("input", () => { still(); player.show(Number(el("scrub").value)); });
for (const kind of ["pointerup", "change"]) el("scrub").addEventListener(kind, (e) => { if (kind === "pointerup") e.target.blur(); });
el("speed").addEventListener("change", (e) => { player.pace(Number(e.target.value)); e.target.blur(); });
el("loop").addEventListener("change", (e) => e.target.blur());
el("camera").addEventListener("change", (e) => { remember("camera", e.target.value); e.target.blur(); if (state && state.question) film(!ready); });
el("kind").addEventListener("change", (e) => { hold("kind", e.target.value); e.target.blur(); if (!sending && state) refresh(e.target.value); });

el("way").addEventListener("change", (e) => { e.target.blur(); if (!sending && state && person()) refresh(undefined, e.target.value); });

const keys = {
  ArrowLeft: () => choose("left"), ArrowRight: () => choose("right"), t: () => choose("tie"), u: () => choose("unsure"),
  z: undo, Enter: store, g: () => el("marking").hidden || el("good").click(), b: () => el("marking").hidden || el("bad").click(),
};
const steps = { ",": -1, ".": 1 };
const writing = (e) => e.target instanceof HTMLSelectElement || (e.target instanceof HTMLInputElement && e.target.type !== "checkbox");

addEventListener("keydown", (e) => {
  if (writing(e) || e.ctrlKey || e.metaKey || e.altKey || !state) return;
  const k = e.key.length === 1 ? e.key.toLowerCase() : e.key;
  if (!state.question && k !== "z") return;
  if (k in steps) { e.preventDefault(); still(); player.show(player.wish + steps[k]); return; }
  if (e.repeat) return;
  if (k >= "1" && k <= "9") {
    const i = Number(k) - 1;
    if (!el("ranking").hidden) { if (i < order.n) order.tap(i); } else if (i < 2) choose(["left", "right"][i]);
  } else if (k in keys && !(k === "Enter" && e.target instanceof HTMLButtonElement)) {
    e.preventDefault();
    keys[k]();
  }
});
// A button that was tapped does not keep the keys.
addEventListener("click", (e) => { const b = e.detail > 0 && e.target.closest && e.target.closest("button"); if (b) b.blur(); });
// The space bar plays, even where a button has the focus.
for (const kind of ["keydown", "keyup"]) {
  addEventListener(kind, (e) => {
    if (e.code !== "Space" || writing(e) || !state || !state.question) return;
    e.preventDefault();
    e.stopImmediatePropagation();
    if (kind === "keydown" && !e.repeat) el("play").click();
  }, true);
}

// --- who, and the arm of a session that runs ---

el("who").addEventListener("submit", (e) => {
  e.preventDefault();
  const name = spaced(el("name").value);
  if (!name) return;
  remember("operator", name); // offered the next time
  state = null;
  refresh(undefined, "", name);
});
// Until the next person gives a name there is nobody to answer in whose name.
let before = ""; // who answered
el("other").addEventListener("click", () => {
  if (sending) return;
  before = person();
  hold("annotator", "");
  turn++;
  state = null;
  allow(false);
  document.body.dataset.ready = "";
  if (loading) loading.abort();
  player.close();
  el("table").hidden = el("note").hidden = true;
  el("who").hidden = el("stay").hidden = false;
  text(el("stay"), "back to " + before);
  el("name").value = "";
  el("name").focus();
});
el("stay").addEventListener("click", () => refresh(undefined, "", before));

stops("labelling page", person);

function frame() {
  player.tick(el("loop").checked);
  requestAnimationFrame(frame);
}
addEventListener("hashchange", () => location.reload());
const done = () => state.together && state.together.done; // then the program that asked ends, and answers nothing
// A tablet that was asleep shows what is asked now.
document.addEventListener("visibilitychange", () => { if (!document.hidden && !sending && state && !state.question && !done()) refresh(); });
// Episodes may have come, or answers of others.
setInterval(() => { if (!sending && state && (state.note || state.together) && state.annotator && !done()) refresh(); }, 5000);
refresh();
requestAnimationFrame(frame);

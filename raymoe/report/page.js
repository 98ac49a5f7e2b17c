"use strict";
// The sample explorer. All text comes from data elements and is set as text, never as markup. What the list
// needs of every sample is in one of them; the rest of a sample has its own, which is parsed when it is looked at.
// This runs as soon as the explorer and the first sample are there: the other samples arrive behind it.

const $ = (id) => document.getElementById(id);
const data = JSON.parse($("index-data").textContent);
const KEPT = 64; // parsed samples
const ROW = 66, COLUMN = 84; // an item of the list, pixels, in a list that runs down or across
const LONG_TEXT = 72; // of a longer text only the neighbourhood of what matters is shown at first
const CONTEXT = 3;
const TALLEST = 620; // of a picture, pixels
const state = { rule: Object.keys(data.rules)[0] ?? "zero", view: "value", withoutMinor: false, sample: 0, expert: null, score: null, whole: false, sort: { column: "strength", down: true } };
const stage = $("stage");
let spots = new Map(); // "modality/index" -> its element
let wires = [];
let lit = []; // the pairs that are pointed at
let shown = []; // the samples of the list, filtered and sorted
const parsed = new Map(); // the samples that were looked at last
let awaited; // a sample that was chosen before it arrived

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("--")) element.style.setProperty(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

const SVG = "http://www.w3.org/2000/svg";
function draw(tag, attributes, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const key = ([modality, index]) => `${modality}/${index}`;
function sampleAt(i) {
  const sample = parsed.get(i) ?? JSON.parse($(`sample-data-${i}`).textContent);
  parsed.delete(i);
  parsed.set(i, sample);
  if (parsed.size > KEPT) parsed.delete(parsed.keys().next().value);
  return sample;
}

// Of the last element that has arrived, the text may still be on its way.
const hasArrived = (i) => i === 0 || document.readyState !== "loading" || $(`sample-data-${i + 1}`) !== null;

const expertOf = (name) => data.experts.find((e) => e.name === name);
const sequenceOf = (sample, name) => sample.sequences.find((s) => s.name === name);
const current = () => sampleAt(state.sample);
const isMinor = ([name, i]) => sequenceOf(current(), name).minor?.includes(i) ?? false;
// Of an expert that was measured by one rule of masking alone that one is shown.
const ruleShown = () => (state.rule === "zero" ? ["pairs", "inputPairs"] : ["inputPairs", "pairs"])
  .find((name) => current()[name][state.expert]) ?? "pairs";
const allPairs = () => current()[ruleShown()][state.expert] ?? {};
const spotsOf = ([modality, index, others]) => [index, ...(others ?? [])].map((i) => key([modality, i]));
// What SII can be centred on: its sample's mean, and that of the sample's classes.
const means = () => current()[ruleShown() === "pairs" ? "means" : "inputMeans"][state.expert] ?? {};
const viewShown = () => (state.score === data.centred && Number.isFinite(means()[state.view]) ? state.view : "value");
const centred = new WeakMap(); // a pair -> by view, the same less that mean
function seenBy(view, pair) {
  if (view === "value") return pair;
  if (!centred.has(pair)) centred.set(pair, {});
  return (centred.get(pair)[view] ??= { ...pair, value: pair.value - means()[view] });
}
function pairsShown() {
  const found = (allPairs()[state.score] ?? []).filter((p) => !state.withoutMinor || !(isMinor(p.u) || isMinor(p.v)));
  const view = viewShown();
  const seen = found.map((pair) => seenBy(view, pair));
  if (view !== "value") seen.sort((a, b) => Math.abs(b.value) - Math.abs(a.value));
  return seen.slice(0, data.listed);
}
const isBetweenTextAndImage = (pair) =>
  [pair.u, pair.v].map(([m]) => sequenceOf(current(), m).kind).sort().join() === "image,text";

// ---- what can be chosen

function buildChoices() {
  for (const expert of data.experts) {
    const input = make("input", { type: "radio", name: "expert", value: expert.name });
    input.addEventListener("change", () => {
      state.expert = expert.name;
      state.score = expert.score;
      show();
    });
    $("experts-choice").append(make("label", { "--c": expert.color }, input, expert.label));
  }
  for (const [name, label] of Object.entries(data.rules)) {
    const input = make("input", { type: "radio", name: "rule", value: name });
    input.addEventListener("change", () => { state.rule = name; show(); });
    $("rules-choice").append(make("label", {}, input, label));
  }
  for (const [name, label] of Object.entries(data.scores)) {
    const input = make("input", { type: "radio", name: "score", value: name });
    input.addEventListener("change", () => { state.score = name; show(); });
    $("scores-choice").append(make("label", {}, input, label));
  }
  for (const [name, label] of Object.entries(data.views)) {
    const input = make("input", { type: "radio", name: "view", value: name });
    input.addEventListener("change", () => { state.view = name; show(); });
    $("views-choice").append(make("label", {}, input, label));
  }
  $("heat").addEventListener("change", (e) => stage.classList.toggle("no-heat", !e.target.checked));
  $("minor").addEventListener("change", (e) => { state.withoutMinor = !e.target.checked; show(); });
  $("links").addEventListener("change", (e) => { stage.classList.toggle("no-links", !e.target.checked); drawWires(); });
}

function buildList() {
  const counts = data.classes.map((_, c) => data.samples.filter((s) => s.labels.includes(c)).length);
  data.classes.forEach((name, c) => {
    if (counts[c]) $("class-filter").append(make("option", { value: c }, `${name} (${counts[c]})`));
  });
  for (const expert of data.experts.filter((e) => e.probed)) {
    $("order").append(make("option", { value: expert.name }, `strongest ${expert.label}`));
  }
  $("list").addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(room() / itemSize()) - 1);
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    const jump = { PageDown: page, PageUp: -page }[event.key];
    if (step) go(step);
    else if (jump) choose(shown[Math.min(shown.length - 1, Math.max(0, shown.indexOf(state.sample) + jump))]);
    else if (event.key === "Home") choose(shown[0]);
    else if (event.key === "End") choose(shown.at(-1));
    else return;
    event.preventDefault();
  });
  $("list").addEventListener("scroll", renderList, { passive: true });
  $("previous").addEventListener("click", () => go(-1));
  $("next").addEventListener("click", () => go(1));
  for (const id of ["filter", "class-filter", "result-filter"]) $(id).addEventListener("input", () => filterList());
  $("order").addEventListener("input", () => filterList(true));
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input[type=search], select") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "," || event.key === ".") go(event.key === "," ? -1 : 1);
    else if (event.key === "/") { event.preventDefault(); $("filter").focus(); }
  });
}

function filterList(fromTop = false) {
  const words = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const wanted = $("class-filter").value, result = $("result-filter").value, order = $("order").value;
  shown = data.samples.map((_, i) => i).filter((i) => {
    const sample = data.samples[i];
    const text = `${sample.id} ${sample.text} ${sample.labels.map((c) => data.classes[c]).join(" ")}`.toLowerCase();
    return words.every((word) => text.includes(word))
      && (wanted === "" || sample.labels.includes(Number(wanted)))
      && (result === "" || sample.right === (result === "right"));
  });
  const strength = (i) => data.samples[i].strength[order] ?? -Infinity;
  if (order) shown.sort((a, b) => strength(b) - strength(a) || a - b);
  if (shown.length && (fromTop || !shown.includes(state.sample))) choose(shown[0]);
  else { tellPlace(); reveal(); }
}

function go(step) {
  if (!shown.length) return;
  choose(shown[(shown.indexOf(state.sample) + step + shown.length) % shown.length]);
}

function choose(i) {
  if (i === undefined) return;
  awaited = hasArrived(i) ? undefined : i;
  if (awaited !== undefined) { $("place").textContent = "loading …"; return; }
  state.sample = i;
  state.whole = false;
  show();
  reveal();
}

const isAcross = () => matchMedia("(max-width: 1000px)").matches;
const itemSize = () => (isAcross() ? COLUMN : ROW);
const room = () => (isAcross() ? $("list").clientWidth : $("list").clientHeight);

function reveal() {
  const list = $("list"), at = shown.indexOf(state.sample) * itemSize();
  const start = isAcross() ? "scrollLeft" : "scrollTop";
  if (at >= 0) list[start] = Math.min(at, Math.max(list[start], at + itemSize() - room()));
  renderList();
}

// Only the items that can be seen are in the page, and the chosen one.
function renderList() {
  const list = $("list"), size = itemSize(), across = isAcross();
  $("list-space").style.cssText = across ? `width: ${shown.length * size}px; height: 96px` : `height: ${shown.length * size}px`;
  const start = across ? list.scrollLeft : list.scrollTop;
  const first = Math.max(0, Math.floor(start / size) - 2), last = Math.ceil((start + room()) / size) + 2;
  const places = shown.map((_, place) => place).slice(first, last);
  const chosen = shown.indexOf(state.sample);
  if (chosen >= 0 && !places.includes(chosen)) places.push(chosen);
  $("list-space").replaceChildren(...places.map((place) => item(shown[place], place, across ? "left" : "top", place * size)));
  if (chosen >= 0) list.setAttribute("aria-activedescendant", `sample-${state.sample}`);
  else list.removeAttribute("aria-activedescendant");
}

function item(i, place, side, at) {
  const { id, text, labels } = data.samples[i];
  const picture = hasArrived(i) && sampleAt(i).sequences.find((s) => s.kind === "image")?.picture;
  const thumb = picture ? make("img", { class: "thumb", src: picture, alt: "" }) : make("span", { class: "thumb" }, hasArrived(i) ? "?" : "");
  const element = make(
    "div",
    {
      class: "item", role: "option", id: `sample-${i}`, title: id, "aria-selected": String(i === state.sample),
      "aria-setsize": shown.length, "aria-posinset": place + 1,
    },
    thumb,
    make("span", {}, make("b", { dir: "auto" }, text.slice(0, 120) || id), make("small", {}, labels.map((c) => data.classes[c]).join(", "))),
  );
  element.style[side] = `${at}px`;
  element.addEventListener("click", () => choose(i));
  return element;
}

function tellPlace() {
  const at = shown.indexOf(state.sample);
  $("place").textContent = shown.length ? `${(at + 1).toLocaleString("en")} of ${shown.length.toLocaleString("en")}` : "no match";
}

// ---- one sample

function show() {
  const expert = expertOf(state.expert);
  document.querySelector(`input[name=expert][value="${CSS.escape(state.expert)}"]`).checked = true;
  document.querySelector(`input[name=score][value="${state.score}"]`).checked = true;
  $("scores-choice").disabled = !expert.probed;
  $("rules-choice").hidden = !Object.keys(current().inputPairs).length;
  for (const [rule, name] of [["zero", "pairs"], ["input", "inputPairs"]]) {
    const input = document.querySelector(`input[name=rule][value=${rule}]`);
    if (!input) continue;
    input.disabled = !current()[name][state.expert];
    input.checked = ruleShown() === name;
  }
  $("views-choice").hidden = state.score !== data.centred || !Object.keys(means()).length;
  for (const name of Object.keys(data.views)) {
    const input = document.querySelector(`input[name=view][value=${name}]`);
    input.disabled = name !== "value" && !Number.isFinite(means()[name]);
    input.checked = viewShown() === name;
  }
  $("minor-switch").hidden = !current().sequences.some((s) => s.minor?.length);
  $("app").style.setProperty("--c", expert.color);
  tellPlace();
  showSequences();
  showPairs();
  showPlanted();
  showBars();
  drawWires();
  tellStatus();
}

function showSequences() {
  const sample = current();
  const heat = sample.importance[state.expert] ?? {};
  const linked = new Set(pairsShown().slice(0, data.drawn).flatMap((p) => [...spotsOf(p.u), ...spotsOf(p.v)]));
  spots = new Map();
  lit = [];
  stage.classList.remove("dimmed");
  const blocks = { text: [], image: [] };
  for (const sequence of sample.sequences) {
    const scores = heat[sequence.name] ?? [];
    const block = sequence.kind === "text" ? chips(sequence, scores, linked) : patches(sequence, scores);
    const unseen = isCropped(sequence) ? " · grey: not seen by the encoder" : "";
    const name = make("p", { class: "block-name" }, (scores.length ? sequence.name : `${sequence.name}: this expert has no heat map`) + unseen);
    blocks[sequence.kind].push(make("div", {}, name, block));
  }
  markPlanted();
  $("texts").replaceChildren(...blocks.text);
  $("images").replaceChildren(...blocks.image);
}

function chips(sequence, scores, linked) {
  const row = make("div", { class: "chips", dir: sequence.rtl ? "rtl" : "ltr", role: "group", "aria-label": `Words of ${sequence.name}` });
  const visible = visiblePieces(sequence, scores, linked);
  let previous = -1;
  for (const i of visible) {
    const [text, joined, special] = sequence.pieces[i];
    if (i !== previous + 1) row.append(make("span", { class: "gap" }, "…"));
    const opens = sequence.pieces[i + 1]?.[1] && visible.includes(i + 1);
    const name = [sequence.name, i];
    const chip = make("span", {
      class: ["chip", joined && i === previous + 1 && "joined", opens && "opens", special && "special", isMinor(name) && "minor", linked.has(key(name)) && "linked"]
        .filter(Boolean).join(" "),
      role: "button", tabindex: -1, dir: "auto", "--heat": special ? 0 : (scores[i] ?? 0),
      title: special ? "special token" : `${text ? "" : joined ? "continues the letter before: " : "white space: "}importance ${(scores[i] ?? 0).toFixed(2)}`,
    }, text || unseen(joined));
    register(chip, name);
    row.append(chip);
    previous = i;
  }
  if (sequence.pieces.length > LONG_TEXT) {
    const more = make("button", { type: "button", class: "more" }, state.whole ? "Show less" : `Show all ${sequence.pieces.length}`);
    more.addEventListener("click", () => { state.whole = !state.whole; show(); });
    row.append(more);
  }
  rove(row, ".chip", 1);
  return row;
}

function visiblePieces(sequence, scores, linked) {
  const all = sequence.pieces.map((_, i) => i);
  if (state.whole || all.length <= LONG_TEXT) return all;
  const important = new Set([...all].sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0)).slice(0, 16));
  const matters = all.filter((i) => linked.has(key([sequence.name, i])) || important.has(i));
  return all.filter((i) => matters.some((j) => Math.abs(i - j) <= CONTEXT));
}

const isCropped = ({ x, y }) => Boolean(x) && [x, y].some((edges) => edges[0] > 0.001 || edges.at(-1) < 0.999);

function patches(sequence, scores) {
  const frame = make("div", { class: sequence.picture ? "frame" : "frame missing" });
  if (sequence.picture) {
    const [width, height] = sequence.size;
    frame.style.width = `min(100%, ${Math.round((TALLEST * width) / height)}px)`;
    frame.style.aspectRatio = `${width} / ${height}`;
    const image = make("img", { src: sequence.picture, alt: `${sequence.name} of this sample` });
    image.addEventListener("load", drawWires);
    frame.append(image);
  }
  const grid = make("div", { class: "grid", role: "group", "aria-label": `Patches of ${sequence.name}` });
  // Over what the encoder saw, column by column and row by row; the rest of the picture is greyed around it.
  const tracks = (edges, count) =>
    (edges ? edges.slice(1).map((at, i) => at - edges[i]) : Array(count).fill(1 / count)).map((share) => `${1000 * share}fr`).join(" "); // together at least 1fr, or they don't fill the grid
  grid.style.gridTemplate = `${tracks(sequence.y, sequence.rows)} / ${tracks(sequence.x, sequence.cols)}`;
  if (sequence.x) {
    const percent = (share) => `${100 * share}%`;
    grid.style.inset = [sequence.y[0], 1 - sequence.x.at(-1), 1 - sequence.y.at(-1), sequence.x[0]].map(percent).join(" ");
  }
  for (let i = 0; i < sequence.rows * sequence.cols; i++) {
    const cell = make("div", {
      class: "cell", role: "button", tabindex: -1, "--heat": scores[i] ?? 0,
      title: `row ${Math.floor(i / sequence.cols) + 1}, column ${(i % sequence.cols) + 1}, importance ${(scores[i] ?? 0).toFixed(2)}`,
    });
    cell.setAttribute("aria-label", cell.title);
    register(cell, [sequence.name, i]);
    grid.append(cell);
  }
  rove(grid, ".cell", sequence.cols);
  frame.append(grid);
  return frame;
}

function register(element, name) {
  spots.set(key(name), element);
  element.dataset.spot = key(name);
  const light = () => highlight((pair) => [pair.u, pair.v].some((end) => spotsOf(end).includes(key(name))), element);
  element.addEventListener("mouseenter", light);
  element.addEventListener("focus", light);
  element.addEventListener("mouseleave", () => highlight(null));
  element.addEventListener("blur", () => highlight(null));
}

// One tab stop for a whole group; arrows move inside it.
function rove(group, selector, cols) {
  const members = [...group.querySelectorAll(selector)];
  if (!members.length) return;
  members[0].tabIndex = 0;
  group.addEventListener("keydown", (event) => {
    const at = members.indexOf(event.target);
    const forward = getComputedStyle(group).direction === "rtl" ? -1 : 1;
    const step = { ArrowRight: forward, ArrowLeft: -forward, ArrowDown: cols, ArrowUp: -cols }[event.key];
    if (at < 0 || !step) return;
    event.preventDefault();
    const next = members[at + step];
    if (!next) return;
    members[at].tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  });
}

// ---- pairs

function written([modality, index, , name]) {
  const sequence = sequenceOf(current(), modality);
  const alike = current().sequences.filter((s) => s.kind === sequence.kind).length > 1;
  const prefix = alike ? `${modality}: ` : "";
  if (name) return prefix + name;
  if (sequence.kind === "image") return `${prefix}row\u00a0${Math.floor(index / sequence.cols) + 1},\u00a0col\u00a0${(index % sequence.cols) + 1}`;
  const [text, joined] = sequence.pieces[index] ?? ["?", false];
  return prefix + (joined ? "…" : "") + (text || unseen(joined));
}

// What stands for a piece without a letter of its own: a further share of the letter before, or white space.
const unseen = (joined) => (joined ? "·" : "␣");

// A piece of a word inside its word.
function emphasised(end) {
  const { pieces } = sequenceOf(current(), end[0]);
  if (end[3] || !pieces?.[end[1]]) return [written(end)];
  let [from, to] = [end[1], end[1] + 1];
  while (pieces[from][1]) from--;
  while (pieces[to]?.[1]) to++;
  if (to - from === 1) return [written(end)];
  return pieces.slice(from, to).map(([text, joined], i) =>
    from + i === end[1] ? make("b", {}, text || unseen(joined)) : make("i", {}, text));
}

// As many decimals as give the smallest standard error shown two digits.
function decimalsFor(pairs) {
  const sizes = pairs.map((p) => p.stderr || Math.abs(p.value)).filter((x) => x > 0);
  if (!sizes.length) return 3;
  return Math.min(8, Math.max(2, 1 - Math.floor(Math.log10(Math.min(...sizes)))));
}

function numberText(value, decimals, signed) {
  const sign = value < 0 ? "−" : signed ? "+" : "";
  return sign + Math.abs(value).toFixed(decimals);
}

const isSigned = () => data.signed.includes(state.score);
const tone = (pair) => (isSigned() ? (pair.value < 0 ? "negative" : "positive") : "plain");

function wireColor(pair) {
  if (pair.value < 0) return data.negative;
  return expertOf(state.expert).color;
}

function showPairs() {
  const pairs = pairsShown(), decimals = decimalsFor(pairs), gap = state.score === "redundancy_gap";
  const table = $("pairs");
  const expert = expertOf(state.expert);
  $("pairs-title").textContent = pairs.length
    ? `Strongest pairs of the ${expert.title}, by ${data.scores[state.score]}`
    : "Strongest pairs";
  const atInput = ruleShown() === "inputPairs";
  $("pairs-verdict").textContent = current()[atInput ? "inputVerdicts" : "verdicts"][state.expert] ?? "";
  if (!pairs.length) {
    const measured = Object.values(allPairs()).some((found) => found.length);
    const withMinor = allPairs()[state.score]?.length;
    const reason = withMinor ? "Every pair listed here has a function word or a mark of punctuation."
      : measured ? `No pair of this sample has any ${data.scores[state.score]}.`
      : expert.probed ? "No pair of this sample was measured." : `The ${expert.title} was not probed: it has a heat map only.`;
    table.replaceChildren(make("tbody", {}, make("tr", {}, make("td", { class: "empty" }, reason))));
    $("pairs-note").textContent = "";
    return;
  }
  const side = (end) => {
    const kinds = new Set(pairs.map((p) => sequenceOf(current(), p[end][0]).kind));
    return kinds.size > 1 ? { u: "first", v: "second" }[end] : kinds.has("text") ? "word" : atInput ? "region" : "patch";
  };
  const counts = new Set(pairs.map((p) => p.n));
  const columns = [
    ["strength", "", (p) => Math.abs(p.value)],
    ["u", side("u"), (p) => -p.u[1]],
    ["v", side("v"), (p) => -p.v[1]],
    ["value", "value ± s.e.", (p) => p.value],
    ["stderr", "± 2 s.e.", (p) => p.stderr ?? Infinity],
    ...(gap ? [["base", "base", (p) => p.base ?? -Infinity], ["span", "span", (p) => p.span ?? -Infinity]] : []),
    ...(counts.size > 1 ? [["n", "coalitions", (p) => p.n]] : []),
  ];
  if (!columns.some(([name]) => name === state.sort.column)) state.sort = { column: "strength", down: true };
  const head = make("tr", {}, ...columns.map(([name, label], i) => {
    const sorted = state.sort.column === name;
    const button = make("button", { type: "button", class: "sort", "data-sort": name, "aria-label": name === "strength" ? "strength" : false },
      label || "#", sorted ? (state.sort.down ? " ▾" : " ▴") : "");
    button.addEventListener("click", () => {
      state.sort = { column: name, down: sorted ? !state.sort.down : true };
      showPairs();
      $("pairs").querySelector(`[data-sort="${name}"]`).focus();
    });
    return make("th", {
      scope: "col", class: [i === 3 || i > 4 ? "number" : "", i >= 4 && "extra"].filter(Boolean).join(" "),
      "aria-sort": sorted ? (state.sort.down ? "descending" : "ascending") : false,
    }, button);
  }));
  const by = columns.find(([name]) => name === state.sort.column)[2];
  const ranks = pairs.map((_, i) => i).sort((a, b) => (state.sort.down ? 1 : -1) * (by(pairs[b]) - by(pairs[a])) || a - b);
  const range = [0, ...pairs.flatMap((p) => [p.value - 2 * (p.stderr ?? 0), p.value + 2 * (p.stderr ?? 0)])];
  const scale = { low: Math.min(...range), high: Math.max(...range) };
  const rows = ranks.map((i) => {
    const pair = pairs[i];
    const error = make("small", {}, pair.stderr === null ? " ± –" : ` ± ${pair.stderr.toFixed(decimals)}`);
    const value = make("td", { class: `number value ${tone(pair)}` }, numberText(pair.value, decimals, !gap), error);
    const planted = plantedAs(pair);
    const weak = pair.stderr !== null && Math.abs(pair.value) <= 2 * pair.stderr;
    const row = make("tr",
      { tabindex: -1, class: [weak && "weak", planted.length && "planted"].filter(Boolean).join(" "), title: planted.length ? `planted: ${planted.join(", ")}` : false, "--tone": wireColor(pair), "data-value": pair.value, "data-stderr": pair.stderr ?? "", "data-rank": i },
      make("td", {}, make("span", { class: i < data.drawn ? "rank" : "rank minor" }, String(i + 1))),
      make("td", { class: "word", dir: "auto" }, ...emphasised(pair.u)),
      make("td", { class: "word", dir: "auto" }, ...emphasised(pair.v)),
      value,
      make("td", { class: "extra" }, errorBar(pair, scale)),
      ...(gap ? [pair.base, pair.span].map((x) => make("td", { class: "number extra muted" }, x === null ? "–" : x.toFixed(decimals))) : []),
      ...(counts.size > 1 ? [make("td", { class: "number extra muted" }, String(pair.n))] : []),
    );
    const light = () => highlight((p) => p === pair, null);
    row.addEventListener("mouseenter", light);
    row.addEventListener("focus", light);
    row.addEventListener("mouseleave", () => highlight(null));
    row.addEventListener("blur", () => highlight(null));
    return row;
  });
  table.replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
  rove(table.querySelector("tbody"), "tr", 1);
  const others = pairs.filter((p) => !isBetweenTextAndImage(p)).length;
  $("pairs-note").textContent = [
    `Target: ${current().targets[state.expert]}.`,
    atInput ? "Words and regions were taken out of the input, before the encoders." : Object.keys(data.rules).length ? "Tokens and patches became zero vectors, after the encoders." : "",
    counts.size === 1 ? `${[...counts][0]} coalitions a pair.` : "",
    viewShown() === "value" ? "" : `${numberText(means()[state.view], decimals, true)}, ${{ sample: "the mean of all pairs of this sample", class: "the mean of the samples of its classes" }[state.view]}, is taken off; standard errors are those of the pairs alone.`,
    "Pale: within two standard errors of zero.",
    pairs.length > data.drawn ? `Lines: the first ${data.drawn}; of the others when you point at them.` : "",
    others ? `${others} of them are not between a word and a patch and have no line.` : "",
  ].join(" ");
}

// A dot at the value, a line of two standard errors each way, a tick at zero; all bars of a list on one scale.
function errorBar(pair, { low, high }) {
  const WIDTH = 76, at = (x) => 4 + ((x - low) / (high - low || 1)) * (WIDTH - 8);
  const reach = 2 * (pair.stderr ?? 0);
  return draw("svg", { class: "error-bar", width: WIDTH, height: 14, viewBox: `0 0 ${WIDTH} 14`, "aria-hidden": "true" },
    draw("line", { class: "zero", x1: at(0), x2: at(0), y1: 1, y2: 13 }),
    draw("line", { x1: at(pair.value - reach), x2: at(pair.value + reach), y1: 7, y2: 7 }),
    draw("circle", { cx: at(pair.value), cy: 7, r: 3.5 }));
}

function highlight(chosen, origin) {
  const on = chosen ? pairsShown().filter(chosen) : [];
  lit = on;
  stage.classList.toggle("dimmed", on.length > 0);
  spots.forEach((element) => element.classList.remove("partner", "origin"));
  for (const pair of on) for (const end of [pair.u, pair.v]) for (const spot of spotsOf(end)) spots.get(spot)?.classList.add("partner");
  if (origin && on.length) { origin.classList.remove("partner"); origin.classList.add("origin"); }
  for (const { pair, element, dot } of wires) for (const part of [element, dot]) part.classList.toggle("on", on.includes(pair));
  const pairs = pairsShown();
  document.querySelectorAll("#pairs tbody tr[data-value]").forEach((row) => row.classList.toggle("on", on.includes(pairs[row.dataset.rank])));
  if (on.length) {
    const decimals = decimalsFor(pairsShown());
    $("status").textContent = on.slice(0, 4).map((p) =>
      `${written(p.u)} – ${written(p.v)}: ${numberText(p.value, decimals, isSigned())}`).join("   ·   ") + (on.length > 4 ? "   …" : "");
  } else if (chosen) $("status").textContent = "Not in any of the pairs listed.";
  else tellStatus();
}

function tellStatus() {
  const sample = current();
  const why = sample.chosen === "strong" ? "chosen for its strong pairs" : "drawn at random";
  const verdict = { true: ", predicted correctly", false: ", predicted wrongly" }[data.samples[state.sample].right] ?? "";
  $("status").textContent = `Sample ${sample.id}, ${why}${verdict}.`;
}

function drawWires() {
  const svg = $("wires"), origin = stage.getBoundingClientRect();
  const pairs = pairsShown();
  const largest = Math.max(...pairs.map((p) => Math.abs(p.value)), 1e-12);
  const perCell = new Map(), perChip = new Map();
  const count = (map, name) => { map.set(name, (map.get(name) ?? -1) + 1); return map.get(name); };
  wires = [];
  pairs.forEach((pair, rank) => {
    if (!isBetweenTextAndImage(pair)) return;
    const [word, patch] = sequenceOf(current(), pair.u[0]).kind === "text" ? [pair.u, pair.v] : [pair.v, pair.u];
    const chip = spots.get(key(word))?.getBoundingClientRect(), cell = spots.get(key(patch))?.getBoundingClientRect();
    if (!chip || !cell) return;
    const roomy = Math.min(cell.width, cell.height) > 20;
    const nth = rank < data.drawn ? count(perCell, key(patch)) : 0;
    const spread = nth ? Math.min(Math.min(cell.width, cell.height) * 0.36, 17) : 0; // stays in its patch
    const x = cell.x - origin.x + cell.width / 2 + spread * Math.cos(nth * 2.4);
    const y = cell.y - origin.y + cell.height / 2 + spread * Math.sin(nth * 2.4);
    const beside = cell.x > chip.right; // picture to the right of the words, or below them
    const fan = rank < data.drawn ? (count(perChip, key(word)) - 0.5) * 3 : 0;
    const up = beside && y < chip.y - origin.y;
    const from = [chip.x - origin.x + chip.width / 2 + fan, (up ? chip.top + 1 : chip.bottom - 1) - origin.y];
    const bend = Math.max(30, (beside ? x - from[0] : y - from[1]) * 0.45);
    const curve = beside
      ? `M${from} C${[from[0] + 6, from[1] + (up ? -1 : 1) * Math.min(46, bend)]} ${[x - bend, y]} ${[x, y]}`
      : `M${from} C${[from[0], from[1] + bend]} ${[x, y - bend]} ${[x, y]}`;
    const strength = Math.abs(pair.value) / largest;
    const look = { class: `wire ${pair.value < 0 ? "negative" : ""} ${rank < data.drawn ? "" : "spare"}`, style: `--tone: ${wireColor(pair)}; opacity: ${0.6 + 0.4 * strength}` };
    const element = draw("g", look, draw("path", { d: curve, "stroke-width": 1.5 + 2.7 * strength }));
    const dot = draw("g", { ...look, class: look.class.replace("wire", "wire dot") },
      draw("circle", { cx: x, cy: y, r: roomy ? 8.5 : 5.5 }),
      ...(roomy ? [draw("text", { x, y }, String(rank + 1))] : []));
    if (lit.includes(pair)) for (const part of [element, dot]) part.classList.add("on"); // drawn again under the pointer
    wires.push({ pair, element, dot });
  });
  // the strongest on top, and numbers above all lines
  svg.replaceChildren(...wires.map((w) => w.element).reverse(), ...wires.map((w) => w.dot).reverse());
}

// ---- what is known to be there

const kindText = (kind) => kind.replaceAll("_", " ");
const plantedKinds = (sample) => Object.entries(sample.planted ?? {});
const isPair = (pair, [u, v]) => !pair.u[3] && key(pair.u) === key(u) && key(pair.v) === key(v);
const plantedAs = (pair) => plantedKinds(current()).filter(([, { pairs }]) => pairs.some((ends) => isPair(pair, ends))).map(([kind]) => kindText(kind));

function markPlanted() {
  const kinds = new Map(); // of each word and patch
  for (const [kind, { pairs }] of plantedKinds(current())) {
    for (const end of pairs.flat()) kinds.set(key(end), (kinds.get(key(end)) ?? new Set()).add(kindText(kind)));
  }
  for (const [spot, found] of kinds) {
    const element = spots.get(spot);
    if (!element) continue;
    element.classList.add("planted");
    element.title += ` · planted: ${[...found].join(", ")}`;
    element.setAttribute("aria-label", `${element.textContent} ${element.title}`.trim());
  }
}

// A row for each method, a column for each kind of planted pair: the ranks of all its pairs.
function showPlanted() {
  const kinds = plantedKinds(current()).filter(([, { ranks }]) => ranks[state.expert]);
  $("planted").hidden = plantedKinds(current()).length === 0;
  if (!kinds.length) {
    $("planted-ranks").replaceChildren();
    $("planted-note").textContent = `The ${expertOf(state.expert).title} was not probed.`;
    return;
  }
  const head = make("tr", {}, make("th", { scope: "col" }, "ranked by"), ...kinds.map(([kind]) => make("th", { scope: "col" }, kindText(kind))));
  const methods = Object.entries(data.methods).filter(([method]) => kinds.some(([, { ranks }]) => ranks[state.expert][method]));
  const rows = methods.map(([method, label]) => make("tr", { "data-method": method }, make("th", { scope: "row" }, label),
    ...kinds.map(([, { ranks }]) => make("td", {}, (ranks[state.expert][method] ?? []).join(", ")))));
  $("planted-ranks").replaceChildren(make("thead", {}, head), make("tbody", {}, ...rows));
  $("planted-note").textContent = `Ranks of the true pairs among the ${kinds[0][1].of} measured ones; 1 is the highest score. `
    + "Dashed: the words and patches of true pairs, and the true pairs in the list.";
}

// ---- bars

function bar(label, share, classes, color) {
  const element = make("div", { class: `bar ${classes}`, "--share": share }, make("span", { title: label }, label), make("i"),
    make("span", { class: "number" }, share >= 0.9995 || share < 0.0005 ? share.toFixed(0) : share.toFixed(2)));
  if (color) element.style.setProperty("--fill", color);
  return element;
}

function showBars() {
  const sample = current();
  const ranked = sample.probabilities.map((p, c) => c).sort((a, b) => sample.probabilities[b] - sample.probabilities[a]);
  const shown = ranked.filter((c, i) => i < 5 || sample.labels.includes(c) || sample.predicted.includes(c));
  if (!ranked.length) {
    const names = sample.labels.map((c) => data.classes[c]).join(", ") || "none";
    $("labels").replaceChildren(make("p", { class: "note" }, `True: ${names}. The model's predictions for this split are not stored.`));
    $("weights").replaceChildren(make("p", { class: "note" }, "Not stored."));
    return;
  }
  $("labels").replaceChildren(...shown.map((c) => {
    const marks = [sample.labels.includes(c) && "true", sample.predicted.includes(c) && "predicted"].filter(Boolean);
    const element = bar(data.classes[c], sample.probabilities[c], marks.join(" "));
    element.title = marks.length ? marks.join(" and ") : "neither true nor predicted";
    return element;
  }), make("p", { class: "note" }, "✓ true label; blue: predicted."));
  $("weights").replaceChildren(...sample.weights.map((weight, i) => bar(data.experts[i].label, weight, "", data.experts[i].color)));
}

if (data.samples.length) {
  const first = data.experts.find((e) => e.name === "synergy" && e.probed) ?? data.experts.find((e) => e.probed) ?? data.experts[0];
  state.expert = first.name;
  state.score = first.score;
  buildChoices();
  buildList();
  $("app").hidden = false;
  show();
  filterList();
  new ResizeObserver(drawWires).observe(stage);
  new ResizeObserver(renderList).observe($("list"));
  performance.mark("explorer-ready");
  document.addEventListener("DOMContentLoaded", () => { choose(awaited); renderList(); });
}

// Charts out of sight are laid out when there is time, and not only when they are scrolled to: a picture of the whole page shows them.
addEventListener("load", () => (window.requestIdleCallback ?? setTimeout)(() => document.documentElement.classList.add("loaded")));

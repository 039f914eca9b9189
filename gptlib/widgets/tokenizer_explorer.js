// A text as characters, as bytes and as tokens, and the merges that make the tokens, one at a time.
import { batched, button, follow, frame, h, put, row, say, slider, toggle } from "./drawing.js";
import { encodeWords, loneSurrogate, mergesMade, pairsThatFit, plain, points, readable, tokenizerOf, utf8, wordsAfter } from "./bpe.js";

const LONGEST = 600; // characters that the reader may type
const TINTS = 5;
const LINES = 4; // merges shown of those made, and of those that could come next

// How many merges of a text's are made when `step` of them are asked for; -1 stands for all.
export const merged = (step, all) => (step < 0 ? all : Math.min(step, all));

function render({ model, el }) {
  const kinds = { characters: charactersOf, bytes: bytesOf, bpe: tokensOf };
  const lanes = model.get("lanes").map((about, i) => lane(about, i, kinds[about.kind](about), { point, pick }));
  const main = lanes.find((one) => one.about.main);
  const { tokenizer } = main.source;
  let pointed = null; // what the mouse is over: [lane, place]

  const redraw = batched(draw);
  const box = h("textarea", { rows: 2, maxlength: LONGEST, spellcheck: "false" });
  box.addEventListener("input", () => {
    if (loneSurrogate(box.value) < 0) change({ text: box.value, picked: [] });
  });
  const typed = h("label", { class: "gw-text" }, h("span", { class: "gw-name" }, "your text"), box);
  const examples = model.get("examples").map((text) =>
    button(shortened(text), () => change({ text, picked: [], step: -1 }), { "aria-label": `${shortened(text)}, text: ${text}` }));
  const special = tokenizer.specialTokens.length > 0 && toggle({
    label: `${tokenizer.specialTokens.join(", ")} may count as one token`,
    change: (on) => change({ special: on, picked: [] }),
  });

  const steps = slider({
    label: "merges made", min: 0, max: 1, step: 1,
    change: (step) => go(step), show: (step) => `${say(step)} of ${say(steps.input.max * 1)}`,
  });
  const back = button("◀ back", () => go(now() - 1));
  const next = button("next merge ▶", () => go(now() + 1));
  const none = button("none", () => go(0));
  const all = button("all", () => go(-1));
  const past = mergeTable("made so far, the latest on top (underlined above)");
  const future = mergeTable("pairs that fit now: the lowest rank goes next");
  const detail = h("p", { class: "gw-facts gw-detail" });
  const view = frame(el, model.get("title"), typed,
    h("div", { class: "gw-buttons" }, ...examples), special && special.el,
    h("div", { class: "gw-lanes" }, ...lanes.map((one) => one.el)), detail,
    h("div", { class: "gw-steps" }, row(steps.el, h("div", { class: "gw-buttons" }, none, back, next, all)),
      h("div", { class: "gw-split" }, past.el, future.el)));
  const stop = follow(model, ["text", "step", "picked", "special"], redraw);

  function change(traits) {
    model.set(traits);
    model.save_changes();
  }
  function now() { return merged(model.get("step"), Number(steps.input.max)); }
  function go(step) {
    const end = Number(steps.input.max);
    change({ step: step >= end ? -1 : Math.max(-1, step), picked: [] });
  }
  function point(place) { pointed = place; mark(); }
  function pick(place) { put(model, "picked", place); }

  function draw() {
    const text = model.get("text");
    if (box.value !== text) box.value = text;
    const words = encodeWords(tokenizer, text, model.get("special"));
    const made = mergesMade(tokenizer, words);
    const step = merged(model.get("step"), made.length);
    const last = step ? made[step - 1][0] : -1;
    const shown = wordsAfter(tokenizer, words, step === made.length ? Infinity : last);
    for (const one of lanes) one.show(one.source.of(text, one === main ? shown : null));
    const most = Math.max(1, ...lanes.map((one) => one.tokens.length));
    for (const one of lanes) one.measure(points(text).length, most);
    main.joined(step && model.get("step") >= 0 ? last : -1);

    steps.input.max = made.length;
    steps.show(step);
    steps.input.disabled = !made.length;
    back.disabled = none.disabled = step === 0;
    next.disabled = all.disabled = step === made.length;
    past.show(made.slice(0, step).reverse(), tokenizer, "no merge yet: every byte is a token");
    future.show(pairsThatFit(tokenizer, shown), tokenizer, "no two neighbours in a word are on the list");
    if (special) special.show(model.get("special"));
    if (pointed && !lanes[pointed[0]].tokens[pointed[1]]) pointed = null;
    mark();
    view.tell(`${step ? `Merge ${say(step)} of ${say(made.length)}: ${said(last)}. ` : ""}` +
      `${lanes.map((one) => `${one.about.name} ${say(one.tokens.length)}`).join(", ")}.`);
  }

  function said(id) {
    const [left, right] = tokenizer.partsOf(id).map((part) => readable(tokenizer.vocab[part]));
    return `${left} and ${right} become ${readable(tokenizer.vocab[id])}`;
  }

  function tokenAt(place) {
    return place && place.length === 2 ? lanes[place[0]]?.tokens[place[1]] : null;
  }

  // What the reader is at, and in each lane whatever stands for the same stretch of the text.
  function mark() {
    const place = pointed ?? model.get("picked");
    const token = tokenAt(place);
    for (const one of lanes) one.mark(token, token && lanes[place[0]] === one ? place[1] : -1);
    detail.textContent = token ? wordsOf(token) : "Point at a token, or go there with Tab and the arrow keys, to see its id.";
  }

  // One token in words.
  function wordsOf(token) {
    const parts = token.tokenizer?.partsOf(token.id);
    const made = parts ? `, made of ${parts.map((id) => `${readable(token.tokenizer.vocab[id])} (${id})`).join(" and ")}` : "";
    const bytes = `${token.bytes.length === 1 ? "byte" : "bytes"} ${Array.from(token.bytes).join(" ")}`;
    return `${token.words}: ${token.id === null ? "not in this vocabulary" : `id ${token.id}`}; ${bytes}${made}`;
  }

  draw();
  return () => { stop(); redraw.cancel(); view.end(); };
}

const shortened = (text) => {
  const said = points(text).map(plain).join("");
  return points(said).length > 16 ? `${points(said).slice(0, 15).join("")}…` : said;
};

const piece = (tokenizer, id) => h("span", { class: `gw-piece gw-tint${id % TINTS}` }, readable(tokenizer.vocab[id]));

// Sources: what a lane shows of a text. Each token is { id, bytes, label, words, tokenizer }.

function charactersOf({ chars }) {
  const known = chars && new Map(points(chars).map((char, i) => [char, i]));
  const of = (text) => points(text).map((char) => ({
    id: known ? known.get(char) ?? null : char.codePointAt(0),
    bytes: utf8(char), label: plain(char), words: `character ${plain(char)}`,
  }));
  return { of, size: known ? known.size : null };
}

function bytesOf() {
  const of = (text) => Array.from(utf8(text), (byte) => (
    { id: byte, bytes: [byte], label: String(byte), words: `byte ${byte}` }));
  return { of, size: 256 };
}

function tokensOf(about) {
  const view = about.merges;
  const merges = Array.from({ length: view.byteLength / 4 }, (_, i) => view.getUint32(4 * i, true));
  const byteOrder = Array.from({ length: 256 }, (_, i) => about.byte_order.getUint8(i));
  const tokenizer = tokenizerOf({ merges, byteOrder, specialTokens: about.special_tokens });
  const of = (text, words) => (words ?? encodeWords(tokenizer, text)).flat().map((id) => {
    const bytes = tokenizer.vocab[id];
    return { id, bytes, label: readable(bytes), words: `token ${readable(bytes)}`, tokenizer };
  });
  return { of, size: tokenizer.vocab.length, tokenizer };
}

// A lane: its name, its counts, and a box for each token. The keyboard enters it once and walks
// along it with the arrow keys.
function lane(about, place, source, { point, pick }) {
  const counts = h("span", { class: "gw-counts" });
  const size = h("span", {}, source.size ? `vocabulary ${say(source.size)}` : "vocabulary open");
  const bar = h("span", { class: "gw-bar" });
  const boxes = h("div", { class: "gw-boxes", role: "group" });
  const el = h("div", { class: about.main ? "gw-lane gw-main" : "gw-lane" },
    h("div", { class: "gw-lane-head" }, h("strong", {}, about.name), counts, h("span", { class: "gw-share" }, bar), size), boxes);
  const spare = [];
  const self = { about, source, el, tokens: [], show, measure, mark, joined };
  let stopAt = 0; // the box that Tab leads to

  boxes.addEventListener("pointerover", (event) => { const i = spare.indexOf(event.target); if (i >= 0) point([place, i]); });
  boxes.addEventListener("pointerleave", () => point(null));
  boxes.addEventListener("focusin", (event) => { stopAt = spare.indexOf(event.target); tab(); pick([place, stopAt]); });
  boxes.addEventListener("click", (event) => { if (spare.includes(event.target)) event.target.focus(); });
  boxes.addEventListener("keydown", (event) => {
    const last = self.tokens.length - 1;
    const to = { ArrowLeft: stopAt - 1, ArrowRight: stopAt + 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    spare[Math.max(0, Math.min(last, to))].focus();
  });

  function tab() { spare.forEach((one, i) => { one.tabIndex = i === stopAt ? 0 : -1; }); }
  function show(tokens) {
    self.tokens = tokens;
    let at = 0; // each token stands for a stretch of the text's bytes
    for (const one of tokens) { one.start = at; at += one.bytes.length; one.end = at; }
    while (spare.length < tokens.length) spare.push(h("button", { type: "button", tabindex: -1 }));
    while (spare.length > tokens.length) spare.pop().remove();
    tokens.forEach((token, i) => {
      const one = spare[i];
      if (one.textContent !== token.label) one.textContent = token.label;
      one.className = token.id === null ? "gw-token gw-unknown" : `gw-token gw-tint${token.id % TINTS}`;
      one.setAttribute("aria-label", `${token.words}, ${token.id === null ? "not in this vocabulary" : `id ${token.id}`}`);
      if (!one.isConnected) boxes.append(one);
    });
    stopAt = Math.max(0, Math.min(stopAt, tokens.length - 1));
    tab();
  }
  function measure(characters, most) {
    const n = self.tokens.length;
    const lost = self.tokens.filter((token) => token.id === null).length;
    const each = n && !lost && n !== characters ? `, ${(characters / n).toFixed(2)} characters each` : "";
    counts.textContent = `${say(n)}${each}${lost ? `, ${say(lost)} unknown` : ""}`;
    bar.style.width = `${(100 * n / most).toFixed(2)}%`;
    boxes.setAttribute("aria-label", `${about.name}: ${say(n)}`);
  }
  function mark(token, own) {
    self.tokens.forEach((one, i) => {
      const same = token && one.end > token.start && one.start < token.end;
      spare[i].classList.toggle("gw-marked", Boolean(same));
      spare[i].classList.toggle("gw-own", i === own);
    });
  }
  function joined(id) {
    self.tokens.forEach((one, i) => spare[i].classList.toggle("gw-joined", one.id === id));
  }
  return self;
}

// A table of merges: the pair, what it becomes, its rank, and at how many places.
function mergeTable(caption) {
  const lines = Array.from({ length: LINES }, () => {
    const cells = [h("td", { class: "gw-pair" }), h("td"), h("td", { class: "gw-number" }), h("td", { class: "gw-number" })];
    return { cells, el: h("tr", {}, ...cells) };
  });
  const head = ["pair", "becomes", "rank", "places"].map((text) => h("th", { scope: "col" }, text));
  const el = h("table", { class: "gw-bars gw-merges" }, h("caption", {}, caption),
    h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...lines.map((line) => line.el)));
  return {
    el,
    show(merges, tokenizer, none) {
      lines.forEach(({ cells, el: line }, k) => {
        line.className = merges[k] ? "" : "gw-blank";
        if (!merges[k]) {
          cells.forEach((cell) => cell.replaceChildren("\u00a0")); // keeps its height
          if (k === 0) cells[0].replaceChildren(none);
        }
        cells[0].colSpan = merges[k] ? 1 : 4;
        cells.slice(1).forEach((cell) => { cell.hidden = !merges[k]; });
        if (!merges[k]) return;
        const [id, places] = merges[k];
        const [left, right] = tokenizer.partsOf(id).map((part) => piece(tokenizer, part));
        cells[0].replaceChildren(left, " + ", right);
        cells[1].replaceChildren(piece(tokenizer, id), h("span", { class: "gw-id" }, ` ${id}`));
        cells[2].textContent = say(id - 255);
        cells[3].textContent = say(places);
      });
    },
  };
}

export default { render };

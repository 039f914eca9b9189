// Who looks where in a text, head by head, and what comes of it: the model runs in the page.
import { largestOf, largestWeight, moments, openReading, sumAndLengths } from "./attending.js";
import { headMap, headMaps, lookTable, saturationCurve, shadeKey, vectorBars, voteTable } from "./attention_view.js";
import { batched, button, follow, frame, h, percent, put, row, say, stops, toggle, words, write } from "./drawing.js";
import { inText, most, tokenText } from "./model_view.js";
import { entropy } from "./sampling.js";

const SHOWN = 8; // tokens in the list; all others share its last line
const VOTES = 5;
const PIECE = 4; // tokens that are read at once
const FRAME = 2; // milliseconds for reading, and for small maps, in one frame: nothing ever waits
const DIVISORS = [0.5, 1, 2, 4, 8, 16, 32, 64];
const TRAITS = ["text", "shown", "layer", "head", "query", "mask", "divisor"];

function render({ model, el }) {
  const names = model.get("names");
  const kinds = model.get("kinds");
  const opened = model.get("model_files").map((view, i) => ({ ...openReading(view, kinds[i]), tables: new Map() }));
  const redraw = batched(draw);
  const change = (name) => (value) => put(model, name, value);
  let over = -1; // the token below the pointer
  let asked = ""; // what the small maps show

  const pressed = names.map((name, i) => button(name, () => put(model, "shown", i)));
  const text = h("textarea", { rows: 3, spellcheck: "false", oninput: () => put(model, "text", text.value) });
  const alert = h("p", { class: "gw-legend", role: "alert" });
  const tokens = tokenText({ label: "the text, token by token: pick the one that looks", pick: change("query") });
  const map = headMap({ pick: (t) => put(model, "query", t), read: sayCell });
  const heading = h("p", { class: "gw-heading" });
  const name = words(heading);
  const looks = lookTable(SHOWN + 1);
  const result = vectorBars("what the head hands on, number by number");
  const resultName = h("p", { class: "gw-heading" });
  const nameResult = words(resultName);
  const votes = voteTable(VOTES);
  const maps = h("div", {});
  const mask = toggle({ label: "mask: nobody looks ahead", change: change("mask") });
  const divisor = stops({ label: "scores divided by", values: DIVISORS, change: change("divisor"), show: sayDivisor });
  const saturation = saturationCurve(DIVISORS);
  const facts = h("p", { class: "gw-facts" });
  const state = words(facts);
  let thumbs = null;
  let mapped = 0; // the version of the reading that the large map shows
  let late = false;
  let hs = 1;

  tokens.el.classList.add("gw-attending");
  tokens.el.addEventListener("pointerover", (event) => {
    if (event.pointerType === "mouse") hover(Array.from(tokens.el.children).indexOf(event.target));
  });
  tokens.el.addEventListener("pointerleave", () => hover(-1));
  const view = frame(el, model.get("title"),
    names.length > 1 && h("div", { class: "gw-row", role: "group", "aria-label": "which model" }, ...pressed),
    h("label", { class: "gw-prompt" }, h("span", { class: "gw-name" }, "the text"), text), alert, tokens.el, shadeKey(),
    h("div", { class: "gw-attention" },
      h("div", {}, h("p", { class: "gw-heading" }, "The heads"), maps, h("p", { class: "gw-heading" }, "The picked head"), map.el),
      h("div", {}, heading, looks.el, resultName, result.el, votes.el,
        row(mask.el, divisor.el), saturation.el, facts)));
  const stop = follow(model, TRAITS, redraw);

  function hover(t) {
    if (t === over) return;
    over = t;
    redraw();
  }

  function sayDivisor(value) {
    if (value === Math.sqrt(hs)) return `${say(value)} = √${hs}`;
    return value === 1 ? "1: not at all" : say(value);
  }

  function sayCell(i, j, weight) {
    const { label, ids } = current();
    if (i >= ids.length || j >= ids.length) return "";
    const whom = `token ${j}, ${label(ids[j])}`;
    return `Token ${i}, ${label(ids[i])}, ` + (weight >= 0 ? `takes ${percent(weight)} from ${whom}.` : `may not see ${whom}.`);
  }

  // The model that is shown, with the ids of the text: END in front, as many as it can read.
  function current() {
    const one = opened[Math.min(model.get("shown"), opened.length - 1)];
    const { vocabulary, config } = one;
    if (one.text === model.get("text")) return one;
    one.text = model.get("text");
    try {
      const all = [...(vocabulary.end >= 0 ? [vocabulary.end] : []), ...vocabulary.encode(one.text)];
      one.ids = all.slice(0, config.context_length);
      const left = all.length - one.ids.length;
      one.said = left ? `The model reads ${one.ids.length} tokens; the last ${left} are left out.` : "";
    } catch (error) {
      one.ids = one.reading.ids;
      one.said = `This text cannot be read: ${error.message}.`;
    }
    return one;
  }

  function draw() {
    const { reading, vocabulary, config, ids, label, said, tables } = current();
    const done = readOn(reading, ids);
    const T = ids.length;
    const [layer, head] = [Math.min(model.get("layer"), config.n_layer - 1), Math.min(model.get("head"), config.n_head - 1)];
    const t = Math.min(T - 1, over >= 0 ? over : model.get("query") < 0 ? T - 1 : model.get("query"));
    const settings = { mask: model.get("mask"), divisor: model.get("divisor") };
    hs = reading.hs;
    if (text.value !== model.get("text")) text.value = model.get("text");
    pressed.forEach((one, i) => one.setAttribute("aria-pressed", String(opened[i].reading === reading)));
    write(alert, said);
    mask.show(settings.mask);
    const by = settings.divisor || Math.sqrt(hs);
    const usual = DIVISORS.includes(Math.sqrt(hs)) ? DIVISORS : [...DIVISORS, Math.sqrt(hs)].sort((a, b) => a - b);
    divisor.show(by, usual);
    view.root.classList.toggle("gw-empty", T === 0);
    if (T === 0) return view.tell("There is no text yet.");

    const { scores, weights } = done ? reading.row(layer, head, t, settings) : { weights: [] };
    tokens.show(ids.map((id, s) => ({
      text: inText(label(id)),
      share: Math.sqrt(weights[s] ?? 0),
      title: `token ${s}, id ${id}`,
      kind: (settings.mask && s > t ? "gw-begun" : "") + (id === vocabulary.end ? " gw-end" : ""),
    })), t);
    view.root.setAttribute("aria-busy", String(!done)); // until the text is read, its numbers are not there
    if (!done) return redraw();
    late = !late && reading.version !== mapped; // a text that has changed: its map in the next frame
    if (late) redraw();
    else map.show(tableOf(reading, tables, layer, head, settings), T, t);
    mapped = reading.version;

    const parts = reading.parts(layer, head, weights);
    const { sum, lengths } = sumAndLengths(parts, hs);
    const order = largestOf(weights, SHOWN);
    const rest = weights.length - order.length;
    const rows = order.map((s) => ({ label: label(ids[s]), place: s, score: scores[s], weight: weights[s], brings: lengths[s] }));
    if (rest > 0) {
      const others = parts.slice();
      for (const s of order) others.fill(0, s * hs, (s + 1) * hs);
      const left = 1 - rows.reduce((all, one) => all + one.weight, 0);
      const { sum } = sumAndLengths(others, hs);
      rows.push({ label: `${rest} others`, place: "", score: null, weight: Math.max(0, left), brings: Math.hypot(...sum) });
    }
    looks.show(rows, by);
    const [best, largest] = most(weights);
    const who = `${label(ids[t])} (token ${t})`;
    const whose = config.n_layer > 1 ? `block ${layer}, head ${head}` : `head ${head}`;
    name(`What ${who} takes, by ${whose}`);
    nameResult(`The result, ${hs} numbers, ${say(Math.hypot(...sum))} long; outlined the part of ${label(ids[best])}`);
    result.show(sum, parts.subarray(best * hs, (best + 1) * hs));
    const logits = reading.votes(layer, head, t, sum);
    votes.el.hidden = !logits;
    if (logits) votes.show(largestOf(logits, VOTES).map((id) => ({ label: label(id), vote: logits[id] })));

    const nats = entropy(weights);
    const products = reading.product(layer, head, t, settings.mask);
    saturation.show(DIVISORS.map((d) => largestWeight(products, d)), by, largest);
    state(`The ${weights.length} scores of this query spread by ${say(Math.sqrt(moments(scores).variance))}. ` +
      `The largest weight is ${percent(largest)}. Entropy ${nats.toFixed(3)} nats: as if ${Math.exp(nats).toFixed(1)} of the ` +
      `${weights.length} tokens shared evenly.`);

    if (thumbs?.of !== `${config.n_layer} × ${config.n_head}`) arrange(config);
    thumbs.show(layer, head);
    if (!late) paint(reading, tables, settings);
    view.tell(`${who}, ${whose}: looks at ${label(ids[best])}, ${percent(largest)}` +
      (logits ? `, and votes for ${label(most(logits)[0])}.` : "."));
  }

  // Read as much as fits into a frame; true when all is read.
  function readOn(reading, ids) {
    const end = performance.now() + FRAME;
    while (!reading.read(ids, PIECE)) if (performance.now() > end) return false;
    return true;
  }

  // The small maps are made anew for a model of another shape.
  function arrange(config) {
    thumbs = headMaps({
      layers: config.n_layer, heads: config.n_head,
      pick: (layer, head) => { model.set({ layer, head }); model.save_changes(); },
    });
    thumbs.of = `${config.n_layer} × ${config.n_head}`;
    asked = "";
    maps.replaceChildren(thumbs.el);
  }

  // A head's table, kept until the text, the mask or the divisor change.
  function tableOf(reading, tables, layer, head, settings) {
    const name = `${layer}.${head}`;
    const state = `${opened.findIndex((one) => one.reading === reading)} ${name} ${reading.version} ${settings.mask} ${settings.divisor}`;
    const old = tables.get(name);
    if (old?.state !== state) tables.set(name, { state, table: reading.table(layer, head, settings, old?.table) });
    return tables.get(name);
  }

  // Paint the small maps, as many as fit into this frame, the others in the next ones.
  let waiting = 0;
  function paint(reading, tables, settings) {
    const state = `${opened.findIndex((one) => one.reading === reading)} ${reading.version} ${settings.mask} ${settings.divisor}`;
    if (asked === state) return;
    asked = state;
    cancelAnimationFrame(waiting);
    const left = [...thumbs.cells];
    const some = () => {
      const end = performance.now() + FRAME;
      do {
        const one = left.shift();
        one.show(tableOf(reading, tables, one.layer, one.head, settings), reading.ids.length);
      } while (left.length && performance.now() < end);
      if (left.length) waiting = requestAnimationFrame(some);
    };
    waiting = requestAnimationFrame(some);
  }

  draw();
  return () => { stop(); redraw.cancel(); cancelAnimationFrame(waiting); view.end(); };
}

export default { render };

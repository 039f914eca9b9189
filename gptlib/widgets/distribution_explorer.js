// Logits become probabilities, and probabilities become draws.
import { candidateList, foundWords, legend, listControls, LIST_TRAITS, settings, settingSliders, shownOf } from "./candidates.js";
import { batched, button, follow, frame, h, heatMap, percent, picker, put, row, say, visible, floats, write } from "./drawing.js";
import { byProbability, entropy, nextTokenProbs, sampleCounts, sortedDraws } from "./sampling.js";
import { squareWords } from "./squares.js";

function render({ model, el }) {
  const labels = model.get("labels");
  const names = model.get("row_labels");
  const size = labels.length;
  const all = floats(model.get("logits"));
  const logitsOf = (i) => all.subarray(i * size, (i + 1) * size);

  const redraw = batched(draw);
  const sliders = settingSliders(model, size);
  const rows = names.length > 1 &&
    picker({ label: model.get("row_name"), options: names.map(visible), change: (i) => put(model, "row", i) });
  const draws = h("output", { class: "gw-value" });
  const draw1 = (n) => () => put(model, "n_samples", Math.min(1e6, model.get("n_samples") + n));
  const buttons = row(
    button("draw 1", draw1(1)), button("draw 1,000", draw1(1000)),
    button("clear", () => put(model, "n_samples", 0)), draws);

  const list = candidateList({ drawn: true });
  const others = listControls(model, size);
  const facts = h("p", { class: "gw-facts" });
  const pick = (i) => put(model, "row", Math.min(names.length - 1, Math.max(0, i)));
  const map = names.length > 4 && heatMap({
    rows: names.length, columns: size, value: (i, j) => Math.sqrt(plain[i][j]), pick,
    label: `the table as a heat map: ${names.length} rows, ${size} columns; the list shows one row`,
  });
  const square = map && squareWords(map, {
    read: (i, j) => `${visible(names[i])}, then ${visible(labels[j])}: ${percent(plain[i][j])}`,
    resting: "Each row is one line of the menu, each column a token; darker is likelier. Press a row.",
    row: () => model.get("row"), pick,
  });
  const plain = map ? names.map((_, i) => nextTokenProbs(logitsOf(i))) : [];
  const view = frame(el, model.get("title"),
    row(rows && rows.el, ...sliders.els), facts, buttons, // beside what they change, on a telephone too
    h("div", { class: "gw-split" }, h("div", {}, list.el, others.el, legend(true)), map && h("div", { class: "gw-mapped" }, map.el, square.el)));
  const stop = follow(model, ["row", "temperature", "top_k", "top_p", "n_samples", "seed", ...LIST_TRAITS], redraw);

  let seed = null, drawn = null; // the draws of a seed: a move of a slider leaves them as they are

  function draw() {
    const i = model.get("row");
    const logits = logitsOf(i);
    const before = nextTokenProbs(logits);
    const probs = nextTokenProbs(logits, settings(model, size));
    const n = model.get("n_samples");
    if (seed !== model.get("seed")) drawn = sortedDraws(seed = model.get("seed"));
    const counts = sampleCounts(probs, n, seed, drawn);
    const order = byProbability(before);
    const shown = shownOf(order, model, {
      label: (t) => visible(labels[t]), p: probs, before, count: (t) => counts[t], n,
    });
    list.show(shown, n);
    others.show();

    const nats = entropy(probs);
    const kept = probs.filter((p) => p > 0).length;
    facts.textContent = `entropy ${nats.toFixed(3)} nats, perplexity ${Math.exp(nats).toFixed(2)}, ` +
      `${say(kept)} of ${say(size)} tokens possible`;
    write(draws, n ? `${say(n)} drawn${n <= 100 ? `, the last: ${visible(labels[lastOf(probs, counts, n)])}` : ""}` : "");
    sliders.show();
    if (rows) rows.show(i);
    if (map) map.draw(i);
    view.tell(`${rows ? `Row ${visible(names[i])}. ` : ""}Most likely: ${visible(labels[order[0]])}, ${percent(probs[order[0]])}. ` +
      `Entropy ${nats.toFixed(2)} nats.${foundWords(model, shown)}`);
  }

  // The draw that makes n of n - 1.
  function lastOf(probs, counts, n) {
    const before = sampleCounts(probs, n - 1, seed);
    return counts.findIndex((count, t) => count > before[t]);
  }

  draw();
  return () => { stop(); redraw.cancel(); view.end(); };
}

export default { render };

// Logits become probabilities, and probabilities become draws.
import { batched, button, follow, frame, h, heatMap, percent, picker, put, row, say, slider, visible, floats } from "./drawing.js";
import { entropy, nextTokenProbs, sampleCounts } from "./sampling.js";

const SHOWN = 12; // tokens in the list; all others share its last line

// The settings that a model of traits holds, as nextTokenProbs takes them.
export function settings(model, size) {
  const topK = model.get("top_k");
  return { temperature: model.get("temperature"), topK: topK < size ? topK : 0, topP: model.get("top_p") };
}

function render({ model, el }) {
  const labels = model.get("labels");
  const names = model.get("row_labels");
  const size = labels.length;
  const all = floats(model.get("logits"));
  const logitsOf = (i) => all.subarray(i * size, (i + 1) * size);

  const redraw = batched(draw);
  const change = (name) => (value) => put(model, name, value);
  const temperature = slider({ label: "temperature", min: 0, max: 3, step: 0.05, change: change("temperature") });
  const topK = slider({
    label: "top-k", min: 1, max: size, step: 1, change: change("top_k"),
    show: (k) => (k < size ? say(k) : "off"),
  });
  const topP = slider({
    label: "top-p", min: 0.05, max: 1, step: 0.01, change: change("top_p"),
    show: (p) => (p < 1 ? say(p) : "off"),
  });
  const rows = names.length > 1 &&
    picker({ label: model.get("row_name"), options: names.map(visible), change: change("row") });
  const draws = h("output", { class: "gw-value" });
  const draw1 = (n) => () => put(model, "n_samples", Math.min(1e6, model.get("n_samples") + n));
  const buttons = row(
    button("draw 1", draw1(1)), button("draw 1,000", draw1(1000)),
    button("clear", () => put(model, "n_samples", 0)), draws);

  const lines = Array.from({ length: Math.min(SHOWN, size) + 1 }, line);
  const head = h("thead", {}, h("tr", {}, ...["token", "probability", "as bars", "drawn"].map((t) => h("th", { scope: "col" }, t))));
  const list = h("table", { class: "gw-bars" }, head, h("tbody", {}, ...lines.map((one) => one.el)));
  const facts = h("p", { class: "gw-facts" });
  const map = names.length > 4 && heatMap({
    rows: names.length, columns: size,
    label: `the table as a heat map: ${names.length} rows, ${size} columns; the list shows one row`,
    value: (i, j) => Math.sqrt(plain[i][j]),
    pick: (i) => put(model, "row", Math.min(names.length - 1, Math.max(0, i))),
  });
  const plain = map ? names.map((_, i) => nextTokenProbs(logitsOf(i))) : [];
  const legend = h("p", { class: "gw-legend" },
    h("span", { class: "gw-key gw-key-fill" }), " with these settings ",
    h("span", { class: "gw-key gw-key-line" }), " as the model says ",
    h("span", { class: "gw-key gw-key-dot" }), " drawn");
  const view = frame(el, model.get("title"),
    row(rows && rows.el, temperature.el, topK.el, topP.el),
    h("div", { class: "gw-split" }, h("div", {}, list, legend), map && map.el), facts, buttons);
  const stop = follow(model, ["row", "temperature", "top_k", "top_p", "n_samples", "seed"], redraw);

  function draw() {
    const i = model.get("row");
    const logits = logitsOf(i);
    const before = nextTokenProbs(logits);
    const probs = nextTokenProbs(logits, settings(model, size));
    const n = model.get("n_samples");
    const counts = sampleCounts(probs, n, model.get("seed"));
    const order = Array.from(before.keys()).sort((a, b) => before[b] - before[a] || a - b);
    const best = order.slice(0, lines.length - 1);
    const left = { label: `${say(size - best.length)} others`, before: 1, p: 1, count: n };
    const shown = best.map((t) => ({ label: visible(labels[t]), before: before[t], p: probs[t], count: counts[t] }));
    for (const one of shown) { left.before -= one.before; left.p -= one.p; left.count -= one.count; }
    if (size > best.length) shown.push(left);
    const most = Math.max(...shown.map((one) => Math.max(one.p, one.before, n ? one.count / n : 0)));
    lines.forEach((one, k) => one.show(shown[k], n, most));

    const nats = entropy(probs);
    const kept = probs.filter((p) => p > 0).length;
    facts.textContent = `entropy ${nats.toFixed(3)} nats, perplexity ${Math.exp(nats).toFixed(2)}, ` +
      `${say(kept)} of ${say(size)} tokens possible`;
    draws.textContent = n ? `${say(n)} drawn` : "";
    temperature.show(model.get("temperature"));
    topK.show(Math.min(size, model.get("top_k") || size));
    topP.show(model.get("top_p"));
    if (rows) rows.show(i);
    if (map) map.draw(i);
    view.tell(`${rows ? `Row ${visible(names[i])}. ` : ""}Most likely: ${shown[0].label}, ${percent(shown[0].p)}. ` +
      `Entropy ${nats.toFixed(2)} nats.`);
  }

  draw();
  return () => { stop(); redraw.cancel(); view.end(); };
}

// One line of the list: a filled bar, an outline, a dot, and both numbers.
function line() {
  const label = h("th", { scope: "row" });
  const fill = h("span", { class: "gw-bar" });
  const outline = h("span", { class: "gw-outline" });
  const dot = h("span", { class: "gw-dot" });
  const number = h("td", { class: "gw-number" });
  const count = h("td", { class: "gw-number" });
  const bars = h("td", { class: "gw-track" }, h("div", {}, fill, outline, dot));
  const el = h("tr", {}, label, number, bars, count);
  return {
    el,
    show(one, n, most) {
      el.hidden = !one;
      if (!one) return;
      const width = (share) => `${(100 * Math.max(0, share) / most).toFixed(2)}%`;
      label.textContent = one.label;
      number.textContent = percent(Math.max(0, one.p));
      fill.style.width = width(one.p);
      outline.style.width = width(one.before);
      dot.style.left = width(n ? one.count / n : 0);
      dot.hidden = !n;
      count.textContent = n ? percent(one.count / n) : "";
    },
  };
}

export default { render };

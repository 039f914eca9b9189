// The pictures of the attention explorer: maps of heads, what a query takes, and what comes of it.
import { SHADES, attribute, axes, chart, curve, h, heatMap, linear, log10, percent, s, say, shade, styled, words } from "./drawing.js";
import { squareWords } from "./squares.js";

// The shade of a weight is its root: one of 1 % can still be seen.
const shadeOf = Math.sqrt;

// A table of weights as pixels, in its order; what the mask hides is no number, and has no colour.
function paint(pixels, weights) {
  for (let k = 0; k < weights.length; k++) {
    pixels[k] = weights[k] >= 0 ? SHADES[(255 * shadeOf(weights[k]) + 0.5) | 0] : 0;
  }
}

// What the shades mean, for the maps and for the text.
export function shadeKey() {
  const key = (weight) => h("span", { class: "gw-shade-key" },
    h("span", { class: "gw-key", style: `background: ${shade(shadeOf(weight))}` }), `${100 * weight} %`);
  return h("p", { class: "gw-legend" }, "The shade of a token, and the bar below it: how much the framed token takes from it, in the picked head. Weight ", ...[0, 0.01, 0.1, 0.5, 1].map(key),
    h("span", { class: "gw-shade-key" }, h("span", { class: "gw-key gw-key-hidden" }), "hidden by the mask"));
}

// One head's table of weights (T, T). Pressing a row picks its query; the pointer reads a number.
export function headMap({ pick, read }) {
  let weights = [], drawn = "", marks = "", at = 0; // the row that is marked
  const map = heatMap({
    rows: 1, columns: 1, paint: (pixels) => paint(pixels, weights), pick,
    label: "the weights of the picked head: a row for each token that looks, a column for each that is looked at",
  });
  const square = squareWords(map, {
    read: (i, j) => read(i, j, weights[i * map.canvas.width + j]),
    resting: "A row for each token that looks, a column for each that is looked at. Press a row.",
    row: () => at, pick,
  });
  return {
    el: h("div", {}, map.el, square.el),
    show({ table, state }, size, marked) {
      if (drawn !== state) {
        [weights, drawn] = [table, state];
        map.draw(marked, size, size);
        square.again();
      }
      at = marked;
      if (marks === `${marked} ${size}`) return;
      marks = `${marked} ${size}`;
      map.el.style.setProperty("--gw-marked", (marked + 0.5) / size);
      map.el.style.setProperty("--gw-tall", 1 / size);
    },
  };
}

// All heads as small maps, a row a layer: pressing one picks it.
export function headMaps({ layers, heads, pick }) {
  const cell = (layer, head) => {
    let weights = [];
    const name = layers > 1 ? `block ${layer}, head ${head}` : `head ${head}`;
    const map = heatMap({
      rows: 1, columns: 1, paint: (pixels) => paint(pixels, weights), label: "",
    });
    map.canvas.setAttribute("aria-hidden", "true"); // the button has the name
    const el = h("button", { type: "button", class: "gw-thumb", onclick: () => pick(layer, head), "aria-label": layers > 1 ? `${layer} · ${head}: ${name}` : name },
      map.canvas, h("span", { class: "gw-thumb-name" }, layers > 1 ? `${layer} · ${head}` : name));
    const show = ({ table }, size) => { weights = table; map.draw(-1, size, size); };
    return { el, layer, head, show, press: attribute(el, "aria-pressed") };
  };
  const cells = Array.from({ length: layers * heads }, (_, i) => cell(Math.floor(i / heads), i % heads));
  const el = h("div", { class: "gw-thumbs", role: "group", "aria-label": "the heads", style: `--gw-heads: ${heads}` },
    ...cells.map((one) => one.el));
  return {
    el, cells,
    show(layer, head) {
      for (const one of cells) one.press(String(one.layer === layer && one.head === head));
    },
  };
}

// What a query takes, a token a line, and one line for all others: score, weight, and how long the
// part is that it brings. `show([{ label, place, score, weight, brings }])`.
export function lookTable(length) {
  const lines = Array.from({ length }, () => {
    const cells = ["gw-label", "gw-place", "gw-number", "gw-number gw-weight", "gw-number gw-brings"];
    const [label, place, score, weight, brings] = cells.map((kind, i) => h(i ? "td" : "th", { class: kind, scope: i ? null : "row" }));
    const bar = h("span", { class: "gw-bar" });
    const el = h("tr", {}, label, place, score, weight, h("td", { class: "gw-track" }, h("div", {}, bar)), brings);
    return { el, bar: styled(bar, "width"), cells: [label, place, score, weight, brings].map(words) };
  });
  const divided = h("th", { scope: "col" });
  const divide = words(divided);
  const head = h("tr", {}, h("th", { scope: "col" }, "token"), h("th", { scope: "col", class: "gw-place" }, "place"), divided,
    h("th", { scope: "col" }, "weight"), h("td", {}), h("th", { scope: "col" }, "brings"));
  return {
    el: h("table", { class: "gw-bars gw-looks" }, h("thead", {}, head), h("tbody", {}, ...lines.map((line) => line.el))),
    show(rows, divisor) {
      divide(`q·k / ${say(divisor)}`);
      lines.forEach(({ el, bar, cells }, k) => {
        if (el.hidden !== !rows[k]) el.hidden = !rows[k];
        if (!rows[k]) return;
        const { label, place, score, weight, brings } = rows[k];
        const texts = [label, String(place), score === null ? "" : score.toFixed(2), percent(weight), brings.toFixed(2)];
        cells.forEach((write, i) => write(texts[i]));
        bar(`${(100 * weight).toFixed(2)}%`);
      });
    },
  };
}

// The tokens whose logits grow most, with the votes as bars: `show([{ label, vote }])`.
export function voteTable(length) {
  const lines = Array.from({ length }, () => {
    const [label, number] = [h("th", { scope: "row" }), h("td", { class: "gw-number" })];
    const bar = h("span", { class: "gw-bar" });
    return { el: h("tr", {}, label, number, h("td", { class: "gw-track" }, h("div", {}, bar))),
      label: words(label), number: words(number), bar: styled(bar, "width") };
  });
  const name = (text) => h("th", { scope: "col" }, text);
  const head = h("tr", {}, name("votes for"), name("logit"), h("td", {}));
  return {
    el: h("table", { class: "gw-bars gw-votes" }, h("thead", {}, head), h("tbody", {}, ...lines.map((line) => line.el))),
    show(rows) {
      const most = Math.max(10, rows[0].vote); // one scale for small votes, so that two models compare
      lines.forEach(({ el, label, number, bar }, k) => {
        if (el.hidden !== !rows[k]) el.hidden = !rows[k];
        if (!rows[k]) return;
        label(rows[k].label);
        number(`${rows[k].vote < 0 ? "−" : "+"}${Math.abs(rows[k].vote).toFixed(2)}`);
        bar(`${(100 * Math.max(0, rows[k].vote) / most).toFixed(1)}%`);
      });
    },
  };
}

// A vector as bars above and below a line: what a head hands on, and as outlines one token's part.
export function vectorBars(label) {
  const [width, height] = [360, 96];
  const el = chart(width, height, label);
  let bars = [];
  return {
    el,
    show(sum, part) {
      if (bars.length !== sum.length) {
        const step = width / sum.length;
        const bar = (kind, k, inset) => s("rect", { class: kind, x: (k + inset) * step, width: (1 - 2 * inset) * step });
        const rects = Array.from(sum, (_, k) => [bar("gw-vector", k, 0.15), bar("gw-vector-part", k, 0.08)]);
        bars = rects.map((pair) => pair.map((one) => ["y", "height"].map((name) => attribute(one, name))));
        el.replaceChildren(...rects.flat(), s("line", { class: "gw-zero", x1: 0, x2: width, y1: height / 2, y2: height / 2 }));
      }
      let most = 1e-9;
      for (let k = 0; k < sum.length; k++) most = Math.max(most, Math.abs(sum[k]), Math.abs(part[k]));
      const place = ([top, tall], v) => {
        const size = Math.abs(v) / most * (height / 2 - 3);
        top((v > 0 ? height / 2 - size : height / 2).toFixed(1));
        tall(size.toFixed(1));
      };
      bars.forEach(([whole, one], k) => { place(whole, sum[k]); place(one, part[k]); });
    },
  };
}

// The largest weight of the picked query, for each number that its scores may be divided by.
export function saturationCurve(divisors) {
  const box = { left: 40, right: 345, top: 30, bottom: 118 };
  const x = log10([divisors[0], divisors.at(-1)], [box.left, box.right]);
  const y = linear([0, 1], [box.bottom, box.top]);
  const line = s("path", { class: "gw-line-now" });
  const dot = s("circle", { class: "gw-mark-dot", r: 5 });
  const frame = axes({
    box, x, y, xTicks: divisors, yTicks: [0, 0.5, 1], xLabel: "scores divided by", yLabel: "largest weight",
    show: (v) => (v === 0.5 && divisors.includes(v) ? "½" : say(v)),
  });
  const [drawn, across, up] = [attribute(line, "d"), attribute(dot, "cx"), attribute(dot, "cy")];
  const el = s("svg", { class: "gw-chart", viewBox: "0 0 360 154", role: "img",
    "aria-label": "the largest weight as the divisor grows" }, frame, line, dot);
  return {
    el,
    show(largest, divisor, now) {
      drawn(curve(divisors, largest, x, y));
      across(x(Math.min(divisors.at(-1), Math.max(divisors[0], divisor))).toFixed(1));
      up(y(now).toFixed(1));
    },
  };
}

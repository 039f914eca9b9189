// Small pictures in rows: a skill or a layer each, its course over the run and its value now.
import { curve, h, linear, log10, percent, s, say } from "./drawing.js";
import { BINS, spanOf } from "./tape.js";

const SKILL = { wide: 220, high: 25 }, LAYER = { wide: 160, high: 58 }; // the drawings' sizes

// A course over the steps: the healthy run's in grey, this one's, and where we are.
function spark({ wide, high }) {
  const behind = s("path", { class: "gw-line-healthy" });
  const line = s("path", { class: "gw-spark-line" });
  const cursor = s("line", { class: "gw-mark", y1: 0, y2: high });
  const dot = s("circle", { class: "gw-spark-dot", r: 3.5 });
  const el = s("svg", { class: "gw-spark", viewBox: `0 0 ${wide} ${high}`, "aria-hidden": "true" }, behind, cursor, line, dot);
  return {
    el,
    course(x, y, run, values, healthy, others) {
      line.setAttribute("d", curve(run.step, values.map(y), x, (v) => v));
      behind.setAttribute("d", others ? curve(healthy.step, others.map(y), x, (v) => v) : "");
    },
    show(x, y) {
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
      const there = Number.isFinite(y);
      dot.setAttribute("cx", x);
      dot.setAttribute("cy", there ? y : 0);
      dot.style.display = there ? "" : "none";
    },
  };
}

const across = (run, { wide }) => linear([0, run.step.at(-1)], [4, wide - 4]);
const upward = ({ high }) => [high - 4, 4];

// One line a skill, in the order in which they came to four of five.
export function skillTable(healthy, run) {
  const names = Object.keys(healthy.skills);
  const y = (v) => (v == null ? NaN : linear([0, 1], upward(SKILL))(v));
  const came = (name) => healthy.skills[name].findIndex((share) => share >= 0.8) + 1 || Infinity;
  names.sort((a, b) => came(a) - came(b) || a.localeCompare(b));
  const lines = names.map((name) => ({ name, spark: spark(SKILL), value: h("td", { class: "gw-number" }) }));
  const el = h("table", { class: "gw-gauges gw-skills" }, h("caption", {}, "skills: the share of places that are right"),
    h("tbody", {}, ...lines.map((one) => h("tr", {}, h("th", { scope: "row" }, one.name), h("td", {}, one.spark.el), one.value))));
  el.hidden = !names.length;
  let drawn = null;
  return {
    el,
    show(m) {
      const one = run();
      const x = across(one, SKILL);
      for (const { name, spark: small, value } of lines) {
        const shares = one.skills[name] ?? [];
        if (drawn !== one) small.course(x, y, one, shares, healthy, one !== healthy && healthy.skills[name]);
        small.show(x(one.step[m]), y(shares[m]));
        value.textContent = shares[m] == null ? "–" : percent(shares[m]);
      }
      drawn = one;
    },
  };
}

// One line a layer, the last on top as in the model: gradient, update, and what it hands on.
export function layerTable(healthy, run) {
  const lines = healthy.layers.map((name, l) => ({
    name, l, gradients: cell(spark(LAYER)), updates: cell(spark(LAYER)), numbers: cell(histogram()),
  }));
  const kinds = ["gradients", "updates"];
  const heads = { gradients: h("th", { scope: "col" }), updates: h("th", { scope: "col" }) };
  const el = h("div", {}, h("table", { class: "gw-gauges gw-layers" },
    h("caption", {}, "layer by layer, the last one on top"),
    h("thead", {}, h("tr", {}, h("td", {}), heads.gradients, heads.updates, h("th", { scope: "col" }, "numbers handed on"))),
    h("tbody", {}, ...[...lines].reverse().map((one) => h("tr", {}, h("th", { scope: "row" }, one.name),
      one.gradients.el, one.updates.el, one.numbers.el)))));
  el.hidden = !lines.length;
  let drawn = null;
  const scales = {};

  function prepare(one) {
    const x = across(one, LAYER);
    for (const kind of kinds) {
      const [low, high] = spanOf([one, healthy].flatMap((each) => each[kind].flat()));
      const log = log10([low, high], upward(LAYER));
      scales[kind] = (v) => (v == null ? NaN : log(Math.max(v, low))); // what is 0 stands at the bottom
      heads[kind].replaceChildren(kind === "gradients" ? "gradient norm" : "update ratio",
        h("span", { class: "gw-legend" }, ` ${brief(low)} to ${brief(high)}`));
      for (const { l, [kind]: { part } } of lines) {
        const of = (each) => each[kind].map((layers) => layers[l]);
        part.course(x, scales[kind], one, of(one), healthy, one !== healthy && of(healthy));
      }
    }
    drawn = one;
  }

  return {
    el,
    show(m, behind) {
      const one = run();
      if (drawn !== one) prepare(one);
      const x = across(one, LAYER);
      for (const line of lines) {
        for (const kind of kinds) {
          const value = one[kind][m]?.[line.l];
          line[kind].part.show(x(one.step[m]), scales[kind](value));
          line[kind].value.textContent = value == null ? "–" : brief(value);
        }
        const limit = one.limits[line.l];
        if (limit == null) continue;
        const other = behind < 0 ? null : { counts: healthy.histogram(behind, line.l), limit: healthy.limits[line.l] };
        line.numbers.part.show({ counts: one.histogram(m, line.l), limit }, other);
        line.numbers.value.textContent = `± ${brief(Math.max(limit, other ? other.limit : 0))}`;
      }
    },
  };
}

const brief = (v) => (v !== 0 && (v < 0.0001 || v >= 1e5) ? v.toExponential(0).replace("e+", "e") : say(v, 2));

function cell(part) {
  const value = h("span", { class: "gw-number" });
  return { part, value, el: h("td", {}, value, part.el) };
}

// What a layer hands on, as bars; the healthy run's as an outline, on the wider of the two axes.
function histogram() {
  const { wide, high } = LAYER;
  const bars = s("path", { class: "gw-fill" });
  const outline = s("path", { class: "gw-outline-healthy" });
  const el = s("svg", { class: "gw-spark", viewBox: `0 0 ${wide} ${high}`, "aria-hidden": "true" },
    s("line", { class: "gw-base", x1: 4, x2: wide - 4, y1: high - 3, y2: high - 3 }), bars, outline);
  const path = ({ counts, limit }, widest) => {
    const x = linear([-widest, widest], [4, wide - 4]);
    let d = `M${x(-limit).toFixed(1)},${high - 3}`;
    counts.forEach((count, k) => {
      d += `V${(high - 3 - ((high - 6) * count) / 255).toFixed(1)}H${x(limit * (2 * (k + 1) / BINS - 1)).toFixed(1)}`;
    });
    return `${d}V${high - 3}`;
  };
  return {
    el,
    show(one, other) {
      const widest = Math.max(one.limit, other ? other.limit : 0);
      bars.setAttribute("d", path(one, widest));
      outline.setAttribute("d", other ? path(other, widest) : "");
    },
  };
}

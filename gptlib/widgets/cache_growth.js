// The KV cache as the text grows: its bytes beside the weights', and the work that it spares.
import { axes, batched, button, chart, curve, follow, frame, h, linear, picker, put, row, s, say, slider, stops, toggle } from "./drawing.js";
import { divisors } from "./counting.js";
import { cacheBytes, doublings, nextOperations, numbersRead, parametersOfShape, textOperations } from "./caching.js";
import { BYTES, MILLIONS, bytes, large, unitOf } from "./units.js";

const TRAITS = ["shown", "n_tokens", "n_kv_head", "window", "full_every", "bytes_per_value", "measure"];
const NUMBERS = [[4, "float32: 4 bytes"], [2, "16 bits: 2 bytes"], [1, "8 bits: 1 byte"]];
const MEASURES = [
  { name: "keys and values read, next token", of: numbersRead, unit: "numbers" },
  { name: "operations, next token", of: nextOperations, unit: "operations" },
  { name: "operations, whole text", of: textOperations, unit: "operations" },
];
const POINTS = 64; // of a curve
const BOX = { left: 46, right: 328, top: 22, bottom: 176 };

function render({ model, el }) {
  const models = model.get("models");
  const redraw = batched(draw);
  const set = (name) => (value) => put(model, name, value);
  const own = () => models[model.get("shown")] ?? models[0];
  const shape = () => ({ ...own(), n_kv_head: model.get("n_kv_head"), window: model.get("window"), full_every: model.get("full_every") });

  const buttons = models.map(({ name }, i) => button(name, () => pick(i)));
  const presets = h("div", { class: "gw-presets", role: "group", "aria-label": "model" }, h("span", { class: "gw-name" }, "model"), ...buttons);
  const text = stops({ label: "tokens of text", values: [1], change: set("n_tokens") });
  const heads = stops({ label: "key/value heads", values: [1], change: set("n_kv_head") });
  let longest = 1; // a window of the whole context is none
  const sight = stops({
    label: "window", values: [1], show: (n) => (n < longest ? say(n) : "off"),
    change: (n) => put(model, "window", n < longest ? n : 0),
  });
  const every = toggle({ label: "", change: (on) => put(model, "full_every", on ? own().full_every || 2 : 0) });
  const numbers = picker({ label: "numbers", options: NUMBERS.map(([, name]) => name), change: (i) => put(model, "bytes_per_value", NUMBERS[i][0]) });
  const kind = h("p", { class: "gw-legend gw-kind" });
  const [cache, weights] = [memoryBar("the cache"), memoryBar("the weights")];
  const [held, work] = [growth(), growth()];
  const plainKey = legendOf(["now", "with these settings"], ["other", "all heads, no window"]);
  const measure = picker({ label: "counted:", options: MEASURES.map(({ name }) => name), change: (i) => put(model, "measure", MEASURES[i].name) });
  const [first, second] = [h("p", { class: "gw-facts" }), h("p", { class: "gw-facts" })];
  const view = frame(el, model.get("title"), models.length > 1 && presets,
    h("div", { class: "gw-sizes" }, text.el, heads.el, sight.el, every.el), row(numbers.el), kind,
    h("div", { class: "gw-memory" }, cache.el, weights.el),
    h("div", { class: "gw-growths" },
      h("div", {}, h("p", { class: "gw-heading" }, "Memory: bytes of the cache"), held.el,
        plainKey, first),
      h("div", {}, h("p", { class: "gw-heading" }, "Work: with the cache and without"), work.el,
        legendOf(["now", "with the cache"], ["other", "without: all is worked out again"]), second, measure.el)));
  view.root.classList.add("gw-growing");
  const stop = follow(model, TRAITS, redraw);

  function pick(i) {
    const { own_kv_head, window, full_every, context_length } = models[i];
    model.set({ shown: i, n_kv_head: own_kv_head, window, full_every, n_tokens: Math.min(model.get("n_tokens"), context_length) });
    model.save_changes();
  }

  function draw() {
    const c = shape();
    const n = model.get("n_tokens");
    const B = model.get("bytes_per_value");
    const shown = MEASURES.find(({ name }) => name === model.get("measure")) ?? MEASURES[0];
    longest = c.context_length;

    text.show(n, doublings(longest));
    heads.show(c.n_kv_head, divisors(c.n_head));
    sight.show(Math.min(c.window || longest, longest), doublings(longest));
    every.show(c.full_every > 0 && c.window > 0);
    every.input.disabled = !c.window;
    const step = c.full_every || own().full_every || 2;
    every.el.lastChild.textContent = `${step === 1 ? "every" : step === 2 ? "every second" : `every ${step}th`} layer sees the whole text`;
    numbers.show(NUMBERS.findIndex(([size]) => size === B));
    measure.show(MEASURES.indexOf(shown));
    buttons.forEach((one, i) => one.setAttribute("aria-pressed", String(models[i] === own())));
    kind.textContent = kindOf(c);

    const [bytesNow, bytesOfWeights] = [Number(cacheBytes(c, n, B)), Number(parametersOfShape(c)) * B];
    const most = Math.max(bytesNow, bytesOfWeights);
    cache.show(bytes(bytesNow), bytesNow / most);
    weights.show(bytes(bytesOfWeights), bytesOfWeights / most);

    const plain = { ...c, n_kv_head: c.n_head, window: 0 };
    held.show(longest, n, [BYTES, "", bytes], [(m) => Number(cacheBytes(c, m, B)), (m) => Number(cacheBytes(plain, m, B))]);
    const [next, plainNow] = [Number(cacheBytes(c, n + 1, B)) - bytesNow, Number(cacheBytes(plain, n, B))];
    const smaller = plainNow / bytesNow;
    plainKey.lastChild.hidden = c.n_kv_head === c.n_head && !c.window; // the same line twice
    first.textContent = `The next token adds ${next ? bytes(next) : "nothing: as many tokens leave the window"}.` +
      (smaller > 1 ? ` With all ${say(c.n_head)} heads and no window the cache would be ${times(smaller)} as large.` : "");
    work.show(longest, n, [MILLIONS, shown.unit, large], [(m) => Number(shown.of(c, m)[0]), (m) => Number(shown.of(c, m)[1])]);
    const [cached, without] = shown.of(c, n).map(Number);
    second.textContent = `${large(cached)} ${shown.unit} with the cache, ${large(without)} without: ${times(without / cached)} as many.`;
    view.tell(`${say(n)} tokens: the cache holds ${bytes(bytesNow)}, the weights ${bytes(bytesOfWeights)}. ${second.textContent}`);
  }

  draw();
  return () => { stop(); redraw.cancel(); view.end(); };
}

const times = (ratio) => `${ratio < 10 ? say(ratio, 2) : say(Math.round(ratio))} ${ratio === 1 ? "time" : "times"}`;

// What the key/value heads are called.
function kindOf({ n_head, n_kv_head }) {
  if (n_kv_head === n_head) return `Multi-head attention: each of the ${say(n_head)} heads has keys and values of its own.`;
  if (n_kv_head === 1) return `Multi-query attention: all ${say(n_head)} heads share the keys and values of one.`;
  return `Grouped-query attention: ${say(n_head)} heads in ${say(n_kv_head)} groups of ${say(n_head / n_kv_head)}; a group shares keys and values.`;
}

// A name, a bar and its bytes.
function memoryBar(name) {
  const bar = h("span", { class: "gw-bar" });
  const number = h("span", { class: "gw-value" });
  return {
    el: h("div", { class: "gw-memory-line" }, h("span", {}, name), h("span", { class: "gw-memory-track" }, bar), number),
    show(amount, share) { number.textContent = amount; bar.style.width = `${(100 * share).toFixed(2)}%`; },
  };
}

function legendOf(...keys) {
  return h("p", { class: "gw-legend" }, ...keys.map(([kind, words]) => h("span", { class: "gw-keyed" },
    h("span", { class: `gw-growth-key gw-growth-${kind}-key` }), ` ${words} `)));
}

// Two curves over the length of the text, from 1 to the longest, with a mark at the present one.
function growth() {
  const svg = chart(340, 212, "");
  return {
    el: svg,
    show(longest, n, [units, what, write], counts) {
      const lengths = Array.from({ length: POINTS + 1 }, (_, k) => Math.max(1, Math.round(longest * k / POINTS)));
      const [now, other] = counts.map((count) => lengths.map(count));
      const x = linear([0, longest], [BOX.left, BOX.right]);
      const most = Math.max(...now, ...other);
      const y = linear([0, most], [BOX.bottom, BOX.top]);
      const [size, unit] = unitOf(most, units);
      const at = x(n);
      svg.setAttribute("aria-label", `a curve over ${say(longest)} tokens; at ${say(n)}: ${write(counts[0](n))}, the other curve ${write(counts[1](n))}`);
      svg.replaceChildren(
        axes({ box: BOX, x, y, xLabel: "tokens of text", yLabel: "", xTicks: x.ticks(4), yTicks: [] }),
        axes({ box: BOX, x, y, xLabel: "", yLabel: `${unit} ${what}`.trim(), xTicks: [], yTicks: y.ticks(), show: (v) => say(v / size) }),
        s("line", { class: "gw-growth-at", x1: at, x2: at, y1: BOX.top, y2: BOX.bottom }),
        s("path", { class: "gw-growth-other", d: curve(lengths, other, x, y) }),
        s("path", { class: "gw-growth-now", d: curve(lengths, now, x, y) }),
        s("circle", { class: "gw-growth-dot", cx: at, cy: y(counts[1](n)), r: 4 }),
        s("circle", { class: "gw-growth-dot", cx: at, cy: y(counts[0](n)), r: 5 }));
    },
  };
}

export default { render };

// What becomes of numbers on the way up a stack of layers, and of gradients on the way down.
import { axes, batched, button, chart, curve, floats, follow, frame, h, linear, log10, onTheme, picker, put, row, s, say, slider, toggle } from "./drawing.js";
import { SIZE_BINS, backward, counted, forward, room, rowsDiffer, sizeBin, sizeOf, sizesCounted, start, step } from "./stack.js";

const ACTIVATIONS = { none: "none", relu: "ReLU", gelu: "GELU", tanh: "tanh" };
const NORMS = { none: "none", pre: "before the layer (pre)", post: "behind the sum (post)" };
const NORM_KINDS = { layer: "LayerNorm", rms: "RMSNorm" };
const OPTIMIZERS = { adam: "Adam", sgd: "plain SGD" };
const SETTINGS = ["depth", "width", "batch", "activation", "norm", "norm_kind", "shortcut", "gain", "optimizer", "lr", "seed"];
const SAMPLES = 512;
const BOX = { left: 46, right: 334, top: 12, bottom: 178 };
const BINS = 41;
const NOTHING = new Float64Array(); // the weights of layer 0

// A power of ten as people write it: 0.01, 100, 10⁻¹².
export function power(v) {
  if (v >= 0.001 && v <= 1000) return say(v);
  return `10${[...String(Math.round(Math.log10(v)))].map((c) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[c] ?? "⁻").join("")}`;
}

// The ends of a logarithmic axis for these sizes: whole thousands, so that it seldom jumps.
export function ends(sizes) {
  const logs = sizes.filter((v) => v > 0 && Number.isFinite(v)).map(Math.log10);
  if (!logs.length) return [1e-3, 1e3];
  const low = 3 * Math.floor((Math.min(...logs) - 0.5) / 3), high = 3 * Math.ceil((Math.max(...logs) + 0.5) / 3);
  return [10 ** Math.min(low, -3), 10 ** Math.max(high, 3)];
}

// A round number that four times the size fits under.
export function limitOf(size) {
  if (!(size > 0) || !Number.isFinite(size)) return 1;
  const ten = 10 ** Math.floor(Math.log10(4 * size));
  return Number((ten * [1, 2, 3, 4, 5, 6, 8, 10].find((k) => k * ten >= 3.999 * size)).toPrecision(1));
}

// A size in few characters, however small or large: 0.02, 840, 5.3e-9.
function brief(v, digits = 2) {
  if (!Number.isFinite(v)) return "not a number";
  const large = Math.abs(v) >= 1e6 || (v !== 0 && Math.abs(v) < 0.001);
  return large ? v.toExponential(digits - 1).replace("e+", "e") : say(v, digits);
}

// The stack of these settings, before its first step or on its way to the step that is asked for.
function liveStack(model) {
  let key = "", stack, settings, shape = "", done = 0, answer, version = 0; // of the numbers
  const pass = () => { answer = forward(stack, settings); backward(stack, settings); version += 1; };
  return {
    // Begins anew if a setting has moved, or if fewer steps are asked for. Has it begun anew?
    refresh() {
      settings = Object.fromEntries(SETTINGS.map((name) => [name, model.get(name)]));
      const now = JSON.stringify(settings);
      if (now === key && done <= model.get("steps")) return false;
      const place = [settings.width, settings.batch, settings.seed].join();
      if (place !== shape) stack = room(settings);
      [key, shape, done] = [now, place, 0];
      start(stack, settings);
      pass();
      return true;
    },
    behind: () => done < model.get("steps"),
    train(milliseconds) {
      const until = performance.now() + milliseconds;
      while (done < model.get("steps") && performance.now() < until) { done += 1; step(stack, settings, done); pass(); }
    },
    signals: () => ({
      depth: settings.depth, width: settings.width, done, version, ...answer,
      of: {
        numbers: (l) => (l ? stack.layers[l - 1].out : stack.x),
        gradients: (l) => (l ? stack.layers[l - 1].dOut : stack.dx),
        weights: (l) => (l ? stack.layers[l - 1].weight.gradient : NOTHING),
      },
    }),
  };
}

// What Python has recorded of models: for each the lines of sizes, then samples of the numbers.
function recordedSignals(model) {
  const all = floats(model.get("recorded"));
  let at = 0;
  const take = (n) => all.subarray(at, (at += n));
  return model.get("depths").map((depth, version) => {
    const lines = Object.fromEntries(["numbers", "differ", "gradients", "weights"].map((name) => [name, [...take(depth + 1)]]));
    const samples = Object.fromEntries(["numbers", "gradients", "weights"].map((kind) =>
      [kind, Array.from({ length: depth + 1 }, () => take(SAMPLES))]));
    const of = Object.fromEntries(Object.entries(samples).map(([kind, found]) => [kind, (l) => (kind === "weights" && !l ? NOTHING : found[l])]));
    return { depth, version, lines, of };
  });
}

// The size by layer of what is shown; the weights of layer 0, which there are none of, are missing.
export function linesOf({ depth, width, of, lines }) {
  if (lines) return { ...lines, weights: [NaN, ...lines.weights.slice(1)] };
  const by = (f) => Array.from({ length: depth + 1 }, (_, l) => f(l));
  return {
    numbers: by((l) => sizeOf(of.numbers(l))),
    differ: by((l) => rowsDiffer(of.numbers(l), width)),
    gradients: by((l) => sizeOf(of.gradients(l))),
    weights: by((l) => (l ? sizeOf(of.weights(l)) : NaN)),
  };
}

function render({ model, el }) {
  const recorded = model.get("names").length > 0 && recordedSignals(model);
  const live = !recorded && liveStack(model);
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let before = null, training = 0;
  let lines, version; // the sizes, and of which numbers they are

  const redraw = batched(draw);
  const change = (name) => (value) => {
    if (live) model.set("steps", 0); // another stack has not trained yet
    put(model, name, value);
  };
  const choice = (name, label, options) => {
    const keys = Object.keys(options);
    const one = picker({ label, options: Object.values(options), change: (i) => change(name)(keys[i]) });
    return { ...one, show: (value) => one.show(keys.indexOf(value ?? keys[0])) };
  };
  const controls = recorded ? {
    shown: picker({ label: "model", options: model.get("names"), change: change("shown") }),
  } : {
    depth: slider({ label: "layers", min: 1, max: 64, step: 1, change: change("depth") }),
    gain: slider({ label: "gain: weights' size × √C", min: 0.3, max: 2.5, step: 0.05, show: (v) => v.toFixed(2), change: change("gain") }),
    activation: choice("activation", "activation", ACTIVATIONS),
    norm: choice("norm", "norm", NORMS),
    norm_kind: choice("norm_kind", "of the kind", NORM_KINDS),
    shortcut: toggle({ label: "shortcuts", change: change("shortcut") }),
    optimizer: choice("optimizer", "with", OPTIMIZERS),
  };
  const layer = slider({ label: "look into layer", min: 0, max: 64, step: 1, change: (l) => put(model, "layer", l) });
  const kinds = ["weights", "numbers"];
  const gradientOf = picker({
    label: "gradients", options: ["of the weights", "of the numbers handed on"],
    change: (i) => put(model, "gradient_of", kinds[i]),
  });
  const train = button("train 50 steps", () => put(model, "steps", Math.min(5000, model.get("steps") + 50)));
  const again = button("back to the start", () => put(model, "steps", 0));
  const facts = h("p", { class: "gw-facts" });
  const pick = (l) => put(model, "layer", l);
  const up = panel("up: the numbers handed on", "number", pick);
  const down = panel("", "gradient", pick);
  const legend = h("p", { class: "gw-legend" },
    h("span", { class: "gw-key gw-key-now" }), " size (root mean square) ",
    h("span", { class: "gw-key gw-key-differ" }), " how far the rows differ ",
    live ? h("span", {}, h("span", { class: "gw-key gw-key-before" }), " before the first step ") : null,
    h("span", { class: "gw-key gw-key-shade" }), " how many numbers have which size");
  const note = recorded ? h("p", { class: "gw-facts" },
    "Recorded from a model in Python, which this page does not have: other settings are tried in the notebook.") : null;
  const tops = recorded ? [row(controls.shown.el)] : [
    row(controls.depth.el, controls.gain.el),
    row(controls.activation.el, controls.norm.el, controls.norm_kind.el, controls.shortcut.el),
    row(train, controls.optimizer.el, again), facts];
  const view = frame(el, model.get("title"), ...tops, h("div", { class: "gw-signal" }, up.el, down.el), legend,
    row(layer.el, gradientOf.el), note);
  const stop = follow(model, [...SETTINGS, "steps", "layer", "gradient_of", "shown"], redraw);
  const stopTheme = onTheme(() => { up.recolour(); down.recolour(); redraw(); });

  function draw() {
    const anew = live && live.refresh();
    if (live && live.behind() && !training) training = requestAnimationFrame(trainOn);
    const signals = live ? live.signals() : recorded[model.get("shown")] ?? recorded[0];
    if (signals.version !== version) [lines, version] = [linesOf(signals), signals.version];
    if (anew) before = lines;
    const then = live && signals.done > 0 ? before : null;
    const kind = model.get("gradient_of") === "weights" ? "weights" : "gradients";
    const at = model.get("layer") < 0 ? signals.depth : Math.min(signals.depth, model.get("layer"));
    up.show(signals, "numbers", lines.numbers, lines.differ, then && then.numbers, at);
    down.name(kind === "weights" ? "back: the gradients of the weights" : "back: the gradients of these numbers");
    down.show(signals, kind, lines[kind], null, then && then[kind], at);
    for (const [name, control] of Object.entries(controls)) control.show(model.get(name));
    if (live) controls.norm_kind.select.disabled = model.get("norm") === "none";
    layer.input.max = signals.depth;
    layer.show(at);
    gradientOf.show(kinds.indexOf(model.get("gradient_of")));
    const first = lines[kind][kind === "weights" ? 1 : 0], last = lines[kind][signals.depth];
    let told = `Numbers: size ${brief(lines.numbers[0])} before, ${brief(lines.numbers[signals.depth])} after ${signals.depth} layers, ` +
      `rows differ by ${brief(lines.differ[signals.depth])}. Gradients: ${brief(first)} in the first layer, ${brief(last)} in the last.`;
    if (live) {
      const rows = model.get("batch");
      const burst = Number.isFinite(signals.loss) ? ""
        : "; the numbers have grown beyond what a computer can hold: back to the start, and smaller weights, a norm or Adam";
      facts.textContent = `after ${say(signals.done)} steps: loss ${brief(signals.loss, 3)} (blind guessing: 1.39), ` +
        `${signals.right} of ${rows} examples right${burst}`;
      again.disabled = model.get("steps") === 0;
      told += ` After ${signals.done} steps: loss ${brief(signals.loss, 3)}, ${signals.right} of ${rows} right${burst}.`;
    } else told = `${model.get("names")[model.get("shown")]}. ${told}`;
    view.tell(told);
  }

  function trainOn() {
    training = 0;
    live.refresh();
    live.train(10);
    if (live.behind()) training = requestAnimationFrame(trainOn);
    if (!still || !live.behind()) draw();
  }

  draw();
  // JupyterLab lets a widget draw before it stands in the page: it has no colours until then.
  const placed = new ResizeObserver(() => {
    if (!view.root.isConnected) return;
    placed.disconnect();
    up.recolour();
    down.recolour();
    redraw();
  });
  if (!view.root.isConnected) placed.observe(view.root);
  return () => { stop(); stopTheme(); placed.disconnect(); redraw.cancel(); cancelAnimationFrame(training); view.end(); };
}

// One of the two pictures: sizes by layer on a logarithmic axis, and the histogram of one layer.
function panel(title, what, pick) {
  const heading = h("p", { class: "gw-signal-title" }, title);
  const canvas = h("canvas", { class: "gw-signal-shades", "aria-hidden": "true", width: 65, height: 0 });
  const across = s("g"), upward = s("g"); // the axes
  const then = s("path", { class: "gw-line-before" }), differ = s("path", { class: "gw-line-differ" });
  const now = s("path", { class: "gw-line-now" }), mark = s("line", { class: "gw-mark", y1: BOX.top, y2: BOX.bottom });
  const dot = s("circle", { class: "gw-mark-dot", r: 4 });
  const svg = chart(344, 214, "");
  svg.append(across, upward, mark, then, differ, now, dot);
  const plot = h("div", { class: "gw-signal-plot" }, canvas, svg);
  const bars = s("path", { class: "gw-fill" });
  const edgeOf = linear([0, BINS], [BOX.left, BOX.right]);
  const below = axes({
    box: { ...BOX, top: 8, bottom: 70 }, x: linear([-1, 1], [BOX.left, BOX.right]), y: linear([0, 1], [70, 8]),
    xTicks: [-1, 0, 1], yTicks: [], xLabel: "", yLabel: "",
  });
  const edges = [...below.querySelectorAll("text")].slice(0, 3); // -limit, 0, limit
  const histogram = chart(344, 96, "");
  histogram.append(below, bars);
  const caption = h("p", { class: "gw-facts" });
  const counts = new Uint32Array(SIZE_BINS);
  const pen = canvas.getContext("2d", { willReadFrequently: true }); // drawn by the processor: no way to the GPU
  const scales = new Map(); // the axes that were drawn once, by their ends
  let drawn = {}, lined = "", x, y, base, tops, image, pixels;
  let ink = 0; // the colour as bytes, red, green and blue; 0: not asked for yet

  plot.addEventListener("pointerdown", (event) => {
    const box = svg.getBoundingClientRect();
    const l = Math.round(x.invert(((event.clientX - box.left) / box.width) * 344));
    pick(Math.min(Math.round(x.invert(BOX.right) - 0.5), Math.max(0, l)));
  });

  function once(name, make) {
    if (!scales.has(name)) scales.set(name, make());
    return scales.get(name);
  }

  // Everything that follows from the ends of the axes.
  function prepare(depth, low, high) {
    x = linear([-0.5, depth + 0.5], [BOX.left, BOX.right]);
    y = log10([low, high], [BOX.bottom, BOX.top]);
    if (drawn.depth !== depth) {
      const xTicks = linear([0, depth], [0, 1]).ticks(6).filter((v) => Number.isInteger(v));
      across.replaceChildren(once(depth, () => axes({ box: BOX, x, y, xLabel: "layer", yLabel: "", xTicks, yTicks: [] })));
    }
    if (drawn.low !== low || drawn.high !== high) {
      upward.replaceChildren(once(`${low} ${high}`, () => axes({ box: BOX, x, y, xLabel: "", yLabel: "", xTicks: [], show: power })));
    }
    drawn = { depth, low, high };
    [base, tops] = [0, SIZE_BINS];
    while (sizeBin(base + 1) < low) base++;
    while (sizeBin(tops - 1) > high) tops--;
    if (canvas.width < depth + 1 || canvas.height < tops - base) { // dear: it only grows, and CSS fits it
      canvas.width = Math.max(canvas.width, depth + 1);
      canvas.height = Math.max(canvas.height, tops - base);
      image = pen.createImageData(canvas.width, canvas.height);
      pixels = new Uint32Array(image.data.buffer);
    }
    pixels.fill(0);
    const [bottom, top] = [y(sizeBin(base)), y(sizeBin(tops))]; // a little beyond the axes: cut by CSS
    const [wider, higher] = [canvas.width / (depth + 1), canvas.height / (tops - base)];
    Object.assign(canvas.style, {
      left: `${(100 * BOX.left) / 344}%`, width: `${(100 * wider * (BOX.right - BOX.left)) / 344}%`,
      top: `${(100 * top) / 214}%`, height: `${(100 * higher * (bottom - top)) / 214}%`,
    });
  }

  function shades(signals, kind) {
    const columns = signals.depth + 1, rows = tops - base, wide = image.width;
    if (!ink) { // to ask costs as much as to compute: the browser settles all styles first
      const [r, g, b] = (getComputedStyle(canvas).color.match(/\d+/g) ?? [0, 0, 0]).map(Number);
      ink = (b << 16) | (g << 8) | r;
    }
    for (let l = 0; l < columns; l++) {
      const numbers = signals.of[kind](l);
      sizesCounted(numbers, counts, Math.ceil(numbers.length / SAMPLES)); // as many as of a recorded model
      let most = 1;
      for (let k = base; k < tops; k++) if (counts[k] > most) most = counts[k];
      for (let k = base, at = (rows - 1) * wide + l; k < tops; k++, at -= wide) {
        const n = counts[k];
        pixels[at] = n === 0 ? 0 : ink | (190 * Math.sqrt(n / most) << 24);
      }
    }
    pen.putImageData(image, 0, 0);
  }

  return {
    el: h("div", { class: "gw-signal-panel" }, heading, plot, caption, histogram),
    recolour() { ink = 0; lined = ""; },
    name(text) { if (heading.textContent !== text) heading.textContent = text; },
    show(signals, kind, sizes, differs, sizesThen, at) {
      const depth = signals.depth;
      const [low, high] = ends([...sizes, ...(sizesThen || [])]);
      const numbered = [signals.version, kind, Boolean(sizesThen)].join();
      if (numbered !== lined) { // otherwise another layer is looked into, and no number has changed
        if (drawn.depth !== depth || drawn.low !== low || drawn.high !== high) prepare(depth, low, high);
        lined = numbered;
        shades(signals, kind);
        const layers = sizes.map((_, l) => l);
        const line = (values) => (values ? curve(layers, values.map((v) => (v >= low && v <= high ? v : NaN)), x, y) : "");
        now.setAttribute("d", line(sizes));
        differ.setAttribute("d", line(differs));
        then.setAttribute("d", line(sizesThen));
      }
      const size = sizes[at];
      const there = size >= low && size <= high;
      for (const [name, value] of Object.entries({ x1: x(at), x2: x(at) })) mark.setAttribute(name, value);
      dot.setAttribute("cx", x(at));
      dot.setAttribute("cy", there ? y(size) : BOX.bottom);
      dot.style.display = there ? "" : "none";
      const numbers = signals.of[kind](at);
      let zeros = 0;
      for (let i = 0; i < numbers.length; i++) if (numbers[i] === 0) zeros += 1 / numbers.length;
      const gone = numbers.length ? "" : " has no weights";
      caption.textContent = `layer ${at}${gone || `: size ${brief(size, 3)}` +
        (differs ? `, rows differ by ${brief(differs[at], 3)}` : "") + (zeros > 0.001 ? `, ${Math.round(100 * zeros)} % zeros` : "")}`;
      svg.setAttribute("aria-label", `${heading.textContent}, ${say(depth)} layers, logarithmic; ${caption.textContent}`);
      const limit = limitOf(size);
      const heights = counted(numbers, limit, BINS);
      const most = heights.reduce((a, b) => Math.max(a, b), 1);
      let d = `M${BOX.left},70`;
      heights.forEach((n, i) => { d += `V${(70 - (62 * n) / most).toFixed(1)}H${edgeOf(i + 1).toFixed(1)}`; });
      bars.setAttribute("d", `${d}V70Z`);
      const short = (v) => brief(v, 1).replace(/^-/, "−");
      edges.forEach((edge, i) => { edge.textContent = short((i - 1) * limit); });
      histogram.setAttribute("aria-label", `histogram of the ${what}s in layer ${at}, from ${short(-limit)} to ${short(limit)}`);
    },
  };
}

export default { render };

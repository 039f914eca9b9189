// What the widgets draw with, each thing once: elements, controls, scales, axes, colours, words.

// A DOM element: h("p", { class: "note" }, "text", child). Properties that start with "on" listen.
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

// The same for drawings: s("rect", { x: 0, y: 0, width: 8, height: 8 }).
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null && child !== false));
  return element;
}

// Made once: it costs a hundred times as much to make as to use.
const GROUPED = new Intl.NumberFormat("en-GB", { maximumFractionDigits: 0 });

// A number as people write it: 0.0312, 4.61, 1,024.
export function say(x, digits = 3) {
  if (!Number.isFinite(x)) return String(x);
  const size = Math.abs(x);
  if (size >= 1000) return GROUPED.format(x);
  if (Number.isInteger(x)) return String(x);
  if (size < 10 ** -(digits + 1)) return x === 0 ? "0" : x.toExponential(1);
  return Number(x.toPrecision(digits)).toString();
}

export const percent = (p) => (p > 0 && p < 0.0005 ? "< 0.1 %" : `${(100 * p).toFixed(1)} %`);

// A token as it is shown: its spaces and line breaks are visible, a byte that is no text has its number.
export function visible(text) {
  return text.replace(/ /g, "␣").replace(/\n/g, "⏎").replace(/\t/g, "⇥") || "∅";
}

// The frame of a widget: a named group, a place for each part, and words for a screen reader that
// follow what is shown. `frame.tell(words)` waits until the reader's hand is still.
export function frame(el, title, ...parts) {
  const live = h("p", { class: "gw-words", "aria-live": "polite" });
  const root = h("div", { class: "gpt-widget", role: "group", "aria-label": title },
    h("p", { class: "gw-title" }, title), ...parts, live);
  // JupyterLab has plans of its own for arrows and letters; here they belong to the controls.
  root.addEventListener("keydown", (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation();
  });
  el.append(root);
  let waiting = 0;
  return {
    root,
    tell(words) {
      clearTimeout(waiting);
      waiting = setTimeout(() => write(live, words), 400);
    },
    end() { clearTimeout(waiting); root.remove(); },
  };
}

// Other words for an element, and none where they are the same: a screen reader would say them again.
export function write(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

// For words that change often: `const say = words(element)`, then `say("0.31")`. The text keeps its
// node, and words that stand there already cost nothing.
export function words(element) {
  const node = element.appendChild(document.createTextNode(""));
  let said = "";
  return (text) => { if (text !== said) node.data = said = text; };
}

// The same for an attribute and for a style: `const set = attribute(element, "d")`, then `set("M0,0L1,1")`.
export function attribute(element, name) {
  let now = element.getAttribute(name);
  return (value) => { if (value !== now) element.setAttribute(name, now = value); };
}

export function styled(element, name) {
  let now = "";
  return (value) => { if (value !== now) element.style.setProperty(name, now = value); };
}

// Listens to traits until the widget goes: `const stop = follow(model, ["row"], redraw)`.
export function follow(model, names, redraw) {
  for (const name of names) model.on(`change:${name}`, redraw);
  return () => { for (const name of names) model.off(`change:${name}`, redraw); };
}

// Calls `redraw` when the page, or the notebook, turns light or dark: `const stop = onTheme(redraw)`.
export function onTheme(redraw) {
  const watch = new MutationObserver(redraw);
  for (const element of [document.documentElement, document.body]) {
    watch.observe(element, { attributeFilter: ["data-theme", "data-jp-theme-light"] });
  }
  return () => watch.disconnect();
}

// Put a trait and let Python know.
export function put(model, name, value) {
  model.set(name, value);
  model.save_changes();
}

// Draw at most once a frame, however often it is asked for.
export function batched(draw) {
  let waiting = 0;
  const ask = () => { if (!waiting) waiting = requestAnimationFrame(() => { waiting = 0; draw(); }); };
  ask.cancel = () => { cancelAnimationFrame(waiting); waiting = 0; };
  return ask;
}

// Controls. Each is `{ el, show(value) }`; `change(value)` is called when the reader moves it.

export function slider({ label, min, max, step, show = say, change }) {
  const output = h("output", { class: "gw-value", "aria-live": "off" }); // the slider says its value
  const input = h("input", { type: "range", min, max, step });
  const name = h("span", { class: "gw-name" }, label);
  const el = h("label", { class: "gw-slider" }, name, input, output);
  const [write, tell] = [words(output), attribute(input, "aria-valuetext")];
  const showValue = (value) => {
    const said = show(value);
    write(said);
    tell(said);
  };
  input.addEventListener("input", () => { showValue(Number(input.value)); change(Number(input.value)); });
  return {
    el, input,
    show(value) {
      if (input.value !== String(value)) input.value = value;
      showValue(value);
    },
  };
}

// A slider over a list of values: `stops({ label, values: [1, 2, 4], change })`. A value that is shown
// and is none of them is put among them; `show(value, values)` brings another list.
export function stops({ label, values, show = say, change }) {
  let usual = values;
  let list = values;
  const inner = slider({
    label, min: 0, max: values.length - 1, step: 1,
    show: (i) => show(list[i]), change: (i) => change(list[i]),
  });
  return {
    ...inner,
    show(value, others = usual) {
      usual = others;
      list = others.includes(value) ? others : [...others, value].sort((a, b) => a - b);
      if (inner.input.max !== String(list.length - 1)) inner.input.max = list.length - 1;
      inner.show(list.indexOf(value));
    },
  };
}

export function picker({ label, options, change }) {
  const select = h("select", {}, ...options.map((text, i) => h("option", { value: i }, text)));
  select.addEventListener("change", () => change(Number(select.value)));
  const el = h("label", { class: "gw-picker" }, h("span", { class: "gw-name" }, label), select);
  return { el, select, show(i) { select.value = String(i); } };
}

export function toggle({ label, change }) {
  const input = h("input", { type: "checkbox" });
  input.addEventListener("change", () => change(input.checked));
  const el = h("label", { class: "gw-toggle" }, input, h("span", {}, label));
  return { el, input, show(on) { input.checked = on; } };
}

export function button(label, press, attributes = {}) {
  return h("button", { type: "button", class: "gw-button", onclick: press, ...attributes }, label);
}

export const row = (...parts) => h("div", { class: "gw-row" }, ...parts);

// Scales and axes.

export function linear([a, b], [from, to]) {
  const scale = (x) => from + ((x - a) / (b - a || 1)) * (to - from);
  scale.ticks = (n = 5) => ticks(a, b, n);
  scale.invert = (y) => a + ((y - from) / (to - from || 1)) * (b - a);
  return scale;
}

export function log10([a, b], range) {
  const inner = linear([Math.log10(a), Math.log10(b)], range);
  const scale = (x) => inner(Math.log10(x));
  scale.ticks = () => {
    const [low, high] = [Math.ceil(Math.log10(a)), Math.floor(Math.log10(b))];
    const step = Math.max(1, Math.ceil((high - low) / 5));
    const found = [];
    for (let e = low; e <= high; e += step) found.push(10 ** e);
    return found;
  };
  scale.invert = (y) => 10 ** inner.invert(y);
  return scale;
}

// Round numbers between a and b, about n of them.
export function ticks(a, b, n = 5) {
  const rough = Math.abs(b - a) / n || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((k) => k * power >= rough * 0.999);
  const found = [];
  for (let k = Math.ceil(Math.min(a, b) / step - 1e-9); k * step <= Math.max(a, b) + 1e-9 * step; k++) {
    found.push(Number((k * step).toPrecision(12)));
  }
  return found;
}

// A drawing that is as wide as its place and keeps its shape: `chart(640, 240)`.
export function chart(width, height, label) {
  return s("svg", { class: "gw-chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
}

// Lines, ticks and names of both axes. `box` is { left, right, top, bottom } in the drawing's units.
export function axes({ box, x, y, xLabel, yLabel, xTicks = x.ticks(), yTicks = y.ticks(), show = say }) {
  const { left, right, top, bottom } = box;
  return s("g", { class: "gw-axes" },
    ...yTicks.map((v) => s("line", { class: "gw-grid", x1: left, x2: right, y1: y(v), y2: y(v) })),
    s("line", { x1: left, x2: right, y1: bottom, y2: bottom }),
    ...xTicks.map((v) => s("text", { x: x(v), y: bottom + 16, "text-anchor": "middle" }, show(v))),
    ...yTicks.map((v) => s("text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" }, show(v))),
    s("text", { class: "gw-axis-name", x: right, y: bottom + 32, "text-anchor": "end" }, xLabel),
    s("text", { class: "gw-axis-name", x: left - 30, y: top - 8 }, yLabel));
}

// The points of a curve as the `d` of a path; it is broken where a value is missing.
export function curve(xs, ys, x, y) {
  let pen = "M";
  return xs.map((v, i) => {
    if (!Number.isFinite(ys[i])) { pen = "M"; return ""; }
    const point = `${pen}${x(v).toFixed(1)},${y(ys[i]).toFixed(1)}`;
    pen = "L";
    return point;
  }).join("");
}

// Dark is much, in both themes: white to blue for 0 to 1.
export const shade = (share) => `rgb(${mixed(share).join(",")})`;

function mixed(share) {
  const t = Math.min(1, Math.max(0, share)) || 0;
  const stops = [[247, 251, 255], [158, 202, 225], [49, 130, 189], [8, 48, 107]];
  const at = Math.min(2, Math.floor(t * 3));
  return stops[at].map((c, k) => Math.round(c + (stops[at + 1][k] - c) * (t * 3 - at)));
}

// The shades of 0 to 1 in 256 steps, each as a pixel of a canvas: red, green, blue and opaque.
export const SHADES = new Uint32Array(
  Uint8Array.from(Array.from({ length: 256 }, (_, i) => [...mixed(i / 255), 255]).flat()).buffer);

// A heat map of numbers in [0, 1] on a canvas, one square a number, none where it is not a number;
// `pick(row, column)` on a press. `draw(row)` marks a row, and may bring another size. Numbers that
// lie in one array are painted faster by a function of their own, `paint(pixels)`, by SHADES.
export function heatMap({ rows, columns, value, paint = null, pick, label }) {
  const canvas = h("canvas", { class: "gw-heat", width: columns, height: rows, role: "img", "aria-label": label });
  const pen = canvas.getContext("2d", { willReadFrequently: true }); // it stays in memory
  let image, pixels;
  const draw = (marked = -1, height = canvas.height, width = canvas.width) => {
    if (canvas.height !== height) canvas.height = height;
    if (canvas.width !== width) canvas.width = width;
    if (image?.width !== width || image.height !== height) {
      image = new ImageData(width, height);
      pixels = new Uint32Array(image.data.buffer);
    }
    if (paint) paint(pixels);
    else for (let i = 0, at = 0; i < height; i++) {
      for (let j = 0; j < width; j++, at++) {
        const share = value(i, j);
        pixels[at] = share >= 0 ? SHADES[Math.min(255, (255 * share + 0.5) | 0)] : 0;
      }
    }
    pen.putImageData(image, 0, 0);
    if (canvas.parentElement) canvas.parentElement.style.setProperty("--gw-marked", (marked + 0.5) / height);
  };
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientY - box.top) / box.height * canvas.height, (event.clientX - box.left) / box.width * canvas.width]
      .map(Math.floor);
  };
  if (pick) canvas.addEventListener("pointerdown", (event) => pick(...place(event)));
  return { el: h("div", { class: "gw-heat-box" }, canvas), canvas, draw, place };
}

// Words that follow a pointer over a picture, and rest when it has left. A finger lies on what it asks
// about: its answer stays when it is lifted. `tell(event)` and `rest()` write.
export function onPointer(picture, tell, rest) {
  picture.addEventListener("pointermove", tell);
  picture.addEventListener("pointerdown", tell);
  picture.addEventListener("pointerleave", (event) => { if (event.pointerType !== "touch") rest(); });
}

// Float32 numbers that Python sent as bytes.
export function floats(view) {
  if (!view || !view.byteLength) return new Float32Array();
  return new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

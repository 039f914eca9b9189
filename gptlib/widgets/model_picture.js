// A whole GPT as a picture: the shape at each step, and what each part costs as the sizes move.
import { batched, button, follow, frame, h, percent, picker, put, row, say, stops, toggle } from "./drawing.js";
import { bytes, large } from "./units.js";
import { divisors, flopsOf, flopsPerToken, memoryOf, nearest, nonEmbeddingParameters, parametersOf, parameterBytes, partsOf, totalParameters, trainingMemory } from "./counting.js";

const FIELDS = ["n_layer", "n_embd", "n_head", "vocab_size", "context_length", "tied", "bias", "qkv_bias", "norm"];
const LAYERS = [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 36, 40, 48, 64, 80, 96];
const WIDTHS = [16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 640, 768, 1024, 1280, 1536, 1600, 2048, 2560, 3072, 4096, 5120, 6144, 8192, 12288];
const WORDS = [65, 256, 512, 1024, 1536, 2048, 4096, 8192, 16384, 32000, 50257, 65536, 100277, 128256, 200000];
const PLACES = [16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072];
const BATCHES = [1, 2, 4, 8, 12, 16, 32, 64, 128, 256, 512];
const HEADS = 128; // at most
const MEASURES = [
  { name: "parameters", of: parametersOf, write: say },
  { name: "operations a token", of: flopsOf, write: large },
  { name: "memory in training", of: memoryOf, write: bytes },
];

const shapeOf = (sizes) => `(${sizes.join(", ")})`; // as PyTorch writes it

function render({ model, el }) {
  const presets = model.get("presets");
  const redraw = batched(draw);
  const config = () => Object.fromEntries(FIELDS.map((name) => [name, model.get(name)]));
  const change = (traits) => { model.set(traits); model.save_changes(); };
  const set = (name) => (value) => put(model, name, value);

  const buttons = presets.map(({ name, label, config: wanted }) => ({
    wanted, el: button(label, () => change(wanted), { "aria-label": `preset ${name}: ${label}` }),
  }));
  const groups = [...new Set(presets.map(({ group }) => group))].map((group) =>
    h("div", { class: "gw-presets", role: "group", "aria-label": `presets: ${group}` }, h("span", { class: "gw-name" }, group),
      ...buttons.filter((_, i) => presets[i].group === group).map((one) => one.el)));
  const about = h("p", { class: "gw-legend gw-about" });
  const layers = stops({ label: "layers", values: LAYERS, change: set("n_layer") });
  const width = stops({
    label: "width", values: WIDTHS,
    change: (n_embd) => change({ n_embd, n_head: given = nearest(headsFor(n_embd), wished) }),
  });
  let wished = model.get("n_head"), given = wished; // the heads as they were last chosen, and as the width has them
  const heads = stops({ label: "heads", values: [1], change: set("n_head") });
  const vocabulary = stops({ label: "vocabulary", values: WORDS, change: set("vocab_size") });
  const context = stops({ label: "context", values: PLACES, change: set("context_length") });
  const batch = stops({ label: "batch", values: BATCHES, change: set("batch_size") });
  const tied = toggle({ label: "tied: the head is the token embedding's table", change: set("tied") });
  const measure = picker({
    label: "bars show", options: MEASURES.map(({ name }) => name), change: (i) => put(model, "measure", MEASURES[i].name),
  });
  const cut = h("p", { class: "gw-legend" });
  const totals = Array.from({ length: 3 }, total);
  const flow = h("div", { class: "gw-flow" });
  const rows = new Map();
  const detail = h("div", { class: "gw-part-detail" });
  const view = frame(el, model.get("title"), ...groups, about,
    h("div", { class: "gw-sizes" }, layers.el, width.el, heads.el, vocabulary.el, context.el, batch.el), cut, tied.el,
    h("div", { class: "gw-totals" }, ...totals.map((one) => one.el)),
    row(measure.el, h("span", { class: "gw-legend" }, "Press a part to see what it is made of.")), flow);
  const stop = follow(model, [...FIELDS, "batch_size", "measure", "part"], redraw);

  function draw() {
    const c = config();
    const B = model.get("batch_size");
    const parts = partsOf(c, B);
    const shown = MEASURES.find(({ name }) => name === model.get("measure")) ?? MEASURES[0];
    const real = parts.filter((part) => !part.add);
    const costs = real.map((part) => shown.of(part, c, B));
    const all = costs.reduce((sum, cost) => sum + cost, 0);
    const most = Math.max(...costs);

    if (c.n_head !== given) wished = given = c.n_head; // a preset, or the slider
    cut.hidden = given === wished;
    cut.textContent = cut.hidden ? "" : `A width of ${say(c.n_embd)} cannot be cut into ${wished} equal heads: there are ${given} now.`;
    layers.show(c.n_layer);
    width.show(c.n_embd);
    heads.show(c.n_head, headsFor(c.n_embd));
    vocabulary.show(c.vocab_size);
    context.show(c.context_length);
    batch.show(B);
    tied.show(c.tied);
    measure.show(MEASURES.indexOf(shown));
    const pressed = buttons.map(({ wanted }) => Object.keys(wanted).every((name) => wanted[name] === c[name]));
    buttons.forEach((one, i) => one.el.setAttribute("aria-pressed", String(pressed[i])));
    about.textContent = presets[pressed.indexOf(true)]?.about || "Press a preset, or move one size and watch which part grows.";

    const memory = trainingMemory(c, B);
    totals[0].show("parameters", say(totalParameters(c)),
      `${say(nonEmbeddingParameters(c))} without the tables; ${bytes(parameterBytes(c))} in float32`);
    totals[1].show("operations a token", large(flopsPerToken(c, false)), `forward; ${large(flopsPerToken(c))} with the way back`);
    totals[2].show("memory in training", bytes(Object.values(memory).reduce((a, b) => a + b)),
      `weights ${bytes(memory.weights)}, gradients ${bytes(memory.gradients)}, averages ${bytes(memory.optimizer)}, activations ${bytes(memory.activations)}`);

    arrange(parts, c, B);
    real.forEach((part, i) => rows.get(part.key).show(part, shown.write(costs[i]), costs[i] / all, costs[i] / most, part.key === model.get("part")));
    const picked = real.find((part) => part.key === model.get("part"));
    detail.hidden = !picked;
    if (picked) {
      explain(picked, c, B);
      rows.get(picked.key).el.after(detail);
    }
    view.tell((cut.hidden ? "" : `${cut.textContent} `) + (picked ? `${picked.name}: ${say(parametersOf(picked))} parameters, ${large(flopsOf(picked))} operations a token.` :
      `${say(totalParameters(c))} parameters, ${large(flopsPerToken(c, false))} operations a token, ` +
      `${bytes(Object.values(memory).reduce((a, b) => a + b))} in training.`));
  }

  // The drawing, from the ids to the logits: made anew where its parts change, else kept.
  let arranged = "";
  function arrange(parts, c, B) {
    const order = parts.map((part) => part.key ?? "+").join(" ");
    if (order !== arranged) {
      arranged = order;
      rows.clear();
      const make = (part) => (part.add ? h("p", { class: "gw-add" }, h("span", { class: "gw-plus" }, "+"), "added to the stream") : line(part.key).el);
      const line = (key) => {
        const one = partLine(() => put(model, "part", model.get("part") === key ? "" : key));
        rows.set(key, one);
        return one;
      };
      const block = h("div", { class: "gw-block", role: "group", "aria-label": "a block" },
        h("p", { class: "gw-times" }), ...parts.filter((part) => part.block).map(make));
      const inside = parts.findIndex((part) => part.block);
      const outside = parts.filter((part) => !part.block).map(make);
      flow.replaceChildren(h("p", { class: "gw-end" }), ...outside.slice(0, inside), block, ...outside.slice(inside), h("p", { class: "gw-end" }));
    }
    const [first, last] = flow.querySelectorAll(":scope > .gw-end");
    first.textContent = `ids ${shapeOf([B, c.context_length])}`;
    last.textContent = `logits ${shapeOf([B, c.context_length, c.vocab_size])}`;
    const block = flow.querySelector(".gw-block");
    block.querySelector(".gw-times").textContent = c.n_layer === 1 ? "one block" : `${say(c.n_layer)} blocks like this one`;
    const cards = Math.min(6, c.n_layer - 1); // those behind the first one
    block.style.boxShadow = Array.from({ length: cards }, (_, i) =>
      `${3 * i + 3}px ${3 * i + 3}px 0 -1px var(--gw-back), ${3 * i + 3}px ${3 * i + 3}px 0 0 var(--gw-line)`).join(", ");
  }

  function explain(part, c, B) {
    const each = parametersOf(part) / part.times;
    const tables = part.tables.map((sizes) => sizes.join(" × ")).join(" + ");
    const where = part.times > 1 ? ` in each of ${say(part.times)} blocks` : "";
    const times = (n, write) => `${write(n)}${where}${where && `, ${write(n * part.times)} together`}`;
    const formula = part.tables.length > 1 || part.tables[0]?.length > 1 ? `${tables} = ` : "";
    const facts = [
      ["what it does", part.what],
      ["what comes out", shapeOf(part.shape)],
      ["parameters", each ? formula + times(each, say) : "none of its own"],
      ["operations a token", part.flops ? times(part.flops, large) : "not counted"],
      ["kept in training", part.kept ? `${say(part.kept)} numbers a token${where}; ` +
        `${bytes(4 * part.times * part.kept * B * c.context_length)} in all` : "nothing"],
      ["its code", h("span", {}, codeOf(part), ", ", chapterOf(part.chapter))],
    ];
    detail.replaceChildren(h("dl", {}, ...facts.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])));
  }

  draw();
  return () => { stop(); redraw.cancel(); view.end(); };
}

const headsFor = (width) => divisors(width).filter((n) => n <= HEADS);

// A chapter's address without its place in it, where the page around the widget links to it.
const addressOf = (stem) => [...document.querySelectorAll("a[href]")].find((link) => link.pathname.endsWith(`/${stem}.html`))?.href.split("#")[0];

// "chapter 4", as a link in the book.
function chapterOf(stem) {
  const said = `chapter ${Number(stem.slice(0, 2))}`, there = addressOf(stem);
  return there ? h("a", { href: there }, said) : said;
}

// The class by its name, in the book as a link to its lines.
function codeOf({ code, chapter }) {
  const [, module, name] = code.split("."), there = addressOf(chapter);
  return there ? h("a", { href: new URL(`../source/${module}.html#${name}`, there).href }, h("code", {}, code)) : h("code", {}, code);
}

// One of the three numbers on top.
function total() {
  const [name, number, more] = ["gw-name", "gw-big", "gw-legend"].map((kind) => h("p", { class: kind }));
  return {
    el: h("div", { class: "gw-total" }, name, number, more),
    show(...texts) { [name, number, more].forEach((p, i) => { p.textContent = texts[i]; }); },
  };
}

// One part: a button with its name, the shape that comes out, and its share as a bar.
function partLine(press) {
  const [name, shape, amount, portion] = ["name", "shape", "cost", "share"].map((kind) => `gw-part-${kind}`).map((kind) => h("span", { class: kind }));
  const bar = h("span", { class: "gw-bar" });
  const el = h("button", { type: "button", class: "gw-part", onclick: press }, name, shape,
    h("span", { class: "gw-part-bar" }, bar), amount, portion);
  return {
    el,
    show(part, cost, share, length, open) {
      name.textContent = part.name;
      shape.textContent = shapeOf(part.shape);
      bar.style.width = `${(100 * length).toFixed(2)}%`;
      amount.textContent = share > 0 ? cost : "–";
      portion.textContent = share > 0 ? percent(share) : "";
      el.setAttribute("aria-expanded", String(open));
      el.classList.toggle("gw-tied", part.name === "head, tied");
    },
  };
}

export default { render };

// The pictures of a run that goes on in the page: its loss, its lengths, its skills, and a head.
import { SHADES, axes, chart, curve, h, heatMap, linear, log10, percent, picker, row, s, say, slider, visible, words } from "./drawing.js";
import { thinned } from "./thinning.js";

const LOSS_BOX = { left: 54, right: 452, top: 22, bottom: 264 };
const LENGTH_BOX = { left: 54, right: 452, top: 22, bottom: 122 };
const LENGTHS = [1e-4, 10]; // of the axis for gradient norm and update ratios
const MOST = 300; // points of a curve

const key = (kind, said) => [h("span", { class: "gw-keyed" }, h("span", { class: `gw-key ${kind}` }), ` ${said} `), " "];

// How far the axis of steps has to go: the recipe's steps, and as many again when they are over.
const endOf = (steps, last) => (last > steps ? Math.ceil(last / steps) * steps : steps);

// The loss of the batches and of the exams over the steps, the floor and the band of recorded runs.
export function lossPicture(floor, band, planned) {
  const svg = chart(464, 300, "loss over the steps");
  const line = s("path", { class: "gw-line-train" }), marks = s("path", { class: "gw-line-val" }), behind = s("g");
  svg.classList.add("gw-loss");
  svg.style.cursor = "default"; // nothing happens when it is pressed
  svg.append(behind, line, marks);
  const y = log10([floor * 0.9, 9], [LOSS_BOX.bottom, LOSS_BOX.top]);
  let x, wide = 0;
  const frameOf = (end) => {
    wide = end;
    x = linear([0, end], [LOSS_BOX.left, LOSS_BOX.right]);
    const yTicks = [0.1, 0.2, 0.5, 1, 2, 5].filter((v) => v >= floor * 0.9);
    const within = band.step ? band.step.filter((step) => step <= end).length : 0; // what has its place
    const [steps, low, high] = within ? [band.step, band.low, band.high].map((values) => values.slice(0, within)) : [];
    const edge = within && curve([...steps].reverse(), [...low].reverse(), x, y);
    behind.replaceChildren(...[
      axes({ box: LOSS_BOX, x, y, xLabel: "step", yLabel: "", yTicks, xTicks: x.ticks(4) }),
      within && s("path", { class: "gw-band", d: `${curve(steps, high, x, y)}L${edge.slice(1)}Z` }),
      s("line", { class: "gw-floor", x1: LOSS_BOX.left, x2: LOSS_BOX.right, y1: y(floor), y2: y(floor) }),
      s("text", { class: "gw-axis-name", x: LOSS_BOX.left, y: 12 }, "loss, nats per token")].filter(Boolean));
  };
  const legend = h("p", { class: "gw-legend" }, ...key("gw-key-now", "exam"), ...key("gw-key-differ", "batches"),
    ...(band.step ? key("gw-key-band", "ten recorded runs of the book's recipe, as far above the floor as they were") : []), ...key("gw-key-floor", `floor ${floor.toFixed(3)}`));
  return {
    el: h("div", {}, svg, legend),
    show({ points, exams, smooth }) {
      const end = endOf(planned, points.at(-1)?.step ?? 0);
      if (end !== wide) frameOf(end);
      const low = floor * 0.9, place = (v) => Math.min(9, Math.max(low, v));
      const [at, values] = thinned(smooth.steps, smooth.values, MOST);
      line.setAttribute("d", curve(at, values.map(place), x, y));
      marks.setAttribute("d", curve(exams.map((one) => one.step), exams.map((one) => place(one.loss)), x, y));
      const now = exams.at(-1);
      svg.setAttribute("aria-label", `loss over the steps, on a logarithmic axis; floor ${floor.toFixed(3)}${now ? `; at step ${now.step} the exam's is ${say(now.loss)}` : ""}`);
    },
  };
}

// The gradient norm and the update ratios of the token table and of the blocks, over the steps.
export function lengthPicture(steps) {
  const svg = chart(464, 158, "gradient norm and update ratios over the steps");
  svg.classList.add("gw-loss");
  svg.style.cursor = "default";
  const behind = s("g"), kinds = { grad_norm: "gw-line-val", table: "gw-line-train", blocks: "gw-line-blocks" };
  const lines = Object.entries(kinds).map(([name, kind]) => [name, s("path", { class: kind })]);
  svg.append(behind, ...lines.map(([, line]) => line));
  const y = log10(LENGTHS, [LENGTH_BOX.bottom, LENGTH_BOX.top]);
  let x, wide = 0;
  const legend = h("p", { class: "gw-legend" }, ...key("gw-key-now", "gradient norm"),
    ...key("gw-key-differ", "update ratio of the token table"), ...key("gw-key-blocks", "of the blocks"));
  return {
    el: h("div", {}, svg, legend),
    show({ points }) {
      const last = points.at(-1), end = endOf(steps, last?.step ?? 0);
      if (end !== wide) {
        wide = end;
        x = linear([0, end], [LENGTH_BOX.left, LENGTH_BOX.right]);
        behind.replaceChildren(axes({ box: LENGTH_BOX, x, y, xLabel: "step", yLabel: "", yTicks: [0.001, 0.1, 10], xTicks: x.ticks(4) }),
          s("text", { class: "gw-axis-name", x: LENGTH_BOX.left, y: 12 }, "size of gradients and updates"));
      }
      const place = (v) => (v > 0 ? Math.min(LENGTHS[1], Math.max(LENGTHS[0], v)) : v === 0 ? LENGTHS[0] : NaN);
      const [kept] = thinned(points, points, MOST), at = kept.map((point) => point.step);
      for (const [name, line] of lines) line.setAttribute("d", curve(at, kept.map((point) => place(point[name])), x, y));
      svg.setAttribute("aria-label", `gradient norm and update ratios over the steps, on a logarithmic axis${last ? `; at step ${last.step}: ${saysLengths(last)}` : ""}`);
    },
  };
}

// The lengths of one step, in words.
export function saysLengths({ grad_norm, table, blocks }) {
  return `gradient norm ${say(grad_norm)}, update ratio of the token table ${say(table)}${blocks == null ? "" : `, of the blocks ${say(blocks)}`}`;
}

// One line a skill: the share of its places in the exam that are right.
export function skillBars() {
  const body = h("tbody", {}), lines = new Map();
  const el = h("table", { class: "gw-bars gw-gained", hidden: true }, h("caption", { class: "gw-heading" }, "skills: the share of places that are right"), body);
  return {
    el,
    show(skills) {
      el.hidden = !Object.keys(skills).length;
      for (const [name, [right, of]] of Object.entries(skills)) {
        if (!lines.has(name)) {
          const number = h("td", { class: "gw-number" }), bar = h("span", { class: "gw-bar" });
          lines.set(name, { tell: words(number), bar });
          body.append(h("tr", {}, h("th", { scope: "row" }, name), number, h("td", { class: "gw-track" }, h("div", {}, bar))));
        }
        const { tell, bar } = lines.get(name);
        tell(percent(right / of));
        bar.style.width = `${(100 * right / of).toFixed(1)}%`;
      }
    },
  };
}

// Where one head looked while the last story was read: asked for when the fold is open. `ask(block, head)`.
export function headPicture({ n_layer, n_head }, ask) {
  let block = n_layer - 1, head = 0, at = 0, seen = null;
  const numbered = (n, what) => Array.from({ length: n }, (_, i) => `${what} ${i}`);
  const again = () => { if (el.open) ask(block, head); };
  const blocks = picker({ label: "block", options: numbered(n_layer, "block"), change: (i) => { block = i; again(); } });
  const heads = picker({ label: "head", options: numbered(n_head, "head"), change: (i) => { head = i; again(); } });
  const rows = slider({ label: "token", min: 0, max: 0, step: 1, show: (i) => (seen ? `${i}: ${visible(seen.tokens[i])}` : ""), change: (i) => mark(i) });
  const map = heatMap({ rows: 1, columns: 1, label: "", pick: (i) => mark(Math.min(i, seen.size - 1)),
    paint: (pixels) => seen.weights.forEach((w, k) => { pixels[k] = SHADES[(255 * Math.sqrt(w) + 0.5) | 0]; }) });
  const said = h("p", { class: "gw-legend gw-read" }, "There is no story yet.");
  const body = h("div", { class: "gw-split", hidden: true }, map.el, h("div", {}, rows.el, said));
  const el = h("details", {}, h("summary", {}, "who looks where"), row(blocks.el, heads.el), body,
    h("p", { class: "gw-legend" }, "A row for each token that looks, a column for each that is looked at; dark is much, and a weight of 1 % can still be seen."));
  el.addEventListener("toggle", again);
  blocks.show(block);
  function mark(i) {
    at = i;
    const looks = Array.from(seen.weights.subarray(i * seen.size, (i + 1) * seen.size), (w, j) => [w, j]);
    const most = looks.sort((a, b) => b[0] - a[0]).slice(0, 3).filter(([w]) => w > 0.005);
    map.draw(i, seen.size, seen.size);
    rows.show(i);
    said.textContent = `Step ${say(seen.step)}, block ${seen.block}, head ${seen.head}: token ${i}, “${visible(seen.tokens[i])}”, takes ${most.map(([w, j]) => `${percent(w)} from “${visible(seen.tokens[j])}” (${j})`).join(", ")}.`;
  }
  return {
    el: n_layer ? el : h("span"), again,
    show(told) {
      seen = told;
      body.hidden = false;
      rows.input.max = seen.size - 1;
      map.canvas.setAttribute("aria-label", `the weights of block ${seen.block}, head ${seen.head}, for the ${seen.size} tokens of the last story; pick a token with the slider to hear what it takes`);
      mark(Math.min(at || seen.size - 1, seen.size - 1));
    },
    clear() { seen = null; at = 0; body.hidden = true; },
  };
}

// A training run as a tape to wind: one slider, and every picture shows the same moment.
import { axes, batched, button, chart, curve, follow, frame, h, heatMap, linear, log10, percent, picker, put, row, s, say, slider } from "./drawing.js";
import { layerTable, skillTable } from "./gauges.js";
import { momentAt, nearest, runOf, spanOf } from "./tape.js";

const BOX = { left: 44, right: 452, top: 22, bottom: 264 };
const PAUSE = 700; // milliseconds from one moment to the next; longer where motion is to be reduced
const CALM = 1500;

function render({ model, el }) {
  const runs = model.get("runs").map(runOf);
  const healthy = runs[0];
  const floor = model.get("floor");
  const run = () => runs[model.get("shown")];
  const moment = () => (model.get("moment") < 0 ? run().step.length - 1 : Math.min(model.get("moment"), run().step.length - 1));
  const go = (m) => put(model, "moment", Math.max(0, Math.min(run().step.length - 1, m)));
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let timer = 0;

  const redraw = batched(draw);
  const play = button("play", () => {
    if (!model.get("playing") && moment() === run().step.length - 1) go(0);
    put(model, "playing", !model.get("playing"));
  });
  const stepTo = (by) => () => { model.set("playing", false); go(moment() + by); };
  const back = button("◀", stepTo(-1), { "aria-label": "one moment back" });
  const on = button("▶", stepTo(1), { "aria-label": "one moment on" });
  const time = slider({
    label: "step", min: 0, max: run().step.length - 1, step: 1, show: (m) => say(run().step[m]),
    change: (m) => { model.set("playing", false); go(m); },
  });
  time.el.classList.add("gw-time");
  time.input.addEventListener("keydown", (event) => {
    if (event.key === " ") { event.preventDefault(); play.click(); }
  });
  const who = runs.length > 1 && picker({
    label: "run", options: runs.map(({ name }) => name), change: (i) => put(model, "shown", i),
  });
  const facts = h("p", { class: "gw-facts gw-now" });
  const loss = lossChart((step) => { model.set("playing", false); go(nearest(run().step, step)); });
  const skills = skillTable(healthy, run);
  const layers = layerTable(healthy, run);
  const attention = healthy.heads.length > 0 && attentionPicture(model, run);
  const prompt = h("span", { class: "gw-begun" });
  const written = h("span", {});
  const writes = h("div", {}, h("p", { class: "gw-heading" }, "what it writes"), h("p", { class: "gw-written" }, prompt, written));
  // Where there are no skills, the layers stand beside the loss.
  const [beside, below] = skills.el.hidden ? [layers.el, null] : [skills.el, layers.el];
  const view = frame(el, model.get("title"), h("div", { class: "gw-row gw-winds" }, back, play, on, time.el), h("div", { class: "gw-row gw-stands" }, who && who.el, facts),
    h("div", { class: "gw-reel" }, h("div", { class: "gw-boxed" }, loss.el, below ? null : writes), beside), below && writes,
    h("div", { class: "gw-reel" }, below, attention && attention.el),
    h("p", { class: "gw-legend" }, "The arrow keys move the slider, the space bar plays. Press the loss curve to go there."));
  const stop = follow(model, ["moment", "shown", "head", "query", "playing"], redraw);

  function tick() {
    timer = 0;
    if (!model.get("playing")) return;
    if (moment() < run().step.length - 1) go(moment() + 1);
    else put(model, "playing", false);
  }

  function draw() {
    const [one, m] = [run(), moment()];
    const step = one.step[m];
    const behind = one === healthy ? -1 : momentAt(healthy.step, step);
    const playing = model.get("playing");
    clearTimeout(timer);
    timer = playing ? setTimeout(tick, still ? CALM : PAUSE) : 0;
    play.textContent = playing ? "pause" : "play";
    play.setAttribute("aria-pressed", String(playing));
    back.disabled = m === 0;
    on.disabled = m === one.step.length - 1;
    time.input.max = one.step.length - 1;
    time.show(m);
    if (who) who.show(model.get("shown"));
    loss.show(one, m, { healthy: one === healthy ? null : healthy, floor, band: model.get("band") });
    skills.show(m, behind);
    layers.show(m, behind);
    if (attention) attention.show(m);
    writes.hidden = !one.text.length;
    prompt.textContent = one.prompt;
    written.textContent = one.text[m] ?? "";
    facts.textContent = saysOf(one, m, floor, behind < 0 || healthy.val[behind] == null ? "" : ` (${healthy.name} ${say(healthy.val[behind])})`);
    if (!playing) view.tell(`Step ${say(step)}.${one.val[m] == null ? "" : ` Loss ${say(one.val[m])}.`}${one.text.length ? ` It writes: ${shortened(one.text[m])}` : ""}`);
  }

  draw();
  return () => { stop(); redraw.cancel(); clearTimeout(timer); view.end(); };
}

// The first eight words of a text.
const shortened = (text) => text.trim().split(/\s+/).slice(0, 8).join(" ") + (text.trim().split(/\s+/).length > 8 ? " …" : "");

// One moment's losses in words.
export function saysOf(run, m, floor, beside = "") {
  const parts = [];
  if (run.val[m] != null) parts.push(`loss ${say(run.val[m])}${beside}`);
  if (run.val[m] != null && floor) {
    const above = 100 * (run.val[m] / floor - 1);
    parts.push(`${say(Math.abs(above), 2)} % ${above < 0 ? "below" : "above"} the floor`);
  }
  if (run.train[m] != null) parts.push(`training ${say(run.train[m])}`);
  if (run.exam != null && m === run.step.length - 1) parts.push(`exam ${say(run.exam)}`);
  return `Step ${say(run.step[m])}: ${parts.join(", ") || "no loss was recorded"}.`;
}

// The loss with floor, band and the healthy run behind it; a press goes to that step.
function lossChart(press) {
  const svg = chart(464, 300, "");
  const legend = h("p", { class: "gw-legend" });
  const cursor = s("line", { class: "gw-mark", y1: BOX.top, y2: BOX.bottom });
  const dot = s("circle", { class: "gw-mark-dot", r: 4.5 });
  const picture = s("g");
  svg.append(picture, cursor, dot);
  let drawn = null, x, y;
  const goTo = (event) => {
    const box = svg.getBoundingClientRect();
    press(x.invert(((event.clientX - box.left) / box.width) * 464));
  };
  svg.addEventListener("pointerdown", (event) => { svg.setPointerCapture(event.pointerId); goTo(event); });
  svg.addEventListener("pointermove", (event) => { if (event.buttons) goTo(event); });
  svg.classList.add("gw-loss");

  function prepare(run, { healthy, floor, band }) {
    const all = [run, healthy].filter(Boolean).flatMap((one) => [...one.val, ...one.train, one.exam]);
    const [low, high] = spanOf([...all, ...(band.low ?? []), ...(band.high ?? []), floor], 1e-3);
    x = linear([0, run.step.at(-1)], [BOX.left, BOX.right]);
    y = log10([low, high], [BOX.bottom, BOX.top]);
    const place = (values) => values.map((v) => (v == null ? NaN : Math.max(v, low)));
    const path = (kind, steps, values) => s("path", { class: kind, d: curve(steps, place(values), x, y) });
    const yTicks = [0.001, 0.01, 0.1, 1, 10, 100].flatMap((t) => [t, 2 * t, 5 * t]).filter((v) => v >= low && v <= high);
    const bottom = band.step && curve([...band.step].reverse(), place([...band.low].reverse()), x, y);
    const star = (one, kind) => one && one.exam != null && s("text", { class: kind, x: BOX.right + 1, y: y(Math.max(one.exam, low)) + 5 }, "★");
    picture.replaceChildren(...[
      axes({ box: BOX, x, y, xLabel: "step", yLabel: "", yTicks: thinned(yTicks), xTicks: x.ticks(4) }),
      band.step && s("path", { class: "gw-band", d: `${curve(band.step, place(band.high), x, y)}L${bottom.slice(1)}Z` }),
      floor && s("line", { class: "gw-floor", x1: BOX.left, x2: BOX.right, y1: y(floor), y2: y(floor) }),
      healthy && path("gw-line-healthy", healthy.step, healthy.val),
      path("gw-line-train", run.step, run.train), path("gw-line-val", run.step, run.val),
      star(healthy, "gw-star gw-soft"), star(run, "gw-star"),
      s("text", { class: "gw-axis-name", x: BOX.left, y: 12 }, "loss, nats per token"),
    ].filter(Boolean));
    const key = (kind, words) => [h("span", { class: "gw-keyed" }, h("span", { class: `gw-key ${kind}` }), ` ${words} `), " "];
    legend.replaceChildren(...key("gw-key-now", "validation"), ...(run.train.length ? key("gw-key-differ", "training") : []),
      ...(healthy ? key("gw-key-healthy", healthy.name) : []), ...(band.step ? key("gw-key-band", "other seeds") : []),
      ...(floor ? key("gw-key-floor", `floor ${floor.toFixed(3)}`) : []), ...(run.exam == null ? [] : ["★ exam"]));
  }

  return {
    el: h("div", {}, svg, legend),
    show(run, m, others) {
      if (drawn !== run) { prepare(run, others); drawn = run; }
      const at = x(run.step[m]), value = run.val[m];
      cursor.setAttribute("x1", at);
      cursor.setAttribute("x2", at);
      dot.setAttribute("cx", at);
      dot.setAttribute("cy", Number.isFinite(value) && value != null ? Math.min(BOX.bottom, y(value)) : BOX.bottom);
      dot.style.display = value == null ? "none" : "";
      svg.setAttribute("aria-label", `loss over the steps, on a logarithmic axis; ${saysOf(run, m, others.floor)}`);
    },
  };
}

// At most six ticks: those of 1, then of 5, then of 2.
function thinned(ticks) {
  if (ticks.length <= 7) return ticks;
  return ticks.filter((v) => /^1/.test(v.toExponential()));
}

// One head's attention: the whole square, and one token's look as bars below the tokens.
function attentionPicture(model, run) {
  const tokens = run().tokens;
  const T = tokens.length;
  let look = new Uint8Array(T * T);
  const query = () => (model.get("query") < 0 ? T - 1 : Math.min(T - 1, model.get("query")));
  const choose = (t) => put(model, "query", Math.max(0, Math.min(T - 1, t)));
  const head = run().heads.length > 1 && picker({ label: "head", options: run().heads, change: (i) => put(model, "head", i) });
  const from = slider({ label: "token that looks", min: 0, max: T - 1, step: 1, show: (t) => tokens[t].trim() || "␣", change: choose });
  const map = heatMap({
    rows: T, columns: T, value: (i, j) => look[i * T + j] / 255, pick: (i) => choose(i),
    label: "attention as a square: each row is a token that looks, each column one that it looks at",
  });
  const marks = tokens.map((token, t) => h("span", { class: token === "END" ? "gw-seen gw-end" : "gw-seen", onpointerdown: () => choose(t) }, token));
  const facts = h("p", { class: "gw-facts" });
  const name = h("p", { class: "gw-heading" }, "where one head looks");
  return {
    el: h("div", {}, name, h("div", { class: "gw-look" }, h("div", { class: "gw-square" }, map.el, h("p", { class: "gw-legend" },
      "A row for each token that looks, a column for each that it looks at; dark is much. Press a row.")),
      h("div", {}, head && head.el, from.el, h("p", { class: "gw-seen-line" }, ...marks), facts))),
    show(m) {
      look = run().look(m, model.get("head"));
      const q = query();
      if (head) head.show(model.get("head"));
      from.show(q);
      map.draw(q);
      const shares = [...look.subarray(q * T, (q + 1) * T)].map((v) => v / 255);
      marks.forEach((mark, t) => {
        mark.style.setProperty("--share", shares[t].toFixed(3));
        mark.classList.toggle("gw-at", t === q);
      });
      const most = shares.map((share, t) => [share, t]).sort((a, b) => b[0] - a[0]).slice(0, 2);
      facts.textContent = `“${tokens[q].trim()}” looks at ${most.map(([share, t]) => `“${tokens[t].trim()}” ${percent(share)}`).join(", ")}`;
    },
  };
}

export default { render };

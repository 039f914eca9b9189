// RoPE as clock faces: each pair of a query and a key turns with its place; the score hears the distance.
import { axes, batched, button, chart, curve, follow, frame, h, linear, onPointer, put, row, s, say, slider, stops, write } from "./drawing.js";
import { explain, face, fixed, handKey, minus, periodOf, signed } from "./dial.js";
import { contributions, newAngles, scaledBase, scoresByDistance, speedsOf, turned, turnsIn, withFaces } from "./turning.js";

const BASES = [100, 1000, 10_000, 100_000, 500_000, 1_000_000];
const STRETCHES = [1, 2, 4, 8];
const ENDS = [32, 64, 128, 256, 512, 1024, 2048, 4096]; // of the curve
const MOST = 16; // faces
const PACE = 160; // milliseconds a place when both walk on; longer where motion is to be reduced
const CALM = 1500;
const HEIGHT = 230; // of the curve, in pixels

function render({ model, el }) {
  const [query, key] = [model.get("query"), model.get("key")];
  const [reach, trained] = [model.get("reach"), model.get("trained")];
  const half = query.length / 2;
  const shown = withFaces(half, MOST);
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let timer = 0;

  const redraw = batched(draw);
  const go = (query_at, key_at) => { model.set({ query_at, key_at, walking: false }); model.save_changes(); };
  const apart = () => model.get("query_at") - model.get("key_at");
  const goApart = (distance) => {
    const key_at = Math.min(model.get("key_at"), reach - distance);
    go(key_at + distance, key_at);
  };
  const named = (name, label) => h("span", {}, label, handKey(name));
  const sliders = {
    query: slider({ label: named("query", "query at"), min: 0, max: reach, step: 1, change: (m) => go(m, Math.min(m, model.get("key_at"))) }),
    key: slider({ label: named("key", "key at"), min: 0, max: reach, step: 1, change: (n) => go(Math.max(n, model.get("query_at")), n) }),
    both: slider({ label: "both together", min: 0, max: reach, step: 1, show: (n) => `${say(n + apart())}, ${say(n)}`, change: (n) => go(n + apart(), n) }),
  };
  const walk = button("let both walk on", () => {
    if (!model.get("walking") && model.get("query_at") === reach) go(apart(), 0);
    put(model, "walking", !model.get("walking"));
  });
  const base = stops({ label: "base", values: BASES, change: (v) => put(model, "base", v) });
  const scaling = stops({ label: "slowest pair slowed", values: STRETCHES, show: (v) => (v === 1 ? "not" : `${say(v)} times`), change: (v) => put(model, "scaling", v) });
  const totals = Array.from({ length: 2 }, total);
  const longest = Math.max(...[query, key].flatMap((x) => shown.map((i) => Math.hypot(x[i], x[i + half])))) || 1;
  const largest = Math.max(...shown.map((i) => Math.hypot(query[i], query[i + half]) * Math.hypot(key[i], key[i + half]))) || 1;
  const faces = shown.map((i) => face(i, { longest, largest, press: () => put(model, "pair", model.get("pair") === i ? -1 : i) }));
  const others = half > MOST && h("p", { class: "gw-facts" });
  const detail = h("div", { class: "gw-pair-detail" });
  const plot = scoreChart({ trained, press: goApart });
  const ends = [...ENDS.filter((d) => d < reach), reach];
  const end = stops({ label: "drawn to", values: ends, change: (d) => put(model, "drawn_to", d) });
  const facts = h("p", { class: "gw-facts" });
  const keyed = (sign, words) => h("span", { class: "gw-keyed" }, sign, words);
  const sign = (kind) => h("span", { class: `gw-key ${kind}`, "aria-hidden": "true" });
  const legend = h("div", { class: "gw-legend gw-signs" },
    keyed(handKey("query"), "the query's pair"), keyed(handKey("key"), "the key's pair"),
    keyed(sign("gw-key-ring"), "turns in a training text"), keyed(sign("gw-key-dot"), "the turn of this distance"),
    keyed(sign("gw-key-more"), "adds to the score"), keyed(sign("gw-key-less"), "takes from it"));
  const view = frame(el, model.get("title"),
    h("div", { class: "gw-places" }, sliders.query.el, sliders.key.el, sliders.both.el), row(walk),
    h("div", { class: "gw-totals" }, ...totals.map((one) => one.el)),
    h("div", { class: "gw-dials" }, h("div", { class: "gw-faces" }, ...faces.map((one) => one.el)), detail, legend, facts, others),
    h("div", { class: "gw-places gw-speeds" }, base.el, scaling.el),
    row(h("p", { class: "gw-pair-title" }, "score q · k by distance"), end.el), plot.el);
  const stop = follow(model, ["query_at", "key_at", "base", "scaling", "pair", "walking", "drawn_to"], redraw);
  const sized = new ResizeObserver(redraw);
  sized.observe(plot.el);

  let curves = {}, from = "";
  // All that follows from the base and its stretching, worked out when one of them moves.
  function computed() {
    const [now, times] = [model.get("base"), model.get("scaling")];
    if (from !== `${now} ${times}`) {
      from = `${now} ${times}`;
      const before = speedsOf(query.length, now);
      const speeds = times === 1 ? before : speedsOf(query.length, scaledBase(now, times, query.length));
      const scores = scoresByDistance(query, key, reach, speeds);
      curves = { before, speeds, scores, plain: times === 1 ? null : scoresByDistance(query, key, reach, before) };
    }
    return curves;
  }

  function tick() {
    timer = 0;
    if (!model.get("walking")) return;
    const on = model.get("query_at") < reach;
    model.set(on ? { query_at: model.get("query_at") + 1, key_at: model.get("key_at") + 1 } : { walking: false });
    model.save_changes();
  }

  function draw() {
    const [m, n, distance] = [model.get("query_at"), model.get("key_at"), apart()];
    const { before, speeds, scores, plain } = computed();
    const parts = contributions(query, key, m, n, speeds);
    const score = parts.reduce((a, b) => a + b, 0);
    const turns = turnsIn(trained, before);
    const unknown = newAngles(distance, trained, before, speeds);
    const [q, k] = [turned(query, m, speeds), turned(key, n, speeds)];
    const short = turns.filter((t) => t < 1).length;
    const strange = unknown.filter(Boolean).length;

    sliders.query.show(m);
    sliders.key.show(n);
    sliders.both.input.max = reach - distance;
    sliders.both.show(n);
    base.show(model.get("base"));
    scaling.show(model.get("scaling"));
    scaling.el.hidden = half === 1; // there is none that could be slower than the first
    const walking = model.get("walking");
    clearTimeout(timer);
    timer = walking ? setTimeout(tick, still ? CALM : PACE) : 0;
    write(walk, walking ? "stop" : "let both walk on");
    walk.setAttribute("aria-pressed", String(walking));
    walk.disabled = distance === reach;

    totals[0].show("distance", say(distance), distance === 1 ? "token" : "tokens");
    totals[1].show("score q · k", fixed(score, 3), half === 1 ? "one pair" : `sum of ${half} pairs`);
    const news = strange ? `${strange} ${strange > 1 ? "are" : "is"} at a new angle, one` : "none is at an angle";
    write(facts, `Pair 0 is the quickest${half > 1 ? `, pair ${half - 1} the slowest` : ""}. In the ${say(trained)} tokens of a training text, ` +
      `${short} of ${half} go less than once round (dashed rims). At this distance, ${news} that the training never had. Press a face for its numbers.`);
    const open = model.get("pair");
    faces.forEach((one, j) => {
      const i = shown[j];
      one.show({
        query: [q[i], q[i + half]], key: [k[i], k[i + half]], part: parts[i], open: i === open, strange: unknown[i],
        turns: turns[i], angle: distance * speeds[i], period: periodOf(before[i], speeds[i]),
      });
    });
    if (others) {
      const rest = parts.reduce((sum, part, i) => (shown.includes(i) ? sum : sum + part), 0);
      others.textContent = `The other ${half - shown.length} pairs, between these, add ${signed(rest)} together.`;
    }
    detail.hidden = open < 0;
    if (open >= 0) explain(detail, open, { query, key, q, k, m, n, speed: speeds[open], part: parts[open],
      round: `${periodOf(before[open], speeds[open])}; ${say(turns[open], 2)} turns in ${say(trained)} tokens of training` });
    const last = ends.find((d) => d >= Math.max(distance, model.get("drawn_to") || reach)) ?? reach;
    end.show(last);
    plot.show({ scores, plain, distance, score, last });
    if (!walking) {
      view.tell(`Score ${fixed(score, 3)} at distance ${say(distance)}, query at ${say(m)}, key at ${say(n)}. ` +
        `${short} of ${half} pairs go less than once round in ${say(trained)} tokens, ${strange} at a new angle.`);
    }
  }

  draw();
  return () => { stop(); sized.disconnect(); redraw.cancel(); clearTimeout(timer); view.end(); };
}

// One of the two numbers on top.
function total() {
  const [name, number, more] = ["gw-name", "gw-big", "gw-legend"].map((kind) => h("p", { class: kind }));
  return {
    el: h("div", { class: "gw-total" }, name, number, more),
    show(...texts) { [name, number, more].forEach((p, i) => write(p, texts[i])); },
  };
}

// The score by distance; a press or a finger goes to that distance.
function scoreChart({ trained, press }) {
  const picture = s("g"), cursor = s("line", { class: "gw-mark" }), dot = s("circle", { class: "gw-mark-dot", r: 5 });
  const number = s("text", { class: "gw-mark-number" });
  const svg = chart(640, HEIGHT, "");
  svg.classList.add("gw-scores");
  svg.append(picture, cursor, dot, number);
  const read = h("p", { class: "gw-legend gw-read" });
  const el = h("div", { class: "gw-score-plot" }, svg, read);
  let drawn = "", scores, last, x, y, box, width;
  const placeOf = (event) => {
    const there = svg.getBoundingClientRect();
    return Math.round(Math.min(last, Math.max(0, x.invert(((event.clientX - there.left) / there.width) * width))));
  };
  svg.addEventListener("pointerdown", (event) => { svg.setPointerCapture(event.pointerId); press(placeOf(event)); });
  svg.addEventListener("pointermove", (event) => { if (event.buttons) press(placeOf(event)); });
  onPointer(svg, (event) => { pointed = placeOf(event); tell(); }, () => { pointed = -1; tell(); });
  function tell() { write(read, pointed < 0 ? resting : `distance ${say(pointed)}: score ${fixed(scores[pointed], 3)}`); }
  let resting = "", pointed = -1;

  function prepare(now) {
    box = { left: 46, right: width - 12, top: 22, bottom: HEIGHT - 40 };
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const part = (values) => values.slice(0, last + 1);
    const all = [0, ...now.scores, ...(now.plain ?? [])]; // the same height, wherever the drawing ends
    const [low, high] = [Math.min(...all), Math.max(...all)];
    const room = 0.08 * (high - low) || 1;
    x = linear([0, last], [box.left, box.right]);
    y = linear([low - room, high + 2.5 * room], [box.bottom, box.top]);
    const path = (kind, values) => s("path", { class: kind, d: curve(part(values).map((_, d) => d), part(values), x, y) });
    const beyond = trained < last && x(trained);
    picture.replaceChildren(...[
      beyond && s("rect", { class: "gw-beyond", x: beyond, y: box.top, width: box.right - beyond, height: box.bottom - box.top }),
      axes({ box, x, y, xLabel: "distance, in tokens", yLabel: "", xTicks: x.ticks(width < 420 ? 4 : 8), yTicks: y.ticks(4), show: (v) => minus(say(v)) }),
      beyond && s("text", { class: "gw-beyond-name", x: box.right - 4, y: box.top + 14, "text-anchor": "end" }, width < 420 ? "beyond training" : `beyond the ${say(trained)} tokens of training`),
      now.plain && path("gw-line-plain", now.plain), path("gw-line-score", now.scores),
    ].filter(Boolean));
  }

  return {
    el,
    show(now) {
      width = Math.max(240, Math.round(el.clientWidth || 640));
      if (drawn !== width || scores !== now.scores || last !== now.last) {
        [drawn, scores, last] = [width, now.scores, now.last];
        prepare(now);
      }
      const [cx, cy] = [x(now.distance), y(now.score)];
      Object.entries({ x1: cx, x2: cx, y1: box.top, y2: box.bottom }).forEach(([name, value]) => cursor.setAttribute(name, value));
      dot.setAttribute("cx", cx);
      dot.setAttribute("cy", cy);
      number.setAttribute("x", cx);
      number.setAttribute("text-anchor", cx > width / 2 ? "end" : "start");
      number.setAttribute("y", box.top - 7);
      write(number, `${fixed(now.score)} at ${say(now.distance)}`);
      resting = `Press the curve to move the query to a distance.${now.plain ? " Dashed: with no pair slowed." : ""}`;
      if (pointed > last) pointed = -1;
      tell();
      svg.setAttribute("aria-label", `the score by distance from 0 to ${say(last)}: ${fixed(now.score, 3)} at ${say(now.distance)}, ` +
        `${fixed(scores[0], 3)} at 0, ${fixed(scores[last], 3)} at ${say(last)}`);
    },
  };
}

export default { render };

// A GPT that is trained in the page: its loss beside the floor, its skills, and what it writes.
//
// All of the arithmetic is done by a worker (training_worker.js); here it is only shown, at most once
// a frame. The worker's code is a trait, because a page from a folder may not load other files.
import { axes, batched, button, chart, curve, frame, h, linear, log10, percent, put, row, s, say, stops, toggle, words, write } from "./drawing.js";
import { thinned, Smooth } from "./thinning.js";

const LOSS_BOX = { left: 44, right: 452, top: 22, bottom: 264 };
const FACTORS = [0.1, 0.3, 1, 3, 10];
const MISTAKE_NAMES = { mask: "no mask", shift: "no shift", zero_grad: "forgotten zero_grad", clip: "no clipping" };

function render({ model, el }) {
  const { steps } = model.get("recipe");
  let worker = null, address = "", running = false, ready = null;
  let run = begun();
  const redraw = batched(draw);
  const note = h("p", { class: "gw-legend", role: "status" }, `The training has not begun. It runs in this page, on one processor core; nothing is sent anywhere.`);
  const train = button("train", () => ask({ do: running ? "pause" : "start" }), { "aria-pressed": "false" });
  const one = button("one step", () => ask({ do: "step" }));
  const again = button("begin again", () => { run = begun(); ask({ do: "reset", seed: model.get("seed") }); redraw(); });
  const keep = button("keep the model", () => ask({ do: "weights" }));
  const rate = stops({ label: "learning rate", values: FACTORS, show: (x) => `× ${say(x)}`, change: (x) => { put(model, "factor", x); ask({ do: "rate", factor: x }, false); } });
  const mistakes = Object.keys(MISTAKE_NAMES).map((name) => {
    const one = toggle({ label: MISTAKE_NAMES[name], change: (on) => {
      put(model, "mistakes", on ? [...model.get("mistakes"), name] : model.get("mistakes").filter((other) => other !== name));
      ask({ do: "break", name, on }, false);
    } });
    one.show(model.get("mistakes").includes(name));
    return one;
  });
  const facts = h("p", { class: "gw-facts" });
  const loss = lossPicture(model.get("floor"), model.get("band"), steps);
  const skills = skillBars();
  const heading = h("p", { class: "gw-heading" });
  const story = h("p", { class: "gw-written" });
  const verdict = h("p", { class: "gw-legend" });
  const view = frame(el, model.get("title"), row(train, one, again, keep, rate.el), facts,
    h("div", { class: "gw-reel" }, h("div", { class: "gw-boxed" }, loss.el, heading, story, verdict), skills.el),
    row(h("span", { class: "gw-name" }, "break it:"), ...mistakes.map(({ el }) => el)), note);
  rate.show(model.get("factor"));

  // What the page says to the worker; the worker is made when it is first needed.
  function ask(message, needed = true) {
    if (!worker && !needed) return;
    try {
      worker ??= begin();
    } catch (error) {
      note.textContent = `This page cannot start a worker: ${error.message}`;
      return;
    }
    worker.postMessage(message);
  }

  function begin() {
    address = URL.createObjectURL(new Blob([model.get("worker")], { type: "text/javascript" }));
    const made = new Worker(address);
    made.onmessage = ({ data }) => { heard[data.is](data); redraw(); };
    made.onerror = (event) => { note.textContent = `The training stopped: ${event.message}`; };
    const given = { config: model.get("config"), recipe: model.get("recipe"), tokenizer: model.get("tokenizer"), key: JSON.parse(model.get("key_data")), seed: model.get("seed"), exam: model.get("exam") };
    made.postMessage({ do: "begin", ...given });
    made.postMessage({ do: "rate", factor: model.get("factor") });
    for (const name of model.get("mistakes")) made.postMessage({ do: "break", name, on: true });
    return made;
  }

  const heard = {
    ready(told) { ready = told; },
    running(told) { running = told.running; },
    points({ points }) { run.points.push(...points); for (const point of points) run.smooth.add(point.step, point.loss); },
    exam(told) { run.exams.push(told); },
    story(told) { run.story = told; },
    failed({ message }) { run.failed = message; },
    weights({ file, step }) {
      const link = h("a", { href: URL.createObjectURL(new Blob([file])), download: `trained_${step}.gpt.safetensors` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    },
  };

  function draw() {
    const last = run.points.at(-1), exam = run.exams.at(-1);
    train.textContent = running ? "pause" : last ? "go on" : "train";
    train.setAttribute("aria-pressed", String(running));
    one.disabled = running;
    loss.show(run);
    skills.show(exam?.skills ?? {});
    facts.textContent = last ? saysOfStep(last, run, exam, model) : "";
    if (ready) {
      note.textContent = run.failed ? `${run.failed} Press “begin again”.`
        : `${say(ready.parameters)} parameters, ${say(ready.bytes / 1e6)} MB in a worker of this page, ${ready.simd ? "four numbers at a time" : "one number at a time: this browser has no SIMD"}. Nothing is sent anywhere.`;
    }
    if (run.story && run.story !== run.told) {
      run.told = run.story;
      heading.textContent = `what it writes at step ${say(run.story.step)}`;
      story.replaceChildren(...run.story.tokens.map(([text, forced, broken]) => (forced || broken
        ? h("span", { class: `${forced ? "gw-forced" : ""} ${broken ? "gw-broken" : ""}`.trim(), title: broken ?? forced }, text) : text)));
      write(verdict, run.story.ok ? "The parser: a whole story, and no rule is broken." : `The parser: ${run.story.says ?? "the story has no end"}.`);
    }
    if (!running && last) view.tell(`Step ${say(last.step)}. ${exam ? `Loss ${say(exam.loss)}. ` : ""}${verdict.textContent}`);
  }

  draw();
  return () => {
    redraw.cancel();
    worker?.terminate();
    if (address) URL.revokeObjectURL(address);
    view.end();
  };
}

// A run that has not begun: points of each step, exams, and the last story.
const begun = () => ({ points: [], exams: [], smooth: new Smooth(), story: null, told: null, failed: "" });

// Where the run stands, in words.
function saysOfStep(last, run, exam, model) {
  const tokens = model.get("recipe").batch_size * model.get("config").context_length;
  const before = run.points.at(-Math.min(50, run.points.length));
  const speed = tokens * (last.step - before.step) / (last.seconds - before.seconds);
  const above = exam ? `, exam ${say(exam.loss)}, ${percent(exam.loss / exam.floor - 1)} above the floor` : "";
  return `Step ${say(last.step)}: loss ${say(last.loss)}${above}; gradient norm ${say(last.grad_norm)}, update ratio of the token table ${say(last.table)}, of the blocks ${say(last.blocks)}; learning rate ${say(last.lr)}` +
    (Number.isFinite(speed) ? `; ${say(Math.round(speed))} tokens a second, ${say(Math.round(last.seconds))} s` : "") + ".";
}

// The loss of the batches and of the exams over the steps, the floor and the band of recorded runs.
function lossPicture(floor, band, steps) {
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
    const edge = band.step && curve([...band.step].reverse(), [...band.low].reverse(), x, y);
    behind.replaceChildren(...[
      axes({ box: LOSS_BOX, x, y, xLabel: "step", yLabel: "", yTicks, xTicks: x.ticks(4) }),
      band.step && s("path", { class: "gw-band", d: `${curve(band.step, band.high, x, y)}L${edge.slice(1)}Z` }),
      s("line", { class: "gw-floor", x1: LOSS_BOX.left, x2: LOSS_BOX.right, y1: y(floor), y2: y(floor) }),
      s("text", { class: "gw-axis-name", x: LOSS_BOX.left, y: 12 }, "loss, nats per token")].filter(Boolean));
  };
  const key = (kind, said) => [h("span", { class: "gw-keyed" }, h("span", { class: `gw-key ${kind}` }), ` ${said} `), " "];
  const legend = h("p", { class: "gw-legend" }, ...key("gw-key-now", "exam"), ...key("gw-key-differ", "batches"),
    ...(band.step ? key("gw-key-band", "recorded runs, as far above the floor as they were") : []), ...key("gw-key-floor", `floor ${floor.toFixed(3)}`));
  return {
    el: h("div", {}, svg, legend),
    show({ points, exams, smooth }) {
      const end = Math.max(steps, points.at(-1)?.step ?? 0);
      if (end > wide) frameOf(end > steps ? Math.ceil(end / steps) * steps : end);
      const low = floor * 0.9, place = (v) => Math.min(9, Math.max(low, v));
      const [at, values] = thinned(smooth.steps, smooth.values, 300);
      line.setAttribute("d", curve(at, values.map(place), x, y));
      marks.setAttribute("d", curve(exams.map((one) => one.step), exams.map((one) => place(one.loss)), x, y));
      const now = exams.at(-1);
      svg.setAttribute("aria-label", `loss over the steps, on a logarithmic axis; floor ${floor.toFixed(3)}${now ? `; at step ${now.step} the exam's is ${say(now.loss)}` : ""}`);
    },
  };
}

// One line a skill: the share of its places in the exam that are right.
function skillBars() {
  const body = h("tbody", {}), lines = new Map();
  const el = h("table", { class: "gw-bars gw-gained" }, h("caption", { class: "gw-heading" }, "skills: the share of places that are right"), body);
  return {
    el,
    show(skills) {
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

export default { render };

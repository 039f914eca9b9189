// A GPT that is trained in the page: its loss beside the floor, its skills, and what it writes.
//
// All of the arithmetic is done by a worker (training_worker.js); here it is only shown, at most once
// a frame. The worker's code is a trait, because a page from a folder may not load other files.
import { batched, button, follow, frame, h, percent, picker, put, row, say, stops, toggle, write } from "./drawing.js";
import { headPicture, lengthPicture, lossPicture, saysLengths, skillBars } from "./training_view.js";
import { Smooth } from "./thinning.js";

const CORES = Math.min(4, globalThis.navigator?.hardwareConcurrency ?? 1); // workers that share a step
const FACTORS = [0.03, 0.1, 0.3, 1, 3, 10];
const MISTAKE_NAMES = {
  mask: "no mask", shift: "no shift", zero_grad: "forgotten zero_grad", clip: "no clipping", warmup: "no warm-up",
  one_batch: "one batch", sorted: "sorted stories", validation_leak: "validation leak", garbage: "batches of garbage", softmax_twice: "softmax twice", reshape: "wrong reshape",
  frozen: "frozen blocks", lost: "lost optimiser", big_start: "big start",
};

function render({ model, el }) {
  const choices = model.get("choices");
  let worker = null, helpers = [], retired = [], address = "", running = false, ready = null, pictures = null;
  let run = begun();
  const redraw = batched(draw);
  const note = h("p", { class: "gw-legend", role: "status" }, "The training has not begun. It runs in this page, on one processor core or on as many as you choose; nothing is sent anywhere.");
  const train = button("train", () => ask({ do: running ? "pause" : "start" }), { "aria-pressed": "false" });
  const one = button("one step", () => ask({ do: "step" }));
  const again = button("begin again", () => { run = begun(); pictures.head.clear(); ask({ do: "reset", seed: model.get("seed") }); redraw(); });
  const keep = button("keep the model", () => ask({ do: "weights" }));
  const models = picker({ label: "model", options: choices.map(({ name, parameters }) => `${name}: ${say(parameters)} parameters`), change: (i) => put(model, "choice", i) });
  const cores = picker({ label: "cores", options: Array.from({ length: Math.max(CORES, model.get("workers")) }, (_, i) => say(i + 1)), change: (i) => put(model, "workers", i + 1) });
  const rate = stops({ label: "learning rate", values: FACTORS, show: (x) => `× ${say(x)}`, change: (x) => put(model, "factor", x) });
  const mistakes = Object.keys(MISTAKE_NAMES).map((name) => ({ name, on: false, ...toggle({ label: MISTAKE_NAMES[name], change: (on) =>
    put(model, "mistakes", on ? [...model.get("mistakes"), name] : model.get("mistakes").filter((other) => other !== name)) }) }));
  const facts = h("p", { class: "gw-facts" });
  const heading = h("p", { class: "gw-heading" });
  const story = h("p", { class: "gw-written" });
  const verdict = h("p", { class: "gw-legend" });
  const left = h("div", { class: "gw-boxed" }), right = h("div", { class: "gw-boxed" });
  const view = frame(el, model.get("title"), row(choices.length > 1 && models.el, rate.el, cores.select.length > 1 && cores.el), row(train, one, again, keep), facts, note,
    h("div", { class: "gw-reel" }, left, right),
    h("details", { open: model.get("mistakes").length > 0 }, h("summary", {}, "break it"), row(...mistakes.map(({ el }) => el)),
      h("p", { class: "gw-legend" }, "Twelve patients of chapter 7's lab and two faults more, while the run goes on; “big start” counts at the beginning. Two of its other patients are the slider's; the last leaves dropout on in the exam, and here is none to leave on. The training alone is broken: the exam and the stories come from a sound program.")));
  let shown = model.get("choice"); // the picture and the run are this one's
  // Whoever sets a trait, the reader or Python: the control shows it, and the worker hears of it.
  const listening = [
    follow(model, ["factor"], () => { rate.show(model.get("factor")); ask({ do: "rate", factor: model.get("factor") }, false); }),
    follow(model, ["workers"], () => { cores.show(model.get("workers") - 1); if (worker) getHelp(); }),
    follow(model, ["mistakes"], breakIt), follow(model, ["choice"], choose)];

  const chosen = () => choices[shown];

  function breakIt() {
    for (const one of mistakes) {
      const on = model.get("mistakes").includes(one.name);
      if (one.on !== on) ask({ do: "break", name: one.name, on }, false);
      one.show(one.on = on);
    }
  }

  // Another model: the run of the last one is over, and its worker with it.
  function choose() {
    models.show(model.get("choice"));
    if (shown === model.get("choice")) return;
    shown = model.get("choice");
    end();
    run = begun();
    [running, ready] = [false, null];
    note.textContent = "The training has not begun.";
    picture();
    draw();
  }

  function picture() {
    const { config, recipe, band } = chosen();
    pictures = {
      loss: lossPicture(model.get("floor"), band, recipe.steps), lengths: lengthPicture(recipe.steps), skills: skillBars(),
      head: headPicture(config, (block, head) => { if (run.story) ask({ do: "attention", block, head }, false); }),
    };
    for (const part of [heading, story, verdict]) part.replaceChildren();
    left.replaceChildren(pictures.loss.el, pictures.lengths.el, pictures.head.el);
    right.replaceChildren(heading, story, verdict, pictures.skills.el);
    keep.disabled = config.n_layer === 0;
    keep.title = keep.disabled ? "A GPT has one block or more: no other program would open it." : "";
  }

  // With several cores the worker asks helpers for the gradients, each for its rows of a batch. Those
  // that it had before are ended when it has heard of the new ones: then none of them is at work.
  function getHelp() {
    const { config, recipe: { batch_size } } = chosen(), of = Math.min(model.get("workers"), batch_size), ports = [];
    retired.push(helpers);
    helpers = Array.from({ length: of > 1 ? of : 0 }, (_, place) => {
      const { port1, port2 } = new MessageChannel(), one = new Worker(address);
      one.onerror = fails;
      one.postMessage({ do: "assist", config, batch_size, place, of, port: port1 }, [port1]);
      ports.push(port2);
      return one;
    });
    worker.postMessage({ do: "help", ports }, ports);
  }

  const fails = (event) => { note.textContent = `The training stopped: ${event.message}`; };

  function end() {
    for (const one of [...retired.flat(), ...helpers]) one.terminate();
    [retired, helpers] = [[], []];
    worker?.terminate();
    worker = null;
    if (address) URL.revokeObjectURL(address);
  }

  // What the page says to the worker; the worker is made when it is first needed.
  function ask(message, needed = true) {
    if (!worker && !needed) return;
    try {
      if (!worker) {
        worker = begin();
        if (model.get("workers") > 1) getHelp();
      }
    } catch (error) {
      note.textContent = `This page cannot start a worker: ${error.message}`;
      return;
    }
    worker.postMessage(message);
  }

  function begin() {
    address = URL.createObjectURL(new Blob([model.get("worker")], { type: "text/javascript" }));
    const made = new Worker(address);
    made.onmessage = ({ data }) => { if (made === worker) { heard[data.is](data); redraw(); } };
    made.onerror = fails;
    const { config, recipe } = chosen(), [tokenizer, seed, exam, mistakes] = ["tokenizer", "seed", "exam", "mistakes"].map((name) => model.get(name));
    made.postMessage({ do: "begin", config, recipe, tokenizer, key: JSON.parse(model.get("key_data")), seed, exam, mistakes });
    made.postMessage({ do: "rate", factor: model.get("factor") });
    return made;
  }

  const heard = {
    ready(told) { ready = told; },
    running(told) { running = told.running; },
    helped() { for (const one of retired.shift()) one.terminate(); },
    points({ points }) { run.points.push(...points); for (const point of points) run.smooth.add(point.step, point.loss); },
    exam(told) { run.exams.push(told); },
    story(told) { run.story = told; pictures.head.again(); },
    attention(told) { pictures.head.show(told); },
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
    pictures.loss.show(run);
    pictures.lengths.show(run);
    pictures.skills.show(exam?.skills ?? {});
    facts.textContent = last ? saysOfStep(last, run, exam, chosen()) : "";
    if (ready) {
      write(note, run.failed ? `${run.failed} Press “begin again”.`
        : `${say(ready.parameters)} parameters, ${say(ready.bytes / 1e6)} MB in a worker of this page${helpers.length ? `, and ${helpers.length} helpers` : ""}, ${ready.simd ? "four numbers at a time" : "one number at a time: this browser has no SIMD"}. Nothing is sent anywhere.`);
    }
    for (const part of [heading, story, verdict]) part.hidden = !run.story;
    if (run.story && run.story !== run.told) {
      run.told = run.story;
      heading.textContent = `what it writes at step ${say(run.story.step)}`;
      story.replaceChildren(...run.story.tokens.map(([text, forced, broken]) => (forced || broken
        ? h("span", { class: `${forced ? "gw-forced" : ""} ${broken ? "gw-broken" : ""}`.trim(), title: broken ?? forced }, text) : text)));
      write(verdict, run.story.ok ? "The parser: a whole story, and no rule is broken." : `The parser: ${run.story.says ?? "the story has no end"}.`);
    }
    if (!running && last) view.tell(`Step ${say(last.step)}. ${exam ? `Loss ${say(exam.loss)}. ` : ""}${verdict.textContent}`);
  }

  models.show(shown);
  rate.show(model.get("factor"));
  cores.show(model.get("workers") - 1);
  breakIt();
  picture();
  draw();
  return () => {
    for (const stop of listening) stop();
    redraw.cancel();
    end();
    view.end();
  };
}

// A run that has not begun: points of each step, exams, and the last story.
const begun = () => ({ points: [], exams: [], smooth: new Smooth(), story: null, told: null, failed: "" });

// Where the run stands, in words.
function saysOfStep(last, run, exam, { config, recipe }) {
  const tokens = recipe.batch_size * config.context_length;
  const before = run.points.at(-Math.min(50, run.points.length));
  const speed = tokens * (last.step - before.step) / (last.seconds - before.seconds);
  const above = exam ? `, exam ${say(exam.loss)}, ${percent(exam.loss / exam.floor - 1)} above the floor` : "";
  return `Step ${say(last.step)}: loss ${say(last.loss)}${above}; ${saysLengths(last)}; learning rate ${say(last.lr)}` +
    (Number.isFinite(speed) ? `; ${say(Math.round(speed))} tokens a second, ${say(Math.round(last.seconds))} s` : "") + ".";
}

export default { render };

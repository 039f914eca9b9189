// A GPT that runs in the page: it writes, and what it has in mind can be looked at and changed.
import { candidateList, foundWords, legend, listControls, LIST_TRAITS, settings, settingSliders, shownOf } from "./candidates.js";
import { batched, button, follow, frame, h, percent, picker, put, row, say, toggle, write } from "./drawing.js";
import { keyView } from "./key_view.js";
import { openModel, readModel } from "./model_file.js";
import { fold, headTable, inText, lensTable, most, tokenText } from "./model_view.js";
import { ready, Reader } from "./reader.js";
import { byProbability, nextTokenProbs, randomNumbers, sample, softmax } from "./sampling.js";

const STRIDE = 200; // milliseconds of writing in one go where motion is to be reduced
const SLICE = 40; // and where it is to be fast: with the drawing between them, some twenty pictures a second
const TRAITS = ["prompt", "ids", "seed", "temperature", "top_k", "top_p", "at", "layer", "head", "bars", "off", "marks", "bare", "fast", ...LIST_TRAITS];

function render({ model, el }) {
  const place = h("div", {});
  const status = h("p", { class: "gw-legend", role: "status" });
  const file = h("input", { type: "file", accept: ".safetensors", onchange: () => open(file.files[0]) });
  const back = button("back to the first model", () => { model.set("marks", true); show(readModel(model.get("model_file")), model.get("model_name")); });
  const view = frame(el, model.get("title"), place,
    row(h("label", { class: "gw-file" }, h("span", { class: "gw-name" }, "open a model of your own"), file), back), status);
  const over = (event) => { if (event.dataTransfer?.types.includes("Files")) event.preventDefault(); };
  view.root.addEventListener("dragover", over);
  view.root.addEventListener("drop", (event) => {
    over(event);
    if (event.dataTransfer?.files.length) open(event.dataTransfer.files[0]);
  });
  let end = () => {};

  // The file is read here, by the page, and goes nowhere. One that is no model changes nothing.
  async function open(chosen) {
    if (!chosen) return;
    status.textContent = `Reading ${chosen.name} …`;
    try {
      show(await openModel(chosen), chosen.name, true);
    } catch (error) {
      status.textContent = `${chosen.name} was not opened. ${error.message} The model before it is still here.`;
    }
    file.value = "";
  }

  function show(opened, name, own = false) {
    const parts = ready(opened); // or an error, before anything changes
    end();
    if (own) model.set({ ids: [], at: -1, layer: 0, head: 0, off: [], marks: false }); // it may write no stories
    place.replaceChildren();
    back.hidden = !own;
    end = desk(model, place, view, parts);
    const { n_layer, n_head, n_embd } = opened.config;
    const count = Object.values(opened.weights).reduce((sum, numbers) => sum + numbers.length, 0);
    status.textContent = `${name}: blocks ${n_layer}, heads ${n_head}, width ${n_embd}, parameters ${say(count)}. It runs in this page; nothing is sent anywhere.`;
  }

  show(readModel(model.get("model_file")), model.get("model_name"));
  return () => { end(); view.end(); };
}

// What the model reads first: of an empty text END, or the end of a line, or whatever comes first.
export function opening(vocabulary, begun, bare = false) {
  const end = vocabulary.end >= 0 ? [vocabulary.end] : [];
  if (begun.length) return bare ? begun : [...end, ...begun];
  if (end.length) return end;
  try {
    return vocabulary.encode("\n");
  } catch {
    return [0];
  }
}

// All that depends on which model it is; returns its cleanup.
function desk(model, place, view, parts) {
  const { config, vocabulary, model: gpt } = parts;
  const reader = new Reader(gpt);
  const size = config.vocab_size;
  const label = (id) => (id === vocabulary.end ? "END" : vocabulary.label(id));
  const redraw = batched(draw);
  let running = 0;
  let lesion = null; // the parts that are off now
  let perToken = 0; // milliseconds

  const prompt = h("textarea", { rows: 2, spellcheck: "false", oninput: () => rewrite({ prompt: prompt.value, ids: [] }) });
  const said = h("p", { class: "gw-legend", role: "alert" });
  const run = button("write", () => (running ? halt() : go()), { "aria-pressed": "false" });
  const fast = toggle({ label: "as fast as this page can", change: (on) => put(model, "fast", on) });
  const buttons = row(
    button("next token", () => { halt(); step(); }), run, fast.el,
    button("one back", () => { halt(); rewrite({ ids: model.get("ids").slice(0, -1) }); }),
    button("back to the beginning", () => { halt(); rewrite({ ids: [] }); }));
  const sliders = settingSliders(model, size);
  const answers = keyView(model, parts, view.tell);
  const text = tokenText({ label: "the text, token by token: pick one to go back to its place", pick: look });
  const bars = picker({
    label: "bars below the tokens show", options: ["how surprised the model was", "what a head looks at"],
    change: (i) => put(model, "bars", ["surprise", "attention"][i]),
  });
  const barsSay = h("p", { class: "gw-legend" });
  const heading = h("p", { class: "gw-heading" });
  const list = candidateList({ pick: choose });
  const others = listControls(model, size);
  const facts = h("p", { class: "gw-facts" });
  const heads = headTable({
    layers: config.n_layer, heads: config.n_head, flip,
    pick: (layer, head) => { // the one that the bars show already: back to surprise
      const same = model.get("bars") === "attention" && model.get("layer") === layer && model.get("head") === head;
      model.set({ layer, head });
      put(model, "bars", same ? "surprise" : "attention");
    },
  });
  const lens = lensTable(config.n_layer);
  const lensName = h("p", { class: "gw-heading" }, "What the stream would say, block by block, before temperature, top-k and top-p");
  const whole = button("switch all on", () => put(model, "off", []));
  const inside = fold("Look inside: what the heads look at, and how the guess grows", h("div", { class: "gw-split" },
    h("div", {}, h("p", { class: "gw-heading" }, "What each head looks at most; press one for its bars, a box switches it off"), heads.el, row(whole)),
    h("div", {}, lensName, lens.el)));
  place.append(
    h("label", { class: "gw-prompt" }, h("span", { class: "gw-name" }, model.get("begins")), prompt), said, buttons,
    row(...sliders.els), text.el, row(bars.el), barsSay, answers.line,
    heading, list.el, others.el, legend(), facts, inside, answers.exam);
  let shown = [];
  const stop = follow(model, TRAITS, redraw);

  // The ids of the whole text: the end of another one, the prompt, what was written. `bare`: a prompt
  // stands alone, as `gptlib generate` reads it, and END begins the text only where there is none.
  function current() {
    let begun = [];
    try {
      begun = vocabulary.encode(model.get("prompt"));
      write(said, "");
    } catch (error) {
      write(said, `This prompt cannot be read: ${error.message}.`);
    }
    const start = opening(vocabulary, begun, model.get("bare"));
    return { start: start.length, ids: [...start, ...model.get("ids").filter((id) => id < size)] };
  }

  function rewrite(changes) {
    model.set({ at: -1, ...changes });
    model.save_changes();
  }

  // Draw a token with the present settings, and others while `on(id)` is true; write them down.
  function step(on = () => false) {
    const { ids } = current(), written = [...model.get("ids")], by = settings(model, size);
    let seed = model.get("seed"), next;
    heal();
    do {
      const began = performance.now();
      reader.read(ids);
      const { logits } = reader.look(reader.ids.length);
      next = sample(nextTokenProbs(logits, by), randomNumbers(seed++));
      ids.push(next);
      written.push(next);
      const took = performance.now() - began;
      perToken = perToken ? 0.9 * perToken + 0.1 * took : took;
    } while (on(next));
    rewrite({ ids: written, seed });
  }

  function go() {
    run.setAttribute("aria-pressed", "true");
    run.textContent = "stop";
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    let left = Math.max(config.context_length, 1) * 2;
    const on = () => {
      running = 0;
      const until = performance.now() + (still ? STRIDE : model.get("fast") ? SLICE : 0);
      let over = false;
      step((id) => !(over = id === vocabulary.end || --left <= 0) && performance.now() < until);
      if (over) halt();
      else running = requestAnimationFrame(on);
    };
    on();
  }

  function halt() {
    cancelAnimationFrame(running);
    running = 0;
    run.setAttribute("aria-pressed", "false");
    run.textContent = "write";
  }

  // Look at the place before token i of the text; the place behind the last one is -1, and before the
  // first token there is none.
  function look(i) {
    halt();
    const { ids } = current();
    put(model, "at", i >= ids.length ? -1 : Math.max(1, i));
  }

  // Let candidate k stand where we are; what came after it is gone.
  function choose(k) {
    const { id } = shown[k];
    if (id === undefined) return;
    halt();
    const { ids, start } = current();
    const at = placeOf(ids, model.get("at"));
    if (at >= start) {
      rewrite({ ids: [...model.get("ids").slice(0, at - start), id] });
    } else { // in the prompt: it ends here
      rewrite({ prompt: vocabulary.decode(ids.slice(ids[0] === vocabulary.end ? 1 : 0, at)), ids: [id] });
    }
  }

  function flip(name) {
    const off = model.get("off");
    put(model, "off", off.includes(name) ? off.filter((other) => other !== name) : [...off, name].sort());
  }

  // Bring the model's parts into the state that the traits ask for.
  function heal() {
    const off = model.get("off");
    if (JSON.stringify(off) === lesion) return;
    lesion = JSON.stringify(off);
    reader.lesion(off);
  }

  const placeOf = (ids, at) => (at > 0 && at < ids.length ? at : ids.length);

  function draw() {
    const { ids, start } = current();
    heal();
    const gone = reader.read(ids);
    const at = Math.max(placeOf(ids, model.get("at")), gone + 1);
    const { logits, residual, weights } = reader.look(at - gone);
    const before = softmax(logits);
    const probs = nextTokenProbs(logits, settings(model, size));
    const order = byProbability(before);
    const chosen = ids[at]; // undefined at the end
    shown = shownOf(order, model, { label, p: probs, before });
    for (const one of shown) one.chosen = chosen !== undefined && one.id === chosen;
    list.show(shown);
    others.show();
    const { temperature, topK, topP } = settings(model, size);
    const asItSays = temperature === 1 && !topK && topP >= 1;
    heading.textContent = (chosen === undefined ? "What comes next? Press one to take it."
      : `What could stand here instead of ${label(chosen)}? Press one to change history.`) +
      (asItSays ? "" : " The probability is the one it is drawn with, after temperature, top-k and top-p.");

    const [layer, head] = [Math.min(model.get("layer"), config.n_layer - 1), Math.min(model.get("head"), config.n_head - 1)];
    const looked = weights[layer].subarray(head * (at - gone), (head + 1) * (at - gone));
    const attention = model.get("bars") === "attention";
    const [best, largest] = most(looked);
    const noted = answers.read(ids, at);
    const tokens = ids.map((id, i) => {
      const p = i > gone ? reader.probs[i - gone] : null;
      const w = i >= gone && i < at ? looked[i - gone] : 0;
      return {
        text: inText(label(id)),
        share: attention ? w / largest : p === null ? 0 : -Math.log(Math.max(p, 1e-9)) / Math.log(size),
        title: `id ${id}` + (p === null ? "" : `, the model gave it ${percent(p)}`) + (i < at && i >= gone ? `, looked at with ${percent(w)}` : "") + noted.of(i).title,
        kind: (i < start ? "gw-begun" : "gw-written") + (i < gone ? " gw-gone" : "") + (id === vocabulary.end ? " gw-end" : "") + noted.of(i).kind,
      };
    });
    tokens.push({ text: " … ", share: 0, title: "what comes next", kind: "gw-next" });
    text.show(tokens, at);

    heads.show((i, j) => {
      const [best, share] = most(weights[i].subarray(j * (at - gone), (j + 1) * (at - gone)));
      return { label: label(ids[gone + best]), share };
    }, attention ? layer : -1, head, model.get("off")); // a head is pressed while the bars are its
    const counted = chosen ?? order[0];
    lens.show(reader.lens(residual).map((p) => {
      const [best, share] = most(p);
      return { label: label(best), share, given: p[counted] };
    }), label(counted));

    if (prompt.value !== model.get("prompt")) prompt.value = model.get("prompt");
    bars.show(attention ? 1 : 0);
    barsSay.textContent = attention
      ? `Bars: how much block ${layer}, head ${head} takes from each token for ${at < ids.length ? `the place before ${label(ids[at])}` : "what comes next"}; the highest is ${percent(largest)}.`
      : "Bars: the surprise at each token, as the model says it. A full bar is a blind guess among all tokens.";
    sliders.show();
    fast.show(model.get("fast"));
    answers.show(noted.words);
    whole.disabled = !model.get("off").length;
    const full = gone ? `; the context of ${config.context_length} is full, so the first ${gone} are forgotten` : "";
    facts.textContent = `${say(ids.length)} tokens${full}` + (perToken ? `; ${perToken.toFixed(2)} ms for a token` : "");
    if (!running) {
      view.tell((chosen === undefined ? "Next" : `Instead of ${label(chosen)}`) +
        `: most likely ${label(order[0])}, ${percent(before[order[0]])} as the model says it. Block ${layer}, head ${head} looks at ${label(ids[gone + best])}.` +
        (model.get("off").length ? ` Switched off: ${model.get("off").length}.` : "") + (noted.words && ` ${noted.words}`) + foundWords(model, shown));
    }
  }

  draw();
  return () => { halt(); stop(); redraw.cancel(); answers.end(); };
}

export default { render };

// The answer key at work in LiveGPT: it marks the tokens of a text, and sets the model an exam.
import { AnswerKey } from "./answer_key.js";
import { button, h, percent, put, row, say, toggle } from "./drawing.js";
import { papers, sit } from "./exam.js";
import { fastGPT } from "./fast_gpt.js";
import { GPT } from "./gpt.js";
import { fold } from "./model_view.js";
import { switchOff } from "./reader.js";

const PLAIN = { title: "", kind: "" };

// model: the traits; parts: the model that is open. Returns { line, exam, read, show, end }: two
// elements, `read(ids, at)` for what the key says of a text, `show()` after each change. Where
// there is no key, or the model writes no END, the elements stay hidden and nothing is said.
export function keyView(model, { config, vocabulary, weights }, tell) {
  const data = model.get("key_data");
  const key = data ? new AnswerKey(JSON.parse(data)) : null;
  const known = key !== null && vocabulary.end >= 0 && vocabulary.decode([vocabulary.end]) === key.end;
  const on = toggle({ label: "mark what the stories' answer key says", change: (value) => put(model, "marks", value) });
  const words = h("p", { class: "gw-key-words" });
  const legend = h("p", { class: "gw-legend" },
    h("span", { class: "gw-forced" }, "framed"), ": the story leaves this one word, and a skill is needed; ",
    h("span", { class: "gw-broken" }, "crossed"), ": here a story first breaks a rule");
  const line = h("div", { hidden: !known }, row(on.el), words, legend);
  if (!known) return { line, exam: h("div", { hidden: true }), read: () => ({ of: () => PLAIN, words: "" }), show() {}, end() {} };
  const exam = examView(model, key, { config, vocabulary, weights }, tell);

  // { of(i): the title and the kind of token i, words: what is to be said of the whole }.
  function read(ids, at) {
    if (!model.get("marks")) return { of: () => PLAIN, words: "" };
    const { marks, next } = key.mark(ids, vocabulary);
    const quoted = (id) => (id === vocabulary.end ? "END" : `“${vocabulary.decode([id]).trim()}”`);
    const rule = (skill) => `${skill}, ${key.rules[skill]}`;
    const reason = ({ skill, short }) => (skill === "end" ? short : `${short}: ${rule(skill)}`);
    const of = (i) => {
      const { forced, broken } = marks[i];
      return {
        kind: (forced ? " gw-forced" : "") + (broken ? " gw-broken" : ""),
        title: (forced ? `, forced: ${rule(forced)}` : "") + (broken ? `, first fault: ${reason(broken)}` : ""),
      };
    };
    const forced = marks.filter((mark, i) => mark.forced && mark.forced !== marks[i - 1]?.forced).length;
    const broken = marks.findIndex((mark) => mark.broken);
    const here = at < ids.length ? marks[at].forced : next;
    return {
      of,
      words: `Forced words so far: ${forced}. ` +
        (broken < 0 ? "No rule is broken." : `First fault: ${reason(marks[broken].broken)}.`) +
        (here ? ` ${at < ids.length ? quoted(ids[at]) : "What comes next"} is forced: ${rule(here)}.` : ""),
    };
  }

  return {
    line, read,
    exam: exam.el,
    end: exam.end,
    show(said) {
      on.show(model.get("marks"));
      words.textContent = said;
      legend.hidden = words.hidden = !said;
      exam.show();
    },
  };
}

// The exam: a button, how far it is, and of each skill what is right, as it is and with nothing off.
function examView(model, key, { config, vocabulary, weights }, tell) {
  const taken = new Map(); // the parts that were off -> { skill: [right, of] }
  const run = button("set the exam", () => (running ? (running = 0) : start()));
  const far = h("p", { class: "gw-legend" }); // it changes often: `tell` says how it ends
  const lines = Object.keys(key.rules).filter((skill) => skill !== "wording").map((skill) => {
    const parts = { now: h("td", { class: "gw-number" }), whole: h("td", { class: "gw-number" }), bar: h("span", { class: "gw-bar" }), outline: h("span", { class: "gw-outline" }) };
    const el = h("tr", {}, h("th", { scope: "row", title: key.rules[skill] }, skill), parts.now, parts.whole,
      h("td", { class: "gw-track" }, h("div", {}, parts.bar, parts.outline)));
    return { skill, el, ...parts };
  });
  const table = h("table", { class: "gw-bars gw-exam" },
    h("thead", {}, h("tr", {}, ...["skill", "now", "all on"].map((text) => h("th", { scope: "col" }, text)), h("td", {}))),
    h("tbody", {}, ...lines.map(({ el }) => el)));
  const swatches = h("p", { class: "gw-legend" },
    h("span", { class: "gw-key gw-key-fill" }), " places that it gets right now ",
    h("span", { class: "gw-key gw-key-line" }), " with all parts on");
  const said = h("p", { class: "gw-facts" });
  const el = fold("Which skills does the model have? An exam on stories that it never saw",
    row(run, far), table, swatches, said);
  let running = 0; // 0, or the number of the exam that is being taken
  let number = 0;
  let sheets = null;
  const gpt = new GPT(config, weights); // the exam's own: the reader's goes on with the text
  let answer = null; // what gpt says, as fast_gpt.js works it out

  const of = (off) => taken.get(JSON.stringify(off));
  const share = ([right, all]) => right / all;

  async function start() {
    const mine = running = ++number;
    run.textContent = "stop the exam";
    try {
      sheets ??= papers(key, vocabulary, config.context_length);
      answer ??= fastGPT(gpt);
      for (const off of [[], model.get("off")]) {
        if (of(off) || running !== mine) continue;
        const began = performance.now();
        switchOff(gpt, off);
        const name = off.length ? `with ${off.length} off` : "with all on";
        const marks = await sit(answer, sheets, {
          progress: (done, all) => { far.textContent = `${name}: story ${done} of ${all}`; },
          stopped: () => running !== mine,
        });
        if (!marks) break;
        taken.set(JSON.stringify(off), marks);
        const places = Object.values(marks).reduce((sum, [, all]) => sum + all, 0);
        far.textContent = `${say(places)} places in ${sheets.length} stories, ${((performance.now() - began) / 1000).toFixed(1)} seconds`;
        show();
        if (of(model.get("off"))) tell(summary());
      }
      if (running !== mine) tell(far.textContent = "The exam was stopped.");
    } catch (error) {
      tell(far.textContent = `This model cannot take the exam: ${error.message}.`);
    }
    running = 0;
    run.textContent = "set the exam";
  }

  // What fell by more than a twentieth, in words.
  function summary() {
    const [now, whole] = [of(model.get("off")), of([])];
    const fell = lines.filter(({ skill }) => share(now[skill]) < share(whole[skill]) - 0.05)
      .map(({ skill }) => `${skill} from ${percent(share(whole[skill]))} to ${percent(share(now[skill]))}`);
    if (!model.get("off").length) return "These are the marks with all parts on.";
    return "With these parts off " + (fell.length ? `these skills fall: ${fell.join(", ")}.` : "no skill falls by more than 5 points.");
  }

  function show() {
    const [now, whole] = [of(model.get("off")), of([])];
    table.hidden = swatches.hidden = said.hidden = !whole;
    if (!whole) return;
    for (const { skill, now: number, whole: all, bar, outline } of lines) {
      number.textContent = now ? percent(share(now[skill])) : "–";
      all.textContent = percent(share(whole[skill]));
      bar.style.width = now ? `${(100 * share(now[skill])).toFixed(1)}%` : "0";
      outline.style.width = `${(100 * share(whole[skill])).toFixed(1)}%`;
    }
    const next = running ? "Now the same with what is switched off." : "What is switched off has changed: set the exam again.";
    said.textContent = now ? summary() : next;
  }

  show();
  return { el, show, end() { running = 0; } };
}

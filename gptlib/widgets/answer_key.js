// The parser as a judge, as gptlib/corpus/judging.py has it, and what it says of a model's tokens.
import { visible } from "./drawing.js";
import { Grammar, pythonRandom } from "./grammar.js";

// What Python's str.strip takes away; JavaScript's trim differs in seven characters.
const BLANK = String.raw`[\p{White_Space}\x1c-\x1f]+`;
const BEFORE = new RegExp(`^${BLANK}`, "u");
const BEHIND = new RegExp(`${BLANK}$`, "u");

export class AnswerKey {
  // data: what answer_key() of story_key.py returns.
  constructor(data) {
    this.grammar = new Grammar(data);
    this.end = data.end;
    this.rules = data.rules; // skill -> the rule in words
    this.exam = data.exam;
    this.marked = new Map(); // stories that were read once
  }

  // The verdict of each story in a text, as corpus.judge gives it.
  judge(text) {
    return text.split(this.end).map((part) => part.replace(BEFORE, "").replace(BEHIND, ""))
      .filter(Boolean).map((part) => this.verdict(part));
  }

  // { text, ok, skill, position, message, short, nats, labels, rests }: a story, or the rule that it
  // breaks and where; `short`, for a page that shows the text, is `message` without its numbers. The
  // labels of a broken one go as far as it was read.
  verdict(text) {
    const { found, failure: { position, expected, rests, skill }, copies } = this.grammar.read(text);
    const labels = copies.filter(tests);
    const said = { text, rests, ok: found.length > 0, skill: null, position: null, message: null, short: null, nats: null, labels };
    if (said.ok) return { ...said, nats: found[0].nats };
    const wanted = expected.slice(0, 3).map((piece) => `"${piece}"`).join(" or ") + (expected.length > 3 ? " or another" : "");
    if (position === text.length) {
      return { ...said, skill: "end", position, short: `the story stops, and ${namely(expected)} should follow`, message: `the story stops after ${position} characters, where ${wanted} should follow` };
    }
    const here = Array.from(text.slice(position)).slice(0, 20).join("").split("\n")[0];
    const start = position - (rests[0] ? expected[0].length - rests[0].length : 0); // of the word that does not fit
    const short = instead(text, start, position, start < position ? this.grammar.read(text.slice(0, start)).failure.rests : rests);
    return { ...said, skill, position, short, message: `character ${position}: expected ${wanted}, found "${here}" (${this.rules[skill]})` };
  }

  // For each of the tokens that one text of stories is made of, { forced, broken }: the skill that
  // its place needs where one word alone may stand there, and the verdict on the story that first
  // breaks a rule there; null where there is none. And of the last story, `next`: the skill that
  // the place behind it needs. A story that still runs has broken no rule by stopping.
  mark(ids, vocabulary) {
    const marks = ids.map(() => ({ forced: null, broken: null }));
    let next = null;
    for (let from = 0; from <= ids.length;) {
      const to = ids.indexOf(vocabulary.end, from);
      const last = to < 0 ? ids.length : to;
      const story = this.markStory(ids.slice(from, last), to < 0, vocabulary);
      story.marks.forEach((mark, i) => { if (from + i < ids.length) marks[from + i] = mark; });
      next = story.next;
      from = last + 1;
    }
    return { marks, next };
  }

  // The marks of one story's tokens, and behind them that of its END.
  markStory(ids, runs, vocabulary) {
    const name = `${runs} ${ids}`;
    if (this.marked.has(name)) return this.marked.get(name);
    const marks = [...ids, null].map(() => ({ forced: null, broken: null }));
    const whole = vocabulary.decode(ids);
    const text = whole.replace(BEFORE, "");
    const verdict = this.verdict(runs ? text : text.replace(BEHIND, ""));
    let at = text.length - whole.length; // characters of `text` before each token's end
    const ends = ids.map((id) => (at += vocabulary.decode([id]).length));
    for (const label of verdict.labels) {
      const [first, behind] = tokensOf(label, ends);
      for (let i = first; i < behind; i++) marks[i].forced = label.skill;
    }
    if (text && !verdict.ok && !(runs && verdict.skill === "end")) {
      const place = verdict.skill === "end" ? -1 : ends.findIndex((end) => end > verdict.position);
      marks.at(place).broken = verdict;
    }
    const answer = { marks, next: runs && verdict.skill === "end" ? this.following(text, verdict) : null };
    if (this.marked.size > 200) this.marked.clear();
    this.marked.set(name, answer);
    return answer;
  }

  // The skill that the word behind an unfinished story needs, or null; its space may come first.
  following(text, { labels, rests: [rest, ...others] }) {
    const skill = labels.find((label) => label.end > text.length)?.skill;
    return skill || rest !== " " || others.length ? skill ?? null : this.following(text + rest, this.verdict(text + rest));
  }

  // The stories of the exam, as exam_stories of story_key.py chooses them.
  examStories() {
    const { seed, places } = this.exam;
    const random = pythonRandom(seed);
    const counts = Object.fromEntries(Object.keys(this.rules).filter((skill) => skill !== "wording").map((skill) => [skill, 0]));
    const taken = [];
    const count = (labels, sign) => { for (const { skill } of labels) counts[skill] += sign; };
    const short = (labels) => labels.some(({ skill }) => counts[skill] < places);
    while (Object.values(counts).some((n) => n < places)) {
      const { text, copies } = this.grammar.write(random);
      const labels = copies.filter(tests);
      if (!short(labels)) continue;
      taken.push({ text, labels });
      count(labels, 1);
    }
    return taken.reverse().filter(({ labels }) => { // the later ones have made earlier ones needless
      count(labels, -1);
      if (!short(labels)) return false;
      count(labels, 1);
      return true;
    }).reverse();
  }
}

// What may come next, in words: the first two, cut where they are long.
function namely(rests, show = (text) => text.trim()) {
  const quoted = (rest) => (show(rest) ? `“${cutTo(show(rest), 30)}”` : rest ? "a space" : "the end of the story");
  return rests.slice(0, 2).map(quoted).join(" or ") + (rests.length > 2 ? " or something else" : "");
}

// What stands there and what should: a text from `start` on, where it no longer fits at `at`, up to
// the end of a word. Where only blanks are wrong, they are shown.
function instead(text, start, at, rests) {
  const before = text.slice(start, at);
  const blank = before.trim() ? "" : "[^\\p{L}\\p{N}]*";
  const there = before + text.slice(at).match(new RegExp(`^${blank}[\\p{L}\\p{N}]*`, "u"))[0];
  const show = rests.some((rest) => rest.trim() === there.trim()) ? visible : (words) => words.trim();
  return `“${cutTo(show(there), 30)}” stands where ${namely(rests, show)} should`;
}

const cutTo = (text, most) => { const all = Array.from(text); return all.length > most ? `${all.slice(0, most - 1).join("")}…` : text; };

// Whether a copy is a place that tests a skill.
const tests = (copy) => copy.sure && copy.skill !== "wording";

// The first token of a label and the one behind its last, as gptlib/corpus/scoring.py counts them:
// those that hold its characters. `ends`: how many characters there are up to each token's end.
export function tokensOf({ start, end }, ends) {
  const find = (fits) => { const i = ends.findIndex(fits); return i < 0 ? ends.length : i; };
  return [find((e) => e > start), Math.min(ends.length, find((e) => e >= end) + 1)];
}

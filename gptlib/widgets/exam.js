// The exam: for each skill, the share of places at which a model's first choices are right, as
// gptlib/corpus/scoring.py's AnswerKey.score has it.
import { tokensOf } from "./answer_key.js";

// The stories of a key as one model reads them: { ids, places } each, ids from END to the last token
// that is asked for, and of each place its skill, first token and the one behind its last. An Error
// says why a model cannot sit the exam.
export function papers(key, vocabulary, context_length) {
  const made = key.examStories().map(({ text, labels }) => {
    const story = vocabulary.encode(text);
    let at = 0;
    const ends = story.map((id) => (at += vocabulary.decode([id]).length));
    const places = labels.map((label) => [label.skill, ...tokensOf(label, ends)]);
    return { ids: [vocabulary.end, ...story.slice(0, Math.max(...places.map(([, , behind]) => behind)))], places };
  });
  const longest = Math.max(...made.map(({ ids }) => ids.length - 1));
  if (longest > context_length) throw new Error(`the longest story has ${longest} tokens, and the model sees ${context_length}`);
  return made;
}

// What a model gets right in one story: [skill, right] of each place. All tokens of a place must be
// its first choice, given the true text before them. `answer`: as fast_gpt.js makes it.
export function grade(answer, { ids, places }) {
  const asked = places.flatMap(([, first, behind]) => Array.from({ length: behind - first }, (_, i) => first + i));
  const logits = answer(ids.slice(0, -1), asked); // (asked, V)
  const V = logits.length / asked.length;
  const right = asked.map((t, i) => first(logits.subarray(i * V, (i + 1) * V)) === ids[t + 1]);
  let i = 0;
  return places.map(([skill, from, behind]) => [skill, right.slice(i, i += behind - from).every(Boolean)]);
}

// The index of the largest score; of equals the first.
function first(scores) {
  let best = 0;
  for (let i = 1; i < scores.length; i++) if (scores[i] > scores[best]) best = i;
  return best;
}

// Sets a model the whole exam, a few hundredths of a second at a time, so that the page stays alive:
// `progress(done, of)` is called in between. Resolves to { skill: [right, of] }, or to null as soon
// as `stopped()`.
export async function sit(answer, sheets, { progress = () => {}, stopped = () => false, slice = 25 } = {}) {
  const marks = {};
  for (let n = 0; n < sheets.length;) {
    for (const began = performance.now(); n < sheets.length && performance.now() - began < slice; n++) {
      for (const [skill, right] of grade(answer, sheets[n])) {
        const mark = marks[skill] ??= [0, 0];
        mark[0] += right ? 1 : 0;
        mark[1] += 1;
      }
    }
    progress(n, sheets.length);
    await new Promise((done) => setTimeout(done));
    if (stopped()) return null;
  }
  return marks;
}

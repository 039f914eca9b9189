// What a GPT in the page learns from, and what it is asked: stories that the page writes itself.

const STOCK = 5000; // stories that are put in order, where they come in order

// Batches of fresh stories: every window begins with END and a story's first word, as with Python's
// story_starts. `random()` in [0, 1) is asked once for every choice of the grammar.
export class Lessons {
  constructor(key, vocabulary, { batch_size, context_length }, random) {
    Object.assign(this, { key, vocabulary, batch_size, context_length, random });
    this.stock = null;
    this.idx = new Int32Array(batch_size * context_length);
    this.targets = new Int32Array(batch_size * context_length);
  }

  // The text of the next story. Mistakes to be seen: it is one of `leaked`, where texts are given; or,
  // `sorted`, that which follows in the order of the alphabet, again from A when all of them are told.
  story({ leaked = null, sorted = false } = {}) {
    if (leaked) return leaked[Math.floor(this.random() * leaked.length)];
    const fresh = () => this.key.grammar.write(this.random).text;
    if (!sorted) return fresh();
    this.stock ??= { texts: Array.from({ length: STOCK }, fresh).sort(), told: 0 };
    return this.stock.texts[this.stock.told++ % STOCK];
  }

  // The next batch: { idx, targets }, both (B · T). A target is the token that follows; not shifted,
  // a mistake to be seen, it is the token itself. The rest is for `story`.
  next({ shifted = true, ...told } = {}) {
    const { batch_size: B, context_length: T } = this;
    for (let b = 0; b < B; b++) {
      const ids = [this.vocabulary.end];
      while (ids.length <= T) ids.push(...this.vocabulary.encode(this.story(told)), this.vocabulary.end);
      for (let t = 0; t < T; t++) {
        this.idx[b * T + t] = ids[t];
        this.targets[b * T + t] = ids[shifted ? t + 1 : t];
      }
    }
    return this;
  }
}

// The answer key of gptlib/corpus/scoring.py, for `n` stories: rows (B · T) of idx and targets, the
// floor in nats a token, the places that test a skill, and the texts. `random`: pythonRandom(1) draws the same
// stories as corpus.stories(n, seed=1).
export function questions(key, vocabulary, n, { batch_size: B, context_length: T }, random, tokensOf) {
  const batches = [], texts = [];
  let nats = 0, tokens = 0;
  for (let k = 0; k < n; k++) {
    const story = key.grammar.write(random), ids = vocabulary.encode(story.text);
    if (ids.length >= T) throw new Error(`A story has ${ids.length} tokens; the model sees ${T} at once and should see one more.`);
    if (k % B === 0) batches.push({ idx: new Int32Array(B * T).fill(vocabulary.end), targets: new Int32Array(B * T).fill(-1), places: [] });
    const { idx, targets, places } = batches.at(-1), row = (k % B) * T;
    idx.set([vocabulary.end, ...ids], row);
    targets.set([...ids, vocabulary.end], row);
    texts.push(story.text);
    nats += story.nats;
    tokens += ids.length + 1;
    let at = 0;
    const ends = ids.map((id) => (at += vocabulary.decode([id]).length));
    for (const copy of story.copies) {
      if (!copy.sure || copy.skill === "wording") continue;
      const [first, behind] = tokensOf(copy, ends);
      places.push([copy.skill, row + first, row + behind]);
    }
  }
  return { batches, texts, tokens, floor: nats / tokens };
}

// What a model makes of these questions: { loss, skills: { name: [right, of] } }. A place is right
// where each of its tokens is the model's first choice. `answer(idx)` gives the logits (B · T, V).
export function mark({ batches, tokens }, answer, V) {
  const skills = {};
  let total = 0;
  for (const { idx, targets, places } of batches) {
    const logits = answer(idx);
    const right = targets.map((y, t) => {
      if (y < 0) return 1;
      const row = t * V;
      let best = 0, sum = 0;
      for (let i = 1; i < V; i++) if (logits[row + i] > logits[row + best]) best = i;
      for (let i = 0; i < V; i++) sum += Math.exp(logits[row + i] - logits[row + best]);
      total += Math.log(sum) + logits[row + best] - logits[row + y];
      return best === y ? 1 : 0;
    });
    for (const [skill, first, behind] of places) {
      const count = skills[skill] ??= [0, 0];
      count[0] += right.subarray(first, behind).every(Boolean) ? 1 : 0;
      count[1] += 1;
    }
  }
  return { loss: total / tokens, skills };
}

// A GPT that is being trained in the page: its steps, its exam, what it writes, and what breaks it.
import { AnswerKey, tokensOf } from "./answer_key.js";
import { adamw_step, init_gpt2, learning_rate } from "./adamw.js";
import { SOUND, gpt_back, gpt_forward, roomFor } from "./by_hand_gpt.js";
import { GPT, stream } from "./gpt.js";
import { pythonRandom } from "./grammar.js";
import { Lessons, mark, questions } from "./lessons.js";
import { writeModel } from "./model_writer.js";
import { matrices, muon_step } from "./muon.js";
import { randomNumbers } from "./sampling.js";
import { gpt_back_together } from "./together.js";
import { openVocabulary } from "./vocabulary.js";

const EXAM_SEED = 1; // as in corpus.stories(n, seed=1)
const GARBAGE = 50; // every so many steps a batch, where that is broken
const MORE = 3; // a run that goes on when its recipe is over does so for a third of its steps
const BIG = 50; // times as large as they should be: the numbers of a token table that begins too big
// What can be broken, each with what it does: twelve patients of chapter 7's lab, and the clipping and
// the warm-up besides. Of the other three, two are the learning rate's, and one forgets to switch
// dropout off for the exam: there is none here. The training alone is broken: exam and writing are sound.
export const MISTAKES = {
  mask: "no mask: a token looks at those that come later",
  shift: "no shift: the target is the token itself",
  zero_grad: "forgotten zero_grad: old gradients stay and add up",
  clip: "no clipping: a gradient may have any length",
  warmup: "no warm-up: the learning rate is at its height at once",
  one_batch: "one batch: the same stories in each step",
  sorted: "sorted: stories come in the order of the alphabet",
  validation_leak: "validation leak: the exam's stories are all that it learns from",
  garbage: `garbage: each ${GARBAGE}th batch is random tokens`,
  softmax_twice: "softmax twice: probabilities where logits belong",
  reshape: "wrong reshape: heads are cut out of the wrong numbers",
  frozen: "frozen blocks: the optimiser knows the tables alone",
  lost: "lost optimiser: it moves another model's weights",
  big_start: `big start: the token table begins ${BIG} times too large`,
};

export class Trainee {
  // given: config and recipe as GPTConfig and TrainConfig have them, tokenizer (the state of a saved
  // one, as JSON), key (what story_key.py says), seed, exam (how many stories), mistakes (a list). A
  // recipe may have a `muon`, the rate at which Muon moves the blocks' matrices while AdamW's is lr.
  constructor(given) {
    this.given = given;
    this.config = given.config;
    this.recipe = given.recipe;
    this.vocabulary = openVocabulary(JSON.parse(given.tokenizer), this.config.vocab_size);
    if (this.vocabulary.end < 0) throw new Error("The tokenizer has no END.");
    this.key = new AnswerKey(given.key);
    this.room = roomFor(this.config, this.recipe.batch_size);
    this.matrices = matrices(this.room);
    this.model = new GPT({ norm: "pre", tied: true, ...this.config }, this.room.weights);
    this.sheets = questions(this.key, this.vocabulary, given.exam, this.sizes(), pythonRandom(EXAM_SEED), tokensOf);
    this.broken = new Set(given.mistakes ?? []);
    this.factor = 1; // of the learning rate
    this.reset();
  }

  sizes() {
    return { batch_size: this.recipe.batch_size, context_length: this.config.context_length };
  }

  // New weights by the seed, and a run that has not begun.
  reset(seed = this.given.seed ?? 0) {
    this.random = randomNumbers(seed);
    init_gpt2(this.room, this.random);
    const table = this.room.weights["token_embedding.weight"];
    if (this.broken.has("big_start")) for (let i = 0; i < table.length; i++) table[i] *= BIG;
    for (const name of ["grads", "means", "squares"]) this.room.flat[name].fill(0);
    this.lessons = new Lessons(this.key, this.vocabulary, this.sizes(), this.random);
    this.batch = null;
    this.steps = 0;
    [this.from, this.end] = [0, this.recipe.steps]; // of the schedule of the rate
    this.seconds = 0; // of steps, the exam not counted
  }

  // The stories of the next step, { idx, targets }.
  next() {
    const { broken } = this;
    if (broken.has("one_batch") && this.batch) return this.batch;
    const leaked = broken.has("validation_leak") ? this.sheets.texts : null;
    this.batch = this.lessons.next({ shifted: !broken.has("shift"), sorted: broken.has("sorted"), leaked });
    if (broken.has("garbage") && this.steps % GARBAGE === 0) {
      const noise = this.batch.idx.map(() => Math.floor(this.random() * this.config.vocab_size));
      return { idx: noise, targets: noise };
    }
    return this.batch;
  }

  // The learning rate of this step, AdamW's: it climbs and falls again in each schedule.
  rate() {
    const { recipe, broken, from, end } = this, warmup = from ? null : recipe.warmup_steps;
    const now = { ...recipe, steps: end - from, warmup_steps: broken.has("warmup") ? 0 : warmup };
    return this.factor * learning_rate(this.steps - from, now);
  }

  // One update. Returns what there is to report: loss in nats a token, of a batch that it had never
  // seen; lr; grad_norm before clipping; the updates of the token table and of the blocks' matrices
  // as shares of these weights. When the recipe is over, its rate has fallen and little would be
  // learned: a shorter schedule begins.
  step() {
    const began = performance.now(), { idx, targets } = this.begin();
    return this.finish(gpt_back(idx, targets, this.room), began);
  }

  // The same by several workers, as gpt_back_together has them.
  async stepTogether(helpers) {
    const began = performance.now(), { idx, targets } = this.begin();
    return this.finish(await gpt_back_together(idx, targets, this.room, helpers), began);
  }

  // Ready for the gradients of a step: its batch.
  begin() {
    const { room, recipe, broken } = this;
    if (this.steps === this.end) [this.from, this.end] = [this.end, this.end + Math.ceil(recipe.steps / MORE)];
    this.steps += 1;
    Object.assign(room.size, { masked: !broken.has("mask"), muddled: broken.has("reshape"), twice: broken.has("softmax_twice") });
    if (!broken.has("zero_grad")) room.flat.grads.fill(0);
    return this.next();
  }

  // With the gradients: the update, and what there is to report.
  finish(loss, began) {
    Object.assign(this.room.size, SOUND);
    const lr = this.rate(), { grad_norm, ratios } = this.update(lr);
    if (!Number.isFinite(loss + grad_norm)) throw new Error(`The loss is no longer a number at step ${this.steps}.`);
    this.seconds += (performance.now() - began) / 1000;
    const ofBlocks = this.matrices.map((name) => ratios[name] ?? 0);
    const blocks = ofBlocks.length ? ofBlocks.reduce((sum, ratio) => sum + ratio) / ofBlocks.length : null;
    return { step: this.steps, loss, lr, grad_norm, table: ratios["token_embedding.weight"], blocks, seconds: this.seconds };
  }

  // Moves the weights: { grad_norm, ratios }, as adamw_step has them.
  update(lr) {
    const { room, broken, recipe } = this, names = Object.keys(room.shapes);
    const still = broken.has("lost") ? names : broken.has("frozen") ? names.filter((name) => name.startsWith("blocks.") || name.startsWith("final")) : [];
    const byMuon = recipe.muon ? this.matrices.filter((name) => !still.includes(name)) : [];
    const now = { ...recipe, lr, grad_clip: broken.has("clip") ? null : recipe.grad_clip };
    const { grad_norm, shorter, ratios } = adamw_step(room, this.steps, now, [...still, ...byMuon]);
    const muon = { lr: lr * recipe.muon / recipe.lr, weight_decay: recipe.weight_decay };
    return { grad_norm, ratios: { ...ratios, ...muon_step(room, byMuon, muon, shorter) } };
  }

  // Its mark on the exam's stories, by a sound program whatever is broken: { step, loss, floor, skills }.
  exam() {
    const { loss, skills } = mark(this.sheets, (idx) => gpt_forward(idx, this.room), this.config.vocab_size);
    return { step: this.steps, loss, floor: this.sheets.floor, skills };
  }

  // A story, drawn token by token, with the parser's verdict: { step, tokens, ok, says }; a token is
  // [text, the skill that it needs or null, what it breaks or null].
  write(temperature = 0.8) {
    const ids = [];
    const draws = stream(this.model, [this.vocabulary.end], this.config.context_length - 1, { temperature }, this.random);
    for (const id of draws) {
      ids.push(id);
      if (id === this.vocabulary.end) break;
    }
    this.told = ids;
    const { marks } = this.key.mark(ids, this.vocabulary);
    const broken = marks.map(({ broken }) => broken?.short ?? null);
    const tokens = ids.map((id, i) => [id === this.vocabulary.end ? "" : this.vocabulary.decode([id]), marks[i].forced, broken[i]]);
    const empty = !tokens.some(([text]) => text.trim());
    const says = broken.find(Boolean) ?? (empty ? "a story has words" : null);
    return { step: this.steps, tokens, ok: !says && ids.at(-1) === this.vocabulary.end, says };
  }

  // Where a head looked while the last story was written: { step, block, head, size, weights, tokens }.
  // weights (size, size): a row for each token that looks, END before the story among them.
  attention(block, head) {
    const { context_length: T } = this.config, end = this.vocabulary.end;
    const read = [end, ...(this.told ?? [])].slice(0, T), size = read.length;
    const idx = new Int32Array(T * this.recipe.batch_size).fill(end);
    idx.set(read);
    gpt_forward(idx, this.room);
    const looks = this.room.blocks[block].p.subarray(head * T * T, (head + 1) * T * T);
    const weights = new Float32Array(size * size);
    for (let i = 0; i < size; i++) weights.set(looks.subarray(i * T, i * T + size), i * size);
    return { step: this.steps, block, head, size, weights, tokens: read.map((id) => (id === end ? "END" : this.vocabulary.decode([id]))) };
  }

  // The model as a file that Python's import_model and the Playground open.
  file() {
    return writeModel(this.config, this.room.weights, this.room.shapes, this.given.tokenizer);
  }
}

// A GPT that is being trained in the page: its steps, its exam, what it writes, and what breaks it.
import { AnswerKey, tokensOf } from "./answer_key.js";
import { adamw_step, init_gpt2, learning_rate } from "./adamw.js";
import { gpt_back, gpt_forward, roomFor } from "./by_hand_gpt.js";
import { GPT, stream } from "./gpt.js";
import { pythonRandom } from "./grammar.js";
import { Lessons, mark, questions } from "./lessons.js";
import { writeModel } from "./model_writer.js";
import { randomNumbers } from "./sampling.js";
import { openVocabulary } from "./vocabulary.js";

const EXAM_SEED = 1; // as in corpus.stories(n, seed=1)
// The mistakes of chapter 7's lab that are a switch here, each with what it does.
export const MISTAKES = {
  mask: "no mask: a token looks at those that come later",
  shift: "no shift: the target is the token itself",
  zero_grad: "forgotten zero_grad: old gradients stay and add up",
  clip: "no clipping: a gradient may have any length",
};

export class Trainee {
  // given: config and recipe as GPTConfig and TrainConfig have them, tokenizer (the state of a saved
  // one, as JSON), key (what story_key.py says), seed, exam (how many stories).
  constructor(given) {
    this.given = given;
    this.config = given.config;
    this.recipe = given.recipe;
    this.vocabulary = openVocabulary(JSON.parse(given.tokenizer), this.config.vocab_size);
    if (this.vocabulary.end < 0) throw new Error("The tokenizer has no END.");
    this.key = new AnswerKey(given.key);
    this.room = roomFor(this.config, this.recipe.batch_size);
    this.model = new GPT({ norm: "pre", tied: true, ...this.config }, this.room.weights);
    this.sheets = questions(this.key, this.vocabulary, given.exam, this.sizes(), pythonRandom(EXAM_SEED), tokensOf);
    this.broken = new Set();
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
    for (const name of ["grads", "means", "squares"]) this.room.flat[name].fill(0);
    this.lessons = new Lessons(this.key, this.vocabulary, this.sizes(), this.random);
    this.steps = 0;
    this.seconds = 0; // of steps, the exam not counted
  }

  // One update. Returns what there is to report: loss in nats a token, of a batch that it had never
  // seen; lr; grad_norm before clipping; the updates of the token table and of the blocks' matrices
  // as shares of these weights.
  step() {
    const began = performance.now(), { room, recipe, broken } = this;
    this.steps += 1;
    room.size.masked = !broken.has("mask");
    const { idx, targets } = this.lessons.next({ shifted: !broken.has("shift") });
    if (!broken.has("zero_grad")) room.flat.grads.fill(0);
    const loss = gpt_back(idx, targets, room);
    const lr = this.factor * learning_rate(Math.min(this.steps, recipe.steps), recipe);
    const { grad_norm, ratios } = adamw_step(room, this.steps, { ...recipe, lr, grad_clip: broken.has("clip") ? null : recipe.grad_clip });
    if (!Number.isFinite(loss + grad_norm)) throw new Error(`The loss is no longer a number at step ${this.steps}.`);
    this.seconds += (performance.now() - began) / 1000;
    const ofBlocks = Object.keys(ratios).filter((name) => name.startsWith("blocks.") && room.shapes[name].length > 1);
    const blocks = ofBlocks.reduce((sum, name) => sum + ratios[name], 0) / ofBlocks.length;
    return { step: this.steps, loss, lr, grad_norm, table: ratios["token_embedding.weight"], blocks, seconds: this.seconds };
  }

  // Its mark on the exam's stories, under the mask whatever is broken: { step, loss, floor, skills }.
  exam() {
    this.room.size.masked = true;
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
    const { marks } = this.key.mark(ids, this.vocabulary);
    const broken = marks.map(({ broken }) => broken?.short ?? null);
    const tokens = ids.map((id, i) => [id === this.vocabulary.end ? "" : this.vocabulary.decode([id]), marks[i].forced, broken[i]]);
    const says = broken.find(Boolean) ?? null;
    return { step: this.steps, tokens, ok: !says && ids.at(-1) === this.vocabulary.end, says };
  }

  // The model as a file that Python's import_model and the Playground open.
  file() {
    return writeModel(this.config, this.room.weights, this.room.shapes, this.given.tokenizer);
  }
}

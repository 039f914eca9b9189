// Reads a text with a model for the page, and answers questions about any place of it.
import { GPT } from "./gpt.js";
import { MODERN_FILE } from "./modern_file.js";
import { ModernGPT } from "./modern_gpt.js";
import { openVocabulary } from "./vocabulary.js";
import { softmax } from "./sampling.js";

// What model_file.js read, ready to be used: { model, vocabulary, config, weights }.
export function ready({ config, weights, tokenizer, kind }) {
  const model = kind === MODERN_FILE ? new ModernGPT(config, weights) : new GPT(config, weights);
  return { config, weights, vocabulary: openVocabulary(tokenizer, config.vocab_size), model };
}

// Switch parts of a GPT off: names such as "blocks.0.attention.3" or "blocks.2.feed_forward".
export function switchOff(model, off) {
  for (const [i, block] of model.blocks.entries()) {
    block.feed_forward.off = off.includes(`blocks.${i}.feed_forward`);
    block.attention.off = new Set(
      Array.from({ length: block.attention.n_head }, (_, head) => head)
        .filter((head) => off.includes(`blocks.${i}.attention.${head}`)));
  }
}

export class Reader {
  constructor(model) {
    this.model = model;
    this.forget();
  }

  forget() {
    this.cache = this.model.cache();
    this.ids = [];
    this.probs = []; // of each token, what the model gave to it where it stands; null for the first
    this.after = -1; // `last` are the scores after so many tokens
    this.last = null;
    this.walk = null; // what the last look found, or a token that was read alone: `look` gives it again
  }

  lesion(off) {
    switchOff(this.model, off);
    this.forget();
  }

  // Take in a text; where it begins like the last one, only what is new costs anything. Of a text
  // that is too long the last tokens count. Returns how many tokens were passed over.
  read(ids) {
    const { context_length, vocab_size } = this.model.config;
    const left = Math.max(0, ids.length - context_length);
    const window = ids.slice(left);
    let same = 0;
    while (same < window.length && window[same] === this.ids[same]) same += 1;
    this.cache.length = same;
    this.probs.length = same;
    this.ids = window;
    if (this.walk?.n > same) this.walk = null;
    for (let t = same; t < window.length; t += 64) { // in pieces: attention keeps T · S weights
      const piece = window.slice(t, t + 64);
      const before = t === 0 ? null : this.after === t ? this.last : this.look(t).logits;
      const logits = this.model.forward(piece, this.cache); // (T, V)
      const row = (k) => logits.subarray(k * vocab_size, (k + 1) * vocab_size);
      this.probs.push(before ? softmax(before)[piece[0]] : null);
      for (let k = 1; k < piece.length; k++) this.probs.push(softmax(row(k - 1))[piece[k]]);
      this.last = row(piece.length - 1);
      this.after = t + piece.length;
      if (piece.length === 1) this.found(this.after, logits);
    }
    return left;
  }

  // What the model makes of the first n tokens (n from 1): the scores for what comes next, the
  // residual stream of the last of them before the first block and after each, and its attention.
  look(n) {
    if (this.walk?.n === n) return this.walk;
    const length = this.cache.length;
    this.cache.length = n - 1; // its own keys and values are written once more, the same as before
    const logits = this.model.forward([this.ids[n - 1]], this.cache);
    this.cache.length = length;
    return this.found(n, logits);
  }

  // Keep what the model has just made of token n - 1 alone.
  found(n, logits) {
    const weights = this.model.blocks.map(({ attention }) => attention.weights); // (n_head, n) each
    return this.walk = { n, logits, residual: this.model.residual, weights };
  }

  // What each stage of the residual stream would say, if the model ended there: one of (V) each.
  lens(residual) {
    return residual.map((x) => softmax(this.model.logits(x)));
  }
}

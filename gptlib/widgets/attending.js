// What attention makes of a text: who looks where, with which scores, and what comes of it.
//
// The numbers are those of gptlib/attention.py and of `AttentionExplorer`; a test compares them.
// T tokens, n of them seen by a query, C = n_embd numbers a token, hs = C / n_head, V tokens known.
import { CausalSelfAttention, embed, emptyCache, GPT, Linear, matmul } from "./gpt.js";
import { GPT_FILE, readModel } from "./model_file.js";
import { softmax } from "./sampling.js";
import { openVocabulary } from "./vocabulary.js";

// The model of chapter 3: embedding, one attention layer, output head.
export class AttentionModel {
  constructor(config, weights) {
    this.config = config;
    this.token_embedding = weights["token_embedding.weight"];
    this.position_embedding = weights["position_embedding.weight"]; // undefined where there is none
    this.blocks = [{ attention: new CausalSelfAttention(weights, "attention", config) }];
    this.head = new Linear(weights, "head", config.n_embd);
  }

  cache() {
    return emptyCache(this.config);
  }

  // idx: T new ids -> (T, C), what the head is given.
  read(idx, cache) {
    const x = this.blocks[0].attention.forward(embed(this, idx, cache.length), cache.layers[0], cache.length);
    cache.length += idx.length;
    return x;
  }
}

const ATTENTION_FILE = {
  format: "gptlib attention 1",
  check: (config) => config,
  shapes: ({ vocab_size: V, context_length, n_embd: C, positions }) => ({
    "token_embedding.weight": [V, C],
    ...(positions && { "position_embedding.weight": [context_length, C] }),
    "attention.qkv.weight": [3 * C, C],
    "attention.project.weight": [C, C],
    "head.weight": [V, C],
    "head.bias": [V],
  }),
};

// A model as the face sends it: { config, vocabulary, label(id), reading }.
export function openReading(view, kind) {
  const [file, Model] = kind === "attention" ? [ATTENTION_FILE, AttentionModel] : [GPT_FILE, GPT];
  const { config, weights, tokenizer } = readModel(view, file);
  const vocabulary = openVocabulary(tokenizer, config.vocab_size);
  const labels = [];
  const label = (id) => labels[id] ??= id === vocabulary.end ? "END" : vocabulary.label(id);
  return { config, vocabulary, label, reading: new Reading(new Model(config, weights)) };
}

// A text that a model has read, and what each of its heads makes of it.
export class Reading {
  constructor(model) {
    this.model = model;
    this.cache = model.cache();
    this.ids = []; // read so far
    this.version = 0; // grows with each change
    const { context_length, n_embd, n_head } = model.config;
    this.out = new Float32Array(context_length * n_embd); // what the last block hands to the last norm
    this.hs = n_embd / n_head;
    this.products = new Map(); // q·k, by head and query: another divisor costs no new ones
  }

  // Go on to read `ids`, at most `most` more tokens; true when all are read. Where they begin like
  // the text before, only what is new costs anything.
  read(ids, most = Infinity) {
    let same = 0;
    while (same < Math.min(ids.length, this.ids.length) && this.ids[same] === ids[same]) same += 1;
    const piece = ids.slice(same, same + most);
    if (piece.length || same < this.ids.length) {
      this.version += 1;
      this.products.clear();
    }
    this.cache.length = same;
    if (piece.length) this.out.set(this.model.read(piece, this.cache), same * this.model.config.n_embd);
    this.ids = ids.slice(0, same + piece.length);
    return this.ids.length === ids.length;
  }

  // The query of token t times the keys that it may see: q·k (n).
  product(layer, head, t, mask) {
    const name = `${layer}.${head}.${mask}`;
    if (!this.products.has(name)) this.products.set(name, []);
    return this.products.get(name)[t] ??= this.multiply(layer, head, t, mask ? t + 1 : this.ids.length);
  }

  multiply(layer, head, t, n) {
    const { n_embd: C } = this.model.config;
    const { queries, keys } = this.cache.layers[layer];
    const { hs } = this;
    const q = t * C + head * hs;
    const products = new Float32Array(n);
    for (let s = 0, k = head * hs; s < n; s++, k += C) {
      let sum = 0;
      for (let i = 0; i < hs; i++) sum += queries[q + i] * keys[k + i];
      products[s] = sum;
    }
    return products;
  }

  // The query of token t beside the n keys that it may see: scores q·k / divisor, and weights.
  row(layer, head, t, { mask = true, divisor = 0 } = {}) {
    const by = divisor || Math.sqrt(this.hs);
    const scores = Float64Array.from(this.product(layer, head, t, mask), (product) => product / by);
    return { scores, weights: softmax(scores) };
  }

  // The weights of all queries: (T, T), not a number where the mask hides a key. `old` is a table
  // that nobody needs any more; of the same size, it is written anew.
  table(layer, head, { mask = true, divisor = 0 } = {}, old = null) {
    const T = this.ids.length;
    const by = divisor || Math.sqrt(this.hs);
    const weights = (old?.length === T * T ? old : new Float32Array(T * T)).fill(NaN);
    for (let t = 0; t < T; t++) softmaxInto(weights, t * T, this.product(layer, head, t, mask), by);
    return weights;
  }

  // Weight times value, token by token: (n, hs).
  parts(layer, head, weights) {
    const { values } = this.cache.layers[layer];
    const C = this.model.config.n_embd;
    const found = new Float32Array(weights.length * this.hs);
    for (let s = 0; s < weights.length; s++) {
      const v = s * C + head * this.hs;
      for (let i = 0; i < this.hs; i++) found[s * this.hs + i] = weights[s] * values[v + i];
    }
    return found;
  }

  // What a head's result (hs) adds to the logits (V) at place t, on its way past the other parts:
  // through its columns of the projection, the last norm with the size that it has there, and the
  // output head. The mean over the vocabulary is taken off, for a softmax does not see it. Null for
  // a post-norm GPT, whose norms stand in the way.
  votes(layer, head, t, result) {
    const { config, blocks, head: output, final_gain } = this.model;
    if (config.norm === "post") return null;
    const C = config.n_embd;
    const { weight } = blocks[layer].attention.project; // (C, C)
    const added = new Float32Array(C);
    for (let c = 0, w = head * this.hs; c < C; c++, w += C) {
      let sum = 0;
      for (let i = 0; i < this.hs; i++) sum += result[i] * weight[w + i];
      added[c] = sum;
    }
    if (final_gain) {
      const { variance } = moments(this.out.subarray(t * C, (t + 1) * C));
      const { mean } = moments(added);
      const size = 1 / Math.sqrt(variance + 1e-5);
      for (let c = 0; c < C; c++) added[c] = (added[c] - mean) * size * final_gain[c];
    }
    const votes = matmul(added, output.weight, 1, C, output.n_out);
    const { mean } = moments(votes);
    return votes.map((vote) => vote - mean);
  }
}

// The softmax of products / by, written into `weights` from place `at` on.
function softmaxInto(weights, at, products, by) {
  let best = -Infinity;
  for (let s = 0; s < products.length; s++) if (products[s] > best) best = products[s];
  let total = 0;
  for (let s = 0; s < products.length; s++) total += weights[at + s] = Math.exp((products[s] - best) / by);
  for (let s = 0; s < products.length; s++) weights[at + s] /= total;
}

// The largest weight of the softmax of products / by.
export function largestWeight(products, by) {
  let best = -Infinity;
  for (let s = 0; s < products.length; s++) if (products[s] > best) best = products[s];
  let total = 0;
  for (let s = 0; s < products.length; s++) total += Math.exp((products[s] - best) / by);
  return 1 / total;
}

// Mean and variance of some numbers.
export function moments(numbers) {
  let [mean, variance] = [0, 0];
  for (let i = 0; i < numbers.length; i++) mean += numbers[i] / numbers.length;
  for (let i = 0; i < numbers.length; i++) variance += (numbers[i] - mean) ** 2 / numbers.length;
  return { mean, variance };
}

// Where the n largest of some numbers stand, the largest first; of equals the first.
export function largestOf(numbers, n) {
  const best = [];
  for (let i = 0; i < numbers.length; i++) {
    if (best.length === n && !(numbers[i] > numbers[best[n - 1]])) continue;
    let at = best.length;
    while (at > 0 && numbers[i] > numbers[best[at - 1]]) at -= 1;
    best.splice(at, 0, i);
    best.length = Math.min(best.length, n);
  }
  return best;
}

// n vectors of hs numbers -> their sum (hs), and the length of each (n).
export function sumAndLengths(parts, hs) {
  const sum = new Float32Array(hs);
  const lengths = new Float32Array(parts.length / hs);
  for (let s = 0; s < lengths.length; s++) {
    let square = 0;
    for (let i = 0; i < hs; i++) {
      const v = parts[s * hs + i];
      sum[i] += v;
      square += v * v;
    }
    lengths[s] = Math.sqrt(square);
  }
  return { sum, lengths };
}

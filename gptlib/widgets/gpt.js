// A GPT in some 240 lines of JavaScript: the forward pass of gptlib/gpt.py, by hand.
//
// The classes, their parts and the names of their weights are those of gptlib (chapters 3 to 6);
// a test holds the numbers to PyTorch's. Two things differ. There is no batch: one text at a time.
// And what a token offers to later ones, its keys and values, is kept in a cache, so that a new
// token costs one walk through the weights, however long the text before it is.
//
// A tensor is a Float32Array, row after row: entry [t][c] of x (T, C) is x[t * C + c].
// T new tokens, S tokens so far, C = n_embd numbers a token, hs = C / n_head, V = vocab_size.
import { nextTokenProbs, sample } from "./sampling.js";

// x (T, n) times the transpose of weight (m, n) -> (T, m). Four rows of each are taken at a time:
// eight numbers are fetched for sixteen products, and fetching is what costs.
export function matmul(x, weight, T, n, m) {
  const out = new Float32Array(T * m);
  const T4 = T - (T % 4);
  const m4 = m - (m % 4);
  for (let t = 0; t < T4; t += 4) {
    const [x0, x1, x2, x3] = [t * n, (t + 1) * n, (t + 2) * n, (t + 3) * n];
    for (let j = 0; j < m4; j += 4) {
      const [w0, w1, w2, w3] = [j * n, (j + 1) * n, (j + 2) * n, (j + 3) * n];
      let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
      let c0 = 0, c1 = 0, c2 = 0, c3 = 0, d0 = 0, d1 = 0, d2 = 0, d3 = 0;
      for (let i = 0; i < n; i++) {
        const p0 = x[x0 + i], p1 = x[x1 + i], p2 = x[x2 + i], p3 = x[x3 + i];
        const q0 = weight[w0 + i], q1 = weight[w1 + i], q2 = weight[w2 + i], q3 = weight[w3 + i];
        a0 += p0 * q0; a1 += p0 * q1; a2 += p0 * q2; a3 += p0 * q3;
        b0 += p1 * q0; b1 += p1 * q1; b2 += p1 * q2; b3 += p1 * q3;
        c0 += p2 * q0; c1 += p2 * q1; c2 += p2 * q2; c3 += p2 * q3;
        d0 += p3 * q0; d1 += p3 * q1; d2 += p3 * q2; d3 += p3 * q3;
      }
      const at = t * m + j;
      out[at] = a0; out[at + 1] = a1; out[at + 2] = a2; out[at + 3] = a3;
      out[at + m] = b0; out[at + m + 1] = b1; out[at + m + 2] = b2; out[at + m + 3] = b3;
      out[at + 2 * m] = c0; out[at + 2 * m + 1] = c1; out[at + 2 * m + 2] = c2; out[at + 2 * m + 3] = c3;
      out[at + 3 * m] = d0; out[at + 3 * m + 1] = d1; out[at + 3 * m + 2] = d2; out[at + 3 * m + 3] = d3;
    }
  }
  for (let t = T4; t < T; t++) { // a single new token comes here
    for (let j = 0; j < m4; j += 4) {
      const [w0, w1, w2, w3] = [j * n, (j + 1) * n, (j + 2) * n, (j + 3) * n];
      let a0 = 0, a1 = 0, a2 = 0, a3 = 0;
      for (let i = 0; i < n; i++) {
        const p = x[t * n + i];
        a0 += p * weight[w0 + i]; a1 += p * weight[w1 + i];
        a2 += p * weight[w2 + i]; a3 += p * weight[w3 + i];
      }
      out[t * m + j] = a0; out[t * m + j + 1] = a1; out[t * m + j + 2] = a2; out[t * m + j + 3] = a3;
    }
  }
  for (let t = 0; t < T; t++) {
    for (let j = m4; j < m; j++) {
      let a = 0;
      for (let i = 0; i < n; i++) a += x[t * n + i] * weight[j * n + i];
      out[t * m + j] = a;
    }
  }
  return out;
}

// x (…, n_in) -> (…, n_out); the weight is (n_out, n_in), as PyTorch keeps it.
export class Linear {
  product = matmul; // simd.js has another one

  constructor(weights, name, n_in) {
    this.weight = weights[`${name}.weight`];
    this.bias = weights[`${name}.bias`]; // undefined where there is none
    this.n_in = n_in;
    this.n_out = this.weight.length / n_in;
  }

  forward(x) {
    const out = this.product(x, this.weight, x.length / this.n_in, this.n_in, this.n_out);
    if (!this.bias) return out;
    for (let at = 0; at < out.length; at += this.n_out) {
      for (let j = 0; j < this.n_out; j++) out[at + j] += this.bias[j];
    }
    return out;
  }
}

// Each row gets mean 0 and variance 1, then a learned scale and shift: (…, C) -> (…, C).
export function layer_norm(x, weight, bias, eps = 1e-5) {
  const C = weight.length;
  const out = new Float32Array(x.length);
  for (let start = 0; start < x.length; start += C) {
    let mean = 0;
    for (let c = 0; c < C; c++) mean += x[start + c] / C;
    let variance = 0;
    for (let c = 0; c < C; c++) variance += (x[start + c] - mean) ** 2 / C;
    const scale = 1 / Math.sqrt(variance + eps);
    for (let c = 0; c < C; c++) {
      out[start + c] = (x[start + c] - mean) * scale * weight[c] + (bias ? bias[c] : 0);
    }
  }
  return out;
}

// The error function to 1.5e-7: M. Abramowitz and I. Stegun, 1964, formula 7.1.26.
export function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const sum = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return Math.sign(x) * (1 - sum * Math.exp(-x * x));
}

// x times the probability that a standard normal number lies below x. GPT-2's form of it is written
// with ½(1 + tanh u); 1 / (1 + exp(-2u)) is the same, and sooner computed.
export function gelu(x, approximate = "tanh") {
  const out = new Float32Array(x.length);
  for (let i = 0; i < x.length; i++) {
    const v = x[i];
    out[i] = approximate === "none"
      ? 0.5 * v * (1 + erf(v * Math.SQRT1_2))
      : v / (1 + Math.exp(-Math.sqrt(8 / Math.PI) * (v + 0.044715 * v * v * v)));
  }
  return out;
}

export class CausalSelfAttention {
  constructor(weights, name, { n_embd, n_head }) {
    this.qkv = new Linear(weights, `${name}.qkv`, n_embd);
    this.project = new Linear(weights, `${name}.project`, n_embd);
    this.n_head = n_head;
    this.off = new Set(); // heads that hand over nothing
  }

  // x (T, C) of the new tokens -> (T, C). The cache holds keys and values of the `past` tokens
  // before them, and their queries, to be looked at. No mask is needed: what comes later is not in
  // the cache yet.
  forward(x, { queries, keys, values }, past) {
    const C = this.qkv.n_in;
    const T = x.length / C;
    const S = past + T;
    const hs = C / this.n_head;
    const qkv = this.qkv.forward(x); // (T, 3 * C): queries, keys, values, each with all heads
    for (let t = 0; t < T; t++) {
      queries.set(qkv.subarray(3 * t * C, (3 * t + 1) * C), (past + t) * C);
      keys.set(qkv.subarray((3 * t + 1) * C, (3 * t + 2) * C), (past + t) * C);
      values.set(qkv.subarray((3 * t + 2) * C, (3 * t + 3) * C), (past + t) * C);
    }
    const out = new Float32Array(T * C);
    const weights = new Float32Array(this.n_head * T * S); // (n_head, T, S)
    this.weights = weights; // kept to be looked at
    const query = new Float64Array(hs);
    const mixed = new Float64Array(hs);
    for (let head = 0; head < this.n_head; head++) {
      for (let t = 0; t < T; t++) {
        const seen = past + t + 1; // a query looks at itself and before
        const row = (head * T + t) * S; // where its weights begin
        for (let i = 0; i < hs; i++) query[i] = qkv[3 * t * C + head * hs + i] / Math.sqrt(hs);
        let best = -Infinity;
        for (let s = 0, k = head * hs; s < seen; s++, k += C) {
          let score = 0;
          for (let i = 0; i < hs; i++) score += query[i] * keys[k + i];
          weights[row + s] = score;
          if (score > best) best = score;
        }
        let total = 0;
        for (let s = 0; s < seen; s++) total += weights[row + s] = Math.exp(weights[row + s] - best);
        mixed.fill(0);
        for (let s = 0, v = head * hs; s < seen; s++, v += C) {
          const share = weights[row + s] /= total;
          for (let i = 0; i < hs; i++) mixed[i] += share * values[v + i];
        }
        if (!this.off.has(head)) out.set(mixed, t * C + head * hs);
      }
    }
    return this.project.forward(out);
  }
}

class FeedForward {
  constructor(weights, name, { n_embd, gelu: form }) {
    this.expand = new Linear(weights, `${name}.expand`, n_embd);
    this.project = new Linear(weights, `${name}.project`, this.expand.n_out);
    this.form = form;
    this.off = false;
  }

  forward(x) {
    if (this.off) return new Float32Array(x.length);
    return this.project.forward(gelu(this.expand.forward(x), this.form)); // (T, C) -> (T, C)
  }
}

class TransformerBlock {
  constructor(weights, name, config) {
    this.attention = new CausalSelfAttention(weights, `${name}.attention`, config);
    this.feed_forward = new FeedForward(weights, `${name}.feed_forward`, config);
    this.norm_1 = (x) => layer_norm(x, weights[`${name}.norm_1.weight`], weights[`${name}.norm_1.bias`]);
    this.norm_2 = (x) => layer_norm(x, weights[`${name}.norm_2.weight`], weights[`${name}.norm_2.bias`]);
    this.norm = config.norm;
  }

  forward(x, cache, past) {
    const join = (x, change) => x.map((v, i) => v + change[i]); // the shortcut
    if (this.norm === "pre") {
      x = join(x, this.attention.forward(this.norm_1(x), cache, past));
      return join(x, this.feed_forward.forward(this.norm_2(x)));
    }
    x = this.norm_1(join(x, this.attention.forward(x, cache, past)));
    return this.norm_2(join(x, this.feed_forward.forward(x)));
  }
}

// Nothing read yet: room for the queries, keys and values of each layer.
export function emptyCache({ context_length, n_layer, n_embd }) {
  const room = () => new Float32Array(context_length * n_embd);
  const layers = Array.from({ length: n_layer }, () => ({ queries: room(), keys: room(), values: room() }));
  return { length: 0, layers };
}

// The vectors of T ids that stand behind `past` others: what the token is, and where -> (T, C).
export function embed({ token_embedding, position_embedding, config: { n_embd: C } }, idx, past) {
  const x = new Float32Array(idx.length * C);
  for (const [t, id] of idx.entries()) {
    for (let c = 0; c < C; c++) {
      x[t * C + c] = token_embedding[id * C + c] + (position_embedding ? position_embedding[(past + t) * C + c] : 0);
    }
  }
  return x;
}

// config: the fields of GPTConfig. weights: Float32Arrays by the names of the PyTorch model.
export class GPT {
  constructor(config, weights) {
    this.config = config;
    this.token_embedding = weights["token_embedding.weight"] ?? weights["head.weight"];
    this.position_embedding = weights["position_embedding.weight"];
    this.blocks = Array.from({ length: config.n_layer }, (_, i) => new TransformerBlock(weights, `blocks.${i}`, config));
    this.final_gain = weights["final_norm.weight"]; // undefined where there is none
    this.final_norm = config.norm === "pre"
      ? (x) => layer_norm(x, this.final_gain, weights["final_norm.bias"])
      : (x) => x; // a post-norm block ends with a norm already
    const head = config.tied ? { "head.weight": this.token_embedding } : weights;
    this.head = new Linear(head, "head", config.n_embd);
  }

  cache() {
    return emptyCache(this.config);
  }

  // idx: T new ids, after the `cache.length` that were read before -> logits (T, V).
  forward(idx, cache = this.cache()) {
    return this.logits(this.read(idx, cache));
  }

  // The same up to the last block's x (T, C), for whoever asks at some places only. What went along
  // the shortcuts stays in `residual`, an x before the first block and after each.
  read(idx, cache = this.cache()) {
    let x = embed(this, idx, cache.length);
    this.residual = [x];
    for (const [i, block] of this.blocks.entries()) {
      x = block.forward(x, cache.layers[i], cache.length);
      this.residual.push(x);
    }
    cache.length += idx.length;
    return x;
  }

  // x (T, C) -> (T, V): what the model would say if it ended here.
  logits(x) {
    return this.head.forward(this.final_norm(x));
  }
}

// Ids that the model writes after `idx`, one by one, as gptlib/generation.py's `stream`.
export function* stream(model, idx, max_new_tokens, settings = {}, random = Math.random) {
  const { context_length, vocab_size } = model.config;
  let cache = model.cache();
  let unread = idx = [...idx];
  for (let n = 0; n < max_new_tokens; n++) {
    if (cache.length + unread.length > context_length) { // full: all places move, so read again
      cache = model.cache();
      unread = idx.slice(-context_length);
    }
    const logits = model.forward(unread, cache).slice(-vocab_size); // (V) after the last token
    const id = sample(nextTokenProbs(logits, settings), random);
    yield id;
    idx.push(id);
    unread = [id];
  }
}

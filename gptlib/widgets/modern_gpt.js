// The GPT of chapter 9 in JavaScript: what gpt.js is for the classic one, with the same faces.
//
// RMSNorm, positions as turns, fewer heads of keys than of queries, a gate in the feed-forward
// network, caps. Experts, sinks and clipped gates are not here; `checkModern` says so.
import { Linear, gelu } from "./gpt.js";

// Each row is brought to a mean square of 1, then scaled: (…, C) -> (…, C).
export function rms_norm(x, weight, eps = 1e-6) {
  const C = weight.length;
  const out = new Float32Array(x.length);
  for (let start = 0; start < x.length; start += C) {
    let square = 0;
    for (let c = 0; c < C; c++) square += x[start + c] ** 2 / C;
    const scale = 1 / Math.sqrt(square + eps);
    for (let c = 0; c < C; c++) out[start + c] = x[start + c] * scale * weight[c];
  }
  return out;
}

// Turn the pairs (i, i + hs / 2) of one head's numbers, which begin at `at`, by the angles of a place.
export function rotate(x, at, hs, place, base) {
  const half = hs / 2;
  for (let i = 0; i < half; i++) {
    const angle = place * Math.fround(base ** (-2 * i / hs)); // the speeds as float32 has them
    const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
    const [a, b] = [x[at + i], x[at + half + i]];
    x[at + i] = a * cos - b * sin;
    x[at + half + i] = a * sin + b * cos;
  }
}

const capped = (score, cap) => (cap ? cap * Math.tanh(score / cap) : score);

class GroupedAttention {
  constructor(weights, name, config, window) {
    this.config = config;
    this.n_head = config.n_head;
    this.window = window ?? Infinity;
    this.qkv = new Linear(weights, `${name}.qkv`, config.n_embd);
    this.project = new Linear(weights, `${name}.project`, config.n_head * config.head_size);
    this.norms = [weights[`${name}.norm_q.weight`], weights[`${name}.norm_k.weight`]]; // or undefined
    this.off = new Set(); // heads that hand over nothing
  }

  // x (T, C) of the new tokens -> (T, C); keys and values of the `past` tokens are in the cache.
  forward(x, { keys, values }, past) {
    const { n_head, n_kv_head, head_size: hs, rope_base, score_cap } = this.config;
    const T = x.length / this.qkv.n_in;
    const S = past + T;
    const row = (n_head + 2 * n_kv_head) * hs; // queries, keys, values of one token
    const kv = n_kv_head * hs;
    const qkv = this.qkv.forward(x); // (T, row)
    for (let t = 0; t < T; t++) {
      for (let head = 0; head < n_head + n_kv_head; head++) {
        const at = t * row + head * hs;
        const norm = this.norms[head < n_head ? 0 : 1];
        if (norm) qkv.set(rms_norm(qkv.subarray(at, at + hs), norm), at);
        rotate(qkv, at, hs, past + t, rope_base);
      }
      const from = t * row + n_head * hs;
      keys.set(qkv.subarray(from, from + kv), (past + t) * kv);
      values.set(qkv.subarray(from + kv, from + 2 * kv), (past + t) * kv);
    }
    const out = new Float32Array(T * n_head * hs);
    const weights = this.weights = new Float32Array(n_head * T * S); // (n_head, T, S), to be looked at
    const mixed = new Float64Array(hs);
    for (let head = 0; head < n_head; head++) {
      const shared = Math.floor(head * n_kv_head / n_head) * hs; // the head of keys that serves it
      for (let t = 0; t < T; t++) {
        const seen = past + t + 1;
        const first = Math.max(0, seen - this.window);
        const place = (head * T + t) * S;
        const q = t * row + head * hs;
        let best = -Infinity;
        for (let s = first; s < seen; s++) {
          let score = 0;
          for (let i = 0; i < hs; i++) score += qkv[q + i] * keys[s * kv + shared + i];
          weights[place + s] = capped(score / Math.sqrt(hs), score_cap);
          best = Math.max(best, weights[place + s]);
        }
        let total = 0;
        for (let s = first; s < seen; s++) total += weights[place + s] = Math.exp(weights[place + s] - best);
        mixed.fill(0);
        for (let s = first; s < seen; s++) {
          const share = weights[place + s] /= total;
          for (let i = 0; i < hs; i++) mixed[i] += share * values[s * kv + shared + i];
        }
        if (!this.off.has(head)) out.set(mixed, (t * n_head + head) * hs);
      }
    }
    return this.project.forward(out);
  }
}

class GatedNetwork {
  constructor(weights, name, { n_embd, hidden, gating }) {
    this.gate = new Linear(weights, `${name}.gate`, n_embd);
    this.expand = new Linear(weights, `${name}.expand`, n_embd);
    this.project = new Linear(weights, `${name}.project`, hidden);
    this.open = gating === "geglu" ? gelu : (x) => x.map((v) => v / (1 + Math.exp(-v)));
    this.off = false;
  }

  forward(x) {
    if (this.off) return new Float32Array(x.length);
    const gate = this.open(this.gate.forward(x)); // (T, H)
    const value = this.expand.forward(x);
    return this.project.forward(value.map((v, i) => v * gate[i])); // (T, H) -> (T, C)
  }
}

class ModernBlock {
  constructor(weights, name, config, window) {
    const norm = (part) => {
      const weight = weights[`${name}.${part}.weight`];
      return weight ? (x) => rms_norm(x, weight) : (x) => x;
    };
    this.attention = new GroupedAttention(weights, `${name}.attention`, config, window);
    this.feed_forward = new GatedNetwork(weights, `${name}.feed_forward`, config);
    [this.norm_1, this.norm_2, this.after_1, this.after_2] = ["norm_1", "norm_2", "after_1", "after_2"].map(norm);
  }

  forward(x, cache, past) {
    const join = (x, change) => x.map((v, i) => v + change[i]); // the shortcut
    x = join(x, this.after_1(this.attention.forward(this.norm_1(x), cache, past)));
    return join(x, this.after_2(this.feed_forward.forward(this.norm_2(x))));
  }
}

// config: the fields of ModernConfig. weights: Float32Arrays by the names of the PyTorch model.
export class ModernGPT {
  constructor(config, weights) {
    this.config = config;
    this.token_embedding = weights["token_embedding.weight"];
    const every = config.full_every ?? config.n_layer + 1; // layers that see all
    this.blocks = Array.from({ length: config.n_layer }, (_, i) =>
      new ModernBlock(weights, `blocks.${i}`, config, (i + 1) % every ? config.window : null));
    this.final_gain = weights["final_norm.weight"];
    this.head = new Linear(config.tied ? { "head.weight": this.token_embedding } : weights, "head", config.n_embd);
  }

  cache() {
    const { context_length, n_layer, n_kv_head, head_size } = this.config;
    const room = () => new Float32Array(context_length * n_kv_head * head_size);
    return { length: 0, layers: Array.from({ length: n_layer }, () => ({ keys: room(), values: room() })) };
  }

  // idx: T new ids, after the `cache.length` that were read before -> logits (T, V).
  forward(idx, cache = this.cache()) {
    const C = this.config.n_embd;
    let x = new Float32Array(idx.length * C);
    for (const [t, id] of idx.entries()) x.set(this.token_embedding.subarray(id * C, (id + 1) * C), t * C);
    this.residual = [x];
    for (const [i, block] of this.blocks.entries()) {
      x = block.forward(x, cache.layers[i], cache.length);
      this.residual.push(x);
    }
    cache.length += idx.length;
    return this.logits(x);
  }

  // x (T, C) -> (T, V): what the model would say if it ended here.
  logits(x) {
    const { logit_cap } = this.config;
    const out = this.head.forward(rms_norm(x, this.final_gain));
    return logit_cap ? out.map((z) => capped(z, logit_cap)) : out;
  }
}

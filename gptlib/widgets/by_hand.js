// The parts of a GPT forward and back, as gptlib/appendix/by_hand.py has them: the same names. What
// the forward pass computed on the way is kept here and not computed again, for a page is in a hurry.
//
// An array is filled, not made: the first argument of a function is what it writes. N = B · T tokens
// in a batch of B texts, C numbers a token, hs = C / n_head numbers a head, V tokens known.
// `multiply` is the product of product.js, `powers` the exponentials of exponentials.js; w and grads are { weight, bias }, a bias may be missing.
import { exp } from "./fast_exp.js";

// The parameters of one part, by its name in the whole: a weight and, where there is one, a bias.
export const inside = (weights, name) => ({ weight: weights[`${name}.weight`], bias: weights[`${name}.bias`] });

// The mean loss in nats of logits (N, V), which become their own gradient: p - y over the number of
// targets that are scored. A target of -1 is not.
export function cross_entropy(logits, targets, V, powers) {
  const scored = targets.reduce((sum, y) => sum + (y >= 0), 0);
  let loss = 0;
  for (let t = 0, at = 0; t < targets.length; t++, at += V) {
    const y = targets[t];
    if (y < 0) { logits.fill(0, at, at + V); continue; }
    let best = -Infinity;
    for (let i = at; i < at + V; i++) if (logits[i] > best) best = logits[i];
    loss += best - logits[at + y];
    const total = powers(logits, at, V, best, 1);
    loss += Math.log(total);
    const share = 1 / total / scored;
    for (let i = at; i < at + V; i++) logits[i] *= share;
    logits[at + y] -= 1 / scored;
  }
  return loss / scored;
}

// A mistake to be seen: probabilities where logits belong, so that softmax is taken twice. The logits
// become their own gradient, as above.
export function cross_entropy_of_softmax(logits, targets, V, powers) {
  for (let at = 0; at < logits.length; at += V) {
    let best = -Infinity;
    for (let i = at; i < at + V; i++) if (logits[i] > best) best = logits[i];
    const share = 1 / powers(logits, at, V, best, 1);
    for (let i = at; i < at + V; i++) logits[i] *= share;
  }
  const p = logits.slice();
  const loss = cross_entropy(logits, targets, V, powers); // of p: the slopes at p
  for (let at = 0; at < p.length; at += V) softmax_back(logits, at, p, at, V, V, 1);
  return loss;
}

// y (N, m) = x (N, n) times the transpose of the weight (m, n), and the bias (m).
export function linear_forward(y, x, { weight, bias }, n, m, multiply) {
  multiply(y, m, x.length / n, m, n, x, n, 1, weight, 1, n);
  if (bias) for (let at = 0; at < y.length; at += m) for (let j = 0; j < m; j++) y[at + j] += bias[j];
}

// Back through it: dy (N, m) -> dx (N, n); the gradients are added to what is there. Aᵀ·B, then A·B.
export function linear_back(dx, dy, x, { weight }, grads, n, m, multiply) {
  const N = x.length / n;
  multiply(grads.weight, n, m, n, N, dy, 1, m, x, n, 1, true);
  if (grads.bias) for (let at = 0; at < dy.length; at += m) for (let j = 0; j < m; j++) grads.bias[j] += dy[at + j];
  multiply(dx, n, N, n, m, dy, m, 1, weight, n, 1);
}

const ROOT = Math.sqrt(2 / Math.PI);

// y = GELU(x), and its slope at x, any shape: both need the same exponential. The error function is
// that of gpt.js, to 1.5e-7; its bell, e to the power of -x²/2, is made in the place of the slope.
export function gelu_forward(y, slope, x, approximate, powers) {
  if (approximate === "none") {
    for (let i = 0; i < x.length; i++) slope[i] = -x[i] * x[i] / 2;
    powers(slope, 0, x.length, 0, 1);
    for (let i = 0; i < x.length; i++) {
      const v = x[i], bell = slope[i] / 2, t = 1 / (1 + 0.3275911 * Math.SQRT1_2 * Math.abs(v));
      const tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t * bell;
      const below = v < 0 ? tail : 1 - tail; // the probability that a standard normal number lies below v
      y[i] = v * below;
      slope[i] = below + v * bell * ROOT;
    }
    return;
  }
  for (let i = 0; i < x.length; i++) {
    const v = x[i], share = 1 / (1 + exp(-2 * ROOT * (v + 0.044715 * v * v * v))); // ½(1 + tanh u)
    y[i] = v * share;
    slope[i] = share + 2 * v * share * (1 - share) * ROOT * (1 + 3 * 0.044715 * v * v);
  }
}

// Back through GELU, in place: dy times the slope.
export function gelu_back(dy, slope) {
  for (let i = 0; i < dy.length; i++) dy[i] *= slope[i];
}

// The first `seen` of the numbers from `at` on become their softmax, once they are scaled; the rest,
// up to `end`, is behind the mask: 0.
export function softmax_forward(p, at, seen, end, scale, powers) {
  const whole = Math.min(end - at, Math.ceil(seen / 4) * 4); // four are as quick as one
  let best = -Infinity;
  for (let i = at; i < at + seen; i++) if (p[i] > best) best = p[i];
  for (let i = at + seen; i < at + whole; i++) p[i] = -Infinity;
  const share = 1 / powers(p, at, whole, best, scale);
  for (let i = at; i < at + seen; i++) p[i] *= share;
  for (let i = at + seen; i < end; i++) p[i] = 0;
}

// Back through it, in place: dp, `seen` numbers from `to` on, with those of p from `at` on.
export function softmax_back(dp, to, p, at, seen, end, scale) {
  let mean = 0;
  for (let i = 0; i < seen; i++) mean += dp[to + i] * p[at + i];
  for (let i = 0; i < seen; i++) dp[to + i] = p[at + i] * (dp[to + i] - mean) * scale;
  for (let i = seen; i < end; i++) dp[to + i] = 0;
}

// Each row of x (N, C) with mean 0 and variance 1, then scaled and shifted. `stats` (2 · N) keeps
// the mean of each row, and 1 over its spread.
export function layer_norm_forward(y, stats, x, { weight, bias }, eps = 1e-5) {
  const C = weight.length;
  for (let t = 0, at = 0; at < x.length; t++, at += C) {
    let mean = 0, variance = 0;
    for (let c = 0; c < C; c++) mean += x[at + c];
    mean /= C;
    for (let c = 0; c < C; c++) variance += (x[at + c] - mean) ** 2;
    const over = 1 / Math.sqrt(variance / C + eps);
    for (let c = 0; c < C; c++) y[at + c] = (x[at + c] - mean) * over * weight[c] + (bias ? bias[c] : 0);
    stats[2 * t] = mean;
    stats[2 * t + 1] = over;
  }
}

// Back through it: the gradient of x is added to dx, where the shortcut's waits already.
export function layer_norm_back(dx, dy, stats, x, { weight }, grads) {
  const C = weight.length;
  for (let t = 0, at = 0; at < x.length; t++, at += C) {
    const mean = stats[2 * t], over = stats[2 * t + 1];
    let through_mean = 0, through_std = 0;
    for (let c = 0; c < C; c++) {
      const z = (x[at + c] - mean) * over, dz = dy[at + c] * weight[c];
      grads.weight[c] += dy[at + c] * z;
      if (grads.bias) grads.bias[c] += dy[at + c];
      through_mean += dz;
      through_std += dz * z;
    }
    through_mean /= C;
    through_std /= C;
    for (let c = 0; c < C; c++) {
      const z = (x[at + c] - mean) * over;
      dx[at + c] += (dy[at + c] * weight[c] - through_mean - z * through_std) * over;
    }
  }
}

// The heads of a layer: qkv (N, 3C) -> merged (N, C), and p (B, n_head, T, T), who looks where.
// `masked` false lets every token look at what comes later, a mistake to be seen.
export function attention_forward(merged, p, qkv, { T, C, n_head, masked }, { multiply, powers }) {
  const hs = C / n_head, scale = 1 / Math.sqrt(hs);
  for (let pair = 0; pair < p.length / (T * T); pair++) { // a text and a head
    const [from, to] = placesOf(pair, T, C, n_head);
    const [q, k, v] = [0, C, 2 * C].map((part) => qkv.subarray(from + part));
    const looks = p.subarray(pair * T * T, (pair + 1) * T * T);
    multiply(looks, T, T, T, hs, q, 3 * C, 1, k, 1, 3 * C); // A·Bᵀ: (T, hs) @ (hs, T)
    for (let t = 0; t < T; t++) softmax_forward(looks, t * T, masked ? t + 1 : T, (t + 1) * T, scale, powers);
    multiply(merged.subarray(to), C, T, hs, T, looks, T, 1, v, 3 * C, 1);
  }
}

// Back through the heads: d_merged (N, C) -> d_qkv (N, 3C). d_p: room for (T, T).
export function attention_back(d_qkv, d_p, d_merged, p, qkv, { T, C, n_head, masked }, multiply) {
  const hs = C / n_head, scale = 1 / Math.sqrt(hs);
  for (let pair = 0; pair < p.length / (T * T); pair++) {
    const [from, to] = placesOf(pair, T, C, n_head);
    const [q, k, v] = [0, C, 2 * C].map((part) => qkv.subarray(from + part));
    const [d_q, d_k, d_v] = [0, C, 2 * C].map((part) => d_qkv.subarray(from + part));
    const looks = p.subarray(pair * T * T, (pair + 1) * T * T), d_out = d_merged.subarray(to);
    multiply(d_v, 3 * C, T, hs, T, looks, 1, T, d_out, C, 1); // Aᵀ·B
    multiply(d_p, T, T, T, hs, d_out, C, 1, v, 1, 3 * C); // A·Bᵀ
    for (let t = 0; t < T; t++) softmax_back(d_p, t * T, looks, t * T, masked ? t + 1 : T, T, scale);
    multiply(d_q, 3 * C, T, hs, T, d_p, T, 1, k, 3 * C, 1); // A·B
    multiply(d_k, 3 * C, T, hs, T, d_p, 1, T, q, 3 * C, 1); // Aᵀ·B
  }
}

// A mistake to be seen: heads by `reshape` without `transpose`. Of each text's (T, C) numbers head 0
// takes the first T · hs in a row, and so on: a part of the tokens in the place of a part of each
// token. qkv (N, 3C) from `from`, in the order in which the sound reading finds them; `back` undoes it.
export function muddle(to, from, { T, C, n_head }, back) {
  const hs = C / n_head;
  for (let row = 0; row < from.length / (3 * C); row++) {
    const t = row % T, first = row - t;
    for (let head = 0; head < n_head; head++) {
      const place = head * T + t, wrong = 3 * C * (first + Math.floor(place / n_head)) + hs * (place % n_head);
      const right = 3 * C * row + hs * head;
      for (let part = 0; part < 3 * C; part += C) {
        for (let d = 0; d < hs; d++) {
          if (back) to[wrong + part + d] = from[right + part + d];
          else to[right + part + d] = from[wrong + part + d];
        }
      }
    }
  }
}

// Where a text's head begins in qkv (N, 3C) and in merged (N, C).
function placesOf(pair, T, C, n_head) {
  const text = Math.floor(pair / n_head), head = pair % n_head;
  return [(3 * text * T * C) + head * (C / n_head), text * T * C + head * (C / n_head)];
}

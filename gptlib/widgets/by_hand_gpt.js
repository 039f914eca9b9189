// The whole GPT forward and back, by the parts of by_hand.js, with the names of by_hand.py.
import { attention_back, attention_forward, cross_entropy, cross_entropy_of_softmax, gelu_back, gelu_forward, inside, layer_norm_back, layer_norm_forward, linear_back, linear_forward, muddle } from "./by_hand.js";
import { exponentialsPlainly, rowOfPowers } from "./exponentials.js";
import { shapesOf } from "./model_file.js";
import { workshop } from "./product.js";

const product = (shape) => shape.reduce((all, n) => all * n, 1);
// A mask, heads that are cut out of the right numbers, and one softmax: all may be spoilt to be seen.
export const SOUND = { masked: true, muddled: false, twice: false };
const FLAT = ["weights", "grads", "means", "squares"]; // each all parameters in one row

// Room for the training of a GPT, all of it at once: { weights, grads, means, squares } by name and
// as one row each (`flat`), what a step keeps, `multiply`, `shapes`, `bytes`. config: as GPTConfig,
// pre-norm and without dropout; batch_size texts of context_length tokens.
export function roomFor(config, batch_size) {
  if (config.norm && config.norm !== "pre") throw new Error("The page trains models with norm \"pre\" only.");
  if (config.dropout) throw new Error("The page trains without dropout.");
  const { vocab_size: V, context_length: T, n_layer, n_head, n_embd: C } = config;
  const N = batch_size * T, shapes = shapesOf(config);
  const count = Object.values(shapes).reduce((sum, shape) => sum + product(shape), 0);
  const lengths = Object.fromEntries(FLAT.map((name) => [name, count]));
  const ofBlock = {
    x: N * C, normed_1: N * C, stats_1: 2 * N, qkv: 3 * N * C, p: batch_size * n_head * T * T, merged: N * C,
    middle: N * C, normed_2: N * C, stats_2: 2 * N, wide: 4 * N * C, bent: 4 * N * C, slope: 4 * N * C,
  };
  for (let i = 0; i < n_layer; i++) {
    for (const [name, length] of Object.entries(ofBlock)) lengths[`${i}.${name}`] = length;
  }
  Object.assign(lengths, {
    x: N * C, normed: N * C, stats: 2 * N, logits: N * V, // behind the blocks
    dx: N * C, d_normed: N * C, d_wide: 4 * N * C, d_qkv: 3 * N * C, d_merged: N * C, d_p: T * T,
    orth_x: 4 * C * C, orth_y: 4 * C * C, orth_square: C * C, orth_mixed: C * C, // for muon.js
  });
  const widest = Math.max(C * V, 4 * C * N, T * T, 4 * C * C) + 8 * Math.max(V, N, 4 * C);
  const numbers = Object.values(lengths).reduce((sum, n) => sum + n + 4, 16);
  const { take, memory, ...made } = workshop(numbers, widest, Math.max(N, V, 4 * C));
  made.powers = memory ? rowOfPowers(memory, take(8)) : exponentialsPlainly;
  const arrays = Object.fromEntries(Object.entries(lengths).map(([name, n]) => [name, take(n)]));
  const blocks = Array.from({ length: n_layer }, (_, i) =>
    Object.fromEntries(Object.keys(ofBlock).map((name) => [name, arrays[`${i}.${name}`]])));
  const flat = Object.fromEntries(FLAT.map((name) => [name, arrays[name]]));
  const named = Object.fromEntries(FLAT.map((name) => [name, cut(arrays[name], shapes)]));
  return { ...made, ...named, flat, arrays, blocks, shapes, config, size: { T, C, V, n_head, ...SOUND } };
}

// One row of numbers as the parameters that lie in it, by name.
function cut(row, shapes) {
  let at = 0;
  return Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, row.subarray(at, at += product(shape))]));
}

// The logits (N, V) of a batch of ids (N), in room.arrays.logits; what the way back needs is kept.
export function gpt_forward(idx, room) {
  const { weights, arrays, blocks, multiply, config, size: { T, C, V } } = room;
  const tokens = weights["token_embedding.weight"], positions = weights["position_embedding.weight"];
  const first = blocks[0]?.x ?? arrays.x;
  for (let t = 0; t < idx.length; t++) {
    const at = t * C, row = idx[t] * C, place = (t % T) * C;
    for (let c = 0; c < C; c++) first[at + c] = tokens[row + c] + positions[place + c];
  }
  blocks.forEach((kept, i) => block_forward(blocks[i + 1]?.x ?? arrays.x, kept, `blocks.${i}`, room));
  layer_norm_forward(arrays.normed, arrays.stats, arrays.x, inside(weights, "final_norm"));
  linear_forward(arrays.logits, arrays.normed, { weight: weights[headOf(config)] }, C, V, multiply);
  return arrays.logits;
}

const headOf = (config) => (config.tied === false ? "head.weight" : "token_embedding.weight");

// One block: kept.x (N, C) -> out (N, C).
export function block_forward(out, kept, name, { weights, arrays, multiply, powers, config, size }) {
  const { C } = size, w = (part) => inside(weights, `${name}.${part}`);
  layer_norm_forward(kept.normed_1, kept.stats_1, kept.x, w("norm_1"));
  linear_forward(size.muddled ? arrays.d_qkv : kept.qkv, kept.normed_1, w("attention.qkv"), C, 3 * C, multiply);
  if (size.muddled) muddle(kept.qkv, arrays.d_qkv, size, false);
  attention_forward(kept.merged, kept.p, kept.qkv, size, { multiply, powers });
  linear_forward(kept.middle, kept.merged, w("attention.project"), C, C, multiply);
  join(kept.middle, kept.x); // the shortcut
  layer_norm_forward(kept.normed_2, kept.stats_2, kept.middle, w("norm_2"));
  linear_forward(kept.wide, kept.normed_2, w("feed_forward.expand"), C, 4 * C, multiply);
  gelu_forward(kept.bent, kept.slope, kept.wide, config.gelu ?? "tanh", powers);
  linear_forward(out, kept.bent, w("feed_forward.project"), 4 * C, C, multiply);
  join(out, kept.middle);
}

function join(x, other) {
  for (let i = 0; i < x.length; i++) x[i] += other[i];
}

// Back through a block: arrays.dx (N, C), in place; the gradients of its weights are added.
export function block_back(kept, name, { weights, grads, arrays, multiply, size }) {
  const { C } = size, { dx, d_normed, d_wide, d_qkv, d_merged, d_p } = arrays;
  const of = (part) => [inside(weights, `${name}.${part}`), inside(grads, `${name}.${part}`)];
  linear_back(d_wide, dx, kept.bent, ...of("feed_forward.project"), 4 * C, C, multiply);
  gelu_back(d_wide, kept.slope);
  linear_back(d_normed, d_wide, kept.normed_2, ...of("feed_forward.expand"), C, 4 * C, multiply);
  layer_norm_back(dx, d_normed, kept.stats_2, kept.middle, ...of("norm_2")); // dx came by the shortcut
  linear_back(d_merged, dx, kept.merged, ...of("attention.project"), C, C, multiply);
  attention_back(d_qkv, d_p, d_merged, kept.p, kept.qkv, size, multiply);
  if (size.muddled) muddle(kept.qkv, d_qkv, size, true);
  linear_back(d_normed, size.muddled ? kept.qkv : d_qkv, kept.normed_1, ...of("attention.qkv"), C, 3 * C, multiply);
  layer_norm_back(dx, d_normed, kept.stats_1, kept.x, ...of("norm_1"));
}

// Back into the two tables: a row that was looked up three times gets three gradients.
export function tables_back(dx, idx, grads, T, C) {
  const tokens = grads["token_embedding.weight"], positions = grads["position_embedding.weight"];
  for (let t = 0; t < idx.length; t++) {
    const at = t * C, row = idx[t] * C, place = (t % T) * C;
    for (let c = 0; c < C; c++) {
      tokens[row + c] += dx[at + c];
      positions[place + c] += dx[at + c];
    }
  }
}

// The loss of a batch, idx and targets (N), and its gradient for every weight, which is added to
// what stands in room.grads: fill them with 0 before, or forget it and see what happens.
export function gpt_back(idx, targets, room) {
  const { weights, grads, arrays, blocks, multiply, config, size: { T, C, V } } = room;
  const mean_loss = room.size.twice ? cross_entropy_of_softmax : cross_entropy;
  const loss = mean_loss(gpt_forward(idx, room), targets, V, room.powers); // the logits are their gradient now
  const head = headOf(config);
  linear_back(arrays.d_normed, arrays.logits, arrays.normed, { weight: weights[head] }, { weight: grads[head] }, C, V, multiply);
  arrays.dx.fill(0);
  layer_norm_back(arrays.dx, arrays.d_normed, arrays.stats, arrays.x, inside(weights, "final_norm"), inside(grads, "final_norm"));
  for (let i = blocks.length - 1; i >= 0; i--) block_back(blocks[i], `blocks.${i}`, room);
  tables_back(arrays.dx, idx, grads, T, C);
  return loss;
}

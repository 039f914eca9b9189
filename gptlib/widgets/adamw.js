// From gradients to an update: clipping, the learning rate and AdamW, as gptlib/training.py,
// gptlib/recipe.py and gptlib/appendix/by_hand.py have them; and the weights before the first step.

// The length of all gradients together, (n) in one row.
export function lengthOf(grads) {
  let sum = 0;
  for (let i = 0; i < grads.length; i++) sum += grads[i] * grads[i];
  return Math.sqrt(sum);
}

// The learning rate of update number `step`, from 1: it climbs, then falls along half a cosine. With
// a `hold` it stays at its height for that share of the way, and falls in a straight line.
export function learning_rate(step, { steps, lr, min_lr_ratio = 0.1, warmup_steps = null, hold = null }) {
  const warmup = warmup_steps ?? Math.min(100, Math.floor(steps / 10));
  if (step < warmup) return lr * step / warmup;
  const progress = Math.min(1, (step - warmup) / Math.max(1, steps - warmup));
  const share = hold == null ? 0.5 * (1 + Math.cos(Math.PI * progress)) : Math.min(1, (1 - progress) / (1 - hold));
  return lr * (min_lr_ratio + share * (1 - min_lr_ratio));
}

// One update of room.weights, after clipping; step counts from 1. recipe: lr (of this step), betas,
// weight_decay (of matrices alone) and grad_clip (null for none), as a TrainConfig has them; `left`: the
// names of those that are left where they are. Returns { grad_norm, shorter, ratios }: the length before
// clipping, what clipping makes of it, and by name the length of each weight's update over its own.
export function adamw_step(room, step, { lr, betas: [beta_1, beta_2] = [0.9, 0.95], weight_decay, grad_clip = 1 }, left = []) {
  const grad_norm = lengthOf(room.flat.grads);
  const shorter = grad_clip === null ? 1 : Math.min(1, grad_clip / (grad_norm + 1e-6));
  const [first, second] = [1 - beta_1 ** step, 1 - beta_2 ** step]; // averages that began at 0 are too small at first
  const ratios = {};
  for (const [name, shape] of Object.entries(room.shapes)) {
    if (left.includes(name)) { ratios[name] = 0; continue; }
    const w = room.weights[name], grad = room.grads[name], mean = room.means[name], square = room.squares[name];
    const kept = shape.length > 1 ? 1 - lr * weight_decay : 1;
    let moved = 0, before = 0;
    for (let i = 0; i < w.length; i++) {
      const g = grad[i] * shorter, m = mean[i] + (1 - beta_1) * (g - mean[i]), s = square[i] + (1 - beta_2) * (g * g - square[i]);
      const old = w[i], change = lr * m / first / (Math.sqrt(s / second) + 1e-8);
      mean[i] = m;
      square[i] = s;
      w[i] = old * kept - change;
      before += old * old;
      moved += (w[i] - old) ** 2;
    }
    ratios[name] = Math.sqrt(moved / (before || 1));
  }
  return { grad_norm, shorter, ratios };
}

// Weights as GPT-2 starts: normal, 0.02 wide, projections into the residual stream narrower, biases
// 0, scales of a norm 1; positions as waves where the configuration says so. `random()` in [0, 1).
export function init_gpt2({ weights, shapes, config }, random) {
  for (const [name, shape] of Object.entries(shapes)) {
    const spread = 0.02 * (name.endsWith("project.weight") ? (2 * config.n_layer) ** -0.5 : 1);
    const value = shape.length > 1 ? () => spread * normal(random) : () => (name.endsWith("bias") ? 0 : 1);
    for (let i = 0; i < weights[name].length; i++) weights[name][i] = value();
  }
  if (config.waves) waves(weights["position_embedding.weight"], config);
}

// A number from the standard normal distribution (G. Box and M. Muller, 1958).
const normal = (random) => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

// Sines and cosines of slower and slower waves, as gptlib.gpt.waves, a twelfth as high.
function waves(table, { n_embd: C }) {
  const pairs = Math.floor((C + 1) / 2);
  for (let i = 0; i < table.length; i++) {
    const place = Math.floor(i / C), pair = Math.floor((i % C) / 2), angle = place * 1000 ** (-pair / pairs);
    table[i] = 0.08 * (i % C % 2 ? Math.cos(angle) : Math.sin(angle));
  }
}

// A stack of layers with its forward and its backward pass: linear, activation, norm, shortcut.
// Numbers are 64-bit; rows are examples: (B, C). signal_explorer.py builds the same from PyTorch's
// parts, and a test holds the two together, every gradient included.
import { exp } from "./fast_exp.js";
import { workshop } from "./product.js";
import { randomNumbers } from "./sampling.js";

const LAYERS = 64; // as many as the face allows
export const CLASSES = 4; // example i belongs to class i mod 4
export const RATES = { adam: 0.003, sgd: 0.1 };
const EPS = 1e-5;

// n numbers of the bell curve, from place `offset` of the seed's stream on (Box and Muller's way).
export function normals(seed, offset, n) {
  const random = randomNumbers((seed + Math.imul(offset, 0x6d2b79f5)) >>> 0);
  const found = new Float64Array(n);
  for (let i = 0; i < n; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - random()));
    const angle = 2 * Math.PI * random();
    found[i] = radius * Math.cos(angle);
    found[i + 1] = radius * Math.sin(angle);
  }
  return found;
}

// Room for a stack of this width; layers are added as they are needed, and used again. Batch and
// width are multiples of 4. What is multiplied lies where the fast product finds it.
export function room({ width, batch, seed }) {
  const size = batch * width;
  const numbers = LAYERS * (2 * width * (width + 2 * batch + 3) + 1) + 8 * size + 4096;
  const { take, multiply } = workshop(numbers, width * Math.max(width, batch, CLASSES), Math.max(width, batch), 64);
  const x = take(size);
  x.set(normals(seed, 0, size));
  return {
    width, batch, seed, take, multiply, x,
    layers: [],
    fresh: 0, // so many layers are as they were before any step, weights aside
    dx: take(size),
    firstHead: normals(seed, size, CLASSES * width).map((v) => v / Math.sqrt(width)),
    head: parameters(take, { weight: CLASSES * width, bias: CLASSES }),
    logits: take(batch * CLASSES),
    dLogits: take(batch * CLASSES),
    du: take(size), // what comes back through a linear layer
    back: take(size),
  };
}

// Each parameter with its gradient, and the two averages that Adam keeps.
function parameters(take, sizes) {
  return Object.fromEntries(Object.entries(sizes).map(([name, n]) => [name, {
    value: take(n), gradient: take(n),
    mean: new Float64Array(n), square: new Float64Array(n),
  }]));
}

function layerOf(stack, l) {
  const { width, batch, seed, layers, take } = stack;
  while (layers.length <= l) {
    const offset = (batch + CLASSES) * width + layers.length * width * width;
    const square = () => take(batch * width);
    layers.push({
      first: normals(seed, offset, width * width), // its weights on the first day, at gain 1 times √C
      ...parameters(take, { weight: width * width, bias: width, scale: width, shift: width }),
      u: square(), sum: square(), out: square(), dOut: square(),
      slope: new Float64Array(batch * width), normed: new Float64Array(batch * width),
      perSize: new Float64Array(batch),
    });
  }
  return layers[l];
}

// Weights as they are before the first step: matrices of size gain/√C, no biases, norms without effect.
export function start(stack, { depth, gain }) {
  const factor = gain / Math.sqrt(stack.width);
  for (let l = 0; l < depth; l++) {
    const { first, weight: { value } } = layerOf(stack, l);
    for (let i = 0; i < value.length; i++) value[i] = factor * first[i];
  }
  for (let l = stack.fresh; l < depth; l++) { // what a step has moved
    const { weight, bias, scale, shift } = stack.layers[l];
    bias.value.fill(0); scale.value.fill(1); shift.value.fill(0);
    for (const one of [weight, bias, scale, shift]) { one.mean.fill(0); one.square.fill(0); }
  }
  stack.fresh = Math.max(stack.fresh, depth);
  stack.head.weight.value.set(stack.firstHead); stack.head.bias.value.fill(0);
  for (const one of Object.values(stack.head)) { one.mean.fill(0); one.square.fill(0); }
}

function tanh(x) {
  if (x < 0.02 && x > -0.02) { // keeps the digits of tiny numbers
    const q = x * x;
    return x * (1 - q * (1 / 3 - q * (2 / 15)));
  }
  return 1 - 2 / (exp(2 * x) + 1);
}

// The form of GELU that GPT-2 has: x · ½(1 + tanh u) is x / (1 + exp(-2u)).
const ROOT = 2 * Math.sqrt(2 / Math.PI);

// y = activation(y) in place; its slope at each number is left in `slope`.
export function activate(kind, y, slope) {
  const n = y.length;
  if (kind === "none") slope.fill(1);
  if (kind === "relu") {
    for (let i = 0; i < n; i++) { slope[i] = y[i] > 0 ? 1 : 0; y[i] = y[i] > 0 ? y[i] : 0; }
  }
  if (kind === "tanh") {
    for (let i = 0; i < n; i++) { const t = tanh(y[i]); y[i] = t; slope[i] = 1 - t * t; }
  }
  if (kind === "gelu") {
    for (let i = 0; i < n; i++) {
      const x = y[i], q = 0.044715 * x * x;
      const share = 1 / (1 + exp(-ROOT * x * (1 + q))), out = x * share;
      y[i] = out;
      slope[i] = share + out * (1 - share) * ROOT * (1 + 3 * q);
    }
  }
}

// Each row to mean 0 and variance 1, then scale and shift. RMSNorm leaves the mean, and does not shift.
function normalise(layer, x, out, width, kind) {
  const { normed, perSize } = layer;
  const scale = layer.scale.value, shift = layer.shift.value;
  for (let b = 0; b < perSize.length; b++) {
    let mean = 0, square = 0;
    const from = b * width, to = from + width;
    if (kind !== "rms") for (let i = from; i < to; i++) mean += x[i];
    mean /= width;
    for (let i = from; i < to; i++) { const d = x[i] - mean; square += d * d; }
    const r = 1 / Math.sqrt(square / width + EPS);
    perSize[b] = r;
    for (let i = from, c = 0; i < to; i++, c++) {
      const y = (x[i] - mean) * r;
      normed[i] = y;
      out[i] = y * scale[c] + shift[c];
    }
  }
}

// The gradient on its way back through a norm: from dOut to dIn; it may be the same array.
function normaliseBack(layer, dOut, dIn, width, kind) {
  const { normed, perSize } = layer;
  const scale = layer.scale.value, dScale = layer.scale.gradient, dShift = layer.shift.gradient;
  dScale.fill(0); dShift.fill(0);
  for (let b = 0; b < perSize.length; b++) {
    let mean = 0, along = 0;
    const from = b * width, to = from + width, r = perSize[b];
    for (let i = from, c = 0; i < to; i++, c++) {
      const d = dOut[i], y = normed[i], g = d * scale[c];
      dScale[c] += d * y; dShift[c] += d;
      mean += g; along += g * y;
    }
    mean = kind === "rms" ? 0 : mean / width;
    along /= width;
    for (let i = from, c = 0; i < to; i++, c++) dIn[i] = r * (dOut[i] * scale[c] - mean - normed[i] * along);
  }
}

function addBias(y, bias, width) {
  for (let from = 0; from < y.length; from += width) for (let c = 0; c < width; c++) y[from + c] += bias[c];
}

// Four columns at a time: their sums stay out of the memory until they are whole.
function sumRows(dy, into, width) {
  for (let c = 0; c < width; c += 4) {
    let p = 0, q = 0, r = 0, s = 0;
    for (let i = c; i < dy.length; i += width) { p += dy[i]; q += dy[i + 1]; r += dy[i + 2]; s += dy[i + 3]; }
    into[c] = p; into[c + 1] = q; into[c + 2] = r; into[c + 3] = s;
  }
}

// From the examples to the loss: how much there is to learn, and how many are right.
export function forward(stack, { depth, activation, norm, norm_kind, shortcut }) {
  const { width: C, batch: B, multiply } = stack;
  let x = stack.x;
  for (let l = 0; l < depth; l++) {
    const layer = layerOf(stack, l);
    const y = norm === "post" ? layer.sum : layer.out;
    if (norm === "pre") normalise(layer, x, layer.u, C, norm_kind); else layer.u.set(x);
    multiply(y, C, B, C, C, layer.u, C, 1, layer.weight.value, 1, C); // u (B, C) @ weight.T
    addBias(y, layer.bias.value, C);
    activate(activation, y, layer.slope);
    if (shortcut) for (let i = 0; i < y.length; i++) y[i] += x[i];
    if (norm === "post") normalise(layer, y, layer.out, C, norm_kind);
    x = layer.out;
  }
  const { head, logits, dLogits } = stack;
  multiply(logits, CLASSES, B, CLASSES, C, x, C, 1, head.weight.value, 1, C);
  addBias(logits, head.bias.value, CLASSES);
  let loss = 0, right = 0;
  for (let b = 0; b < B; b++) {
    const row = logits.subarray(b * CLASSES, (b + 1) * CLASSES);
    const best = Math.max(...row);
    let total = 0;
    for (const z of row) total += Math.exp(z - best);
    const target = b % CLASSES;
    loss += (best + Math.log(total) - row[target]) / B;
    right += row[target] === best ? 1 : 0;
    for (let c = 0; c < CLASSES; c++) { // p − y, the mean over the batch
      dLogits[b * CLASSES + c] = (Math.exp(row[c] - best) / total - (c === target ? 1 : 0)) / B;
    }
  }
  return { loss, right };
}

// The way back: the gradient of the loss at every layer's output and at every parameter.
export function backward(stack, { depth, norm, norm_kind, shortcut }) {
  const { width: C, batch: B, head, dLogits, du, back, multiply } = stack;
  const outOf = (l) => (l < 0 ? stack.x : stack.layers[l].out);
  const gradientAt = (l) => (l < 0 ? stack.dx : stack.layers[l].dOut);
  multiply(head.weight.gradient, C, CLASSES, C, B, dLogits, 1, CLASSES, outOf(depth - 1), C, 1);
  sumRows(dLogits, head.bias.gradient, CLASSES);
  multiply(gradientAt(depth - 1), C, B, C, CLASSES, dLogits, CLASSES, 1, head.weight.value, C, 1);
  for (let l = depth - 1; l >= 0; l--) {
    const layer = stack.layers[l], below = gradientAt(l - 1);
    const { slope, dOut } = layer;
    if (norm === "post") normaliseBack(layer, dOut, back, C, norm_kind);
    const along = norm === "post" ? back : dOut; // what comes to the plus sign
    if (shortcut) below.set(along);
    for (let i = 0; i < back.length; i++) back[i] = along[i] * slope[i];
    multiply(layer.weight.gradient, C, C, C, B, back, 1, C, layer.u, C, 1); // (C, B) @ (B, C)
    sumRows(back, layer.bias.gradient, C);
    const through = shortcut ? du : below;
    multiply(through, C, B, C, C, back, C, 1, layer.weight.value, C, 1); // (B, C) @ weight (C, C)
    if (norm === "pre") normaliseBack(layer, through, through, C, norm_kind);
    if (shortcut) for (let i = 0; i < du.length; i++) below[i] += du[i];
  }
}

function trained(stack, { depth, norm, norm_kind }) {
  const names = ["weight", "bias", ...(norm === "none" ? [] : norm_kind === "rms" ? ["scale"] : ["scale", "shift"])];
  return [stack.head.weight, stack.head.bias,
    ...stack.layers.slice(0, depth).flatMap((layer) => names.map((name) => layer[name]))];
}

// Step number t, from 1 on, along the gradients that `backward` has left.
export function step(stack, settings, t) {
  stack.fresh = 0;
  const lr = settings.lr ?? RATES[settings.optimizer];
  for (const { value, gradient, mean, square } of trained(stack, settings)) {
    if (settings.optimizer === "sgd") {
      for (let i = 0; i < value.length; i++) value[i] -= lr * gradient[i];
      continue;
    }
    const once = 1 - 0.9 ** t, twice = Math.sqrt(1 - 0.999 ** t);
    for (let i = 0; i < value.length; i++) {
      const g = gradient[i];
      const m = mean[i] = 0.9 * mean[i] + 0.1 * g;
      const v = square[i] = 0.999 * square[i] + 0.001 * g * g;
      value[i] -= (lr / once) * m / (Math.sqrt(v) / twice + 1e-8);
    }
  }
}

// What is to be seen of a heap of numbers ---------------------------------------------------------

// The root of the mean square. Four sums grow side by side: one alone waits for each addition.
export function sizeOf(numbers) {
  let a = 0, b = 0, c = 0, d = 0, i = 0;
  for (; i + 3 < numbers.length; i += 4) {
    const p = numbers[i], q = numbers[i + 1], r = numbers[i + 2], s = numbers[i + 3];
    a += p * p; b += q * q; c += r * r; d += s * s;
  }
  for (; i < numbers.length; i++) a += numbers[i] * numbers[i];
  return Math.sqrt((a + b + c + d) / numbers.length);
}

// How far the rows lie from their mean row: the same measure, so that both fit on one axis. The
// width is a multiple of 4, and four columns are taken at a time.
export function rowsDiffer(numbers, width) {
  const rows = numbers.length / width;
  let sum = 0;
  for (let c = 0; c < width; c += 4) {
    let m = 0, n = 0, o = 0, p = 0;
    for (let i = c; i < numbers.length; i += width) {
      m += numbers[i]; n += numbers[i + 1]; o += numbers[i + 2]; p += numbers[i + 3];
    }
    m /= rows; n /= rows; o /= rows; p /= rows;
    for (let i = c; i < numbers.length; i += width) {
      const u = numbers[i] - m, v = numbers[i + 1] - n, w = numbers[i + 2] - o, x = numbers[i + 3] - p;
      sum += u * u + v * v + w * w + x * x;
    }
  }
  return Math.sqrt(sum / numbers.length);
}

export const SIZE_BINS = 512;

// How many of a Float32Array or Float64Array have which size: two bins for each doubling, from
// 2^-127 on, read off the bits of the number itself, which is faster than a logarithm. What is
// smaller is in bin 0, what is larger in the last. `every`: 2 counts every second number.
export function sizesCounted(numbers, counts = new Uint32Array(SIZE_BINS), every = 1) {
  const double = numbers.BYTES_PER_ELEMENT === 8;
  const words = new Int32Array(numbers.buffer, numbers.byteOffset, numbers.byteLength / 4);
  const [first, step, shift, zero] = double ? [1, 2, 19, 2 * (1023 - 127)] : [0, 1, 22, 0];
  counts.fill(0);
  for (let i = first; i < words.length; i += step * every) {
    const bin = ((words[i] & 0x7fffffff) >> shift) - zero; // whole numbers with a sign throughout: fast
    counts[bin < 0 ? 0 : bin < SIZE_BINS ? bin : SIZE_BINS - 1] += 1;
  }
  return counts;
}

// Where a bin of `sizesCounted` begins. Powers are dear: they are worked out once.
const BEGINS = Float64Array.from({ length: SIZE_BINS + 1 }, (_, bin) => 2 ** ((bin >> 1) - 127) * (1 + (bin & 1) / 2));
export const sizeBin = (bin) => BEGINS[bin];

// How many of the numbers lie where, from -limit to limit; the outermost bins take what lies beyond.
export function counted(numbers, limit, bins = 41) {
  const counts = new Uint32Array(bins);
  for (let i = 0; i < numbers.length; i++) {
    const at = Math.floor(((numbers[i] + limit) / (2 * limit)) * bins);
    if (at === at) counts[Math.min(bins - 1, Math.max(0, at))] += 1; // not for nan
  }
  return counts;
}

// All of it once, for whoever wants to compare: after `steps` steps, the loss, what each layer
// hands on, the gradients there, and those of all parameters, by name.
export function passOf(settings) {
  const stack = room(settings);
  start(stack, settings);
  let answer = forward(stack, settings);
  backward(stack, settings);
  for (let t = 1; t <= settings.steps; t++) {
    step(stack, settings, t);
    answer = forward(stack, settings);
    backward(stack, settings);
  }
  const layers = stack.layers.slice(0, settings.depth);
  const gradients = { "head.weight": stack.head.weight.gradient, "head.bias": stack.head.bias.gradient };
  layers.forEach((layer, l) => {
    for (const name of ["weight", "bias"]) gradients[`layers.${l}.linear.${name}`] = layer[name].gradient;
    if (settings.norm === "none") return;
    gradients[`layers.${l}.norm.weight`] = layer.scale.gradient;
    if (settings.norm_kind !== "rms") gradients[`layers.${l}.norm.bias`] = layer.shift.gradient;
  });
  return {
    ...answer, logits: stack.logits, gradients,
    states: [stack.x, ...layers.map((layer) => layer.out)],
    stateGradients: [stack.dx, ...layers.map((layer) => layer.dOut)],
  };
}

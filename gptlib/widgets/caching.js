// What a KV cache holds and what it spares, as gptlib/counts.py counts it. Whole numbers of any
// length: the work for a long text has more digits than a float keeps.
//
// A shape has the sizes of a model by their names in ModernConfig, and
//   window, full_every  0 for none
//   thinking            numbers in the matrices of one layer's feed-forward part that a token meets
//   parameters          of the model as it is published, with own_kv_head key/value heads
//   qkv_bias            whether queries, keys and values have a bias

// Layers by how far back they see: [[how many, window], ...], 0 for all of the text.
export function layersOf({ n_layer, window, full_every }) {
  if (!window) return [[n_layer, 0]];
  const full = full_every ? Math.floor(n_layer / full_every) : 0;
  return [[n_layer - full, window], [full, 0]].filter(([many]) => many);
}

// Tokens that the nth token of a text looks at, itself among them; these of the first n tokens
// together; and these sums for texts of 1, 2, ... n tokens together.
const seen = (n, w) => (w && n > w ? w : n);
const triangle = (n) => n * (n + 1n) / 2n;
const pyramid = (n) => n * (n + 1n) * (n + 2n) / 6n;
const seenByAll = (n, w) => (w && n > w ? triangle(w) + w * (n - w) : triangle(n));
const seenEachTime = (n, w) =>
  (w && n > w ? pyramid(w) + (n - w) * triangle(w) + w * triangle(n - w) : pyramid(n));

const overLayers = (shape, n, count) => layersOf(shape).reduce(
  (sum, [many, window]) => sum + BigInt(many) * count(BigInt(n), BigInt(window)), 0n);

// Numbers of keys and values that a token leaves in one layer.
const width = ({ n_kv_head, head_size }) => BigInt(2 * n_kv_head * head_size);

// Bytes of the keys and values that are kept of n tokens.
export function cacheBytes(shape, n, bytesPerValue) {
  return overLayers(shape, n, seen) * width(shape) * BigInt(bytesPerValue);
}

// Parameters with the key/value heads that the shape has now.
export function parametersOfShape(shape) {
  const { n_layer, n_kv_head, own_kv_head, head_size, n_embd, qkv_bias, parameters } = shape;
  return BigInt(parameters + 2 * n_layer * (n_kv_head - own_kv_head) * head_size * (n_embd + Number(qkv_bias)));
}

// Keys and values, in numbers, that are read for the next token of n: [with a cache, without].
export function numbersRead(shape, n) {
  return [seen, seenByAll].map((count) => overLayers(shape, n, count) * width(shape));
}

// Floating-point operations of the weights for a token, and of a head's looks at one token.
function operations({ n_layer, n_head, n_kv_head, head_size, n_embd, vocab_size, thinking }) {
  const attention = 2 * (n_head + n_kv_head) * head_size * n_embd;
  return [BigInt(2 * (n_layer * (attention + thinking) + vocab_size * n_embd)), BigInt(4 * n_head * head_size)];
}

// Operations for the next token of n: [with a cache, without].
export function nextOperations(shape, n) {
  const [weights, look] = operations(shape);
  return [
    weights + look * overLayers(shape, n, seen),
    BigInt(n) * weights + look * overLayers(shape, n, seenByAll),
  ];
}

// Operations for a whole text of n tokens, written one after the other: [with a cache, without].
export function textOperations(shape, n) {
  const [weights, look] = operations(shape);
  return [
    nextOperations(shape, n)[1],
    triangle(BigInt(n)) * weights + look * overLayers(shape, n, seenEachTime),
  ];
}

// Powers of two, and what lies half-way, up to the longest: stops of a slider.
export function doublings(longest) {
  const found = [1];
  for (let n = 2; n < longest; n *= 2) found.push(n, ...(1.5 * n < longest ? [1.5 * n] : []));
  return longest > 1 ? [...found, longest] : found;
}

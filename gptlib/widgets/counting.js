// What a configuration costs, as gptlib/gpt.py counts it: the same names, the same rules. Below
// that the same costs part by part, which together are the whole.

export function nonEmbeddingParameters({ n_layer, n_embd: d, bias, qkv_bias, norm }) {
  const qkvBias = qkv_bias ?? bias;
  const attention = 4 * d * d + 3 * d * qkvBias + d * bias;
  const feedForward = 8 * d * d + 5 * d * bias;
  const oneNorm = d + d * bias;
  return n_layer * (attention + feedForward + 2 * oneNorm) + (norm === "pre" ? oneNorm : 0);
}

export function totalParameters(c) {
  const embeddings = (c.vocab_size + c.context_length) * c.n_embd;
  return embeddings + (c.tied ? 0 : c.vocab_size * c.n_embd) + nonEmbeddingParameters(c);
}

export const parameterBytes = (c, bytesPerValue = 4) => bytesPerValue * totalParameters(c);

// Floating-point operations a token costs at full context, forward and, in training, backward.
export function flopsPerToken(c, training = true) {
  const d = c.n_embd;
  const weights = 12 * c.n_layer * d * d + c.vocab_size * d;
  const forward = 2 * weights + 4 * c.n_layer * c.context_length * d;
  return training ? 3 * forward : forward;
}

// Bytes that training takes: weights, gradients, AdamW's two averages, activations.
export function trainingMemory(c, batchSize, bytesPerValue = 4) {
  const weights = parameterBytes(c, bytesPerValue);
  const perToken = 16 * c.n_layer * c.n_embd + 2 * c.n_embd + 2 * c.vocab_size;
  return {
    weights, gradients: weights, optimizer: 2 * weights,
    activations: bytesPerValue * perToken * batchSize * c.context_length,
  };
}

// The parts from the ids to the logits, in the order in which a token meets them:
//   name, what          what it is called, and what it does
//   times               how often the model has it
//   tables              the shapes of its numbers, of one of it
//   flops               operations for a token, forward, of one of it
//   kept                numbers a token that training keeps for the backward pass, of one of it
//   shape               what comes out of it
//   code, chapter       the class that it is, and the chapter that builds it
export function partsOf(c, batchSize) {
  const { vocab_size: V, context_length: T, n_layer: L, n_head, n_embd: d } = c;
  const stream = [batchSize, T, d];
  const biases = (n, has) => (has ? [[n]] : []);
  const gpt = { code: "gptlib.gpt.GPT", chapter: "06_gpt" };
  const attention = { times: L, code: "gptlib.attention.CausalSelfAttention", chapter: "03_attention" };
  const feedForward = { times: L, code: "gptlib.layers.FeedForward", chapter: "04_layernorm_gelu" };
  const norm = (key, name, times) => ({
    key, name, times, what: "brings the numbers of each token to mean 0 and variance 1, then scales and shifts them",
    tables: [[d], ...biases(d, c.bias)], flops: 0, kept: d, shape: stream,
    code: "gptlib.layers.LayerNorm", chapter: "04_layernorm_gelu",
  });
  const attend = [
    { key: "qkv", name: "queries, keys, values", what: `three products, each cut into ${n_head} heads of ${d / n_head} numbers`,
      tables: [[d, 3 * d], ...biases(3 * d, c.qkv_bias ?? c.bias)], flops: 6 * d * d, kept: d,
      shape: [batchSize, n_head, T, d / n_head], ...attention },
    { key: "attention", name: "attention", what: `scores of every token with those before it, in each head, and sums weighted by them; it has no numbers of its own`,
      tables: [], flops: 4 * T * d, kept: 4 * d, shape: stream, ...attention },
    { key: "project", name: "projection", what: "mixes what the heads have found",
      tables: [[d, d], ...biases(d, c.bias)], flops: 2 * d * d, kept: 0, shape: stream, ...attention },
  ];
  const think = [
    { key: "expand", name: "feed-forward, wider", what: "each token alone, to four times its width",
      tables: [[d, 4 * d], ...biases(4 * d, c.bias)], flops: 8 * d * d, kept: d, shape: [batchSize, T, 4 * d], ...feedForward },
    { key: "gelu", name: "GELU", what: "bends each number; without it, the two products beside it would be one",
      tables: [], flops: 0, kept: 4 * d, shape: [batchSize, T, 4 * d], ...feedForward, code: "gptlib.layers.GELU" },
    { key: "back", name: "feed-forward, back", what: "and back to the width of the stream",
      tables: [[4 * d, d], ...biases(d, c.bias)], flops: 8 * d * d, kept: 4 * d, shape: stream, ...feedForward },
  ];
  const [first, second] = [norm("norm1", "LayerNorm", L), norm("norm2", "LayerNorm", L)];
  const pre = c.norm === "pre";
  const add = { add: true };
  const block = pre
    ? [first, ...attend, add, second, ...think, add]
    : [...attend, add, first, ...think, add, second];
  return [
    { key: "tokens", name: "token embedding", times: 1, what: "one row for each token of the vocabulary, looked up by id",
      tables: [[V, d]], flops: 0, kept: 0, shape: stream, ...gpt },
    { key: "positions", name: "position embedding", times: 1, what: "one row for each place of the context, added to the token's",
      tables: [[T, d]], flops: 0, kept: 0, shape: [T, d], ...gpt },
    ...block.map((part) => ({ ...part, block: true })),
    ...(pre ? [norm("final", "last LayerNorm", 1)] : []),
    { key: "head", name: c.tied ? "head, tied" : "head", times: 1,
      what: c.tied ? "a logit for each token of the vocabulary, by the token embedding's own table"
        : "a logit for each token of the vocabulary, by a table of its own",
      // a post-norm block ends with a norm already, and Python counts what one more would keep
      tables: c.tied ? [] : [[d, V]], flops: 2 * V * d, kept: d + 2 * V + (pre ? 0 : d), shape: [batchSize, T, V], ...gpt },
  ];
}

const product = (sizes) => sizes.reduce((all, n) => all * n, 1);

// The parameters of a part, all of its copies together; its operations; its bytes in training.
export const parametersOf = (part) => part.times * part.tables.reduce((sum, table) => sum + product(table), 0);
export const flopsOf = (part) => part.times * part.flops;
export function memoryOf(part, c, batchSize, bytesPerValue = 4) {
  return bytesPerValue * (4 * parametersOf(part) + part.times * part.kept * batchSize * c.context_length);
}

// For the tests: the parts' sums.
export function sums(c, batchSize) {
  const parts = partsOf(c, batchSize).filter((part) => !part.add);
  const sum = (cost) => parts.reduce((all, part) => all + cost(part), 0);
  return { parameters: sum(parametersOf), flops: sum(flopsOf), memory: sum((part) => memoryOf(part, c, batchSize)) };
}

// The heads that a width can be cut into, and of those the one nearest to a wish.
export function divisors(n) {
  return Array.from({ length: n }, (_, i) => i + 1).filter((k) => n % k === 0);
}

export function nearest(values, wish) {
  return values.reduce((best, value) => (Math.abs(value - wish) < Math.abs(best - wish) ? value : best));
}

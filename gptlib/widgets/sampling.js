// From logits to a drawn token, as gptlib/generation.py does it: the same names, the same rules.

// Turn logits (V) into the probabilities (V) that the next token is drawn from.
// topK = 0 and topP = 1 switch a filter off; temperature = 0 takes the most likely token.
export function nextTokenProbs(logits, { temperature = 1, topK = 0, topP = 1 } = {}) {
  const best = largest(logits);
  const scores = new Float64Array(logits.length);
  if (temperature === 0) {
    scores[logits.indexOf(best)] = 1; // of equals the first
    return scores;
  }
  for (let i = 0; i < scores.length; i++) scores[i] = (logits[i] - best) / temperature; // at most 0
  if (topK > 0 && topK < scores.length) {
    const kth = scores.slice().sort()[scores.length - topK];
    scores.forEach((score, i) => { if (score < kth) scores[i] = -Infinity; });
  }
  const probs = softmax(scores);
  return topP < 1 ? keepTopP(probs, topP) : probs;
}

export function softmax(scores) {
  const best = largest(scores);
  const probs = new Float64Array(scores.length);
  let total = 0;
  for (let i = 0; i < probs.length; i++) total += probs[i] = Math.exp(scores[i] - best);
  for (let i = 0; i < probs.length; i++) probs[i] /= total;
  return probs;
}

function largest(numbers) {
  let best = -Infinity;
  for (let i = 0; i < numbers.length; i++) if (numbers[i] > best) best = numbers[i];
  return best;
}

// Keep the fewest most likely tokens that together have a probability of topP or more.
export function keepTopP(probs, topP) {
  const ordered = probs.slice().sort(); // the most likely last
  let before = 0; // the probability of all more likely tokens
  let rank = ordered.length;
  let equals = 0; // how many kept ones are as likely as the last that is kept
  while (rank > 0 && (rank === ordered.length || before < topP)) {
    rank -= 1;
    equals = ordered[rank] === ordered[rank + 1] ? equals + 1 : 1;
    before += ordered[rank];
  }
  const kept = probs.map((p) => (p > ordered[rank] || (p === ordered[rank] && equals-- > 0) ? p : 0));
  const total = kept.reduce((sum, p) => sum + p, 0);
  return kept.map((p) => p / total);
}

// All indices, the most likely first; of equals the first.
export function byProbability(probs) {
  return Array.from(probs.keys()).sort((a, b) => probs[b] - probs[a] || a - b);
}

// In nats.
export function entropy(probs) {
  return probs.reduce((sum, p) => (p > 0 ? sum - p * Math.log(p) : sum), 0);
}

// Random numbers in [0, 1) that a seed settles (mulberry32, by Tommy Ettinger, public domain).
export function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

// Draw one index by its probability.
export function sample(probs, random) {
  let left = random();
  for (let i = 0; i < probs.length; i++) {
    left -= probs[i];
    if (left < 0) return i;
  }
  return probs.reduce((last, p, i) => (p > 0 ? i : last), 0); // rounding left a crumb
}

// The first n random numbers of a seed in order of size, for as many n as are asked for one after
// the other: `const drawn = sortedDraws(1)`, then `drawn(1000)`. Those that are there stay.
export function sortedDraws(seed) {
  let random = randomNumbers(seed), all = new Float64Array(0);
  return (n) => {
    if (n < all.length) [random, all] = [randomNumbers(seed), new Float64Array(0)];
    if (n > all.length) {
      const fresh = Float64Array.from({ length: n - all.length }, random).sort();
      const both = new Float64Array(n);
      for (let k = 0, i = 0, j = 0; k < n; k++) {
        both[k] = j === fresh.length || all[i] <= fresh[j] ? all[i++] : fresh[j++];
      }
      all = both;
    }
    return all;
  };
}

// How often each index comes up in n draws, by `sample`. Between two sums of the probabilities lie
// the draws of one index; so near to a sum that rounding decides, `sample` is asked for each.
export function sampleCounts(probs, n, seed, drawn = sortedDraws(seed)) {
  const counts = new Uint32Array(probs.length), all = drawn(n);
  const near = 2 * probs.length * Number.EPSILON; // more than what both ways round off
  const until = (edge, from) => { // the place of the first draw that is not below an edge
    let past = n;
    while (from < past) {
      const half = (from + past) >> 1;
      if (all[half] < edge) from = half + 1; else past = half;
    }
    return from;
  };
  let asked = 0, sum = 0;
  const askUpTo = (k) => { for (; asked < k; asked++) counts[sample(probs, () => all[asked])] += 1; };
  probs.forEach((p, i) => {
    const first = i ? until(sum + near, asked) : 0;
    const past = until((sum += p) - near, first);
    if (past === first) return; // no place that is clearly this one's
    askUpTo(first);
    counts[i] += past - first;
    asked = past;
  });
  askUpTo(n);
  return counts;
}

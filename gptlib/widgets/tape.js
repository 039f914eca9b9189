// A recorded run, as Python's Tape wrote it down.

export const BINS = 25;

const bytesOf = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

// The run with its bytes cut up: histogram(moment, layer) and look(moment, head), both 0 to 255.
export function runOf(data) {
  const [L, H, T] = [data.limits.length, data.heads.length, data.tokens.length];
  const counts = bytesOf(data.histograms), looks = bytesOf(data.attention);
  return {
    ...data,
    histogram: (m, l) => counts.subarray((m * L + l) * BINS, (m * L + l + 1) * BINS),
    look: (m, head) => looks.subarray((m * H + head) * T * T, (m * H + head + 1) * T * T),
  };
}

// The last moment that is not later than a step.
export function momentAt(steps, step) {
  return Math.max(0, steps.findLastIndex((one) => one <= step));
}

// The moment whose step lies nearest.
export function nearest(steps, step) {
  return steps.reduce((best, one, m) => (Math.abs(one - step) < Math.abs(steps[best] - step) ? m : best), 0);
}

// The ends of a logarithmic axis with room for all values above 0, at most six powers of ten wide.
export function spanOf(values, least = 0) {
  const known = values.filter((v) => v > 0 && Number.isFinite(v));
  if (!known.length) return [0.1, 10];
  const high = known.reduce((a, b) => Math.max(a, b)) * 1.15;
  return [Math.max(known.reduce((a, b) => Math.min(a, b)) / 1.15, high / 1e6, least), high];
}

// RoPE in the page: every pair of numbers turns with its place, and the score feels the distance alone.
// Number i makes a pair with number i + headSize / 2, as in gptlib/rope.py.

export const ROUND = 2 * Math.PI;
const HAIR = 1e-6; // of an angle: what rounding may do is no new angle

// How far each pair turns from one token to the next, in radians: from 1 downwards.
export function speedsOf(headSize, base) {
  return Array.from({ length: headSize / 2 }, (_, i) => base ** ((-2 * i) / headSize));
}

// The base with which the slowest pair turns `scaling` times as slowly, and the first as ever.
export function scaledBase(base, scaling, headSize) {
  return headSize > 2 ? base * scaling ** (headSize / (headSize - 2)) : base;
}

// A query or a key at its place: each pair (a, b) is turned by place · speed.
export function turned(x, place, speeds) {
  const half = speeds.length;
  const result = new Float64Array(2 * half);
  speeds.forEach((speed, i) => {
    const [cos, sin] = [Math.cos(place * speed), Math.sin(place * speed)];
    result[i] = x[i] * cos - x[i + half] * sin;
    result[i + half] = x[i] * sin + x[i + half] * cos;
  });
  return result;
}

// What each pair adds to the score of a query at place m and a key at place n.
export function contributions(query, key, m, n, speeds) {
  const [q, k] = [turned(query, m, speeds), turned(key, n, speeds)];
  return speeds.map((_, i) => q[i] * k[i] + q[i + speeds.length] * k[i + speeds.length]);
}

// Their sum: the turned query times the turned key.
export function scoreOf(query, key, m, n, speeds) {
  return contributions(query, key, m, n, speeds).reduce((a, b) => a + b, 0);
}

// The scores at all distances from 0 to `reach`.
export function scoresByDistance(query, key, reach, speeds) {
  return Array.from({ length: reach + 1 }, (_, d) => scoreOf(query, key, d, 0, speeds));
}

// How often each pair goes round in so many tokens.
export const turnsIn = (tokens, speeds) => speeds.map((speed) => (tokens * speed) / ROUND);

// An angle as it stands on a face: from 0 to a full turn.
export const onFace = (angle) => ((angle % ROUND) + ROUND) % ROUND;

// Which pairs stand, at this distance, at an angle that a text of `trained` tokens never brought.
// `before` are the speeds of the training, `speeds` those of now.
export function newAngles(distance, trained, before, speeds) {
  return speeds.map((speed, i) => onFace(distance * speed) > trained * before[i] * (1 + HAIR));
}

// The pairs that have a face where there are too many for all: evenly, the first and the last among them.
export function withFaces(pairs, most) {
  if (pairs <= most) return Array.from({ length: pairs }, (_, i) => i);
  return Array.from({ length: most }, (_, j) => Math.round((j * (pairs - 1)) / (most - 1)));
}

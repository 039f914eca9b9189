// Large numbers in words and units that people know.
import { say } from "./drawing.js";

export const MILLIONS = [
  [1e21, "sextillion"], [1e18, "quintillion"], [1e15, "quadrillion"],
  [1e12, "trillion"], [1e9, "billion"], [1e6, "million"],
];
export const BYTES = [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"]];

const short = (x) => x.toFixed(x < 10 ? 2 : x < 100 ? 1 : 0);

// The unit in which a number is best said: [its size, its name].
export const unitOf = (n, units) => units.find(([size]) => n >= size) ?? [1, units === BYTES ? "bytes" : ""];

// A count with a word for its size: 12,345 · 1.23 million · 45.6 billion.
export function large(n) {
  const [size, word] = unitOf(n, MILLIONS);
  return word ? `${short(n / size)} ${word}` : say(n);
}

// Bytes, in thousands of thousands: 498 MB.
export function bytes(n) {
  const [size, unit] = unitOf(n, BYTES);
  return size > 1 ? `${short(n / size)} ${unit}` : `${n} bytes`;
}

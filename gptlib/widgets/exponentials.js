// The exponentials of a row of numbers, four at a time in WebAssembly: what softmax spends its time on.
import { exp } from "./fast_exp.js";
import { ADD_I32, V128, assemble, get, loop, set } from "./wasm.js";

const FOUR_OF = (number) => [0xfd, 0x0c, ...Array(4).fill([...new Uint8Array(Float32Array.of(number).buffer)]).flat()];
const FOUR_WHOLE = (number) => [0xfd, 0x0c, ...Array(4).fill([number, 0, 0, 0]).flat()];
const SPLAT_AT = (offset) => [0xfd, 0x09, 0, offset], LOAD_AT = [0xfd, 0x00, 0, 0], STORE_AT = (offset) => [0xfd, 0x0b, 0, offset];
const PLUS = [0xfd, 0xe4, 0x01], MINUS = [0xfd, 0xe5, 0x01], TIMES = [0xfd, 0xe6, 0x01], LARGER = [0xfd, 0xe9, 0x01];
const NEAREST = [0xfd, 0x6a], WHOLE = [0xfd, 0xf8, 0x01], PLUS_WHOLE = [0xfd, 0xae, 0x01], SHIFT = [0xfd, 0xab, 0x01];
// 2 to the power of a fraction from -½ to ½: the series of e to the power of fraction · ln 2, to 1e-7.
const SERIES = [1, 1, 1 / 2, 1 / 6, 1 / 24, 1 / 120, 1 / 720].map((c, k) => c * Math.LN2 ** k).reverse();

// exponentials(x, fours, desk): so many times four numbers from x on; `desk` begins with what is taken
// away from each and what the rest is multiplied by, and gets the sums behind them.
function powers(memory) {
  const [x, fours, desk, less, scale, sum, t, whole] = [0, 1, 2, 3, 4, 5, 6, 7];
  return assemble(memory, 3, [1, 5, V128], [
    ...get(desk), ...SPLAT_AT(0), ...set(less), ...get(desk), ...SPLAT_AT(4), ...set(scale),
    ...loop(fours,
      ...get(x), ...LOAD_AT, ...get(less), ...MINUS, ...get(scale), ...TIMES,
      ...FOUR_OF(-87), ...LARGER, ...FOUR_OF(Math.LOG2E), ...TIMES, ...set(t), // a power of 2
      ...get(t), ...NEAREST, ...set(whole), ...get(t), ...get(whole), ...MINUS, ...set(t),
      ...FOUR_OF(SERIES[0]), ...SERIES.slice(1).flatMap((c) => [...get(t), ...TIMES, ...FOUR_OF(c), ...PLUS]),
      ...get(whole), ...WHOLE, ...FOUR_WHOLE(127), ...PLUS_WHOLE, 0x41, 23, ...SHIFT, // the exponent's bits
      ...TIMES, ...set(t),
      ...get(x), ...get(t), ...STORE_AT(0), ...get(sum), ...get(t), ...PLUS, ...set(sum),
      ...get(x), 0x41, 16, ...ADD_I32, ...set(x)),
    ...get(desk), ...get(sum), ...STORE_AT(16),
  ]);
}

// n numbers of x, from `at` on, become exp((x - less) · scale); returns their sum. In SIMD what is
// below e to the power of -87 is that. desk: eight numbers in the memory, for this alone.
export function rowOfPowers(memory, desk) {
  const run = powers(memory);
  return (x, at, n, less, scale) => {
    if (n % 4) return exponentialsPlainly(x, at, n, less, scale);
    desk[0] = less;
    desk[1] = scale;
    run(x.byteOffset + 4 * at, n / 4, desk.byteOffset);
    return desk[4] + desk[5] + desk[6] + desk[7];
  };
}

export function exponentialsPlainly(x, at, n, less, scale) {
  let sum = 0;
  for (let i = at; i < at + n; i++) sum += x[i] = exp((x[i] - less) * scale);
  return sum;
}

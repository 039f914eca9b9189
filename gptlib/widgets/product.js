// The matrix product of stack.js, in 64 bits: in JavaScript, and two numbers at a time in
// WebAssembly, which needs a third of the time. Both add in one order: their numbers are the same.
import { ADD_I32, I32, V128, assemble, get, loop, set } from "./wasm.js";

// out[i, j] = Σ_k a[i, k] · b[k, j] for (m, n) results, four by four so that sums stay in registers.
// A matrix is read with any strides: a[i, k] is a[i · ai + k · ak], b[k, j] is b[k · bk + j · bj].
export function multiply(out, m, n, size, a, ai, ak, b, bk, bj) {
  for (let i = 0; i < m; i += 4) {
    for (let j = 0; j < n; j += 4) {
      let c00 = 0, c01 = 0, c02 = 0, c03 = 0, c10 = 0, c11 = 0, c12 = 0, c13 = 0;
      let c20 = 0, c21 = 0, c22 = 0, c23 = 0, c30 = 0, c31 = 0, c32 = 0, c33 = 0;
      let p = i * ai, q = j * bj;
      for (let k = 0; k < size; k++, p += ak, q += bk) {
        const a0 = a[p], a1 = a[p + ai], a2 = a[p + 2 * ai], a3 = a[p + 3 * ai];
        const b0 = b[q], b1 = b[q + bj], b2 = b[q + 2 * bj], b3 = b[q + 3 * bj];
        c00 += a0 * b0; c01 += a0 * b1; c02 += a0 * b2; c03 += a0 * b3;
        c10 += a1 * b0; c11 += a1 * b1; c12 += a1 * b2; c13 += a1 * b3;
        c20 += a2 * b0; c21 += a2 * b1; c22 += a2 * b2; c23 += a2 * b3;
        c30 += a3 * b0; c31 += a3 * b1; c32 += a3 * b2; c33 += a3 * b3;
      }
      let r = i * n + j;
      out[r] = c00; out[r + 1] = c01; out[r + 2] = c02; out[r + 3] = c03; r += n;
      out[r] = c10; out[r + 1] = c11; out[r + 2] = c12; out[r + 3] = c13; r += n;
      out[r] = c20; out[r + 1] = c21; out[r + 2] = c22; out[r + 3] = c23; r += n;
      out[r] = c30; out[r + 1] = c31; out[r + 2] = c32; out[r + 3] = c33;
    }
  }
}

const BOTH = [0xfd, 0x0a, 0, 0]; // one number, twice
const SECOND = [0xfd, 0x57, 0, 0, 1]; // one number, into the second place
const load = (offset) => [0xfd, 0x00, 0, offset], store = (offset) => [0xfd, 0x0b, 0, offset]; // two numbers
const MUL_F64 = [0xfd, 0xf2, 0x01], ADD_F64 = [0xfd, 0xf0, 0x01];

// tile(a, ai, ak, b, bk, bj, size, out, row): the inner loop above, all in bytes, `row` from one row
// of `out` to the next. `together`: four columns of b lie side by side, and two come at once.
function tile64(memory, together) {
  const [a, ai, ak, b, bk, bj, size, out, row] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
  const rows = [a, 9, 10, 11], columns = [b, 12, 13, 14]; // where each row of a and column of b is
  const halves = [15, 16], x = 17;
  const sum = (i, half) => 18 + 2 * i + half;
  const move = (place, from, by) => [...get(from), ...get(by), ...ADD_I32, ...set(place)];
  return assemble(memory, 9, [2, 6, I32, 11, V128], [
    ...[1, 2, 3].flatMap((i) => [...move(rows[i], rows[i - 1], ai), ...move(columns[i], columns[i - 1], bj)]),
    ...loop(size,
      ...halves.map((half, i) => (together ? [...get(b), ...load(16 * i), ...set(half)] : [
        ...get(columns[2 * i + 1]), ...get(columns[2 * i]), ...BOTH, ...SECOND, ...set(half)])),
      ...rows.map((place, i) => [
        ...get(place), ...BOTH, ...set(x),
        ...halves.flatMap((half, h) => [...get(sum(i, h)), ...get(x), ...get(half), ...MUL_F64, ...ADD_F64, ...set(sum(i, h))])]),
      ...rows.map((place) => move(place, place, ak)),
      ...(together ? [b] : columns).map((place) => move(place, place, bk))),
    ...rows.flatMap((_, i) => [
      ...[0, 1].flatMap((half) => [...get(out), ...get(sum(i, half)), ...store(16 * half)]), ...move(out, out, row)]),
  ]);
}

// { take(n), multiply }: room for `numbers` numbers, and the product, fast with what was taken there.
export function workshop(numbers) {
  let memory, apart, together;
  try {
    memory = new WebAssembly.Memory({ initial: Math.ceil(numbers / 8192) });
    [apart, together] = [tile64(memory, false), tile64(memory, true)];
  } catch {
    return { take: (n) => new Float64Array(n), multiply };
  }
  const { buffer } = memory;
  let used = 0;
  return {
    take(n) {
      if (8 * (used + n) > buffer.byteLength) return new Float64Array(n); // slower, and as good
      used += n;
      return new Float64Array(buffer, 8 * (used - n), n);
    },
    multiply(out, m, n, size, a, ai, ak, b, bk, bj) {
      if (out.buffer !== buffer || a.buffer !== buffer || b.buffer !== buffer) {
        multiply(out, m, n, size, a, ai, ak, b, bk, bj);
        return;
      }
      const tile = bj === 1 ? together : apart;
      const [to, from, by] = [out.byteOffset, a.byteOffset, b.byteOffset];
      for (let i = 0; i < m; i += 4) {
        for (let j = 0; j < n; j += 4) {
          tile(from + 8 * i * ai, 8 * ai, 8 * ak, by + 8 * j * bj, 8 * bk, 8 * bj, size, to + 8 * (i * n + j), 8 * n);
        }
      }
    },
  };
}

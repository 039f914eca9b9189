// The matrix product, in 32 bits for the training of a GPT and in 64 for stack.js: in WebAssembly
// several numbers at a time, and in plain JavaScript where there is none.
//
// A step needs A·B, Aᵀ·B and A·Bᵀ. All three are one function, because a matrix is read with any
// strides: a[i, k] is a[i · ai + k · ak]. What is read against the grain is first copied into panels,
// four rows or a tile's columns side by side, in the order in which the product walks along them.
import { ADD_I32, I32, V128, assemble, get, leb, loop, set } from "./wasm.js";

// Numbers of 32 bits lie four in a register, those of 64 two; a tile is two registers wide. `both`
// multiplies and adds in one instruction, which newer browsers have and which rounds once. In 64 bits
// it is not used: there the numbers are those of the plain product, to the last bit.
const KINDS = {
  32: { Numbers: Float32Array, wide: 8, splat: 0x09, times: [0xfd, 0xe6, 0x01], plus: [0xfd, 0xe4, 0x01], both: [0xfd, 0x85, 0x02] },
  64: { Numbers: Float64Array, wide: 4, splat: 0x0a, times: [0xfd, 0xf2, 0x01], plus: [0xfd, 0xf0, 0x01] },
};
const LOAD = (offset) => [0xfd, 0x00, 0, ...leb(offset)], STORE = (offset) => [0xfd, 0x0b, 0, ...leb(offset)];
const ZEROS = [0xfd, 0x0c, ...Array(16).fill(0)];
const DEEP = 64; // rows of A that are copied at a time: they should stay in the nearest memory
const NEAR = 2048; // numbers of B that may be read where they are, if their columns lie side by side

// strip(a, ai, ak, down, b, bk, out, row, size, groups): `groups` times four rows of A, `down` bytes
// from group to group, times one tile's columns of B, `bk` bytes from row to row; the sums of a row go
// to `out`, `row` bytes below those of the row above. `adds`: to what stands there.
function strip(memory, { splat, times, plus }, adds, both) {
  const [a, ai, ak, down, b, bk, out, row, size, groups] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
  const rows = [10, 11, 12, 13], at = 14, k = 15, halves = [16, 17], one = 18;
  const sum = (i, half) => 19 + 2 * i + half;
  const move = (place, from, by) => [...get(from), ...get(by), ...ADD_I32, ...set(place)];
  const grow = (i, half) => (both
    ? [...get(one), ...get(halves[half]), ...get(sum(i, half)), ...both, ...set(sum(i, half))]
    : [...get(sum(i, half)), ...get(one), ...get(halves[half]), ...times, ...plus, ...set(sum(i, half))]);
  return assemble(memory, 10, [2, 6, I32, 11, V128], [
    ...loop(groups,
      ...rows.flatMap((_, i) => [0, 1].map((half) => [...ZEROS, ...set(sum(i, half))])),
      ...get(a), ...set(rows[0]), ...get(b), ...set(at), ...get(size), ...set(k),
      ...[1, 2, 3].map((i) => move(rows[i], rows[i - 1], ai)),
      ...loop(k,
        ...halves.map((half, i) => [...get(at), ...LOAD(16 * i), ...set(half)]),
        ...rows.map((place, i) => [
          ...get(place), 0xfd, splat, 0, 0, ...set(one), ...move(place, place, ak), ...grow(i, 0), ...grow(i, 1)]),
        ...move(at, at, bk)),
      ...rows.map((_, i) => [
        ...[0, 1].flatMap((half) => [
          ...get(out), ...get(sum(i, half)), ...(adds ? [...get(out), ...LOAD(16 * half), ...plus] : []), ...STORE(16 * half)]),
        ...move(out, out, row)]),
      ...move(a, a, down)),
  ]);
}

// Two of them, that set and that add. An Error where there is no SIMD.
function strips(memory, kind) {
  try {
    return [strip(memory, kind, false, kind.both), strip(memory, kind, true, kind.both)];
  } catch {
    return [strip(memory, kind, false), strip(memory, kind, true)]; // no `both`
  }
}

const upTo = (n, by) => Math.ceil(n / by) * by;

// Room for so many numbers, of 32 or 64 bits, and the product that works on them: { take(n), multiply,
// simd, bytes, memory }. `widest`: the numbers of the largest B; `longest`: the longest sum. What is
// taken when no room is left is as good, and its products are plain.
export function workshop(numbers, widest, longest, bits = 32) {
  const kind = KINDS[bits], { Numbers, wide } = kind, size = bits / 8;
  const desk = [widest + wide * longest, DEEP * longest, 4 * wide];
  const bytes = size * [numbers, ...desk].reduce((sum, n) => sum + upTo(n, 4), 0);
  let memory, kernels;
  try {
    memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / 65536) });
    kernels = strips(memory, kind);
  } catch {
    return { take: (n) => new Numbers(n), multiply, simd: false, bytes, memory: null };
  }
  const { buffer } = memory;
  let used = 0;
  const take = (n) => {
    if (size * (used + n) > buffer.byteLength) return new Numbers(n);
    used += upTo(n, 4);
    return new Numbers(buffer, size * (used - upTo(n, 4)), n);
  };
  const fast = inPanels(kernels, kind, ...desk.map(take));
  return { take, multiply: fast, simd: true, bytes: buffer.byteLength, memory };
}

// multiply(out, oi, m, n, size, a, ai, ak, b, bk, bj, add): out[i · oi + j] = Σ_k a[i, k] · b[k, j] for
// (m, n) results; `add`: to what stands there.
function inPanels([fresh, adding], { wide }, panels, rows, edge) {
  const { buffer, BYTES_PER_ELEMENT: bytes } = rows;
  return (out, oi, m, n, size, a, ai, ak, b, bk, bj, add = false) => {
    if (out.buffer !== buffer || a.buffer !== buffer) return multiply(out, oi, m, n, size, a, ai, ak, b, bk, bj, add);
    if (upTo(n, wide) * size > panels.length || DEEP * size > rows.length) {
      throw new Error(`a product of ${m} by ${n} sums of ${size} does not fit into the workshop`);
    }
    const near = bj === 1 && n % wide === 0 && n * size <= NEAR && b.buffer === buffer;
    if (!near) packColumns(panels, wide, b, bk, bj, size, n);
    const [from, across, along] = near ? [b.byteOffset, bytes, bytes * bk] : [panels.byteOffset, bytes * size, bytes * wide];
    const copied = m % 4 !== 0 || (ak !== 1 && !near), step = copied ? DEEP : m;
    for (let i = 0; i < m; i += step) {
      const here = Math.min(step, m - i), groups = Math.ceil(here / 4);
      if (copied) packRows(rows, a, i * ai, ai, ak, size, here);
      const [top, down, right] = copied ? [rows.byteOffset, bytes, 4 * bytes] : [a.byteOffset + bytes * i * ai, bytes * ai, bytes * ak];
      const group = copied ? 4 * bytes * size : 4 * down;
      for (let j = 0; j < n; j += wide) {
        const by = from + across * j;
        if (j + wide <= n && here % 4 === 0) {
          (add ? adding : fresh)(top, down, right, group, by, along, out.byteOffset + bytes * (i * oi + j), bytes * oi, size, groups);
          continue;
        }
        for (let g = 0; g < groups; g++) { // a tile that stands over: to the edge of the desk first
          fresh(top + g * group, down, right, 0, by, along, edge.byteOffset, bytes * wide, size, 1);
          for (let r = 4 * g; r < Math.min(here, 4 * g + 4); r++) {
            for (let c = j; c < Math.min(n, j + wide); c++) {
              const to = (i + r) * oi + c, sum = edge[wide * (r - 4 * g) + c - j];
              out[to] = add ? out[to] + sum : sum;
            }
          }
        }
      }
    }
  };
}

// A tile's columns of B side by side, for each k; columns that are not there are 0.
function packColumns(panels, wide, b, bk, bj, size, n) {
  for (let j = 0, to = 0; j < n; j += wide) {
    if (j + wide <= n) {
      for (let k = 0, q = j * bj; k < size; k++, q += bk) {
        panels[to++] = b[q]; panels[to++] = b[q + bj]; panels[to++] = b[q + 2 * bj]; panels[to++] = b[q + 3 * bj];
        if (wide === 4) continue;
        panels[to++] = b[q + 4 * bj]; panels[to++] = b[q + 5 * bj]; panels[to++] = b[q + 6 * bj]; panels[to++] = b[q + 7 * bj];
      }
      continue;
    }
    for (let k = 0; k < size; k++, to += wide) {
      for (let c = 0; c < wide; c++) panels[to + c] = j + c < n ? b[k * bk + (j + c) * bj] : 0;
    }
  }
}

// Four rows of A side by side, for each k; rows that are not there are 0.
function packRows(rows, a, first, ai, ak, size, m) {
  for (let i = 0, to = 0; i < m; i += 4) {
    if (i + 4 <= m) {
      for (let k = 0, p = first + i * ai; k < size; k++, p += ak, to += 4) {
        rows[to] = a[p]; rows[to + 1] = a[p + ai]; rows[to + 2] = a[p + 2 * ai]; rows[to + 3] = a[p + 3 * ai];
      }
      continue;
    }
    for (let k = 0; k < size; k++, to += 4) {
      for (let r = 0; r < 4; r++) rows[to + r] = i + r < m ? a[first + (i + r) * ai + k * ak] : 0;
    }
  }
}

// The same without WebAssembly: sixteen sums at a time, which stay in registers.
export function multiply(out, oi, m, n, size, a, ai, ak, b, bk, bj, add = false) {
  const [m4, n4] = [m - (m % 4), n - (n % 4)];
  if (!add) for (let i = 0; i < m; i++) out.fill(0, i * oi, i * oi + n);
  for (let i = 0; i < m4; i += 4) {
    for (let j = 0; j < n4; j += 4) {
      let c00 = 0, c01 = 0, c02 = 0, c03 = 0, c10 = 0, c11 = 0, c12 = 0, c13 = 0;
      let c20 = 0, c21 = 0, c22 = 0, c23 = 0, c30 = 0, c31 = 0, c32 = 0, c33 = 0;
      for (let k = 0, p = i * ai, q = j * bj; k < size; k++, p += ak, q += bk) {
        const a0 = a[p], a1 = a[p + ai], a2 = a[p + 2 * ai], a3 = a[p + 3 * ai];
        const b0 = b[q], b1 = b[q + bj], b2 = b[q + 2 * bj], b3 = b[q + 3 * bj];
        c00 += a0 * b0; c01 += a0 * b1; c02 += a0 * b2; c03 += a0 * b3;
        c10 += a1 * b0; c11 += a1 * b1; c12 += a1 * b2; c13 += a1 * b3;
        c20 += a2 * b0; c21 += a2 * b1; c22 += a2 * b2; c23 += a2 * b3;
        c30 += a3 * b0; c31 += a3 * b1; c32 += a3 * b2; c33 += a3 * b3;
      }
      let r = i * oi + j;
      out[r] += c00; out[r + 1] += c01; out[r + 2] += c02; out[r + 3] += c03; r += oi;
      out[r] += c10; out[r + 1] += c11; out[r + 2] += c12; out[r + 3] += c13; r += oi;
      out[r] += c20; out[r + 1] += c21; out[r + 2] += c22; out[r + 3] += c23; r += oi;
      out[r] += c30; out[r + 1] += c31; out[r + 2] += c32; out[r + 3] += c33;
    }
  }
  for (let i = 0; i < m; i++) { // what stands over to the right and below
    for (let j = i < m4 ? n4 : 0; j < n; j++) {
      let sum = 0;
      for (let k = 0; k < size; k++) sum += a[i * ai + k * ak] * b[k * bk + j * bj];
      out[i * oi + j] += sum;
    }
  }
}

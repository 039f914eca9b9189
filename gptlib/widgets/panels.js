// The matrix product of a training step, in 32 bits: four numbers at a time in WebAssembly, and in
// plain JavaScript where there is none. Their sums differ by rounding alone.
//
// A step needs A·B, Aᵀ·B and A·Bᵀ. All three are one function, because a matrix is read with any
// strides: a[i, k] is a[i · ai + k · ak]. What is read against the grain is first copied into panels,
// four rows or eight columns side by side, in the order in which the product walks along them.
import { exponentialsPlainly, rowOfPowers } from "./exponentials.js";
import { ADD_I32, I32, V128, assemble, get, leb, loop, set } from "./wasm.js";

const LOAD_FOUR = (offset) => [0xfd, 0x00, 0, ...leb(offset)], STORE_FOUR = (offset) => [0xfd, 0x0b, 0, ...leb(offset)];
const ONE_FOUR_TIMES = [0xfd, 0x09, 0, 0], FOUR_ZEROS = [0xfd, 0x0c, ...Array(16).fill(0)];
const MUL_F32 = [0xfd, 0xe6, 0x01], ADD_F32 = [0xfd, 0xe4, 0x01], MUL_ADD_F32 = [0xfd, 0x85, 0x02];
const DEEP = 64; // rows of A that are copied at a time: they should stay in the nearest memory

// strip(a, ai, ak, down, b, out, row, size, groups): `groups` times four rows of A, `down` bytes from
// group to group, times one panel of eight columns; the sums of a row go to `out`, `row` bytes below
// those of the row above. `adds`: to what stands there. `fused`: product and sum in one instruction,
// which newer browsers have and which rounds once.
function strip(memory, adds, fused) {
  const [a, ai, ak, down, b, out, row, size, groups] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
  const rows = [9, 10, 11, 12], at = 13, k = 14, halves = [15, 16], one = 17;
  const sum = (i, half) => 18 + 2 * i + half;
  const move = (place, from, ...by) => [...get(from), ...by, ...ADD_I32, ...set(place)];
  const sums = rows.flatMap((_, i) => [0, 1].map((half) => [i, half]));
  const grow = (i, half) => (fused
    ? [...get(one), ...get(halves[half]), ...get(sum(i, half)), ...MUL_ADD_F32, ...set(sum(i, half))]
    : [...get(sum(i, half)), ...get(one), ...get(halves[half]), ...MUL_F32, ...ADD_F32, ...set(sum(i, half))]);
  return assemble(memory, 9, [2, 6, I32, 11, V128], [
    ...loop(groups,
      ...sums.map(([i, half]) => [...FOUR_ZEROS, ...set(sum(i, half))]),
      ...get(a), ...set(rows[0]), ...get(b), ...set(at), ...get(size), ...set(k),
      ...[1, 2, 3].map((i) => move(rows[i], rows[i - 1], ...get(ai))),
      ...loop(k,
        ...halves.map((half, i) => [...get(at), ...LOAD_FOUR(16 * i), ...set(half)]),
        ...rows.map((place, i) => [
          ...get(place), ...ONE_FOUR_TIMES, ...set(one), ...move(place, place, ...get(ak)), ...grow(i, 0), ...grow(i, 1)]),
        ...move(at, at, 0x41, 32)),
      ...rows.map((_, i) => [
        ...[0, 1].flatMap((half) => [
          ...get(out), ...get(sum(i, half)),
          ...(adds ? [...get(out), ...LOAD_FOUR(16 * half), ...ADD_F32] : []), ...STORE_FOUR(16 * half)]),
        ...move(out, out, ...get(row))]),
      ...move(a, a, ...get(down))),
  ]);
}

function strips(memory) {
  try {
    return [strip(memory, false, true), strip(memory, true, true)];
  } catch {
    return [strip(memory, false, false), strip(memory, true, false)]; // or an error: no SIMD either
  }
}

const upTo = (n, by) => Math.ceil(n / by) * by;

// Room for arrays of these lengths, an object of numbers by name, and the product that works on them:
// { arrays, multiply, powers, simd, bytes }. `widest`: the numbers of the largest B; `longest`: the longest sum.
export function chamber(lengths, widest, longest) {
  const names = Object.keys(lengths);
  const places = [["", upTo(widest, 8) + 8 * longest], [" ", DEEP * longest], ["  ", 32], ["   ", 8]];
  const all = [...names.map((name) => [name, lengths[name]]), ...places];
  const bytes = all.reduce((total, [, length]) => total + 4 * upTo(length, 4), 0);
  let memory, kernels;
  try {
    memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / 65536) });
    kernels = strips(memory);
  } catch {
    const arrays = Object.fromEntries(names.map((name) => [name, new Float32Array(lengths[name])]));
    return { arrays, multiply: multiplyPlainly, powers: exponentialsPlainly, simd: false, bytes };
  }
  let used = 0;
  const arrays = {};
  for (const [name, length] of all) {
    arrays[name] = new Float32Array(memory.buffer, used, length);
    used += 4 * upTo(length, 4);
  }
  const desk = places.map(([name]) => arrays[name]);
  for (const [name] of places) delete arrays[name];
  const powers = rowOfPowers(memory, desk.pop());
  return { arrays, multiply: inPanels(kernels, ...desk), powers, simd: true, bytes: memory.buffer.byteLength };
}

// multiply(out, oi, m, n, size, a, ai, ak, b, bk, bj, add): out[i · oi + j] = Σ_k a[i, k] · b[k, j] for
// (m, n) results; `add`: to what stands there. All arrays are of the one chamber.
function inPanels([fresh, adding], panels, rows, edge) {
  return (out, oi, m, n, size, a, ai, ak, b, bk, bj, add = false) => {
    if (upTo(n, 8) * size > panels.length || DEEP * size > rows.length || out.buffer !== rows.buffer || a.buffer !== rows.buffer) {
      throw new Error(`a product of ${m} by ${n} sums of ${size} does not fit into the chamber`);
    }
    packColumns(panels, b, bk, bj, size, n);
    const copied = ak !== 1 || m % 4 !== 0, step = copied ? DEEP : m;
    for (let i = 0; i < m; i += step) {
      const here = Math.min(step, m - i), groups = Math.ceil(here / 4);
      if (copied) packRows(rows, a, i * ai, ai, ak, size, here);
      const from = copied ? [rows.byteOffset, 4, 16, 16 * size] : [a.byteOffset + 4 * i * ai, 4 * ai, 4, 16 * ai];
      for (let j = 0; j < n; j += 8) {
        const by = panels.byteOffset + 4 * j * size;
        if (j + 8 <= n && here % 4 === 0) {
          (add ? adding : fresh)(...from, by, out.byteOffset + 4 * (i * oi + j), 4 * oi, size, groups);
          continue;
        }
        for (let g = 0; g < groups; g++) { // a tile that stands over: to the edge of the desk first
          fresh(from[0] + g * from[3], from[1], from[2], 0, by, edge.byteOffset, 32, size, 1);
          for (let r = 4 * g; r < Math.min(here, 4 * g + 4); r++) {
            for (let c = j; c < Math.min(n, j + 8); c++) {
              const to = (i + r) * oi + c, sum = edge[8 * (r - 4 * g) + c - j];
              out[to] = add ? out[to] + sum : sum;
            }
          }
        }
      }
    }
  };
}

// Eight columns of B side by side, for each k; columns that are not there are 0.
function packColumns(panels, b, bk, bj, size, n) {
  for (let j = 0, to = 0; j < n; j += 8) {
    if (j + 8 <= n) {
      for (let k = 0, q = j * bj; k < size; k++, q += bk, to += 8) {
        panels[to] = b[q]; panels[to + 1] = b[q + bj]; panels[to + 2] = b[q + 2 * bj]; panels[to + 3] = b[q + 3 * bj];
        panels[to + 4] = b[q + 4 * bj]; panels[to + 5] = b[q + 5 * bj]; panels[to + 6] = b[q + 6 * bj]; panels[to + 7] = b[q + 7 * bj];
      }
      continue;
    }
    for (let k = 0; k < size; k++, to += 8) {
      for (let c = 0; c < 8; c++) panels[to + c] = j + c < n ? b[k * bk + (j + c) * bj] : 0;
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
export function multiplyPlainly(out, oi, m, n, size, a, ai, ak, b, bk, bj, add = false) {
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

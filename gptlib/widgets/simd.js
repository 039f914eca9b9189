// Matrix products four numbers at a time: WebAssembly, written here instruction by instruction.
//
// JavaScript has no instruction that multiplies four numbers at once; WebAssembly has. The one
// function below works out a tile: 4 rows of x times 8 columns of w, 32 sums that stay in the
// processor's registers. The loops around it are JavaScript.
import { matmul } from "./gpt.js";
import { ADD_I32, I32, V128, assemble, get, leb, loop, set } from "./wasm.js";

const load = (offset) => [0xfd, 0x00, 0, ...leb(offset)]; // four numbers
const SPLAT = [0xfd, 0x09, 0, 0]; // one number, four times
const store = (offset) => [0xfd, 0x0b, 0, ...leb(offset)];
const MUL = [0xfd, 0xe6, 0x01], ADD = [0xfd, 0xe4, 0x01];

// tile(x, long, w, step, out, wide, n): n numbers of four rows of x, `long` bytes from row to row,
// times n rows of eight numbers, `step` bytes from row to row; the 32 sums go to `out`, its rows
// `wide` bytes apart.
function compile(memory) {
  const [x, long, w, step, out, wide, n] = [0, 1, 2, 3, 4, 5, 6];
  const rows = [x, 7, 8, 9], one = [0x41, 4]; // where each row of x is; four bytes
  const w0 = 10, w1 = 11, x0 = 12;
  const sum = (row, half) => 13 + 2 * row + half;
  const move = (place, from, by) => [...get(from), ...by, ...ADD_I32, ...set(place)];
  return assemble(memory, 7, [2, 3, I32, 11, V128], [ // the eleven are 0 at first
    ...[1, 2, 3].flatMap((i) => move(rows[i], rows[i - 1], get(long))),
    ...loop(n,
      ...get(w), ...load(0), ...set(w0), ...get(w), ...load(16), ...set(w1),
      ...rows.flatMap((place, row) => [
        ...get(place), ...SPLAT, ...set(x0), ...move(place, place, one),
        ...[w0, w1].flatMap((four, half) => [...get(sum(row, half)), ...get(x0), ...get(four), ...MUL, ...ADD, ...set(sum(row, half))]),
      ]),
      ...move(w, w, get(step))),
    ...rows.flatMap((_, row) => [
      ...[0, 1].flatMap((half) => [...get(out), ...get(sum(row, half)), ...store(16 * half)]), ...move(out, out, get(wide))]),
  ]);
}

export const up = (n, by) => Math.ceil(n / by) * by;

// { tile, keep(numbers), desk(numbers) }: the tile, and room in its memory, in numbers: kept for
// good, or a desk to work at until the next one is asked for. Null where there is no SIMD.
export function workroom() {
  let memory, tile;
  try {
    memory = new WebAssembly.Memory({ initial: 1 });
    tile = compile(memory);
  } catch {
    return null;
  }
  let view = new Float32Array(memory.buffer);
  let kept = 0;
  const desk = (numbers) => { // [where it begins, the whole memory]
    const pages = Math.ceil((kept + numbers) / 16384) - memory.buffer.byteLength / 65536;
    if (pages > 0) { memory.grow(pages); view = new Float32Array(memory.buffer); }
    return [kept, view];
  };
  const keep = (numbers) => { const found = desk(numbers); kept += numbers; return found; };
  return { tile, keep, desk };
}

// A matmul as gpt.js has it, fast from 4 rows on. It keeps a copy of each weight that it has met,
// eight columns side by side, as the tile reads them.
export function fastMatmul({ tile, keep, desk }) {
  const known = new Map(); // weight -> where its copy begins
  const copy = (weight, n, m) => {
    const [at, view] = keep(n * m);
    for (let j = 0; j < m; j++) {
      for (let i = 0; i < n; i++) view[at + (j - (j % 8)) * n + 8 * i + (j % 8)] = weight[j * n + i];
    }
    known.set(weight, at);
    return at;
  };
  return (x, weight, T, n, m) => {
    if (T < 4 || m % 8) return matmul(x, weight, T, n, m);
    const w = known.get(weight) ?? copy(weight, n, m), T4 = up(T, 4);
    const [at, view] = desk(T4 * (n + m)), out = at + T4 * n;
    view.set(x, at);
    for (let j = 0; j < m; j += 8) {
      for (let t = 0; t < T; t += 4) tile(4 * (at + t * n), 4 * n, 4 * (w + j * n), 32, 4 * (out + t * m + j), 4 * m, n);
    }
    return view.slice(out, out + T * m);
  };
}

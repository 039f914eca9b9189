// A matrix product four numbers at a time: WebAssembly, written here instruction by instruction.
//
// JavaScript has no instruction that multiplies four numbers at once; WebAssembly has. The one
// function below works out a tile: 4 rows of x times 8 rows of the weight, 32 sums that stay in the
// processor's registers. The loops around it are JavaScript.
import { matmul } from "./gpt.js";
import { ADD_I32, V128, assemble, get, leb, loop, set } from "./wasm.js";

const step = (local, by) => [...get(local), 0x41, by, ...ADD_I32, ...set(local)]; // local += by, below 64
const load = (offset) => [0xfd, 0x00, 0, ...leb(offset)]; // four numbers
const splat = (offset) => [0xfd, 0x09, 0, ...leb(offset)]; // one number, four times
const store = (offset) => [0xfd, 0x0b, 0, ...leb(offset)];
const MUL = [0xfd, 0xe6, 0x01], ADD = [0xfd, 0xe4, 0x01];

// tile(x, w, out, n): addresses of n columns of four x, interleaved, and of eight w, interleaved;
// the 32 sums go to `out`, row after row.
function compile(memory) {
  const [x, w, out, n, w0, w1, x0] = [0, 1, 2, 3, 4, 5, 6];
  const sum = (row, half) => 7 + 2 * row + half;
  const all = [0, 1, 2, 3].flatMap((row) => [[row, 0], [row, 1]]);
  return assemble(memory, 4, [1, 11, V128], [ // eleven locals of four numbers each, all 0 at first
    ...loop(n,
      ...get(w), ...load(0), ...set(w0), ...get(w), ...load(16), ...set(w1),
      ...[0, 1, 2, 3].flatMap((row) => [
        ...get(x), ...splat(4 * row), ...set(x0),
        ...[w0, w1].flatMap((four, half) => [...get(sum(row, half)), ...get(x0), ...get(four), ...MUL, ...ADD, ...set(sum(row, half))]),
      ]),
      ...step(x, 16), ...step(w, 32)),
    ...all.flatMap(([row, half]) => [...get(out), ...get(sum(row, half)), ...store(32 * row + 16 * half)]),
  ]);
}

// A matmul as gpt.js has it, fast from 4 rows on; where there is no SIMD it is that one. It keeps a
// copy of each weight that it has met, in the order that the tile reads.
export function fastMatmul() {
  const memory = new WebAssembly.Memory({ initial: 1 });
  let tile;
  try { tile = compile(memory); } catch { return matmul; }
  let view = new Float32Array(memory.buffer);
  let used = 32; // numbers in use; the first 32 are the tile's
  const room = (numbers) => {
    const at = used;
    used += numbers;
    const pages = Math.ceil(used / 16384) - memory.buffer.byteLength / 65536;
    if (pages > 0) { memory.grow(pages); view = new Float32Array(memory.buffer); }
    return at;
  };
  const kept = new Map(); // weight -> where its copy begins
  const keep = (weight, n, m8) => {
    const at = room(n * m8);
    for (let j = 0; j < m8; j++) {
      for (let i = 0; i < n; i++) view[at + (j - (j % 8)) * n + 8 * i + (j % 8)] = weight[j * n + i];
    }
    kept.set(weight, at);
    return at;
  };
  let place = 0, size = 0; // where x is laid out
  return (x, weight, T, n, m) => {
    if (T < 4 || m % 8) return matmul(x, weight, T, n, m);
    const w = kept.get(weight) ?? keep(weight, n, m);
    if (n * 4 > size) { size = n * 4; place = room(size); }
    const out = new Float32Array(T * m);
    for (let t = 0; t < T; t += 4) {
      const rows = Math.min(4, T - t);
      for (let r = 0; r < 4; r++) {
        const from = (t + Math.min(r, rows - 1)) * n;
        for (let i = 0; i < n; i++) view[place + 4 * i + r] = x[from + i];
      }
      for (let j = 0; j < m; j += 8) {
        tile(4 * place, 4 * (w + j * n), 0, n);
        for (let r = 0; r < rows; r++) {
          const to = (t + r) * m + j;
          for (let k = 0; k < 8; k++) out[to + k] = view[8 * r + k];
        }
      }
    }
    return out;
  };
}

// Let a GPT's linear layers use it.
export function speedUp(model) {
  const product = fastMatmul();
  const linears = model.blocks.flatMap(({ attention, feed_forward }) =>
    [attention.qkv, attention.project, feed_forward.expand, feed_forward.project]);
  for (const linear of [...linears, model.head]) linear.product = product;
}

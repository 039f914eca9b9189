// Muon for the matrices of the blocks, as gptlib/muon.py has it: an update that goes equally far in
// every direction of a matrix. The products are those of product.js; room.arrays has the desk.

const POLYNOMIAL = [3.4445, -4.775, 2.0315]; // Jordan's: s -> 3.4445 s - 4.7750 s³ + 2.0315 s⁵
const EPS = 1e-7;

// The names of what Muon moves: matrices of the blocks. Tables and vectors stay with AdamW.
export const matrices = ({ shapes }) => Object.keys(shapes).filter((name) => name.startsWith("blocks.") && shapes[name].length === 2);

// The same directions, all about equally long: x (rows, columns) becomes a matrix whose singular
// values are near 1. The desk: x, and room for another x and for two squares of the smaller side.
export function orthogonalise([x, y, square, mixed], rows, columns, multiply, steps = 5) {
  const [a, b, c] = POLYNOMIAL, tall = rows > columns, size = rows * columns;
  const R = Math.min(rows, columns), C = Math.max(rows, columns);
  let now = tall ? turned(y, x, rows, columns) : x, next = tall ? x : y, sum = 0;
  for (let i = 0; i < size; i++) sum += now[i] * now[i];
  const share = 1 / (Math.sqrt(sum) + EPS); // no singular value above 1
  for (let i = 0; i < size; i++) now[i] *= share;
  for (let step = 0; step < steps; step++) {
    multiply(square, R, R, R, C, now, C, 1, now, 1, C); // x @ xᵀ, (R, R)
    multiply(mixed, R, R, R, R, square, R, 1, square, R, 1);
    for (let i = 0; i < R * R; i++) mixed[i] = b * square[i] + c * mixed[i];
    multiply(next, C, R, C, R, mixed, R, 1, now, C, 1);
    for (let i = 0; i < size; i++) next[i] += a * now[i];
    [now, next] = [next, now];
  }
  return tall ? turned(next, now, columns, rows) : now;
}

// The transpose of `from` (rows, columns), written into `to`.
function turned(to, from, rows, columns) {
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) to[j * rows + i] = from[i * columns + j];
  return to;
}

// One update of these matrices, whose gradients are `shorter` times what stands in room.grads. lr and
// weight_decay: of this step. Returns by name the length of the update over that of the weight.
export function muon_step(room, names, { lr, weight_decay, momentum = 0.95 }, shorter = 1) {
  const { weights, grads, means, shapes, arrays, multiply } = room, ratios = {};
  for (const name of names) {
    const w = weights[name], grad = grads[name], mean = means[name], [rows, columns] = shapes[name];
    const [x, y] = [arrays.orth_x.subarray(0, w.length), arrays.orth_y.subarray(0, w.length)];
    for (let i = 0; i < w.length; i++) {
      const g = grad[i] * shorter, m = mean[i] + (1 - momentum) * (g - mean[i]);
      mean[i] = m;
      x[i] = g + momentum * (m - g); // Nesterov's: the newest gradient counts once more
    }
    const move = orthogonalise([x, y, arrays.orth_square, arrays.orth_mixed], rows, columns, multiply);
    const far = lr * Math.sqrt(Math.max(1, rows / columns)), kept = 1 - lr * weight_decay;
    let moved = 0, before = 0;
    for (let i = 0; i < w.length; i++) {
      const old = w[i];
      w[i] = old * kept - far * move[i];
      before += old * old;
      moved += (w[i] - old) ** 2;
    }
    ratios[name] = Math.sqrt(moved / (before || 1));
  }
  return ratios;
}

// Several workers at one step, "data parallelism": each takes some rows of the batch and returns the
// mean of their gradients; the mean of all is what one worker would have had, but for rounding.
import { gpt_back, roomFor } from "./by_hand_gpt.js";

// How many of `rows` each of n helpers takes: as even as can be, the first take what is left over.
export const portions = (rows, n) => Array.from({ length: n }, (_, k) => Math.floor(rows / n) + (k < rows % n ? 1 : 0));

// One that helps: (asked) => { loss, grads }, the mean over its rows. Asked are { weights, idx, targets,
// size }: all weights in one row, its rows of the batch, and what is broken, as in room.size.
export function helper(config, rows) {
  const room = roomFor(config, rows);
  return ({ weights, idx, targets, size }) => {
    room.flat.weights.set(weights);
    room.flat.grads.fill(0);
    Object.assign(room.size, size);
    const loss = gpt_back(idx, targets, room);
    return { loss, grads: room.flat.grads.slice() };
  };
}

// gpt_back of by_hand_gpt.js by several: the loss of the batch; its gradients are added to room.grads.
// `helpers`: functions that promise what one of `helper` returns, in the order of `portions`.
export async function gpt_back_together(idx, targets, room, helpers) {
  const { T, masked, muddled, twice } = room.size, rows = idx.length / T, { weights, grads } = room.flat;
  let from = 0;
  const parts = portions(rows, helpers.length);
  const answers = await Promise.all(parts.map((n, k) => {
    const [begin, end] = [from * T, (from += n) * T];
    return helpers[k]({ weights: weights.slice(), idx: idx.slice(begin, end), targets: targets.slice(begin, end), size: { masked, muddled, twice } });
  }));
  let total = 0;
  answers.forEach(({ loss, grads: found }, k) => {
    const share = parts[k] / rows;
    total += share * loss;
    for (let i = 0; i < found.length; i++) grads[i] += share * found[i];
  });
  return total;
}

// Behind a port: what is asked of helper number `place` of so many, and its answers.
export function answering({ port, config, batch_size, place, of }) {
  const answer = helper(config, portions(batch_size, of)[place]);
  port.onmessage = ({ data }) => {
    const told = answer(data);
    port.postMessage(told, [told.grads.buffer]);
  };
}

// In front of it: a function that promises the answer.
export function asking(port) {
  return (asked) => new Promise((resolve) => {
    port.onmessage = ({ data }) => resolve(data);
    port.postMessage(asked, [asked.weights.buffer, asked.idx.buffer, asked.targets.buffer]);
  });
}

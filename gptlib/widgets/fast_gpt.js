// The forward pass of gpt.js for an exam, which asks at some places of a whole text: the same
// numbers, sooner. The products are those of simd.js, attention's two among them; GELU is read off a
// table; and in the last block only the asked places have queries and a feed-forward layer.
import { embed, gelu } from "./gpt.js";
import { fastMatmul, up, workroom } from "./simd.js";

// (idx, places) -> logits (places.length, V): what the model says behind each of these tokens of a
// text. Parts that are switched off later are off here, too.
export function fastGPT(model) {
  const { n_embd: C, n_head } = model.config;
  const room = workroom();
  if (room) {
    const product = fastMatmul(room);
    const linears = model.blocks.flatMap(({ attention, feed_forward }) =>
      [attention.qkv, attention.project, feed_forward.expand, feed_forward.project]);
    for (const linear of [...linears, model.head]) linear.product = product;
  }
  if (!room || (C / n_head) % 8) return (idx, places) => model.logits(rowsOf(model.read(idx), places, C));
  const attend = fastAttention(room, C, n_head), bend = tabled((x) => gelu(x, model.config.gelu));
  return (idx, places) => {
    let x = embed(model, idx, 0);
    const all = Array.from(idx.keys());
    for (const [i, block] of model.blocks.entries()) x = blockAt(block, attend, bend, x, i < model.blocks.length - 1 ? all : places, C);
    return model.logits(x);
  };
}

// x (T, C) -> (places.length, C), what a block makes of x at these places.
function blockAt({ attention, feed_forward, norm, norm_1, norm_2 }, attend, bend, x, places, C) {
  const join = (x, change) => { for (let i = 0; i < x.length; i++) change[i] += x[i]; return change; };
  const pre = norm === "pre";
  const heads = attend(attention.qkv.forward(pre ? norm_1(x) : x), places, attention.off);
  let y = join(rowsOf(x, places, C), attention.project.forward(heads));
  if (!pre) y = norm_1(y);
  if (!feed_forward.off) y = join(y, feed_forward.project.forward(bend(feed_forward.expand.forward(pre ? norm_2(y) : y))));
  return pre ? y : norm_2(y);
}

function rowsOf(x, places, C) {
  const rows = new Float32Array(places.length * C);
  places.forEach((t, i) => rows.set(x.subarray(t * C, (t + 1) * C), i * C));
  return rows;
}

// A function of GELU's kind, 0 far below 0 and x far above, from 16,384 of its values: between two of
// them a straight line is wrong by 1e-7 at most, as the function itself is. It works in place.
function tabled(of, end = 8, fine = 1024) {
  const table = of(Float32Array.from({ length: 2 * end * fine + 1 }, (_, i) => i / fine - end));
  return (x) => {
    for (let i = 0; i < x.length; i++) {
      const at = (x[i] + end) * fine, k = at | 0;
      if (at > 0 && at < table.length - 1) x[i] = table[k] + (at - k) * (table[k + 1] - table[k]);
      else if (at <= 0) x[i] = 0;
    }
    return x;
  };
}

// The heads of a layer side by side: qkv (T, 3C), places -> (places.length, C). Four places at a
// time: scores for eight keys in a tile, softmax up to each place's own, and the weighted values.
function fastAttention({ tile, desk }, C, n_head) {
  const hs = C / n_head;
  return (qkv, places, off) => {
    const T = qkv.length / (3 * C), S = up(T, 8), A = up(places.length, 4);
    const [queries, view] = desk(2 * A * C + C * S + T * C + 4 * S);
    const keys = queries + A * C, values = keys + C * S, weights = values + T * C, out = weights + 4 * S;
    places.forEach((t, i) => {
      const row = queries + i * C;
      for (let c = 0; c < C; c++) view[row + c] = qkv[3 * t * C + c] / Math.sqrt(hs);
    });
    for (let t = 0, from = C; t < T; t++, from += 3 * C) {
      for (let c = 0; c < C; c++) view[keys + c * S + t] = qkv[from + c]; // a column a token
      view.set(qkv.subarray(from + C, from + 2 * C), values + t * C);
    }
    for (let head = 0; head < n_head; head++) {
      const first = head * hs;
      for (let i = 0; i < places.length; i += 4) {
        const four = places.slice(i, i + 4), seen = Math.max(...four) + 1;
        for (let s = 0; s < seen; s += 8) {
          tile(4 * (queries + i * C + first), 4 * C, 4 * (keys + first * S + s), 4 * S, 4 * (weights + s), 4 * S, hs);
        }
        four.forEach((t, r) => softmaxTo(view, weights + r * S, t + 1, seen));
        for (let j = first; j < first + hs; j += 8) {
          tile(4 * weights, 4 * S, 4 * (values + j), 4 * C, 4 * (out + i * C + j), 4 * C, seen);
        }
      }
    }
    const found = view.slice(out, out + places.length * C);
    for (const head of off) for (let at = head * hs; at < found.length; at += C) found.fill(0, at, at + hs);
    return found;
  };
}

// Softmax of the first n numbers from `at` on, in place; those up to `end` are not seen: 0.
function softmaxTo(view, at, n, end) {
  let best = -Infinity, total = 0;
  for (let i = at; i < at + n; i++) if (view[i] > best) best = view[i];
  for (let i = at; i < at + n; i++) total += view[i] = Math.exp(view[i] - best);
  for (let i = at; i < at + n; i++) view[i] /= total;
  view.fill(0, at + n, at + end);
}

// The stories' grammar: it writes, reads back and prices stories as gptlib/corpus/grammar.py does.
//
// Its rules and words are data that story_key.py makes of the Python grammar; none stand here. A row
// of a table is a number, its place among all rows; a memory holds one for each slot.

const TEXT = { form: "text", without: [], below: "", sure: false };

export class Grammar {
  constructor({ rows, tables, forks, computed }) {
    this.rows = rows.map((row) => (typeof row === "string" ? { text: row } : row));
    this.tables = tables;
    this.computed = computed;
    this.start = null;
    const made = []; // a fork names only forks before it
    for (const options of forks) {
      this.start = { options: options.map((option) => option.map((node) => this.node(node, made))) };
      made.push(this.start);
    }
  }

  node(node, made) {
    if (typeof node === "number") return made[node];
    if (typeof node === "string") return { candidates: [[node, -1]] };
    const full = { ...TEXT, ...node };
    if (full.table && !full.below && !full.without.length) { // the same in every story
      full.candidates = this.tables[full.table].map((row) => [this.formOf(row, full.form), row]);
    }
    return full;
  }

  // The form of a row: a column, `a` (with its article), or either with a capital.
  formOf(row, form) {
    const known = this.rows[row][form];
    if (known !== undefined) return known;
    if (form === "a") return ("aeiou".includes(this.rows[row].text[0]) ? "an " : "a ") + this.rows[row].text;
    const lower = this.formOf(row, form[0].toLowerCase() + form.slice(1));
    return lower[0].toUpperCase() + lower.slice(1);
  }

  // What may stand here, as [text, row to remember or -1].
  candidates(node, memory) {
    if (node.candidates) return node.candidates;
    if (!node.table) {
      const follows = this.computed[node.slot];
      const row = follows ? follows.rows[follows.of.map((slot) => memory[slot]).join(" ")] : memory[node.slot];
      return [[this.formOf(row, node.form), -1]];
    }
    let rows = this.tables[node.table];
    if (node.below) rows = rows.slice(0, rows.indexOf(memory[node.below]));
    const taken = node.without.map((slot) => memory[slot]);
    return rows.filter((row) => !taken.includes(row)).map((row) => [this.formOf(row, node.form), row]);
  }

  // A story, its price and its copies; draws `random()`, in [0, 1), once a choice, as Python does.
  write(random) {
    let text = "";
    let nats = 0;
    const memory = {};
    const copies = [];
    const todo = [this.start];
    while (todo.length) {
      const node = todo.pop();
      const options = node.options ?? this.candidates(node, memory);
      const i = node.options || node.table ? Math.floor(random() * options.length) : 0;
      nats += Math.log(options.length);
      if (node.options) {
        todo.push(...options[i].toReversed());
        continue;
      }
      const [piece, row] = options[i];
      if (node.table) memory[node.slot] = row;
      else if (node.slot) copies.push(copyOf(node, text.length, text.length + piece.length));
      text += piece;
    }
    return { text, nats, copies };
  }

  // Every derivation { nats, copies } of `text`, where reading stopped, and the price of each prefix.
  // `rests`: what is left of the pieces that were expected there.
  // `copies`, beside them: those on which all readings agree that came as far as any, the one that
  // reading stopped in included; so a story that is not finished has its copies, too.
  read(text) {
    const found = [];
    const mass = new Float64Array(text.length + 1); // the probability that a story begins text[:k]
    mass[0] = 1;
    let furthest = 0;
    let missed = []; // { piece, rest, skill, copies } of each reading that came furthest
    // A branch: character, what is still to come, memory, nats, copies; linked lists share their tails.
    const branches = [[0, [this.start, null], {}, 0, null]];
    while (branches.length) {
      const [at, todo, memory, before, copies] = branches.pop();
      if (!todo) {
        if (at === text.length) found.push({ nats: before, copies: unlink(copies) });
        else if (at >= furthest) {
          furthest = at;
          missed = [{ piece: "the end of the story", rest: "", skill: "ending", copies }];
        }
        continue;
      }
      const [node, rest] = todo;
      const options = node.options ?? this.candidates(node, memory);
      const nats = before + Math.log(options.length);
      if (node.options) {
        for (const option of options) {
          branches.push([at, option.reduceRight((tail, part) => [part, tail], rest), memory, nats, copies]);
        }
        continue;
      }
      const probability = Math.exp(-nats);
      const copied = node.slot && !node.table;
      for (const [piece, row] of options) {
        const end = at + shared(piece, text, at);
        for (let k = at + 1; k <= end; k++) mass[k] += probability;
        const seen = copied ? [copyOf(node, at, at + piece.length), copies] : copies;
        if (end - at < piece.length) {
          if (end > furthest) {
            furthest = end;
            missed = [];
          }
          if (end === furthest) {
            missed.push({ piece, rest: piece.slice(end - at), skill: copied ? node.skill : "wording", copies: seen });
          }
        } else {
          branches.push([end, rest, row < 0 ? memory : { ...memory, [node.slot]: row }, nats, seen]);
        }
      }
    }
    const all = (name) => [...new Set(missed.map((one) => one[name]))];
    const failure = {
      position: furthest, expected: all("piece"), rests: all("rest"), skill: all("skill").length === 1 ? missed[0].skill : "wording",
    };
    const readings = found.length ? found.map((one) => one.copies) : missed.map((one) => unlink(one.copies));
    return { found, failure, prices: mass.map((p) => -Math.log(p)), copies: agreed(readings) };
  }
}

const copyOf = ({ slot, skill, sure }, start, end) => ({ slot, skill, start, end, sure });

// How many characters of `piece` stand in `text` from `at` on.
function shared(piece, text, at) {
  let k = 0;
  while (k < piece.length && piece[k] === text[at + k]) k += 1;
  return k;
}

function unlink(chain) {
  const items = [];
  for (; chain; chain = chain[1]) items.push(chain[0]);
  return items.reverse();
}

// The copies that stand in each of the readings.
function agreed([first = [], ...others]) {
  const named = (copy) => `${copy.start} ${copy.end} ${copy.skill} ${copy.sure}`;
  const sets = others.map((copies) => new Set(copies.map(named)));
  return first.filter((copy) => sets.every((set) => set.has(named(copy))));
}

// Random numbers as Python's Random(seed).random() draws them (MT19937, by M. Matsumoto and
// T. Nishimura, 1998); `seed` from 0 to 2 ** 32 - 1.
export function pythonRandom(seed) {
  const N = 624;
  const state = new Uint32Array(N);
  const mixed = (i, factor) => Math.imul(state[i - 1] ^ (state[i - 1] >>> 30), factor);
  state[0] = 19650218;
  for (let i = 1; i < N; i++) state[i] = mixed(i, 1812433253) + i;
  let i = 1;
  const stir = (times, change) => {
    for (let k = 0; k < times; k++) {
      state[i] = change(i);
      if (++i === N) { state[0] = state[N - 1]; i = 1; }
    }
  };
  stir(N, (i) => (state[i] ^ mixed(i, 1664525)) + seed);
  stir(N - 1, (i) => (state[i] ^ mixed(i, 1566083941)) - i);
  state[0] = 0x80000000;
  let at = N;
  const next = () => {
    if (at === N) {
      for (let k = 0; k < N; k++) {
        const y = (state[k] & 0x80000000) | (state[(k + 1) % N] & 0x7fffffff);
        state[k] = state[(k + 397) % N] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
      }
      at = 0;
    }
    let y = state[at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  };
  return () => ((next() >>> 5) * 67108864 + (next() >>> 6)) / 9007199254740992;
}

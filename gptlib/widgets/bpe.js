// Byte-pair encoding, as gptlib/tokenizer.py does it: the same names, the same cuts, the same ids.

// What counts as a letter and as a number, as of Unicode 16: a browser that knows more, or less,
// must cut in the same places. Letters and numbers of Unicode 15.1 and 16 are added, for browsers
// that are older; those of 17 and 18 are left out (a range may span what is neither).
const LETTERS_OF_16 =
  String.raw`\u{1c89}-\u{1c8a}\u{a7cb}-\u{a7cd}\u{a7da}-\u{a7dc}\u{105c0}-\u{105f3}\u{10d4a}-\u{10d65}` +
  String.raw`\u{10d6f}-\u{10d85}\u{10ec2}-\u{10ec4}\u{11380}-\u{11389}\u{1138b}\u{1138e}\u{11390}-\u{113b5}` +
  String.raw`\u{113b7}\u{113d1}\u{113d3}\u{11bc0}-\u{11be0}\u{13460}-\u{143fa}\u{16100}-\u{1611d}` +
  String.raw`\u{16d40}-\u{16d6c}\u{18cff}\u{1e5d0}-\u{1e5ed}\u{1e5f0}\u{2ebf0}-\u{2ee5d}`;
const NUMBERS_OF_16 =
  String.raw`\u{10d40}-\u{10d49}\u{116d0}-\u{116e3}\u{11bf0}-\u{11bf9}\u{16130}-\u{16139}` +
  String.raw`\u{16d70}-\u{16d79}\u{1ccf0}-\u{1ccf9}\u{1e5f1}-\u{1e5fa}`;
const NEWER =
  String.raw`\u{558}\u{58b}-\u{58c}\u{88f}\u{c5c}\u{cdc}\u{208f}\u{209d}-\u{209f}\u{a7ce}-\u{a7cf}\u{a7d2}` +
  String.raw`\u{a7d4}\u{a7dd}-\u{a7f1}\u{ab6c}-\u{ab6d}\u{107bb}-\u{107bf}\u{10940}-\u{10959}` +
  String.raw`\u{10ec5}-\u{10eee}\u{11b0a}\u{11db0}-\u{11df1}\u{1246f}-\u{1247f}\u{12550}-\u{12686}` +
  String.raw`\u{16ea0}-\u{16ed3}\u{16ff2}-\u{16ff6}\u{187f8}-\u{187ff}\u{18cd6}-\u{18cda}` +
  String.raw`\u{18d09}-\u{191d2}\u{1b123}-\u{1b128}\u{1b168}\u{1d6a6}\u{1df1f}-\u{1df24}\u{1df2b}-\u{1dfff}` +
  String.raw`\u{1e6c0}-\u{1e6ff}\u{2b73a}-\u{2b73f}\u{2b81e}\u{2cea2}-\u{2cead}\u{323b0}-\u{3fc3f}`;
const LETTER = String.raw`[[\p{L}${LETTERS_OF_16}]--[${NEWER}]]`;
const NUMBER = String.raw`[[\p{N}${NUMBERS_OF_16}]--[${NEWER}]]`;
const SPACE = String.raw`\p{White_Space}`; // JavaScript's own \s is another set than Python's

// GPT-2's rule for cutting text into words; pairs merge only inside a word.
const SPLIT_PATTERN = new RegExp(
  `'(?:[sdmt]|ll|ve|re)| ?${LETTER}+| ?${NUMBER}+| ?[^${SPACE}${LETTER}${NUMBER}]+|` +
  String.raw`${SPACE}+(?!\P{White_Space})|${SPACE}+`, "gv");

// Cut text into words; joined together they are the text again.
export function splitWords(text) {
  return text.match(SPLIT_PATTERN) ?? [];
}

// The same, with each of the special tokens a word of its own; where two fit, the longer one counts.
export function splitText(text, specialTokens = []) {
  if (!specialTokens.length) return splitWords(text);
  const longestFirst = specialTokens.toSorted((a, b) => points(b).length - points(a).length);
  const quoted = longestFirst.map((token) => token.replace(/[\\^$.*+?()[\]{}|\/]/g, "\\$&"));
  return text.split(new RegExp(`(${quoted.join("|")})`, "v"))
    .flatMap((piece) => (specialTokens.includes(piece) ? [piece] : splitWords(piece)));
}

// The characters of a text, those of two halves in one piece.
export const points = (text) => Array.from(text);

// Where a lone surrogate stands, half of a character, which has no bytes; -1 where there is none.
export function loneSurrogate(text) {
  return points(text).findIndex((char) => /^\p{Surrogate}$/u.test(char));
}

export function utf8(text) {
  const lone = loneSurrogate(text);
  if (lone >= 0) throw new Error(`the text holds half of a character at position ${lone}, which has no bytes`);
  return new TextEncoder().encode(text);
}

// A tokenizer from what Python sends of it: the merges as ids in a row, two and two; the byte that
// each of the first 256 ids stands for; the special tokens, which have the last ids.
export function tokenizerOf({ merges, byteOrder, specialTokens = [] }) {
  const size = 256 + merges.length / 2;
  const ids = new Map();
  const vocab = Array.from({ length: 256 }, (_, i) => Uint8Array.of(byteOrder[i]));
  for (let id = 256; id < size; id++) {
    const [left, right] = [merges[2 * (id - 256)], merges[2 * (id - 256) + 1]];
    ids.set(left * size + right, id);
    const joined = new Uint8Array(vocab[left].length + vocab[right].length);
    joined.set(vocab[left]);
    joined.set(vocab[right], vocab[left].length);
    vocab.push(joined);
  }
  const byteToId = new Uint8Array(256);
  vocab.slice(0, 256).forEach(([byte], i) => { byteToId[byte] = i; });
  return {
    vocab: [...vocab, ...specialTokens.map(utf8)],
    nMerges: size - 256,
    specialTokens,
    specialIds: new Map(specialTokens.map((token, i) => [token, size + i])),
    cache: new Map(),
    byteToId,
    idOf: (left, right) => ids.get(left * size + right) ?? Infinity, // of the pair, if it is a merge
    partsOf: (id) => (id >= 256 && id < size ? [merges[2 * (id - 256)], merges[2 * (id - 256) + 1]] : null),
  };
}

// Merge inside one word, the merge that was learned earliest first, until none fits.
export function applyMerges(ids, idOf) {
  for (;;) {
    let earliest = Infinity;
    for (let i = 0; i + 1 < ids.length; i++) earliest = Math.min(earliest, idOf(ids[i], ids[i + 1]));
    if (earliest === Infinity) return ids;
    ids = mergePair(ids, idOf, earliest);
  }
}

// `ids` with every pair that makes `newId`, found from left to right, replaced by it.
export function mergePair(ids, idOf, newId) {
  const merged = [];
  for (let i = 0; i < ids.length; i++) {
    const fits = i + 1 < ids.length && idOf(ids[i], ids[i + 1]) === newId;
    merged.push(fits ? newId : ids[i]);
    if (fits) i += 1;
  }
  return merged;
}

// The ids of a text, word by word. Special tokens in it are plain text unless they are allowed.
export function encodeWords(tokenizer, text, allowSpecial = false) {
  utf8(text); // or an error
  const { cache, specialIds, byteToId, idOf } = tokenizer;
  return splitText(text, allowSpecial ? tokenizer.specialTokens : []).map((word) => {
    if (allowSpecial && specialIds.has(word)) return [specialIds.get(word)];
    if (!cache.has(word)) cache.set(word, applyMerges(Array.from(utf8(word), (byte) => byteToId[byte]), idOf));
    return cache.get(word);
  });
}

// The ids of each of many texts.
export function encodeBatch(state, texts, allowSpecial = false) {
  const tokenizer = tokenizerOf(state);
  return texts.map((text) => encodeWords(tokenizer, text, allowSpecial).flat());
}

// One merge at a time. Each token is a tree: it was made by one merge, from two parts that were
// made before it. So all that happened on the way is in the finished tokens.

// How often each merge was made on the way to these words: [[id, places], ...], the earliest first.
export function mergesMade(tokenizer, words) {
  const places = new Map();
  const walk = (id) => {
    const parts = tokenizer.partsOf(id);
    if (!parts) return;
    places.set(id, (places.get(id) ?? 0) + 1);
    parts.forEach(walk);
  };
  words.flat().forEach(walk);
  return [...places].sort((a, b) => a[0] - b[0]);
}

// The words as they stood when the merges up to the id `last` were made, and no later one.
export function wordsAfter(tokenizer, words, last) {
  const undo = (id) => {
    const parts = id > last ? tokenizer.partsOf(id) : null;
    return parts ? parts.flatMap(undo) : [id];
  };
  return words.map((ids) => ids.flatMap(undo));
}

// The pairs of neighbours that are merges: [[id, places], ...], the earliest, which goes first, first.
export function pairsThatFit(tokenizer, words) {
  const places = new Map();
  for (const ids of words) {
    for (let i = 0; i + 1 < ids.length; i++) {
      const id = tokenizer.idOf(ids[i], ids[i + 1]);
      if (id < Infinity) places.set(id, (places.get(id) ?? 0) + 1);
    }
  }
  return [...places].sort((a, b) => a[0] - b[0]);
}

// Bytes as people can read them: text where they are text, a number for each byte that is not.
export function readable(bytes) {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let said = "";
  for (let i = 0; i < bytes.length;) {
    const length = bytes[i] < 0x80 ? 1 : bytes[i] < 0xe0 ? 2 : bytes[i] < 0xf0 ? 3 : 4;
    try {
      said += plain(decoder.decode(Uint8Array.from(bytes).subarray(i, i + length)));
      i += length;
    } catch {
      said += `⟨${bytes[i]}⟩`;
      i += 1;
    }
  }
  return said;
}

// One character, or its code point where nobody would see it. (Spaces and line breaks have signs.)
export function plain(char) {
  const sign = { " ": "␣", "\n": "⏎", "\t": "⇥" }[char];
  if (sign) return sign;
  if (/^\p{M}$/v.test(char)) return `◌${char}`;
  if (!/^[\p{C}\p{Z}]$/v.test(char)) return char;
  return `U+${char.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}`;
}

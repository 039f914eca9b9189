// A tokenizer of a model file as the page uses it, whichever of gptlib's it is.
import { encodeWords, readable, tokenizerOf } from "./bpe.js";

const MOST_BYTES = 64e6; // of all tokens together: merges of merges could ask for more than there is

// The state of a saved tokenizer -> { size, end, encode(text), bytes(id), label(id), decode(ids) }.
// `end` is the id of the first special token, which stands between texts, or -1. An Error says
// what is wrong with the state, and `encode` what is wrong with a text.
export function openVocabulary(state, vocab_size) {
  const made = { BPETokenizer: pieces, CharTokenizer: characters }[state.type]?.(state);
  if (!made) throw new Error("Its tokenizer is none of gptlib's.");
  if (made.vocab.length > vocab_size) {
    throw new Error(`Its tokenizer has ${made.vocab.length} tokens, and the model knows ${vocab_size}.`);
  }
  const bytes = (id) => made.vocab[id] ?? new Uint8Array();
  return {
    size: made.vocab.length,
    end: made.end,
    encode: made.encode,
    bytes,
    label: (id) => (id < made.vocab.length ? readable(bytes(id)) || "∅" : `id ${id}`),
    decode: (ids) => new TextDecoder().decode(Uint8Array.from(ids.flatMap((id) => [...bytes(id)]))),
  };
}

function pieces({ merges, special_tokens, byte_order }) {
  const wrong = new Error("The merges of its tokenizer make no sense.");
  if (!Array.isArray(merges) || !Array.isArray(special_tokens) || typeof byte_order !== "string") throw wrong;
  const order = Uint8Array.from(byte_order.match(/[0-9a-f]{2}/g) ?? [], (two) => parseInt(two, 16));
  if (byte_order.length !== 512 || new Set(order).size !== 256) throw wrong;
  const lengths = Array(256).fill(1);
  let total = 0;
  for (const pair of merges) {
    const known = (id) => Number.isSafeInteger(id) && id >= 0 && id < lengths.length;
    if (!Array.isArray(pair) || pair.length !== 2 || !pair.every(known)) throw wrong;
    lengths.push(lengths[pair[0]] + lengths[pair[1]]);
    total += lengths.at(-1);
    if (total > MOST_BYTES) throw wrong;
  }
  if (!special_tokens.every((token) => typeof token === "string" && token.isWellFormed())) throw wrong;
  const tokenizer = tokenizerOf({ merges: merges.flat(), byteOrder: order, specialTokens: special_tokens });
  return {
    vocab: tokenizer.vocab,
    end: special_tokens.length ? lengths.length : -1,
    encode: (text) => encodeWords(tokenizer, text).flat(),
  };
}

function characters({ chars }) {
  if (typeof chars !== "string" || !chars.isWellFormed()) throw new Error("The characters of its tokenizer make no sense.");
  const all = Array.from(chars);
  const ids = new Map(all.map((char, id) => [char, id]));
  if (ids.size !== all.length || !all.length) throw new Error("The characters of its tokenizer make no sense.");
  const encode = (text) => Array.from(text, (char) => {
    if (!ids.has(char)) throw new Error(`the text holds ${JSON.stringify(char)}, which is none of the ${all.length} characters that the model knows`);
    return ids.get(char);
  });
  return { vocab: all.map((char) => new TextEncoder().encode(char)), end: -1, encode };
}

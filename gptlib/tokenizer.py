"""Text to integers and back: by characters, then by byte-pair encoding.

Built in chapter 1. The file goes from the small to the whole: count pairs, merge a pair, cut text
into words, learn merges, apply merges; then two tokenizers that are thin on top of these.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import regex

from gptlib.given.checks.text import (
    MAX_VOCAB_BYTES,
    check_allowed_special,
    check_byte_order,
    check_ids,
    check_merges,
    check_special_tokens,
    check_text,
    check_vocab_size,
)
from gptlib.given.files import JsonFile
from gptlib.given.unicode16 import LETTER, NUMBER

if TYPE_CHECKING:
    import tiktoken

Pair = tuple[int, int]

END_OF_TEXT = "<|endoftext|>"

# GPT-2's rule for cutting text into words; pairs merge only inside a word. In order: the endings
# of English contractions; letters, numbers, or other signs, each with one space before them; white
# space. `\s+(?!\S)` leaves the last space of a run to the word that follows.
SPLIT_PATTERN = (
    rf"'(?:[sdmt]|ll|ve|re)| ?{LETTER}+| ?{NUMBER}+| ?[^\s{LETTER}{NUMBER}]+|\s+(?!\S)|\s+"
)

MAX_CACHED_WORDS = 100_000


def count_pairs(ids: Sequence[int]) -> Counter[Pair]:
    """How often each pair of neighbours stands in `ids`, overlapping pairs included.

    count_pairs([5, 6, 9, 5, 6]) -> {(5, 6): 2, (6, 9): 1, (9, 5): 1}
    count_pairs([7, 7, 7]) -> {(7, 7): 2}
    """
    return Counter(pairwise(ids))


def merge_pair(ids: Sequence[int], pair: Pair, new_id: int) -> list[int]:
    """`ids` with every occurrence of `pair`, found from left to right, replaced by `new_id`.

    merge_pair([5, 6, 9, 5, 6], (5, 6), 256) -> [256, 9, 256]
    merge_pair([5, 5, 5], (5, 5), 256) -> [256, 5]
    """
    merged = []
    i = 0
    while i < len(ids):
        if i + 1 < len(ids) and (ids[i], ids[i + 1]) == pair:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
            i += 1
    return merged


def split_words(text: str) -> list[str]:
    """Cut `text` into words by GPT-2's pattern; joined together they are `text` again.

    split_words("I'm  here, 24h!") -> ["I", "'m", " ", " here", ",", " 24", "h", "!"]
    """
    return regex.findall(SPLIT_PATTERN, text, flags=regex.V1)


def split_special(text: str, special_tokens: Collection[str]) -> list[str]:
    """Cut `text` before and after each of `special_tokens`; where two fit, the longer one counts.

    split_special("a<s>b", ["<s>"]) -> ["a", "<s>", "b"]
    """
    if not special_tokens:
        return [text]
    longest_first = sorted(special_tokens, key=len, reverse=True)
    return regex.split("(" + "|".join(map(regex.escape, longest_first)) + ")", text)


def most_frequent(counts: Mapping[Pair, int]) -> Pair:
    """The pair with the highest count; among equals, the smallest pair of ids.

    most_frequent({(98, 97): 3, (97, 98): 3, (1, 1): 2}) -> (97, 98)
    """
    highest = max(counts.values())
    return min(pair for pair, count in counts.items() if count == highest)


class PairIndex:
    """Every pair of neighbours in a set of words: how often it occurs, and in which words.

    After add(0, [97, 97, 98], times=2): counts {(97, 97): 2, (97, 98): 2}, where {…: {0}}.
    """

    def __init__(self) -> None:
        self.counts: Counter[Pair] = Counter()
        self.where: dict[Pair, set[int]] = defaultdict(set)

    def add(self, i: int, ids: Sequence[int], times: int) -> None:
        """Count the pairs of word number i, which occurs `times` times."""
        for pair, count in count_pairs(ids).items():
            self.counts[pair] += count * times
            self.where[pair].add(i)

    def remove(self, i: int, ids: Sequence[int], times: int) -> None:
        """Take back what `add` counted for the same word."""
        for pair, count in count_pairs(ids).items():
            self.counts[pair] -= count * times
            self.where[pair].discard(i)
            if not self.where[pair]:
                del self.counts[pair], self.where[pair]


def train_merges(word_counts: Mapping[str, int], n_merges: int) -> dict[Pair, int]:
    """Learn merges from words and their counts: again and again, merge the most frequent pair.

    A merge touches only the words that contain its pair, and only their pairs are counted anew.
    Returns {pair: new id} in order, with the ids 256, 257, ...; fewer than `n_merges` when no pair
    is left. Source: Sennrich et al. 2016, "Neural machine translation of rare words with subword
    units".

    train_merges({"aab": 2, "ab": 1}, 2) -> {(97, 98): 256, (97, 256): 257}
    """
    words = [list(word.encode("utf-8")) for word in word_counts]
    times = list(word_counts.values())
    pairs = PairIndex()
    for i, word in enumerate(words):
        pairs.add(i, word, times[i])
    merges: dict[Pair, int] = {}
    while pairs.counts and len(merges) < n_merges:
        pair = most_frequent(pairs.counts)
        merges[pair] = 256 + len(merges)
        for i in list(pairs.where[pair]):
            pairs.remove(i, words[i], times[i])
            words[i] = merge_pair(words[i], pair, merges[pair])
            pairs.add(i, words[i], times[i])
    return merges


def apply_merges(ids: Sequence[int], merges: Mapping[Pair, int]) -> list[int]:
    """Merge inside one word, the merge that was learned earliest first, until none fits.

    The work grows with the square of the word's length; words are short.

    apply_merges([97, 97, 98], {(97, 98): 256, (97, 256): 257}) -> [257]
    """
    ids = list(ids)
    while len(ids) > 1:
        pair = min(pairwise(ids), key=lambda pair: merges.get(pair, math.inf))
        if pair not in merges:
            break
        ids = merge_pair(ids, pair, merges[pair])
    return ids


def build_vocab(byte_order: bytes, merges: Iterable[Pair]) -> list[bytes]:
    """The bytes of each id: the single bytes, then for each merge its two parts joined.

    build_vocab(bytes(range(256)), [(97, 98), (256, 256)])[256:] -> [b"ab", b"abab"]
    """
    vocab = [bytes([byte]) for byte in byte_order]
    size = 256
    for left, right in merges:
        size += len(vocab[left]) + len(vocab[right])
        if size > MAX_VOCAB_BYTES:
            raise ValueError(f"merges make tokens of over {MAX_VOCAB_BYTES:,} bytes together.")
        vocab.append(vocab[left] + vocab[right])
    return vocab


def read_gpt2_merges(vocab_bpe: str) -> tuple[list[Pair], bytes]:
    """The merges in GPT-2's file `vocab.bpe`, as pairs of ids, and the order of its bytes.

    GPT-2 numbers the visible bytes first, then the others. Its file writes each byte as one visible
    character: its own, or for the others the next one from code point 256 on (the space is "Ġ").
    """
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in visible]
    signs = [chr(byte) for byte in visible] + [chr(256 + n) for n in range(len(others))]
    ids = {sign: i for i, sign in enumerate(signs)}
    merges: list[Pair] = []
    for number, line in enumerate(vocab_bpe.splitlines(), start=1):
        if number == 1 and line.startswith("#version"):
            continue
        left, _, right = line.partition(" ")
        if left not in ids or right not in ids:
            raise ValueError(f"vocab_bpe, line {number}: {line!r} is not two tokens known before.")
        ids[left + right] = 256 + len(merges)
        merges.append((ids[left], ids[right]))
    return merges, bytes(visible + others)


class CharTokenizer(JsonFile):
    """One id for each different character of `text`, in the order of their code points.

    CharTokenizer("hello").chars -> ["e", "h", "l", "o"]
    CharTokenizer("hello").encode("hole") -> [1, 3, 2, 0]
    """

    def __init__(self, text: str) -> None:
        self.chars = sorted(set(check_text(text)))
        self.char_to_id = {char: i for i, char in enumerate(self.chars)}
        self.vocab_size = len(self.chars)
        if not self.chars:
            raise ValueError("text is empty: a vocabulary needs at least one character.")

    def encode(self, text: str) -> list[int]:
        """One id a character. Errors: ValueError names a character that the vocabulary lacks."""
        for position, char in enumerate(text):
            if char not in self.char_to_id:
                raise ValueError(
                    f"text holds {char!r} at position {position}, which is none of the "
                    f"{self.vocab_size} characters of this vocabulary. Build the tokenizer from a "
                    "text that holds every character you need."
                )
        return [self.char_to_id[char] for char in text]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`. Errors: ValueError names an id outside 0..vocab_size-1."""
        return "".join(self.chars[i] for i in check_ids(ids, self.vocab_size))

    def _state(self) -> dict[str, Any]:
        return {"chars": "".join(self.chars)}

    @classmethod
    def _from_state(cls, chars: str) -> Self:
        return cls(chars)


class BPETokenizer(JsonFile):
    """Byte-pair encoding: ids 0..255 are the bytes, then the merges in order, then special tokens.

    `merges` are pairs of ids, the first learned first (a list, or the `.merges` of another
    tokenizer). `byte_order[i]` is the byte that id i stands for: i itself, unless given.

    BPETokenizer([(97, 98), (97, 256)]).encode("aab ab") -> [257, 32, 256]
    """

    def __init__(
        self,
        merges: Iterable[Pair],
        special_tokens: Collection[str] = (),
        byte_order: bytes = bytes(range(256)),
    ) -> None:
        self.merges = check_merges(merges)
        self.byte_order = check_byte_order(byte_order)
        self.vocab = build_vocab(self.byte_order, self.merges)
        self.special_tokens: dict[str, int] = {}
        for token in check_special_tokens(special_tokens):
            self.special_tokens[token] = len(self.vocab)
            self.vocab.append(token.encode("utf-8"))
        self.vocab_size = len(self.vocab)
        self._byte_to_id = bytes(self.byte_order.index(byte) for byte in range(256))
        self._cache: dict[str, list[int]] = {}

    @classmethod
    def train(cls, text: str, vocab_size: int, special_tokens: Collection[str] = ()) -> Self:
        """Learn from `text` as many merges as `vocab_size` has room for.

        The most frequent pair merges first; among equals, the smallest pair of ids. Special tokens
        in `text` only separate its pieces. Errors: ValueError when the text has too few pairs.

        BPETokenizer.train("low lower lowest", 258).vocab[256:] -> [b"lo", b"low"]
        """
        special = check_special_tokens(special_tokens)
        n_merges = check_vocab_size(vocab_size, len(special)) - 256 - len(special)
        pieces = split_special(check_text(text), special)
        words = [word for piece in pieces if piece not in special for word in split_words(piece)]
        merges = train_merges(Counter(words), n_merges)
        if len(merges) < n_merges:
            raise ValueError(
                f"vocab_size is {vocab_size}, which takes {n_merges} merges; in this text only "
                f"{len(merges)} are possible. Give more text, or a vocab_size of at most "
                f"{vocab_size - n_merges + len(merges)}."
            )
        return cls(merges, special)

    @classmethod
    def from_gpt2(cls, vocab_bpe: str) -> Self:
        """GPT-2's own tokenizer, given the text of its file `vocab.bpe`.

        BPETokenizer.from_gpt2("h e").encode("he!") -> [256, 0]  # "!" is GPT-2's first byte
        """
        merges, byte_order = read_gpt2_merges(vocab_bpe)
        return cls(merges, [END_OF_TEXT], byte_order)

    def encode(self, text: str, allowed_special: str | Collection[str] = ()) -> list[int]:
        """The ids of `text`.

        A special token in `text` is plain text like any other, unless `allowed_special` names it
        or is "all": nobody can end a document by writing "<|endoftext|>" into it.
        """
        allowed = check_allowed_special(allowed_special, self.special_tokens)
        ids: list[int] = []
        for piece in split_special(check_text(text), allowed):
            if piece in allowed:
                ids.append(self.special_tokens[piece])
            else:
                for word in split_words(piece):
                    ids.extend(self._encode_word(word))
        return ids

    def _encode_word(self, word: str) -> list[int]:
        if word not in self._cache:
            if len(self._cache) == MAX_CACHED_WORDS:
                self._cache.clear()
            self._cache[word] = self._encode_bytes(word.encode("utf-8"))
        return self._cache[word]

    def _encode_bytes(self, word: bytes) -> list[int]:
        return apply_merges(word.translate(self._byte_to_id), self.merges)

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of `ids`. Errors: ValueError names an id outside 0..vocab_size-1."""
        return b"".join(self.vocab[i] for i in check_ids(ids, self.vocab_size))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; bytes that are no UTF-8 become the replacement character."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def to_tiktoken(self, name: str = "gptlib") -> tiktoken.Encoding:
        """The same tokenizer as a `tiktoken.Encoding`: the same ids, many times faster.

        tiktoken knows a token by its bytes, not by its two parts. So each token, encoded alone,
        must come out as itself, as trained merges do. Errors: ValueError for others.
        """
        import tiktoken

        ordinary = self.vocab[: 256 + len(self.merges)]
        for i, token in enumerate(ordinary):
            if self._encode_bytes(token) != [i]:
                raise ValueError(f"merges leave token {i} ({token!r}) out of reach: no tiktoken.")
        return tiktoken.Encoding(
            name,
            # White space at the end in one piece: tiktoken's regex has no stack for a long run.
            pat_str=r"\s++$|" + SPLIT_PATTERN,
            mergeable_ranks={token: i for i, token in enumerate(ordinary)},
            special_tokens=self.special_tokens,
        )

    def _state(self) -> dict[str, Any]:
        return {
            "merges": list(self.merges),
            "special_tokens": list(self.special_tokens),
            "byte_order": self.byte_order.hex(),
        }

    @classmethod
    def _from_state(cls, merges: Any, special_tokens: Any, byte_order: Any) -> Self:
        return cls(merges, special_tokens, bytes.fromhex(byte_order))

"""Text to integers and back: by characters, then by byte-pair encoding.

Built in chapter 1. The file reads from the small to the whole: count pairs, merge a pair, split
text into words, learn merges, apply merges, and two tokenizers that are thin on top of them.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import regex

if TYPE_CHECKING:
    import tiktoken

END_OF_TEXT = "<|endoftext|>"

# GPT-2's rule for cutting text into words, inside which pairs may merge. In order: the endings of
# English contractions; letters, digits, or other signs, each with one space before them; spaces.
# `\s+(?!\S)` leaves the last space of a run to the word that follows it.
SPLIT_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"

Pair = tuple[int, int]


# --- One merge ----------------------------------------------------------------------------------


def count_pairs(ids: Sequence[int]) -> Counter[Pair]:
    """How often each pair of neighbours stands in `ids`, overlapping pairs included.

    count_pairs([1, 2, 3, 1, 2]) -> {(1, 2): 2, (2, 3): 1, (3, 1): 1};  [7, 7, 7] -> {(7, 7): 2}
    """
    return Counter(pairwise(ids))


def merge_pair(ids: Sequence[int], pair: Pair, new_id: int) -> list[int]:
    """`ids` with every occurrence of `pair`, found from left to right, replaced by `new_id`.

    merge_pair([5, 6, 9, 5, 6], (5, 6), 7) -> [7, 9, 7];  [5, 5, 5], (5, 5) -> [7, 5]
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


# --- Learning merges ----------------------------------------------------------------------------


def split_words(text: str) -> list[str]:
    """Cut `text` into words by GPT-2's pattern; joined together they are `text` again.

    split_words("I'm  here, 24h!") -> ["I", "'m", " ", " here", ",", " 24", "h", "!"]
    """
    return regex.findall(SPLIT_PATTERN, text)


def most_frequent(counts: Counter[Pair]) -> Pair:
    """The pair with the highest count; among equals, the smallest pair of ids.

    most_frequent({(98, 97): 3, (97, 98): 3, (1, 1): 2}) -> (97, 98)
    """
    highest = max(counts.values())
    return min(pair for pair, count in counts.items() if count == highest)


def train_merges(word_counts: dict[str, int], n_merges: int) -> dict[Pair, int]:
    """Learn up to `n_merges` merges: again and again, merge the most frequent pair.

    Each word is kept once, with its count, and a merge touches only the words that contain the
    pair. The merges come in order, with the ids 256, 257, ...; there are fewer than `n_merges`
    when no pair is left. Source: Sennrich et al. 2016, "Neural machine translation of rare words
    with subword units".

    train_merges({"aab": 2, "ab": 1}, 2) -> {(97, 98): 256, (97, 256): 257}
    """
    words = [list(word.encode("utf-8")) for word in word_counts]
    times = list(word_counts.values())
    counts: Counter[Pair] = Counter()  # how often a pair occurs, over all words
    where: dict[Pair, set[int]] = defaultdict(set)  # which words contain it
    merges: dict[Pair, int] = {}

    def recount(i: int, sign: int) -> None:
        for pair, count in count_pairs(words[i]).items():
            counts[pair] += sign * count * times[i]
            where[pair].add(i) if sign > 0 else where[pair].discard(i)
            if counts[pair] == 0:
                del counts[pair], where[pair]

    for i in range(len(words)):
        recount(i, +1)
    while counts and len(merges) < n_merges:
        pair = most_frequent(counts)
        merges[pair] = 256 + len(merges)
        for i in list(where[pair]):
            recount(i, -1)
            words[i] = merge_pair(words[i], pair, merges[pair])
            recount(i, +1)
    return merges


# --- Applying merges ----------------------------------------------------------------------------


def apply_merges(ids: Sequence[int], merges: dict[Pair, int]) -> list[int]:
    """Merge inside one word, the earliest learned merge first, until none fits.

    apply_merges([97, 97, 98], {(97, 98): 256, (97, 256): 257}) -> [257]
    """
    ids = list(ids)
    while len(ids) > 1:
        pairs = pairwise(ids)
        earliest = min(pairs, key=lambda pair: merges.get(pair, math.inf))
        if earliest not in merges:
            break
        ids = merge_pair(ids, earliest, merges[earliest])
    return ids


def split_special(text: str, special_tokens: Collection[str]) -> list[str]:
    """Cut `text` before and after each of `special_tokens`; where two fit, the longer one counts.

    split_special("a<s>b", ["<s>"]) -> ["a", "<s>", "b"]
    """
    if not special_tokens:
        return [text]
    longest_first = sorted(special_tokens, key=len, reverse=True)
    return regex.split("(" + "|".join(map(regex.escape, longest_first)) + ")", text)


# --- Checks and files ---------------------------------------------------------------------------

MAX_CACHED_WORDS = 100_000
MAX_VOCAB_BYTES = 2**28  # of all tokens together; each merge can double the longest token


def check_text(text: str, name: str = "text") -> str:
    """`text` itself, or a ValueError that points at its first half of a surrogate pair."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} holds {text[error.start]!r} at position {error.start}, half of a surrogate "
            "pair: no character, so it has no UTF-8 bytes. Remove it, or read the text again as "
            'UTF-8 with errors="replace".'
        ) from None
    return text


def check_ids(ids: Iterable[int], vocab_size: int) -> list[int]:
    """`ids` (a list, an array or a tensor of shape (T,)) as a list of ints in 0..vocab_size-1."""
    ids = [index(i) for i in (ids.tolist() if hasattr(ids, "tolist") else ids)]
    for position, i in enumerate(ids):
        if not 0 <= i < vocab_size:
            raise ValueError(
                f"ids[{position}] is {i}, outside the vocabulary: ids go from 0 to "
                f"{vocab_size - 1}. Decode with the tokenizer that made them."
            )
    return ids


def check_merges(merges: Iterable[Pair]) -> dict[Pair, int]:
    """`merges` as {pair: new id}, the ids 256, 257, ... in order; each part is known before."""
    checked: dict[Pair, int] = {}
    for pair in map(tuple, merges):
        new_id = 256 + len(checked)
        known = len(pair) == 2 and all(type(i) is int and 0 <= i < new_id for i in pair)
        if not known or pair in checked:
            raise ValueError(
                f"merges[{len(checked)}] is {pair}: it must be two ids from 0 to {new_id - 1} "
                "that no merge before it has joined."
            )
        checked[pair] = new_id
    if isinstance(merges, Mapping) and dict(merges) != checked:
        raise ValueError("merges must map its pairs to 256, 257, ... in order.")
    return checked


def check_special_tokens(names: Collection[str], argument: str = "special_tokens") -> list[str]:
    """`names` as a list of different, non-empty strings."""
    if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{argument} must be a list of non-empty strings, got {names!r}.")
    if len(set(names)) < len(names):
        raise ValueError(f"{argument} must hold each token once, got {names!r}.")
    return [check_text(name, argument) for name in names]


def check_allowed(allowed: str | Collection[str], special: Mapping[str, int]) -> Collection[str]:
    """The special tokens that `allowed` names: "all", or a collection of them."""
    names = list(special) if allowed == "all" else check_special_tokens(allowed, "allowed_special")
    for name in names:
        if name not in special:
            raise ValueError(
                f"allowed_special names {name!r}; this tokenizer's special tokens are "
                f'{list(special)}. Give some of these, or "all".'
            )
    return names


def build_vocab(byte_order: bytes, merges: Iterable[Pair], special: Iterable[str]) -> list[bytes]:
    """The bytes of every id: single bytes, then each merge's two parts joined, then the special.

    build_vocab(bytes(range(256)), [(97, 98), (256, 256)], [])[256:] -> [b"ab", b"abab"]
    """
    if sorted(byte_order) != list(range(256)):
        raise ValueError("byte_order must hold each of the 256 bytes once.")
    vocab = [bytes([byte]) for byte in byte_order]
    room = MAX_VOCAB_BYTES
    for left, right in merges:
        room -= len(vocab[left]) + len(vocab[right])
        if room < 0:
            raise ValueError(f"merges make tokens of over {MAX_VOCAB_BYTES:,} bytes together.")
        vocab.append(vocab[left] + vocab[right])
    return vocab + [name.encode("utf-8") for name in special]


def read_gpt2_merges(vocab_bpe: str) -> tuple[list[Pair], bytes]:
    """The merges, as pairs of ids, and the byte order in GPT-2's `vocab.bpe`.

    GPT-2 numbers the visible bytes first, then the others. Its file writes every byte as one
    visible character: the byte's own, or the next free one from code point 256 on ("Ġ": space).
    """
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    signs = [chr(byte) for byte in visible] + [chr(256 + n) for n in range(len(hidden))]
    ids = {sign: i for i, sign in enumerate(signs)}
    merges = []
    for number, line in enumerate(vocab_bpe.splitlines(), start=1):
        if line.startswith("#version"):
            continue
        left, _, right = line.partition(" ")
        if left not in ids or right not in ids:
            raise ValueError(f"vocab_bpe, line {number}: {line!r} is no pair of earlier tokens.")
        merges.append((ids[left], ids[right]))
        ids[left + right] = 256 + len(merges) - 1
    return merges, bytes(visible + hidden)


class Tokenizer:
    """What both tokenizers share: saving as JSON, and loading that checks every value."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the tokenizer to `path` as JSON, whole or not at all."""
        path = Path(path)
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            temporary.write_text(json.dumps({"type": type(self).__name__, **self._state()}))
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote; ValueError if it is anything else. Nothing in it is executed."""
        try:
            state = json.loads(Path(path).read_text(encoding="utf-8"))
            if not isinstance(state, dict) or state.pop("type", None) != cls.__name__:
                raise ValueError(f'it has no "type": "{cls.__name__}"')
            return cls._from_state(**state)
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"{path} is not a saved {cls.__name__}: {error}") from error

    def _state(self) -> dict[str, Any]:
        raise NotImplementedError

    @classmethod
    def _from_state(cls, **state: Any) -> Self:
        raise NotImplementedError


# --- The tokenizers -----------------------------------------------------------------------------


class CharTokenizer(Tokenizer):
    """One id for each different character of `text`, in the order of their code points.

    CharTokenizer("hello").encode("hole") -> [1, 3, 2, 0];  .chars -> ["e", "h", "l", "o"]
    """

    def __init__(self, text: str) -> None:
        if not text:
            raise ValueError("text is empty: give at least one character to build a vocabulary.")
        self.chars = sorted(set(check_text(text)))
        self.char_to_id = {char: i for i, char in enumerate(self.chars)}
        self.vocab_size = len(self.chars)

    def encode(self, text: str) -> list[int]:
        """One id a character; ValueError names a character that the vocabulary lacks."""
        for position, char in enumerate(text):
            if char not in self.char_to_id:
                raise ValueError(
                    f"text holds {char!r} at position {position}, which is none of the "
                    f"{self.vocab_size} characters of this vocabulary. Build it from a text that "
                    "holds every character you need."
                )
        return [self.char_to_id[char] for char in text]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; ValueError names an id outside 0..vocab_size-1."""
        return "".join(self.chars[i] for i in check_ids(ids, self.vocab_size))

    def _state(self) -> dict[str, Any]:
        return {"chars": "".join(self.chars)}

    @classmethod
    def _from_state(cls, chars: str) -> Self:
        if not isinstance(chars, str) or list(chars) != sorted(set(chars)):
            raise ValueError('"chars" must be a string of different characters in sorted order')
        return cls(chars)


class BPETokenizer(Tokenizer):
    """Byte-pair encoding: ids 0..255 are the bytes, then the merges in order, then special tokens.

    `merges` are pairs of ids, the first learned first (a list, or the `.merges` of another
    tokenizer); `byte_order[i]` is the byte that id i stands for: i itself unless given.

    BPETokenizer([(97, 98), (97, 256)]).encode("aab ab") -> [257, 32, 256]
    """

    def __init__(
        self,
        merges: Iterable[Pair],
        special_tokens: Collection[str] = (),
        byte_order: bytes = bytes(range(256)),
    ) -> None:
        self.merges = check_merges(merges)
        names = check_special_tokens(special_tokens)
        self.special_tokens = {name: 256 + len(self.merges) + i for i, name in enumerate(names)}
        self.byte_order = byte_order
        self.vocab = build_vocab(byte_order, self.merges, names)
        self.vocab_size = len(self.vocab)
        self._byte_to_id = bytes(byte_order.index(byte) for byte in range(256))
        self._cache: dict[str, list[int]] = {}

    @classmethod
    def train(cls, text: str, vocab_size: int, special_tokens: Collection[str] = ()) -> Self:
        """Learn vocab_size - 256 - len(special_tokens) merges from `text`.

        Special tokens in `text` are left out: they are never split, so there is nothing to learn.
        ValueError when the text has too few pairs for that many merges.

        BPETokenizer.train("low lower lowest", 258).vocab[256:] -> [b"lo", b"low"]
        """
        n_merges = vocab_size - 256 - len(check_special_tokens(special_tokens))
        if n_merges < 0:
            raise ValueError(
                f"vocab_size is {vocab_size}, but 256 bytes and {len(special_tokens)} special "
                f"tokens need at least {256 + len(special_tokens)}."
            )
        pieces = split_special(check_text(text), special_tokens)
        words = [w for p in pieces if p not in special_tokens for w in split_words(p)]
        merges = train_merges(Counter(words), n_merges)
        if len(merges) < n_merges:
            raise ValueError(
                f"vocab_size is {vocab_size}, which takes {n_merges} merges, but this text has "
                f"only {len(merges)}: then no pair is left. Give more text, or a vocab_size of at "
                f"most {vocab_size - n_merges + len(merges)}."
            )
        return cls(merges, special_tokens)

    @classmethod
    def from_gpt2(cls, vocab_bpe: str) -> Self:
        """GPT-2's own tokenizer, from the text of its `vocab.bpe` file.

        .encode("Hello, I am") -> [15496, 11, 314, 716]
        """
        merges, byte_order = read_gpt2_merges(vocab_bpe)
        return cls(merges, [END_OF_TEXT], byte_order)

    def encode(self, text: str, allowed_special: str | Collection[str] = ()) -> list[int]:
        """The ids of `text`.

        A special token inside `text` is read as plain text, unless `allowed_special` names it or
        is "all": so text from outside cannot end a document.
        """
        allowed = check_allowed(allowed_special, self.special_tokens)
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
            if len(self._cache) >= MAX_CACHED_WORDS:
                self._cache.clear()
            bytes_as_ids = word.encode("utf-8").translate(self._byte_to_id)
            self._cache[word] = apply_merges(bytes_as_ids, self.merges)
        return self._cache[word]

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of `ids`; ValueError names an id outside 0..vocab_size-1."""
        return b"".join(self.vocab[i] for i in check_ids(ids, self.vocab_size))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; where their bytes are no UTF-8, a replacement character stands."""
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def to_tiktoken(self, name: str = "gptlib") -> tiktoken.Encoding:
        """The same tokenizer as a `tiktoken.Encoding`: the same ids, many times faster.

        tiktoken keeps tokens by their bytes, not by their two parts; so it can hold only merges
        in which each token, encoded alone, comes out as itself. Trained merges always do.
        """
        import tiktoken

        ordinary = self.vocab[: 256 + len(self.merges)]
        for i, token in enumerate(ordinary):
            if apply_merges(token.translate(self._byte_to_id), self.merges) != [i]:
                raise ValueError(
                    f"merges can not go to tiktoken: token {i}, {token!r}, is out of reach."
                )
        ranks = {token: i for i, token in enumerate(ordinary)}
        return tiktoken.Encoding(
            name,
            pat_str=SPLIT_PATTERN,
            mergeable_ranks=ranks,
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

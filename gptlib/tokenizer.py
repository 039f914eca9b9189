"""Text to integers and back: by characters, then by byte-pair encoding.

Built in chapter 1. Cutting text into words, then two tokenizers; how merges are learned and applied
stands in `merges`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Self

import regex

from gptlib.given.checks.text import (
    MAX_VOCAB_BYTES,
    check_allowed_special,
    check_batch,
    check_byte_order,
    check_ids,
    check_merges,
    check_special_tokens,
    check_text,
    check_texts,
    check_vocab_size,
)
from gptlib.given.files import JsonFile
from gptlib.given.streaming import stream_text, stream_words
from gptlib.given.unicode16 import LETTER, NUMBER
from gptlib.merges import Pair, apply_merges, train_merges

if TYPE_CHECKING:
    import tiktoken

END_OF_TEXT = "<|endoftext|>"

# GPT-2's rule for cutting text into words; pairs merge only inside a word. In order: the endings
# of English contractions; letters, numbers, or other signs, each with one space before them; white
# space. `\s+(?!\S)` leaves the last space of a run to the word that follows.
SPLIT_PATTERN = (
    rf"'(?:[sdmt]|ll|ve|re)| ?{LETTER}+| ?{NUMBER}+| ?[^\s{LETTER}{NUMBER}]+|\s+(?!\S)|\s+"
)

# The same rule where all letters are English ones: Python's own `re` is quicker, and enough for it.
ASCII_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+"

MAX_CACHED_WORDS = 100_000


def split_words(text: str) -> list[str]:
    """Cut `text` into words by GPT-2's pattern; joined together they are `text` again.

    split_words("I'm  here, 24h!") -> ["I", "'m", " ", " here", ",", " 24", "h", "!"]
    """
    if text.isascii():
        return re.findall(ASCII_PATTERN, text, flags=re.ASCII)
    return regex.findall(SPLIT_PATTERN, text, flags=regex.V1)


def split_special(text: str, special_tokens: Collection[str]) -> list[str]:
    """Cut `text` before and after each of `special_tokens`; where two fit, the longer one counts.

    split_special("a<s>b", ["<s>"]) -> ["a", "<s>", "b"]
    """
    if not special_tokens:
        return [text]
    longest_first = sorted(special_tokens, key=len, reverse=True)
    return regex.split("(" + "|".join(map(regex.escape, longest_first)) + ")", text)


def split_text(text: str, special_tokens: Collection[str]) -> list[str]:
    """Cut `text` into words as `split_words` does, with each of `special_tokens` a word of its own.

    split_text("a b<s>b", ["<s>"]) -> ["a", " b", "<s>", "b"]
    """
    words = []
    for piece in split_special(text, special_tokens):
        words += [piece] if piece in special_tokens else split_words(piece)
    return words


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

    CharTokenizer("hello").encode("hole") -> [1, 3, 2, 0]
    CharTokenizer("hello").chars -> ["e", "h", "l", "o"]
    """

    def __init__(self, text: str) -> None:
        self.chars = sorted(set(check_text(text)))
        self.char_to_id = {char: i for i, char in enumerate(self.chars)}
        self.vocab_size = len(self.chars)
        if not self.chars:
            raise ValueError("text is empty: a vocabulary needs at least one character.")

    def encode(self, text: str) -> list[int]:
        """One id a character. Errors: ValueError names a character that the vocabulary lacks."""
        return list(self.encode_iterable([check_text(text)]))

    def encode_iterable(self, texts: Iterable[str]) -> Iterator[int]:
        """The ids of the joined `texts`, one by one: for files that do not fit into memory."""
        chars = (char for text in check_texts(texts) for char in text)
        for position, char in enumerate(chars):
            if char not in self.char_to_id:
                raise ValueError(
                    f"text holds {char!r} at position {position}, which is none of the "
                    f"{self.vocab_size} characters of this vocabulary. Build the tokenizer from a "
                    "text that holds every character you need."
                )
            yield self.char_to_id[char]

    def encode_batch(self, texts: Iterable[str]) -> list[list[int]]:
        """The ids of each of many texts."""
        return [self.encode(text) for text in check_batch(texts)]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`. Errors: ValueError names an id outside 0..vocab_size-1."""
        return "".join(self.decode_iterable(ids))

    def decode_iterable(self, ids: Iterable[int]) -> Iterator[str]:
        """The text of `ids` piece by piece, while they come."""
        return (self.chars[i] for i in check_ids(ids, self.vocab_size))

    def _state(self) -> dict[str, Any]:
        return {"chars": "".join(self.chars)}

    @classmethod
    def _from_state(cls, chars: Any) -> Self:  # type: ignore[override]
        tokenizer = cls(chars)
        if tokenizer.chars != list(chars):
            raise ValueError("chars must be different characters in the order of their code points")
        return tokenizer


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
    def train(
        cls, text: str | Iterable[str], vocab_size: int, special_tokens: Collection[str] = ()
    ) -> Self:
        """Learn from `text` as many merges as `vocab_size` has room for.

        The most frequent pair merges first; among equals, the smallest pair of ids. Special tokens
        in `text` only separate its pieces. Many texts, such as the lines of an open file, count as
        one that is joined from them; kept of them are the different words. Errors: ValueError
        when there are too few pairs.

        BPETokenizer.train("low lower lowest", 258).vocab[256:] -> [b"lo", b"low"]
        """
        special = check_special_tokens(special_tokens)
        n_merges = check_vocab_size(vocab_size, len(special)) - 256 - len(special)
        word_counts: Counter[str] = Counter()
        for words in stream_words(text, special, split_text):
            word_counts.update(words)
        for token in special:
            del word_counts[token]
        merges = train_merges(word_counts, n_merges)
        if len(merges) < n_merges:
            raise ValueError(
                f"vocab_size is {vocab_size}, which takes {n_merges} merges; in this text only "
                f"{len(merges)} are possible. Give more text, or a vocab_size of at most "
                f"{256 + len(merges) + len(special)}."
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
        return self._encode_words(split_text(check_text(text), allowed), allowed)

    def encode_iterable(
        self, texts: Iterable[str], allowed_special: str | Collection[str] = ()
    ) -> Iterator[int]:
        """The ids of the joined `texts`, one by one: for files that do not fit into memory.

        They are those of `encode("".join(texts))`, wherever one text ends and the next begins.
        Memory is taken for the longest text and the longest word, not for the sum.

        list(BPETokenizer([(97, 98)]).encode_iterable(["a", "b"])) -> [256]
        """
        allowed = check_allowed_special(allowed_special, self.special_tokens)
        parts = stream_words(texts, allowed, split_text)
        return (i for words in parts for i in self._encode_words(words, allowed))

    def encode_batch(
        self, texts: Iterable[str], allowed_special: str | Collection[str] = ()
    ) -> list[list[int]]:
        """The ids of each of many texts.

        BPETokenizer([(97, 98)]).encode_batch(["ab", "b"]) -> [[256], [98]]
        """
        return [self.encode(text, allowed_special) for text in check_batch(texts)]

    def _encode_words(self, words: Iterable[str], allowed: Collection[str]) -> list[int]:
        known = {word: [self.special_tokens[word]] for word in allowed}
        ids: list[int] = []
        for word in words:
            if word not in known:
                known[word] = self._encode_word(word)
            ids += known[word]
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

    def decode_iterable(self, ids: Iterable[int]) -> Iterator[str]:
        """The text of `ids` piece by piece, while they come: half a character waits for its rest.

        Joined together the pieces are `decode(ids)`.

        list(BPETokenizer([]).decode_iterable([104, 195, 169])) -> ["h", "é"]
        """
        return stream_text(self.vocab[i] for i in check_ids(ids, self.vocab_size))

    def to_tiktoken(self, name: str = "gptlib") -> tiktoken.Encoding:
        """The same tokenizer as a `tiktoken.Encoding`: the same ids, sooner for new words.

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
    def _from_state(  # type: ignore[override]
        cls, merges: Any, special_tokens: Any, byte_order: Any
    ) -> Self:
        return cls(merges, special_tokens, bytes.fromhex(byte_order))

"""What the tokenizers of chapter 1 ask of texts, ids and merges."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from reprlib import repr  # of a bad value no more is shown than fits on a line
from typing import Any

from gptlib.given.checks.numbers import whole_number

MAX_VOCAB_BYTES = 2**24  # all tokens together; each merge of a bad file can double the longest one

# One half of a character beyond U+FFFF without the other one at its side.
LONE = re.compile("[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]")


def check_text(text: str, name: str = "text", before: int = 0) -> str:
    """`text`, a str that has UTF-8 bytes; two surrogates that are one character become it.

    Errors: ValueError for a lone surrogate, with its position, counted from `before` on.
    """
    if not isinstance(text, str):
        raise ValueError(
            f"{name} must be a str, got {type(text).__name__}. Bytes become text by .decode()."
        )
    try:
        text.encode("utf-8")
        return text
    except UnicodeEncodeError:
        if lone := LONE.search(text):
            raise ValueError(
                f"{name} holds {lone[0]!r} at position {before + lone.start()}: a lone surrogate, "
                "half of a character, which has no UTF-8 bytes. Remove it, or read the text again "
                'with encoding="utf-8", errors="replace".'
            ) from None
    return text.encode("utf-16", "surrogatepass").decode("utf-16")


def check_texts(texts: str | Iterable[str], size: int = 2**16) -> Iterator[str]:
    """One text, or the many that it comes in, as checked pieces of at most `size` characters.

    A pair of surrogates may be divided between two of them.
    """
    before, half = 0, ""
    many: Iterable[Any] = texts if is_many(texts) else [texts]
    for text in many:
        if not isinstance(text, str):
            check_text(text)
        for start in range(0, len(text), size):
            piece = half + text[start : start + size]
            half = piece[-1] if "\ud800" <= piece[-1] <= "\udbff" else ""
            whole = piece[: len(piece) - len(half)]
            yield check_text(whole, before=before)
            before += len(whole)
    check_text(half, before=before)


def check_batch(texts: Iterable[str]) -> Iterable[str]:
    """`texts`, many and not one."""
    if not is_many(texts):
        raise ValueError(
            f"texts must be a list of texts, got one {type(texts).__name__}. One text is encoded "
            "by encode(text)."
        )
    return texts


def is_many(values: Any) -> bool:
    """Whether something can be walked through and is no text itself."""
    return hasattr(values, "__iter__") and not isinstance(values, str | bytes)


def check_ids(ids: Iterable[int], vocab_size: int) -> Iterator[int]:
    """`ids` (a list, or an array or tensor of shape (T,)) as ints of 0..vocab_size-1, in turn."""
    values: Any = ids.tolist() if hasattr(ids, "tolist") else ids
    for position, value in enumerate(values if hasattr(values, "__iter__") else [None]):
        i = whole_number(value)
        if i is None:
            raise ValueError("ids must be one row of whole numbers, such as [15, 3, 8].")
        if not 0 <= i < vocab_size:
            raise ValueError(
                f"ids[{position}] is {i}, outside the vocabulary: ids go from 0 to "
                f"{vocab_size - 1}. Decode with the tokenizer that made them."
            )
        yield i


def check_merges(merges: Iterable[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """`merges` as {pair: new id}, the ids 256, 257, ... in order; each part is known before."""
    checked: dict[tuple[int, int], int] = {}
    for parts in merges if is_many(merges) else [merges]:
        new_id = 256 + len(checked)
        pair: Any = tuple(map(whole_number, parts)) if is_many(parts) else ()
        known = len(pair) == 2 and all(i is not None and 0 <= i < new_id for i in pair)
        if not known or pair in checked:
            raise ValueError(
                f"merges[{len(checked)}] is {repr(parts)}: it must be two ids from 0 to "
                f"{new_id - 1} that no merge before it joins."
            )
        checked[pair] = new_id
    if isinstance(merges, Mapping) and dict(merges) != checked:
        raise ValueError("merges must map its pairs to 256, 257, ... in order.")
    return checked


def check_special_tokens(names: Collection[str]) -> list[str]:
    """`names` as a list of different, non-empty strings, in an order that is the same each run."""
    listed = is_many(names) and not isinstance(names, Set | Mapping)
    tokens: list[Any] = list(names) if listed else [None]
    if not all(isinstance(token, str) and token for token in tokens):
        raise ValueError(f"special_tokens must be a list of non-empty strings, got {repr(names)}.")
    checked = [check_text(token, "special_tokens") for token in tokens]
    if len(set(checked)) < len(checked):
        raise ValueError(f"special_tokens must hold each token once, got {repr(names)}.")
    return checked


def check_allowed_special(allowed: str | Collection[str], special: Collection[str]) -> set[str]:
    """The special tokens that `allowed` names: "all", or a collection of some of them."""
    if isinstance(allowed, str) and allowed == "all":
        return set(special)
    named: list[Any] = list(allowed) if is_many(allowed) else [None]
    if not all(isinstance(token, str) and token in special for token in named):
        raise ValueError(
            f'allowed_special is {repr(allowed)}: it must be "all", or a list of some of this '
            f"tokenizer's special tokens, which are {list(special)}."
        )
    return set(named)


def check_vocab_size(vocab_size: int, n_special: int) -> int:
    """`vocab_size`, a whole number with room for the 256 bytes and the special tokens."""
    size = whole_number(vocab_size)
    if size is None or size < 256 + n_special:
        raise ValueError(
            f"vocab_size is {repr(vocab_size)}: 256 bytes and {n_special} special tokens need a "
            f"whole number of at least {256 + n_special}."
        )
    return size


def check_byte_order(byte_order: bytes) -> bytes:
    """`byte_order`, which holds each of the 256 bytes once."""
    if not isinstance(byte_order, bytes) or sorted(byte_order) != list(range(256)):
        raise ValueError("byte_order must be 256 bytes, each of them once.")
    return byte_order

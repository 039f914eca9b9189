"""What the tokenizers of chapter 1 ask of texts, ids and merges."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from operator import index

MAX_VOCAB_BYTES = 2**28  # all tokens together; each merge of a bad file can double the longest one


def check_text(text: str, name: str = "text") -> str:
    """`text`, a str that has UTF-8 bytes: without lone surrogates, the halves of a character."""
    if not isinstance(text, str):
        raise ValueError(
            f"{name} must be a str, got {type(text).__name__}. Bytes become text by .decode()."
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} holds {text[error.start]!r} at position {error.start}: a lone surrogate, "
            "half of a character, which has no UTF-8 bytes. Remove it, or read the text again "
            'with encoding="utf-8", errors="replace".'
        ) from None
    return text


def check_ids(ids: Iterable[int], vocab_size: int) -> list[int]:
    """`ids` (a list, or an array or tensor of shape (T,)) as a list of ints in 0..vocab_size-1."""
    if hasattr(ids, "tolist"):
        ids = ids.tolist()
    try:
        ids = [index(i) for i in ids]
    except TypeError:
        raise ValueError("ids must be one row of whole numbers, such as [15, 3, 8].") from None
    for position, i in enumerate(ids):
        if not 0 <= i < vocab_size:
            raise ValueError(
                f"ids[{position}] is {i}, outside the vocabulary: ids go from 0 to "
                f"{vocab_size - 1}. Decode with the tokenizer that made them."
            )
    return ids


def check_merges(merges: Iterable[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """`merges` as {pair: new id}, the ids 256, 257, ... in order; each part is known before."""
    checked: dict[tuple[int, int], int] = {}
    for pair in map(tuple, merges):
        new_id = 256 + len(checked)
        known = len(pair) == 2 and all(type(i) is int and 0 <= i < new_id for i in pair)
        if not known or pair in checked:
            raise ValueError(
                f"merges[{len(checked)}] is {pair}: it must be two ids from 0 to {new_id - 1} "
                "that no merge before it joins."
            )
        checked[pair] = new_id
    if isinstance(merges, Mapping) and dict(merges) != checked:
        raise ValueError("merges must map its pairs to 256, 257, ... in order.")
    return checked


def check_special_tokens(names: Collection[str]) -> list[str]:
    """`names` as a list of different, non-empty strings, in an order that is the same each run."""
    unordered = isinstance(names, (str, set, frozenset))
    if unordered or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"special_tokens must be a list of non-empty strings, got {names!r}.")
    if len(set(names)) < len(names):
        raise ValueError(f"special_tokens must hold each token once, got {names!r}.")
    return [check_text(name, "special_tokens") for name in names]


def check_allowed_special(allowed: str | Collection[str], special: Collection[str]) -> set[str]:
    """The special tokens that `allowed` names: "all", or a collection of some of them."""
    if isinstance(allowed, str) and allowed == "all":
        return set(special)
    if isinstance(allowed, str) or not set(allowed) <= set(special):
        raise ValueError(
            f'allowed_special is {allowed!r}: it must be "all", or a list of some of this '
            f"tokenizer's special tokens, which are {list(special)}."
        )
    return set(allowed)


def check_vocab_size(vocab_size: int, n_special: int) -> int:
    """`vocab_size`, a whole number with room for the 256 bytes and the special tokens."""
    if not isinstance(vocab_size, int) or vocab_size < 256 + n_special:
        raise ValueError(
            f"vocab_size is {vocab_size}: 256 bytes and {n_special} special tokens need a whole "
            f"number of at least {256 + n_special}."
        )
    return vocab_size


def check_byte_order(byte_order: bytes) -> bytes:
    """`byte_order`, which holds each of the 256 bytes once."""
    if not isinstance(byte_order, bytes) or sorted(byte_order) != list(range(256)):
        raise ValueError("byte_order must be 256 bytes, each of them once.")
    return byte_order

"""Exercises of chapter 1: two bugs to find."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from random import Random
from typing import Any

from gptlib.exercises.task import Mistake, Task
from gptlib.exercises.tokenizer_characters import AsWritten
from gptlib.merges import apply_merges, merge_pair

Pair = tuple[int, int]

# Half a character, decoded alone -----------------------------------------------------------------


def bug_text_of(ids: Sequence[int], vocab: Sequence[bytes]) -> str:
    """The text of ids; vocab holds the bytes of each id."""
    text = ""
    for i in ids:
        text += vocab[i].decode("utf-8", errors="replace")
    return text


def text_of(ids: Sequence[int], vocab: Sequence[bytes]) -> str:
    """The text of ids; vocab holds the bytes of each id."""
    return b"".join(vocab[i] for i in ids).decode("utf-8", errors="replace")


VOCAB = [b"caf", b"\xc3", b"\xa9", b" ", b"\xf0\x9f", b"\x8d\x8e", b"a"]


def halves(seed: int) -> Iterator[tuple[Any, ...]]:
    """Ids whose characters are spread over two tokens; then one that breaks off in the middle."""
    yield [0, 1, 2, 3, 4, 5], VOCAB
    yield [1, 2, 4], VOCAB
    yield [], VOCAB
    draw = Random(seed)
    yield [draw.randrange(len(VOCAB)) for _ in range(12)], VOCAB


def _each(how: Callable[[bytes], str]) -> Callable[..., str]:
    return lambda ids, vocab: "".join(how(vocab[i]) for i in ids)


def _joined(how: Callable[[bytes], str]) -> Callable[..., str]:
    return lambda ids, vocab: how(b"".join(vocab[i] for i in ids))


TEXT_OF = Task(
    name="tokenizer.text_of",
    asks="On English it is right, and é comes out as two strange signs.",
    reference=text_of,
    inputs=halves,
    use=AsWritten(),
    kind="bug",
    bug=bug_text_of,
    hints=(
        "Print vocab[i] for each id of é. Which of these bytes are a character, read alone?",
        "é is two bytes, and here each is a token of its own. Text can be read where a character "
        "is whole; what is it that can be joined before?",
        'Join the bytes of all ids with b"".join(...), and decode once, at the end.',
    ),
    mistakes=(
        Mistake(
            "The strange signs are gone, and é with them: half a character is thrown away, and "
            "then its other half.",
            _each(lambda token: token.decode("utf-8", errors="ignore")),
        ),
        Mistake(
            "latin-1 gives every byte a character of its own: é becomes Ã and ©.",
            _each(lambda token: token.decode("latin-1")),
        ),
        Mistake(
            "The bytes that are no character alone stand there as their numbers.",
            _each(lambda token: token.decode("utf-8", errors="backslashreplace")),
        ),
        Mistake(
            "These are bytes; a text is asked for.",
            _joined(lambda joined: joined),  # type: ignore[arg-type, return-value]
        ),
        Mistake(
            "A space stands between every two tokens, even inside of é. The spaces of a text are "
            "in its tokens; nothing is to come between them.",
            lambda ids, vocab: b" ".join(vocab[i] for i in ids).decode("utf-8", errors="replace"),
        ),
        Mistake(
            "Whole characters come out. What breaks off in the middle vanishes without a trace: "
            "keep the mark for it, so that a reader sees that something was there.",
            _joined(lambda joined: joined.decode("utf-8", errors="ignore")),
        ),
    ),
    right=(
        _joined(lambda joined: str(joined, "utf-8", "replace")),
        lambda ids, vocab: bytes(byte for i in ids for byte in vocab[i]).decode(errors="replace"),
    ),
)

# Merges in the wrong order -----------------------------------------------------------------------


def bug_merge_word(ids: Sequence[int], merges: Mapping[Pair, int]) -> list[int]:
    """Merge inside one word, the merge learned earliest before the others."""
    ids = list(ids)
    i = 0
    while i + 1 < len(ids):
        pair = (ids[i], ids[i + 1])
        if pair in merges:
            ids[i : i + 2] = [merges[pair]]
            i = 0
        else:
            i += 1
    return ids


def merge_word(ids: Sequence[int], merges: Mapping[Pair, int]) -> list[int]:
    """Merge inside one word, the merge learned earliest before the others."""
    ids = list(ids)
    while True:
        fitting = [pair for pair in pairwise(ids) if pair in merges]
        if not fitting:
            return ids
        pair = min(fitting, key=lambda pair: merges[pair])
        ids = merge_pair(ids, pair, merges[pair])


RANKED = {(98, 98): 256, (99, 98): 257, (98, 99): 258, (99, 257): 259}


def spelled(seed: int) -> Iterator[tuple[Any, ...]]:
    """A word in which every order of merging gives other ids; then shorter and random ones."""
    yield list(b"cbccbbcbbc"), RANKED
    yield list(b"cbc"), RANKED
    yield from (([], RANKED), ([97, 98], {}))
    draw = Random(seed)
    yield [draw.randrange(97, 100) for _ in range(30)], RANKED


def _one_walk(ids: Sequence[int], merges: Mapping[Pair, int]) -> list[int]:
    ids, i = list(ids), 0
    while i + 1 < len(ids):
        pair = (ids[i], ids[i + 1])
        if pair in merges:
            ids[i : i + 2] = [merges[pair]]
        else:
            i += 1
    return ids


def _by(choose: Callable[..., Pair]) -> Callable[..., list[int]]:
    """Merge again and again the pair that `choose` takes from those that fit."""

    def merged(ids: Sequence[int], merges: Mapping[Pair, int]) -> list[int]:
        while fitting := [pair for pair in pairwise(ids) if pair in merges]:
            pair = choose(fitting, merges)
            ids = merge_pair(ids, pair, merges[pair])
        return list(ids)

    return merged


def _backwards(ids: Sequence[int], merges: Mapping[Pair, int]) -> list[int]:
    ids = list(ids)
    while places := [i for i, pair in enumerate(pairwise(ids)) if pair in merges]:
        i = places[-1]
        ids[i : i + 2] = [merges[ids[i], ids[i + 1]]]
    return ids


def _in_order(ids: Sequence[int], merges: Mapping[Pair, int]) -> list[int]:
    for pair, new_id in sorted(merges.items(), key=lambda item: item[1]):
        ids = merge_pair(ids, pair, new_id)
    return list(ids)


MERGE_WORD = Task(
    name="tokenizer.merge_word",
    asks="Ids come out that decode to the right text, and are not those of the tokenizer.",
    reference=merge_word,
    inputs=spelled,
    use=AsWritten(),
    kind="bug",
    bug=bug_merge_word,
    hints=(
        "Take the word abc and the merges bc and ab, learned in this order. Which of them does the "
        "code make, and which was learned earlier?",
        "The code merges what it meets on its way from the left. Look at all pairs that fit before "
        "you merge one.",
        "The pairs of the word that are in merges; of them the one whose merges[pair] is smallest; "
        "merge it; again, until none fits.",
    ),
    mistakes=(
        Mistake(
            "It still merges what it meets while it walks, and looks at each place once: what has "
            "become a pair with its left neighbour is missed as well.",
            _one_walk,
        ),
        Mistake(
            "The pair that was learned last is merged before the others.",
            _by(lambda fitting, merges: max(fitting, key=lambda pair: merges[pair])),
        ),
        Mistake(
            "The pair that is most frequent in this word is merged: how often a pair stood in the "
            "training text has been decided, and its new id says so.",
            _by(lambda fitting, merges: Counter(fitting).most_common(1)[0][0]),
        ),
        Mistake("It walks from the right now; what counts is when a pair was learned.", _backwards),
        Mistake(
            "The pair with the smallest ids is merged; what counts is the new id, which says when "
            "the pair was learned.",
            _by(lambda fitting, merges: min(fitting)),
        ),
    ),
    right=(apply_merges, _in_order),
)

TASKS = (TEXT_OF, MERGE_WORD)

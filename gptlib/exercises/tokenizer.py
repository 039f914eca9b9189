"""Exercises of chapter 1: pairs, merges, and the order in which they are applied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from random import Random
from typing import Any

from gptlib.exercises import (
    tokenizer_batches,
    tokenizer_bugs,
    tokenizer_characters,
    tokenizer_paper,
    tokenizer_pieces,
    tokenizer_training,
)
from gptlib.exercises.task import Mistake, Task
from gptlib.exercises.tokenizer_characters import AsWritten
from gptlib.merges import apply_merges, merge_pair, most_frequent

Pair = tuple[int, int]


def counts(seed: int) -> Iterator[tuple[Any, ...]]:
    """Counts with a tie at the top: neither the first, the last nor the largest pair wins it."""
    top = ((99, 98), (97, 99), (99, 99), (98, 97), (97, 98), (98, 98))
    yield ({**dict.fromkeys(top, 3), (1, 1): 2, (9, 9): 1, (100, 1): 1},)
    yield ({(5, 6): 1},)
    draw = Random(seed)
    yield (dict(Counter((draw.randrange(4), draw.randrange(4)) for _ in range(20))),)


def _top(counts: Mapping[Pair, int]) -> list[Pair]:
    return [pair for pair, n in counts.items() if n == max(counts.values())]


MOST_FREQUENT = Task(
    name="tokenizer.most_frequent",
    asks="Find the pair with the highest count; among equals, the smallest pair of ids.",
    reference=most_frequent,
    inputs=counts,
    use=AsWritten(),
    hints=(
        "Two questions: what is the highest count, and which pairs have it?",
        "max over the counts, then min over the pairs that have that count: tuples compare from "
        "left to right.",
        "highest = max(counts.values()); min(pair for pair, n in counts.items() if n == highest).",
    ),
    mistakes=(
        Mistake(
            "Among equals the first one wins; it should be the smallest.", lambda c: _top(c)[0]
        ),
        Mistake(
            "Among equals the last one wins; it should be the smallest.", lambda c: _top(c)[-1]
        ),
        Mistake(
            "Among equals the largest wins; it should be the smallest.", lambda c: max(_top(c))
        ),
        Mistake("The counts are not looked at: this is the smallest pair of all.", min),
        Mistake("The counts are not looked at: this is the largest pair of all.", max),
        Mistake(
            "Of two pairs that begin alike the second id decides: (97, 98) is below (97, 99).",
            lambda c: min(_top(c), key=lambda pair: pair[0]),
        ),
        Mistake(
            "Pairs are compared by their first id, and by the second where the first is the same.",
            lambda c: min(_top(c), key=lambda pair: pair[1]),
        ),
        Mistake(
            "This is the rarest pair; the most frequent is asked for.",
            lambda c: min(c, key=lambda pair: (c[pair], pair)),
        ),
        Mistake("This is the count; the pair is asked for.", lambda c: max(c.values())),
        Mistake(
            "The pair is right, and its count stands beside it: the pair alone is asked for.",
            lambda c: (min(_top(c)), max(c.values())),
        ),
    ),
    right=(
        lambda c: sorted(c, key=lambda pair: (-c[pair], pair))[0],
        lambda c: max(c, key=lambda pair: (c[pair], -pair[0], -pair[1])),
    ),
)


def rows(seed: int) -> Iterator[tuple[Any, ...]]:
    """Rows in which a pair overlaps itself, stands at the end, or is turned round; then bytes."""
    yield [5, 5, 5, 6, 5, 5, 6], (5, 5), 256
    yield [1, 2, 2, 1, 1, 2], (1, 2), 256
    yield from (([], (1, 2), 3), ([7], (7, 7), 8), ([7, 8], (8, 7), 9))
    draw = Random(seed)
    yield [draw.randrange(3) for _ in range(30)], (0, 1), 3
    yield [15, 6, 5, 6], (5, 6), 256
    yield from ((b"aab", (97, 97), 256), (b"b", (97, 97), 256))


def _joined(ids: Sequence[int], fits: Any, new_id: int, most: int = 10**9) -> list[int]:
    """Merged from left to right where `fits(a, b)`, at most so many times."""
    merged, i, done = list[int](), 0, 0
    while i < len(ids):
        if i + 1 < len(ids) and done < most and fits(ids[i], ids[i + 1]):
            merged.append(new_id)
            i, done = i + 2, done + 1
        else:
            merged.append(ids[i])
            i += 1
    return merged


def _without_the_last(ids: Sequence[int], pair: Pair, new_id: int) -> list[int]:
    merged, i = list[int](), 0
    while i + 1 < len(ids):
        fits = (ids[i], ids[i + 1]) == pair
        merged.append(new_id if fits else ids[i])
        i += 2 if fits else 1
    return merged


def _as_text(ids: Sequence[int], pair: Pair, new_id: int) -> list[int]:
    text = ",".join(map(str, ids)).replace(f"{pair[0]},{pair[1]}", str(new_id))
    return [int(number) for number in text.split(",")] if text else []


def _cut_out(ids: Any, pair: Pair, new_id: int) -> list[int]:
    """Right for a list; a list between two parts of bytes raises."""
    at = next((i for i, found in enumerate(pairwise(ids)) if found == pair), None)
    if at is None:
        return list(ids)
    begun = ids[:at] + [new_id]  # noqa: RUF005 (it is what raises)
    return [*begun, *_cut_out(ids[at + 2 :], pair, new_id)]


def _written_in(ids: Any, pair: Pair, new_id: int) -> list[int]:
    """Right for a list; bytes raise, as nothing can be written into them."""
    ids, i = ids[:], 0
    while i + 1 < len(ids):
        if (ids[i], ids[i + 1]) == pair:
            ids[i : i + 2] = [new_id]
        i += 1
    return list(ids)


MERGE_PAIR = Task(
    name="tokenizer.merge_pair",
    asks="Replace a pair by one new id, everywhere, from left to right.",
    reference=merge_pair,
    inputs=rows,
    hints=(
        "How many ids do you move on after a pair that fits? And after one that does not?",
        "A while loop with an index: two on where the pair stands, one on elsewhere.",
        "Look at ids[i] and ids[i + 1] only while i + 1 < len(ids); the last id may be alone.",
    ),
    mistakes=(
        Mistake(
            "The second half of a pair stays where it was: after a merge move on by two.",
            lambda ids, pair, new: [
                new if two == pair else two[0] for two in zip(ids, [*ids[1:], None], strict=True)
            ],
        ),
        Mistake(
            "The pairs are found from right to left.",
            lambda ids, pair, new: _joined(ids[::-1], lambda a, b: (b, a) == pair, new)[::-1],
        ),
        Mistake(
            "An id at the end that is part of no pair gets lost.",
            _without_the_last,
        ),
        Mistake(
            "Nothing is merged. Is a list compared with a tuple? [1, 2] == (1, 2) is False.",
            lambda ids, pair, new: list(ids),
        ),
        Mistake("Digits are compared, and not ids: the 5 in 15 is no id of its own.", _as_text),
        Mistake(
            "One place is merged and the others are left.",
            lambda ids, pair, new: _joined(ids, lambda a, b: (a, b) == pair, new, most=1),
        ),
        Mistake(
            "The first id of the pair is looked for, and the second is not looked at.",
            lambda ids, pair, new: _joined(ids, lambda a, b: a == pair[0], new),
        ),
        Mistake(
            "The pair is merged when it is turned round, too: (1, 2) is not (2, 1).",
            lambda ids, pair, new: _joined(ids, lambda a, b: (a, b) in (pair, pair[::-1]), new),
        ),
        Mistake(
            "The pair is taken out, and the new id is not put in.",
            lambda ids, pair, new: [
                i for i in _joined(ids, lambda a, b: (a, b) == pair, -1) if i != -1
            ],
        ),
        Mistake(
            'In bytes nothing is merged: a slice of bytes is bytes, b"ab", and equals no list. '
            "Begin with ids = list(ids), or compare the two ids themselves.",
            lambda ids, pair, new: list(ids) if type(ids) is bytes else merge_pair(ids, pair, new),
        ),
        Mistake(
            "The ids may come as bytes, and nothing can be written into those. Begin with "
            "ids = list(ids), which is a new list each time.",
            _written_in,
        ),
        Mistake(
            "The ids may come as bytes, and a slice of bytes cannot be joined to a list. Begin "
            "with ids = list(ids).",
            _cut_out,
        ),
        Mistake(
            "Where the pair does not occur, the ids are given back as they came: bytes stay bytes. "
            "A list is asked for then, too: list(ids).",
            lambda ids, pair, new: merge_pair(ids, pair, new) if pair in pairwise(ids) else ids[:],
        ),
    ),
    right=(
        lambda ids, pair, new: _joined(ids, lambda a, b: (a, b) == pair, new),
        lambda ids, pair, new: list(
            map(
                ord,
                "".join(map(chr, ids)).replace("".join(map(chr, pair)), chr(new)),
            )
        ),
    ),
)

MERGES = {(98, 99): 256, (97, 98): 257, (256, 100): 258, (97, 97): 259, (257, 259): 260}


def words(seed: int) -> Iterator[tuple[Any, ...]]:
    """A word in which every order of merging gives other ids; then shorter, random, and bytes."""
    yield [97, 98, 99, 100, 97, 97, 98, 97, 98, 99, 97, 98, 97, 97, 97], MERGES
    yield from (([], MERGES), ([97], MERGES), ([97, 98], {}))
    draw = Random(seed)
    yield [draw.randrange(97, 101) for _ in range(30)], MERGES
    yield from ((b"abcd", MERGES), (b'"', MERGES))  # as encode hands a word over


def _by(
    choose: Any, ids: Sequence[int], merges: Mapping[Pair, int], most: int = 10**9
) -> list[int]:
    """Merge the place that `choose` takes out of [(new id, place)], until none is left."""
    ids = list(ids)
    for _ in range(most):
        there = [(merges[p], i) for i, p in enumerate(pairwise(ids)) if p in merges]
        if not there:
            break
        new_id, i = choose(there)
        ids[i : i + 2] = [new_id]
    return ids


def _one_walk(ids: Sequence[int], merges: Mapping[Pair, int]) -> list[int]:
    merged, i = list[int](), 0
    while i < len(ids):
        pair = (ids[i], ids[i + 1] if i + 1 < len(ids) else -1)
        merged.append(merges.get(pair, ids[i]))
        i += 2 if pair in merges else 1
    return merged


def _commonest(ids: Sequence[int], merges: Mapping[Pair, int]) -> list[int]:
    while there := Counter(pair for pair in pairwise(ids) if pair in merges):
        pair = there.most_common(1)[0][0]
        ids = merge_pair(ids, pair, merges[pair])
    return list(ids)


def _shrinking(ids: Sequence[int], merges: Mapping[Pair, int]) -> list[int]:
    ids = list(ids)
    for i in range(len(ids) - 1):
        if (ids[i], ids[i + 1]) in merges:
            ids[i : i + 2] = [merges[ids[i], ids[i + 1]]]
    return ids


def _with_merge(
    merge: Callable[[Any, Pair, int], list[int]],
) -> Callable[[Any, Mapping[Pair, int]], list[int]]:
    """Right but for the way in which a pair is merged."""

    def apply(ids: Any, merges: Mapping[Pair, int]) -> list[int]:
        while fit := [pair for pair in pairwise(ids) if pair in merges]:
            best = min(fit, key=lambda pair: merges[pair])
            ids = merge(ids, best, merges[best])
        return list(ids)

    return apply


APPLY_MERGES = Task(
    name="tokenizer.apply_merges",
    asks="Merge inside one word, the merge that was learned earliest first, until none fits.",
    reference=apply_merges,
    inputs=words,
    use=AsWritten(),
    hints=(
        "Several merges may fit at once. Which of them was learned before the others?",
        "As long as some pair of neighbours is in merges: take the one with the smallest new id, "
        "and merge it.",
        "best = min(pairs that are in merges, key=merges.get); ids = merge_pair(ids, best, "
        "merges[best]); again, until there is none.",
    ),
    mistakes=(
        Mistake(
            "Another pair is merged before the one that was learned earliest. Of the pairs that "
            "are there, the one with the smallest new id comes first, wherever it stands.",
            lambda ids, merges: _by(lambda there: min(there, key=lambda t: t[1]), ids, merges),
        ),
        Mistake(
            "The pair that was learned last is merged first.",
            lambda ids, merges: _by(lambda there: max(there), ids, merges),
        ),
        Mistake(
            "Only one place is merged; go on until nothing fits.",
            lambda ids, merges: _by(min, ids, merges, most=1),
        ),
        Mistake(
            "What was merged is not merged again: a new id may be half of the next pair.",
            lambda ids, merges: _by(min, ids, {p: n for p, n in merges.items() if max(p) < 256}),
        ),
        Mistake(
            "Of one pair's places the last is merged first; from left to right is the rule.",
            lambda ids, merges: _by(
                lambda there: min(there, key=lambda t: (t[0], -t[1])), ids, merges
            ),
        ),
        Mistake("Nothing is merged.", lambda ids, merges: list(ids)),
        Mistake(
            "The word is walked through once, and whatever fits on the way is merged. Look at the "
            "whole word before each merge: the pair learned earliest may stand at its end.",
            _one_walk,
        ),
        Mistake(
            "The pair that stands there most often is merged. That is how merges are learned; they "
            "are applied in the order in which they were learned.",
            _commonest,
        ),
        Mistake(
            "The merge that was learned earliest is applied, and no other: go on until nothing "
            "fits.",
            lambda ids, merges: merge_pair(
                ids, pair := min(merges, key=lambda p: merges[p]), merges[pair]
            ),
        ),
        Mistake(
            "The ids are right, in a tuple; a list is asked for.",
            lambda ids, merges: tuple(apply_merges(ids, merges)),
        ),
        Mistake(
            "The list gets shorter with each merge, and the loop goes on to the length that it had "
            "at the start.",
            _shrinking,
        ),
        Mistake(
            "Some pairs are not in merges, and get says None for them, which is not smaller than "
            "any number. Leave such pairs out before you choose.",
            lambda ids, merges: min(pairwise(ids), key=merges.get),
        ),
        Mistake(
            "In the end no pair is left that is in merges: there is nothing to choose from. That "
            "is where to stop.",
            lambda ids, merges: min(p for p in pairwise(apply_merges(ids, merges)) if p in merges),
        ),
        Mistake(
            "Where no pair fits, the word is given back as it came: bytes stay bytes. A list of "
            "ids is asked for then, too. Begin with ids = list(ids).",
            lambda ids, merges: (
                apply_merges(ids, merges) if any(p in merges for p in pairwise(ids)) else ids
            ),
        ),
        Mistake(
            "A word may come as bytes, and nothing can be written into those. Begin with "
            "ids = list(ids), which is a new list each time.",
            _with_merge(_written_in),
        ),
        Mistake(
            "A word may come as bytes, and a slice of bytes cannot be joined to a list. Begin with "
            "ids = list(ids).",
            _with_merge(_cut_out),
        ),
        Mistake(
            'In bytes nothing is merged: a slice of bytes is bytes, b"ab", and equals no list. '
            "Begin with ids = list(ids), or compare the two ids themselves.",
            lambda ids, merges: list(ids) if type(ids) is bytes else apply_merges(ids, merges),
        ),
    ),
    right=(
        lambda ids, merges: _by(min, ids, merges),
        lambda ids, merges: [
            ids := list(ids),
            *[
                ids := merge_pair(ids, pair, n)
                for pair, n in sorted(merges.items(), key=lambda m: m[1])
            ],
        ][-1],
    ),
)

TASKS = (
    MOST_FREQUENT,
    MERGE_PAIR,
    APPLY_MERGES,
    *tokenizer_characters.TASKS,
    *tokenizer_training.TASKS,
    *tokenizer_batches.TASKS,
    *tokenizer_bugs.TASKS,
    *tokenizer_pieces.TASKS,
)
QUESTIONS = tokenizer_paper.QUESTIONS

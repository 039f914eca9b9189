"""Exercises of chapter 1: pairs that are counted, and merges that are learned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, pairwise
from random import Random
from typing import Any

from gptlib.exercises.task import Mistake, Task
from gptlib.exercises.tokenizer_characters import AsWritten
from gptlib.merges import count_pairs, merge_pair, most_frequent, train_merges

Pair = tuple[int, int]

# Pairs -------------------------------------------------------------------------------------------


def neighbours(seed: int) -> Iterator[tuple[Any, ...]]:
    """Ids in which pairs overlap, come again and are turned round; then short and random ones."""
    yield ([5, 5, 5, 6, 5, 6, 9],)
    yield ([7, 7, 7],)
    yield from (([],), ([4],))
    draw = Random(seed)
    yield ([draw.randrange(4) for _ in range(40)],)


def _used_up(ids: Sequence[int]) -> Counter[Pair]:
    """The pairs of equal ids counted as merging would use them up."""
    found: Counter[Pair] = Counter()
    last = -2
    for i, pair in enumerate(pairwise(ids)):
        if pair[0] == pair[1] and last == i - 1 and ids[i - 1] == ids[i]:
            continue
        found[pair] += 1
        last = i
    return found


def _with_slices(ids: Sequence[int]) -> Counter[Pair]:
    before, after = ids[:-1], ids[1:]
    return Counter(zip(before, after, strict=True))


def _by_hand(ids: Sequence[int]) -> dict[Pair, int]:
    counts: dict[Pair, int] = {}
    for i in range(len(ids) - 1):
        pair = (ids[i], ids[i + 1])
        counts[pair] = counts.get(pair, 0) + 1
    return counts


COUNT_PAIRS = Task(
    name="tokenizer.count_pairs",
    asks="Count how often each pair of neighbours stands in a list of ids.",
    reference=count_pairs,
    inputs=neighbours,
    hints=(
        "A list of five ids: how many pairs of neighbours does it have, overlapping ones included?",
        "Walk over the places 0 to len(ids) - 2; the pair at a place is its id and the next one.",
        "A dictionary that begins empty, and counts[pair] = counts.get(pair, 0) + 1; or a Counter "
        "of zip(ids, ids[1:]).",
    ),
    mistakes=(
        Mistake(
            "The pairs stand side by side and do not overlap: an id in the middle belongs to two.",
            lambda ids: Counter(zip(ids[::2], ids[1::2], strict=False)),
        ),
        Mistake(
            "Of three equal ids in a row one pair is counted; they hold two, which overlap.",
            _used_up,
        ),
        Mistake(
            "A pair and the same pair turned round count as one: the order of the two matters.",
            lambda ids: Counter((min(p), max(p)) for p in pairwise(ids)),
        ),
        Mistake(
            "The last id and the first one count as neighbours: the list is no ring.",
            lambda ids: Counter(zip(ids, [*ids[1:], *ids[:1]], strict=True)),
        ),
        Mistake(
            "A pair that comes again is not counted again.",
            lambda ids: dict.fromkeys(pairwise(ids), 1),
        ),
        Mistake(
            "Ids that stand far apart count as pairs; neighbours are asked for.",
            lambda ids: Counter(combinations(ids, 2)),
        ),
        Mistake("The last pair is left out.", lambda ids: Counter(pairwise(ids[:-1]))),
        Mistake("These are single ids; pairs are asked for.", Counter),
        Mistake(
            "The second id of a pair stands before the first.",
            lambda ids: Counter((b, a) for a, b in pairwise(ids)),
        ),
    ),
    right=(_by_hand, _with_slices),
)

# Learning merges ---------------------------------------------------------------------------------


def word_counts(seed: int) -> Iterator[tuple[Any, ...]]:
    """Words with their counts: a tie, a merge that grows, a word that counts for many."""
    yield {"xyxy": 2, "abc": 4, "cab": 1, "pq": 4, "zz": 3}, 5
    yield {"éa": 2, "aé": 3}, 3
    draw = Random(seed)
    words = {
        "".join(draw.choices("abcd", k=draw.randrange(1, 7))): draw.randrange(1, 9) for _ in "x" * 9
    }
    yield words, 6
    yield {"ab": 1}, 5


Rows = Sequence[tuple[Sequence[int], int]]  # the ids of a word, and how often it occurs


def _all_words(rows: Rows) -> Counter[Pair]:
    counts: Counter[Pair] = Counter()
    for row, times in rows:
        for pair in pairwise(row):
            counts[pair] += times
    return counts


def _last_word(rows: Rows) -> Counter[Pair]:
    counts: Counter[Pair] = Counter()
    for row, times in rows:
        for pair, found in count_pairs(row).items():
            counts[pair] = found * times
    return counts


def _counts(words: Mapping[str, int]) -> Counter[Pair]:
    return _all_words([(word.encode(), times) for word, times in words.items()])


def _added_up(words: Mapping[str, int], n: int) -> dict[Pair, int]:
    """Each round's counts on top of all rounds' before."""
    whole: Counter[Pair] = Counter()

    def count(rows: Rows) -> Counter[Pair]:
        whole.update(_all_words(rows))
        return whole

    return _learned(words, n, count=count)


def _learned(
    words: Mapping[str, int],
    n: int,
    bytes_of: Callable[[str], Sequence[int]] = lambda word: word.encode(),
    choose: Callable[[Mapping[Pair, int]], Pair] = most_frequent,
    first_id: int = 256,
    weigh: Callable[[int], int] = int,
    least: int = 1,
    again: bool = True,
    count: Callable[[Any], Counter[Pair]] | None = None,
    stop: bool = True,
) -> dict[Pair, int]:
    """Merges learned the plain way, one part of it exchanged."""
    rows = [(list(bytes_of(word)), weigh(times)) for word, times in words.items()]
    merges: dict[Pair, int] = {}
    for new_id in range(first_id, first_id + n):
        counts = (count or _all_words)(rows)
        if not again:
            counts = Counter({p: c for p, c in counts.items() if p not in merges})
        if stop and (not counts or max(counts.values()) < least):
            break
        pair = choose(counts)
        merges[pair] = new_id
        if again:
            rows = [(merge_pair(row, pair, new_id), times) for row, times in rows]
    return merges


def _one_row(words: Mapping[str, int], n: int) -> dict[Pair, int]:
    return _learned({"".join(word * times for word, times in words.items()): 1}, n)


def _with_lists(words: Mapping[str, int], n: int) -> dict[Pair, int]:
    """Each word as often as it occurs, and the best pair by sorting."""
    rows = [list(word.encode()) for word, times in words.items() for _ in range(times)]
    merges: dict[Pair, int] = {}
    while len(merges) < n:
        counts = sum((count_pairs(row) for row in rows), Counter[Pair]())
        if not counts:
            return merges
        best = sorted(counts, key=lambda pair: (-counts[pair], pair))[0]
        merges[best] = 256 + len(merges)
        rows = [merge_pair(row, best, merges[best]) for row in rows]
    return merges


TRAIN_MERGES = Task(
    name="tokenizer.train_merges",
    asks="Learn merges from words and their counts: merge the most frequent pair, again and again.",
    reference=train_merges,
    inputs=word_counts,
    use=AsWritten(),
    hints=(
        "What has to be counted anew after a merge, and for how much does a word count that occurs "
        "four times?",
        "Keep each word as a list of ids beside its count. A round: count the pairs of all words, "
        "choose one with most_frequent, note it in a dictionary, and merge it in every word.",
        "counts[pair] += times for pair in count_pairs of a word; stop when counts is empty; "
        "merges[pair] = 256 + len(merges); then merge_pair for each word's ids.",
    ),
    mistakes=(
        Mistake(
            "Each word counts once, however often it occurs: the counts of the words are not used.",
            lambda words, n: _learned(words, n, weigh=lambda times: 1),
        ),
        Mistake(
            "The end of a word and the beginning of the next one make a pair: no merge may cross "
            "a cut between words.",
            _one_row,
        ),
        Mistake(
            "The pairs are all counted in the untouched words: after a merge the new id is half "
            "of new pairs, and the old pairs have become rarer.",
            lambda words, n: _learned(words, n, again=False),
        ),
        Mistake(
            "Among pairs of equal count the one seen before the others wins; it should be the "
            "smallest, so that the order of the words does not matter.",
            lambda words, n: _learned(words, n, choose=lambda c: max(c, key=lambda p: c[p])),
        ),
        Mistake(
            "Among pairs of equal count the largest wins; it should be the smallest.",
            lambda words, n: _learned(words, n, choose=lambda c: max(c, key=lambda p: (c[p], p))),
        ),
        Mistake(
            "The rarest pair is merged each time.",
            lambda words, n: _learned(words, n, choose=lambda c: min(c, key=lambda p: (c[p], p))),
        ),
        Mistake(
            "The new ids begin at 257: the bytes take 0 to 255, and 256 stays empty.",
            lambda words, n: _learned(words, n, first_id=257),
        ),
        Mistake(
            "The new ids begin at 0, where the bytes are: one id would mean two things.",
            lambda words, n: _learned(words, n, first_id=0),
        ),
        Mistake(
            "Of a pair that stands in several words one word is counted: counts[pair] = ... writes "
            "over what the words before it gave. Add to it.",
            lambda words, n: _learned(words, n, count=_last_word),
        ),
        Mistake(
            "The counts of the round before are still there: they are added to, and the old pairs "
            "stay ahead. Begin each round with empty counts.",
            _added_up,
        ),
        Mistake(
            "The same pair wins each round: the words are as they were. What merge_pair gives has "
            "to take the place of the word's ids.",
            lambda words, n: {most_frequent(_counts(words)): 255 + n},
        ),
        Mistake(
            "At some point no pair is left, and the highest of no counts is asked for. Stop there: "
            "fewer merges come back.",
            lambda words, n: _learned(words, n, stop=False),
        ),
        Mistake(
            "The ids are characters, and become numbers where they are merged: the two do not "
            "compare. A word's ids are its bytes, list(word.encode()).",
            lambda words, n: _learned(words, n, bytes_of=list),  # type: ignore[arg-type]
        ),
        Mistake("One merge too few is learned.", lambda words, n: _learned(words, n - 1)),
        Mistake(
            "A list of pairs; a dictionary from each pair to its new id is asked for.",
            lambda words, n: list(_learned(words, n)),
        ),
        Mistake(
            "The dictionary goes from new id to pair; from pair to new id is asked for.",
            lambda words, n: {new_id: pair for pair, new_id in _learned(words, n).items()},
        ),
        Mistake(
            "The words are taken as code points; ids 0 to 255 stand for the bytes of UTF-8.",
            lambda words, n: _learned(words, n, bytes_of=lambda word: [ord(c) for c in word]),
        ),
        Mistake(
            "A pair that stands there once is not merged: go on until no pair is left.",
            lambda words, n: _learned(words, n, least=2),
        ),
    ),
    right=(_learned, _with_lists),
)

TASKS = (COUNT_PAIRS, TRAIN_MERGES)

"""Byte-pair merges: learned from words, and applied to words.

Built in chapter 1. First the plain way, which nobody can get wrong: count the pairs, take the most
frequent one, put one id in its place. Then the same merges in a row where neighbours become one
without moving the others, so that a long word takes no longer than as many short ones.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

Pair = tuple[int, int]

GONE = -1  # stands in a row where an id was joined to its neighbour, and between two words


def count_pairs(ids: Sequence[int]) -> Counter[Pair]:
    """How often each pair of neighbours stands in `ids`, overlapping pairs included.

    count_pairs([5, 6, 9, 5, 6]) -> {(5, 6): 2, (6, 9): 1, (9, 5): 1}
    count_pairs([7, 7, 7]) -> {(7, 7): 2}
    """
    return Counter(pairwise(ids))


def most_frequent(counts: Mapping[Pair, int]) -> Pair:
    """The pair with the highest count; among equals, the smallest pair of ids.

    most_frequent({(98, 97): 3, (97, 98): 3, (1, 1): 2}) -> (97, 98)
    """
    highest = max(counts.values())
    return min(pair for pair, count in counts.items() if count == highest)


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


class Row:
    """Ids side by side, two of which become one without moving the others: a linked list.

    Row([5, 6, 9]).pair(0) -> (5, 6)
    """

    def __init__(self, ids: Iterable[int]) -> None:
        self.ids = [*ids, GONE]  # the end closes the ring: it is the first one's left neighbour
        n = len(self.ids)
        self.left = list(range(-1, n - 1))
        self.right = [*range(1, n), 0]

    def pair(self, i: int) -> Pair:
        """The id at place i and its right neighbour."""
        return self.ids[i], self.ids[self.right[i]]

    def join(self, i: int, new_id: int) -> None:
        """Put `new_id` in place of the pair at i; the place of the right one is empty from now."""
        j = self.right[i]
        self.ids[i], self.ids[j] = new_id, GONE
        self.right[i] = self.right[j]
        self.left[self.right[j]] = i


class PairIndex:
    """Every pair of neighbours in a set of words: how often it occurs, and where.

    PairIndex({"aab": 2, "ab": 1}).counts -> {(97, 97): 2, (97, 98): 3}
    """

    def __init__(self, word_counts: Mapping[str, int]) -> None:
        words = {word: (*word.encode("utf-8"), GONE) for word in word_counts}
        self.row = Row(i for word in words.values() for i in word)
        self.times = [n for word, n in word_counts.items() for _ in words[word]]
        self.counts: Counter[Pair] = Counter()
        self.where: dict[Pair, list[int]] = defaultdict(list)
        self.heap: list[tuple[int, Pair]] = []
        self.add(range(len(self.times)))

    def add(self, places: Iterable[int]) -> None:
        """Count the new pairs that stand at these places, from left to right."""
        new = set()
        for i in places:
            pair = self.row.pair(i)
            if GONE not in pair:
                self.counts[pair] += self.times[i]
                self.where[pair].append(i)
                new.add(pair)
        for pair in new:
            heapq.heappush(self.heap, (-self.counts[pair], pair))

    def most_frequent(self) -> Pair | None:
        """As the function of this name, without looking at every pair; None if there is none."""
        while self.heap:
            count, pair = heapq.heappop(self.heap)
            if self.counts[pair] == -count:
                return pair
            if self.counts[pair]:  # it has become rarer since it was put there
                heapq.heappush(self.heap, (-self.counts[pair], pair))
        return None

    def merge(self, pair: Pair, new_id: int) -> None:
        """Merge `pair` wherever it stands, and count anew the pairs beside it only."""
        changed = set()
        for i in self.where.pop(pair):
            if self.row.pair(i) == pair:  # else a merge has taken one of the two
                beside = self.row.left[i], self.row.right[i]
                for old in map(self.row.pair, beside):
                    if GONE not in old and new_id not in old:  # the new ones are counted below
                        self.counts[old] -= self.times[i]
                self.row.join(i, new_id)
                changed |= {beside[0], i}
        del self.counts[pair]
        self.add(sorted(changed))


def train_merges(word_counts: Mapping[str, int], n_merges: int) -> dict[Pair, int]:
    """Learn merges from words and their counts: again and again, merge the most frequent pair.

    Returns {pair: new id} in order, with the ids 256, 257, ...; fewer than `n_merges` when no pair
    is left. Source: Sennrich et al. 2016, "Neural machine translation of rare words with subword
    units".

    train_merges({"aab": 2, "ab": 1}, 2) -> {(97, 98): 256, (97, 256): 257}
    """
    index = PairIndex(word_counts)
    merges: dict[Pair, int] = {}
    while len(merges) < n_merges and (pair := index.most_frequent()):
        merges[pair] = 256 + len(merges)
        index.merge(pair, merges[pair])
    return merges


def apply_merges(ids: Iterable[int], merges: Mapping[Pair, int]) -> list[int]:
    """Merge inside one word, the merge that was learned earliest first, until none fits.

    apply_merges([97, 97, 98], {(97, 98): 256, (97, 256): 257}) -> [257]
    """
    row = Row(ids)
    found = [(merges[pair], i) for i, pair in enumerate(pairwise(row.ids)) if pair in merges]
    heapq.heapify(found)
    while found:
        new_id, i = heapq.heappop(found)
        if merges.get(row.pair(i)) == new_id:  # else a merge has taken one of the two
            row.join(i, new_id)
            for place in (row.left[i], i):
                if row.pair(place) in merges:
                    heapq.heappush(found, (merges[row.pair(place)], place))
    return [i for i in row.ids if i != GONE]

"""Exercises of chapter 2: what is left to guess when one token is known, or several."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

import torch

from gptlib.bigram import bigram_probs, conditional_entropy
from gptlib.exercises.task import Mistake, Task, Use

Tensor = torch.Tensor


class OneNumber(Use):
    """What comes out is one number, as a float or as a tensor; nan is shown as a word."""

    def run(self, answer: Any, *given: Any) -> Any:
        out = answer(*given)
        out = out.item() if torch.is_tensor(out) and out.numel() == 1 else out
        return "nan" if isinstance(out, float) and math.isnan(out) else out


def pair_counts(seed: int) -> Iterator[tuple[Any, ...]]:
    """Counts with empty places, rows of different weight and one row of nothing."""
    yield (torch.tensor([[0, 6, 2], [1, 1, 0], [0, 0, 0]]),)
    yield (torch.tensor([[0, 2], [1, 1]]),)
    yield (torch.tensor([[0, 1], [3, 1]]),)
    draw = torch.Generator().manual_seed(seed)
    yield (torch.randint(5, (6, 6), generator=draw),)


def _rows(counts: Tensor) -> Tensor:
    return counts.double() / counts.sum(dim=1, keepdim=True).clamp(min=1)


def _surprise(counts: Tensor) -> Tensor:
    """Each pair's count times its surprise, 0 where nothing was counted."""
    return -torch.xlogy(counts.double(), _rows(counts))


def _of_shares(shares: Tensor) -> float:
    return float(-torch.xlogy(shares, shares).sum())


def _with_loops(counts: Tensor) -> float:
    total = 0.0
    for row in counts.tolist():
        total += sum(n * math.log(sum(row) / n) for n in row if n)
    return total / sum(map(sum, counts.tolist()))


CONDITIONAL_ENTROPY = Task(
    name="bigram.conditional_entropy",
    asks="The mean surprise, in nats, of all counted pairs under the shares of their own rows.",
    reference=conditional_entropy,
    inputs=pair_counts,
    use=OneNumber(),
    hints=(
        "How surprised is the table by a pair that stands there six times out of eight in its row?",
        "Each pair costs minus the logarithm of its share of the row. A pair that stands there six "
        "times costs that six times; then the mean over all pairs.",
        "-(counts * log(shares)).sum() / counts.sum(), with 0 wherever a count is 0: torch.xlogy "
        "does that.",
    ),
    mistakes=(
        Mistake(
            "This is nan: 0 times the logarithm of 0, or 0 divided by 0. What never happens costs "
            "nothing.",
            lambda c: float(-(c * (c / c.sum(dim=1, keepdim=True)).log()).sum() / c.sum()),
        ),
        Mistake(
            "Every row counts the same. A token that comes often should weigh more: the mean goes "
            "over the pairs.",
            lambda c: float(-torch.xlogy(_rows(c), _rows(c)).sum() / (c.sum(dim=1) > 0).sum()),
        ),
        Mistake(
            "Every row counts the same, those without a pair too.",
            lambda c: float(-torch.xlogy(_rows(c), _rows(c)).sum() / len(c)),
        ),
        Mistake(
            "Every row counts the same, and one without a pair as if anything might follow: the "
            "mean goes over the pairs.",
            lambda c: _of_shares(bigram_probs(c).double()) / len(c),
        ),
        Mistake(
            "Each place of the table with a count counts once. A pair that came six times costs "
            "its surprise six times.",
            lambda c: float(-_rows(c)[c > 0].log().mean()),
        ),
        Mistake(
            "These are bits; nats are asked for, the natural logarithm.",
            lambda c: float(_surprise(c).sum() / c.sum()) / math.log(2),
        ),
        Mistake(
            "The minus is missing: a surprise is not negative.",
            lambda c: -float(_surprise(c).sum() / c.sum()),
        ),
        Mistake(
            "This is the surprise at both tokens of a pair. The present one is known, and costs "
            "nothing: divide by the sum of its row.",
            lambda c: _of_shares(c.double() / c.sum()),
        ),
        Mistake(
            "This is the surprise at a token when nothing is known about the one before it.",
            lambda c: _of_shares(c.sum(dim=0).double() / c.sum()),
        ),
        Mistake(
            "This is the sum; the mean over all pairs is asked for.",
            lambda c: float(_surprise(c).sum()),
        ),
        Mistake(
            "The mean goes over the places of the table; it goes over the pairs of the text.",
            lambda c: float(_surprise(c).mean()),
        ),
        Mistake(
            "The shares are those of the columns: the token that is known stands in the row.",
            lambda c: conditional_entropy(c.T),
        ),
    ),
    right=(
        _with_loops,
        lambda c: _of_shares(c.double() / c.sum()) - _of_shares(c.sum(dim=1).double() / c.sum()),
    ),
)

# A longer memory ---------------------------------------------------------------------------------


def ngram_entropy(ids: Sequence[int], n: int) -> float:
    """The mean surprise, in nats, at the last of n neighbours when the ones before are known."""
    whole = Counter(zip(*(ids[k:] for k in range(n)), strict=False))
    before: Counter[tuple[int, ...]] = Counter()
    for gram, count in whole.items():
        before[gram[:-1]] += count
    nats = sum(c * math.log(before[gram[:-1]] / c) for gram, c in whole.items())
    return nats / whole.total()


def long_texts(seed: int) -> Iterator[tuple[Any, ...]]:
    """A text in which two tokens know more than one; then random ones."""
    yield [0, 1, 0, 0, 1, 1, 0, 1, 0, 0, 0, 1, 1, 0], 3
    draw = Random(seed)
    yield [draw.randrange(3) for _ in range(60)], 2
    yield [draw.randrange(2) for _ in range(80)], 4


def _grams(ids: Sequence[int], n: int) -> Counter[tuple[int, ...]]:
    return Counter(tuple(ids[i : i + n]) for i in range(len(ids) - n + 1))


def _entropy(counts: Counter) -> float:
    return sum(c * math.log(counts.total() / c) for c in counts.values()) / counts.total()


def _before(ids: Sequence[int], n: int) -> Callable[[tuple[int, ...]], int]:
    known = _grams(ids[:-1], n - 1)
    return lambda gram: known[gram[:-1]]


def _priced(ids: Sequence[int], n: int, before: Callable[[tuple[int, ...]], int]) -> float:
    grams = _grams(ids, n)
    return sum(c * math.log(before(g) / c) for g, c in grams.items()) / grams.total()


NGRAM_ENTROPY = Task(
    name="bigram.ngram_entropy",
    asks="The mean surprise at the last of n neighbours when the n - 1 before it are known.",
    reference=ngram_entropy,
    inputs=long_texts,
    use=OneNumber(),
    kind="stretch",
    hints=(
        "For n = 2 this is the bigram floor. What is a row of the table when n is 3?",
        "Count all runs of n tokens, and for each beginning of n - 1 tokens how many runs begin "
        "with it. The share of a run is the one divided by the other.",
        "The sum over the runs of count * log(count of its beginning / count), divided by the "
        "number of runs. The beginning at the very end of the text is followed by nothing.",
    ),
    mistakes=(
        Mistake(
            "The n - 1 tokens at the very end of the text are counted as a beginning; nothing "
            "follows them.",
            lambda ids, n: _priced(ids, n, lambda gram: _grams(ids, n - 1)[gram[:-1]]),
        ),
        Mistake(
            "One token too many is known: n neighbours are the known ones and the next together.",
            lambda ids, n: ngram_entropy(ids, n + 1),
        ),
        Mistake(
            "The same as for n = 2: more than one token before is to be looked at.",
            lambda ids, n: ngram_entropy(ids, 2) if n > 2 else ngram_entropy(ids, n + 1),
        ),
        Mistake(
            "This is the surprise at all n tokens together; those before the last are known.",
            lambda ids, n: _entropy(_grams(ids, n)),
        ),
        Mistake(
            "These are bits; nats are asked for.",
            lambda ids, n: ngram_entropy(ids, n) / math.log(2),
        ),
        Mistake(
            "This is the sum; the mean over all runs is asked for.",
            lambda ids, n: ngram_entropy(ids, n) * (len(ids) - n + 1),
        ),
        Mistake(
            "Each run counts once, however often it came: a run that came five times costs its "
            "surprise five times.",
            lambda ids, n: _mean_of_runs(ids, n),
        ),
        Mistake(
            "The last run is left out: among N tokens there are N - n + 1 runs of n.",
            lambda ids, n: ngram_entropy(ids[:-1], n),
        ),
        Mistake(
            "The runs do not overlap; at each token but the last ones one begins.",
            lambda ids, n: ngram_apart(ids, n),
        ),
    ),
    right=(
        lambda ids, n: _priced(ids, n, _before(ids, n)),
        lambda ids, n: _entropy(_grams(ids, n)) - _entropy(_grams(ids[:-1], n - 1)),
    ),
)


def _mean_of_runs(ids: Sequence[int], n: int) -> float:
    grams, before = _grams(ids, n), _before(ids, n)
    return sum(math.log(before(g) / c) for g, c in grams.items()) / len(grams)


def ngram_apart(ids: Sequence[int], n: int) -> float:
    """The same over runs that lie side by side."""
    apart = Counter(tuple(ids[i : i + n]) for i in range(0, len(ids) - n + 1, n))
    known = Counter[tuple[int, ...]]()
    for gram, count in apart.items():
        known[gram[:-1]] += count
    return sum(c * math.log(known[g[:-1]] / c) for g, c in apart.items()) / apart.total()


TASKS = (CONDITIONAL_ENTROPY, NGRAM_ENTROPY)

"""Exercises of chapter 12 that are code: bits per byte, what counting reaches, the best of k."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, pairwise
from random import Random
from typing import Any

from gptlib.exercises.task import Mistake, Task
from gptlib.rubric import counting

Ids = Sequence[int]


def bits_per_byte(loss: float, n_tokens: int, n_bytes: int) -> float:
    """A loss in nats per token, in bits per byte of the text that the tokens stand for.

    bits_per_byte(math.log(2), 30, 60) -> 0.5
    """
    return loss * n_tokens / math.log(2) / n_bytes


def texts(seed: int) -> Iterator[tuple[Any, ...]]:
    """Tokens of two bytes; characters that are bytes; others."""
    draw = Random(seed)
    yield 1.5, 400, 1000
    yield 2.0, 300, 300
    n = draw.randrange(10, 1000)
    yield 0.3 + draw.random(), n, 3 * n + draw.randrange(50)


BITS_PER_BYTE = Task(
    name="capstone.bits_per_byte",
    asks="All nats of the text, in bits, shared out over its bytes.",
    reference=bits_per_byte,
    inputs=texts,
    kind="warm-up",
    hints=(
        "How many nats does the whole text cost, and how many bits are they?",
        "A bit is ln 2 nats, 0.69: the number of bits is larger than that of nats.",
        "loss * n_tokens / math.log(2) / n_bytes",
    ),
    mistakes=(
        Mistake(
            "These are nats per byte. A bit is ln 2 nats.",
            lambda loss, n_tokens, n_bytes: loss * n_tokens / n_bytes,
        ),
        Mistake(
            "These are bits per token. The bytes are not looked at, and two tokenizers cannot be "
            "compared by it.",
            lambda loss, n_tokens, n_bytes: loss / math.log(2),
        ),
        Mistake(
            "It is multiplied by ln 2, as if a bit were more than a nat.",
            lambda loss, n_tokens, n_bytes: loss * n_tokens * math.log(2) / n_bytes,
        ),
        Mistake(
            "Tokens and bytes have changed places.",
            lambda loss, n_tokens, n_bytes: loss * n_bytes / math.log(2) / n_tokens,
        ),
    ),
    right=(
        lambda loss, n_tokens, n_bytes: loss / math.log(2) * n_tokens / n_bytes,
        lambda loss, n_tokens, n_bytes: math.log2(math.exp(loss)) * n_tokens / n_bytes,
    ),
)


def rows(seed: int) -> Iterator[tuple[Any, ...]]:
    """Two tokens in turn; one that ends the text and one that is not there; by chance."""
    draw = Random(seed)
    yield [0, 1, 0, 1], [0, 1, 0], 2
    yield [0, 0, 1, 0, 2], [2, 0, 3, 1], 4
    yield [1, 0, 1, 1, 2, 2, 1], [1, 2, 0, 0, 1], 3
    V = draw.randrange(4, 8)
    train, validation = ([draw.randrange(V) for _ in range(n)] for n in (60, 20))
    yield train, validation, V


def _counted(
    single: Callable[[Counter[int], int, int, int], float] | None = None,
    pair: Callable[[int, int, float, int], float] | None = None,
    before: Callable[[Ids], Ids] = lambda train: train[:-1],
    asked: Callable[[Ids, Ids], Ids] = lambda train, validation: validation,
    mean: Callable[[list[float]], float] = lambda costs: sum(costs) / len(costs),
    log: Callable[[float], float] = math.log,
) -> Callable[..., dict[str, float]]:
    """Both figures by plain counting, with another idea of one of its parts."""

    def found(train: Ids, validation: Ids, vocab_size: int) -> dict[str, float]:
        ones, twos, begun = Counter(train), Counter(pairwise(train)), Counter(before(train))

        def alone(b: int) -> float:
            if single:
                return single(ones, b, len(train), vocab_size)
            return (ones[b] + 1) / (len(train) + vocab_size)

        def after(a: int, b: int) -> float:
            if pair:
                return pair(twos[a, b], begun[a], alone(b), vocab_size)
            return (twos[a, b] + alone(b)) / (begun[a] + 1)

        places = list(pairwise(asked(train, validation)))
        return {
            "unigram": mean([-log(alone(b)) for _, b in places]),
            "bigram": mean([-log(after(a, b)) for a, b in places]),
        }

    return found


def _all_asked(train: Ids, validation: Ids, vocab_size: int) -> dict[str, float]:
    """The unigram is asked for the first token as well."""
    found = counting(train, validation, vocab_size)
    ones = Counter(train)
    costs = [-math.log((ones[b] + 1) / (len(train) + vocab_size)) for b in validation]
    return found | {"unigram": sum(costs) / len(costs)}


COUNTING = Task(
    name="capstone.counting",
    asks="Two means over the validation tokens behind the first, of minus the logarithm of what "
    "the counts of the training text say.",
    reference=counting,
    inputs=rows,
    hints=(
        "Count three things in the training ids: each token, each pair of neighbours, and how "
        "often each token is the first of a pair.",
        "The unigram's chance of b is (count of b + 1) / (N + vocab_size). The bigram's, behind "
        "a, is (count of the pair + the unigram's chance of b) / (count of a as first + 1).",
        "For a, b in zip(validation[:-1], validation[1:]): add up -math.log of both chances, and "
        "divide by len(validation) - 1.",
    ),
    mistakes=(
        Mistake(
            "These are sums. The loss is the mean over the tokens that are asked.",
            _counted(mean=sum),
        ),
        Mistake(
            "These are bits: the logarithm is that to the base 2.",
            _counted(log=math.log2),
        ),
        Mistake(
            "The training text is asked. It is counted; the validation text is asked.",
            _counted(asked=lambda train, validation: train),
        ),
        Mistake(
            "The unigram leaves out the one more of each token: one that was never seen has the "
            "chance 0, or the sum is not 1.",
            _counted(single=lambda ones, b, n, V: max(ones[b], 1e-12) / n),
        ),
        Mistake(
            "The bigram gives one more to each pair. Here one more is shared out over all that "
            "may follow, as the unigram says.",
            _counted(pair=lambda both, first, alone, V: (both + 1) / (first + V)),
        ),
        Mistake(
            "A pair is divided by how often its first token is there at all. The last token of "
            "the text is followed by nothing: it is no first.",
            _counted(before=lambda train: train),
        ),
        Mistake(
            "The unigram is asked for the first validation token, too. Nothing stands before it, "
            "so the bigram is not, and the two are means over other places.",
            _all_asked,
        ),
    ),
    right=(
        _counted(),
        lambda train, validation, vocab_size: counting(list(train), tuple(validation), vocab_size),
    ),
)


def expected_best(losses: Sequence[float], k: int) -> float:
    """The mean of the lowest of k losses, over all ways to take k of them.

    expected_best([1.0, 2.0, 3.0], 2) -> 1.3333
    """
    n, ordered = len(losses), sorted(losses)
    ways = [math.comb(n - 1 - i, k - 1) for i in range(n)]  # in which the i-th is the lowest
    return sum(w * loss for w, loss in zip(ways, ordered, strict=True)) / math.comb(n, k)


def seeds(seed: int) -> Iterator[tuple[Any, ...]]:
    """Two of three; one, which is the mean; all, which is the lowest; some by chance."""
    draw = Random(seed)
    yield [1.0, 2.0, 3.0], 2
    yield [0.5, 0.25, 1.5, 0.75], 3
    yield [2.0, 1.0, 4.0], 1
    yield [2.0, 1.0, 4.0], 3
    yield [round(draw.random(), 3) for _ in range(30)], 10


EXPECTED_BEST = Task(
    name="capstone.expected_best",
    asks="Over all ways to take k of the losses, the mean of the lowest of them, exactly.",
    reference=expected_best,
    inputs=seeds,
    kind="stretch",
    hints=(
        "Put the losses in order. In how many of the ways to take k is the i-th the lowest?",
        "Then the other k - 1 come from the n - 1 - i behind it: math.comb(n - 1 - i, k - 1). "
        "In all there are math.comb(n, k) ways.",
        "sum(math.comb(n - 1 - i, k - 1) * loss for i, loss in enumerate(sorted(losses))) / "
        "math.comb(n, k)",
    ),
    mistakes=(
        Mistake("This is the lowest of them all, whatever k.", lambda losses, k: min(losses)),
        Mistake("This is the mean, which is the answer for a k of 1.",
                lambda losses, k: sum(losses) / len(losses)),
        Mistake(
            "This is the mean of the k lowest. Who takes k by chance seldom gets those.",
            lambda losses, k: sum(sorted(losses)[:k]) / k,
        ),
        Mistake(
            "A loss may be taken twice here. k different seeds are taken.",
            lambda losses, k: sum(
                loss * (((len(losses) - i) / len(losses)) ** k
                        - ((len(losses) - i - 1) / len(losses)) ** k)
                for i, loss in enumerate(sorted(losses))
            ),
        ),
        Mistake(
            "This is the largest of k: the order is turned round.",
            lambda losses, k: -expected_best([-loss for loss in losses], k),
        ),
    ),
    right=(
        lambda losses, k: (
            expected_best(losses, k) if len(losses) > 20
            else sum(map(min, combinations(losses, k))) / math.comb(len(losses), k)
        ),
        lambda losses, k: sum(
            math.comb(i, k - 1) * loss for i, loss in enumerate(sorted(losses, reverse=True))
        ) / math.comb(len(losses), k),
    ),
)  # fmt: skip

TASKS = (BITS_PER_BYTE, COUNTING, EXPECTED_BEST)

"""Exercises of appendix A: a softmax in logarithms, a norm folded away, and what a cache spares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gptlib.exercises.arrays_drawn import CACHE_BYTES, DRAWN
from gptlib.exercises.arrays_use import Arrays
from gptlib.exercises.question import Question
from gptlib.exercises.task import Mistake, Task

Array = NDArray[Any]
Weights = dict[str, Array]


def log_softmax(x: Array) -> Array:
    """The natural logarithm of the softmax, along the last axis: (…, n) -> (…, n)."""
    x = x - x.max(axis=-1, keepdims=True)  # at most 0, so that no exponential is too large
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


def scores(seed: int) -> Iterator[tuple[Any, ...]]:
    """Two rows near 0, a row whose scores lie far apart, rows that do, then others."""
    yield (torch.tensor([[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]], dtype=torch.float64),)
    yield (torch.tensor([1000.0, 0.0], dtype=torch.float64),)
    yield (torch.tensor([[1000.0, 1001.0], [0.0, 1.0]], dtype=torch.float64),)
    draw = torch.Generator().manual_seed(seed)
    yield (3 * torch.randn(2, 3, 4, generator=draw, dtype=torch.float64),)


def _logs(
    axis: int | None = -1,
    largest: Callable[[Array], Any] = lambda x: x.max(axis=-1, keepdims=True),
    last: Callable[[Array], Array] = lambda out: out,
) -> Callable[[Array], Array]:
    """The whole, with one part of it exchanged."""

    def logs(x: Array) -> Array:
        x = x - largest(x)
        return last(x - np.log(np.exp(x).sum(axis=axis, keepdims=True)))

    return logs


LOG_SOFTMAX = Task(
    name="arrays.log_softmax",
    asks="Give the logarithm of the softmax, for scores however far apart.",
    reference=log_softmax,
    inputs=scores,
    use=Arrays(),
    kind="warm-up",
    hints=(
        "The softmax divides e^x by a sum. What does the logarithm make of a quotient, and of e^x?",
        "It is x minus the logarithm of the sum of all e^x. Which number may be taken from all x "
        "before that, so that no e^x is too large?",
        "x = x - x.max(axis=-1, keepdims=True), then x - np.log(np.exp(x).sum(axis=-1, "
        "keepdims=True)).",
    ),
    mistakes=(
        Mistake(
            "It is right while scores lie near each other. Further apart the softmax makes 0 of "
            "the smaller one, whose logarithm is minus infinity. Take the logarithm of the sum "
            "alone: ln(e^x / sum) is x - ln(sum).",
            lambda x: np.log(np.exp(log_softmax(x))),
        ),
        Mistake(
            "It is right while scores are small. e to the power of 1000 is too large for a number: "
            "take the largest score from all of them first.",
            _logs(largest=lambda x: 0.0),
        ),
        Mistake(
            "The largest of all scores is taken from every row. Where a row lies far below it, all "
            "its exponentials are 0: each row has a largest score of its own.",
            _logs(largest=lambda x: x.max()),
        ),
        Mistake(
            "All rows go into one sum. Each has its own: axis=-1.",
            _logs(axis=None),
        ),
        Mistake(
            "The sum runs down the columns. The scores that share a softmax stand in a row, along "
            "the last axis.",
            lambda x: x - np.log(np.exp(x - x.max()).sum(axis=0, keepdims=True)) - x.max(),
        ),
        Mistake(
            "These are the probabilities; their logarithms are asked for.",
            _logs(last=np.exp),
        ),
        Mistake(
            "The sign is turned over: this is what each choice costs. A logarithm of a probability "
            "is 0 or less.",
            _logs(last=np.negative),
        ),
        Mistake(
            "This is the logarithm to the base of 2, in bits; the natural one is asked for.",
            _logs(last=lambda out: out / np.log(2)),
        ),
        Mistake(
            "The largest score is taken away, and the sum is missing: the exponentials of a row "
            "would not sum to 1.",
            lambda x: x - x.max(axis=-1, keepdims=True),
        ),
    ),
    right=(
        _logs(),
        lambda x: x - np.logaddexp.reduce(x, axis=-1, keepdims=True),
    ),
)


def folded(norm: Weights, linear: Weights) -> Weights:
    """The linear layer that makes of z what `linear` makes of z times scale plus shift.

    norm: "weight" and "bias", the scale and shift (C). linear: "weight" (m, C) and perhaps "bias".
    """
    bias = linear["weight"] @ norm["bias"] + linear.get("bias", 0)  # (m)
    return {"weight": linear["weight"] * norm["weight"], "bias": bias}


def layers(seed: int) -> Iterator[tuple[Any, ...]]:
    """Two numbers in and out, then three out, then a layer without a bias."""
    draw = torch.Generator().manual_seed(seed)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draw, dtype=torch.float64)

    small = _told(weight=[[1.0, 2.0], [3.0, 5.0]], bias=[7.0, 8.0])
    yield _told(weight=[2.0, 10.0], bias=[1.0, -1.0]), small
    yield {"weight": some(4), "bias": some(4)}, {"weight": some(3, 4), "bias": some(3)}
    yield {"weight": some(4), "bias": some(4)}, {"weight": some(3, 4)}


def _told(**parts: list[Any]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(part, dtype=torch.float64) for name, part in parts.items()}


def _fold(
    weight: Callable[[Array, Array], Array] = lambda W, scale: W * scale,
    moved: Callable[[Array, Array, Array], Array] = lambda W, scale, shift: W @ shift,
    old: Callable[[Weights], Any] = lambda linear: linear.get("bias", 0),
) -> Callable[[Weights, Weights], Weights]:
    """The whole, with one part of it exchanged."""

    def fold(norm: Weights, linear: Weights) -> Weights:
        W, scale, shift = linear["weight"], norm["weight"], norm["bias"]
        return {"weight": weight(W, scale), "bias": moved(W, scale, shift) + old(linear)}

    return fold


FOLDED = Task(
    name="arrays.folded",
    asks="Work a norm's scale and shift into the linear layer behind it.",
    reference=folded,
    inputs=layers,
    use=Arrays(),
    kind="stretch",
    hints=(
        "Write down number j that comes out: a sum over i of W[j, i] * (z[i] * scale[i] + "
        "shift[i]), and the bias. Which part of it depends on z, and which does not?",
        "W[j, i] * scale[i] is what z[i] is multiplied by. The sum of W[j, i] * shift[i] is a "
        "number of its own for each j, whatever z is.",
        'The new weight is W * scale, the new bias W @ shift + linear.get("bias", 0).',
    ),
    mistakes=(
        Mistake(
            "Rows of the weight are multiplied by the scale. Row j makes number j that comes out, "
            "and the scale belongs to the numbers that go in: to the columns.",
            _fold(weight=lambda W, scale: W * scale[:, None]),
        ),
        Mistake(
            "The weight is left as it was: z is not multiplied by the scale any more.",
            _fold(weight=lambda W, scale: W),
        ),
        Mistake(
            "The weight is divided by the scale. The norm multiplied by it, and what took its "
            "place does, too.",
            _fold(weight=lambda W, scale: W / scale),
        ),
        Mistake(
            "The shift is added to the bias as it is. It goes in where z goes in, so it passes "
            "through the weight: W @ shift.",
            _fold(moved=lambda W, scale, shift: shift),
        ),
        Mistake(
            "The shift passes through the new weight, which has the scale in it. The norm adds the "
            "shift after it has scaled.",
            _fold(moved=lambda W, scale, shift: (W * scale) @ shift),
        ),
        Mistake(
            "The shift passes through the weight the other way round: W has a row for each number "
            "that comes out, so it is W @ shift.",
            _fold(moved=lambda W, scale, shift: shift @ W),
        ),
        Mistake(
            "The shift is lost: what comes out of the layer is moved by W @ shift.",
            _fold(moved=lambda W, scale, shift: 0 * (W @ shift)),
        ),
        Mistake(
            "The layer's own bias is lost.",
            _fold(old=lambda linear: 0),
        ),
        Mistake(
            'A layer may have no bias: linear.get("bias", 0) puts a 0 there.',
            _fold(old=lambda linear: linear["bias"]),
        ),
    ),
    right=(
        _fold(
            weight=lambda W, scale: W @ np.diag(scale),
            moved=lambda W, scale, shift: (W * shift).sum(axis=1),
        ),
        _fold(
            weight=lambda W, scale: (W.T * scale[:, None]).T,
            moved=lambda W, scale, shift: shift @ W.T,
        ),
    ),
)


def _text(seed: int) -> dict[str, Any]:
    if seed == 0:
        return {"start": 5, "n": 100}
    draw = Random(seed)
    return {"start": draw.randrange(3, 28), "n": draw.randrange(20, 100)}


def _without(start: int, n: int) -> int:
    return n * start + n * (n - 1) // 2


CACHED_TOKENS = Question(
    name="arrays.cached_tokens",
    asks="{n} tokens are written behind a start of {start}; all fit into the context. How many "
    "tokens go through the model in all, without a cache and with one? Two whole numbers.",
    figures=_text,
    answer=lambda start, n: (_without(start, n), start + n - 1),
    hints=(
        "How many tokens does the model read at the first step, and at the second, in each case?",
        "Without a cache step k reads the start and k - 1 tokens more. With one, the first step "
        "reads the start and all others one token each.",
        "n · start + n (n - 1) / 2, and start + n - 1.",
    ),
    mistakes=(
        Mistake(
            "One token too many: the last one is chosen, and no step reads it any more.",
            lambda start, n: (_without(start, n) + start + n, start + n),
        ),
        Mistake(
            "Look at the second number: the token that is chosen last is not read any more.",
            lambda start, n: (_without(start, n), start + n),
        ),
        Mistake(
            "Look at the second number: the start has to be read as well, once.",
            lambda start, n: (_without(start, n), n),
        ),
        Mistake(
            "Look at the first number: the text grows, and each step reads all of it.",
            lambda start, n: (n * start, start + n - 1),
        ),
        Mistake(
            "The two have changed places: it is the cache that spares work.",
            lambda start, n: (start + n - 1, _without(start, n)),
        ),
    ),
    because="The one grows with the square of what is written, the other with its length.",
)

TASKS = (DRAWN, LOG_SOFTMAX, FOLDED)
QUESTIONS = (CACHE_BYTES, CACHED_TOKENS)

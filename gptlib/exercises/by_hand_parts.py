"""Three exercises of appendix C: two more ways back, and gradients that are lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gptlib.exercises.arrays_use import Arrays
from gptlib.exercises.question import Question
from gptlib.exercises.task import Mistake, Task

Array = NDArray[Any]


def silu_back(dy: Array, x: Array) -> Array:
    """Back through y = x · σ(x): dy times its slope at x; any shape."""
    s = 1 / (1 + np.exp(-x))
    return dy * (s + x * s * (1 - s))


def bends(seed: int) -> Iterator[tuple[Any, ...]]:
    """0 and numbers on both sides of it, with gradients of either sign."""
    dy = torch.tensor([2.0, 3.0, -1.0, -1.0], dtype=torch.float64)
    yield dy, torch.tensor([0.0, 2.0, -1.0, 0.25], dtype=torch.float64)
    draw = torch.Generator().manual_seed(seed)
    yield tuple(torch.randn(2, 3, 4, 5, generator=draw, dtype=torch.float64))


def _bend(slope: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    """dy times a slope of x and σ(x)."""
    return lambda dy, x: dy * slope(x, 1 / (1 + np.exp(-x)))


SILU_BACK = Task(
    name="by_hand.silu_back",
    asks="Write the way back through the SiLU, x · σ(x).",
    reference=silu_back,
    inputs=bends,
    use=Arrays(),
    kind="warm-up",
    hints=(
        "x · σ(x) is a product, and both of its parts move with x.",
        "The product rule gives σ + x · σ'. What is the slope of σ? Chapter 2's p - 1 is near it.",
        "σ' = σ (1 - σ), so it is dy * (s + x * s * (1 - s)) with s for σ(x).",
    ),
    mistakes=(
        Mistake(
            "This is the slope. What arrives from behind, dy, is multiplied by it.",
            lambda dy, x: silu_back(np.ones_like(dy), x),
        ),
        Mistake(
            "x moves in two places: the way through σ is missing.",
            _bend(lambda x, s: s),
        ),
        Mistake(
            "x moves in two places: the way through x itself, with σ as its slope, is missing.",
            _bend(lambda x, s: x * s * (1 - s)),
        ),
        Mistake(
            "This is the slope of σ alone.",
            _bend(lambda x, s: s * (1 - s)),
        ),
        Mistake(
            "In the second term the x is missing: each part's slope is multiplied by the other.",
            _bend(lambda x, s: s + s * (1 - s)),
        ),
        Mistake(
            "The slope of σ is σ (1 - σ) and not its negative: σ rises.",
            _bend(lambda x, s: s - x * s * (1 - s)),
        ),
        Mistake(
            "dy is multiplied by y itself. Its slope belongs there.",
            _bend(lambda x, s: x * s),
        ),
    ),
    right=(
        _bend(lambda x, s: s * (1 + x * (1 - s))),
        _bend(lambda x, s: s + x * np.exp(-x) * s**2),
    ),
)


def rms_norm_back(dz: Array, x: Array, eps: float = 1e-5) -> Array:
    """Back through z = x / r, r the root of the mean square and eps: (…, C) -> (…, C)."""
    r = np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)  # (…, 1)
    z = x / r
    return (dz - z * (dz * z).mean(axis=-1, keepdims=True)) / r


def rows(seed: int) -> Iterator[tuple[Any, ...]]:
    """A row whose mean square is 25, then others, small ones among them."""
    dz = torch.tensor([[1.0, 0.0, 2.0, 0.0]], dtype=torch.float64)
    yield dz, torch.tensor([[1.0, 3.0, 3.0, 9.0]], dtype=torch.float64)
    draw = torch.Generator().manual_seed(seed)
    dz, x = torch.randn(2, 3, 4, 6, generator=draw, dtype=torch.float64)
    yield dz, 1 + 2 * x
    yield dz, 1e-3 * x


def _norm(
    back: Callable[[Array, Array, Array], Array], eps: float = 1e-5
) -> Callable[[Array, Array], Array]:
    """From dz, z and r, the gradient of x."""

    def norm(dz: Array, x: Array) -> Array:
        r = np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps)
        return back(dz, x / r, r)

    return norm


def _mean(x: Array) -> Array:
    return np.asarray(x.mean(axis=-1, keepdims=True))


RMS_NORM_BACK = Task(
    name="by_hand.rms_norm_back",
    asks="Write the way back through a norm that takes no mean away.",
    reference=rms_norm_back,
    inputs=rows,
    use=Arrays(),
    kind="stretch",
    hints=(
        "LayerNorm has three ways from x to z. By which of them does a number get here, where no "
        "mean is taken away?",
        "Through its own z, by 1/r; and through r, by which each z of the row falls.",
        "dx = (dz - z · mean of dz · z) / r, with r from x and eps.",
    ),
    mistakes=(
        Mistake(
            "r is taken for a constant. It moves with every x of the row.",
            _norm(lambda dz, z, r: dz / r),
        ),
        Mistake(
            "This has LayerNorm's way through the mean. Nothing takes a mean away here.",
            _norm(lambda dz, z, r: (dz - _mean(dz) - z * _mean(dz * z)) / r),
        ),
        Mistake(
            "Both ways end at x by 1/r: the division is missing.",
            _norm(lambda dz, z, r: dz - z * _mean(dz * z)),
        ),
        Mistake(
            "Both ways end at x by 1/r; the second is not divided.",
            _norm(lambda dz, z, r: dz / r - z * _mean(dz * z)),
        ),
        Mistake(
            "r is the root of a mean, so a number's share in it has 1/C: a mean of dz · z, and not "
            "a sum.",
            _norm(lambda dz, z, r: (dz - z * (dz * z).sum(axis=-1, keepdims=True)) / r),
        ),
        Mistake(
            "Each z falls where r rises: the second term is taken away.",
            _norm(lambda dz, z, r: (dz + z * _mean(dz * z)) / r),
        ),
        Mistake(
            "The second term has x where z belongs.",
            _norm(lambda dz, z, r: (dz - z * r * _mean(dz * z * r)) / r),
        ),
        Mistake(
            "The mean runs over all rows. Each row has its own r.",
            _norm(lambda dz, z, r: (dz - z * (dz * z).mean()) / r),
        ),
        Mistake(
            "It is right for rows that are not small. r has eps in it, and there it counts.",
            _norm(lambda dz, z, r: (dz - z * _mean(dz * z)) / r, eps=0.0),
        ),
    ),
    right=(
        _norm(lambda dz, z, r: (dz - z * _mean(dz * z)) / r),
        _norm(lambda dz, z, r: dz / r - z * r * _mean(dz * z * r) / r**3),
    ),
)


def _told(seed: int) -> dict[str, Any]:
    if seed == 0:
        return {"a": 2, "b": 3, "c": 5}
    a, b, c = Random(seed).sample(range(2, 40), 3)
    return {"a": a, "b": b, "c": c}


LOST_ROW = Question(
    name="by_hand.lost_row",
    asks="A token stands at three places of a batch, and one number of its row should hear {a}, "
    "{b} and {c} there, in this order. The table's gradient begins at 0. What stands there after "
    "`tokens[idx] += dx`, and what should? Two whole numbers.",
    figures=_told,
    answer=lambda a, b, c: (c, a + b + c),
    hints=(
        "How many times does NumPy read the old number, and how many times does it write?",
        "It takes the old rows for all places at once, adds, and writes them back one after the "
        "other. Which one is left?",
        "Each is 0 plus its own number, and the last one written stays. What should stand there is "
        "their sum.",
    ),
    mistakes=(
        Mistake(
            "Look at the first number. The old row is read before any is written, so nothing adds "
            "up.",
            lambda a, b, c: (a + b + c, a + b + c),
        ),
        Mistake(
            "Look at the first number: a later place is written over an earlier one.",
            lambda a, b, c: (a, a + b + c),
        ),
        Mistake(
            "Look at the first number: something is written, for each place.",
            lambda a, b, c: (0, a + b + c),
        ),
        Mistake(
            "Look at the second number: every place used the row, and their says are added.",
            lambda a, b, c: (c, c),
        ),
        Mistake(
            "The two have changed places.",
            lambda a, b, c: (a + b + c, c),
        ),
    ),
    because="`np.add.at` adds at each place. In the wrong program a token that stands there once "
    "is right, and a frequent one learns as an input from one of its places.",
)

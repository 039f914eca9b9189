"""Exercises of appendix C: a slope, a loss that teaches too much, what the way back costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gptlib.exercises.arrays_use import Arrays
from gptlib.exercises.by_hand_parts import LOST_ROW, RMS_NORM_BACK, SILU_BACK
from gptlib.exercises.question import Question
from gptlib.exercises.task import Mistake, Task

Array = NDArray[Any]


def square_relu_back(dy: Array, x: Array) -> Array:
    """Back through y = max(x, 0) squared: dy times its slope at x; any shape."""
    return dy * 2 * np.maximum(x, 0)


def bends(seed: int) -> Iterator[tuple[Any, ...]]:
    """Numbers on both sides of 0, with gradients of either sign."""
    dy = torch.tensor([2.0, 3.0, -1.0, -1.0], dtype=torch.float64)
    yield dy, torch.tensor([-1.0, 2.0, 0.25, -3.0], dtype=torch.float64)
    draw = torch.Generator().manual_seed(seed)
    yield tuple(torch.randn(2, 3, 4, 5, generator=draw, dtype=torch.float64))


SQUARE_RELU_BACK = Task(
    name="by_hand.square_relu_back",
    asks="Write the way back through a ReLU that is squared.",
    reference=square_relu_back,
    inputs=bends,
    use=Arrays(),
    kind="warm-up",
    hints=(
        "What does y do when x rises a little: left of 0, and right of 0?",
        "Right of 0 y is x squared, whose slope is 2x. Left of 0 it lies flat.",
        "The slope is 2 * np.maximum(x, 0), and each is multiplied by its dy.",
    ),
    mistakes=(
        Mistake(
            "This is the slope. What arrives from behind, dy, is multiplied by it.",
            lambda dy, x: 2 * np.maximum(x, 0),
        ),
        Mistake(
            "The 2 is missing: the slope of x² is 2x.",
            lambda dy, x: dy * np.maximum(x, 0),
        ),
        Mistake(
            "This is the slope of x², left of 0 as well. There the ReLU gives 0, whatever x is.",
            lambda dy, x: dy * 2 * x,
        ),
        Mistake(
            "This is the way back through the ReLU alone; its square has a slope of its own.",
            lambda dy, x: dy * (x > 0),
        ),
        Mistake(
            "dy is multiplied by y itself. Its slope belongs there.",
            lambda dy, x: dy * np.maximum(x, 0) ** 2,
        ),
        Mistake(
            "The cut is made at dy. A gradient may have either sign; it is x that decides whether "
            "it passes.",
            lambda dy, x: np.maximum(dy, 0) * 2 * np.maximum(x, 0),
        ),
        Mistake(
            "Whatever is not positive becomes 0, gradients too: a gradient may be negative.",
            lambda dy, x: np.maximum(dy * 2 * x, 0),
        ),
    ),
    right=(
        lambda dy, x: np.where(x > 0, 2 * x * dy, 0.0),
        lambda dy, x: dy * (x + np.abs(x)),
    ),
)


def loss_back_with_a_bug(logits: Array, targets: Array) -> Array:
    """The gradient of the mean loss: logits (N, V), targets (N); -1 is not scored."""
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    p[np.arange(len(targets)), targets] -= 1
    return p / (targets >= 0).sum()


def loss_back(logits: Array, targets: Array) -> Array:
    """The gradient of the mean loss: logits (N, V), targets (N); -1 is not scored."""
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    p[np.arange(len(targets)), targets] -= 1
    scored = targets >= 0
    return np.where(scored[:, None], p, 0.0) / scored.sum()


def places(seed: int) -> Iterator[tuple[Any, ...]]:
    """Three places, the second not scored; then more, two of them not."""
    odds = torch.tensor([[1.0, 3.0], [1.0, 1.0], [3.0, 1.0]], dtype=torch.float64)
    yield odds.log(), torch.tensor([0, -1, 0])
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(5, 4, generator=draw, dtype=torch.float64)
    targets = torch.randint(4, (5,), generator=draw)
    targets[1], targets[4] = -1, -1
    yield logits, targets
    yield logits[:1], targets[:1]
    # Rows that lie far apart: each has a largest score of its own.
    far = torch.tensor([[1000.0, 1001.0], [0.0, 1.0]], dtype=torch.float64)
    yield far, torch.tensor([0, 1])


def _back(
    end: Callable[[Array, Array, Array], Array],
) -> Callable[[Array, Array], Array]:
    """From probabilities, p - y and which places are scored, the gradient."""

    def back(logits: Array, targets: Array) -> Array:
        p = np.exp(logits - logits.max(axis=-1, keepdims=True))
        p = p / p.sum(axis=-1, keepdims=True)
        return end(p, p - np.eye(logits.shape[1])[targets], (targets >= 0)[:, None])

    return back


LOSS_BACK = Task(
    name="by_hand.loss_back",
    asks="Without -1 among the targets it is right. A place that is not scored should teach "
    "nothing, and its row is not 0. What does it teach?",
    reference=loss_back,
    bug=loss_back_with_a_bug,
    inputs=places,
    use=Arrays(),
    kind="bug",
    hints=(
        "Print the row of a place whose target is -1. Where is 1 taken away?",
        "In NumPy index -1 is the last one: here, the last token of the vocabulary. Which rows "
        "should have no gradient at all?",
        "Multiply by (targets >= 0)[:, None] before the division.",
    ),
    mistakes=(
        Mistake(
            "The rows that are not scored are 0 now, and the division is by all places. The mean "
            "runs over those that are scored.",
            _back(lambda p, dx, scored: dx * scored / len(p)),
        ),
        Mistake(
            "Nothing is taken away where the target is -1 any more; but the probabilities stay, "
            "and push every logit of that row down.",
            _back(lambda p, dx, scored: np.where(scored, dx, p) / scored.sum()),
        ),
        Mistake(
            "The last token's gradient is 0 now, and the others of the row are left. The whole row "
            "teaches nothing.",
            _back(
                lambda p, dx, scored: (
                    np.where(~scored & (np.arange(p.shape[1]) == p.shape[1] - 1), 0.0, dx)
                    / scored.sum()
                )
            ),
        ),
        Mistake(
            "The sign is turned over: y - p points downhill, and a gradient points uphill.",
            _back(lambda p, dx, scored: -dx * scored / scored.sum()),
        ),
        Mistake(
            "The rows are right, and they are not divided: this is the gradient of a sum.",
            _back(lambda p, dx, scored: dx * scored),
        ),
        Mistake(
            "The rows that are not scored are gone. Each logit has a gradient, theirs is 0.",
            _back(lambda p, dx, scored: dx[scored[:, 0]] / scored.sum()),
        ),
    ),
    right=(
        _back(lambda p, dx, scored: np.where(scored, dx, 0.0) / scored.sum()),
        _back(lambda p, dx, scored: dx * (scored / scored.sum())),
    ),
)


def _sizes(seed: int) -> dict[str, Any]:
    if seed == 0:
        return {"N": 512, "n": 64, "m": 192}
    draw = Random(seed)
    n = draw.choice((32, 64, 128))
    return {"N": draw.choice((100, 256, 1024)), "n": n, "m": draw.choice((3, 4)) * n}


def _times(forward: int, back: int) -> Callable[..., tuple[int, int]]:
    """So many matrix products forward and back."""
    return lambda N, n, m: (forward * N * n * m, back * N * n * m)


PRODUCTS = Question(
    name="by_hand.products",
    asks="A linear layer takes {N} rows of {n} numbers to rows of {m}. How many multiplications "
    "does it take forward, and how many backward, for dx and for the gradient of the weights? Two "
    "whole numbers.",
    figures=_sizes,
    answer=_times(1, 2),
    hints=(
        "How many multiplications does one number that comes out take? How many come out?",
        "Forward is one product, of (N, n) and (n, m). Which two products are there on the way "
        "back, and which sizes have they?",
        "N · n · m forward. dy @ W and dy.T @ x take as many each.",
    ),
    mistakes=(
        Mistake(
            "Look at the second number: there are two products on the way back, dy @ W and "
            "dy.T @ x.",
            _times(1, 1),
        ),
        Mistake(
            "Look at the second number: what went forward is not computed again by the layer.",
            _times(1, 3),
        ),
        Mistake(
            "Additions are counted, too. That is the usual way to count FLOPs; the question is "
            "about multiplications.",
            _times(2, 4),
        ),
        Mistake(
            "That is for one row.",
            lambda N, n, m: (n * m, 2 * n * m),
        ),
        Mistake(
            "These are the numbers that go in and come out. Each that comes out is a sum of n "
            "products.",
            lambda N, n, m: (N * (n + m), 2 * N * (n + m)),
        ),
    ),
    because="So a step of training takes three times what a forward pass takes: 6 FLOPs a weight "
    "and token, where a forward pass has 2.",
)

TASKS = (SILU_BACK, RMS_NORM_BACK, SQUARE_RELU_BACK, LOSS_BACK)
QUESTIONS = (LOST_ROW, PRODUCTS)

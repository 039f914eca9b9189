"""Exercises of chapter 5 around the block: ways around layers, and dropout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any

import torch

from gptlib.exercises.slopes import CUT, WithSlopes
from gptlib.exercises.task import Mistake, Task

Tensor = torch.Tensor


def around(x: Tensor, weights: Tensor) -> Tensor:
    """x (…, C) through layers tanh(x @ weight), weights (n_layer, C, C), a way around each."""
    for weight in weights:
        x = x + torch.tanh(x @ weight)
    return x


def stacks(seed: int) -> Iterator[tuple[Any, ...]]:
    """Two numbers and two layers, then more of both."""
    draw = torch.Generator().manual_seed(seed)
    yield torch.tensor([[1.0, 2.0]]), torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0]] * 2])
    for shape, layers in (((2, 3, 4), 3), ((5,), 6), ((3, 2), 1)):
        C = shape[-1]
        yield torch.randn(shape, generator=draw), torch.randn(layers, C, C, generator=draw) / C


def _walk(step: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """One step for each weight, from x, what came in at the beginning, and the weight."""

    def walk(x: Tensor, weights: Tensor) -> Tensor:
        start = x
        for weight in weights:
            x = step(x, start, weight)
        return x

    return walk


AROUND = Task(
    name="block.around",
    asks="Send x through all layers, with a way around each.",
    reference=around,
    inputs=stacks,
    anywhere=True,
    use=WithSlopes("x", "weights"),
    kind="warm-up",
    hints=(
        "Which two things meet behind a layer?",
        "Keep what a layer found apart from what it was given, and hand their sum to the next one.",
        "for weight in weights: x = x + torch.tanh(x @ weight). Then return x.",
    ),
    mistakes=(
        Mistake(
            "No way leads around: each layer replaces what it was given.",
            _walk(lambda x, start, w: torch.tanh(x @ w)),
        ),
        Mistake(
            "Each layer's result is added to the x of the very beginning: what the layers before "
            "it have added is lost.",
            _walk(lambda x, start, w: start + torch.tanh(x @ w)),
        ),
        Mistake(
            "One way leads around all layers together. Each layer has one of its own.",
            lambda x, ws: x + _walk(lambda x, start, w: torch.tanh(x @ w))(x, ws),
        ),
        Mistake(
            "All layers read the x of the beginning. Each should read what the one before it has "
            "handed on.",
            _walk(lambda x, start, w: x + torch.tanh(start @ w)),
        ),
        Mistake(
            "The tanh stands on the sum: what walks around is bent as well, and the road with the "
            "1 is gone.",
            _walk(lambda x, start, w: torch.tanh(x + x @ w)),
        ),
        Mistake(
            "x is overwritten before it is added, so that the layer's result is added to itself.",
            _walk(lambda x, start, w: 2 * torch.tanh(x @ w)),
        ),
        Mistake(
            "The sum is halved, and with it, at every layer, what walks around.",
            _walk(lambda x, start, w: (x + torch.tanh(x @ w)) / 2),
        ),
        Mistake(
            "Not all layers have been walked through: does `return` stand inside the loop, or does "
            "the loop end early?",
            lambda x, ws: around(x, ws[: max(1, len(ws) - 1)]),
        ),
        Mistake(
            "The matrix is turned: x @ weight is asked for, without .T.",
            _walk(lambda x, start, w: x + torch.tanh(x @ w.mT)),
        ),
        Mistake(
            "What walks around is multiplied by what the layer found; it is added to it.",
            _walk(lambda x, start, w: x * torch.tanh(x @ w)),
        ),
        Mistake(
            "The bend is missing: x @ weight alone is added.", _walk(lambda x, start, w: x + x @ w)
        ),
        Mistake(
            "The numbers are right, and the gradient has one road alone: what walks around is cut "
            "off, by detach, clone().detach() or .data.",
            _walk(lambda x, start, w: x.detach() + torch.tanh(x @ w)),
        ),
        Mistake(CUT, lambda x, ws: around(x, ws).detach()),
    ),
    right=(
        lambda x, ws: reduce(lambda x, w: x + torch.tanh(x @ w), ws, x),
        _walk(lambda x, start, w: torch.add(torch.matmul(x, w).tanh(), x)),
    ),
)


def dropout(x: Tensor, draws: Tensor, p: float, training: bool) -> Tensor:
    """Zero where the draw is below p, the rest divided by 1 - p; x itself in evaluation."""
    return torch.where(draws < p, 0.0, x / (1 - p)) if training else x


def dropped(seed: int) -> Iterator[tuple[Any, ...]]:
    """Four numbers of which one goes, then evaluation, then many."""
    draw = torch.Generator().manual_seed(seed)
    x, draws = torch.tensor([3.0, -6.0, 9.0, 1.5]), torch.tensor([0.9, 0.3, 0.5, 0.2])
    yield x, draws, 0.4, True
    yield x, draws, 0.4, False
    yield x, draws, 0.5, True  # one of the draws is p itself
    for p, training in ((0.2, True), (0.5, False), (0.0, True)):
        shape = (2, 3, 4)
        yield (
            torch.randn(shape, generator=draw), torch.rand(shape, generator=draw), p, training,
        )  # fmt: skip


def _drop(
    kept: Callable[[Tensor, float], Tensor] = lambda draws, p: draws >= p,
    scale: Callable[[Tensor, float], Any] = lambda kept, p: 1 / (1 - p),
    evaluation: Callable[..., Tensor] = lambda x, draws, p: x,
) -> Callable[..., Tensor]:
    """Dropout with one part of it exchanged."""

    def drop(x: Tensor, draws: Tensor, p: float, training: bool) -> Tensor:
        keep = kept(draws, p)
        return x * keep * scale(keep, p) if training else evaluation(x, draws, p)

    return drop


DROPOUT = Task(
    name="block.dropout",
    asks="Drop what the draws say, and keep the mean where it was; do nothing in evaluation.",
    reference=dropout,
    inputs=dropped,
    anywhere=True,
    use=WithSlopes("x"),
    kind="warm-up",
    hints=(
        "A sum over many numbers loses the share p of its terms. What makes up for that?",
        "A number is kept where its draw is p or more. Of those kept, each grows by 1 / (1 - p). "
        "In evaluation nothing is drawn.",
        "return x if not training else torch.where(draws < p, 0.0, x / (1 - p))",
    ),
    mistakes=(
        Mistake(
            "What is kept is as large as before, so that sums come out smaller in training than in "
            "evaluation.",
            _drop(scale=lambda kept, p: 1.0),
        ),
        Mistake(
            "What is kept has been made smaller. It has to make up for what is gone.",
            _drop(scale=lambda kept, p: 1 - p),
        ),
        Mistake(
            "What is kept is divided by the share that is dropped.",
            _drop(scale=lambda kept, p: 1 / p if p else 1.0),
        ),
        Mistake(
            "What is kept is enlarged by too little: a share 1 - p stays, so divide by that.",
            _drop(scale=lambda kept, p: 1 + p),
        ),
        Mistake(
            "Training and evaluation have changed places.",
            lambda x, draws, p, training: dropout(x, draws, p, not training),
        ),
        Mistake(
            "Kept and dropped have changed places: p is the share that goes.",
            _drop(kept=lambda draws, p: draws < p),
        ),
        Mistake(
            "A draw of p itself drops, too. Below p is asked for, and with p = 0 nothing may go.",
            _drop(kept=lambda draws, p: draws > p),
        ),
        Mistake(
            "What is kept is divided by the share that happened to stay this time. Then a number "
            "hangs on the luck of all others; the share that is expected to stay is meant.",
            _drop(scale=lambda kept, p: 1 / kept.float().mean()),
        ),
        Mistake(
            "In evaluation it still drops: the same question would get another answer each time.",
            _drop(evaluation=lambda x, draws, p: torch.where(draws < p, 0.0, x / (1 - p))),
        ),
        Mistake(
            "In evaluation the numbers are made smaller. That would be right if training did not "
            "enlarge what it keeps; here it is done twice.",
            _drop(evaluation=lambda x, draws, p: x * (1 - p)),
        ),
        Mistake(
            "In evaluation nothing is dropped, and the numbers are enlarged all the same.",
            _drop(evaluation=lambda x, draws, p: x / (1 - p)),
        ),
        Mistake(CUT, lambda x, draws, p, training: dropout(x, draws, p, training).detach()),
    ),
    right=(
        _drop(),
        lambda x, draws, p, training: x.masked_fill(draws < p, 0) / (1 - p) if training else x,
    ),
)


TASKS = (AROUND, DROPOUT)

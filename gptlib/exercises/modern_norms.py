"""Exercises of chapter 9 around sizes: RMSNorm, and a limit that is approached and not passed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F

from gptlib.exercises.slopes import CUT, WithSlopes
from gptlib.exercises.task import Mistake, Task
from gptlib.rms_norm import rms_norm
from gptlib.soft_cap import soft_cap

Tensor = torch.Tensor
EPS = 1e-6


def rows(seed: int) -> Iterator[tuple[Any, ...]]:
    """Rows with a scale; rows so small that eps counts; without a scale; with another eps."""
    draw = torch.Generator().manual_seed(seed)
    yield torch.tensor([[3.0, 4.0, -1.0], [1.0, 2.0, 6.0]]), torch.tensor([1.0, 2.0, 0.5])
    yield torch.tensor([[0.001, 0.002, 0.006]]), torch.tensor([1.0, 2.0, 0.5])
    yield torch.randn(2, 3, 4, generator=draw) + 1, 1 + torch.rand(4, generator=draw)
    yield (torch.randn(5, generator=draw),)
    double = torch.randn(2, 4, generator=draw).double()
    yield double, None, 0.5


def _squares(x: Tensor) -> Tensor:
    return x.square().mean(dim=-1, keepdim=True)


def _norm(
    square: Callable[[Tensor], Tensor] = _squares,
    root: Callable[[Tensor, float], Tensor] = lambda mean, eps: torch.sqrt(mean + eps),
    scale: Callable[[Tensor, Tensor], Tensor] = lambda x, weight: x * weight,
) -> Callable[..., Tensor]:
    """RMSNorm with another mean square, another root of it, or another scale."""

    def norm(x: Tensor, weight: Tensor | None = None, eps: float = EPS) -> Tensor:
        x = x / root(square(x), eps)
        return x if weight is None else scale(x, weight)

    return norm


def _centred(x: Tensor, weight: Tensor | None = None, eps: float = EPS) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], weight, None, eps)


RMS_NORM = Task(
    name="modern.rms_norm",
    asks="Give each row a mean square of 1, then scale it. No mean is taken away.",
    reference=rms_norm,
    inputs=rows,
    anywhere=True,
    use=WithSlopes("x", "weight"),
    hints=(
        "RMS stands for root mean square. Read it from its end: which of the three comes first?",
        "The mean goes along the last axis, which stays, so that it fits beside its row. eps is "
        "added to it before the root is taken.",
        "x / torch.sqrt(x.square().mean(dim=-1, keepdim=True) + eps), times weight unless it is "
        "None.",
    ),
    mistakes=(
        Mistake("The mean is taken away: this is a LayerNorm without its shift.", _centred),
        Mistake(
            "The row is divided by its standard deviation, which looks at distances from the mean. "
            "RMSNorm looks at the squares as they are.",
            _norm(square=lambda x: x.var(dim=-1, keepdim=True, unbiased=False)),
        ),
        Mistake(
            "The squares are added up and not averaged: the row gets the length 1, and a wide row "
            "comes out smaller than a narrow one.",
            _norm(square=lambda x: x.square().sum(dim=-1, keepdim=True)),
        ),
        Mistake(
            "The row is divided by the mean of its squares. Its size is the root of that.",
            _norm(root=lambda mean, eps: mean + eps),
        ),
        Mistake(
            "The mean goes over the tokens of a column. Each row has a size of its own, and a "
            "token is no neighbour's business.",
            _norm(square=lambda x: x.square().mean(dim=0, keepdim=True)),
        ),
        Mistake(
            "One size is taken for all rows together. Each row has its own.",
            _norm(square=lambda x: x.square().mean()),
        ),
        Mistake(
            "The numbers are averaged before they are squared: what is negative cancels what is "
            "positive.",
            _norm(square=lambda x: x.mean(dim=-1, keepdim=True).square()),
        ),
        Mistake(
            "The scale is missing: each number has a weight of its own.",
            lambda x, weight=None, eps=EPS: rms_norm(x, None, eps),
        ),
        Mistake(
            "The scale is 1 + weight. That is Gemma's form, whose weights begin at 0; here they "
            "begin at 1.",
            _norm(scale=lambda x, weight: x * (1 + weight)),
        ),
        Mistake(
            "The weight is added. It is a scale: every number is multiplied by its own.",
            _norm(scale=lambda x, weight: x + weight),
        ),
        Mistake(
            "weight may be None, which means no scale.",
            lambda x, weight=None, eps=EPS: rms_norm(x, None, eps) * weight,
        ),
        Mistake(
            "eps stands outside the root. For a row of zeros the slope of the root is infinite.",
            _norm(root=lambda mean, eps: mean.sqrt() + eps),
        ),
        Mistake(
            "eps is missing: a row of zeros would be 0 divided by 0.",
            _norm(root=lambda mean, eps: mean.sqrt()),
        ),
        Mistake(
            "eps is taken and not used: here it is 0.5, and the result is that of 0.000001.",
            lambda x, weight=None, eps=EPS: rms_norm(x, weight),
        ),
        Mistake(
            "The numbers are right, and the gradient is another one: the root is cut off from x, "
            "by detach, item or no_grad. It changes with x.",
            _norm(root=lambda mean, eps: torch.sqrt(mean + eps).detach()),
        ),
        Mistake(CUT, lambda x, weight=None, eps=EPS: rms_norm(x, weight, eps).detach()),
    ),
    right=(
        lambda x, weight=None, eps=EPS: F.rms_norm(x, x.shape[-1:], weight, eps),
        lambda x, weight=None, eps=EPS: (
            (1.0 if weight is None else weight) * x * (_squares(x) + eps).rsqrt()
        ),
    ),
)


def limits(seed: int) -> Iterator[tuple[Any, ...]]:
    """Small, near the cap and far above it, on both sides; then others, and no cap."""
    draw = torch.Generator().manual_seed(seed)
    yield torch.tensor([1.0, 30.0, -300.0]), 30.0
    yield 9 * torch.randn(2, 3, 4, generator=draw), 5.0
    yield torch.tensor(2.0).double(), 50.0
    yield torch.randn(3, generator=draw), None


SOFT_CAP = Task(
    name="modern.soft_cap",
    asks="Bend x so that it stays between -cap and cap, and small numbers stay nearly what they "
    "were: cap · tanh(x / cap).",
    reference=soft_cap,
    inputs=limits,
    anywhere=True,
    use=WithSlopes("x"),
    kind="warm-up",
    hints=(
        "tanh stays between -1 and 1. What makes it stay between -cap and cap?",
        "Near 0 tanh(x) is nearly x. If the result is multiplied by cap, what must be done to x "
        "before, so that a small x comes out as x?",
        "cap * torch.tanh(x / cap), and x itself where cap is None.",
    ),
    mistakes=(
        Mistake(
            "This is a hard cap: beyond it every number is the same, and has no gradient. The "
            "soft one keeps their order.",
            lambda x, cap: x if cap is None else x.clamp(-cap, cap),
        ),
        Mistake(
            "x is not divided by cap: what is 1 and what is 2 are already close to the limit.",
            lambda x, cap: x if cap is None else cap * torch.tanh(x),
        ),
        Mistake(
            "The result is not multiplied by cap: everything lies between -1 and 1.",
            lambda x, cap: x if cap is None else torch.tanh(x / cap),
        ),
        Mistake(
            "cap is neither in nor around the tanh.",
            lambda x, cap: x if cap is None else torch.tanh(x),
        ),
        Mistake(
            "x is multiplied by cap where it should be divided, and the other way round.",
            lambda x, cap: x if cap is None else torch.tanh(x * cap) / cap,
        ),
        Mistake(
            "The bend is a sigmoid, which makes cap / 2 of 0, and nothing negative.",
            lambda x, cap: x if cap is None else cap * torch.sigmoid(x / cap),
        ),
        Mistake(
            "Only what is above cap is held. What is far below -cap would pass.",
            lambda x, cap: x if cap is None else torch.where(x < 0, x, cap * torch.tanh(x / cap)),
        ),
        Mistake("cap may be None, which means no limit.", lambda x, cap: cap * torch.tanh(x / cap)),
        Mistake(CUT, lambda x, cap: soft_cap(x, cap).detach()),
    ),
    right=(
        lambda x, cap: torch.tanh(x / cap).mul(cap) if cap is not None else x,
        lambda x, cap: x if cap is None else cap * (2 * torch.sigmoid(2 * x / cap) - 1),
    ),
)

TASKS = (RMS_NORM, SOFT_CAP)

"""Exercises of chapter 4 around the norm: a row's figures, and a bug hunt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from gptlib.exercises.slopes import CUT, WithSlopes
from gptlib.exercises.task import Mistake, Task

Tensor = torch.Tensor


def row_statistics(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of each row, the axis kept: (…, C) -> two of (…, 1).

    row_statistics(torch.tensor([[1.0, 2.0, 3.0, 6.0]])) -> ([[3.0]], [[3.5]])
    """
    mean = x.mean(dim=-1, keepdim=True)  # (…, 1)
    return mean, (x - mean).pow(2).mean(dim=-1, keepdim=True)  # (…, 1)


def rows(seed: int) -> Iterator[tuple[Any, ...]]:
    """Rows whose figures can be worked out in the head, then others with more axes."""
    yield (torch.tensor([[1.0, 2.0, 3.0, 6.0], [5.0, 5.0, 5.0, 9.0]]),)
    draw = torch.Generator().manual_seed(seed)
    for size in ((2, 3, 5), (4,)):
        yield (3 * torch.randn(size, generator=draw) + 1,)


def _figures(dim: Any = -1, **how: Any) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Mean and variance with something otherwise."""
    keep, unbiased = how.get("keep", True), how.get("unbiased", False)

    def figures(x: Tensor) -> tuple[Tensor, Tensor]:
        axes = tuple(range(x.dim())) if dim == "all" else dim
        mean = x.mean(dim=axes, keepdim=keep)
        return mean, x.var(dim=axes, keepdim=keep, unbiased=unbiased)

    return figures


ROW_STATISTICS = Task(
    name="layers.row_statistics",
    asks="Give the mean and the variance of each row; the variance divides by C.",
    reference=row_statistics,
    inputs=rows,
    anywhere=True,
    kind="warm-up",
    use=WithSlopes("x"),
    hints=(
        "A row is one token. Along which axis do its numbers lie?",
        "The variance is the mean of squared distances: from what, and divided by how many?",
        "x.mean(dim=-1, keepdim=True), and x.var with the same two arguments and unbiased=False.",
    ),
    mistakes=(
        Mistake(
            "The variance divides by C - 1, as torch does unless it is told otherwise. Here the "
            "row is all there is.",
            _figures(unbiased=True),
        ),
        Mistake(
            "The numbers are right, and their axis is gone: without it x - mean would line the "
            "means up with the wrong axis, or not at all.",
            _figures(keep=False),
        ),
        Mistake(
            "These are the figures of columns: each of them goes over several tokens.",
            _figures(dim=0),
        ),
        Mistake(
            "One mean and one variance for everything: each row has its own.",
            _figures(dim="all"),
        ),
        Mistake(
            "The second is the standard deviation, the root of what is asked for.",
            lambda x: (_figures()(x)[0], _figures()(x)[1].sqrt()),
        ),
        Mistake(
            "The squares are averaged as they are. It is the squared distances from the mean that "
            "make a variance.",
            lambda x: (_figures()(x)[0], x.pow(2).mean(dim=-1, keepdim=True)),
        ),
        Mistake(
            "The squared distances are added up, and not averaged: a longer row would have a "
            "larger variance.",
            lambda x: (_figures()(x)[0], _figures()(x)[1] * x.size(-1)),
        ),
        Mistake(
            "The two have changed places: the mean is asked for before the variance.",
            lambda x: _figures()(x)[::-1],
        ),
        Mistake(CUT, lambda x: _figures()(x.detach())),
    ),
    right=(
        _figures(),
        lambda x: tuple(reversed(torch.var_mean(x, dim=-1, correction=0, keepdim=True))),
    ),
)


def layer_norm_short(x: Tensor) -> Tensor:
    """Give each row mean 0 and variance 1: (T, C) -> (T, C)."""
    mean = x.mean(dim=-1)
    var = x.var(dim=-1, unbiased=False)
    return (x - mean) / torch.sqrt(var + 1e-5)


def layer_norm_kept(x: Tensor) -> Tensor:
    """Give each row mean 0 and variance 1: (T, C) -> (T, C)."""
    mean = x.mean(dim=-1, keepdim=True)  # (T, 1): a mean beside each row
    var = x.var(dim=-1, keepdim=True, unbiased=False)
    return (x - mean) / torch.sqrt(var + 1e-5)


def squares(seed: int) -> Iterator[tuple[Any, ...]]:
    """As many tokens as numbers, so that the bug raises no error; then fewer."""
    yield (torch.tensor([[1.0, 2.0, 3.0], [20.0, 40.0, 30.0], [0.0, 0.0, 9.0]]),)
    draw = torch.Generator().manual_seed(seed)
    yield (torch.randn(2, 5, generator=draw),)


def _line_up(mean: Callable[[Tensor], Tensor], var: Callable[[Tensor], Tensor]) -> Any:
    """A norm whose means and variances are lined up in ways of their own; both are (T)."""
    return lambda x: (
        (x - mean(x.mean(dim=-1))) / torch.sqrt(var(x.var(dim=-1, unbiased=False)) + 1e-5)
    )


LAYER_NORM_SHORT = Task(
    name="layers.layer_norm_short",
    asks="With as many tokens as numbers it runs. Print the mean of each row of what comes out.",
    reference=layer_norm_kept,
    bug=layer_norm_short,
    kind="bug",
    inputs=squares,
    anywhere=True,
    use=WithSlopes("x"),
    hints=(
        "Which shape has `mean` here? Lay it beside the shape of x, last axis under last axis.",
        "The means of three tokens are lined up with three columns. Where should they stand?",
        "With keepdim=True in both lines mean and var are (T, 1), and stand beside their rows.",
    ),
    mistakes=(
        Mistake(
            "It runs for every shape now, and gives mean 0 to each column: the numbers of several "
            "tokens go into one mean.",
            lambda x: (x - x.mean(dim=0)) / torch.sqrt(x.var(dim=0, unbiased=False) + 1e-5),
        ),
        Mistake(
            "One mean for all tokens: it fits every shape, and a loud token stays louder than the "
            "others.",
            lambda x: (x - x.mean()) / torch.sqrt(x.var(unbiased=False) + 1e-5),
        ),
        Mistake(
            "The means stand beside their rows now. The variances still divide columns.",
            _line_up(lambda mean: mean[:, None], lambda var: var),
        ),
        Mistake(
            "The variances stand beside their rows now. The means are still taken from columns.",
            _line_up(lambda mean: mean, lambda var: var[:, None]),
        ),
        Mistake(
            "The numbers are right, and rows and columns have changed places on the way.",
            lambda x: layer_norm_kept(x).T,
        ),
        Mistake(
            "Means and variances stand beside their rows; but now the variance divides by C - 1.",
            lambda x: (
                (x - x.mean(dim=-1, keepdim=True)) / torch.sqrt(x.var(dim=-1, keepdim=True) + 1e-5)
            ),
        ),
        Mistake(
            "Means and variances stand beside their rows; but now they are cut off from x, by "
            "detach, item or no_grad, and the gradient is another one.",
            _line_up(lambda mean: mean[:, None].detach(), lambda var: var[:, None].detach()),
        ),
        Mistake(CUT, lambda x: layer_norm_kept(x).detach()),
    ),
    right=(
        _line_up(lambda mean: mean[:, None], lambda var: var.unsqueeze(-1)),
        lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:]),
    ),
)


TASKS = (ROW_STATISTICS, LAYER_NORM_SHORT)

"""Exercises of chapter 5 that measure how large the numbers of a stream are."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from math import sqrt
from typing import Any

import torch
from torch import nn

from gptlib.exercises.question import Question
from gptlib.exercises.task import Mistake, Task, Use
from gptlib.layers import GELU, LayerNorm

Tensor = torch.Tensor


def stream_size(x: Tensor) -> float:
    """The root of the mean square of all numbers."""
    return x.pow(2).mean().sqrt().item()


class PlainNumber(Use):
    """A function is called; what it gives is looked at as a number, and then as a kind of thing."""

    in_order = True

    def run(self, answer: Any, *given: Any) -> Any:
        out = answer(*given)
        if out is None:
            return None
        one = torch.is_tensor(out) and out.numel() == 1
        kind = "a tensor" if torch.is_tensor(out) else "a Python number"
        return {"The number": out.item() if one else out, "Its kind": kind}


def streams(seed: int) -> Iterator[tuple[Any, ...]]:
    """One token of two numbers and one of zeros, then others."""
    draw = torch.Generator().manual_seed(seed)
    yield (torch.tensor([[[3.0, 4.0], [0.0, 0.0]]]),)
    for shape in ((2, 3, 4), (7,)):
        yield (torch.randn(shape, generator=draw) + 1,)


STREAM_SIZE = Task(
    name="block.stream_size",
    asks="Measure how large the numbers of a stream are: the root of their mean square.",
    reference=stream_size,
    inputs=streams,
    use=PlainNumber(),
    kind="warm-up",
    hints=(
        "Read the name from its end: square, mean, root. Over which numbers does the mean go?",
        "x.pow(2), then one mean over everything, then the root.",
        "return x.pow(2).mean().sqrt().item()",
    ),
    mistakes=(
        Mistake(
            "This is the mean of the sizes without their sign; squares weigh large numbers more.",
            lambda x: x.abs().mean().item(),
        ),
        Mistake("The root is missing: this is the mean square.", lambda x: x.pow(2).mean().item()),
        Mistake(
            "This is the length of all numbers as one vector: it grows with how many there are.",
            lambda x: x.norm().item(),
        ),
        Mistake(
            "This is how far the numbers spread about their mean. A stream that is far from zero "
            "and level would count as small.",
            lambda x: x.std(unbiased=False).item(),
        ),
        Mistake(
            "This is how far the numbers spread about their mean, divided by one number fewer.",
            lambda x: x.std().item(),
        ),
        Mistake(
            "The root comes before the mean over the tokens: each token's size, averaged.",
            lambda x: x.pow(2).mean(dim=-1).sqrt().mean().item() + 0.0,
        ),
        Mistake(
            "The number is right, in a tensor. A Python number is asked for: .item() takes it out.",
            lambda x: x.pow(2).mean().sqrt(),
        ),
    ),
    right=(
        lambda x: float((x * x).mean() ** 0.5),
        lambda x: x.norm().item() / x.numel() ** 0.5,
    ),
)


def _states(depth: int, seed: int) -> list[Tensor]:
    """What stands before the first layer of the chapter's NormMLP and after each."""
    torch.manual_seed(seed)
    layers = [nn.Sequential(LayerNorm(64), nn.Linear(64, 64), GELU()) for _ in range(depth)]
    states = [torch.randn(500, 64)]
    with torch.no_grad():
        for layer in layers:
            states.append(states[-1] + layer(states[-1]))
    return states


@cache
def _changes(depth: int, seed: int) -> list[float]:
    """The mean squares of the changes."""
    return [(b - a).pow(2).mean().item() for a, b in pairwise(_states(depth, seed))]


@cache
def _measured(depth: int, seed: int) -> float:
    return _states(depth, seed)[-1].pow(2).mean().sqrt().item()


NORM_MLP_SIZE = Question(
    name="block.norm_mlp_size",
    asks="The size of the numbers behind {depth} layers of NormMLP (torch.manual_seed({seed}) "
    "before it is built, then torch.randn(500, 64)): by the triangle, and measured. "
    "To two places.",
    figures=lambda seed: {"depth": (64, 48, 32)[seed % 3], "seed": seed},
    answer=lambda depth, seed: (sqrt(1 + sum(_changes(depth, seed))), _measured(depth, seed)),
    within=0.05,
    places=2,
    kind="measurement",
    hints=(
        "If the changes were unrelated, what would add up: they, their sizes or their squares?",
        "Keep the states. The mean square of each difference of neighbours is a square of the "
        "triangle; the input's is 1.",
        "squares = sum((b - a).pow(2).mean() for a, b in pairwise(states)); the triangle says "
        "(1 + squares).sqrt(), the stream says states[-1].pow(2).mean().sqrt().",
    ),
    mistakes=(
        Mistake(
            "The two have changed places: by the triangle comes before what is measured.",
            lambda depth, seed: (_measured(depth, seed), sqrt(1 + sum(_changes(depth, seed)))),
        ),
        Mistake(
            "By the triangle the squares add, and not the sizes.",
            lambda depth, seed: (
                1 + sum(sqrt(c) for c in _changes(depth, seed)),
                _measured(depth, seed),
            ),
        ),
        Mistake(
            "These are mean squares: both roots are missing.",
            lambda depth, seed: (1 + sum(_changes(depth, seed)), _measured(depth, seed) ** 2),
        ),
        Mistake(
            "What came in is missing by the triangle: its square joins those of the changes.",
            lambda depth, seed: (sqrt(sum(_changes(depth, seed))), _measured(depth, seed)),
        ),
        Mistake(
            "By the triangle it is smaller than measured. Its sides are the changes, each of the "
            "size that it is found to have, and what came in.",
            lambda depth, seed: (_measured(depth, seed), _measured(depth, seed)),
        ),
    ),
    because="A GELU lets more through on the positive side, so the changes have something in "
    "common, and the sum outgrows the triangle.",
)

TASKS = (STREAM_SIZE,)
QUESTIONS = (NORM_MLP_SIZE,)

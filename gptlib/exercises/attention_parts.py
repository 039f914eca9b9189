"""Exercises of chapter 3 around its parts: the average of the past, and a short sight."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from gptlib.attention import causal_mask
from gptlib.exercises.slopes import CUT, WithSlopes
from gptlib.exercises.task import Mistake, Task

Tensor = torch.Tensor


def past_average(x: torch.Tensor) -> torch.Tensor:
    """The average of everything so far, for each token: (T, C) -> (T, C).

    past_average(torch.tensor([[2.0, 0.0], [0.0, 4.0]])) -> [[2.0, 0.0], [1.0, 2.0]]
    """
    means = []
    for t in range(len(x)):
        means.append(x[: t + 1].mean(dim=0))  # (C)
    return torch.stack(means)  # (T, C)


def vectors(seed: int) -> Iterator[tuple[Any, ...]]:
    """Texts of several lengths, one token among them; the first is the chapter's."""
    yield (torch.tensor([[2.0, 0.0], [0.0, 4.0], [4.0, 2.0], [2.0, 2.0]]),)
    draw = torch.Generator().manual_seed(seed)
    for size in ((1, 3), (6, 2)):
        yield (torch.randn(size, generator=draw),)


def _each(mean: Callable[[Tensor, int], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: torch.stack([mean(x, t) for t in range(len(x))])


def _halves(x: Tensor) -> Tensor:
    rows = [x[0]]
    for row in x[1:]:
        rows.append((rows[-1] + row) / 2)
    return torch.stack(rows)


PAST_AVERAGE = Task(
    name="attention.past_average",
    asks="Replace each token's vector by the average of all vectors up to and including its own.",
    reference=past_average,
    inputs=vectors,
    devices_later=True,
    use=WithSlopes("x"),
    kind="warm-up",
    hints=(
        "The last token is averaged over all of them. Over how many is the first one?",
        "For place t, x[: t + 1] holds the tokens that count. Over which of its two axes does the "
        "average go?",
        "Collect x[: t + 1].mean(dim=0) for every t in a list, then torch.stack the list.",
    ),
    mistakes=(
        Mistake(
            "Every token gets the average of the whole text, the future included.",
            _each(lambda x, t: x.mean(dim=0)),
        ),
        Mistake(
            "These are sums of the past: they grow with every token. An average is asked for.",
            lambda x: x.cumsum(dim=0),
        ),
        Mistake(
            "Every sum is divided by the length of the text. Early tokens are the average of fewer "
            "vectors, and come out too small.",
            lambda x: x.cumsum(dim=0) / len(x),
        ),
        Mistake(
            "The token itself is left out, and the first one is the average of nothing: nan.",
            _each(lambda x, t: x[:t].mean(dim=0)),
        ),
        Mistake(
            "This is the average of what comes later: the future, where the past is asked for.",
            _each(lambda x, t: x[t:].mean(dim=0)),
        ),
        Mistake(
            "One number a token has come out: the average goes over the numbers of a token as "
            "well. Each of the C numbers has an average of its own.",
            _each(lambda x, t: x[: t + 1].mean()),
        ),
        Mistake(
            "One row has come out, the average of the whole text. Each token has its own past.",
            lambda x: x.mean(dim=0),
        ),
        Mistake(
            "Each row is halfway between the row before it and the new token: the early tokens "
            "fade, where all should count alike.",
            _halves,
        ),
        Mistake(CUT, lambda x: past_average(x).detach()),
    ),
    right=(
        lambda x: x.cumsum(dim=0) / torch.arange(1, len(x) + 1, device=x.device)[:, None],
        lambda x: (_lower(len(x)) / _lower(len(x)).sum(dim=1, keepdim=True)).to(x.device) @ x,
    ),
)


def _lower(T: int) -> Tensor:
    return torch.ones(T, T).tril()


def window_mask(context_length: int, window: int) -> torch.Tensor:
    """(T, T): True where a token may look: itself and the window - 1 tokens before it."""
    mask = causal_mask(context_length)
    return mask & ~mask.tril(-window)


def windows(seed: int) -> Iterator[tuple[Any, ...]]:
    """Lengths and windows: shorter than the text, longer, and of one token."""
    yield from ((4, 2), (3, 1), (3, 8), (6 + seed % 5, 3))


def _apart(T: int) -> Tensor:
    """How far each key lies behind each query."""
    return torch.arange(T)[:, None] - torch.arange(T)


WINDOW_MASK = Task(
    name="attention.window_mask",
    asks="Write a causal mask with short sight: a token sees itself and window - 1 before it.",
    reference=window_mask,
    inputs=windows,
    kind="stretch",
    hints=(
        "Write the table for four tokens and a window of 2. How many cells of a row are True?",
        "Two conditions at once: not later than the token, and less than window places back.",
        "causal_mask(T), and of that nothing which lies on or below the diagonal number -window.",
    ),
    mistakes=(
        Mistake(
            "One token too many: with a window of 2 a token sees itself and one other.",
            lambda T, w: (_apart(T) >= 0) & (_apart(T) <= w),
        ),
        Mistake(
            "One token too few: the token itself counts as one of the window.",
            lambda T, w: (_apart(T) >= 0) & (_apart(T) < w - 1),
        ),
        Mistake(
            "The window reaches forward as well: the mask is no longer causal.",
            lambda T, w: _apart(T).abs() < w,
        ),
        Mistake(
            "The window reaches forward where it should reach back.",
            lambda T, w: (_apart(T) <= 0) & (_apart(T) > -w),
        ),
        Mistake(
            "Far tokens are hidden, and every later one is seen: the causal half is missing.",
            lambda T, w: _apart(T) < w,
        ),
        Mistake(
            "This is the causal mask without a window: the past is seen as far as it goes.",
            lambda T, w: _apart(T) >= 0,
        ),
        Mistake(
            "Near and far have changed places: what lies within the window is hidden.",
            lambda T, w: _apart(T) >= w,
        ),
        Mistake(
            "The text is cut into blocks, and each token sees its own block. A window moves along "
            "with the token.",
            lambda T, w: (_apart(T) >= 0) & (torch.arange(T)[:, None] // w == torch.arange(T) // w),
        ),
    ),
    right=(
        lambda T, w: torch.ones(T, T, dtype=torch.bool).tril().triu(1 - w),
        lambda T, w: torch.tensor([[0 <= i - j < w for j in range(T)] for i in range(T)]),
    ),
)

TASKS = (PAST_AVERAGE, WINDOW_MASK)

"""A bug hunt of chapter 9: new tokens that are turned by the angles of other places.

The second bug is one that a class may be dealt (see `hunts`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from gptlib.exercises.modern_rope import turns
from gptlib.exercises.slopes import CUT, WithSlopes
from gptlib.exercises.task import Mistake, Task
from gptlib.rope import rotate

Tensor = torch.Tensor
# By the name of a task: a second bug, what is said of it, and three hints.
Others = dict[str, tuple[Callable[..., Tensor], str, tuple[str, str, str]]]


def turned(x: Tensor, cos: Tensor, sin: Tensor, read: int) -> Tensor:
    """Turn T new tokens by their places, behind `read` others: (B, n, T, hs)."""
    T = x.size(2)
    return rotate(x, cos[read : read + T], sin[read : read + T])


def turned_with_a_bug(x: Tensor, cos: Tensor, sin: Tensor, read: int) -> Tensor:
    """Turn T new tokens by their places, behind `read` others: (B, n, T, hs)."""
    T = x.size(2)
    return rotate(x, cos[:T], sin[:T])


def turned_as_one(x: Tensor, cos: Tensor, sin: Tensor, read: int) -> Tensor:
    """Turn T new tokens by their places, behind `read` others: (B, n, T, hs)."""
    return rotate(x, cos[read], sin[read])


def news(seed: int) -> Iterator[tuple[Any, ...]]:
    """New tokens behind others, then one new token, then a whole text from its beginning."""
    draw = torch.Generator().manual_seed(seed)
    for shape, read in (((1, 1, 2, 4), 3), ((2, 3, 1, 4), 5), ((1, 2, 4, 6), 0)):
        yield torch.randn(shape, generator=draw), *turns(9, shape[-1]), read


def _turned(
    cos: Callable[[Tensor, int, int], Tensor],
    sin: Callable[[Tensor, int, int], Tensor] | None = None,
) -> Callable[..., Tensor]:
    """The turn with other angles, chosen by T and how many were read."""

    def turn(x: Tensor, cosines: Tensor, sines: Tensor, read: int) -> Tensor:
        T = x.size(2)
        return rotate(x, cos(cosines, T, read), (sin or cos)(sines, T, read))

    return turn


def _from(start: Callable[[int, int], int]) -> Callable[[Tensor, int, int], Tensor]:
    return lambda angles, T, read: angles[start(T, read) : start(T, read) + T]


TURNED = Task(
    name="modern.turned",
    asks="A text that is read at once comes out right. Read token by token, each new token is "
    "turned by the angle of another place. Which?",
    reference=turned,
    bug=turned_with_a_bug,
    inputs=news,
    anywhere=True,
    use=WithSlopes("x"),
    kind="bug",
    hints=(
        "Five tokens were read, and one comes. At which place does it stand, and which row of cos "
        "does it get?",
        "cos[:T] are the first T places. The new tokens stand behind those that were read.",
        "cos[read : read + T], and the same rows of sin.",
    ),
    mistakes=(
        Mistake(
            "Both tables begin at the right place and are not ended: T new tokens need T rows.",
            _turned(lambda angles, T, read: angles[read:]),
        ),
        Mistake(
            "The cosines are those of the new places; the sines still begin at place 0.",
            _turned(_from(lambda T, read: read), lambda angles, T, read: angles[:T]),
        ),
        Mistake(
            "Every new token is turned by the angle of the first new place.",
            _turned(lambda angles, T, read: angles[read]),
        ),
        Mistake(
            "One place too far: the first of all tokens stands at place 0, so behind `read` tokens "
            "comes place `read`.",
            _turned(_from(lambda T, read: read + 1)),
        ),
        Mistake(
            "One place too early: the first new token is turned as the last one that was read.",
            _turned(_from(lambda T, read: max(read - 1, 0))),
        ),
        Mistake(
            "These are the last rows of the tables, for whatever was read: the end of the longest "
            "text, and not the end of this one.",
            _turned(lambda angles, T, read: angles[-T:]),
        ),
        Mistake(CUT, lambda x, cos, sin, read: turned(x, cos, sin, read).detach()),
    ),
    right=(
        _turned(_from(lambda T, read: read)),
        _turned(lambda angles, T, read: angles[torch.arange(T) + read]),
    ),
)

TASKS = (TURNED,)
OTHERS: Others = {
    "modern.turned": (
        turned_as_one,
        "One token at a time comes out right, wherever it stands. Where several new ones come at "
        "once, only the first of them is turned as it should be.",
        (
            "Three tokens were read, and two come. At which places do they stand, and which rows "
            "of cos do they get?",
            "cos[read] is one row, and broadcasting gives it to all tokens.",
            "T = x.size(2); then cos[read : read + T], and the same rows of sin.",
        ),
    ),
}

"""A bug hunt of chapter 9: new tokens that look back on what was kept.

The second bug is one that a class may be dealt (see `hunts`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from gptlib.exercises.modern_turned import Others
from gptlib.exercises.slopes import CUT, WithSlopes
from gptlib.exercises.task import Mistake, Task

Tensor = torch.Tensor


def late_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """T new tokens look back on S: q (B, nh, T, hs), k and v (B, nh, S, hs)."""
    T, S = q.size(2), k.size(2)
    seen = torch.ones(T, S, dtype=torch.bool, device=q.device).tril(S - T)
    scores = q @ k.transpose(-2, -1) / q.size(-1) ** 0.5  # (B, nh, T, S)
    return scores.masked_fill(~seen, float("-inf")).softmax(dim=-1) @ v


def late_attention_with_a_bug(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """T new tokens look back on S: q (B, nh, T, hs), k and v (B, nh, S, hs)."""
    T, S = q.size(2), k.size(2)
    seen = torch.ones(T, S, dtype=torch.bool, device=q.device).tril()
    scores = q @ k.transpose(-2, -1) / q.size(-1) ** 0.5  # (B, nh, T, S)
    return scores.masked_fill(~seen, float("-inf")).softmax(dim=-1) @ v


def late_attention_that_sees_all(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """T new tokens look back on S: q (B, nh, T, hs), k and v (B, nh, S, hs)."""
    # What is kept lies in the past, so that there is nothing to hide.
    scores = q @ k.transpose(-2, -1) / q.size(-1) ** 0.5  # (B, nh, T, S)
    return scores.softmax(dim=-1) @ v


def late_looks(seed: int) -> Iterator[tuple[Any, ...]]:
    """Three new tokens behind others, then one, then a whole text."""
    draw = torch.Generator().manual_seed(seed)
    for B, nh, T, S, hs in ((1, 2, 3, 6, 1), (2, 3, 1, 4, 3), (1, 2, 3, 3, 2)):
        q = torch.randn(B, nh, T, hs, generator=draw)
        yield q, *torch.randn(2, B, nh, S, hs, generator=draw)


def _late(seen: Callable[[int, int], Tensor]) -> Callable[..., Tensor]:
    """The attention of new tokens with another mask, (T, S)."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        scores = q @ k.mT / q.size(-1) ** 0.5
        hidden = ~seen(q.size(2), k.size(2)).to(q.device)
        return scores.masked_fill(hidden, -torch.inf).softmax(dim=-1) @ v

    return attend


def _lower(off: int) -> Callable[[int, int], Tensor]:
    return lambda T, S: torch.ones(T, S).tril(S - T + off).bool()


def _newest(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    T = q.size(2)
    return late_attention(q, k[:, :, -T:], v[:, :, -T:])


def _hidden_late(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    weights = (q @ k.mT / q.size(-1) ** 0.5).softmax(dim=-1)
    return weights.tril(k.size(2) - q.size(2)) @ v


LATE_ATTENTION = Task(
    name="modern.late_attention",
    asks="A whole text comes out right. Where three tokens come behind three that were kept, they "
    "see the beginning and not themselves. What does the mask take for granted?",
    reference=late_attention,
    bug=late_attention_with_a_bug,
    inputs=late_looks,
    use=WithSlopes("q", "k", "v"),
    anywhere=True,
    kind="bug",
    hints=(
        "Write the mask down for T = 3 and S = 6, as it is and as it should be.",
        "The first row belongs to the first new token. It stands behind S - T others, and may see "
        "them and itself.",
        "tril takes the number of a diagonal, which moves the edge to the right: tril(S - T).",
    ),
    mistakes=(
        Mistake(
            "The edge has been moved to the other side: the new tokens see even less.",
            _late(lambda T, S: torch.ones(T, S).tril(T - S).bool()),
        ),
        Mistake(
            "Nothing is hidden any more: the first of the new tokens sees those behind it.",
            _late(lambda T, S: torch.ones(T, S).bool()),
        ),
        Mistake(
            "One place too far: each new token sees the one behind it.",
            _late(_lower(1)),
        ),
        Mistake(
            "One place too few: a new token does not see itself.",
            _late(_lower(-1)),
        ),
        Mistake(
            "The mask is upside down: it lets a token see what comes behind it.",
            _late(lambda T, S: torch.ones(T, S).triu(S - T).bool()),
        ),
        Mistake(
            "What was kept is thrown away: the new tokens see each other alone.", _newest
        ),
        Mistake(
            "The mask comes after the softmax: what was hidden has had its part of the sum, and "
            "the rows no longer sum to 1.",
            _hidden_late,
        ),
        Mistake(CUT, lambda q, k, v: late_attention(q, k, v).detach()),
    ),
    right=(
        _late(_lower(0)),
        _late(lambda T, S: torch.arange(S) <= torch.arange(S - T, S)[:, None]),
    ),
)  # fmt: skip

TASKS = (LATE_ATTENTION,)
OTHERS: Others = {
    "modern.late_attention": (
        late_attention_that_sees_all,
        "One new token at a time comes out right. Where several come at once, as when a question "
        "is read that follows another, they know too much.",
        (
            "Three tokens come behind three that were kept. How many does the first of them see, "
            "and how many should it?",
            "The kept tokens lie in the past of all new ones. Do the new ones lie in the past of "
            "each other?",
            "Hide with torch.ones(T, S, dtype=torch.bool).tril(S - T), before the softmax.",
        ),
    ),
}

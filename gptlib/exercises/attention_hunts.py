"""Bug hunts of chapter 3: a mask that comes too late, and heads that are joined too early."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F

from gptlib.attention import attention_weights, causal_mask
from gptlib.exercises.slopes import CUT, WithSlopes
from gptlib.exercises.task import Mistake, Task

Tensor = torch.Tensor


def late_mask(query: Tensor, key: Tensor, mask: Tensor) -> Tensor:
    """The weights of one head: query and key (T, hs), mask (T, T) -> (T, T)."""
    scores = query @ key.transpose(-2, -1) / key.size(-1) ** 0.5
    weights = torch.softmax(scores, dim=-1)  # everybody may look
    return weights.masked_fill(~mask, 0.0)  # and then the future is hidden


def masked_first(query: Tensor, key: Tensor, mask: Tensor) -> Tensor:
    """The weights of one head: query and key (T, hs), mask (T, T) -> (T, T)."""
    scores = query @ key.transpose(-2, -1) / key.size(-1) ** 0.5
    scores = scores.masked_fill(~mask, float("-inf"))  # the future is hidden first
    return torch.softmax(scores, dim=-1)


def looks(seed: int) -> Iterator[tuple[Any, ...]]:
    """Queries, keys and the causal mask, for texts of several lengths."""
    draw = torch.Generator().manual_seed(seed)
    for size in ((3, 2), (1, 4), (7, 5)):
        query, key = torch.randn(2, *size, generator=draw)
        yield query, key, causal_mask(size[0])


def _filled(value: float, dim: int = -1) -> Callable[..., Tensor]:
    return lambda q, k, mask: (
        (q @ k.T / k.size(-1) ** 0.5).masked_fill(~mask, value).softmax(dim=dim)
    )


LATE_MASK = Task(
    name="attention.late_mask",
    asks="The rows no longer sum to 1: the first token takes a part of itself. Where does the "
    "rest of its weight go?",
    reference=masked_first,
    bug=late_mask,
    kind="bug",
    inputs=looks,
    anywhere=True,
    use=WithSlopes("query", "key"),
    hints=(
        "Print the sum of each row. Which row is right, and what does it not have to hide?",
        "A softmax divides by a sum. What has its part in that sum here, though it is hidden?",
        "Hide before the softmax, with a score whose exponential is 0.",
    ),
    mistakes=(
        Mistake(
            "The hidden scores are 0 now, and that is an ordinary score: the future keeps a "
            "weight. Which score becomes the weight 0?",
            _filled(0.0),
        ),
        Mistake(
            "The hidden scores are -1 now: small, and still a score. The future keeps some weight.",
            _filled(-1.0),
        ),
        Mistake(
            "The softmax is taken before the mask as well as after it: weights are no scores, and "
            "the second softmax makes them nearly equal.",
            lambda q, k, mask: (
                attention_weights(q, k).masked_fill(~mask, float("-inf")).softmax(dim=-1)
            ),
        ),
        Mistake(
            "Now minus infinity stands among the weights. A weight lies between 0 and 1; it is a "
            "score that may be minus infinity.",
            lambda q, k, mask: attention_weights(q, k).masked_fill(~mask, float("-inf")),
        ),
        Mistake(
            "The mask comes in time, and the softmax runs over the tokens that look: columns sum "
            "to 1, where rows should.",
            _filled(float("-inf"), dim=-2),
        ),
        Mistake(
            "The past is hidden and the future seen: the mask is True where a token may look.",
            lambda q, k, mask: (
                (q @ k.T / k.size(-1) ** 0.5).masked_fill(mask, float("-inf")).softmax(dim=-1)
            ),
        ),
        Mistake(
            "The mask is gone, and with it the fault: rows sum to 1, and the future is visible.",
            lambda q, k, mask: attention_weights(q, k),
        ),
        Mistake(CUT, lambda q, k, mask: attention_weights(q, k, mask).detach()),
    ),
    right=(
        lambda q, k, mask: F.normalize(attention_weights(q, k) * mask, p=1, dim=-1),
        lambda q, k, mask: attention_weights(q, k, mask),
    ),
)


def join_heads(heads: Tensor) -> Tensor:
    """Each token's findings, head by head: (B, n_head, T, hs) -> (B, T, n_head * hs)."""
    B, n_head, T, hs = heads.size()
    return heads.reshape(B, T, n_head * hs)


def joined(heads: Tensor) -> Tensor:
    """Each token's findings, head by head: (B, n_head, T, hs) -> (B, T, n_head * hs)."""
    B, n_head, T, hs = heads.size()
    return heads.transpose(1, 2).reshape(B, T, n_head * hs)


def findings(seed: int) -> Iterator[tuple[Any, ...]]:
    """What heads found: in the first, 12 is number 2 of token 1, as in the chapter's picture."""
    numbered = 10.0 * torch.arange(3)[:, None] + torch.arange(4)
    yield (numbered.view(1, 3, 2, 2).transpose(1, 2),)
    draw = torch.Generator().manual_seed(seed)
    yield (torch.randn(2, 3, 4, 5, generator=draw),)


JOIN_HEADS = Task(
    name="attention.join_heads",
    asks="The shape is right. Whose numbers does the first token get?",
    reference=joined,
    bug=join_heads,
    kind="bug",
    inputs=findings,
    anywhere=True,
    use=WithSlopes("heads"),
    hints=(
        "In which order do the numbers lie: is the second head's first token before or after the "
        "first head's last one?",
        "reshape keeps the order of the numbers. Which two axes stand in the wrong order for it?",
        "The head must stand right before its numbers: exchange axes 1 and 2, then reshape.",
    ),
    mistakes=(
        Mistake(
            "A token's numbers are together now, and in the wrong order: number 0 of each head, "
            "then number 1. Each head's numbers are to stay side by side.",
            lambda heads: heads.permute(0, 2, 3, 1).flatten(2),
        ),
        Mistake(
            "Numbers and heads have changed places, and tokens are still mixed.",
            lambda heads: heads.transpose(1, 3).reshape(heads.size(0), heads.size(2), -1),
        ),
        Mistake(
            "Numbers and tokens have changed places: a row now holds one number of many tokens.",
            lambda heads: heads.transpose(2, 3).reshape(heads.size(0), heads.size(2), -1),
        ),
        Mistake(
            "The axes are exchanged after the reshape, which has put them into the wrong order: "
            "a row still holds numbers of several tokens.",
            lambda heads: heads.reshape(heads.size(0), -1, heads.size(2)).transpose(1, 2),
        ),
        Mistake(
            "The heads are added up: what one found can no longer be told from what another did. "
            "Side by side they keep their own places.",
            lambda heads: heads.sum(dim=1),
        ),
        Mistake(
            "The axes are in the right order, and the last two are still apart: (B, T, n_head, "
            "hs). The next layer asks for one axis of n_head * hs numbers.",
            lambda heads: heads.transpose(1, 2),
        ),
        Mistake(CUT, lambda heads: joined(heads).detach()),
    ),
    right=(
        lambda heads: torch.cat(heads.unbind(dim=1), dim=-1),
        lambda heads: heads.permute(0, 2, 1, 3).flatten(start_dim=2),
    ),
)


TASKS = (LATE_MASK, JOIN_HEADS)

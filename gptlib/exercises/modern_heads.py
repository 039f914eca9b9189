"""Exercises of chapter 9 around grouped queries: who shares with whom, and the attention itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F

from gptlib.exercises.slopes import CUT, WithSlopes
from gptlib.exercises.task import Mistake, Task

Tensor = torch.Tensor


def key_heads(n_head: int, n_kv_head: int) -> list[int]:
    """For each head of queries, the head of keys that it shares: neighbours share one.

    key_heads(4, 2) -> [0, 0, 1, 1]
    """
    group = n_head // n_kv_head
    return [head // group for head in range(n_head)]


def splits(seed: int) -> Iterator[tuple[Any, ...]]:
    """Eight heads over two, then other numbers, each its own and one for all among them."""
    yield from ((8, 2), (12, 4), (3, 3), (5, 1))


KEY_HEADS = Task(
    name="modern.key_heads",
    asks="Say for each head of queries which head of keys it shares. Neighbours share one.",
    reference=key_heads,
    inputs=splits,
    kind="warm-up",
    hints=(
        "Eight heads of queries and two of keys: how many share one? Write the list down.",
        "n_head // n_kv_head heads make a group. Which of // and % tells the group that a head is "
        "in?",
        "[head // group for head in range(n_head)] with group = n_head // n_kv_head",
    ),
    mistakes=(
        Mistake(
            "The heads take turns: 0, 1, 0, 1. Neighbours should share, 0, 0, 1, 1, which is how "
            "published weights are laid out.",
            lambda n_head, n_kv_head: [head % n_kv_head for head in range(n_head)],
        ),
        Mistake(
            "So many share one as there are heads of keys. It should be n_head / n_kv_head that "
            "share one.",
            lambda n_head, n_kv_head: [head // n_kv_head for head in range(n_head)],
        ),
        Mistake(
            "Each head of queries has keys of its own: nothing is shared.",
            lambda n_head, n_kv_head: list(range(n_head)),
        ),
        Mistake(
            "All share the first head of keys; the others are never asked.",
            lambda n_head, n_kv_head: [0] * n_head,
        ),
        Mistake(
            "The heads of keys are counted from 1; they should be counted from 0.",
            lambda n_head, n_kv_head: [1 + head for head in key_heads(n_head, n_kv_head)],
        ),
        Mistake(
            "The list says which queries a head of keys serves. It is asked the other way round: "
            "one number for each head of queries.",
            lambda n_head, n_kv_head: [
                [head for head, key in enumerate(key_heads(n_head, n_kv_head)) if key == one]
                for one in range(n_kv_head)
            ],
        ),
        Mistake(
            "The list has an entry for each head of keys: how many share it. It should have one "
            "for each head of queries.",
            lambda n_head, n_kv_head: [n_head // n_kv_head] * n_kv_head,
        ),
    ),
    right=(
        lambda n_head, n_kv_head: [head * n_kv_head // n_head for head in range(n_head)],
        lambda n_head, n_kv_head: [
            key for key in range(n_kv_head) for _ in range(n_head // n_kv_head)
        ],
    ),
)


def grouped_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention with fewer heads of keys than of queries; neighbours share one.

    q (B, nh, T, hs), k and v (B, nkv, T, hs) -> (B, nh, T, hs).

    grouped_attention(torch.ones(1, 2, 1, 1), *torch.ones(2, 1, 1, 1, 1)) -> [[[[1]], [[1]]]]
    """
    group, T = q.size(1) // k.size(1), q.size(2)
    k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
    seen = torch.ones(T, T, dtype=torch.bool, device=q.device).tril()
    scores = q @ k.transpose(-2, -1) / q.size(-1) ** 0.5  # (B, nh, T, T)
    return scores.masked_fill(~seen, float("-inf")).softmax(dim=-1) @ v


def heads(seed: int) -> Iterator[tuple[Any, ...]]:
    """Four heads over two; then others, each its own and one for all among them."""
    draw = torch.Generator().manual_seed(seed)
    sizes = ((1, 4, 2, 3, 2), (2, 6, 3, 5, 4), (1, 3, 3, 2, 2), (3, 4, 1, 4, 2))
    for B, nh, nkv, T, hs in sizes:
        q = torch.randn(B, nh, T, hs, generator=draw)
        yield q, *torch.randn(2, B, nkv, T, hs, generator=draw)
    yield tuple(torch.randn(1, 2, 3, 2, generator=draw).double() for _ in range(3))


def in_turns(part: Tensor, n_head: int) -> Tensor:
    """Keys or values, one for each head of queries, in turns: 0, 1, 0, 1."""
    return part.repeat(1, n_head // part.size(1), 1, 1)


def neighbours(part: Tensor, n_head: int) -> Tensor:
    """The same, each beside itself: 0, 0, 1, 1."""
    return part.repeat_interleave(n_head // part.size(1), dim=1)


def _weighed(scores: Tensor) -> Tensor:
    return _hidden(scores).softmax(dim=-1)


def _hidden(scores: Tensor, seen: Callable[[Tensor], Tensor] = torch.tril) -> Tensor:
    return scores.masked_fill(~seen(torch.ones_like(scores[0, 0]).bool()), float("-inf"))


def _open(scores: Tensor) -> Tensor:
    return scores.softmax(dim=-1)


def _late(scores: Tensor) -> Tensor:
    return scores.softmax(dim=-1).tril()


def attended(
    keys: Callable[[Tensor, int], Tensor] = neighbours,
    values: Callable[[Tensor, int], Tensor] = neighbours,
    scale: Callable[[Tensor], float] = lambda q: q.size(-1) ** -0.5,
    weights: Callable[[Tensor], Tensor] = _weighed,
) -> Callable[..., Tensor]:
    """Grouped attention with one part of it exchanged."""

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        k, v = keys(k, q.size(1)), values(v, q.size(1))
        return weights(scale(q) * (q @ k.transpose(-2, -1))) @ v

    return attend


def _one_group_each(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The queries in groups, beside the one head of keys that a group shares."""
    q = q.unflatten(1, (k.size(1), -1))  # (B, nkv, group, T, hs)
    k, v = k[:, :, None], v[:, :, None]
    scores = q @ k.mT / q.size(-1) ** 0.5
    above = torch.full(scores.shape[-2:], -torch.inf, dtype=q.dtype, device=q.device).triu(1)
    return ((scores + above).softmax(dim=-1) @ v).flatten(1, 2)


GROUPED_ATTENTION = Task(
    name="modern.grouped_attention",
    asks="Causal attention in which several heads of queries share one head of keys and values.",
    reference=grouped_attention,
    inputs=heads,
    use=WithSlopes("q", "k", "v"),
    anywhere=True,
    hints=(
        "With as many heads of keys as of queries you know how it goes. What has to happen to k "
        "and v, so that the same lines work?",
        "Each head of keys is needed n_head / n_kv_head times, the copies side by side. PyTorch "
        "has repeat, which repeats the whole, and repeat_interleave, which repeats each.",
        "k.repeat_interleave(q.size(1) // k.size(1), dim=1), the same for v. Then q @ k turned, "
        "divided by the root of hs, the future hidden, softmax, @ v.",
    ),
    mistakes=(
        Mistake(
            "The heads take turns: repeat puts the whole behind itself, 0, 1, 0, 1. Neighbours "
            "should share, 0, 0, 1, 1: repeat_interleave.",
            attended(in_turns, in_turns),
        ),
        Mistake(
            "The keys are shared by neighbours and the values in turns: a head looks with one and "
            "takes from another.",
            attended(neighbours, in_turns),
        ),
        Mistake(
            "The values are shared by neighbours and the keys in turns: a head looks with one and "
            "takes from another.",
            attended(in_turns, neighbours),
        ),
        Mistake(
            "All heads use the first head of keys and values; the others are never read.",
            lambda q, k, v: grouped_attention(q, k[:, :1], v[:, :1]),
        ),
        Mistake(
            "The heads of keys and values are averaged into one for all. Each should serve its own "
            "group.",
            lambda q, k, v: grouped_attention(q, k.mean(1, True), v.mean(1, True)),
        ),
        Mistake(
            "The queries of a group are averaged: fewer heads come out than went in. It is the "
            "keys that are shared; each head of queries keeps its own view.",
            lambda q, k, v: grouped_attention(q.unflatten(1, (k.size(1), -1)).mean(2), k, v),
        ),
        Mistake(
            "There are fewer heads of keys than of queries: each has to be there once for every "
            "head of queries that shares it.",
            lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        ),
        Mistake("Nothing is hidden: early tokens see later ones.", attended(weights=_open)),
        Mistake(
            "The mask is upside down: a token sees what comes after it, and not what came before.",
            attended(weights=lambda scores: _hidden(scores, torch.triu).softmax(dim=-1)),
        ),
        Mistake(
            "The mask comes after the softmax: the rows no longer sum to 1.",
            attended(weights=_late),
        ),
        Mistake(
            "The scores are not divided by the root of the head size.",
            attended(scale=lambda q: 1.0),
        ),
        Mistake(
            "The scores are divided by the head size; it should be by its root.",
            attended(scale=lambda q: 1 / q.size(-1)),
        ),
        Mistake(
            "The scores are divided by the root of the whole width, all heads together. A product "
            "sums over the numbers of one head.",
            attended(scale=lambda q: (q.size(1) * q.size(-1)) ** -0.5),
        ),
        Mistake(
            "The softmax goes over the queries: the columns sum to 1, and not the rows.",
            attended(weights=lambda scores: _hidden(scores).softmax(dim=-2)),
        ),
        Mistake(CUT, lambda q, k, v: grouped_attention(q, k, v).detach()),
    ),
    right=(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True),
        _one_group_each,
    ),
)

TASKS = (KEY_HEADS, GROUPED_ATTENTION)

"""Exercises of chapter 3: who may look at whom, and how much is taken from each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F

from gptlib.attention import attention_weights, causal_mask
from gptlib.exercises import (
    attention_heads,
    attention_hunts,
    attention_layer,
    attention_paper,
    attention_parts,
)
from gptlib.exercises.slopes import CUT, WithSlopes
from gptlib.exercises.task import Mistake, Task

Tensor = torch.Tensor


def lengths(seed: int) -> Iterator[tuple[Any, ...]]:
    """Contexts of several lengths, one token among them."""
    yield from ((3,), (1,), (5 + seed % 7,))


def _ones(context_length: int) -> torch.Tensor:
    return torch.ones(context_length, context_length, dtype=torch.bool)


CAUSAL_MASK = Task(
    name="attention.causal_mask",
    asks="Write a table of booleans that says for each token which others it may look at.",
    reference=causal_mask,
    inputs=lengths,
    hints=(
        "Write the table for three tokens by hand. Row 0 is the first token: whom may it look at?",
        "The cells in which row >= column are True. PyTorch has a name for that triangle.",
        "torch.ones(T, T, dtype=torch.bool), and of that the lower triangle with its diagonal.",
    ),
    mistakes=(
        Mistake(
            "The mask is upside down: the first token sees all that comes later.",
            lambda T: _ones(T).triu(),
        ),
        Mistake(
            "True and False have changed places: here True means that a token may look.",
            lambda T: ~_ones(T).tril(),
        ),
        Mistake("No token may look at itself: the diagonal is False.", lambda T: _ones(T).tril(-1)),
        Mistake("Every token sees every other, the later ones too.", _ones),
        Mistake(
            "Each token sees one place too far: the next token, which it is to guess.",
            lambda T: _ones(T).tril(1),
        ),
        Mistake(
            "The triangle is right, and made of numbers. Booleans are asked for: numbers would be "
            "added to the scores by some libraries, and hide nothing.",
            lambda T: torch.ones(T, T).tril(),
        ),
        Mistake(
            "The triangle holds 0 and minus infinity, to be added to scores. Booleans are asked "
            "for: whoever reads the mask turns them into what is needed.",
            lambda T: torch.zeros(T, T).masked_fill(~_ones(T).tril(), float("-inf")),
        ),
        Mistake(
            "Only the last row is there. One row for each token that looks is asked for.",
            lambda T: torch.ones(T, dtype=torch.bool),
        ),
    ),
    right=(
        lambda T: torch.arange(T)[:, None] >= torch.arange(T),
        lambda T: torch.tensor([[j <= i for j in range(T)] for i in range(T)]),
        lambda T: torch.triu(_ones(T), diagonal=1).logical_not(),
    ),
)


def looks(seed: int) -> Iterator[tuple[Any, ...]]:
    """Queries and keys: with and without a mask, of several batches, heads and kinds of number."""
    draw = torch.Generator().manual_seed(seed)
    sizes: list[tuple[int, ...]] = [(3, 4), (2, 3, 5, 9), (1, 7, 2)]
    for size in sizes:
        query, key = torch.randn(2, *size, generator=draw)
        yield query, key, causal_mask(size[-2])
    query, key = torch.randn(2, 2, 3, 4, generator=draw, dtype=torch.float64)
    yield query, key, None
    yield query, key, causal_mask(3)


def _hide(scores: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    return scores if mask is None else scores.masked_fill(~mask, float("-inf"))


def _scores(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    return query @ key.transpose(-2, -1)


def _weights(scale: Callable[[Tensor], float], dim: int = -1) -> Callable[..., Tensor]:
    """The whole way, the scores divided by scale(key), the softmax along another axis."""
    return lambda q, k, mask=None: F.softmax(_hide(_scores(q, k) / scale(k), mask), dim=dim)


ATTENTION_WEIGHTS = Task(
    name="attention.attention_weights",
    asks="Turn queries and keys into weights: scores, their scale, the mask, a softmax.",
    reference=attention_weights,
    inputs=looks,
    devices_later=True,
    use=WithSlopes("query", "key"),
    hints=(
        "Four steps. Which of them must come before the softmax, so that each row still sums to 1?",
        "The scores are query @ key with its last two axes exchanged, divided by the root of how "
        "many numbers a query has. Then hide, then softmax over the keys.",
        "scores = query @ key.transpose(-2, -1) / key.size(-1) ** 0.5; masked_fill(~mask, -inf) if "
        "there is a mask; softmax over the last axis.",
    ),
    mistakes=(
        Mistake(
            "The scores are not divided by the root of the head size.",
            _weights(lambda k: 1.0),
        ),
        Mistake(
            "The scores are divided by the head size, and not by its root.",
            _weights(lambda k: k.size(-1)),
        ),
        Mistake(
            "The scores are divided by the root of how many tokens there are; it is the length of "
            "a query that makes them large.",
            _weights(lambda k: k.size(-2) ** 0.5),
        ),
        Mistake(
            "The scores are multiplied by the root of the head size, and not divided.",
            _weights(lambda k: k.size(-1) ** -0.5),
        ),
        Mistake(
            "The division comes after the softmax: the rows no longer sum to 1, and large scores "
            "have done their harm.",
            lambda q, k, mask=None: (
                F.softmax(_hide(_scores(q, k), mask), dim=-1) / k.size(-1) ** 0.5
            ),
        ),
        Mistake(
            "The softmax runs over the tokens that look. A row is one of those: the weights of a "
            "row, over the keys, are to sum to 1.",
            _weights(lambda k: k.size(-1) ** 0.5, dim=-2),
        ),
        Mistake(
            "The mask comes after the softmax: rows no longer sum to 1, and what is hidden has "
            "still had its share of the sum.",
            lambda q, k, mask=None: (
                F.softmax(_scores(q, k) / k.size(-1) ** 0.5, dim=-1)
                * (1.0 if mask is None else mask)
            ),
        ),
        Mistake(
            "The mask is added to the scores as numbers, 1 for True: nothing is hidden.",
            lambda q, k, mask=None: F.softmax(
                _scores(q, k) / k.size(-1) ** 0.5 + (0.0 if mask is None else mask), dim=-1
            ),
        ),
        Mistake(
            "What the mask allows is hidden, and what it forbids is seen: fill where it is False.",
            lambda q, k, mask=None: F.softmax(
                _hide(_scores(q, k) / k.size(-1) ** 0.5, None if mask is None else ~mask), dim=-1
            ),
        ),
        Mistake(
            "What is hidden gets the score 0, which is an ordinary score. Only minus infinity "
            "becomes the weight 0.",
            lambda q, k, mask=None: F.softmax(
                (_scores(q, k) / k.size(-1) ** 0.5).masked_fill(
                    torch.zeros_like(_scores(q, k), dtype=torch.bool) if mask is None else ~mask,
                    0.0,
                ),
                dim=-1,
            ),
        ),
        Mistake(
            "There may be no mask: it is None then, and nothing is hidden. Ask for that before the "
            "mask is used.",
            lambda q, k, mask=None: F.softmax(
                (_scores(q, k) / k.size(-1) ** 0.5).masked_fill(mask == 0, float("-inf")), dim=-1
            ),
        ),
        Mistake(
            "There may be no mask: it is None then, and there is nothing to turn round with ~.",
            lambda q, k, mask=None: F.softmax(
                (_scores(q, k) / k.size(-1) ** 0.5).masked_fill(~mask, float("-inf")), dim=-1
            ),
        ),
        Mistake(
            "`.T` turns all axes round, and there may be more than two: a batch, heads. Only the "
            "last two are to change places.",
            lambda q, k, mask=None: F.softmax(
                _hide(q @ k.permute(*range(k.dim())[::-1]) / k.size(-1) ** 0.5, mask), dim=-1
            ),
        ),
        Mistake(
            "The mask is not used.",
            lambda q, k, mask=None: F.softmax(_scores(q, k) / k.size(-1) ** 0.5, dim=-1),
        ),
        Mistake(
            "Queries and keys have changed places: rows belong to the tokens that look.",
            lambda q, k, mask=None: F.softmax(
                _hide(_scores(k, q) / k.size(-1) ** 0.5, mask), dim=-1
            ),
        ),
        Mistake(
            "These are the scores, not yet the weights: the softmax is missing.",
            lambda q, k, mask=None: _hide(_scores(q, k) / k.size(-1) ** 0.5, mask),
        ),
        Mistake(
            "The numbers are right, and the gradient is another one: what the softmax divides by "
            "is cut off. A weight that grows takes from the others of its row.",
            lambda q, k, mask=None: (
                (e := _hide(_scores(q, k) / k.size(-1) ** 0.5, mask).exp())
                / e.sum(dim=-1, keepdim=True).detach()
            ),
        ),
        Mistake(
            "The numbers are right, and the keys get no gradient: they are cut off, by detach, or "
            "by torch.tensor around what is a tensor already.",
            lambda q, k, mask=None: attention_weights(q, k.detach(), mask),
        ),
        Mistake(CUT, lambda q, k, mask=None: attention_weights(q, k, mask).detach()),
    ),
    right=(
        lambda q, k, mask=None: torch.softmax(
            torch.einsum("...th,...sh->...ts", q / q.size(-1) ** 0.5, k)
            + (0.0 if mask is None else torch.where(mask, 0.0, -torch.inf)),
            dim=-1,
        ).to(q.dtype),
        lambda q, k, mask=None: F.scaled_dot_product_attention(
            q, k, torch.eye(k.size(-2)).to(k).expand(*k.shape[:-2], -1, -1), attn_mask=mask
        ),
    ),
)

TASKS = (
    CAUSAL_MASK,
    ATTENTION_WEIGHTS,
    *attention_heads.TASKS,
    *attention_layer.TASKS,
    *attention_parts.TASKS,
    *attention_hunts.TASKS,
)
QUESTIONS = attention_paper.QUESTIONS

"""Exercises of chapter 8: from logits to what the next token is drawn from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F

from gptlib.exercises import (
    generation_bug,
    generation_cuts,
    generation_loop,
    generation_questions,
    generation_stream,
)
from gptlib.exercises.task import Mistake, Task
from gptlib.generation import next_token_probs

Tensor = torch.Tensor


def settings(seed: int) -> Iterator[tuple[Any, ...]]:
    """Logits with temperature, top-k and top-p: one at a time, then together."""
    four = torch.tensor([2.0, 1.0, 0.5, -1.0])
    yield four, 0.5, None, None
    yield four, 1.0, 2, None
    yield torch.tensor([1.0, 1.0, 0.0, 1.0]), 1.0, 2, None  # those as likely as the second stay
    yield four, 1.0, None, 0.7
    yield four, 0.0, None, None
    yield four, 1.0, 2, 0.7  # of the two that stay the first has 0.731, and of all 0.61
    yield four, 0.5, None, 0.7  # it has 0.842 then, and before the temperature 0.61
    draw = torch.Generator().manual_seed(seed)
    yield torch.randn(2, 3, 9, generator=draw) * 2, 0.8, 5, 0.8
    yield torch.randn(9, generator=draw), 1.5, None, 1.0
    yield torch.stack([four, four.flip(0)]), 0.0, None, None
    yield torch.tensor([0.0, 2.0, 2.0]), 0.0, None, None  # of equals the first
    yield (four,)


def _made(
    logits: Tensor,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    scale: Any = lambda z, t: z / t,
    keep_k: Any = lambda z, k: z.masked_fill(z < z.topk(k).values[..., -1:], -math.inf),
    keep_p: Any = None,
) -> Tensor:
    """The whole way, with one step of it exchanged."""
    if temperature == 0:
        return F.one_hot(logits.argmax(dim=-1), logits.size(-1)).float()
    z = scale(logits, temperature)
    z = z if top_k is None else keep_k(z, top_k)
    probs = z.softmax(dim=-1)
    if top_p is None or top_p == 1:
        return probs
    return (keep_p or _nucleus)(probs, top_p)


def _nucleus(probs: Tensor, top_p: float, reached: Any = None, scaled: bool = True) -> Tensor:
    """Keep the most likely tokens; `reached(sums, before)` says from where on none is kept."""
    ordered, index = probs.sort(dim=-1, descending=True)
    sums = ordered.cumsum(dim=-1)
    over = sums - ordered >= top_p if reached is None else reached(sums, sums - ordered)
    ordered = ordered.masked_fill(over, 0.0)
    kept = torch.zeros_like(probs).scatter(-1, index, ordered)
    return kept / kept.sum(dim=-1, keepdim=True) if scaled else kept


NEXT_TOKEN_PROBS = Task(
    name="generation.next_token_probs",
    asks="Temperature, then top-k, then a softmax, then top-p, and at the end a sum of 1.",
    reference=next_token_probs,
    inputs=settings,
    hints=(
        "Which of the three acts on logits, and which needs probabilities?",
        "Divide the logits by the temperature; what top-k drops becomes minus infinity; softmax; "
        "sort, add up, drop what comes after top_p is reached; divide by what is left.",
        "Temperature 0 is the argmax. For top-p drop a token if those before it add up to top_p "
        "already: the one that crosses the line stays.",
    ),
    mistakes=(
        Mistake(
            "The logits are multiplied by the temperature; it divides them.",
            lambda z, t, k, p: _made(z, t, k, p, scale=lambda z, t: z * t),
        ),
        Mistake(
            "The temperature divides the probabilities: scaled to a sum of 1 they are as before.",
            lambda z, t, k, p: _made(z, t, k, p, scale=lambda z, t: z),
        ),
        Mistake(
            "The probabilities are divided by the temperature, and no longer sum to 1. It is the "
            "logits that it divides, before the softmax.",
            lambda z, t, k, p: _made(z, 1.0, k, p) / t,
        ),
        Mistake(
            "Top-k is ignored.",
            lambda z, t, k, p: _made(z, t, None, p),
        ),
        Mistake(
            "At temperature 0 this is the id of the most likely token. Probabilities are asked "
            "for: 1 for it, 0 for the others.",
            lambda z, t, k, p: _made(z, t, k, p) if t else z.argmax(dim=-1),
        ),
        Mistake(
            "One token too many is kept by top-k.",
            lambda z, t=1.0, k=None, p=None: _made(
                z, t, k, p,
                keep_k=lambda z, k: z.masked_fill(z < z.topk(k + 1).values[..., -1:], -math.inf),
            ),
        ),
        Mistake(
            "What top-k drops gets the logit 0, which is an ordinary logit; minus infinity rules "
            "a token out.",
            lambda z, t, k, p: _made(
                z, t, k, p,
                keep_k=lambda z, k: z.masked_fill(z < z.topk(k).values[..., -1:], 0.0),
            ),
        ),
        Mistake(
            "Of tokens that are as likely as the k-th some are dropped, by their place alone.",
            lambda z, t, k, p: _made(
                z, t, k, p,
                keep_k=lambda z, k: torch.full_like(z, -math.inf).scatter(
                    -1, z.topk(k).indices, z.topk(k).values
                ),
            ),
        ),
        Mistake(
            "Top-k keeps the least likely tokens.",
            lambda z, t, k, p: _made(
                z, t, k, p,
                keep_k=lambda z, k: z.masked_fill(
                    z > z.topk(k, largest=False).values[..., -1:], -math.inf
                ),
            ),
        ),
        Mistake(
            "The token with which top_p is reached is dropped; it belongs to those that are kept.",
            lambda z, t, k, p: _made(
                z, t, k, p,
                keep_p=lambda q, p: _nucleus(q, p, reached=lambda sums, before: sums > p),
            ),
        ),
        Mistake(
            "What top-p keeps is not scaled to a sum of 1.",
            lambda z, t, k, p: _made(
                z, t, k, p, keep_p=lambda q, p: _nucleus(q, p, scaled=False)
            ),
        ),
        Mistake(
            "Top-p is taken for the least that a token may have; all that stay have it together.",
            lambda z, t, k, p: _made(
                z, t, k, p,
                keep_p=lambda q, p: q.masked_fill(q < p, 0.0)
                / q.masked_fill(q < p, 0.0).sum(-1, keepdim=True),
            ),
        ),
        Mistake(
            "The order is another one: temperature, top-k, then top-p of what is left. Here top-p "
            "cuts before top-k.",
            lambda z, t, k, p: _made(_made(z, t, None, p).log(), 1.0, k, None),
        ),
        Mistake(
            "The order is another one: temperature, top-k, then top-p of what is left. Here top-p "
            "cuts before the temperature has changed what each token has.",
            lambda z, t, k, p: _made(_made(z, 1.0, k, p).log(), t, None, None),
        ),
        Mistake(
            "Top-p is ignored.",
            lambda z, t, k, p: _made(z, t, k, None),
        ),
        Mistake(
            "Temperature 0 divides by 0; it means: the most likely token, for certain.",
            lambda z, t, k, p: _made(z, t, k, p) if t else (z / t).softmax(dim=-1),
        ),
    ),
    right=(
        lambda z, t=1.0, k=None, p=None: _made(z, t, k, p),
        lambda z, t=1.0, k=None, p=None: _made(
            z, t, k, p,
            scale=lambda z, t: z.log_softmax(-1) / t,
            keep_k=lambda z, k: torch.where(z >= z.sort(-1).values[..., -k, None], z, -math.inf),
        ),
    ),
)  # fmt: skip

TASKS = (
    *generation_cuts.TASKS,
    NEXT_TOKEN_PROBS,
    *generation_loop.TASKS,
    *generation_bug.TASKS,
    *generation_stream.TASKS,
)
QUESTIONS = generation_questions.QUESTIONS

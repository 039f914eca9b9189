"""Exercises of chapter 8: the two ways to cut the tail, each alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch

from gptlib.exercises.task import Mistake, Task, Use
from gptlib.generation import keep_top_p

Tensor = torch.Tensor


def only_top_k(logits: Tensor, k: int) -> Tensor:
    """The logits (…, V) with all but the k highest at minus infinity."""
    kth = logits.topk(k, dim=-1).values[..., -1:]  # (…, 1) the smallest that stays
    return logits.masked_fill(logits < kth, -math.inf)


def scores(seed: int) -> Iterator[tuple[Any, ...]]:
    """Logits and a k: one row, then equals, then several rows."""
    yield torch.tensor([2.0, 1.0, 0.5, -1.0]), 2
    yield torch.tensor([1.0, 3.0, 1.0, 0.0]), 2
    draw = torch.Generator().manual_seed(seed)
    yield torch.randn(2, 3, 7, generator=draw) * 3, 3
    yield torch.tensor([[-2.0, -1.0, -3.0], [5.0, 4.0, 6.0]]), 1


def _kth(logits: Tensor, k: int) -> Tensor:
    return logits.topk(k, dim=-1).values[..., -1:]


ONLY_TOP_K = Task(
    name="generation.only_top_k",
    asks="Leave the k highest logits of each row as they are, and those equal to the k-th; rule "
    "the others out.",
    reference=only_top_k,
    inputs=scores,
    hints=(
        "Which logit is the last that may stay? And which number does a softmax turn into 0?",
        "logits.topk(k, dim=-1).values are the k highest in order; the last of them is the bound.",
        "kth = logits.topk(k, dim=-1).values[..., -1:], then masked_fill where logits < kth, with "
        "-math.inf.",
    ),
    mistakes=(
        Mistake(
            "What is ruled out gets the logit 0. A softmax gives that an ordinary share; minus "
            "infinity becomes 0.",
            lambda z, k: z.masked_fill(z < _kth(z, k), 0.0),
        ),
        Mistake(
            "The k-th itself is ruled out as well: one too few stay.",
            lambda z, k: z.masked_fill(z <= _kth(z, k), -math.inf),
        ),
        Mistake(
            "One too many stays.",
            lambda z, k: z.masked_fill(z < _kth(z, min(k + 1, z.size(-1))), -math.inf),
        ),
        Mistake(
            "The lowest stay, and the highest are ruled out.",
            lambda z, k: z.masked_fill(z > -_kth(-z, k), -math.inf),
        ),
        Mistake(
            "Of logits that are equal one stays and one goes, by their place alone.",
            lambda z, k: torch.full_like(z, -math.inf).scatter(
                -1, z.topk(k).indices, z.topk(k).values
            ),
        ),
        Mistake(
            "These are the k highest in order. Which token each belongs to is lost: every token is "
            "to keep its place.",
            lambda z, k: z.topk(k).values,
        ),
        Mistake(
            "These are probabilities already; the logits are asked for, so that more can be done "
            "with them.",
            lambda z, k: only_top_k(z, k).softmax(dim=-1),
        ),
        Mistake(
            "The k highest of all rows together stay; each row has k of its own.",
            lambda z, k: z.masked_fill(z < _kth(z.flatten(), k), -math.inf),
        ),
        Mistake(
            "Each row has its own k-th highest; keep it as a column.",
            lambda z, k: z.masked_fill(z < z.topk(k, dim=-1).values[..., -1], -math.inf),
        ),
    ),
    right=(
        lambda z, k: torch.where(z >= z.sort(dim=-1).values[..., -k, None], z, -math.inf),
        lambda z, k: z.masked_fill((z[..., None, :] > z[..., None]).sum(dim=-1) >= k, -math.inf),
    ),
    kind="warm-up",
    anywhere=True,
)


def shares(seed: int) -> Iterator[tuple[Any, ...]]:
    """Probabilities and a p: by hand, a sure place, an exact sum, equals, several rows."""
    yield torch.tensor([0.1, 0.2, 0.4, 0.3]), 0.55
    yield torch.tensor([0.97, 0.02, 0.01]), 0.9
    yield torch.tensor([0.25, 0.5, 0.125, 0.125]), 0.75
    yield torch.full((4,), 0.25), 0.5
    yield torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.15, 0.05]]), 0.6
    draw = torch.Generator().manual_seed(seed)
    yield (torch.randn(2, 3, 9, generator=draw) * 2).softmax(dim=-1), 0.8


class Cut(Use):
    """Call it; where all tokens are equally likely, which of them stay is left to the answer."""

    def run(self, answer: Callable[..., Any], *given: Any) -> Any:
        probs, _ = given
        out = answer(*given)
        if not torch.is_tensor(out) or probs.is_meta or probs.unique().numel() > 1:
            return out
        return out.sort(dim=-1, descending=True).values


def _cut(
    over: Callable[[Tensor, Tensor, float], Tensor] = lambda sums, each, p: sums - each >= p,
    back: Callable[[Tensor, Tensor], Tensor] = lambda kept, index: torch.zeros_like(kept).scatter(
        -1, index, kept
    ),
    scaled: bool = True,
    descending: bool = True,
) -> Callable[[Tensor, float], Tensor]:
    """The whole way, with one part of it exchanged."""

    def keep(probs: Tensor, top_p: float) -> Tensor:
        ordered, index = probs.sort(dim=-1, descending=descending)
        kept = ordered.masked_fill(over(ordered.cumsum(dim=-1), ordered, top_p), 0.0)
        kept = back(kept, index)
        return kept / kept.sum(dim=-1, keepdim=True) if scaled else kept

    return keep


def _all_equals(probs: Tensor, top_p: float) -> Tensor:
    """By a bound: the least probability that is needed."""
    kept = _cut(scaled=False)(probs, top_p)
    least = kept.masked_fill(kept == 0, math.inf).amin(dim=-1, keepdim=True)
    kept = probs.masked_fill(probs < least, 0.0)
    return kept / kept.sum(dim=-1, keepdim=True)


def _last_of_equals(probs: Tensor, top_p: float) -> Tensor:
    """Right, too: from the end of an ascending order."""
    return _one_by_one(probs.flip(-1), top_p).flip(-1)


def _one_by_one(probs: Tensor, top_p: float) -> Tensor:
    """Row by row and token by token."""
    kept = torch.zeros_like(probs).view(-1, probs.size(-1))
    for row, out in zip(probs.view(kept.shape), kept, strict=True):
        total = 0.0
        for i in row.argsort(descending=True):
            if total >= top_p:
                break
            out[i] = row[i]
            total += row[i].item()
        out /= out.sum().clone()
    return kept.view(probs.shape)


KEEP_TOP_P = Task(
    name="generation.keep_top_p",
    asks="Keep the fewest most likely tokens that have top_p or more together, each in its place, "
    "and scale them to a sum of 1.",
    reference=keep_top_p,
    inputs=shares,
    anywhere=True,
    hints=(
        "Go down from the most likely token. What must have been reached before a token for it to "
        "be dropped?",
        "sort with descending=True gives the probabilities and where they stood. cumsum minus the "
        "probability itself is what all more likely ones have. scatter puts things back.",
        "ordered, index = probs.sort(dim=-1, descending=True); drop where ordered.cumsum(-1) - "
        "ordered >= top_p; torch.zeros_like(probs).scatter(-1, index, ordered); divide by the sum.",
    ),
    mistakes=(
        Mistake(
            "The token with which top_p is reached is dropped: what stays has less than top_p, and "
            "where one token is sure nothing stays at all.",
            _cut(over=lambda sums, each, p: sums > p),
        ),
        Mistake("What stays is not scaled: its sum is below 1.", _cut(scaled=False)),
        Mistake(
            "The result is still in the order of the sort, and no longer in that of the ids: the "
            "probabilities belong to other tokens.",
            _cut(back=lambda kept, index: kept),
        ),
        Mistake(
            "Taking from the places that index names undoes no sort: what was first in order has "
            "to be written to the place that it came from.",
            _cut(back=lambda kept, index: kept.gather(-1, index)),
        ),
        Mistake(
            "The sum begins at the least likely token: the tail stays, and what is likely goes.",
            _cut(descending=False),
        ),
        Mistake(
            "Each token is held against top_p by itself; it is the sum of those that stay that "
            "counts.",
            lambda probs, p: probs.masked_fill(probs < p, 0.0)
            / probs.masked_fill(probs < p, 0.0).sum(dim=-1, keepdim=True),
        ),
        Mistake(
            "Each token is held against the most likely one: that is min-p, another cut.",
            lambda probs, p: probs.masked_fill(probs < p * probs.amax(-1, keepdim=True), 0.0)
            / probs.masked_fill(probs < p * probs.amax(-1, keepdim=True), 0.0).sum(-1, True),
        ),
        Mistake(
            "Where the sum is top_p to the dot one token too many stays: top_p is reached there.",
            _cut(over=lambda sums, each, p: sums - each > p),
        ),
        Mistake(
            "All that are as likely as the last one needed stay with it. Of equal ones no more "
            "stay than are needed.",
            _all_equals,
        ),
        Mistake(
            "The rows share one sum; each row is a distribution of its own.",
            _cut(over=lambda sums, each, p: (each.flatten().cumsum(0).view_as(each) - each) >= p),
        ),
        Mistake(
            "Nothing is dropped.",
            _cut(over=lambda sums, each, p: torch.zeros_like(sums, dtype=torch.bool)),
        ),
    ),
    right=(_cut(), _one_by_one, _last_of_equals),
    use=Cut(),
)  # fmt: skip

TASKS = (ONLY_TOP_K, KEEP_TOP_P)

"""Exercises of chapter 2: counting pairs, and the loss of a prediction."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F

from gptlib.bigram import count_bigrams
from gptlib.exercises import (
    bigram_floors,
    bigram_graph,
    bigram_models,
    bigram_paper,
    bigram_slopes,
    bigram_tables,
    bigram_training,
)
from gptlib.exercises.slopes import CUT, WithSlopes
from gptlib.exercises.task import Mistake, Task
from gptlib.loss import next_token_loss

Tensor = torch.Tensor


def texts(seed: int) -> Iterator[tuple[Any, ...]]:
    """Rows of ids: a short one in which each mistake shows, then longer ones."""
    yield torch.tensor([0, 1, 1, 2, 0, 1, 2]), 3
    yield torch.tensor([1, 1]), 2
    draw = torch.Generator().manual_seed(seed)
    yield torch.randint(5, (200,), generator=draw), 5


def _table(first: Tensor, then: Tensor, V: int) -> Tensor:
    return torch.bincount(first * V + then, minlength=V * V).view(V, V)


COUNT_BIGRAMS = Task(
    name="bigram.count_bigrams",
    asks="Count how often each token (row) is followed by each other one (column).",
    reference=count_bigrams,
    inputs=texts,
    hints=(
        "A text of N tokens has how many pairs of neighbours?",
        "A table of zeros (V, V), and for each pair one more at [token, token after it].",
        "for a, b in zip(ids[:-1], ids[1:]): counts[a, b] += 1, counts of whole numbers.",
    ),
    mistakes=(
        Mistake(
            "Rows and columns have changed places: a row is the token that comes first.",
            lambda ids, V: _table(ids[1:], ids[:-1], V),
        ),
        Mistake(
            "The last token is followed by the first: the text is no ring.",
            lambda ids, V: _table(ids, ids.roll(-1), V),
        ),
        Mistake(
            "Each pair is counted in both directions.",
            lambda ids, V: _table(ids[:-1], ids[1:], V) + _table(ids[1:], ids[:-1], V),
        ),
        Mistake(
            "The last pair is left out.",
            lambda ids, V: _table(ids[:-2], ids[1:-1], V),
        ),
        Mistake(
            "A pair that comes again is not counted again.",
            lambda ids, V: _table(ids[:-1], ids[1:], V).clamp(max=1),
        ),
        Mistake(
            "All rows are one and the same list, as [row] * V makes them: what is counted in one "
            "is counted in all.",
            lambda ids, V: torch.bincount(ids[1:], minlength=V).expand(V, V),
        ),
        Mistake(
            "The pairs do not overlap; each token but the last begins one.",
            lambda ids, V: _table(ids[:-1][::2], ids[1:][::2], V),
        ),
        Mistake(
            "These are shares of a row; counts are asked for.",
            lambda ids, V: F.normalize(_table(ids[:-1], ids[1:], V).float(), p=1, dim=1),
        ),
        Mistake(
            "These are single tokens; pairs are asked for.",
            lambda ids, V: torch.bincount(ids, minlength=V),
        ),
    ),
    right=(
        lambda ids, V: F.one_hot(ids[:-1], V).T @ F.one_hot(ids[1:], V),
        lambda ids, V: torch.zeros(V, V, dtype=torch.long).index_put(
            (ids[:-1], ids[1:]), torch.ones(len(ids) - 1, dtype=torch.long), accumulate=True
        ),
    ),
)


def predictions(seed: int) -> Iterator[tuple[Any, ...]]:
    """Logits and targets, some of which do not count (-1); the last in double precision."""
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 2, generator=draw)
    yield logits, torch.tensor([[0, 1, -1], [1, 0, 1]])
    yield torch.zeros(1, 2, 4), torch.tensor([[3, 0]])
    yield torch.randn(4, 5, 7, generator=draw) * 5, torch.randint(7, (4, 5), generator=draw)
    logits = torch.randn(2, 3, 5, generator=draw, dtype=torch.float64)
    yield logits, torch.randint(5, (2, 3), generator=draw)


def _of_each(logits: Tensor, targets: Tensor, dim: int = -1) -> Tensor:
    """Minus the logarithm of what each target was given: (B, T)."""
    return -logits.log_softmax(dim=dim).gather(-1, targets.clamp(min=0)[..., None])[..., 0]


def _rows(logits: Tensor) -> Tensor:
    """The logarithms of the probabilities, one row a place: (B * T, V)."""
    return logits.log_softmax(dim=-1).flatten(0, 1)


OWN = (
    "Of each place take the entry of its own target: gather, or, with one row a place, "
    "log_probs[torch.arange(N), targets]."
)


def _sum_cut(logits: Tensor) -> Tensor:
    """0 for each place, which takes the slope of the softmax's sum away."""
    whole = logits.logsumexp(-1)
    return whole.detach() - whole


def _mean(each: Tensor, targets: Tensor) -> Tensor:
    return each[targets != -1].mean()


NEXT_TOKEN_LOSS = Task(
    name="bigram.next_token_loss",
    asks="The mean of minus the logarithm of what the right tokens were given; -1 does not count.",
    reference=next_token_loss,
    inputs=predictions,
    devices_later=True,
    use=WithSlopes("logits"),
    hints=(
        "What probability did the model give to the token that came? And what does it cost?",
        "log_softmax over the last axis, of that the entry of the target, minus, and the mean over "
        "the places whose target is not -1.",
        "F.cross_entropy(logits.reshape(-1, V), targets.reshape(-1), ignore_index=-1).",
    ),
    mistakes=(
        Mistake(
            "This is the sum; the mean is asked for.",
            lambda z, t: F.cross_entropy(
                z.flatten(0, 1), t.flatten(), ignore_index=-1, reduction="sum"
            ),
        ),
        Mistake(
            "The places with target -1 are left out of the sum and still counted in the mean.",
            lambda z, t: _of_each(z, t).masked_fill(t == -1, 0.0).mean(),
        ),
        Mistake(
            "A target of -1 is taken for the last token; it means that the place does not count.",
            lambda z, t: _of_each(z, t % z.size(-1)).mean(),
        ),
        Mistake(
            "A target of -1 is taken for token 0; it means that the place does not count.",
            lambda z, t: _of_each(z, t).mean(),
        ),
        Mistake(
            "The minus is missing: a loss is not negative.", lambda z, t: -_mean(_of_each(z, t), t)
        ),
        Mistake(
            "These are bits; nats are asked for, the natural logarithm.",
            lambda z, t: _mean(_of_each(z, t), t) / math.log(2),
        ),
        Mistake(
            "The logarithm is missing: this is minus the mean probability.",
            lambda z, t: -_mean((-_of_each(z, t)).exp(), t),
        ),
        Mistake(
            "The mean is taken of the probabilities, and then its logarithm. Each place has a "
            "surprise of its own; their mean is asked for.",
            lambda z, t: -_mean((-_of_each(z, t)).exp(), t).log(),
        ),
        Mistake(
            "All tokens count, whichever was right: of each place take the entry of its target.",
            lambda z, t: _mean(-z.log_softmax(dim=-1), t),
        ),
        Mistake(
            f"Each place is given the entries of all targets, as log_probs[:, targets] does. {OWN}",
            lambda z, t: -_rows(z)[t.flatten() != -1][:, t.flatten()].mean(),
        ),
        Mistake(
            "Each place that counts is given the entries of all targets that count, as "
            f"log_probs[:, targets] does. {OWN}",
            lambda z, t: -_rows(z)[t.flatten() != -1][:, t[t != -1]].mean(),
        ),
        Mistake(
            "Each place, those of -1 as well, is given the entries of all targets, as "
            f"log_probs[:, targets] does. {OWN}",
            lambda z, t: -_rows(z)[:, t.flatten()].mean(),
        ),
        Mistake(
            "The targets have picked places: log_probs[targets] takes row 0 for token 0, and that "
            f"is what was said at place 0. {OWN}",
            lambda z, t: -_rows(z)[t[t != -1]].mean(),
        ),
        Mistake(
            "The targets have picked texts: log_probs[targets] takes text 0 of the batch for token "
            f"0. {OWN}",
            lambda z, t: -z.log_softmax(dim=-1)[t[t != -1]].mean(),
        ),
        Mistake(
            "The targets have picked places of every text: log_probs[:, targets] looks along the "
            f"second axis. {OWN}",
            lambda z, t: -z.log_softmax(dim=-1)[:, t].mean(),
        ),
        Mistake(
            "cross_entropy looks for the tokens on the second axis, where the places stand: it "
            "wants one row a place, logits (B*T, V) and targets (B*T).",
            lambda z, t: F.cross_entropy(z, t),
        ),
        Mistake(
            "cross_entropy takes a target of -1 for a token, if it is not told to leave it out: "
            "ignore_index=-1.",
            lambda z, t: F.cross_entropy(z.flatten(0, 1), t.flatten()),
        ),
        Mistake(
            "The softmax is taken twice: cross_entropy takes one itself.",
            lambda z, t: _mean(_of_each(z.softmax(dim=-1), t), t),
        ),
        Mistake(
            "The softmax runs over the places; it belongs over the tokens, the last axis.",
            lambda z, t: _mean(_of_each(z, t, dim=1), t),
        ),
        Mistake(
            "The targets are moved by one place: they have been moved already.",
            lambda z, t: F.cross_entropy(
                z[:, :-1].flatten(0, 1), t[:, 1:].flatten(), ignore_index=-1
            ),
        ),
        Mistake(
            "One number for each place; their mean is asked for.",
            lambda z, t: _of_each(z, t).masked_fill(t == -1, 0.0),
        ),
        Mistake(
            "The mean is taken over the texts of the batch alone, axis 0: a number for each place "
            "is left. One mean over both axes is asked for.",
            lambda z, t: _of_each(z, t).masked_fill(t == -1, 0.0).mean(0),
        ),
        Mistake(
            "The mean is taken over the places of each text alone, axis 1: a number for each text "
            "is left. One mean over both axes is asked for.",
            lambda z, t: _of_each(z, t).masked_fill(t == -1, 0.0).mean(1),
        ),
        Mistake(
            "The mean runs over the tokens of the vocabulary as well, and is V times too small: at "
            "each place one of them counts.",
            lambda z, t: _mean(_of_each(z, t), t) / z.size(-1),
        ),
        Mistake(
            "The number is right, and the gradient is another one: what the softmax divides by is "
            "cut off. Then no gradient pushes the wrong tokens down.",
            lambda z, t: next_token_loss(z, t) + _mean(_sum_cut(z), t),
        ),
        Mistake(CUT, lambda z, t: next_token_loss(z, t).detach()),
    ),
    right=(
        lambda z, t: _mean(_of_each(z, t), t),
        lambda z, t: (z.logsumexp(-1) - (z * F.one_hot(t.clamp(min=0), z.size(-1))).sum(-1))[
            t >= 0
        ].mean(),
    ),
)

TASKS = (
    COUNT_BIGRAMS,
    NEXT_TOKEN_LOSS,
    *bigram_tables.TASKS,
    *bigram_floors.TASKS,
    *bigram_graph.TASKS,
    *bigram_models.TASKS,
    *bigram_training.TASKS,
)
QUESTIONS = bigram_paper.QUESTIONS + bigram_slopes.QUESTIONS

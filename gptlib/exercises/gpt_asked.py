"""Questions of chapter 6 that are answered on paper, and one that is measured."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from math import log, sqrt
from random import Random
from typing import Any

import torch

from gptlib.exercises.question import Question
from gptlib.exercises.task import Mistake
from gptlib.gpt import GPT, GPTConfig, training_memory


def _tiny(seed: int) -> dict[str, int]:
    if seed == 0:
        return {"V": 1000, "T": 32, "C": 16, "L": 2}
    draw = Random(seed)
    sizes = {"V": 100 * draw.randrange(2, 40), "T": draw.choice((16, 32, 64))}
    return {**sizes, "C": draw.choice((8, 12, 24)), "L": draw.randrange(2, 6)}


COUNT = Question(
    name="gpt.count",
    asks="How many parameters has a GPT with a vocabulary of {V}, context {T}, width {C}, {L} "
    "layers, all biases and a tied head?",
    figures=_tiny,
    answer=lambda V, T, C, L: (V + T) * C + L * (12 * C**2 + 13 * C) + 2 * C,
    hints=(
        "Which parts stand around the blocks?",
        "Blocks: 12 · L · C² + 13 · L · C. The last norm: 2 · C. Two tables.",
        "(V + T) · C + 12 · L · C² + 13 · L · C + 2 · C",
    ),
    mistakes=(
        Mistake(
            "The head is counted as well; it is tied, its numbers are the token table's.",
            lambda V, T, C, L: (2 * V + T) * C + L * (12 * C**2 + 13 * C) + 2 * C,
        ),
        Mistake(
            "The table of the places is missing.",
            lambda V, T, C, L: V * C + L * (12 * C**2 + 13 * C) + 2 * C,
        ),
        Mistake(
            "The last norm is missing.",
            lambda V, T, C, L: (V + T) * C + L * (12 * C**2 + 13 * C),
        ),
        Mistake("Biases and norms are missing.", lambda V, T, C, L: (V + T) * C + L * 12 * C**2),
        Mistake(
            "The two tables are missing.",
            lambda V, T, C, L: L * (12 * C**2 + 13 * C) + 2 * C,
        ),
        Mistake(
            "There is one block in this sum.",
            lambda V, T, C, L: (V + T) * C + 12 * C**2 + 13 * C + 2 * C,
        ),
    ),
    because="Any number of heads that divides the width has as many.",
)


def _log(seed: int) -> dict[str, Any]:
    draw = Random(seed)
    more, V = draw.choice((0.08, 0.32, 0.7)), draw.choice((512, 1536, 32000))
    return {"more": 0.17, "V": 50257} if seed == 0 else {"more": more, "V": V}


FIRST_LINE = Question(
    name="gpt.first_line",
    asks="A log begins with a loss that is {more} above ln {V}, {V} being the size of the "
    "vocabulary. How far do the logits spread? To two places.",
    figures=_log,
    answer=lambda more, V: sqrt(2 * more),
    within=0.03,
    places=2,
    hints=(
        "What would the loss be if all logits were equal? What costs the rest?",
        "The surplus over ln V is half the variance of the logits. How far they spread is the root "
        "of the variance.",
        "sqrt(2 · (loss - ln V))",
    ),
    mistakes=(
        Mistake("This is the surplus over ln V: half the variance.", lambda more, V: more),
        Mistake(
            "This is the variance. How far the logits spread is its root.", lambda more, V: 2 * more
        ),
        Mistake(
            "The surplus is half the variance; double it before you take the root.",
            lambda more, V: sqrt(more),
        ),
        Mistake(
            "ln V is what knowing nothing costs, and has to be taken away before.",
            lambda more, V: sqrt(2 * (more + log(V))),
        ),
    ),
    because="Preferences that come from nowhere cost half their variance.",
)


def _fits(gigabytes: float, context_length: int, part: str = "", bytes_per_value: int = 4) -> int:
    """The largest batch of GPT-2 medium that fits, one part of the memory forgotten."""
    config = GPTConfig.preset("gpt2-medium", context_length=context_length)
    needed = [training_memory(config, batch, bytes_per_value) for batch in (1, 2)]
    one, two = (sum(n for name, n in parts.items() if name != part) for parts in needed)
    return int((gigabytes * 1e9 - (2 * one - two)) // (two - one))


FITS = Question(
    name="gpt.fits",
    asks="You have {gigabytes} GB of 10⁹ bytes. What is the largest batch with which GPT-2 medium "
    "can be trained in float32, at the full context of 1024, and with contexts of 256?",
    figures=lambda seed: {"gigabytes": (8, 12, 16, 24, 40)[seed % 5]},
    answer=lambda gigabytes: (_fits(gigabytes, 1024), _fits(gigabytes, 256)),
    hints=(
        "Which of the four parts of the memory grow with the batch?",
        "training_memory(config, batch_size) gives the four; their sum has to fit. The context is "
        'a setting: GPTConfig.preset("gpt2-medium", context_length=256).',
        "max(b for b in range(1, 500) if sum(training_memory(c, b).values()) <= memory), for each "
        "of the two configurations.",
    ),
    mistakes=(
        Mistake(
            "AdamW's two averages are missing: they take twice as much as the weights.",
            lambda gigabytes: (
                _fits(gigabytes, 1024, "optimizer"),
                _fits(gigabytes, 256, "optimizer"),
            ),
        ),
        Mistake(
            "A value is counted as two bytes; float32 has four.",
            lambda gigabytes: (
                _fits(gigabytes, 1024, bytes_per_value=2),
                _fits(gigabytes, 256, bytes_per_value=2),
            ),
        ),
        Mistake(
            "The context has not been changed for the second: a short text takes less room.",
            lambda gigabytes: (_fits(gigabytes, 1024), _fits(gigabytes, 1024)),
        ),
        Mistake(
            "The two have changed places.",
            lambda gigabytes: (_fits(gigabytes, 256), _fits(gigabytes, 1024)),
        ),
        Mistake(
            "These are texts one too many: their sum does not fit any more.",
            lambda gigabytes: (_fits(gigabytes, 1024) + 1, _fits(gigabytes, 256) + 1),
        ),
    ),
    because="What weights, gradients and averages leave is room for a number of tokens, in "
    "whatever pieces.",
)


def _batches(seed: int) -> dict[str, Any]:
    T, other = 64 - seed % 28, 8 + seed % 28
    batches = [1, T, other]
    if seed:
        Random(seed).shuffle(batches)
    return {"T": T, "batches": tuple(batches)}


def _become(one: str, equal: str, other: str) -> Callable[..., tuple[str, ...]]:
    """What becomes of each batch: of one text, of as many as tokens, of any other number."""
    return lambda T, batches: tuple({1: one, T: equal}.get(B, other) for B in batches)


LOST = Question(
    name="gpt.lost",
    asks="Positions by torch.arange(idx.size(0)), texts of {T} tokens: what becomes of batches of "
    "{batches} texts? Say right, wrong or error for each.",
    figures=_batches,
    answer=_become("wrong", "right", "error"),
    hints=(
        "Which shape has the result of that position table for each batch?",
        "It is (B, C), to be added to (B, T, C). Broadcasting compares axes from the right: when "
        "does B fit T?",
        "1 fits anything, and means one row for all places; B = T fits by luck; the rest does not.",
    ),
    mistakes=(
        Mistake(
            "A batch of one runs. But its one row of positions, that of place 0, is added to every "
            "token.",
            _become("right", "right", "error"),
        ),
        Mistake(
            "A batch of one does not raise an error: an axis of size 1 is stretched to any size.",
            _become("error", "right", "error"),
        ),
        Mistake(
            "B rows cannot be added to T tokens where the two numbers differ and none is 1.",
            _become("wrong", "right", "wrong"),
        ),
        Mistake(
            "With as many texts as tokens the rows are 0 to T - 1, which are the right ones.",
            _become("wrong", "wrong", "error"),
        ),
    ),
    because="Bugs that depend on a size being 1 are why tests should use sizes that all differ.",
)


def _read(seed: int) -> dict[str, Any]:
    draw = Random(seed)
    V = 20 + seed % 100
    idx = (3, 7, 7, 1, 3, 2, 5, 7) if seed == 0 else tuple(draw.choices(range(7), k=8))
    return {"V": V, "idx": idx}


MOVED = Question(
    name="gpt.moved",
    asks="A vocabulary of {V}; the tokens read are {idx}. How many rows of the token table get a "
    "gradient that is not 0, in a tied model and in one that is not?",
    figures=_read,
    answer=lambda V, idx: (V, len(set(idx))),
    hints=(
        "In how many ways can a row of the table reach the loss?",
        "As an input a row is reached where its token is read. As a head, each row makes a logit, "
        "and the softmax gives every logit a share.",
        "Tied: every row, by the head. Untied: each token that was read, counted once.",
    ),
    mistakes=(
        Mistake(
            "The two have changed places: it is the head that reaches every row.",
            lambda V, idx: (len(set(idx)), V),
        ),
        Mistake(
            "In a tied model the table is the head, too, and the softmax pushes every logit.",
            lambda V, idx: (len(set(idx)), len(set(idx))),
        ),
        Mistake(
            "In a model that is not tied a row is reached where its token is read, and nowhere "
            "else.",
            lambda V, idx: (V, V),
        ),
        Mistake(
            "A token that is read twice has one row, which gets both gradients.",
            lambda V, idx: (V, len(idx)),
        ),
    ),
    because="So in a tied model the row of a rare token moves at every step.",
)


def _shapes(seed: int) -> dict[str, int]:
    if seed == 0:
        return {"B": 8, "T": 32, "C": 48, "V": 500}
    draw = Random(seed)
    return {
        "B": 2 + seed % 20,
        "T": 30 + seed % 20,
        "C": 12 * draw.randrange(5, 9),
        "V": 400 + seed % 100,
    }


SHAPES = Question(
    name="gpt.shapes",
    asks="{B} texts of {T} tokens, width {C}, vocabulary {V}: the shapes after the tables, after "
    "a block, and of the logits.",
    figures=_shapes,
    answer=lambda B, T, C, V: ((B, T, C), (B, T, C), (B, T, V)),
    hints=(
        "What does a table make of one id? What does a block change about the shape?",
        "An id becomes C numbers. A block adds to them. The head gives a logit for each token of "
        "the vocabulary, at every place.",
        "(B, T, C) twice, then (B, T, V), with the numbers.",
    ),
    mistakes=(
        Mistake(
            "There is a guess at every place, and not at the last alone.",
            lambda B, T, C, V: ((B, T, C), (B, T, C), (B, V)),
        ),
        Mistake(
            "The tables keep the texts apart: the places are added to each of them.",
            lambda B, T, C, V: ((T, C), (T, C), (T, V)),
        ),
        Mistake(
            "The numbers of a token stand on the last axis.",
            lambda B, T, C, V: ((B, C, T), (B, C, T), (B, V, T)),
        ),
        Mistake(
            "A block is wider inside, and hands back as many numbers as it got: it adds them.",
            lambda B, T, C, V: ((B, T, C), (B, T, 4 * C), (B, T, V)),
        ),
        Mistake(
            "The rows of two tables are added, not laid side by side.",
            lambda B, T, C, V: ((B, T, 2 * C), (B, T, 2 * C), (B, T, V)),
        ),
    ),
    because="The shape changes twice, on the way in and on the way out.",
)


@cache
def above_chance(scale: float) -> float:
    """How far above ln V a fresh, untied GPT starts whose head is scale times as loud; measured."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = GPT(GPTConfig.preset("stories", tied=False, init="torch"))
        model.head.weight *= scale
        V = model.config.vocab_size
        idx, targets = torch.randint(V, (2, 16, 64))
        return float(model(idx, targets)[1]) - log(V)


LOUD_HEAD = Question(
    name="gpt.loud_head",
    asks="torch.manual_seed(0), then a GPT of the preset stories with tied=False and "
    'init="torch", its head.weight.data multiplied by {scale}, then idx, targets = '
    "torch.randint(V, (2, 16, 64)): how far above ln V is the loss on these random tokens, before "
    "any training? In nats, to two places.",
    figures=lambda seed: {"scale": 2.0 + 0.25 * (seed % 9)},
    answer=above_chance,
    within=0.05,
    places=2,
    hints=(
        "With its head as it is, such a model starts about 0.17 above ln V. What do you expect of "
        "one whose logits are twice as far apart: as much, twice as much, more?",
        "Multiply in place, head.weight.data *= ..., and ask the model for both. What is the "
        "loss of a model whose logits are all equal?",
        "model(idx, targets)[1].item() - math.log(V), with V the vocabulary's size.",
    ),
    mistakes=(
        Mistake(
            "This is as if the surplus grew with the head. It is half the variance of the logits, "
            "and a variance grows with the square.",
            lambda scale: scale * above_chance(1.0),
        ),
        Mistake(
            "This is the surplus of the head as it was made. Was it multiplied before the loss?",
            lambda scale: above_chance(1.0),
        ),
        Mistake(
            "This is the loss. How far it stands above ln V is asked for.",
            lambda scale: above_chance(scale) + log(1536),
        ),
        Mistake(
            "The sign is the other way round: a model that is loud and knows nothing does worse "
            "than one that says so.",
            lambda scale: -above_chance(scale),
        ),
        Mistake(
            "These are bits; nats are asked for, the natural logarithm.",
            lambda scale: above_chance(scale) / log(2),
        ),
    ),
    because="Twice as loud costs about four times as much: half the variance of the logits.",
    kind="measurement",
)

QUESTIONS = (COUNT, FIRST_LINE, FITS, LOST, MOVED, SHAPES, LOUD_HEAD)

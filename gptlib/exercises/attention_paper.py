"""Questions of chapter 3, to be worked out on paper or measured."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch

from gptlib.exercises.question import Question
from gptlib.exercises.task import Mistake


def _weights(odds: float) -> tuple[float, ...]:
    return odds / (odds + 1), odds / (odds + 1), odds**2 / (odds**2 + 1)


TWO_SCORES = Question(
    name="attention.two_scores",
    asks="The scores are ln {odds} and 0. What is the weight of the first key; what is it if both "
    "scores grow by 100; if both are doubled? Three numbers, to two places.",
    figures=lambda seed: {"odds": 3 + seed % 9},
    answer=_weights,
    within=0.01,
    places=2,
    hints=(
        "A softmax takes e to the power of each score. What is e to the power of ln 3, and of 0?",
        "The weight is e^first / (e^first + e^second). What do 100 more in both do to that?",
        "e^(2 ln 3) is 3 squared, and e^0 stays 1.",
    ),
    mistakes=(
        Mistake(
            "Look at the third number: twice the score is not twice its exponential. "
            "e^(2s) is e^s times e^s.",
            lambda odds: (*_weights(odds)[:2], 2 * odds / (2 * odds + 1)),
        ),
        Mistake(
            "Look at the second number: beside 100 the scores look alike, but their difference is "
            "what it was, and e^100 stands above and below the line.",
            lambda odds: (_weights(odds)[0], 0.5, _weights(odds)[2]),
        ),
        Mistake(
            "Look at the second number: 100 more in both leaves the difference as it was, so the "
            "first key wins no more than before.",
            lambda odds: (_weights(odds)[0], 1.0, _weights(odds)[2]),
        ),
        Mistake(
            "A score of 0 is not a weight of 0: e to the power of 0 is 1.",
            lambda odds: (1.0, 1.0, 1.0),
        ),
        Mistake(
            "These are the weights of the other key.",
            lambda odds: tuple(1 - weight for weight in _weights(odds)),
        ),
        Mistake(
            "The scores are divided by their sum as they are. A softmax takes the exponential of "
            "each before that.",
            lambda odds: (1.0, (math.log(odds) + 100) / (math.log(odds) + 200), 1.0),
        ),
    ),
    because="Only differences of scores count, and their size decides how sharp the softmax is.",
)

SIZES = ((768, 12, 1024), (1024, 16, 1024), (1280, 20, 1024), (1600, 25, 1024))


def _size(seed: int) -> dict[str, Any]:
    n_embd, n_head, context_length = SIZES[seed % 4]
    return {"n_embd": n_embd, "n_head": n_head, "context_length": context_length >> seed // 4 % 5}


LAYER_COUNT = Question(
    name="attention.layer_count",
    asks="n_embd is {n_embd}, n_head is {n_head}, context_length is {context_length}. How many "
    "weights has an attention layer without biases, and how many numbers hold its tables of "
    "attention weights for one text of full length? Two whole numbers.",
    figures=_size,
    answer=lambda n_embd, n_head, context_length: (4 * n_embd**2, n_head * context_length**2),
    hints=(
        "Which matrices has a layer, all heads taken together? And how many tables?",
        "Queries, keys, values and the projection are C × C each. Each head has a table of T × T.",
        "4 · C · C weights, and n_head · T · T numbers in the tables.",
    ),
    mistakes=(
        Mistake(
            "Three matrices are counted: the projection, which combines the heads, is missing.",
            lambda n_embd, n_head, context_length: (3 * n_embd**2, n_head * context_length**2),
        ),
        Mistake(
            "Each head is counted with matrices as wide as the layer. A head has C / n_head "
            "numbers, and together they have C.",
            lambda n_embd, n_head, context_length: (
                (3 * n_head + 1) * n_embd**2,
                n_head * context_length**2,
            ),
        ),
        Mistake(
            "The biases are counted, too: the question leaves them out.",
            lambda n_embd, n_head, context_length: (
                4 * n_embd**2 + 4 * n_embd,
                n_head * context_length**2,
            ),
        ),
        Mistake(
            "This is one table. Each head has a table of its own.",
            lambda n_embd, n_head, context_length: (4 * n_embd**2, context_length**2),
        ),
        Mistake(
            "The cells that the mask hides are left out of the tables. They hold the weight 0, and "
            "a zero takes as much room as another number.",
            lambda n_embd, n_head, context_length: (
                4 * n_embd**2,
                n_head * context_length * (context_length + 1) // 2,
            ),
        ),
    ),
    because="The weights do not depend on the number of heads; the tables grow with the square of "
    "the length.",
)


def _shapes(B: int, T: int, C: int, n_head: int) -> tuple[tuple[int, ...], ...]:
    return (B, T, 3 * C), (B, n_head, T, C // n_head), (B, n_head, T, T), (B, T, C)


SHAPES = Question(
    name="attention.shapes",
    asks="x has B = {B}, T = {T}, C = {C}, and there are {n_head} heads. Which shapes have qkv(x), "
    "the queries by head, the table of weights, and what comes out? Four shapes in brackets.",
    figures=lambda seed: {
        "B": 8 + seed % 20, "T": 32 - seed % 20,
        "C": 12 * (5 + seed % 4), "n_head": 4 + 2 * (seed % 2),
    },
    answer=_shapes,
    hints=(
        "Which numbers does one token have after qkv, and which of them belong to one head?",
        "A head has C / n_head numbers a token. In its table, who stands in a row and who in a "
        "column?",
        "(B, T, 3·C), then (B, n_head, T, C / n_head), then T × T for each head, then x's shape.",
    ),
    mistakes=(
        Mistake(
            "Queries are still in the order (B, T, n_head, hs): for a table of its own, a head "
            "needs its tokens together, so its axis stands before time.",
            lambda B, T, C, n_head: (
                (B, T, 3 * C), (B, T, n_head, C // n_head), (B, n_head, T, T), (B, T, C),
            ),
        ),
        Mistake(
            "One table is there for all heads. Each head looks in its own way.",
            lambda B, T, C, n_head: (
                (B, T, 3 * C), (B, n_head, T, C // n_head), (B, T, T), (B, T, C),
            ),
        ),
        Mistake(
            "The table has the numbers of a head as its sides. Tokens look at tokens: both sides "
            "are T.",
            lambda B, T, C, n_head: (
                (B, T, 3 * C), (B, n_head, T, C // n_head),
                (B, n_head, C // n_head, C // n_head), (B, T, C),
            ),
        ),
        Mistake(
            "Each head is given all C numbers of a token. The heads share them out.",
            lambda B, T, C, n_head: (
                (B, T, 3 * C), (B, n_head, T, C), (B, n_head, T, T), (B, T, C),
            ),
        ),
        Mistake(
            "qkv makes three vectors of each token, a query, a key and a value: 3 · C numbers.",
            lambda B, T, C, n_head: (
                (B, T, C), (B, n_head, T, C // n_head), (B, n_head, T, T), (B, T, C),
            ),
        ),
        Mistake(
            "What comes out belongs to one head. The heads' findings stand side by side, and are "
            "as long together as the vector that came in.",
            lambda B, T, C, n_head: (
                (B, T, 3 * C), (B, n_head, T, C // n_head), (B, n_head, T, T),
                (B, T, C // n_head),
            ),
        ),
    ),
    because="Heads are an axis, and C numbers are shared out among them.",
)  # fmt: skip


@cache
def spread(d_k: int) -> float:
    """The standard deviation of 20,000 scores of random queries and keys."""
    draw = torch.Generator().manual_seed(0)
    queries, keys = torch.randn(2, 20_000, d_k, generator=draw)
    return (queries * keys).sum(dim=1).std().item()


SPREAD = Question(
    name="attention.spread",
    asks="Draw some thousand random queries and keys of {d_k} numbers each, and measure the "
    "spread (the standard deviation) of their scores. To one place.",
    figures=lambda seed: {"d_k": (10 + seed % 9) ** 2},
    answer=spread,
    within=0.04,
    places=1,
    hints=(
        "The chapter measures it for 1, 4, 16 and 64 numbers. What do those four have in common?",
        "torch.randn(2, 10_000, d_k) draws both. A score is a sum of products along one axis.",
        "(queries * keys).sum(dim=1).std(), which lies near the root of d_k.",
    ),
    mistakes=(
        Mistake(
            "This is near d_k itself: that is the variance of the scores. Their spread is its "
            "root.",
            lambda d_k: spread(d_k) ** 2,
        ),
        Mistake(
            "This is the spread after the division by √d_k, or of single products. The question "
            "is about the scores as they are.",
            lambda d_k: spread(d_k) / d_k**0.5,
        ),
        Mistake(
            "This is the mean of the scores, which lies near 0. How far do they lie from it?",
            lambda d_k: 0.0,
        ),
        Mistake(
            "This is the mean distance from 0. In a standard deviation the distances are squared, "
            "then averaged, then the root is taken, and far scores count more.",
            lambda d_k: spread(d_k) * math.sqrt(2 / math.pi),
        ),
        Mistake(
            "This is the spread of queries plus keys, added up. A score is a sum of products.",
            lambda d_k: spread(d_k) * math.sqrt(2),
        ),
    ),
    because="A sum of d_k such products typically lies about √d_k from zero: so the scores are "
    "divided by that.",
    kind="measurement",
)


def _share(strength: float, words: int, colours: int = 2) -> float:
    return math.exp(strength) / (colours * math.exp(strength) + words - colours)


TWO_COLOURS = Question(
    name="attention.two_colours",
    asks="Of {words} words two are colours. The query gives the score {strength} to a colour and 0 "
    "to every other word. Which weights do the two colours get? Two numbers, to two places.",
    figures=lambda seed: {
        "words": 15 + seed % 30,
        "strength": 4.0 if seed == 0 else 2 + 0.5 * (seed % 3),
    },
    answer=lambda words, strength: (_share(strength, words), _share(strength, words)),
    within=0.025,
    places=2,
    hints=(
        "Do the two colours differ in anything that the query can see?",
        "e^4 is about 54.6, and e^0 is 1. How many words of each kind are in the sum?",
        "e^4 / (2 · e^4 + 13) for each of the two.",
    ),
    mistakes=(
        Mistake(
            "The other words are left out. Each has the score 0, and so adds e^0 = 1 to the sum.",
            lambda words, strength: (0.5, 0.5),
        ),
        Mistake(
            "Each colour has been looked at as if it were the one colour of the text. The weights "
            "of a row sum to 1, so the two must share.",
            lambda words, strength: (_share(strength, words, 1), _share(strength, words, 1)),
        ),
        Mistake(
            "The colour that comes before gets all: but place plays no part in a score here.",
            lambda words, strength: (2 * _share(strength, words), 0.0),
        ),
        Mistake(
            "The colour that stands nearer gets all: but place plays no part in a score here.",
            lambda words, strength: (0.0, 2 * _share(strength, words)),
        ),
    ),
    because="Both have the same sign, so the mixture holds as much of one as of the other.",
)

QUESTIONS = (TWO_SCORES, LAYER_COUNT, SHAPES, SPREAD, TWO_COLOURS)

"""Questions of chapter 4, to be worked out on paper or measured."""

from __future__ import annotations

import statistics
from functools import cache
from typing import Any

import torch

from gptlib.exercises.question import Question
from gptlib.exercises.task import Mistake

ROWS = (
    (1, 2, 3), (1, 2, 6), (0, 3, 9), (2, 2, 8), (1, 5, 9),
    (4, 6, 14), (0, 1, 8), (3, 4, 11), (2, 7, 9), (5, 6, 13),
)  # fmt: skip


def _by_hand(row: tuple[int, ...]) -> tuple[float, float, float]:
    mean, var = statistics.fmean(row), statistics.pvariance(row)
    return mean, float(var), (max(row) - mean) / var**0.5


ROW_BY_HAND = Question(
    name="layers.row_by_hand",
    asks="The row is {row}. Its mean, its biased variance, and what its largest number becomes "
    "when the row is normalised without epsilon? Three numbers, to three places.",
    figures=lambda seed: {"row": ROWS[seed % len(ROWS)]},
    answer=_by_hand,
    within=0.002,
    places=3,
    hints=(
        "How far from the mean does each number lie? What is the mean of the squares of that?",
        "Biased: divided by three, the number of entries. And what is a number's size measured in?",
        "(largest - mean) / root of the variance.",
    ),
    mistakes=(
        Mistake(
            "The variance divides by two, one less than there are numbers. Here the row is all "
            "there is: it divides by three.",
            lambda row: (
                _by_hand(row)[0],
                float(statistics.variance(row)),
                (max(row) - _by_hand(row)[0]) / statistics.stdev(row),
            ),
        ),
        Mistake(
            "Look at the second number: it is the standard deviation, the root of the variance.",
            lambda row: (_by_hand(row)[0], _by_hand(row)[1] ** 0.5, _by_hand(row)[2]),
        ),
        Mistake(
            "Look at the third number: the distance from the mean is divided by the variance. The "
            "size of the row is the root of it.",
            lambda row: (
                *_by_hand(row)[:2], (max(row) - _by_hand(row)[0]) / _by_hand(row)[1],
            ),
        ),
        Mistake(
            "Look at the third number: the mean has not been taken away before the division.",
            lambda row: (*_by_hand(row)[:2], max(row) / _by_hand(row)[1] ** 0.5),
        ),
        Mistake(
            "Look at the second number: the squared distances are added up. Their mean is the "
            "variance.",
            lambda row: (
                _by_hand(row)[0],
                3 * _by_hand(row)[1],
                (max(row) - _by_hand(row)[0]) / (3 * _by_hand(row)[1]) ** 0.5,
            ),
        ),
        Mistake(
            "Look at the second number: these are the squares of the numbers themselves, averaged. "
            "A variance squares their distances from the mean.",
            lambda row: (
                _by_hand(row)[0], statistics.fmean(n * n for n in row), _by_hand(row)[2],
            ),
        ),
    ),
    because="The row balances around 0 now, and a typical number in it lies 1 away.",
)  # fmt: skip

SIZES = ((12, 768), (24, 1024), (36, 1280), (48, 1600), (6, 384), (8, 512), (4, 128), (16, 960))


def _counted(n_layer: int, C: int, **how: Any) -> tuple[int, int]:
    networks = n_layer * (how.get("matrices", 2) * 4 * C * C + how.get("biases", 5) * C)
    return networks, how.get("norms", 2 * n_layer + 1) * how.get("each", 2) * C


FEED_FORWARD_COUNT = Question(
    name="layers.feed_forward_count",
    asks="{n_layer} layers of width {C}, each with one feed-forward network and two norms, and one "
    "more norm at the end. How many parameters are in the networks, and how many in the norms? "
    "Two whole numbers.",
    figures=lambda seed: dict(zip(("n_layer", "C"), SIZES[seed % len(SIZES)], strict=True)),
    answer=_counted,
    hints=(
        "Draw one network with the shape of each matrix beside it. Which biases belong to it?",
        "C · 4C there and 4C · C back, biases of 4C and of C. A norm has a scale and a shift.",
        "n_layer · (8 · C² + 5 · C), and (2 · n_layer + 1) · 2 · C.",
    ),
    mistakes=(
        Mistake(
            "The biases of the networks are missing: each number that leaves a matrix has one.",
            lambda n_layer, C: _counted(n_layer, C, biases=0),
        ),
        Mistake(
            "One matrix of each network is counted: the way back to C numbers is missing.",
            lambda n_layer, C: _counted(n_layer, C, matrices=1),
        ),
        Mistake(
            "Each matrix is counted with a bias of 4 · C. The second gives C numbers.",
            lambda n_layer, C: _counted(n_layer, C, biases=8),
        ),
        Mistake(
            "These are the parameters of one network. There is one in every layer.",
            lambda n_layer, C: (_counted(1, C)[0], _counted(n_layer, C)[1]),
        ),
        Mistake(
            "The norm at the end is missing.",
            lambda n_layer, C: _counted(n_layer, C, norms=2 * n_layer),
        ),
        Mistake(
            "A norm has two parameters for each number: a scale and a shift.",
            lambda n_layer, C: _counted(n_layer, C, each=1),
        ),
        Mistake(
            "A norm is counted with one scale and one shift. Each of the C places has its own.",
            lambda n_layer, C: (_counted(n_layer, C)[0], (2 * n_layer + 1) * 2),
        ),
    ),
    because="In GPT-2 small the networks are nearly half of the model, and the norms 0.03 %.",
)


@cache
def gain_for(slope: float) -> float:
    """The gain at which a random matrix with this bend behind it keeps the size; measured."""
    draw = torch.Generator().manual_seed(0)
    squares = []
    for _ in range(30):  # the luck of one matrix is larger than the digits that are asked for
        x, weight = torch.randn(2, 256, 256, generator=draw)
        x = x @ weight / 256**0.5
        squares.append(torch.where(x > 0, x, slope * x).pow(2).mean().item())
    return statistics.fmean(squares) ** -0.5


BEND_GAIN = Question(
    name="layers.bend_gain",
    asks="Behind each random matrix of a stack stands a bend that multiplies negative numbers by "
    "{slope} and leaves the others. Which gain keeps the size, the root of the mean square? To "
    "two places.",
    figures=lambda seed: {"slope": round(0.0 if seed == 0 else 0.1 + 0.05 * (seed % 10), 2)},
    answer=gain_for,
    within=0.05,
    places=2,
    hints=(
        "Half of the numbers are negative. What does the bend do to the mean of their squares?",
        "Measure the size after one layer with a gain of 1, or after ten, and undo what it did.",
        "Of a mean square of 1, (1 + slope²) / 2 is left. The gain is the root of what undoes it.",
    ),
    mistakes=(
        Mistake(
            "This gain undoes the loss of squares, and a gain is squared along with the numbers: "
            "take its root.",
            lambda slope: gain_for(slope) ** 2,
        ),
        Mistake(
            "This is what is left of the size at a gain of 1. The gain is to make up for it.",
            lambda slope: 1 / gain_for(slope),
        ),
        Mistake(
            "This keeps the size where nothing bends. The bend makes the numbers smaller.",
            lambda slope: 1.0,
        ),
    ),
    because="Every bend has its own number; a norm spares you the table.",
    kind="measurement",
)

QUESTIONS = (ROW_BY_HAND, FEED_FORWARD_COUNT, BEND_GAIN)

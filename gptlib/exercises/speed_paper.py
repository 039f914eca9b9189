"""Questions of chapter 10: products on paper, hours of a GPU, a polynomial, and a rounding."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Any

import torch

from gptlib.exercises.question import Question
from gptlib.exercises.task import Mistake
from gptlib.int8 import quantise


def _sizes(seed: int) -> dict[str, Any]:
    if seed == 0:
        return {"rows": 1024, "n_in": 64, "n_out": 256}
    draw = Random(seed)
    n_in = 32 * draw.randrange(2, 30)
    rows = 128 * draw.randrange(2, 20)
    # As many rows as numbers, and to forget the matrix is to forget what comes out.
    return {"rows": rows + 128 * (rows == n_in), "n_in": n_in, "n_out": 3 * n_in}


def _moved(rows: int, n_in: int, n_out: int) -> int:
    return 4 * (rows * n_in + n_in * n_out + rows * n_out)


PRODUCT = Question(
    name="speed.product",
    asks="A product of {rows} rows of {n_in} numbers with a matrix of {n_in} by {n_out}, all of 32 "
    "bits. How many FLOPs does it take, and how many bytes are moved at least? Two whole numbers "
    "in brackets.",
    figures=_sizes,
    answer=lambda rows, n_in, n_out: (2 * rows * n_in * n_out, _moved(rows, n_in, n_out)),
    hints=(
        "How many numbers come out, and how many multiplications and additions does each take?",
        "Three things are moved: the rows, the matrix, and what comes out. A number of 32 bits has "
        "four bytes.",
        "2 · rows · n_in · n_out, and 4 · (rows · n_in + n_in · n_out + rows · n_out).",
    ),
    mistakes=(
        Mistake(
            "The multiplications alone are counted; each is followed by an addition.",
            lambda rows, n_in, n_out: (rows * n_in * n_out, _moved(rows, n_in, n_out)),
        ),
        Mistake(
            "These are numbers, and bytes are asked for: 32 bits are four of them.",
            lambda rows, n_in, n_out: (2 * rows * n_in * n_out, _moved(rows, n_in, n_out) // 4),
        ),
        Mistake(
            "What comes out is written to memory, too.",
            lambda rows, n_in, n_out: (
                2 * rows * n_in * n_out, 4 * (rows * n_in + n_in * n_out)
            ),
        ),
        Mistake(
            "The matrix is read as well, once.",
            lambda rows, n_in, n_out: (
                2 * rows * n_in * n_out, 4 * (rows * n_in + rows * n_out)
            ),
        ),
        Mistake(
            "The two have changed places: FLOPs first.",
            lambda rows, n_in, n_out: (_moved(rows, n_in, n_out), 2 * rows * n_in * n_out),
        ),
    ),
    because="Divided by one another they are the FLOPs a byte. The matrix is read once, however "
    "many rows there are, so more rows make a product denser.",
)  # fmt: skip


def _training(seed: int) -> dict[str, Any]:
    if seed == 0:
        return {"billions": 10, "per_token": 854_438_400, "tera": 700, "share": 50}
    draw = Random(seed)
    return {
        "billions": draw.randrange(2, 60),
        "per_token": 854_438_400,
        "tera": draw.choice((90, 300, 700)),
        "share": draw.randrange(20, 61, 5),
    }


def _hours(billions: int, per_token: int, tera: int, share: float) -> float:
    return billions * 1e9 * per_token / (tera * 1e12 * share / 100) / 3600


HOURS = Question(
    name="speed.hours",
    asks="GPT-2 small costs {per_token} FLOPs a token in training. It is to read {billions} "
    "billion tokens, on a GPU whose peak is {tera} TFLOP/s and of which it uses {share} per cent. "
    "How many hours does that take?",
    figures=_training,
    answer=_hours,
    within=0.01,
    hints=(
        "How many FLOPs are there to be done, and how many are done in a second?",
        "FLOPs: tokens times FLOPs a token. In a second: the peak times the share, a T being "
        "10 to the 12.",
        "billions · 1e9 · per_token / (tera · 1e12 · share / 100) are seconds; 3600 to an hour.",
    ),
    mistakes=(
        Mistake("These are seconds.", lambda **told: 3600 * _hours(**told)),
        Mistake("These are minutes.", lambda **told: 60 * _hours(**told)),
        Mistake("These are days.", lambda **told: _hours(**told) / 24),
        Mistake(
            "That is at the whole peak, which no training reaches.",
            lambda **told: _hours(**{**told, "share": 100}),
        ),
        Mistake(
            "The FLOPs a token are those of training already: forward and backward.",
            lambda **told: 3 * _hours(**told),
        ),
        Mistake(
            "This is the forward pass alone: a third.",
            lambda **told: _hours(**told) / 3,
        ),
    ),
    because="FLOPs over FLOPs a second. The share stands below: twice the share is half the bill.",
)


def _values(seed: int) -> dict[str, Any]:
    if seed == 0:
        return {"large": 12, "small": 5, "length": 13}
    return dict(
        zip(
            ("large", "small", "length"),
            Random(seed).choice(((15, 8, 17), (24, 7, 25), (21, 20, 29), (40, 9, 41))),
            strict=True,
        )
    )


def _step(s: float) -> float:
    return 1.5 * s - 0.5 * s**3


NEWTON_SCHULZ = Question(
    name="speed.newton_schulz",
    asks="A matrix has the singular values {large} and {small}, so its length is {length}. It is "
    "divided by that, and takes one step of s → 1.5 s − 0.5 s³. Which singular values has it then, "
    "the larger first? Two numbers in brackets, to three places.",
    figures=_values,
    answer=lambda large, small, length: (_step(large / length), _step(small / length)),
    within=0.002,
    hints=(
        "What are the two singular values after the division?",
        "The polynomial works on each of them by itself.",
        "s = large / length gives 1.5 * s - 0.5 * s**3, and the small one likewise.",
    ),
    mistakes=(
        Mistake(
            "That is before the step: divided by the length and no more.",
            lambda large, small, length: (large / length, small / length),
        ),
        Mistake(
            "The division is missing: the polynomial is made for values up to 1.",
            lambda large, small, length: (_step(large), _step(small)),
        ),
        Mistake(
            "The cube is added; it is taken away.",
            lambda large, small, length: tuple(
                1.5 * s + 0.5 * s**3 for s in (large / length, small / length)
            ),
        ),
        Mistake(
            "The two have changed places: the larger one first.",
            lambda large, small, length: (_step(small / length), _step(large / length)),
        ),
        Mistake(
            "That is two steps.",
            lambda large, small, length: (
                _step(_step(large / length)), _step(_step(small / length))
            ),
        ),
    ),
    because="Each step brings both nearer to 1, the smaller one by more.",
)  # fmt: skip


@cache
def _rounding() -> dict[str, float]:
    """Mean errors of 63 plain rows beside one that is a hundred times as large."""
    weight = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    weight[0] *= 100
    numbers, scale = quantise(weight)
    by_row = (numbers * scale[:, None] - weight).abs()
    one = weight.abs().amax() / 127
    as_one = ((weight / one).round() * one - weight).abs()
    return {
        "rows": (as_one[1:].mean() / by_row[1:].mean()).item(),
        "all": (as_one.mean() / by_row.mean()).item(),
        "largest": (as_one[1:].max() / by_row[1:].max()).item(),
        "size": (as_one[1:].mean() / weight[1:].abs().mean()).item(),
    }


ONE_SCALE = Question(
    name="speed.one_scale",
    asks="weight = torch.randn(64, 64, generator=torch.Generator().manual_seed(0)), and its first "
    "row is made a hundred times as large. Round it to int8 with one scale for the whole matrix, "
    "then with one for each row. How many times as large is the mean absolute error of the other "
    "63 rows?",
    figures=lambda seed: {},
    answer=lambda: _rounding()["rows"],
    within=0.02,
    kind="measurement",
    hints=(
        "With one scale: what is a whole step worth, beside a number of an ordinary row?",
        "The one scale is weight.abs().max() / 127. Round weight / scale, multiply back, and take "
        "the mean of the absolute differences of rows 1 to 63.",
        "Both errors as means over [1:], one divided by the other.",
    ),
    mistakes=(
        Mistake(
            "The large row is counted, too: it fares the same in both, and hides what happens to "
            "the others.",
            lambda: _rounding()["all"],
        ),
        Mistake(
            "These are the largest errors; the mean ones are asked for.",
            lambda: _rounding()["largest"],
        ),
        Mistake(
            "It stands upside down: the error with one scale comes above.",
            lambda: 1 / _rounding()["rows"],
        ),
        Mistake(
            "This compares the error with the numbers themselves.",
            lambda: _rounding()["size"],
        ),
    ),
    because="A step of the one scale is worth more than most ordinary numbers: five in six of them "
    "become 0.",
)

QUESTIONS = (PRODUCT, HOURS, NEWTON_SCHULZ, ONE_SCALE)

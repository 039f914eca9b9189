"""Exercises of chapter 10 that count: the share of a peak, and rows that make a product dense."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random
from typing import Any

from gptlib.exercises.task import Mistake, Task
from gptlib.gpt import GPTConfig, flops_per_token, total_parameters
from gptlib.roofline import share_of_peak


def runs(seed: int) -> Iterator[tuple[Any, ...]]:
    """GPT-2 small on a GPU; the book's model on a core; others."""
    draw = Random(seed)
    yield GPTConfig.preset("gpt2-small"), 400_000, 700e12
    yield GPTConfig.preset("stories"), 20_000, 60e9
    deep, wide = draw.randrange(2, 9), 32 * draw.randrange(1, 9)
    config = GPTConfig(500, 64, n_layer=deep, n_head=2, n_embd=wide)
    yield config, draw.randrange(10**3, 10**5), 1e12


SHARE_OF_PEAK = Task(
    name="speed.share_of_peak",
    asks="The FLOPs that a second of training needs, over those that the machine can do.",
    reference=share_of_peak,
    inputs=runs,
    kind="warm-up",
    hints=(
        "Chapter 6 counts what one token of training costs. How many of them are there in a "
        "second?",
        "FLOPs a token times tokens a second are FLOPs a second. So is the peak.",
        "flops_per_token(config) * tokens_per_second / peak",
    ),
    mistakes=(
        Mistake(
            "These are the FLOPs of the forward pass alone. Training goes back, too: three times "
            "as many.",
            lambda config, tps, peak: flops_per_token(config, training=False) * tps / peak,
        ),
        Mistake(
            "It stands upside down: the peak is what there is, and comes below.",
            lambda config, tps, peak: peak / (flops_per_token(config) * tps),
        ),
        Mistake(
            "This is in per cent. A share is at most 1.",
            lambda config, tps, peak: 100 * flops_per_token(config) * tps / peak,
        ),
        Mistake(
            "The rule of six FLOPs a weight leaves out attention, and counts tables in which a "
            "row is only looked up. flops_per_token has both right.",
            lambda config, tps, peak: 6 * total_parameters(config) * tps / peak,
        ),
        Mistake(
            "The context is counted once more: flops_per_token is for one token already.",
            lambda config, tps, peak: (
                flops_per_token(config) * config.context_length * tps / peak
            ),
        ),
    ),
    right=(
        lambda config, tps, peak: tps / (peak / flops_per_token(config)),
        lambda config, tokens_per_second, peak: (
            3 * flops_per_token(config, training=False) * tokens_per_second / peak
        ),
    ),
)  # fmt: skip


def rows_to_ridge(n_in: int, n_out: int, ridge: float, size: int = 4) -> int:
    """The fewest rows for which a product is bound by arithmetic; 0 where no number is enough.

    N rows of n_in numbers times a matrix (n_in, n_out); size: bytes a number; ridge: FLOPs a byte.

    rows_to_ridge(64, 512, 12.0) -> 42
    """
    moved = ridge * size * (n_in + n_out)  # what a row more costs, in FLOPs
    gained = 2 * n_in * n_out - moved
    return math.ceil(ridge * size * n_in * n_out / gained) if gained > 0 else 0


def products(seed: int) -> Iterator[tuple[Any, ...]]:
    """A block's product; one of 16 bits; one too small for ever; a square one; others; the edge.

    At the edge every row moves what it brings, to the FLOP; or one FLOP less.
    """
    draw = Random(seed)
    yield 64, 512, 12.0
    yield 64, 192, 12.0, 2
    yield 16, 16, 50.0
    yield 768, 768, 40.0
    yield 16 * draw.randrange(20, 60), 100, 3.0 + draw.random(), 4
    yield 16, 16, 4.0
    yield 16, 16, 3.9921875


def _rows(n_in: int, n_out: int, ridge: float, size: int = 4, **other: Any) -> int:
    """The same with other counts: FLOPs a weight, what is moved, how it is rounded."""
    flops = other.get("flops", 2)
    per_row = other.get("row", lambda i, o: i + o)(n_in, n_out)
    weight = other.get("weight", n_in * n_out)
    gained = flops * n_in * n_out - ridge * size * per_row
    if gained <= 0 and other.get("checked", True):
        return 0
    found = ridge * size * weight / gained
    return int(other.get("rounded", math.ceil)(found))


def _with(**other: Any) -> Any:
    return lambda n_in, n_out, ridge, size=4: _rows(n_in, n_out, ridge, size, **other)


ROWS_TO_RIDGE = Task(
    name="speed.rows_to_ridge",
    asks="The smallest number of rows for which FLOPs over bytes are at least `ridge`, or 0.",
    reference=rows_to_ridge,
    inputs=products,
    kind="stretch",
    hints=(
        "For N rows: how many FLOPs, and which three things are moved? Two of the three grow "
        "with N.",
        "2 · N · n_in · n_out FLOPs over size · (N · n_in + n_in · n_out + N · n_out) bytes is to "
        "be ridge or more. Bring what has an N to one side.",
        "N = ridge · size · n_in · n_out / (2 · n_in · n_out - ridge · size · (n_in + n_out)), "
        "rounded up. What if the lower part is not above 0?",
    ),
    mistakes=(
        Mistake(
            "A weight costs two FLOPs, a multiplication and an addition; one is counted.",
            _with(flops=1),
        ),
        Mistake(
            "What comes out is missing among what is moved: it is written, too.",
            _with(row=lambda i, o: i),
        ),
        Mistake(
            "What comes in is missing among what is moved.", _with(row=lambda i, o: o)
        ),
        Mistake(
            "It is rounded down: with so many rows the product is not there yet.",
            _with(rounded=math.floor),
        ),
        Mistake(
            "size is not looked at: with 16 bits a number half as many bytes are moved.",
            lambda n_in, n_out, ridge, size=4: rows_to_ridge(n_in, n_out, ridge),
        ),
        Mistake(
            "Here every row moves as much as it brings, or more, so no number of them is enough: "
            "the division gives a number below 0, or fails. That is to be 0.",
            _with(checked=False),
        ),
    ),
    right=(
        lambda n_in, n_out, ridge, size=4: next(
            (
                n
                for n in range(1, 20_000)
                if 2 * n * n_in * n_out >= ridge * size * (n * n_in + n_in * n_out + n * n_out)
            ),
            0,
        ),
        _with(),
    ),
)  # fmt: skip

TASKS = (SHARE_OF_PEAK, ROWS_TO_RIDGE)

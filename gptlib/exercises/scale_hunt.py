"""A bug hunt of chapter 11: which rows a rank reads in a step, so that none is read twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from gptlib.exercises.hunt import Hunt
from gptlib.exercises.task import Mistake, Task


def rows_of(step: int, rank: int, world_size: int, batch_size: int) -> list[int]:
    """The rows that a rank reads in a step; all ranks together read batch_size of them."""
    share = batch_size // world_size
    first = step * batch_size + rank * share
    return list(range(first, first + share))


def read_twice(step: int, rank: int, world_size: int, batch_size: int) -> list[int]:
    """The rows that a rank reads in a step; all ranks together read batch_size of them."""
    share = batch_size // world_size
    first = (step + rank) * share
    return list(range(first, first + share))


def all_the_same(step: int, rank: int, world_size: int, batch_size: int) -> list[int]:
    """The rows that a rank reads in a step; all ranks together read batch_size of them."""
    share = batch_size // world_size
    first = step * batch_size
    return list(range(first, first + share))


def too_many(step: int, rank: int, world_size: int, batch_size: int) -> list[int]:
    """The rows that a rank reads in a step; all ranks together read batch_size of them."""
    first = (step * world_size + rank) * batch_size
    return list(range(first, first + batch_size))


def steps(seed: int) -> Iterator[tuple[Any, ...]]:
    """The first and a later step of every rank of two; one rank alone; drawn ones."""
    for step, rank in ((0, 0), (0, 1), (1, 0), (1, 1)):
        yield step, rank, 2, 4
    yield 3, 0, 1, 2
    draw = Random(seed)
    yield draw.randrange(2, 9), 2, 3, 3 * draw.randrange(2, 5)


def _first(where: Callable[[int, int, int, int], int]) -> Callable[..., list[int]]:
    """The same from another first row."""

    def rows_of(step: int, rank: int, world_size: int, batch_size: int) -> list[int]:
        share = batch_size // world_size
        first = where(step, rank, share, batch_size)
        return list(range(first, first + share))

    return rows_of


ROWS_OF = Task(
    name="scale.rows_of",
    asks="With two ranks and four rows a step, which rows are read in step 0, and which in step 1? "
    "Write them down for both ranks.",
    reference=rows_of,
    bug=read_twice,
    inputs=steps,
    kind="bug",
    hints=(
        "Step 0: rank 0 reads rows 0 and 1, rank 1 rows 2 and 3. And in step 1?",
        "By how many rows does `first` move from one step to the next, and by how many should it?",
        "A step takes batch_size rows, all ranks together: first = step * batch_size + rank * "
        "share.",
    ),
    mistakes=(
        Mistake(
            "All ranks read the same rows. They compute the same gradient, and its mean is that "
            "gradient: the work of one, done by all.",
            all_the_same,
        ),
        Mistake(
            "Each rank reads batch_size rows. All together they read world_size times as many, "
            "which is another run.",
            too_many,
        ),
        Mistake(
            "The ranks' rows overlap: they are one row apart instead of a share.",
            _first(lambda step, rank, share, batch_size: step * batch_size + rank),
        ),
        Mistake(
            "Rows are skipped: each rank begins a whole batch behind the rank before it. It should "
            "be a share.",
            _first(lambda step, rank, share, batch_size: (step + rank) * batch_size),
        ),
        Mistake(
            "The last rank has come to read first.",
            lambda step, rank, world_size, batch_size: rows_of(
                step, world_size - 1 - rank, world_size, batch_size
            ),
        ),
    ),
    right=(
        _first(lambda step, rank, share, batch_size: step * batch_size + rank * share),
        lambda step, rank, world_size, batch_size: [
            row
            for row in range(step * batch_size, (step + 1) * batch_size)
            if (row - step * batch_size) // (batch_size // world_size) == rank
        ],
    ),
)

TASKS = (ROWS_OF,)
HUNTS = {
    "scale.rows_of": (
        Hunt(
            all_the_same,
            "Two ranks learn exactly as much as one that reads half a batch. Whose rows does each "
            "of them read?",
            (
                "What do rank 0 and rank 1 read in step 0?",
                "A name among the arguments is never used.",
                "first = step * batch_size + rank * share",
            ),
        ),
        Hunt(
            too_many,
            "With four ranks the text is used up four times as fast. How many rows does a rank "
            "read?",
            (
                "How many rows do all ranks together read in a step, and how many should they?",
                "batch_size is for all ranks together: a rank's share is batch_size // world_size.",
                "share = batch_size // world_size, and first = step * batch_size + rank * share.",
            ),
        ),
    )
}

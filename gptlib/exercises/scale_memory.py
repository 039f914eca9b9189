"""The exercises of chapter 11 about what each rank keeps, and who works when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from gptlib.exercises.comparing import shown
from gptlib.exercises.task import Mistake, Task, Use
from gptlib.parallel import bytes_kept

WORDS = ("nothing", "optimizer", "gradients", "weights")


class ByName(Use):
    """A function is called; a dictionary behind the rest holds what is passed by name."""

    def run(self, answer: Callable[..., Any], *given: Any) -> Any:
        last = given[-1]
        return answer(*given[:-1], **last) if isinstance(last, dict) else answer(*given)

    def shown(self, name: str, *given: Any) -> str:
        named = given[-1].items() if isinstance(given[-1], dict) else ()
        told = [shown(value) for value in given if not isinstance(value, dict)]
        return f"{name}({', '.join([*told, *(f'{key}={shown(one)}' for key, one in named)])})"


def kept(seed: int) -> Iterator[tuple[Any, ...]]:
    """The published example whole and in every way cut; one rank, said or not; drawn ones."""
    yield (7_500_000_000,)
    for word in WORDS[1:]:
        yield 7_500_000_000, 64, word
    yield 1_000_000, 1, "weights"
    yield 1_000_000, {"sharded": "weights"}
    draw = Random(seed)
    yield draw.randrange(1_000, 10_000), draw.randrange(2, 9), draw.choice(WORDS)


def _bytes(
    optimizer: int = 12,
    gradient: int = 2,
    weight: int = 2,
    cut: Callable[[int, int], bool] = lambda k, level: k <= level,
) -> Callable[..., float]:
    """The same with other sizes, or with other parts cut; part k of 1, 2, 3, as they are named."""

    def bytes_kept(parameters: int, world_size: int = 1, sharded: str = "nothing") -> float:
        level, total = WORDS.index(sharded), 0.0
        for k, size in enumerate((optimizer, gradient, weight), start=1):
            total += parameters * size / (world_size if cut(k, level) else 1)
        return total

    return bytes_kept


KEPT = Task(
    name="scale.bytes_kept",
    asks="The bytes that one rank keeps: 2 for a weight, 2 for its gradient, 12 for the "
    "optimiser, each over world_size where it is sharded.",
    reference=bytes_kept,
    inputs=kept,
    use=ByName(),
    hints=(
        "What does a model of a million parameters take if nothing is sharded?",
        '"gradients" means that the optimiser\'s numbers are sharded as well, "weights" that all '
        "three are.",
        "Three sums: parameters * 12 / (world_size if sharded is not \"nothing\" else 1), and so "
        "on for the 2 and the 2.",
    ),
    mistakes=(
        Mistake(
            "The optimiser gets 8 bytes: its two averages. The weights themselves in 32 bits, by "
            "which it moves, are missing.",
            _bytes(optimizer=8),
        ),
        Mistake(
            "Weights and gradients are counted in 32 bits; they are kept in 16.",
            _bytes(gradient=4, weight=4),
        ),
        Mistake(
            "All is divided by world_size, whatever is sharded. What is not sharded is kept whole "
            "by every rank.",
            _bytes(cut=lambda k, level: level > 0),
        ),
        Mistake(
            "Nothing is ever divided.",
            _bytes(cut=lambda k, level: False),
        ),
        Mistake(
            "The named part alone is cut. Each word includes those before it.",
            _bytes(cut=lambda k, level: k == level),
        ),
        Mistake(
            "The weights are kept whole even where they are sharded.",
            _bytes(cut=lambda k, level: k <= min(level, 2)),
        ),
    ),
    right=(
        _bytes(),
        lambda parameters, world_size=1, sharded="nothing": parameters * {
            "nothing": 16.0, "optimizer": 4 + 12 / world_size, "gradients": 2 + 14 / world_size,
            "weights": 16 / world_size,
        }[sharded],
    ),
)  # fmt: skip


def timetable(stages: int, pieces: int) -> list[list[int | None]]:
    """What each stage of a pipeline works on at each time, on the way forward; None: it waits."""
    return [
        [t - stage if 0 <= t - stage < pieces else None for t in range(stages + pieces - 1)]
        for stage in range(stages)
    ]


def pipelines(seed: int) -> Iterator[tuple[Any, ...]]:
    """The example; one stage; one piece; drawn ones."""
    yield 2, 3
    yield 1, 4
    yield 3, 1
    draw = Random(seed)
    yield draw.randrange(3, 6), draw.randrange(4, 8)


def _table(
    late: Callable[[int, int], int] = lambda stage, stages: stage,
    length: Callable[[int, int], int] = lambda stages, pieces: stages + pieces - 1,
    first: int = 0,
    wait: Any = None,
) -> Callable[[int, int], Any]:
    """The same with another delay, another length, other numbers, another word for waiting."""

    def timetable(stages: int, pieces: int) -> Any:
        rows = []
        for stage in range(stages):
            places = [t - late(stage, stages) for t in range(length(stages, pieces))]
            rows.append([p + first if 0 <= p < pieces else wait for p in places])
        return rows

    return timetable


def _filled(stages: int, pieces: int) -> list[list[int | None]]:
    rows: list[list[int | None]] = []
    for stage in range(stages):
        rows.append([None] * stage + list(range(pieces)) + [None] * (stages - 1 - stage))
    return rows


TIMETABLE = Task(
    name="scale.timetable",
    asks="A row for each stage, in it a place for each step of time: the number of the piece that "
    "the stage works on, from 0, or None.",
    reference=timetable,
    inputs=pipelines,
    kind="stretch",
    hints=(
        "When does stage 1 get piece 0? And stage s?",
        "At time t stage s works on piece t - s, if there is such a piece.",
        "The last stage is through at time stages + pieces - 1: that is the length of each row.",
    ),
    mistakes=(
        Mistake(
            "All stages begin at once. A stage waits until the one before it hands a piece on.",
            _table(late=lambda stage, stages: 0),
        ),
        Mistake(
            "The last stage begins. Pieces go in at stage 0.",
            _table(late=lambda stage, stages: stages - 1 - stage),
        ),
        Mistake(
            "The rows end too early: when stage 0 has its last piece, the others still work.",
            _table(length=lambda stages, pieces: pieces),
        ),
        Mistake(
            "There is a step too many at the end, in which nobody works.",
            _table(length=lambda stages, pieces: stages + pieces),
        ),
        Mistake(
            "Pieces are counted from 1; they count from 0.",
            _table(first=1),
        ),
        Mistake(
            "Who waits is marked by -1; None is asked for.",
            _table(wait=-1),
        ),
        Mistake(
            "Rows and columns have changed places: a row belongs to a stage.",
            lambda stages, pieces: [list(t) for t in zip(*timetable(stages, pieces), strict=True)],
        ),
    ),
    right=(_table(), _filled),
)  # fmt: skip

TASKS = (KEPT, TIMETABLE)

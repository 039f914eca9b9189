"""Exercises of appendix B: notes that are carried out, and in which corner a mask stands."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from gptlib.exercises.question import Question
from gptlib.exercises.task import Mistake, Task

Note = float | tuple[Any, ...]
NAMES = ("multiply", "add", "subtract", "exp")


def look(note: Note) -> float:
    """The number that a note stands for, its parts worked out before it.

    look(("add", ("multiply", 2.0, 3.0), 1.0)) -> 7.0
    """
    if not isinstance(note, tuple):
        return note
    name, *parts = note
    numbers = [look(part) for part in parts]
    if name == "exp":
        return math.exp(numbers[0])
    if name == "add":
        return numbers[0] + numbers[1]
    if name == "subtract":
        return numbers[0] - numbers[1]
    return numbers[0] * numbers[1]


def _notes(seed: int) -> Iterator[tuple[Note]]:
    """The note of the chapter, one whose other part is a note, a number, then deeper ones."""
    yield (("multiply", ("exp", 2.0), 3.0),)
    yield (("subtract", 7.0, ("add", 1.0, 2.0)),)
    yield (2.5,)
    draw = Random(seed)
    for name in NAMES:
        yield ((name, *(_deep(draw, 3) for _ in range(1 if name == "exp" else 2))),)


def _deep(draw: Random, depth: int) -> Note:
    """A note of notes; the numbers are small, and so are their exponentials."""
    if not depth:
        return draw.choice((-1.0, -0.5, 0.25, 0.5, 1.5))
    name = draw.choice(NAMES[:3])
    return (name, _deep(draw, depth - 1), _deep(draw, draw.randrange(depth)))


def _look(
    whole: Callable[[str, list[float]], float] | None = None,
    parts: Callable[[Callable[..., float], tuple[Any, ...]], list[Any]] | None = None,
    number: Callable[[Any], bool] = lambda note: not isinstance(note, tuple),
) -> Callable[[Note], float]:
    """The whole, with one part of it exchanged."""

    def carried(note: Any) -> Any:
        if number(note):
            return note
        name, *inside = note
        given = parts(carried, tuple(inside)) if parts else [carried(part) for part in inside]
        return (whole or _done)(name, given)

    return carried


def _done(name: str, n: list[float]) -> float:
    """What an operation makes of its numbers."""
    if name == "exp":
        return math.exp(n[0])
    return {"add": lambda: n[0] + n[1], "subtract": lambda: n[0] - n[1]}.get(
        name, lambda: n[0] * n[1]
    )()


LOOK = Task(
    name="port.look",
    asks="Carry out what is noted: give the number that a note stands for.",
    reference=look,
    inputs=_notes,
    kind="warm-up",
    hints=(
        "What must be known before a product can be worked out? What may each of its parts be?",
        "A number stands for itself. The parts of a note are numbers or notes, and the function "
        "that you are writing works both out.",
        "if not isinstance(note, tuple): return note. Then name, *parts = note, and numbers = "
        "[look(part) for part in parts]; what is left is a case for each name.",
    ),
    mistakes=(
        Mistake(
            "Of two parts the second may be a note as well.",
            _look(parts=lambda look, parts: [look(parts[0]), *parts[1:]]),
        ),
        Mistake(
            "The parts of a note may be notes themselves: work them out before it.",
            _look(parts=lambda look, parts: list(parts)),
        ),
        Mistake(
            "A number that is there already is no note. It stands for itself.",
            _look(number=lambda note: False),
        ),
        Mistake(
            "The two operations have changed places: `add` is a sum, `multiply` a product.",
            _look(
                whole=lambda name, n: _done(
                    {"add": "multiply", "multiply": "add"}.get(name, name), n
                )
            ),
        ),
        Mistake(
            "The subtraction runs the other way round: the second is taken from the first.",
            _look(whole=lambda name, n: n[1] - n[0] if name == "subtract" else _done(name, n)),
        ),
        Mistake(
            "`exp` is e to the power of its part, and not 2 or 10.",
            _look(whole=lambda name, n: 2 ** n[0] if name == "exp" else _done(name, n)),
        ),
    ),
    right=(
        _look(),
        lambda note: eval(_as_python(note), {"exp": math.exp}),
    ),
)


def _as_python(note: Note) -> str:
    """A note as an expression of Python."""
    if not isinstance(note, tuple):
        return f"({note})"
    signs = {"multiply": "*", "add": "+", "subtract": "-", "exp": "exp"}
    parts = [_as_python(part) for part in note[1:]]
    sign = signs[note[0]]
    return f"{sign}{parts[0]}" if note[0] == "exp" else f"({sign.join(parts)})"


def _corner(seed: int) -> dict[str, Any]:
    if seed == 0:
        return {"T": 1, "S": 5}
    draw = Random(seed)
    T = draw.randrange(1, 5)
    return {"T": T, "S": 2 * T + draw.randrange(2, 30)}


CORNER = Question(
    name="port.corner",
    asks="The keys of {S} tokens are there. The last of these tokens ask, so many: {T}. How many "
    "keys does the very last one see: in PyTorch with is_causal=True, and in MLX with "
    'mask="causal"? Two whole numbers.',
    figures=_corner,
    answer=lambda T, S: (T, S),
    hints=(
        "A causal mask is a triangle. With as many queries as keys it fits; with fewer queries it "
        "must be laid into a corner. How many are there?",
        "In PyTorch query number i sees the keys up to number i. In MLX the last query is the last "
        "token, and sees whatever came before it.",
        "Upper left: as many keys as there are queries. Lower right: all of them.",
    ),
    mistakes=(
        Mistake(
            "The two have changed places: it is MLX that lays the triangle into the lower right "
            "corner.",
            lambda T, S: (S, T),
        ),
        Mistake(
            "Look at the first number. PyTorch does not know that the queries are the last tokens: "
            "it lays the triangle into the upper left corner.",
            lambda T, S: (S, S),
        ),
        Mistake(
            "Look at the second number. MLX takes the queries for the last tokens: it lays the "
            "triangle into the lower right corner.",
            lambda T, S: (T, T),
        ),
        Mistake(
            "Look at the second number: a new token sees the new ones up to itself, too.",
            lambda T, S: (T, S - T),
        ),
        Mistake(
            "The diagonal belongs to the triangle: a token sees itself.",
            lambda T, S: (T - 1, S - 1),
        ),
    ),
    because="With as many queries as keys the two corners are one. A port without a cache works, "
    "and one with a cache does not.",
)

TASKS = (LOOK,)
QUESTIONS = (CORNER,)

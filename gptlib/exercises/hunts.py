"""Bug hunts with other bugs than the book's, so that a class can be dealt its own.

Given, not built. Each hunt has three bugs, and a seed deals one of them: seed 0 the one that the
book prints, seed 1 the second, seed 2 the third, seed 3 the book's again. What is asked for is the
same, and so are the mistakes that a check knows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from gptlib.exercises import (
    capstone_hunt,
    modern_late,
    modern_turned,
    scale_hunt,
    speed_clock,
)
from gptlib.exercises.hunt import Hunt
from gptlib.exercises.hunts_second import SECOND
from gptlib.exercises.hunts_third import THIRD
from gptlib.exercises.task import Task

Asked = TypeVar("Asked")

# Those of Part II stand beside their tasks.
_MODERN = {
    name: Hunt(*told) for part in (modern_turned, modern_late) for name, told in part.OTHERS.items()
}
# By the name of a task, its bugs beside the book's.
HUNTS = {name: (hunt, THIRD[name]) for name, hunt in (SECOND | _MODERN).items()}
HUNTS |= speed_clock.HUNTS | scale_hunt.HUNTS | capstone_hunt.HUNTS


def dealt(asked: Asked, seed: int) -> Asked:
    """A task with the bug that a seed deals; what is no bug hunt stays as it is.

    dealt("no task", 3) -> 'no task'
    """
    if not isinstance(asked, Task) or asked.name not in HUNTS:
        return asked
    others = HUNTS[asked.name]
    which = seed % (1 + len(others))
    if which == 0:
        return asked
    hunt = others[which - 1]
    return replace(asked, bug=hunt.bug, asks=hunt.asks, hints=hunt.hints)

"""A private folder of the instructor: what exercises are worth, and checks that nobody is handed.

points.toml        `"attention.causal_mask" = 4`, and `"attention.causal_mask.hidden" = 2`
*.py               HIDDEN = {"attention.causal_mask": inputs}, with inputs as a Task has them
everything else    is laid over a release
"""

from __future__ import annotations

import hashlib
import shutil
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gptlib.exercises import book
from gptlib.exercises.comparing import difference
from gptlib.exercises.task import Task
from instructor.inside import wire

PRIVATE = ("points.toml", "*.py", "__pycache__")  # of the folder itself: never in a release
SUFFIX = ".hidden"
Inputs = Callable[[int], Iterator[tuple[Any, ...]]]


@dataclass(frozen=True)
class Overlay:
    """What a folder says. hidden: tasks of the book with other inputs; digest: of their source."""

    points: dict[str, float] = field(default_factory=dict)
    hidden: tuple[Task, ...] = ()
    digest: str = ""


def column(task: Task) -> Task:
    """A hidden check as the tables show it: beside its exercise, with a name and points of its own.

    column(book.TASKS["attention.causal_mask"]).name -> 'attention.causal_mask.hidden'
    """
    return replace(task, name=task.name + SUFFIX, kind="hidden")


def read(folder: Path) -> Overlay:
    """What an overlay says. Errors: ValueError that names the file and what is wrong with it."""
    if not folder.is_dir():
        raise ValueError(f"an overlay must be a folder; {folder} is none.")
    hidden: dict[str, Task] = {}
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
        for name, inputs in _table(path).items():
            if name in hidden:
                raise ValueError(f"{path}: {name} has hidden inputs in another file, too.")
            hidden[name] = _hidden(path, name, inputs)
    file = folder / "points.toml"
    worth = points(file) if file.exists() else {}
    known = {*book.TASKS, *book.QUESTIONS, *(name + SUFFIX for name in hidden)}
    if unknown := sorted(set(worth) - known):
        raise ValueError(f"{file}: {unknown[0]!r} is no exercise, and no hidden check of one.")
    return Overlay(worth, tuple(hidden.values()), digest.hexdigest() if hidden else "")


def points(path: Path) -> dict[str, float]:
    """Points by exercise from a TOML file: a line `"attention.causal_mask" = 4` each."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"points must be a TOML file; {path}: {error}") from None
    for name, value in found.items():
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e9:
            raise ValueError(f"{path}: points must be numbers, none below 0; {name} has {value!r}.")
    return {name: float(value) for name, value in found.items()}


def lay_over(overlay: Path, release: Path) -> None:
    """Copy what students may see of an overlay into a release."""

    def private(folder: str, names: list[str]) -> set[str]:
        known = PRIVATE if Path(folder) == overlay else PRIVATE[-1:]
        return shutil.ignore_patterns(*known)(folder, names)

    shutil.copytree(overlay, release, dirs_exist_ok=True, ignore=private)


def _table(path: Path) -> dict[str, Any]:
    """The table HIDDEN of a file; the file is the instructor's own, and is run."""
    space: dict[str, Any] = {"__name__": path.stem, "__file__": str(path)}
    try:
        exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), space)
    except Exception as error:
        raise ValueError(f"{path} does not run: {type(error).__name__}: {error}") from error
    table = space.get("HIDDEN")
    if not isinstance(table, dict) or not table:
        raise ValueError(f'{path} must have a table HIDDEN = {{"chapter.exercise": inputs}}.')
    return table


def _hidden(path: Path, name: str, inputs: Inputs) -> Task:
    """A task of the book with hidden inputs, after its reference was put to use with each."""
    if name not in book.TASKS:
        what = "a typed answer, which takes no inputs" if name in book.QUESTIONS else "no exercise"
        raise ValueError(f"{path}: {name!r} is {what}.")
    task = book.TASKS[name]
    try:
        every = list(inputs(0))
        if not every:
            raise ValueError("there are none")
        for given in every:
            if not isinstance(given, tuple):
                raise TypeError(f"each must be a tuple of arguments; got {given!r}")
            wanted = task.use.run(task.reference, *given)
            crossed = task.use.run(task.reference, *wire.unpack(wire.pack(given)))
            if difference(crossed, wanted) is not None:
                raise TypeError(f"{given!r} does not come through to the sandbox as it is")
    except Exception as error:
        raise ValueError(
            f"{path}: hidden inputs of {name}: {type(error).__name__}: {error}"
        ) from error
    return replace(task, inputs=inputs, anywhere=False)

"""Notebooks for nbgrader: one a chapter, with solution markers, checks and points.

The checks are those of the book; a part of the inputs right is a part of the points. nbgrader runs
students' code without a sandbox: `grade` does not.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import nbformat

from gptlib.exercises import work
from gptlib.exercises.hunts import dealt
from gptlib.exercises.question import Question
from gptlib.exercises.task import Task
from gptlib.given.files import write_text
from instructor import views
from instructor.marking import points_of
from instructor.parsing import parsed

CONFIG = '''"""nbgrader's settings: beside this file lies `source`, one folder an assignment."""

c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "gptlib"
'''


def export(
    folder: Path, chapters: Iterable[int], points: dict[str, float], seed: int = 0
) -> list[Path]:
    """Write `source/chapter-3/chapter-3.ipynb` and so on, and nbgrader_config.py; their paths.

    Errors: ValueError for a chapter that there is not; FileExistsError for a notebook that is
    there already, which may have been changed by hand.
    """
    books = {}
    for chapter in chapters:
        asked = [dealt(one, seed) for one in views.asked_in([chapter])]
        path = folder / "source" / f"chapter-{chapter}" / f"chapter-{chapter}.ipynb"
        if path.exists():
            raise FileExistsError(f"{path} is there already: remove it, or name another folder")
        books[path] = nbformat.writes(_notebook(chapter, asked, points, seed)) + "\n"
    for path, text in books.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
    config = folder / "nbgrader_config.py"
    if not config.exists():
        write_text(config, CONFIG)
    return [*books, config]


def _notebook(
    chapter: int, asked: Sequence[Task | Question], points: dict[str, float], seed: int
) -> Any:
    book = nbformat.v4.new_notebook()
    book.metadata["kernelspec"] = {
        "name": "python3", "display_name": "Python 3", "language": "python",
    }  # fmt: skip
    cells = [_cell("markdown", f"# Exercises of chapter {chapter}", "title", locked=True)]
    cells.append(_cell("code", _imports(asked), "imports", locked=True))
    for one in asked:
        key = one.name.replace(".", "-")
        text = one.asked(seed) if isinstance(one, Question) else one.asks
        cells.append(_cell("markdown", f"## {one.name}\n\n{text}", f"{key}-asks", locked=True))
        solution = _answer(one, seed) if isinstance(one, Question) else _code(one)
        cells.append(_cell("code", solution, f"{key}-answer", solution=True))
        worth = points_of(one, points)
        cells.append(_cell("code", _check(one, worth, seed), f"{key}-check", points=worth))
    book.cells = cells
    return book


def _cell(
    kind: str, source: str, key: str, locked: bool = False, solution: bool = False,
    points: float | None = None,
) -> Any:  # fmt: skip
    made = getattr(nbformat.v4, f"new_{kind}_cell")(source, id=key[:60])
    made.metadata["nbgrader"] = {
        "grade": points is not None, "solution": solution, "locked": locked or points is not None,
        "grade_id": key, "schema_version": 3, "task": False, "cell_type": kind,
    }  # fmt: skip
    if points is not None:
        made.metadata["nbgrader"]["points"] = points
    return made


def _imports(asked: Sequence[Task | Question]) -> str:
    """What the answers may use: all that stands beside the references, and nothing asked for."""
    tasks = [one for one in asked if isinstance(one, Task)]
    modules = sorted({task.reference.__module__ for task in tasks})
    hidden = {one.name.split(".")[-1] for one in asked} | {t.reference.__name__ for t in tasks}
    # Annotations are words: they may name what comes later.
    return f"""from __future__ import annotations

import importlib

import torch
import torch.nn.functional as F
from torch import nn

from gptlib.exercises.book import find
from gptlib.exercises.hunts import dealt
from gptlib.exercises.question import mark
from gptlib.exercises.task import judge, share

for module in {modules}:
    for name, value in vars(importlib.import_module(module)).items():
        if name not in {sorted(hidden)} and not name.startswith("__"):
            globals().setdefault(name, value)"""


def _code(task: Task) -> str:
    """The reference, its body between the markers; in a bug hunt, the bug stays readable."""
    source = textwrap.dedent(work.source_of(task.reference)).rstrip()
    node = parsed(source).body[0]
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    # The course's own answer to a bug hunt may stand under another name.
    name = task.name.split(".")[-1]
    lines = source.replace(f"def {node.name}(", f"def {name}(", 1).splitlines()
    first = node.body[0]
    has_words = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    at = (first.end_lineno or 1) if has_words else _header_end(node)
    hunt = []
    if task.bug is not None:
        given = work.source_of(task.bug).rstrip().splitlines()
        hunt = ["# Mend this code:", *(f"# {line}" for line in given)]
    marked = ["    ### BEGIN SOLUTION", *lines[at:], "    ### END SOLUTION"]
    return "\n".join([*hunt, *lines[:at], *marked])


def _header_end(node: ast.FunctionDef | ast.ClassDef) -> int:
    """The line on which `def …:` ends."""
    return node.body[0].lineno - 1 if node.body[0].lineno > node.lineno else node.lineno


def _answer(question: Question, seed: int) -> str:
    name = question.name.split(".")[-1]
    value = question.answer(**question.figures(seed))
    return f"{name} = ...\n### BEGIN SOLUTION\n{name} = {value!r}\n### END SOLUTION"


def _check(asked: Task | Question, worth: float, seed: int) -> str:
    """A cell whose value is the points: of a function, for the share of inputs that are right."""
    name = asked.name.split(".")[-1]
    find = f'asked = dealt(find("{asked.name}"), {seed})'
    if isinstance(asked, Question):
        return (f"{find}\nverdict = mark(asked, {name}, seed={seed})\nprint(verdict.words)\n"
                f'{worth} * (verdict.state == "right")')  # fmt: skip
    # An answer further below that needs this one goes on with the course's.
    return f"""{find}
print(judge(asked, {name}).words)
points = round({worth} * share(asked, {name}), 2)
{name} = {name} if points == {worth} else asked.reference
points"""

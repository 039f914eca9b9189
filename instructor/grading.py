"""A whole class is marked: everybody's row, everybody's page, and a page about the class."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import torch

import gptlib
from gptlib.exercises import book
from gptlib.exercises import work as learners
from gptlib.exercises.hunts import dealt
from gptlib.exercises.task import Task
from gptlib.given.files import write_text
from instructor import feedback, pages, similar, tables, views
from instructor.marking import Mark, Marked, mark_work
from instructor.notebooks import Notebook, is_stub, read, shape
from instructor.overlay import Overlay, column
from instructor.parsing import parsed
from instructor.sandbox import Sandbox
from instructor.submissions import Student, students_in


@dataclass(frozen=True)
class Settings:
    """How a class is marked. chapters: empty for all that somebody handed something in for."""

    chapters: tuple[int, ...] = ()
    seed: int = 0
    points: dict[str, float] = field(default_factory=dict)
    trust: bool = False
    overlay: Overlay = field(default_factory=Overlay)


@dataclass
class Outcome:
    """What came of it: the rows, what was asked, and the files that were written."""

    rows: tables.Rows
    asked: list[tables.Asked]
    files: list[Path]
    run: int  # how many students' work was run; the others had not changed


def grade(submissions: Path, out: Path, settings: Settings, say: Any = None) -> Outcome:
    """Mark everybody, and write the tables and pages.

    Beside `out`, grades.csv, a folder `grades` is made with the pages and with what is remembered:
    work that has not changed since is not run again. Errors: ValueError, NoIsolation.
    """
    tell = say or (lambda text: None)
    names = [*book.TASKS, *book.QUESTIONS]
    hidden = [column(one).name for one in settings.overlay.hidden]
    if unknown := set(settings.points) - {*names, *hidden}:
        raise ValueError(f"points must be for exercises; {sorted(unknown)[0]!r} is none.")
    students = students_in(submissions)
    works = {one.key: _read_all(one, names) for one in students}
    asked = [dealt(one, settings.seed) for one in _asked(settings, works)]
    folder = out.with_suffix("") if out.suffix else out.with_name(f"{out.name}-pages")
    (folder / "marks").mkdir(parents=True, exist_ok=True)
    rows, run = _mark_everybody(students, works, asked, settings, folder / "marks", tell)
    given = {one.name: _given(one) for one in asked if isinstance(one, Task)}
    asked = [*asked, *map(column, _hidden(settings, asked))]
    places = _names_of_pages(students)
    files = tables.write(out, rows, asked, settings.points, places)
    for student, marked in rows:
        path = folder / places[student.key]
        write_text(path, pages.student_page(student, marked, asked, settings.points))
    pages_of = {key: folder / name for key, name in places.items()}
    files += feedback.write(out, students, pages_of)
    shown = {one.key: one.name for one in students}
    pairs = [
        similar.Alike(shown[pair.first], shown[pair.second], pair.share, pair.exercises)
        for pair in similar.alike(works, given, given)
    ]
    write_text(
        folder / "class.html",
        pages.class_page(rows, asked, settings.points, pairs, places),
    )
    return Outcome(rows, asked, [*files, folder / "class.html"], run)


def _read_all(student: Student, names: Sequence[str]) -> Notebook:
    """All notebooks of a student as one: of two answers to an exercise, the later file's counts."""
    whole = Notebook(faults=list(student.notes))
    for number, path in enumerate(student.files):
        one = read(path, names, _ours())
        whole.faults += one.faults
        whole.answers |= one.answers
        whole.unread |= one.unread
        for new in [piece for piece in one.pieces if piece.name]:
            old = whole.answer(new.name)
            if old is None:
                continue
            same = is_stub(parsed(new.source).body[0]) or new.source == old.source
            if same or (old.marked and not new.marked):
                one.pieces[one.pieces.index(new)] = replace(new, name="")
            else:
                whole.faults.append(f"{new.name} is in more than one file; {path.name} counts")
                whole.pieces[whole.pieces.index(old)] = replace(old, name="")
        whole.pieces += [replace(piece, file=number) for piece in one.pieces]
    for name in whole.answers:
        whole.unread.pop(name, None)
    return whole


@cache
def _ours() -> frozenset[str]:
    """The shapes of code that the course gives out itself: its notebooks' and its modules'."""
    found = set()
    for path in sorted((views.ROOT / "chapters").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                found |= _shapes(cell.source)
    for source in views.sources().values():
        found |= _shapes(source)
    return frozenset(found)


def _shapes(source: str) -> set[str]:
    try:
        body = parsed(source).body
    except SyntaxError:  # lines for IPython
        return set()
    return {shape(node) for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def _given(task: Task) -> list[str]:
    """Code for an exercise that everybody has."""
    found = []
    for one in (task.reference, task.bug):
        try:
            found += [learners.source_of(one)] if one is not None else []
        except OSError:
            continue
    return found[1:]


def _asked(settings: Settings, works: dict[str, Notebook]) -> list[tables.Asked]:
    """The exercises that count."""
    if settings.chapters:
        return list(views.asked_in(settings.chapters))
    seen = {piece.name for work in works.values() for piece in work.pieces if piece.name}
    seen |= {name for work in works.values() for name in (*work.answers, *work.unread)}
    chapters = {views.chapter_of(name) for name in seen}
    if not chapters:
        raise ValueError(
            "No exercise was found in any notebook. Are these the notebooks that were handed out? "
            "--chapters says which to look for."
        )
    return list(views.asked_in(chapters))


def _hidden(settings: Settings, asked: list[tables.Asked]) -> list[Task]:
    """The hidden checks of the exercises that count."""
    names = {one.name for one in asked}
    return [dealt(one, settings.seed) for one in settings.overlay.hidden if one.name in names]


# Each student, once ------------------------------------------------------------------------------


def _mark_everybody(
    students: list[Student],
    works: dict[str, Notebook],
    asked: list[tables.Asked],
    settings: Settings,
    folder: Path,
    tell: Any,
) -> tuple[tables.Rows, int]:
    known = {one.key: _remembered(folder, _digest(works[one.key], asked, settings))
             for one in students}  # fmt: skip
    left = [one for one in students if known[one.key] is None]
    done = len(students) - len(left)
    if done:
        tell(f"{pages.bar(done, len(students))} {done} of {len(students)} have not changed")
    if left:
        with Sandbox(settings.trust) as sandbox, ThreadPoolExecutor(_cores()) as pool:

            def one_of(student: Student) -> Marked:
                work = works[student.key]
                marked = mark_work(sandbox, work, asked, settings.seed)
                hidden = _hidden(settings, asked)
                more = mark_work(sandbox, work, hidden, before=marked.marks).marks
                marked.marks |= {column(one).name: more[one.name] for one in hidden}
                _remember(folder, _digest(work, asked, settings), marked)
                return marked

            for student, marked in zip(left, pool.map(one_of, left), strict=True):
                known[student.key] = marked
                done += 1
                tell(f"{pages.bar(done, len(students))} {done} of {len(students)}: {student.name}")
    return [(one, known[one.key] or Marked()) for one in students], len(left)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _course() -> str:
    """A digest of all that decides about marks: the package, this kit, and the versions."""
    whole = hashlib.sha256(f"{gptlib.__version__} {torch.__version__} {sys.version}".encode())
    for name, source in sorted(views.sources().items()):
        whole.update(f"{name}\n{source}\n".encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        whole.update(path.read_bytes())
    return whole.hexdigest()


def _digest(work: Notebook, asked: list[tables.Asked], settings: Settings) -> str:
    """What a student's marks depend on, as a name for a file."""
    parts = [
        _course(), [one.name for one in asked], settings.seed, settings.trust,
        settings.overlay.digest, [asdict(piece) for piece in work.pieces],
        work.answers, work.unread, work.faults,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def _remember(folder: Path, digest: str, marked: Marked) -> None:
    write_text(folder / f"{digest}.json", json.dumps(asdict(marked), indent=1) + "\n")


def _remembered(folder: Path, digest: str) -> Marked | None:
    try:
        found = json.loads((folder / f"{digest}.json").read_text(encoding="utf-8"))
        marks = {name: Mark(**mark) for name, mark in found["marks"].items()}
        return Marked(marks, found["notes"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _names_of_pages(students: list[Student]) -> dict[str, str]:
    """A name of a file for each student: letters that every system allows, none twice."""
    found: dict[str, str] = {}
    for one in students:
        stem = re.sub(r"[^\w-]+", "-", f"{one.name}-{one.id}").strip("-")[:60] or "student"
        name, number = f"{stem}.html", 1
        while name.casefold() in {other.casefold() for other in (*found.values(), "class.html")}:
            number += 1
            name = f"{stem}-{number}.html"
        found[one.key] = name
    return found

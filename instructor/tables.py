"""The marks as CSV: one for people, one for Moodle's import, one for Canvas's."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gptlib.exercises.question import Question
from gptlib.exercises.task import Task
from gptlib.given.files import write_text
from instructor.marking import Marked, points_of
from instructor.submissions import Student

Asked = Task | Question


def got(marked: Marked, one: Asked, points: dict[str, float]) -> float:
    """The points that a student has for an exercise: all of them or none."""
    return points_of(one, points) if marked.marks[one.name].state == "right" else 0.0


def total(marked: Marked, asked: Sequence[Asked], points: dict[str, float]) -> float:
    """The sum of a student's points."""
    return sum(got(marked, one, points) for one in asked)


def most(asked: Sequence[Asked], points: dict[str, float]) -> float:
    """The sum of all points."""
    return sum(points_of(one, points) for one in asked)


def number(value: float) -> str:
    """A number of points as people write it.

    number(3.0) -> '3'
    """
    return f"{value:g}"


def cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula: a student's name may begin with "=".

    cell("=1+1") -> "'=1+1"
    """
    text = re.sub(r"[\x00-\x1f\x7f]", " ", text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _text(rows: Sequence[Sequence[Any]]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue()


Rows = list[tuple[Student, Marked]]


def write(
    path: Path, rows: Rows, asked: Sequence[Asked], points: dict[str, float], pages: dict[str, str]
) -> list[Path]:
    """Write the tables beside one another; the paths. Moodle's and Canvas's only where they fit.

    grades.csv: student, id, platform, one column an exercise, sum, of, notes, page (`pages` has its
    name, by student's key). grades-moodle.csv is
    an offline grading worksheet. grades-canvas.csv is a gradebook with one assignment.
    """
    whole = number(most(asked, points))
    people: list[list[Any]] = [
        ["student", "id", "platform", *(one.name for one in asked), "sum", "of", "notes", "page"]
    ]
    for student, marked in rows:
        each = [number(got(marked, one, points)) for one in asked]
        people.append([
            cell(student.name), student.id, student.platform, *each,
            number(total(marked, asked, points)), whole, cell("; ".join(marked.notes)[:1000]),
            pages[student.key],
        ])  # fmt: skip
    written = [path]
    write_text(path, _text(people))
    for platform, table in (("moodle", _moodle), ("canvas", _canvas)):
        those = [row for row in rows if row[0].platform == platform]
        beside = path.with_name(f"{path.stem}-{platform}.csv")
        if those:
            write_text(beside, _text(table(those, asked, points, path.stem)))
            written.append(beside)
    return written


def comment(marked: Marked, asked: Sequence[Asked], points: dict[str, float]) -> str:
    """What a platform shows a student beside the number: the first line about each exercise."""
    said = (
        f"{one.name}: {number(got(marked, one, points))} of {number(points_of(one, points))}. "
        f"{marked.marks[one.name].words.splitlines()[0]}"
        for one in asked
    )
    return cell(" | ".join(said))


def _moodle(
    rows: Rows, asked: Sequence[Asked], points: dict[str, float], _: str
) -> list[list[Any]]:
    """Moodle wants the identifier, the grade and when that was last changed, by these names."""
    head = ["Identifier", "Full name", "Grade", "Maximum grade", "Last modified (grade)",
            "Feedback comments"]  # fmt: skip
    whole = f"{most(asked, points):.2f}"
    return [head] + [
        [f"Participant {student.id}", cell(student.name), f"{total(marked, asked, points):.2f}",
         whole, "-", comment(marked, asked, points)]
        for student, marked in rows
    ]  # fmt: skip


def _canvas(
    rows: Rows, asked: Sequence[Asked], points: dict[str, float], title: str
) -> list[list[Any]]:
    """Canvas wants these five columns first, then one an assignment; ID is what finds a student."""
    head = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", title]
    possible = ["    Points Possible", "", "", "", "", number(most(asked, points))]
    return [head, possible] + [
        [cell(student.name), student.id, "", "", "", number(total(marked, asked, points))]
        for student, marked in rows
    ]

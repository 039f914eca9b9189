"""How long it takes to mark a submission: `grade` beside nbgrader's autograde, on the same forty.

    python book/tasks.py bench grading

A class hands in one chapter, exported for nbgrader: each student has the course's answers with a
line of their own, and one exercise left as it was handed out. Nobody is hostile, for nbgrader has
no sandbox. Both marks whole classes, by the commands that an instructor calls, in turn; the figure
is the median of the rounds. `same` says whether both gave the same marks for what both mark: the
exercises with code (a typed answer is another cell there).

Ours marks on as many processors as it finds; `--one` lets it have one, like nbgrader.
"""

from __future__ import annotations

import argparse
import csv
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import measuring
import nbformat

from gptlib.exercises.task import Task
from gptlib.given.files import write_text
from instructor import formgrader, views

RESULT = Path(__file__).parent / "results" / "grading.json"
ROOT = Path(__file__).resolve().parent.parent


def hand_in(course: Path, chapter: int, students: int) -> tuple[list[Path], dict[str, str]]:
    """Write the class's notebooks into nbgrader's folder `submitted`; and who left out what."""
    name = f"chapter-{chapter}"
    whole = (course / "source" / name / f"{name}.ipynb").read_text(encoding="utf-8")
    handed = nbformat.read(course / "release" / name / f"{name}.ipynb", as_version=4)
    stubs = {cell.metadata.nbgrader.grade_id: cell.source for cell in handed.cells}
    tasks = [one.name for one in views.asked_in([chapter]) if isinstance(one, Task)]
    paths, left = [], {}
    for number in range(students):
        student, book = f"s{number:02}", nbformat.reads(whole, as_version=4)
        left[student] = tasks[number % len(tasks)]
        for cell in book.cells:
            key = cell.metadata.nbgrader.grade_id
            if key == f"{left[student]}-answer".replace(".", "-"):
                cell.source = stubs[key]
            elif key.endswith("-answer"):
                mine = f"student = {number}  # a line of one's own"
                cell.source = cell.source.replace(
                    "    ### BEGIN SOLUTION", f"    {mine}\n    ### BEGIN SOLUTION"
                )
        path = course / "submitted" / student / name / f"{name}.ipynb"
        path.parent.mkdir(parents=True)
        write_text(path, nbformat.writes(book) + "\n")
        paths.append(path)
    return paths, left


def run(words: list[str], folder: Path) -> float:
    """Run a command of this Python in a folder; its seconds."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "IPYTHONDIR": str(folder / "ipython"),
           "JUPYTER_PREFER_ENV_PATH": "1",
           "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}  # fmt: skip
    began = time.perf_counter()
    answer = subprocess.run([sys.executable, *words], cwd=folder, env=env, capture_output=True)
    if answer.returncode:
        raise SystemExit(f"{' '.join(words)}: {answer.stderr.decode(errors='replace')[-2000:]}")
    return time.perf_counter() - began


def not_right(table: Path, column: str, tasks: list[str]) -> dict[str, list[str]]:
    """The exercises that a student has no points for, by student, from our table."""
    with table.open(encoding="utf-8") as file:
        return {row[column]: [name for name in tasks if float(row[name]) == 0]
                for row in csv.DictReader(file)}  # fmt: skip


def measure(chapter: int, students: int, rounds: int, one: bool) -> dict[str, Any]:
    """Let both mark the class in turn; what goes into the JSON file."""
    name = f"chapter-{chapter}"
    tasks = [one.name for one in views.asked_in([chapter]) if isinstance(one, Task)]
    seconds: dict[str, list[float]] = {"ours": [], "nbgrader": []}
    with tempfile.TemporaryDirectory() as temporary:
        course = Path(temporary, "course")
        formgrader.export(course, [chapter], {})
        run(["-m", "nbgrader", "generate_assignment", name], course)
        paths, left = hand_in(course, chapter, students)
        for path in paths:  # the same files, in a folder for each student
            other = Path(temporary, "handed in", path.parts[-3], path.name)
            other.parent.mkdir(parents=True)
            shutil.copy(path, other)
        for number in range(rounds):
            out = Path(temporary, f"round-{number}", "grades.csv")
            out.parent.mkdir()
            words = ["-m", "instructor", "grade", str(Path(temporary, "handed in")),
                     "--out", str(out), "--chapters", str(chapter)]  # fmt: skip
            if one and hasattr(os, "sched_setaffinity"):
                start = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}}); "
                words = ["-c", f"{start}import sys; from instructor.__main__ import main; "
                         "sys.exit(main(sys.argv[1:]))", *words[2:]]  # fmt: skip
            seconds["ours"].append(run(words, out.parent) / students)
            took = run(["-m", "nbgrader", "autograde", name, "--force"], course)
            seconds["nbgrader"].append(took / students)
        run(["-m", "nbgrader", "export"], course)
        with (course / "grades.csv").open(encoding="utf-8") as file:
            lost = {row["student_id"]: float(row["max_score"]) - float(row["score"])
                    for row in csv.DictReader(file)}  # fmt: skip
        ours = not_right(out, "student", tasks)
        same = all(lost[who] > 0 and ours[who] == [name] for who, name in left.items())
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["nbgrader"], strict=True)]
    return {
        "claim": "marking takes less time than nbgrader's autograde takes",
        "ours_s": round(statistics.median(seconds["ours"]), 3),
        "nbgrader_s": round(statistics.median(seconds["nbgrader"]), 3),
        "ratio": round(statistics.median(ratios), 2),
        "same": same,
        "chapter": chapter,
        "submissions": students,
        "rounds": rounds,
        "one_processor": one,
        "date": date.today().isoformat(),
        "machine": {"cpu": measuring.processor(), "cores": os.cpu_count()},
        "versions": {
            "python": platform.python_version(),
            "nbgrader": importlib.metadata.version("nbgrader"),
        },
    }


def main() -> None:
    """Measure, print the figures, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--chapter", type=int, default=3)
    parser.add_argument("--submissions", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--one", action="store_true", help="one processor for ours, too")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    if args.submissions < 1 or args.rounds < 1:
        parser.error("--submissions and --rounds must be 1 or more")
    result = measure(args.chapter, args.submissions, args.rounds, args.one)
    for name in ("ours", "nbgrader"):
        print(f"{name:10} {result[f'{name}_s']:6.2f} s a submission")
    print(f"nbgrader takes {result['ratio']:.2f} times as long; same marks: {result['same']}")
    write_text(args.out, json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

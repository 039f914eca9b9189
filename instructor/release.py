"""What students are handed: notebooks and a wheel without the answers, and how to begin."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat

from gptlib.exercises import book, work
from gptlib.exercises.hunts import dealt
from gptlib.exercises.progress import TITLES
from gptlib.exercises.question import Question
from gptlib.exercises.task import Task, Use
from gptlib.given.files import write_text
from instructor import later, leaks, uses, views
from instructor import overlay as private
from instructor.inside import wire
from instructor.marking import points_of
from instructor.parsing import parsed
from instructor.sandbox import HERE

SEEDS = (0, 1)  # of the inputs that are recorded
ROOT = views.ROOT
README = """# Chapters {chapters}

{due}1. Python 3.11 or newer. In this folder: `python -m venv .venv`, then
   `.venv/bin/pip install {wheel} jupyterlab` (on Windows `.venv\\Scripts\\pip`).
2. `.venv/bin/jupyter lab` (`.venv\\Scripts\\jupyter lab`), and open the notebooks. Three dots
   stand where you write: below a line `@exercise("…")`, or in `answer("…", ...)`. A bug hunt has no
   dots; its code runs and is wrong. Leave the names as they are: by them your answers are found.
   A cell that needs what you have not written says so, and the others go on.
3. What is right is kept in the folder `my_gpt`, and the next notebook finds it there.
4. Save the notebooks, and hand in {files}. The folder `my_gpt` stays with you.
"""
SETUP = """\
# Says what to do where gptlib is missing. Elsewhere it does nothing.
import importlib.util

if importlib.util.find_spec("gptlib") is None:
    raise ModuleNotFoundError(
        "This notebook needs gptlib, and this Python lacks it. README.md, beside the "
        "notebook, says how to install it from the .whl file there."
    )"""


def release(
    folder: Path, chapters: Iterable[int], seed: int = 0, due: str = "",
    overlay: Path | None = None,
) -> list[Path]:  # fmt: skip
    """Make the folder for students, and the same as a zip file beside it; all these files.

    overlay: a private folder; its files are laid over the release, except `points.toml`, which
    says what exercises are worth, and hidden checks. Errors: FileExistsError where the folder
    holds something, ValueError for an overlay that cannot be read.
    """
    points = private.read(overlay).points if overlay else {}
    numbers = sorted(set(chapters))
    asked = [dealt(one, seed) for one in views.asked_in(numbers)]
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty: name a folder that is, or a new one")
    with tempfile.TemporaryDirectory() as temporary:
        made = Path(temporary) / "release"
        made.mkdir()
        wheel = _wheel(Path(temporary) / "package", made, asked)
        for number in numbers:
            (path,) = (ROOT / "chapters").glob(f"{number:02}_*.ipynb")
            text = nbformat.writes(stripped(nbformat.read(path, as_version=4), asked, seed)) + "\n"
            write_text(made / path.name, text)
        due_line = f"To be handed in by {due}.\n\n" if due else ""
        named = ", ".join(map(str, numbers))
        files = " and ".join(f"`{path.name}`" for path in sorted(made.glob("*.ipynb")))
        words = README.format(chapters=named, wheel=wheel.name, due=due_line, files=files)
        write_text(made / "README.md", words)
        if overlay is not None:
            private.lay_over(overlay, made)
        worth = {one.name: points_of(one, points) for one in asked}
        told = {"chapters": numbers, "seed": seed, "points": worth, "due": due}
        write_text(made / "release.json", json.dumps(told, indent=1) + "\n")
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copytree(made, folder, dirs_exist_ok=True)
        whole = shutil.make_archive(str(folder), "zip", made)
    return [*sorted(path for path in folder.rglob("*") if path.is_file()), Path(whole)]


# Not so in a release: what is not written yet is missing below, and there is no solution to open.
GOES_ON = re.compile(
    r" ?[^.\n]*\bgo(?:es)? on with its own\.|Try each one before you open the solution\. ?"
)


def stripped(notebook: Any, asked: Iterable[Task | Question], seed: int) -> Any:
    """A chapter without what shows an answer: the course's own cells, and every solution.

    Bug hunts and typed questions are those of the seed.
    """
    asked = list(asked)
    questions = {one.name: one for one in asked if isinstance(one, Question)}
    hunts = {one.name: one for one in asked
             if isinstance(one, Task) and one.bug is not book.TASKS[one.name].bug}  # fmt: skip
    kept = list[Any]()
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", ())
        folded = cell.cell_type == "markdown" and "<summary>Solution" in cell.source
        if cell.get("id", "").startswith("solution-") or folded:
            continue
        if "ours" in tags:
            cell.source = imports_in(cell.source)
            cell.metadata["tags"] = [tag for tag in tags if tag != "ours"]
            if not cell.source:
                continue
        named = re.search(r'^answer\("([\w.]+)"', cell.source, re.MULTILINE)
        if seed and named and named[1] in questions:
            words = f"**Your figures.** {questions[named[1]].asked(seed)}"
            kept.append(nbformat.v4.new_markdown_cell(words))
        hunt = re.search(r'^@exercise\("([\w.]+)"', cell.source, re.MULTILINE)
        if hunt and hunt[1] in hunts:
            cell.source = with_bug(cell.source, hunts[hunt[1]])
            (number,) = re.findall(r"^\*\*(\d+)\. Find the bug", kept[-1].source)
            kept[-1].source = f"**{number}. Find the bug.** {hunts[hunt[1]].asks} Mend it."
        if cell.cell_type == "markdown":
            cell.source = GOES_ON.sub("", cell.source).rstrip()
        if "setup" in tags:
            cell.source = SETUP
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
        kept.append(cell)
    tasks = [one for one in asked if isinstance(one, Task)]
    notebook.cells = list(leaks.without_leaks(kept, tasks))
    return notebook


def with_bug(source: str, task: Task) -> str:
    """A bug hunt's cell with the bug of this task in the place of the book's."""
    assert task.bug is not None
    old = next(one for one in parsed(source).body if isinstance(one, ast.FunctionDef))
    given = work.source_of(task.bug).rstrip()
    (new,) = parsed(given).body
    assert isinstance(new, ast.FunctionDef)
    begun = source.splitlines()[: old.body[1].lineno - 1]  # up to the docstring
    return "\n".join([*begun, *given.splitlines()[new.body[1].lineno - 1 :]])


def imports_in(source: str) -> str:
    """The imports of a cell: cells below need them, and they show nothing."""
    body = parsed(source).body
    return "\n".join(
        ast.unparse(one) for one in body if isinstance(one, ast.Import | ast.ImportFrom)
    )


# The wheel ----------------------------------------------------------------------------------------


def _wheel(stage: Path, out: Path, asked: list[Task | Question]) -> Path:
    """Build the wheel from a copy of the package in which the answers are missing."""
    shutil.copytree(views.PACKAGE, stage / "gptlib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "data" / "runs", stage / "data" / "runs")
    shutil.copytree(ROOT / "benchmarks" / "results", stage / "benchmarks" / "results")
    for name in ("README.md", "LICENSE"):
        shutil.copy(ROOT / name, stage / name)
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    write_text(stage / "pyproject.toml", text.replace('"*.json",', '"*.json", "*.bin",', 1))
    strip_package(stage / "gptlib", asked)
    answer = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", ".", "--no-deps", "--no-build-isolation", "-q",
         "--wheel-dir", str(out)],
        cwd=stage, capture_output=True, text=True,
    )  # fmt: skip
    if answer.returncode:
        raise OSError(f"the wheel was not built: {answer.stderr.strip()[-500:]}")
    (wheel,) = out.glob("*.whl")
    return wheel


def strip_package(package: Path, asked: list[Task | Question]) -> None:
    """Take the answers out of a copy of the package, and put recorded results in their place."""
    tasks = [one for one in asked if isinstance(one, Task)]
    gone: dict[str, set[str]] = {}
    for one in tasks:
        module, name = views.reference_of(one)
        gone.setdefault(module, set()).add(name.split(".")[0])
    for module, names in gone.items():
        if not module.startswith(uses.ROOM):
            path = package.joinpath(*module.split(".")[1:]).with_suffix(".py")
            path.write_text(views.without(views.sources()[module], names), encoding="utf-8")
    later.leave_out(package, {views.chapter_of(one.name) for one in asked})
    room = package / "exercises"
    for path in room.glob("*.py"):
        name = f"gptlib.exercises.{path.stem}"
        if path.stem not in ("__init__", "work") and not views.holds_no_answer(
            views.sources().get(name, "")
        ):
            path.unlink()
    for name, place in {"book": "book", "progress": "progress", "words": "__init__"}.items():
        shutil.copy(HERE / "handout" / f"{name}.py", room / f"{place}.py")
    shutil.copy(HERE / "inside" / "wire.py", room / "wire.py")
    records, unseen = {}, {}
    for task in tasks:
        try:
            needs = uses.of(type(task.use), views.chapter_of(task.name))
            if {*needs.answers} & {(m, n) for m, names in gone.items() for n in names}:
                raise ValueError("what is done with it needs another answer")
            records[task.name] = recorded(task)
        except (ValueError, wire.Broken):
            unseen[task.name] = list(task.hints)
            continue
        for module, source in uses.sources(needs.hidden).items():
            path = package.joinpath(*module.split(".")[1:]).with_suffix(".py")
            old = path.read_text(encoding="utf-8") if path.exists() else ""
            path.write_text(_joined(old, source), encoding="utf-8")
    questions = {one.name: list(one.hints) for one in asked if isinstance(one, Question)}
    told = {"tasks": records, "questions": questions, "later": unseen,
            "chapters": titled(asked), "pieces": pieces()}  # fmt: skip
    (room / "released.bin").write_bytes(wire.pack(told))


def titled(asked: Iterable[Task | Question]) -> dict[str, list[str]]:
    """The names of exercises by chapter: {"3. Attention": ["attention.past_average", …]}."""
    found: dict[str, list[str]] = {}
    for one in asked:
        number = views.chapter_of(one.name)
        found.setdefault(f"{number}. {TITLES[number]}", []).append(one.name)
    return found


def pieces() -> dict[str, str]:
    """The names that `my_gpt()` knows, and the course's module of each.

    pieces()["GPT"] -> "gptlib.gpt"
    """
    core = [task for task in book.TASKS.values() if task.kind == "core"]
    frame = [part for chapter in book.CHAPTERS for part in getattr(chapter, "FRAME", ())]
    found = {task.name.split(".")[-1]: views.reference_of(task)[0] for task in core}
    return found | {part.__name__: part.__module__ for part in frame}


def _joined(old: str, new: str) -> str:
    """Two cuts of one module as one: each statement once."""
    lines = [ast.unparse(node) for text in (old, new) for node in parsed(text).body]
    return "\n".join(dict.fromkeys(lines)) + "\n"


def recorded(task: Task) -> dict[str, Any]:
    """All that is told of a task: inputs, what comes out, and what its mistakes give.

    Errors: ValueError, Broken where something of it is no plain value.
    """
    inputs = [given for seed in SEEDS for given in task.inputs(seed)]
    unique = {wire.pack(given): given for given in inputs}

    def results(made: Any) -> list[bytes | tuple[str, str]]:
        found: list[bytes | tuple[str, str]] = []
        for key in unique:
            try:
                found.append(wire.pack(task.use.run(made, *wire.unpack(key))))
            except Exception as error:  # a mistake may be one that raises
                found.append((type(error).__name__, str(error)))
        return found

    right = results(task.reference)
    if any(isinstance(one, tuple) for one in right):
        raise ValueError(f"{task.name} does not run on its inputs after they were sent")
    kind: type[Use] = type(task.use)
    return {
        "asks": task.asks, "hints": list(task.hints), "kind": task.kind,
        "module": views.reference_of(task)[0], "inputs": list(unique), "results": right,
        "use": (kind.__module__, kind.__qualname__, dict(vars(task.use))),
        "mistakes": [(one.says, results(one.made)) for one in task.mistakes],
        "bug": results(task.bug) if task.bug is not None else [],
    }  # fmt: skip

"""What of gptlib a student's code may see while a chapter is marked: its source, by module.

The modules of this chapter and the ones before it, without the answers that this chapter asks for;
what is given; and of the exercises only what holds no answer. Earlier chapters stay whole, because
a block may be built from the course's own norm.
"""

from __future__ import annotations

import ast
import inspect
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import gptlib
from gptlib.exercises import book
from gptlib.exercises.question import Question
from gptlib.exercises.task import Task
from instructor.parsing import parsed

PACKAGE = Path(gptlib.__file__).parent
ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("given", "corpus")
MADE = ("Task", "Question", "Mistake", "Hunt")
WORDS = '''"""While work is marked these words do nothing."""


def exercise(name):
    return lambda answer: answer


otherwise = exercise


def answer(name, said=None):
    pass


hint = solution = my_gpt = left_out = predict = came_out = bug = progress = answer
'''
NOT_WRITTEN = '''

class NotWritten(NotImplementedError):
    """A part of the course that is yours to write, and is not written yet."""
'''


def chapter_of(name: str) -> int:
    """The number of the chapter that asks for an exercise.

    chapter_of("attention.causal_mask") -> 3
    """
    return _chapters()[name]


@cache
def _chapters() -> dict[str, int]:
    return {
        asked.name: number
        for number, module in enumerate(book.CHAPTERS, 1)
        for asked in (*module.TASKS, *getattr(module, "QUESTIONS", ()))
    }


def asked_in(chapters: Iterable[int]) -> list[Task | Question]:
    """The exercises of these chapters, in the order of the book. Errors: ValueError for no chapter.

    [type(one).__name__ for one in asked_in([6])][:1] -> ['Task']
    """
    wanted, there = set(chapters), len(book.CHAPTERS)
    if not wanted or wanted - set(range(1, there + 1)):
        raise ValueError(f"chapters must be some of 1 to {there}; got {sorted(wanted)}.")
    everything: dict[str, Task | Question] = {**book.TASKS, **book.QUESTIONS}
    # An appendix is no chapter: what it asks is for the learner alone.
    return [one for name, one in everything.items() if _chapters().get(name) in wanted]


def reference_of(task: Task) -> tuple[str, str]:
    """The module and the name of a task's reference: ("gptlib.attention", "causal_mask")."""
    made = inspect.unwrap(task.reference)
    return made.__module__, made.__qualname__


@cache
def sources() -> dict[str, str]:
    """The source of every module of the package: {"gptlib.loss": …}; a folder's is its __init__."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(("gptlib", *(part for part in parts if part != "__init__")))
        found[name] = path.read_text(encoding="utf-8")
    return found


def taken(chapter: int) -> dict[str, set[str]]:
    """The answers that a chapter asks for, by module: {"gptlib.attention": {"causal_mask", …}}."""
    found: dict[str, set[str]] = {}
    for one in asked_in([chapter]):
        if isinstance(one, Task):
            module, name = reference_of(one)
            found.setdefault(module, set()).add(name.split(".")[0])
    return found


@cache
def view(chapter: int, lifted: frozenset[tuple[str, str]] = frozenset()) -> dict[str, str]:
    """The modules that a student's code may import while this chapter is marked.

    lifted: answers, by module and name, that are shown all the same.
    """
    house = tomllib.loads((ROOT / "book" / "house.toml").read_text(encoding="utf-8"))
    root = [n for number, names in house["chapters"].items() if int(number) <= chapter
            for n in names]  # fmt: skip
    hidden = {module: {name for name in names if (module, name) not in lifted}
              for module, names in taken(chapter).items()}  # fmt: skip
    seen = {"gptlib": sources()["gptlib"], "gptlib.exercises": WORDS}
    for name, source in sources().items():
        part = name.split(".")[1:2]
        if name.removeprefix("gptlib.") in root or (part and part[0] in ROOMS):
            seen[name] = without(source, hidden.get(name, set()))
        elif part == ["exercises"] and name != "gptlib.exercises" and holds_no_answer(source):
            seen[name] = source
    return seen


def without(source: str, names: set[str], says: str = "is yours to write") -> str:
    """A module in which these functions and classes say that they are not written, and why.

    "return x" in without("def f(x):\\n    return x\\n", {"f"}) -> False
    """
    if not names:
        return source
    tree = parsed(source)
    lines, cuts = source.splitlines(keepends=True), []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name in names:
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            cuts.append((first, node.end_lineno or first, _stub(node, says)))
    for first, last, stub in reversed(cuts):
        lines[first - 1 : last] = [stub]
    future = [node for node in tree.body if isinstance(node, ast.ImportFrom)
              and node.module == "__future__"]  # fmt: skip
    # What raises stands behind the docstring and the line about the future.
    at = future[0].end_lineno if future else 0
    if not future and tree.body and ast.get_docstring(tree) is not None:
        at = tree.body[0].end_lineno
    return "".join(lines[:at]) + NOT_WRITTEN + "".join(lines[at:])


def _stub(node: ast.FunctionDef | ast.ClassDef, why: str) -> str:
    says = f'raise NotWritten("{node.name} {why}")'
    if isinstance(node, ast.FunctionDef):
        return f"def {node.name}(*_, **__):\n    {says}\n"
    return f"class {node.name}:\n    def __init__(self, *_, **__):\n        {says}\n"


def holds_no_answer(source: str) -> bool:
    """Whether a module of the exercises makes no task and reads none of the chapters'."""
    tree = parsed(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in MADE:
            return False
        if isinstance(node, ast.ImportFrom) and node.module == "gptlib.exercises":
            return False
    return True

"""What a learner has done: the code that is right, in files of theirs, and the answers.

Given, not built. The folder `my_gpt` lies beside the notebooks; GPTLIB_WORK names another one. It
holds plain source files, one an exercise, and `answers.json`. It is the learner's: what stands in
it is never overwritten (an older version keeps its text under another name), and whoever deletes
it starts afresh.
"""

from __future__ import annotations

import ast
import inspect
import json
import linecache
import math
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch

import gptlib
from gptlib.exercises.task import Task, judge
from gptlib.given.files import write_text

FOLDER = "my_gpt"
ANSWERS = "answers.json"
RIGHT_WITH = ", right with gptlib "  # in the first line of a file, between the name and the version
USUAL = {"math": math, "torch": torch, "nn": torch.nn, "F": torch.nn.functional}


def folder() -> Path:
    """The learner's folder; it may not exist yet."""
    return Path(os.environ.get("GPTLIB_WORK") or FOLDER)


def file_of(name: str) -> Path:
    """Where the learner's code for an exercise lies.

    file_of("attention.causal_mask").as_posix() -> "my_gpt/attention/causal_mask.py"
    """
    return folder().joinpath(*name.split(".")).with_suffix(".py")


def source_of(answer: Callable[..., Any]) -> str:
    """The code of a function or class without the notebook's decorators, `exercise(…)` and such.

    `inspect` finds no class of a notebook, so the code is looked for where its methods say.
    Errors: OSError where it has none.
    """
    inside = vars(answer).values() if isinstance(answer, type) else [inspect.unwrap(answer)]
    code = next((f.__code__ for f in inside if hasattr(f, "__code__")), None)
    lines = linecache.getlines(code.co_filename) if code else []
    for node in ast.walk(ast.parse("".join(lines))):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name != answer.__name__:
            continue
        first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        if code and first <= code.co_firstlineno <= (node.end_lineno or 0):
            kept = [d for d in node.decorator_list if not _of_notebooks(d)]
            above = [f"@{ast.unparse(decorator)}\n" for decorator in kept]
            body = textwrap.dedent("".join(lines[node.lineno - 1 : node.end_lineno]))
            return "".join(above) + body
    raise OSError(f"the code of {answer.__name__} was not found")


def _of_notebooks(decorator: ast.expr) -> bool:
    called = ast.unparse(decorator.func) if isinstance(decorator, ast.Call) else ""
    return called.rpartition(".")[2] in ("exercise", "otherwise", "add_to")


def space_of(tasks: Iterable[Task], others: Iterable[Task] = ()) -> dict[str, Any]:
    """The names that code for an exercise may use: those of the modules of these references.

    And the usual ones, which a notebook has imported in another cell than the learner's, and what
    `others`, the exercises of all chapters, ask for: an answer may call an earlier one.
    """
    space: dict[str, Any] = {**USUAL}
    for task in tasks:
        for key, value in vars(sys.modules[task.reference.__module__]).items():
            space.setdefault(key, value)
    for task in others:
        space.setdefault(task.name.split(".")[-1], task.reference)
    return {**space, "__name__": "my_gpt"}


def put_into(space: dict[str, Any], task: Task, source: str, path: str) -> Any:
    """Run the code of an answer in a space; what it defines under the task's name."""
    _run(space, source, path)
    return space[task.name.split(".")[-1]]


def _run(space: dict[str, Any], source: str, path: str) -> None:
    linecache.cache[path] = (len(source), None, source.splitlines(keepends=True), path)
    exec(compile(source, path, "exec"), space)


def save(task: Task, answer: Callable[..., Any], others: Iterable[Task] = ()) -> str:
    """Keep a right answer; what was done, in words. An answer that needs its notebook is not kept.

    An earlier answer that reads otherwise is renamed first: `causal_mask.1.py`, and so on.
    """
    path = file_of(task.name)
    try:
        source = source_of(answer)
        again = judge(task, put_into(space_of([task], others), task, source, str(path)))
    except Exception as error:
        fault = f"alone it fails with {type(error).__name__}: {error}"
        return f"It is not kept in {path}: {fault}{_elsewhere(answer, fault)}"
    if again.state != "right":
        fault = f"alone, without this notebook, it is {again.words}"
        return f"It is not kept in {path}: {fault}{_elsewhere(answer, fault)}"
    before = path.read_text(encoding="utf-8") if path.exists() else None
    text = f"# {task.name}{RIGHT_WITH}{gptlib.__version__}\n\n{source}"
    if before is not None and _code(before) == _code(text):
        return f"It stands in {path}."
    if before is not None:
        number = 1
        while path.with_suffix(f".{number}.py").exists():
            number += 1
        path.rename(path.with_suffix(f".{number}.py"))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
    return f"It is kept in {path}."


def _elsewhere(answer: Callable[..., Any], fault: str) -> str:
    """What to do about a name that another cell of the notebook knows, as an end for a message."""
    unknown = re.search(r"NameError: name '(\w+)' is not defined", fault)
    if not unknown:
        return ""
    name = unknown[1]
    methods = vars(answer).values() if isinstance(answer, type) else [inspect.unwrap(answer)]
    space: dict[str, Any] = next((f.__globals__ for f in methods if hasattr(f, "__globals__")), {})
    known = space.get(name)
    inside = f"inside the {'class' if isinstance(answer, type) else 'function'}"
    imported = callable(known) and getattr(known, "__module__", None) != "__main__"
    if imported or isinstance(known, ModuleType):
        return f"\nWrite the `import` of `{name}` into this cell, {inside}."
    return f"\n`{name}` stands outside of your answer: write it into this cell, {inside}."


def _code(text: str) -> str:
    lines = text.splitlines()
    return "\n".join(lines[1:] if lines and lines[0].startswith("# ") else lines).strip()


def assembled(
    tasks: Iterable[Task], others: Iterable[Task] = (), frame: Iterable[type] = ()
) -> tuple[SimpleNamespace, dict[str, str]]:
    """A whole GPT from the learner's files, the course's code where there is none.

    All of it runs in one space, so that the learner's `causal_mask` is the one that every
    attention layer calls, the course's own included. frame: classes of the course that are no
    exercise and are made of these pieces. Returns the names, and for each task "yours", "the
    course's" or why the learner's file is not used.
    """
    tasks, others, frame = list(tasks), list(others), list(frame)
    space, whose = space_of(tasks, others), {}
    for task in tasks:
        path = file_of(task.name)
        theirs = source_of(task.reference)
        whose[task.name] = "the course's"
        if path.exists():
            fault = fault_of(task, path, others)
            whose[task.name] = "yours" if fault is None else f"the course's, as {fault}"
        mine = whose[task.name] == "yours"
        source = path.read_text(encoding="utf-8") if mine else theirs
        put_into(space, task, source, str(path) if mine else f"<{task.name}>")
    for part in frame:
        for key, value in vars(sys.modules[part.__module__]).items():
            space.setdefault(key, value)
        _run(space, source_of(part), f"<{part.__name__}>")
    names = [*(task.name.split(".")[-1] for task in tasks), *(part.__name__ for part in frame)]
    return SimpleNamespace(**{name: space[name] for name in names}), whose


def fault_of(task: Task, path: Path, others: Iterable[Task] = ()) -> str | None:
    """Why a file cannot be used, now that the course may be a later one; None where it can."""
    source = ""
    try:
        source = path.read_text(encoding="utf-8")
        verdict = judge(task, put_into(space_of([task], others), task, source, str(path)))
    except Exception as error:
        return f"{path} fails with {type(error).__name__}: {error}{_since(source)}"
    return None if verdict.state == "right" else f"{path} is {verdict.words}{_since(source)}"


def _since(source: str) -> str:
    """A line that says with which version a file was right, where the course is another one now."""
    _, found, before = source.partition("\n")[0].partition(RIGHT_WITH)
    if not found or before == gptlib.__version__:
        return ""
    return f"\n  it was right with gptlib {before}; this is {gptlib.__version__}"


# Answers that are typed in, and predictions ------------------------------------------------------


def answers() -> dict[str, Any]:
    """What the learner has answered so far, by name. Errors: ValueError where the file is none."""
    path = folder() / ANSWERS
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}). Mend it or rename it.") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no answers. Mend it or rename it.")
    return found


def note(name: str, said: Any) -> None:
    """Write down an answer beside the others."""
    found = answers()
    if found.get(name) == said:
        return
    folder().mkdir(parents=True, exist_ok=True)
    write_text(folder() / ANSWERS, json.dumps({**found, name: said}, indent=1) + "\n")

"""The exercises of this release: what you write is compared with recorded results.

The course's own answers are not in this package. What is asked, what goes in, what should come out
and what the usual mistakes give stands in `released.bin`. What is not written yet says so, and the
cells that need it are skipped.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from gptlib.exercises import wire, work
from gptlib.exercises.comparing import shown
from gptlib.exercises.task import Mistake, Task, Use, judge

HERE = Path(__file__).parent
Result = bytes | tuple[str, str]  # what came out, or an error's name and words
_told: dict[str, int] = {}


class NotWritten(NotImplementedError):
    """A part of the course that is yours to write, and is not written yet."""


class Recorded:
    """Gives what somebody's code gave, for the inputs that were recorded; raises what it raised."""

    def __init__(self, results: dict[bytes, Result], module: str, name: str) -> None:
        self.results, self.__module__, self.__name__ = results, module, name

    def __call__(self, *given: Any) -> Any:
        return self.replay(given)

    def replay(self, given: tuple[Any, ...]) -> Any:
        """What came out for these inputs. Errors: one of the name and words that came of it."""
        out = self.results[wire.pack(given)]
        if isinstance(out, bytes):
            return wire.unpack(out)
        kind, words = out
        raise type(kind, (Exception,), {})(words)


class Replay(Use):
    """What is done with an answer: a recorded one is looked up, any other is put to use."""

    def __init__(self, use: Use) -> None:
        self.use, self.in_order = use, use.in_order

    def run(self, answer: Any, *given: Any) -> Any:
        if isinstance(answer, Recorded):
            return answer.replay(given)
        return self.use.run(answer, *given)

    def shown(self, name: str, *given: Any) -> str:
        return self.use.shown(name, *given)


def _home(module: str) -> str:
    """The module among whose names an answer is written; some are in no release."""
    try:
        return importlib.import_module(module).__name__
    except ImportError:
        return "gptlib.exercises.task"


def _task(name: str, told: dict[str, Any]) -> Task:
    module, kind, state = told["use"]
    use = object.__new__(getattr(importlib.import_module(module), kind))
    vars(use).update(state)
    home = _home(told["module"])
    inputs = [wire.unpack(one) for one in told["inputs"]]

    def those(seed: int) -> Iterator[tuple[Any, ...]]:
        yield from (wire.unpack(wire.pack(one)) for one in inputs)

    def recorded(results: list[Result]) -> Recorded:
        pairs = zip(told["inputs"], results, strict=True)
        by_input = {wire.pack(wire.unpack(key)): out for key, out in pairs}
        return Recorded(by_input, home, name.split(".")[-1])

    return Task(
        name=name, asks=told["asks"], reference=recorded(told["results"]), inputs=those,
        hints=tuple(told["hints"]), kind=told["kind"], use=Replay(use), right=(),
        mistakes=tuple(Mistake(says, recorded(out)) for says, out in told["mistakes"]),
        bug=recorded(told["bug"]) if told["bug"] else None,
    )  # fmt: skip


wire.imports = True
RELEASED: dict[str, Any] = wire.unpack((HERE / "released.bin").read_bytes())
QUESTIONS: dict[str, Any] = RELEASED["questions"]
LATER: dict[str, list[str]] = RELEASED["later"]  # their hints; marked when handed in, not here
TASKS = {name: _task(name, told) for name, told in RELEASED["tasks"].items()}


def exercise(name: str) -> Callable[[Any], Any]:
    """Look at what is written below, and say what is wrong with it."""

    def look(answer: Any) -> Any:
        if name not in TASKS:
            word = "is marked when you hand it in" if name in LATER else "is in no release of yours"
            print(f"{name} {word}.")
            return answer
        verdict = judge(TASKS[name], answer)
        print(f"{name}: {verdict.words}")
        if verdict.state == "right":
            print(work.save(TASKS[name], answer))
            _put(name, answer)
            return answer
        print(f'Until it is right, cells that need it are skipped. A hint: hint("{name}")')
        return _missing(name)

    return look


def _put(name: str, answer: Any) -> None:
    """Let the course's own code call the learner's."""
    module = importlib.import_module(_home(RELEASED["tasks"][name]["module"]))
    setattr(module, name.split(".")[-1], answer)


def _missing(name: str) -> Any:
    def missing(*_: Any, **__: Any) -> Any:
        raise NotWritten(f"{name} is yours to write, and is not right yet")

    return missing


def otherwise(name: str) -> Callable[[Any], Any]:
    """Keep the learner's code; the release shows no other."""
    return lambda ours: ours


def answer(name: str, *values: Any) -> None:
    """Write an answer down; it is marked when it is handed in. Several values are a tuple."""
    said = values[0] if len(values) == 1 else values or None
    if said is ... or said is None:
        print(f"{name}: nothing is written yet.")
        return
    print(f"{name}: {shown(said)} is noted. It is marked when you hand it in.")
    work.note(name, {"said": shown(said), "state": "noted"})


def hint(name: str) -> None:
    """Print the next of an exercise's hints."""
    hints = TASKS[name].hints if name in TASKS else {**QUESTIONS, **LATER}[name]
    n = min(_told.get(name, 0), len(hints) - 1)
    _told[name] = n + 1
    print(f"Hint {n + 1} of {len(hints)}: {hints[n]}")


def solution(name: str) -> None:
    """Say that there is none here."""
    print("This release has no solutions. Ask for hints, or your instructor.")


def left_out() -> Any:
    """Stand for a cell of the book that tells a part of an answer. Errors: NotWritten."""
    raise NotWritten("it tells a part of an answer, and stands in the book alone")


class Pieces(SimpleNamespace):
    """The pieces of a GPT under their names: the learner's where they are right.

    Any other is the course's, and one that this release asks for is not written yet.
    """

    def __getattr__(self, name: str) -> Any:
        if name not in RELEASED["pieces"]:
            raise AttributeError(f"{name} is no piece of a GPT: {', '.join(RELEASED['pieces'])}")
        return getattr(importlib.import_module(RELEASED["pieces"][name]), name)


def my_gpt() -> Pieces:
    """All core pieces of a GPT; prints which of them are yours."""
    found = load()
    print(f"Yours: {', '.join(found) or 'none yet'} ({len(found)} of {len(TASKS)}).")
    return Pieces()


def own(name: str) -> Any:
    """What the learner has written and kept for an exercise, where it is right; else None."""
    task, path = TASKS[name], work.file_of(name)
    if not path.exists():
        return None
    try:
        source = path.read_text(encoding="utf-8")
        mine = work.put_into(work.space_of([task]), task, source, str(path))
        return mine if judge(task, mine).state == "right" else None
    except Exception:  # a file that was changed since; the notebook will say what is wrong
        return None


def load() -> list[str]:
    """Put what was right in other notebooks in the place of what is missing; its names."""
    found = []
    for name in TASKS:
        mine = own(name)
        if mine is not None:
            _put(name, mine)
            found.append(name)
    return found


# Cells that need what is missing ------------------------------------------------------------------


def makes(node: ast.AST) -> set[str]:
    """The names that code gives a value, or whose parts it changes."""
    found = set()
    for one in ast.walk(node):
        if isinstance(one, ast.FunctionDef | ast.ClassDef):
            found.add(one.name)
        elif isinstance(one, ast.alias):
            found.add((one.asname or one.name).split(".")[0])
        elif isinstance(getattr(one, "ctx", None), ast.Store):
            while isinstance(one, ast.Subscript | ast.Attribute):
                one = one.value
            found |= {one.id} if isinstance(one, ast.Name) else set()
    return found


def reads(node: ast.AST) -> set[str]:
    """The names that code reads."""
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


class Politely(ast.NodeTransformer):
    """Wraps a cell, so that what is not written yet ends it with a line and no error.

    The value of the last line is still shown: `x` becomes `_politely(lambda: x)`.
    """

    def visit_Module(self, node: ast.Module) -> ast.Module:
        if not node.body or any(isinstance(one, ast.Await) for one in ast.walk(node)):
            return node
        made, read = sorted(makes(node)), sorted(reads(node))
        *body, last = node.body
        shows = isinstance(last, ast.Expr)
        wrapped = ast.parse(
            "try:\n    pass\nexcept Exception as _error:\n"
            f"    if not _skip(_error, {made}, {read}):\n        raise\nelse:\n    _made({made})"
        )
        attempt = wrapped.body[0]
        assert isinstance(attempt, ast.Try)
        attempt.body = [*body, *([] if shows else [last])] or [ast.Pass()]
        text = f"None if _skipped() else _politely(lambda: None, {made}, {read})"
        if shows:
            ask = ast.parse(text, mode="eval").body
            assert isinstance(last, ast.Expr) and isinstance(ask, ast.IfExp)
            assert isinstance(ask.orelse, ast.Call)
            assert isinstance(ask.orelse.args[0], ast.Lambda)
            ask.orelse.args[0].body = last.value
            wrapped.body.append(ast.Expr(ask))
        return ast.fix_missing_locations(ast.copy_location(wrapped, node))


class Skipping:
    """What a notebook has skipped so far: `missing` are the names that were not made."""

    def __init__(self) -> None:
        self.missing: set[str] = set()
        self.now = False

    def skip(self, error: BaseException, made: list[str], read: list[str]) -> bool:
        """Whether an error comes from what is not written; if so, say so."""
        if type(error).__name__ == "NotWritten":
            why = str(error)
        elif self.missing & set(read):
            why = f"it needs {sorted(self.missing & set(read))[0]}, which was not made yet"
        else:
            return False
        self.missing |= set(made)
        self.now = True
        print(f"This cell is skipped: {why}.")
        return True

    def skipped(self) -> bool:
        """Whether the lines above have been skipped; asked once a cell."""
        was, self.now = self.now, False
        return was

    def politely(self, last: Callable[[], Any], made: list[str], read: list[str]) -> Any:
        """The value of a cell's last line, or nothing where it needs what is missing."""
        try:
            return last()
        except Exception as error:
            if not self.skip(error, made, read):
                raise
            self.now = False
            return None

    def made(self, names: list[str]) -> None:
        """Note what a cell has made after all: an error of its reader is no matter of skipping."""
        self.missing -= set(names)

    def new_cell(self, *_: Any) -> None:
        """Begin a cell: nothing of it is skipped."""
        self.now = False


def begin() -> None:
    """In a notebook: skip politely, and load what was right before."""
    try:
        from IPython import get_ipython

        shell = get_ipython()
    except ImportError:
        shell = None
    if shell is None:
        return
    state = Skipping()
    shell.user_ns.update(_skip=state.skip, _skipped=state.skipped, _politely=state.politely,
                         _made=state.made)  # fmt: skip
    shell.events.register("pre_run_cell", state.new_cell)
    shell.ast_transformers.append(Politely())
    mine = load()
    if mine:
        print(f"Yours, from {work.folder()}: {', '.join(mine)}.")


__all__ = ["answer", "exercise", "hint", "left_out", "my_gpt", "otherwise", "solution"]
begin()

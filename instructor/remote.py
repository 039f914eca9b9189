"""A student's function that is called from here and runs in the sandbox.

`judge(task, answer)` sees no difference: the inputs go as bytes, what comes out comes as bytes.
"""

from __future__ import annotations

import marshal
import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any

import torch

from gptlib.exercises.task import SECONDS, Task, Use, Wrong
from instructor import uses, views
from instructor.inside import wire
from instructor.notebooks import Notebook
from instructor.sandbox import STARTED, Place, Sandbox

PATIENCE = 4 * SECONDS  # seconds by the clock that one call may take: the machine may be busy


class Gone(BaseException):
    """The process that ran a student's code is not there any more, and why.

    No Exception, so that a check does not take it for an error of the student's function.
    """


def special(tasks: Iterable[Task]) -> list[Task]:
    """The tasks whose answers are not merely called."""
    return [task for task in tasks if type(task.use) is not Use]


def together(tasks: Iterable[Task], chapter: int) -> list[list[Task]]:
    """Tasks in groups, one process each: one that needs an answer of the chapter stands alone."""
    common, alone = list[Task](), list[list[Task]]()
    for task in tasks:
        answers = uses.of(type(task.use), chapter).answers - {views.reference_of(task)}
        if answers and type(task.use) is not Use:
            alone.append([task])
        else:
            common.append(task)
    return [group for group in (common, *alone) if group]


class Remote:
    """A student's answers to one chapter, in a process of their own; a context manager.

    Errors: Gone where that process ends, hangs, or sends what is no message.
    """

    def __init__(
        self,
        sandbox: Sandbox,
        chapter: int,
        tasks: Iterable[Task],
        work: Notebook,
        instead: Iterable[Task] = (),
    ) -> None:
        self.tasks = list(tasks)
        load = what_to_load(chapter, self.tasks, work, list(instead))
        self.place: Place = sandbox.open()
        try:
            if not self.place.there():
                raise Gone(f"the sandbox did not open: {self.place.ended()}")
            found = self.ask(load, STARTED)
            self.there = {str(key): bool(value) for key, value in found["there"].items()}
            self.notes = [str(note)[:400] for note in found["notes"]][:50]
        except (KeyError, TypeError, AttributeError):
            self.close()
            raise Gone("what came back is no message") from None
        except Gone:
            self.close()
            raise

    def close(self) -> None:
        """End the process."""
        self.place.__exit__(None, None, None)

    def ask(self, value: Any, seconds: float) -> Any:
        """Send a message, and wait for the answer. Errors: Gone."""
        try:
            return self.place.ask(value, seconds)
        except TimeoutError:
            raise Gone(f"it takes more than {seconds:.0f} seconds") from None
        except wire.Broken as error:
            raise Gone(f"what came back is no message: {error}") from None
        except (EOFError, OSError):
            raise Gone(_ending(self.place.ended())) from None

    def call(self, task: Task, given: tuple[Any, ...], use: bool) -> tuple[Any, float]:
        """What comes out, and how many seconds it took. Errors: Wrong, Gone, what it raised."""
        told = self.ask({"name": task.name, "given": given, "use": use}, PATIENCE)
        try:
            seconds = float(told["seconds"])
            for at, value in told["changed"].items():
                _change(given[at], value)
            if "raised" in told:
                kind, text, line = map(str, told["raised"])
                raise _raised(kind, text, line)
            return wire.unpack(told["value"]), seconds
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, wire.Broken) as error:
            if isinstance(error, Raised):
                raise
            raise Gone("what came back is no message") from None


def _ending(told: str) -> str:
    """How a process ended, in words for a student."""
    if "-9" in told or "-24" in told:
        return "it was ended: it used too much memory or time"
    return "it ended Python itself (exit, or a crash), or took too much memory"


class Raised(Exception):
    """An error that a student's code raised; a subclass has the name that it had there."""


def _raised(kind: str, text: str, line: str) -> Exception:
    if kind == "Wrong":  # what is done with a class has found a fault in it
        return Wrong(text)
    name = re.sub(r"\W", "_", kind)[:60] or "Exception"
    made: Exception = type(name, (Raised,), {"line_there": line})(text)
    return made


def _change(value: Any, after: Any) -> None:
    """Let a value here become what its copy became there, so that a change is seen."""
    if torch.is_tensor(value) and torch.is_tensor(after):
        value.data = after
    elif isinstance(value, list) and isinstance(after, list):
        value[:] = after
    elif isinstance(value, dict) and isinstance(after, dict):
        value.clear()
        value.update(after)


@cache
def compiled(name: str, source: str) -> bytes:
    """A module as Python's byte code: it is compiled once, and not in every process."""
    return marshal.dumps(compile(source, f"<{name}>", "exec"))


def what_to_load(
    chapter: int, tasks: list[Task], work: Notebook, instead: list[Task]
) -> dict[str, Any]:
    """The first message: the student's code, what it may import, and what is done with it.

    instead: tasks whose reference stands in the place of the student's answer.
    """
    own = {task.name for task in tasks}
    replaced = {task.name: views.reference_of(task) for task in instead}
    places = {task.name: views.reference_of(task) for task in tasks}
    starts = {(type(task.use).__module__, type(task.use).__qualname__) for task in special(tasks)}
    lifted = frozenset(replaced.values())
    wanted = uses.needs(frozenset(starts | lifted), chapter, lifted)
    around = sorted({module for module, _ in places.values()})
    view = views.view(chapter, wanted.answers - set(places.values()))
    return {
        "modules": {name: compiled(name, source)
                    for name, source in (view | uses.sources(wanted.hidden)).items()},
        "around": [name for name in around if name in view],
        "imports": [
            *(line for name in around if name not in view
              for line in uses.imports_of(name)),
            *(f"from {module} import {key} as {name.split('.')[-1]}"
              for name, (module, key) in replaced.items()),
        ],
        "pieces": [
            (one.label, one.source, one.defines, one.name if one.name in own else "")
            for one in work.pieces if one.name not in replaced
        ],
        "places": places,
        "uses": {task.name: (type(task.use).__module__, type(task.use).__qualname__,
                             dict(vars(task.use))) for task in special(tasks)},
    }  # fmt: skip


class Answer:
    """A student's function or class, to be called like any other."""

    def __init__(self, remote: Remote, task: Task) -> None:
        self.remote, self.task, self.seconds = remote, task, 0.0

    def __call__(self, *given: Any) -> Any:
        return self.put_to_use(given, use=False)

    def put_to_use(self, given: tuple[Any, ...], use: bool) -> Any:
        """Call it, or do with it what the task's Use does, and keep how long that took."""
        out, self.seconds = self.remote.call(self.task, given, use)
        return out


class Inside(Use):
    """What a task's Use does, done in the sandbox for a student's answer, here for any other."""

    limit = None  # the sandbox ends what does not end

    def __init__(self, use: Use) -> None:
        self.use, self.in_order = use, use.in_order

    def run(self, answer: Any, *given: Any) -> Any:
        if isinstance(answer, Answer):
            return answer.put_to_use(given, use=type(self.use) is not Use)
        return self.use.run(answer, *given)

    def seconds(self, answer: Any, measured: float) -> float:
        return answer.seconds if isinstance(answer, Answer) else measured

    def shown(self, name: str, *given: Any) -> str:
        return self.use.shown(name, *given)


def inside(task: Task) -> Task:
    """The same task, for an answer that runs in the sandbox."""
    return replace(task, use=Inside(task.use))

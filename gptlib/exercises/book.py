"""The exercises of all chapters by name, and the words that a notebook has for them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar

from gptlib.exercises import (
    arrays,
    attention,
    bigram,
    block,
    by_hand,
    capstone,
    generation,
    gpt,
    layers,
    modern,
    port,
    scale,
    speed,
    tokenizer,
    training,
    work,
)
from gptlib.exercises.comparing import shown
from gptlib.exercises.question import Question, mark
from gptlib.exercises.task import Task, Verdict, judge

Answer = TypeVar("Answer", bound=Callable[..., Any])
CHAPTERS = (
    tokenizer, bigram, attention, layers, block, gpt, training, generation, modern, speed, scale,
    capstone,
)  # fmt: skip
APPENDICES: dict[str, Any] = {"A": arrays, "B": port, "C": by_hand}
_PARTS: tuple[Any, ...] = (*CHAPTERS, *APPENDICES.values())
TASKS: dict[str, Task] = {task.name: task for part in _PARTS for task in part.TASKS}
QUESTIONS: dict[str, Question] = {q.name: q for part in _PARTS for q in part.QUESTIONS}
GOES_ON = {
    "right": "The chapter goes on with your code.",
    "wrong": "Change it and run the cell again; meanwhile the chapter goes on with its own.",
    "not attempted": "The chapter goes on with its own.",
}
_told: dict[str, int] = {}  # how many hints each exercise has given
_mine: dict[str, Callable[..., Any]] = {}  # what the learner has written in this notebook


def find(name: str) -> Task | Question:
    """The exercise of that name. Errors: ValueError with the names that there are."""
    known: dict[str, Task | Question] = {**TASKS, **QUESTIONS}
    if name not in known:
        raise ValueError(f"name must be one of {', '.join(sorted(known))}; got {name!r}.")
    return known[name]


def task(name: str) -> Task:
    """The exercise of that name whose answer is code. Errors: ValueError."""
    found = find(name)
    if not isinstance(found, Task):
        raise ValueError(f'{name} is answered with a value: answer("{name}", ...).')
    return found


def exercise(name: str) -> Callable[[Answer], Answer]:
    """Look at the function or class below, say what is wrong with it, and go on.

    What stands under its name afterwards is the learner's own where it is right, and the course's
    where it is wrong or not there yet. Errors: ValueError for a name that is not there.
    """
    wanted = task(name)

    def look(answer: Answer) -> Answer:
        _name(answer)
        verdict = judge(wanted, answer)
        _mine.pop(name, None)
        _say(name, verdict, GOES_ON[verdict.state])
        if verdict.state != "right":
            kept: Any = wanted.reference
            return kept
        print(work.save(wanted, answer, TASKS.values()))
        _mine[name] = answer
        if isinstance(answer, type):
            answer.written_by_learner = True  # type: ignore[attr-defined]
        return answer

    return look


def _name(answer: Callable[..., Any]) -> None:
    """Let an answer find itself under its own name while it is looked at, as recursion does."""
    inside = vars(answer).values() if isinstance(answer, type) else [answer]
    space = next((f.__globals__ for f in inside if hasattr(f, "__globals__")), {})
    space[getattr(answer, "__name__", "")] = answer


def otherwise(name: str) -> Callable[[Answer], Answer]:
    """Keep the learner's own code for an exercise where it is right; else take what stands below.

    This is how a chapter shows its own code without putting it in the place of the learner's.
    """
    wanted = task(name)
    return lambda ours: _mine.get(wanted.name, ours)  # type: ignore[return-value]


def answer(name: str, *said: Any) -> None:
    """Look at an answer that is typed in: is it right? Several values count as a tuple."""
    asked = find(name)
    if not isinstance(asked, Question):
        raise ValueError(f'{name} is answered with code: write @exercise("{name}") above it.')
    value = said[0] if len(said) == 1 else said or None
    verdict = mark(asked, value)
    _say(name, verdict)
    if verdict.state != "not attempted":
        work.note(name, {"said": shown(value), "state": verdict.state})


def _say(name: str, verdict: Verdict, more: str = "") -> None:
    print(f"{name}: {verdict.words}" + (f"\n{more}" if more else ""))
    if verdict.state != "right":
        print(f'A hint: hint("{name}")')


def hint(name: str) -> None:
    """Print the next of an exercise's three hints; after the last one, the last one again."""
    hints = find(name).hints
    n = min(_told.get(name, 0), len(hints) - 1)
    _told[name] = n + 1
    print(f"Hint {n + 1} of {len(hints)}: {hints[n]}")


def solution(name: str) -> None:
    """Print the course's own answer to an exercise."""
    print(solution_of(find(name)))


def solution_of(asked: Task | Question) -> str:
    """The course's own answer as text: code, or a value and why."""
    if isinstance(asked, Task):
        return work.source_of(asked.reference).rstrip()
    value = asked.answer(**asked.figures(0))
    return f"{shown(value)}. {asked.because}"


def my_gpt() -> SimpleNamespace:
    """All core pieces of a GPT under their names: the learner's own where they are right.

    Prints whose is whose. `mine = my_gpt(); model = mine.GPT(config)` is a model whose parts are
    the learner's, and `mine.ModernGPT(config)` is one with what chapter 9 asks for.
    """
    frame = [part for chapter in CHAPTERS for part in getattr(chapter, "FRAME", ())]
    core = [one for one in TASKS.values() if one.kind == "core"]
    pieces, whose = work.assembled(core, TASKS.values(), frame)
    yours = [name for name, owner in whose.items() if owner == "yours"]
    print(f"Yours: {', '.join(yours) or 'none yet'} ({len(yours)} of {len(core)}).")
    for name, owner in whose.items():
        if owner not in ("yours", "the course's"):
            print(f"{name}: {owner}")
    return pieces

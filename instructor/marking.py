"""One student's work is marked: each exercise by the check of the notebook itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gptlib.exercises.question import Question, mark
from gptlib.exercises.task import Task, judge
from instructor import uses, views
from instructor.notebooks import Notebook
from instructor.remote import Answer, Gone, Remote, inside, together
from instructor.sandbox import Sandbox

RESTARTS = 3  # how often a chapter's process is begun again after it ended itself
POINTS = {"core": 3.0, "bug": 2.0, "stretch": 2.0}  # by kind; every other exercise has one


@dataclass(frozen=True)
class Mark:
    """What is said of one exercise. `state`: "right", "wrong" or "not attempted"."""

    state: str
    words: str


@dataclass
class Marked:
    """What is said of one student's work; `notes` is for the instructor."""

    marks: dict[str, Mark] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def points_of(asked: Task | Question, points: dict[str, float]) -> float:
    """How many points an exercise has."""
    return points.get(asked.name, POINTS.get(asked.kind, 1.0))


def mark_work(
    sandbox: Sandbox,
    work: Notebook,
    asked: Sequence[Task | Question],
    seed: int = 0,
    before: dict[str, Mark] | None = None,
) -> Marked:
    """Mark all exercises of one student.

    seed: the variant of the questions that the class had. before: marks that are known already, of
    answers that may be called.
    """
    marked = Marked(dict(before or {}), list(work.faults))
    rooms: dict[tuple[int, int], list[Task]] = {}  # by chapter and file
    for one in asked:
        if isinstance(one, Question):
            marked.marks[one.name] = _typed(one, work, seed)
        elif one.name in work.unread:
            marked.marks[one.name] = Mark("wrong", f"not yet. {work.unread[one.name]}")
        elif work.code(one.name):
            file = work.alone(one.name).pieces[0].file
            rooms.setdefault((views.chapter_of(one.name), file), []).append(one)
        else:
            marked.marks[one.name] = Mark("not attempted", "it is not in what was handed in.")
    for (chapter, _), tasks in rooms.items():
        own = work.alone(tasks[0].name)
        for group in together(tasks, chapter):
            _mark_chapter(sandbox, chapter, group, own, marked)
        _again(sandbox, chapter, tasks, own, marked)
    marked.marks = {one.name: marked.marks[one.name] for one in asked}
    return marked


def _again(
    sandbox: Sandbox, chapter: int, tasks: list[Task], work: Notebook, marked: Marked
) -> None:
    """Look again at wrong answers that call other wrong ones, now with the course's in their place.

    So it is in the notebook: whoever got the mask wrong goes on with the right one.
    """
    everything = [one for one in views.asked_in([chapter]) if isinstance(one, Task)]
    wrong = [one for one in everything
             if one.name in marked.marks and marked.marks[one.name].state != "right"
             and uses.stands_alone(views.reference_of(one), chapter)]  # fmt: skip
    for task in tasks:
        if marked.marks[task.name].state != "wrong":
            continue
        words = work.words(task.name)
        others = [one for one in wrong if one.name != task.name]
        called = [one for one in others if one.name.split(".")[-1] in words]
        if not called:
            continue
        try:
            remote = Remote(sandbox, chapter, [task], work, instead=called)
        except Gone:
            continue
        try:
            second = _judged(task, remote)
        except Gone:
            continue
        finally:
            remote.close()
        if second.state == "right":
            names = ", ".join(one.name for one in called)
            said = f"right, with the course's {names} in the place of yours."
            marked.marks[task.name] = Mark("right", said)
        elif second.state == "wrong":  # what is wrong with this one itself
            marked.marks[task.name] = Mark("wrong", second.words)


def _typed(question: Question, work: Notebook, seed: int) -> Mark:
    if question.name in work.unread:
        return Mark("wrong", f"not yet. {work.unread[question.name]}")
    verdict = mark(question, work.answers.get(question.name), seed)
    return Mark(verdict.state, verdict.words)


def _mark_chapter(
    sandbox: Sandbox, chapter: int, tasks: list[Task], work: Notebook, marked: Marked
) -> None:
    """Mark the functions and classes of a chapter, in a process that is begun again if it ends."""
    left, begun = list(tasks), 0
    while left and begun <= RESTARTS:
        begun += 1
        try:
            remote = Remote(sandbox, chapter, tasks, work)
        except Gone as error:
            if begun > 1:
                break
            left = _one_by_one(sandbox, chapter, left, work, marked, str(error))
            break
        try:
            marked.notes += [note for note in remote.notes if note not in marked.notes]
            while left:
                task = left[0]
                marked.marks[task.name] = _judged(task, remote)
                left.pop(0)
        except Gone as error:
            marked.marks[left.pop(0).name] = Mark("wrong", f"not yet. When it is called, {error}.")
        finally:
            remote.close()
    for task in left:
        words = "not yet. The code ended its process again and again; the rest was not looked at."
        marked.marks[task.name] = Mark("wrong", words)


def _one_by_one(
    sandbox: Sandbox, chapter: int, tasks: list[Task], work: Notebook, marked: Marked, why: str
) -> list[Task]:
    """Where loading all answers fails, load each alone: one of them may have ended the process."""
    for number, task in enumerate(tasks):
        if number > RESTARTS:
            return tasks[number:]
        alone = Notebook([piece for piece in work.pieces if piece.name in ("", task.name)])
        try:
            remote = Remote(sandbox, chapter, [task], alone)
        except Gone:
            marked.marks[task.name] = Mark("wrong", f"not yet. When its cell runs, {why}.")
            continue
        try:
            marked.marks[task.name] = _judged(task, remote)
        except Gone as error:
            marked.marks[task.name] = Mark("wrong", f"not yet. When it is called, {error}.")
        finally:
            remote.close()
    return []


def _judged(task: Task, remote: Remote) -> Mark:
    """The check of one answer. Errors: Gone."""
    if task.name not in remote.there:
        why = "; ".join(remote.notes) or "nothing was defined"
        return Mark("wrong", f"not yet. Its cell does not run: {why}")
    if not remote.there[task.name]:
        return Mark("not attempted", f"nothing is written yet. {task.asks}")
    answer: Any = Answer(remote, task)
    verdict = judge(inside(task), answer)
    return Mark(verdict.state, verdict.words)

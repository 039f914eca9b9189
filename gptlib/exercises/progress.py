"""What is done and what is next, chapter by chapter.

Given, not built. Nothing is kept for this: it is read from the learner's folder (work.py), and
code is looked at anew, so that it says what holds with the present version of the course.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

from gptlib.exercises import predictions, work
from gptlib.exercises.book import APPENDICES, CHAPTERS, TASKS
from gptlib.exercises.question import Question
from gptlib.exercises.task import Task

TITLES: dict[int | str, str] = {
    1: "Tokenizer",
    2: "Bigram",
    3: "Attention",
    4: "LayerNorm and GELU",
    5: "Residuals",
    6: "The full GPT",
    7: "Training",
    8: "Generation",
    9: "A modern GPT",
    10: "Speed",
    11: "Scale and share",
    12: "Your GPT",
    "A": "The same model in NumPy",
    "B": "The same model in MLX",
    "C": "Backpropagation by hand",
}
DONE, OPEN, BROKEN = "done", "open", "no longer right"


@dataclass(frozen=True)
class Line:
    """One exercise: its chapter, its name, and "done", "open", or "no longer right" and why.

    An appendix has a letter in the place of a chapter's number.
    """

    chapter: int | str
    name: str
    state: str
    why: str = ""


@dataclass(frozen=True)
class Progress:
    """The exercises of all chapters in order; a notebook shows it as a table."""

    lines: tuple[Line, ...]
    predictions: str = ""  # how many of the guesses came out, as a sentence

    def of(self, chapter: int | str) -> list[Line]:
        """The exercises of one chapter or appendix: `of(3)`, `of("A")`."""
        return [line for line in self.lines if line.chapter == chapter]

    @property
    def next(self) -> str | None:
        """The first exercise that is not done."""
        return next((line.name for line in self.lines if line.state != DONE), None)

    def text(self, every: bool = False) -> str:
        """The table as text; `every` names the exercises that are done, too."""
        said = []
        for chapter, title in TITLES.items():
            lines = self.of(chapter)
            done = [line.name for line in lines if line.state == DONE]
            said.append(f"{chapter}. {title}: {len(done)} of {len(lines)}")
            said += [f"   done: {name}" for name in done if every]
            said += [f"   {line.name}: {line.why}" for line in lines if line.state == BROKEN]
        said += [self.predictions] * bool(self.predictions)
        said.append(f"Next: {self.next}." if self.next else "All of them are done.")
        return "\n".join(said)

    def _repr_html_(self) -> str:
        rows = []
        for chapter, title in TITLES.items():
            lines = self.of(chapter)
            done = sum(line.state == DONE for line in lines)
            left = ", ".join(line.name.split(".")[-1] for line in lines if line.state != DONE)
            cells = (f"{chapter}. {title}", f"{done} of {len(lines)}", left or "nothing")
            first, *others = (html.escape(cell) for cell in cells)
            rows.append(
                f'<tr><th scope="row">{first}</th>'
                + "".join(f"<td>{cell}</td>" for cell in others)
                + "</tr>"
            )
        head = "".join(f'<th scope="col">{name}</th>' for name in ("chapter", "done", "left"))
        said = f"{self.predictions} Next: {self.next or 'nothing, all are done'}".strip()
        caption = html.escape(said)
        table = f"<caption>{caption}</caption><thead><tr>{head}</tr></thead>"
        return f"<table>{table}<tbody>{''.join(rows)}</tbody></table>"

    def __repr__(self) -> str:
        return self.text()


def progress() -> Progress:
    """What is done and what is next. Errors: ValueError where the file of answers is damaged."""
    said = work.answers()
    lines = []
    parts: list[tuple[int | str, Any]] = [*enumerate(CHAPTERS, 1), *APPENDICES.items()]
    for number, part in parts:
        lines += [_task(number, task) for task in part.TASKS]
        lines += [_question(number, question, said) for question in part.QUESTIONS]
    return Progress(tuple(lines), predictions.score())


def _task(chapter: int | str, task: Task) -> Line:
    path = work.file_of(task.name)
    if not path.exists():
        return Line(chapter, task.name, OPEN)
    why = work.fault_of(task, path, TASKS.values())
    return Line(chapter, task.name, DONE if why is None else BROKEN, why or "")


def _question(chapter: int | str, question: Question, said: dict) -> Line:
    state = said.get(question.name, {})
    right = isinstance(state, dict) and state.get("state") == "right"
    return Line(chapter, question.name, DONE if right else OPEN)

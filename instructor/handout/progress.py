"""What is done of this release, and what is next: looked at anew each time."""

from __future__ import annotations

from dataclasses import dataclass

from gptlib.exercises import predictions, work
from gptlib.exercises.book import LATER, RELEASED, TASKS, own

DONE, NOTED, OPEN, UNSEEN = "done", "noted", "open", "marked when it is handed in"


@dataclass(frozen=True)
class Progress:
    """By chapter, with its title, each exercise and its state: one of the four words above.

    What is noted is marked when it is handed in.
    """

    chapters: dict[str, dict[str, str]]
    predictions: str = ""

    @property
    def next(self) -> str | None:
        """The first exercise that is open."""
        states = [pair for found in self.chapters.values() for pair in found.items()]
        return next((name for name, state in states if state == OPEN), None)

    def text(self, every: bool = False) -> str:
        """The table as text; `every` names what is done or noted, too."""
        said = []
        for title, found in self.chapters.items():
            count = sum(state in (DONE, NOTED) for state in found.values())
            said.append(f"{title}: {count} of {len(found)}")
            said += [f"   {state}: {name}" for name, state in found.items()
                     if every and state != OPEN]  # fmt: skip
        said += [self.predictions] * bool(self.predictions)
        return "\n".join([*said, f"Next: {self.next}." if self.next else "Nothing is open."])

    def __repr__(self) -> str:
        return self.text()


def progress() -> Progress:
    """What is done and what is next. Errors: ValueError where the file of answers is damaged."""
    noted = work.answers()

    def state(name: str) -> str:
        if name in TASKS:
            return DONE if own(name) is not None else OPEN
        if name in LATER:
            return UNSEEN
        return NOTED if name in noted else OPEN

    chapters = {title: {name: state(name) for name in names}
                for title, names in RELEASED["chapters"].items()}  # fmt: skip
    return Progress(chapters, predictions.score())

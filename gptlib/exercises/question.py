"""An exercise whose answer is typed in: worked out on paper, or measured.

Given, not built. A question is asked about figures that a seed draws, so that every learner of a
class can have figures of their own; seed 0 has those that the book prints.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gptlib.exercises.comparing import shown
from gptlib.exercises.task import Mistake, Verdict

Answer = int | float | str | bool | tuple[Any, ...]


@dataclass(frozen=True)
class Question:
    """What is asked, its answer, and the answers of those who made a mistake.

    asks: the question, with the names of its figures in braces. figures: from a seed to those.
    answer: from the figures, by name, to the right answer: a number, a text, or a tuple. mistakes:
    what people answer instead, from the same figures. within: how far a number may be off, as a
    share of it; 0 for what is counted. places: how many decimals are asked for, for each number its
    own or for all the same: what is rounded to them is right. because: what the learner reads
    beside "right".
    """

    name: str
    asks: str
    figures: Callable[[int], dict[str, Any]]
    answer: Callable[..., Answer]
    hints: tuple[str, str, str]
    mistakes: tuple[Mistake, ...]
    because: str
    within: float = 0.0
    places: int | tuple[int, ...] | None = None
    kind: str = "paper"

    def asked(self, seed: int = 0) -> str:
        """The question with its figures."""
        figures = self.figures(seed)
        return self.asks.format(**{key: shown(value) for key, value in figures.items()})


def same(
    said: Any, wanted: Answer, within: float = 0.0, places: int | tuple[int, ...] | None = None
) -> bool:
    """Whether what was typed in is this answer.

    within: a share of the number. places: decimals; half a unit of the last one is near enough,
    and a hundredth of that more, for whoever rounds on the way.

    same(" Rows ", "rows") -> True
    same(0.13, 0.1349, places=2) -> True
    """
    if isinstance(wanted, str):
        return isinstance(said, str) and said.strip().casefold() == wanted.casefold()
    if isinstance(wanted, tuple):
        if not isinstance(said, tuple | list) or len(said) != len(wanted):
            return False
        each = places if isinstance(places, tuple) else (places,) * len(wanted)
        return all(map(same, said, wanted, (within,) * len(wanted), each))
    if isinstance(wanted, bool) or isinstance(said, bool):
        return said is wanted
    if not isinstance(said, int | float):
        return False
    half = 0.505 * 10.0**-places if isinstance(places, int) and isinstance(wanted, float) else 0.0
    return math.isclose(said, wanted, rel_tol=within, abs_tol=max(within * 1e-3, half))


def mark(question: Question, said: Any, seed: int = 0) -> Verdict:
    """Look at an answer that was typed in; `...` and None are not attempted."""
    if said is None or said is ...:
        return Verdict("not attempted", f"nothing is written yet. {question.asked(seed)}")
    said = _plain(said)
    figures = question.figures(seed)
    wanted = question.answer(**figures)
    if same(said, wanted, question.within, question.places):
        return Verdict("right", f"right. {question.because}")
    for mistake in question.mistakes:
        if _is_of(mistake, said, figures, question.within):
            return Verdict("wrong", f"not yet: {shown(said)}. {mistake.says}")
    why = _kind(said, wanted) or _parts(question, said, wanted)
    return Verdict("wrong", f"not yet. {why or f'{shown(said)} is not it.'}")


def _plain(said: Any) -> Any:
    """What was typed in, with numbers for tensors and NumPy's values of one number."""
    if isinstance(said, tuple | list):
        return type(said)(map(_plain, said)) if type(said) in (tuple, list) else said
    return said.item() if hasattr(said, "item") and getattr(said, "ndim", 1) == 0 else said


def _is_of(mistake: Mistake, said: Any, figures: dict[str, Any], within: float) -> bool:
    try:
        return same(said, mistake.made(**figures), within)
    except Exception:  # a mistake may make no sense for some figures
        return False


def _parts(question: Question, said: Any, wanted: Answer) -> str | None:
    """Which of several values are not right; nothing where there is one, or all are wrong."""
    if not isinstance(wanted, tuple):
        return None
    places = question.places
    each = places if isinstance(places, tuple) else (places,) * len(wanted)
    pairs = enumerate(zip(said, wanted, each, strict=True), 1)
    wrong = [str(n) for n, (a, b, p) in pairs if not same(a, b, question.within, p)]
    if len(wrong) == len(wanted):
        return f"{shown(said)}: none of the {len(wanted)} values is right."
    which = f"number {wrong[0]} is" if len(wrong) == 1 else f"numbers {' and '.join(wrong)} are"
    return f"{shown(said)}: of the {len(wanted)} values, {which} not right."


def _kind(said: Any, wanted: Answer) -> str | None:
    """What is wrong with the kind of an answer, if that is wrong."""
    if isinstance(wanted, tuple):
        if not isinstance(said, tuple | list):
            return f"{len(wanted)} values in brackets are asked for; got {shown(said)}."
        if len(said) != len(wanted):
            return f"{len(wanted)} values are asked for; got {len(said)}."
        return None
    if isinstance(wanted, bool) and not isinstance(said, bool):
        return f"True or False is asked for; got {shown(said)}."
    if isinstance(wanted, str) and not isinstance(said, str):
        return f"A word in quotes is asked for; got {shown(said)}."
    if not isinstance(wanted, str) and not isinstance(said, int | float):
        return f"A number is asked for; got {shown(said)}."
    if isinstance(wanted, int | float) and not isinstance(wanted, bool):
        return f"{shown(said)} is too {'large' if said > wanted else 'small'}."
    return None

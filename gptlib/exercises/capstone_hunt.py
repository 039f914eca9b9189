"""A bug hunt of chapter 12: documents that are held out, and are learned all the same.

The second and the third bug are ones that a class may be dealt (`hunts`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from gptlib.exercises.hunt import Hunt
from gptlib.exercises.task import Mistake, Task

Texts = Sequence[str]
Parts = tuple[list[str], list[str]]


def held_out(documents: Texts, n: int) -> Parts:
    """(training, validation): the last n different documents are held out."""
    different = list(dict.fromkeys(documents))
    return different[:-n], different[-n:]


def with_copies(documents: Texts, n: int) -> Parts:
    """(training, validation): the last n different documents are held out."""
    different = list(documents)
    return different[:-n], different[-n:]


def all_learned(documents: Texts, n: int) -> Parts:
    """(training, validation): the last n different documents are held out."""
    different = list(dict.fromkeys(documents))
    return different, different[-n:]


def one_in_both(documents: Texts, n: int) -> Parts:
    """(training, validation): the last n different documents are held out."""
    different = list(dict.fromkeys(documents))
    return different[: 1 - n or None], different[-n:]


def heaps(seed: int) -> Iterator[tuple[Any, ...]]:
    """A copy of the last one among the others; one twice in the end; three of many."""
    draw = Random(seed)
    yield ["fox", "owl", "hen", "fox", "ape", "cat", "owl"], 2
    yield ["a", "b", "c", "b", "d", "d"], 2
    many = [f"tale {draw.randrange(9)}" for _ in range(25)]
    yield [*many, "tale 10", "tale 11", "tale 3", "tale 11"], 3


def _with(
    once: Callable[[Texts], list[str]], cut: Callable[[list[str], int], Parts]
) -> Callable[..., Parts]:
    return lambda documents, n: cut(once(documents), n)


def _once(documents: Texts) -> list[str]:
    return list(dict.fromkeys(documents))


def _after_the_cut(documents: Texts, n: int) -> Parts:
    train, validation = list(documents[:-n]), list(documents[-n:])
    return [text for text in train if text not in validation], validation


def _written_otherwise(documents: Texts, n: int) -> Parts:
    different: list[str] = []
    for text in documents:
        if text not in different:
            different.append(text)
    cut = len(different) - n
    return different[:cut], different[cut:]


HELD_OUT = Task(
    name="capstone.held_out",
    asks="A document of the validation part stands in the training part, too. How did it get "
    "there, when the list is cut in two?",
    reference=held_out,
    bug=with_copies,
    inputs=heaps,
    kind="bug",
    hints=(
        "Look for a text that stands in the list twice. On which sides of the cut are its copies?",
        "Before the cut each text has to be there once, in the order in which they come.",
        "different = list(dict.fromkeys(documents))",
    ),
    mistakes=(
        Mistake(
            "The whole list is learned, the part that is held out included.",
            all_learned,
        ),
        Mistake(
            "The two parts overlap by one document: where one ends the other has begun.",
            one_in_both,
        ),
        Mistake(
            "These are the first n, and the last n are to be held out.",
            _with(_once, lambda texts, n: (texts[n:], texts[:n])),
        ),
        Mistake(
            "The two parts have changed places: training comes first.",
            _with(_once, lambda texts, n: (texts[-n:], texts[:-n])),
        ),
        Mistake(
            "The order is lost. A set has none, and a sorted one is another text.",
            _with(
                lambda documents: sorted(set(documents), reverse=True),
                lambda texts, n: (texts[:-n], texts[-n:]),
            ),
        ),
        Mistake(
            "Copies are taken out of the training part, and are left among what is held out, or "
            "twice in training. Each document is to be there once.",
            _after_the_cut,
        ),
    ),
    right=(
        _written_otherwise,
        lambda documents, n: (
            [*dict.fromkeys(documents)][:-n],
            [*dict.fromkeys(documents)][-n:],
        ),
    ),
)

TASKS = (HELD_OUT,)
HUNTS = {
    "capstone.held_out": (
        Hunt(
            all_learned,
            "Each document is there once, and still all of the exam is learned. What is cut off "
            "from the training part?",
            (
                "How long are the two parts, and how long is the list?",
                "The training part is the list without its last n.",
                "return different[:-n], different[-n:]",
            ),
        ),
        Hunt(
            one_in_both,
            "One document too many is learned. Where does the training part end, and where does "
            "the other begin?",
            (
                "The lengths of the two parts add up to more than the list has.",
                "With five documents and n = 2 the training part is those at 0, 1 and 2.",
                "different[:-n] ends where different[-n:] begins.",
            ),
        ),
    )
}

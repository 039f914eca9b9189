"""The exercise of chapter 10 about spans: what a part spends in itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

from gptlib.exercises.task import Mistake, Task
from gptlib.flame import Span, self_seconds

Within = Callable[[Span, Span], bool]


def _inside(span: Span, other: Span) -> bool:
    """Whether the other one lies within it, however deep."""
    held = span.began <= other.began and other.ended <= span.ended
    return held and other.depth > span.depth


def _strictly(span: Span, other: Span) -> bool:
    """One deeper, and between the begin and the end, neither of which counts."""
    held = span.began < other.began and other.ended < span.ended
    return held and other.depth == span.depth + 1


def _right_inside(span: Span, other: Span) -> bool:
    return _inside(span, other) and other.depth == span.depth + 1


def spans(seed: int) -> Iterator[tuple[Any, ...]]:
    """One in another; three deep, with a name twice; side by side; to the very end; by chance."""
    yield ([Span("a", 0, 0.0, 1.0), Span("b", 1, 0.25, 0.5)],)
    yield ([Span("a", 0, 0.0, 10.0), Span("b", 1, 1.0, 4.0), Span("c", 2, 2.0, 2.5),
            Span("b", 1, 5.0, 6.0)],)  # fmt: skip
    yield ([Span("step", 0, 0.0, 3.0), Span("norm", 1, 1.0, 2.0), Span("step", 0, 3.0, 5.0)],)
    yield ([Span("step", 0, 0.0, 2.0), Span("loss", 1, 1.5, 2.0)],)
    draw, found, at = Random(seed), [Span("model", 0, 0.0, 8.0)], 0.0
    for block in range(3):
        wide = 1 + draw.random()
        found.append(Span(f"block {block}", 1, at, at + wide))
        found.append(Span("linear", 2, at + 0.125, at + wide / 2))
        at += wide + 0.25
    draw.shuffle(found)
    yield (found,)


def _by(within: Within, kept: Callable[[float, float], float] | None = None) -> Any:
    """The own seconds with another idea of what lies inside, or of how a name adds up."""

    def own(spans: Sequence[Span]) -> dict[str, float]:
        found: dict[str, float] = defaultdict(float)
        for span in spans:
            inside = sum(other.seconds for other in spans if within(span, other))
            mine = span.seconds - inside
            found[span.name] = kept(found[span.name], mine) if kept else found[span.name] + mine
        return dict(found)

    return own


def _leaves(spans: Sequence[Span]) -> dict[str, float]:
    found: dict[str, float] = defaultdict(float)
    for span in spans:
        if not any(_inside(span, other) for other in spans):
            found[span.name] += span.seconds
    return dict(found)


def _from_parents(spans: Sequence[Span]) -> dict[str, float]:
    """Each span adds to its own name, and takes from the one that it stands in."""
    found = dict.fromkeys((span.name for span in spans), 0.0)
    for span in spans:
        found[span.name] += span.seconds
        for other in spans:
            if _right_inside(other, span):
                found[other.name] -= span.seconds
    return found


SELF_SECONDS = Task(
    name="speed.self_seconds",
    asks="For each name the seconds of its spans, less those of the spans right inside of them.",
    reference=self_seconds,
    inputs=spans,
    hints=(
        "A span lies in another one if it begins no earlier and ends no later. Which of those are "
        "one step deeper?",
        "From the seconds of a span take the sum of the seconds of the spans that are one deeper "
        "and lie within it. A name may come more than once: add up.",
        "inside = sum(o.seconds for o in spans if o.depth == span.depth + 1 and span.began <= "
        "o.began and o.ended <= span.ended), and found[span.name] grows by span.seconds - inside.",
    ),
    mistakes=(
        Mistake(
            "Nothing is taken away: what a part's parts spend counts twice, and all names together "
            "have more seconds than the step.",
            _by(lambda span, other: False),
        ),
        Mistake(
            "Too much is taken away: what stands two deep is a part of what stands one deep, and "
            "was taken with it.",
            _by(_inside),
        ),
        Mistake(
            "What is one deeper is taken from every span, wherever it stands. It has to lie "
            "within it, from begin to end.",
            _by(lambda span, other: other.depth == span.depth + 1),
        ),
        Mistake(
            "A name that comes twice has the seconds of its last span alone. They add up.",
            _by(_right_inside, lambda before, mine: mine),
        ),
        Mistake(
            "Only spans with nothing inside count here. What a part does between its parts is its "
            "own, too.",
            _leaves,
        ),
        Mistake(
            "A part may begin or end together with what it is a part of: it lies within all the "
            "same.",
            _by(_strictly),
        ),
    ),
    right=(_by(_right_inside), _from_parents),
)

TASKS = (SELF_SECONDS,)

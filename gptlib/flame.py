"""Where the time of a training step goes, part by part.

Built in chapter 10. A clock stands at the door of every part of the model: it notes when the part
is entered and when it is left, on the way forward and on the way back. The parts stand inside one
another, and so do the stretches of time: drawn above each other they are known as a flame graph.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import nn

from gptlib.given.models import LanguageModel


class Span(NamedTuple):
    """A stretch of time: the part's name, how deep it stands, and when it began and ended.

    Seconds are counted from the start of the step.
    """

    name: str
    depth: int
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return self.ended - self.began


class Clock:
    """Notes spans; those that are open are a stack, so a span knows how deep it stands."""

    def __init__(self) -> None:
        self.zero = time.perf_counter()
        self.open: list[tuple[str, float]] = []
        self.spans: list[Span] = []

    def now(self) -> float:
        """Seconds since the clock was started; a GPU is waited for, or it would be its queue."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter() - self.zero

    def enter(self, name: str) -> None:
        """A part begins."""
        self.open.append((name, self.now()))

    def leave(self, name: str) -> None:
        """A part ends: the one that was entered last under this name, with all that is in it."""
        while self.open:
            opened, began = self.open.pop()
            self.spans.append(Span(opened, len(self.open), began, self.now()))
            if opened == name:
                return

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """A stretch that is no part of the model: `with clock.span("optimizer"): …`"""
        self.enter(name)
        try:
            yield
        finally:
            self.leave(name)


@contextmanager
def clocked(model: nn.Module, clock: Clock) -> Iterator[None]:
    """While it lasts, the clock hears of every part that is entered or left on the way forward."""
    handles = []
    for path, part in model.named_modules():
        name = f"{path or 'model'}"
        handles.append(part.register_forward_pre_hook(lambda *_, n=name: clock.enter(n)))
        handles.append(part.register_forward_hook(lambda *_, n=name: clock.leave(n)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def time_step(
    model: LanguageModel, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor
) -> list[Span]:
    """The spans of one training step on x, y (B, T): forward with its parts, backward, update.

    The first step of a model is slower than the rest: make one before. The gradients are clipped to
    a length of 1, as in the book's recipe.
    """
    clock = Clock()
    parts: Any = model
    with clocked(parts, clock), clock.span("forward"):
        _, loss = model(x, y)
    with clock.span("backward"):
        loss.backward()
    with clock.span("clip"):
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    with clock.span("optimizer"):
        optimizer.step()
        optimizer.zero_grad()
    return sorted(clock.spans, key=lambda span: (span.began, span.depth))


def self_seconds(spans: Sequence[Span]) -> dict[str, float]:
    """Seconds that each part spends in itself: its spans, less those that stand right inside.

    self_seconds([Span("a", 0, 0.0, 1.0), Span("b", 1, 0.2, 0.5)]) -> {"a": 0.7, "b": 0.3}
    """
    found: dict[str, float] = defaultdict(float)
    for span in spans:
        inside = [
            other.seconds
            for other in spans
            if other.depth == span.depth + 1
            and span.began <= other.began
            and other.ended <= span.ended
        ]
        found[span.name] += span.seconds - sum(inside)
    return dict(found)


def by_kind(model: nn.Module, spans: Sequence[Span]) -> dict[str, float]:
    """The same by the kind of part, "LayerNorm", "Linear", …; what is no part keeps its name."""
    kinds = {path or "model": type(part).__name__ for path, part in model.named_modules()}
    found: dict[str, float] = defaultdict(float)
    for name, spent in self_seconds(spans).items():
        found[kinds.get(name, name)] += spent
    return dict(found)

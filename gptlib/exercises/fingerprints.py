"""By what a patient of the bug foundry is told from health, and from another one.

Given, not built. A fingerprint is a row of gauges read from the traces of one run. The band of a
gauge reaches from its lowest to its highest reading in sixteen healthy seeds; its width is the
yardstick for every difference. A patient is told from health where one gauge lies outside its band
by more than one and a half times (LIMIT) the band's width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

Traces = dict[str, Any]
Fingerprint = dict[str, float]
LIMIT = 1.5
LOSS, GRADIENT, UPDATES, PLACES = PANELS = (
    "loss",
    "gradient norm",
    "update ratio",
    "exam, place by place",
)


@dataclass(frozen=True)
class Gauge:
    """A number that is read from the traces of a run, what it is called, and where it is drawn.

    least: the width of the narrowest band that is believed. length: whether it is a length or a
    ratio, which is read as its logarithm.
    """

    name: str
    read: Callable[[Traces], float]
    panel: str = LOSS
    least: float = 0.02
    length: bool = False

    def shown(self, value: float) -> str:
        """A reading with three digits, lengths as such.

        GAUGES[0].shown(7.3512) -> "7.35"
        """
        return f"{math.exp(value) if self.length else value:.3g}"


def _log(value: float) -> float:
    return math.log(max(value, 1e-6))


def _jitter(row: Sequence[float]) -> float:
    return sum(abs(b - a) for a, b in pairwise(row[-8:]))


def _mean(row: Sequence[float]) -> float:
    return sum(row) / len(row)


def _length(trace: str, i: int) -> Callable[[Traces], float]:
    """Reads one point of a trace as a logarithm."""
    return lambda traces: _log(traces[trace][i])


def _places(i: int) -> Callable[[Traces], float]:
    """Reads the exam's mean loss at four places in a row."""
    return lambda traces: _mean(traces["exam"][i : i + 4])


def _lengths() -> list[Gauge]:
    """The gauges of the gradient and of the updates."""
    watched = (
        ("grad_norm", "the gradient norm", GRADIENT, 9),
        ("table", "the update ratio of the token table", UPDATES, 5),
        ("blocks", "the update ratio of the blocks", UPDATES, 5),
    )
    made = [
        Gauge(f"{name} {when}", _length(trace, at), panel, 0.05, length=True)
        for trace, name, panel, middle in watched
        for at, when in ((0, "at the start"), (middle, "half-way"), (-1, "at the end"))
    ]
    return made + [
        Gauge(f"the update ratio of block {i} {when}", _length(trace, i), UPDATES, 0.05, True)
        for trace, when in (("early", "in step 10"), ("late", "at the end"))
        for i in range(4)
    ]


GAUGES: tuple[Gauge, ...] = (
    Gauge("the validation loss before the first step", lambda t: t["start"], least=0.03),
    Gauge("the training loss in the first ten steps", lambda t: t["train"][0], least=0.03),
    Gauge("the training loss half-way", lambda t: t["train"][9]),
    Gauge("the training loss at the end", lambda t: t["train"][-1]),
    Gauge("the validation loss at the end", lambda t: t["val"][-1]),
    Gauge("the exam", lambda t: _mean(t["exam"])),
    Gauge("the validation loss less the training loss", lambda t: t["val"][-1] - t["train"][-1]),
    Gauge("the exam less the validation loss", lambda t: _mean(t["exam"]) - t["val"][-1]),
    Gauge("the climb of the validation loss", lambda t: t["val"][-1] - min(t["val"])),
    Gauge("the ups and downs of the training loss", lambda t: _jitter(t["train"]), least=0.03),
    *_lengths(),
    *(Gauge(f"the loss at places {i + 1} to {i + 4}", _places(i), PLACES) for i in (0, 4, 8, 12)),
    Gauge("the pronouns that are right", lambda t: t["pronoun"], PLACES, 0.05),
)


def fingerprint(traces: Traces) -> Fingerprint:
    """The reading of every gauge."""
    return {gauge.name: gauge.read(traces) for gauge in GAUGES}


@dataclass(frozen=True)
class Band:
    """Where one gauge stands in health.

    Band(1.0, 1.2, 0.2).beyond(1.7) -> 2.5
    """

    low: float
    high: float
    width: float

    def beyond(self, value: float) -> float:
        """How far outside a reading lies, in widths of the band; 0 inside."""
        return max(self.low - value, value - self.high, 0.0) / self.width


def bands(healthy: Sequence[Traces]) -> dict[str, Band]:
    """The band of each gauge, from the traces of healthy runs."""
    prints = [fingerprint(traces) for traces in healthy]
    made = {}
    for gauge in GAUGES:
        low, high = (pick(found[gauge.name] for found in prints) for pick in (min, max))
        made[gauge.name] = Band(low, high, max(high - low, gauge.least))
    return made


def from_health(found: Fingerprint, health: dict[str, Band]) -> tuple[Gauge, float]:
    """The gauge that lies farthest outside its band, and by how many widths of the band."""
    best = max(GAUGES, key=lambda gauge: health[gauge.name].beyond(found[gauge.name]))
    return best, health[best.name].beyond(found[best.name])


def from_others(
    found: Fingerprint, others: Sequence[Fingerprint], health: dict[str, Band]
) -> list[tuple[Gauge, float]]:
    """What separates a patient from all of these others, and by how many widths of the band.

    Of each panel the gauge in which the nearest of the others is farthest away; the best first.
    """

    def gap(gauge: Gauge) -> float:
        nearest = min(abs(found[gauge.name] - other[gauge.name]) for other in others)
        return nearest / health[gauge.name].width

    best = [max((g for g in GAUGES if g.panel == panel), key=gap) for panel in PANELS]
    return sorted(((gauge, gap(gauge)) for gauge in best), key=lambda pair: -pair[1])

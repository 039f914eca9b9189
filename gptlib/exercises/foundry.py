"""The bug foundry: GPTs that run and are wrong, as many as one likes.

Given, not built.

    patient = bug(0)             # from the record, at once
    patient.show()               # its gauges, beside the band of healthy runs
    patient.choices()            # what it might be
    patient.guess("no mask")     # right or not, and where the difference lies

`bug(seed, fresh=True)` draws another fault, and trains with it on this machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache
from typing import Any

from gptlib.exercises.fault_table import KINDS
from gptlib.exercises.faults import NAMES, Fault, draw
from gptlib.exercises.fingerprints import (
    LIMIT,
    Band,
    Fingerprint,
    Gauge,
    Traces,
    bands,
    fingerprint,
    from_health,
    from_others,
)
from gptlib.given.checks.numbers import is_whole
from gptlib.given.records import record

FRESH = 10_000  # patients that are run on a learner's machine are numbered from here on
FIRST_SEED = 1000  # patient n has the seed 1000 + n; the healthy runs have those below


@cache
def health() -> dict[str, Band]:
    """The band of each gauge in the recorded reference runs."""
    return bands(list(record("foundry")["healthy"].values()))


@cache
def recorded() -> dict[int, tuple[str, Fingerprint]]:
    """The kind and the fingerprint of each recorded patient, by its number."""
    patients = record("foundry")["patients"]
    return {
        int(n): (found["fault"].partition(":")[0], fingerprint(found))
        for n, found in patients.items()
    }


def told(found: Fingerprint) -> bool:
    """Whether a run is told from health."""
    return from_health(found, health())[1] > LIMIT


def dealt() -> list[int]:
    """The numbers of the recorded patients that are told from health: those that are dealt out."""
    return [number for number, (_, found) in recorded().items() if told(found)]


def kept_out() -> list[str]:
    """The recorded patients that look healthy, by their faults."""
    return sorted(draw(n).told for n, (_, found) in recorded().items() if not told(found))


def bug(seed: int, fresh: bool = False) -> Patient:
    """A GPT that runs and is wrong.

    From the record: the seeds 0, 1, 2, … go through all that there are, then from the start.
    fresh=True draws a fault by the seed, trains with it here, and says first how long that takes;
    what is not told from health is not dealt out, and the next one is drawn. Its program is made of
    the course's own source. Errors: ValueError for a seed that is no whole number from 0 on.
    """
    if not is_whole(seed) or seed < 0:
        raise ValueError(f"seed must be a whole number, 0 or more; got {seed!r}.")
    seed = int(seed)  # NumPy's are no seeds to Python
    if not isinstance(fresh, bool):
        raise ValueError(f"fresh must be True or False; got {fresh!r}.")
    if fresh:
        return _fresh(seed)
    numbers = dealt()
    number = numbers[seed % len(numbers)]
    return Patient(draw(number), record("foundry")["patients"][str(number)], number)


def _fresh(seed: int) -> Patient:
    """A new patient, trained now."""
    from gptlib.exercises.ward import Ward, watch  # here: what is dealt from a record needs neither

    print("A run of 200 steps takes 10 to 30 seconds on a laptop; preparing the text takes 5 more.")
    ward = Ward()
    known = {recorded()[number][0] for number in dealt()}
    number = FRESH + seed
    while True:
        fault = draw(number)
        if fault.kind.name in known:
            try:
                traces = watch(fault, ward, FIRST_SEED + number, progress=True)
            except FloatingPointError as error:
                print(f"This one broke down in {error}. Another one is drawn.")
            else:
                if told(fingerprint(traces)):
                    return Patient(fault, traces, number)
                print("This one looks healthy: it is not dealt out. Another one is drawn.")
        number += len(KINDS) * 1000 + 1


class Patient:
    """One patient: its traces can be looked at, its fault is to be found.

    traces: what `gptlib.exercises.ward` records of a run.
    """

    def __init__(self, fault: Fault, traces: Traces, number: int) -> None:
        self.traces, self._fault, self._number = traces, fault, number
        self._found = fingerprint(traces)

    def __repr__(self) -> str:
        return "A patient: .show(), .choices(), .guess('…'), .reveal()"

    def show(self) -> None:
        """Draw the gauges: losses, gradient norm, update ratios, and the exam place by place."""
        from gptlib.exercises.foundry_plot import draw_patient  # here: it loads matplotlib

        draw_patient(self.traces, record("foundry"))

    def choices(self) -> list[str]:
        """The kinds of fault, in words: what `guess` takes."""
        return sorted(NAMES, key=str.casefold)

    def guess(self, name: str) -> None:
        """Say whether this is the fault; if not, in which gauges the two differ most.

        Errors: ValueError for what is not among the choices.
        """
        kind = _kind(name)
        if kind == self._fault.kind.name:
            print(f"Right. {self._fault.told}.")
            print(self._neighbour())
            print(self._fault.difference)
            return
        others = self._others(kind)
        ways = from_others(self._found, others, health())
        print(f"Not {kind!r}. {self._compared(ways, others, kind)}")
        if ways[0][1] <= LIMIT:
            print("Healthy seeds differ nearly as much: these gauges cannot exclude it.")
        elif not any(map(told, others)):
            print("No recorded patient with that fault is told from health; this one is.")

    def reveal(self) -> None:
        """Give up: print the fault, the gauge that shows it best, and the changed lines."""
        gauge, by = from_health(self._found, health())
        value = gauge.shown(self._found[gauge.name])
        print(f"{self._fault.told}.")
        print(
            f"What shows it best, {gauge.panel}: {gauge.name} is {value}, and {_range(gauge)} in "
            f"health; outside of that band by {by:.3g} times its width."
        )
        print(self._fault.difference)

    def _others(self, kind: str) -> list[Fingerprint]:
        """The fingerprints of the recorded patients of a kind, this one left out."""
        return [f for n, (k, f) in recorded().items() if k == kind and n != self._number]

    def _neighbour(self) -> str:
        """The kind that this patient is most like, and by what the two are told apart."""
        groups = {kind.name: self._others(kind.name) for kind in KINDS}
        ways = {
            kind: from_others(self._found, others, health())
            for kind, others in groups.items()
            if kind != self._fault.kind.name and any(map(told, others))
        }
        nearest = min(ways, key=lambda kind: ways[kind][0][1])
        compared = self._compared(ways[nearest], groups[nearest], nearest)
        sure = ways[nearest][0][1] > LIMIT
        doubt = "" if sure else "\nHealthy seeds differ nearly as much: the two can be confused."
        return f"Its nearest neighbour is {nearest!r}. {compared}{doubt}"

    def _compared(
        self, ways: list[tuple[Gauge, float]], others: list[Fingerprint], kind: str
    ) -> str:
        """The best gauge, and a second of another panel that separates, too: a line each."""
        lines = ["What separates them best:"]
        for gauge, _ in [ways[0], *(way for way in ways[1:2] if way[1] > LIMIT)]:
            values = sorted(other[gauge.name] for other in others)
            lines.append(
                f"  {gauge.panel}: {gauge.name} is {gauge.shown(self._found[gauge.name])}; "
                f"{_span(gauge, values[0], values[-1])} in the {len(values)} recorded patients "
                f"with {kind!r}, {_range(gauge)} in health."
            )
        return "\n".join(lines)


def _kind(name: Any) -> str:
    """The kind that a guess means. Errors: ValueError with the nearest, or with all."""
    if not isinstance(name, str):
        raise ValueError(f"name must be one of patient.choices(), in quotes; got {name!r}.")
    kinds: Iterable[str] = NAMES
    known = {kind.casefold(): kind for kind in kinds}
    asked = " ".join(name.split()).casefold()
    if asked in known:
        return known[asked]
    near = [known[key] for key in get_close_matches(asked, known, n=3, cutoff=0.5)]
    meant = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ValueError(f"name must be one of patient.choices(); got {name!r}.{meant}")


def _range(gauge: Gauge) -> str:
    band = health()[gauge.name]
    return _span(gauge, band.low, band.high)


def _span(gauge: Gauge, low: float, high: float) -> str:
    ends = gauge.shown(low), gauge.shown(high)
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"

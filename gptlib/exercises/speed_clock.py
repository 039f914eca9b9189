"""A bug hunt of chapter 10: a clock that is stopped before the work is done.

The device is made up: it takes work in, gives it back at once, and does it one piece after the
other in its own time. The second and the third bug are ones that a class may be dealt (`hunts`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from gptlib.exercises.hunt import Hunt
from gptlib.exercises.task import Mistake, Task, Use

Act = Callable[[], Any]


def seconds_of(run: Act, now: Callable[[], float], wait: Act, rounds: int) -> float:
    """The median seconds of one call: run() hands work over, wait() waits until it is done."""
    run()
    wait()
    times = []
    for _ in range(rounds):
        began = now()
        run()
        wait()
        times.append(now() - began)
    return sorted(times)[rounds // 2]


def not_waited_for(run: Act, now: Callable[[], float], wait: Act, rounds: int) -> float:
    """The median seconds of one call: run() hands work over, wait() waits until it is done."""
    run()
    wait()
    times = []
    for _ in range(rounds):
        began = now()
        run()
        times.append(now() - began)
    return sorted(times)[rounds // 2]


def not_warm(run: Act, now: Callable[[], float], wait: Act, rounds: int) -> float:
    """The median seconds of one call: run() hands work over, wait() waits until it is done."""
    times = []
    for _ in range(rounds):
        began = now()
        run()
        wait()
        times.append(now() - began)
    return sorted(times)[rounds // 2]


def warm_and_late(run: Act, now: Callable[[], float], wait: Act, rounds: int) -> float:
    """The median seconds of one call: run() hands work over, wait() waits until it is done."""
    run()
    times = []
    for _ in range(rounds):
        began = now()
        run()
        wait()
        times.append(now() - began)
    return sorted(times)[rounds // 2]


class Device:
    """A clock, and a device behind it: each piece of work takes as long as the list says."""

    HANDING = 0.001  # seconds to hand a piece of work over

    def __init__(self, durations: list[float]):
        self.clock, self.free, self.todo = 100.0, 100.0, list(durations)

    def now(self) -> float:
        return self.clock

    def run(self) -> None:
        self.clock += self.HANDING
        piece = self.todo.pop(0) if self.todo else 0.05
        self.free = max(self.free, self.clock) + piece

    def wait(self) -> None:
        self.clock = max(self.clock, self.free)


class OnDevice(Use):
    """Let a clock be read on a device that was made for it."""

    def run(self, answer: Callable[..., Any], *given: Any) -> Any:
        durations, rounds = given
        device = Device(durations)
        return answer(device.run, device.now, device.wait, rounds)

    def shown(self, name: str, *given: Any) -> str:
        return f"{name} of work that takes {given[0]} seconds, rounds={given[1]}"


def works(seed: int) -> Iterator[tuple[Any, ...]]:
    """One round behind a slow first call; three unequal ones; five."""
    draw = Random(seed)
    yield [2.0, 0.1], 1
    yield [2.0, 0.5, 0.1, 0.3], 3
    first = 5 + draw.random()
    yield [first, *(round(0.1 + draw.random(), 3) for _ in range(5))], 5


def _figure(told: Callable[[list[float]], float]) -> Callable[..., float]:
    """The right clock, and another figure made of its times."""

    def seconds(run: Act, now: Callable[[], float], wait: Act, rounds: int) -> float:
        run()
        wait()
        times = []
        for _ in range(rounds):
            began = now()
            run()
            wait()
            times.append(now() - began)
        return told(times)

    return seconds


def _all_at_once(run: Act, now: Callable[[], float], wait: Act, rounds: int) -> float:
    run()
    wait()
    began = now()
    for _ in range(rounds):
        run()
    wait()
    return (now() - began) / rounds


SECONDS_OF = Task(
    name="speed.seconds_of",
    asks="The work takes a tenth of a second, and a thousandth is measured. What has happened when "
    "`run` comes back, and what has not?",
    reference=seconds_of,
    bug=not_waited_for,
    inputs=works,
    use=OnDevice(),
    kind="bug",
    hints=(
        "`run` hands the work over. When is it done, and who says so?",
        "Between `run` and the second look at the clock the program has to wait.",
        "In the loop: began = now(), run(), wait(), then now() - began.",
    ),
    mistakes=(
        Mistake(
            "There is no call before the clock runs: the first one, which sets things up, is one "
            "of those that count.",
            not_warm,
        ),
        Mistake(
            "The first call is made before the clock runs, and not waited for: its work is still "
            "being done when the clock starts.",
            warm_and_late,
        ),
        Mistake(
            "This is the mean. One call that was disturbed moves it; the median it leaves alone.",
            _figure(lambda times: sum(times) / len(times)),
        ),
        Mistake(
            "This is the shortest call, and the median is asked for.",
            _figure(min),
        ),
        Mistake(
            "This is the sum of all rounds.",
            _figure(sum),
        ),
        Mistake(
            "All calls are handed over at once and timed together. That is a mean, and no call has "
            "a time of its own.",
            _all_at_once,
        ),
    ),
    right=(
        _figure(lambda times: sorted(times)[len(times) // 2]),
        _figure(lambda times: sorted(times, reverse=True)[len(times) // 2]),
    ),
)

TASKS = (SECONDS_OF,)
HUNTS = {
    "speed.seconds_of": (
        Hunt(
            not_warm,
            "With one round the answer is twenty times too long; with many it comes out right. "
            "What is other about the first call?",
            (
                "The first call of a device sets things up. Should it be one of those that count?",
                "The median of many leaves one slow call out. That of one does not.",
                "Before the loop: run(), then wait().",
            ),
        ),
        Hunt(
            warm_and_late,
            "There is a first call that does not count, and still the first round is far too "
            "long. When is the work of that call done?",
            (
                "At which time does the device begin with the first round's work?",
                "What was handed over before the clock ran is done while it runs.",
                "Before the loop, behind run(): wait().",
            ),
        ),
    )
}

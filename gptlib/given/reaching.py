"""Given, not built: reach a server before a deadline, whatever names and addresses stand before it.

Every wait is bounded by a `Clock`. A name service can keep its asker waiting as long as it likes,
and a name can have a hundred addresses at which nobody answers: `reach` is done in time with both.
"""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import Future
from typing import Any

SLOW = 3  # the minimum speed is asked of so many timeouts together: silence is noticed first


class Failure(Exception):
    """Why a transfer failed, as one line that a terminal may show: servers choose parts of it."""

    def __init__(self, reason: str) -> None:
        shown = reason if len(reason) <= 400 else reason[:400] + "…"
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in shown))


class BrokenOff(Failure):
    """A transfer ended too soon or must begin anew: worth another attempt."""


class Refused(Failure):
    """The same question would get the same answer, or there is no time left to ask it."""


class Clock:
    """What a transfer may take, in seconds: `deadline` in all and `timeout` in silence.

    And `SLOW` timeouts for as many bytes of content as `min_speed`, in bytes a second, asks.
    """

    def __init__(self, deadline: float, timeout: float, min_speed: float) -> None:
        self.deadline, self.timeout, self.min_speed = deadline, timeout, min_speed
        self.end = time.monotonic() + deadline
        self.start()

    def left(self) -> float:
        """Seconds until the deadline; below 0 after it."""
        return self.end - time.monotonic()

    def start(self) -> None:
        """Measure the speed from now on."""
        self.since, self.got = time.monotonic(), 0

    def gained(self, n: int) -> None:
        """Count n bytes of content; headers and the like are no progress."""
        self.got += n
        if self.got >= self.min_speed * self.timeout * SLOW:
            self.start()

    def late(self) -> Failure:
        """What is raised after the deadline."""
        return Refused(f"it was not here within {self.deadline:g} seconds")

    def wait(self, why: str) -> tuple[float, Failure]:
        """How long an answer may take to begin, and the error to raise then; raised if too late."""
        if self.left() <= 0:
            raise self.late()
        if self.left() < self.timeout:
            return self.left(), self.late()
        return self.timeout, BrokenOff(f"{why} for {self.timeout:g} seconds")

    def patience(self) -> tuple[float, Failure]:
        """How long the next byte may take, and the error to raise then; raises it if too late."""
        window = self.timeout * SLOW
        seconds, kind, why = min(
            (self.left(), Refused, f"it was not here within {self.deadline:g} seconds"),
            (
                self.since + window - time.monotonic(),
                BrokenOff,
                f"fewer than {self.min_speed:g} bytes a second came for {window:g} seconds",
            ),
            (self.timeout, BrokenOff, f"the server sent nothing for {self.timeout:g} seconds"),
            key=lambda limit: limit[0],
        )
        if seconds <= 0:
            raise kind(why)
        return seconds, kind(why)


def reach(host: str, port: int, clock: Clock) -> socket.socket:
    """A connection to the first address of a host that answers.

    Errors: Refused and BrokenOff when time is over, OSError for what the network says.
    """
    failed: Exception = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in addresses(host, port, clock):
        seconds, silent = clock.wait(f"{host} sent nothing")
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as error:  # this machine has no such addresses
            failed = error
            continue
        sock.settimeout(seconds)
        try:
            sock.connect(address)
        except OSError as error:
            failed = silent if isinstance(error, TimeoutError) else error
            sock.close()
        else:
            sock.settimeout(max(0.001, min(clock.timeout, clock.left())))  # for what comes next
            return sock
    raise failed


def addresses(host: str, port: int, clock: Clock) -> list[Any]:
    """What the name service answers; the thread that asks it is left alone when time is over."""
    seconds, silent = clock.wait(f"the name service said nothing of {host}")
    answer: Future[list[Any]] = Future()

    def look() -> None:
        try:
            answer.set_result(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=look, daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError:
        if answer.done():  # it is what the service itself has said
            raise
        raise silent from None

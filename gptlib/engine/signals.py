"""A run that is asked to stop does so after the step, saved.

Given, not built.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Stopped(KeyboardInterrupt):
    """A run that a signal has stopped, after it was saved; `signal` is the signal's number.

    told: whether another process reports it.
    """

    def __init__(self, number: int, message: str, told: bool = False):
        super().__init__(message)
        self.signal, self.told = number, told


@contextmanager
def signals(once: bool = True) -> Iterator[Callable[[], int | None]]:
    """Ctrl-C and SIGTERM are noted inside; a second one acts as it always does.

    Not once: all are noted. torchrun passes each on, and so does Slurm; torchrun ends by itself
    whoever takes longer than 30 seconds.
    """
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.getsignal(kind) for kind in kinds}

    def note(number: int, _: Any) -> None:
        noted.append(number)
        for kind in kinds if once else ():
            signal.signal(kind, before[kind])

    for kind in kinds:
        signal.signal(kind, note)
    try:
        yield lambda: noted[0] if noted else None
    finally:
        for kind in kinds:
            signal.signal(kind, before[kind])

"""Break off an answer that does not end: a notebook should say so, and not wait for ever.

Given, not built. `while` without a step is what beginners write, on every system; a signal would
not do on Windows.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Endless(Exception):
    """What was run has not ended in its time."""


@contextmanager
def at_most(seconds: float | None) -> Iterator[None]:
    """Raise Endless in what runs inside after so many seconds; None lets it run.

    Python raises it between two of its own steps, so a long call into torch ends first.
    """
    if seconds is None:
        yield
        return
    thread, lock, done = ctypes.c_ulong(threading.get_ident()), threading.Lock(), False

    def stop() -> None:
        with lock:
            if not done:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(Endless))

    watch = threading.Timer(seconds, stop)
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        with lock:
            done = True
        watch.cancel()

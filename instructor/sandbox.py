"""A sandbox around students' code: bubblewrap hides the disk and the network.

What is to be seen in it is named here, and nothing else is: Python, its packages without gptlib,
the system's libraries, and the folder `inside`. Solutions lie nowhere in it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import gptlib
from instructor.inside import wire
from instructor.inside.worker import ALONE, NESTED, TRUST

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
MEMORY = 2 * 2**30  # bytes that a submission may take beside what torch takes
PROCESSOR = 40  # seconds that all of a submission's calls may take
STARTED = 60.0  # seconds in which torch is loaded, on a slow machine

HOW = (
    "Students' code is run in a sandbox, and this machine has none. On Linux install bubblewrap "
    "(apt-get install bubblewrap, dnf install bubblewrap). On macOS and Windows use the container "
    'that "For instructors" in the book describes. With --trust the code runs without one: it can '
    "then read and change all that you can."
)


class NoIsolation(Exception):
    """This machine cannot keep students' code apart, and nobody said that it need not."""


def bubblewrap() -> str:
    """The path of bubblewrap. Errors: NoIsolation where there is none, or none that works."""
    found = shutil.which("bwrap")
    if found is None:
        raise NoIsolation(HOW)
    trial = [found, "--unshare-all", "--die-with-parent", *_system(), "--", "/usr/bin/true"]
    answer = subprocess.run(trial, capture_output=True, text=True)
    if answer.returncode:
        raise NoIsolation(f"bubblewrap does not work here: {answer.stderr.strip()}\n{HOW}")
    return found


def _system() -> list[str]:
    """The system's own programs and libraries, as on this machine: /lib is often a link."""
    words = ["--ro-bind", "/usr", "/usr"]
    for name in ("/bin", "/lib", "/lib32", "/lib64", "/sbin"):
        if os.path.islink(name):
            words += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name):
            words += ["--ro-bind", name, name]
    return [*words, "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]


def _python() -> list[str]:
    """Python and its packages; whatever of the course lies among them is covered."""
    places = {sys.base_prefix, sys.prefix, *map(sysconfig.get_path, ("purelib", "platlib"))}
    seen = sorted(os.path.realpath(place) for place in places)
    shown: list[str] = []
    covered: list[str] = []
    for place in seen:
        if place == "/usr" or any(place.startswith(f"{other}/") for other in shown):
            continue
        if ROOT.is_relative_to(place):  # Python's own folder holds the course: an odd set-up
            covered.append(str(ROOT))
        shown.append(place)
    names = {str(Path(one).resolve()) for one in gptlib.__path__} | {str(HERE)}
    covered += [one for one in names if any(one.startswith(f"{place}/") for place in shown)]
    covered += [one for one in names if one.startswith("/usr/")]
    words = [word for place in shown for word in ("--ro-bind", place, place)]
    words += [word for place in covered for word in ("--tmpfs", place)]
    # The environment may lie inside the course: it is shown again.
    inner = [p for p in shown if any(p.startswith(f"{place}/") for place in covered)]
    return words + [word for place in inner for word in ("--ro-bind", place, place)]


def command(bwrap: str) -> list[str]:
    """The words that start a program in the sandbox.

    What was named by a link on the way to Python (`.venv` itself may be one) is a link inside, too.
    """
    executable = Path(sys.executable)
    link = []
    if Path(sys.prefix).is_symlink():
        link = ["--symlink", os.path.realpath(sys.prefix), sys.prefix]
    return [
        bwrap, "--unshare-all", "--unshare-user", "--uid", "1000", "--gid", "1000",
        "--die-with-parent", "--new-session", "--clearenv",
        "--cap-drop", "ALL", *_system(), *_python(), *link,
        "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp",
        "--dir", "/box/instructor", "--ro-bind", str(HERE / "__init__.py"),
        "/box/instructor/__init__.py", "--ro-bind", str(HERE / "inside"), "/box/instructor/inside",
        "--remount-ro", "/", "--chdir", "/tmp", "--hostname", "sandbox",
        *(w for name, value in environment().items() for w in ("--setenv", name, value)),
        "--", str(executable), "-I", "-B", "/box/instructor/inside/worker.py",
    ]  # fmt: skip


def environment() -> dict[str, str]:
    """All that is in the environment of students' code."""
    one = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    fixed = {"PATH": "/usr/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"}
    return fixed | dict.fromkeys(one, "1")


class Sandbox:
    """A process with torch loaded, that is copied for each submission; a context manager.

    trust: without bubblewrap. nested: keep submissions apart inside one sandbox; where the system
    does not allow that, each has a sandbox of its own, which takes a second or two longer.
    """

    def __init__(self, trust: bool = False, nested: bool = True) -> None:
        self.bwrap = None if trust else bubblewrap()
        self.mode = TRUST if trust else NESTED if nested else ALONE
        self.lock = threading.Lock()
        self.running: subprocess.Popen[bytes] | None = None
        self.orders: socket.socket | None = None

    def __enter__(self) -> Self:
        if self.mode != ALONE:
            self.running, self.orders = self.start()
        if self.mode == NESTED:
            with self.open() as trial:
                failed = not trial.there()
            if failed:
                self.stop()
                self.mode = ALONE
        return self

    def __exit__(self, kind: Any, error: Any, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """End the process and all that it began."""
        if self.orders is not None:
            self.orders.close()
        if self.running is not None:
            _end(self.running)
        self.running = self.orders = None

    def start(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """A new process with torch loaded. Errors: NoIsolation where it does not start."""
        ours, theirs = socket.socketpair()
        words = [str(theirs.fileno()), str(self.mode), str(MEMORY), str(PROCESSOR)]
        if self.bwrap is None:
            start = [sys.executable, "-I", "-B", str(HERE / "inside" / "worker.py")]
        else:
            start = command(self.bwrap)
        process = subprocess.Popen(
            [*start, *words], pass_fds=[theirs.fileno()], env=environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        theirs.close()
        ours.settimeout(STARTED)
        try:
            word = ours.recv(16)
        except TimeoutError:
            word = b""
        if word != b"ready":
            process.kill()
            told = process.communicate()[1].decode(errors="replace").strip()
            raise NoIsolation(f"The sandbox did not start.\n{told[-2000:]}")
        ours.settimeout(None)
        return process, ours

    def open(self) -> Place:
        """A fresh copy for one submission."""
        (mine, theirs), (life, other) = socket.socketpair(), socket.socketpair()
        own = None
        if self.mode == ALONE:
            own, orders = self.start()
        else:
            assert self.orders is not None
            orders = self.orders
        with self.lock:
            socket.send_fds(orders, [b"open"], [theirs.fileno(), other.fileno()])
        theirs.close()
        other.close()
        if own is not None:
            orders.close()
        return Place(mine, life, own)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    if process.stderr:
        process.stderr.close()


class Place:
    """Where one submission runs; a context manager, which ends it."""

    def __init__(
        self, channel: socket.socket, life: socket.socket, own: subprocess.Popen[bytes] | None
    ) -> None:
        self.channel, self.life, self.own = channel, life, own

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: Any, trace: TracebackType | None) -> None:
        self.channel.close()
        self.life.close()
        if self.own is not None:
            _end(self.own)

    def ask(self, value: Any, seconds: float) -> Any:
        """Send a message, wait for the answer. Errors: Broken, OSError, EOFError, TimeoutError."""
        until = time.monotonic() + seconds
        self.channel.settimeout(seconds)
        wire.send(self.channel, value)
        return wire.receive(self.channel, until)

    def there(self) -> bool:
        """Wait until it is locked in; False where the system allows no namespaces."""
        with suppress(EOFError, OSError, wire.Broken):
            wire.receive(self.channel, time.monotonic() + STARTED)
            return True
        return False

    def ended(self) -> str:
        """How the process ended, in its guard's words: "ended -9", "apart …"."""
        self.life.settimeout(2.0)
        with suppress(OSError):
            return self.life.recv(256).decode(errors="replace")
        return ""

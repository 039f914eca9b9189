"""What the scripts share: turns on one clock, memory in a process of its own, what was used."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from peers import Lacking

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).parent / "results"
Seconds = dict[str, list[float]]


# Time --------------------------------------------------------------------------------------------


def in_turn(runs: Mapping[str, Callable[[], object]], rounds: int) -> Seconds:
    """Seconds of processor time of each run, once a round; the order moves on by one each round.

    Processor time, because others may use the machine meanwhile: what waits is not counted.
    """
    seconds: Seconds = {name: [] for name in runs}
    names = list(runs)
    for i in range(rounds):
        k = i % len(names)
        for name in names[k:] + names[:k]:
            start = time.process_time()
            runs[name]()
            seconds[name].append(time.process_time() - start)
    return seconds


def medians(seconds: Seconds, digits: int = 4) -> dict[str, float]:
    """The median of each run's rounds."""
    return {name: round(statistics.median(one), digits) for name, one in seconds.items()}


def ratios(seconds: Seconds, ours: str) -> dict[str, float]:
    """How many times as long as ours each other run took: the median of the rounds' ratios."""
    return {
        name: round(statistics.median(b / a for a, b in zip(seconds[ours], one, strict=True)), 2)
        for name, one in seconds.items()
        if name != ours
    }


# Memory ------------------------------------------------------------------------------------------


def own_peak() -> float:
    """The most memory that this process has held at once, in MB (10**6 bytes).

    Linux hands a new process the peak of the one that started it as `ru_maxrss`; what stands in
    /proc is the process's own.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text(encoding="utf-8").splitlines()
        (kib,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
        return int(kib) * 1024 / 1e6
    try:
        import resource
    except ImportError:
        raise SystemExit("Windows tells no process its peak memory: measure on another.") from None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS counts bytes


def forget_peak() -> None:
    """Count the peak from what is held now, where the system can: what was imported took more.

    Linux does; elsewhere nothing happens.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def tell_peak(work: Callable[[], object]) -> None:
    """In a process of its own: do the work, and print for `peak_of` what it added to the peak."""
    before = own_peak()
    work()
    after = own_peak()
    told = {"before_mb": before, "peak_mb": after, "work_mb": after - before}
    print(json.dumps({name: round(mb, 1) for name, mb in told.items()}))


def peak_of(script: str, *words: str) -> dict[str, float]:
    """Start a script anew with these words; what its `tell_peak` printed."""
    command = [sys.executable, script, *words]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    run = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    if run.returncode:
        raise SystemExit(f"{' '.join(words)}: {run.stderr.strip()}")
    return json.loads(run.stdout.splitlines()[-1])


def peaks_of(script: str, names: Iterable[str], *words: str, rounds: int = 3) -> dict[str, float]:
    """MB that each name's `--child` added: the median of so many processes, in turn."""
    mb: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, each in mb.items():
            each.append(peak_of(script, "--child", name, *words)["work_mb"])
    return medians(mb, digits=1)


# What is kept ------------------------------------------------------------------------------------


def processor() -> str:
    """The name of the processor, as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def about(threads: int | None = 1, **versions: str) -> dict[str, Any]:
    """The day, the machine and the versions: the end of every record.

    threads: how many were used; None where that is not one number, as with compiled code that
    takes all cores beside Python.
    """
    machine: dict[str, Any] = {"cpu": processor(), "cores": os.cpu_count()}
    return {
        "date": date.today().isoformat(),
        "machine": machine | ({} if threads is None else {"threads_used": threads}),
        "versions": {"python": platform.python_version(), **versions},
    }


def keep(out: Path | None, name: str, result: dict[str, Any], lacking: list[str]) -> None:
    """Write the record, whole or not at all: without a peer only to a file that is named.

    Ends the script with the status of a lack, and says what is lacking.
    """
    from gptlib.given.files import write_text

    if out is not None or not lacking:
        write_text(out or RESULTS / f"{name}.json", json.dumps(result, indent=2) + "\n")
    if lacking:
        kept = "" if out else " The record of the last full run stays as it is."
        raise Lacking("\n".join(lacking) + "\nThe rest was measured." + kept)

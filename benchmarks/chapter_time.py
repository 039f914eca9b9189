"""How long a chapter runs, from its first cell to its last.

    python book/tasks.py bench chapter_time
    python benchmarks/chapter_time.py 03_attention 07_training

Each chapter is executed as for the book: in a fresh Python, with one thread. What counts is the
time that the processor worked for it, which other programs on the computer change little; on a
computer with nothing else to do it is about the time that passes. Beside it stands what passed.
Chapters that are not named keep the figures that they have. The page of a chapter says its time in
words, under the title.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import time
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT), str(ROOT / "book" / "tools")]

from chapterfiles import chapters, read  # noqa: E402
from execution import execute  # noqa: E402

from gptlib.given.files import write_text  # noqa: E402

RESULT = Path(__file__).parent / "results" / "chapter_time.json"


def worked() -> float:
    """Seconds that the processor has spent on programs that this one has started and outlived."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(path: Path) -> list[float]:
    """Execute a chapter: seconds of the processor, and seconds that passed."""
    before, began = worked(), time.perf_counter()
    execute(read(path), path)
    return [round(worked() - before, 1), round(time.perf_counter() - began, 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    known = {path.stem: path for path in chapters(ROOT)}
    parser.add_argument("chapters", nargs="*", metavar="chapter", help="all, if none is named")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    unknown = [name for name in args.chapters if name not in known]
    if unknown:
        parser.error(f"no chapter {', '.join(unknown)}: there are {', '.join(known)}")
    kept = json.loads(args.out.read_text(encoding="utf-8")) if args.out.exists() else {}
    seconds = {name: kept["seconds"][name] for name in known if name in kept.get("seconds", {})}
    for name in args.chapters or known:
        seconds[name] = measure(known[name])
        print(f"{name:20} {seconds[name][0]:6.1f} s worked, {seconds[name][1]:6.1f} s passed")
        result = {
            "claim": "what the page of a chapter says about its running time",
            "seconds": {name: seconds[name] for name in known if name in seconds},
            "columns": ["worked by the processor", "passed"],
            "threads": 1,
            "date": date.today().isoformat(),
            "versions": {"python": platform.python_version(), "machine": platform.machine()},
        }
        write_text(args.out, json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

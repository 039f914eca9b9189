"""The instructor's commands.

python -m instructor grade SUBMISSIONS --out grades.csv
    python -m instructor release --chapters 3,4 --out DIR
    python -m instructor export-nbgrader DIR --chapters 3,4
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from instructor import formgrader
from instructor.grading import Settings, grade
from instructor.overlay import Overlay, points, read
from instructor.release import release
from instructor.sandbox import NoIsolation


def numbers(text: str) -> tuple[int, ...]:
    """Chapters as they are typed.

    numbers("3,4") -> (3, 4)
    """
    try:
        return tuple(sorted({int(part) for part in text.split(",") if part.strip()}))
    except ValueError:
        raise argparse.ArgumentTypeError(f"chapters are numbers, as in 3,4; got {text!r}") from None


def run_grade(args: argparse.Namespace) -> None:
    """Mark a class."""
    chapters, seed, worth = args.chapters, args.seed, {}
    overlay = read(args.overlay) if args.overlay else Overlay()
    if args.release:
        told = json.loads((args.release / "release.json").read_text(encoding="utf-8"))
        chapters = chapters or tuple(told["chapters"])
        seed = told["seed"] if seed is None else seed
        worth = dict(told["points"])
    worth |= overlay.points
    if args.points:
        worth |= points(args.points)
    settings = Settings(chapters, seed or 0, worth, args.trust, overlay)
    out = grade(args.submissions, args.out, settings, say=say)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(f"{len(out.rows)} students, {len(out.asked)} exercises, {out.run} run")
    for path in out.files:
        print(path)


def run_export(args: argparse.Namespace) -> None:
    """Write notebooks for nbgrader."""
    worth = points(args.points) if args.points else {}
    for path in formgrader.export(args.folder, args.chapters, worth, args.seed):
        print(path)


def run_release(args: argparse.Namespace) -> None:
    """Make what students are handed."""
    for path in release(args.out, args.chapters, args.seed, args.due, args.overlay):
        print(path)


def say(text: str) -> None:
    """A line of progress: on a terminal it stays one line."""
    print(f"\r\x1b[K{text}" if sys.stderr.isatty() else text, file=sys.stderr,
          end="" if sys.stderr.isatty() else "\n", flush=True)  # fmt: skip


def main(words: list[str] | None = None) -> int:
    """Read the command line, and do what it says; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m instructor", description=__doc__)
    verbs = parser.add_subparsers(required=True, metavar="command")
    one = verbs.add_parser("grade", help="mark a folder of notebooks")
    one.add_argument("submissions", type=Path)
    one.add_argument("--out", type=Path, default=Path("grades.csv"))
    one.add_argument("--chapters", type=numbers, default=())
    one.add_argument("--release", type=Path, help="the folder that was handed out")
    one.add_argument("--seed", type=int, help="the variant of the questions")
    one.add_argument("--points", type=Path, help="a TOML file of points by exercise")
    one.add_argument("--overlay", type=Path, help="a private folder: points, and hidden checks")
    one.add_argument("--trust", action="store_true", help="run the code without a sandbox")
    one.set_defaults(run=run_grade)
    one = verbs.add_parser("export-nbgrader", help="write notebooks for nbgrader's formgrader")
    one.add_argument("folder", type=Path)
    one.add_argument("--chapters", type=numbers, required=True)
    one.add_argument("--seed", type=int, default=0, help="the variant of the questions")
    one.add_argument("--points", type=Path, help="a TOML file of points by exercise")
    one.set_defaults(run=run_export)
    one = verbs.add_parser("release", help="make what students are handed")
    one.add_argument("--chapters", type=numbers, required=True)
    one.add_argument("--out", type=Path, required=True)
    one.add_argument("--seed", type=int, default=0, help="the variant of the questions")
    one.add_argument("--due", default="", help="a date, printed and not enforced")
    one.add_argument("--overlay", type=Path, help="a private folder: points, files laid over it")
    one.set_defaults(run=run_release)
    args = parser.parse_args(words)
    try:
        args.run(args)
    except (NoIsolation, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

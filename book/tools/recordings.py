"""Make the recorded runs again: every script of experiments/, one after the other.

    python book/tasks.py records                # what is not recorded yet
    python book/tasks.py records --list         # which scripts there are, and how long each takes
    python book/tasks.py records --anew seeds   # again from nothing; all, where none is named

A script goes on with its record (`--resume`), so a command that was stopped is called again. With
`--anew` it begins with an empty one, which is what a changed recipe asks for: hours on two cores.
What then is another number goes red in tests/test_records.py, in the chapters' compared outputs and
assertions, which the registers of claims name. Standard library only.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from running import ROOT, clean_environment, say

SHARED = {"recording", "writing"}  # what the scripts share
FIRST = "decoding"  # stores the weights of the book's model, which others load
NOT_ON_A_CPU = {"tales": ("largest",)}  # parts that are kept as they are where there is no GPU


class Script(NamedTuple):
    """A script of experiments/: its name, question and duration, and whether it can go on."""

    name: str
    asks: str
    takes: str
    resumes: bool


def described(name: str, text: str) -> Script:
    """A script by its source; the duration is what stands behind its command.

    >>> described("x", "How?\\n\\n    python experiments/x.py    # an hour; writes it\\n")
    Script(name='x', asks='How?', takes='an hour', resumes=True)
    """
    asks = text.removeprefix('"""').partition("\n")[0]
    comment = re.search(r"python experiments/\w+\.py.*?# (.*)", text)
    takes = (comment[1] if comment else "not said").partition("; writes")[0]
    return Script(name, asks, takes.removesuffix("; fetches the text"), "resume=False" not in text)


def scripts(root: Path = ROOT) -> list[Script]:
    """All of them, in the order in which they are run."""
    paths = sorted((root / "experiments").glob("*.py"), key=lambda p: (p.stem != FIRST, p.stem))
    return [described(p.stem, p.read_text("utf-8")) for p in paths if p.stem not in SHARED]


def lacking(name: str, python: Path) -> str | None:
    """What a script needs that is not here; None where it can run."""
    if name == "ten_million" and not os.environ.get("GPTLIB_NANOGPT"):
        return "needs a checkout of nanoGPT, named in GPTLIB_NANOGPT"
    if name == "mlx_port":
        has = subprocess.run([str(python), "-c", "import mlx.core"], capture_output=True)
        return "needs the package mlx" if has.returncode else None
    return None


def texts() -> dict[str, list[str]]:
    """Words that name the real texts, for the scripts that else fetch them."""
    folder = Path(os.environ.get("GPTLIB_SHARED", ROOT.parent / "shared" / "data"))
    plays, children = folder / "tinyshakespeare.txt", folder / "tinystories_sample.txt"
    data = ["--data", str(plays)] if plays.is_file() else []
    more = ["--children", str(children)] if children.is_file() else []
    return {"shakespeare": data, "modern_shakespeare": data, "capstone": [*data, *more]}


def words_of(script: Script, anew: bool, root: Path = ROOT) -> list[str] | None:
    """How a script is called; None where its record is there and cannot be gone on with."""
    words = texts().get(script.name, [])
    if not anew and script.resumes:
        return [*words, "--resume"]
    if not anew and (root / "data" / "runs" / f"{script.name}.json").is_file():
        return None
    if script.name in NOT_ON_A_CPU:  # runs that are named leave the rest of the record as it is
        source = (root / "experiments" / f"{script.name}.py").read_text("utf-8")
        table = source.partition("RUNS")[2].partition("\n}\n")[0]
        names = re.findall(r'^    "(\w+)":', table, flags=re.M)
        words = [*words, *(one for one in names if one not in NOT_ON_A_CPU[script.name])]
    return words


def make(words: list[str], python: Path, root: Path = ROOT) -> None:
    """Do what the command line says, and end with a failure that names what failed."""
    parser = argparse.ArgumentParser(prog="tasks.py records", description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="only these scripts")
    parser.add_argument("--anew", action="store_true", help="from nothing, not only what lacks")
    parser.add_argument(
        "--list", action="store_true", help="say what would be done, and do nothing"
    )
    args, known = parser.parse_args(words), scripts(root)
    if unknown := sorted({*args.names} - {one.name for one in known}):
        parser.error(
            f"no script {', '.join(unknown)}; there are {', '.join(s.name for s in known)}"
        )
    failed = []
    for script in [s for s in known if not args.names or s.name in args.names]:
        say(f"{script.name}: {script.asks} ({script.takes})")
        how, lack = words_of(script, args.anew, root), lacking(script.name, python)
        if lack or how is None:
            say(f"  left as it is: {lack or 'recorded, and made whole or not at all (--anew)'}")
            continue
        command = [str(python), f"experiments/{script.name}.py", *how]
        say("  " + " ".join(["python", *command[1:]]))
        if not args.list and subprocess.run(command, cwd=root, env=clean_environment()).returncode:
            failed.append(script.name)
    if failed:
        sys.exit(f"not recorded: {', '.join(failed)}; the reason stands above")
    if not args.list:
        say("now: python book/tools/measured.py, then `notebooks` and `test` say what has changed")

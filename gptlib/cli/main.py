"""The verbs of the command `gptlib`, and what is said of a user's mistake."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from gptlib import __version__
from gptlib.cli import progress

VERBS = {"progress": progress}


def main(words: Sequence[str] | None = None) -> int:
    """Do what the command line asks; the exit status. A user's mistake is one line, and 2."""
    parser = argparse.ArgumentParser(prog="gptlib", description="A GPT, built step by step.")
    parser.add_argument("--version", action="version", version=f"gptlib {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
    for name, verb in VERBS.items():
        says = (verb.__doc__ or "").strip().splitlines()[0]
        verb.add_words(verbs.add_parser(name, help=says, description=says))
    told = parser.parse_args(words)
    try:
        print(VERBS[told.verb].run(told))
    except (OSError, ValueError) as error:
        print(f"gptlib {told.verb}: {error}", file=sys.stderr)
        return 2
    return 0

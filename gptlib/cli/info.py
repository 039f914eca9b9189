"""Say what a path is: a prepared text, a run, a checkpoint, or an exported model."""

from __future__ import annotations

import argparse

EXAMPLE = "gptlib info runs/book"


def add_words(parser: argparse.ArgumentParser) -> None:
    """What the verb understands."""
    parser.add_argument("path", nargs="?", metavar="PATH", help="a folder")


def run(told: argparse.Namespace) -> str:
    """Name and value, a line each."""
    from gptlib.engine.describe import describe

    if not told.path:
        raise ValueError(f"name a folder: {EXAMPLE}")
    return "\n".join(f"{name:<16} {value}" for name, value in describe(told.path).items())

"""Say which exercises are done, and which one comes next."""

from __future__ import annotations

import argparse
import os

from gptlib.exercises.progress import progress
from gptlib.exercises.work import FOLDER, folder


def add_words(parser: argparse.ArgumentParser) -> None:
    """What the verb understands."""
    parser.add_argument("--work", help="the folder with your work; else my_gpt, here or below")
    parser.add_argument("--all", action="store_true", help="name the exercises that are done too")


def run(told: argparse.Namespace) -> str:
    """The table as text. Errors: ValueError for a folder that is not there."""
    if told.work:
        if not os.path.isdir(told.work):
            raise ValueError(f"{told.work} is no folder. Name the {FOLDER} of your notebooks.")
        os.environ["GPTLIB_WORK"] = told.work
    elif not folder().is_dir() and os.path.isdir(os.path.join("chapters", FOLDER)):
        os.environ["GPTLIB_WORK"] = os.path.join("chapters", FOLDER)
    return progress().text(told.all)

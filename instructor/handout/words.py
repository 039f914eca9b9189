"""The words that a notebook has for its exercises."""

from gptlib.exercises.book import (
    NotWritten,
    answer,
    exercise,
    hint,
    left_out,
    my_gpt,
    otherwise,
    solution,
)
from gptlib.exercises.predictions import came_out, predict
from gptlib.exercises.progress import progress

__all__ = [
    "answer",
    "bug",
    "came_out",
    "exercise",
    "hint",
    "left_out",
    "my_gpt",
    "otherwise",
    "predict",
    "progress",
    "solution",
]


def bug(seed, fresh=False):
    """A GPT that runs and is wrong. Errors: NotWritten where a part of it is not written yet."""
    try:
        from gptlib.exercises import foundry  # here: it is made of the whole model
    except ImportError:
        raise NotWritten("bug is in releases of chapter 7 alone: its faults tell answers") from None
    return foundry.bug(seed, fresh)

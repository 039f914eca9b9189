"""Exercises that look at your code: what is asked, what is wrong, and hints.

from gptlib.exercises import answer, bug, came_out, exercise, hint, predict, progress, solution
"""

from gptlib.exercises.book import answer, exercise, hint, my_gpt, otherwise, solution
from gptlib.exercises.foundry import Patient, bug
from gptlib.exercises.predictions import came_out, predict
from gptlib.exercises.progress import progress

__all__ = [
    "Patient",
    "answer",
    "bug",
    "came_out",
    "exercise",
    "hint",
    "my_gpt",
    "otherwise",
    "predict",
    "progress",
    "solution",
]

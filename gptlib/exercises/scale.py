"""The exercises of chapter 11: what ranks share, send and keep, and weights of other houses."""

from __future__ import annotations

from gptlib.exercises import scale_hunt, scale_memory, scale_names, scale_paper, scale_ranks

TASKS = (*scale_ranks.TASKS, *scale_memory.TASKS, *scale_names.TASKS, *scale_hunt.TASKS)
QUESTIONS = scale_paper.QUESTIONS

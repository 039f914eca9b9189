"""The exercises of chapter 12: bits, counts, seeds, a plan, and an exam that leaks."""

from __future__ import annotations

from gptlib.exercises import capstone_code, capstone_hunt, capstone_paper

TASKS = (*capstone_code.TASKS, *capstone_hunt.TASKS)
QUESTIONS = capstone_paper.QUESTIONS

"""The exercises of chapter 10: counting, timing, Muon, and weights of 8 bits."""

from __future__ import annotations

from gptlib.exercises import (
    speed_clock,
    speed_counts,
    speed_flame,
    speed_int8,
    speed_muon,
    speed_paper,
)

TASKS = (
    *speed_counts.TASKS,
    *speed_flame.TASKS,
    *speed_muon.TASKS,
    *speed_int8.TASKS,
    *speed_clock.TASKS,
)
QUESTIONS = speed_paper.QUESTIONS

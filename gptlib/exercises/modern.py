"""The exercises of chapter 9: the parts of a modern GPT."""

from __future__ import annotations

from gptlib.exercises import (
    modern_cache,
    modern_gates,
    modern_heads,
    modern_late,
    modern_norms,
    modern_paper,
    modern_rope,
    modern_turned,
)
from gptlib.modern import ModernBlock, ModernGPT
from gptlib.rope import Rope

TASKS = (
    *modern_norms.TASKS,
    *modern_rope.TASKS,
    *modern_heads.TASKS,
    *modern_gates.TASKS,
    *modern_cache.TASKS,
    *modern_turned.TASKS,
    *modern_late.TASKS,
)
QUESTIONS = (*modern_paper.QUESTIONS, *modern_rope.QUESTIONS)

# What is no exercise and is made of these pieces: `my_gpt` builds it around the learner's.
FRAME = (Rope, ModernBlock, ModernGPT)

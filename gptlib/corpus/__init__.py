"""The text with an answer key: stories of known probability, a judge, one loader for all texts.

Given, not built. `stories` writes, `judge` reads, `floor` says how good a model can be, `load`
brings any text. `scoring`, which looks at models, is imported by itself, because it needs torch.
"""

from gptlib.corpus.judging import Judgement, Verdict, judge
from gptlib.corpus.loader import load
from gptlib.corpus.story import (
    END,
    GRAMMAR,
    SKILLS,
    VOLUMES,
    Floor,
    Label,
    Story,
    Tokenizer,
    floor,
    plot_of,
    stories,
    surprisals,
    window_floor,
)

__all__ = [
    "END",
    "GRAMMAR",
    "SKILLS",
    "VOLUMES",
    "Floor",
    "Judgement",
    "Label",
    "Story",
    "Tokenizer",
    "Verdict",
    "floor",
    "judge",
    "load",
    "plot_of",
    "stories",
    "surprisals",
    "window_floor",
]

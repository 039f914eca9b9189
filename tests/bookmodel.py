"""The model and the tokenizer of chapters 7 and 8, for tests that need a model with skills."""

from __future__ import annotations

from functools import cache

from gptlib import corpus
from gptlib.given.records import load_recorded
from gptlib.gpt import GPT, GPTConfig
from gptlib.tokenizer import BPETokenizer


@cache
def book() -> tuple[GPT, BPETokenizer]:
    """Made once; a test leaves them as they are."""
    text = corpus.load("stories", n=3000)
    tokenizer = BPETokenizer.train(text, 1536, special_tokens=[corpus.END])
    model = GPT(GPTConfig.preset("stories"))
    load_recorded(model, "stories")
    return model.eval(), tokenizer

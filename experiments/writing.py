"""What the scripts share that let a model write stories: many at once, judged by the parser.

No claim of its own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import cache

import torch
from recording import few

from gptlib import corpus
from gptlib.cache import Cached
from gptlib.corpus.scoring import end_id
from gptlib.generation import generate
from gptlib.gpt import GPT
from gptlib.tokenizer import BPETokenizer


def texts_of(rows: torch.Tensor, tokenizer: BPETokenizer) -> list[str]:
    """Each row (T) after its first token, up to END where there is one, as text."""
    end = end_id(tokenizer)
    lists = [row[: row.index(end)] if end in row else row for row in rows[:, 1:].tolist()]
    return [tokenizer.decode(row) for row in lists]


def write(model: GPT, tokenizer: BPETokenizer, n: int, seed: int, **settings) -> list[str]:
    """n stories from their first word on, drawn with one seed; settings as in `generate`."""
    end = end_id(tokenizer)
    generator = torch.Generator().manual_seed(seed)
    rows = generate(
        Cached(model),
        torch.full((n, 1), end),
        few(model.config.context_length, 8),
        stop_tokens=[end],
        generator=generator,
        **settings,
    )
    return texts_of(rows, tokenizer)


@cache
def known() -> frozenset[str]:
    """The texts of the training stories."""
    return frozenset(story.text for story in corpus.stories(few(30_000, 300)))


def options(items: list[str]) -> float | None:
    """How many options these choices are worth: e to their entropy; 12 plots alike -> 12."""
    counts = Counter(items)
    total = counts.total()
    return math.exp(-sum(n / total * math.log(n / total) for n in counts.values())) if total else 0


def judgement(texts: list[str]) -> corpus.Judgement:
    """What the parser says of each story, and whether it is new."""
    return corpus.judge(corpus.END.join(texts), known())


def judged(texts: list[str]) -> dict:
    """What the parser says, as shares, and how many different choices the stories hold."""
    verdicts = judgement(texts)
    told = [verdict.derivation for verdict in verdicts.verdicts if verdict.ok]
    names = [c.taken for d in told for c in d.choices if c.name == "hero"]
    return {
        "well_formed": verdicts.well_formed,
        "new": verdicts.new,
        "distinct": verdicts.distinct,
        "plots": options([corpus.plot_of(d) for d in told]),
        "names": options(names),
        "broken": verdicts.broken,
    }


def sampled(
    model: GPT, tokenizer: BPETokenizer, n: int, seeds: Sequence[int], columns: str, **settings
) -> dict[str, list]:
    """n stories for each sampling seed, judged: the named columns, one entry a seed."""
    runs = [judged(write(model, tokenizer, n, seed, **settings)) for seed in seeds]
    return {column: [one[column] for one in runs] for column in columns.split()}

"""What the scripts share that let a model write stories: many at once, judged by the parser.

No claim of its own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from functools import cache

import torch
import torch.nn.functional as F
from recording import few
from torch import nn

from gptlib import corpus
from gptlib.attention import CausalSelfAttention
from gptlib.corpus.scoring import end_id
from gptlib.generation import generate
from gptlib.gpt import GPT
from gptlib.tokenizer import BPETokenizer


class Remembering(nn.Module):
    """A GPT that keeps the keys and values of what it has read: one more token costs one token.

    A copy of the model as it is now, whatever its norms and shortcuts. For texts that fit into the
    context; one text after the other needs a new one. Chapter 10 explains the idea.
    """

    def __init__(self, model: GPT) -> None:
        super().__init__()
        self.model, self.config = deepcopy(model), model.config
        for block in self.model.blocks:
            block.attention = RememberingAttention(block.attention)
        self.read = 0

    def forward(self, idx: torch.Tensor) -> tuple[torch.Tensor, None]:
        """idx (B, T), one token longer than the last time -> logits of the last place (B, 1, V)."""
        if self.read not in (0, idx.size(1) - 1):
            raise ValueError(f"idx must be one token longer than {self.read}; got {idx.size(1)}.")
        model = self.model
        new = torch.arange(self.read, idx.size(1))  # (T), the places not read yet
        x = model.token_embedding(idx[:, new]) + model.position_embedding(new)  # (B, T, C)
        for block in model.blocks:
            x = block(x)
        self.read = idx.size(1)
        return model.head(model.final_norm(x[:, -1:])), None


class RememberingAttention(nn.Module):
    """An attention layer that is shown the new places only, and keeps the old ones' k and v."""

    def __init__(self, layer: CausalSelfAttention) -> None:
        super().__init__()
        self.layer = layer
        self.kept: tuple[torch.Tensor, torch.Tensor] | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.layer.split_heads(x)  # (B, n_head, T, hs) each
        first = self.kept is None
        if not first:
            k, v = (torch.cat(pair, dim=2) for pair in zip(self.kept, (k, v), strict=True))
        self.kept = (k, v)
        # After the first time there is one new place, and it may look at all.
        out = F.scaled_dot_product_attention(q, k, v, is_causal=first)
        return self.layer.project(out.transpose(1, 2).reshape(x.size()))


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
        Remembering(model),
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

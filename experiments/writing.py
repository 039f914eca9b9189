"""What the scripts share that let a model write stories: many at once, judged by the parser.

No claim of its own. Run as a script it checks itself.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import nn

from gptlib import corpus
from gptlib.corpus.scoring import end_id
from gptlib.generation import generate
from gptlib.gpt import GPT, GPTConfig
from gptlib.tokenizer import BPETokenizer


class Remembering(nn.Module):
    """A GPT that keeps the keys and values of what it has read: one more token costs one token.

    For texts that fit into the context, one text after the other needs a new one, and for pre-norm
    models, whose blocks it takes apart. Chapter 10 explains the idea.
    """

    def __init__(self, model: GPT) -> None:
        super().__init__()
        if model.config.norm != "pre":
            raise ValueError(
                f'model must be pre-norm, norm="pre"; got norm={model.config.norm!r}. `generate` '
                f"writes with any model, without a memory."
            )
        self.model, self.config = model, model.config
        self.kept: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.read = 0

    def forward(self, idx: torch.Tensor) -> tuple[torch.Tensor, None]:
        """idx (B, T), one token longer than the last time -> logits of the last place (B, 1, V)."""
        if self.read not in (0, idx.size(1) - 1):
            raise ValueError(f"idx must be one token longer than {self.read}; got {idx.size(1)}.")
        model, first = self.model, self.read == 0
        new = torch.arange(self.read, idx.size(1))  # (T), the places not read yet
        x = model.token_embedding(idx[:, new]) + model.position_embedding(new)  # (B, T, C)
        kept = iter(self.kept)
        self.kept = []
        for block in model.blocks:
            q, k, v = block.attention.split_heads(block.norm_1(x))  # (B, n_head, T, hs) each
            if not first:
                k, v = (torch.cat(pair, dim=2) for pair in zip(next(kept), (k, v), strict=True))
            self.kept.append((k, v))
            out = F.scaled_dot_product_attention(q, k, v, is_causal=first)
            x = x + block.attention.project(out.transpose(1, 2).reshape(x.size()))
            x = x + block.feed_forward(block.norm_2(x))
        self.read = idx.size(1)
        return model.head(model.final_norm(x[:, -1:])), None


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
        model.config.context_length,
        stop_tokens=[end],
        generator=generator,
        **settings,
    )
    return texts_of(rows, tokenizer)


@cache
def known() -> frozenset[str]:
    """The texts of the training stories."""
    return frozenset(story.text for story in corpus.stories(30_000))


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


def main() -> None:
    torch.manual_seed(0)
    model = GPT(GPTConfig.preset("stories", vocab_size=50, context_length=16)).eval()
    idx = torch.randint(50, (5, 3))
    for settings in ({"temperature": 0}, {"temperature": 1.0, "top_p": 0.9}):
        two = [
            generate(m, idx, 12, generator=torch.Generator().manual_seed(1), **settings)
            for m in (model, Remembering(model))
        ]
        assert torch.equal(*two), settings
    print("Remembering writes what the model writes.")


if __name__ == "__main__":
    main()

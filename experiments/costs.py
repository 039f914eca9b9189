"""What does each change from the classic GPT to the modern one cost, in memory and in time?

Claim: grouped heads halve the cache; no change alone makes a training step twice as slow.

    python experiments/costs.py    # minutes on a quiet machine; writes data/runs/costs.json

The models are those of modern.py. Recorded for each: parameters; cache, bytes that one more token
takes in float32, all layers; training and writing, tokens per second beside the classic's: of a
forward and backward pass over a batch, and of writing one token after another with a cache. Both by
CPU time, in turns, the median of the rounds; they depend on the machine, the rest does not.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from time import process_time
from typing import Any

import torch
from modern import BATCH, CLASSIC, MADE
from recording import arguments, few, save
from torch import nn

from gptlib.cache import Cache, LayerCache, with_cache
from gptlib.changes import with_changes
from gptlib.gpt import GPT
from gptlib.grouped import GroupedAttention

WRITTEN = 64  # tokens
NAMES = [name for name in MADE if " " not in name]


class Keeping(nn.Module):
    """Grouped attention that is shown new tokens and remembers the old: (B, T, C) stays."""

    def __init__(self, layer: GroupedAttention, kept: LayerCache):
        super().__init__()
        self.layer, self.kept = layer, kept

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x, self.kept)


def reading(model: GPT, cache: Cache) -> GPT:
    """The model, reading on from a cache, whichever attention it has."""
    view = with_cache(model, cache)
    for block, kept in zip(view.blocks, cache.layers, strict=True):
        layer: Any = block.attention
        if isinstance(layer.layer, GroupedAttention):
            block.attention = Keeping(layer.layer, kept)
    return view


def training(model: GPT, idx: torch.Tensor) -> None:
    """One forward and backward pass: idx (B, T)."""
    _, loss = model(idx, idx)
    assert loss is not None
    loss.backward()


def writing(model: GPT, idx: torch.Tensor) -> Cache:
    """Read idx (1, T), then token after token, each read alone. Returns what is remembered."""
    cache = Cache([None] * len(model.blocks))
    reader = reading(model, cache)
    with torch.no_grad():
        logits, _ = reader(idx)
        for _ in range(few(WRITTEN)):
            logits, _ = reader(logits[:, -1:].argmax(-1))
    return cache


def beside_classic(models: dict[str, GPT], act: Callable[[GPT], Any], rounds: int) -> dict:
    """How many times as fast as with the classic something is done, by CPU time, in turns."""
    ratios: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(few(rounds)):
        took = {}
        for name, model in models.items():
            began = process_time()
            act(model)
            took[name] = process_time() - began
        for name in models:
            ratios[name].append(took["classic"] / took[name])
    return {name: median(found) for name, found in ratios.items()}


def main() -> None:
    args = arguments("costs", __doc__, resume=False)
    torch.manual_seed(0)
    models = {name: with_changes(CLASSIC, MADE[name]) for name in NAMES}
    idx = torch.randint(CLASSIC.vocab_size, (BATCH, CLASSIC.context_length))
    trained = beside_classic(models, lambda model: training(model, idx), 25)
    written = beside_classic(models, lambda model: writing(model, idx[:1, :256]), 25)
    caches = {name: writing(model, idx[:1, :256]) for name, model in models.items()}
    record: dict[str, Any] = {
        name: {
            "parameters": model.num_parameters(),
            "cache": caches[name].nbytes // caches[name].read,
            "training": trained[name],
            "writing": written[name],
        }
        for name, model in models.items()
    }
    save(args, record, units="cache: bytes a token; training, writing: beside the classic")
    print(*record.items(), sep="\n")


if __name__ == "__main__":
    main()

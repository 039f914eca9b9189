"""How much room does the second volume leave above its floor, and can it be learned at all?

Claim: after the book's budget of tokens the book's GPT stands at twice the floor or higher, with
most skills below 0.7. Modern parts bring it nearer, short windows before long ones nearer still,
and a longer run of a wider model much nearer.

    python experiments/tales.py              # hours on two cores; writes data/runs/tales.json
    python experiments/tales.py --resume     # only what is not recorded yet
    python experiments/tales.py book modern  # one or more of the runs below, anew
    python experiments/tales.py largest --device cuda    # minutes on a large GPU, days elsewhere

"book": the book's GPT with room for a whole tale, three seeds. "modern": the modern GPT of the
same size, as many tokens. "short_first": the same, of whose tokens more than half are windows of
128, the beginnings of tales. "larger": half as wide again, short windows first, six times as many
tokens, on two cores. "largest": four times as wide and twice as deep as the book's, fifty times as
many tokens, of 320,000 other stories: short windows and whole tales in bfloat16 on a large GPU, and
a last part on a CPU, whose rate falls to 0. A part that has been trained stays in runs/, and the
run goes on behind it, on another machine, too.

Recorded along training: loss beside the floor (nats per token, on 200 stories that no model saw)
and accuracy by skill. At the end also by distance: of each skill, for places whose answer was last
said fewer than 32 tokens back, 32 to 127, and farther, the share that is right and the number of
places.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from recording import (
    CHECKPOINTS,
    EDGES,
    TALES,
    UNITS,
    Machine,
    Prepared,
    Rehearsal,
    arguments,
    begin,
    by_distance,
    distance,
    encode,
    few,
    fill,
    learn,
    points,
    prepare,
    results,
)
from torch import nn

from gptlib import corpus
from gptlib.corpus.scoring import story_starts
from gptlib.gpt import GPT
from gptlib.modern import ModernConfig, ModernGPT
from gptlib.training import TrainConfig

BATCH = 4
BUDGET = 3100 * 8 * 128  # tokens of the book's run
SHORT = 128
WHOLE = TrainConfig.preset(
    "stories", batch_size=BATCH, steps=BUDGET // (BATCH * TALES.context_length), eval_every=250
)
# Half a batch of whole tales is as many tokens as sixteen beginnings.
FIRST = TrainConfig.preset(
    "stories", batch_size=16, steps=900, eval_every=900, context_length=SHORT, min_lr_ratio=0.5
)
SECOND = replace(WHOLE, steps=(BUDGET - 900 * 16 * SHORT) // (BATCH * TALES.context_length))
MANY, EACH = 16, 20_000  # parts of the many stories, and stories in a part
VAST_FIRST = replace(FIRST, batch_size=448, steps=600, eval_every=600, lr=2e-3)
VAST = replace(
    WHOLE, batch_size=128, steps=2000, lr=2e-3, min_lr_ratio=0.5, warmup_steps=100, eval_every=1000
)
COOL = replace(
    WHOLE, batch_size=8, steps=160, lr=3e-4, min_lr_ratio=0, warmup_steps=10, eval_every=80
)
LONGER = replace(WHOLE, batch_size=8, steps=4500, lr=3e-3, min_lr_ratio=0.02, eval_every=500)
SEEDS = {"book": 3, "modern": 3, "short_first": 3, "larger": 1, "largest": 1}


def book_gpt() -> GPT:
    """The book's GPT, with room for a whole tale."""
    return GPT(TALES)


def modern_gpt(**wider: int) -> ModernGPT:
    """The modern GPT of the book's size, or a wider one."""
    return ModernGPT(ModernConfig.preset("stories", context_length=TALES.context_length, **wider))


def larger_gpt() -> ModernGPT:
    """A modern GPT of one and a half times the width, with twice the parameters."""
    return modern_gpt(n_embd=96, n_head=6, n_kv_head=3, hidden=256)


def largest_gpt() -> ModernGPT:
    """A modern GPT four times as wide as the book's, and twice as deep."""
    return modern_gpt(n_layer=8, n_embd=256, n_head=8, n_kv_head=4, head_size=32, hidden=688)


RUNS: dict[str, tuple[Callable[[], nn.Module], list[TrainConfig]]] = {
    "book": (book_gpt, [WHOLE]),
    "modern": (modern_gpt, [WHOLE]),
    "short_first": (modern_gpt, [FIRST, SECOND]),
    "larger": (larger_gpt, [FIRST, LONGER]),
    "largest": (largest_gpt, [VAST_FIRST, VAST, COOL]),
}


def many(prepared: Prepared) -> Prepared:
    """So many other stories of the same book that few have to be read twice."""

    def part(seed: int) -> Any:
        text = corpus.load("stories", n=few(EACH, 60), seed=seed, volume=2)
        return encode(prepared.tokenizer, text).short().numpy()

    parts = {(str(seed),): partial(part, seed) for seed in few(range(2, 2 + MANY))}
    at_once = 1 if Rehearsal.steps else os.cpu_count() or 1
    ids = torch.cat([torch.from_numpy(found) for _, found in results(parts, at_once)]).long()
    starts = story_starts(ids, prepared.tokenizer, TALES.context_length)
    return prepared._replace(ids=ids, starts=starts)


def run(name: str, seed: int, prepared: Prepared) -> dict[str, Any]:
    """Train one model from one seed, and hold it against the answer key, near and far."""
    build, recipes = RUNS[name]
    vast = name == "largest"
    others = many(prepared) if vast else prepared
    torch.manual_seed(seed)
    model = build()
    if Machine.device == "cuda" and vast:
        model.compile()
    tokens = 0
    # No cache: it would keep the 16-bit weights of the opening step for the whole run.
    half = {"dtype": torch.bfloat16, "enabled": vast, "cache_enabled": False}
    with torch.autocast(Machine.device, **half):
        for part, recipe in enumerate(recipes):
            kept = CHECKPOINTS / f"tales_{name}_{part}" if SEEDS[name] == 1 else None
            data = prepared if recipe is COOL else others  # what it has not read yet
            recipe = replace(recipe, seed=seed)
            _, history = learn(lambda: model, data, recipe, checkpoint=kept)
            tokens += history[-1]["tokens"]
        score = prepared.key.score(model)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens": tokens,
        "seconds": history[-1]["seconds"],
        "by_distance": by_distance(score),
        **points(history, prepared.key, "step", "tokens"),
    }


def main() -> None:
    args = arguments("tales", __doc__, RUNS)
    prepared = prepare(n_exam=200, volume=2)
    names = args.names or [name for name in RUNS if name != "largest" or args.device != "cpu"]
    jobs = {  # seed by seed, so that what is stopped early is even
        (name, str(seed)): partial(run, name, seed, prepared)
        for seed in range(3)
        for name in names
        if seed < SEEDS[name]
    }
    about = {"edges": EDGES, "context_length": TALES.context_length, "units": UNITS}
    fill(args, begin(args), jobs, distance, **about)


if __name__ == "__main__":
    main()

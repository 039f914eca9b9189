"""How much room does the second volume leave above its floor, and can it be learned at all?

Claim: after the book's budget of tokens the book's GPT stands at twice the floor or higher, with
most skills below 0.7. Modern parts bring it nearer, short windows before long ones nearer still,
and a longer run of a wider model much nearer.

    python experiments/tales.py              # two hours on two cores; writes data/runs/tales.json
    python experiments/tales.py --resume     # only what is not recorded yet
    python experiments/tales.py book modern  # one or more of the runs below, anew

"book": the book's GPT with room for a whole tale, three seeds. "modern": the modern GPT of the
same size, as many tokens. "short_first": the same, of whose tokens more than half are windows of
128, the beginnings of tales. "larger": half as wide again, short windows first, six times as many
tokens; it goes on where it was stopped (runs/tales_larger). Recorded so far: seed 0 of each;
--resume makes the rest.

Recorded along training: loss beside the floor (nats per token, on 200 stories that no model saw)
and accuracy by skill. At the end also by distance: of each skill, for places whose answer was last
said fewer than 32 tokens back, 32 to 127, and farther, the share that is right and the number of
places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from recording import (
    CHECKPOINTS,
    TALES,
    UNITS,
    Prepared,
    arguments,
    begin,
    distance,
    fill,
    learn,
    points,
    prepare,
)
from torch import nn

from gptlib.given.folders import is_saved
from gptlib.gpt import GPT
from gptlib.modern import ModernConfig, ModernGPT
from gptlib.training import TrainConfig

BATCH = 4
BUDGET = 3100 * 8 * 128  # tokens of the book's run
EDGES = [32, 128]
SHORT = 128
WHOLE = TrainConfig.preset(
    "stories", batch_size=BATCH, steps=BUDGET // (BATCH * TALES.context_length), eval_every=250
)
# Half a batch of whole tales is as many tokens as sixteen beginnings.
FIRST = TrainConfig.preset(
    "stories", batch_size=16, steps=900, eval_every=900, context_length=SHORT, min_lr_ratio=0.5
)
SECOND = replace(WHOLE, steps=(BUDGET - 900 * 16 * SHORT) // (BATCH * TALES.context_length))
LONGER = replace(WHOLE, batch_size=8, steps=4500, lr=3e-3, min_lr_ratio=0.02, eval_every=500)
SEEDS = {"book": (0, 1, 2), "modern": (0, 1, 2), "short_first": (0, 1, 2), "larger": (0,)}


def book_gpt() -> GPT:
    """The book's GPT, with room for a whole tale."""
    return GPT(TALES)


def modern_gpt(**wider: int) -> ModernGPT:
    """The modern GPT of the book's size, or a wider one."""
    return ModernGPT(ModernConfig.preset("stories", context_length=TALES.context_length, **wider))


def larger_gpt() -> ModernGPT:
    """A modern GPT of one and a half times the width, with twice the parameters."""
    return modern_gpt(n_embd=96, n_head=6, n_kv_head=3, hidden=256)


RUNS: dict[str, tuple[Callable[[], nn.Module], list[TrainConfig]]] = {
    "book": (book_gpt, [WHOLE]),
    "modern": (modern_gpt, [WHOLE]),
    "short_first": (modern_gpt, [FIRST, SECOND]),
    "larger": (larger_gpt, [FIRST, LONGER]),
}


def run(name: str, seed: int, prepared: Prepared) -> dict[str, Any]:
    """Train one model from one seed, and hold it against the answer key, near and far."""
    build, recipes = RUNS[name]
    checkpoint = CHECKPOINTS / "tales_larger" if name == "larger" else None
    torch.manual_seed(seed)
    model = build()
    if checkpoint is None or not is_saved(checkpoint):  # otherwise the first part is behind it
        for recipe in recipes[:-1]:
            learn(lambda: model, prepared, replace(recipe, seed=seed))
    model, history = learn(
        lambda: model, prepared, replace(recipes[-1], seed=seed), checkpoint=checkpoint
    )
    score = prepared.key.score(model)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": history[-1]["seconds"],
        "by_distance": {
            skill: [list(part) if part[1] else [0, 0] for part in score.by_distance(skill, EDGES)]
            for skill in score.skills
        },
        **points(history, prepared.key, "step", "tokens"),
    }


def main() -> None:
    args = arguments("tales", __doc__, RUNS)
    prepared = prepare(n_exam=200, volume=2)
    jobs = {  # seed by seed, so that what is stopped early is even
        (name, str(seed)): partial(run, name, seed, prepared)
        for seed in range(3)
        for name in args.names or RUNS
        if seed in SEEDS[name]
    }
    about = {"edges": EDGES, "context_length": TALES.context_length, "units": UNITS}
    fill(args, begin(args), jobs, distance, **about)


if __name__ == "__main__":
    main()

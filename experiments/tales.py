"""How much room does the second volume leave above its floor, and can it be learned at all?

Claim: after the book's budget of tokens the book's GPT stands at twice the floor or higher, and
most skills are below 0.7. Whether a larger model comes near the floor is still to be recorded.

    python experiments/tales.py book          # ten minutes; writes data/runs/tales.json
    python experiments/tales.py               # with the larger model, hours on two cores
    python experiments/tales.py --resume      # only what is not recorded yet

Recorded along training: loss beside the floor (nats per token, on 200 stories that no model saw)
and accuracy by skill. At the end also by distance: of each skill, for places whose answer was last
said fewer than 32 tokens back, 32 to 127, and farther, the share that is right and the number of
places. The larger run goes on where it was stopped (runs/tales_larger.pt).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

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

from gptlib.gpt import GPT
from gptlib.modern import ModernConfig, ModernGPT
from gptlib.training import TrainConfig

BATCH = 4
BUDGET = 3100 * 8 * 128  # tokens of the book's run
EDGES = [32, 128]
BOOK = TrainConfig.preset(
    "stories", batch_size=BATCH, steps=BUDGET // (BATCH * TALES.context_length), eval_every=250
)
LARGER = TrainConfig.preset(
    "stories", batch_size=8, steps=7000, lr=3e-3, min_lr_ratio=0.02, eval_every=500
)
SEEDS = {"book": (0, 1, 2), "larger": (0,)}


def book_gpt() -> GPT:
    """The book's GPT, with room for a whole tale."""
    return GPT(TALES)


def larger_gpt() -> ModernGPT:
    """A modern GPT of one and a half times the width, with twice the parameters."""
    wider = {"n_embd": 96, "n_head": 6, "n_kv_head": 3, "hidden": 256}
    return ModernGPT(ModernConfig.preset("stories", context_length=TALES.context_length, **wider))


RUNS: dict[str, tuple[Callable[[], nn.Module], TrainConfig]] = {
    "book": (book_gpt, BOOK),
    "larger": (larger_gpt, LARGER),
}


def run(name: str, seed: int, prepared: Prepared) -> dict[str, Any]:
    """Train one model from one seed, and hold it against the answer key, near and far."""
    build, recipe = RUNS[name]
    recipe = TrainConfig(**{**vars(recipe), "seed": seed})
    checkpoint = CHECKPOINTS / "tales_larger" if name == "larger" else None
    model, history = learn(build, prepared, recipe, checkpoint=checkpoint)
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
    jobs = {
        (name, str(seed)): partial(run, name, seed, prepared)
        for name in args.names or RUNS
        for seed in SEEDS[name]
    }
    about = {"edges": EDGES, "context_length": TALES.context_length, "units": UNITS}
    fill(args, begin(args), jobs, distance, **about)


if __name__ == "__main__":
    main()

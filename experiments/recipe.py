"""How the book's recipe was found: learning rates, batch sizes and decays, three seeds each.

Claim: at 8 stories a step, rates of 0.004 and 0.008 end within 5 % of the floor on every seed; half
and twice that do not. Larger batches of the same number of stories take fewer steps, want a higher
rate and end higher. A decay of 0.1 costs at most a few per cent, one of 1 a great deal.

    python experiments/recipe.py --resume    # hours on two cores, minutes on a GPU

Each run sees the same number of stories, 8 times 3,100, so that a batch of 16 takes half the steps.
Recorded for each: the loss on 400 unseen stories along the way (nats per token).
"""

from __future__ import annotations

from functools import partial

from recording import (
    UNITS,
    Prepared,
    arguments,
    begin,
    columns,
    distance,
    few,
    fill,
    learn,
    prepare,
)

from gptlib.gpt import GPT, GPTConfig
from gptlib.training import TrainConfig

RECIPE = TrainConfig.preset("stories")
RATES = {
    8: (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032),
    16: (0.002, 0.004, 0.008, 0.016),
    32: (0.002, 0.004, 0.008, 0.016),
}
DECAYS = (0.1, 1.0)
SEEDS = range(3)


def run(prepared: Prepared, **changes) -> dict:
    """Train the recipe with some settings changed, and record it."""
    share = changes.get("batch_size", RECIPE.batch_size) / RECIPE.batch_size
    every = {"steps": int(RECIPE.steps / share), "eval_every": int(2 * RECIPE.eval_every / share)}
    config = TrainConfig.preset("stories", **changes, **every)
    _, history = learn(lambda: GPT(GPTConfig.preset("stories")), prepared, config)
    return columns(history, prepared.key)


def main() -> None:
    args = arguments("recipe", __doc__)
    prepared = prepare()
    record = begin(args) | {"floor": prepared.key.floor}
    jobs = {
        ("batches", str(batch), str(lr), str(seed)): partial(
            run, prepared, batch_size=batch, lr=lr, seed=seed
        )
        for batch, rates in RATES.items()
        for lr in few(rates)
        for seed in few(SEEDS)
    }
    jobs |= {
        ("decays", str(decay), str(seed)): partial(run, prepared, weight_decay=decay, seed=seed)
        for decay in DECAYS
        for seed in few(SEEDS)
    }
    fill(args, record, jobs, distance, units=UNITS)


if __name__ == "__main__":
    main()

"""Larger and smaller models against the floor: a first scaling curve.

Claim: in the mean of three seeds a wider model ends nearer to the floor, and twice the width takes
away half of what is left above it, or more. Single seeds of neighbouring widths overlap.

    python experiments/scaling.py           # half a quiet hour; writes data/runs/scaling.json
    python experiments/scaling.py --resume  # only what is not recorded yet

Four blocks, heads of 16 numbers, half of the book's steps (1,550 of 8 stories). The learning rate
falls with the root of the width, so that wide models do not suffer from the narrow ones' rate.
Recorded for each width: parameters, operations in all (6 for each weight and token, and attention),
the loss on 400 unseen stories along the way (nats per token), and the skills at the end.
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

from gptlib.gpt import GPT, GPTConfig, flops_per_token
from gptlib.training import TrainConfig

WIDTHS = (16, 32, 64, 128, 96)
RECIPE = TrainConfig.preset("stories")
STEPS = RECIPE.steps // 2
SEEDS = range(3)


def run(width: int, seed: int, prepared: Prepared) -> dict:
    """Train one width from one seed and record it."""
    config = GPTConfig.preset("stories", n_embd=width, n_head=width // 16)
    lr = RECIPE.lr * (64 / width) ** 0.5
    changes = {"steps": STEPS, "eval_every": STEPS // 5, "lr": lr, "seed": seed}
    model, history = learn(lambda: GPT(config), prepared, TrainConfig.preset("stories", **changes))
    return {
        "parameters": model.num_parameters(),
        "lr": lr,
        "flops": flops_per_token(config) * history[-1]["tokens"],
        **columns(history, prepared.key),
        "skills": history[-1]["skills"],
    }


def main() -> None:
    args = arguments("scaling", __doc__)
    prepared = prepare()
    record = begin(args) | {"floor": prepared.key.floor}
    jobs = {
        ("widths", str(width), str(seed)): partial(run, width, seed, prepared)
        for width in WIDTHS
        for seed in few(SEEDS)
    }
    fill(args, record, jobs, distance, units=UNITS)


if __name__ == "__main__":
    main()

"""Larger and smaller models against the floor: a first scaling curve.

Claim: with the same stories in the same order a wider model ends nearer to the floor. Twice the
width takes away about half of what is left above it, or more.

    python experiments/scaling.py           # eight quiet minutes; writes data/runs/scaling.json
    python experiments/scaling.py --resume  # only what is not recorded yet

Four blocks, heads of 16 numbers, half of the book's steps (1,550 of 8 stories). The learning rate
falls with the root of the width, so that wide models do not suffer from the narrow ones' rate.
Recorded for each width: parameters, operations in all (6 for each weight and token, and attention),
the loss on 400 unseen stories along the way (nats per token), and the skills at the end.
"""

from __future__ import annotations

from recording import Prepared, columns, learn, record_each

from gptlib.gpt import GPT, GPTConfig, flops_per_token
from gptlib.training import TrainConfig

WIDTHS = (16, 32, 64, 128, 96)
RECIPE = TrainConfig.preset("stories")
STEPS = RECIPE.steps // 2


def run(width: int, prepared: Prepared) -> dict:
    """Train one width and record it."""
    config = GPTConfig.preset("stories", n_embd=width, n_head=width // 16)
    lr = RECIPE.lr * (64 / width) ** 0.5
    changes = {"steps": STEPS, "eval_every": STEPS // 5, "lr": lr, "device": "cpu"}
    model, history = learn(lambda: GPT(config), prepared, TrainConfig.preset("stories", **changes))
    return {
        "parameters": model.num_parameters(),
        "lr": lr,
        "flops": flops_per_token(config) * history[-1]["tokens"],
        **columns(history, prepared.key),
        "skills": history[-1]["skills"],
    }


def main() -> None:
    record_each("scaling", __doc__, "widths", run, WIDTHS)


if __name__ == "__main__":
    main()

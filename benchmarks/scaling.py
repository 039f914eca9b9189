"""Larger and smaller models against the floor: a first scaling curve.

Claim: with the same stories in the same order a wider model ends nearer to the floor, and each
doubling of the width brings less than the one before.

    python benchmarks/scaling.py           # six quiet minutes; writes data/runs/scaling.json
    python benchmarks/scaling.py --resume  # only what is not recorded yet

Four blocks, heads of 16 numbers, half of the book's steps (1,550 of 8 stories). The learning rate
falls with the root of the width, so that wide models do not suffer from the narrow ones' rate.
Recorded for each width: parameters, operations in all (6 for each weight and token, and attention),
and loss and skills on 400 unseen stories along the way.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from recording import RUNS, load, prepare, save

from gptlib.gpt import GPT, GPTConfig, flops_per_token
from gptlib.training import TrainConfig, train

WIDTHS = (16, 32, 64, 128, 96)
RECIPE = TrainConfig.preset("stories")
STEPS = RECIPE.steps // 2


def run(width: int, prepared: tuple) -> dict:
    """Train one width and record it."""
    _, ids, starts, key = prepared
    config = GPTConfig.preset("stories", n_embd=width, n_head=width // 16)
    torch.manual_seed(0)
    model = GPT(config)

    def evaluate(model: torch.nn.Module) -> dict:
        score = key.score(model)
        return {"val_loss": score.loss, **score.skills}

    lr = RECIPE.lr * (64 / width) ** 0.5
    changes = {"steps": STEPS, "eval_every": STEPS // 5, "lr": lr, "device": "cpu"}
    training = TrainConfig.preset("stories", **changes)
    history = train(model, ids, None, training, starts=starts, evaluate=evaluate, progress=False)
    return {
        "parameters": model.num_parameters(),
        "lr": lr,
        "flops": flops_per_token(config) * history[-1]["tokens"],
        "step": history.column("step"),
        "loss": history.column("val_loss"),
        "skills": {skill: history[-1][skill] for skill in key.places},
        "above_floor": history[-1]["val_loss"] / key.floor - 1,
        "seconds": history[-1]["seconds"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--resume", action="store_true", help="keep what is recorded already")
    parser.add_argument("--out", type=Path, default=RUNS / "scaling.json")
    parser.add_argument("--threads", type=int, default=2, help="one is quicker on a busy machine")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    prepared = prepare()
    record = load(args.out) if args.resume else {}
    record |= {"floor": prepared[3].floor, "widths": record.get("widths", {})}
    for width in WIDTHS:
        if str(width) in record["widths"]:
            continue
        result = record["widths"][str(width)] = run(width, prepared)
        units = "loss, floor: nats per token; skills: share of labels right; seconds: training"
        save(args.out, record, "benchmarks/scaling.py", units=units)
        print(f"width {width}: {result['above_floor']:.1%} above the floor", flush=True)


if __name__ == "__main__":
    main()

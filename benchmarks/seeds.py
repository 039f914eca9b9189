"""Five seeds of the book's run: how much of a loss curve is luck, and is a run of yours normal?

Claim: with the recipe "stories" every one of five seeds ends within 10 % of the floor, and they end
close together; which skill comes before which is mostly no matter of luck.

    python benchmarks/seeds.py             # ten quiet minutes; writes data/runs/seeds.json
    python benchmarks/seeds.py --resume    # only what is not recorded yet

Recorded for each seed, every 200 steps: loss on 400 stories that no model saw (nats per token),
length of the gradient before clipping, and the accuracy of each skill. The seed decides the first
weights and the order of the data.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from recording import RUNS, load, prepare, save

from gptlib.gpt import GPT, GPTConfig
from gptlib.training import TrainConfig, train

SEEDS = range(5)


def run(seed: int, prepared: tuple, **changes) -> dict:
    """Train the recipe from one seed, with single settings changed, and record it."""
    _, ids, starts, key = prepared
    torch.manual_seed(seed)
    model = GPT(GPTConfig.preset("stories"))

    def evaluate(model: torch.nn.Module) -> dict:
        score = key.score(model)
        return {"val_loss": score.loss, **score.skills}

    config = TrainConfig.preset("stories", seed=seed, device="cpu", **changes)
    history = train(model, ids, None, config, starts=starts, evaluate=evaluate, progress=False)
    return {
        "step": history.column("step"),
        "loss": history.column("val_loss"),
        "grad_norm": history.column("grad_norm"),
        "skills": {skill: history.column(skill) for skill in key.places},
        "above_floor": history[-1]["val_loss"] / key.floor - 1,
        "seconds": history[-1]["seconds"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--resume", action="store_true", help="keep what is recorded already")
    parser.add_argument("--out", type=Path, default=RUNS / "seeds.json")
    parser.add_argument("--threads", type=int, default=2, help="one is quicker on a busy machine")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    prepared = prepare()
    record = load(args.out) if args.resume else {}
    record |= {"floor": prepared[3].floor, "seeds": record.get("seeds", {})}
    for seed in SEEDS:
        if str(seed) in record["seeds"]:
            continue
        result = record["seeds"][str(seed)] = run(seed, prepared)
        units = "loss, floor: nats per token; skills: share of labels right; seconds: training"
        save(args.out, record, "benchmarks/seeds.py", units=units)
        print(f"seed {seed}: {result['above_floor']:.1%} above the floor", flush=True)


if __name__ == "__main__":
    main()

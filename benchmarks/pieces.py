"""What each piece of the recipe is worth: the book's run with one piece left out.

Claim: without the first average, the decline of the learning rate or its warm-up the run ends
farther from the floor than any of the five seeds of the whole recipe does.

    python benchmarks/pieces.py             # half a quiet hour; writes data/runs/pieces.json
    python benchmarks/pieces.py --resume    # only what is not recorded yet

The same seeds, model, stories and number of steps as in seeds.py, and recorded likewise.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from recording import RUNS, load, prepare, save
from seeds import run

SEEDS = range(3)
LEFT_OUT = {
    "momentum": {"betas": (0.0, 0.95)},
    "warm-up": {"warmup_steps": 0},
    "decline": {"min_lr_ratio": 1.0},
    "clipping": {"grad_clip": None},
    "decay": {"weight_decay": 0.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pieces", nargs="*", metavar="piece", help=f"of {', '.join(LEFT_OUT)}")
    parser.add_argument("--resume", action="store_true", help="keep what is recorded already")
    parser.add_argument("--out", type=Path, default=RUNS / "pieces.json")
    parser.add_argument("--threads", type=int, default=2, help="one is quicker on a busy machine")
    args = parser.parse_args()
    if unknown := [name for name in args.pieces if name not in LEFT_OUT]:
        parser.error(f"no piece {unknown[0]!r}: choose from {', '.join(LEFT_OUT)}")
    torch.set_num_threads(args.threads)
    prepared = prepare()
    record = load(args.out) if args.resume or args.pieces else {}
    record |= {"floor": prepared[3].floor, "without": record.get("without", {})}
    for piece in args.pieces or LEFT_OUT:
        runs = record["without"].setdefault(piece, {})
        for seed in SEEDS:
            if args.resume and str(seed) in runs:
                continue
            runs[str(seed)] = run(seed, prepared, **LEFT_OUT[piece])
            units = "loss, floor: nats per token; skills: share of labels right; seconds: training"
            save(args.out, record, "benchmarks/pieces.py", units=units)
            print(f"without {piece}, seed {seed}: {runs[str(seed)]['above_floor']:.1%}", flush=True)


if __name__ == "__main__":
    main()

"""What each piece of the recipe is worth: the book's run with one piece left out.

Claim: without the decline of the learning rate every seed ends more than 10 % above the floor;
without clipping some do; momentum and warm-up bring up to two per cent, decay nothing.

    python experiments/pieces.py             # half a quiet hour; writes data/runs/pieces.json
    python experiments/pieces.py --resume    # only what is not recorded yet

The same seeds, model, stories and number of steps as in seeds.py, and recorded likewise.
"""

from __future__ import annotations

from functools import partial

from recording import UNITS, arguments, begin, distance, few, fill, prepare
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
    args = arguments("pieces", __doc__, LEFT_OUT)
    prepared = prepare()
    record = begin(args) | {"floor": prepared.key.floor}
    jobs = {
        ("without", piece, str(seed)): partial(run, seed, prepared, **LEFT_OUT[piece])
        for piece in args.names or LEFT_OUT
        for seed in few(SEEDS)
    }
    fill(args, record, jobs, distance, units=UNITS)


if __name__ == "__main__":
    main()

"""What each piece of the recipe is worth: the book's run with one piece left out.

Claim: without the decline of the learning rate every seed ends more than 10 % above the floor;
without clipping some do; momentum and warm-up bring up to two per cent. The decay of 0.01 leaves
93 % of a weight that nothing holds: leaving it out can show nothing (`recipe.py` has more of it).
Four layers without positions are recorded as well, to be held against those with them.

    python experiments/pieces.py             # a quiet hour; writes data/runs/pieces.json
    python experiments/pieces.py --resume    # only what is not recorded yet

The same seeds, model, stories and number of steps as in seeds.py, and recorded likewise. `without`:
the recipe lacks a piece. `model`: the model lacks a part, and trains for half of the steps, as the
models of scaling.py do, whose width of 64 is the same model with all its parts.
"""

from __future__ import annotations

from functools import partial

from recording import UNITS, arguments, begin, distance, few, fill, prepare
from seeds import book_gpt, run
from symptoms import without_positions

from gptlib.gpt import GPT

SEEDS = range(3)
LEFT_OUT = {
    "momentum": {"betas": (0.0, 0.95)},
    "warm-up": {"warmup_steps": 0},
    "decline": {"min_lr_ratio": 1.0},
    "clipping": {"grad_clip": None},
    "decay": {"weight_decay": 0.0},
}


def bare() -> GPT:
    """The book's model without positions."""
    return without_positions(book_gpt())


def main() -> None:
    args = arguments("pieces", __doc__, [*LEFT_OUT, "positions"])
    prepared = prepare()
    record = begin(args) | {"floor": prepared.key.floor}
    jobs: dict = {}
    for piece in args.names or [*LEFT_OUT, "positions"]:
        for seed in few(SEEDS):
            if piece == "positions":
                job = partial(run, seed, prepared, build=bare, steps=1550, eval_every=310)
                jobs["model", piece, str(seed)] = job
            else:
                job = partial(run, seed, prepared, **LEFT_OUT[piece])
                jobs["without", piece, str(seed)] = job
    fill(args, record, jobs, distance, units=UNITS)


if __name__ == "__main__":
    main()

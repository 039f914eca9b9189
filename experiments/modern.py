"""What does each change from the classic GPT to the modern one bring, alone and together?

Claim: in the same budget of tokens the modern GPT ends clearly nearer to the floor of the second
volume than the classic one, and most of that comes from few of the changes.

    python experiments/modern.py --workers 2      # an hour or two; writes data/runs/modern.json
    python experiments/modern.py --device cuda --workers 10    # minutes on a large GPU
    python experiments/modern.py --resume         # only what is not recorded yet
    python experiments/modern.py rope             # one or more of the runs below, anew

The classic is GPT-2's form at the book's size: learned positions, LayerNorm, GELU, biases. Each
change of `gptlib.changes` is made alone ("rope"), taken out of the whole alone ("no rope"), and all
together ("modern"). "waves" is a control for "rope": a table of positions that begins as waves. A
third of the book's tokens, three seeds each, five for "classic" and "modern"; these two also at
other learning rates, so that neither is tuned better than the other.

Recorded for each run: parameters, loss beside the floor (nats per token, on 200 stories that no
model saw) at each quarter of the run, and at the end accuracy by skill, and of each skill by
distance: for places whose answer was last said fewer than 32 tokens back, 32 to 127, and farther,
the share that is right and the number of places. What each change costs, costs.py records.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from recording import (
    EDGES,
    TALES,
    UNITS,
    Prepared,
    above_floor,
    arguments,
    begin,
    by_distance,
    distance,
    few,
    fill,
    learn,
    prepare,
)

from gptlib.changes import CHANGES, with_changes
from gptlib.training import TrainConfig

CLASSIC = replace(TALES, bias=True, gelu="tanh", waves=False)
BATCH = 4
BUDGET = 3100 * 8 * 128 // 3  # a third of the tokens of the book's run
STEPS = BUDGET // (BATCH * TALES.context_length)
RECIPE = TrainConfig.preset("stories", batch_size=BATCH, steps=STEPS, eval_every=STEPS // 4 + 1)
RATES = (2e-3, 8e-3)  # beside the recipe's own
MADE: dict[str, tuple[str, ...]] = {
    "classic": (),
    "modern": CHANGES,
    **{name: (name,) for name in CHANGES},
    "waves": (),
    **{f"no {name}": tuple(c for c in CHANGES if c != name) for name in CHANGES},
}


def seeds(name: str) -> int:
    """How many seeds a run has: five for the two that are held against each other."""
    return 5 if name in ("classic", "modern") else 3


def run(name: str, seed: int, prepared: Prepared, lr: float = RECIPE.lr) -> dict[str, Any]:
    """Train one model from one seed, and say where it ends."""
    recipe = replace(RECIPE, seed=seed, lr=lr)
    classic = replace(CLASSIC, waves=name == "waves")
    model, history = learn(lambda: with_changes(classic, MADE[name]), prepared, recipe)
    score = prepared.key.score(model)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "above_floor": above_floor(history, prepared.key),
        "tokens": history.column("tokens"),
        "loss": history.column("val_loss"),
        "skills": history[-1]["skills"],
        "by_distance": by_distance(score),
    }


def main() -> None:
    args = arguments("modern", __doc__, MADE)
    names = args.names or list(MADE)
    prepared = prepare(n_exam=200, volume=2)
    jobs: dict[tuple[str, ...], Any] = {}
    for without in (False, True):  # what is taken out of the whole comes last
        for seed in few(range(5)):  # seed by seed, so that what is stopped early is even
            for name in names:
                if seed < seeds(name) and (" " in name) == without:
                    jobs["runs", name, str(seed)] = partial(run, name, seed, prepared)
    for name in [name for name in ("classic", "modern") if name in names]:
        for lr in RATES:
            jobs["rates", name, str(lr)] = partial(run, name, 0, prepared, lr)
    record = begin(args) | {"floor": prepared.key.floor}
    about = {"steps": RECIPE.steps, "batch_size": BATCH, "lr": RECIPE.lr, "edges": EDGES}
    fill(args, record, jobs, distance, units=UNITS, **about)


if __name__ == "__main__":
    main()

"""Which expert is asked for what, and what does it take to keep them all at work?

Claim: without a reward for balance the load is uneven and up to one call in six is dropped; with it
the load is nearly even, and the loss cannot be told from the other's.

    python experiments/routing.py            # an hour; writes data/runs/routing.json
    python experiments/routing.py --resume   # only what is not recorded yet

The modern GPT with eight experts of half the width, two of them asked, on the second volume; a
third of the book's tokens. "balanced": with `balance_loss` counted at 0.01, "free": at 0, two
seeds each. Recorded: loss beside the floor (nats per token, 200 unseen stories), the share of all
calls that each expert of each layer gets, the share of calls that find no room (capacity 1.25,
batches of training), and for each skill the shares of the experts at the token from which its
answer is told.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from recording import (
    TALES,
    UNITS,
    Prepared,
    above_floor,
    arguments,
    begin,
    distance,
    few,
    fill,
    learn,
    prepare,
)

from gptlib.batches import get_batch
from gptlib.experts import Routing
from gptlib.given.models import evaluating
from gptlib.modern import ModernConfig, ModernGPT
from gptlib.training import TrainConfig

BATCH = 4
STEPS = 3100 * 8 * 128 // 3 // (BATCH * TALES.context_length)
RECIPE = TrainConfig.preset("stories", batch_size=BATCH, steps=STEPS, eval_every=STEPS)
BALANCE = {"balanced": 0.01, "free": 0.0}


def routes_of(model: ModernGPT, idx: torch.Tensor) -> list[Routing]:
    """Who asks whom in each layer, for idx (B, T)."""
    routes: list[Routing] = []
    with torch.no_grad():
        model(idx, routes=routes)
    return routes


def shares(chosen: torch.Tensor, n_expert: int) -> list[float]:
    """The share of all calls that each expert gets: chosen (…) -> n_expert numbers of sum 1."""
    return (F.one_hot(chosen.flatten(), n_expert).float().mean(dim=0)).tolist()


def dropped(model: ModernGPT, prepared: Prepared) -> list[float]:
    """The share of calls that find no room, layer by layer, in batches as they come in training."""
    draw = torch.Generator().manual_seed(1)
    x, _ = get_batch(
        prepared.ids, few(64, 4), TALES.context_length, starts=prepared.starts, generator=draw
    )
    model.train()
    batches = [routes_of(model, part) for part in x.split(BATCH)]
    layers = zip(*batches, strict=True)
    return [
        1 - torch.stack([r.answered.float().mean() for r in layer]).mean().item()
        for layer in layers
    ]


def asked(model: ModernGPT, prepared: Prepared) -> dict[str, Any]:
    """How the calls spread over the experts: by layer, over all tokens and by skill."""
    key, n = prepared.key, model.config.n_expert
    with evaluating(model):
        parts = [routes_of(model, part) for part in key.idx.split(10)]
    scored = key.targets >= 0  # (N, T)
    found: dict[str, Any] = {"all": [], "skills": {skill: [] for skill in key.places}}
    for layer in zip(*parts, strict=True):
        chosen = torch.cat([routing.chosen for routing in layer])  # (N, T, K)
        found["all"].append(shares(chosen[scored], n))
        for skill, places in key.places.items():
            rows, columns = zip(*[(row, first) for row, first, *_ in places], strict=True)
            found["skills"][skill].append(shares(chosen[list(rows), list(columns)], n))
    return found


def run(name: str, seed: int, prepared: Prepared) -> dict[str, Any]:
    """Train one model from one seed, and look at its experts."""
    config = ModernConfig.preset(
        "stories-experts", context_length=TALES.context_length, balance=BALANCE[name]
    )
    model, history = learn(lambda: ModernGPT(config), prepared, replace(RECIPE, seed=seed))
    assert isinstance(model, ModernGPT)
    return {
        "parameters": model.num_parameters(),
        "above_floor": above_floor(history, prepared.key),
        "loss": history[-1]["val_loss"],
        "skills": history[-1]["skills"],
        "dropped": dropped(model, prepared),
        "asked": asked(model, prepared),
    }


def main() -> None:
    args = arguments("routing", __doc__)
    prepared = prepare(n_exam=200, volume=2)
    jobs: dict[tuple[str, ...], Any] = {
        ("runs", name, str(seed)): partial(run, name, seed, prepared)
        for seed in few(range(2))
        for name in BALANCE
    }
    record = begin(args) | {"floor": prepared.key.floor}
    about = {"steps": STEPS, "batch_size": BATCH, "units": UNITS}
    fill(args, record, jobs, distance, **about)


if __name__ == "__main__":
    main()

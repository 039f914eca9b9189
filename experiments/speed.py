"""Does Muon bring the book's model nearer to the floor than AdamW, in steps and in seconds?

Claim: with a quarter of the book's steps, every seed of Muon at its best rate ends nearer to the
floor than any seed of AdamW at any; a step of it takes longer, by less than it saves.

    python experiments/speed.py             # forty minutes; writes data/runs/speed.json
    python experiments/speed.py --resume    # only what is not recorded yet

The book's model and recipe (seeds.py) with a quarter of the steps, in batches of eight stories.
`runs`: optimiser, rate, seed; three seeds, fewer at the edges of the rates. `adamw` is the recipe
as it stands. `muon` moves the matrices of the blocks by Muon at the rate that is named; tables and
vectors stay with AdamW at the recipe's rate of 0.004, and both rates follow one schedule. Decay and
clipping are the recipe's.
`whole`: how near a third of the time comes. Optimiser, steps, seed: the book's recipe beside the
quick one that the page trains by (live_training.py: Muon at 0.02, tables at 0.03, both falling to
0), finished after 900 steps, which take about a third of the time of the book's 3,100, and after
1,400 and 1,800. In turns, seed by seed, on one thread; `seconds` are those of the processor there.
`step`: milliseconds of a whole step of each, taken in turns by one process on one thread, medians
of processor time, and the middle half of their ratios. `backward` is forward and backward alone.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from statistics import median, quantiles
from time import process_time
from typing import Any
from unittest.mock import patch

import torch
from recording import (
    CONFIG,
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
    save,
)  # fmt: skip
from torch import nn

from gptlib import training
from gptlib.batches import get_batch
from gptlib.gpt import GPT
from gptlib.muon import Muon
from gptlib.training import TrainConfig, make_optimizer
from gptlib.widgets.live_training import HOLD, MUON, QUICK

SEEDS = range(3)
STEPS, EVERY = 775, 155
RATES = {"adamw": (0.004, 0.008, 0.016), "muon": (0.01, 0.02)}
EDGES = {"adamw": {0.032: 1}, "muon": {0.005: 1, 0.04: 2}}  # beyond them, with fewer seeds
ROUNDS = 60
WHOLE = (("adamw", 3100), ("muon", 900), ("muon", 1400), ("muon", 1800))


class Both:
    """Muon for the matrices of the blocks and AdamW for the rest, as one optimiser."""

    def __init__(self, model: GPT, config: TrainConfig, times: float):
        matrices = [p for p in model.blocks.parameters() if p.dim() == 2]
        taken = {id(p) for p in matrices}
        self.adamw = make_optimizer(model, config)
        for group in self.adamw.param_groups:
            group["params"] = [p for p in group["params"] if id(p) not in taken]
        self.muon = Muon(matrices, weight_decay=config.weight_decay)
        self.times = times  # Muon's rate in terms of AdamW's
        self.param_groups = self.adamw.param_groups + self.muon.param_groups

    def zero_grad(self) -> None:
        for part in (self.adamw, self.muon):
            part.zero_grad()

    def step(self) -> None:
        self.adamw.step()
        for group in self.muon.param_groups:
            group["lr"] *= self.times
        self.muon.step()


def making(optimizer: str, rate: float) -> Callable[[Any, Any], Any]:
    """What makes the optimiser of a run, from model and recipe."""
    if optimizer == "adamw":
        return make_optimizer
    return lambda model, config: Both(model, config, rate / config.lr)


def run(optimizer: str, rate: float, seed: int, prepared: Prepared) -> dict[str, Any]:
    """One run, as columns."""
    lr = rate if optimizer == "adamw" else 0.004
    config = TrainConfig.preset("stories", lr=lr, steps=STEPS, eval_every=EVERY, seed=seed)
    with patch.object(training, "make_optimizer", making(optimizer, rate)):
        _, history = learn(lambda: GPT(CONFIG), prepared, config)
    return columns(history, prepared.key)


def held(step: int, config: TrainConfig) -> float:
    """The page's schedule: up, for HOLD of the way at its height, then in a straight line to 0."""
    if step < config.warmup:
        return config.lr * step / config.warmup
    left = 1 - (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.lr * min(1.0, left / (1 - HOLD))


def whole(optimizer: str, steps: int, seed: int, prepared: Prepared) -> dict[str, Any]:
    """A finished run of the book's recipe or of the quick one, as columns."""
    recipe = TrainConfig.preset("stories") if optimizer == "adamw" else QUICK
    config = replace(recipe, steps=steps, eval_every=300, seed=seed)
    with ExitStack() as changed:
        changed.enter_context(patch.object(training.time, "perf_counter", process_time))
        if optimizer == "muon":
            changed.enter_context(patch.object(training, "learning_rate", held))
            maker = making("muon", MUON)
            changed.enter_context(patch.object(training, "make_optimizer", maker))
        _, history = learn(lambda: GPT(CONFIG), prepared, config)
    return columns(history, prepared.key)


def clocked(prepared: Prepared) -> dict[str, Any]:
    """Milliseconds of a step of each optimiser, in turns, and of forward and backward alone."""
    took: dict[str, list[float]] = {"backward": [], "adamw": [], "muon": []}
    config = TrainConfig.preset("stories")
    models = {name: GPT(CONFIG) for name in took}
    makers = {"backward": make_optimizer, "adamw": make_optimizer, "muon": making("muon", 0.02)}
    optimizers = {name: makers[name](models[name], config) for name in took}
    generator = torch.Generator().manual_seed(0)
    for _ in range(few(ROUNDS)):
        x, y = get_batch(prepared.ids, 8, 128, starts=prepared.starts, generator=generator)
        for name, model in models.items():
            began = process_time()
            optimizers[name].zero_grad()
            model(x, y)[1].backward()
            if name != "backward":
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                for group in optimizers[name].param_groups:
                    group["lr"] = 0.001
                optimizers[name].step()
            took[name].append(process_time() - began)
    ratios = [m / a for m, a in zip(took["muon"], took["adamw"], strict=True)]
    found: dict[str, Any] = {name: 1000 * median(times) for name, times in took.items()}
    return found | {"ratio": median(ratios), "middle_half": quantiles(ratios)[::2]}


def main() -> None:
    args = arguments("speed", __doc__)
    prepared = prepare()
    record = begin(args) | {"floor": prepared.key.floor}
    jobs: dict = {
        ("runs", optimizer, str(rate), str(seed)): partial(run, optimizer, rate, seed, prepared)
        for seed in few(SEEDS)
        for optimizer, rates in RATES.items()
        for rate in few(rates) + tuple(r for r, n in EDGES[optimizer].items() if seed < n)
    }
    units = f"{UNITS}, in whole of the processor; step: ms of processor time"
    fill(args, record, jobs, distance, units=units)
    torch.set_num_threads(1)
    jobs = {
        ("whole", optimizer, str(steps), str(seed)): partial(
            whole, optimizer, steps, seed, prepared
        )
        for seed in few(SEEDS)
        for optimizer, steps in WHOLE
    }
    fill(args, record, jobs, distance, units=units)
    if not (args.resume and "step" in record):
        record["step"] = clocked(prepared)
        save(args, record, units=units)
        print(record["step"])


if __name__ == "__main__":
    main()

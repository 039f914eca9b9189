"""Which expert is asked for what, and what does it take to keep them all at work?

Claim: without a reward for balance the load is uneven and up to one call in six is dropped; with it
the load is nearly even, and the loss cannot be told from the other's.

    python experiments/routing.py            # hours; writes data/runs/routing.json
    python experiments/routing.py --resume   # only what is not recorded yet
    python experiments/routing.py --device cuda --workers 3    # minutes on a large GPU

The modern GPT with eight experts of half the width, two of them asked, on the second volume; a
third of the book's tokens. "balanced": with `balance_loss` counted at 0.01, "free": at 0, three
seeds each. "long": balanced, one seed, so many tokens that the rare facts are known (minutes on a
large GPU, a day elsewhere). Recorded: loss beside the floor (nats per token, 200 unseen stories),
the share of all calls that each expert of each layer gets, the share of calls that find no room
(capacity 1.25, batches of training), for each skill the shares of the experts at the token from
which its answer is told, and "facts": what the expert asked first in each layer tells about the
town whose bell is spoken of (mutual information in nats), "by chance" the same with the towns
shuffled among the places, and the share of these places that the model gets right.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import replace
from functools import partial
from random import Random
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

from gptlib import corpus
from gptlib.batches import get_batch
from gptlib.corpus.scoring import AnswerKey
from gptlib.experts import Routing
from gptlib.given.models import evaluating
from gptlib.modern import ModernConfig, ModernGPT
from gptlib.training import TrainConfig

BATCH = 4
STEPS = 3100 * 8 * 128 // 3 // (BATCH * TALES.context_length)
RECIPE = TrainConfig.preset("stories", batch_size=BATCH, steps=STEPS, eval_every=STEPS)
TOWN = re.compile(r"came from (\w+), where the bell")
BALANCE = {"balanced": 0.01, "free": 0.0, "long": 0.01}
SEEDS = {"balanced": 3, "free": 3, "long": 1}
LONG = replace(RECIPE, batch_size=32, steps=2500, eval_every=500)
N_FACTS = 6000  # stories that are looked through for towns: one in four names one


def routes_of(model: ModernGPT, idx: torch.Tensor) -> list[Routing]:
    """Who asks whom in each layer, for idx (B, T)."""
    routes: list[Routing] = []
    device = next(model.parameters()).device
    with torch.no_grad():
        model(idx.to(device), routes=routes)
    return [Routing(*(part.cpu() for part in routing)) for routing in routes]


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


def information(towns: list[str], experts: list[int]) -> float:
    """How much an expert tells about the town, in nats: 0 where the two have nothing in common."""
    n, pairs = len(towns), Counter(zip(towns, experts, strict=True))
    of_town, of_expert = Counter(towns), Counter(experts)
    return sum(
        count / n * math.log(count * n / (of_town[town] * of_expert[expert]))
        for (town, expert), count in pairs.items()
    )


def facts(model: ModernGPT, prepared: Prepared) -> dict[str, Any]:
    """Which expert is asked where the bell of a town is to be told: one for each town, or any?"""
    stories = [s for s in corpus.stories(few(N_FACTS, 30), seed=2, volume=2) if TOWN.search(s.text)]
    key, towns = AnswerKey(stories, prepared.tokenizer), []
    places = key.places["fact"]
    for row, *_ in places:
        towns.append(TOWN.search(stories[row].text)[1])  # a story names one town
    with evaluating(model):
        parts = [routes_of(model, part) for part in key.idx.split(10)]
    rows, columns = zip(*[(row, first) for row, first, *_ in places], strict=True)
    found: dict[str, Any] = {"places": len(towns), "towns": len(set(towns)), "layers": []}
    found["right"] = key.score(model).skills["fact"]
    shuffled = Random(0).sample(towns, len(towns))
    for layer in zip(*parts, strict=True):
        chosen = torch.cat([routing.chosen for routing in layer])  # (N, T, K)
        experts = chosen[list(rows), list(columns), 0].tolist()
        found["layers"].append([information(towns, experts), information(shuffled, experts)])
    return found


def run(name: str, seed: int, prepared: Prepared) -> dict[str, Any]:
    """Train one model from one seed, and look at its experts."""
    config = ModernConfig.preset(
        "stories-experts", context_length=TALES.context_length, balance=BALANCE[name]
    )
    recipe = replace(LONG if name == "long" else RECIPE, seed=seed)
    model, history = learn(lambda: ModernGPT(config), prepared, recipe)
    assert isinstance(model, ModernGPT)
    return {
        "parameters": model.num_parameters(),
        "above_floor": above_floor(history, prepared.key),
        "loss": history[-1]["val_loss"],
        "skills": history[-1]["skills"],
        "dropped": dropped(model, prepared),
        "asked": asked(model, prepared),
        "facts": facts(model, prepared),
    }


def main() -> None:
    args = arguments("routing", __doc__)
    prepared = prepare(n_exam=200, volume=2)
    jobs: dict[tuple[str, ...], Any] = {
        ("runs", name, str(seed)): partial(run, name, seed, prepared)
        for seed in few(range(3))
        for name in BALANCE
        if seed < SEEDS[name]
    }
    record = begin(args) | {"floor": prepared.key.floor}
    about = {"steps": STEPS, "batch_size": BATCH, "units": UNITS}
    fill(args, record, jobs, distance, **about)


if __name__ == "__main__":
    main()

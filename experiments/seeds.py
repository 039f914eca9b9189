"""Five seeds of the book's run: how much of a loss curve is luck, and is a run of yours normal?

Claim: with the recipe "stories" every one of five seeds ends within 10 % of the floor, and they end
close together; which skill comes before which is mostly no matter of luck.

    python experiments/seeds.py             # ten quiet minutes; writes data/runs/seeds.json
    python experiments/seeds.py --resume    # only what is not recorded yet

Recorded for each seed, every 200 steps: loss on 400 stories that no model saw (nats per token),
length of the gradient before clipping, and the accuracy of each skill. The seed decides the first
weights and the order of the data.
"""

from __future__ import annotations

from recording import Prepared, columns, learn, record_each

from gptlib.gpt import GPT, GPTConfig
from gptlib.training import TrainConfig

SEEDS = range(5)


def run(seed: int, prepared: Prepared, **changes) -> dict:
    """Train the recipe from one seed, with single settings changed, and record it."""
    config = TrainConfig.preset("stories", seed=seed, device="cpu", **changes)
    _, history = learn(lambda: GPT(GPTConfig.preset("stories")), prepared, config)
    skills = history.column("skills")
    return {
        **columns(history, prepared.key),
        "grad_norm": history.column("grad_norm"),
        "skills": {skill: [shares[skill] for shares in skills] for skill in prepared.key.places},
    }


def main() -> None:
    record_each("seeds", __doc__, "seeds", run, SEEDS)


if __name__ == "__main__":
    main()

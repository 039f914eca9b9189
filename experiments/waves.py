"""What positions that begin as waves bring: the course's GPT with and without, the same recipe.

Claim: nothing that one seed could show. From the same seed, on the same batches, the GPT ends less
than 1 % of the floor apart whether its position embedding begins as sines and cosines or at random.
With waves it learns how stories end some hundreds of steps sooner, and five seeds with waves
(seeds.py) lie as far apart as that.

    python experiments/waves.py             # about four minutes; writes data/runs/waves.json
    python experiments/waves.py --resume    # only what is not recorded yet

Recorded for both: loss beside the floor (nats per token, on 400 stories that no model saw) and
accuracy by skill, along training. Losses do not depend on how fast the machine is.
"""

from __future__ import annotations

from functools import partial

from recording import Prepared, arguments, begin, distance, fill, learn, points, prepare

from gptlib.gpt import GPT, GPTConfig
from gptlib.training import TrainConfig

TRAINING = TrainConfig.preset("stories")
UNITS = "loss, floor: nats per token; skills: share of labels right"


def run(waves: bool, prepared: Prepared) -> dict:
    """Train one model and record it."""
    _, history = learn(lambda: GPT(GPTConfig.preset("stories", waves=waves)), prepared, TRAINING)
    return points(history, prepared.key, "step")


def main() -> None:
    args = arguments("waves", __doc__)
    prepared = prepare()
    jobs = {("random",): partial(run, False, prepared), ("waves",): partial(run, True, prepared)}
    about = {"seed": TRAINING.seed, "steps": TRAINING.steps, "units": UNITS}
    fill(args, begin(args), jobs, distance, **about)


if __name__ == "__main__":
    main()

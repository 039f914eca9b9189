"""What positions that begin as waves bring: the course's GPT with and without, the same recipe.

Claim: with sines and cosines as the first values of the position embedding the GPT ends nearer to
the floor than with random ones, from the same seed, on the same batches, after the same steps.

    python benchmarks/waves.py             # about four minutes; writes data/runs/waves.json

Recorded for both: loss beside the floor (nats per token, on 400 stories that no model saw) and
accuracy by skill, along training. Losses do not depend on how fast the machine is.
"""

from __future__ import annotations

import argparse
import json
import platform
from datetime import date
from pathlib import Path

import torch

from gptlib import corpus
from gptlib.checkpoint import replacing
from gptlib.gpt import GPT, GPTConfig
from gptlib.scoring import AnswerKey, story_starts
from gptlib.tokenizer import BPETokenizer
from gptlib.training import TrainConfig, train

RUNS = Path(__file__).resolve().parent.parent / "data" / "runs"
TRAINING = TrainConfig.preset("stories")


def prepare() -> tuple[torch.Tensor, torch.Tensor, AnswerKey]:
    """The training ids, where windows may begin, and 400 unseen stories as key."""
    config = GPTConfig.preset("stories")
    tokenizer = BPETokenizer.train(
        corpus.load("stories", n=3000), config.vocab_size, special_tokens=[corpus.END]
    )
    text = corpus.END + corpus.load("stories")
    ids = torch.tensor(tokenizer.to_tiktoken().encode(text, allowed_special="all"))
    starts = story_starts(ids, tokenizer, config.context_length)
    return ids, starts, AnswerKey(corpus.stories(400, seed=1), tokenizer)


def run(waves: bool, ids: torch.Tensor, starts: torch.Tensor, key: AnswerKey) -> dict:
    """Train one model and record it."""
    torch.manual_seed(TRAINING.seed)
    model = GPT(GPTConfig.preset("stories", waves=waves))
    curve = []

    def evaluate(model: torch.nn.Module) -> dict[str, float]:
        score = key.score(model)
        skills = {skill: round(share, 4) for skill, share in score.skills.items()}
        curve.append({"loss": round(score.loss, 4), "skills": skills})
        return {"val_loss": score.loss}

    history = train(model, ids, None, TRAINING, starts=starts, evaluate=evaluate)
    for point, record in zip(curve, history, strict=True):
        point["step"] = record["step"]
    above = curve[-1]["loss"] / key.floor - 1
    print(f"waves={waves}: loss {curve[-1]['loss']:.4f}, {above:.1%} above the floor")
    return {"floor": round(key.floor, 4), "above_floor": round(above, 4), "curve": curve}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=RUNS / "waves.json")
    args = parser.parse_args()
    prepared = prepare()
    record = {name: run(waves, *prepared) for name, waves in (("random", False), ("waves", True))}
    record["about"] = {
        "date": date.today().isoformat(),
        "command": "python benchmarks/waves.py",
        "torch": torch.__version__.split("+")[0],
        "python": platform.python_version(),
        "seed": TRAINING.seed,
        "steps": TRAINING.steps,
        "units": "loss, floor: nats per token; skills: share of labels right",
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(args.out) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

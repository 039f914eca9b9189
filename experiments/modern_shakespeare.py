"""On real text, characters of Tiny Shakespeare: the classic GPT beside the modern one.

Claim: with nanoGPT's recipe for a laptop the modern form ends lower than the classic one, with
fewer parameters, from each of five seeds.

    python experiments/modern_shakespeare.py --workers 2      # half an hour; fetches the text
    python experiments/modern_shakespeare.py --data PATH      # the same with a copy of yours
    python experiments/modern_shakespeare.py --resume         # only what is not recorded yet

"classic" and "modern" are those of modern.py, in the shape of nanoGPT's recipe: 2,000 steps of 12
windows of 64 characters. Five seeds each, and one seed with half and twice the learning rate, so
that neither is tuned better than the other. Recorded: parameters, and the loss on the last tenth of
the text along training, in nats per character.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from recording import Machine, arguments, begin, few, fill, shortened

from gptlib import corpus
from gptlib.batches import train_val_split
from gptlib.changes import CHANGES, with_changes
from gptlib.gpt import GPTConfig
from gptlib.tokenizer import CharTokenizer
from gptlib.training import TrainConfig, train

TRAINING = TrainConfig.preset("nanogpt-cpu", eval_every=500, eval_batches=100)
MADE = {"classic": (), "modern": CHANGES}
RATES = (TRAINING.lr / 2, TRAINING.lr * 2)


def run(name: str, seed: int, text: str, lr: float = TRAINING.lr) -> dict[str, Any]:
    """Train one of the two from one seed, and say what it expects of unseen text."""
    tokenizer = CharTokenizer(text)
    train_ids, val_ids = train_val_split(torch.tensor(tokenizer.encode(text)))
    recipe = replace(shortened(TRAINING), seed=seed, lr=lr, device=Machine.device)
    config = GPTConfig.preset("nanogpt-cpu", vocab_size=tokenizer.vocab_size)
    torch.manual_seed(seed)
    model = with_changes(config, MADE[name])
    history = train(model, train_ids, val_ids, recipe, progress=False)
    return {
        "parameters": model.num_parameters(),
        "step": history.column("step"),
        "val_loss": history.column("val_loss"),
    }


def main() -> None:
    data = {"default": "tinyshakespeare", "help": "name or path of the text"}
    args = arguments("modern_shakespeare", __doc__, data=data)
    text = corpus.load(args.data)
    jobs: dict[tuple[str, ...], Any] = {
        ("runs", name, str(seed)): partial(run, name, seed, text)
        for seed in few(range(5))
        for name in MADE
    }
    for name in MADE:
        for lr in RATES:
            jobs["rates", name, str(lr)] = partial(run, name, 0, text, lr)
    about = {"lr": TRAINING.lr, "units": "val_loss: nats per character"}
    fill(args, begin(args), jobs, lambda run: f"{run['val_loss'][-1]:.4f}", **about)


if __name__ == "__main__":
    main()

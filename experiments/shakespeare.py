"""The same pipeline on real text: nanoGPT's recipe for a laptop, characters of Tiny Shakespeare.

Claim: 0.8 million parameters and 2,000 steps reach a validation loss near 1.88 nats per character,
the figure that nanoGPT publishes for this recipe.

    python experiments/shakespeare.py                  # fetches the text; about two quiet minutes
    python experiments/shakespeare.py --data PATH      # the same with a copy of yours

Writes data/runs/shakespeare.json: training and validation loss along training, and 300 characters
written at temperature 0.8. The last tenth of the text is kept for validation.
"""

from __future__ import annotations

import torch
from recording import arguments, few, save, shortened

from gptlib import corpus
from gptlib.batches import train_val_split
from gptlib.generation import generate
from gptlib.gpt import GPT, GPTConfig
from gptlib.tokenizer import CharTokenizer
from gptlib.training import TrainConfig, train

TRAINING = TrainConfig.preset("nanogpt-cpu", eval_every=250, eval_batches=100)


def main() -> None:
    data = {"default": "tinyshakespeare", "help": "name or path of the text"}
    args = arguments("shakespeare", __doc__, resume=False, data=data)
    text = corpus.load(args.data)
    tokenizer = CharTokenizer(text)
    train_ids, val_ids = train_val_split(torch.tensor(tokenizer.encode(text)))
    training = shortened(TRAINING)
    torch.manual_seed(training.seed)
    model = GPT(GPTConfig.preset("nanogpt-cpu", vocab_size=tokenizer.vocab_size))
    history = train(model, train_ids, val_ids, training, progress=False)
    start = torch.tensor([tokenizer.encode("\n")])
    generator = torch.Generator().manual_seed(1)
    written = generate(model, start, few(300), temperature=0.8, generator=generator)
    record = {
        "characters": len(text),
        "vocab_size": tokenizer.vocab_size,
        "parameters": model.num_parameters(),
        "step": history.column("step"),
        "train_loss": history.column("train_loss"),
        "val_loss": history.column("val_loss"),
        "seconds": history[-1]["seconds"],
        "temperature": 0.8,
        "sample": tokenizer.decode(written[0, 1:].tolist()),
    }
    units = "loss: nats per character; seconds: training"
    save(args, record, units=units)
    print(record["val_loss"], record["sample"], sep="\n")


if __name__ == "__main__":
    main()

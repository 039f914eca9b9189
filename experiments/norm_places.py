"""Norm before each layer or after each sum: gradients by layer, and the learning rates survived.

Claim: a GPT of twelve pre-norm blocks learns at each of seven learning rates from 0.001 to 0.064,
with warm-up and without; the same blocks in post-norm order learn nothing above 0.004 without
warm-up and above 0.016 with it. Two other seeds have the same edge without warm-up.

    python experiments/norm_places.py             # twelve quiet minutes; writes
                                                 # data/runs/norm_places.json
    python experiments/norm_places.py --resume    # only the rows that are not recorded yet

Recorded for each place of the norm, each learning rate, without and with warm-up: the loss on
unseen stories after a short run (nats per token; null where it was no longer finite), and the
gradient of each block before and after: the mean absolute value over the feed-forward network's
first matrix. After the run, for each feed-forward network, how large its change is beside the
stream that it is added to. And the same for post-norm from other first weights, at three rates on
both sides of the edge.
"""

from __future__ import annotations

import math
from functools import partial

import torch
from recording import arguments, begin, book_tokenizer, encode, few, fill, shortened

from gptlib import corpus
from gptlib.batches import get_batch
from gptlib.block import TransformerBlock
from gptlib.corpus.scoring import story_starts
from gptlib.gpt import GPT, GPTConfig
from gptlib.training import TrainConfig, train

PLACES = ("pre", "post")
RATES = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064)
WARMUPS = (0, 100)
SEEDS, EDGE = (1, 2), (0.004, 0.008, 0.016)
N_LAYER, STEPS, CONTEXT, BATCH = 12, 200, 64, 8


class Stories:
    """Ids to train on, and one fixed batch of unseen stories to measure on."""

    def __init__(self) -> None:
        tokenizer = book_tokenizer()
        self.ids = encode(tokenizer, corpus.load("stories", n=few(10_000, 300)))
        self.starts = story_starts(self.ids, tokenizer, CONTEXT)
        texts = corpus.END.join(story.text for story in corpus.stories(few(300, 30), seed=1))
        unseen = encode(tokenizer, texts)
        starts = story_starts(unseen, tokenizer, CONTEXT)
        generator = torch.Generator().manual_seed(1)
        self.x, self.y = get_batch(unseen, few(128), CONTEXT, starts=starts, generator=generator)

    @torch.no_grad()
    def loss(self, model: GPT) -> float:
        """Nats per token on the unseen batch."""
        return model(self.x, self.y)[1].item()

    def blind(self) -> float:
        """The loss of a model that knows how frequent each token is and looks at nothing."""
        share = self.y.flatten().bincount() / self.y.numel()  # (V)
        return -torch.special.xlogy(share, share).sum().item()


def gradients(model: GPT, stories: Stories) -> list[float]:
    """Mean absolute gradient of each block's first feed-forward matrix, on the unseen batch."""
    model.zero_grad()
    model(stories.x, stories.y)[1].backward()
    found = [block.feed_forward.expand.weight.grad.abs().mean().item() for block in model.blocks]
    model.zero_grad()
    return found


@torch.no_grad()
def branches(model: GPT, stories: Stories) -> list[float]:
    """For each block: the size of the feed-forward network's change, as a share of the stream's."""
    shares = []

    def look(block: TransformerBlock, inputs: tuple[torch.Tensor], _: torch.Tensor) -> None:
        pre, x = block.norm == "pre", inputs[0]  # x (B, T, C)
        change = block.attention(block.norm_1(x) if pre else x)
        stream = x + change if pre else block.norm_1(x + change)
        change = block.feed_forward(block.norm_2(stream) if pre else stream)
        shares.append((change.norm() / stream.norm()).item())

    hooks = [block.register_forward_hook(look) for block in model.blocks]
    model(stories.x)
    for hook in hooks:
        hook.remove()
    return shares


def run(norm: str, lr: float, warmup: int, stories: Stories, seed: int = 0) -> dict:
    """One short run: its last loss, the gradients by block at both ends, and the branches.

    The seed draws the first weights; all runs read the same batches.
    """
    torch.manual_seed(seed)
    model = GPT(GPTConfig.preset("stories", n_layer=N_LAYER, norm=norm))
    config = TrainConfig(
        steps=STEPS, batch_size=BATCH, lr=lr, warmup_steps=warmup, context_length=CONTEXT,
        eval_every=STEPS, device="cpu",
    )  # fmt: skip
    result = {"lr": lr, "loss": None, "before": gradients(model, stories)}
    try:
        train(
            model, stories.ids, None, shortened(config), starts=stories.starts,
            progress=False, evaluate=lambda model: {"val_loss": stories.loss(model)},
        )  # fmt: skip
    except FloatingPointError:
        return result
    loss = stories.loss(model)
    if math.isfinite(loss):
        result |= {"loss": loss, "after": gradients(model, stories)}
        result["branches"] = branches(model, stories)
    return result


def row(norm: str, warmup: int, stories: Stories) -> list[dict]:
    """One place of the norm, with warm-up or without: a run for each learning rate."""
    runs = []
    for lr in few(RATES):
        runs.append(run(norm, lr, warmup, stories))
        print(f"{norm}, warm-up {warmup}, lr {lr}: loss {runs[-1]['loss']}", flush=True)
    return runs


def edge(seed: int, stories: Stories) -> list[dict]:
    """Post-norm without warm-up from other first weights, around the edge."""
    runs = []
    for lr in few(EDGE):
        runs.append(run("post", lr, 0, stories, seed))
        print(f"post, seed {seed}, lr {lr}: loss {runs[-1]['loss']}", flush=True)
    return runs


def main() -> None:
    args = arguments("norm_places", __doc__)
    stories = Stories()
    record = begin(args) | {"blind": stories.blind()}
    jobs = {
        ("runs", norm, str(warmup)): partial(row, norm, warmup, stories)
        for norm in PLACES
        for warmup in WARMUPS
    }
    jobs |= {("seeds", str(seed)): partial(edge, seed, stories) for seed in SEEDS}
    about = {
        "model": f"stories preset with {N_LAYER} layers; {STEPS} steps of {BATCH} x {CONTEXT}",
        "runs": "norm -> steps of warm-up -> one run for each learning rate",
        "seeds": "seed -> post-norm without warm-up, one run for each of three rates",
        "seed": "0 in runs",
        "units": "loss: nats per token; before, after: mean |gradient| of each expand.weight; "
        "branches: size of the feed-forward network's change / size of the stream",
    }
    fill(args, record, jobs, lambda runs: f"{len(runs)} runs", **about)


if __name__ == "__main__":
    main()

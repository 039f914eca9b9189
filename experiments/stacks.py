"""Without shortcuts: which part of a layer makes a deep stack slow, and does time help?

Claim: twelve plain layers of attention and feed-forward, each behind a norm, end short runs far
behind twelve with shortcuts. It is attention that spoils them, and by two means: it averages, and
it multiplies by two more random matrices. At the rate of the chapter each is enough: let attention
look at its own token alone, or draw these matrices as rotations, and nothing changes; do both, and
the stack learns. At a quarter of the rate it learns without averaging, and with it it does not.
Such stacks are slow and not blind: with five times the steps one to four layers get much further.

    python experiments/stacks.py             # six quiet minutes; writes data/runs/stacks.json
    python experiments/stacks.py parts       # only the twelve layers, at the rate of the chapter
    python experiments/stacks.py --resume    # only what is not recorded yet

Recorded for two seeds or three, in nats per token on the first 32 tokens of 200 unseen stories:
"longer", one to four plain layers by steps; "parts", twelve layers by what they are made of;
"quarter", six of these at a quarter of the rate. "alike" is the mean cosine of two tokens of a text
before training, "directions" in how many directions the tokens differ: with the squares s of the
singular values, (sum of s)² / sum of s².
"""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from recording import Rehearsal, arguments, begin, book_tokenizer, encode, few, fill
from torch import nn

from gptlib import corpus
from gptlib.attention import AttentionModel, CausalSelfAttention
from gptlib.batches import get_batch
from gptlib.corpus.scoring import AnswerKey, story_starts
from gptlib.layers import FeedForward, LayerNorm
from gptlib.loss import next_token_loss

SEEDS = (0, 1, 2)
C, HEADS, BATCH = 64, 4, 8


class OwnValue(CausalSelfAttention):
    """Attention that looks at its own token alone: the same matrices, and nothing averaged."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.project(self.qkv(x)[..., -C:])


class Layer(nn.Module):
    """Norm, attention, norm, feed-forward: (B, T, C) stays. Either part may be left out.

    around: which parts have a way around them, "a" for attention and "f" for feed-forward.
    """

    def __init__(self, attention=CausalSelfAttention, feed_forward=True, around=""):
        super().__init__()
        self.around = around
        self.attention = attention(C, HEADS, 128) if attention else None
        self.feed_forward = FeedForward(C) if feed_forward else None
        self.norm_1, self.norm_2 = LayerNorm(C), LayerNorm(C)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.attention is not None:
            change = self.attention(self.norm_1(x))
            x = x + change if "a" in self.around else change
        if self.feed_forward is not None:
            change = self.feed_forward(self.norm_2(x))
            x = x + change if "f" in self.around else change
        return x


class Model(AttentionModel):
    """A pile of layers between the embeddings and the head, with a norm before the head."""

    def __init__(self, vocab_size: int, layers: list[nn.Module]):
        super().__init__(vocab_size, 128, C, HEADS)
        del self.attention
        self.layers = nn.Sequential(*layers)
        self.norm = LayerNorm(C)

    def forward(self, idx, targets=None):
        logits = self.head(self.norm(self.layers(self.embed(idx))))  # (B, T, V)
        return logits, None if targets is None else next_token_loss(logits, targets)


class Stories:
    """Ids to train on, and the first tokens of unseen stories."""

    context = 32

    def __init__(self) -> None:
        tokenizer = book_tokenizer()
        self.vocab_size, context = tokenizer.vocab_size, self.context
        self.ids = encode(tokenizer, corpus.load("stories", n=few(10_000, 300)))
        self.starts = story_starts(self.ids, tokenizer, context)
        key = AnswerKey(corpus.stories(few(200, 30), seed=1), tokenizer)
        self.x, self.y = key.idx[:, :context], key.targets[:, :context]  # (B, T) each

    def train(self, model: nn.Module, steps: int, lr: float = 0.002, warmup: int = 20) -> float:
        """The loop of chapter 5: up, even for half the way, down to 0; returns the unseen loss."""
        steps = Rehearsal.steps or steps
        generator = torch.Generator().manual_seed(0)
        optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = lr * min((step + 1) / warmup, 1, 2 * (1 - step / steps))
            x, y = get_batch(self.ids, BATCH, self.context, starts=self.starts, generator=generator)
            _, loss = model(x, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            return model(self.x, self.y)[1].item()


def longer(n_layer: int, steps: int, seed: int, stories: Stories) -> float:
    """Plain layers, for a short run or one of five times as many steps."""
    torch.manual_seed(seed)
    model = Model(stories.vocab_size, [Layer() for _ in range(n_layer)])
    return stories.train(model, steps)


PARTS = {
    "plain": {}, "no attention": {"attention": None}, "no feed-forward": {"feed_forward": False},
    "own value": {"attention": OwnValue}, "rotations": {}, "both": {"attention": OwnValue},
    "shortcuts": {"around": "af"}, "one missing": {"around": "af"},
}  # fmt: skip


QUARTER = ("plain", "no attention", "own value", "rotations", "both", "shortcuts")


def built(kind: str, seed: int, stories: Stories) -> Model:
    """Twelve layers of some kind."""
    torch.manual_seed(seed)
    model = Model(stories.vocab_size, [Layer(**PARTS[kind]) for _ in range(12)])
    if kind in ("rotations", "both"):
        for layer in model.layers:
            for matrix in (
                layer.attention.qkv.weight.data[-C:],
                layer.attention.project.weight.data,
            ):
                nn.init.orthogonal_(matrix)
    if kind == "one missing":
        model.layers[5].around = "a"
    return model


def parts(kind: str, seed: int, stories: Stories) -> dict:
    """Twelve layers of some kind, and how alike their tokens are before training."""
    model = built(kind, seed, stories)
    with torch.no_grad():
        tokens = F.normalize(model.layers(model.embed(stories.x[:20])), dim=-1)  # (B, T, C)
        alike = (tokens @ tokens.transpose(1, 2)).mean().item()
    return {"loss": stories.train(model, 150), "alike": alike}


def quarter(kind: str, seed: int, stories: Stories) -> dict:
    """The same at a quarter of the rate, and in how many directions the tokens differ before."""
    model = built(kind, seed, stories)
    with torch.no_grad():
        tokens = model.layers(model.embed(stories.x[:20])).flatten(0, 1)  # (B * T, C)
        squares = torch.linalg.svdvals(tokens - tokens.mean(dim=0)).square()
        directions = (squares.sum().square() / squares.square().sum()).item()
    return {"loss": stories.train(model, 150, lr=0.0005), "directions": directions}


def jobs() -> dict:
    """The way to each run in the record, and the run."""
    stories, found = Stories(), {}
    for seed in few(SEEDS):
        for kind in PARTS if seed < 2 else ():  # what they differ by is a nat and more
            found["parts", kind, str(seed)] = partial(parts, kind, seed, stories)
        for kind in QUARTER if seed < 2 else ():
            found["quarter", kind, str(seed)] = partial(quarter, kind, seed, stories)
        for n in (1, 2, 4):
            for steps in (150, 750):
                depth = "1 layer" if n == 1 else f"{n} layers"
                way = ("longer", depth, f"{steps} steps", str(seed))
                found[way] = partial(longer, n, steps, seed, stories)
    return found


def main() -> None:
    sections = ("parts", "quarter", "longer")
    args = arguments("stacks", __doc__, sections)
    todo = {way: job for way, job in jobs().items() if way[0] in (args.names or sections)}
    about = {
        "seed": "the last key",
        "units": "loss: nats per token; alike: cosine; directions: a number up to 64",
        "model": f"width {C}, {HEADS} heads; {BATCH} stories a step",
    }  # fmt: skip
    fill(args, begin(args), todo, str, **about)


if __name__ == "__main__":
    main()

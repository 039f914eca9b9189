"""Where the programs of the bug foundry run and are watched: stories, gauges, traces.

Given, not built. Every ten steps: the training loss (mean of the last ten batches), the validation
loss as the program itself measures it, the length of the gradient before clipping (mean of ten).
After ten steps, and then every twenty: the update ratio, the length of a change over the length of
the weights, of the token table and of the blocks' matrices. At the end the exam: the beginnings of
100 other stories, scored rightly whatever the program believes, place by place, and the share of
pronouns that are right.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from gptlib import corpus
from gptlib.corpus.scoring import AnswerKey, story_starts
from gptlib.exercises.faults import Fault, program_of
from gptlib.exercises.program import CONFIG, RECIPE, Text
from gptlib.given.models import evaluating
from gptlib.tokenizer import BPETokenizer

EVERY = 10
TRACES = ("train", "val", "grad_norm", "table", "blocks")


class Ward:
    """What all patients share: training text, validation text, exam.

    n: stories to train on; exam: how many stories validation and exam have, each. `floor` holds
    the exam's lowest possible loss at each place, `val_floor` that of the validation text as a
    whole, in nats per token.
    """

    def __init__(self, n: int = RECIPE.steps * RECIPE.batch_size, exam: int = 100) -> None:
        learned = corpus.load("stories", n=min(n, 3000))
        end = corpus.END
        self.tokenizer = BPETokenizer.train(learned, CONFIG.vocab_size, special_tokens=[end])
        self.train = self._text(corpus.load("stories", n=n))
        validation, unseen = (corpus.stories(exam, seed=seed) for seed in (1, 2))
        self.val = self._text("".join(story.text + end for story in validation))
        self.val_floor = _mean([cost for row in self._costs(validation) for cost in row])
        self.floor = [_mean(place) for place in zip(*self._costs(unseen), strict=True)]
        self.key = AnswerKey(unseen, self.tokenizer)

    def _text(self, text: str) -> Text:
        ids = self.tokenizer.to_tiktoken().encode(corpus.END + text, allowed_special="all")
        row = torch.tensor(ids)
        return row, story_starts(row, self.tokenizer, CONFIG.context_length)

    def _costs(self, stories: Any) -> list[list[float]]:
        T = CONFIG.context_length
        return [corpus.surprisals(story, self.tokenizer)[:T] for story in stories]

    @torch.no_grad()
    def examine(self, model: Any) -> dict[str, Any]:
        """A model's loss at each place of the exam, and its share of pronouns that are right."""
        T = CONFIG.context_length
        idx, targets = self.key.idx[:, :T], self.key.targets[:, :T]  # (N, T)
        with evaluating(model):
            logits = model(idx)[0]  # (N, T, V)
        losses = F.cross_entropy(logits.transpose(1, 2), targets, reduction="none")  # (N, T)
        right = logits.argmax(dim=-1) == targets  # (N, T)
        asked = [place for place in self.key.places["pronoun"] if place[2] <= T]
        pronoun = _mean([bool(right[n, first:last].all()) for n, first, last in asked])
        return {"exam": losses.mean(dim=0).tolist(), "pronoun": pronoun}


def _mean(values: Any) -> float:
    return sum(values) / len(values)


def moments(every: int, steps: int) -> list[int]:
    """The steps whose update ratios are kept.

    moments(10, 60) -> [10, 20, 40, 60]
    """
    return [every, *range(2 * every, steps + 1, 2 * every)]


def watch(
    fault: Fault | None, ward: Ward, seed: int, steps: int | None = None, progress: bool = False
) -> dict[str, Any]:
    """The traces of one run, healthy where there is no fault.

    steps: stop after so many; None runs to the end of the recipe. Errors: FloatingPointError where
    a loss or a gradient is no number any more.
    """
    program = program_of(fault, ward.train, ward.val, seed)
    steps = RECIPE.steps if steps is None else steps
    every = min(EVERY, steps)
    traces: dict[str, Any] = {"start": program.evaluate(), **{name: [] for name in TRACES}}
    latest: list[dict[str, float]] = []
    each: list[list[float]] = []
    for step in tqdm(range(1, steps + 1), disable=not progress, unit="step"):
        looking = step % every == 0
        before = [_copies(ws) for ws in _watched(program.model)] if looking else []
        latest.append(program.update(step))
        if not all(map(math.isfinite, latest[-1].values())):
            raise FloatingPointError(f"step {step}: {latest[-1]}")
        if looking:
            traces["train"].append(_mean([found["loss"] for found in latest]))
            traces["grad_norm"].append(_mean([found["grad_norm"] for found in latest]))
            traces["val"].append(program.evaluate())
            moved = list(map(_moved, _watched(program.model), before))
            latest.clear()
        if step in moments(every, steps):
            traces["table"].append(math.sqrt(moved[0][0] / moved[0][1]))
            change, length = (sum(part[i] for part in moved[1:]) for i in (0, 1))
            traces["blocks"].append(math.sqrt(change / length))
            each.append([math.sqrt(change / length) for change, length in moved[1:]])
    traces |= {"early": each[0], "late": each[-1], **ward.examine(program.model)}
    return rounded(traces)


def _watched(model: Any) -> list[list[torch.Tensor]]:
    """The token table, then for each block its matrices."""
    blocks = [[p for p in block.parameters() if p.dim() == 2] for block in model.blocks]
    return [[model.token_embedding.weight], *blocks]


def _copies(weights: list[torch.Tensor]) -> list[torch.Tensor]:
    return [w.detach().clone() for w in weights]


def _moved(weights: list[torch.Tensor], before: list[torch.Tensor]) -> tuple[float, float]:
    """The squared lengths of a change and of the weights before it."""
    pairs = list(zip(weights, before, strict=True))
    change = sum((w.detach() - b).square().sum().item() for w, b in pairs)
    return change, sum(b.square().sum().item() for b in before)


def rounded(thing: Any) -> Any:
    """Three digits that count, as a record keeps them.

    rounded({"val": [0.91234, 12]}) -> {"val": [0.912, 12]}
    """
    if isinstance(thing, dict):
        return {key: rounded(value) for key, value in thing.items()}
    if isinstance(thing, list):
        return [rounded(value) for value in thing]
    return float(f"{thing:.3g}") if isinstance(thing, float) else thing

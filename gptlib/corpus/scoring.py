"""Any model against the answer key: its loss beside the floor, and its accuracy skill by skill.

Given, not built. A model is anything with `logits, loss = model(idx)`; a story is shown to it
whole, after the mark `END` that ends the story before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from gptlib.corpus.story import END, Story, Tokenizer, floor


@dataclass(frozen=True)
class Score:
    """A model's mark: loss and floor in nats per token, accuracy by skill between 0 and 1."""

    loss: float
    floor: float
    skills: dict[str, float]

    @property
    def above_floor(self) -> float:
        """How far the loss lies above the floor, as a share of the floor: 0.08 is 8 %."""
        return self.loss / self.floor - 1


class AnswerKey:
    """Stories made ready for scoring: encoded once, labels turned into places of tokens.

    idx, targets: (N, T) for N stories; a row is END, then the story, and its targets are the story,
    then END; what lies behind is -1 and not scored. T: tokens of the longest story, and one.
    Errors: ValueError where END is not a token of the tokenizer.

    AnswerKey(stories(2), BPETokenizer([], [END])).idx.shape -> [2, 436]
    """

    def __init__(self, texts: Sequence[Story], tokenizer: Tokenizer) -> None:
        end = end_id(tokenizer)
        self.floor = floor(texts, tokenizer).nats_per_token
        rows = [[end, *tokenizer.encode(story.text), end] for story in texts]
        T = max(len(row) for row in rows) - 1
        self.idx = torch.full((len(rows), T), end)
        self.targets = torch.full((len(rows), T), -1)
        # skill -> (story, first token, one past the last token) of each label
        self.places: dict[str, list[tuple[int, int, int]]] = {}
        for n, (row, story) in enumerate(zip(rows, texts, strict=True)):
            self.idx[n, : len(row) - 1] = torch.tensor(row[:-1])
            self.targets[n, : len(row) - 1] = torch.tensor(row[1:])
            ends = torch.tensor([len(tokenizer.decode([i])) for i in row[1:-1]]).cumsum(0)
            for label in story.labels:
                first = int(torch.searchsorted(ends, label.start, right=True))
                last = int(torch.searchsorted(ends, label.end))
                self.places.setdefault(label.skill, []).append((n, first, last + 1))

    @torch.no_grad()
    def score(self, model: nn.Module, batch_size: int = 50) -> Score:
        """Loss over every token, and for each skill the share of labels predicted right.

        A label counts as right where each of its tokens is the model's first choice, given the
        true text before it. The model is put into evaluation mode and back.
        """
        training = model.training
        model.eval()
        total, right = 0.0, []
        for idx, targets in zip(
            self.idx.split(batch_size), self.targets.split(batch_size), strict=True
        ):
            device = next(model.parameters()).device
            logits = model(idx.to(device))[0].float().cpu()  # (B, T, V)
            total += F.cross_entropy(
                logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction="sum"
            ).item()
            right.append(logits.argmax(-1) == targets)  # (B, T)
        model.train(training)
        # wrong[n, t]: how many of the first t tokens of story n were missed
        wrong = F.pad((~torch.cat(right)).cumsum(1), (1, 0))
        skills = {
            skill: sum(bool(wrong[n, a] == wrong[n, b]) for n, a, b in places) / len(places)
            for skill, places in sorted(self.places.items())
        }
        return Score(total / int((self.targets >= 0).sum()), self.floor, skills)


def end_id(tokenizer: Tokenizer) -> int:
    """The id of END. Errors: ValueError where the tokenizer was built without it."""
    special = getattr(tokenizer, "special_tokens", {})
    if END not in special:
        raise ValueError(
            f"the tokenizer needs the special token {END!r}: build it with "
            f"BPETokenizer.train(text, vocab_size, special_tokens=[END])."
        )
    return special[END]


def story_starts(ids: torch.Tensor, tokenizer: Tokenizer, context_length: int) -> torch.Tensor:
    """Where windows may begin so that no story in them lacks its beginning: at each END.

    ids: (N) tokens of many stories. Returns the positions of END that leave room for a window of
    `context_length` tokens and its targets. Pass them to `get_batch(starts=...)`.
    """
    starts = (ids == end_id(tokenizer)).nonzero().flatten()
    return starts[starts + context_length + 1 <= len(ids)]

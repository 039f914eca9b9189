"""Any model against the answer key: its loss beside the floor, and its accuracy skill by skill.

Given, not built. A model is anything with `logits, loss = model(idx)`; a story is shown to it
whole, after the mark `END` that ends the story before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
import torch.nn.functional as F

from gptlib.batches import as_row, usable_starts
from gptlib.corpus.story import END, Story, Tokenizer, floor
from gptlib.given.checks.tensors import check_count, check_range, check_window
from gptlib.given.models import LanguageModel, context_length_of, evaluating, vocab_size_of
from gptlib.loss import IGNORED_TARGET

PIECE = 2**22  # ids that are looked at in one go


@dataclass(frozen=True)
class Score:
    """A model's mark: loss and floor in nats per token, accuracy by skill between 0 and 1.

    `marks`: by skill, for each of its places, how many tokens back what it needs was last said, and
    whether the model was right.
    """

    loss: float
    floor: float
    skills: dict[str, float]
    marks: dict[str, list[tuple[int, bool]]] = field(default_factory=dict)

    def by_distance(self, skill: str, edges: Sequence[int]) -> list[tuple[float, int]]:
        """A skill's accuracy from each distance of `edges` to the next, and at how many places.

        The first stretch begins at 0 tokens, the last one has no end; nan where there is no place.
        """
        shares = []
        for low, high in pairwise([0, *edges, math.inf]):
            right = [mark for back, mark in self.marks[skill] if low <= back < high]
            shares.append((sum(right) / len(right) if right else math.nan, len(right)))
        return shares

    @property
    def above_floor(self) -> float:
        """How far the loss lies above the floor, as a share of the floor: 0.08 is 8 %."""
        return self.loss / self.floor - 1


class AnswerKey:
    """Stories made ready for scoring: encoded once, labels turned into places of tokens.

    idx, targets: (N, T) for N stories; a row is END, then the story, and its targets are the story,
    then END; what lies behind is IGNORED_TARGET. T: tokens of the longest story, and one.
    Errors: ValueError where END is not a token of the tokenizer.

    AnswerKey(stories(2), BPETokenizer([], [END])).idx.shape -> [2, 436]
    """

    def __init__(self, texts: Sequence[Story], tokenizer: Tokenizer) -> None:
        end = end_id(tokenizer)
        per_token = floor(texts, tokenizer).nats_per_token
        assert per_token is not None  # a tokenizer was given
        self.floor = per_token
        rows = [[end, *tokenizer.encode(story.text), end] for story in texts]
        T = max(len(row) for row in rows) - 1
        self.idx = torch.full((len(rows), T), end)
        self.targets = torch.full((len(rows), T), IGNORED_TARGET)
        # skill -> (story, first token, one past the last token) of each label
        self.places: dict[str, list[tuple[int, int, int]]] = {}
        # skill -> how many tokens back what the label needs was last said
        self.distances: dict[str, list[int]] = {}
        for n, (row, story) in enumerate(zip(rows, texts, strict=True)):
            self.idx[n, : len(row) - 1] = torch.tensor(row[:-1])
            self.targets[n, : len(row) - 1] = torch.tensor(row[1:])
            ends = torch.tensor([len(tokenizer.decode([i])) for i in row[1:-1]]).cumsum(0)
            for label, said in zip(story.labels, story.said, strict=True):
                first = int(torch.searchsorted(ends, label.start, right=True))
                last = int(torch.searchsorted(ends, label.end))
                self.places.setdefault(label.skill, []).append((n, first, last + 1))
                back = first - int(torch.searchsorted(ends, said, right=True))
                self.distances.setdefault(label.skill, []).append(back)

    @torch.no_grad()
    def score(self, model: LanguageModel, batch_size: int = 50) -> Score:
        """Loss over every token, and for each skill the share of labels predicted right.

        A label counts as right where each of its tokens is the model's first choice, given the
        true text before it. The model looks at the stories in evaluation mode.

        Errors: ValueError where the model knows fewer tokens, or sees fewer at once, than the
        stories have.
        """
        check_count(batch_size=batch_size)
        check_range("AnswerKey", self.idx, vocab_size_of(model))
        T, longest = self.idx.size(1), context_length_of(model)
        if longest is not None and longest < T:
            raise ValueError(
                f"model must see the longest story whole, {T} tokens; its context_length is "
                f"{longest}. Score shorter stories, or a model with a longer context."
            )
        device, total, right = next(model.parameters()).device, 0.0, []
        with evaluating(model):
            for idx, targets in zip(
                self.idx.split(batch_size), self.targets.split(batch_size), strict=True
            ):
                logits = model(idx.to(device))[0].float().cpu()  # (B, T, V)
                total += F.cross_entropy(
                    logits.flatten(0, 1),
                    targets.flatten(),
                    ignore_index=IGNORED_TARGET,
                    reduction="sum",
                ).item()
                right.append(logits.argmax(-1) == targets)  # (B, T)
        # wrong[n, t]: how many of the first t tokens of story n were missed
        wrong = F.pad((~torch.cat(right)).cumsum(1), (1, 0))
        marks, skills = {}, {}
        for skill, places in sorted(self.places.items()):
            hits = [bool(wrong[n, a] == wrong[n, b]) for n, a, b in places]
            marks[skill] = list(zip(self.distances[skill], hits, strict=True))
            skills[skill] = sum(hits) / len(hits)
        loss = total / int((self.targets != IGNORED_TARGET).sum())
        return Score(loss, self.floor, skills, marks)


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
    Errors: ValueError where there is no such position.
    """
    ids, end = as_row(ids, "ids"), end_id(tokenizer)
    # In pieces, so that a row on the disk that is larger than the memory costs one of them.
    found = [(piece == end).nonzero().flatten() for piece in ids.split(PIECE)]
    starts = torch.cat([places + i * PIECE for i, places in enumerate(found)])
    if not len(starts):
        raise ValueError(
            f"ids must hold the mark {END!r} that ends a story; there is none. Encode the text by "
            f"encode(text, allowed_special='all')."
        )
    check_window(len(ids), context_length)
    return usable_starts(starts, len(ids), len(ids) - context_length)

"""Exercises of chapter 6: what goes in and what is scored. Others stand in the files gpt_*.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F

from gptlib.exercises import gpt_asked, gpt_counts, gpt_model, gpt_start
from gptlib.exercises.slopes import CUT, WithSlopes
from gptlib.exercises.task import Mistake, Task

Tensor = torch.Tensor


def read_in(idx: Tensor, tokens: Tensor, places: Tensor) -> Tensor:
    """idx (B, T) -> (B, T, C): each token's row of one table plus its place's row of the other."""
    return tokens[idx] + places[: idx.size(1)]


def texts(seed: int) -> Iterator[tuple[Any, ...]]:
    """One text of three tokens, then several."""
    draw = torch.Generator().manual_seed(seed)
    tokens, places = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), torch.eye(4, 2) * 0.5 + 0.1
    yield torch.tensor([[2, 0, 2]]), tokens, places
    for B, T in ((2, 5), (3, 3), (4, 1)):
        idx = torch.randint(6, (B, T), generator=draw)
        yield idx, torch.randn(6, 4, generator=draw), torch.randn(7, 4, generator=draw)


READ_IN = Task(
    name="gpt.read_in",
    asks="Turn ids into vectors: the row of the token plus the row of the place.",
    reference=read_in,
    inputs=texts,
    anywhere=True,
    use=WithSlopes("idx", "tokens", "places"),
    kind="warm-up",
    hints=(
        "Each vector says two things about a token. Which table knows which?",
        "tokens[idx] has a row for each id: (B, T, C). The places 0 to T - 1 pick T rows of the "
        "other table: (T, C), the same for every text.",
        "return tokens[idx] + places[: idx.size(1)]",
    ),
    mistakes=(
        Mistake(
            "The places are missing: what was read is told, and not where.", lambda i, t, p: t[i]
        ),
        Mistake(
            "The places are counted over the texts of the batch: alone, a text has place 0 "
            "everywhere.",
            lambda i, t, p: t[i] + p[torch.arange(i.size(0))],
        ),
        Mistake(
            "The place table is asked for the ids. It is to be asked for 0, 1, 2, and so on.",
            lambda i, t, p: t[i] + p[i],
        ),
        Mistake(
            "Every token gets the row of the last place.",
            lambda i, t, p: t[i] + p[i.size(1) - 1],
        ),
        Mistake(
            "The places are counted from 1; the first token stands at place 0.",
            lambda i, t, p: t[i] + p[torch.arange(1, i.size(1) + 1)],
        ),
        Mistake(
            "The two rows are multiplied. The stream is a sum of what is known.",
            lambda i, t, p: t[i] * p[: i.size(1)],
        ),
        Mistake(
            "The two rows stand one behind the other. They are added: C numbers, not 2 · C.",
            lambda i, t, p: torch.cat([t[i], p[: i.size(1)].expand(len(i), -1, -1)], dim=-1),
        ),
        Mistake(CUT, lambda i, t, p: read_in(i, t, p).detach()),
    ),
    right=(
        lambda i, t, p: F.embedding(i, t) + p[torch.arange(i.size(1))],
        lambda i, t, p: t.index_select(0, i.flatten()).view(*i.shape, -1).add(p[: i.shape[1]]),
    ),
)


def _with_a_bug() -> Callable[..., Tensor]:
    """The code that the learner is given, under the name that the answer has."""

    def mean_loss(logits: Tensor, targets: Tensor) -> Tensor:
        """Mean loss in nats: logits (B, T, V), targets (B, T); -1 is not scored."""
        B, T, V = logits.shape
        rows = logits.transpose(0, 1).reshape(B * T, V)
        return F.cross_entropy(rows, targets.reshape(B * T), ignore_index=-1)

    return mean_loss


MEAN_LOSS_BUG = _with_a_bug()


def mean_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean loss in nats: logits (B, T, V), targets (B, T); -1 is not scored."""
    B, T, V = logits.shape
    rows = logits.reshape(B * T, V)  # text by text, as the targets lie
    return F.cross_entropy(rows, targets.reshape(B * T), ignore_index=-1)


def scored(seed: int) -> Iterator[tuple[Any, ...]]:
    """Two texts of two tokens that a model is sure of, then random ones, some not scored."""
    draw = torch.Generator().manual_seed(seed)
    targets = torch.tensor([[0, 1], [0, -1]])
    logits = torch.tensor([[[2.0, 0.0], [0.0, 2.0]], [[1.0, 0.0], [3.0, 0.0]]])
    yield logits, targets
    targets = torch.randint(4, (3, 5), generator=draw)
    targets[0, :2] = -1
    yield torch.randn(3, 5, 4, generator=draw), targets


def _scores(z: Tensor, y: Tensor) -> Tensor:
    return z.log_softmax(dim=-1).gather(-1, y.clamp(min=0)[..., None])[..., 0]


MEAN_LOSS = Task(
    name="gpt.mean_loss",
    asks="Mend it: a model that is sure and right gets a bad loss, if there are two texts.",
    reference=mean_loss,
    inputs=scored,
    anywhere=True,
    use=WithSlopes("logits"),
    kind="bug",
    bug=MEAN_LOSS_BUG,
    hints=(
        "With a batch of one it is right. What differs between the two when there are more?",
        "Write down which text and which place each row of `rows` is. Do the same for the targets.",
        "The targets lie text by text; the logits should, too: logits.reshape(B * T, V).",
    ),
    mistakes=(
        Mistake(
            "Rows and targets fit now, and the places of -1 are scored with the rest.",
            lambda z, y: -_scores(z, y).mean(),
        ),
        Mistake(
            "Rows and targets fit now, and the sum is divided by all places, those of -1 too.",
            lambda z, y: -(_scores(z, y) * (y >= 0)).mean(),
        ),
        Mistake(
            "Rows and targets fit now. It is a sum, where a mean is asked for.",
            lambda z, y: -(_scores(z, y) * (y >= 0)).sum(),
        ),
        Mistake(
            "Each text has a mean of its own, and then all texts count alike: a place weighs more "
            "in a text with few of them. One mean over all scored places is asked for.",
            lambda z, y: torch.stack(
                [F.cross_entropy(*text, ignore_index=-1) for text in zip(z, y, strict=True)]
            ).mean(),
        ),
        Mistake(
            "The last place alone is scored. Every place is trained.",
            lambda z, y: F.cross_entropy(z[:, -1], y[:, -1], ignore_index=-1),
        ),
        Mistake(
            "The loss is in bits: nats, with the natural logarithm, are asked for.",
            lambda z, y: mean_loss(z, y) / torch.tensor(2.0).log(),
        ),
        Mistake(CUT, lambda z, y: mean_loss(z, y).detach()),
    ),
    right=(
        lambda z, y: F.cross_entropy(z.transpose(1, 2), y, ignore_index=-1),
        lambda z, y: -_scores(z, y)[y >= 0].mean(),
        lambda z, y: F.cross_entropy(
            z.transpose(0, 1).flatten(0, 1), y.T.flatten(), ignore_index=-1
        ),
    ),
)

TASKS = (
    READ_IN,
    *gpt_start.TASKS,
    *gpt_model.TASKS,
    *gpt_counts.TASKS,
    MEAN_LOSS,
)
QUESTIONS = gpt_asked.QUESTIONS

"""Exercises of chapter 2: the table as a module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from gptlib.bigram import BigramModel
from gptlib.exercises.modules import MakeModule, weights_of
from gptlib.exercises.task import Mistake, Task, Wrong
from gptlib.loss import next_token_loss

Tensor = torch.Tensor

# The model ---------------------------------------------------------------------------------------


class Predict(MakeModule):
    """Make the model, ask it with targets and without, and look at how it begins."""

    def run(self, answer: Any, *given: Any) -> dict[str, Any]:
        settings, weights, idx, targets = given
        module = self.made(answer, settings, weights)
        if not hasattr(module, "vocab_size"):
            raise Wrong("It has no vocab_size: keep it, self.vocab_size = vocab_size.")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            fresh = answer(**settings)
        out, alone = module(idx, targets), _without_targets(module, idx)
        if not all(isinstance(one, tuple) and len(one) == 2 for one in (out, alone)):
            return {"With targets it gives": _kinds(out), "Without targets": _kinds(alone)}
        begins = fresh(idx, targets)[0].detach()
        return {
            "The logits": out[0],
            "The loss": _number(out[1]),
            "Without targets it gives": _kinds(alone),
            "Before any training its logits lie apart by": float(begins.max() - begins.min()),
            "vocab_size": module.vocab_size,
            **self.gradients(module, out[0], weights),
            "The gradient of the loss": _slope(module, module(idx, targets)[1]),
        }


def _without_targets(module: nn.Module, idx: Tensor) -> Any:
    """What it gives for ids alone, or that None was taken for targets."""
    try:
        return module(idx)
    except (AttributeError, TypeError, ValueError) as error:
        if "NoneType" not in f"{error}":
            raise
        return "an error, as the targets are None"


def _slope(module: nn.Module, loss: Any) -> Tensor:
    """The gradient of the loss for the table; zeros where it is a number without a past."""
    (weight,) = module.parameters()
    if not torch.is_tensor(loss) or not loss.requires_grad:
        return torch.zeros_like(weight)
    return torch.autograd.grad(loss, weight, torch.ones_like(loss))[0]


def _kinds(out: Any) -> Any:
    """What kinds of things come back, as it stands in a message."""
    if isinstance(out, tuple):
        return tuple(map(_kinds, out))
    return f"a tensor of shape {tuple(out.shape)}" if torch.is_tensor(out) else str(out)


def _number(loss: Any) -> Any:
    return loss.item() if torch.is_tensor(loss) and loss.numel() == 1 else _kinds(loss)


def predictions(seed: int) -> Iterator[tuple[Any, ...]]:
    """Ids and targets, one of which does not count."""
    draw = torch.Generator().manual_seed(seed)
    for V, size in ((4, (2, 3)), (6, (3, 5))):
        idx, targets = torch.randint(V, (2, *size), generator=draw)
        idx[0, 0], targets[0, 0] = 1, 2
        if V == 6:
            targets[0, -1] = -1
        yield {"vocab_size": V}, weights_of(BigramModel, {"vocab_size": V}, seed), idx, targets


def _model(
    look: Callable[[nn.Embedding, Tensor], Tensor] = lambda table, idx: table(idx),
    score: Callable[[Tensor, Tensor], Any] = next_token_loss,
    give: Callable[[Tensor, Any], Any] = lambda logits, loss: (logits, loss),
    zero: bool = True,
    always: bool = False,
) -> type:
    """A model, one part of it exchanged."""

    class Written(nn.Module):
        def __init__(self, vocab_size: int) -> None:
            super().__init__()
            self.vocab_size = vocab_size
            self.table = nn.Embedding(vocab_size, vocab_size)
            if zero:
                nn.init.zeros_(self.table.weight)

        def forward(self, idx: Tensor, targets: Tensor | None = None) -> Any:
            logits = look(self.table, idx)
            alone = targets is None and not always
            return give(logits, None if alone else score(logits, targets))  # type: ignore[arg-type]

    return Written


class WithParameter(nn.Module):
    """The same without nn.Embedding's own lookup."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.table = nn.Linear(vocab_size, vocab_size, bias=False)
        self.table.weight.data.fill_(0.0)
        self.vocab_size = vocab_size

    def forward(self, idx: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        logits = self.table.weight[idx]
        if targets is None:
            return logits, None
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)
        return logits, loss


BIGRAM_MODEL = Task(
    name="bigram.BigramModel",
    asks="A table of logits, (V, V), all 0 at the start: forward looks up the row of each token, "
    "and gives logits (B, T, V) and the loss, None without targets.",
    reference=BigramModel,
    inputs=predictions,
    use=Predict(),
    hints=(
        "What does the model learn? How many numbers are that, and what should they be at first, "
        "when it knows nothing?",
        "self.table = nn.Embedding(vocab_size, vocab_size), filled with zeros, and vocab_size; "
        "forward looks idx up in it; next_token_loss makes the loss.",
        "nn.init.zeros_(self.table.weight); logits = self.table(idx); the loss is "
        "next_token_loss(logits, targets) or None; return both.",
    ),
    mistakes=(
        Mistake(
            "The table begins with random numbers: the model has opinions before it has read "
            "anything, and its loss begins above ln V.",
            _model(zero=False),
        ),
        Mistake(
            "Probabilities come out, where logits are asked for: the loss takes a softmax itself, "
            "so there would be two.",
            _model(look=lambda table, idx: table(idx).softmax(dim=-1)),
        ),
        Mistake(
            "The column of each token is looked up; its row says what follows it.",
            _model(look=lambda table, idx: table.weight.T[idx]),
        ),
        Mistake(
            "The logits have lost their shape: one row for each token of each window, (B, T, V).",
            _model(give=lambda logits, loss: (logits.flatten(0, 1), loss)),
        ),
        Mistake(
            "The loss stands before the logits; the chapter takes them as logits, loss.",
            _model(give=lambda logits, loss: (loss, logits)),
        ),
        Mistake(
            "Without targets the logits come alone. Two things are asked for each time, so that "
            "`logits, loss = model(idx)` works; the loss is None then.",
            _model(give=lambda logits, loss: logits if loss is None else (logits, loss)),
        ),
        Mistake(
            "The logits come alone; logits and loss are asked for.",
            _model(give=lambda logits, loss: logits),
        ),
        Mistake(
            "The loss comes alone; logits and loss are asked for.",
            _model(give=lambda logits, loss: loss),
        ),
        Mistake(
            "With targets the loss comes alone; logits and loss are asked for each time.",
            _model(give=lambda logits, loss: (logits, None) if loss is None else loss),
        ),
        Mistake(
            "The loss is the sum over all places; their mean is asked for.",
            _model(
                score=lambda z, t: F.cross_entropy(
                    z.flatten(0, 1), t.flatten(), ignore_index=-1, reduction="sum"
                )
            ),
        ),
        Mistake(
            "The loss takes the softmax twice: next_token_loss wants logits.",
            _model(score=lambda z, t: next_token_loss(z.softmax(dim=-1), t)),
        ),
        Mistake(
            "The targets are moved by one place: they have been moved already.",
            _model(score=lambda z, t: next_token_loss(z[:, :-1], t[:, 1:])),
        ),
        Mistake(
            "The loss is right, and no gradient comes back from it: item, detach or no_grad makes "
            "it a number that nothing can learn from.",
            _model(score=lambda z, t: next_token_loss(z, t).detach()),
        ),
        Mistake(
            "A target of -1 does not count, and cross_entropy takes it for a token: "
            "next_token_loss leaves it out.",
            _model(score=lambda z, t: F.cross_entropy(z.flatten(0, 1), t.flatten())),
        ),
        Mistake("The loss is None though there are targets.", _model(score=lambda z, t: None)),
        Mistake("Without targets there is no loss to compute: give None.", _model(always=True)),
    ),
    right=(_model(), WithParameter),
)

TASKS = (BIGRAM_MODEL,)

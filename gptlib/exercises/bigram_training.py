"""Exercises of chapter 2: a training that goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from gptlib.bigram import BigramModel
from gptlib.exercises.task import Mistake, Task, Use

Tensor = torch.Tensor


def bug_losses_of(model: nn.Module, x: Tensor, y: Tensor, steps: int) -> list[float]:
    """The loss before each of some steps downhill, on one batch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    losses = []
    for _ in range(steps):
        _, loss = model(x, y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def losses_of(model: nn.Module, x: Tensor, y: Tensor, steps: int) -> list[float]:
    """The loss before each of some steps downhill, on one batch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    losses = []
    for _ in range(steps):
        _, loss = model(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


class Train(Use):
    """Train a new bigram model for a few steps."""

    def run(self, answer: Any, *given: Any) -> Tensor:
        V, x, y, steps = given
        losses = answer(BigramModel(V), x, y, steps)
        if isinstance(losses, list):  # tensors are as good as numbers
            losses = [one.item() if torch.is_tensor(one) else one for one in losses]
        return torch.as_tensor(losses)

    def shown(self, name: str, *given: Any) -> str:
        V, x, y, steps = given
        return f"{name}(BigramModel({V}), {x.tolist()}, {y.tolist()}, {steps})"


def short_trainings(seed: int) -> Iterator[tuple[Any, ...]]:
    """A few steps on one row, then more on several."""
    # The first step of a program loads what may take seconds; that is not the learner's doing.
    torch.optim.SGD([torch.zeros(1)], lr=1.0).step()
    yield 3, torch.tensor([[0, 1, 2, 0]]), torch.tensor([[1, 2, 0, 1]]), 5
    draw = torch.Generator().manual_seed(seed)
    x, y = torch.randint(5, (2, 3, 4), generator=draw)
    yield 5, x, y, 20


def _trained(*order: str, shrink: bool = False, lr: float = 1.0) -> Callable[..., list[float]]:
    """The same loop, its three steps in another order."""

    def losses(model: nn.Module, x: Tensor, y: Tensor, steps: int) -> list[float]:
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        found = []
        for step in range(steps):
            if shrink:
                optimizer.param_groups[0]["lr"] = 1 / (step + 1)
            loss = model(x, y)[1]
            does = {"clear": optimizer.zero_grad, "back": loss.backward, "step": optimizer.step}
            for word in order:
                does[word]()
            found.append(loss.item())
        return found

    return losses


LOSSES_OF = Task(
    name="bigram.losses_of",
    asks="The losses fall for a while, and each step is longer than it should be.",
    reference=losses_of,
    inputs=short_trainings,
    use=Train(),
    kind="bug",
    bug=bug_losses_of,
    hints=(
        "Print model.table.weight.grad after each backward. What does the second one hold?",
        "backward adds to .grad, and nothing ever takes it away. When is the old gradient of no "
        "more use?",
        "optimizer.zero_grad() clears the gradients; it belongs before loss.backward() or after "
        "optimizer.step().",
    ),
    mistakes=(
        Mistake(
            "The model does not learn: no step is taken, or the gradients are cleared between "
            "backward and step, so that there is nothing left to step along.",
            _trained("back", "clear", "step"),
        ),
        Mistake(
            "The step comes before the gradient that it should take: each one follows the slope "
            "of the place before.",
            _trained("step", "clear", "back"),
        ),
        Mistake(
            "The steps get shorter, which hides it: the old gradients are still in each of them.",
            _trained("back", "step", shrink=True),
        ),
        Mistake(
            "A smaller learning rate hides it: the old gradients are still in each step.",
            _trained("back", "step", lr=0.1),
        ),
        Mistake(
            "The bug is mended. These are the losses after each step; those before it are asked "
            "for.",
            lambda model, x, y, steps: losses_of(model, x, y, steps + 1)[1:],
        ),
        Mistake(
            "Each step is along the last two gradients added: they are cleared every other time.",
            lambda model, x, y, steps: _every_other(model, x, y, steps),
        ),
        Mistake(
            "This is the last loss alone; one for each step is asked for.",
            lambda model, x, y, steps: losses_of(model, x, y, steps)[-1],
        ),
    ),
    right=(_trained("clear", "back", "step"), _trained("back", "step", "clear")),
)


def _every_other(model: nn.Module, x: Tensor, y: Tensor, steps: int) -> list[float]:
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    found = []
    for step in range(steps):
        loss = model(x, y)[1]
        if step % 2 == 0:
            optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


TASKS = (LOSSES_OF,)

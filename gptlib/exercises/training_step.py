"""Exercise of chapter 7: one step of training, from a batch to new weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from gptlib.exercises.task import Mistake, Task, Use, Wrong
from gptlib.exercises.training_models import Table, drawn, length, load_optimizers, number

Tensor = torch.Tensor


def training_step(
    model: Any,
    optimizer: torch.optim.Optimizer,
    x: Tensor,
    y: Tensor,
    lr: float,
    grad_clip: float,
) -> tuple[float, float]:
    """One update; returns the loss before it and the gradient's length before clipping."""
    model.train()
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    _, loss = model(x, y)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    optimizer.step()
    return loss.item(), norm.item()


class Train(Use):
    """Three steps of a small model, which comes in evaluation mode: what each step does."""

    in_order = True

    def run(self, answer: Callable[..., Any], *given: Any) -> dict[str, Any]:
        seed, kind, dropout, batches, rates, grad_clip = given
        model = Table(seed, dropout).eval()
        made: Any = getattr(torch.optim, kind)
        groups = [{"params": [model.table]}, {"params": [model.shift]}]
        optimizer = made(groups, lr=0.5)  # another rate than any that is asked for
        torch.manual_seed(seed)
        losses: list[float] = []
        lengths: list[float] = []
        kinds, weights = [], []
        for (x, y), lr in zip(batches, rates, strict=True):
            out = answer(model, optimizer, x, y, lr, grad_clip)
            if not isinstance(out, tuple | list) or len(out) != 2:
                raise Wrong("Two numbers are asked for: the loss, and the length of the gradient.")
            for name, value, to in zip(("loss", "length"), out, (losses, lengths), strict=True):
                told, came_as = number(value, f"The {name}")
                to.append(told)
                kinds.append(came_as)
            weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        return {
            "The losses": torch.tensor(losses),
            "The lengths": torch.tensor(lengths),
            "The weights after each step": torch.stack(weights),
            "A loss comes as": kinds[0],
        }

    def shown(self, name: str, *given: Any) -> str:
        _, kind, dropout, _, rates, grad_clip = given
        return (
            f"{name}(model, optimizer, x, y, lr, {grad_clip}) for lr in {rates}, with "
            f"torch.optim.{kind} and a model with a dropout of {dropout}"
        )


def lessons(seed: int) -> Iterator[tuple[Any, ...]]:
    """Small runs: plain descent with clipping, then dropout, then AdamW."""
    load_optimizers()
    rates = (0.1, 0.05, 0.2)
    yield seed, "SGD", 0.0, drawn(seed, 3, 2), rates, 0.05
    yield seed, "SGD", 0.5, drawn(seed + 1, 3, 4), rates, 100.0
    yield seed, "AdamW", 0.0, drawn(seed + 2, 3, 2), rates, 0.05


ORDER = ("train", "rate", "zero", "forward", "backward", "clip", "step")


def _steps(
    order: tuple[str, ...] = ORDER,
    clip: Callable[[Any, float], Any] = lambda model, limit: nn.utils.clip_grad_norm_(
        model.parameters(), limit
    ),
    groups: slice = slice(None),
    told: Callable[[Any, Any], tuple[Any, Any]] = lambda loss, norm: (loss.item(), float(norm)),
) -> Callable[..., Any]:
    """The step as a row of deeds, some of them left out, in another order or exchanged."""

    def step(model: Any, optimizer: Any, x: Tensor, y: Tensor, lr: float, limit: float) -> Any:
        loss = norm = torch.zeros(())
        for deed in order:
            if deed == "train":
                model.train()
            elif deed == "rate":
                for group in optimizer.param_groups[groups]:
                    group["lr"] = lr
            elif deed == "zero":
                optimizer.zero_grad()
            elif deed == "forward":
                loss = model(x, y)[1]
            elif deed == "backward":
                loss.backward()
            elif deed == "clip":
                norm = clip(model, limit)
            else:
                optimizer.step()
        return told(loss, norm)

    return step


def _values(model: Any, limit: float) -> Tensor:
    norm = length(model)
    nn.utils.clip_grad_value_(model.parameters(), limit)
    return norm


def _each(model: Any, limit: float) -> Tensor:
    norm = length(model)
    for p in model.parameters():
        nn.utils.clip_grad_norm_(p, limit)
    return norm


def _by_hand(model: Any, limit: float) -> Tensor:
    norm = length(model)
    for p in model.parameters():
        p.grad *= min(1.0, limit / norm.item())
    return norm


def _after(model: Any, limit: float) -> Tensor:
    nn.utils.clip_grad_norm_(model.parameters(), limit)
    return length(model)


def _without(deed: str) -> tuple[str, ...]:
    return tuple(one for one in ORDER if one != deed)


TRAINING_STEP = Task(
    name="training.training_step",
    asks="Training mode, the learning rate into every group, old gradients away, loss, backward, "
    "clip, step; return the loss and the length of the gradient before it was clipped.",
    reference=training_step,
    inputs=lessons,
    hints=(
        "Seven deeds. Which of them must stand between loss.backward() and optimizer.step(), and "
        "which must not?",
        'model.train(); group["lr"] = lr for each of optimizer.param_groups; zero_grad before '
        "backward; clip_grad_norm_ after it, which returns the length before clipping.",
        "optimizer.zero_grad(); _, loss = model(x, y); loss.backward(); norm = "
        "nn.utils.clip_grad_norm_(model.parameters(), grad_clip); optimizer.step(); then "
        "loss.item() and norm.item().",
    ),
    mistakes=(
        Mistake(
            "The old gradients are still there: from the second step on the sum of all batches so "
            "far is followed.",
            _steps(_without("zero")),
        ),
        Mistake(
            "The gradients are thrown away between backward() and the step: nothing is left to "
            "follow, and the weights stay where they are.",
            _steps(("train", "rate", "forward", "backward", "zero", "clip", "step")),
        ),
        Mistake(
            "The weights stay where they are: the optimiser makes no step, or makes it without "
            "gradients.",
            _steps(_without("step")),
        ),
        Mistake(
            "The model learns in evaluation mode, in which it came: its dropout drops nothing.",
            _steps(_without("train")),
        ),
        Mistake(
            "The step follows the gradient at its full length: it is not clipped, or too late.",
            _steps((*ORDER[:5], "step", "clip")),
        ),
        Mistake(
            "The gradient is clipped before there is one: backward() comes after it.",
            _steps((*ORDER[:4], "clip", "backward", "step")),
        ),
        Mistake(
            "Each number of the gradient is cut to the limit on its own, which turns the "
            "gradient; its length as a whole is to be bounded.",
            _steps(clip=_values),
        ),
        Mistake(
            "Each parameter's gradient is clipped on its own: together they are longer than the "
            "limit, and their proportions are lost.",
            _steps(clip=_each),
        ),
        Mistake(
            "The length that is returned was measured after clipping. There it hardly says "
            "anything: the gauge is for seeing what was clipped.",
            _steps(clip=_after),
        ),
        Mistake(
            "The learning rate that is asked for is not used: the optimiser keeps its own.",
            _steps(_without("rate")),
        ),
        Mistake(
            "The learning rate is set after the step, and so is late by one.",
            _steps((*_without("rate"), "rate")),
        ),
        Mistake(
            "The learning rate reaches one group of parameters alone; there may be several.",
            _steps(groups=slice(1)),
        ),
        Mistake(
            "The loss that is returned is a tensor with its graph: a list of such losses fills "
            "the memory.",
            _steps(told=lambda loss, norm: (loss, float(norm))),
        ),
        Mistake(
            "Loss and length have changed places.",
            _steps(told=lambda loss, norm: (float(norm), loss.item())),
        ),
    ),
    right=(_steps(), _steps(clip=_by_hand)),
    use=Train(),
)  # fmt: skip

TASKS = (TRAINING_STEP,)

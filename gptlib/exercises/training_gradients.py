"""Exercises of chapter 7: gradients that add up, and gradients of bounded length."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import nn

from gptlib.exercises.task import Mistake, Task, Use
from gptlib.exercises.training_models import Table, drawn, gradient, number
from gptlib.training import backward

Tensor = torch.Tensor
HELD = 0.5  # every number of a gradient that was there before


# Several batches, one gradient -------------------------------------------------------------------


class Accumulate(Use):
    """Gradients of several batches: the sum, the loss, and how much is in memory at once.

    An input is (seed, batches, held): whether there are gradients before the first batch.
    """

    def run(self, answer: Callable[..., Any], *given: Any) -> dict[str, Any]:
        seed, batches, held = given
        model = Table(seed)
        if held:
            for p in model.parameters():
                p.grad = torch.full_like(p, HELD)
        value, kind = number(answer(model, list(batches)), "What it returns")
        return {
            "The gradient": gradient(model.table),
            "The loss": value,
            "It returns": kind,
            "Batches that wait for their backward pass": model.most_kept,
            "Rows that go through the model at once": model.most_rows,
        }

    def shown(self, name: str, *given: Any) -> str:
        _, batches, held = given
        rows = batches[0][0].size(0)
        told = f", where each `.grad` is {HELD:g} throughout before it" if held else ""
        return f"{name}(model, batches) with {len(batches)} batches of {rows} rows{told}"


def piles(seed: int) -> Iterator[tuple[Any, ...]]:
    """A model's seed, its batches, and whether it holds gradients already."""
    yield seed, drawn(seed, 3, 2), False
    yield seed + 1, drawn(seed + 100, 4, 5), False
    yield seed + 2, drawn(seed + 200, 2, 3), True


def _added(
    share: Callable[[Tensor, int, Tensor], Tensor] = lambda loss, n, x: loss / n,
    told: Callable[[list[Tensor]], Any] = lambda losses: torch.stack(losses).mean().item(),
    fresh: bool = False,
    together: bool = False,
) -> Callable[..., Any]:
    """The whole way, with one part of it exchanged."""

    def gradients(model: Any, batches: Sequence[tuple[Tensor, Tensor]]) -> Any:
        losses, waiting = [], []
        for x, y in batches:
            if fresh:
                model.zero_grad()
            _, loss = model(x, y)
            losses.append(loss)
            part = share(loss, len(batches), x)
            if together:
                waiting.append(part)
            else:
                part.backward()
        if together:
            torch.stack(waiting).sum().backward()
        return told(losses)

    return gradients


def _divides_at_the_end(model: Any, batches: Sequence[tuple[Tensor, Tensor]]) -> float:
    told = _added(share=lambda loss, n, x: loss)(model, batches)
    for p in model.parameters():
        p.grad /= len(batches)
    return told


def _empties_first(model: Any, batches: Sequence[tuple[Tensor, Tensor]]) -> float:
    model.zero_grad()
    return _added()(model, batches)


def _joined(model: Any, batches: Sequence[tuple[Tensor, Tensor]]) -> float:
    x, y = (torch.cat(parts) for parts in zip(*batches, strict=True))
    return _added()(model, [(x, y)])


def _weighed(model: Any, batches: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Right, too: the new gradients are made apart, divided at the end, and then added."""
    weights = list(model.parameters())
    new, losses = [torch.zeros_like(p) for p in weights], []
    for x, y in batches:
        _, loss = model(x, y)
        for total, part in zip(new, torch.autograd.grad(loss, weights), strict=True):
            total += part
        losses.append(loss.item())
    for p, total in zip(weights, new, strict=True):
        p.grad = total / len(batches) + (0 if p.grad is None else p.grad)
    return math.fsum(losses) / len(losses)


BACKWARD = Task(
    name="training.backward",
    asks="Add up the gradients of several small batches so that they are those of one large "
    "batch, one batch in memory at a time; return the mean loss.",
    reference=backward,
    inputs=piles,
    kind="stretch",
    hints=(
        "backward() adds to what .grad holds. Which share of each loss belongs into the sum, so "
        "that it is the gradient of a mean?",
        "In a loop: the loss of the batch, divided by how many batches there are, backward. The "
        "number for the mean is loss.item(), which keeps no graph.",
        "for x, y in batches: _, loss = model(x, y); (loss / len(batches)).backward(); total += "
        "loss.item() / len(batches).",
    ),
    mistakes=(
        Mistake(
            "The losses are not divided: the gradient is as many times too long as there are "
            "batches.",
            _added(lambda loss, n, x: loss),
        ),
        Mistake(
            "The losses are divided by the rows of a batch, over which they are means already; it "
            "is the number of batches that counts.",
            _added(lambda loss, n, x: loss / x.size(0)),
        ),
        Mistake(
            "The last batch alone has left its gradient: those before it are gone, or never came.",
            _added(fresh=True),
        ),
        Mistake(
            "All batches wait for one backward pass: the memory that small batches were to save "
            "is used after all.",
            _added(together=True),
        ),
        Mistake(
            "The batches are joined into the large one, and all of it is in memory at once. Each "
            "is to go through the model by itself.",
            _joined,
        ),
        Mistake(
            "What `.grad` held before is gone: nothing is to be emptied here. Whoever wants to "
            "begin at 0 does so before the call.",
            _empties_first,
        ),
        Mistake(
            "What `.grad` held before is divided as well. It is to stay: divide each loss, and not "
            "all of `.grad` at the end.",
            _divides_at_the_end,
        ),
        Mistake(
            "The gradient is right; what is returned is the sum of the losses, not their mean.",
            _added(told=lambda losses: torch.stack(losses).sum().item()),
        ),
        Mistake(
            "The gradient is right; what is returned is the loss of the last batch.",
            _added(told=lambda losses: losses[-1].item()),
        ),
        Mistake(
            "The gradient is right; the loss that is returned has been divided twice.",
            _added(told=lambda losses: torch.stack(losses).mean().item() / len(losses)),
        ),
        Mistake(
            "What is returned is a tensor that still holds its graph: whoever collects such losses "
            "fills the memory, a step at a time.",
            _added(told=lambda losses: torch.stack(losses).mean()),
        ),
    ),
    right=(_added(), _weighed),
    use=Accumulate(),
)


# Clipping by hand --------------------------------------------------------------------------------


def clip_gradients(gradients: tuple[Tensor, ...], limit: float) -> tuple[Tensor, ...]:
    """The gradients, all scaled by one factor if together they are longer than the limit."""
    norm = math.sqrt(sum(g.square().sum().item() for g in gradients))
    return tuple(g * limit / norm if norm > limit else g for g in gradients)


def arrows(seed: int) -> Iterator[tuple[Any, ...]]:
    """Gradients of several shapes: too long together, short enough, one long and one short."""
    yield (torch.tensor([1.0, 2.0]), torch.tensor([[-2.0]])), 1.0
    yield (torch.tensor([0.3]), torch.tensor([0.4, 0.0])), 1.0
    yield (torch.tensor([1.0, -2.0]), torch.tensor([0.1]), torch.tensor([2.0])), 1.5
    draw = torch.Generator().manual_seed(seed)
    yield tuple(torch.randn(2, 3, generator=draw) for _ in range(3)), 0.7
    yield (torch.zeros(2), torch.zeros(1)), 1.0


def _clipped(
    size: Callable[[tuple[Tensor, ...]], Any],
    scale: Callable[[float, float], float] = lambda norm, limit: min(1.0, limit / max(norm, 1e-9)),
) -> Callable[..., Any]:
    return lambda gs, limit: tuple(g * scale(float(size(gs)), limit) for g in gs)


def _length(gs: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([g.flatten() for g in gs]).norm()


CLIP_GRADIENTS = Task(
    name="training.clip_gradients",
    asks="One length for all the gradients together; if it is above the limit, one factor for all.",
    reference=clip_gradients,
    inputs=arrows,
    hints=(
        "Take all numbers of all gradients as one long list. How long is that arrow?",
        "The length is the root of the sum of all squares. If it is above the limit, every "
        "gradient is multiplied by limit / length; otherwise nothing changes.",
        "norm = sum(g.square().sum() for g in gradients) ** 0.5; factor = min(1, limit / norm), "
        "with care where norm is 0; tuple(g * factor for g in gradients).",
    ),
    mistakes=(
        Mistake(
            "Each gradient is clipped alone: what was short beside a long one is no longer so, "
            "and the direction of the whole turns.",
            lambda gs, limit: tuple(g * min(1.0, limit / max(float(g.norm()), 1e-9)) for g in gs),
        ),
        Mistake(
            "Every number is cut to the limit by itself, which turns the gradient.",
            lambda gs, limit: tuple(g.clamp(-limit, limit) for g in gs),
        ),
        Mistake(
            "Short gradients are scaled up to the limit: near the bottom, where they should "
            "become small, steps would never do so.",
            _clipped(_length, lambda norm, limit: limit / max(norm, 1e-9)),
        ),
        Mistake(
            "The lengths of the single gradients are added up; they stand at right angles, so "
            "their squares add up.",
            _clipped(lambda gs: sum(g.norm() for g in gs)),
        ),
        Mistake(
            "The root is missing: this is the square of the length.",
            _clipped(lambda gs: _length(gs) ** 2),
        ),
        Mistake(
            "The largest single number is taken for the length.",
            _clipped(lambda gs: max(g.abs().max() for g in gs)),
        ),
        Mistake(
            "What is too long gets the length 1, whatever the limit.",
            _clipped(_length, lambda norm, limit: 1 / norm if norm > limit else 1.0),
        ),
        Mistake(
            "Nothing is clipped: what comes out is as long as before.", lambda gs, limit: tuple(gs)
        ),
    ),
    right=(
        _clipped(_length),
        lambda gs, limit: _clipped_by_torch(gs, limit),
    ),
    kind="warm-up",
)


def _clipped_by_torch(gs: tuple[Tensor, ...], limit: float) -> list[Tensor]:
    holders = [nn.Parameter(torch.zeros_like(g)) for g in gs]
    for holder, g in zip(holders, copy.deepcopy(gs), strict=True):
        holder.grad = g
    nn.utils.clip_grad_norm_(holders, limit)
    return [gradient(holder) for holder in holders]


TASKS = (BACKWARD, CLIP_GRADIENTS)

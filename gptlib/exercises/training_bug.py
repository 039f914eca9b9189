"""Bug hunt of chapter 7: a step that clips too often."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from gptlib.exercises.task import Mistake, Task, Use
from gptlib.exercises.training_models import Batches, length, load_optimizers

Tensor = torch.Tensor


def large_step(model: Any, optimizer: Any, batches: Batches) -> None:
    """One update for a large batch that comes in small ones, its gradient clipped to 1."""
    optimizer.zero_grad()
    for x, y in batches:
        (model(x, y)[1] / len(batches)).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def large_step_with_a_bug(model: Any, optimizer: Any, batches: Batches) -> None:
    """One update for a large batch that comes in small ones, its gradient clipped to 1."""
    optimizer.zero_grad()
    for x, y in batches:
        (model(x, y)[1] / len(batches)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


class Update(Use):
    """A step of plain descent at rate 1: how far each number moves, against its gradient.

    The gradients of the batches lie at right angles: each is that of one number alone.
    """

    def run(self, answer: Callable[..., Any], *given: Any) -> dict[str, Any]:
        slopes, batches = given
        model = Slopes(slopes)
        model.w.grad = torch.full_like(model.w, 9.0)  # of a step before
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        answer(model, optimizer, batches)
        return {"The step": -model.w.detach()}

    def shown(self, name: str, *given: Any) -> str:
        slopes, _ = given
        return f"{name}(model, optimizer, batches) whose gradients are {slopes}, each along an axis"


class Slopes(nn.Module):
    """A loss with a gradient of a known length for each batch, along an axis of its own."""

    def __init__(self, slopes: tuple[float, ...]):
        super().__init__()
        self.slopes = slopes
        self.w = nn.Parameter(torch.zeros(len(slopes), dtype=torch.float64))

    def forward(self, x: Tensor, y: Tensor) -> tuple[None, Tensor]:
        at = int(x[0, 0])
        return None, self.slopes[at] * self.w[at]


def hills(seed: int) -> Iterator[tuple[Any, ...]]:
    """Lengths of gradients: together above 1, each above 1 alone, together below 1."""
    load_optimizers()
    more = 1 + seed % 30 / 10  # the last are to stay below 1
    for slopes in ((8.0 * more, 6.0), (2.0, 1.5, 4.0 * more), (0.4, 0.2 * more)):
        yield slopes, tuple((torch.tensor([[i]]), torch.tensor([[i]])) for i in range(len(slopes)))


def _repaired(
    order: tuple[str, ...], divide: bool = True, limit: Callable[[int], float] = lambda n: 1.0
) -> Callable[..., None]:
    """A repair as a row of deeds, those before "loop" once, those behind "in" for each batch."""

    def step(model: Any, optimizer: Any, batches: Batches) -> None:
        def clip() -> None:
            nn.utils.clip_grad_norm_(model.parameters(), limit(len(batches)))

        deeds = {"zero": optimizer.zero_grad, "clip": clip, "step": optimizer.step}
        at, end = order.index("for"), order.index("end")
        for deed in order[:at]:
            deeds[deed]()
        for x, y in batches:
            for deed in order[at + 1 : end]:
                if deed == "backward":
                    (model(x, y)[1] / (len(batches) if divide else 1)).backward()
                else:
                    deeds[deed]()
        for deed in order[end + 1 :]:
            deeds[deed]()

    return step


def _summed(model: Any, optimizer: Any, batches: Batches) -> None:
    """Right, too: one backward pass for the mean of the losses."""
    optimizer.zero_grad()
    torch.stack([model(x, y)[1] for x, y in batches]).mean().backward()
    norm = length(model)
    for p in model.parameters():
        p.grad /= max(1.0, norm.item())
    optimizer.step()


LARGE_STEP = Task(
    name="training.large_step",
    asks="Several batches are to count as one large batch, whose gradient is clipped once. Which "
    "of them lose their say here?",
    reference=large_step,
    bug=large_step_with_a_bug,
    inputs=hills,
    hints=(
        "Suppose that every batch has the same gradient, of length 8. What is in .grad after the "
        "first batch, after the second, after the fourth?",
        "What was added first is scaled down again with each further batch. When is the sum "
        "complete?",
        "Clipping belongs to the whole sum: after the loop, before the step.",
    ),
    mistakes=(
        Mistake(
            "It is not clipped any more, or before there is a gradient: no batch is scaled down, "
            "and one batch of garbage has all the say.",
            _repaired(("zero", "for", "backward", "end", "step")),
        ),
        Mistake(
            "There is a step for every batch now; one step for all of them was asked for.",
            _repaired(("for", "zero", "backward", "clip", "step", "end")),
        ),
        Mistake(
            "The last batch alone is left: the gradients of the others are thrown away.",
            _repaired(("for", "zero", "backward", "end", "clip", "step")),
        ),
        Mistake(
            "The gradients of the step before are still in the sum.",
            _repaired(("for", "backward", "end", "clip", "step")),
        ),
        Mistake(
            "Clipping happens once now, and the division is gone: a sum is not a mean, and sums "
            "are clipped more often.",
            _repaired(("zero", "for", "backward", "end", "clip", "step"), divide=False),
        ),
        Mistake(
            "Each batch still clips the sum so far, at another limit: early batches are scaled "
            "down again and again as before.",
            _repaired(("zero", "for", "backward", "clip", "end", "step"), limit=lambda n: 1 / n),
        ),
    ),
    right=(
        _repaired(("zero", "for", "backward", "end", "clip", "step")),
        _summed,
    ),
    kind="bug",
    use=Update(),
)

TASKS = (LARGE_STEP,)

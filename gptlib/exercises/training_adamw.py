"""Exercise of chapter 7: one AdamW step, written out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from gptlib.exercises.comparing import shown
from gptlib.exercises.task import Mistake, Task, Use, Wrong
from gptlib.exercises.training_models import load_optimizers

Tensor = torch.Tensor
B = (0.9, 0.95)


def adamw_step(
    w: Tensor,
    gradient: Tensor,
    memory: dict[str, Any],
    step: int,
    lr: float,
    betas: tuple[float, float] = (0.9, 0.95),
    decay: float = 0.0,
) -> Tensor:
    """One update of the weights w by AdamW; memory keeps the two averages."""
    slow, slower = betas
    memory["mean"] = slow * memory.get("mean", 0) + (1 - slow) * gradient
    memory["square"] = slower * memory.get("square", 0) + (1 - slower) * gradient**2
    mean = memory["mean"] / (1 - slow**step)
    size = (memory["square"] / (1 - slower**step)).sqrt()
    return w * (1 - lr * decay) - lr * mean / (size + 1e-8)


class Steps(Use):
    """Several steps in a row, one gradient each, with one memory that is empty at the start."""

    in_order = True

    def run(self, answer: Callable[..., Any], *given: Any) -> dict[str, Any]:
        w, gradients, lr, betas, decay = given
        memory: dict[str, Any] = {}
        seen = {}
        more = {} if betas is None else {"betas": betas, "decay": decay}
        for step, gradient in enumerate(gradients, 1):
            w = answer(w, gradient, memory, step, lr, **more)
            if w is None:
                raise Wrong("It gives None. Is its `return` missing?")
            seen[f"w after step {step}"] = w
        return seen

    def shown(self, name: str, *given: Any) -> str:
        w, gradients, lr, betas, decay = given
        more = "" if betas is None else f", betas={betas}, decay={decay}"
        return (
            f"{name}(w, gradient, memory, step, lr={lr}{more}) for the "
            f"gradients {shown(gradients)}, one after the other, from w = {shown(w)}"
        )


def walks(seed: int) -> Iterator[tuple[Any, ...]]:
    """Weights, a gradient for each step, and settings: large and tiny gradients, and none."""
    load_optimizers()
    gradients = torch.tensor([[4.0, -1e-5, 0.0], [-1.0, -1e-5, 0.0], [3.0, -1e-5, 0.0]])
    yield torch.tensor([1.0, 2.0, 3.0]), gradients, 0.1, (0.9, 0.99), 0.5
    draw = torch.Generator().manual_seed(seed)
    gradients = torch.randn(4, 2, 3, generator=draw)
    yield torch.randn(2, 3, generator=draw), gradients, 0.02, (0.8, 0.95), 0.0
    yield torch.randn(2, 3, generator=draw), gradients, 0.02, None, None  # what the stub says


def _adamw(
    rate: Callable[[float, int], float] = lambda beta, step: 1 - beta**step,
    rate_of_square: Callable[[float, int], float] | None = None,
    divide: Callable[[Tensor, Tensor], Tensor] = lambda mean, square: mean / (square.sqrt() + 1e-8),
    keep: Callable[[float], float] = lambda beta: beta,
    square: Callable[[Tensor], Tensor] = lambda gradient: gradient**2,
    l2: bool = False,
    left: Callable[[float, float], float] = lambda lr, decay: 1 - lr * decay,
    swapped: bool = False,
) -> Callable[..., Tensor]:
    """The whole step, with one part of it exchanged."""

    def update(
        w: Tensor, g: Tensor, memory: dict, step: int, lr: float, betas: Any = B, decay: float = 0.0
    ) -> Tensor:
        slow, slower = betas[::-1] if swapped else betas
        g = g + decay * w if l2 else g
        zero = torch.zeros_like(w)
        mean = keep(slow) * memory.get("mean", zero) + (1 - keep(slow)) * g
        squares = keep(slower) * memory.get("square", zero) + (1 - keep(slower)) * square(g)
        memory |= {"mean": mean, "square": squares}
        other = rate_of_square or rate
        change = divide(mean / rate(slow, step), squares / other(slower, step))
        return w * (1.0 if l2 else left(lr, decay)) - lr * change

    return update


def _forgets(w: Tensor, g: Tensor, memory: dict, step: int, lr: float, **more: Any) -> Tensor:
    return _adamw()(w, g, {}, step, lr, **more)


def _corrects_twice(
    w: Tensor, g: Tensor, memory: dict, step: int, lr: float, betas: Any = B, decay: float = 0.0
) -> Tensor:
    """The corrected averages go back into memory."""
    for name, beta, new in (("mean", betas[0], g), ("square", betas[1], g**2)):
        memory[name] = (beta * memory.get(name, 0) + (1 - beta) * new) / (1 - beta**step)
    change = memory["mean"] / (memory["square"].sqrt() + 1e-8)
    return w * (1 - lr * decay) - lr * change


def _theirs(
    w: Tensor, g: Tensor, memory: dict, step: int, lr: float, betas: Any = B, decay: float = 0.0
) -> Tensor:
    """PyTorch's own, kept in memory."""
    if not memory:
        p = nn.Parameter(w.clone())
        made = torch.optim.AdamW([p], lr=lr, betas=betas, weight_decay=decay)
        memory |= {"p": p, "optimizer": made}
    memory["p"].grad = g.clone()
    memory["optimizer"].step()
    return memory["p"].detach().clone()


ADAMW_STEP = Task(
    name="training.adamw_step",
    asks="Keep a running average of the gradient and one of its square, correct both for their "
    "start at 0, divide, and let the weights decay on their own.",
    reference=adamw_step,
    inputs=walks,
    hints=(
        "In the first step both averages have just begun at 0. What must each be divided by, so "
        "that it is the gradient itself and its square?",
        "mean = memory['mean'] / (1 - betas[0] ** step), the same for the square; the change is "
        "lr * mean / (root of the square + 1e-8). The decay multiplies w and never meets these.",
        "memory['mean'] = b * memory.get('mean', 0) + (1 - b) * gradient, likewise 'square'; then "
        "w * (1 - lr * decay) - lr * mean / (square.sqrt() + 1e-8).",
    ),
    mistakes=(
        Mistake(
            "The bias correction is missing: the averages begin at 0, so in the first steps they "
            "are far too small, the square's more than the mean's.",
            _adamw(rate=lambda beta, step: 1.0),
        ),
        Mistake(
            "Only the mean is corrected for its start at 0; the average of the squares began there "
            "as well.",
            _adamw(rate_of_square=lambda beta, step: 1.0),
        ),
        Mistake(
            "Only the square is corrected for its start at 0; the mean began there as well.",
            _adamw(
                rate=lambda beta, step: 1.0, rate_of_square=lambda beta, step: 1 - beta**step
            ),
        ),
        Mistake(
            "The correction takes the power of step - 1: steps are counted from 1, and in the "
            "first one this divides by 0.",
            _adamw(rate=lambda beta, step: 1 - beta ** (step - 1)),
        ),
        Mistake(
            "The correction is the same in every step, 1 - beta; the share of the start shrinks "
            "with each step, as beta to the power of step.",
            _adamw(rate=lambda beta, step: 1 - beta),
        ),
        Mistake(
            "The decay is added to the gradient, and so gets divided by its size like the rest: "
            "that is Adam with L2. In AdamW the weights decay beside the step.",
            _adamw(l2=True),
        ),
        Mistake(
            "The decay forgets the learning rate: it is to take lr · decay of a weight.",
            _adamw(left=lambda lr, decay: 1 - decay),
        ),
        Mistake(
            "The weights grow by lr · decay instead of shrinking.",
            _adamw(left=lambda lr, decay: 1 + lr * decay),
        ),
        Mistake(
            "The decay comes after the step, and takes its share of the step as well. It is the "
            "old weights that decay: w * (1 - lr * decay) before anything is taken away.",
            lambda w, g, memory, step, lr, betas=B, decay=0.0: (
                _adamw()(w, g, memory, step, lr, betas, 0.0) * (1 - lr * decay)
            ),
        ),
        Mistake("The decay is not used.", _adamw(left=lambda lr, decay: 1.0)),
        Mistake(
            "The 1e-8 stands under the root: where gradients are tiny its root, 1e-4, is what the "
            "step is divided by.",
            _adamw(divide=lambda mean, square: mean / (square + 1e-8).sqrt()),
        ),
        Mistake(
            "The 1e-8 is missing: a weight that has had no gradient yet divides 0 by 0.",
            _adamw(divide=lambda mean, square: mean / square.sqrt()),
        ),
        Mistake(
            "The step is divided by the average square and not by its root: large gradients then "
            "make small steps.",
            _adamw(divide=lambda mean, square: mean / (square + 1e-8)),
        ),
        Mistake(
            "The step is the mean alone: nothing divides it by the size of the gradients.",
            _adamw(divide=lambda mean, square: mean),
        ),
        Mistake(
            "The two betas have changed places: the first belongs to the mean.",
            _adamw(swapped=True),
        ),
        Mistake(
            "Old and new are weighed the wrong way round: beta is the share that the old average "
            "keeps.",
            _adamw(keep=lambda beta: 1 - beta),
        ),
        Mistake(
            "The averages are not kept: memory is empty again at the next step.", _forgets
        ),
        Mistake(
            "The corrected averages go back into memory, and are corrected again in the next step.",
            _corrects_twice,
        ),
        Mistake(
            "The step goes uphill: it is to be taken away from the weights.",
            _adamw(divide=lambda mean, square: -mean / (square.sqrt() + 1e-8)),
        ),
        Mistake(
            "The gradient itself is averaged twice, and its square not at all.",
            _adamw(square=lambda gradient: gradient),
        ),
        Mistake(
            "This is the change alone; the new weights are asked for.",
            lambda w, g, memory, step, lr, **more: (
                _adamw()(w, g, memory, step, lr, **more) - w
            ),
        ),
        Mistake(
            "This is the change, which is to be taken away from the weights. The step returns the "
            "new weights, where `adam` returned the change.",
            lambda w, g, memory, step, lr, **more: (
                w - _adamw()(w, g, memory, step, lr, **more)
            ),
        ),
    ),
    right=(_adamw(), _theirs),
    use=Steps(),
)  # fmt: skip

TASKS = (ADAMW_STEP,)

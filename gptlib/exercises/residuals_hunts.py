"""Exercises of chapter 5: two hunts for a bug, and a gradient worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from gptlib.exercises.slopes import CUT, WithSlopes
from gptlib.exercises.task import Mistake, Task
from gptlib.layers import layer_norm

Tensor = torch.Tensor


def _with_bugs() -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """The code that the learner is given, under the names that the answers have."""

    def states(x: Tensor, weights: Tensor) -> Tensor:
        """x before the first layer and after each: (n_layer + 1, *x.shape)."""
        x = x.clone()
        found = [x]
        for weight in weights:
            x += torch.tanh(x @ weight)
            found.append(x)
        return torch.stack(found)

    def branch(x: Tensor, weight: Tensor) -> Tensor:
        """A layer with its norm and its shortcut: x (…, C) -> (…, C)."""
        x = layer_norm(x)
        return x + torch.tanh(x @ weight)

    return states, branch


STATES_BUG, BRANCH_BUG = _with_bugs()


def states(x: Tensor, weights: Tensor) -> Tensor:
    """x before the first layer and after each: (n_layer + 1, *x.shape)."""
    found = [x]
    for weight in weights:
        x = x + torch.tanh(x @ weight)  # a new tensor; the old one stays as it was
        found.append(x)
    return torch.stack(found)


def branch(x: Tensor, weight: Tensor) -> Tensor:
    """A layer with its norm and its shortcut: x (…, C) -> (…, C)."""
    return x + torch.tanh(layer_norm(x) @ weight)


def piles(seed: int) -> Iterator[tuple[Any, ...]]:
    """Two numbers and two layers, then more of both."""
    draw = torch.Generator().manual_seed(seed)
    yield torch.tensor([1.0, 2.0]), torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[-1.0, 1.0]] * 2])
    yield torch.randn(2, 3, 4, generator=draw), torch.randn(3, 4, 4, generator=draw)


def _kept(step: Callable[..., Tensor], clone: bool = False) -> Callable[..., Tensor]:
    """The states of another step; `clone`: written over, and kept as copies."""

    def kept(x: Tensor, weights: Tensor) -> Tensor:
        x = x.clone()
        found = [x]
        for weight in weights:
            if clone:
                x += torch.tanh(x @ weight)
                found.append(x.clone())
            else:
                x = step(x, found[0], weight)
                found.append(x)
        return torch.stack(found)

    return kept


def _changes(x: Tensor, weights: Tensor) -> Tensor:
    whole = states(x, weights)
    return torch.cat([whole[:1], whole[1:] - whole[:-1]])


STATES = Task(
    name="block.states",
    asks="Mend it: every state that it gives is the same.",
    reference=states,
    inputs=piles,
    anywhere=True,
    kind="bug",
    bug=STATES_BUG,
    hints=(
        "Print the list after each turn of the loop. When does its first entry change?",
        "All entries of the list are one tensor under several names. Which line writes into it?",
        "x += ... writes into the tensor that the list already holds. x = x + ... makes a new one.",
    ),
    mistakes=(
        Mistake(
            "The later states are right. The first is still written over: it holds what stands at "
            "the end.",
            _kept(lambda x, start, w: x, clone=True),
        ),
        Mistake(
            "Nothing is written over any more, and the shortcut went with it: each layer replaces "
            "its input.",
            _kept(lambda x, start, w: torch.tanh(x @ w)),
        ),
        Mistake(
            "Every layer's change is added to the first state: what the others added is lost.",
            _kept(lambda x, start, w: start + torch.tanh(x @ w)),
        ),
        Mistake(
            "Every layer reads the first state, and not what the one before it left.",
            _kept(lambda x, start, w: x + torch.tanh(start @ w)),
        ),
        Mistake(
            "Every layer reads the first state, and is added to it: x never moves on.",
            _kept(lambda x, start, w: start + torch.tanh(start @ w)),
        ),
        Mistake(
            "A state is kept before its layer has added to it: the first stands there twice, and "
            "the last is missing.",
            lambda x, ws: torch.stack([x, *states(x, ws)[:-1]]),
        ),
        Mistake(
            "The first state is right. All others are still one tensor, written over each time.",
            lambda x, ws: torch.stack([x, *[states(x, ws)[-1]] * len(ws)]),
        ),
        Mistake("These are the changes. The states, their running sums, are asked for.", _changes),
    ),
    right=(
        lambda x, ws: torch.stack([x, *(x := x + torch.tanh(x @ w) for w in ws)]),
        _kept(lambda x, start, w: torch.add(x, (x @ w).tanh())),
    ),
)


def tokens(seed: int) -> Iterator[tuple[Any, ...]]:
    """One token far from size 1, then several."""
    draw = torch.Generator().manual_seed(seed)
    yield torch.tensor([[10.0, 30.0, 20.0]]), torch.eye(3)
    for shape in ((2, 3, 4), (5, 6)):
        C = shape[-1]
        yield 3 * torch.randn(shape, generator=draw) + 1, torch.randn(C, C, generator=draw)


BRANCH = Task(
    name="block.branch",
    asks="Mend it: twelve of these in a row forget what stood in the stream.",
    reference=branch,
    inputs=tokens,
    anywhere=True,
    use=WithSlopes("x", "weight"),
    kind="bug",
    bug=BRANCH_BUG,
    hints=(
        "Give it a weight of zeros, so that the layer has nothing to say. What should come out?",
        "From where does the shortcut start: from what came in, or from what the norm made of it?",
        "The norm belongs to the branch alone: x + torch.tanh(layer_norm(x) @ weight).",
    ),
    mistakes=(
        Mistake(
            "The stream is whole again, and the layer now reads it at any size: its norm is gone.",
            lambda x, w: x + torch.tanh(x @ w),
        ),
        Mistake(
            "The norm now stands behind the sum, in the stream: it is rescaled all the same.",
            lambda x, w: layer_norm(x + torch.tanh(x @ w)),
        ),
        Mistake(
            "The two have changed places: the norm stands on the way around, and the layer reads "
            "the stream at any size.",
            lambda x, w: layer_norm(x) + torch.tanh(x @ w),
        ),
        Mistake(
            "The norm stands behind the layer. What the layer reads has any size, and what it says "
            "is blown up to size 1.",
            lambda x, w: x + layer_norm(torch.tanh(x @ w)),
        ),
        Mistake(
            "The norm comes after the weights, inside the tanh. The weights should read it.",
            lambda x, w: x + torch.tanh(layer_norm(x @ w)),
        ),
        Mistake(
            "The shortcut is gone, and the norm is where it should be.",
            lambda x, w: torch.tanh(layer_norm(x) @ w),
        ),
        Mistake(
            "The stream is whole again; but the shortcut is a copy that is cut off, and no "
            "gradient comes back through it.",
            lambda x, w: x.detach() + torch.tanh(layer_norm(x) @ w),
        ),
        Mistake(CUT, lambda x, w: branch(x, w).detach()),
    ),
    right=(
        lambda x, w: torch.tanh(layer_norm(x) @ w).add(x),
        lambda x, w: x + torch.tanh(torch.nn.functional.layer_norm(x, x.shape[-1:]) @ w),
    ),
)


def residual_gradient(x: Tensor, weight: Tensor, grad: Tensor) -> Tensor:
    """The gradient at x, from the gradient at y = x + tanh(x @ weight); all (B, C)."""
    slope = 1 - torch.tanh(x @ weight) ** 2  # (B, C)
    return grad + (grad * slope) @ weight.T  # the road with the 1, and the road through the layer


def gradients(seed: int) -> Iterator[tuple[Any, ...]]:
    """One row of two numbers, then several."""
    draw = torch.Generator().manual_seed(seed)
    yield torch.tensor([[1.0, 0.5]]), torch.tensor([[0.0, 2.0], [1.0, 0.5]]), torch.ones(1, 2)
    for B, C in ((3, 4), (2, 5)):
        x, grad = torch.randn(2, B, C, generator=draw)
        yield x, torch.randn(C, C, generator=draw), grad


def _back(
    slope: Callable[[Tensor, Tensor], Tensor | float] = lambda x, w: 1 - torch.tanh(x @ w) ** 2,
    road: Callable[[Tensor], Tensor | float] = lambda grad: grad,
    turned: Callable[[Tensor], Tensor] = lambda w: w.T,
) -> Callable[..., Tensor]:
    """The whole gradient, with one part of it exchanged."""
    return lambda x, w, grad: road(grad) + (grad * slope(x, w)) @ turned(w)


def _autograd(x: Tensor, weight: Tensor, grad: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(x + torch.tanh(x @ weight), x, grad)[0]


RESIDUAL_GRADIENT = Task(
    name="block.residual_gradient",
    asks="Take a gradient back through y = x + tanh(x @ weight), by hand.",
    reference=residual_gradient,
    inputs=gradients,
    anywhere=True,
    kind="stretch",
    hints=(
        "x reaches y on two roads. What does each of them bring back, and how do they meet?",
        "The shortcut brings grad as it is. The layer: through tanh, whose slope is 1 - tanh², and "
        "then through the product with weight, whose way back is the product with its transpose.",
        "grad + (grad * (1 - torch.tanh(x @ weight) ** 2)) @ weight.T",
    ),
    mistakes=(
        Mistake(
            "The road around is missing: this is the gradient of a layer without a shortcut.",
            _back(road=lambda grad: 0.0),
        ),
        Mistake(
            "The road around brings 1. It brings back what arrives at y, the gradient itself.",
            lambda x, w, grad: (
                _back(road=lambda grad: 1.0)(x, w, grad)
                if not (grad == 1).all()
                else residual_gradient(x, w, grad)
            ),
        ),
        Mistake(
            "On the way back the weights are not turned: output j was made from row i by weight "
            "[i, j], so input i gets back by the same [i, j].",
            _back(turned=lambda w: w),
        ),
        Mistake("The slope of tanh is missing.", _back(slope=lambda x, w: 1.0)),
        Mistake(
            "The square of tanh stands where its slope belongs, 1 minus that.",
            _back(slope=lambda x, w: (x @ w).tanh() ** 2),
        ),
        Mistake(
            "The slope of tanh comes after the weights. On the way back tanh is met first.",
            lambda x, w, grad: grad + (grad @ w.T) * (1 - torch.tanh(x @ w) ** 2),
        ),
        Mistake(
            "The road through the layer brings back its slopes alone; grad is multiplied in.",
            lambda x, w, grad: grad + (1 - torch.tanh(x @ w) ** 2) @ w.T,
        ),
        Mistake(
            "The weights are missing: what comes back through tanh goes through their transpose.",
            lambda x, w, grad: grad + grad * (1 - torch.tanh(x @ w) ** 2),
        ),
        Mistake(
            "tanh itself stands where its slope belongs.", _back(slope=lambda x, w: (x @ w).tanh())
        ),
        Mistake(
            "The slope of tanh is 1 minus its square; the square is missing.",
            _back(slope=lambda x, w: 1 - (x @ w).tanh()),
        ),
        Mistake(
            "The slope is taken at x. It belongs to what entered the tanh, x @ weight.",
            _back(slope=lambda x, w: 1 - x.tanh() ** 2),
        ),
    ),
    right=(
        _autograd,
        lambda x, w, grad: grad + torch.einsum("bj,ij->bi", grad / torch.cosh(x @ w) ** 2, w),
    ),
)

TASKS = (STATES, BRANCH, RESIDUAL_GRADIENT)

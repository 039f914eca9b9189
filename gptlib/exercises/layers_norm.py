"""The exercise of chapter 4 that asks for a norm as a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from gptlib.exercises.modules import MakeModule, weights_of
from gptlib.exercises.task import Mistake, Task
from gptlib.layers import LayerNorm, layer_norm

Tensor = torch.Tensor
Made = Callable[..., Any]


class MakeNorm(MakeModule):
    """A norm: what its parameters are at the start, then the rest."""

    def run(self, answer: Any, *given: Any) -> dict[str, Any]:
        settings, weights, _ = given
        fresh = dict(self.made(answer, settings, {**weights}).named_parameters())
        own = answer(**settings)
        start = {f"At the start, {name}": getattr(own, name).detach() for name in fresh}
        return {**start, **super().run(answer, *given)}


def norms(seed: int) -> Iterator[tuple[Any, ...]]:
    """Texts to normalise; in the first the numbers are small. Without a shift, with another eps."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.tensor([[[0.01, 0.02, 0.06], [1.0, 5.0, 3.0]], [[2.0, 0.0, 1.0], [-1.0, 4.0, 2.0]]])
    others: list[dict[str, Any]] = [{"bias": False}, {"eps": 0.5}]
    for number, settings in enumerate([{}, *others]):
        settings = {"n_embd": 3 + number, **settings}
        if number:
            x = 3 * torch.randn(2, 3, 3 + number, generator=draw) + 1
        yield settings, weights_of(LayerNorm, settings, seed), x


def _norm(forward: Callable[[Any, Tensor], Tensor] | None = None, start: Any = None) -> Made:
    """A norm whose forward or whose scale at the start is otherwise."""

    class Other(LayerNorm):
        def __init__(self, *given: Any, **named: Any):
            super().__init__(*given, **named)
            if start is not None:
                self.weight = nn.Parameter(start(self.weight))

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if forward is None else forward(self, x)

    return Other


def _even(
    self: Any,
    x: Tensor,
    dim: Any = -1,
    unbiased: bool = False,
    size: Callable[[Tensor, float], Tensor] = lambda var, eps: torch.sqrt(var + eps),
) -> Tensor:
    """Mean 0 and variance 1, in several wrong ways; no scale and no shift."""
    var = x.var(dim=dim, keepdim=True, unbiased=unbiased)
    return (x - x.mean(dim=dim, keepdim=True)) / size(var, self.eps)


def _stiff(x: Tensor, eps: float) -> Tensor:
    """The same, as if mean and variance did not hang on x."""
    mean, size = x.mean(-1, keepdim=True), (x.var(-1, keepdim=True, unbiased=False) + eps).sqrt()
    return (x - mean.detach()) / size.detach()


def _learned(self: Any, x: Tensor) -> Tensor:
    return x * self.weight if self.bias is None else x * self.weight + self.bias


def _with(**how: Any) -> Made:
    return _norm(lambda self, x: _learned(self, _even(self, x, **how)))


class _Spelled(nn.Module):
    def __init__(self, n_embd: int, bias: bool = True, eps: float = 1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n_embd))
        self.register_parameter("bias", nn.Parameter(torch.zeros(n_embd)) if bias else None)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return _learned(self, _even(self, x))


LAYER_NORM_MODULE = Task(
    name="layers.LayerNorm",
    asks="Make a layer of the function: a scale that begins at 1, a shift that begins at 0.",
    reference=LayerNorm,
    inputs=norms,
    hints=(
        "Which numbers of this layer are learned, how many are there of each, and what must they "
        "be at the start so that they change nothing?",
        "nn.Parameter(torch.ones(n_embd)) is one of the two; the other is None without a bias. "
        "forward is the function that stands above.",
        "self.weight and self.bias as parameters, self.eps; "
        "forward: layer_norm(x, self.weight, self.bias, self.eps).",
    ),
    mistakes=(
        Mistake(
            "The scale begins at 0: the layer gives nothing but its shift, whatever comes in.",
            _norm(start=torch.zeros_like),
        ),
        Mistake(
            "The scale begins with random numbers. A norm should begin as a norm and change "
            "nothing else: with a scale of 1.",
            _norm(start=lambda weight: 0.5 + weight.cumsum(0)),
        ),
        Mistake(
            "The variance divides by C - 1; here the row is all there is, so it divides by C.",
            _with(unbiased=True),
        ),
        Mistake(
            "eps stands outside the root. There it does not help a row without any variance: the "
            "slope of the root at 0 is infinite, and the gradient becomes nan.",
            _with(size=lambda var, eps: var.sqrt() + eps),
        ),
        Mistake(
            "The row is divided by torch's standard deviation plus eps. That divides by C - 1, "
            "where a layer norm divides by C; and eps belongs to the variance.",
            _with(unbiased=True, size=lambda var, eps: var.sqrt() + eps),
        ),
        Mistake(
            "eps is taken and not used: here it is 0.5, and the result is that of 0.00001.",
            _norm(lambda self, x: layer_norm(x, self.weight, self.bias)),
        ),
        Mistake(
            "eps is missing: a row of equal numbers would be 0 divided by 0.",
            _with(size=lambda var, eps: var.sqrt()),
        ),
        Mistake(
            "The numbers are divided by the variance. Their size is its root.",
            _with(size=lambda var, eps: var + eps),
        ),
        Mistake(
            "Mean and variance go over the texts of the batch: what is said about one text depends "
            "on its neighbours.",
            _with(dim=0),
        ),
        Mistake(
            "Mean and variance go over the tokens of a text: the future leaks into the past.",
            _with(dim=1),
        ),
        Mistake(
            "Mean and variance go over all numbers at once. Each token has its own.",
            _with(dim=(0, 1, 2)),
        ),
        Mistake(
            "The mean is not taken away: the row keeps its level.",
            _norm(
                lambda self, x: _learned(
                    self, x / torch.sqrt(x.pow(2).mean(dim=-1, keepdim=True) + self.eps)
                )
            ),
        ),
        Mistake(
            "The shift comes before the scale, and is scaled with the rest.",
            _norm(
                lambda self, x: (
                    (_even(self, x) + (0 if self.bias is None else self.bias)) * self.weight
                )
            ),
        ),
        Mistake(
            "Scale and shift are there and are not used: no gradient reaches them.",
            _norm(lambda self, x: _even(self, x) + 0 * self.weight),
        ),
        Mistake(
            "The scale is there and is not used: no gradient reaches it.",
            _norm(
                lambda self, x: (
                    _even(self, x) + 0 * self.weight + (0 if self.bias is None else self.bias)
                )
            ),
        ),
        Mistake(
            "The shift is there and is not used: no gradient reaches it.",
            _norm(lambda self, x: layer_norm(x, self.weight, None, self.eps)),
        ),
        Mistake(
            "The numbers are right, and the gradient that goes on to x is another one: mean and "
            "variance are cut off, by detach, item or no_grad. They change with x.",
            _norm(lambda self, x: _learned(self, _stiff(x, self.eps))),
        ),
        Mistake(
            "It learns, and nothing before it could: x is cut off, by detach, no_grad or .data, "
            "and no gradient goes on to it.",
            _norm(lambda self, x: LayerNorm.forward(self, x.detach())),
        ),
    ),
    right=(_Spelled, _norm(lambda self, x: layer_norm(x, self.weight, self.bias, self.eps))),
    use=MakeNorm(),
)


TASKS = (LAYER_NORM_MODULE,)

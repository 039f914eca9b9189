"""Exercises of chapter 4: a norm, and a bend."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch

from gptlib.exercises import layers_beyond, layers_network, layers_norm, layers_paper, layers_parts
from gptlib.exercises.slopes import CUT, WithSlopes
from gptlib.exercises.task import Mistake, Task
from gptlib.layers import gelu, layer_norm

Tensor = torch.Tensor


def rows(seed: int) -> Iterator[tuple[Any, ...]]:
    """Rows to normalise, with scale and shift, without, with another eps; the first are small."""
    draw = torch.Generator().manual_seed(seed)
    yield (
        torch.tensor([[0.01, 0.02, 0.06], [1.0, 5.0, 3.0]]),
        torch.tensor([1.0, 2.0, 0.5]),
        (torch.tensor([0.0, 1.0, -1.0])),
    )
    yield (torch.tensor([[1.0, 2.0, 3.0]]),)
    yield torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([1.0, 2.0, 0.5])
    yield torch.tensor([[1.0, 2.0, 3.0]]), None, torch.tensor([0.0, 1.0, -1.0]), 0.5
    for size in ((2, 4, 6), (5,), (3, 1, 4, 8)):
        x = torch.randn(size, generator=draw) * 3 + 1
        weight, bias = torch.randn(2, size[-1], generator=draw)
        yield x, weight, bias
    yield torch.full((2, 4), 3.0, dtype=torch.float64), *torch.ones(2, 4, dtype=torch.float64)


def _norm(x: Tensor, w: Tensor, b: Tensor, dim: Any = -1, mean: bool = True, **how: Any) -> Tensor:
    centred = x - x.mean(dim=dim, keepdim=True) if mean else x
    unbiased, eps = how.get("unbiased", False), how.get("eps", 1e-5)
    var = x.var(dim=dim, keepdim=True, unbiased=unbiased)
    if not mean:
        var = x.pow(2).mean(dim=dim, keepdim=True)
    size = how.get("size", lambda var: torch.sqrt(var + eps))(var)
    return centred / size * w + b


LAYER_NORM = Task(
    name="layers.layer_norm",
    asks="Give each row mean 0 and variance 1, then scale it by weight and shift it by bias.",
    reference=layer_norm,
    inputs=rows,
    anywhere=True,
    use=WithSlopes("x", "weight", "bias"),
    hints=(
        "A row is one token: over which axis do its numbers lie?",
        "Mean and variance over the last axis, with keepdim=True; the variance divides by C, and "
        "1e-5 is added to it before the root.",
        "(x - mean) / torch.sqrt(var + 1e-5) * weight + bias, var with unbiased=False.",
    ),
    mistakes=(
        Mistake(
            "The variance divides by C - 1; a layer norm divides by C (unbiased=False).",
            lambda x, w, b: _norm(x, w, b, unbiased=True),
        ),
        Mistake(
            "The row is divided by its spread, and its mean is still in it: subtract that first.",
            lambda x, w, b: x / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt() * w + b,
        ),
        Mistake(
            "The small number 1e-5 stands outside the root; it belongs to the variance.",
            lambda x, w, b: _norm(x, w, b, size=lambda var: var.sqrt() + 1e-5),
        ),
        Mistake(
            "The small number 1e-5 is missing: a row of equal numbers would be divided by 0.",
            lambda x, w, b: _norm(x, w, b, eps=0.0),
        ),
        Mistake(
            "The row is divided by torch's standard deviation plus 1e-5. That divides by C - 1, "
            "where a layer norm divides by C; and the small number belongs to the variance.",
            lambda x, w, b: _norm(x, w, b, unbiased=True, size=lambda var: var.sqrt() + 1e-5),
        ),
        Mistake(
            "The numbers are divided by the variance, and not by its root.",
            lambda x, w, b: _norm(x, w, b, size=lambda var: var + 1e-5),
        ),
        Mistake(
            "Mean and variance go over the first axis, over other tokens: that is a batch norm.",
            lambda x, w, b: _norm(x, w, b, dim=0),
        ),
        Mistake(
            "Mean and variance go over all numbers at once; each row has its own.",
            lambda x, w, b: _norm(x, w, b, dim=tuple(range(x.dim()))),
        ),
        Mistake(
            "The mean is not taken away: this is an RMS norm.",
            lambda x, w, b: _norm(x, w, b, mean=False),
        ),
        Mistake(
            "The shift comes before the scale, and is scaled, too.",
            lambda x, w, b: (_norm(x, torch.ones_like(w), torch.zeros_like(b)) + b) * w,
        ),
        Mistake(
            "Scale and shift are missing.",
            lambda x, w, b: _norm(x, torch.ones_like(w), torch.zeros_like(b)),
        ),
        Mistake(
            "The scale is missing: weight has a number for each place of a row.",
            lambda x, w, b: _norm(x, torch.ones_like(w), b),
        ),
        Mistake(
            "The shift is missing: bias has a number for each place of a row.",
            lambda x, w, b: _norm(x, w, torch.zeros_like(b)),
        ),
        Mistake(
            "eps is taken and not used: here it is 0.5, and the result is that of 0.00001.",
            lambda x, w=None, b=None, eps=1e-5: layer_norm(x, w, b),
        ),
        Mistake(
            "The shift is added where there is a scale as well, and left out where it stands "
            "alone. Either may be None by itself.",
            lambda x, w=None, b=None, eps=1e-5: (
                layer_norm(x, w, b, eps) if w is not None else layer_norm(x, eps=eps)
            ),
        ),
        Mistake(
            "The numbers are right, and the gradient is another one: mean and variance are cut off "
            "from x, by detach, item or no_grad. They change with x, and the way back leads "
            "through them, too.",
            lambda x, w, b: (
                (x - x.mean(-1, keepdim=True).detach())
                / (x.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt().detach()
                * w
                + b
            ),
        ),
        Mistake(
            "The numbers are right, and the gradient is another one: the variance is cut off from "
            "x, by detach, item or no_grad. It changes with x.",
            lambda x, w, b: _norm(x, w, b, size=lambda var: torch.sqrt(var + 1e-5).detach()),
        ),
        Mistake(CUT, lambda x, w, b: layer_norm(x, w, b).detach()),
    ),
    right=(
        lambda x, w=None, b=None, eps=1e-5: torch.nn.functional.layer_norm(
            x, x.shape[-1:], w, b, eps
        ),
        lambda x, w=None, b=None, eps=1e-5: (
            (x - x.mean(-1, keepdim=True))
            * (x.var(-1, correction=0, keepdim=True) + eps).rsqrt()
            * (1.0 if w is None else w)
            + (0.0 if b is None else b)
        ),
    ),
)


def numbers(seed: int) -> Iterator[tuple[Any, ...]]:
    """Numbers around zero, some far away, of several shapes and kinds."""
    draw = torch.Generator().manual_seed(seed)
    yield (torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0]),)
    yield torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0]), "none"
    yield torch.tensor([-2.0, -0.5, 0.0, 0.5, 2.0]), "tanh"
    yield (torch.randn(2, 3, 4, generator=draw) * 2,)
    yield (torch.tensor(1.0, dtype=torch.float64),)
    yield (torch.tensor([-30.0, 30.0]),)


ROOT = math.sqrt(2 / math.pi)


def _bend(x: Tensor, half: float = 0.5, root: float = ROOT, cubic: float = 0.044715) -> Tensor:
    return half * x * (1 + torch.tanh(root * (x + cubic * x**3)))


GELU = Task(
    name="layers.gelu",
    asks='Write both forms of GELU: "tanh", which GPT-2 uses, and "none", the definition.',
    reference=gelu,
    inputs=numbers,
    anywhere=True,
    use=WithSlopes("x"),
    hints=(
        "Far right of zero GELU is x itself, far left it is 0. What must the factor of x be there?",
        "The factor is 0.5 * (1 + tanh(...)), which goes from 0 to 1.",
        'Inside the tanh: sqrt(2 / pi) * (x + 0.044715 * x**3). With "none" the factor is '
        "0.5 * (1 + torch.erf(x / 2**0.5)).",
    ),
    mistakes=(
        Mistake("The half is missing: far right of zero it should be x.", lambda x: _bend(x, 1.0)),
        Mistake(
            "The root of 2/π multiplies x alone; it stands before the bracket, and multiplies the "
            "cubic part as well.",
            lambda x: 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * x + 0.044715 * x**3)),
        ),
        Mistake(
            "This is ReLU: a corner at 0, and no gradient left of it. GELU passes smoothly.",
            torch.relu,
        ),
        Mistake(
            "This is the definition, with the error function, where GPT-2's close formula is asked "
            'for: without a word the form is "tanh".',
            lambda x, approximate="none": gelu(x, "none"),
        ),
        Mistake(
            'Both forms give the close formula. With "none" the definition is asked for, with the '
            "error function.",
            lambda x, approximate="tanh": gelu(x),
        ),
        Mistake(
            "In the definition x is not divided by the root of 2: the error function is another "
            "bell's area, a narrower one.",
            lambda x, approximate="tanh": (
                gelu(x) if approximate == "tanh" else 0.5 * x * (1 + torch.erf(x))
            ),
        ),
        Mistake(
            "In the definition the half is missing: far right of zero it should be x.",
            lambda x, approximate="tanh": gelu(x, approximate) * (1 + (approximate == "none")),
        ),
        Mistake(
            "This is x times a sigmoid of 1.702 x, another close formula.",
            lambda x: x * torch.sigmoid(1.702 * x),
        ),
        Mistake("This is x times its sigmoid, called SiLU.", torch.nn.functional.silu),
        Mistake("The cubic part is missing.", lambda x: _bend(x, cubic=0.0)),
        Mistake("The root of 2/π is missing.", lambda x: _bend(x, root=1.0)),
        Mistake("2/π stands there without its root.", lambda x: _bend(x, root=2 / math.pi)),
        Mistake(
            "The square of x stands where its cube belongs.",
            lambda x: 0.5 * x * (1 + torch.tanh(ROOT * (x + 0.044715 * x**2))),
        ),
        Mistake(
            "This is the factor alone: the x in front of it is missing.",
            lambda x: 0.5 * (1 + torch.tanh(ROOT * (x + 0.044715 * x**3))),
        ),
        Mistake(
            "The 1 is missing: tanh goes from -1 to 1, the factor should go from 0 to 1.",
            lambda x: 0.5 * x * torch.tanh(ROOT * (x + 0.044715 * x**3)),
        ),
        Mistake(
            "The numbers are right, and the gradient is another one: the factor is cut off from x, "
            "by detach, item or no_grad. It grows with x, and has a slope of its own.",
            lambda x: x * (0.5 * (1 + torch.tanh(ROOT * (x + 0.044715 * x**3)))).detach(),
        ),
        Mistake(CUT, lambda x: gelu(x).detach()),
    ),
    right=(
        lambda x, approximate="tanh": torch.nn.functional.gelu(x, approximate=approximate),
        lambda x, approximate="tanh": (
            x * torch.special.ndtr(x)
            if approximate == "none"
            else x * torch.sigmoid(2 * ROOT * x * (1 + 0.044715 * x.square()))
        ),
    ),
)

TASKS = (
    LAYER_NORM,
    GELU,
    *layers_norm.TASKS,
    *layers_network.TASKS,
    *layers_parts.TASKS,
    *layers_beyond.TASKS,
)
QUESTIONS = layers_paper.QUESTIONS

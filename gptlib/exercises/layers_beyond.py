"""Exercises at the end of chapter 4: silent units, and half a norm."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from gptlib.exercises.slopes import CUT, WithSlopes
from gptlib.exercises.task import Mistake, Task

Tensor = torch.Tensor


def silent_units(x: torch.Tensor) -> int:
    """How many units fire at no token: what goes into the bend (B, T, units) -> a number.

    silent_units(torch.tensor([[[1.0, -1.0, 0.0], [-1.0, -2.0, -3.0]]])) -> 2
    """
    return int((x > 0).flatten(0, 1).any(dim=0).logical_not().sum())


def inputs_of_units(seed: int) -> Iterator[tuple[Any, ...]]:
    """Two texts of two tokens and nine units, then more of all three.

    In the first no two of the mistakes count the same.
    """
    yield (
        torch.tensor([
            [[-2, -1, -3, 2, 0, -2, 2, -3, 2], [-2, -3, 0, -3, 1, -2, 1, 2, -2]],
            [[-3, -1, -2, -3, -1, -3, 0, -3, 0], [-3, -2, -1, -1, -1, 1, -1, -3, -1]],
        ]).float(),
    )  # fmt: skip
    draw = torch.Generator().manual_seed(seed)
    yield (torch.randn(3, 4, 20, generator=draw) - 1.5,)


SILENT_UNITS = Task(
    name="layers.silent_units",
    asks="Count the units whose input is above 0 at no token of any text.",
    reference=silent_units,
    inputs=inputs_of_units,
    kind="warm-up",
    hints=(
        "Take one unit: at how many places of x must you look before you may call it silent?",
        "x > 0 says where a unit fires. A silent one fires nowhere along two of the three axes.",
        "(x > 0).any(dim=1).any(dim=0) says which units fire; count the others.",
    ),
    mistakes=(
        Mistake(
            "These are the units that fire. The silent ones are asked for.",
            lambda x: int((x > 0).any(dim=0).any(dim=0).sum()),
        ),
        Mistake(
            "A unit counts here as soon as it is silent at one token. Silent at every token is "
            "asked for.",
            lambda x: int((x <= 0).any(dim=0).any(dim=0).sum()),
        ),
        Mistake(
            "An input of exactly 0 counts here as firing. What comes out of the bend is 0 then, "
            "and so is its gradient.",
            lambda x: int((x >= 0).any(dim=0).any(dim=0).logical_not().sum()),
        ),
        Mistake(
            "One text alone has been looked at: a unit that is silent there may fire in another.",
            lambda x: int((x[0] > 0).any(dim=0).logical_not().sum()),
        ),
        Mistake(
            "These are tokens at which no unit fires. Which axis holds the units?",
            lambda x: int((x > 0).any(dim=-1).logical_not().sum()),
        ),
        Mistake(
            "Each silence is counted, of every unit at every token. A unit that fires once is not "
            "dead.",
            lambda x: int((x <= 0).sum()),
        ),
        Mistake(
            "The units are right, and True and False say which they are. How many are asked for: "
            "add them up.",
            lambda x: (x <= 0).flatten(0, 1).all(dim=0),
        ),
        Mistake(
            "The places of the silent units are listed. How many they are is asked for.",
            lambda x: [i for i in range(x.size(-1)) if bool((x[..., i] <= 0).all())],
        ),
        Mistake(
            "The inputs of a unit are added up first: one large negative number hides that it "
            "fires elsewhere. Look at each number by itself.",
            lambda x: int((x.sum(dim=(0, 1)) <= 0).sum()),
        ),
        Mistake(
            "A unit is counted once for each text in which it is silent. It has to be silent in "
            "all of them, and counts once.",
            lambda x: int((x <= 0).all(dim=1).sum()),
        ),
        Mistake(
            "The texts are averaged before anything is looked at: a unit that fires in one of them "
            "is hidden by the others.",
            lambda x: int((x.mean(dim=0) <= 0).all(dim=0).sum()),
        ),
        Mistake(
            "Inputs that are exactly 0 are looked for. What goes into the bend is silent below 0, "
            "too.",
            lambda x: int((x == 0).flatten(0, 1).all(dim=0).sum()),
        ),
        Mistake(
            "This is a share of the units; their number is asked for.",
            lambda x: silent_units(x) / x.size(-1),
        ),
    ),
    right=(
        lambda x: int((x.amax(dim=(0, 1)) <= 0).sum()),
        lambda x: sum(not bool((unit > 0).any()) for unit in x.unbind(dim=-1)),
    ),
)


def rms_norm(x: torch.Tensor, weight: torch.Tensor | None = None, eps: float = 1e-5) -> Tensor:
    """Divide each row by the root of the mean of its squares, scale by weight: (…, C) stays.

    rms_norm(torch.tensor([3.0, 4.0])) -> [0.8485, 1.131]
    """
    x = x / torch.sqrt(x.pow(2).mean(dim=-1, keepdim=True) + eps)
    return x if weight is None else x * weight


def loud_and_soft(seed: int) -> Iterator[tuple[Any, ...]]:
    """Rows of several sizes with a scale, one without; in the first the numbers are small."""
    yield torch.tensor([[0.01, 0.02, 0.06], [1.0, 5.0, 3.0]]), torch.tensor([1.0, 2.0, 0.5])
    draw = torch.Generator().manual_seed(seed)
    yield torch.randn(2, 3, 4, generator=draw), torch.randn(4, generator=draw)
    yield (torch.randn(5, generator=draw),)
    yield torch.randn(2, 4, generator=draw), None, 0.5


def _rms(square: Callable[[Tensor], Tensor], **how: Any) -> Callable[..., Tensor]:
    """Half a norm by another mean square, or with another root of it."""
    root = how.get("root", lambda mean: torch.sqrt(mean + 1e-5))
    return lambda x, w: x / root(square(x)) * w


def _squares(x: Tensor) -> Tensor:
    return x.pow(2).mean(dim=-1, keepdim=True)


RMS_NORM = Task(
    name="layers.rms_norm",
    asks="Divide each row by the root of the mean of its squares. No mean is taken away.",
    reference=rms_norm,
    inputs=loud_and_soft,
    anywhere=True,
    use=WithSlopes("x", "weight"),
    kind="stretch",
    hints=(
        "What does a layer norm do to a row whose mean is 0 already?",
        "The mean of the squares along the last axis, kept; eps is added to it before the root.",
        "x / torch.sqrt(x.pow(2).mean(dim=-1, keepdim=True) + eps), then the scale, if any.",
    ),
    mistakes=(
        Mistake(
            "The mean is taken away: this is a layer norm without its shift.",
            lambda x, w: torch.nn.functional.layer_norm(x, x.shape[-1:]) * w,
        ),
        Mistake(
            "The row is divided by its standard deviation, which looks at distances from the mean. "
            "Half a norm looks at the squares as they are.",
            _rms(lambda x: x.var(dim=-1, keepdim=True, unbiased=False)),
        ),
        Mistake(
            "The row is divided by its length: the squares are added up, and not averaged. A wide "
            "row comes out smaller than a narrow one.",
            _rms(lambda x: x.pow(2).sum(dim=-1, keepdim=True)),
        ),
        Mistake(
            "This is the row divided by its length, `norm`: the root of the sum of its squares, "
            "where the root of their mean is asked for.",
            lambda x, w: x / x.norm(dim=-1, keepdim=True) * w,
        ),
        Mistake(
            "The row is divided by the mean of its squares; the root of that is its size.",
            _rms(_squares, root=lambda mean: mean + 1e-5),
        ),
        Mistake(
            "eps stands outside the root: for a row of zeros the slope of the root is infinite.",
            _rms(_squares, root=lambda mean: mean.sqrt() + 1e-5),
        ),
        Mistake(
            "eps is missing: a row of zeros would be 0 divided by 0.",
            _rms(_squares, root=torch.sqrt),
        ),
        Mistake(
            "The mean goes over the tokens of a column: each row has a size of its own.",
            _rms(lambda x: x.pow(2).mean(dim=0, keepdim=True)),
        ),
        Mistake(
            "The numbers are averaged without being squared: what is negative cancels what is "
            "positive.",
            _rms(lambda x: x.mean(dim=-1, keepdim=True).pow(2)),
        ),
        Mistake(
            "The scale is missing: each number has a weight of its own.",
            lambda x, w: rms_norm(x),
        ),
        Mistake(
            "The numbers are right, and the gradient is another one: the root is cut off from x, "
            "by detach, item or no_grad. It changes with x.",
            _rms(_squares, root=lambda mean: torch.sqrt(mean + 1e-5).detach()),
        ),
        Mistake(CUT, lambda x, w: rms_norm(x, w).detach()),
    ),
    right=(
        lambda x, w=None, eps=1e-5: torch.nn.functional.rms_norm(x, x.shape[-1:], w, eps),
        lambda x, w=None, eps=1e-5: (
            (1.0 if w is None else w) * x * (x.square().mean(-1, keepdim=True) + eps).rsqrt()
        ),
    ),
)

TASKS = (SILENT_UNITS, RMS_NORM)

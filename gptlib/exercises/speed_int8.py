"""The exercise of chapter 10 about weights of 8 bits: whole numbers, and a scale for each row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from gptlib.exercises.comparing import shown
from gptlib.exercises.task import Mistake, Task, Use, Wrong
from gptlib.int8 import quantise

Tensor = torch.Tensor


class Back(Use):
    """Look at the whole numbers, then at what comes back when they are multiplied by the scale."""

    in_order = True

    def run(self, answer: Callable[..., Any], *given: Any) -> dict[str, Any]:
        out = answer(*given)
        if not isinstance(out, tuple | list) or len(out) != 2 or not all(map(torch.is_tensor, out)):
            raise Wrong(
                "Two tensors should come back, the whole numbers and the scales. "
                f"Got {'nothing' if out is None else shown(out)}."
            )
        numbers, scale = out
        if scale.shape != given[0].shape[:1]:
            raise Wrong(
                f"There should be a scale for each row, shape {tuple(given[0].shape[:1])}; got "
                f"{tuple(scale.shape)}."
            )
        return {"The whole numbers": numbers, "Times the scales": numbers * scale[:, None]}


def weights(seed: int) -> Iterator[tuple[Any, ...]]:
    """The example; rows of unequal size, the largest negative; drawn ones; a row of zeros."""
    draw = torch.Generator().manual_seed(seed)
    yield (torch.tensor([[1.27, -0.504], [0.1, 0.0263]]),)
    yield (torch.tensor([[-3.0, 1.0, 0.2], [0.5, 0.01, -0.3]]),)
    yield (torch.randn(4, 6, generator=draw) * torch.tensor([[1.0], [9.0], [0.1], [3.0]]),)
    yield (torch.tensor([[0.0, 0.0], [0.3, -0.7]]),)


def _rounds(
    largest: Callable[[Tensor], Tensor] = lambda w: w.abs().amax(dim=1),
    top: int = 127,
    whole: Callable[[Tensor], Tensor] = lambda x: x.round().to(torch.int8),
    least: float = 1e-12,
) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The same with another largest number, another top, another way to make it whole."""

    def to_int8(weight: Tensor) -> tuple[Tensor, Tensor]:
        scale = (largest(weight).clamp(min=least) / top).expand(len(weight))
        return whole(weight / scale[:, None]), scale

    return to_int8


def _columns(weight: Tensor) -> tuple[Tensor, Tensor]:
    numbers, _ = quantise(weight.T.contiguous())
    return numbers.T, quantise(weight)[1]


QUANTISE = Task(
    name="speed.quantise",
    asks="Each row as whole numbers of 8 bits, the largest of them 127 or -127, and the scale that "
    "brings the row back.",
    reference=quantise,
    inputs=weights,
    anywhere=True,
    use=Back(),
    hints=(
        "Which number does a row have to be divided by, if its largest is to become 127?",
        "The scale is the largest absolute number of the row over 127, one for each row: (rows). "
        "What would it be for a row of zeros?",
        "scale = weight.abs().amax(dim=1).clamp_min(1e-12) / 127, and (weight / scale[:, None])"
        ".round().to(torch.int8).",
    ),
    mistakes=(
        Mistake(
            "One scale is taken for the whole matrix. A row of small numbers has few whole ones "
            "left to be told apart by: each row has its own.",
            _rounds(largest=lambda w: w.abs().amax()),
        ),
        Mistake(
            "The largest number of each column is taken. A scale belongs to a row, which makes one "
            "number of the output.",
            _columns,
        ),
        Mistake(
            "The largest becomes 128. Eight bits reach from -128 to 127: it comes out as -128, "
            "with another sign.",
            _rounds(top=128),
        ),
        Mistake(
            "What stands behind the point is cut off. Rounded to the nearest, a number is off by "
            "half a step at most.",
            _rounds(whole=lambda x: x.to(torch.int8)),
        ),
        Mistake(
            "The largest number is taken with its sign: in a row whose largest is negative others "
            "leave the range.",
            _rounds(largest=lambda w: w.amax(dim=1)),
        ),
        Mistake(
            "They are whole, and still numbers of 32 bits: .to(torch.int8) makes them small.",
            _rounds(whole=lambda x: x.round()),
        ),
        Mistake(
            "Two hundred and fifty-five steps are spread over twice the range: with 63.5 for the "
            "largest, half of the steps stay empty.",
            _rounds(whole=lambda x: (x / 2).round().to(torch.int8)),
        ),
    ),
    right=(
        _rounds(),
        lambda weight: (
            torch.round(weight / (s := weight.abs().max(dim=1).values.clamp(1e-9) / 127)[:, None])
            .char(),
            s,
        ),
    ),
)  # fmt: skip

TASKS = (QUANTISE,)

"""What is done with a function that stands inside a model: its gradients are looked at, too.

Given, not built. Right numbers are not enough there: where a part is cut off from what was given,
by detach, item or no_grad, the model runs and learns something else, or nothing.
"""

from __future__ import annotations

from typing import Any

import torch

from gptlib.exercises.task import Use, Wrong
from gptlib.exercises.written import advice

CUT = (
    "The numbers are right, and no gradient comes back. Something cuts the way to what was given: "
    "detach, no_grad, item, or torch.tensor around what is a tensor already. Nothing that stands "
    "before it in a model could learn."
)


class WithSlopes(Use):
    """Call a function; then call it again, and follow the gradient back to what it was given.

    names: those of the first arguments, for messages; whichever are tensors of broken numbers are
    looked at. A gradient that does not come is one of zeros.
    """

    in_order = True

    def __init__(self, *names: str) -> None:
        self.names = names

    def run(self, answer: Any, *given: Any) -> Any:
        out = answer(*given)
        if out is None:
            return None
        looked = [torch.is_tensor(one) and one.is_floating_point() for one in given]
        leaves = [
            one.detach().clone().requires_grad_() if look else one
            for one, look in zip(given, looked, strict=True)
        ]
        # A copy of each, so that who writes into it is told that, and nothing of leaves.
        copies = [one.clone() if look else one for one, look in zip(leaves, looked, strict=True)]
        try:
            _back(answer(*copies))
        except RuntimeError as error:
            raise Wrong(
                "With numbers that want a gradient, as they do in training, it raises "
                f"{type(error).__name__}: {error}" + advice(f"{error}")
            ) from error
        return {
            "What comes out": out,
            **{
                f"The gradient for {name}": torch.zeros_like(one) if one.grad is None else one.grad
                for name, one, look in zip(self.names, leaves, looked, strict=False)
                if look
            },
        }


def _back(out: Any) -> None:
    """Follow a gradient back from all that came out, every number of it weighed otherwise."""
    parts = out if isinstance(out, tuple | list) else (out,)
    for part in parts:
        if torch.is_tensor(part) and part.requires_grad and part.device.type != "meta":
            sway = torch.linspace(-1, 2, part.numel(), dtype=part.dtype).view_as(part)
            (part * sway).sum().backward(retain_graph=True)

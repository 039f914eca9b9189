"""Muon: an update that goes equally far in every direction of a matrix.

Built in chapter 10. A gradient of a matrix is long in a few directions and short in most. Muon
keeps the directions and makes all of them about equally long, by a few matrix products; the rest
of the parameters, tables and vectors, stay with AdamW. Source: K. Jordan and others, "Muon: An
optimizer for hidden layers in neural networks", 2024.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

from gptlib.given.checks.tensors import check_count

POLYNOMIAL = (3.4445, -4.7750, 2.0315)  # Jordan's: s -> 3.4445 s - 4.7750 s³ + 2.0315 s⁵


def orthogonalise(matrix: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """The same directions, all about equally long: (R, C) -> (R, C), singular values near 1.

    Each step puts every singular value s through the polynomial. After five steps those that were
    above 0.002 of the matrix's length are between 0.68 and 1.21. Errors: ValueError for steps < 1.

    orthogonalise(torch.diag(torch.tensor([3.0, 4.0])), steps=1) -> [[1.193, 0], [0, 0.9765]]
    """
    check_count(steps=steps)
    a, b, c = POLYNOMIAL
    tall = matrix.size(0) > matrix.size(1)
    x = matrix.mT if tall else matrix
    x = x / (x.norm() + 1e-7)  # no singular value above 1
    for _ in range(steps):
        square = x @ x.mT  # (R, R), the smaller side
        x = a * x + (b * square + c * square @ square) @ x  # (R, C)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon for matrices alone; each moves by lr along its orthogonalised average, tall ones more.

    The average is Nesterov's: the newest gradient counts once more. Decay is AdamW's.
    Errors: ValueError for a parameter that is no matrix. Built in chapter 10.
    """

    def __init__(
        self,
        parameters: Iterable[Any],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        for group in self.param_groups:
            for p in group["params"]:
                if p.dim() != 2:
                    raise ValueError(
                        f"parameters must be matrices, with two axes; got shape {tuple(p.shape)}. "
                        "Leave the others to AdamW."
                    )

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every matrix that has a gradient."""
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                average = self.state[p].setdefault("average", torch.zeros_like(p))
                average.lerp_(p.grad, 1 - momentum)
                move = orthogonalise(p.grad.lerp(average, momentum))  # (R, C)
                p.mul_(1 - lr * group["weight_decay"])
                p.sub_(lr * max(1, p.size(0) / p.size(1)) ** 0.5 * move)

"""Muon (K. Jordan and others, 2024) for several matrices of one shape at a time.

A matrix's momentum, made orthogonal, is its update: every direction moves equally far. Five steps
of a polynomial do it (N. Amsel and others, "The Polar Express", 2025); three are enough here.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch

POLYNOMIALS = (
    (8.2872120, -23.5958865, 17.3003873),
    (4.1070591, -2.9478499, 0.5448431),
    (3.9486909, -2.9089021, 0.5518191),
    (3.3184197, -2.4884880, 0.5100489),
    (2.3006520, -1.6689040, 0.4188073),
)


def orthogonal(matrices: torch.Tensor, steps: int, dtype: torch.dtype) -> torch.Tensor:
    """Matrices (n, R, C) with all singular values near 1: same shape, in 32 bits.

    orthogonal(torch.tensor([[[3.0, 0], [0, 2]]]), 5, torch.float32).round() -> [[[1, 0], [0, 1]]]
    """
    wide = matrices.mT if matrices.size(-2) > matrices.size(-1) else matrices
    x = (wide / (wide.norm(dim=(-2, -1), keepdim=True) * 1.01 + 1e-7)).to(dtype)
    for a, b, c in POLYNOMIALS[:steps]:
        square = x @ x.mT
        inner = torch.baddbmm(square, square, square, beta=b, alpha=c)
        x = torch.baddbmm(x, inner, x, beta=a)
    x = x.float()
    return x.mT if wide is not matrices else x


class Muon:
    """Updates parameters (..., R, C) in groups of one shape; a stack is as many matrices."""

    def __init__(
        self, parameters: Iterable[torch.Tensor], steps: int, dtype: torch.dtype,
        momentum: float,
    ):  # fmt: skip
        self.steps, self.dtype, self.momentum = steps, dtype, momentum
        self.groups: dict[tuple[int, ...], list[torch.Tensor]] = {}
        for p in parameters:
            self.groups.setdefault(tuple(p.shape[-2:]), []).append(p)
        self.averages: dict[tuple[int, ...], torch.Tensor] = {}

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Move every parameter by lr times its direction; a tall matrix further."""
        for shape, parameters in self.groups.items():
            slopes = torch.cat([p.grad.view(-1, *shape) for p in parameters])
            average = self.averages.setdefault(shape, torch.zeros_like(slopes))
            average.lerp_(slopes, 1 - self.momentum)
            moves = orthogonal(slopes.lerp(average, self.momentum), self.steps, self.dtype)
            moves = moves.mul(lr * max(1, shape[0] / shape[1]) ** 0.5)
            counts = [p.numel() // (shape[0] * shape[1]) for p in parameters]
            for p, move in zip(parameters, moves.split(counts), strict=True):
                p.sub_(move.reshape(p.shape))

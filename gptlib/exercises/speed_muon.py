"""The exercise of chapter 10 about Muon: a matrix whose directions become equally long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from gptlib.exercises.task import Mistake, Task
from gptlib.muon import POLYNOMIAL, orthogonalise

Tensor = torch.Tensor


def matrices(seed: int) -> Iterator[tuple[Any, ...]]:
    """One step; a square matrix, a wide one and a tall one; and one of zeros."""
    draw = torch.Generator().manual_seed(seed)
    yield torch.tensor([[3.0, 1.0], [0.0, 2.0]]).double(), 1
    yield (torch.randn(3, 3, generator=draw).double(),)
    yield torch.randn(2, 4, generator=draw).double(), 3
    yield torch.randn(5, 2, generator=draw).double(), 2
    yield torch.zeros(2, 3).double(), 2


def _length(x: Tensor) -> Tensor:
    return x.norm() + 1e-7


def _rounds(
    length: Callable[[Tensor], Any] = _length,
    polynomial: tuple[float, float, float] = POLYNOMIAL,
    step: Callable[..., Tensor] | None = None,
) -> Callable[..., Tensor]:
    """The rounds with another length, polynomial or step; no matrix is put on its side."""
    a, b, c = polynomial

    def through(matrix: Tensor, steps: int = 5) -> Tensor:
        x = matrix / length(matrix)
        for _ in range(steps):
            square = x @ x.mT
            x = step(x, *polynomial) if step else a * x + (b * square + c * square @ square) @ x
        return x

    return through


def _shared(x: Tensor, a: float, b: float, c: float) -> Tensor:
    """The same polynomial, as one matrix that x is multiplied by."""
    square = x @ x.mT
    same = torch.eye(len(x), dtype=x.dtype, device=x.device)
    return (a * same + b * square + c * square @ square) @ x


def _again(x: Tensor, a: float, b: float, c: float) -> Tensor:
    """A step that divides by the length once more."""
    return _shared(x / _length(x), a, b, c)


def _exact(matrix: Tensor, steps: int = 5) -> Tensor:
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    return u @ v


ORTHOGONALISE = Task(
    name="speed.orthogonalise",
    asks="Divide the matrix by its length, then put it `steps` times through a·x + b·(x xᵀ) x + "
    "c·(x xᵀ)² x.",
    reference=orthogonalise,
    inputs=matrices,
    anywhere=True,
    hints=(
        "The length is the root of the sum of all squares, x.norm(). What would 0 / 0 be for a "
        "matrix of zeros?",
        "square = x @ x.mT is (R, R). b * square + c * square @ square is a matrix as well, and x "
        "is multiplied by it.",
        "x = matrix / (matrix.norm() + 1e-7), then in a loop x = a * x + (b * square + c * square "
        "@ square) @ x. A tall matrix may be put on its side before, and set up again behind.",
    ),
    mistakes=(
        Mistake(
            "The matrix is not divided by its length: the polynomial is made for singular values "
            "up to 1, and larger ones run away.",
            _rounds(length=lambda x: 1.0),
        ),
        Mistake(
            "It is divided by its largest singular value. To know that takes a decomposition, the "
            "very thing to be avoided; the length is never smaller and costs a sum.",
            _rounds(length=lambda x: torch.linalg.matrix_norm(x, 2) + 1e-7),
        ),
        Mistake(
            "It is divided by its largest number. A matrix of small numbers may still be long.",
            _rounds(length=lambda x: x.abs().amax() + 1e-7),
        ),
        Mistake(
            "These are powers of each number by itself. The square of a matrix here is the product "
            "x xᵀ.",
            _rounds(step=lambda x, a, b, c: a * x + b * x**3 + c * x**5),
        ),
        Mistake(
            "This is Newton and Schulz's own polynomial, 1.5 and -0.5, which Muon has exchanged "
            "for a quicker one.",
            _rounds(polynomial=(1.5, -0.5, 0.0)),
        ),
        Mistake(
            "x is divided by its length in every step. After the first it no longer has to be.",
            _rounds(step=_again),
        ),
        Mistake(
            "This is one step, for whatever `steps` says.",
            lambda matrix, steps=5: orthogonalise(matrix, 1),
        ),
        Mistake(
            "This is the exact answer, by a decomposition. Muon stops at about 1: the polynomial "
            "ends between 0.7 and 1.2, at a small part of the work.",
            _exact,
        ),
        Mistake(
            "A tall matrix was put on its side and comes back lying.",
            lambda matrix, steps=5: orthogonalise(
                matrix.mT if len(matrix) > matrix.size(1) else matrix, steps
            ),
        ),
        Mistake(
            "A matrix of zeros becomes 0 / 0. A small number beside the length prevents that.",
            _rounds(length=lambda x: x.norm()),
        ),
    ),
    right=(_rounds(), _rounds(step=_shared)),
)

TASKS = (ORTHOGONALISE,)

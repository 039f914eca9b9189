"""Small models that the exercises of chapter 7 train, and what is looked at in them."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from gptlib.exercises.task import Wrong

Tensor = torch.Tensor
Batches = tuple[tuple[Tensor, Tensor], ...]
V = 3  # tokens in the vocabulary of the models below


class Table(nn.Module):
    """A bigram with dropout. Double numbers, so that rounding does not count."""

    def __init__(self, seed: int, dropout: float = 0.0):
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.table = nn.Parameter(torch.randn(V, V, generator=draw, dtype=torch.float64))
        self.shift = nn.Parameter(torch.randn(V, generator=draw, dtype=torch.float64))
        self.dropout = nn.Dropout(dropout)
        self.kept = self.most_kept = 0  # batches whose backward pass is still to come
        self.most_rows = 0  # of one forward pass

    def forward(self, idx: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        self.most_rows = max(self.most_rows, idx.size(0))
        logits = self.dropout(self.table[idx]) + self.shift  # (B, T, V)
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        if loss.requires_grad:
            self.kept += 1
            self.most_kept = max(self.most_kept, self.kept)
            loss.register_hook(self.done)
        return logits, loss

    def done(self, _: Tensor) -> None:
        self.kept -= 1


def number(value: Any, what: str) -> tuple[float, str]:
    """A loss or a norm as a number, and in words what it came as."""
    if torch.is_tensor(value) and value.numel() == 1:
        kind = "a tensor with its graph" if value.requires_grad else "a number"
        return float(value.detach()), kind
    if isinstance(value, int | float):
        return float(value), "a number"
    raise Wrong(f"{what} should be a number; it is {value!r}.")


def gradient(p: nn.Parameter) -> Tensor:
    """A parameter's gradient, 0 where it has none."""
    return torch.zeros_like(p) if p.grad is None else p.grad.clone()


def length(model: Any) -> Tensor:
    """The length of a model's gradient, all parameters together."""
    return torch.stack([gradient(p).square().sum() for p in model.parameters()]).sum().sqrt()


def drawn(seed: int, n: int, rows: int) -> Batches:
    """n small batches (x, y) of other numbers for each seed, x and y (rows, 4)."""
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(V, (n, 2, rows, 4), generator=draw)
    return tuple((x, y) for x, y in ids)


def load_optimizers() -> None:
    """Make one. The first of a process loads much of PyTorch, and no answer is to wait for that."""
    torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)

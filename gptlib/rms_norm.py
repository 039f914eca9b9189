"""RMSNorm: LayerNorm without the mean and without the shift.

Built in chapter 9. `rms_norm` spells the formula out; the module `RMSNorm` computes the same
numbers with PyTorch's fused kernel, and a test holds the two together.

Tensor letters: C numbers a token.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from gptlib.given.checks.tensors import check_count


def rms_norm(
    x: torch.Tensor, weight: torch.Tensor | None = None, eps: float = 1e-6
) -> torch.Tensor:
    """Give the last axis a mean square of 1, then scale by weight: (…, C) -> (…, C).

    The mean is not taken out, as in `layer_norm`: only the length is put right.
    Source: B. Zhang and R. Sennrich, "Root Mean Square Layer Normalization", 2019.

    rms_norm(torch.tensor([3.0, 4.0])) -> [0.8485, 1.1314]  # the root of (9 + 16) / 2 is 3.5355
    """
    x = x / torch.sqrt(x.square().mean(dim=-1, keepdim=True) + eps)  # (…, C)
    return x if weight is None else x * weight


class RMSNorm(nn.Module):
    """`rms_norm` with a learned scale that starts at 1: (…, C) -> (…, C).

    It fits where a `LayerNorm` stands. Errors: ValueError for a size below 1.
    RMSNorm(768) has 768 parameters, a LayerNorm with its shift 1,536. Built in chapter 9.
    """

    def __init__(self, n_embd: int, eps: float = 1e-6):
        super().__init__()
        check_count(n_embd=n_embd)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(n_embd))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)

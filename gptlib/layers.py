"""Normalisation, the activation and the feed-forward network: the quiet half of a Transformer.

Built in chapter 4. `layer_norm` and `gelu` spell the formulas out; the modules `LayerNorm` and
`GELU` compute the same numbers with PyTorch's fused kernels, because a step with the spelled-out
forms takes longer (benchmarks/step_time.py). Tests hold the two together.

Tensor letters: B sequences, T tokens, C = n_embd numbers a token.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from gptlib.given.checks.tensors import check_choice, check_count, check_dropout

GELU_FORMS = ("tanh", "none")


def layer_norm(
    x: torch.Tensor,
    weight: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    eps: float = 1e-5,
) -> torch.Tensor:
    """Give the last axis mean 0 and variance 1, then scale by weight and shift by bias.

    Any shape (…, C) -> the same shape. The variance is the biased one (divided by C, not C - 1),
    and eps stands inside the root, so that a constant row gives 0 and not a division by 0.
    Source: J. L. Ba et al., "Layer Normalization", 2016. Built in chapter 4.

    layer_norm(torch.tensor([1.0, 2.0, 3.0])) -> [-1.2247, 0.0, 1.2247]
    """
    mean = x.mean(dim=-1, keepdim=True)  # (…, 1)
    var = x.var(dim=-1, keepdim=True, unbiased=False)  # (…, 1)
    x = (x - mean) / torch.sqrt(var + eps)  # (…, C)
    if weight is not None:
        x = x * weight
    return x if bias is None else x + bias


class LayerNorm(nn.Module):
    """`layer_norm` with a learned scale (starts at 1) and shift (starts at 0): (…, C) -> (…, C).

    bias=False leaves the shift out. Built in chapter 4.
    """

    def __init__(self, n_embd: int, bias: bool = True, eps: float = 1e-5):
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(n_embd))
        self.bias = nn.Parameter(torch.zeros(n_embd)) if bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


def gelu(x: torch.Tensor, approximate: str = "tanh") -> torch.Tensor:
    """x times the probability that a standard normal number lies below x; any shape.

    approximate="none" is the definition, with the error function; "tanh" is the close formula
    that GPT-2 uses (they differ by less than 0.0005 anywhere).
    Source: D. Hendrycks and K. Gimpel, "Gaussian Error Linear Units", 2016. Built in chapter 4.

    gelu(torch.tensor([-1.0, 0.0, 1.0])) -> [-0.1588, 0.0, 0.8412]
    gelu(torch.tensor([-1.0, 0.0, 1.0]), "none") -> [-0.1587, 0.0, 0.8413]
    """
    check_choice("approximate", approximate, GELU_FORMS)
    if approximate == "none":
        return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


class GELU(nn.Module):
    """`gelu` as a layer; any shape. Built in chapter 4."""

    def __init__(self, approximate: str = "tanh"):
        super().__init__()
        check_choice("approximate", approximate, GELU_FORMS)
        self.approximate = approximate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.gelu(x, approximate=self.approximate)


class FeedForward(nn.Module):
    """Each token by itself: widen, bend, narrow again; x (B, T, C) -> (B, T, C).

    Attention moves information between tokens; this is where a token works on what it has.

    gelu: "tanh" or "none", see `gelu` above.
    FeedForward(768) has 8 · 768² weights and 5 · 768 biases: 4,722,432. Built in chapter 4.
    """

    def __init__(
        self,
        n_embd: int,
        dropout: float = 0.0,
        bias: bool = True,
        expansion: int = 4,
        gelu: str = "tanh",
    ):
        super().__init__()
        check_dropout(dropout)
        check_count(n_embd=n_embd, expansion=expansion)
        self.expand = nn.Linear(n_embd, expansion * n_embd, bias=bias)
        self.gelu = GELU(gelu)
        self.project = nn.Linear(expansion * n_embd, n_embd, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.gelu(self.expand(x))  # (B, T, C) -> (B, T, 4 * C)
        return self.dropout(self.project(x))  # (B, T, 4 * C) -> (B, T, C)

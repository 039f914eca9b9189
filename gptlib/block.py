"""Shortcuts that keep a deep stack trainable, and the Transformer block they hold together.

Built in chapter 5. First the five-layer example in which the gradient fades, then the block.

Tensor letters: B sequences, T tokens, C = n_embd numbers a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from gptlib.attention import CausalSelfAttention
from gptlib.given.checks.tensors import check_choice
from gptlib.layers import GELU, FeedForward, LayerNorm

NORM_PLACES = ("pre", "post")


class ShortcutMLP(nn.Module):
    """The chapter's example: Linear + GELU layers, each with a way around it or without.

    layer_sizes of N + 1 numbers make N layers: x (…, layer_sizes[0]) -> (…, layer_sizes[-1]).
    A shortcut stands only where a layer keeps the size, for only then can the two be added.
    Source of the shortcut: K. He et al., "Deep Residual Learning for Image Recognition", 2015.

    ShortcutMLP([3, 3, 3, 3, 3, 1], shortcut=True): five layers, the first four with a shortcut.
    Built in chapter 5.
    """

    def __init__(self, layer_sizes: Sequence[int], shortcut: bool):
        super().__init__()
        if len(layer_sizes) < 2:
            raise ValueError(f"layer_sizes must hold 2 sizes or more; got {list(layer_sizes)}.")
        self.shortcut = shortcut
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(n_in, n_out), GELU()) for n_in, n_out in pairwise(layer_sizes)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            change = layer(x)
            x = x + change if self.shortcut and x.shape == change.shape else change
        return x


def mean_gradients(model: nn.Module) -> dict[str, float]:
    """Mean absolute gradient of each weight matrix, in the order of the layers.

    Errors: ValueError where no gradient is there yet: call loss.backward() first.

    The shortcut example of chapter 5, without shortcuts: {"layers.0.0.weight": 0.000202, …}
    """
    matrices = {name: p for name, p in model.named_parameters() if p.dim() == 2}
    missing = [name for name, p in matrices.items() if p.grad is None]
    if missing:
        raise ValueError(f"model has no gradient in {missing[0]}: call loss.backward() first.")
    return {name: p.grad.abs().mean().item() for name, p in matrices.items()}  # type: ignore[union-attr]


class TransformerBlock(nn.Module):
    """Attention, then the feed-forward network, each with norm and shortcut; (B, T, C) stays.

    norm="pre": x + f(norm(x)), as in GPT-2; the shortcut runs from end to end untouched.
    norm="post": norm(x + f(x)), as in the first Transformer.
    shortcut=False leaves the ways around out, to see what they do.
    Source: R. Xiong et al., "On Layer Normalization in the Transformer Architecture", 2020.

    TransformerBlock(768, 12, 1024) has 12 · 768² + 13 · 768 = 7,087,872 parameters.
    Built in chapter 5.
    """

    def __init__(
        self,
        n_embd: int,
        n_head: int,
        context_length: int,
        dropout: float = 0.0,
        bias: bool = True,
        qkv_bias: bool | None = None,
        norm: str = "pre",
        shortcut: bool = True,
        gelu: str = "tanh",
    ):
        super().__init__()
        check_choice("norm", norm, NORM_PLACES)
        self.norm, self.shortcut = norm, shortcut
        self.attention = CausalSelfAttention(
            n_embd, n_head, context_length, dropout, bias, qkv_bias
        )
        self.feed_forward = FeedForward(n_embd, dropout, bias, gelu=gelu)
        self.norm_1 = LayerNorm(n_embd, bias)
        self.norm_2 = LayerNorm(n_embd, bias)

    def join(self, x: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """The shortcut: what was there plus what the layer found; or the latter alone."""
        return x + change if self.shortcut else change

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.norm == "pre":
            x = self.join(x, self.attention(self.norm_1(x)))
            return self.join(x, self.feed_forward(self.norm_2(x)))
        x = self.norm_1(self.join(x, self.attention(x)))
        return self.norm_2(self.join(x, self.feed_forward(x)))

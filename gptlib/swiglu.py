"""SwiGLU: a feed-forward network in which one half decides how much of the other half passes.

Built in chapter 9. Three forms of the gate; the network around them is the same.

Tensor letters: B sequences, T tokens, C = n_embd numbers a token, H = hidden numbers inside.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from gptlib.given.checks.tensors import check_choice, check_count


def swiglu(gate: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The value times silu(gate), where silu(x) = x · sigmoid(x); two of (…, H) -> (…, H).

    Source: N. Shazeer, "GLU Variants Improve Transformer", 2020.

    swiglu(torch.tensor([-1.0, 0.0, 1.0]), torch.tensor(2.0)) -> [-0.5379, 0.0, 1.4621]
    """
    return F.silu(gate) * value


def geglu(gate: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The same with GELU, by GPT-2's formula, as in Gemma; two of (…, H) -> (…, H).

    geglu(torch.tensor([-1.0, 0.0, 1.0]), torch.tensor(2.0)) -> [-0.3176, 0.0, 1.6824]
    """
    return F.gelu(gate, approximate="tanh") * value


def clipped_swiglu(gate: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """The gate of GPT-OSS: a steeper sigmoid, both halves kept within 7, the value plus 1.

    A gate is cut above 7 alone; far below 0 it is closed anyway. Two of (…, H) -> (…, H).
    Source: OpenAI, "gpt-oss-120b & gpt-oss-20b Model Card", 2025, and the code beside it.

    clipped_swiglu(torch.tensor([1.0, 100.0]), torch.tensor([0.0, -1.0])) -> [0.8458, 0]
    """
    gate, value = gate.clamp(max=7.0), value.clamp(-7.0, 7.0)
    return gate * torch.sigmoid(1.702 * gate) * (value + 1)


GATES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "swiglu": swiglu,
    "geglu": geglu,
    "clipped": clipped_swiglu,
}


class SwiGLU(nn.Module):
    """Each token by itself: widen twice, let one half gate the other, narrow; (B, T, C) stays.

    It fits where a `FeedForward` stands. It has three matrices in place of two, so with
    hidden = 8/3 · n_embd it has as many weights as one with 4 · n_embd.
    gating: "swiglu", "geglu" or "clipped", see the functions above.

    Errors: ValueError for a size below 1 and for a gating that is none of these.
    SwiGLU(768, 2048) has 3 · 768 · 2048 = 4,718,592 weights. Built in chapter 9.
    """

    def __init__(self, n_embd: int, hidden: int, bias: bool = False, gating: str = "swiglu"):
        super().__init__()
        check_count(n_embd=n_embd, hidden=hidden)
        check_choice("gating", gating, GATES)
        self.gating = gating
        self.gate = nn.Linear(n_embd, hidden, bias=bias)  # how much may pass?
        self.expand = nn.Linear(n_embd, hidden, bias=bias)  # of what?
        self.project = nn.Linear(hidden, n_embd, bias=bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = GATES[self.gating](self.gate(x), self.expand(x))  # (B, T, C) -> (B, T, H)
        return self.project(x)  # (B, T, H) -> (B, T, C)

"""From the classic GPT to the modern one, one change at a time.

Built in chapter 9. `ModernGPT` is the whole; here its parts are put into the GPT of chapter 6 one
by one, so that what each of them brings can be measured with everything else left as it was.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from gptlib.given.checks.tensors import check_choice
from gptlib.gpt import GPT, GPTConfig, init_gpt2
from gptlib.grouped import GroupedAttention
from gptlib.modern import init_modern
from gptlib.rms_norm import RMSNorm
from gptlib.rope import Rope
from gptlib.soft_cap import soft_cap
from gptlib.swiglu import SwiGLU

CHANGES = ("rope", "rms_norm", "grouped", "swiglu", "no_bias", "soft_cap", "qk_norm", "init")
LOGIT_CAP = 30.0


class NoPositions(nn.Module):
    """Stands where the table of positions stood, and adds nothing: (T) -> a zero."""

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        return torch.zeros(1, device=positions.device)


class CappedHead(nn.Module):
    """A head whose logits stay between -cap and cap: (B, T, C) -> (B, T, V)."""

    def __init__(self, linear: nn.Linear, cap: float):
        super().__init__()
        self.linear, self.cap = linear, cap

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return soft_cap(self.linear(x), self.cap)


def with_changes(config: GPTConfig, changes: Collection[str]) -> GPT:
    """The GPT of chapter 6 with some of its parts exchanged, started anew; changes from `CHANGES`.

    rope: turned queries and keys in place of the table of positions. rms_norm: in place of each
    LayerNorm. grouped: half as many heads of keys and values. swiglu: of as many weights as the
    network that it replaces, up to a multiple of 8. no_bias: none anywhere. soft_cap: logits within
    30. qk_norm: RMSNorm on queries and keys. init: `init_modern` in place of `init_gpt2`.
    With all of them it computes what a `ModernGPT` of these sizes does.

    Errors: ValueError for an unknown change. Built in chapter 9.

    with_changes(GPTConfig.preset("stories"), ["rope"]).num_parameters() -> 295_488
    """
    for name in changes:
        check_choice("changes", name, CHANGES)
    c = replace(config, bias=config.bias and "no_bias" not in changes)
    model: Any = GPT(c)  # whose parts are about to be others than it was made with
    head_size = c.n_embd // c.n_head
    places = model.position_embedding.weight.detach().clone()  # (T, C), as waves where c says so
    rope = Rope(head_size, c.context_length) if "rope" in changes else None
    for block in model.blocks:
        if {"rope", "grouped", "qk_norm"} & set(changes):
            n_kv_head = c.n_head // 2 if "grouped" in changes else c.n_head
            block.attention = GroupedAttention(
                c.n_embd, c.n_head, n_kv_head, head_size, c.bias, rope, "qk_norm" in changes
            )
        if "swiglu" in changes:
            block.feed_forward = SwiGLU(c.n_embd, swiglu_hidden(c.n_embd), c.bias)
        if "rms_norm" in changes:
            block.norm_1, block.norm_2 = RMSNorm(c.n_embd), RMSNorm(c.n_embd)
    if "rms_norm" in changes:
        model.final_norm = RMSNorm(c.n_embd)
    if "rope" in changes:
        model.position_embedding = NoPositions()
    (init_modern if "init" in changes else init_gpt2)(model)
    if c.waves and "rope" not in changes:
        model.position_embedding.weight.data.copy_(places)  # they were drawn over
    if "soft_cap" in changes:
        model.head = CappedHead(model.head, LOGIT_CAP)
    return model


def swiglu_hidden(n_embd: int) -> int:
    """How wide a `SwiGLU` is that has as many weights as 4 · n_embd and two matrices.

    Three matrices of 8/3 · n_embd; rounded to a multiple of 8, as hardware likes it.

    swiglu_hidden(64) -> 168
    """
    return round(8 / 3 * n_embd / 8) * 8

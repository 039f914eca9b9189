"""Attention as today's models have it: several heads of queries share one head of keys and values.

Built in chapter 9. Beside the sharing: turned positions, normed queries and keys, a sliding window,
a soft cap on the scores, and sinks; each is there or not.

Tensor letters: B sequences, T tokens, C = n_embd, hs = head_size, S tokens that are seen;
nh = n_head heads of queries, nkv = n_kv_head heads of keys and of values.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from gptlib.cache import LayerCache
from gptlib.given.checks.numbers import is_number
from gptlib.given.checks.tensors import check_count
from gptlib.rms_norm import RMSNorm
from gptlib.rope import Rope
from gptlib.soft_cap import soft_cap
from gptlib.window import visible


def check_grouped(n_head: int, n_kv_head: int, window: int | None, **caps: float | None) -> None:
    """The heads of queries split evenly over those of keys; a window and the caps are above 0."""
    check_count(n_head=n_head, n_kv_head=n_kv_head)
    if n_head % n_kv_head:
        raise ValueError(
            f"n_head must be divisible by n_kv_head; got n_head {n_head} and n_kv_head "
            f"{n_kv_head}. Every head of keys serves n_head / n_kv_head heads of queries."
        )
    if window is not None:
        check_count(window=window)
    for name, cap in caps.items():
        if cap is not None and not (is_number(cap) and cap > 0):
            raise ValueError(f"{name} must be above 0; got {cap!r}. None leaves it out.")


class GroupedAttention(nn.Module):
    """Grouped-query attention: x (B, T, C) -> (B, T, C); `weights(x)` shows who looks where.

    It fits where a `CausalSelfAttention` stands, and with n_kv_head = n_head and nothing else set
    it is one, with the same weights under the same names.

    rope: turns queries and keys by their places; None leaves the order to others. qk_norm: RMSNorm
    on each query and key, before they are turned. window: how many tokens a token sees, itself
    among them. score_cap: see `soft_cap`. sinks: each head has a learned score that takes a share
    of the attention and hands nothing over, so a head may look nowhere. fused: PyTorch's kernel,
    which never stores the (T, T) weights and has neither cap nor sinks; with these, and with
    fused=False, it is written out.

    Sources: J. Ainslie et al., "GQA", 2023; A. Henry et al., "Query-Key Normalization for
    Transformers", 2020; G. Xiao et al., "Efficient Streaming Language Models with Attention Sinks",
    2023. Errors: ValueError for n_head not divisible by n_kv_head, and for sizes below 1.

    GroupedAttention(768, 12, 4, 64) has (12 + 2 · 4 + 12) · 64 · 768 = 1,572,864 weights, and keeps
    a third of the keys and values. Built in chapter 9.
    """

    def __init__(
        self,
        n_embd: int,
        n_head: int,
        n_kv_head: int,
        head_size: int,
        bias: bool = False,
        rope: Rope | None = None,
        qk_norm: bool = False,
        window: int | None = None,
        score_cap: float | None = None,
        sinks: bool = False,
        fused: bool = True,
    ):
        super().__init__()
        check_count(n_embd=n_embd, head_size=head_size)
        check_grouped(n_head, n_kv_head, window, score_cap=score_cap)
        self.n_head, self.n_kv_head, self.head_size = n_head, n_kv_head, head_size
        self.window, self.score_cap, self.rope = window, score_cap, rope
        self.qkv = nn.Linear(n_embd, (n_head + 2 * n_kv_head) * head_size, bias=bias)
        self.project = nn.Linear(n_head * head_size, n_embd, bias=bias)
        self.norm_q = RMSNorm(head_size) if qk_norm else nn.Identity()
        self.norm_k = RMSNorm(head_size) if qk_norm else nn.Identity()
        self.sinks = nn.Parameter(torch.zeros(n_head)) if sinks else None
        self.fused = fused and score_cap is None and not sinks

    def split_heads(self, x: torch.Tensor, start: int = 0) -> list[torch.Tensor]:
        """Queries (B, nh, T, hs), keys and values (B, nkv, T, hs), normed and turned.

        start: the place of the first token, where others were read before.
        """
        B, T, _ = x.size()
        heads = (self.n_head, self.n_kv_head, self.n_kv_head)
        parts = self.qkv(x).split([n * self.head_size for n in heads], dim=-1)
        q, k, v = (
            part.view(B, T, n, self.head_size).transpose(1, 2)  # (B, n, T, hs)
            for part, n in zip(parts, heads, strict=True)
        )
        q, k = self.norm_q(q), self.norm_k(k)
        if self.rope is not None:
            q, k = self.rope(q, start), self.rope(k, start)
        return [q, k, v]

    def shared(self, part: torch.Tensor) -> torch.Tensor:
        """Keys or values once for each head of queries: (B, nkv, S, hs) -> (B, nh, S, hs)."""
        return part.repeat_interleave(self.n_head // self.n_kv_head, dim=1)

    def shares(self, q: torch.Tensor, k: torch.Tensor, seen: torch.Tensor | None) -> torch.Tensor:
        """How much each query takes from each key, written out: (B, nh, T, S).

        Rows sum to 1, or to less with sinks. seen: True where a query may look; None: everywhere.
        """
        scores = q @ self.shared(k).transpose(-2, -1) / self.head_size**0.5  # (B, nh, T, S)
        scores = soft_cap(scores, self.score_cap)
        if seen is not None:
            scores = scores.masked_fill(~seen, float("-inf"))
        if self.sinks is None:
            return F.softmax(scores, dim=-1)
        sinks = self.sinks[:, None, None].expand(*scores.shape[:-1], 1)  # (B, nh, T, 1)
        return F.softmax(torch.cat([scores, sinks], dim=-1), dim=-1)[..., :-1]

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """How much each token takes from each, by head of queries: (B, T, C) -> (B, nh, T, T)."""
        q, k, _ = self.split_heads(x)
        return self.shares(q, k, visible(x.size(1), x.size(1), self.window, device=x.device))

    def forward(self, x: torch.Tensor, kept: LayerCache | None = None) -> torch.Tensor:
        B, T, _ = x.size()
        q, k, v = self.split_heads(x, 0 if kept is None else kept.read)
        plain = kept is None and self.window is None and self.fused
        if kept is not None:
            k, v, seen = kept.add(k, v)  # (B, nkv, S, hs)
        else:  # the kernel makes the plain causal mask by itself
            seen = None if plain else visible(T, T, self.window, device=x.device)
        if self.fused:
            gqa = self.n_kv_head < self.n_head
            out = F.scaled_dot_product_attention(
                q, k, v, attn_mask=seen, is_causal=plain, enable_gqa=gqa
            )
        else:
            out = self.shares(q, k, seen) @ self.shared(v)  # (B, nh, T, S) @ (B, nh, S, hs)
        return self.project(out.transpose(1, 2).reshape(B, T, -1))  # (B, T, nh * hs) -> (B, T, C)

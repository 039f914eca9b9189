"""The two halves of a block, forward and backward by hand, with 16-bit products.

Each half is x + f(norm(x)) for x (N, C), N = B · T tokens. The matrix products are in `dtype`, all
else in 32 bits. By hand because autograd keeps and converts every small step: here a half keeps
what its slopes need, in 16 bits, and nothing is written twice. Checked against autograd in
tests/test_speedrun.py.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

EPS = 1e-6


class Shape(NamedTuple):
    """What attention must know beside its tensors: B rows of T tokens, H heads, and the dtype."""

    rows: int
    tokens: int
    heads: int
    dtype: torch.dtype
    scale: float = 0.12  # of the scores: norms make queries and keys equally long


def root_norm(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x (..., C) with a mean square of 1 in each row, and what each row was multiplied by (..., 1).

    root_norm(torch.tensor([[3.0, 4.0]]))[0] -> [[0.8485, 1.1314]]  # over sqrt(12.5)
    """
    factor = (x.square().mean(-1, keepdim=True) + EPS).rsqrt_()
    return x * factor, factor


def root_norm_slopes(slopes: torch.Tensor, y: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """From the slopes behind `root_norm` to those before it: (..., C), in 32 bits."""
    slopes = slopes.float()
    along = (slopes * y).mean(-1, keepdim=True)  # what would only make a row longer has no effect
    return torch.addcmul(slopes, along, y.float(), value=-1).mul_(factor)


class FeedForwardHalf(torch.autograd.Function):
    """x + down(relu(up(norm(x)))²): x (N, C), up (4C, C), down (C, 4C) -> (N, C)."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, up: torch.Tensor, down: torch.Tensor, dtype: torch.dtype
    ):
        y, factor = root_norm(x)
        y, up, down = y.to(dtype), up.to(dtype), down.to(dtype)
        h = (y @ up.t()).relu_()  # (N, 4C)
        squared = h * h
        ctx.save_for_backward(y, factor, up, down, h, squared)
        return x + squared @ down.t()

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor):
        y, factor, up, down, h, squared = ctx.saved_tensors
        small = g.to(h.dtype)
        dh = (small @ (2 * down)).mul_(h)  # the slope of relu(h)² is 2 relu(h)
        dx = root_norm_slopes(dh @ up, y, factor).add_(g)
        return dx, (dh.t() @ y).float(), (small.t() @ squared).float(), None


def turn(
    out: torch.Tensor, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, back: bool = False
) -> None:
    """Write x (..., T, hs), turned by its positions' angles (T, hs/2), into out; back: undo it."""
    half = x.size(-1) // 2
    a, b = x[..., :half], x[..., half:]
    sign = -1 if back else 1
    out[..., :half] = torch.addcmul(a * cos, b, sin, value=sign)
    out[..., half:] = torch.addcmul(b * cos, a, sin, value=-sign)


class AttentionHalf(torch.autograd.Function):
    """x + project(attention(norm(x))): x (N, C), qkv (3C, C), project (C, C) -> (N, C).

    Queries and keys are normed, then turned by cos, sin (T, hs/2). mask (T, T): 0, or -inf where a
    query must not look.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, qkv: torch.Tensor, project: torch.Tensor, cos: torch.Tensor,
        sin: torch.Tensor, mask: torch.Tensor, shape: Shape,
    ):  # fmt: skip
        B, T, H, dtype, scale = shape
        N, C = x.shape
        y, factor = root_norm(x)
        y, qkv, project = y.to(dtype), qkv.to(dtype), project.to(dtype)
        made = (y @ qkv.t()).view(B, T, 3, H, C // H)
        qk, qk_factor = root_norm(made[:, :, :2].float())  # (B, T, 2, H, hs)
        turned = x.new_empty(2, B, H, T, C // H, dtype=dtype)
        turn(turned, qk.permute(2, 0, 3, 1, 4), cos, sin)
        q, k = turned.view(2, B * H, T, C // H)
        v = made[:, :, 2].transpose(1, 2).reshape(B * H, T, C // H)
        p = torch.softmax((q @ k.mT).float().mul_(scale).add_(mask), -1).to(dtype)  # (B·H, T, T)
        heads = (p @ v).view(B, H, T, C // H).transpose(1, 2).reshape(N, C)
        ctx.save_for_backward(y, factor, qkv, project, qk, qk_factor, q, k, v, p, heads, cos, sin)
        ctx.shape = shape
        return x + heads @ project.t()

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor):
        y, factor, qkv, project, qk, qk_factor, q, k, v, p, heads, cos, sin = ctx.saved_tensors
        B, T, H, dtype, scale = ctx.shape
        N, C = g.shape
        small = g.to(dtype)
        dheads = (small @ project).view(B, T, H, C // H).transpose(1, 2).reshape(B * H, T, C // H)
        dmade = g.new_empty(B, T, 3, H, C // H, dtype=dtype)
        dmade[:, :, 2] = (p.mT @ dheads).view(B, H, T, C // H).transpose(1, 2)
        dp = (dheads @ v.mT).float()
        ds = torch._softmax_backward_data(dp, p.float(), -1, torch.float32).mul_(scale).to(dtype)
        dturned = g.new_empty(2, B, H, T, C // H)
        dturned[0] = (ds @ k).view(B, H, T, C // H)
        dturned[1] = (ds.mT @ q).view(B, H, T, C // H)
        dqk = g.new_empty(B, T, 2, H, C // H)
        turn(dqk.permute(2, 0, 3, 1, 4), dturned, cos, sin, back=True)
        dmade[:, :, :2] = root_norm_slopes(dqk, qk, qk_factor)
        dmade = dmade.view(N, 3 * C)
        dx = root_norm_slopes(dmade @ qkv, y, factor).add_(g)
        return dx, (dmade.t() @ y).float(), (small.t() @ heads).float(), None, None, None, None

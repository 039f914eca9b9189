"""The exercise of chapter 3 that asks for all heads in one matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from gptlib.attention import CausalSelfAttention, attention_weights, causal_mask
from gptlib.exercises.attention_heads import Layer, MakeAttention, Tensor, texts, told
from gptlib.exercises.task import Mistake, Task, Wrong


class MakeAllHeads(MakeAttention):
    """The same, and before it queries, keys and values by head."""

    def parts(self, module: nn.Module, settings: dict[str, Any], x: Tensor) -> dict[str, Any]:
        if getattr(module, "n_head", None) != settings["n_head"]:
            raise Wrong("How many heads there are, the chapter asks of self.n_head further below.")
        three = told(module, "split_heads", settings, x)
        if not isinstance(three, tuple | list) or len(three) != 3:
            raise Wrong("split_heads should give three tensors: queries, keys and values.")
        return dict(zip(("The queries", "The keys", "The values"), three, strict=True))


def _all(**methods: Layer) -> Layer:
    """A layer of all heads in which something is otherwise."""
    return type("CausalSelfAttention", (CausalSelfAttention,), methods)


def _split(cut: Callable[[Tensor, int], Tensor], order: tuple[int, ...] = (0, 1, 2)) -> Layer:
    """Other heads: `cut` takes (B, T, C) and the number of heads."""

    def split_heads(self: Any, x: Tensor) -> list[Tensor]:
        parts = self.qkv(x).chunk(3, dim=-1)
        return [cut(parts[i], self.n_head) for i in order]

    return _all(split_heads=split_heads)


def _cut(part: Tensor, n_head: int) -> Tensor:
    B, T, C = part.size()
    return part.view(B, T, n_head, C // n_head).transpose(1, 2)


def _by_head(self: Any, x: Tensor) -> list[Tensor]:
    """Each head's query, key and value side by side."""
    return list(_cut(self.qkv(x), self.n_head).chunk(3, dim=-1))


def _mix(
    mixed: Callable[[Any, Tensor, Tensor, Tensor], Tensor] | None = None,
    join: Callable[[Tensor], Tensor] = lambda out: out.transpose(1, 2).flatten(2),
    project: bool = True,
    drop: bool = True,
) -> Layer:
    """Another forward: how queries, keys and values are mixed, and how heads are joined."""

    def forward(self: Any, x: Tensor) -> Tensor:
        q, k, v = self.split_heads(x)
        out = join((mixed or _fused)(self, q, k, v))
        out = self.project(out) if project else out
        return self.dropout(out) if drop else out

    return _all(forward=forward)


def _fused(
    self: Any,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    is_causal: bool = True,
    dropout: float | None = None,
) -> Tensor:
    if dropout is None:
        dropout = self.dropout.p if self.training else 0.0
    return F.scaled_dot_product_attention(q, k, v, mask, dropout, is_causal and mask is None)


def _lower(q: Tensor) -> Tensor:
    return torch.ones(q.size(-2), q.size(-2), dtype=torch.bool, device=q.device).tril()


class _OneMaskLeft(CausalSelfAttention):
    def __init__(self, n_embd: int, n_head: int, context_length: int, *others: Any, **named: Any):
        super().__init__(n_embd, n_head, context_length, *others, **named)
        del self.mask
        self.mask = causal_mask(context_length)


class _SavedMask(CausalSelfAttention):
    def __init__(self, n_embd: int, n_head: int, context_length: int, *others: Any, **named: Any):
        super().__init__(n_embd, n_head, context_length, *others, **named)
        self.register_buffer("mask", causal_mask(context_length))


CAUSAL_SELF_ATTENTION = Task(
    name="attention.CausalSelfAttention",
    asks="Write all heads at once: one matrix makes queries, keys and values, heads are an axis.",
    reference=CausalSelfAttention,
    inputs=texts(
        CausalSelfAttention,
        {"n_embd": 6, "n_head": 2, "context_length": 2},
        {"n_embd": 12, "n_head": 3, "context_length": 7, "bias": True},
        {"n_embd": 6, "n_head": 1, "context_length": 5, "bias": True, "qkv_bias": False},
        {"n_embd": 8, "n_head": 4, "context_length": 9, "dropout": 0.5, "qkv_bias": True},
    ),
    hints=(
        "Follow one token: 3 * C numbers leave the matrix. Which of them are the query of its "
        "second head? And which axis must stand before time, so that each head has its own table?",
        "split_heads: the last axis in three, each part as (B, T, n_head, hs), then two axes "
        "exchanged. forward: PyTorch's attention, is_causal=True, then the way back.",
        "part.view(B, T, n_head, hs).transpose(1, 2) for each part of qkv(x).split(C, dim=-1); "
        "back with out.transpose(1, 2).reshape(B, T, C); then project, then dropout.",
    ),
    mistakes=(
        Mistake(
            "The shape is right and the heads are mixed up: `view` alone fills it in the order in "
            "which the numbers lie, so a head holds numbers of other tokens.",
            _split(lambda part, n: part.reshape(part.size(0), n, part.size(1), -1)),
        ),
        Mistake(
            "A head takes every other number of a token. Its numbers are to lie side by side: the "
            "first head has the first ones.",
            _split(lambda part, n: part.unflatten(-1, (part.size(-1) // n, n)).permute(0, 3, 1, 2)),
        ),
        Mistake(
            "Keys stand where queries are asked for: of the 3 * C numbers the queries come before "
            "the keys, and the values at the end.",
            _split(_cut, (1, 0, 2)),
        ),
        Mistake(
            "Values and keys have changed places: of the 3 * C numbers the values come at the end.",
            _split(_cut, (0, 2, 1)),
        ),
        Mistake(
            "The 3 * C numbers are cut by heads, and then each piece in three. They hold the "
            "queries of all heads, then all keys, then all values.",
            _all(split_heads=_by_head),
        ),
        Mistake(
            "The table of weights shows the future: its mask is missing.",
            _all(weights=lambda self, x: attention_weights(*self.split_heads(x)[:2])),
        ),
        Mistake(
            "The weights are right, and forward does without the mask: its result holds what comes "
            "later.",
            _mix(lambda self, q, k, v: _fused(self, q, k, v, is_causal=False)),
        ),
        Mistake(
            "The mask reaches PyTorch's attention as numbers. Those are added to the scores: the "
            "past gets a bonus of 1, and nothing is hidden.",
            _mix(lambda self, q, k, v: _fused(self, q, k, v, _lower(q).to(q.dtype))),
        ),
        Mistake(
            "forward has the mask upside down: a token sees itself and what comes later.",
            _mix(lambda self, q, k, v: _fused(self, q, k, v, _lower(q).transpose(0, 1))),
        ),
        Mistake(
            "The scores are divided twice by the root of the head size: PyTorch's attention does "
            "so itself.",
            _mix(lambda self, q, k, v: _fused(self, q / q.size(-1) ** 0.5, k, v)),
        ),
        Mistake(
            "forward does not divide the scores by the root of the head size.",
            _mix(lambda self, q, k, v: _fused(self, q * q.size(-1) ** 0.5, k, v)),
        ),
        Mistake(
            "forward divides the scores by the root of C. A query of one head has C / n_head "
            "numbers.",
            _mix(lambda self, q, k, v: _fused(self, q / self.n_head**0.5, k, v)),
        ),
        Mistake(
            "The way back has the right shape and mixed numbers: heads still stand before time "
            "when the result is put into (B, T, C), so a token gets pieces of other tokens.",
            _mix(join=lambda out: out.reshape(out.size(0), out.size(2), -1)),
        ),
        Mistake(
            "The heads are joined the other way round: number 0 of each head, then number 1. Each "
            "head's numbers are to stay together.",
            _mix(join=lambda out: out.permute(0, 2, 3, 1).flatten(2)),
        ),
        Mistake(
            "The findings of the heads lie side by side, and nothing combines them: the "
            "projection is not used.",
            _mix(project=False),
        ),
        Mistake(
            "Dropout is on while the model is being used: two answers to one question differ. It "
            "belongs to training, and self.training says whether that is so.",
            _mix(lambda self, q, k, v: _fused(self, q, k, v, dropout=self.dropout.p)),
        ),
        Mistake(
            "dropout is taken and does nothing: with 0.5, training gives the same as evaluation.",
            _mix(lambda self, q, k, v: _fused(self, q, k, v, dropout=0.0), drop=False),
        ),
        Mistake(
            "No gradient comes back: the result has been cut off from the layers that made it, and "
            "they would never learn.",
            _all(forward=lambda self, x: CausalSelfAttention.forward(self, x).detach()),
        ),
        Mistake(
            "It learns, and nothing before it could: x is cut off, by detach, no_grad or .data, "
            "and no gradient goes on to it.",
            _all(forward=lambda self, x: CausalSelfAttention.forward(self, x.detach())),
        ),
        Mistake(
            "The mask is saved along with what is learned. It can be made again, and a model saved "
            "without it would not load into this one.",
            _SavedMask,
        ),
        Mistake(
            "The mask stays on the CPU when the layer moves to a GPU, and the two cannot meet "
            "there. What belongs to a module without being learned is its buffer.",
            _OneMaskLeft,
        ),
    ),
    right=(
        _mix(
            lambda self, q, k, v: attention_weights(q, k, _lower(q)) @ v,
            join=lambda out: torch.cat(out.unbind(dim=1), dim=-1),
        ),
        _split(lambda part, n: part.unflatten(-1, (n, part.size(-1) // n)).permute(0, 2, 1, 3)),
    ),
    use=MakeAllHeads(),
)

TASKS = (CAUSAL_SELF_ATTENTION,)

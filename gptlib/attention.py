"""Attention: every token looks back and takes what it needs from the tokens before it.

Built in chapter 3. One head by hand, several heads side by side, then the same several heads in
one matrix product, which is the form the GPT uses.

Tensor letters: B sequences, T tokens, C = n_embd numbers a token, hs = C / n_head numbers a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from gptlib.given.checks.tensors import (
    check_count,
    check_dropout,
    check_heads,
    check_idx,
    check_length,
)
from gptlib.loss import next_token_loss


def causal_mask(context_length: int) -> torch.Tensor:
    """(T, T) booleans, True where a query (row) may look at a key (column): itself and before.

    causal_mask(3) -> [[True, False, False], [True, True, False], [True, True, True]]
    """
    check_count(context_length=context_length)
    return torch.ones(context_length, context_length, dtype=torch.bool).tril()


def attention_weights(
    query: torch.Tensor, key: torch.Tensor, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """How much each query takes from each key: two of (…, T, hs) -> (…, T, T), rows sum to 1.

    mask (T, T) is True where a query may look; None lets every query look everywhere.
    Source: A. Vaswani et al., "Attention Is All You Need", 2017, equation 1.

    Queries of zeros under the causal mask take equally from all they see: rows [1, 0, 0, …],
    [1/2, 1/2, 0, …], [1/3, 1/3, 1/3, …]. Built in chapter 3.
    """
    # A product of hs numbers spreads like sqrt(hs); divided by that, the softmax stays soft.
    scores = query @ key.transpose(-2, -1) / key.size(-1) ** 0.5  # (…, T, hs) @ (…, hs, T)
    if mask is not None:
        # exp(-inf) is 0: what comes later gets no weight at all.
        scores = scores.masked_fill(~mask, float("-inf"))  # (…, T, T)
    return F.softmax(scores, dim=-1)


class Head(nn.Module):
    """One attention head: x (B, T, C) -> (B, T, head_size).

    The first token sees only itself, so its row of weights is [1, 0, 0, …]. Built in chapter 3.
    """

    mask: torch.Tensor

    def __init__(self, n_embd: int, head_size: int, context_length: int, dropout: float = 0.0):
        super().__init__()
        check_count(n_embd=n_embd, head_size=head_size)
        check_dropout(dropout)
        self.context_length = context_length
        self.query = nn.Linear(n_embd, head_size, bias=False)  # what am I looking for?
        self.key = nn.Linear(n_embd, head_size, bias=False)  # what do I have to offer?
        self.value = nn.Linear(n_embd, head_size, bias=False)  # what do I hand over?
        self.dropout = nn.Dropout(dropout)
        # A buffer moves to the GPU with the model and is not trained. It is not saved either:
        # it can be made again from context_length alone.
        self.register_buffer("mask", causal_mask(context_length), persistent=False)

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """How much each token takes from each: (B, T, C) -> (B, T, T)."""
        check_length(x, self.context_length)
        T = x.size(1)
        return attention_weights(self.query(x), self.key(x), self.mask[:T, :T])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = self.dropout(self.weights(x))  # (B, T, T)
        return weights @ self.value(x)  # (B, T, T) @ (B, T, hs) -> (B, T, hs)


class MultiHeadAttention(nn.Module):
    """n_head heads side by side, joined and mixed: x (B, T, C) -> (B, T, C).

    The form to read. `CausalSelfAttention` computes the same numbers in fewer, larger products.
    bias: in the mixing alone, for a `Head` has none; there that is bias=True, qkv_bias=False.

    MultiHeadAttention(32, 4, 16): four heads of 32 / 4 = 8 numbers each. Built in chapter 3.
    """

    def __init__(
        self,
        n_embd: int,
        n_head: int,
        context_length: int,
        dropout: float = 0.0,
        bias: bool = False,
    ):
        super().__init__()
        check_heads(n_embd, n_head)
        self.heads = nn.ModuleList(
            Head(n_embd, n_embd // n_head, context_length, dropout) for _ in range(n_head)
        )
        self.project = nn.Linear(n_embd, n_embd, bias=bias)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        heads = [head(x) for head in self.heads]  # n_head times (B, T, hs)
        joined = torch.cat(heads, dim=-1)  # (B, T, n_head * hs) = (B, T, C)
        return self.dropout(self.project(joined))  # (B, T, C)


class CausalSelfAttention(nn.Module):
    """All heads at once: x (B, T, C) -> (B, T, C); `weights(x)` shows who looks where.

    One matrix makes the queries, keys and values of every head; the heads become an axis.
    `forward` leaves the work to PyTorch's fused kernel, which never stores the (T, T) weights;
    `weights` computes them by hand to be looked at, and a test holds the two together.

    Errors: ValueError for n_embd not divisible by n_head, dropout outside [0, 1), T too long.
    CausalSelfAttention(768, 12, 1024) has 4 · 768² = 2,359,296 weights. Built in chapter 3.
    """

    mask: torch.Tensor

    def __init__(
        self,
        n_embd: int,
        n_head: int,
        context_length: int,
        dropout: float = 0.0,
        bias: bool = False,
        qkv_bias: bool | None = None,
    ):
        super().__init__()
        check_heads(n_embd, n_head)
        check_dropout(dropout)
        self.n_head, self.context_length = n_head, context_length
        self.qkv = nn.Linear(n_embd, 3 * n_embd, bias=bias if qkv_bias is None else qkv_bias)
        self.project = nn.Linear(n_embd, n_embd, bias=bias)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("mask", causal_mask(context_length), persistent=False)  # as in Head

    def split_heads(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Queries, keys and values of every head: (B, T, C) -> three of (B, n_head, T, hs)."""
        check_length(x, self.context_length)
        B, T, C = x.size()
        qkv = self.qkv(x).split(C, dim=-1)  # (B, T, 3 * C) -> three of (B, T, C)
        # Cut each token into heads, then put the head axis before time: heads never mix.
        shape = (B, T, self.n_head, C // self.n_head)
        return [part.view(shape).transpose(1, 2) for part in qkv]  # (B, n_head, T, hs) each

    def weights(self, x: torch.Tensor) -> torch.Tensor:
        """How much each token takes from each, by head: (B, T, C) -> (B, n_head, T, T)."""
        T = x.size(1)
        q, k, _ = self.split_heads(x)  # (B, n_head, T, hs) each
        return attention_weights(q, k, self.mask[:T, :T])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.split_heads(x)  # (B, n_head, T, hs) each
        B, T, C = x.size()
        dropout = self.dropout.p if self.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True)
        out = out.transpose(1, 2).reshape(B, T, C)  # (B, n_head, T, hs) -> (B, T, C)
        return self.dropout(self.project(out))


class AttentionModel(nn.Module):
    """The smallest language model that looks back: embedding, one attention layer, output head.

    idx (B, T) -> logits (B, T, V), and the loss if targets (B, T) are given, otherwise None.
    With positions=False it cannot tell the order of the tokens before the last one.

    AttentionModel(65, 64, 32, 4) has 2·65·32 + 64·32 + 4·32² + 65 = 10,369 parameters.
    Built in chapter 3.
    """

    def __init__(
        self, vocab_size: int, context_length: int, n_embd: int, n_head: int, positions: bool = True
    ):
        super().__init__()
        check_count(vocab_size=vocab_size)
        self.vocab_size, self.context_length = vocab_size, context_length
        self.token_embedding = nn.Embedding(vocab_size, n_embd)
        self.position_embedding = nn.Embedding(context_length, n_embd) if positions else None
        self.attention = CausalSelfAttention(n_embd, n_head, context_length)
        self.head = nn.Linear(n_embd, vocab_size)

    def embed(self, idx: torch.Tensor) -> torch.Tensor:
        """What the attention layer sees: (B, T) -> (B, T, C)."""
        check_idx(idx, self.context_length)
        x = self.token_embedding(idx)  # (B, T, C)
        if self.position_embedding is not None:
            positions = torch.arange(idx.size(1), device=idx.device)  # (T)
            x = x + self.position_embedding(positions)  # (B, T, C) + (T, C) -> (B, T, C)
        return x

    def forward(
        self, idx: torch.Tensor, targets: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        logits = self.head(self.attention(self.embed(idx)))  # (B, T, V)
        loss = None if targets is None else next_token_loss(logits, targets)
        return logits, loss

"""The GPT of the speedrun: one or two blocks, and tables of threes and fours of characters.

Beside its own embedding each character brings that of the three and of the four it ends, looked up
by a hash, so that the blocks need not learn by heart which letters follow each other. A table costs
parameters and almost no time. At the start of a window the missing characters count as number 0:
the model sees nothing but its window.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from sprint.halves import AttentionHalf, FeedForwardHalf, Shape


@dataclass(frozen=True)
class Entry:
    """One entry of the speedrun: the model's sizes, and how it is trained.

    context: tokens a window, in training and in the exam. tables: how many characters a row of a
    table stands for, and how many rows it has. The three rates are those of Muon (matrices), of
    the embeddings and of the head; each falls in a straight line to 0. newton_schulz: the steps of
    Muon's polynomial, at most 5. momentum: Muon's.
    """

    n_layer: int = 1
    n_embd: int = 64
    n_head: int = 1
    tables: tuple[tuple[int, int], ...] = ((3, 5000), (4, 6000))
    context: int = 64
    batch: int = 16
    steps: int = 150
    muon_lr: float = 0.04
    table_lr: float = 0.1
    head_lr: float = 0.01
    newton_schulz: int = 3
    momentum: float = 0.9


def hash_rows(idx: torch.Tensor, length: int, rows: int) -> torch.Tensor:
    """The row of a table for the `length` characters that end at each place: (B, T) -> (B, T).

    Different characters may meet in a row; the blocks have to tell them apart.

    hash_rows(torch.tensor([[1, 2, 3, 1, 2, 3]]), 3, 100) -> [[61, 56, 75, 93, 28, 75]]
    """
    number = idx
    for back in range(1, length):
        number = number + F.pad(idx, (back, 0))[:, : idx.size(1)] * 65**back
    return number * 2654435761 % 4294967291 % rows


class Block(nn.Module):
    """Attention, then feed-forward; the projections back into the stream begin at 0."""

    def __init__(self, n_embd: int, n_head: int):
        super().__init__()
        C, std = n_embd, 0.7 * n_embd**-0.5
        self.n_head = n_head
        self.qkv = nn.Parameter(torch.randn(3, C, C) * std)
        self.project = nn.Parameter(torch.zeros(C, C))
        self.up = nn.Parameter(torch.randn(4 * C, C) * std)
        self.down = nn.Parameter(torch.zeros(C, 4 * C))

    def forward(
        self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, mask: torch.Tensor,
        rows: int, dtype: torch.dtype,
    ) -> torch.Tensor:  # fmt: skip
        shape = Shape(rows, mask.size(0), self.n_head, dtype)
        x = AttentionHalf.apply(x, self.qkv.flatten(0, 1), self.project, cos, sin, mask, shape)
        return FeedForwardHalf.apply(x, self.up, self.down, dtype)


class Sprinter(nn.Module):
    """idx (B, T) -> logits (B, T, V), and with targets (B, T) the loss in nats per character.

    Sprinter(Entry(), 65).num_parameters() -> 761472
    """

    def __init__(self, entry: Entry, vocab_size: int, dtype: torch.dtype = torch.float32):
        super().__init__()
        self.entry, self.dtype = entry, dtype
        C, T = entry.n_embd, entry.context
        self.token_embedding = nn.Embedding(vocab_size, C)
        self.tables = nn.ModuleList(nn.Embedding(rows, C) for _, rows in entry.tables)
        for table in self.tables:
            nn.init.normal_(table.weight, std=0.02)
        self.blocks = nn.ModuleList(Block(C, entry.n_head) for _ in range(entry.n_layer))
        self.head = nn.Parameter(torch.zeros(vocab_size, C))
        half = C // entry.n_head // 2
        angles = torch.arange(T)[:, None] * 1024 ** -torch.linspace(0, 1, half)
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)
        mask = torch.full((T, T), float("-inf")).triu_(1)
        self.register_buffer("mask", mask, persistent=False)

    def num_parameters(self) -> int:
        """All numbers that are learned."""
        return sum(p.numel() for p in self.parameters())

    def forward(
        self, idx: torch.Tensor, targets: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        B, T = idx.shape
        x = self.token_embedding(idx)  # (B, T, C)
        for (length, rows), table in zip(self.entry.tables, self.tables, strict=True):
            x = x + table(hash_rows(idx, length, rows))
        x = F.rms_norm(x, x.shape[-1:], eps=1e-6).view(B * T, -1)
        cos, sin, mask = self.cos[:T], self.sin[:T], self.mask[:T, :T]
        for block in self.blocks:
            x = block(x, cos, sin, mask, B, self.dtype)  # (B · T, C)
        logits = F.rms_norm(x, x.shape[-1:], eps=1e-6) @ self.head.t()  # (B · T, V)
        loss = None if targets is None else F.cross_entropy(logits, targets.reshape(-1))
        return logits.view(B, T, -1), loss

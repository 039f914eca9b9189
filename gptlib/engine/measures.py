"""Measures of a model and of what it writes: bits per byte, repetition, variety, novelty.

Given, not built.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from gptlib.engine.prepared import Tokenizer, bytes_of_tokens
from gptlib.given.models import LanguageModel, context_length_of, evaluating

BASE = np.uint64(1_000_003)  # of the hash of n tokens; sums run modulo 2**64
PIECE = 2**22  # tokens looked at at a time


@torch.no_grad()
def losses(
    model: LanguageModel,
    ids: np.ndarray,
    tokenizer: Tokenizer,
    batch_size: int = 16,
    most: int | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Loss of a text (N,) cut into windows side by side: every token but the first is asked once.

    `loss` in nats per token; `bits_per_byte` in bits per byte of UTF-8, which compares across
    tokenizers; `tokens` and `bytes` that were asked. most: no more windows than that.
    Errors: ValueError for a text shorter than two tokens.
    """  # fmt: skip
    T, device = context_length_of(model) or 256, next(model.parameters()).device
    sizes, nats, tokens, n_bytes = bytes_of_tokens(tokenizer), 0.0, 0, 0
    if len(ids) < 2:
        raise ValueError(f"a text must have two tokens or more to be asked; got {len(ids)}.")
    starts = list(range(0, len(ids) - 1, T))[:most]
    whole = [s for s in starts if s + T < len(ids)]
    batches = [whole[i : i + batch_size] for i in range(0, len(whole), batch_size)]
    batches += [[s] for s in starts if s + T >= len(ids)]
    with evaluating(model):
        for batch in tqdm(batches, desc="reading", unit="batch", disable=not progress):
            rows = np.stack([ids[s : s + T + 1] for s in batch]).astype(np.int64)  # (B, T + 1)
            x = torch.from_numpy(rows).to(device)
            logits = model(x[:, :-1])[0].float()  # (B, T, V)
            nats += F.cross_entropy(
                logits.flatten(0, 1), x[:, 1:].flatten(), reduction="sum"
            ).item()
            tokens += rows[:, 1:].size
            n_bytes += int(sizes[rows[:, 1:]].sum())
    return {
        "loss": nats / tokens, "bits_per_byte": nats / math.log(2) / n_bytes,
        "tokens": tokens, "bytes": n_bytes,
    }  # fmt: skip


def grams(ids: Sequence[int], n: int) -> list[tuple[int, ...]]:
    """All runs of n neighbours.

    grams([1, 2, 3], 2) -> [(1, 2), (2, 3)]
    """
    return list(zip(*(ids[i:] for i in range(n)), strict=False))


def repetition(texts: Sequence[Sequence[int]], n: int = 4) -> float:
    """Within a text, the share of runs of n tokens that it has said before; the mean over texts.

    repetition([[1, 2, 1, 2, 1, 2]], n=2) -> 0.6
    """
    shares = [1 - len(set(found)) / len(found) for ids in texts if (found := grams(ids, n))]
    return sum(shares) / max(1, len(shares))


def distinct(texts: Sequence[Sequence[int]], n: int) -> float:
    """Different runs of n tokens as a share of all, over all texts together.

    distinct([[1, 2], [1, 2]], n=1) -> 0.5
    """
    found = [gram for ids in texts for gram in grams(ids, n)]
    return len(set(found)) / max(1, len(found))


def _hashes(ids: np.ndarray, n: int) -> np.ndarray:
    """One number for each run of n tokens of a row (N,): one fewer than n are left out."""
    row = ids.astype(np.uint64) + np.uint64(1)
    total = np.zeros(len(row) - n + 1, np.uint64)
    for i in range(n):
        total = total * BASE + row[i : i + len(total)]
    return total


def novelty(
    texts: Sequence[Sequence[int]], train: np.ndarray, n: int = 8, progress: bool = False
) -> float | None:
    """The share of the texts' different runs of n tokens that the training text (N,) does not hold.

    It is read piece by piece, however long it is. None where no text has n tokens.

    novelty([[1, 2, 9]], np.array([0, 1, 2, 3]), n=2) -> 0.5
    """
    rows = [_hashes(np.array(ids), n) for ids in texts if len(ids) >= n]
    if not rows:
        return None
    wanted = np.unique(np.concatenate(rows))
    seen = np.zeros(len(wanted), bool)
    starts = range(0, max(0, len(train) - n + 1), PIECE)
    for start in tqdm(starts, desc="comparing", unit="piece", disable=not progress):
        part = train[start : start + PIECE + n - 1]
        seen |= np.isin(wanted, _hashes(np.asarray(part), n))
    return float(1 - seen.mean())

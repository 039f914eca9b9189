"""The smallest language model: what comes next depends on the last token only.

Built in chapter 2. First as a table of counts, then as the same table found by gradient descent.
What every later model is measured by, the loss and its estimate, stands in `loss.py`.

Tensor letters: B sequences in a batch, T tokens in a sequence, V tokens in the vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from gptlib.batches import as_row, get_batch
from gptlib.given.checks.tensors import check_count, check_idx, check_range
from gptlib.given.models import LanguageModel, vocab_size_of
from gptlib.loss import estimate_loss, next_token_loss


def count_bigrams(ids: Sequence[int] | torch.Tensor, vocab_size: int) -> torch.Tensor:
    """Count how often each token follows each other one.

    Returns (V, V) int64: row = the token, column = the token after it.

    count_bigrams([0, 1, 0, 1, 1], vocab_size=2) -> [[0, 2], [1, 1]]
    """
    ids = as_row(ids, "ids").long()  # (N)
    if len(ids) < 2:
        raise ValueError(f"ids must hold at least 2 tokens, one pair; got {len(ids)}.")
    check_range("ids", ids, vocab_size)
    # A pair (i, j) gets the one number i * V + j, so that counting pairs is counting numbers.
    pairs = ids[:-1] * vocab_size + ids[1:]  # (N - 1)
    counts = torch.bincount(pairs, minlength=vocab_size * vocab_size)  # (V * V)
    return counts.view(vocab_size, vocab_size)  # (V, V)


def bigram_probs(counts: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Turn counts into probabilities: each row (V) sums to 1.

    `smoothing` is added to every count first, so that an unseen pair is rare and not impossible.
    A row without a single count tells nothing about what follows; it becomes uniform.

    bigram_probs(torch.tensor([[0, 2], [1, 1]])) -> [[0.0, 1.0], [0.5, 0.5]]
    """
    if not 0 <= smoothing < math.inf:
        raise ValueError(f"smoothing must be 0 or more, and finite; got {smoothing}.")
    weights = counts.double() + smoothing  # (V, V)
    totals = weights.sum(dim=1, keepdim=True)  # (V, 1)
    uniform = torch.full_like(weights, 1 / weights.size(1))
    return torch.where(totals > 0, weights / totals.clamp(min=1e-300), uniform).float()


def conditional_entropy(counts: torch.Tensor) -> float:
    """The bigram floor: the lowest mean loss, in nats per token, any bigram model has on this text.

    It is the mean of -ln p(next | token) over all pairs of the text, with p taken from the same
    text's counts (C. E. Shannon, "A Mathematical Theory of Communication", 1948).

    There is nothing to guess after token 0, ln 2 after token 1, and half of the four pairs begin
    with token 1: (2 * 0 + 2 * 0.6931) / 4.

    conditional_entropy(torch.tensor([[0, 2], [1, 1]])) -> 0.3466
    """
    counts = counts.double()  # (V, V)
    if counts.sum() == 0:
        raise ValueError("counts must hold at least one pair; all of them are 0.")
    probs = counts / counts.sum(dim=1, keepdim=True).clamp(min=1)  # (V, V)
    # xlogy is 0 where the count is 0, as it should be: what never happens costs nothing.
    return float(-torch.xlogy(counts, probs).sum() / counts.sum())


class BigramModel(nn.Module):
    """The bigram table as a neural network: row i holds the logits of what follows token i.

    idx (B, T) -> logits (B, T, V), and the loss if targets (B, T) are given, otherwise None.

    BigramModel(65) at the start: every loss is ln 65 = 4.1744. Built in chapter 2.
    """

    def __init__(self, vocab_size: int):
        super().__init__()
        check_count(vocab_size=vocab_size)
        self.vocab_size = vocab_size
        self.table = nn.Embedding(vocab_size, vocab_size)
        # All logits 0: before the first step every token is equally likely.
        nn.init.zeros_(self.table.weight)

    def forward(
        self, idx: torch.Tensor, targets: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        check_idx(idx)
        logits = self.table(idx)  # (B, T, V)
        loss = None if targets is None else next_token_loss(logits, targets)
        return logits, loss


def measure(
    model: LanguageModel, train: torch.Tensor, val: torch.Tensor, seed: int, **options: Any
) -> tuple[float, float]:
    """Mean loss on both parts of the text, in nats per token, on the same windows every time.

    The options are `estimate_loss`'s. Two results differ by the model and not by luck.

    BigramModel(65) at the start: both are ln 65 = 4.1744. Built in chapter 2.
    """

    def on(data: torch.Tensor) -> float:
        same = torch.Generator().manual_seed(seed)
        return estimate_loss(model, data, generator=same, **options)

    return on(train), on(val)


def fit(
    model: LanguageModel,
    train: torch.Tensor,
    val: torch.Tensor,
    *,
    steps: int,
    batch_size: int,
    context_length: int,
    lr: float,
    eval_every: int,
    seed: int = 0,
    eval_batches: int = 20,
) -> list[tuple[int, float, float]]:
    """The smallest training loop; returns (step, train loss, validation loss) at each evaluation.

    Evaluates before the first step, every eval_every steps and after the last one. The same seed
    draws the same batches. Chapter 7 builds the loop with everything a real run needs.

    With steps=100, eval_every=50 there are rows for the steps 0, 50 and 100. Built in chapter 2.
    """
    check_count(steps=steps, eval_every=eval_every)
    sizes: dict[str, Any] = {"batch_size": batch_size, "context_length": context_length}
    same: dict[str, Any] = {"n_batches": eval_batches, "seed": seed + 1, **sizes}
    device, vocab_size = next(model.parameters()).device, vocab_size_of(model)
    options: dict[str, Any] = {"device": device, "vocab_size": vocab_size, **sizes}
    generator = torch.Generator().manual_seed(seed)
    # No weight decay: it would pull the table away from the counts it should find.
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    history = [(0, *measure(model, train, val, **same))]
    model.train()
    for step in range(1, steps + 1):
        x, y = get_batch(train, generator=generator, **options)
        _, loss = model(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % eval_every == 0 or step == steps:
            history.append((step, *measure(model, train, val, **same)))
    return history

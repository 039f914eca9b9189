"""What every model of the course is measured by: the loss of the next token, and its estimate.

Built in chapter 2. Losses are in nats per token.

Tensor letters: B sequences in a batch, T tokens in a sequence, V tokens in the vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from gptlib.batches import get_batch
from gptlib.given.checks.tensors import check_count, check_targets
from gptlib.given.models import LanguageModel, evaluating, vocab_size_of

IGNORED_TARGET = -1  # a target of -1 says: do not score this position


def next_token_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy in nats per token; positions whose target is -1 do not count.

    logits (B, T, V), targets (B, T) -> a scalar; or (N, V) and (N). Where every target is -1 there
    is nothing to average and the result is nan. Errors: ValueError for shapes that do not agree.

    Equal logits spread the probability evenly: over 4 tokens the loss is ln 4 = 1.3863.
    """
    check_targets(targets, logits)
    # cross_entropy wants one row per prediction, so batch and time become one axis.
    logits = logits.reshape(-1, logits.size(-1))  # (B*T, V)
    targets = targets.reshape(-1)  # (B*T)
    return F.cross_entropy(logits, targets, ignore_index=IGNORED_TARGET)


@torch.no_grad()
def estimate_loss(
    model: LanguageModel,
    data: torch.Tensor,
    *,
    batch_size: int,
    context_length: int,
    n_batches: int,
    generator: torch.Generator | None = None,
    starts: torch.Tensor | None = None,
) -> float:
    """Mean loss in nats per token over n_batches random batches, the model in evaluation mode.

    One batch says little: its loss jumps with the text it happened to draw. The model is left in
    the mode it was in. A generator with a fixed seed draws the same windows every time, so that
    two estimates differ by the model and not by luck. Errors: ValueError for what `get_batch`
    refuses, and for an id outside the model's vocabulary. Built in chapter 2.
    """
    check_count(n_batches=n_batches)
    device, vocab_size = next(model.parameters()).device, vocab_size_of(model)
    options: dict[str, Any] = {"starts": starts, "generator": generator, "vocab_size": vocab_size}
    losses = []
    with evaluating(model):
        for _ in range(n_batches):
            x, y = get_batch(data, batch_size, context_length, device=device, **options)
            losses.append(model(x, y)[1].item())
    return sum(losses) / n_batches

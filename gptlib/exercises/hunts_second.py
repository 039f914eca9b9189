"""Bug hunts: the second bug of each, which a class is dealt with seed 1.

Given, not built. The code comes first, under the names that the exercises give it, then what is
said of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from gptlib.exercises.hunt import Hunt
from gptlib.exercises.training_models import Batches
from gptlib.layers import layer_norm

Tensor = torch.Tensor

# The code that is handed out, chapter by chapter --------------------------------------------------


def text_of(ids: Sequence[int], vocab: Sequence[bytes]) -> str:
    """The text of ids; vocab holds the bytes of each id."""
    data = b"".join(vocab[i] for i in ids)
    return data.decode("latin-1")


def merge_word(ids: Sequence[int], merges: Mapping[tuple[int, int], int]) -> list[int]:
    """Merge inside one word, the merge learned earliest before the others."""
    ids = list(ids)
    while True:
        pairs = [(ids[i], ids[i + 1]) for i in range(len(ids) - 1)]
        fitting = [i for i, pair in enumerate(pairs) if pair in merges]
        if not fitting:
            return ids
        i = fitting[-1]
        ids[i : i + 2] = [merges[pairs[i]]]


def losses_of(model: nn.Module, x: Tensor, y: Tensor, steps: int) -> list[float]:
    """The loss before each of some steps downhill, on one batch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    losses = []
    for _ in range(steps):
        _, loss = model(x, y)
        loss.backward()
        optimizer.zero_grad()
        optimizer.step()
        losses.append(loss.item())
    return losses


def late_mask(query: Tensor, key: Tensor, mask: Tensor) -> Tensor:
    """The weights of one head: query and key (T, hs), mask (T, T) -> (T, T)."""
    scores = query @ key.transpose(-2, -1) / key.size(-1) ** 0.5
    scores = scores.masked_fill(~mask, 0.0)  # the future is hidden
    return torch.softmax(scores, dim=-1)


def join_heads(heads: Tensor) -> Tensor:
    """Each token's findings, head by head: (B, n_head, T, hs) -> (B, T, n_head * hs)."""
    B, n_head, T, hs = heads.size()
    return heads.permute(0, 2, 3, 1).reshape(B, T, n_head * hs)


def layer_norm_short(x: Tensor) -> Tensor:
    """Give each row mean 0 and variance 1: (T, C) -> (T, C)."""
    mean = x.mean(dim=0)
    var = x.var(dim=0, unbiased=False)
    return (x - mean) / torch.sqrt(var + 1e-5)


def states(x: Tensor, weights: Tensor) -> Tensor:
    """x before the first layer and after each: (n_layer + 1, *x.shape)."""
    found = [x]
    for weight in weights:
        found.append(found[-1] + torch.tanh(x @ weight))
    return torch.stack(found)


def branch(x: Tensor, weight: Tensor) -> Tensor:
    """A layer with its norm and its shortcut: x (…, C) -> (…, C)."""
    x = x + torch.tanh(x @ weight)
    return layer_norm(x)


def mean_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean loss in nats: logits (B, T, V), targets (B, T); -1 is not scored."""
    B, T, V = logits.shape
    rows, wanted = logits.reshape(B * T, V), targets.reshape(B * T)
    return F.cross_entropy(rows, wanted, ignore_index=-1, reduction="sum") / (B * T)


def large_step(model: Any, optimizer: Any, batches: Batches) -> None:
    """One update for a large batch that comes in small ones, its gradient clipped to 1."""
    for x, y in batches:
        optimizer.zero_grad()
        (model(x, y)[1] / len(batches)).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def write_on(model: Any, idx: Tensor, n: int) -> Tensor:
    """Append n tokens to each row of idx (B, T), the most likely one each time."""
    longest = model.config.context_length
    for _ in range(n):
        idx = idx[:, -longest:]
        logits, _ = model(idx)
        new = logits[:, -1].argmax(dim=-1, keepdim=True)
        idx = torch.cat([idx, new], dim=1)
    return idx


def loss_back(logits: Any, targets: Any) -> Any:
    """The gradient of the mean loss: logits (N, V), targets (N); -1 is not scored."""
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    p[np.arange(len(targets)), targets] -= 1
    return p * (targets >= 0)[:, None] / len(targets)


# What is said of it -------------------------------------------------------------------------------

SECOND = {
    "tokenizer.text_of": Hunt(
        text_of,
        "On English it is right. The two bytes of é come out as Ã and ©, a sign for each.",
        (
            "How many bytes has é in UTF-8, and how many signs come out for them here?",
            "latin-1 has a sign for each single byte. In which encoding may a character take "
            "several?",
            'Decode the joined bytes as UTF-8, with errors="replace" for what breaks off.',
        ),
    ),
    "tokenizer.merge_word": Hunt(
        merge_word,
        "Ids come out that decode to the right text. Where two merges want the same byte, the "
        "wrong one may get it.",
        (
            "Take the word abc and the merges ab and bc, learned in this order. Which of them does "
            "the code make, and which was learned earlier?",
            "Of all pairs that fit, the code takes the one that stands furthest right. Which one "
            "does a tokenizer take?",
            "The place whose merges[pair] is smallest: a smaller id was learned earlier.",
        ),
    ),
    "bigram.losses_of": Hunt(
        losses_of,
        "Nothing crashes, and each loss is the same as the one before: the model learns nothing.",
        (
            "Print model.table.weight.grad where the step is taken. What does it hold?",
            "backward fills the gradients, and the next line empties them. What is left to step "
            "along?",
            "optimizer.zero_grad() belongs before loss.backward(), or after optimizer.step().",
        ),
    ),
    "attention.late_mask": Hunt(
        late_mask,
        "Each row sums to 1, and the first token still takes only a part of itself: what comes "
        "later gets the rest.",
        (
            "Print the weights of the first token. How much goes to what is hidden?",
            "A hidden score is 0 here. What is the exponential of 0, and is that nothing?",
            "Hide with the score whose exponential is 0.",
        ),
    ),
    "attention.join_heads": Hunt(
        join_heads,
        "The shape is right, and each token has its own numbers, in an order that mixes the heads: "
        "number 0 of each head, then number 1. They should stand head by head.",
        (
            "Write down the axes as permute leaves them. Which of them changes fastest?",
            "The last axis changes fastest: it should be the numbers of one head.",
            "(B, T, n_head, hs) is the order to reshape: exchange axes 1 and 2, nothing else.",
        ),
    ),
    "layers.layer_norm_short": Hunt(
        layer_norm_short,
        "It runs for every shape. Print the mean of each row of what comes out, and of each "
        "column: which of them is 0, and which should be?",
        (
            "Over which axis does mean(dim=0) go: along a token's numbers, or from token to token?",
            "Each token is to be rescaled by its own figures. Which axis are its numbers?",
            "dim=-1 in both lines, and keepdim=True, so that (T, 1) stands beside its row.",
        ),
    ),
    "block.states": Hunt(
        states,
        "The first two states are right, whatever the weights are. From the third on they are not.",
        (
            "Write down what the second layer reads. What should it read?",
            "All layers read the same x. What did the layer before leave?",
            "Let x become the new state in each turn: x = x + torch.tanh(x @ weight).",
        ),
    ),
    "block.branch": Hunt(
        branch,
        "A layer with a norm and a shortcut. In a row of twelve, what stood in the stream is "
        "rescaled each time. With a weight of zeros, what goes in should come out.",
        (
            "Give it a weight of zeros. It has nothing to say, and what comes out is new: why?",
            "The norm works on the stream here. On which of the two roads does it belong?",
            "The norm belongs to the branch alone: x + torch.tanh(layer_norm(x) @ weight).",
        ),
    ),
    "gpt.mean_loss": Hunt(
        mean_loss,
        "A text is filled up with places that are not scored, and its loss gets smaller. It "
        "should stay what it was.",
        (
            "Take one scored place and three of -1. By how much is the sum divided?",
            "A mean divides by what was summed. How many places were scored?",
            'Without reduction="sum", cross_entropy divides by the places that it scores.',
        ),
    ),
    "training.large_step": Hunt(
        large_step,
        "Several batches are to count as one large batch, whose gradient is clipped once. Which "
        "of them have a say in the step here?",
        (
            "What is in .grad after the first batch, and what is left of it after the second?",
            "The gradients are thrown away in every turn. When are they of no more use?",
            "optimizer.zero_grad() belongs before the loop: the sum of all batches is wanted.",
        ),
    ),
    "generation.write_on": Hunt(
        write_on,
        "The loop writes on for as long as one likes, and what comes back has lost its beginning. "
        "What may be cut to the context, and what not?",
        (
            "Let it write one token at the end of a long text. How long is what comes back?",
            "The model is to see the last tokens alone. Who else reads idx?",
            "Cut for the model and keep the text: model(idx[:, -longest:]).",
        ),
    ),
    "by_hand.loss_back": Hunt(
        loss_back,
        "Without -1 among the targets it is right. A text is filled up with places that are not "
        "scored, and the gradient of all others gets smaller. It should stay what it was.",
        (
            "Take one scored place and three of -1. By how much is the row of the one divided?",
            "The loss is a mean. Over which places does it run?",
            "Divide by (targets >= 0).sum(), the number of places that are scored.",
        ),
    ),
}

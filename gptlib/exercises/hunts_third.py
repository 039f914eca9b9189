"""Bug hunts: the third bug of each, which a class is dealt with seed 2.

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
from gptlib.rope import rotate

Tensor = torch.Tensor

# The code that is handed out, chapter by chapter --------------------------------------------------


def text_of(ids: Sequence[int], vocab: Sequence[bytes]) -> str:
    """The text of ids; vocab holds the bytes of each id."""
    data = b" ".join(vocab[i] for i in ids)
    return data.decode("utf-8", errors="replace")


def merge_word(ids: Sequence[int], merges: Mapping[tuple[int, int], int]) -> list[int]:
    """Merge inside one word, the merge learned earliest before the others."""
    ids = list(ids)
    while True:
        pairs = [(ids[i], ids[i + 1]) for i in range(len(ids) - 1)]
        fitting = [pair for pair in pairs if pair in merges]
        if not fitting:
            return ids
        best = max(fitting, key=fitting.count)
        i = 0
        while i + 1 < len(ids):
            if (ids[i], ids[i + 1]) == best:
                ids[i : i + 2] = [merges[best]]
            i += 1


def losses_of(model: nn.Module, x: Tensor, y: Tensor, steps: int) -> list[float]:
    """The loss before each of some steps downhill, on one batch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    losses = []
    for _ in range(steps):
        _, loss = model(x, y)
        optimizer.step()
        optimizer.zero_grad()
        loss.backward()
        losses.append(loss.item())
    return losses


def late_mask(query: Tensor, key: Tensor, mask: Tensor) -> Tensor:
    """The weights of one head: query and key (T, hs), mask (T, T) -> (T, T)."""
    scores = query @ key.transpose(-2, -1) / key.size(-1) ** 0.5
    scores = scores.masked_fill(~mask, float("-inf"))  # the future is hidden
    return torch.softmax(scores, dim=-2)


def join_heads(heads: Tensor) -> Tensor:
    """Each token's findings, head by head: (B, n_head, T, hs) -> (B, T, n_head * hs)."""
    B, n_head, T, hs = heads.size()
    return heads.reshape(B, n_head * hs, T).transpose(1, 2)


def layer_norm_short(x: Tensor) -> Tensor:
    """Give each row mean 0 and variance 1: (T, C) -> (T, C)."""
    mean = x.mean(dim=-1, keepdim=True)
    var = x.var(dim=-1, keepdim=True)
    return (x - mean) / torch.sqrt(var + 1e-5)


def states(x: Tensor, weights: Tensor) -> Tensor:
    """x before the first layer and after each: (n_layer + 1, *x.shape)."""
    found = [x]
    for weight in weights:
        found.append(x)
        x = x + torch.tanh(x @ weight)
    return torch.stack(found)


def branch(x: Tensor, weight: Tensor) -> Tensor:
    """A layer with its norm and its shortcut: x (…, C) -> (…, C)."""
    return x + layer_norm(torch.tanh(x @ weight))


def mean_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean loss in nats: logits (B, T, V), targets (B, T); -1 is not scored."""
    means = []
    for rows, wanted in zip(logits, targets, strict=True):  # (T, V) and (T), text by text
        means.append(F.cross_entropy(rows, wanted, ignore_index=-1))
    return torch.stack(means).mean()


def large_step(model: Any, optimizer: Any, batches: Batches) -> None:
    """One update for a large batch that comes in small ones, its gradient clipped to 1."""
    optimizer.zero_grad()
    for x, y in batches:
        model(x, y)[1].backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()


def write_on(model: Any, idx: Tensor, n: int) -> Tensor:
    """Append n tokens to each row of idx (B, T), the most likely one each time."""
    for _ in range(n):
        logits, _ = model(idx[:, -1:])
        new = logits[:, -1].argmax(dim=-1, keepdim=True)
        idx = torch.cat([idx, new], dim=1)
    return idx


def turned(x: Tensor, cos: Tensor, sin: Tensor, read: int) -> Tensor:
    """Turn T new tokens by their places, behind `read` others: (B, n, T, hs)."""
    T = x.size(2)
    return rotate(x, cos[read : read + T], sin[:T])


def late_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """T new tokens look back on S: q (B, nh, T, hs), k and v (B, nh, S, hs)."""
    T, S = q.size(2), k.size(2)
    seen = torch.ones(T, S, dtype=torch.bool, device=q.device).tril(S - T + 1)
    scores = q @ k.transpose(-2, -1) / q.size(-1) ** 0.5  # (B, nh, T, S)
    return scores.masked_fill(~seen, float("-inf")).softmax(dim=-1) @ v


def loss_back(logits: Any, targets: Any) -> Any:
    """The gradient of the mean loss: logits (N, V), targets (N); -1 is not scored."""
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    scored = targets >= 0
    y = np.eye(logits.shape[-1])[targets]  # (N, V), a 1 at each target
    return (y - p) * scored[:, None] / scored.sum()


# What is said of it -------------------------------------------------------------------------------

THIRD = {
    "tokenizer.text_of": Hunt(
        text_of,
        "A text of one token is right. Where there are several, more comes out than was written.",
        (
            "Take the two tokens of a word that was split. What stands between them in what comes "
            "out, and what stood there in the text?",
            "A space of the text is in one of the tokens already. How much is to be put between "
            "two tokens?",
            'b"".join(...) puts nothing between them.',
        ),
    ),
    "tokenizer.merge_word": Hunt(
        merge_word,
        "Ids come out that decode to the right text. A word that repeats a pair, as banana does, "
        "may get others than the tokenizer gives it.",
        (
            "Take the word abcbc and the merges ab and bc, learned in this order. Which of them "
            "does the code make first, and which was learned earlier?",
            "fitting.count asks how often a pair stands in this word. How often it stood in the "
            "training text has been decided long ago: where is that written?",
            "A smaller new id was learned earlier: min(fitting, key=lambda pair: merges[pair]).",
        ),
    ),
    "bigram.losses_of": Hunt(
        losses_of,
        "Nothing crashes. The first two losses are the same, and later ones fall along another "
        "line than they should.",
        (
            "What does .grad hold when the first step is taken?",
            "A step is taken along what lies in .grad. From which loss does it come here, from "
            "this turn's or from the one before?",
            "The order is optimizer.zero_grad(), loss.backward(), optimizer.step().",
        ),
    ),
    "attention.late_mask": Hunt(
        late_mask,
        "The future has no weight, and every column sums to 1. What is it that should sum to 1?",
        (
            "Print the weights of three tokens. How much in all does the first token hand out, "
            "and how much does the last one?",
            "A token that looks is a row. Along which axis of a row do the tokens lie that it "
            "looks at?",
            "The softmax runs over the keys, which are the last axis: dim=-1.",
        ),
    ),
    "attention.join_heads": Hunt(
        join_heads,
        "The shape is right, and it was reached by exchanging two axes. A row still holds numbers "
        "of several tokens.",
        (
            "Take one text, two heads, three tokens and two numbers. Write down the six rows "
            "that reshape makes of them, before anything is exchanged.",
            "reshape cuts the numbers as they lie. Which axis stands between head and number "
            "then, and should not be cut through?",
            "Exchange first, so that a token's heads lie side by side, and reshape then: "
            "heads.transpose(1, 2).reshape(B, T, n_head * hs).",
        ),
    ),
    "layers.layer_norm_short": Hunt(
        layer_norm_short,
        "Each row has mean 0. Its variance, the mean of its squares, should be 1 and is less, the "
        "shorter the row the more.",
        (
            "Take a row of two numbers. What comes out, and what is the mean of its squares?",
            "For a row of two it is a half, for a row of three two thirds. By what is the sum of "
            "the squares divided?",
            "var divides by C - 1, as it does for a sample. unbiased=False divides by C.",
        ),
    ),
    "block.states": Hunt(
        states,
        "As many states come out as should. One of them stands there twice, and one is missing.",
        (
            "Which state is in the list after the first turn of the loop, and which should be?",
            "When is x put into the list: before its layer has added to it, or after?",
            "Exchange the two lines in the loop.",
        ),
    ),
    "block.branch": Hunt(
        branch,
        "With a weight of zeros what goes in comes out. But make the stream ten times as large: "
        "what the layer adds should stay as it was, and is something else.",
        (
            "Which numbers does the weight see: those of the stream, or those of a norm?",
            "The norm works on what the layer has said. On what should it work, so that the size "
            "of the stream does not matter?",
            "The layer reads a normalised stream: x + torch.tanh(layer_norm(x) @ weight).",
        ),
    ),
    "gpt.mean_loss": Hunt(
        mean_loss,
        "A batch of one is right, and so are texts of which all places are scored. Where one text "
        "has fewer scored places than another, the loss is off.",
        (
            "Take a text with three scored places and one with a single one. How much does each "
            "place count here, and how much should it?",
            "A mean of means is the mean of all only where all are equally long.",
            "One call for all rows: logits.reshape(B * T, V) and targets.reshape(B * T).",
        ),
    ),
    "training.large_step": Hunt(
        large_step,
        "Several batches are to count as one large batch, whose gradient is clipped once. As long "
        "as nothing is clipped, four batches make a step four times as long as one: should they?",
        (
            "Suppose that every batch has the same gradient, of length 0.1. How long is .grad "
            "after four batches, and how long is that of the large batch?",
            "backward adds up. The loss of a large batch is a mean.",
            "Divide each loss by len(batches) before its backward.",
        ),
    ),
    "generation.write_on": Hunt(
        write_on,
        "The loop writes on for as long as one likes. What it writes depends on the last token "
        "alone: after one and the same token always the same one comes.",
        (
            "Print what the model is shown in each turn. How much of the text is it?",
            "A GPT remembers nothing from one call to the next. What must be in each of them?",
            "As much of the text as the model can see: idx[:, -model.config.context_length:].",
        ),
    ),
    "modern.turned": Hunt(
        turned,
        "A text that is read at once comes out right. Behind others, the pairs of a new token have "
        "another length than before, and a turn changes no length.",
        (
            "A turn needs the cosine and the sine of one angle. Which rows of cos and of sin does "
            "a token get behind three others?",
            "The square of a cosine and that of a sine add up to 1 if both are of the same angle.",
            "The sines begin where the cosines do: sin[read : read + T].",
        ),
    ),
    "modern.late_attention": Hunt(
        late_attention,
        "One new token at a time comes out right. Where several come at once, all but the last "
        "know the one that follows them.",
        (
            "Write the mask down for T = 2 and S = 3. How many places does its first row show?",
            "The first new token stands behind S - T others, and may see them and itself.",
            "The edge is one place too far to the right: tril(S - T).",
        ),
    ),
    "by_hand.loss_back": Hunt(
        loss_back,
        "Every row sums to 0, as it should. A small step against this gradient, and the loss has "
        "risen.",
        (
            "Take one row of equal logits. Which of them should rise, and which sign has its "
            "gradient then, if a step goes against it?",
            "Training subtracts the gradient. The logit of the token that came is to rise.",
            "The gradient is p - y, and not y - p.",
        ),
    ),
}

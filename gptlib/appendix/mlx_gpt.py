"""The GPT of chapter 6 in MLX, Apple's array library: the same weights, logits and training step.

Appendix B. MLX comes with the extra, `pip install "gptlib[mlx]"`, where it has a wheel; without it
this module cannot be imported. Weights go by the names that the PyTorch model has.

Tensor letters: B sequences, T tokens, C = n_embd numbers a token, V tokens in the vocabulary, hs =
C / n_head numbers a head.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim

Choose = Callable[[mx.array], mx.array]  # logits (B, V) -> ids (B)


def gelu(x: mx.array, approximate: str = "tanh") -> mx.array:
    """The activation of chapter 4, in GPT-2's form or ("none") by definition; any shape.

    gelu(mx.array([-1.0, 1.0]), "none").tolist() -> [-0.1587, 0.8413]
    """
    if approximate == "none":
        return 0.5 * x * (1 + mx.erf(x / math.sqrt(2)))
    return 0.5 * x * (1 + mx.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


class CausalSelfAttention(nn.Module):
    """All heads at once: x (B, T, C) -> (B, T, C)."""

    def __init__(self, config: Any):
        super().__init__()
        c = config
        self.n_head = c.n_head
        qkv_bias = c.bias if c.qkv_bias is None else c.qkv_bias
        self.qkv = nn.Linear(c.n_embd, 3 * c.n_embd, bias=qkv_bias)
        self.project = nn.Linear(c.n_embd, c.n_embd, bias=c.bias)

    def __call__(self, x: mx.array) -> mx.array:
        B, T, C = x.shape
        hs = C // self.n_head
        qkv = self.qkv(x).reshape(B, T, 3, self.n_head, hs)
        q, k, v = qkv.transpose(2, 0, 3, 1, 4)  # three of (B, nh, T, hs)
        scale = 1 / math.sqrt(hs)
        out = mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask="causal")
        return self.project(out.swapaxes(1, 2).reshape(B, T, C))


class FeedForward(nn.Module):
    """Each token by itself: widen, bend, narrow again; x (B, T, C) -> (B, T, C)."""

    def __init__(self, config: Any):
        super().__init__()
        c = config
        self.gelu = c.gelu
        self.expand = nn.Linear(c.n_embd, 4 * c.n_embd, bias=c.bias)
        self.project = nn.Linear(4 * c.n_embd, c.n_embd, bias=c.bias)

    def __call__(self, x: mx.array) -> mx.array:
        return self.project(gelu(self.expand(x), self.gelu))


class TransformerBlock(nn.Module):
    """Attention and feed-forward, each behind a norm and beside a shortcut: (B, T, C) stays."""

    def __init__(self, config: Any):
        super().__init__()
        self.attention = CausalSelfAttention(config)
        self.feed_forward = FeedForward(config)
        self.norm_1 = nn.LayerNorm(config.n_embd, bias=config.bias)
        self.norm_2 = nn.LayerNorm(config.n_embd, bias=config.bias)

    def __call__(self, x: mx.array) -> mx.array:
        x = x + self.attention(self.norm_1(x))
        return x + self.feed_forward(self.norm_2(x))


class GPT(nn.Module):
    """The model of chapter 6: idx (B, T) -> logits (B, T, V).

    config: a `GPTConfig`. What starts the weights (init, waves) is not read: they come from
    PyTorch's model or from a file, by `load`.

    Errors: ValueError for a post-norm model and for dropout, which this one has not.
    """

    def __init__(self, config: Any):
        super().__init__()
        c = self.config = config
        if c.norm != "pre" or c.dropout:
            told = f"got {c.norm!r} and {c.dropout}."
            raise ValueError(f"norm must be 'pre' and dropout 0 here; {told}")
        self.token_embedding = nn.Embedding(c.vocab_size, c.n_embd)
        self.position_embedding = nn.Embedding(c.context_length, c.n_embd)
        self.blocks = [TransformerBlock(c) for _ in range(c.n_layer)]
        self.final_norm = nn.LayerNorm(c.n_embd, bias=c.bias)
        if not c.tied:
            self.head = nn.Linear(c.n_embd, c.vocab_size, bias=False)

    def __call__(self, idx: mx.array) -> mx.array:
        positions = mx.arange(idx.shape[1])  # (T)
        x = self.token_embedding(idx) + self.position_embedding(positions)  # (B, T, C)
        for block in self.blocks:
            x = block(x)  # (B, T, C)
        x = self.final_norm(x)
        return self.token_embedding.as_linear(x) if self.config.tied else self.head(x)


def load(weights: str | Path | Mapping[str, Any], config: Any) -> GPT:
    """A model with the weights of a safetensors file, or with arrays by PyTorch's names; float32.

    A tied table is stored once and may have either of its two names.
    """
    read: Any = mx.load(str(weights)) if isinstance(weights, str | Path) else weights
    arrays = {name: mx.array(w).astype(mx.float32) for name, w in read.items()}
    if config.tied and "head.weight" in arrays:
        arrays["token_embedding.weight"] = arrays.pop("head.weight")
    model = GPT(config)
    model.load_weights(list(arrays.items()))  # a missing name or another shape is an error
    return model


def next_token_loss(model: GPT, idx: mx.array, targets: mx.array) -> mx.array:
    """The mean loss in nats per token: idx, targets (B, T) -> a scalar."""
    return nn.losses.cross_entropy(model(idx), targets, reduction="mean")


def make_optimizer(recipe: Any) -> optim.MultiOptimizer:
    """AdamW as PyTorch computes it; only matrices decay. recipe: a `TrainConfig`.

    MLX leaves the correction of the two averages out unless it is asked for.
    """
    settings = {"betas": list(recipe.betas), "eps": 1e-8, "bias_correction": True}
    matrices = optim.AdamW(recipe.lr, weight_decay=recipe.weight_decay, **settings)
    vectors = optim.AdamW(recipe.lr, weight_decay=0.0, **settings)
    return optim.MultiOptimizer([matrices, vectors], [lambda name, w: w.ndim >= 2])


def make_step(model: GPT, optimizer: Any, recipe: Any) -> Callable[[mx.array, mx.array], mx.array]:
    """A function that takes one step on a batch, idx and targets (B, T), and gives its loss.

    Like all of MLX it only notes down what is to be done: `mx.eval` does it.
    """
    loss_and_grads = nn.value_and_grad(model, next_token_loss)

    def step(idx: mx.array, targets: mx.array) -> mx.array:
        loss, grads = loss_and_grads(model, idx, targets)
        if recipe.grad_clip is not None:
            grads, _ = optim.clip_grad_norm(grads, recipe.grad_clip)
        optimizer.update(model, grads)
        return loss

    return step


def generate(model: GPT, idx: mx.array, max_new_tokens: int, choose: Choose) -> mx.array:
    """Write on: idx (B, T) -> (B, T + max_new_tokens); choose: logits (B, V) -> ids (B)."""
    for _ in range(max_new_tokens):
        logits = model(idx[:, -model.config.context_length :])[:, -1]  # (B, V)
        idx = mx.concatenate([idx, choose(logits)[:, None]], axis=1)  # (B, T + 1)
        mx.eval(idx)  # or the notes would grow with every token
    return idx


def operations(*arrays: mx.array) -> list[str]:
    """What is noted down and not done yet, to make these arrays: the names of the operations.

    operations(mx.array([1.0, 2.0]) + mx.array([3.0, 4.0])) -> ["Add"]
    """
    text = io.StringIO()
    mx.export_to_dot(text, *arrays)
    return re.findall(r'label ="(\w+)"', text.getvalue())

"""The GPT of chapter 6 in NumPy: the same arrays in, the same logits out, and a cache.

Appendix A. Weights are a dictionary, array by name, with the names that the PyTorch model has;
`inside(weights, "blocks.0.")` is what one part of it sees.

Tensor letters: B sequences, T new tokens, S tokens in all, C = n_embd numbers a token, V tokens in
the vocabulary, hs = C / n_head.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

Array = NDArray[Any]
Weights = dict[str, Array]
Cache = list[list[Array]]  # a layer each: nothing yet, or its keys and values so far

erf = np.vectorize(math.erf, otypes=[float])  # NumPy has none of its own


def load_weights(path: str | Path) -> Weights:
    """The arrays of a safetensors file by name, in float32. A tied table is stored once.

    sum(w.size for w in load_weights(recorded_file("stories", ".safetensors")).values()) -> 401_984
    """
    weights = {name: w.astype(np.float32) for name, w in load_file(path).items()}
    tables = ("token_embedding.weight", "head.weight")
    for name, other in (tables, tables[::-1]):
        weights.setdefault(name, weights[other])
    return weights


def inside(weights: Weights, prefix: str) -> Weights:
    """The weights of one part, by their names in it.

    inside({"head.bias": 1, "head.weight": 2, "x": 3}, "head.") -> {"bias": 1, "weight": 2}
    """
    return {n.removeprefix(prefix): w for n, w in weights.items() if n.startswith(prefix)}


def softmax(x: Array) -> Array:
    """Exponentials, scaled to a sum of 1 along the last axis: (…, n) -> (…, n).

    softmax(np.log([1.0, 3.0])) -> [0.25, 0.75]
    """
    x = np.exp(x - x.max(axis=-1, keepdims=True))
    return x / x.sum(axis=-1, keepdims=True)


def gelu(x: Array, approximate: str = "tanh") -> Array:
    """The activation of chapter 4, in GPT-2's form or ("none") by definition; any shape.

    gelu(np.array([-1.0, 1.0]), "none") -> [-0.1587, 0.8413]
    """
    if approximate == "none":
        return 0.5 * x * (1 + erf(x / math.sqrt(2)).astype(x.dtype))
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def linear(x: Array, w: Weights) -> Array:
    """(…, n) -> (…, m), with w["weight"] (m, n) and, if there is one, w["bias"] (m).

    linear(np.array([1.0, 2.0]), {"weight": np.array([[3.0, 4.0]])}) -> [11]
    """
    return x @ w["weight"].T + w.get("bias", 0)


def layer_norm(x: Array, w: Weights, eps: float = 1e-5) -> Array:
    """Mean 0 and variance 1 along the last axis, then scale and shift: (…, C) -> (…, C).

    layer_norm(np.array([1.0, 2.0, 3.0]), {"weight": np.ones(3)}) -> [-1.225, 0, 1.225]
    """
    mean = x.mean(axis=-1, keepdims=True)  # (…, 1)
    var = x.var(axis=-1, keepdims=True)  # (…, 1), the biased one
    return (x - mean) / np.sqrt(var + eps) * w["weight"] + w.get("bias", 0)


def attention(x: Array, w: Weights, n_head: int, cache: list[Array]) -> Array:
    """Each new token looks at itself and at all before it: x (B, T, C) -> (B, T, C).

    cache: keys and values of the tokens before, or []; those of the new ones are added.
    """
    B, T, C = x.shape
    qkv = linear(x, inside(w, "qkv.")).reshape(B, T, 3, n_head, C // n_head)
    q, k, v = qkv.transpose(2, 0, 3, 1, 4)  # three of (B, nh, T, hs)
    if cache:
        k = np.concatenate([cache[0], k], axis=2)  # (B, nh, S, hs)
        v = np.concatenate([cache[1], v], axis=2)
    cache[:] = k, v
    S = k.shape[2]
    scores = q @ k.swapaxes(-2, -1) / math.sqrt(C // n_head)  # (B, nh, T, S)
    scores = np.where(np.tri(T, S, S - T, dtype=bool), scores, -np.inf)
    out = softmax(scores) @ v  # (B, nh, T, S) @ (B, nh, S, hs) -> (B, nh, T, hs)
    return linear(out.swapaxes(1, 2).reshape(B, T, C), inside(w, "project."))


def block(x: Array, w: Weights, config: Any, cache: list[Array]) -> Array:
    """Attention and feed-forward, each behind a norm and beside a shortcut: (B, T, C) stays."""
    normed = layer_norm(x, inside(w, "norm_1."))
    x = x + attention(normed, inside(w, "attention."), config.n_head, cache)
    wide = linear(layer_norm(x, inside(w, "norm_2.")), inside(w, "feed_forward.expand."))
    return x + linear(gelu(wide, config.gelu), inside(w, "feed_forward.project."))


def gpt(idx: Array, weights: Weights, config: Any, cache: Cache | None = None) -> Array:
    """The logits (B, T, V) behind each of the tokens idx (B, T).

    config: n_layer, n_head, context_length, gelu and norm, such as a `GPTConfig`. cache: one []
    for each layer before the first call, for a text that comes in parts.

    Errors: ValueError for a post-norm model, and for more tokens than positions.
    """
    cache = [[] for _ in range(config.n_layer)] if cache is None else cache
    past = cache[0][0].shape[2] if cache[0] else 0
    end = past + idx.shape[1]
    if config.norm != "pre":
        raise ValueError(f"config.norm must be 'pre' here; got {config.norm!r}.")
    if end > config.context_length:
        raise ValueError(f"{end} tokens, and {config.context_length} positions.")
    positions = weights["position_embedding.weight"][past:end]  # (T, C)
    x = weights["token_embedding.weight"][idx] + positions  # (B, T, C)
    for n in range(config.n_layer):
        x = block(x, inside(weights, f"blocks.{n}."), config, cache[n])  # (B, T, C)
    return linear(layer_norm(x, inside(weights, "final_norm.")), inside(weights, "head."))


def generate(idx: Array, weights: Weights, config: Any, max_new_tokens: int, choose: Any) -> Array:
    """Write on: idx (B, T) -> (B, T + max_new_tokens); choose: logits (B, V) -> ids (B).

    With a cache while the text fits the context. Beyond it each token moves to another position at
    every step, so nothing of what was computed for the old ones can be kept.
    """
    cache: Cache = [[] for _ in range(config.n_layer)]
    new = idx[:, -config.context_length :]
    for _ in range(max_new_tokens):
        chosen = choose(gpt(new, weights, config, cache)[:, -1])  # (B)
        idx = np.concatenate([idx, chosen[:, None]], axis=1)  # (B, T + 1)
        new = idx[:, -1:]
        if idx.shape[1] > config.context_length:
            new = idx[:, -config.context_length :]
            cache = [[] for _ in range(config.n_layer)]
    return idx

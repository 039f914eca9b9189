"""Backpropagation through the whole GPT by hand, in NumPy, and one step of AdamW.

Appendix C. For each part of the model one function: it is given `dy`, how much the loss changes
with each number that the part put out, and returns how much it changes with each number that came
in, and with each weight. What the forward pass computed on the way is computed again here: that
takes a forward pass more, and shows all that a part needs in one place.

Weights and gradients are dictionaries with the names of `GPT`, as in `numpy_gpt`. Tensor letters: B
sequences, T tokens, C = n_embd numbers a token, V tokens in the vocabulary, hs = C / n_head.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gptlib.appendix.numpy_gpt import (
    Array,
    Weights,
    attention,
    block,
    erf,
    gelu,
    inside,
    layer_norm,
    linear,
    softmax,
)


def cross_entropy(logits: Array, targets: Array) -> tuple[float, Array]:
    """The mean loss in nats, and its gradient p - y over N: (…, V), (…) -> loss, (…, V).

    A target of -1 is not scored.

    cross_entropy(np.log([[1.0, 3.0]]), np.array([0]))[1] -> [[-0.75, 0.75]]
    """
    scored = targets >= 0
    p = softmax(logits)  # (…, V)
    y = np.eye(logits.shape[-1], dtype=p.dtype)[targets] * scored[..., None]  # (…, V), one-hot
    loss = -np.log((p * y).sum(axis=-1)[scored]).mean()
    return float(loss), (p * scored[..., None] - y) / scored.sum()


def linear_back(dy: Array, x: Array, w: Weights) -> tuple[Array, Weights]:
    """Back through y = x @ w.T + b: dy (…, m) -> dx (…, n), and the gradients of w.

    linear_back(np.array([[2.0]]), np.array([[3.0]]), {"weight": np.array([[5.0]])})[0] -> [[10]]
    """
    rows_x, rows_dy = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])  # (N, n), (N, m)
    grads = {"weight": rows_dy.T @ rows_x}  # (m, n)
    if "bias" in w:
        grads["bias"] = rows_dy.sum(axis=0)  # (m)
    return dy @ w["weight"], grads


def gelu_back(dy: Array, x: Array, approximate: str = "tanh") -> Array:
    """Back through GELU: dy times its slope at x; any shape.

    gelu_back(np.ones(2), np.array([-1.0, 1.0]), "none") -> [-0.08332, 1.083]
    """
    if approximate == "none":
        below = 0.5 * (1 + erf(x / math.sqrt(2)).astype(x.dtype))
        density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
        return dy * (below + x * density)
    root = math.sqrt(2 / math.pi)
    t = np.tanh(root * (x + 0.044715 * x**3))
    inner = root * (1 + 3 * 0.044715 * x**2)  # the slope of what stands inside tanh
    return dy * 0.5 * (1 + t + x * (1 - t**2) * inner)


def softmax_back(dp: Array, p: Array) -> Array:
    """Back through p = softmax(x), along the last axis: (…, n) -> (…, n).

    softmax_back(np.array([1.0, 0.0]), np.array([0.25, 0.75])) -> [0.1875, -0.1875]
    """
    return p * (dp - (dp * p).sum(axis=-1, keepdims=True))


def layer_norm_back(dy: Array, x: Array, w: Weights, eps: float = 1e-5) -> tuple[Array, Weights]:
    """Back through `layer_norm`: dy (…, C) -> dx (…, C), and the gradients of scale and shift."""
    mean = x.mean(axis=-1, keepdims=True)  # (…, 1)
    std = np.sqrt(x.var(axis=-1, keepdims=True) + eps)  # (…, 1)
    z = (x - mean) / std  # (…, C)
    before = tuple(range(x.ndim - 1))
    grads = {"weight": (dy * z).sum(axis=before)}  # (C)
    if "bias" in w:
        grads["bias"] = dy.sum(axis=before)  # (C)
    dz = dy * w["weight"]  # (…, C)
    through_mean = dz.mean(axis=-1, keepdims=True)  # (…, 1)
    through_std = z * (dz * z).mean(axis=-1, keepdims=True)  # (…, C)
    return (dz - through_mean - through_std) / std, grads


def outside(parts: dict[str, Weights]) -> Weights:
    """The gradients of parts by their names in the whole: the reverse of `inside`.

    outside({"head": {"bias": 1}, "norm": {"weight": 2}}) -> {"head.bias": 1, "norm.weight": 2}
    """
    return {f"{part}.{name}": g for part, grads in parts.items() for name, g in grads.items()}


def attention_back(dy: Array, x: Array, w: Weights, n_head: int) -> tuple[Array, Weights]:
    """Back through `attention`: dy (B, T, C) -> dx (B, T, C), and the gradients of its weights."""
    (B, T, C), hs = x.shape, x.shape[-1] // n_head
    qkv = linear(x, inside(w, "qkv.")).reshape(B, T, 3, n_head, hs)
    q, k, v = qkv.transpose(2, 0, 3, 1, 4)  # three of (B, nh, T, hs)
    scores = q @ k.swapaxes(-2, -1) / math.sqrt(hs)  # (B, nh, T, T)
    p = softmax(np.where(np.tri(T, dtype=bool), scores, -np.inf))  # (B, nh, T, T)
    merged = (p @ v).swapaxes(1, 2).reshape(B, T, C)
    d_merged, of_project = linear_back(dy, merged, inside(w, "project."))
    d_out = d_merged.reshape(B, T, n_head, hs).swapaxes(1, 2)  # (B, nh, T, hs)
    d_p = d_out @ v.swapaxes(-2, -1)  # (B, nh, T, T)
    d_v = p.swapaxes(-2, -1) @ d_out  # (B, nh, T, hs)
    # Where the mask stands p is 0, and so is the gradient of the score.
    d_scores = softmax_back(d_p, p) / math.sqrt(hs)  # (B, nh, T, T)
    d_q = d_scores @ k  # (B, nh, T, hs)
    d_k = d_scores.swapaxes(-2, -1) @ q  # (B, nh, T, hs)
    d_qkv = np.stack([d_q, d_k, d_v]).transpose(1, 3, 0, 2, 4)  # (B, T, 3, nh, hs)
    dx, of_qkv = linear_back(d_qkv.reshape(B, T, 3 * C), x, inside(w, "qkv."))
    return dx, outside({"qkv": of_qkv, "project": of_project})


def feed_forward_back(dy: Array, x: Array, w: Weights, approximate: str) -> tuple[Array, Weights]:
    """Back through expand, GELU and project: dy (B, T, C) -> dx (B, T, C), and the gradients."""
    expand, project = inside(w, "expand."), inside(w, "project.")
    wide = linear(x, expand)  # (B, T, 4 * C)
    d_bent, of_project = linear_back(dy, gelu(wide, approximate), project)
    dx, of_expand = linear_back(gelu_back(d_bent, wide, approximate), x, expand)
    return dx, outside({"expand": of_expand, "project": of_project})


def block_back(dy: Array, x: Array, w: Weights, config: Any) -> tuple[Array, Weights]:
    """Back through a block: dy (B, T, C) -> dx (B, T, C), and the gradients of its weights."""
    norm_1, norm_2 = inside(w, "norm_1."), inside(w, "norm_2.")
    heads, network = inside(w, "attention."), inside(w, "feed_forward.")
    normed_1 = layer_norm(x, norm_1)
    middle = x + attention(normed_1, heads, config.n_head, [])
    normed_2 = layer_norm(middle, norm_2)

    d_normed, of_network = feed_forward_back(dy, normed_2, network, config.gelu)
    d_middle, of_norm_2 = layer_norm_back(d_normed, middle, norm_2)
    d_middle = d_middle + dy  # the shortcut brings dy down as it is
    d_normed, of_heads = attention_back(d_middle, normed_1, heads, config.n_head)
    dx, of_norm_1 = layer_norm_back(d_normed, x, norm_1)
    parts = {"norm_1": of_norm_1, "attention": of_heads, "norm_2": of_norm_2}
    return dx + d_middle, outside({**parts, "feed_forward": of_network})


def tables_back(dx: Array, idx: Array, weights: Weights) -> Weights:
    """Back into the two tables: the gradient of each row that was looked up."""
    tokens = np.zeros_like(weights["token_embedding.weight"])  # (V, C)
    positions = np.zeros_like(weights["position_embedding.weight"])
    # A token that stands there three times gets three gradients.
    np.add.at(tokens, idx, dx)
    positions[: idx.shape[1]] = dx.sum(axis=0)  # every text uses the same ones
    return {"token_embedding.weight": tokens, "position_embedding.weight": positions}


def gpt_back(idx: Array, targets: Array, weights: Weights, config: Any) -> tuple[float, Weights]:
    """The loss of a batch, and its gradient for every weight: idx, targets (B, T).

    config: as for `numpy_gpt.gpt`, and tied. A tied table has one gradient, that of the token
    embedding, to which the head has added its part.
    """
    positions = weights["position_embedding.weight"][: idx.shape[1]]  # (T, C)
    x, entered = weights["token_embedding.weight"][idx] + positions, []
    for n in range(config.n_layer):
        entered.append(x)  # what comes into each block
        x = block(x, inside(weights, f"blocks.{n}."), config, [])
    final_norm, head = inside(weights, "final_norm."), inside(weights, "head.")
    normed = layer_norm(x, final_norm)
    loss, d_logits = cross_entropy(linear(normed, head), targets)

    d_normed, of_head = linear_back(d_logits, normed, head)
    dx, of_norm = layer_norm_back(d_normed, x, final_norm)
    grads = outside({"final_norm": of_norm, "head": of_head})
    for n in reversed(range(config.n_layer)):
        w = inside(weights, f"blocks.{n}.")
        dx, of_block = block_back(dx, entered[n], w, config)
        grads |= outside({f"blocks.{n}": of_block})
    grads |= tables_back(dx, idx, weights)
    if config.tied:
        grads["token_embedding.weight"] += grads.pop("head.weight")
    return loss, grads


def adamw_step(
    weights: Weights, grads: Weights, averages: dict[str, list[Array]], step: int, recipe: Any
) -> None:
    """One update of the weights, in place, after clipping; step counts from 1.

    recipe: lr (of this step), betas, weight_decay (of matrices alone) and grad_clip, such as a
    `TrainConfig`. averages: {} before the first step.
    """
    length = math.sqrt(sum((grad**2).sum() for grad in grads.values()))
    shorter = min(1.0, recipe.grad_clip / (length + 1e-6))
    beta_1, beta_2 = recipe.betas
    for name, grad in grads.items():
        w, g = weights[name], grad * shorter
        mean, square = averages.setdefault(name, [0 * w, 0 * w])
        mean += (1 - beta_1) * (g - mean)
        square += (1 - beta_2) * (g**2 - square)
        if w.ndim == 2:
            w *= 1 - recipe.lr * recipe.weight_decay
        # Averages that began at 0 are too small at first.
        root = np.sqrt(square / (1 - beta_2**step))
        w -= recipe.lr * mean / (1 - beta_1**step) / (root + 1e-8)

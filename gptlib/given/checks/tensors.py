"""What the models of chapters 2 to 6, and generation, ask of their arguments."""

from __future__ import annotations

import math
from collections.abc import Collection
from numbers import Integral, Real
from typing import Any

import torch
from torch import nn

ANY = 2**63 - 1  # stands for the vocabulary's size where a model does not tell it


def check_range(name: str, ids: torch.Tensor, lowest: int, vocab_size: int) -> None:
    """Every id of a tensor of any shape lies in lowest … vocab_size - 1."""
    low, high = int(ids.min()), int(ids.max())
    if low < lowest or high >= vocab_size:
        raise ValueError(
            f"{name} holds the token id {low if low < lowest else high}; allowed are {lowest} to "
            f"{vocab_size - 1}. Was the text encoded with another tokenizer than the model's?"
        )


def check_idx(idx: torch.Tensor, vocab_size: int, context_length: int | None = None) -> None:
    """idx is (B, T) token ids a model can look up: not empty, not too long, in the vocabulary.

    Without this a wrong id is an unexplained crash on the CPU and, on a GPU, an error that is
    reported many lines later.
    """
    if idx.dim() != 2 or idx.is_floating_point() or idx.dtype == torch.bool:
        raise ValueError(
            f"idx must be whole numbers of shape (B, T); got {idx.dtype} of shape "
            f"{tuple(idx.shape)}. A single sequence becomes a batch of one with idx[None]."
        )
    allowed = "1 or more" if context_length is None else f"1 to {context_length}"
    if idx.numel() == 0:
        raise ValueError(
            f"idx must hold at least one token; got shape {tuple(idx.shape)}. "
            f"Allowed length T: {allowed}. Begin with a token, the end-of-text token for instance."
        )
    if context_length is not None and idx.size(1) > context_length:
        raise ValueError(
            f"idx has {idx.size(1)} tokens in a sequence, more than context_length "
            f"{context_length}. Allowed length T: {allowed}. Keep the last ones with "
            f"idx[:, -{context_length}:]."
        )
    check_range("idx", idx, 0, vocab_size)


def check_targets(targets: torch.Tensor, logits: torch.Tensor) -> None:
    """targets (B, T) has one id, or -1 for "do not score", per row of logits (B, T, V)."""
    B, T, V = logits.size()
    if targets.shape != (B, T):
        raise ValueError(
            f"targets must have the shape of idx, {(B, T)}; got {tuple(targets.shape)}."
        )
    check_range("targets", targets, -1, V)


def check_count(**counts: int) -> None:
    """Each argument is a whole number of 1 or more."""
    for name, value in counts.items():
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a whole number, 1 or more; got {value!r}.")


def check_heads(n_embd: int, n_head: int) -> None:
    """n_embd splits evenly over n_head heads."""
    check_count(n_embd=n_embd, n_head=n_head)
    if n_embd % n_head != 0:
        raise ValueError(
            f"n_embd must be divisible by n_head; got n_embd {n_embd} and n_head {n_head}. "
            "Every head takes n_embd / n_head numbers of each token."
        )


def check_dropout(dropout: float) -> None:
    """0 <= dropout < 1; at 1 nothing would be left."""
    if not 0 <= dropout < 1:
        raise ValueError(
            f"dropout must be at least 0 and below 1; got {dropout}. 0 switches it off."
        )


def check_length(x: torch.Tensor, context_length: int) -> None:
    """x (B, T, C) has at least one token and is no longer than the causal mask."""
    if not 1 <= x.size(1) <= context_length:
        raise ValueError(
            f"x has {x.size(1)} tokens; allowed length T: 1 to context_length {context_length}."
        )


def check_choice(name: str, value: str, allowed: Collection[str]) -> None:
    """value is one of the allowed words."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}.")


def check_sampling(
    temperature: float, top_k: int | None, top_p: float | None, vocab_size: int
) -> None:
    """Each setting of the sampling is None or lies in its range."""
    if not (isinstance(temperature, Real) and 0 <= temperature < math.inf):
        raise ValueError(
            f"temperature must be a finite number, 0 (greedy) or more; got {temperature!r}."
        )
    if top_k is not None and not (is_whole(top_k) and 1 <= top_k <= vocab_size):
        raise ValueError(
            f"top_k must be a whole number from 1 to the vocabulary's size, {vocab_size}; got "
            f"{top_k!r}. None keeps all tokens."
        )
    if top_p is not None and not (isinstance(top_p, Real) and 0 < top_p <= 1):
        raise ValueError(
            f"top_p must be a number above 0, at most 1; got {top_p!r}. None keeps all tokens."
        )


def check_request(
    model: nn.Module,
    idx: torch.Tensor,
    max_new_tokens: int,
    stop_tokens: Collection[int],
    settings: dict[str, Any],
) -> None:
    """All that `generate` is asked, before the first token is made and not in the middle."""
    vocab_size = getattr(getattr(model, "config", model), "vocab_size", ANY)
    check_sampling(**settings, vocab_size=vocab_size)
    if not is_whole(max_new_tokens) or max_new_tokens < 0:
        raise ValueError(
            f"max_new_tokens must be a whole number, 0 or more; got {max_new_tokens!r}."
        )
    if not torch.is_tensor(idx):
        raise ValueError(
            f"idx must be a tensor of shape (B, T); got {type(idx).__name__}. A list of ids is "
            f"made one by torch.tensor([ids])."
        )
    check_idx(idx, vocab_size)
    if not isinstance(stop_tokens, Collection):
        raise ValueError(f"stop_tokens must be a list or set of token ids; got {stop_tokens!r}.")
    for token in stop_tokens:
        if not is_whole(token) or not 0 <= token < vocab_size:
            raise ValueError(
                f"stop_tokens must be token ids from 0 to {vocab_size - 1}; got {token!r}."
            )


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number; True and False are not meant as numbers."""
    return isinstance(value, Integral) and not isinstance(value, bool)

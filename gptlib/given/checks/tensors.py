"""What the models of chapters 2 to 6, and generation, ask of their arguments."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, get_type_hints

import torch

from gptlib.given.checks.numbers import is_number, is_whole
from gptlib.given.models import vocab_size_of

PIECE = 2**24  # ids looked at at a time: they may lie in a file that is larger than the memory
READABLE = (torch.int64, torch.int32)  # the kinds of whole numbers that a table can be asked for


def check_range(name: str, ids: torch.Tensor, vocab_size: int | None = None) -> None:
    """Every id of a tensor of any shape lies in 0 … vocab_size - 1; None is without an end.

    A GPU is waited for until it has told the values. So this is asked once where ids come in, and
    of ids that are on the CPU, and never in a `forward`.
    """
    allowed = "0 or more" if vocab_size is None else f"0 to {vocab_size - 1}"
    for part in ids.flatten().split(PIECE) if ids.numel() else ():
        part = part.long()  # some small types have no min
        low, high = int(part.min()), int(part.max())
        if low < 0:
            raise ValueError(f"{name} holds the token id {low}; allowed are {allowed}.")
        if vocab_size is not None and high >= vocab_size:
            raise ValueError(
                f"{name} holds the token id {high}; allowed are {allowed}. Was the text encoded by "
                f"a tokenizer with more tokens?"
            )


def check_idx(idx: torch.Tensor, context_length: int | None = None) -> None:
    """idx is (B, T) whole numbers, not empty and not too long: all that its shape and type tell.

    Whether the ids are in the vocabulary is not asked here but where they come in, see
    `check_range`; shape and type are known without a look at the values.
    """
    if not torch.is_tensor(idx):
        raise ValueError(
            f"idx must be a tensor of shape (B, T); got {type(idx).__name__}. "
            f"torch.tensor([[0, 1, 2]]) is one of shape (1, 3)."
        )
    if not is_whole_type(idx.dtype):
        raise ValueError(f"idx must be whole numbers of shape (B, T); got {idx.dtype}.")
    if idx.dtype not in READABLE:
        raise ValueError(
            f"idx must be of type torch.int64 or torch.int32; got {idx.dtype}. idx.long() is."
        )
    if idx.dim() != 2:
        advice = " A single sequence becomes a batch of one with idx[None]." * (idx.dim() == 1)
        raise ValueError(f"idx must be of shape (B, T); got {tuple(idx.shape)}.{advice}")
    allowed = "1 or more" if context_length is None else f"1 to {context_length}"
    if idx.size(1) == 0:
        raise ValueError(
            f"idx must hold at least one token; got shape {tuple(idx.shape)}. "
            f"Allowed length T: {allowed}. Begin with a token, the end-of-text token for instance."
        )
    if idx.size(0) == 0:
        raise ValueError(
            f"idx must hold at least one token; got shape {tuple(idx.shape)}, no sequence at all."
        )
    if context_length is not None and idx.size(1) > context_length:
        raise ValueError(
            f"idx has {idx.size(1)} tokens in a sequence, more than context_length "
            f"{context_length}. Allowed length T: {allowed}. Keep the last ones with "
            f"idx[:, -{context_length}:]."
        )


def check_targets(targets: torch.Tensor, logits: torch.Tensor) -> None:
    """targets has one int64 for each row of logits (…, V); the values are not looked at."""
    shape = logits.shape[:-1]
    if not torch.is_tensor(targets) or targets.shape != shape:
        got = tuple(targets.shape) if torch.is_tensor(targets) else type(targets).__name__
        raise ValueError(
            f"targets must be a tensor of the shape of idx, {tuple(shape)}, one for each row of "
            f"logits {tuple(logits.shape)}; got {got}."
        )
    if targets.dtype != torch.int64:
        raise ValueError(f"targets must be of type torch.int64; got {targets.dtype}.")


def check_window(n_ids: int, context_length: int) -> None:
    """A row of n_ids is long enough for one window: context_length ids and one more."""
    if n_ids <= context_length:
        advice = "Give a longer text" + " or a smaller context_length" * (n_ids > 1)
        raise ValueError(
            f"data has length {n_ids}, shorter than context_length + 1 = {context_length + 1}. "
            f"{advice}."
        )


def check_starts(starts: torch.Tensor, n_ids: int, n_windows: int) -> None:
    """starts (S,) are positions in a row of n_ids, and at least one of them is below n_windows."""
    if len(starts) == 0:
        raise ValueError(
            f"starts has no position: it must hold one or more from 0 to {n_windows - 1}, or be "
            f"None for windows that begin anywhere."
        )
    low, high = int(starts.min()), int(starts.max())
    if low < 0 or high >= n_ids:
        outside = low if low < 0 else high
        raise ValueError(
            f"starts holds {outside}, outside data: positions go from 0 to {n_ids - 1}."
        )
    if low >= n_windows:
        longest = n_ids - 1 - low
        raise ValueError(
            f"starts has no position from 0 to {n_windows - 1}, so no window of context_length + 1 "
            f"ids fits. Give earlier starts"
            + f" or a context_length of at most {longest}" * (longest > 0)
            + "."
        )


def check_count(**counts: int) -> None:
    """Each argument is a whole number of 1 or more."""
    for name, value in counts.items():
        if not is_whole(value) or value < 1:
            raise ValueError(f"{name} must be a whole number, 1 or more; got {value!r}.")


def check_flags(config: Any) -> None:
    """Each field of a dataclass that is declared as a bool holds one; `bool | None` may be None."""
    for name, kind in get_type_hints(type(config)).items():
        value = getattr(config, name)
        if kind in (bool, bool | None) and not isinstance(value, kind):
            raise ValueError(f"{name} must be True or False; got {value!r}.")


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
    if not (is_number(dropout) and 0 <= dropout < 1):
        raise ValueError(
            f"dropout must be at least 0 and below 1; got {dropout!r}. 0 switches it off."
        )


def check_length(x: torch.Tensor, context_length: int) -> None:
    """x (B, T, C) has at least one token and is no longer than the causal mask."""
    if x.dim() != 3:
        advice = " A single sequence becomes a batch of one with x[None]." * (x.dim() == 2)
        raise ValueError(f"x must be of shape (B, T, C); got {tuple(x.shape)}.{advice}")
    if not 1 <= x.size(1) <= context_length:
        raise ValueError(
            f"x has {x.size(1)} tokens; allowed length T: 1 to context_length {context_length}."
        )


def check_choice(name: str, value: str, allowed: Collection[str]) -> None:
    """value is one of the allowed words."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}.")


def check_sampling(
    temperature: float, top_k: int | None, top_p: float | None, vocab_size: int | None
) -> None:
    """Each setting of the sampling is None or lies in its range."""
    if not (is_number(temperature) and 0 <= temperature < math.inf):
        raise ValueError(
            f"temperature must be a finite number, 0 (greedy) or more; got {temperature!r}."
        )
    most = math.inf if vocab_size is None else vocab_size
    if top_k is not None and not (is_whole(top_k) and 1 <= top_k <= most):
        raise ValueError(
            f"top_k must be a whole number from 1 to the vocabulary's size, {vocab_size or 'V'}; "
            f"got {top_k!r}. None keeps all tokens."
        )
    if top_p is not None and not (is_number(top_p) and 0 < top_p <= 1):
        raise ValueError(
            f"top_p must be a number above 0, at most 1; got {top_p!r}. None keeps all tokens."
        )


def check_logits(logits: torch.Tensor) -> None:
    """In each row of logits (…, V) the largest is a finite number; -inf is a token ruled out."""
    top = logits.amax(dim=-1)  # (…): nan and inf come out on top
    if not top.isfinite().all():
        bad = top[~top.isfinite()][0].item()
        raise ValueError(
            f"logits must have a finite largest number in each row; got {bad}. The model's weights "
            f"or its arithmetic have blown up, so no token can be chosen: look for nan and inf in "
            f"its parameters, or go back to weights from before."
        )


def check_request(
    model: Any,
    idx: torch.Tensor,
    max_new_tokens: int,
    stop_tokens: Collection[int],
    settings: dict[str, Any],
) -> torch.Tensor:
    """All that `generate` is asked, before the first token is made; returns idx as int64.

    The ids are looked at here, once, and a prompt of small whole numbers is welcome.
    """
    vocab_size = vocab_size_of(model)
    check_sampling(**settings, vocab_size=vocab_size)
    if not is_whole(max_new_tokens) or max_new_tokens < 0:
        raise ValueError(
            f"max_new_tokens must be a whole number, 0 or more; got {max_new_tokens!r}."
        )
    if torch.is_tensor(idx) and is_whole_type(idx.dtype):
        idx = idx.long()
    check_idx(idx)
    check_range("idx", idx, vocab_size)
    if not isinstance(stop_tokens, Collection):
        raise ValueError(f"stop_tokens must be a list or set of token ids; got {stop_tokens!r}.")
    allowed = "0 or more" if vocab_size is None else f"from 0 to {vocab_size - 1}"
    for token in stop_tokens:
        if not (is_whole(token) and token >= 0 and (vocab_size is None or token < vocab_size)):
            raise ValueError(f"stop_tokens must be token ids {allowed}; got {token!r}.")
    return idx


def is_whole_type(dtype: torch.dtype) -> bool:
    """Whether tensors of this type hold whole numbers; True and False are not meant as numbers."""
    return not (dtype.is_floating_point or dtype.is_complex or dtype == torch.bool)

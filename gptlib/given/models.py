"""Given, not built: what training, generation and scoring ask of a model, whoever built it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, overload, runtime_checkable
from weakref import WeakKeyDictionary

import torch
from torch import nn


@runtime_checkable
class LanguageModel(Protocol):
    """Anything that the course can train, score and let write: an nn.Module that is called so.

    idx (B, T) -> logits (B, T, V), and the loss in nats per token if targets (B, T) are given,
    otherwise None. A model that has a vocabulary of fixed size or a longest text says so in
    `config.vocab_size` and `config.context_length`, or in attributes of these names. What
    DistributedDataParallel, torch.compile and the like put around a model is one too.
    """

    training: bool

    @overload
    def __call__(
        self, idx: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]: ...
    @overload
    def __call__(self, idx: torch.Tensor, targets: None = None) -> tuple[torch.Tensor, None]: ...

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]: ...
    def modules(self) -> Iterator[nn.Module]: ...
    def train(self, mode: bool = True) -> Any: ...
    def to(self, device: torch.device) -> Any: ...


def wrapped_by(model: Any) -> nn.Module | None:
    """What DistributedDataParallel or torch.compile was put around; None where it is neither."""
    compiled = getattr(model, "_orig_mod", None)  # torch.compile's name for it
    inner = getattr(model, "module", None) if compiled is None else compiled
    return inner if isinstance(inner, nn.Module) else None


def unwrapped(model: Any) -> Any:
    """The model itself, out of all that was put around it."""
    while (inner := wrapped_by(model)) is not None:
        model = inner
    return model


def told_by(model: Any, name: str) -> Any:
    """What a model, or else what it was put around, says of itself; None if nothing.

    It may say so in its config or beside it.

    told_by(nn.Embedding(5, 2), "num_embeddings") -> 5
    """
    while model is not None:
        for place in (getattr(model, "config", None), model):
            told = getattr(place, name, None)
            if told is not None:
                return told
        model = wrapped_by(model)
    return None


def context_length_of(model: Any) -> int | None:
    """The most tokens the model can look at, or None where there is no limit, as in a bigram."""
    return told_by(model, "context_length")


def vocab_size_of(model: Any) -> int | None:
    """How many different tokens the model knows, or None where it does not say."""
    return told_by(model, "vocab_size")


# For each part of a model: how many are looking at it just now, and its mode before the first.
_looking: WeakKeyDictionary[nn.Module, tuple[int, bool]] = WeakKeyDictionary()
_lock = threading.Lock()


@contextmanager
def evaluating(model: LanguageModel) -> Iterator[None]:
    """Evaluation mode inside; afterwards, whatever happens, each part has the mode it had before.

    Several threads may look at one model, or at models that share parts: a part gets its mode back
    when the last of them has finished. A thread that trains the model meanwhile is not provided
    for, since a model has one mode for all.
    """
    parts = list(model.modules())
    with _lock:
        for part in parts:
            count, mode = _looking.get(part, (0, part.training))
            _looking[part] = (count + 1, mode)
        for part in parts:  # a second loop: torch.compile's part is in the mode of another one
            if part.training:  # to look is cheap, to set is not, and this is done for every token
                part.training = False
    try:
        yield
    finally:
        with _lock:
            for part in parts:
                count, mode = _looking.pop(part)
                if count > 1:
                    _looking[part] = (count - 1, mode)
                elif part.training != mode:
                    part.training = mode

"""Given, not built: what training, generation and scoring ask of a model, whoever built it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import torch
from torch import nn


@runtime_checkable
class LanguageModel(Protocol):
    """Anything that the course can train, score and let write: an nn.Module that is called so.

    idx (B, T) -> logits (B, T, V), and the loss in nats per token if targets (B, T) are given,
    otherwise None. A model that has a vocabulary of fixed size or a longest text says so in
    `config.vocab_size` and `config.context_length`, or in attributes of these names.
    """

    def __call__(
        self, idx: torch.Tensor, targets: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]: ...


def unwrapped(model: nn.Module) -> nn.Module:
    """The model itself, out of what DistributedDataParallel and torch.compile put around it."""
    while True:
        inner = getattr(model, "_orig_mod", None) or getattr(model, "module", None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def told_by(model: nn.Module, name: str) -> Any:
    """What a model says of itself under `name`, in its config or beside it; None if nothing."""
    model = unwrapped(model)
    told = getattr(getattr(model, "config", None), name, None)
    return getattr(model, name, None) if told is None else told


def context_length_of(model: nn.Module) -> int | None:
    """The most tokens the model can look at, or None where there is no limit, as in a bigram."""
    return told_by(model, "context_length")


def vocab_size_of(model: nn.Module) -> int | None:
    """How many different tokens the model knows, or None where it does not say."""
    return told_by(model, "vocab_size")


# How many are looking at a model just now, and the modes that its parts had before the first.
_looking: WeakKeyDictionary[nn.Module, tuple[int, list[tuple[nn.Module, bool]]]]
_looking = WeakKeyDictionary()
_lock = threading.Lock()


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards, whatever happens, each part has the mode it had before.

    Several threads may look at one model: the modes come back when the last of them has finished.
    """
    key = unwrapped(model)
    with _lock:
        count, modes = _looking.get(key, (0, []))
        if count == 0:
            modes = [(part, part.training) for part in model.modules()]
            model.eval()
        _looking[key] = (count + 1, modes)
    try:
        yield
    finally:
        with _lock:
            count, modes = _looking.pop(key)
            if count > 1:
                _looking[key] = (count - 1, modes)
            else:
                for part, training in modes:
                    part.training = training

"""Functions of NumPy arrays, as the appendices have them: they are given arrays and give arrays.

Given, not built. Inputs and results are kept as tensors, so that they are compared and shown as
everywhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from gptlib.exercises.comparing import shown
from gptlib.exercises.task import Use, Wrong


class Arrays(Use):
    """Call a function with arrays in the place of tensors, alone or in dictionaries."""

    in_order = True

    def run(self, answer: Callable[..., Any], *given: Any) -> Any:
        arrays = [_as_arrays(one) for one in given]
        with np.errstate(all="ignore"):  # what is too large for a number is told in words
            out = answer(*arrays)
        for before, after in zip(given, arrays, strict=True):
            if not _equal(before, _as_tensors(after)):
                raise Wrong(
                    f"It changes what it was given: make a new array instead.\n  given     "
                    f"{shown(before)}\n  after it  {shown(_as_tensors(after))}"
                )
        return None if out is None else _as_tensors(out, "It")


def _as_arrays(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_arrays(one) for key, one in value.items()}
    return value.numpy().copy() if torch.is_tensor(value) else value


def _as_tensors(value: Any, what: str = "") -> Any:
    """Arrays as tensors. what: how a result is called; then it must be arrays."""
    if isinstance(value, dict):
        return {key: _as_tensors(one, what and f"{key}") for key, one in value.items()}
    if isinstance(value, np.ndarray | np.generic) and value.dtype != object:
        return torch.from_numpy(np.array(value))
    if what and torch.is_tensor(value):
        raise Wrong(f"{what} is a tensor of PyTorch. An array is asked for: NumPy alone will do.")
    if what and value is None:
        raise Wrong(f"{what} is None. Is a `return` missing?")
    if what:
        raise Wrong(f"{what} is a {type(value).__name__}; it should be an array of NumPy.")
    return value


def _equal(before: Any, after: Any) -> bool:
    if isinstance(before, dict):
        return before.keys() == after.keys() and all(_equal(before[k], after[k]) for k in before)
    return torch.equal(before, after) if torch.is_tensor(before) else bool(before == after)

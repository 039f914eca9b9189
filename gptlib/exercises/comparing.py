"""Whether two values are the same, how they differ, and how they look in a message.

Given, not built.
"""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch

SMALL = 16  # numbers, up to which a tensor is shown in a message
WHOLE = 36  # the same for one of whole numbers, which are short
CLOSE = 1e-5  # how far numbers may differ; beside large ones, as a share of the largest


def difference(got: Any, wanted: Any) -> str | None:
    """How two values differ, in words; None where they are the same.

    In a dictionary the values are compared in its order, and the words begin with the key.

    difference(torch.zeros(2), torch.zeros(1)) -> "The shape is (2,); it should be (1,)."
    """
    if isinstance(wanted, int | float) and isinstance(got, np.generic):
        got = got.item()  # a number of NumPy's is as good as Python's
    if isinstance(wanted, dict) and isinstance(got, dict) and got.keys() == wanted.keys():
        for key, value in wanted.items():
            fault = difference(got[key], value)
            if fault is not None:
                return f"{key}: {fault}"
        return None
    rows = isinstance(wanted, tuple | list) and isinstance(got, tuple | list)
    # Who returns tensors returns them in any brackets; a pair of ids may have to be a tuple.
    alike = type(got) is type(wanted) or (rows and any(map(torch.is_tensor, wanted)))
    if rows and alike and len(got) == len(wanted):
        pairs = enumerate(zip(got, wanted, strict=True))
        return next((_at(i, *pair) for i, pair in pairs if difference(*pair)), None)
    if isinstance(wanted, float) and isinstance(got, int | float):
        same = math.isclose(got, wanted, rel_tol=CLOSE) or (math.isnan(got) and math.isnan(wanted))
        return None if same else f"It is {instead(got, wanted)}."
    if isinstance(wanted, tuple) and isinstance(got, list) and tuple(got) == wanted:
        return "It is a list; it should be a tuple, which can be the key of a dictionary."
    if not torch.is_tensor(wanted):
        return None if _equal(got, wanted) else unlike(got, wanted)
    if got is None:
        return "It is None. Is a `return` missing?"
    if not torch.is_tensor(got):
        return f"It is {_kind(got)}; it should be a tensor."
    if got.shape != wanted.shape:
        return f"The shape is {tuple(got.shape)}; it should be {tuple(wanted.shape)}."
    if got.dtype != wanted.dtype:
        return f"It holds {got.dtype}; it should hold {wanted.dtype}."
    # A sum of large numbers that cancel is no more exact than those.
    finite = wanted.double()[wanted.isfinite()].abs()
    near = CLOSE * max(1.0, finite.max().item() if finite.numel() else 0.0)
    if torch.allclose(got.double(), wanted.double(), atol=near, rtol=CLOSE, equal_nan=True):
        return None
    if got.isnan().any() and not wanted.isnan().any():
        return "There are places with nan, which is no number, as 0 divided by 0 is none."
    if not got.dim():
        return f"It is {instead(got, wanted)}."
    at = _farthest(got, wanted)
    return f"The shape is right. At {list(at)} it is {instead(got[at], wanted[at])}."


def _farthest(got: Any, wanted: Any) -> tuple[int, ...]:
    """The place at which two tensors of one shape differ most."""
    apart = (got.double() - wanted.double()).abs()
    apart[(got == wanted) | (got.isnan() & wanted.isnan())] = 0  # infinite ones have no difference
    return tuple(int(i) for i in torch.unravel_index(apart.argmax(), apart.shape))


def unlike(got: Any, wanted: Any) -> str:
    """What is other about a value that is no tensor: its kind, its length, an entry.

    unlike([1, 2], [1]) -> "It holds 2 values; it should hold 1."
    """
    if got is None:
        return "It is None. Is a `return` missing?"
    if isinstance(wanted, int | float) and isinstance(got, int | float):
        return f"It is {instead(got, wanted)}."
    if isinstance(wanted, dict) and isinstance(got, dict):
        return _of_entries(got, wanted)
    if type(got) is not type(wanted):
        return f"It is {_kind(got)}; it should be {_kind(wanted)}."
    if isinstance(wanted, list | tuple) and len(got) != len(wanted):
        return f"It holds {len(got)} values; it should hold {len(wanted)}."
    return "The value is another one."


def _at(place: int, got: Any, wanted: Any) -> str:
    """How two values differ that stand at one place of two rows."""
    if isinstance(got, int | float | str) and isinstance(wanted, int | float | str):
        return f"At place {place} it is {instead(got, wanted)}."
    return f"At place {place}: {difference(got, wanted)}"


def _of_entries(got: dict, wanted: dict) -> str:
    """How two dictionaries differ: an entry too few, too many, or another value."""
    for key, value in wanted.items():
        if key not in got:
            return f"It has no entry for {shown(key)}."
        if not _equal(got[key], value):
            return f"For {shown(key)} it has {instead(got[key], value)}."
    foreign = next(key for key in got if key not in wanted)
    return f"It has an entry too many, for {shown(foreign)}."


def _kind(value: Any) -> str:
    """A kind of value in words: "a list", "a number"."""
    if isinstance(value, bool):
        return "True or False"
    if isinstance(value, int | float):
        return "a number"
    if torch.is_tensor(value):
        return f"a tensor of shape {tuple(value.shape)}"
    names = {"str": "a text", "dict": "a dictionary", "ndarray": "an array of NumPy"}
    return names.get(type(value).__name__, f"a {type(value).__name__}")


def up_to(got: Any, wanted: Any) -> list[str]:
    """The entries of two dictionaries up to the one in which they differ; none of other values.

    up_to({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 5, "c": 6}) -> ["a", "b"]
    """
    keys: list[str] = []
    if isinstance(wanted, dict) and isinstance(got, dict) and got.keys() == wanted.keys():
        for key, value in wanted.items():
            keys.append(key)
            if difference(got[key], value) is not None:
                break
    return keys


def _equal(got: Any, wanted: Any) -> bool:
    try:
        return bool(got == wanted)
    except (RuntimeError, ValueError):  # a tensor of several numbers is neither true nor false
        return False


def shown(value: Any, digits: int = 3) -> str:
    """A value as it stands in a message: short.

    shown(torch.tensor([[0.5, 0.25]])) -> "[[0.5, 0.25]]"
    """
    if isinstance(value, dict):
        return "; ".join(f"{key}: {shown(one, digits)}" for key, one in value.items())
    if is_dataclass(value) and not isinstance(value, type):  # a configuration: what is unusual
        told = {f.name: getattr(value, f.name) for f in fields(value)}
        said = [f"{f.name}={told[f.name]!r}" for f in fields(value) if told[f.name] != f.default]
        return f"{type(value).__name__}({', '.join(said)})"
    if isinstance(value, tuple) and any(map(torch.is_tensor, value)):
        return f"({', '.join(shown(one, digits) for one in value)})"
    if not torch.is_tensor(value):
        return repr(_rounded(value.tolist() if hasattr(value, "tolist") else value, digits))
    if value.numel() > (WHOLE if _whole(value) else SMALL):
        return f"numbers of shape {tuple(value.shape)}"
    return str(_rounded(value.tolist(), digits))


def _whole(value: Any) -> bool:
    """Whether all numbers of a tensor are whole ones, held as floats."""
    there = value.is_floating_point() and value.device.type != "meta"
    return there and value.numel() <= WHOLE and not bool((value % 1).any())


def both(one: Any, other: Any) -> tuple[str, str]:
    """Two values that differ as they stand in a message, with as many digits as that takes.

    Of tensors that are too large to be shown, the place where they differ most is.

    both(0.12345, 0.12346) -> ("0.12345", "0.12346")
    """
    for digits in (3, 6):
        said = shown(one, digits), shown(other, digits)
        if said[0] != said[1]:
            return said
    parts = [list(part.values()) if isinstance(part, dict) else [part] for part in (one, other)]
    if len(parts[0]) == 1 and all(torch.is_tensor(part[0]) for part in parts):
        (a,), (b,) = parts
        if a.shape == b.shape and a.dim():
            at = _farthest(a, b)
            there = both(a[at], b[at])
            return f"{said[0]}, at {list(at)} {there[0]}", f"{said[1]}, at {list(at)} {there[1]}"
    return said


def instead(got: Any, wanted: Any) -> str:
    """What there is and what there should be.

    instead(2, 3) -> "2 and not 3"
    """
    return " and not ".join(both(got, wanted))


def _rounded(value: Any, digits: int) -> Any:
    if type(value) in (list, tuple):
        return type(value)(_rounded(one, digits) for one in value)
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value

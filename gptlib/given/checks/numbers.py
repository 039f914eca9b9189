"""What is a number: asked everywhere, in rooms too that must not load torch."""

from __future__ import annotations

from numbers import Integral, Real
from operator import index
from typing import Any


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, NumPy's included; True and False are not meant as numbers.

    [is_whole(value) for value in (3, 3.0, True)] -> [True, False, False]
    """
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether a value is a real number, nan and inf included, and neither True nor False.

    [is_number(value) for value in (3, 3.5, True, "3")] -> [True, True, False, False]
    """
    return isinstance(value, Real) and not isinstance(value, bool)


def whole_number(value: Any) -> int | None:
    """A whole number of any library as an int; None for anything else, True and False included."""
    if isinstance(value, bool) or "bool" in str(getattr(value, "dtype", "")):
        return None  # to Python, True of torch or of an old NumPy is 1
    try:
        return index(value)
    except TypeError:
        return None

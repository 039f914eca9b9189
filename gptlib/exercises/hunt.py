"""Another bug for a bug hunt than the book's.

Given, not built.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Hunt:
    """A bug for a task: the code that is handed out, what is said of it, and its hints."""

    bug: Callable[..., Any]
    asks: str
    hints: tuple[str, str, str]

"""Given, not built: what a chapter needs because it is a notebook."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Method = TypeVar("Method", bound="Callable | classmethod | staticmethod")


def add_to(cls: type) -> Callable[[Method], Method]:
    """Put the function below into a class that exists: a chapter builds a class piece by piece.

    The package keeps the same class in one piece; a test holds the two together.

    Below `@add_to(Dog)` a function becomes a method of the class Dog. A class that the learner has
    written whole, as the answer to an exercise, stays as it is.
    """

    def put(method: Method) -> Method:
        if vars(cls).get("written_by_learner"):
            return method
        function = getattr(method, "fget", getattr(method, "__func__", method))  # a property's
        function.__qualname__ = f"{cls.__qualname__}.{function.__name__}"
        setattr(cls, function.__name__, method)
        return method

    return put

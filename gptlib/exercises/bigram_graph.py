"""Exercises of chapter 2: backpropagation through a small graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from gptlib.exercises.task import Mistake, Task, Use


class Value:
    """A number that remembers what it was made from, as chapter 2 builds it."""

    def __init__(self, data: float, parents: tuple[tuple[Any, float], ...] = ()) -> None:
        self.data = data
        self.parents = parents  # pairs: (a number, the slope towards it)
        self.grad = 0.0  # how fast the loss rises with this number

    def __add__(self, other: Any) -> Any:
        return type(self)(self.data + other.data, ((self, 1.0), (other, 1.0)))

    def __mul__(self, other: Any) -> Any:
        slopes = ((self, other.data), (other, self.data))
        return type(self)(self.data * other.data, slopes)

    def exp(self) -> Any:
        return type(self)(math.exp(self.data), ((self, math.exp(self.data)),))

    def log(self) -> Any:
        return type(self)(math.log(self.data), ((self, 1 / self.data),))


def backward(self: Any, grad: float = 1.0) -> None:
    """Add grad to .grad, and tell the parents: the chain rule."""
    self.grad += grad
    for parent, slope in self.parents:
        parent.backward(grad * slope)


# Graphs by name: from two numbers to the nodes that are looked at, the loss last.
GRAPHS: dict[str, Callable[[Any, Any], dict[str, Any]]] = {
    "u = z * w; loss = u * u + z": lambda z, w: {"u": (u := z * w), "loss": u * u + z},
    "a = (z * w).exp(); loss = (a + w).log()": lambda z, w: {
        "a": (a := (z * w).exp()),
        "loss": (a + w).log(),
    },
    "loss = z * z": lambda z, w: {"loss": z * z},
    "loss = z + w": lambda z, w: {"loss": z + w},
}


class WalkGraph(Use):
    """Build a graph of numbers that have this `backward`, walk it, and read the gradients."""

    def run(self, answer: Any, *given: Any) -> dict[str, float]:
        graph, at_z, at_w = given
        number = type("Value", (Value,), {"backward": answer})
        z, w = number(at_z), number(at_w)
        nodes = GRAPHS[graph](z, w)
        nodes["loss"].backward()
        return {
            f"The gradient of {name}": float(node.grad)
            for name, node in {"z": z, "w": w, **nodes}.items()
        }

    def shown(self, name: str, *given: Any) -> str:
        graph, z, w = given
        return f"z = Value({z}); w = Value({w}); {graph}; loss.{name}()"


def graphs(seed: int) -> Iterator[tuple[Any, ...]]:
    """A graph in which an inner number and z are used twice; then others."""
    chain, bends, square, total = GRAPHS
    yield chain, 3.0, 2.0
    yield bends, 0.5, 1.5
    yield square, 3.0, 0.0
    yield total, 1.0 + seed, 2.0
    yield chain, 0.5 + seed, -1.0


def _overwrites(self: Any, grad: float = 1.0) -> None:
    self.grad = grad
    for parent, slope in self.parents:
        parent.backward(grad * slope)


def _tells_its_sum(self: Any, grad: float = 1.0) -> None:
    self.grad += grad
    for parent, slope in self.parents:
        parent.backward(self.grad * slope)


def _no_slope(self: Any, grad: float = 1.0) -> None:
    self.grad += grad
    for parent, _ in self.parents:
        parent.backward(grad)


def _no_pairs(self: Any, grad: float = 1.0) -> None:
    self.grad += grad
    for parent in self.parents:
        parent.backward(grad)


def _slope_alone(self: Any, grad: float = 1.0) -> None:
    self.grad += grad
    for parent, slope in self.parents:
        parent.backward(slope)


def _slopes_added(self: Any, grad: float = 1.0) -> None:
    self.grad += grad
    for parent, slope in self.parents:
        parent.backward(grad + slope)


def _one_level(self: Any, grad: float = 1.0) -> None:
    self.grad += grad
    for parent, slope in self.parents:
        parent.grad += grad * slope


def _one_parent(self: Any, grad: float = 1.0) -> None:
    self.grad += grad
    for parent, slope in self.parents[:1]:
        parent.backward(grad * slope)


def _leaves_only(self: Any, grad: float = 1.0) -> None:
    if not self.parents:
        self.grad += grad
    for parent, slope in self.parents:
        parent.backward(grad * slope)


def _keeps_nothing(self: Any, grad: float = 1.0) -> None:
    for parent, slope in self.parents:
        parent.backward(grad * slope)


def _times_value(self: Any, grad: float = 1.0) -> None:
    self.grad += grad
    for parent, _ in self.parents:
        parent.backward(grad * parent.data)


def _alone(self: Any, grad: float = 1.0) -> None:
    self.grad += grad


def _twice(self: Any, grad: float = 1.0) -> None:
    self.grad += grad
    for parent, slope in self.parents:
        parent.grad += grad * slope
        parent.backward(grad * slope)


def _with_a_list(self: Any, grad: float = 1.0) -> None:
    waiting = [(self, grad)]
    while waiting:
        node, heard = waiting.pop()
        node.grad = node.grad + heard
        waiting.extend((parent, heard * slope) for parent, slope in node.parents)


def _in_order(self: Any, grad: float = 1.0) -> None:
    """Every number once, after all that were made from it."""
    order: list[Any] = []

    def visit(node: Any) -> None:
        if not any(node is other for other in order):
            for parent, _ in node.parents:
                visit(parent)
            order.append(node)

    visit(self)
    self.grad += grad
    for node in reversed(order):
        for parent, slope in node.parents:
            parent.grad += node.grad * slope


BACKWARD = Task(
    name="bigram.backward",
    asks="Add what a number hears to its .grad, and tell each number that it was made from.",
    reference=backward,
    inputs=graphs,
    use=WalkGraph(),
    hints=(
        "If a number rises by a little, the loss rises by grad times that. How much does a parent "
        "with the slope 3 contribute?",
        "Two things: add grad to self.grad, and call backward of each parent with what it hears. "
        "A number that is used twice hears twice.",
        "for parent, slope in self.parents: the parent hears grad * slope.",
    ),
    mistakes=(
        Mistake(
            "The second way to a number overwrites the first: z leads to the loss in several ways, "
            "and a nudge moves the loss along each of them.",
            _overwrites,
        ),
        Mistake(
            "A number tells its parents all that it has heard so far. What it heard before it has "
            "told before: a number that is used twice tells the first part again.",
            _tells_its_sum,
        ),
        Mistake(
            "The slopes are not used: every number hears 1 for each way, however steep it is.",
            _no_slope,
        ),
        Mistake(
            "A parent stands there with its slope, as a pair: for parent, slope in self.parents.",
            _no_pairs,
        ),
        Mistake(
            "A parent hears its slope alone: what the number itself has heard gets lost there.",
            _slope_alone,
        ),
        Mistake("Along a way the slopes are multiplied; here they are added.", _slopes_added),
        Mistake(
            "The walk ends after one step: the parents of the parents hear nothing.", _one_level
        ),
        Mistake("Each number tells one parent; a product and a sum have two.", _one_parent),
        Mistake(
            "What stands between z and the loss keeps no gradient of its own; each number adds "
            "what it hears.",
            _leaves_only,
        ),
        Mistake("What is heard is told on and never kept: every .grad is still 0.", _keeps_nothing),
        Mistake(
            "A parent hears grad times its own value; it is its slope that stands beside it.",
            _times_value,
        ),
        Mistake("The number keeps what it hears, and tells nobody.", _alone),
        Mistake(
            "Each parent gets its share twice: it is added here, and again by its own backward.",
            _twice,
        ),
    ),
    right=(_with_a_list, _in_order),
)

TASKS = (BACKWARD,)

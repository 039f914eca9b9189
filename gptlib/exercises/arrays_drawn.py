"""Two exercises of appendix A: a token that a lot falls on, and what a cache weighs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gptlib.exercises.arrays_use import Arrays
from gptlib.exercises.question import Question
from gptlib.exercises.task import Mistake, Task

Array = NDArray[Any]


def drawn(logits: Array, lot: Array, temperature: float = 0.8) -> Array:
    """The token of each row, shape (B), on which its lot falls: logits (B, V), lot (B), 0 to 1."""
    x = (logits - logits.max(axis=-1, keepdims=True)) / temperature
    sums = np.exp(x).cumsum(axis=-1)  # (B, V)
    # Not quite 1 where they are divided: so the lot is multiplied.
    return (sums < lot[:, None] * sums[:, -1:]).sum(axis=-1)


def lots(seed: int) -> Iterator[tuple[Any, ...]]:
    """Chances of 1/4, 1/4 and 1/2, one lot on each; then others, warm and cold."""
    odds = torch.tensor([[1.0, 1.0, 2.0]], dtype=torch.float64).log()
    yield odds.repeat(3, 1), torch.tensor([0.1, 0.4, 0.9], dtype=torch.float64), 1.0
    draw = torch.Generator().manual_seed(seed)
    for temperature in (0.8, 2.0, 0.5):
        logits = 2 * torch.randn(40, 9, generator=draw, dtype=torch.float64)
        yield logits, torch.rand(40, generator=draw, dtype=torch.float64), temperature
    yield 2 * logits, torch.rand(40, generator=draw, dtype=torch.float64)  # at 0.8, unasked
    yield 1000 + 500 * logits, torch.rand(40, generator=draw, dtype=torch.float64), 0.8


def _drawn(
    chances: Callable[[Array, float], Array] = lambda x, t: x / t,
    sums: Callable[[Array], Array] = lambda p: p.cumsum(axis=-1),
    last: Callable[[Array, Array], Array] = lambda s, lot: (s < lot[:, None]).sum(axis=-1),
) -> Callable[..., Array]:
    """The whole, with one part of it exchanged."""

    def draw(logits: Array, lot: Array, temperature: float = 0.8) -> Array:
        x = chances(logits, temperature)
        p = np.exp(x - x.max(axis=-1, keepdims=True))
        return last(sums(p / p.sum(axis=-1, keepdims=True)), lot)

    return draw


DRAWN = Task(
    name="arrays.drawn",
    asks="Give for each row the token at which the running sum of the probabilities passes its "
    "lot.",
    reference=drawn,
    inputs=lots,
    use=Arrays(),
    kind="warm-up",
    hints=(
        "Lay the probabilities of a row side by side, from 0 to 1. On which of them does a lot of "
        "0.4 fall?",
        "The running sum, .cumsum(axis=-1), says where each token ends. How many have ended before "
        "the lot?",
        "p = softmax(logits / temperature), then (p.cumsum(axis=-1) < lot[:, None]).sum(axis=-1).",
    ),
    mistakes=(
        Mistake(
            "The lot is compared with each probability by itself. Side by side they reach from 0 "
            "to 1, and the running sum says where each ends.",
            _drawn(sums=lambda p: p),
        ),
        Mistake(
            "It gives the likeliest token, whatever the lot.",
            _drawn(last=lambda s, lot: np.diff(s, axis=-1, prepend=0).argmax(axis=-1)),
        ),
        Mistake(
            "One token too far: where no sum lies below the lot it falls on token 0.",
            _drawn(last=lambda s, lot: (s < lot[:, None]).sum(axis=-1) + 1),
        ),
        Mistake(
            "The tokens that end behind the lot are counted. Those before it say which one it is.",
            _drawn(last=lambda s, lot: (s >= lot[:, None]).sum(axis=-1)),
        ),
        Mistake(
            "The temperature is left out.",
            _drawn(chances=lambda x, t: x),
        ),
        Mistake(
            "The scores are multiplied by the temperature. A low one makes differences larger: "
            "divide.",
            _drawn(chances=lambda x, t: x * t),
        ),
        Mistake(
            "One lot is taken for every row. Each row has its own.",
            _drawn(last=lambda s, lot: (s < lot[0]).sum(axis=-1)),
        ),
        Mistake(
            "The sum runs down the rows. The probabilities of a row stand along the last axis.",
            _drawn(sums=lambda p: p.cumsum(axis=0)),
        ),
    ),
    right=(
        _drawn(),
        _drawn(last=lambda s, lot: (s >= lot[:, None] * s[:, -1:]).argmax(axis=-1)),
    ),
)


def _sizes(seed: int) -> dict[str, Any]:
    if seed == 0:
        return {"L": 48, "C": 1600, "T": 1024, "bits": 16}
    draw = Random(seed)
    return {
        "L": draw.choice((12, 24, 36)),
        "C": draw.choice((768, 1024, 1280)),
        "T": draw.choice((256, 512, 2048)),
        "bits": 16,
    }


def _bytes(share: int = 1, over: int = 1) -> Callable[..., int]:
    """So many times the right number, or a part of it."""
    return lambda L, C, T, bits: 2 * L * C * T * bits // 8 * share // over


CACHE_BYTES = Question(
    name="arrays.cache_bytes",
    asks="A model of the form of GPT-2 has {L} layers and is {C} wide. How many bytes does its "
    "cache hold for a text of {T} tokens, in numbers of {bits} bits? A whole number.",
    figures=_sizes,
    answer=_bytes(),
    hints=(
        "What is kept of a token in one layer, and how many numbers is it?",
        "A key and a value of C numbers each, whatever the number of heads: they share them out.",
        "2 · layers · C · tokens numbers, of 2 bytes each.",
    ),
    mistakes=(
        Mistake(
            "Half of it: a key and a value are kept, and each number takes 2 bytes.", _bytes(over=2)
        ),
        Mistake("These are bits; a byte has eight.", _bytes(share=8)),
        Mistake("A quarter of it: two are kept, and each number takes 2 bytes.", _bytes(over=4)),
        Mistake("This is one layer. Each keeps its own.", lambda L, C, T, bits: 4 * C * T),
        Mistake("This is one token. The text has more.", lambda L, C, T, bits: 4 * L * C),
        Mistake("That would be numbers of 32 bits.", _bytes(share=2)),
    ),
    because="The number of heads does not enter: they share the C numbers of a key among them.",
)

"""Exercises of chapter 9 around RoPE: the turn itself, and what a score makes of places."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from itertools import count
from typing import Any

import torch

from gptlib.exercises.question import Question
from gptlib.exercises.slopes import CUT, WithSlopes
from gptlib.exercises.task import Mistake, Task
from gptlib.rope import Rope, rope_speeds, rotate

Tensor = torch.Tensor
Turn = Callable[..., Tensor]


def turns(T: int, head_size: int, start: int = 0) -> tuple[Tensor, Tensor]:
    """Cosines and sines of T places: two of (T, head_size / 2), with a base of 10.

    turns(1, 2)[0] -> [[1.0]]
    """
    angles = torch.arange(start, start + T)[:, None] * rope_speeds(head_size, 10.0)
    return angles.cos(), angles.sin()


def turned_texts(seed: int) -> Iterator[tuple[Any, ...]]:
    """One token whose two pairs turn by other angles; then more tokens, heads and texts."""
    draw = torch.Generator().manual_seed(seed)
    cos, sin = torch.tensor([[0.6, 0.8]]), torch.tensor([[0.8, -0.6]])
    yield torch.tensor([[1.0, 2.0, 3.0, 5.0]]), cos, sin
    for shape in ((3, 4), (2, 3, 5, 6), (1, 2, 2, 2)):
        yield torch.randn(shape, generator=draw), *turns(*shape[-2:], start=1)
    x, (cos, sin) = torch.randn(2, 8, generator=draw), turns(2, 8)
    yield x.double(), cos.double(), sin.double()


def _halves(turn: Callable[..., tuple[Tensor, Tensor]]) -> Turn:
    """From the two numbers of each pair, a and b, and their angle, the two that come out."""

    def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        return torch.cat(turn(*x.chunk(2, dim=-1), cos, sin), dim=-1)

    return rotated


def _overwritten(a: Tensor, b: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    a = a * cos - b * sin
    return a, a * sin + b * cos


def _neighbours(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x[..., ::2], x[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2)


def _shuffled(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=-1)
    return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2)


def _at_once(double: Callable[[Tensor], Tensor]) -> Turn:
    """The turn without halves: x times its cosines, and its halves exchanged times the sines."""

    def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        a, b = x.chunk(2, dim=-1)
        return x * double(cos) + torch.cat((-b, a), dim=-1) * double(sin)

    return rotated


def _complex(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    out = torch.complex(*(half.contiguous() for half in x.chunk(2, dim=-1)))
    out = out * torch.complex(cos, sin)
    return torch.cat((out.real, out.imag), dim=-1)


ROTATE = Task(
    name="modern.rotate",
    asks="Turn each pair of numbers, i and i + hs / 2, by its angle.",
    reference=rotate,
    inputs=turned_texts,
    anywhere=True,
    use=WithSlopes("x"),
    hints=(
        "Where does a quarter turn take the point (1, 0), and where (0, 1)? Each of the two new "
        "numbers is made of both old ones.",
        "x.chunk(2, dim=-1) gives a and b, the first and the second number of every pair, of the "
        "shape of cos and sin at their ends. The turn makes a·cos - b·sin of a. And of b?",
        "torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)",
    ),
    mistakes=(
        Mistake(
            "The pairs are neighbours, numbers 0 and 1, 2 and 3. Here number i goes with number "
            "i + hs / 2. (Either would do, if all weights were made for it.)",
            _neighbours,
        ),
        Mistake(
            "The halves are taken apart rightly, and what comes out is put together as if the "
            "pairs were neighbours.",
            _shuffled,
        ),
        Mistake(
            "The pairs are taken as neighbours, and what comes out is put together in halves.",
            lambda x, cos, sin: rotate(torch.cat((x[..., ::2], x[..., 1::2]), -1), cos, sin),
        ),
        Mistake(
            "It turns backwards: a quarter turn takes (1, 0) to (0, -1). The minus sign belongs to "
            "the first half of what comes out.",
            _halves(lambda a, b, cos, sin: (a * cos + b * sin, b * cos - a * sin)),
        ),
        Mistake(
            "There is no minus sign: both halves are sums, and the pair changes its length.",
            _halves(lambda a, b, cos, sin: (a * cos + b * sin, a * sin + b * cos)),
        ),
        Mistake(
            "Both halves have a minus sign, and the pair changes its length.",
            _halves(lambda a, b, cos, sin: (a * cos - b * sin, a * sin - b * cos)),
        ),
        Mistake(
            "a is overwritten before the second half is made: that half needs the a of before.",
            _halves(_overwritten),
        ),
        Mistake(
            "Sine and cosine have changed places.",
            _halves(lambda a, b, cos, sin: (a * sin - b * cos, a * cos + b * sin)),
        ),
        Mistake(
            "The first half is turned and the second is left as it was.",
            _halves(lambda a, b, cos, sin: (a * cos - b * sin, b)),
        ),
        Mistake(
            "Each half is multiplied, and nothing of the other half comes in: that stretches, and "
            "does not turn.",
            _halves(lambda a, b, cos, sin: (a * cos, b * sin)),
        ),
        Mistake(
            "The numbers of a pair get angles of different pairs: cos and sin are to be repeated "
            "as a whole, (c0, c1, c0, c1), and not each by itself, (c0, c0, c1, c1).",
            _at_once(lambda angle: angle.repeat_interleave(2, dim=-1)),
        ),
        Mistake(
            "All pairs turn by the angle of the first. Each has its own.",
            lambda x, cos, sin: rotate(x, cos[..., :1], sin[..., :1]),
        ),
        Mistake(
            "All tokens turn by the angles of the first place. Each place has its own.",
            lambda x, cos, sin: rotate(x, cos[:1], sin[:1]),
        ),
        Mistake(CUT, lambda x, cos, sin: rotate(x, cos, sin).detach()),
    ),
    right=(_at_once(lambda angle: torch.cat((angle, angle), dim=-1)), _complex),
)


# Measured -----------------------------------------------------------------------------------------


@cache
def score(seed: int, head_size: int, m: int, n: int, key_turns: bool = True) -> float:
    """The product of a query at place m and a key at place n, drawn anew from a seed."""
    q, k = torch.randn(2, head_size, generator=torch.Generator().manual_seed(seed))
    rope = Rope(head_size, 512)
    q = rope(q.view(1, 1, 1, -1), start=m)
    k = rope(k.view(1, 1, 1, -1), start=n) if key_turns else k
    return float((q * k).sum())


def changes(
    seed: int, head_size: int, m: int, n: int, shift: int, **how: bool
) -> tuple[float, ...]:
    """By how much the score changes: both moved, the query alone, the key alone."""
    at = [(m + shift, n + shift), (m + shift, n), (m, n + shift)]
    before = score(seed, head_size, m, n, **how)
    return tuple(round(score(seed, head_size, *one, **how) - before, 2) for one in at)


@cache
def drawn(seed: int) -> dict[str, Any]:
    """Two vectors with whose scores each way to go wrong gives something else."""
    for one in count(1000 * seed):
        figures: dict[str, Any] = {"seed": one, "head_size": 32, "m": 10, "n": 3, "shift": 100}
        _, query, key = changes(**figures)
        alone = changes(**figures, key_turns=False)[0]
        sizes = [query, -query, key, alone, query / 32**0.5]
        far = min(abs(a - b) for i, a in enumerate(sizes) for b in sizes[:i])
        before = score(one, 32, 10, 3)  # from 0 a change and what it leads to are the same
        if far > 0.5 and abs(query) > 2 and abs(before) > 0.5:
            return figures
    raise AssertionError("count does not end")


def _now(seed: int, head_size: int, m: int, n: int, shift: int) -> tuple[float, float]:
    places = ((m + shift, n + shift), (m + shift, n))
    both, query = (score(seed, head_size, *one) for one in places)
    return both, query


SHIFTED_SCORE = Question(
    name="modern.shifted_score",
    asks="torch.manual_seed({seed}); q, k = torch.randn(2, {head_size}). RoPE turns q by place {m} "
    "and k by place {n}, and their product is a score. By how much does the score change when both "
    "move {shift} places on, and by how much when q alone does? Two numbers in brackets, two "
    "places each.",
    figures=drawn,
    answer=lambda **figures: (0.0, changes(**figures)[1]),
    hints=(
        "Guess first: which of the two is near 0? What do the turns of q and k have in common when "
        "both stand further on?",
        "rope(q.view(1, 1, 1, -1), start=10) is the query at place 10. Multiply it by the turned "
        "key, and add up.",
        "score(110, 103) - score(10, 3), and score(110, 3) - score(10, 3).",
    ),
    mistakes=(
        Mistake(
            "The two have changed places: first both move, then q alone.",
            lambda **figures: (changes(**figures)[1], 0.0),
        ),
        Mistake(
            "These are the scores after the move. By how much they have changed is asked for.",
            _now,
        ),
        Mistake(
            "The sign is wrong: the score after the move minus the one before.",
            lambda **figures: (0.0, -changes(**figures)[1]),
        ),
        Mistake(
            "Here k has moved alone; q should.",
            lambda **figures: (0.0, changes(**figures)[2]),
        ),
        Mistake(
            "Only q has been turned. Its place then counts by itself; the key has to turn as well.",
            lambda **figures: changes(**figures, key_turns=False)[:2],
        ),
        Mistake(
            "The scores are divided by the root of the head size. Here the plain product is asked "
            "for.",
            lambda **figures: (0.0, changes(**figures)[1] / figures["head_size"] ** 0.5),
        ),
    ),
    because="Both turn by the same angle more, and a product does not see what both have in "
    "common: what is left is the distance. When one moves alone, the distance is another one.",
    within=0.02,
    places=2,
    kind="measurement",
)

TASKS = (ROTATE,)
QUESTIONS = (SHIFTED_SCORE,)

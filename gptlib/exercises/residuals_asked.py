"""Questions of chapter 5 that are answered on paper."""

from __future__ import annotations

from math import comb, perm, prod, sqrt
from random import Random
from typing import Any

from gptlib.exercises.question import Question
from gptlib.exercises.task import Mistake


def _slopes(seed: int) -> dict[str, Any]:
    if seed == 0:
        return {"slopes": (0.5, 0.5, -0.5, 0.1)}
    draw = Random(seed)
    up = [draw.choice((0.1, 0.2, 0.4, 0.5, 0.6)) for _ in range(3)]
    return {"slopes": (*up, -draw.choice((0.2, 0.3, 0.5)))}


def _around(slopes: tuple[float, ...]) -> float:
    return prod(1 + s for s in slopes)


SLOPES = Question(
    name="block.slopes",
    asks="Layers with the slopes {slopes}: the gradient at the input without shortcuts, and with. "
    "To four places.",
    figures=_slopes,
    answer=lambda slopes: (prod(slopes), _around(slopes)),
    within=2.5e-3,  # 1.24 is right
    places=4,
    hints=(
        "By the chain rule slopes along a path are multiplied. Which slope has x + f(x)?",
        "Without: the product of the slopes. With: each layer counts as 1 plus its slope.",
        "(0.5 * 0.5 * ..., 1.5 * 1.5 * ...) in the same way for all four.",
    ),
    mistakes=(
        Mistake(
            "The two have changed places: the shortcut keeps the gradient from fading.",
            lambda slopes: (_around(slopes), prod(slopes)),
        ),
        Mistake(
            "Slopes along a path are multiplied, not added.",
            lambda slopes: (sum(slopes), 1 + sum(slopes)),
        ),
        Mistake(
            "One 1 is added at the end. Each layer has a shortcut of its own, so that every factor "
            "has its 1.",
            lambda slopes: (prod(slopes), 1 + prod(slopes)),
        ),
        Mistake(
            "A sign is lost: one of the slopes is negative.",
            lambda slopes: (abs(prod(slopes)), _around(slopes)),
        ),
        Mistake(
            "With a shortcut a negative slope makes the factor smaller than 1.",
            lambda slopes: (prod(slopes), prod(1 + abs(s) for s in slopes)),
        ),
    ),
    because="Not one slope is different; each factor has got a 1.",
)


def _blocks(seed: int) -> dict[str, Any]:
    if seed == 0:
        return {"n_layer": 48, "n_embd": 1600, "n_head": 25}
    draw = Random(seed)
    n_head = draw.choice((4, 8, 12, 20))
    n_embd = n_head * draw.choice((32, 64, 80))
    return {"n_layer": draw.randrange(6, 40), "n_embd": n_embd, "n_head": n_head}


BLOCK_PARAMETERS = Question(
    name="block.parameters",
    asks="How many parameters have {n_layer} blocks of width {n_embd} with {n_head} heads and all "
    "biases?",
    figures=_blocks,
    answer=lambda n_layer, n_embd, n_head: n_layer * (12 * n_embd**2 + 13 * n_embd),
    hints=(
        "Which matrices has one block, and which of their shapes depend on the heads?",
        "Attention has 4 · C² weights, the feed-forward network 8 · C². Then the vectors: biases, "
        "and two norms.",
        "12 · C² + 13 · C for one block; then as many as there are blocks.",
    ),
    mistakes=(
        Mistake("This is one block.", lambda n_layer, n_embd, n_head: 12 * n_embd**2 + 13 * n_embd),
        Mistake(
            "The matrices are right; biases and norms are missing.",
            lambda n_layer, n_embd, n_head: n_layer * 12 * n_embd**2,
        ),
        Mistake(
            "The two norms are missing: scale and shift each.",
            lambda n_layer, n_embd, n_head: n_layer * (12 * n_embd**2 + 9 * n_embd),
        ),
        Mistake(
            "A block has two norms; one is counted.",
            lambda n_layer, n_embd, n_head: n_layer * (12 * n_embd**2 + 11 * n_embd),
        ),
        Mistake(
            "This is the whole GPT-2: its embeddings and its last norm belong to no block.",
            lambda n_layer, n_embd, n_head: (
                n_layer * (12 * n_embd**2 + 13 * n_embd) + (50257 + 1024 + 2) * n_embd
            ),
        ),
        Mistake(
            "The projection behind attention's heads is missing.",
            lambda n_layer, n_embd, n_head: n_layer * (11 * n_embd**2 + 12 * n_embd),
        ),
        Mistake(
            "Queries, keys and values are counted once for each head. The heads share the width.",
            lambda n_layer, n_embd, n_head: (
                n_layer * (12 * n_embd**2 + 13 * n_embd + (n_head - 1) * 3 * (n_embd**2 + n_embd))
            ),
        ),
    ),
    because="The heads share the width, so their number does not count.",
)


def _paths(seed: int) -> dict[str, Any]:
    if seed == 0:
        return {"parts": 24, "length": 5, "factor": 0.3}
    draw = Random(seed)
    return {"parts": draw.choice((16, 32, 40)), "length": draw.randrange(3, 7), "factor": 0.3}


def _best(parts: int, factor: float) -> int:
    return max(range(parts + 1), key=lambda k: comb(parts, k) * factor**k)


PATHS = Question(
    name="block.paths",
    asks="{parts} parts, each with a way around: how many paths go through exactly {length} of "
    "them? And paths of which length bring most together, if a part multiplies by {factor}?",
    figures=_paths,
    answer=lambda parts, length, factor: (comb(parts, length), _best(parts, factor)),
    hints=(
        "A path is known by the parts that it goes through. Does their order matter?",
        "comb(n, k) says how many ways there are to choose k of n. All paths of length k bring "
        "comb(n, k) times the factor to the power of k.",
        "from math import comb; then print comb(n, k) * factor**k for each k, and look.",
    ),
    mistakes=(
        Mistake(
            "At half of the parts there are most paths. Each of them brings little: the factor "
            "counts once for every part on the way.",
            lambda parts, length, factor: (comb(parts, length), parts // 2),
        ),
        Mistake(
            "The two have changed places: how many paths first.",
            lambda parts, length, factor: (_best(parts, factor), comb(parts, length)),
        ),
        Mistake(
            "The first chooses among the blocks; each has two parts to go through or around.",
            lambda parts, length, factor: (comb(parts // 2, length), _best(parts, factor)),
        ),
        Mistake(
            "The order in which the parts are chosen has been counted: a path meets them in one.",
            lambda parts, length, factor: (perm(parts, length), _best(parts, factor)),
        ),
        Mistake(
            "Each part has been chosen anew at each step: a path goes through a part once.",
            lambda parts, length, factor: (parts**length, _best(parts, factor)),
        ),
        Mistake(
            "A single path brings the more, the shorter it is. But there is one path of length 0.",
            lambda parts, length, factor: (comb(parts, length), 0),
        ),
        Mistake(
            "These are the paths with that many parts or fewer.",
            lambda parts, length, factor: (
                sum(comb(parts, k) for k in range(length + 1)),
                _best(parts, factor),
            ),
        ),
    ),
    because="Short paths carry more than their share: a deep residual network behaves like a crowd "
    "of much shallower ones.",
)


def _stream(seed: int) -> dict[str, Any]:
    if seed == 0:
        return {"start": 3.0, "n_layer": 8, "change": 1.0}
    draw = Random(seed)
    return {
        "start": float(draw.randrange(2, 5)),
        "n_layer": draw.choice((6, 12, 24, 48)),
        "change": draw.choice((0.2, 0.4, 1.0)),
    }


STREAM = Question(
    name="block.stream",
    asks="A stream of size {start} runs through {n_layer} blocks; each part adds an unrelated "
    "change of size {change}. How large is it at the end? To two places.",
    figures=_stream,
    answer=lambda start, n_layer, change: sqrt(start**2 + 2 * n_layer * change**2),
    within=5e-3,
    places=2,
    hints=(
        "Two unrelated changes are like two sides of a right-angled triangle. What adds up?",
        "The squares add: that of the start, and one for each change. How many has a block?",
        "sqrt(start² + 2 · n_layer · change²)",
    ),
    mistakes=(
        Mistake(
            "The sizes have been added. That would be right if all changes pointed one way.",
            lambda start, n_layer, change: start + 2 * n_layer * change,
        ),
        Mistake(
            "The sizes have been added, one a block. Squares add, and a block adds twice.",
            lambda start, n_layer, change: start + n_layer * change,
        ),
        Mistake(
            "A block adds twice: behind attention and behind the feed-forward network.",
            lambda start, n_layer, change: sqrt(start**2 + n_layer * change**2),
        ),
        Mistake(
            "What the stream began with is missing.",
            lambda start, n_layer, change: sqrt(2 * n_layer) * change,
        ),
        Mistake(
            "The start is unrelated to the changes, too: its square joins the others.",
            lambda start, n_layer, change: start + sqrt(2 * n_layer) * change,
        ),
        Mistake(
            "This is the square of the size: the root is missing.",
            lambda start, n_layer, change: start**2 + 2 * n_layer * change**2,
        ),
    ),
    because="So a stream grows with the root of the depth, if its changes are unrelated.",
)


def _dropout(seed: int) -> dict[str, Any]:
    draw = Random(seed)
    value, p = draw.choice((2.0, 4.0, 5.0, 10.0)), draw.choice((0.1, 0.2, 0.6))
    return {"value": 3.0, "p": 0.25} if seed == 0 else {"value": value, "p": p}


DROPPED = Question(
    name="block.dropped",
    asks="{value} goes through a dropout of {p}: its value where it is kept, its mean over many "
    "steps of training, and its value in evaluation. To two places.",
    figures=_dropout,
    answer=lambda value, p: (value / (1 - p), value, value),
    within=1e-3,
    places=2,
    hints=(
        "How often is it kept, and what must it be then, so that the mean stays where it was?",
        "It is kept in a share 1 - p of the steps, and divided by that share.",
        "(value / (1 - p), (1 - p) times that, and the value itself)",
    ),
    mistakes=(
        Mistake(
            "What is kept is enlarged, so that the mean of training is the value of evaluation.",
            lambda value, p: (value, value * (1 - p), value),
        ),
        Mistake(
            "So it was done once: nothing is enlarged in training, and all is made smaller in "
            "evaluation. PyTorch's dropout does its work in training.",
            lambda value, p: (value, value * (1 - p), value * (1 - p)),
        ),
        Mistake(
            "In evaluation nothing is done to it.",
            lambda value, p: (value / (1 - p), value, value / (1 - p)),
        ),
        Mistake(
            "The training is right. In evaluation nothing is made smaller: its mean is there "
            "already.",
            lambda value, p: (value / (1 - p), value, value * (1 - p)),
        ),
        Mistake(
            "What is kept is made larger, not smaller: it makes up for what is gone.",
            lambda value, p: (value * (1 - p), value, value),
        ),
        Mistake(
            "What is kept is enlarged by too little: divide by the share that stays.",
            lambda value, p: (value * (1 + p), value, value),
        ),
        Mistake(
            "The mean counts the steps in which it is zero, too.",
            lambda value, p: (value / (1 - p), value / (1 - p), value),
        ),
        Mistake(
            "It is divided by the share that stays, not by the share that goes.",
            lambda value, p: (value / p, value, value),
        ),
    ),
    because="Training has the mean of evaluation, at every place.",
)


QUESTIONS = (SLOPES, BLOCK_PARAMETERS, PATHS, STREAM, DROPPED)

"""Questions of chapter 9 that are answered on paper: weights, bytes, and how far a window sees."""

from __future__ import annotations

from random import Random
from typing import Any

from gptlib.exercises.question import Question
from gptlib.exercises.task import Mistake


def _widths(seed: int) -> dict[str, Any]:
    return {"n_embd": 768 if seed == 0 else 48 * Random(seed).randrange(2, 60)}


SWIGLU_COUNT = Question(
    name="modern.swiglu_count",
    asks="Two matrices without biases widen {n_embd} numbers to four times as many and narrow them "
    "again. How many numbers inside may a SwiGLU network have, so that it has as many weights? And "
    "how many weights are these? Two whole numbers in brackets.",
    figures=_widths,
    answer=lambda n_embd: (8 * n_embd // 3, 8 * n_embd**2),
    hints=(
        "How many matrices has a SwiGLU network, and of which shapes?",
        "3 · C · hidden is to be 2 · C · 4C. What does the C in it do to hidden?",
        "hidden = 8/3 · C, and 8 · C² weights.",
    ),
    mistakes=(
        Mistake(
            "With four times the width the three matrices have 12 · C² weights, half as many more.",
            lambda n_embd: (4 * n_embd, 12 * n_embd**2),
        ),
        Mistake(
            "The hidden size is right; the weights are counted for two matrices. A SwiGLU network "
            "has three.",
            lambda n_embd: (8 * n_embd // 3, 2 * n_embd * (8 * n_embd // 3)),
        ),
        Mistake(
            "The gate is a matrix as well, and project another: three share 8 · C², not four.",
            lambda n_embd: (2 * n_embd, 8 * n_embd**2),
        ),
        Mistake(
            "Two matrices with four times the width have as many: that is the network that it is "
            "held against. SwiGLU has a third.",
            lambda n_embd: (4 * n_embd, 8 * n_embd**2),
        ),
        Mistake(
            "The two have changed places: the numbers inside come first.",
            lambda n_embd: (8 * n_embd**2, 8 * n_embd // 3),
        ),
    ),
    because="Three matrices share what two had, so each is two thirds as wide: 2/3 of 4 is 8/3.",
)


def _caches(seed: int) -> dict[str, Any]:
    if seed == 0:
        return {"n_layer": 32, "n_head": 32, "n_kv_head": 8, "head_size": 128}
    draw = Random(seed)
    n_kv_head = draw.choice((2, 4, 8))
    n_head = n_kv_head * draw.choice((3, 4, 5))
    n_layer = draw.randrange(10, 60)
    return {"n_layer": n_layer, "n_head": n_head, "n_kv_head": n_kv_head, "head_size": 64}


def _bytes(n_layer: int, n_head: int, head_size: int) -> int:
    """Keys and values of one token, two bytes a number."""
    return 2 * n_layer * n_head * head_size * 2


CACHE_BYTES = Question(
    name="modern.cache_bytes",
    asks="A model of the shape of Llama 3: {n_layer} layers, {n_head} heads of queries that share "
    "{n_kv_head} heads of keys and values, {head_size} numbers a head, 16 bits a number. How many "
    "bytes of cache does each token cost? And how many would it be if nothing were shared? Two "
    "whole numbers in brackets.",
    figures=_caches,
    answer=lambda n_layer, n_head, n_kv_head, head_size: (
        _bytes(n_layer, n_kv_head, head_size),
        _bytes(n_layer, n_head, head_size),
    ),
    hints=(
        "What is kept of a token in one layer, and which of the two numbers of heads counts?",
        "Keys and values, so 2 · heads of keys · numbers a head, in every layer. 16 bits are two "
        "bytes.",
        "2 · layers · heads · numbers a head · 2 bytes, with the heads of keys, then with those of "
        "queries.",
    ),
    mistakes=(
        Mistake(
            "Only the keys are counted, or only the values: both are kept.",
            lambda n_layer, n_head, n_kv_head, head_size: (
                _bytes(n_layer, n_kv_head, head_size) // 2,
                _bytes(n_layer, n_head, head_size) // 2,
            ),
        ),
        Mistake(
            "These are four bytes a number, 32 bits. 16 bits are two.",
            lambda n_layer, n_head, n_kv_head, head_size: (
                2 * _bytes(n_layer, n_kv_head, head_size),
                2 * _bytes(n_layer, n_head, head_size),
            ),
        ),
        Mistake(
            "These are bits; a byte has eight of them.",
            lambda n_layer, n_head, n_kv_head, head_size: (
                8 * _bytes(n_layer, n_kv_head, head_size),
                8 * _bytes(n_layer, n_head, head_size),
            ),
        ),
        Mistake(
            "This is one layer; every layer keeps its own.",
            lambda n_layer, n_head, n_kv_head, head_size: (
                _bytes(1, n_kv_head, head_size),
                _bytes(1, n_head, head_size),
            ),
        ),
        Mistake(
            "The queries are counted as well. Nobody asks for an old query again.",
            lambda n_layer, n_head, n_kv_head, head_size: (
                _bytes(n_layer, n_kv_head, head_size) + _bytes(n_layer, n_head, head_size) // 2,
                _bytes(n_layer, n_head, head_size) * 3 // 2,
            ),
        ),
        Mistake(
            "The two have changed places: first what the shared heads cost.",
            lambda n_layer, n_head, n_kv_head, head_size: (
                _bytes(n_layer, n_head, head_size),
                _bytes(n_layer, n_kv_head, head_size),
            ),
        ),
    ),
    because="A key and a value for each head of keys in each layer. The heads of queries do not "
    "count: a query is asked once and forgotten.",
)


def _experts(seed: int) -> dict[str, Any]:
    if seed == 0:
        return {"n_embd": 48, "hidden": 64, "n_expert": 8, "n_active": 2}
    draw = Random(seed)
    n_expert, n_active = draw.choice(((6, 2), (12, 3), (16, 2), (16, 4)))
    n_embd, hidden = 16 * draw.randrange(3, 9), 8 * draw.randrange(5, 20)
    return {"n_embd": n_embd, "hidden": hidden, "n_expert": n_expert, "n_active": n_active}


def _layer(
    n_embd: int, hidden: int, n_expert: int, n_active: int, matrices: int = 3, router: bool = True
) -> tuple[int, int]:
    one, scores = matrices * n_embd * hidden, router * n_embd * n_expert
    return n_expert * one + scores, n_active * one + scores


ACTIVE = Question(
    name="modern.active",
    asks="A layer has a router and {n_expert} experts, SwiGLU networks of {n_embd} numbers a token "
    "and {hidden} inside, without biases. Each token asks {n_active} of them. How many parameters "
    "has the layer, and how many of them does a token meet? Two whole numbers in brackets.",
    figures=_experts,
    answer=lambda **figures: _layer(**figures),
    hints=(
        "Who decides which experts a token asks, and what does that cost?",
        "An expert has 3 · C · hidden weights. The router is one matrix that makes a score for "
        "each expert, and every token meets all of it.",
        "experts · 3 · C · hidden + C · experts; then with those that are asked in the place of "
        "the first factor.",
    ),
    mistakes=(
        Mistake(
            "The router is missing: a matrix from C numbers to one score for each expert.",
            lambda **figures: _layer(**figures, router=False),
        ),
        Mistake(
            "The router is counted for the experts that are asked alone. To find these it has to "
            "give all of them a score.",
            lambda **figures: (
                _layer(**figures)[0],
                _layer(**figures, router=False)[1] + figures["n_embd"] * figures["n_active"],
            ),
        ),
        Mistake(
            "Each expert has three matrices; two are counted.",
            lambda **figures: _layer(**figures, matrices=2),
        ),
        Mistake(
            "A token meets the experts that it asks, and not all of them.",
            lambda **figures: _layer(**figures)[:1] * 2,
        ),
        Mistake(
            "This is one expert; a token asks several.",
            lambda **figures: (
                _layer(**figures)[0],
                _layer(**{**figures, "n_active": 1})[1],
            ),
        ),
        Mistake(
            "The two have changed places: first all of them.",
            lambda **figures: _layer(**figures)[::-1],
        ),
    ),
    because="The router is asked by everybody, so it counts in both. What is known grows with the "
    "experts; what a token pays for, with those it asks.",
)


def _windows(seed: int) -> dict[str, Any]:
    if seed == 0:
        return {"n_layer": 4, "window": 32}
    draw = Random(seed)
    return {"n_layer": draw.randrange(3, 30), "window": draw.choice((16, 64, 128, 512))}


REACH = Question(
    name="modern.reach",
    asks="Each of {n_layer} layers sees a window of {window} tokens, the token itself among them. "
    "How many places back may a token stand that still has a say in what the last layer says?",
    figures=_windows,
    answer=lambda n_layer, window: n_layer * (window - 1),
    hints=(
        "How many places back is the oldest token that one layer sees?",
        "What the second layer sees at that place was made by the first, which looked back from "
        "there.",
        "(window - 1) places for each layer.",
    ),
    mistakes=(
        Mistake(
            "This is one layer. The next one sees what this one has gathered.",
            lambda n_layer, window: window - 1,
        ),
        Mistake(
            "The token itself belongs to its window: a window of two reaches one place back.",
            lambda n_layer, window: n_layer * window,
        ),
        Mistake(
            "This counts the tokens that have a say, the last one among them. How many places back "
            "the oldest stands is one fewer.",
            lambda n_layer, window: n_layer * (window - 1) + 1,
        ),
        Mistake(
            "The steps add up, they do not multiply: each layer takes one more of them.",
            lambda n_layer, window: (window - 1) ** n_layer,
        ),
    ),
    because="Each layer adds one step of window - 1. It is a chance, not a promise: what has "
    "walked that far was averaged with others at each stop.",
)

QUESTIONS = (SWIGLU_COUNT, CACHE_BYTES, ACTIVE, REACH)

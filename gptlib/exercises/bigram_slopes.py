"""Questions of chapter 2: gradients on paper."""

from __future__ import annotations

import math

from gptlib.exercises.question import Question
from gptlib.exercises.task import Mistake

SIDES = ((1, 2, 5), (3, 1, 6), (1, 2, 1), (2, 2, 1), (4, 1, 15))


def _gradient(weights: tuple[int, ...], happened: int) -> tuple[float, ...]:
    return tuple(w / sum(weights) - (k == happened) for k, w in enumerate(weights))


SAID_MINUS_HAPPENED = Question(
    name="bigram.said_minus_happened",
    asks="Three outcomes, numbered 0, 1 and 2, have the logits ln a, ln b and ln c, with (a, b, c) "
    "= {weights}. Outcome {happened} happens. What is the gradient of the loss for each logit? "
    "Answer with three numbers in brackets, of three decimals.",
    figures=lambda seed: {"weights": SIDES[seed % 5], "happened": (1, 0, 2, 1, 2)[seed % 5]},
    answer=_gradient,
    hints=(
        "The softmax of ln a, ln b and ln c: what is e to the power of ln a?",
        "The probabilities are a, b and c, each divided by their sum. The gradient is what was "
        "said minus what happened.",
        "p - y, with y = 1 for the outcome that happened and 0 for the others; the three sum to 0.",
    ),
    mistakes=(
        Mistake(
            "The signs are turned round: this is happened minus said, the way downhill. The "
            "gradient points uphill.",
            lambda weights, happened: tuple(-g for g in _gradient(weights, happened)),
        ),
        Mistake(
            "These are the probabilities, what was said. What happened is to be taken away.",
            lambda weights, happened: _gradient(weights, -1),
        ),
        Mistake(
            "The other outcomes have a gradient, too: their logits raise the sum below the line.",
            lambda weights, happened: tuple(
                g * (k == happened) for k, g in enumerate(_gradient(weights, happened))
            ),
        ),
        Mistake(
            "One is taken away from each: what did not happen has y = 0.",
            lambda weights, happened: tuple(g - 1 for g in _gradient(weights, -1)),
        ),
        Mistake(
            "The weights have to be divided by their sum before what happened is taken away.",
            lambda weights, happened: tuple(w - (k == happened) for k, w in enumerate(weights)),
        ),
        Mistake(
            "The logits themselves stand where their softmax belongs.",
            lambda weights, happened: tuple(
                math.log(w) - (k == happened) for k, w in enumerate(weights)
            ),
        ),
    ),
    because="Said minus happened: the right logit should rise, the others fall, by 0 in all.",
    within=0.005,
    places=3,
)

POINTS = ((3, 2), (2, 5), (4, 1), (5, 3), (6, 4))

TWO_WAYS = Question(
    name="bigram.two_ways",
    asks="Let a = z + w and loss = a · z, at z = {z} and w = {w}. What is the gradient of the loss "
    "for z, and for w? Answer with two numbers in brackets.",
    figures=lambda seed: dict(zip("zw", POINTS[seed % 5], strict=True)),
    answer=lambda z, w: (2 * z + w, z),
    hints=(
        "Draw the graph. In how many ways does z lead to the loss, and in how many does w?",
        "The slope of a product towards one factor is the other factor. z leads to it directly, "
        "and through a, with the slope 1.",
        "For z: a along the direct way, plus z · 1 along the way through a. For w there is the "
        "second way and no other.",
    ),
    mistakes=(
        Mistake(
            "One way from z is missing, the one through a: the ways are added.",
            lambda z, w: (z + w, z),
        ),
        Mistake(
            "One way from z is missing, the direct one: z is a factor of the loss itself.",
            lambda z, w: (z, z),
        ),
        Mistake(
            "The two ways from z are multiplied; along one way slopes are multiplied, and ways are "
            "added.",
            lambda z, w: ((z + w) * z, z),
        ),
        Mistake(
            "z is right. w leads to the loss through a, whose slope is the other factor.",
            lambda z, w: (2 * z + w, z + w),
        ),
        Mistake("z is right. w hears from a, and a hears z, not 1.", lambda z, w: (2 * z + w, 1)),
        Mistake("The two have changed places.", lambda z, w: (z, 2 * z + w)),
    ),
    because="z hears a directly and z through a; w hears z through a.",
)

QUESTIONS = (SAID_MINUS_HAPPENED, TWO_WAYS)

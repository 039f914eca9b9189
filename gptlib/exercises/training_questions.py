"""Questions of chapter 7 about its recipe: learning rates, first steps, tokens."""

from __future__ import annotations

import math
from random import Random
from typing import Any

from gptlib.exercises.question import Question
from gptlib.exercises.task import Mistake
from gptlib.recipe import TrainConfig, learning_rate


def choice_of(seed: int, book: dict[str, Any], **choices: list[Any]) -> dict[str, Any]:
    """The book's figures for seed 0; for another one a choice of each."""
    draw = Random(seed)
    return {**book, **{k: draw.choice(v) for k, v in choices.items()}} if seed else book


def schedule(seed: int) -> dict[str, Any]:
    """A run, and four of its steps: half-way up, the top, half-way down, the end."""
    book = {"steps": 100, "warmup": 10, "lr": 1e-3}
    told = choice_of(seed, book, steps=[200, 300, 600], warmup=[20, 40, 60], lr=[2e-3, 5e-3, 8e-3])
    warmup, end = told["warmup"], told["steps"]
    return {**told, "at": (warmup // 2, warmup, (warmup + end) // 2, end)}


def _rates(steps: int, warmup: int, lr: float, at: tuple[int, ...]) -> tuple[float, ...]:
    run = TrainConfig(steps=steps, warmup_steps=warmup, lr=lr)
    return tuple(learning_rate(step, run) for step in at)


RATES = Question(
    name="training.rates",
    asks="A run of {steps} steps climbs for {warmup} to {lr}, then falls along half a cosine to a "
    "tenth of that. What is the learning rate in the steps {at}? Four numbers in brackets, "
    "to five places.",
    figures=schedule,
    answer=_rates,
    hints=(
        "Which of the four steps are on the way up, and which on the way down?",
        "Step by step the climb adds the same. The third step is in the middle of the way down.",
        "Half of the top, the top, the middle between the top and a tenth of it, and that tenth.",
    ),
    mistakes=(
        Mistake(
            "The rate falls to a tenth, and not to nothing.",
            lambda steps, warmup, lr, at: (lr / 2, lr, lr / 2, 0.0),
        ),
        Mistake(
            "Half-way down is not half of the top: the way ends at a tenth.",
            lambda steps, warmup, lr, at: (lr / 2, lr, lr / 2, lr / 10),
        ),
        Mistake(
            "In the middle half of the way down is left, and the tenth below it as well.",
            lambda steps, warmup, lr, at: (lr / 2, lr, 0.9 * lr / 2, lr / 10),
        ),
        Mistake(
            "The climb begins at 0 and takes all of its steps: half of them are half of the way.",
            lambda steps, warmup, lr, at: (lr, lr, 0.55 * lr, lr / 10),
        ),
        Mistake(
            "The cosine begins where the climb ends, and not at step 0.",
            lambda steps, warmup, lr, at: (
                lr / 2,
                lr,
                lr * (0.1 + 0.45 * (1 + math.cos(math.pi * at[2] / steps))),
                lr / 10,
            ),
        ),
    ),
    because="Half of the top, the top, the middle between the top and a tenth of it, the tenth.",
    within=1e-3,
    places=5,
)

FIRST_STEPS = Question(
    name="training.first_steps",
    asks="How far does Adam's first step move a weight whose gradient is {large}, and how far one "
    "whose gradient is {small}? The learning rate is {lr}, there is no decay. Two numbers in "
    "brackets, to three places.",
    figures=lambda seed: choice_of(
        seed,
        {"lr": 0.01, "large": 5.0, "small": 0.00005},
        lr=[0.02, 0.003, 0.005],
        large=[3.0, 40.0, 8.0],
        small=[0.0001, 0.00002, 0.0005],
    ),
    answer=lambda lr, large, small: (lr, lr),
    hints=(
        "What are the two averages after a single gradient, once they are corrected?",
        "The average of the gradient is the gradient, that of the square its square. Divide the "
        "one by the root of the other.",
        "The quotient is 1 or -1, whatever the gradient was.",
    ),
    mistakes=(
        Mistake(
            "That is plain descent, rate times gradient. Adam divides by the gradient's size.",
            lambda lr, large, small: (lr * large, lr * small),
        ),
        Mistake(
            "That is the step without bias correction: a tenth of the gradient, divided by the "
            "root of a twentieth of its square.",
            lambda lr, large, small: (lr * 0.1 / 0.05**0.5,) * 2,
        ),
        Mistake(
            "That divides by the square; its root is meant.",
            lambda lr, large, small: (lr / large, lr / small),
        ),
        Mistake(
            "How far is asked for, without the direction.", lambda lr, large, small: (-lr, -lr)
        ),
        Mistake(
            "A tenth of the gradient enters the average, but the correction divides by a tenth.",
            lambda lr, large, small: (0.1 * lr, 0.1 * lr),
        ),
    ),
    because="After one gradient the corrected averages are that gradient and its square. So one "
    "rate can serve weights whose gradients differ by a factor of 100,000.",
    within=2e-3,
    places=3,
)

TOKENS_SEEN = Question(
    name="training.tokens_seen",
    asks="{steps} steps, each with {batch} windows of {context} tokens, each window drawn from "
    "{stories} beginnings of stories. How many tokens are read, how many windows, and how often "
    "is each beginning read on average? Two whole numbers, and one with two places.",
    figures=lambda seed: choice_of(
        seed,
        {"steps": 3100, "batch": 8, "context": 128, "stories": 30_000},
        steps=[2600, 4000, 5800],
        batch=[6, 12, 14],
        context=[64, 96],
    ),
    answer=lambda steps, batch, context, stories: (
        steps * batch * context,
        steps * batch,
        round(steps * batch / stories, 2),
    ),
    hints=(
        "What does one step read, in tokens?",
        "A step reads batch · context tokens in as many windows as the batch has. For the last "
        "number: windows, spread over all beginnings.",
        "steps · batch · context, steps · batch, and steps · batch / stories.",
    ),
    mistakes=(
        Mistake(
            "A batch holds several windows: each step reads more than one.",
            lambda steps, batch, context, stories: (
                steps * context, steps, round(steps / stories, 2),
            ),
        ),
        Mistake(
            "A window holds one id more, and that is the target of the last place; it is not read.",
            lambda steps, batch, context, stories: (
                steps * batch * (context + 1), steps * batch, round(steps * batch / stories, 2),
            ),
        ),
        Mistake(
            "The last number is upside down: windows for each story, not stories for each window.",
            lambda steps, batch, context, stories: (
                steps * batch * context, steps * batch, round(stories / (steps * batch), 2),
            ),
        ),
        Mistake(
            "The last number counts tokens for each story; the readings are counted in windows.",
            lambda steps, batch, context, stories: (
                steps * batch * context, steps * batch, round(steps * batch * context / stories, 2),
            ),
        ),
    ),
    because="Each window begins with a story, so windows for each beginning are how often it is "
    "read: in the book's run less than once.",
    within=5e-3,
    places=2,
)  # fmt: skip

QUESTIONS = (RATES, FIRST_STEPS, TOKENS_SEEN)

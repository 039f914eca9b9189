"""Exercises of chapter 7: how the learning rate goes up and down, and those of the other files."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from gptlib.exercises import (
    training_adamw,
    training_bug,
    training_costs,
    training_gradients,
    training_groups,
    training_questions,
    training_step,
)
from gptlib.exercises.task import Mistake, Task
from gptlib.recipe import TrainConfig, learning_rate

SIGNS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
SIGNS |= {"-": operator.sub}


def steps(seed: int) -> Iterator[tuple[Any, ...]]:
    """Steps of a run that climbs for 10 of 100; then of one of another length."""
    run = TrainConfig(steps=100, warmup_steps=10, lr=1e-3)
    yield from ((step, run) for step in (40, 5, 10, 1, 100, 55))
    draw = Random(seed)
    other = TrainConfig(steps=2000, warmup_steps=200, lr=0.004, min_lr_ratio=0.25)
    yield from ((draw.randrange(1, 2001), other) for _ in range(5))
    yield 1, TrainConfig(steps=20, warmup_steps=0)
    yield 10, TrainConfig(steps=10, warmup_steps=9)
    yield 10, TrainConfig(steps=10, warmup_steps=10)
    yield from ((step, TrainConfig(steps=300)) for step in (12, 120))  # 30 steps, and None is said


def _curve(
    share: Callable[[float], float] = lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    climb: Callable[[int, int], float] = lambda step, warmup: step / warmup,
    least: Callable[[TrainConfig], float] = lambda config: config.min_lr_ratio,
    done: Callable[[int, TrainConfig], float] = lambda step, config: (
        (step - config.warmup) / max(1, config.steps - config.warmup)
    ),
) -> Callable[[int, TrainConfig], float]:
    """The whole way, with one part of it exchanged."""

    def rate(step: int, config: TrainConfig) -> float:
        if step < config.warmup:
            return config.lr * climb(step, config.warmup)
        low = least(config)
        return config.lr * (low + share(done(step, config)) * (1 - low))

    return rate


def _asked(does: Callable[[int, Any], Any]) -> Callable[[int, TrainConfig], float]:
    """Right for as long as warmup_steps is a number."""

    def rate(step: int, config: TrainConfig) -> float:
        does(step, config.warmup_steps)
        return learning_rate(step, config)

    return rate


def _linear(step: int, config: TrainConfig) -> float:
    ends = config.steps - config.warmup
    done = (step - config.warmup) / max(1, ends)
    top, low = config.lr, config.lr * config.min_lr_ratio
    return top * step / config.warmup if step < config.warmup else low + _half(done) * (top - low)


def _half(done: float) -> float:
    """Half a cosine by another formula: the square of the cosine of half the angle."""
    return math.cos(math.pi * done / 2) ** 2


LEARNING_RATE = Task(
    name="training.learning_rate",
    asks="Straight up to lr at step warmup, then down half a cosine to lr · min_lr_ratio.",
    reference=learning_rate,
    inputs=steps,
    hints=(
        "Two pieces. Which share of the way down has been gone at a step, from 0 to 1?",
        "Behind the warm-up: done = (step - warmup) / (steps - warmup); half of 1 + cos(π·done) "
        "goes from 1 to 0.",
        "lr * (min_lr_ratio + share * (1 - min_lr_ratio)), and lr * step / warmup before.",
    ),
    mistakes=(
        Mistake(
            "The way down is a straight line; half a cosine is asked for.", _curve(lambda d: 1 - d)
        ),
        Mistake(
            "The way down is a quarter of a cosine: it ends steeply instead of flat.",
            _curve(lambda d: math.cos(math.pi * d / 2)),
        ),
        Mistake(
            "The cosine has no half in front: it goes from 2 to 0.",
            _curve(lambda d: 1 + math.cos(math.pi * d)),
        ),
        Mistake(
            "The way down is counted from step 0; it begins at the end of the warm-up.",
            _curve(done=lambda step, config: step / config.steps),
        ),
        Mistake(
            "The rate falls to 0; it should fall to lr · min_lr_ratio.", _curve(least=lambda c: 0.0)
        ),
        Mistake(
            "The lowest rate is added on top: the way begins above lr.",
            lambda step, c: (
                learning_rate(step, c)
                if step < c.warmup
                else _curve(least=lambda _: 0.0)(step, c) + c.lr * c.min_lr_ratio
            ),
        ),
        Mistake("There is no warm-up.", _curve(climb=lambda step, warmup: 1.0)),
        Mistake(
            "The warm-up is one step ahead: it reaches lr at step warmup - 1.",
            _curve(climb=lambda step, warmup: (step + 1) / warmup),
        ),
        Mistake(
            "The warm-up is one step late: steps are counted from 1.",
            _curve(climb=lambda step, warmup: (step - 1) / warmup),
        ),
        Mistake("The rate stays at its height.", _curve(lambda d: 1.0)),
        *(
            Mistake(
                "`config.warmup_steps` is what was asked for. It may be None, as in the presets, "
                f"and `{sign}` fails with None; `config.warmup` is the number that comes of it.",
                _asked(does),
            )
            for sign, does in SIGNS.items()
        ),
    ),
    right=(_curve(), _linear),
)

TASKS = (
    *training_adamw.TASKS,
    *training_groups.TASKS,
    LEARNING_RATE,
    *training_step.TASKS,
    *training_gradients.TASKS,
    *training_bug.TASKS,
)
QUESTIONS = training_questions.QUESTIONS + training_costs.QUESTIONS

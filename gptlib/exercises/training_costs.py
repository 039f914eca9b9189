"""Questions of chapter 7: memory, what decay leaves, and how long a valley takes."""

from __future__ import annotations

import math

import torch

from gptlib.exercises.question import Question
from gptlib.exercises.task import Mistake
from gptlib.exercises.training_questions import choice_of

ADAMW_BYTES = Question(
    name="training.adamw_bytes",
    asks="A model has {parameters} parameters in float32. How many bytes do its weights, their "
    "gradients and what AdamW remembers take together?",
    figures=lambda seed: choice_of(
        seed, {"parameters": 303_680}, parameters=[124_439_808, 809_856, 10_770_816]
    ),
    answer=lambda parameters: 16 * parameters,
    hints=(
        "What does AdamW keep from one step to the next, for each weight?",
        "Two averages for each weight; with the weight and its gradient that makes four numbers.",
        "A number in float32 has 4 bytes: 4 · 4 · parameters.",
    ),
    mistakes=(
        Mistake(
            "AdamW keeps two numbers for each weight, the average of the gradient and that of its "
            "square.",
            lambda parameters: 12 * parameters,
        ),
        Mistake("That is what AdamW remembers alone.", lambda parameters: 8 * parameters),
        Mistake("These are numbers; a float32 has four bytes.", lambda parameters: 4 * parameters),
        Mistake("These are bits; a byte has eight of them.", lambda parameters: 128 * parameters),
        Mistake(
            "A float32 has four bytes; eight are a double's.", lambda parameters: 32 * parameters
        ),
    ),
    because="Weight, gradient and two averages, 4 bytes each: 16 bytes a parameter, four times "
    "what the weights take alone.",
)

DECAY_LEFT = Question(
    name="training.decay_left",
    asks="The loss does not care about a weight of 1. What is left of it after {steps} steps at a "
    "learning rate of {lr} and a decay of {decay}? Two places.",
    figures=lambda seed: choice_of(
        seed,
        {"steps": 2000, "lr": 0.003, "decay": 0.1},
        steps=[1500, 2500, 3000],
        lr=[0.002, 0.003],
        decay=[0.1, 0.15],
    ),
    answer=lambda steps, lr, decay: round((1 - lr * decay) ** steps, 2),
    hints=(
        "Which share of the weight does one step leave?",
        "A step leaves 1 - lr · decay of it, the next the same share of what is left.",
        "(1 - lr * decay) ** steps.",
    ),
    mistakes=(
        Mistake(
            "Each step takes its share of what is left, and not of the 1 that it once was.",
            lambda steps, lr, decay: round(1 - steps * lr * decay, 2),
        ),
        Mistake(
            "The decay is multiplied by the learning rate before it takes anything.",
            lambda steps, lr, decay: round((1 - decay) ** steps, 2),
        ),
        Mistake(
            "That is what a single step leaves.",
            lambda steps, lr, decay: round(1 - lr * decay, 2),
        ),
        Mistake(
            "That is what has gone; what is left is asked for.",
            lambda steps, lr, decay: round(1 - (1 - lr * decay) ** steps, 2),
        ),
    ),
    because="A share of what is left goes at each step: the weight falls like e to the power of "
    "-lr · decay · steps.",
    within=5e-3,
    places=2,
)


def _steps_until(lr: float, below: float) -> int:
    """Walk down the chapter's valley by the plain rule; count the updates until b is below."""
    w, updates = torch.tensor([1.0, 10.0], dtype=torch.float64), 0
    while w[1] >= below:
        w = w - lr * torch.tensor([100.0, 0.1], dtype=torch.float64) * w
        updates += 1
    return updates


VALLEY = Question(
    name="training.valley",
    asks="Plain descent in the valley, from (1, 10), at the rate {lr}: after how many updates is "
    "the flat weight b below {below} for the first time? Measure it with walk.",
    figures=lambda seed: choice_of(
        seed,
        {"lr": 0.019, "below": 5.0},
        lr=[0.018, 0.017, 0.015],
        below=[4.0, 3.5, 6.0],
    ),
    answer=_steps_until,
    hints=(
        "walk takes a number of steps. Is sixty enough? What does path[0] hold?",
        "path[k] is the place after k updates: path = walk(lambda g, memory, step: lr * g, 2000), "
        "and path[:, 1] is b.",
        "int((path[:, 1] >= below).sum()): as many places as are not yet below.",
    ),
    mistakes=(
        Mistake(
            "One too many: path[0] is the place before any update.",
            lambda lr, below: _steps_until(lr, below) + 1,
        ),
        Mistake(
            "One too few: there b is not below it yet.",
            lambda lr, below: _steps_until(lr, below) - 1,
        ),
        Mistake(
            "A step takes a tenth of lr of what is left of b. As long as b is large that is more "
            "than later, so a straight line arrives too soon.",
            lambda lr, below: math.ceil((10 - below) / (0.1 * lr * 10)),
        ),
        Mistake(
            "That is the steep weight, a, which is down at once or jumps.",
            lambda lr, below: 0,
        ),
    ),
    because="Each update leaves 1 - 0.1 · lr of b, and a rate above 0.02 throws the steep weight "
    "out of the valley: hundreds of updates for half of the way.",
    kind="measurement",
)

QUESTIONS = (ADAMW_BYTES, DECAY_LEFT, VALLEY)

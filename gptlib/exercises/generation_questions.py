"""Questions of chapter 8: a distribution by hand, what a story costs, how many are enough."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import torch

from gptlib.exercises.question import Question
from gptlib.exercises.task import Mistake
from gptlib.exercises.training_questions import choice_of
from gptlib.generation import keep_top_p
from gptlib.given.records import load_recorded
from gptlib.gpt import GPT, GPTConfig

Shares = tuple[float, ...]


def _scaled(numbers: list[float]) -> Shares:
    return tuple(round(number / sum(numbers), 2) for number in numbers)


def _cooled(probs: Shares, T: float) -> Shares:
    return _scaled([p ** (1 / T) for p in probs])


def three(seed: int) -> dict[str, Any]:
    """Three probabilities, falling, and a temperature."""
    sets = [(0.5, 0.4, 0.1), (0.7, 0.2, 0.1), (0.5, 0.3, 0.2)]
    return choice_of(seed, {"probs": (0.6, 0.3, 0.1), "T": 0.5}, probs=sets)


COOLED = Question(
    name="generation.cooled",
    asks="A model gives {probs} to three tokens. What does temperature {T} make of it? Three "
    "numbers in brackets, two places each.",
    figures=three,
    answer=_cooled,
    hints=(
        "What does dividing a logarithm by T do to what stands inside of it?",
        "Every probability is raised to the power 1/T, at 0.5 it is squared. Do they still add up "
        "to 1?",
        "Square, add the squares up, divide each by the sum.",
    ),
    mistakes=(
        Mistake(
            "The squares alone do not add up to 1: each is to be divided by their sum.",
            lambda probs, T: tuple(round(p ** (1 / T), 2) for p in probs),
        ),
        Mistake(
            "That is the power T, a root: the likely tokens have lost. The power is 1/T.",
            lambda probs, T: _scaled([p**T for p in probs]),
        ),
        Mistake(
            "The probabilities were divided by T and scaled back: nothing has changed. It is the "
            "logits that are divided.",
            lambda probs, T: probs,
        ),
        Mistake(
            "The probabilities were taken for logits; a logit is the logarithm of one.",
            lambda probs, T: _scaled([math.exp(p / T) for p in probs]),
        ),
    ),
    because="Squares, divided by their sum. What was twice as likely is now four times as likely.",
    within=0.02,
    places=2,
)


def _cut_by_hand(probs: Shares, p: float) -> Shares:
    kept = keep_top_p(torch.tensor(probs), p)
    return tuple(round(float(share), 2) for share in kept)


CUT = Question(
    name="generation.cut",
    asks="And top-p with {p} alone, of {probs}? Three numbers in brackets, two places each.",
    figures=lambda seed: choice_of(
        seed,
        {"probs": (0.6, 0.3, 0.1), "p": 0.8},
        probs=[(0.5, 0.4, 0.1), (0.55, 0.3, 0.15)],
        p=[0.7, 0.8],
    ),
    answer=_cut_by_hand,
    hints=(
        "Go down from the most likely token. After which one is p reached?",
        "The one with which p is reached stays, the others go. What is left does not add up to 1.",
        "Two stay; divide each by the sum of the two.",
    ),
    mistakes=(
        Mistake(
            "The first alone does not reach p; the token with which it is reached stays, too.",
            lambda probs, p: (1.0, 0.0, 0.0),
        ),
        Mistake(
            "What stays is to be scaled to a sum of 1.", lambda probs, p: (*probs[:2], 0.0)
        ),
        Mistake(
            "p is reached after two tokens: the third goes.", lambda probs, p: probs
        ),
        Mistake(
            "Those that stay keep their proportions; they do not become equal.",
            lambda probs, p: (0.5, 0.5, 0.0),
        ),
    ),
    because="Two tokens reach p together, and are divided by their sum.",
    within=0.02,
    places=2,
)  # fmt: skip

STORY_COST = Question(
    name="generation.story_cost",
    asks="A story of {n} tokens is written after END, and the loop shows the model everything "
    "again for each new token. On how many tokens does the model work in all? And on how many if "
    "each is worked on once? Two whole numbers in brackets.",
    figures=lambda seed: choice_of(seed, {"n": 95}, n=[60, 80, 110, 120]),
    answer=lambda n: (n * (n + 1) // 2, n),
    hints=(
        "How many tokens does the first call see, and how many the last?",
        "1 + 2 + … + n. The last token that is written is not read any more.",
        "n · (n + 1) / 2, and n.",
    ),
    mistakes=(
        Mistake(
            "The first call sees END, one token, and not none.", lambda n: (n * (n - 1) // 2, n)
        ),
        Mistake(
            "The last call sees END and all tokens but the one that it is to make.",
            lambda n: ((n + 1) * (n + 2) // 2, n + 1),
        ),
        Mistake(
            "The calls do not all see the whole story: they begin with one token.",
            lambda n: (n * n, n),
        ),
        Mistake("Half of n times n forgets the diagonal.", lambda n: (n * n / 2, n)),
    ),
    because="1 + 2 + … + n against n: about n/2 times as many. No token looks at later ones, so "
    "what was computed for the earlier ones stays right and can be kept.",
)


def _enough(one: float, other: float, errors: float = 2.0, both: bool = True) -> int:
    """Texts for each setting, so that the difference is as many standard errors wide."""
    spread = one * (1 - one) + both * other * (1 - other)
    return math.ceil(spread * (errors / (one - other)) ** 2)


STORIES_NEEDED = Question(
    name="generation.stories_needed",
    asks="One setting writes well-formed stories with a share of {one}, another with {other}. How "
    "many stories of each are needed, so that the difference is twice its standard error?",
    figures=lambda seed: choice_of(
        seed, {"one": 0.92, "other": 0.90}, one=[0.94, 0.95], other=[0.90, 0.91, 0.92]
    ),
    answer=_enough,
    hints=(
        "What is the standard error of one share p, measured on n stories? And of a difference?",
        "The root of p(1 - p)/n; for a difference the two squares add up. This is to be half of "
        "the difference.",
        "(p(1 - p) + q(1 - q)) / n = ((p - q) / 2)²: solve for n.",
    ),
    mistakes=(
        Mistake(
            "Both shares are uncertain: their squared errors add up.",
            lambda one, other: _enough(one, other, both=False),
        ),
        Mistake(
            "With so many the difference is one standard error; two are asked for.",
            lambda one, other: _enough(one, other, errors=1.0),
        ),
        Mistake(
            "The error falls with the root of n: half of it needs four times as many stories, and "
            "not twice as many.",
            lambda one, other: _enough(one, other, errors=2**0.5),
        ),
        Mistake(
            "That is for both settings together; how many of each is asked for.",
            lambda one, other: 2 * _enough(one, other),
        ),
    ),
    because="The standard error of the difference has to fall to half of the difference, and it "
    "falls with the root of the number of stories.",
    within=0.03,
)


def beginnings() -> torch.Tensor:
    """The recorded model's probabilities (V) for the token after END."""
    model = GPT(GPTConfig.preset("stories")).eval()
    load_recorded(model, "stories")
    end = model.config.vocab_size - 1  # special tokens come last
    with torch.no_grad():
        probs: torch.Tensor = model(torch.tensor([[end]]))[0][0, -1].softmax(dim=-1)
    return probs


@cache
def _kept(p: float) -> int:
    return int((keep_top_p(beginnings(), p) > 0).sum())


FIRST_WORDS = Question(
    name="generation.first_words",
    asks="The model of this chapter is asked for the first token of a story, right behind END. "
    "How many tokens does top-p {p} keep? Measure it.",
    figures=lambda seed: choice_of(seed, {"p": 0.9}, p=[0.6, 0.8, 0.95]),
    answer=_kept,
    hints=(
        "start holds END alone. Which logits of model(start) speak about the first token?",
        "model(start)[0][0, -1] are the logits; softmax, then keep_top_p.",
        "int((keep_top_p(model(start)[0][0, -1].softmax(dim=0), p) > 0).sum()), under "
        "torch.no_grad().",
    ),
    mistakes=(
        Mistake(
            "One too few: the token with which p is reached belongs to those that stay.",
            lambda p: _kept(p) - 1,
        ),
        Mistake("One too many: without the last of them p is reached as well.",
                lambda p: _kept(p) + 1),
        Mistake(
            "No single token has that much; it is the sum of those that stay that counts.",
            lambda p: 0,
        ),
        Mistake(
            "That is how many top-p drops.",
            lambda p: 1536 - _kept(p),
        ),
        Mistake(
            "That is how many there are; nothing was cut.",
            lambda p: 1536,
        ),
    ),
    because="A story can begin in many ways, so the first place is wide, and top-p keeps it so.",
    kind="measurement",
)  # fmt: skip

QUESTIONS = (COOLED, CUT, STORY_COST, STORIES_NEEDED, FIRST_WORDS)

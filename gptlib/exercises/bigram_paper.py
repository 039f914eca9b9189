"""Questions of chapter 2: on paper, and one measurement."""

from __future__ import annotations

import math
from collections import Counter
from functools import cache
from itertools import pairwise
from typing import Any

import torch

from gptlib.exercises.question import Question
from gptlib.exercises.task import Mistake

LINE = "eels_see_less_sleet"
WORDS = ("less", "see", "sleet", "lees", "sees")


def _prices(word: str) -> list[float]:
    """The probability of each step from `_` through the word, by the counts of LINE."""
    pairs, begins = Counter(pairwise(LINE)), Counter(LINE[:-1])
    return [pairs[a, b] / begins[a] for a, b in pairwise("_" + word)]


def _score(ps: list[float], n: int | None = None) -> tuple[float, float]:
    return math.prod(ps), -sum(map(math.log, ps)) / (n or len(ps))


SURPRISE = Question(
    name="bigram.surprise",
    asks="In the line eels_see_less_sleet: what is the probability of {word}, given that we stand "
    "on a `_`, and what is its mean surprise per letter, in nats? Answer with two numbers in "
    "brackets, the first with four decimals and the second with three.",
    figures=lambda seed: {"word": WORDS[seed % len(WORDS)]},
    answer=lambda word: _score(_prices(word)),
    hints=(
        "How many steps are there from the `_` to the last letter, and what is the row of each?",
        "For each step: how often the pair stands in the line, divided by how often its beginning "
        "is followed by anything. The probability is their product.",
        "The mean surprise is minus the logarithm of the product, divided by how many letters.",
    ),
    mistakes=(
        Mistake(
            "The two have changed places: the probability first.",
            lambda word: _score(_prices(word))[::-1],
        ),
        Mistake(
            "The first step is missing: from the `_` to the first letter there is a choice, too.",
            lambda word: _score(_prices(word)[1:]),
        ),
        Mistake(
            "The probability is right; this is the surprise of the whole word. The mean per letter "
            "is asked for.",
            lambda word: _score(_prices(word), 1),
        ),
        Mistake(
            "The probability is right. These are bits; nats are asked for.",
            lambda word: (_score(_prices(word))[0], _score(_prices(word))[1] / math.log(2)),
        ),
        Mistake(
            "The probability is right. A surprise is minus a logarithm, and not negative.",
            lambda word: (_score(_prices(word))[0], -_score(_prices(word))[1]),
        ),
        Mistake(
            "The probability is right. There are as many steps as letters: the `_` is given.",
            lambda word: _score(_prices(word), len(word) + 1),
        ),
        Mistake(
            "The probabilities are added; that one and the other step happen is their product.",
            lambda word: (sum(_prices(word)), _score(_prices(word))[1]),
        ),
    ),
    because="The product of the steps, and minus its logarithm shared out among the letters.",
    within=0.005,
    places=(4, 3),
)

PERPLEXITY = Question(
    name="bigram.perplexity",
    asks="A model has a perplexity of {perplexity} per token. What is its loss in nats, and in "
    "bits? Answer with two numbers in brackets, of three decimals.",
    figures=lambda seed: {"perplexity": (8, 20, 32, 5, 100)[seed % 5]},
    answer=lambda perplexity: (math.log(perplexity), math.log2(perplexity)),
    hints=(
        "Perplexity is e to the loss. What undoes that?",
        "The natural logarithm gives nats; divided by ln 2 they are bits.",
        "math.log(perplexity) and math.log2(perplexity).",
    ),
    mistakes=(
        Mistake(
            "The two have changed places: nats first, and a nat is more than a bit.",
            lambda perplexity: (math.log2(perplexity), math.log(perplexity)),
        ),
        Mistake(
            "The decimal logarithm stands where the natural one belongs.",
            lambda perplexity: (math.log10(perplexity), math.log2(perplexity)),
        ),
        Mistake(
            "The nats are right. They are multiplied by ln 2; a bit is smaller than a nat, so "
            "there are more of them.",
            lambda perplexity: (math.log(perplexity), math.log(perplexity) * math.log(2)),
        ),
        Mistake(
            "The perplexity is taken for the loss; the loss is its logarithm.",
            lambda perplexity: (perplexity, perplexity / math.log(2)),
        ),
        Mistake(
            "A loss is not negative: the logarithm of a number above 1 is above 0.",
            lambda perplexity: (-math.log(perplexity), -math.log2(perplexity)),
        ),
    ),
    because="As unsure as somebody who throws a fair die with that many sides.",
    within=0.001,
    places=3,
)

BEGINNING = Question(
    name="bigram.beginning",
    asks="A BigramModel with {V} tokens, before any training. How many parameters does it have, "
    "and what is its loss in nats? Answer with two numbers in brackets, the second with two "
    "decimals.",
    figures=lambda seed: {"V": (1000, 64, 512, 256, 800)[seed % 5]},
    answer=lambda V: (V * V, math.log(V)),
    hints=(
        "How many rows does its table have, and how many numbers are in a row?",
        "All logits are 0. What does their softmax say for each token, and what does that cost?",
        "V rows of V numbers; minus the logarithm of 1/V.",
    ),
    mistakes=(
        Mistake(
            "The two have changed places: the parameters first.",
            lambda V: (math.log(V), V * V),
        ),
        Mistake(
            "The loss is right. The model has its table and no bias: a row of V logits a token.",
            lambda V: (V * V + V, math.log(V)),
        ),
        Mistake(
            "The loss is right. The table has a whole row of logits for each token.",
            lambda V: (V, math.log(V)),
        ),
        Mistake(
            "The loss is right. The table has V rows and V columns: its numbers are a product.",
            lambda V: (2 * V, math.log(V)),
        ),
        Mistake(
            "The parameters are right. These are bits; nats are asked for.",
            lambda V: (V * V, math.log2(V)),
        ),
        Mistake(
            "The parameters are right. This is the probability that each token gets; what does it "
            "cost?",
            lambda V: (V * V, 1 / V),
        ),
        Mistake(
            "The parameters are right. Logits of 0 do not mean a loss of 0: they mean that all "
            "tokens are equally likely.",
            lambda V: (V * V, 0),
        ),
    ),
    because="V times V logits, all 0, so each token has the probability 1/V and costs ln V.",
    within=0.0009,
    places=2,
)


COUNTS = ((3, 10, 1, 40), (5, 20, 1, 100), (2, 6, 0.5, 8), (9, 30, 2, 10), (1, 4, 1, 6))

SMOOTHED = Question(
    name="bigram.smoothed",
    asks="In a text with {V} different tokens a token was followed {n} times, {c} times by the "
    "same one. With smoothing {s}, what is the probability of that one, and of one that never "
    "followed? Answer with two numbers in brackets, of three decimals.",
    figures=lambda seed: dict(zip("cnsV", COUNTS[seed % 5], strict=True)),
    answer=lambda c, n, s, V: ((c + s) / (n + s * V), s / (n + s * V)),
    hints=(
        "The smoothing is added to each count of the row. How many counts does the row have?",
        "The row has V counts, and sums to n before the smoothing. To what afterwards?",
        "(c + s) / (n + s * V), and the same with c = 0.",
    ),
    mistakes=(
        Mistake(
            "The smoothing is added to every count of the row, so the sum of the row grows by V "
            "times as much.",
            lambda c, n, s, V: ((c + s) / (n + s), s / (n + s)),
        ),
        Mistake(
            "The sum of the row grows with its counts; it is no longer n.",
            lambda c, n, s, V: ((c + s) / n, s / n),
        ),
        Mistake(
            "The two have changed places: the one that followed is asked for first.",
            lambda c, n, s, V: (s / (n + s * V), (c + s) / (n + s * V)),
        ),
        Mistake(
            "The second is right. What did follow gets its smoothing, too.",
            lambda c, n, s, V: (c / (n + s * V), s / (n + s * V)),
        ),
        Mistake("This is without smoothing.", lambda c, n, s, V: (c / n, 0)),
        Mistake(
            "The smoothing is added to the counts before they are divided, not to the shares.",
            lambda c, n, s, V: (c / n + s, s),
        ),
        Mistake(
            "What never followed has got a count as well: its probability is no longer 0.",
            lambda c, n, s, V: ((c + s) / (n + s * V), 0),
        ),
    ),
    because="All V counts of the row grow, so its sum grows by V times the smoothing.",
    within=0.005,
    places=3,
)


@cache
def _opinions(std: float) -> float:
    """How far above ln V the loss of a table of random logits begins, V = 1,536."""
    draw = torch.Generator().manual_seed(0)
    logits = std * torch.randn(1000, 1536, generator=draw)
    return float(logits.logsumexp(dim=1).mean()) - math.log(1536)


def _both(change: Any) -> Any:
    return lambda stds: tuple(change(std) for std in stds)


BAD_BEGINNING = Question(
    name="bigram.bad_beginning",
    asks="Fill the table of a BigramModel with the book's 1,536 tokens with random numbers, "
    "nn.init.normal_(table, std=...), and measure its loss on a batch of 16 windows of 128 tokens. "
    "By how many nats is it above ln V for std = {stds}? Answer with two numbers in brackets, of "
    "one decimal.",
    figures=lambda seed: {"stds": ((1, 5), (1, 4), (2, 6), (1, 3), (2, 5))[seed % 5]},
    answer=_both(_opinions),
    hints=(
        "What is the loss of a table of zeros, and what changes when it has opinions?",
        "nn.init.normal_(model.table.weight, std=1), then model(x, y)[1].item(), and from it "
        "math.log(V) is taken away.",
        "The first number is near a half of std squared; the second has to be measured.",
    ),
    mistakes=(
        Mistake(
            "These are the losses; how far they are above ln V is asked for.",
            _both(lambda std: _opinions(std) + math.log(1536)),
        ),
        Mistake(
            "The signs are turned round: a random table is worse than one without opinions.",
            _both(lambda std: -_opinions(std)),
        ),
        Mistake(
            "This would be a table of zeros: one that is random begins above ln V.",
            _both(lambda std: 0.0),
        ),
        Mistake(
            "The second is not the first in proportion: the loss grows faster than the logits.",
            lambda stds: (_opinions(stds[0]), _opinions(stds[0]) * stds[1] / stds[0]),
        ),
    ),
    because="A random table has opinions, and they are wrong.",
    within=0.2,
    places=1,
    kind="measurement",
)

QUESTIONS = (
    SURPRISE,
    PERPLEXITY,
    BEGINNING,
    SMOOTHED,
    BAD_BEGINNING,
)

"""Questions of chapter 11: how many cards, how long a ring takes, and how fine a batch is cut."""

from __future__ import annotations

from math import ceil, floor
from random import Random
from typing import Any

import torch

from gptlib.exercises.question import Question
from gptlib.exercises.task import Mistake
from gptlib.parallel import ring_all_reduce


def _cards(seed: int) -> dict[str, Any]:
    if seed == 0:
        return {"billions": 30, "card": 80, "room": 30}
    draw = Random(seed)
    return {
        "billions": draw.choice((35, 46, 62, 88, 130)),
        "card": 80,
        "room": draw.choice((31, 43)),
    }


CARDS = Question(
    name="scale.cards",
    asks="A model of {billions} billion parameters is trained as above, with weights, gradients "
    "and the optimiser's numbers sharded. Each card has {card} GB (of 10⁹ bytes), and {room} GB of "
    "it are for activations. How many cards does it take at least?",
    figures=_cards,
    answer=lambda billions, card, room: ceil(16 * billions / (card - room)),
    hints=(
        "How many bytes does a parameter take in training, all in all?",
        "16 bytes a parameter. What is left of a card for them?",
        "16 · billions over (card - room), rounded up.",
    ),
    mistakes=(
        Mistake(
            "The activations have their share of each card, too.",
            lambda billions, card, room: ceil(16 * billions / card),
        ),
        Mistake(
            "Two bytes a parameter hold the weights. Gradients and the optimiser want 14 more.",
            lambda billions, card, room: ceil(2 * billions / (card - room)),
        ),
        Mistake(
            "Rounded down, the last bytes lie nowhere.",
            lambda billions, card, room: floor(16 * billions / (card - room)),
        ),
        Mistake(
            "The weights in 32 bits, by which the optimiser moves, are missing: 16 bytes a "
            "parameter, and not 12.",
            lambda billions, card, room: ceil(12 * billions / (card - room)),
        ),
    ),
    because="Ten cards hold it, and ten cards would be slow: enough memory is where planning "
    "begins.",
)


def _link(seed: int) -> dict[str, Any]:
    if seed == 0:
        return {"millions": 350, "ranks": 8, "gigabytes": 12}
    draw = Random(seed)
    return {
        "millions": draw.randrange(100, 900, 7),
        "ranks": draw.choice((4, 8)),
        "gigabytes": draw.choice((12, 25, 50)),
    }


def _milliseconds(millions: int, ranks: int, gigabytes: int) -> float:
    return 2 * 2 * millions * (ranks - 1) / ranks / gigabytes


RING_TIME = Question(
    name="scale.ring_time",
    asks="{ranks} ranks average the gradients of {millions} million parameters, in 16 bits, along "
    "a ring. Each sends {gigabytes} GB a second. How many milliseconds does it take, to one place?",
    figures=_link,
    answer=_milliseconds,
    hints=(
        "How many bytes does a rank send?",
        "Once around to add and once to hand out: 2 · (N - 1) / N times the gradients.",
        "4 bytes · millions · (N - 1) / N over gigabytes is in milliseconds already.",
    ),
    mistakes=(
        Mistake(
            "Each piece goes round twice: once to be added up and once to be handed out. Or the "
            "two bytes of a number are missing; both halve it.",
            lambda millions, ranks, gigabytes: 2 * millions * (ranks - 1) / ranks / gigabytes,
        ),
        Mistake(
            "In each round a rank sends N - 1 of its N pieces: the factor (N - 1) / N is missing.",
            lambda millions, ranks, gigabytes: 4 * millions / gigabytes,
        ),
        Mistake(
            "That is what rank 0 would send if everything went to it and back.",
            lambda millions, ranks, gigabytes: 2 * millions * (ranks - 1) / gigabytes,
        ),
        Mistake(
            "These are seconds; milliseconds are asked for.",
            lambda millions, ranks, gigabytes: _milliseconds(millions, ranks, gigabytes) / 1000,
        ),
    ),
    because="And a thousand ranks would take hardly longer: that is what the ring is for.",
    within=0.01,
    places=1,
)


def _stages(seed: int) -> dict[str, Any]:
    if seed == 0:
        return {"stages": 8, "percent": 10}
    draw = Random(seed)
    return {"stages": draw.choice((3, 4, 6, 7, 9, 12, 15)), "percent": draw.choice((5, 10, 20))}


PIECES = Question(
    name="scale.pieces",
    asks="A pipeline of {stages} stages. Into how many pieces must a batch be cut at least, so "
    "that a stage waits for at most {percent} per cent of the time?",
    figures=_stages,
    answer=lambda stages, percent: ceil(round((stages - 1) * (100 - percent) / percent, 6)),
    hints=(
        "How long does a stage wait, in steps of one piece, and how long does everything take?",
        "(stages - 1) of (pieces + stages - 1) steps. Put the share in and solve for the pieces.",
        "pieces = (stages - 1) · (100 - percent) / percent, rounded up.",
    ),
    mistakes=(
        Mistake(
            "Waiting is compared with work; the share is of the whole time.",
            lambda stages, percent: ceil(round((stages - 1) * 100 / percent, 6)),
        ),
        Mistake(
            "A stage waits one step less than there are stages.",
            lambda stages, percent: ceil(round(stages * (100 - percent) / percent, 6)),
        ),
        Mistake(
            "That is the share in which a stage works; it waits for the rest.",
            lambda stages, percent: ceil(round((stages - 1) * percent / (100 - percent), 6)),
        ),
    ),
    because="So a deep pipeline wants a large batch, which is what training does not always want.",
)


def _ragged(seed: int) -> dict[str, Any]:
    if seed == 0:
        return {"ranks": 7, "n": 997, "often": 1}
    draw = Random(seed)
    ranks = draw.randrange(6, 12)
    n = ranks * draw.randrange(60, 200) + draw.randrange(3, ranks - 1)
    return {"ranks": ranks, "n": n, "often": draw.choice((1, 2, 3, 4))}


def _apart(ranks: int, n: int, often: int) -> int:
    """Numbers between the rank that sends most and the one that sends least, measured."""
    _, sent = ring_all_reduce([torch.zeros(n) for _ in range(ranks)])
    return often * (max(sent) - min(sent))


UNEVEN = Question(
    name="scale.uneven",
    asks="{ranks} ranks add vectors of {n} numbers along the ring. They do so this "
    "often: {often}. By how many numbers do the rank that sends most and the rank that sends "
    "least differ? Guess, and then measure.",
    figures=_ragged,
    answer=_apart,
    kind="measurement",
    hints=(
        "Are all pieces equally long?",
        "ring_all_reduce returns what each rank has sent, as its second value.",
        "_, sent = ring_all_reduce([torch.zeros(n) for _ in range(ranks)]); max(sent) - min(sent)",
    ),
    mistakes=(
        Mistake(
            "They would, if the pieces were equally long. They are not: n is no multiple of the "
            "number of ranks.",
            lambda ranks, n, often: 0,
        ),
        Mistake(
            "That is by how much two pieces differ. A rank leaves two of its pieces out once.",
            lambda ranks, n, often: often,
        ),
        Mistake(
            "That is what is left over when the numbers are dealt out; it makes so many pieces "
            "longer, by one each.",
            lambda ranks, n, often: often * (n % ranks),
        ),
        Mistake(
            "That is the length of a piece.",
            lambda ranks, n, often: n // ranks,
        ),
    ),
    because="A rank sends each piece twice but for two neighbours, which it sends once; these may "
    "both be long, or both be short.",
)

QUESTIONS = (CARDS, RING_TIME, PIECES, UNEVEN)

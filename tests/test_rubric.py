"""The rubric of chapter 12: what counting reaches, and what is said of a run."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch

from gptlib.rubric import counting, rubric

TEXT = {"bigram": 2.0, "repetition_4": 0.02, "novel_8": 0.6}
FOUND = {
    "validation": {"loss": 1.9},
    "samples": {"repetition_4": 0.02, "novel_8": 0.5},
    "stories": {"loss": 1.5, "floor": 1.4, "well_formed": 0.9},
}


def by_hand(train, validation, V):
    """The same two figures, counted one by one."""
    ones, pairs, before = Counter(train), Counter(pairwise(train)), Counter(train[:-1])

    def single(b):
        return (ones[b] + 1) / (len(train) + V)

    asked = list(pairwise(validation))
    both = [(pairs[a, b] + single(b)) / (before[a] + 1) for a, b in asked]
    return (
        -sum(math.log(single(b)) for _, b in asked) / len(asked),
        -sum(map(math.log, both)) / len(asked),
    )


@pytest.mark.parametrize("V", [2, 7, 300])
def test_counts_are_those_that_are_counted_one_by_one(V):
    draw = torch.Generator().manual_seed(V)
    train, validation = (torch.randint(V, (n,), generator=draw).tolist() for n in (400, 90))
    found = counting(train, validation, V)
    assert (found["unigram"], found["bigram"]) == pytest.approx(by_hand(train, validation, V))
    same = counting(np.array(train, "<u2"), np.array(validation, "<u2"), V)  # of a prepared text
    assert same == pytest.approx(found)


def test_the_chances_of_what_may_follow_add_up_to_one():
    train, V = [0, 1, 2, 0, 1, 1, 4], 5  # the last one is followed by nothing, 3 was not seen
    for a in range(V):
        told = [counting(train, [a, b], V) for b in range(V)]
        for name in ("unigram", "bigram"):
            assert sum(math.exp(-one[name]) for one in told) == pytest.approx(1)


def test_a_vocabulary_whose_pairs_no_memory_holds_is_counted():
    found = counting([0, 49_999, 0, 49_999], [0, 49_999], 50_000)
    assert found["bigram"] < 0.5 < 9 < found["unigram"]


def said(change, band=()):
    """The answers to the questions, one thing changed in what was found."""
    found = {part: {**FOUND[part], **change.get(part, {})} for part in FOUND}
    return {asks: good for asks, good, _ in rubric(found, TEXT, band)}


def test_a_good_run_is_good_in_every_row():
    assert said({}, [1.4, 1.5, 1.6]) == dict.fromkeys(
        ["beats pairs", "moves on", "at least half as new", "stays above the floor",
         "tells whole stories", "is a usual run"], True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "row"),
    [
        ({"stories": {"loss": 2.0}}, "beats pairs"),
        ({"samples": {"repetition_4": 0.06}}, "moves on"),
        ({"samples": {"novel_8": 0.29}}, "at least half as new"),
        ({"samples": {"novel_8": None}}, "at least half as new"),
        ({"stories": {"loss": 1.39}}, "stays above the floor"),
        ({"stories": {"well_formed": 0.79}}, "tells whole stories"),
    ],
)
def test_what_is_wrong_is_said_in_its_own_row(change, row):
    assert [asks for asks, good in said(change).items() if not good] == [row]


def test_a_run_that_wrote_too_little_is_called_not_new_at_all():
    found = {**FOUND, "samples": {**FOUND["samples"], "novel_8": None}}
    told = {asks: numbers for asks, _, numbers in rubric(found, TEXT)}
    assert told["at least half as new"] == "new 0%"


def test_a_run_may_lie_outside_of_the_band_by_no_more_than_its_width():
    for band in ([1.75, 2.0], [1.0, 1.25]):  # the run is at 1.5
        assert said({}, band)["is a usual run"]
    assert not said({}, [1.76, 2.0])["is a usual run"]
    assert not said({}, [1.0, 1.24])["is a usual run"]
    assert "is a usual run" not in said({})


def test_a_text_without_a_floor_has_no_rows_about_it():
    found = {"validation": FOUND["validation"], "samples": FOUND["samples"]}
    assert [good for _, good, _ in rubric(found, TEXT)] == [True] * 3
    found["validation"] = {"loss": 2.1}  # which counts where no loss of whole stories is there
    assert [good for _, good, _ in rubric(found, TEXT)] == [False, True, True]
    no_score = {**found, "stories": {"well_formed": 0.5}}  # the stories do not fit into the model
    assert len(rubric(no_score, TEXT)) == 3

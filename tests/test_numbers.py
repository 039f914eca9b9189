"""Whole numbers: NumPy's are as good as Python's wherever one is asked for, and True is none."""

from __future__ import annotations

import json
from dataclasses import asdict
from fractions import Fraction

import numpy as np
import pytest
import torch

from gptlib import corpus
from gptlib.engine.prepare import prepare
from gptlib.engine.recipes import settings_of, train_config
from gptlib.engine.texts import find
from gptlib.exercises import bug
from gptlib.exercises.comparing import difference
from gptlib.given.checks.numbers import is_number, is_whole, whole_number
from gptlib.given.checks.tensors import check_sampling
from gptlib.given.download import check_numbers
from gptlib.given.sources import Source
from gptlib.gpt import GPTConfig
from gptlib.widgets import DistributionExplorer, SignalExplorer, TrainingScrubber

KINDS = (np.int64, np.int32, np.uint8, np.int8)
ADDRESS = {"file": "a.txt", "url": "https://example.org/a", "sha256": "0" * 64, "licence": "ours"}


def test_what_a_number_is():
    whole = (0, -3, 10**30, *(kind(7) for kind in KINDS))
    others = (True, False, np.True_, "3", None, [3], torch.tensor([3, 4]))
    for value in whole:
        assert is_whole(value) and is_number(value) and whole_number(value) == value
        assert type(whole_number(value)) is int
    for value in (3.0, np.float32(3), Fraction(1, 2), float("nan"), float("inf")):
        assert is_number(value) and not is_whole(value) and whole_number(value) is None
    for value in others:
        assert not is_number(value) and not is_whole(value) and whole_number(value) is None
    # A library's own number is welcome where an index is.
    assert whole_number(torch.tensor(3)) == 3 and whole_number(torch.tensor(True)) is None


def scrubbed(steps):
    return TrainingScrubber({"step": steps, "val": [2.0] * len(steps)}).runs[0]["step"]


def explored(top_k):
    return DistributionExplorer([0.0, 1.0], ["a", "b"], top_k=top_k)


def set_later(seed):
    widget = SignalExplorer(width=np.int64(8))
    widget.seed = seed
    return [widget.seed, widget.width]


SAME = {
    "stories": lambda kind: [s.text for s in corpus.stories(kind(2), kind(3), kind(1))],
    "a corpus": lambda kind: corpus.load("stories", n=kind(2), seed=kind(3), volume=kind(2)),
    "texts": lambda kind: find(["stories"], n=kind(2), seed=kind(3), volume=kind(1))[0].about(),
    "a patient": lambda kind: bug(kind(3))._number,
    "steps": lambda kind: scrubbed([kind(0), kind(100)]),
    "a trait": lambda kind: set_later(kind(5)),
    "a list of a widget": lambda kind: SignalExplorer(depths=[kind(4), kind(6)]).depths,
    "a setting of a widget": lambda kind: explored(kind(1)).top_k,
    "a recipe": lambda kind: settings_of("small", batch_size=kind(4), keep=kind(3)),
    "a model": lambda kind: asdict(GPTConfig(n_layer=kind(3))),
    "a file from elsewhere": lambda kind: Source(**ADDRESS, size=kind(7)).size,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize("name", SAME)
def test_numpys_whole_numbers_are_as_good(name, kind):
    made, wanted = SAME[name](kind), SAME[name](int)
    assert made == wanted
    if name not in ("a model", "a file from elsewhere"):  # what goes to a file or to a page
        assert json.dumps(made) == json.dumps(wanted)


def test_a_text_is_prepared_with_them(tmp_path):
    sizes = {"stories": np.int64(6), "seed": np.int64(1), "vocab_size": np.int64(257)}
    made = prepare(["stories"], tmp_path / "out", tokenizer="bpe", **sizes)
    plain = {name: int(size) for name, size in sizes.items()}
    again = prepare(["stories"], tmp_path / "again", tokenizer="bpe", **plain)
    assert made.about == again.about and made.train.tolist() == again.train.tolist()


def test_a_learners_answer_may_be_one():
    for got, wanted in ((np.int64(3), 3), (np.float32(0.1), 0.1), ([np.int64(3)], [3])):
        assert difference(got, wanted) is None
    assert difference(np.int64(4), 3) == difference(4, 3) == "It is 4 and not 3."
    assert difference(np.float32(0.75), 0.5) == difference(0.75, 0.5)


REFUSED = {
    "stories": (lambda no: corpus.stories(no), "^n must be a whole number"),
    "a seed": (lambda no: corpus.stories(1, no), "^seed must be a whole number"),
    "a volume": (lambda no: corpus.stories(1, 0, no), "^volume must be one of"),
    "texts": (lambda no: find(["stories"], n=no), "^stories must be 1 or more"),
    "a patient": (lambda no: bug(no), "^seed must be a whole number"),
    "steps": (lambda no: scrubbed([no]), "whole numbers that grow"),
    "a recipe": (lambda no: settings_of("small", keep=no), "^keep must be a whole number"),
    "training": (lambda no: train_config(settings_of("small", batch_size=no)), "^batch_size must"),
    "a file from elsewhere": (lambda no: Source(**ADDRESS, size=no), "^size must be a whole"),
    "a length": (lambda no: GPTConfig(n_layer=no), "^n_layer must be a whole number"),
    "attempts": (lambda no: check_numbers(attempts=no), "^attempts must be"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("no", [True, np.True_, 1.5, "1"])
def test_true_and_broken_numbers_are_none(name, no):
    call, words = REFUSED[name]
    with pytest.raises(ValueError, match=words):
        call(no)


def test_a_seed_of_a_text_is_asked_for_first(tmp_path):
    with pytest.raises(ValueError, match=r"^seed must be a whole number; got 1\.5"):
        prepare(["stories"], tmp_path / "out", seed=1.5)


def test_true_is_no_share_and_no_temperature():
    assert GPTConfig(dropout=np.float32(0.5)).dropout == 0.5
    for no in (True, False, np.True_, "0.5"):
        with pytest.raises(ValueError, match=r"^dropout must be at least 0"):
            GPTConfig(dropout=no)
        for name in ("temperature", "top_p"):
            asked = {"temperature": 1.0, "top_k": None, "top_p": None, name: no}
            with pytest.raises(ValueError, match=f"^{name} must be a"):
                check_sampling(**asked, vocab_size=5)


def test_true_is_no_time():
    check_numbers(timeout=np.float32(0.5), deadline=3)
    with pytest.raises(ValueError, match=r"^timeout must be above 0"):
        check_numbers(timeout=True)

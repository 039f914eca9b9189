"""Who sees whom: against chapter 3's mask, transformers' sliding window and a rule read aloud."""

from __future__ import annotations

import itertools

import pytest
import torch

from gptlib.attention import causal_mask
from gptlib.window import visible

SHAPES = [(1, 1), (1, 5), (3, 3), (3, 7), (6, 6)]


def read_aloud(T, S, window, pads):
    """The same by the words of the docstring, one place after the other."""
    answer = torch.zeros(len(pads), 1, T, S, dtype=torch.bool)
    for b, t, key in itertools.product(range(len(pads)), range(T), range(S)):
        query = S - T + t
        near = key <= query and (window is None or query - key < window)
        answer[b, 0, t, key] = near and (key >= pads[b] or key == query)
    return answer


@pytest.mark.parametrize(("T", "S"), SHAPES)
@pytest.mark.parametrize("window", [None, 1, 2, 4, 99])
def test_it_is_the_rule_with_padding_and_without(T, S, window):
    pads = [0, 1, S, S + 3]
    assert torch.equal(visible(T, S, window, torch.tensor(pads)), read_aloud(T, S, window, pads))
    assert torch.equal(visible(T, S, window), read_aloud(T, S, window, [0])[0, 0])


def test_without_a_past_it_is_the_mask_of_chapter_3():
    for T in (1, 2, 5):
        assert torch.equal(visible(T, T), causal_mask(T))
        assert torch.equal(visible(T, 5), causal_mask(5)[5 - T :])


def test_the_window_is_that_of_transformers():
    masking = pytest.importorskip("transformers.masking_utils")
    places, zero = torch.arange(8), torch.tensor(0)
    sees = masking.sliding_window_causal_mask_function(3)
    expected = [[bool(sees(zero, zero, t, s)) for s in places] for t in places]
    assert visible(8, 8, 3).tolist() == expected


def test_every_query_sees_something():
    for window, pads in itertools.product([None, 1, 3], [0, 4, 9]):
        assert visible(6, 6, window, torch.tensor([pads])).any(dim=-1).all()


def test_the_mask_is_made_where_it_is_asked_for():
    meta = torch.device("meta")
    for padding in (None, torch.zeros(2, dtype=torch.long, device=meta)):
        assert visible(2, 4, 2, padding, meta).device == meta

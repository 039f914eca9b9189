"""RoPE: only distances count, lengths stay, and the base is stretched as in transformers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gptlib.rope import Rope, rope_speeds, rotate, scaled_base


@given(
    st.integers(1, 16).map(lambda n: 2 * n),
    st.floats(2.0, 1e6),
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(0, 40),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_score_depends_on_the_distance_alone(head_size, base, one, other, moved):
    torch.manual_seed(one)
    q, k = torch.randn(2, 1, head_size, dtype=torch.float64)
    rope = Rope(head_size, 100, base).double()

    def score(at: int, to: int) -> float:
        return (rope(q, at) * rope(k, to)).sum().item()

    assert score(one + moved, other + moved) == pytest.approx(score(one, other), abs=2e-5)


def test_a_score_does_depend_on_the_distance():
    rope, q = Rope(8, 64), torch.randn(1, 8, generator=torch.Generator().manual_seed(0))
    scores = torch.stack([(rope(q, t) * rope(q, 0)).sum() for t in range(64)])
    assert scores.argmax() == 0 and scores.std() > 0.1


def test_turning_is_multiplication_by_complex_numbers_and_keeps_the_length():
    torch.manual_seed(0)
    x, rope = torch.randn(2, 3, 20, 10), Rope(10, 64, 50.0)
    turned = rope(x, start=7)
    pairs = torch.complex(x[..., :5], x[..., 5:])
    angles = torch.arange(7, 27)[:, None] * torch.tensor([50.0 ** (-2 * i / 10) for i in range(5)])
    expected = pairs * torch.polar(torch.ones_like(angles), angles)
    torch.testing.assert_close(turned, torch.cat([expected.real, expected.imag], dim=-1))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))
    assert torch.equal(rope(x)[:, :, 0], x[:, :, 0])


def test_it_equals_transformers_llama():
    modeling = pytest.importorskip("transformers.models.llama.modeling_llama")
    from transformers import LlamaConfig

    turns = {"rope_type": "default", "rope_theta": 300.0}
    config = LlamaConfig(hidden_size=24, num_attention_heads=3, rope_parameters=turns)
    x, places = torch.randn(1, 3, 20, 8), torch.arange(20)[None]
    cos, sin = modeling.LlamaRotaryEmbedding(config)(x, places)
    expected, _ = modeling.apply_rotary_pos_emb(x, x, cos, sin)
    torch.testing.assert_close(Rope(8, 20, 300.0)(x), expected)


def test_a_stretched_base_is_the_one_of_transformers_dynamic_rope():
    """Theirs stretches by the length of the text; with factor 1, by length / trained length."""
    utils = pytest.importorskip("transformers.modeling_rope_utils")
    from transformers import LlamaConfig

    turns = {"rope_type": "dynamic", "rope_theta": 300.0, "factor": 1.0}
    config = LlamaConfig(
        hidden_size=48, num_attention_heads=3, max_position_embeddings=32, rope_parameters=turns
    )
    for times in (1, 2, 4):
        speeds, _ = utils.ROPE_INIT_FUNCTIONS["dynamic"](config, "cpu", seq_len=32 * times)
        torch.testing.assert_close(rope_speeds(16, scaled_base(300.0, times, 16)), speeds)


@pytest.mark.parametrize("head_size", [4, 16, 64])
def test_stretched_the_slowest_pair_is_so_much_slower_and_the_first_as_ever(head_size):
    before = rope_speeds(head_size, 10_000.0)
    after = rope_speeds(head_size, scaled_base(10_000.0, 4.0, head_size))
    assert after[0] == before[0] == 1
    assert (before[-1] / after[-1]).item() == pytest.approx(4, rel=1e-4)
    assert (after <= before).all()
    assert scaled_base(10_000.0, 1.0, head_size) == 10_000


def test_a_single_pair_cannot_be_slowed():
    assert scaled_base(100.0, 4.0, head_size=2) == 100


def test_the_turns_are_no_weights():
    rope = Rope(8, 16)
    assert not rope.state_dict() and not list(rope.parameters())
    assert torch.equal(rotate(torch.ones(3, 8), rope.cos[:3], rope.sin[:3]), rope(torch.ones(3, 8)))


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"head_size": 7}, "head_size must be even, for pairs that can turn; got 7"),
        ({"head_size": 0}, "head_size must be a whole number, 1 or more; got 0"),
        ({"context_length": 0}, "context_length must be a whole number"),
        ({"base": 1.0}, "base must be a finite number above 1; got 1.0"),
        ({"base": math.inf}, "base must be a finite number above 1; got inf"),
    ],
)
def test_what_gives_no_turns_is_refused(asked, told):
    with pytest.raises(ValueError, match=told):
        Rope(**{"head_size": 8, "context_length": 16, **asked})


@pytest.mark.parametrize("scaling", [0.5, math.nan, math.inf, "2", True])
def test_a_scaling_that_does_not_stretch_is_refused(scaling):
    with pytest.raises(
        ValueError, match=f"scaling must be a finite number, 1 or more; got {scaling!r}"
    ):
        scaled_base(100.0, scaling, 8)


def test_places_behind_the_last_one_are_refused():
    rope = Rope(8, 16)
    assert rope(torch.ones(4, 8), start=12).shape == (4, 8)
    with pytest.raises(
        ValueError, match="x reaches to place 17; allowed are 1 to context_length 16"
    ):
        rope(torch.ones(5, 8), start=12)

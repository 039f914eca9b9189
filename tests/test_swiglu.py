"""Gated feed-forward networks against formulas worked out by hand and transformers' Llama."""

from __future__ import annotations

import math

import pytest
import torch

from gptlib.layers import FeedForward, gelu
from gptlib.swiglu import GATES, SwiGLU, clipped_swiglu, geglu, swiglu


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_the_gates_are_their_formulas():
    for gate in (-9.0, -0.5, 0.0, 2.0, 9.0):
        for value in (-20.0, 0.3, 8.0):
            g, v = torch.tensor(gate), torch.tensor(value)
            assert swiglu(g, v).item() == pytest.approx(value * gate * sigmoid(gate), rel=1e-5)
            assert geglu(g, v).item() == pytest.approx(value * gelu(g).item(), rel=1e-4, abs=1e-6)
            low, high = min(gate, 7), max(-7, min(value, 7))
            expected = low * sigmoid(1.702 * low) * (high + 1)
            assert clipped_swiglu(g, v).item() == pytest.approx(expected, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("gating", GATES)
@pytest.mark.parametrize("bias", [True, False])
def test_the_network_is_the_gate_between_three_matrices(gating, bias):
    torch.manual_seed(0)
    layer, x = SwiGLU(6, 10, bias, gating), torch.randn(2, 3, 6)
    shift = {name: getattr(layer, name).bias if bias else 0 for name in ("gate", "expand")}
    gate = x @ layer.gate.weight.T + shift["gate"]
    value = x @ layer.expand.weight.T + shift["expand"]
    out = GATES[gating](gate, value) @ layer.project.weight.T
    torch.testing.assert_close(layer(x), out + (layer.project.bias if bias else 0))
    assert len(list(layer.parameters())) == (6 if bias else 3)


def test_it_equals_transformers_llama_and_has_the_weights_of_a_feed_forward():
    modeling = pytest.importorskip("transformers.models.llama.modeling_llama")
    from transformers import LlamaConfig

    torch.manual_seed(0)
    theirs = modeling.LlamaMLP(
        LlamaConfig(hidden_size=12, intermediate_size=32, num_attention_heads=3)
    )
    ours = SwiGLU(12, 32)
    pairs = {"gate": "gate_proj", "expand": "up_proj", "project": "down_proj"}
    ours.load_state_dict({f"{a}.weight": getattr(theirs, b).weight for a, b in pairs.items()})
    x = torch.randn(2, 5, 12)
    torch.testing.assert_close(ours(x), theirs(x))
    count = sum(p.numel() for p in ours.parameters())
    assert count == sum(
        p.numel() for p in FeedForward(12, bias=False).parameters()
    )  # 8/3 · 12 = 32


def test_what_makes_no_network_is_refused():
    with pytest.raises(
        ValueError, match="gating must be one of swiglu, geglu, clipped; got 'relu'"
    ):
        SwiGLU(4, 8, gating="relu")
    for sizes, name in (((0, 8), "n_embd"), ((4, 0), "hidden")):
        with pytest.raises(ValueError, match=f"{name} must be a whole number, 1 or more; got 0"):
            SwiGLU(*sizes)

"""Norm, activation and feed-forward network against PyTorch's own."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from gptlib.layers import GELU, FeedForward, LayerNorm, gelu, layer_norm

SHAPES = [(2, 5), (3, 4, 16), (1, 1, 1, 7)]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("eps", [1e-5, 0.3])
def test_layer_norm_equals_pytorchs(shape, bias, eps):
    x = 3 * torch.randn(shape) + 5
    theirs = torch.nn.LayerNorm(shape[-1], eps=eps, bias=bias)
    torch.nn.init.normal_(theirs.weight)
    if bias:
        torch.nn.init.normal_(theirs.bias)
    ours = LayerNorm(shape[-1], bias=bias, eps=eps)
    ours.load_state_dict(theirs.state_dict())
    assert torch.allclose(ours(x), theirs(x), atol=1e-5)
    assert torch.allclose(layer_norm(x, theirs.weight, theirs.bias, eps), theirs(x), atol=1e-5)


def test_the_two_forms_of_layer_norm_have_the_same_gradients():
    x = torch.randn(4, 6, 16, requires_grad=True)
    layer = LayerNorm(16)
    torch.nn.init.normal_(layer.weight)
    inputs = (x, layer.weight, layer.bias)
    by_hand = torch.autograd.grad(layer_norm(*inputs).pow(3).sum(), inputs)
    fused = torch.autograd.grad(layer(x).pow(3).sum(), inputs)
    for a, b in zip(by_hand, fused, strict=True):
        assert torch.allclose(a, b, atol=1e-3, rtol=1e-4)


def test_each_row_comes_out_with_mean_0_and_the_biased_variance_1():
    y = layer_norm(7 * torch.randn(100, 32) - 3)
    assert torch.allclose(y.mean(-1), torch.zeros(100), atol=1e-5)
    assert torch.allclose(y.var(-1, unbiased=False), torch.ones(100), atol=1e-3)
    worked = layer_norm(torch.tensor([1.0, 2.0, 3.0]))
    assert torch.allclose(worked, torch.tensor([-1.2247, 0.0, 1.2247]), atol=1e-4)


def test_eps_stands_inside_the_root():
    # A row of variance v comes out with variance v / (v + eps).
    x = torch.tensor([[-1.0, 1.0]])
    assert torch.allclose(layer_norm(x, eps=3.0), x / 2)  # sqrt(1 + 3) = 2, but sqrt(1) + 3 = 4
    constant = torch.full((2, 8), 4.0)
    assert torch.equal(layer_norm(constant), torch.zeros(2, 8))


def test_a_row_that_is_quiet_beside_epsilon_stays_quiet():
    """Chapter 4: a variance of a tenth of epsilon comes out with the size √(1/11)."""
    x = layer_norm(torch.randn(100, 64), eps=0.0)
    assert torch.allclose(layer_norm(0.001 * x).std(-1, unbiased=False), torch.tensor(0.3015), 1e-3)
    assert layer_norm(x).std(-1, unbiased=False).min() > 0.999


def test_a_unit_can_be_dead_behind_a_norm():
    """A norm gives mean 0 within each token, not between tokens (chapter 4, exercise 8)."""
    torch.manual_seed(0)
    shared = torch.randn(64)
    tokens = layer_norm(shared + 0.3 * torch.randn(1000, 64))
    assert tokens.mean(dim=-1).abs().max() < 1e-5
    assert (tokens @ tokens.mean(dim=0) > 0).all()  # the unit that looks the other way is dead
    apart = layer_norm(torch.randn(1000, 64))  # nothing in common: it fires at about half of them
    assert 300 < (apart @ -apart[0] > 0).sum() < 700


def test_layer_norm_starts_without_effect_of_its_own():
    x = torch.randn(3, 8)
    assert torch.allclose(LayerNorm(8)(x), layer_norm(x), atol=1e-6)
    assert set(LayerNorm(8).state_dict()) == {"weight", "bias"}
    assert set(LayerNorm(8, bias=False).state_dict()) == {"weight"}


@pytest.mark.parametrize("approximate", ["tanh", "none"])
def test_gelu_equals_pytorchs(approximate):
    x = torch.linspace(-8, 8, 4001, requires_grad=True)
    theirs = F.gelu(x, approximate=approximate)
    assert torch.allclose(gelu(x, approximate), theirs, atol=1e-6)
    assert torch.equal(GELU(approximate)(x), theirs)
    (by_hand,) = torch.autograd.grad(gelu(x, approximate).sum(), x)
    (fused,) = torch.autograd.grad(theirs.sum(), x)
    assert torch.allclose(by_hand, fused, atol=1e-5)


def test_exact_gelu_is_x_times_the_normal_distribution():
    x = torch.linspace(-5, 5, 101, dtype=torch.float64)
    normal = torch.tensor([0.5 * math.erfc(-v / math.sqrt(2)) for v in x.tolist()]).double()
    assert torch.allclose(gelu(x, "none"), x * normal, atol=1e-7)


def test_the_two_gelus_are_close_and_not_the_same():
    x = torch.linspace(-10, 10, 20001, dtype=torch.float64)
    difference = float((gelu(x) - gelu(x, "none")).abs().max())
    assert 0.0004 < difference < 0.0005
    worked = torch.tensor([-1.0, 0.0, 1.0])
    assert torch.allclose(gelu(worked), torch.tensor([-0.1588, 0.0, 0.8412]), atol=5e-5)
    assert torch.allclose(gelu(worked, "none"), torch.tensor([-0.1587, 0.0, 0.8413]), atol=5e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("expansion", "form"), [(4, "tanh"), (2, "none")])
def test_feed_forward_equals_its_parts_in_pytorch(bias, expansion, form):
    layer = FeedForward(8, bias=bias, expansion=expansion, gelu=form)
    x = torch.randn(2, 3, 8)
    wide = F.linear(x, layer.expand.weight, layer.expand.bias)
    assert wide.shape == (2, 3, 8 * expansion)
    expected = F.linear(F.gelu(wide, approximate=form), layer.project.weight, layer.project.bias)
    assert torch.allclose(layer(x), expected, atol=1e-6)
    assert (layer.expand.bias is not None) is bias
    assert sum(p.numel() for p in FeedForward(768).parameters()) == 4_722_432


def test_feed_forward_works_on_each_token_by_itself():
    layer, x = FeedForward(8), torch.randn(2, 6, 8)
    edited = x.clone()
    edited[:, 3] = torch.randn(2, 8)
    same = [0, 1, 2, 4, 5]
    assert torch.allclose(layer(x)[:, same], layer(edited)[:, same], atol=1e-6)
    assert not torch.allclose(layer(x)[:, 3], layer(edited)[:, 3])


def test_dropout_acts_in_training_only():
    layer, x = FeedForward(8, dropout=0.5), torch.randn(2, 3, 8)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: GELU("erf"), "approximate must be one of tanh, none; got 'erf'"),
        (lambda: gelu(torch.zeros(1), ""), "approximate must be one of tanh, none; got ''"),
        (lambda: FeedForward(8, dropout=1.0), "dropout must be at least 0 and below 1; got 1.0"),
        (lambda: FeedForward(8, expansion=0), "expansion must be a whole number, 1 or more"),
        (lambda: FeedForward(8, gelu="erf"), "approximate must be one of tanh, none; got 'erf'"),
        (lambda: FeedForward(0), "n_embd must be a whole number, 1 or more; got 0"),
    ],
)
def test_errors_name_the_argument_and_what_is_allowed(make, words):
    with pytest.raises(ValueError, match=words):
        make()

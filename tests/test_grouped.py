"""Grouped-query attention against chapter 3's layers and its own written-out form."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

from gptlib.attention import CausalSelfAttention, MultiHeadAttention
from gptlib.cache import LayerCache
from gptlib.grouped import GroupedAttention
from gptlib.rope import Rope

C, HS, T = 24, 6, 11


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def layer(n_head=4, n_kv_head=2, **changes) -> GroupedAttention:
    return GroupedAttention(C, n_head, n_kv_head, HS, **changes)


# As many heads of keys as of queries -------------------------------------------------------------


@pytest.mark.parametrize("n_head", [1, 2, 4, 8])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (3, T), (2, 64)])
def test_with_a_key_head_for_each_query_head_it_is_chapter_3s_layer_bit_for_bit(
    n_head, bias, shape
):
    classic = CausalSelfAttention(C, n_head, 64, bias=bias).eval()
    grouped = GroupedAttention(C, n_head, n_head, C // n_head, bias)
    grouped.load_state_dict(classic.state_dict())
    x = torch.randn(*shape, C)
    copies = x.clone().requires_grad_(), x.clone().requires_grad_()
    outs = classic(copies[0]), grouped(copies[1])
    assert torch.equal(*outs)
    for out in outs:
        out.square().sum().backward()
    assert torch.equal(copies[0].grad, copies[1].grad)
    assert torch.equal(classic.qkv.weight.grad, grouped.qkv.weight.grad)
    torch.testing.assert_close(classic.weights(x), grouped.weights(x))


def test_it_equals_the_heads_side_by_side_of_chapter_3():
    heads = MultiHeadAttention(C, 4, T).eval()
    grouped = layer(n_kv_head=4)
    parts = [getattr(h, name).weight for name in ("query", "key", "value") for h in heads.heads]
    state = {"qkv.weight": torch.cat(parts), "project.weight": heads.project.weight}
    grouped.load_state_dict(state)
    x = torch.randn(2, T, C)
    torch.testing.assert_close(grouped(x), heads(x))


@pytest.mark.parametrize("n_kv_head", [1, 2, 4])
def test_shared_keys_are_copied_keys(n_kv_head):
    """The same as a layer in which each head of keys stands once for every head it serves."""
    grouped, full = layer(n_kv_head=n_kv_head), layer(n_kv_head=4)
    q, k, v = grouped.qkv.weight.split([4 * HS, n_kv_head * HS, n_kv_head * HS])
    k, v = (
        p.view(n_kv_head, HS, C).repeat_interleave(4 // n_kv_head, 0).flatten(0, 1) for p in (k, v)
    )
    state = {"qkv.weight": torch.cat([q, k, v]), "project.weight": grouped.project.weight}
    full.load_state_dict(state)
    x = torch.randn(2, T, C)
    torch.testing.assert_close(grouped(x), full(x))
    assert grouped.qkv.out_features == (4 + 2 * n_kv_head) * HS


# What else it can do -----------------------------------------------------------------------------

OPTIONS = [
    {"rope": rope, "qk_norm": norm, "window": window, "bias": bias}
    for rope, norm, window, bias in itertools.product(
        [None, Rope(HS, T)], [0, 1], [None, 3], [0, 1]
    )
]


def shaken(module):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return module


@pytest.mark.parametrize("options", OPTIONS)
def test_the_kernel_computes_what_is_written_out(options):
    fused, written = shaken(layer(**options)), layer(**options, fused=False)
    written.load_state_dict(fused.state_dict())
    x = torch.randn(2, T, C)
    assert fused.fused and not written.fused
    torch.testing.assert_close(fused(x), written(x), atol=1e-5, rtol=1e-4)
    kept, other = LayerCache(options["window"]), LayerCache(options["window"])
    for part in x.split([4, 1, 6], dim=1):
        torch.testing.assert_close(fused(part, kept), written(part, other), atol=1e-5, rtol=1e-4)


def test_the_weights_are_those_that_forward_takes():
    attention = shaken(layer(rope=Rope(HS, T), qk_norm=True, window=4))
    x = torch.randn(2, T, C)
    weights = attention.weights(x)
    assert weights.shape == (2, 4, T, T)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 4, T))
    values = attention.split_heads(x)[2].repeat_interleave(2, dim=1)
    out = attention.project((weights @ values).transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(x), out)


def test_the_weights_can_be_asked_for_on_another_device():
    with torch.device("meta"):
        attention, x = layer(window=3, rope=Rope(HS, T)), torch.zeros(2, T, C)
    assert attention.weights(x).device.type == "meta"


def test_in_a_window_nothing_further_back_is_seen():
    attention, x = layer(window=3), torch.randn(1, T, C)
    before = attention(x)
    for t in range(T):
        changed = x.clone()
        changed[0, t] += 1
        moved = (attention(changed) - before).abs().amax(dim=-1)[0] > 1e-6
        assert moved.nonzero().flatten().tolist() == list(range(t, min(t + 3, T)))


def test_turned_by_places_the_order_counts_and_moving_all_changes_nothing():
    attention, x = layer(rope=Rope(HS, 40)), torch.randn(1, T, C)
    swapped = x[:, [1, 0, *range(2, T)]]
    assert not torch.allclose(attention(x)[:, -1], attention(swapped)[:, -1], atol=1e-3)
    still = layer(rope=None)
    torch.testing.assert_close(still(x)[:, -1], still(swapped)[:, -1])
    kept = LayerCache()
    kept.read = 20  # the text begins later
    torch.testing.assert_close(attention(x, kept), attention(x), atol=1e-5, rtol=1e-4)


def test_queries_and_keys_are_normed_before_they_are_turned():
    attention = shaken(layer(qk_norm=True, rope=Rope(HS, T)))
    plain = layer()
    plain.load_state_dict(attention.state_dict(), strict=False)
    x = torch.randn(2, T, C)
    (q, k, v), (raw_q, raw_k, raw_v) = attention.split_heads(x), plain.split_heads(x)
    for got, raw, norm in ((q, raw_q, attention.norm_q), (k, raw_k, attention.norm_k)):
        expected = F.rms_norm(raw, (HS,), norm.weight, 1e-6)
        torch.testing.assert_close(got, attention.rope(expected))
    assert torch.equal(v, raw_v)


def test_a_sink_takes_a_share_and_one_that_is_never_asked_takes_none():
    attention, x = layer(sinks=True), torch.randn(2, T, C)
    plain = layer()
    plain.load_state_dict(attention.state_dict(), strict=False)
    with torch.no_grad():
        attention.sinks.copy_(torch.tensor([-1e9, 0.0, 2.0, 1e9]))
    total = attention.weights(x).sum(dim=-1)
    torch.testing.assert_close(total[:, 0], torch.ones(2, T))
    assert (total[:, 3] == 0).all()
    # The first token sees itself and the sink, whose scores are known.
    q, k, _ = plain.split_heads(x)
    own = (q[:, 1, 0] * k[:, 0, 0]).sum(dim=-1) / HS**0.5
    torch.testing.assert_close(total[:, 1, 0], own.sigmoid())
    kept = attention.weights(x)[:, 2] / total[:, 2, :, None]  # of what is left, the same shares
    torch.testing.assert_close(kept, plain.weights(x)[:, 2])


def test_a_cap_on_the_scores_keeps_the_weights_apart_by_no_more_than_it_allows():
    attention = layer(score_cap=0.5)
    weights = attention.weights(100 * torch.randn(2, T, C))[:, :, -1]
    ratio = weights.amax(dim=-1) / weights.amin(dim=-1)
    assert ratio.max() <= 2.7183 and ratio.max() > 2.5  # e to twice the cap


def test_its_size():
    attention = layer(n_kv_head=1, qk_norm=True, sinks=True, bias=True)
    names = {name: tuple(p.shape) for name, p in attention.named_parameters()}
    assert names == {
        "sinks": (4,),
        "qkv.weight": (36, 24),
        "qkv.bias": (36,),
        "project.weight": (24, 24),
        "project.bias": (24,),
        "norm_q.weight": (6,),
        "norm_k.weight": (6,),
    }
    wide = GroupedAttention(8, 4, 2, 6)  # heads that together are wider than the model
    assert wide(torch.randn(2, 3, 8)).shape == (2, 3, 8)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"n_kv_head": 3}, "n_head must be divisible by n_kv_head; got n_head 4 and n_kv_head 3"),
        ({"n_kv_head": 8}, "n_head must be divisible by n_kv_head"),
        ({"n_kv_head": 0}, "n_kv_head must be a whole number, 1 or more; got 0"),
        ({"window": 0}, "window must be a whole number, 1 or more; got 0"),
        ({"score_cap": 0.0}, r"score_cap must be above 0; got 0.0. None leaves it out"),
        ({"score_cap": float("nan")}, "score_cap must be above 0; got nan"),
    ],
)
def test_what_makes_no_layer_is_refused(asked, told):
    with pytest.raises(ValueError, match=told):
        layer(**asked)
    with pytest.raises(ValueError, match="head_size must be a whole number, 1 or more; got 0"):
        GroupedAttention(8, 2, 2, 0)

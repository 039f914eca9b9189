"""Attention against PyTorch's own, its forms against each other, and no look at the future."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch.profiler import ProfilerActivity, profile

from gptlib.attention import (
    AttentionModel,
    CausalSelfAttention,
    Head,
    MultiHeadAttention,
    attention_weights,
    causal_mask,
)

B, T, C, N_HEAD, CONTEXT = 3, 11, 24, 4, 16
HEAD_SIZE = C // N_HEAD


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def copy_heads(readable: MultiHeadAttention, fused: CausalSelfAttention) -> None:
    """Stack the matrices of all heads: first every query, then every key, then every value."""
    with torch.no_grad():
        fused.qkv.weight.copy_(
            torch.cat(
                [
                    getattr(head, name).weight
                    for name in ("query", "key", "value")
                    for head in readable.heads
                ]
            )
        )
        fused.project.load_state_dict(readable.project.state_dict())


def test_the_mask_lets_each_position_see_itself_and_the_past():
    assert causal_mask(3).tolist() == [
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]
    mask = causal_mask(20)
    for query in range(20):
        for key in range(20):
            assert mask[query, key].item() is (key <= query)


@pytest.mark.parametrize("masked", [True, False])
def test_the_weights_by_hand_equal_pytorchs_attention(masked):
    q, k, v = torch.randn(3, B, N_HEAD, T, HEAD_SIZE)
    ours = attention_weights(q, k, causal_mask(T) if masked else None) @ v
    theirs = F.scaled_dot_product_attention(q, k, v, is_causal=masked)
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_zero_queries_take_the_mean_of_what_they_see():
    weights = attention_weights(torch.zeros(1, 4, 8), torch.randn(1, 4, 8), causal_mask(4))
    expected = torch.tril(torch.ones(4, 4)) / torch.arange(1, 5)[:, None]
    assert torch.allclose(weights[0], expected)


def test_a_head_equals_pytorchs_attention():
    head, x = Head(C, HEAD_SIZE, CONTEXT), torch.randn(B, T, C)
    theirs = F.scaled_dot_product_attention(
        x @ head.query.weight.T, x @ head.key.weight.T, x @ head.value.weight.T, is_causal=True
    )
    assert head(x).shape == (B, T, HEAD_SIZE)
    assert torch.allclose(head(x), theirs, atol=1e-6)


@pytest.mark.parametrize("bias", [True, False])
def test_fused_attention_equals_multihead_attention_of_pytorch(bias):
    ours = CausalSelfAttention(C, N_HEAD, CONTEXT, bias=bias)
    theirs = torch.nn.MultiheadAttention(C, N_HEAD, bias=bias, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.qkv.weight)
        theirs.out_proj.weight.copy_(ours.project.weight)
        if bias:
            theirs.in_proj_bias.copy_(ours.qkv.bias)
            theirs.out_proj.bias.copy_(ours.project.bias)
    x = torch.randn(B, T, C)
    # PyTorch's mask has the other polarity: True where a query may not look.
    out, weights = theirs(x, x, x, attn_mask=~causal_mask(T), average_attn_weights=False)
    assert torch.allclose(ours(x), out, atol=1e-5)
    assert torch.allclose(ours.weights(x), weights, atol=1e-6)


@pytest.mark.parametrize("bias", [True, False])
def test_many_heads_and_the_fused_form_compute_the_same(bias):
    readable = MultiHeadAttention(C, N_HEAD, CONTEXT, bias=bias)
    fused = CausalSelfAttention(C, N_HEAD, CONTEXT, bias=bias, qkv_bias=False)
    copy_heads(readable, fused)
    x = torch.randn(B, T, C, requires_grad=True)
    assert torch.allclose(readable(x), fused(x), atol=1e-6)
    for h, head in enumerate(readable.heads):
        assert torch.allclose(head.weights(x), fused.weights(x)[:, h], atol=1e-6)
    (by_hand,) = torch.autograd.grad(readable(x).square().sum(), x)
    (by_kernel,) = torch.autograd.grad(fused(x).square().sum(), x)
    assert torch.allclose(by_hand, by_kernel, atol=1e-5)


def test_list_and_matrix_differ_by_rounding_alone():
    differences = []
    for dtype in (torch.float32, torch.float64):
        torch.manual_seed(0)
        readable, fused = MultiHeadAttention(192, 4, 64), CausalSelfAttention(192, 4, 64)
        copy_heads(readable, fused)
        x = torch.randn(2, 64, 192).to(dtype)
        difference = readable.to(dtype)(x) - fused.to(dtype)(x)
        differences.append(difference.abs().max().item())
    single, double = differences
    assert 1e-9 < single < 1e-5 and double < single / 1e6


def test_the_weights_shown_are_the_weights_used():
    attention, x = CausalSelfAttention(C, N_HEAD, CONTEXT, bias=True), torch.randn(B, T, C)
    _, _, v = attention.split_heads(x)
    out = (attention.weights(x) @ v).transpose(1, 2).reshape(B, T, C)
    assert torch.allclose(attention.project(out), attention(x), atol=1e-6)
    assert torch.allclose(attention.weights(x).sum(-1), torch.ones(B, N_HEAD, T))
    assert attention.weights(x).triu(1).count_nonzero() == 0


@pytest.mark.parametrize(
    "layer",
    [
        Head(C, HEAD_SIZE, CONTEXT),
        MultiHeadAttention(C, N_HEAD, CONTEXT),
        CausalSelfAttention(C, N_HEAD, CONTEXT, bias=True),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_editing_the_future_changes_nothing_before_it(layer):
    x = torch.randn(B, T, C)
    before = layer(x)
    for t in range(1, T):
        edited = x.clone()
        edited[:, t:] = 100 * torch.randn(B, T - t, C)
        after = layer(edited)
        assert torch.allclose(after[:, :t], before[:, :t], atol=1e-6)
        assert not torch.allclose(after[:, t], before[:, t], atol=1e-3)


@pytest.mark.parametrize("positions", [True, False])
def test_the_model_does_not_see_the_future(positions):
    model = AttentionModel(50, CONTEXT, C, N_HEAD, positions)
    idx = torch.randint(50, (B, T))
    before = model(idx)[0]
    for t in range(1, T):
        edited = idx.clone()
        edited[:, t:] = (edited[:, t:] + 1) % 50
        after = model(edited)[0]
        assert torch.allclose(after[:, :t], before[:, :t], atol=1e-6)
        assert not torch.allclose(after[:, t], before[:, t], atol=1e-4)


def test_without_positions_the_order_of_the_past_is_invisible():
    idx = torch.randint(50, (B, T))
    shuffled = idx.clone()
    shuffled[:, :-1] = idx[:, torch.randperm(T - 1)]
    assert not torch.equal(idx, shuffled)
    without = AttentionModel(50, CONTEXT, C, N_HEAD, positions=False)
    assert torch.allclose(without(idx)[0][:, -1], without(shuffled)[0][:, -1], atol=1e-6)
    with_positions = AttentionModel(50, CONTEXT, C, N_HEAD)
    moved = with_positions(idx)[0][:, -1] - with_positions(shuffled)[0][:, -1]
    assert moved.abs().max().item() > 0.01


def test_a_prefix_is_treated_as_in_the_whole():
    model, idx = AttentionModel(50, CONTEXT, C, N_HEAD), torch.randint(50, (B, CONTEXT))
    whole = model(idx)[0]
    for t in (1, 5, CONTEXT):
        assert torch.allclose(model(idx[:, :t])[0], whole[:, :t], atol=1e-6)


def test_the_model_has_the_parameters_it_says_and_learns():
    model = AttentionModel(65, 64, 32, 4)
    assert sum(p.numel() for p in model.parameters()) == 10_369
    idx = torch.randint(65, (4, 32))
    targets = idx.roll(-1, dims=1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    losses = []
    for _ in range(60):
        _, loss = model(idx, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.25 * losses[0]


@pytest.mark.parametrize(
    "make",
    [
        lambda p: Head(C, HEAD_SIZE, CONTEXT, p),
        lambda p: MultiHeadAttention(C, N_HEAD, CONTEXT, p),
        lambda p: CausalSelfAttention(C, N_HEAD, CONTEXT, p),
    ],
    ids=["Head", "MultiHeadAttention", "CausalSelfAttention"],
)
def test_dropout_acts_in_training_only(make):
    x = torch.randn(B, T, C)
    layer = make(0.5)
    assert not torch.equal(layer(x), layer(x))
    layer.eval()
    assert torch.equal(layer(x), layer(x))
    without = make(0.0)
    without.load_state_dict(layer.state_dict())
    assert torch.allclose(layer(x), without(x), atol=1e-6)


@pytest.mark.parametrize("kind", [MultiHeadAttention, CausalSelfAttention])
def test_dropout_drops_whole_weights_too(kind):
    layer = kind(C, N_HEAD, CONTEXT, 0.5)
    layer.project = torch.nn.Identity()
    # The first token has one weight a head: dropped, the whole head is 0. Dropping single numbers
    # alone would empty a head of 6 numbers once in 64 times.
    first = layer(torch.randn(500, 2, C))[:, 0].view(500, N_HEAD, HEAD_SIZE)
    empty = (first == 0).all(dim=-1).float().mean().item()
    assert empty == pytest.approx(0.5 + 0.5 / 64, abs=0.05)


def test_the_mask_is_a_buffer_that_is_not_saved():
    layer = CausalSelfAttention(C, N_HEAD, CONTEXT)
    assert "mask" in dict(layer.named_buffers())
    assert set(layer.state_dict()) == {"qkv.weight", "project.weight"}
    assert sum(p.numel() for p in CausalSelfAttention(768, 12, 8).parameters()) == 2_359_296


@pytest.mark.parametrize(
    ("bias", "qkv_bias", "names"),
    [
        (False, None, set()),
        (True, None, {"qkv.bias", "project.bias"}),
        (True, False, {"project.bias"}),
        (False, True, {"qkv.bias"}),
    ],
)
def test_which_biases_there_are(bias, qkv_bias, names):
    layer = CausalSelfAttention(C, N_HEAD, CONTEXT, bias=bias, qkv_bias=qkv_bias)
    assert {name for name in layer.state_dict() if name.endswith("bias")} == names


@pytest.mark.parametrize("dropout", [-0.1, 1.0, 1.5, float("nan"), "0.1", None])
@pytest.mark.parametrize("kind", [MultiHeadAttention, CausalSelfAttention])
def test_dropout_has_a_range(kind, dropout):
    with pytest.raises(ValueError, match=r"dropout must be at least 0 and below 1; got"):
        kind(C, N_HEAD, CONTEXT, dropout)
    with pytest.raises(ValueError, match=r"dropout must be at least 0 and below 1; got"):
        Head(C, HEAD_SIZE, CONTEXT, dropout)


@pytest.mark.parametrize("kind", [MultiHeadAttention, CausalSelfAttention])
def test_heads_must_divide_the_width(kind):
    with pytest.raises(ValueError, match="n_embd must be divisible by n_head; got n_embd 24 and"):
        kind(24, 5, CONTEXT)
    with pytest.raises(ValueError, match="n_head must be a whole number, 1 or more; got 0"):
        kind(24, 0, CONTEXT)
    with pytest.raises(ValueError, match="context_length must be a whole number, 1 or more; got 0"):
        kind(24, 4, 0)


def test_too_long_or_empty_input_is_refused():
    x = torch.randn(1, CONTEXT + 1, C)
    for layer in (
        Head(C, HEAD_SIZE, CONTEXT),
        MultiHeadAttention(C, N_HEAD, CONTEXT),
        CausalSelfAttention(C, N_HEAD, CONTEXT),
    ):
        for bad in (x, x[:, :0]):
            with pytest.raises(ValueError, match="allowed length T: 1 to context_length 16"):
                layer(bad)
        with pytest.raises(ValueError, match=r"x must be of shape \(B, T, C\); .*x\[None\]"):
            layer(x[0])
        with pytest.raises(ValueError, match=r"got \(1, 1, 17, 24\)\.$"):
            layer(x[None])


@pytest.mark.parametrize(
    ("idx", "words"),
    [
        (torch.zeros(1, CONTEXT + 1, dtype=torch.long), ["17", "context_length 16", "1 to 16"]),
        (torch.zeros(1, 0, dtype=torch.long), ["at least one token", "1 to 16"]),
        (torch.tensor([1, 2]), ["(B, T)", "(2,)", "idx[None]"]),
        (torch.tensor([[0.5]]), ["whole numbers", "float32"]),
    ],
)
def test_the_model_refuses_what_it_cannot_read(idx, words):
    with pytest.raises(ValueError) as error:
        AttentionModel(50, CONTEXT, C, N_HEAD)(idx)
    assert "idx" in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_a_position_is_added_to_its_token():
    model = AttentionModel(50, CONTEXT, C, N_HEAD)
    idx = torch.tensor([[7, 7, 3]])
    table, places = model.token_embedding.weight, model.position_embedding.weight
    expected = torch.stack([table[7] + places[0], table[7] + places[1], table[3] + places[2]])
    assert torch.equal(model.embed(idx)[0], expected)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Head(C, 0, CONTEXT), "^head_size must be .*got 0"),
        (lambda: Head(0, 4, CONTEXT), "^n_embd must be .*got 0"),
        (lambda: AttentionModel(0, CONTEXT, C, N_HEAD), "^vocab_size must be .*got 0"),
    ],
)
def test_sizes_of_nothing_are_refused_by_name(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_only_differences_of_scores_count_and_their_size_sharpens():
    scores = torch.tensor([math.log(3), 0.0])
    for moved, wanted in ((scores + 100, [0.75, 0.25]), (2 * scores, [0.9, 0.1])):
        torch.testing.assert_close(moved.softmax(dim=0), torch.tensor(wanted))


def test_one_table_makes_scores_that_are_symmetric_and_never_negative_with_oneself():
    x = torch.randn(2, 8, 6, generator=torch.Generator().manual_seed(0))
    head = Head(6, 3, 8)
    for key, same in ((head.query, True), (head.key, False)):
        scores = head.query(x) @ key(x).transpose(-2, -1)
        assert torch.allclose(scores, scores.transpose(-2, -1)) == same
        assert bool((scores.diagonal(dim1=1, dim2=2) >= 0).all()) == same


def test_a_mask_after_the_softmax_leaks_and_leaves_rows_short():
    x, mask = torch.randn(1, 8, 6), causal_mask(8)
    head = Head(6, 3, 8)

    def late(x):
        return attention_weights(head.query(x), head.key(x)).masked_fill(~mask, 0.0)

    sums = late(x).sum(dim=-1)[0]
    assert bool((sums[:-1] < 1).all()) and sums[-1].item() == pytest.approx(1)
    edited = torch.cat([x[:, :5], torch.randn(1, 3, 6)], dim=1)
    assert not torch.allclose(late(x)[:, :5], late(edited)[:, :5])
    torch.testing.assert_close(head.weights(x)[:, :5], head.weights(edited)[:, :5])


def test_the_fused_form_stores_no_table_and_with_dropout_it_does():
    """On a CPU, by PyTorch's own account of the memory that each call takes."""

    def largest(dropout):
        q = torch.randn(1, 4, 512, 16, requires_grad=True)
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            F.scaled_dot_product_attention(q, q, q, is_causal=True, dropout_p=dropout)
        return max(event.cpu_memory_usage for event in seen.events())

    table = 4 * 512 * 512 * 4  # heads, T, T, bytes of a float
    assert largest(0.0) < table / 4 < table < largest(0.1)

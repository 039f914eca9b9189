"""The Transformer block against PyTorch's, its wiring, and the shortcut example."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch

from gptlib.block import ShortcutMLP, TransformerBlock, mean_gradients

B, T, C, N_HEAD, CONTEXT = 2, 9, 16, 4, 12
PLACES = ["pre", "post"]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def shake(module: torch.nn.Module) -> torch.nn.Module:
    """Random values in every parameter, so that no scale of 1 or shift of 0 hides a mistake."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


@pytest.mark.parametrize("norm", PLACES)
@pytest.mark.parametrize("gelu", ["tanh", "none"])
def test_block_equals_pytorchs_encoder_layer_under_a_causal_mask(norm, gelu):
    ours = shake(TransformerBlock(C, N_HEAD, CONTEXT, norm=norm, gelu=gelu)).eval()
    theirs = torch.nn.TransformerEncoderLayer(
        C,
        N_HEAD,
        4 * C,
        dropout=0.0,
        activation=lambda x: torch.nn.functional.gelu(x, approximate=gelu),
        batch_first=True,
        norm_first=norm == "pre",
    ).eval()
    pairs = {
        "self_attn.in_proj_": ours.attention.qkv,
        "self_attn.out_proj.": ours.attention.project,
        "linear1.": ours.feed_forward.expand,
        "linear2.": ours.feed_forward.project,
        "norm1.": ours.norm_1,
        "norm2.": ours.norm_2,
    }
    weights = {
        name + part: getattr(module, part)
        for name, module in pairs.items()
        for part in ("weight", "bias")
    }
    theirs.load_state_dict(weights)
    x = torch.randn(B, T, C)
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    assert torch.allclose(ours(x), theirs(x, src_mask=future), atol=1e-5)


@pytest.mark.parametrize("norm", PLACES)
def test_without_shortcut_the_block_is_its_layers_one_after_the_other(norm):
    block = shake(TransformerBlock(C, N_HEAD, CONTEXT, norm=norm, shortcut=False))
    x = torch.randn(B, T, C)
    if norm == "pre":
        expected = block.feed_forward(block.norm_2(block.attention(block.norm_1(x))))
    else:
        expected = block.norm_2(block.feed_forward(block.norm_1(block.attention(x))))
    assert torch.allclose(block(x), expected, atol=1e-6)


def test_the_shortcut_of_a_pre_norm_block_runs_from_end_to_end():
    block, x = TransformerBlock(C, N_HEAD, CONTEXT), torch.randn(B, T, C)
    for layer in (block.attention.project, block.feed_forward.project):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    assert torch.equal(block(x), x)


@pytest.mark.parametrize("norm", PLACES)
@pytest.mark.parametrize("shortcut", [True, False])
def test_editing_the_future_changes_nothing_before_it(norm, shortcut):
    block = TransformerBlock(C, N_HEAD, CONTEXT, norm=norm, shortcut=shortcut)
    x = torch.randn(B, T, C)
    before = block(x)
    for t in range(1, T):
        edited = x.clone()
        edited[:, t:] = 100 * torch.randn(B, T - t, C)
        after = block(edited)
        assert torch.allclose(after[:, :t], before[:, :t], atol=1e-6)
        assert not torch.allclose(after[:, t], before[:, t], atol=1e-3)


def test_parameters_of_a_block():
    def count(**options):
        block = TransformerBlock(C, N_HEAD, CONTEXT, **options)
        return sum(p.numel() for p in block.parameters())

    assert count() == 12 * C**2 + 13 * C
    assert count(qkv_bias=False) == 12 * C**2 + 10 * C
    assert count(bias=False) == 12 * C**2 + 2 * C
    assert count(norm="post") == count(shortcut=False) == count()


def test_dropout_acts_in_training_only():
    block, x = TransformerBlock(C, N_HEAD, CONTEXT, dropout=0.3), torch.randn(B, T, C)
    assert not torch.equal(block(x), block(x))
    block.eval()
    assert torch.equal(block(x), block(x))
    # Attention, its projection and the feed-forward network all know the rate.
    assert block.attention.dropout.p == block.feed_forward.dropout.p == 0.3
    for layer in (block.attention.project, block.feed_forward.project):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    assert torch.equal(block.train()(x), x)  # none stands on the stream


def test_the_shortcut_stands_only_where_the_sizes_agree():
    model, x = ShortcutMLP([3, 3, 5], shortcut=True), torch.randn(4, 3)
    first, second = model.layers
    assert torch.allclose(model(x), second(x + first(x)))
    model.shortcut = False
    assert torch.allclose(model(x), second(first(x)))
    assert ShortcutMLP([3, 3, 3, 3, 3, 1], True)(x).shape == (4, 1)


def test_without_shortcuts_the_gradient_fades_with_depth_and_with_them_it_does_not():
    def ratio(shortcut):
        torch.manual_seed(0)
        model = ShortcutMLP([16] * 21, shortcut)
        model(torch.randn(8, 16)).square().mean().backward()
        gradients = list(mean_gradients(model).values())
        return gradients[0] / gradients[-1]

    assert ratio(shortcut=False) < 1e-6
    assert ratio(shortcut=True) > 0.1


def test_the_shortcut_example_changes_no_weight():
    """Chapter 5: between the two columns of gradients the plus signs are all that differs."""
    found = []
    for shortcut in (False, True):
        torch.manual_seed(123)
        found.append(ShortcutMLP([3, 3, 3, 3, 3, 1], shortcut).state_dict())
    without, around = found
    assert without.keys() == around.keys() and len(without) == 10
    assert all(torch.equal(without[name], around[name]) for name in without)


def test_all_paths_add_up_to_the_gradient_and_on_one_nothing_is_multiplied():
    """Chapter 5: a path is a choice of the layers that the message goes through."""
    slopes = (0.4, -0.3, 0.5, 0.2, 0.3)
    x = torch.ones(1, 1, dtype=torch.double, requires_grad=True)
    h = x
    for slope in slopes:
        h = h + slope * h
    h.sum().backward()
    paths = [math.prod(chosen) for k in range(6) for chosen in combinations(slopes, k)]
    assert len(paths) == 32 and paths[0] == 1
    assert sum(paths) == pytest.approx(x.grad.item())


def test_a_weight_hears_what_came_in_times_what_comes_back():
    """Why layer 1 of the published example hears less than layer 0: its input is smaller."""
    torch.manual_seed(123)
    model, h = ShortcutMLP([3, 3, 3, 3, 3, 1], shortcut=False), torch.tensor([[1.0, 0.0, -1.0]])
    came_in, comes_back = [], []
    for linear, bend in model.layers:
        came_in.append(h.abs().mean().item())
        z = linear(h)
        z.retain_grad()
        comes_back.append(z)
        h = bend(z)
    torch.nn.functional.mse_loss(h, torch.tensor([[0.0]])).backward()
    back = [z.grad.abs().mean().item() for z in comes_back]
    heard = list(mean_gradients(model).values())
    assert heard == pytest.approx([a * b for a, b in zip(came_in, back, strict=True)], rel=1e-4)
    assert back == sorted(back) and heard[1] < heard[0]
    assert [round(size, 2) for size in came_in[:2]] == [0.67, 0.14]


@pytest.mark.parametrize("seed", range(3))
def test_the_changes_of_a_gelu_lean_one_way_and_those_of_tanh_do_not(seed):
    """Chapter 5, exercise 7: 64 times x + f(norm(x)), beside what unrelated changes would give."""
    found = {}
    for bend in (torch.nn.GELU, torch.nn.Tanh):
        torch.manual_seed(seed)
        x, squares = torch.randn(500, 64), 1.0
        for _ in range(64):
            layer = torch.nn.Sequential(torch.nn.LayerNorm(64), torch.nn.Linear(64, 64), bend())
            change = layer(x).detach()
            squares += change.pow(2).mean().item()
            x = x + change
        found[bend] = x.pow(2).mean().sqrt().item() / squares**0.5
    assert found[torch.nn.GELU] > 2 and abs(found[torch.nn.Tanh] - 1) < 0.1


def test_a_block_that_writes_over_the_stream_is_noticed_where_a_gradient_is_taken():
    """Chapter 5, exercise 8."""

    class InPlace(TransformerBlock):
        def forward(self, x):
            x += self.attention(self.norm_1(x))
            x += self.feed_forward(self.norm_2(x))
            return x

    block, x = InPlace(C, N_HEAD, CONTEXT), torch.randn(B, T, C)
    with torch.no_grad():
        assert block(x) is x  # nobody complains, and what went in is gone
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        block(torch.randn(B, T, C, requires_grad=True) * 1).sum().backward()


def test_mean_gradients_lists_the_weight_matrices_in_order():
    model = ShortcutMLP([2, 2, 1], shortcut=False)
    with pytest.raises(ValueError, match=r"layers\.0\.0\.weight: call loss\.backward\(\) first"):
        mean_gradients(model)
    model(torch.randn(3, 2)).sum().backward()
    gradients = mean_gradients(model)
    assert list(gradients) == ["layers.0.0.weight", "layers.1.0.weight"]
    expected = model.layers[1][0].weight.grad.abs().mean().item()
    assert gradients["layers.1.0.weight"] == expected


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TransformerBlock(C, 3, CONTEXT), "n_embd must be divisible by n_head"),
        (lambda: TransformerBlock(C, 4, CONTEXT, norm="mid"), "norm must be one of pre, post"),
        (lambda: TransformerBlock(C, 4, CONTEXT, dropout=1), "dropout must be at least 0 and"),
        (lambda: TransformerBlock(C, 4, CONTEXT, gelu="x"), "must be one of tanh, none; got 'x'"),
        (lambda: ShortcutMLP([3], True), r"layer_sizes must hold 2 sizes or more; got \[3\]"),
        (lambda: TransformerBlock(C, 4, 4)(torch.zeros(1, 5, C)), "1 to context_length 4"),
    ],
)
def test_errors_name_the_argument_and_what_is_allowed(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_one_layer_is_enough_for_an_example():
    assert ShortcutMLP([3, 2], shortcut=True)(torch.zeros(5, 3)).shape == (5, 2)

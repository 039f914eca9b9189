"""Backpropagation by hand: autograd is the oracle, in float64; PyTorch's AdamW for the step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_numpy_gpt import FORMS, SMALL, arrays, stirred, story_ids  # noqa: F401 (a fixture)

from gptlib.appendix import by_hand
from gptlib.attention import CausalSelfAttention
from gptlib.gpt import GPT, GPTConfig
from gptlib.loss import next_token_loss
from gptlib.recipe import TrainConfig
from gptlib.training import Run

RANDOM = np.random.default_rng(0)


def tensor(array: np.ndarray) -> torch.Tensor:
    """A copy that collects a gradient."""
    return torch.tensor(array, requires_grad=True)


def same(ours, theirs) -> None:
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=0, atol=1e-12)


def test_cross_entropy_and_targets_that_are_not_scored():
    logits, targets = RANDOM.normal(size=(3, 4, 7)), RANDOM.integers(0, 7, (3, 4))
    targets[1, 2] = targets[0, 0] = -1
    x = tensor(logits)
    theirs = next_token_loss(x, torch.from_numpy(targets))
    theirs.backward()
    loss, grad = by_hand.cross_entropy(logits, targets)
    assert loss == pytest.approx(theirs.item(), abs=1e-12)
    same(grad, x.grad)


@pytest.mark.parametrize("bias", [True, False])
def test_linear(bias):
    x, dy = RANDOM.normal(size=(2, 3, 4)), RANDOM.normal(size=(2, 3, 5))
    w = {"weight": RANDOM.normal(size=(5, 4))} | ({"bias": RANDOM.normal(size=5)} if bias else {})
    x_, w_ = tensor(x), {name: tensor(array) for name, array in w.items()}
    F.linear(x_, w_["weight"], w_.get("bias")).backward(torch.from_numpy(dy))
    dx, grads = by_hand.linear_back(dy, x, w)
    same(dx, x_.grad)
    assert grads.keys() == w.keys()
    for name, grad in grads.items():
        same(grad, w_[name].grad)


@pytest.mark.parametrize("form", ["tanh", "none"])
def test_gelu(form):
    x, dy = 3 * RANDOM.normal(size=(4, 5)), RANDOM.normal(size=(4, 5))
    x_ = tensor(x)
    F.gelu(x_, approximate=form).backward(torch.from_numpy(dy))
    same(by_hand.gelu_back(dy, x, form), x_.grad)


@pytest.mark.parametrize("bias", [True, False])
def test_layer_norm(bias):
    x, dy = RANDOM.normal(2, 3, size=(2, 3, 6)), RANDOM.normal(size=(2, 3, 6))
    w = {"weight": RANDOM.normal(size=6)} | ({"bias": RANDOM.normal(size=6)} if bias else {})
    x_, w_ = tensor(x), {name: tensor(array) for name, array in w.items()}
    F.layer_norm(x_, (6,), w_["weight"], w_.get("bias")).backward(torch.from_numpy(dy))
    dx, grads = by_hand.layer_norm_back(dy, x, w)
    same(dx, x_.grad)
    assert grads.keys() == w.keys()
    for name, grad in grads.items():
        same(grad, w_[name].grad)
    assert np.abs(dx.sum(axis=-1)).max() < 1e-12


def test_attention():
    torch.manual_seed(0)
    layer = CausalSelfAttention(12, 3, 5).double()
    x, dy = RANDOM.normal(size=(2, 5, 12)), RANDOM.normal(size=(2, 5, 12))
    x_ = tensor(x)
    layer(x_).backward(torch.from_numpy(dy))
    w = {name: p.detach().numpy() for name, p in layer.named_parameters()}
    dx, grads = by_hand.attention_back(dy, x, w, 3)
    same(dx, x_.grad)
    assert grads.keys() == w.keys()
    for name, parameter in layer.named_parameters():
        same(grads[name], parameter.grad)


@pytest.mark.parametrize("form", FORMS)
def test_every_gradient_of_the_whole_model(form):
    model = stirred(GPTConfig(**{**SMALL, **form}))
    idx, targets = RANDOM.integers(0, 50, (2, 4, 9))
    _, loss = model(torch.from_numpy(idx), torch.from_numpy(targets))
    loss.backward()
    ours, grads = by_hand.gpt_back(idx, targets, arrays(model), model.config)
    assert ours == pytest.approx(loss.item(), abs=1e-11)
    theirs = dict(model.named_parameters())
    assert grads.keys() == theirs.keys()
    for name, grad in grads.items():
        same(grad, theirs[name].grad)


def test_a_nudge_finds_the_same_slope():
    """Autograd aside: the loss itself, a little to both sides of some weights."""
    model = stirred(GPTConfig(**SMALL), seed=1)
    weights = {name: array.copy() for name, array in arrays(model).items()}
    weights["head.weight"] = weights["token_embedding.weight"]
    idx, targets = RANDOM.integers(0, 50, (2, 4, 9))
    _, grads = by_hand.gpt_back(idx, targets, weights, model.config)
    for name, grad in grads.items():
        place = tuple(RANDOM.integers(0, n) for n in grad.shape)
        if name == "token_embedding.weight":
            place = (idx[0, 0], 3)
        before, losses = weights[name][place], []
        for nudge in (1e-5, -1e-5):
            weights[name][place] = before + nudge
            losses.append(by_hand.gpt_back(idx, targets, weights, model.config)[0])
        weights[name][place] = before
        assert (losses[0] - losses[1]) / 2e-5 == pytest.approx(grad[place], abs=1e-7), name


@pytest.mark.parametrize("clip", [1e-2, 1e3])
def test_three_steps_are_those_of_pytorch(clip):
    model = stirred(GPTConfig(**SMALL), seed=2)
    weights = {name: array.copy() for name, array in arrays(model).items()}
    weights["head.weight"] = weights["token_embedding.weight"]
    recipe = TrainConfig(steps=3, lr=1e-2, weight_decay=0.1, grad_clip=clip)
    groups = [
        {"params": [p for p in model.parameters() if p.dim() == 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-2, betas=recipe.betas)
    averages = {}
    for step in (1, 2, 3):
        idx, targets = RANDOM.integers(0, 50, (2, 4, 9))
        optimizer.zero_grad()
        model(torch.from_numpy(idx), torch.from_numpy(targets))[1].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        _, grads = by_hand.gpt_back(idx, targets, weights, model.config)
        by_hand.adamw_step(weights, grads, averages, step, recipe)
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(weights[name], parameter.detach().numpy(), rtol=0, atol=1e-9)


def test_a_step_of_the_course_s_own_run_is_this_step(monkeypatch):
    model = stirred(GPTConfig(**SMALL, bias=False), seed=3)
    weights = {name: array.copy() for name, array in arrays(model).items()}
    weights["head.weight"] = weights["token_embedding.weight"]
    recipe = TrainConfig(steps=40, batch_size=4, lr=1e-2, context_length=9, device="cpu")
    run = Run(model, torch.arange(50), recipe)
    batch = RANDOM.integers(0, 50, (2, 4, 9))
    monkeypatch.setattr(run, "batch", lambda: tuple(map(torch.from_numpy, batch)))
    told, averages = [run.update() for _ in range(3)], {}
    for step, metrics in enumerate(told, 1):
        loss, grads = by_hand.gpt_back(*batch, weights, model.config)
        assert loss == pytest.approx(metrics["loss"], abs=1e-9)
        by_hand.adamw_step(weights, grads, averages, step, replace(recipe, lr=metrics["lr"]))
    assert told[0]["loss"] - told[2]["loss"] > 0.01
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(weights[name], parameter.detach().numpy(), rtol=0, atol=1e-9)


# Appendix C, "What goes wrong": three gradients that are wrong in one thing each.
RIGHT = {name: getattr(by_hand, name) for name in ("block_back", "layer_norm_back", "gpt_back")}


def no_shortcut(dy, x, w, config):
    dx, grads = RIGHT["block_back"](dy, x, w, config)
    return dx - dy, grads


def constants(dy, x, w, eps=1e-5):
    std = np.sqrt(x.var(axis=-1, keepdims=True) + eps)
    return dy * w["weight"] / std, RIGHT["layer_norm_back"](dy, x, w, eps)[1]


def head_alone(idx, targets, weights, config):
    loss, grads = RIGHT["gpt_back"](idx, targets, weights, replace(config, tied=False))
    grads["token_embedding.weight"] = grads.pop("head.weight")
    return loss, grads


@pytest.mark.parametrize("lr", [0.001, 0.003, 0.03])
def test_at_other_rates_too_each_wrong_gradient_lowers_the_loss(lr, story_ids, monkeypatch):  # noqa: F811
    small = GPTConfig(
        vocab_size=1536, context_length=64, n_layer=2, n_head=2, n_embd=16, gelu="none"
    )
    batch = np.array([story[1:34] for story in story_ids(8, 1)])
    recipe, ends = TrainConfig(lr=lr, grad_clip=0.5), {}
    wrong = {"block_back": no_shortcut, "layer_norm_back": constants, "gpt_back": head_alone}
    for name in ("right", *wrong):
        if name in wrong:
            monkeypatch.setattr(by_hand, name, wrong[name])
        for seed in (0, 1):
            torch.manual_seed(seed)
            weights = {n: p.detach().numpy() for n, p in GPT(small).double().named_parameters()}
            weights["head.weight"], averages = weights["token_embedding.weight"], {}
            losses = []
            for step in range(1, 13):
                loss, grads = by_hand.gpt_back(batch[:, :-1], batch[:, 1:], weights, small)
                by_hand.adamw_step(weights, grads, averages, step, recipe)
                losses.append(loss)
            ends[name, seed] = losses[-1]
            assert losses[0] == pytest.approx(7.34, abs=0.05) and losses[-1] < losses[0] - 0.05
        monkeypatch.undo()
    for seed in (0, 1):
        assert ends["right", seed] < min(ends[name, seed] for name in wrong)

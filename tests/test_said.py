"""Sentences of chapters 2 and 6 that no cell would contradict, computed."""

from __future__ import annotations

import math
from dataclasses import fields

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from gptlib.generation import next_token_probs
from gptlib.gpt import GPT, GPTConfig, non_embedding_parameters, total_parameters, waves

STORIES = GPTConfig.preset("stories")
LN_V = math.log(STORIES.vocab_size)


def ids(*shape: int) -> torch.Tensor:
    return torch.randint(STORIES.vocab_size, shape, generator=torch.Generator().manual_seed(5))


def loose(seed: int) -> GPT:
    """A model as the loose parts of chapter 6 are: an own head, PyTorch's first numbers."""
    torch.manual_seed(seed)
    changes = {"init": "torch", "tied": False, "waves": False, "bias": True}
    return GPT(GPTConfig.preset("stories", **changes))


def test_no_temperature_makes_the_impossible_possible():
    logits = torch.tensor([1.0, -math.inf, 0.0])
    for temperature in (0.1, 1.0, 5.0, 100.0):
        assert next_token_probs(logits, temperature).tolist()[1] == 0
    assert all(-math.inf / t == -math.inf for t in (0.1, 1.0, 5.0, 100.0))


@pytest.mark.parametrize("seed", range(3))
def test_an_untrained_model_prefers_tokens_and_pays_for_it(seed):
    x, y = ids(8, 128), ids(8, 128).flip(0)
    with torch.no_grad():
        logits, loss = loose(seed)(x, y)
    assert logits.std() > 0.3
    assert loss.item() - LN_V == pytest.approx(logits.var().item() / 2, abs=0.05)


def test_random_places_are_strangers_and_places_on_waves_are_not():
    torch.manual_seed(0)
    others = ~torch.eye(128, dtype=bool)
    random, wavy = (F.normalize(t, dim=1) for t in (torch.randn(128, 64), waves(128, 64)))
    assert (random @ random.T)[others].abs().mean() < 0.15
    assert (random @ random.T).diagonal(1).mean().abs() < 0.1
    assert (wavy @ wavy.T).diagonal(1).min() > 0.9


def test_waves_cost_no_parameter():
    assert total_parameters(STORIES) == total_parameters(GPTConfig.preset("stories", waves=False))
    counts = {GPT(GPTConfig.preset("stories", waves=w)).num_parameters() for w in (True, False)}
    assert counts == {303_680}


def test_a_configuration_is_five_sizes_and_eight_settings():
    defaults = {field.name: field.default for field in fields(GPTConfig)}
    sizes = [name for name, value in defaults.items() if type(value) is int]
    assert len(defaults) == 13 and len(sizes) == 5


def test_the_share_of_the_tables_falls_to_a_twentieth():
    shares = []
    for name in ("stories", "gpt2-small", "gpt2-medium", "gpt2-large", "gpt2-xl"):
        config = GPTConfig.preset(name)
        shares.append(1 - non_embedding_parameters(config) / total_parameters(config))
    assert shares == sorted(shares, reverse=True)
    assert 0.3 < shares[0] < 0.4 and shares[-1] == pytest.approx(1 / 20, abs=0.005)


def test_a_model_learns_around_blocks_that_stay_random():
    torch.manual_seed(0)
    model, x = GPT(STORIES), ids(8, 32)
    blocks = [p.clone() for p in model.blocks.parameters()]
    rest = [p for name, p in model.named_parameters() if not name.startswith("blocks.")]
    optimizer, losses = torch.optim.AdamW(rest, lr=4e-3), []
    for _ in range(30):
        loss = model(x[:, :-1], x[:, 1:])[1]
        model.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 1
    assert all(map(torch.equal, blocks, model.blocks.parameters()))


def test_a_head_that_was_copied_is_another_table_after_one_step():
    for tied in (True, False):
        model = GPT(GPTConfig.preset("stories", tied=tied))
        model.head.weight.data.copy_(model.token_embedding.weight)
        optimizer = torch.optim.AdamW(model.parameters())
        model(ids(2, 16), ids(2, 16).flip(0))[1].backward()
        optimizer.step()
        assert torch.equal(model.head.weight, model.token_embedding.weight) == tied


def test_a_head_of_zeros_begins_at_ln_v_to_the_last_digit():
    model = loose(0)
    nn.init.zeros_(model.head.weight)
    with torch.no_grad():
        logits, loss = model(ids(4, 32), ids(4, 32).flip(0))
    assert logits.eq(0).all() and loss.item() == pytest.approx(LN_V, abs=1e-6)


@pytest.mark.parametrize("width", [16, 256])
def test_an_own_head_spreads_its_logits_by_one_over_root_three(width):
    torch.manual_seed(0)
    table = nn.Linear(width, 4000, bias=False).weight
    assert table.abs().max() <= width**-0.5
    assert table.std().item() == pytest.approx((3 * width) ** -0.5, rel=0.02)
    logits = torch.randn(200, width) @ table.T  # (200, 4000)
    assert logits.std().item() == pytest.approx(3**-0.5, rel=0.05)


def test_places_taken_from_the_batch_s_size_are_place_0_for_one_text():
    model, x = GPT(STORIES), ids(1, 16)
    tokens = model.token_embedding(x)  # (1, T, C)
    lost = tokens + model.position_embedding(torch.arange(x.size(0)))  # (1, T, C) + (1, C)
    assert torch.allclose(
        lost - tokens, model.position_embedding.weight[0].expand_as(lost), atol=1e-6
    )
    with pytest.raises(RuntimeError, match="must match"):
        model.token_embedding(ids(3, 16)) + model.position_embedding(torch.arange(3))

"""The classic GPT with its parts exchanged: each change alone, and all of them, the modern GPT."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
import torch

from gptlib.attention import CausalSelfAttention
from gptlib.changes import CHANGES, swiglu_hidden, with_changes
from gptlib.gpt import GPT, GPTConfig
from gptlib.grouped import GroupedAttention
from gptlib.layers import LayerNorm
from gptlib.modern import ModernConfig, ModernGPT

CONFIG = GPTConfig(vocab_size=17, context_length=12, n_layer=2, n_head=4, n_embd=24)
IDX = torch.randint(17, (3, 12), generator=torch.Generator().manual_seed(0))
every_change = pytest.mark.parametrize("name", CHANGES)


def made(*changes: str, **fields) -> GPT:
    torch.manual_seed(1)
    return with_changes(replace(CONFIG, **fields), changes).eval()


def test_without_changes_it_is_the_gpt_of_chapter_6():
    classic = GPT(CONFIG).eval()
    same = with_changes(CONFIG, ()).eval()
    same.load_state_dict(classic.state_dict())
    assert torch.equal(same(IDX)[0], classic(IDX)[0])
    assert same.num_parameters() == classic.num_parameters()
    assert torch.equal(made()(IDX)[0], made()(IDX)[0])  # a seed gives the same start again


def test_with_all_changes_it_is_the_modern_gpt():
    """Its weights under the modern model's names give the same logits, to the last bit."""
    ours = made(*CHANGES)
    for parameter in ours.parameters():  # it starts with blocks that say nothing
        torch.nn.init.normal_(parameter, std=0.3)
    modern = ModernGPT(
        ModernConfig(
            vocab_size=17, context_length=12, n_layer=2, n_head=4, n_kv_head=2, n_embd=24,
            head_size=6, hidden=swiglu_hidden(24),
        )
    ).eval()  # fmt: skip
    state = {name.replace("head.linear", "head"): w for name, w in ours.state_dict().items()}
    modern.load_state_dict(state)
    assert torch.equal(ours(IDX)[0], modern(IDX)[0])
    assert ours.num_parameters() == modern.num_parameters()


def test_positions_that_begin_as_waves_begin_so_whatever_is_changed():
    waves = GPT(replace(CONFIG, waves=True)).position_embedding.weight
    for changes in ((), ("init",), ("swiglu", "grouped")):
        assert torch.equal(made(*changes, waves=True).position_embedding.weight, waves)
    assert not torch.equal(made().position_embedding.weight, waves)


@every_change
def test_each_change_changes_what_it_names_and_nothing_else(name):
    model = made(name)
    names = {n for n, _ in model.named_parameters()}
    assert any(n.endswith("bias") for n in names) == (name != "no_bias")
    assert any("position" in n for n in names) == (name != "rope")
    assert any("gate" in n for n in names) == (name == "swiglu")
    assert any("norm_q" in n for n in names) == (name == "qk_norm")
    attention = type(model.blocks[0].attention)
    asked = name in ("rope", "grouped", "qk_norm")
    assert attention is (GroupedAttention if asked else CausalSelfAttention)
    turns = getattr(model.blocks[0].attention, "rope", None)
    assert (turns is not None) == (name == "rope")
    layer_norms = sum(isinstance(part, LayerNorm) for part in model.modules())
    assert layer_norms == (0 if name == "rms_norm" else 5)
    keys = model.blocks[0].attention.qkv.weight.size(0)
    assert keys == (24 + 2 * 12 if name == "grouped" else 3 * 24)
    # init_gpt2 starts at 0.02, init_modern at 1 / sqrt(24) = 0.2 and silent blocks.
    assert (model.token_embedding.weight.std() > 0.1) == (name == "init")
    assert bool(model.blocks[0].attention.project.weight.any()) == (name != "init")


def test_capped_logits_stay_within_30():
    model = made("soft_cap")
    with torch.no_grad():
        model.token_embedding.weight.mul_(1e4)
    assert model(IDX)[0].abs().max().item() == pytest.approx(30)
    assert made()(IDX)[0].abs().max() > 0


@pytest.mark.parametrize("changes", list(combinations(CHANGES, 2)), ids="+".join)
def test_any_two_changes_go_together_and_learn(changes):
    model = made(*changes)
    logits, loss = model(IDX, IDX)
    loss.backward()
    assert logits.shape == (3, 12, 17)
    # From silent blocks, all but the projections hear nothing in the first step.
    heard = [p.grad is not None and bool(p.grad.any()) for p in model.parameters()]
    assert all(heard) or "init" in changes


def test_without_a_table_of_positions_it_runs_on_any_device():
    with torch.device("meta"):
        model = with_changes(CONFIG, ["rope"])
    assert model(IDX.to("meta"))[0].device.type == "meta"


def test_an_unknown_change_is_named():
    with pytest.raises(ValueError, match=r"changes must be one of rope, .*got 'ropes'"):
        with_changes(CONFIG, ["ropes"])


@pytest.mark.parametrize("n_embd", [64, 96, 128, 768])
def test_swiglu_is_about_as_large_as_what_it_replaces(n_embd):
    assert swiglu_hidden(n_embd) % 8 == 0
    assert abs(3 * swiglu_hidden(n_embd) - 8 * n_embd) <= 12

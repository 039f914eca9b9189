"""What a model costs, worked out, against models that are built, and against what was published."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from gptlib.cache import Cached
from gptlib.counts import (
    active_parameters,
    block_parameters,
    cache_bytes,
    count_parameters,
    feed_forward_parameters,
    forward_flops,
)
from gptlib.gpt import GPT, GPTConfig, flops_per_token, total_parameters
from gptlib.modern import MODERN_PRESETS, ModernConfig, ModernGPT

CLASSIC = GPTConfig(61, 20, n_layer=3, n_head=4, n_embd=32)
SMALL = {
    "vocab_size": 61, "context_length": 20, "n_layer": 3, "n_head": 4, "n_kv_head": 2,
    "n_embd": 24, "head_size": 8, "hidden": 40,
}  # fmt: skip
VARIANTS = [
    {},
    {"tied": False},
    {"bias": True},
    {"norm": "sandwich"},
    {"qk_norm": False},
    {"sinks": True},
    {"window": 5, "full_every": 2},
    {"n_expert": 6, "n_active": 2},
    {"n_expert": 6, "n_active": 3, "bias": True, "tied": False, "sinks": True, "n_kv_head": 4},
]
every_variant = pytest.mark.parametrize("changes", VARIANTS)


def small(**changes) -> ModernConfig:
    return ModernConfig(**{**SMALL, **changes})


@every_variant
def test_parameters_are_those_of_the_model_that_is_built(changes):
    config = small(**changes)
    model = ModernGPT(config)
    assert count_parameters(config) == model.num_parameters()
    block = model.blocks[0]
    assert block_parameters(config, config.n_expert) == sum(p.numel() for p in block.parameters())
    network = [p for name, p in block.feed_forward.named_parameters() if "router" not in name]
    assert feed_forward_parameters(config) == sum(p.numel() for p in network) // config.n_expert


@every_variant
def test_active_are_those_that_a_token_gets_a_gradient_for(changes):
    """Of one token's next one: all that moved it, the embedding it looked up left out."""
    config = small(**{**changes, "tied": False})
    torch.manual_seed(0)
    model = ModernGPT(config)
    model(torch.tensor([[3, 5]]))[0][0, -1].square().sum().backward()
    active = 0
    for name, p in model.named_parameters():
        if name != "token_embedding.weight":
            # Two tokens ran through it, and may have asked different experts.
            experts = "feed_forward" in name and "router" not in name and config.n_expert > 1
            active += p.numel() * config.n_active // config.n_expert if experts else p.numel()
    assert active_parameters(config) == active


def test_without_experts_and_tied_all_are_active():
    assert active_parameters(small()) == count_parameters(small())
    assert count_parameters(CLASSIC) == total_parameters(CLASSIC)
    places = CLASSIC.context_length * CLASSIC.n_embd
    assert active_parameters(CLASSIC) == total_parameters(CLASSIC) - places


@pytest.mark.parametrize("n_tokens", [1, 5, 6, 20])
def test_the_cache_takes_so_many_bytes(n_tokens):
    torch.manual_seed(0)
    pairs = [(CLASSIC, GPT(CLASSIC))]
    pairs += [(small(**changes), ModernGPT(small(**changes))) for changes in VARIANTS]
    for config, model in pairs:
        reader = Cached(model)
        for t in range(1, n_tokens + 1):
            reader(torch.zeros(1, t, dtype=torch.long))
        assert reader.cache.nbytes == cache_bytes(config, n_tokens, bytes_per_value=4)


def written_out(config: ModernConfig) -> ModernGPT:
    """The model without the fused kernel, whose operations the counter may not know."""
    model = ModernGPT(config).eval()
    for block in model.blocks:
        block.attention.fused = False
    return model


def counted(model, idx, **options) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(idx, **options)
    return counter.get_total_flops()


@pytest.mark.parametrize("changes", VARIANTS[:6])
@pytest.mark.parametrize("n_tokens", [2, 20])
def test_one_more_token_takes_so_many_operations(changes, n_tokens):
    """PyTorch's counter looks at what runs; the last token is read behind a full cache."""
    model, idx = written_out(small(**changes)), torch.zeros(1, n_tokens).long()
    cache = model.new_cache()
    with torch.no_grad():
        model(idx[:, 1:], cache=cache)
    assert counted(model, idx[:, :1], cache=cache) == forward_flops(small(**changes), n_tokens)


def test_experts_cost_what_those_asked_cost():
    """We run them all, see `Experts`; the difference to the counter is those not asked."""
    config = small(n_expert=6, n_active=2)
    model = written_out(config)
    ran = counted(model, torch.zeros(1, 1).long())
    mixing = 2 * 6 * 24  # the answers, weighted and added up
    spared = config.n_layer * (4 * 2 * 3 * 24 * 40 + mixing)
    assert ran - spared == forward_flops(config, 1)


def test_operations_of_the_classic_gpt_are_those_of_chapter_6():
    for name in ("gpt2-small", "gpt2-xl", "stories"):
        config = GPTConfig.preset(name)
        full = forward_flops(config, config.context_length)
        assert full == flops_per_token(config, training=False)
        assert full - forward_flops(config, 1) == (
            4 * config.n_layer * config.n_embd * (config.context_length - 1)
        )


def test_a_window_bounds_what_is_kept_and_what_is_looked_at():
    near, far = small(window=5), small()
    for cost in (cache_bytes, forward_flops):
        assert cost(near, 5) == cost(far, 5) and cost(near, 20) == cost(near, 5) < cost(far, 20)
    some = small(window=5, full_every=2)  # layer 2 of 3 sees all
    assert cache_bytes(some, 20) == (5 + 20 + 5) * cache_bytes(small(n_layer=1), 1)


# What was published ------------------------------------------------------------------------------

BILLIONS = {
    # Model card of GPT-OSS, table 1: total and active, with the unembedding and not the embedding.
    "gpt-oss-20b": (20.91, 3.61),
    "gpt-oss-120b": (116.83, 5.13),
    # The Llama 3 Herd of Models, and Gemma 2, table 2: embedding 590M and the rest 2,024M.
    "llama3-8b": (8.03, None),
    "gemma2-2b": (0.590 + 2.024, None),
    "qwen3-0.6b": (0.6, None),
}


# The parameters in the published files, as the tensors there add up.
EXACT = {
    "llama3-8b": 8_030_261_248,
    "mixtral-8x7b": 46_702_792_704,
    "gemma2-2b": 2_614_341_888,
    "qwen3-0.6b": 596_049_920,
    "gpt-oss-20b": 20_914_757_184,
    "gpt-oss-120b": 116_829_156_672,
}


@pytest.mark.parametrize("name", EXACT)
def test_the_published_files_hold_so_many(name):
    assert count_parameters(ModernConfig.preset(name)) == EXACT[name]


@pytest.mark.parametrize("name", BILLIONS)
def test_published_totals_are_met(name):
    total, active = BILLIONS[name]
    digits = 1 if name == "qwen3-0.6b" else 2 if name != "gemma2-2b" else 3
    config = ModernConfig.preset(name)
    assert round(count_parameters(config) / 1e9, digits) == pytest.approx(total)
    if active:
        assert round(active_parameters(config) / 1e9, digits) == active


def test_mixtral_is_met_whose_report_counts_the_embedding_too():
    config = ModernConfig.preset("mixtral-8x7b")
    embedding = config.vocab_size * config.n_embd
    assert round(count_parameters(config) / 1e9, 1) == 46.7
    assert round((active_parameters(config) + embedding) / 1e9, 1) == 12.9


def test_gpt2_xl_beside_gpt_oss():
    xl, oss = GPTConfig.preset("gpt2-xl"), ModernConfig.preset("gpt-oss-20b")
    assert round(count_parameters(xl) / 1e9, 2) == 1.56
    assert cache_bytes(xl, 1) / cache_bytes(oss, 1) == 6.25
    assert 2 < forward_flops(oss, 1024) / forward_flops(xl, 1024) < 2.4


def test_every_preset_can_be_counted():
    for name in MODERN_PRESETS:
        config = ModernConfig.preset(name)
        assert 0 < active_parameters(config) <= count_parameters(config)


@pytest.mark.parametrize("cost", [cache_bytes, forward_flops])
def test_no_tokens_are_refused(cost):
    with pytest.raises(ValueError, match="n_tokens must be a whole number, 1 or more; got 0"):
        cost(small(), 0)

"""The modern GPT against transformers: five families, small and random, with the same weights.

Their configurations are written out here, and their models write files as they always do. What is
called what stands once, in `gptlib.engine.forms`, which reads those files. Beside that:

- Gemma 2 divides scores by the root of a number of its own: the queries are scaled.
- GPT-OSS, which the engine has no form for, stores its experts' gate and value in turns, and turned
  over: they are taken apart. Its turns are those of YaRN: our table of them is overwritten.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from safetensors.torch import load_file

from gptlib.cache import Cached
from gptlib.counts import count_parameters
from gptlib.engine.forms import modern_names, own_weights
from gptlib.experts import balance_loss
from gptlib.generation import generate
from gptlib.modern import ModernConfig, ModernGPT

transformers = pytest.importorskip("transformers", reason="pip install transformers")

V, C, LAYERS, LONGEST = 61, 24, 4, 40
THEIRS = {
    "vocab_size": V, "hidden_size": C, "intermediate_size": 36, "num_hidden_layers": LAYERS,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": LONGEST,
    "rms_norm_eps": 1e-6, "tie_word_embeddings": False, "attn_implementation": "eager",
    "pad_token_id": None, "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
OURS = {
    "vocab_size": V, "context_length": LONGEST, "n_layer": LAYERS, "n_head": 4, "n_kv_head": 2,
    "n_embd": C, "head_size": 6, "hidden": 36, "tied": False, "qk_norm": False, "logit_cap": None,
}  # fmt: skip


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def rope(base: float) -> dict:
    return {"rope_type": "default", "rope_theta": base}


def shaken(model: torch.nn.Module) -> torch.nn.Module:
    """Random values everywhere, so that no scale of 1 and no shift of 0 hides a mistake."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model.eval()


# What is called what -----------------------------------------------------------------------------


def copied(ours: ModernGPT, theirs, form: str) -> ModernGPT:
    """Our model with their weights, out of the file that they write, by the engine's names.

    Every weight of both has to find its partner.
    """
    with TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        state = load_file(Path(folder) / "model.safetensors")
    found = own_weights(ours.config, form, state)
    assert {name for names in modern_names(ours.config, form).values() for name in names} - {
        "lm_head.weight"
    } == state.keys() - {"lm_head.weight"}
    ours.load_state_dict(found)
    return ours.eval()


def copied_gpt_oss(ours: ModernGPT, theirs) -> ModernGPT:
    """The same for GPT-OSS, which the engine has no form for."""
    state = {
        "token_embedding.weight": theirs.model.embed_tokens.weight,
        "final_norm.weight": theirs.model.norm.weight,
        "head.weight": theirs.lm_head.weight,
    }
    for i, block in enumerate(theirs.model.layers):
        attn, mlp = block.self_attn, block.mlp
        both, shift = mlp.experts.gate_up_proj.transpose(1, 2), mlp.experts.gate_up_proj_bias
        parts = {
            "attention.sinks": attn.sinks,
            "norm_1.weight": block.input_layernorm.weight,
            "norm_2.weight": block.post_attention_layernorm.weight,
            "feed_forward.router.weight": mlp.router.weight,
            "feed_forward.router.bias": mlp.router.bias,
            "feed_forward.gate_weight": both[:, ::2],
            "feed_forward.expand_weight": both[:, 1::2],
            "feed_forward.gate_bias": shift[:, ::2],
            "feed_forward.expand_bias": shift[:, 1::2],
            "feed_forward.project_weight": mlp.experts.down_proj.transpose(1, 2),
            "feed_forward.project_bias": mlp.experts.down_proj_bias,
        }
        for kind in ("weight", "bias"):
            stacked = [getattr(getattr(attn, f"{name}_proj"), kind) for name in "qkv"]
            parts[f"attention.qkv.{kind}"] = torch.cat(stacked)
            parts[f"attention.project.{kind}"] = getattr(attn.o_proj, kind)
        state |= {f"blocks.{i}.{name}": part for name, part in parts.items()}
    ours.load_state_dict(state)
    return ours.eval()


def llama():
    config = transformers.LlamaConfig(**THEIRS, rope_parameters=rope(500.0))
    theirs = shaken(transformers.LlamaForCausalLM(config))
    return copied(ModernGPT(ModernConfig(**OURS, rope_base=500.0)), theirs, "llama"), theirs


def qwen3():
    config = transformers.Qwen3Config(**THEIRS, head_dim=8, rope_parameters=rope(10_000.0))
    theirs = shaken(transformers.Qwen3ForCausalLM(config))
    ours = ModernGPT(ModernConfig(**OURS | {"head_size": 8, "qk_norm": True}))
    return copied(ours, theirs, "qwen3"), theirs


def mixtral():
    config = transformers.MixtralConfig(
        **THEIRS, num_local_experts=5, num_experts_per_tok=2, rope_parameters=rope(10_000.0)
    )
    theirs = shaken(transformers.MixtralForCausalLM(config))
    ours = ModernGPT(ModernConfig(**OURS, n_expert=5, n_active=2))
    return copied(ours, theirs, "mixtral"), theirs


def gemma2():
    changes = {"tie_word_embeddings": True, "head_dim": 8, "query_pre_attn_scalar": 3}
    changes |= {"sliding_window": 5, "attn_logit_softcapping": 2.0, "final_logit_softcapping": 4.0}
    config = transformers.Gemma2Config(**THEIRS | changes, rope_parameters=rope(10_000.0))
    theirs = shaken(transformers.Gemma2ForCausalLM(config))
    changes = {"head_size": 8, "norm": "sandwich", "gating": "geglu", "window": 5, "full_every": 2}
    ours = ModernGPT(ModernConfig(**OURS | changes | {"score_cap": 2.0, "logit_cap": 4.0}))
    copied(ours, theirs, "gemma2")
    with torch.no_grad():
        for name, weight in ours.named_parameters():
            if name.endswith("qkv.weight"):
                weight[: 4 * 8].mul_((8 / 3) ** 0.5)
    return ours, theirs


def gpt_oss(yarn: bool = False):
    turns = rope(150.0)
    if yarn:
        turns |= {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 10}
        turns |= {"beta_fast": 8.0, "beta_slow": 1.0, "truncate": False}
    config = transformers.GptOssConfig(
        **THEIRS, head_dim=8, num_local_experts=5, num_experts_per_tok=3, sliding_window=5,
        rope_parameters=turns,
    )  # fmt: skip
    theirs = shaken(transformers.GptOssForCausalLM(config))
    with torch.no_grad():  # wide enough for the clipping to matter
        for block in theirs.model.layers:
            block.mlp.experts.gate_up_proj.mul_(8)
    changes = {"head_size": 8, "bias": True, "window": 5, "full_every": 2, "sinks": True}
    changes |= {"gating": "clipped", "n_expert": 5, "n_active": 3, "rope_base": 150.0}
    ours = copied_gpt_oss(ModernGPT(ModernConfig(**OURS | changes)), theirs)
    if yarn:
        cos, sin = theirs.model.rotary_emb(torch.zeros(1), torch.arange(LONGEST)[None])
        for block in ours.blocks:
            block.attention.rope.cos, block.attention.rope.sin = cos[0], sin[0]
    return ours, theirs


FAMILIES = {
    "Llama": llama,
    "Qwen3": qwen3,
    "Mixtral": mixtral,
    "Gemma2": gemma2,
    "GPT-OSS": gpt_oss,
    "GPT-OSS with YaRN": lambda: gpt_oss(yarn=True),
}
every_family = pytest.mark.parametrize("build", FAMILIES.values(), ids=FAMILIES)


@every_family
def test_the_logits_are_those_of_transformers(build):
    ours, theirs = build()
    idx = torch.randint(V, (3, 30))
    with torch.no_grad():
        logits, expected = ours(idx)[0], theirs(idx).logits
    difference = (logits - expected).abs().max().item()
    print(f"logits up to {logits.abs().max():.2f}, largest difference {difference:.1e}")
    assert logits.std() > 0.5
    assert difference < 1e-4


@every_family
def test_greedy_text_with_our_cache_is_theirs_with_theirs(build):
    ours, theirs = build()
    idx = torch.randint(V, (3, 4))
    asked = {"max_new_tokens": 30, "do_sample": False, "use_cache": True}
    expected = theirs.generate(idx, attention_mask=torch.ones_like(idx), **asked)
    assert torch.equal(generate(Cached(ours), idx, 30, temperature=0), expected)


@pytest.mark.parametrize("part", ["score_cap", "logit_cap", "window", "full_every", "sinks"])
def test_what_a_family_has_of_its_own_is_felt_by_these_weights(part):
    """Left out, the logits are others: else the comparison above would not look at it."""
    ours, theirs = gpt_oss() if part == "sinks" else gemma2()
    changes = {part: False if part == "sinks" else None}
    if part == "full_every":
        changes = {part: 3}
    other = ModernGPT(ModernConfig(**vars(ours.config) | changes)).eval()
    other.load_state_dict(ours.state_dict(), strict=part != "sinks")
    idx = torch.randint(V, (3, 30))
    with torch.no_grad():
        assert (other(idx)[0] - theirs(idx).logits).abs().max() > 0.01


def test_the_balance_of_the_experts_is_that_of_mixtral():
    """Theirs counts each of a token's choices by itself and so is n_active times ours."""
    from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

    ours, _ = mixtral()
    routes = []
    ours(torch.randint(V, (3, 30)), routes=routes)
    for routing in routes:
        expected = load_balancing_loss_func((routing.probs.flatten(0, 1).log(),), 5, top_k=2)
        assert balance_loss(routing).item() == pytest.approx(expected.item() / 2, rel=1e-5)


# The published sizes -----------------------------------------------------------------------------

PUBLISHED = {
    "llama3-8b": ("Llama", {
        "vocab_size": 128256, "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    }),
    "mixtral-8x7b": ("Mixtral", {}),
    "gemma2-2b": ("Gemma2", {}),
    "qwen3-0.6b": ("Qwen3", {
        "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 28,
        "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
        "tie_word_embeddings": True,
    }),
    "gpt-oss-20b": ("GptOss", {"num_hidden_layers": 24, "num_local_experts": 32}),
    "gpt-oss-120b": ("GptOss", {}),
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_has_as_many_parameters_as_the_model_of_transformers(name):
    family, changes = PUBLISHED[name]
    config = getattr(transformers, f"{family}Config")(**changes)
    with torch.device("meta"):
        theirs = getattr(transformers, f"{family}ForCausalLM")(config)
    assert count_parameters(ModernConfig.preset(name)) == theirs.num_parameters()

"""Our weights under the names of Transformers: the forms of GPT-2, Llama, Qwen3, Gemma 2, Mixtral.

Given, not built. What a form has no word for is put into the weights where that can be done, and
refused where it cannot. How the families differ from the model of chapter 9:

- All keep query, key and value apart; ours are one upon the other.
- GPT-2 keeps its matrices turned over, and has a bias everywhere: where we have none it is 0.
- Gemma 2 norms with 1 + w, and multiplies embeddings by sqrt(n_embd): both are taken off, and its
  head has a table of its own.
"""

from __future__ import annotations

from typing import Any

import torch

from gptlib.gpt import GPT, GPTConfig
from gptlib.modern import ModernConfig, ModernGPT

Weights = dict[str, torch.Tensor]

# Ours, theirs; whether the matrix is turned over.
GPT2_BLOCK = {
    "norm_1": ("ln_1", False), "norm_2": ("ln_2", False),
    "attention.qkv": ("attn.c_attn", True), "attention.project": ("attn.c_proj", True),
    "feed_forward.expand": ("mlp.c_fc", True), "feed_forward.project": ("mlp.c_proj", True),
}  # fmt: skip
PLAIN_NORMS = {"norm_1": "input_layernorm", "norm_2": "post_attention_layernorm"}
SANDWICH = {
    "norm_1": "input_layernorm", "after_1": "post_attention_layernorm",
    "norm_2": "pre_feedforward_layernorm", "after_2": "post_feedforward_layernorm",
}  # fmt: skip

# Ours, theirs, and theirs of an expert under the names that Mixtral's files have.
NETWORK = {
    "gate": ("gate_proj", "w1"), "expand": ("up_proj", "w3"), "project": ("down_proj", "w2"),
}  # fmt: skip


def form_of(config: GPTConfig | ModernConfig) -> str:
    """The form that expresses a model: gpt2, llama, qwen3, gemma2 or mixtral.

    Errors: ValueError that says what in the configuration no form has a word for.

    form_of(GPTConfig.preset("stories")) -> "gpt2"
    form_of(ModernConfig.preset("llama3-8b")) -> "llama"
    """
    if isinstance(config, GPTConfig):
        if config.norm != "pre":
            raise ValueError(f"norm is {config.norm!r}, and GPT-2 norms before each part: no form.")
        return "gpt2"
    c = config
    if c.sinks or c.gating == "clipped":
        raise ValueError(
            "sinks and clipped gates are GPT-OSS's own, whose form is not written yet."
        )
    sandwich, caps = c.norm == "sandwich", c.score_cap is not None or c.logit_cap is not None
    if sandwich or caps or c.gating == "geglu" or c.window is not None:
        wrong = {
            "norm": (c.norm, "sandwich"), "gating": (c.gating, "geglu"), "bias": (c.bias, False),
            "qk_norm": (c.qk_norm, False), "n_expert": (c.n_expert, 1),
        }  # fmt: skip
        for name, (has, needed) in wrong.items():
            if has != needed:
                raise ValueError(
                    f"{_felt(c)} is what Gemma 2's form alone has a word for, and it needs {name} "
                    f"{needed!r}; this model has {has!r}."
                )
        return "gemma2"
    if c.n_expert > 1:
        if c.qk_norm or c.bias:
            raise ValueError("Mixtral's form has experts, and neither qk_norm nor bias.")
        return "mixtral"
    if c.qk_norm and c.bias:
        raise ValueError("Qwen3's form has qk_norm, and no bias in its feed-forward networks.")
    return "qwen3" if c.qk_norm else "llama"


def _felt(c: ModernConfig) -> str:
    asked = {
        "a cap on the logits": c.logit_cap is not None,
        "a cap on the scores": c.score_cap is not None,
        "a window": c.window is not None, "norm 'sandwich'": c.norm == "sandwich",
        "gating 'geglu'": c.gating == "geglu",
    }  # fmt: skip
    return next(name for name, there in asked.items() if there)


def theirs(model: GPT | ModernGPT) -> tuple[dict[str, Any], Weights]:
    """The config.json and the weights of a model in the form that expresses it.

    Errors: ValueError as in `form_of`.
    """
    form = form_of(model.config)
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    if isinstance(model.config, GPTConfig):
        return gpt2_config(model.config), gpt2_weights(model.config, state)
    return modern_config(model.config, form), modern_weights(model.config, form, state)


# GPT-2 -------------------------------------------------------------------------------------------


def gpt2_config(c: GPTConfig) -> dict[str, Any]:
    """What GPT2Config is told."""
    return {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"], "vocab_size": c.vocab_size,
        "n_positions": c.context_length, "n_embd": c.n_embd, "n_layer": c.n_layer,
        "n_head": c.n_head, "activation_function": {"tanh": "gelu_new", "none": "gelu"}[c.gelu],
        "resid_pdrop": c.dropout, "embd_pdrop": c.dropout, "attn_pdrop": c.dropout,
        "layer_norm_epsilon": 1e-5, "tie_word_embeddings": c.tied,
    }  # fmt: skip


def gpt2_weights(c: GPTConfig, ours: Weights) -> Weights:
    """Our weights by GPT-2's names; a bias that we do not have is 0."""
    found: Weights = {}
    for own, (name, turned) in gpt2_names(c).items():
        weight = ours.get(own)
        if weight is None:  # a bias
            weight = torch.zeros(len(ours[f"{own.removesuffix('bias')}weight"]))
        found[name if name == "lm_head.weight" else f"transformer.{name}"] = (
            weight.t() if turned else weight
        )
    return found


def from_gpt2(told: dict[str, Any]) -> GPTConfig:
    """Our configuration of GPT-2's config.json. Errors: ValueError for what we have no word for."""
    gelu = {"gelu_new": "tanh", "gelu_pytorch_tanh": "tanh", "gelu": "none"}
    kind = told.get("activation_function", "gelu_new")
    wanted = {
        "model_type": ("gpt2", told.get("model_type")),
        "layer_norm_epsilon": (1e-5, told.get("layer_norm_epsilon", 1e-5)),
        "scale_attn_weights": (True, told.get("scale_attn_weights", True)),
        "scale_attn_by_inverse_layer_idx": (
            False, told.get("scale_attn_by_inverse_layer_idx", False)
        ),
        "activation_function": (kind, kind if kind in gelu else "one of ours"),
        "n_inner": (4 * told["n_embd"], told.get("n_inner") or 4 * told["n_embd"]),
    }  # fmt: skip
    for name, (needed, has) in wanted.items():
        if needed != has:
            raise ValueError(f"{name} must be {needed!r} for a GPT of ours; it is {has!r}.")
    longest = told["n_positions" if "n_positions" in told else "n_ctx"]
    return GPTConfig(
        vocab_size=told["vocab_size"], context_length=longest,
        n_embd=told["n_embd"], n_layer=told["n_layer"], n_head=told["n_head"],
        tied=told.get("tie_word_embeddings", True), gelu=gelu[kind],
    )  # fmt: skip


def gpt2_names(c: GPTConfig) -> dict[str, tuple[str, bool]]:
    """For each of our weights GPT-2's name, without "transformer.", and whether it is turned."""
    found = {"token_embedding.weight": ("wte.weight", False)}
    found["position_embedding.weight"] = ("wpe.weight", False)
    parts = {"final_norm": ("ln_f", False)}
    for i in range(c.n_layer):
        parts |= {f"blocks.{i}.{o}": (f"h.{i}.{t}", turn) for o, (t, turn) in GPT2_BLOCK.items()}
    for own, (name, turned) in parts.items():
        found[f"{own}.weight"] = (f"{name}.weight", turned)
        found[f"{own}.bias"] = (f"{name}.bias", False)
    if not c.tied:
        found["head.weight"] = ("lm_head.weight", False)
    return found


# The modern forms --------------------------------------------------------------------------------


def modern_config(c: ModernConfig, form: str) -> dict[str, Any]:
    """What LlamaConfig, Qwen3Config, Gemma2Config or MixtralConfig is told."""
    name = {"llama": "Llama", "qwen3": "Qwen3", "gemma2": "Gemma2", "mixtral": "Mixtral"}[form]
    told: dict[str, Any] = {
        "model_type": form, "architectures": [f"{name}ForCausalLM"], "vocab_size": c.vocab_size,
        "hidden_size": c.n_embd, "intermediate_size": c.hidden, "num_hidden_layers": c.n_layer,
        "num_attention_heads": c.n_head, "num_key_value_heads": c.n_kv_head,
        "head_dim": c.head_size, "max_position_embeddings": c.context_length,
        "rms_norm_eps": 1e-6, "rope_theta": c.rope_base, "tie_word_embeddings": c.tied,
        "rope_parameters": {"rope_type": "default", "rope_theta": c.rope_base},
        "attention_bias": c.bias, "attention_dropout": 0.0,
    }  # fmt: skip
    if form == "llama":
        told |= {"mlp_bias": c.bias, "hidden_act": "silu"}
    if form == "mixtral":
        told |= {"num_local_experts": c.n_expert, "num_experts_per_tok": c.n_active}
        told |= {"sliding_window": None, "router_aux_loss_coef": c.balance * c.n_active}
    if form == "gemma2":
        kinds = ["full_attention" if w is None else "sliding_attention" for w in c.windows()]
        told |= {
            "query_pre_attn_scalar": c.head_size, "attn_logit_softcapping": c.score_cap,
            "final_logit_softcapping": c.logit_cap, "sliding_window": c.window or c.context_length,
            "layer_types": kinds, "tie_word_embeddings": False,
            "hidden_activation": "gelu_pytorch_tanh",
        }  # fmt: skip
    return told


def modern_names(c: ModernConfig, form: str) -> dict[str, list[str]]:
    """For each of our weights the names of theirs in it, one upon the other, or an expert each."""
    found = {"token_embedding.weight": ["model.embed_tokens.weight"]}
    found["final_norm.weight"] = ["model.norm.weight"]
    if form == "gemma2" or not c.tied:
        found["head.weight"] = ["lm_head.weight"]
    kinds = ["weight", *["bias"] * c.bias]
    for i in range(c.n_layer):
        block, name = f"blocks.{i}.", f"model.layers.{i}."
        attention, theirs = f"{block}attention.", f"{name}self_attn."
        for kind in kinds:
            found[f"{attention}qkv.{kind}"] = [f"{theirs}{x}_proj.{kind}" for x in "qkv"]
            found[f"{attention}project.{kind}"] = [f"{theirs}o_proj.{kind}"]
        for x in "qk" * c.qk_norm:
            found[f"{attention}norm_{x}.weight"] = [f"{theirs}{x}_norm.weight"]
        for own, their in (SANDWICH if form == "gemma2" else PLAIN_NORMS).items():
            found[f"{block}{own}.weight"] = [f"{name}{their}.weight"]
        network, experts = f"{block}feed_forward.", f"{name}block_sparse_moe."
        if c.n_expert > 1:
            found[f"{network}router.weight"] = [f"{experts}gate.weight"]
        for own, (dense, expert) in NETWORK.items():
            if c.n_expert > 1:
                names = [f"{experts}experts.{n}.{expert}.weight" for n in range(c.n_expert)]
                found[f"{network}{own}_weight"] = names
                continue
            for kind in kinds:
                found[f"{network}{own}.{kind}"] = [f"{name}mlp.{dense}.{kind}"]
    return found


def modern_weights(c: ModernConfig, form: str, ours: Weights) -> Weights:
    """Our weights by the names of a form."""
    sizes = [heads * c.head_size for heads in (c.n_head, c.n_kv_head, c.n_kv_head)]
    found: Weights = {}
    for own, names in modern_names(c, form).items():
        weight = ours[own]
        if form == "gemma2" and weight.dim() == 1:  # a norm
            weight = weight - 1
        elif form == "gemma2" and own == "token_embedding.weight":
            weight = weight / c.n_embd**0.5
        parts = [weight] if len(names) == 1 else weight.split(sizes) if "qkv" in own else weight
        found |= dict(zip(names, parts, strict=True))
    return found


def own_weights(c: ModernConfig, form: str, theirs: Weights) -> Weights:
    """The other way round: the weights of a form's file by our names, an untied head included."""
    found: Weights = {}
    for own, names in modern_names(c, form).items():
        if own == "head.weight" and names[0] not in theirs:  # tied there
            names = ["model.embed_tokens.weight"]
        parts = [theirs[name] for name in names]
        joined = torch.cat if "qkv" in own or len(parts) == 1 else torch.stack
        weight = joined(parts)
        if form == "gemma2" and weight.dim() == 1:
            weight = weight + 1
        elif form == "gemma2" and own == "token_embedding.weight":
            weight = weight * c.n_embd**0.5
        found[own] = weight
    return found

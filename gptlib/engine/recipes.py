"""Recipes by name: a model, how it is trained, and on paper what that costs.

Given, not built. A recipe and single settings over it make one flat dict of settings, which a run
keeps, a TOML file holds, and every word of `gptlib train` is a part of.
"""

from __future__ import annotations

import warnings
from dataclasses import fields
from typing import Any

import torch

from gptlib.counts import count_parameters, forward_flops
from gptlib.given.checks.numbers import is_whole
from gptlib.given.checks.recipe import pick_device
from gptlib.gpt import GPT, GPTConfig
from gptlib.modern import ModernConfig, ModernGPT
from gptlib.recipe import TrainConfig

Config = GPTConfig | ModernConfig
Model = GPT | ModernGPT

KINDS: dict[str, tuple[Any, Any]]  # the configuration's class and the model's
KINDS = {"classic": (GPTConfig, GPT), "modern": (ModernConfig, ModernGPT)}
SIZES = {
    "classic": ("context_length", "n_layer", "n_head", "n_embd", "dropout", "bias", "gelu"),
    "modern": (
        "context_length", "n_layer", "n_head", "n_kv_head", "n_embd", "head_size", "hidden",
        "qk_norm", "logit_cap", "n_expert", "n_active",
    ),
}  # fmt: skip
TRAINING = tuple(field.name for field in fields(TrainConfig) if field.name != "context_length")
SAVING = {"log_every": 20, "save_every": 50, "keep": 3}
# In which numbers a step computes its products. Weights, AdamW's averages and files are float32.
DTYPES = ("float32", "bfloat16")

_SMALL = {"context_length": 64, "n_layer": 3, "n_head": 4, "n_embd": 128}
_SHORT = {"steps": 100, "batch_size": 32, "lr": 3e-4, "eval_every": 50, "eval_batches": 10}
_LAPTOP = {"context_length": 64, "n_layer": 4, "n_head": 4, "n_embd": 128}
_LAPTOP_RUN = {"steps": 2000, "batch_size": 12, "lr": 1e-3, "betas": (0.9, 0.99)}
_TEN = {"context_length": 256, "n_layer": 6, "n_head": 6, "n_embd": 384}
_TEN_RUN = {"steps": 5000, "batch_size": 64, "lr": 1e-3, "betas": (0.9, 0.99), "eval_every": 250}
_GPT2_RUN = {
    "steps": 600_000, "batch_size": 12, "grad_accumulation": 40, "lr": 6e-4, "warmup_steps": 2000,
    "weight_decay": 0.1, "betas": (0.9, 0.95), "eval_every": 1000, "eval_batches": 200,
}  # fmt: skip

# Modern ones without a cap on the logits, so that the form of Qwen3 can express them.
RECIPES: dict[str, dict[str, Any]] = {
    "small": {"model": "classic", **_SMALL, "dropout": 0.1, **_SHORT},
    "modern": {"model": "modern", **_SMALL, "n_kv_head": 2, **_SHORT, "lr": 3e-3},
    # The book's own model and recipe, for its stories.
    "stories": {
        "model": "classic", "context_length": 128, "n_layer": 4, "n_head": 4, "n_embd": 64,
        "bias": False, "gelu": "none", "steps": 3100, "batch_size": 8, "lr": 4e-3,
        "weight_decay": 0.01, "eval_every": 200,
    },
    "modern-stories": {
        "model": "modern", "context_length": 128, "n_layer": 4, "n_head": 4, "n_kv_head": 2,
        "n_embd": 64, "head_size": 16, "hidden": 168, "steps": 3100, "batch_size": 8, "lr": 4e-3,
        "weight_decay": 0.01, "eval_every": 200,
    },
    # nanoGPT's recipes for Tiny Shakespeare, character by character, and for OpenWebText.
    "nanogpt-cpu": {"model": "classic", **_LAPTOP, "bias": False, "gelu": "none", **_LAPTOP_RUN},
    "nanogpt-gpu": {
        "model": "classic", **_TEN, "dropout": 0.2, "bias": False, "gelu": "none", **_TEN_RUN,
    },
    "modern-10m": {"model": "modern", **_TEN, "n_kv_head": 2, **_TEN_RUN},
    "gpt2-124m": {
        "model": "classic", "context_length": 1024, "n_layer": 12, "n_head": 12, "n_embd": 768,
        "bias": False, "gelu": "none", **_GPT2_RUN, "save_every": 1000,
    },
    "modern-124m": {
        "model": "modern", "context_length": 1024, "n_layer": 12, "n_head": 12, "n_kv_head": 4,
        "n_embd": 768, "head_size": 64, "hidden": 2048, **_GPT2_RUN, "save_every": 1000,
    },
}  # fmt: skip


def settings_of(preset: str = "small", **changes: Any) -> dict[str, Any]:
    """All settings of a run: those of a recipe, single ones changed where they are not None.

    Errors: ValueError for a recipe or a setting that there is not.

    settings_of("small", steps=7)["steps"] -> 7
    settings_of("small")["n_embd"] -> 128
    """
    if preset not in RECIPES:
        raise ValueError(f"preset must be one of {', '.join(RECIPES)}; got {preset!r}.")
    recipe = RECIPES[preset]
    kind = recipe["model"]
    defaults = {name: getattr(KINDS[kind][0](), name) for name in SIZES[kind]}
    defaults |= {"head_size": None, "hidden": None, "logit_cap": None} if kind == "modern" else {}
    training = {name: getattr(TrainConfig(), name) for name in TRAINING}
    known = {"preset": preset, "model": kind, **defaults, **training, "dtype": DTYPES[0], **SAVING}
    asked = {name: value for name, value in changes.items() if value is not None}
    for name in asked.keys() - known.keys():
        if name not in {size for sizes in SIZES.values() for size in sizes}:
            raise ValueError(f"{name} is no setting of a run; there are {', '.join(known)}.")
        raise ValueError(f"{name} is no setting of a {kind} model, which {preset!r} is.")
    if asked.get("model", kind) != kind:
        raise ValueError(
            f"model is {kind} in {preset!r}; got {asked['model']!r}: take another preset."
        )
    settings = known | recipe | asked  # NumPy's numbers as Python's, which a file can hold
    settings = {n: v.item() if hasattr(v, "item") else v for n, v in settings.items()}
    for name in SAVING:
        if not is_whole(settings[name]) or settings[name] < 1:
            raise ValueError(f"{name} must be a whole number, 1 or more; got {settings[name]!r}.")
    if settings["dtype"] not in DTYPES:
        raise ValueError(f"dtype must be {' or '.join(DTYPES)}; got {settings['dtype']!r}.")
    train_config(settings)
    model_config(settings, 2)
    return settings


def model_config(settings: dict[str, Any], vocab_size: int) -> Config:
    """The configuration of a run's model. What is None follows from the rest."""
    kind = settings["model"]
    sizes = {name: settings[name] for name in SIZES[kind]}
    if kind == "modern":
        sizes["head_size"] = sizes["head_size"] or sizes["n_embd"] // sizes["n_head"]
        sizes["hidden"] = sizes["hidden"] or 8 * round(sizes["n_embd"] / 3)  # as many as 4 · C
    return KINDS[kind][0](vocab_size=vocab_size, **sizes)


def train_config(settings: dict[str, Any]) -> TrainConfig:
    """How a run is trained."""
    return TrainConfig(**{name: settings[name] for name in TRAINING})


def build(settings: dict[str, Any], vocab_size: int) -> Model:
    """The model of a run, its weights drawn by the run's seed."""
    torch.manual_seed(settings["seed"])
    return KINDS[settings["model"]][1](model_config(settings, vocab_size))


def check_dtype(settings: dict[str, Any]) -> None:
    """The run's device computes in the run's numbers. Errors: ValueError if it does not."""
    device = pick_device(settings["device"])
    if settings["dtype"] == "float32" or device.type == "cpu":
        return
    if device.type != "cuda" or not torch.cuda.is_bf16_supported(including_emulation=False):
        raise ValueError(
            f"dtype must be float32 on {device}, which has no {settings['dtype']} of its own."
        )


def computing_in(dtype: str, model: Model, device: torch.device) -> Model:
    """The same model, whose forward pass runs under autocast where dtype is not float32.

    Products are computed in bfloat16, sums such as norms and the loss in float32, and so are all
    weights. No gradient has to be scaled up, as with float16: bfloat16 has the exponents of
    float32, so what float32 can hold does not become 0 in it.
    """
    if dtype == "float32":
        return model
    # RMSNorm has no fused kernel for 16-bit numbers and 32-bit scales: torch says so, and computes.
    warnings.filterwarnings("ignore", "Mismatch dtype between input and weight", UserWarning)
    forward = model.forward

    def cast(*args: Any, **more: Any) -> Any:
        with torch.autocast(device.type, getattr(torch, dtype)):
            return forward(*args, **more)

    model.forward = cast  # type: ignore[method-assign]
    return model


def training_flops(config: Config) -> int:
    """Operations that a token costs in training at full context: three times those of reading it.

    training_flops(GPTConfig.preset("gpt2-small")) -> 854_438_400
    """
    return 3 * forward_flops(config, config.context_length)


# Peaks by the makers' data sheets, FLOPs a second; in bfloat16 for the cards.
MACHINES = {
    "two CPU cores": 1.5e11, "one A100": 3.12e14, "eight A100": 8 * 3.12e14, "one H100": 9.89e14,
}  # fmt: skip


def plan(settings: dict[str, Any], vocab_size: int, n_tokens: int, share: float = 0.4) -> str:
    """What a run costs, worked out before it begins: a table as text.

    n_tokens: of the training text. share: of a machine's peak, that training is taken to reach.
    """
    config, c = model_config(settings, vocab_size), train_config(settings)
    parameters = count_parameters(config)
    a_step = c.batch_size * c.grad_accumulation * config.context_length
    flops = training_flops(config) * a_step * c.steps
    lines = [
        ("parameters", f"{parameters:,}"),
        ("weights, gradients, AdamW", f"{16 * parameters / 1e6:,.0f} MB, and the activations"),
        (
            "a checkpoint",
            f"{12 * parameters / 1e6:,.0f} MB; {settings['keep']} and the best are kept",
        ),
        ("tokens a step", f"{a_step:,}"),
        (
            "tokens in all",
            f"{a_step * c.steps:,} ({a_step * c.steps / n_tokens:,.1f} times the text)",
        ),
        ("operations", f"{flops:.2e}"),
    ]
    for name, peak in MACHINES.items():
        hours = flops / (share * peak) / 3600
        told = f"{hours:,.1f} hours" if hours >= 1 else f"{60 * hours:,.1f} minutes"
        lines.append((f"{name}, {100 * share:.0f} % of peak", told))
    if settings["dtype"] != "bfloat16":
        lines.append(("the cards' peaks", "are those of bfloat16: --dtype bfloat16"))
    return "\n".join(f"{name:<28} {value}" for name, value in lines)

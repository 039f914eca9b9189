"""A model and its tokenizer in one file that a page of the book can open: `.gpt.safetensors`.

Given, not built. The format is safetensors: names, shapes and numbers, never code. The
configuration and the tokenizer stand as JSON in its metadata. The widgets carry their model in
this form too, so there is one reader in the page, `model_file.js`, whatever the model comes from.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from gptlib.counts import count_parameters
from gptlib.given.checks.saved import check_finite_weights, check_weights
from gptlib.given.checks.tensors import check_choice
from gptlib.given.files import parse_json, replacing
from gptlib.given.models import unwrapped
from gptlib.given.run_state import set_weights, weights_of
from gptlib.gpt import GPT, GPTConfig
from gptlib.modern import ModernConfig, ModernGPT
from gptlib.tokenizer import BPETokenizer, CharTokenizer

FORMAT, MODERN = "gptlib model 1", "gptlib modern model 1"
ENDING = ".gpt.safetensors"
TOKENIZERS = {kind.__name__: kind for kind in (BPETokenizer, CharTokenizer)}
KINDS: dict[str, tuple[Any, Any]]
KINDS = {FORMAT: (GPTConfig, GPT), MODERN: (ModernConfig, ModernGPT)}
STORED = {"float32": torch.float32, "float16": torch.float16, "int8": torch.int8}


def export_model(
    path: str | os.PathLike[str], model: GPT | ModernGPT, tokenizer: Any, numbers: str = "float16"
) -> Path:
    """Write a GPT and its tokenizer to a file that the book's Playground opens; return its path.

    The name gets the ending `.gpt.safetensors` if it lacks it. numbers: how a weight is kept, see
    `model_bytes`. Errors: as in `model_bytes`; ValueError for a path that cannot be a file.

    export_model("mine", model, tokenizer) writes mine.gpt.safetensors. Built for chapter 8.
    """
    data = model_bytes(model, tokenizer, numbers)
    path = Path(path)
    if not path.name.endswith(ENDING):
        path = path.with_name(path.name + ENDING)
    with replacing(path) as new:
        new.write_bytes(data)
    return path


def model_bytes(model: GPT | ModernGPT, tokenizer: Any, numbers: str = "float16") -> bytes:
    """What `export_model` writes. A tied weight stands there once.

    numbers: "float32" keeps every weight as it is; "float16" takes half of the room and rounds to
    three digits; "int8" takes a quarter, each row of a matrix with a scale of its own. Errors:
    ValueError for a model that is no GPT, or has experts, sinks or clipped gates; for a tokenizer
    that is none of gptlib or has another vocabulary; and for weights that are not finite or too
    large for float16.
    """
    if isinstance(unwrapped(model), ModernGPT):
        form, config = MODERN, asdict(modern_config_of(model))
    else:
        form, config = FORMAT, asdict(config_of(model))
    return file_bytes(form, config, stored(model, numbers), tokenizer)


def file_bytes(
    form: str, config: dict[str, Any], tensors: dict[str, torch.Tensor], tokenizer: Any
) -> bytes:
    """A file in `form`, such as FORMAT, that `model_file.js` reads. Errors as in `model_bytes`."""
    if type(tokenizer).__name__ not in TOKENIZERS:
        raise ValueError(
            f"tokenizer must be one of {', '.join(TOKENIZERS)}; got {type(tokenizer).__name__}."
        )
    if tokenizer.vocab_size > config["vocab_size"]:
        raise ValueError(
            f"tokenizer has {tokenizer.vocab_size:,} tokens; the model knows "
            f"{config['vocab_size']:,}. Take the tokenizer that it was trained with."
        )
    told = {"format": form, "config": json.dumps(config), "tokenizer": tokenizer._json()}
    return save(tensors, metadata=told)


def stored(model: nn.Module, numbers: str) -> dict[str, torch.Tensor]:
    """The weights of a model as a file keeps them; `unpacked` brings them back as float32."""
    check_choice("numbers", numbers, STORED)
    tensors: dict[str, torch.Tensor] = {}
    for name, weight in check_finite_weights(model).items():
        weight = weight.detach().float().cpu().contiguous()
        if numbers == "int8" and weight.dim() == 2:
            rows = weight.abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / 127  # (rows, 1)
            tensors[name] = (weight / rows).round().to(torch.int8)
            tensors[f"{name}.scale"] = rows.flatten()
        elif numbers == "float32":
            tensors[name] = weight
        else:
            tensors[name] = weight.half()
            if not tensors[name].isfinite().all():
                raise ValueError(f'{name} has numbers above 65,504: use numbers="float32".')
    return {name: tensor.clone() for name, tensor in tensors.items()}


def unpacked(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights out of a file, as float32: a rounded one is what its file says it is."""
    return {
        name: tensor.float() * tensors[f"{name}.scale"][:, None]
        if tensor.dtype == torch.int8
        else tensor.float()
        for name, tensor in tensors.items()
        if not name.endswith(".scale")
    }


def config_of(model: Any) -> GPTConfig:
    """The configuration of a GPT, gptlib's or one that a notebook built like it.

    Errors: ValueError for another model.
    """
    model = unwrapped(model)
    try:
        config = GPTConfig(**asdict(model.config))
        with torch.device("meta"):  # shapes and no numbers
            built = GPT(config).state_dict()
        skipped = {"head.weight"} if config.tied else set()
        wanted = {name: weight.shape for name, weight in built.items() if name not in skipped}
        found = {name: weight.shape for name, weight in weights_of(model).items()}
    except (AttributeError, TypeError) as error:
        raise ValueError(f"model must be a GPT; got {type(model).__name__}.") from error
    if found != wanted:
        name = min(name for name, _ in found.items() ^ wanted.items())
        raise ValueError(f"model must be a GPT as chapter 6 builds it; {name} is not as there.")
    return config


def modern_config_of(model: Any) -> ModernConfig:
    """The configuration of a modern GPT that the page can run. Errors: ValueError for another."""
    config: ModernConfig = unwrapped(model).config
    known = {"n_expert": (1,), "sinks": (False,), "gating": ("swiglu", "geglu")}
    for name, values in known.items():
        if getattr(config, name) not in values:
            raise ValueError(
                f"{name} is {getattr(config, name)!r}: a page runs no model with experts, sinks or "
                f"clipped gates. gptlib export --to transformers may have a form for it."
            )
    return config


def import_model(
    path: str | os.PathLike[str],
) -> tuple[GPT | ModernGPT, BPETokenizer | CharTokenizer]:
    """The model and the tokenizer that `export_model` wrote. Nothing in the file is executed.

    Errors: FileNotFoundError; ValueError for every other file.
    """
    try:
        with safe_open(path, "pt") as file:
            told = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if told.get("format") not in KINDS:
            raise ValueError(f"it is not marked as {FORMAT!r}")
        make_config, make = KINDS[told["format"]]
        config = make_config(**parse_json(told["config"]))
        state = parse_json(told["tokenizer"])
        if not isinstance(state, dict):
            raise ValueError("its tokenizer is no JSON object")
        tokenizer = TOKENIZERS[state.pop("type")]._from_state(**state)
        weights = unpacked(tensors)
        # Counted before it is built: a forged configuration could ask for more than the memory.
        if count_parameters(config) != sum(weight.numel() for weight in weights.values()):
            raise ValueError("its weights are not those of its configuration")
        model = make(config)
        check_weights(path, model, weights)
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, IndexError) as error:
        raise ValueError(f"{path} is no model of gptlib: {error}") from error
    set_weights(model, weights)
    return model, tokenizer

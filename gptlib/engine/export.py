"""Write a run as others read it, with a card that says what it is; and read GPT-2's form back.

Given, not built. The folder holds numbers and plain values alone: nothing in it is code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

import gptlib
from gptlib.attention import causal_mask
from gptlib.engine import runs
from gptlib.engine.card import can, card, facts
from gptlib.engine.foreign_tokenizer import foreign, settings
from gptlib.engine.forms import from_gpt2, gpt2_names, theirs
from gptlib.given.files import followed
from gptlib.given.folders import MANIFEST, read_json, replacing_folder
from gptlib.gpt import GPT
from gptlib.tokenizer import BPETokenizer

FORMAT = "gptlib export 1"
PAGE = "gptlib page 1"


def export(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    which: str = "best",
    scores: dict[str, Any] | None = None,
) -> Path:
    """Write a model into a folder that AutoModelForCausalLM and AutoTokenizer of Transformers load.

    The form is GPT-2's for a classic model, and for a modern one that of Llama, Qwen3, Gemma 2 or
    Mixtral. scores: what `evaluate` gave, for the card.
    Errors: ValueError for a model that no form expresses, and a folder that holds something else.
    """
    model, tokenizer, found, _ = runs.load(run, which)
    target = _place(out, FORMAT, "an exported model")
    config, weights = theirs(model)
    special = getattr(tokenizer, "special_tokens", {})
    end = next(iter(special.values()), None)
    ends = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
    config |= {"torch_dtype": "float32", "use_cache": True, **ends}
    with replacing_folder(out, format=FORMAT, gptlib=gptlib.__version__) as folder:
        _json(folder / "config.json", config)
        _json(folder / "generation_config.json", {"do_sample": True, **ends})
        _json(folder / "tokenizer.json", foreign(tokenizer))
        _json(folder / "tokenizer_config.json", settings(tokenizer, model.config.context_length))
        tensors = {name: tensor.contiguous().clone() for name, tensor in weights.items()}
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        text = card(model, tokenizer, run if runs.is_run(run) else None, found, config, scores)
        (folder / "README.md").write_text(text, encoding="utf-8")
    return target


def export_page(
    run: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    which: str = "best",
    scores: dict[str, Any] | None = None,
    numbers: str = "float16",
    prompt: str | None = None,
) -> Path:
    """Write a folder whose index.html runs a model in any browser, with no network.

    What it writes is what `gptlib generate` writes. scores: what `evaluate` gave, to be read there.
    numbers: how a weight is kept, float32, float16 or int8; prompt: how the text begins there.
    Errors: ValueError for a model with experts, sinks or clipped gates, one that is too large, a
    prompt that the tokenizer cannot encode, and a folder that holds something else.
    """
    from gptlib.widgets.own_page import page

    model, tokenizer, found, _ = runs.load(run, which)
    target = _place(out, PAGE, "a page with a model")
    if prompt is None:
        prompt = "Once" if can(tokenizer, "Once") else ""
    known = run if runs.is_run(run) else None
    told = facts(model, tokenizer, known, found, scores)
    text = page(
        model, tokenizer, followed(run).name, told, prompt=prompt, numbers=numbers,
    )  # fmt: skip
    with replacing_folder(out, format=PAGE, gptlib=gptlib.__version__) as folder:
        (folder / "index.html").write_text(text, encoding="utf-8", newline="")
    return target


def _place(out: str | os.PathLike[str], form: str, what: str) -> Path:
    """Where a folder of this form goes. Errors: ValueError where something else stands there."""
    target = followed(out)
    if (target / MANIFEST).is_file() and read_json(target / MANIFEST).get("format") != form:
        raise ValueError(f"{out} holds something else than {what}: name another folder.")
    return target


def _json(file: Path, told: dict[str, Any]) -> None:
    file.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def from_pretrained(path: str | os.PathLike[str]) -> tuple[GPT, BPETokenizer | None]:
    """A GPT out of a folder in GPT-2's form, and its tokenizer where merges.txt is beside it.

    The weights are read from a memory map, one after the other: beside the model itself no more
    than one of them is in memory. Errors: ValueError for what is not there or does not fit.
    """
    folder = followed(path)
    files = sorted(folder.glob("*.safetensors"))
    if not (folder / "config.json").is_file() or not files:
        raise ValueError(f"{path} must be a folder with config.json and model.safetensors.")
    try:
        config = from_gpt2(read_json(folder / "config.json"))
    except KeyError as error:
        raise ValueError(f"{path} has no configuration of GPT-2: {error} is missing.") from error
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{path} has no configuration of GPT-2: {error}.") from error
    with torch.device("meta"):
        model = GPT(config)
    names = gpt2_names(config)
    state: dict[str, torch.Tensor] = {}
    with _no_damage(path), ExitStack() as stack:
        known = {
            key.removeprefix("transformer."): (file, key)
            for file in (stack.enter_context(safe_open(f, "pt")) for f in files)
            for key in file.keys()  # noqa: SIM118 # it is no dict
        }
        for own, (name, turned) in names.items():
            if name not in known:
                raise ValueError(f"{path} has no weight {name}.")
            file, key = known[name]
            tensor = file.get_tensor(key).float()
            state[own] = (tensor.t() if turned else tensor).clone(
                memory_format=torch.contiguous_format
            )
            shape = model.get_parameter(own).shape
            if state[own].shape != shape:
                raise ValueError(
                    f"{path}: {name} has {tuple(tensor.shape)}, its model {tuple(shape)}."
                )
    if config.tied:
        state["head.weight"] = state["token_embedding.weight"]
    model.load_state_dict(state, assign=True, strict=False)
    _complete(model)
    if config.tied:
        model.head.weight = model.token_embedding.weight
    merges = folder / "merges.txt"
    tokenizer = BPETokenizer.from_gpt2(merges.read_text("utf-8")) if merges.is_file() else None
    return model.eval(), tokenizer


@contextmanager
def _no_damage(path: Any) -> Iterator[None]:
    """Say in words which folder has a file that safetensors cannot read."""
    try:
        yield
    except SafetensorError as error:
        raise ValueError(f"{path} has a damaged file of weights: {error}") from error


def _complete(model: GPT) -> None:
    """Build what no file holds, and what has no values yet: the masks."""
    for part in model.modules():
        if "mask" in part._buffers:
            part._buffers["mask"] = causal_mask(model.config.context_length)

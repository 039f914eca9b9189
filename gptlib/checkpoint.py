"""Keep a model and its training run in a folder, and go on later as if nothing had happened.

Built in chapter 7. A checkpoint holds tensors and plain values, never code:

    manifest.json       the format, versions, and of each file its size and SHA-256
    model.safetensors   the weights by their names, a tied one once
    config.json         the model's class and configuration
    tokenizer.json      the tokenizer, where one was given
    run.safetensors     of a run: AdamW's averages by the names of the weights, and random numbers
    run.json            of a run: its settings, its step, its history, the sums of its data
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

import gptlib
from gptlib.given.checks.saved import (
    check_described,
    check_finite_weights,
    check_tokenizer,
    check_weights,
)
from gptlib.given.files import as_json
from gptlib.given.folders import read_json, replacing_folder
from gptlib.given.run_state import description, set_weights
from gptlib.given.saved import read_saved
from gptlib.gpt import GPT, GPTConfig, total_parameters

FORMAT = "gptlib checkpoint 2"
TENSORS = ("optimizer", "random")  # the parts of a run's state that consist of tensors


def save_checkpoint(
    path: str | os.PathLike[str], model: nn.Module, run: Any = None, tokenizer: Any = None
) -> None:
    """Write the weights to a folder, and with a training run what is needed to go on with it.

    The folder at path is the old one or the whole new one, even if the power goes in between.

    Errors: ValueError for weights with nan or inf, and for a path that cannot be written to or
    that holds something else; the checkpoint that is there stays.
    """
    weights = check_finite_weights(model)
    versions = {"gptlib": gptlib.__version__, "torch": torch.__version__}
    with replacing_folder(path, format=FORMAT, **versions) as folder:
        write_tensors(folder / "model.safetensors", weights)
        write_json(folder / "config.json", description(model))
        if tokenizer is not None:
            tokenizer.save(folder / "tokenizer.json")
        if run is not None:
            told = run.state_dict()
            parts = [(part, name, t) for part in TENSORS for name, t in told.pop(part).items()]
            write_tensors(folder / "run.safetensors", {f"{p}/{name}": t for p, name, t in parts})
            write_json(folder / "run.json", told)


def write_tensors(file: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Tensors by name in the format safetensors; each is copied, so that none shares memory."""
    save_file({name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}, file)


def write_json(file: Path, told: dict[str, Any]) -> None:
    """Plain values as JSON. Errors: ValueError for a history that could not be read again."""
    file.write_text(as_json(told, file.name), encoding="utf-8")


def load_checkpoint(
    path: str | os.PathLike[str], model: nn.Module, run: Any = None, tokenizer: Any = None
) -> list[dict[str, Any]]:
    """Put the weights of a checkpoint into the model; returns the history of the saved run.

    With a run of the same settings, its optimiser, step and random numbers come back too.

    Errors: FileNotFoundError; ValueError if the checkpoint is damaged or none at all, of another
    model or tokenizer, or of a run with other settings or data. Model and run are unchanged then.
    """
    saved = read_saved(path, model, read_parts)
    if saved["config"] is not None:
        check_described(path, model, saved["config"], resumed=run is not None)
    check_weights(path, model, saved["model"])
    check_tokenizer(path, saved["tokenizer"], tokenizer, resumed=run is not None)
    if run is not None:
        if saved["run"] is None:
            raise ValueError(f"{path} holds weights only: there is no run in it to resume.")
        run.load_state_dict(saved["run"])
    set_weights(model, saved["model"])
    return saved["run"]["history"] if saved["run"] else []


def read_parts(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """What the files of a checkpoint hold, each as its manifest says."""
    if manifest.get("format") != FORMAT:
        raise ValueError(f"it is not marked as {FORMAT!r}")
    if not {"model.safetensors", "config.json"} <= manifest["files"].keys():
        raise ValueError("it has no model")
    files = manifest["files"]
    weights = load_file(folder / "model.safetensors")
    config = read_json(folder / "config.json")
    parts = config.keys() == {"model", "config"}
    if not parts or not isinstance(config["config"], dict):
        raise ValueError("its config.json describes no model")
    tokenizer, run = None, None
    if "tokenizer.json" in files:
        text = (folder / "tokenizer.json").read_bytes().removesuffix(b"\n")
        tokenizer = hashlib.sha256(text).hexdigest()
    if "run.json" in files:
        run = read_json(folder / "run.json") | {part: {} for part in TENSORS}
        for name, tensor in load_file(folder / "run.safetensors").items():
            part, _, name = name.partition("/")
            run[part][name] = tensor
    return {"model": weights, "config": config, "tokenizer": tokenizer, "run": run}


def load_model(path: str | os.PathLike[str]) -> GPT:
    """The GPT that was saved at path, built by its own configuration.

    Errors: as in `load_checkpoint`; ValueError for a checkpoint without a GPT's configuration.
    """
    saved = read_saved(path, nn.Module(), read_parts)
    told = saved["config"] or {"model": "a model that it does not describe", "config": {}}
    if told["model"] != GPT.__name__:
        raise ValueError(
            f"{path} holds {told['model']} and no GPT: build that yourself, then use "
            f"load_checkpoint(path, model)."
        )
    try:
        config = GPTConfig(**told["config"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} has no configuration of a GPT: {error}") from error
    # Counted before it is built: a forged configuration could ask for more than the memory.
    count = sum(tensor.numel() for tensor in saved["model"].values())
    if total_parameters(config) != count:
        raise ValueError(f"{path} has {count} weights; its model has {total_parameters(config)}.")
    model = GPT(config)
    check_weights(path, model, saved["model"])
    set_weights(model, saved["model"])
    return model

"""Given, not built: checkpoints in parts, as several processes write them, and models in parts.

The parts are safetensors files that say in their headers which piece of which tensor they hold;
PyTorch's own `torch.distributed.checkpoint` writes and reads them. Any number of processes reads
what any other number has written: each takes its own pieces, and who has the whole model takes all.
"""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gptlib.given.folders import read_json
from gptlib.given.run_state import weights_of

FORMAT = "gptlib checkpoint 2 in parts"
SMALL = "run.safetensors"  # what is no part of anything: random numbers, and AdamW's steps


def in_parts(model: nn.Module) -> bool:
    """Whether each process has a part of every weight of the model, as `fully_shard` does it."""
    return any(hasattr(p, "device_mesh") for p in model.parameters())


def read_pieces(folder: Path, manifest: dict[str, Any], model: nn.Module) -> dict[str, Any]:
    """What a checkpoint holds, in the form of `read_parts`; of a model in parts, its own pieces.

    Errors: ValueError for a folder whose parts do not make whole tensors.
    """
    files = manifest["files"]
    if not {"config.json", "run.json", SMALL} <= files.keys():
        raise ValueError("it lacks the model's description or the run")
    tensors = _tensors(folder, {name for name in files if name.endswith(".safetensors")}, model)
    run = read_json(folder / "run.json") | {"optimizer": {}, "random": {}}
    for name in [name for name in tensors if "/" in name]:
        part, _, plain = name.partition("/")
        run[part][plain] = tensors.pop(name)
    config = read_json(folder / "config.json")
    if config.keys() != {"model", "config"} or not isinstance(config["config"], dict):
        raise ValueError("its config.json describes no model")
    tokenizer = None
    if "tokenizer.json" in files:
        text = (folder / "tokenizer.json").read_bytes().removesuffix(b"\n")
        tokenizer = hashlib.sha256(text).hexdigest()
    return {"model": tensors, "config": config, "tokenizer": tokenizer, "run": run}


def _tensors(folder: Path, listed: set[str], model: nn.Module) -> dict[str, torch.Tensor]:
    """Every tensor of the files by its name: pieces where the model's own are in pieces."""
    from safetensors import safe_open
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    if others := {file.name for file in folder.glob("*.safetensors")} - listed:
        raise ValueError(f"it has a part that is not its own, {min(others)}")
    reader = HuggingFaceStorageReader(str(folder))
    told: dict[str, Any] = dict(reader.read_metadata().state_dict_metadata)
    room: int = sum((folder / name).stat().st_size for name in listed)
    ours = {name: t for name, t in weights_of(model).items() if hasattr(t, "device_mesh")}
    found: dict[str, Any] = {}
    for name, about in told.items():
        if sum(chunk.sizes.numel() for chunk in about.chunks) != about.size.numel():
            raise ValueError(f"its parts do not make a whole {name}")
        room -= about.size.numel() * about.properties.dtype.itemsize
        if room < 0:
            raise ValueError(f"it says of {name} that it is larger than its files")
        like = ours.get(name) if "/" not in name else ours.get(_weight(name))
        if like is not None and like.shape == about.size:
            found[name] = torch.zeros_like(like.detach(), dtype=about.properties.dtype)
        elif len(about.size):
            found[name] = torch.zeros(about.size, dtype=about.properties.dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that each reads for itself is meant
        load(found, storage_reader=reader, no_dist=True)
    with safe_open(folder / SMALL, framework="pt") as file:  # numbers that have no axis
        return found | {name: file.get_tensor(name) for name in told.keys() - found.keys()}


def _weight(name: str) -> str:
    """Of which weight an average is.

    _weight("optimizer/head.weight.exp_avg") -> "head.weight"
    """
    return name.partition("/")[2].rpartition(".")[0]

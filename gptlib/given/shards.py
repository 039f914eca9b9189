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

from gptlib.given.checks.numbers import is_whole
from gptlib.given.files import parse_frugal
from gptlib.given.folders import read_json
from gptlib.given.run_state import weights_of

FORMAT = "gptlib checkpoint 2 in parts"
SMALL = "run.safetensors"  # what is no part of anything: random numbers, and AdamW's steps
TENSORS = ("optimizer", "random")  # the parts of a run's state that consist of tensors
PLACES = "DCP_SHARDING_INFO"  # in the header of a part: where in their tensors its pieces begin

Piece = tuple[Any, tuple[int, ...], torch.dtype]  # where it begins, its shape, its type


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
    config, run = (read_json(folder / name) for name in ("config.json", "run.json"))
    told = isinstance(config, dict) and config.keys() == {"model", "config"}
    if not told or not isinstance(config["config"], dict):
        raise ValueError("its config.json describes no model")
    if not isinstance(run, dict) or run.keys() & set(TENSORS):
        raise ValueError("its run.json describes no run")
    tensors = _tensors(folder, {name for name in files if name.endswith(".safetensors")}, model)
    run |= {part: {} for part in TENSORS}
    for name in [name for name in tensors if "/" in name]:
        part, _, plain = name.partition("/")
        if part not in TENSORS:
            raise ValueError(f"it holds {name}, which is no part of a run")
        run[part][plain] = tensors.pop(name)
    tokenizer = None
    if "tokenizer.json" in files:
        text = (folder / "tokenizer.json").read_bytes().removesuffix(b"\n")
        tokenizer = hashlib.sha256(text).hexdigest()
    return {"model": tensors, "config": config, "tokenizer": tokenizer, "run": run}


def _tensors(folder: Path, listed: set[str], model: nn.Module) -> dict[str, torch.Tensor]:
    """Every tensor of the files by its name: pieces where the model's own are in pieces."""
    from safetensors import safe_open
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader
    from torch.distributed.checkpoint.state_dict_loader import load

    if others := {file.name for file in folder.glob("*.safetensors")} - listed:
        raise ValueError(f"it has a part that is not its own, {min(others)}")
    told = {name: _whole(name, pieces) for name, pieces in _pieces(folder, listed).items()}
    ours = {name: t for name, t in weights_of(model).items() if hasattr(t, "device_mesh")}
    found: dict[str, Any] = {}
    for name, (shape, kind) in told.items():
        like = ours.get(name) if "/" not in name else ours.get(_weight(name))
        if like is not None and tuple(like.shape) == shape:
            found[name] = torch.zeros_like(like.detach(), dtype=kind)
        elif shape:
            found[name] = torch.zeros(shape, dtype=kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that each reads for itself is meant
        try:
            load(found, storage_reader=HuggingFaceStorageReader(str(folder)), no_dist=True)
        except CheckpointException as error:  # no Exception, so that nobody else would catch it
            raise ValueError("its parts cannot be read, or have changed meanwhile") from error
    with safe_open(folder / SMALL, framework="pt") as file:  # numbers that have no axis
        return found | {name: file.get_tensor(name) for name in told.keys() - found.keys()}


def _pieces(folder: Path, listed: set[str]) -> dict[str, list[Piece]]:
    """Of each tensor its pieces, as the headers of the files tell of them."""
    from safetensors import SafetensorError, safe_open

    found: dict[str, list[Piece]] = {}
    for name in sorted(listed):
        try:
            with safe_open(folder / name, framework="pt") as file:
                said = (file.metadata() or {}).get(PLACES)
                places = parse_frugal(said) if said else None
                for key in file.keys():  # noqa: SIM118 (the file is no dict)
                    piece = file.get_slice(key)
                    shape = tuple(piece.get_shape())
                    begin = [0] * len(shape) if places is None else _place(places, key)
                    kind = piece[:0].dtype if shape else file.get_tensor(key).dtype
                    found.setdefault(key, []).append((begin, shape, kind))
        except (SafetensorError, ValueError) as error:
            raise ValueError(f"its part {name} cannot be read: {error}") from error
    return found


def _place(places: Any, name: str) -> Any:
    """Where a piece begins; None where that is not told."""
    told = places.get(name) if isinstance(places, dict) else None
    return told.get("saved_offsets") if isinstance(told, dict) else None


def _whole(name: str, pieces: list[Piece]) -> tuple[tuple[int, ...], torch.dtype]:
    """Shape and type of a tensor whose pieces lie one behind the other along the first axis.

    Errors: ValueError where one of them is missing, overlaps or is of another type or shape.

    _whole("x", [([2], (3,), "F32"), ([0], (2,), "F32")]) -> ((5,), "F32")
    """
    (_, first, kind), end = pieces[0], 0
    fits = len(pieces) == 1 or bool(first)
    for begin, shape, _ in pieces:
        fits &= isinstance(begin, list) and len(begin) == len(shape) == len(first)
        fits = fits and all(map(is_whole, begin)) and not any(begin[1:]) and shape[1:] == first[1:]
    for begin, shape, _ in (
        sorted(pieces, key=lambda p: (p[0][0], p[1][0])) if fits and first else ()
    ):
        fits &= begin[0] == end
        end += shape[0]
    if not fits:
        raise ValueError(f"its parts do not make a whole {name}")
    if any(other != kind for _, _, other in pieces):
        raise ValueError(f"its pieces of {name} are not of one kind")
    return ((end, *first[1:]) if first else ()), kind


def _weight(name: str) -> str:
    """Of which weight an average is.

    _weight("optimizer/head.weight.exp_avg") -> "head.weight"
    """
    return name.partition("/")[2].rpartition(".")[0]

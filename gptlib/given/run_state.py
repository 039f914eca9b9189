"""Given, not built: what a training run consists of besides its settings, under names that stay.

Weights, AdamW's averages, random numbers and data, as tensors and sums that a file can hold and
that another session can compare with its own.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, is_dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.weak import WeakTensorKeyDictionary

from gptlib.given.models import told_by, unwrapped

# The sum of a tensor, with the number of changes that torch had counted in it by then.
_sums: WeakTensorKeyDictionary = WeakTensorKeyDictionary()

AVERAGES = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps of each parameter


def plain_name(name: str) -> str:
    """The name of a weight without what torch.compile and wrappers write into it.

    plain_name("_orig_mod.blocks.0.qkv.weight") -> "blocks.0.qkv.weight"
    """
    return name.replace("_orig_mod.", "").removeprefix("module.")


def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """Each tensor of a model by its name, the model's own and not a copy; a tied one stands once.

    Errors: ValueError for a model that keeps something else beside its tensors.
    """
    found: dict[str, torch.Tensor] = {}
    for name, tensor in unwrapped(model).state_dict(keep_vars=True).items():
        if not torch.is_tensor(tensor) or tensor.is_meta:
            raise ValueError(f"model must consist of tensors with values; {name} is none.")
        if all(tensor is not other for other in found.values()):
            found[plain_name(name)] = tensor
    return found


def tied_names(model: nn.Module) -> dict[str, str]:
    """The other names of tied weights, each with the one that `weights_of` gives it."""
    every = unwrapped(model).state_dict(keep_vars=True).items()
    first = {id(tensor): name for name, tensor in weights_of(model).items()}
    names = {plain_name(name): first[id(tensor)] for name, tensor in every}
    return {name: kept for name, kept in names.items() if name != kept}


def set_weights(model: nn.Module, kept: dict[str, torch.Tensor]) -> None:
    """Put back what `weights_of` gave; tied weights stay tied."""
    with torch.no_grad():
        for name, tensor in weights_of(model).items():
            tensor.copy_(kept[name])


def averages(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """AdamW's state by the names of the parameters: "head.weight.exp_avg" and so on.

    A parameter that has not been updated yet has zeros, with which AdamW would begin.
    """
    names = {p: plain_name(name) for name, p in unwrapped(model).named_parameters()}
    found: dict[str, torch.Tensor] = {}
    for p in (p for group in optimizer.param_groups for p in group["params"]):
        zeros = {"step": torch.zeros(()), **dict.fromkeys(AVERAGES[1:], torch.zeros_like(p))}
        state = optimizer.state.get(p) or zeros
        found |= {f"{names[p]}.{kind}": state[kind].detach() for kind in AVERAGES}
    return found


def set_averages(
    model: nn.Module, optimizer: torch.optim.Optimizer, kept: dict[str, torch.Tensor]
) -> None:
    """Put back what `averages` gave; the order of the parameters does not matter."""
    names = list(averages(model, optimizer))[:: len(AVERAGES)]  # in the order of the optimiser's
    stems = [name.removesuffix(f".{AVERAGES[0]}") for name in names]
    state = {
        number: {kind: kept[f"{stem}.{kind}"].clone() for kind in AVERAGES}
        for number, stem in enumerate(stems)
    }
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


def random_states(device: torch.device) -> dict[str, torch.Tensor]:
    """The states of torch's own generators, of the CPU and of a GPU: what dropout draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_random_states(states: dict[str, torch.Tensor], device: torch.device) -> None:
    """Put back what `random_states` gave; what is not of this device stays away."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
    elif device.type == "mps" and "mps" in states:
        torch.mps.set_rng_state(states["mps"])


def fingerprint(ids: torch.Tensor | None) -> str | None:
    """The SHA-256 of token ids as int64, 64 hex digits: the same whatever type they are kept in.

    Worked out once for a tensor and kept, until torch changes it: a run asks at every checkpoint.
    """
    if ids is None:
        return None
    if _sums.get(ids, (None, None))[0] == ids._version:
        return _sums[ids][1]
    digest = hashlib.sha256()
    for part in ids.split(2**20):  # the ids may be a file that is larger than the memory
        digest.update(part.cpu().long().numpy().tobytes())
    _sums[ids] = (ids._version, digest.hexdigest())
    return _sums[ids][1]


def description(model: nn.Module) -> dict[str, Any]:
    """What a model says of itself: the name of its class, and its config as plain values.

    A model without a config is described by its vocab_size and context_length, where it has them.
    """
    model = unwrapped(model)
    # fully_shard puts a class of its own in front of the model's.
    kinds = [kind for kind in type(model).__mro__ if not hasattr(kind, "set_reshard_after_forward")]
    config = getattr(model, "config", None)
    sizes = {name: told_by(model, name) for name in ("vocab_size", "context_length")}
    told = asdict(config) if is_dataclass(config) and not isinstance(config, type) else sizes
    told = {name: v.item() if hasattr(v, "item") else v for name, v in told.items()}
    plain = (bool, int, float, str, type(None))
    return {
        "model": kinds[0].__name__,
        "config": {name: value for name, value in told.items() if isinstance(value, plain)},
    }

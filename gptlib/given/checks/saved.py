"""What is asked of a saved model and run before anything of it is put into ours.

All of it is looked at first: a file may be damaged, forged, or of another model, data or recipe.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Any

import torch
from torch import nn

from gptlib.given.checks.numbers import is_number, is_whole
from gptlib.given.checks.recipe import check_settings
from gptlib.given.files import plain
from gptlib.given.models import unwrapped
from gptlib.given.run_state import AVERAGES, description, weights_of

NEEDED = ("step", "tokens", "seconds", "history", "config", "data", "optimizer", "random")
RECORDED = ("step", "loss", "lr", "grad_norm", "tokens", "seconds")  # of each step looked at
LOSSES = ("train_loss", "val_loss")  # the usual evaluator's; another may measure something else
PROBED = ("cpu", "cuda", "mps")  # the devices whose random numbers may be in a file
BY_SHAPE = ("bias", "qkv_bias")  # of a model's config: names and shapes of the weights tell these
LEARNING = ("dropout", "init", "waves")  # and these do not change what given weights compute


def check_finite_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """The weights of a model by their names. Errors: ValueError if a parameter is not finite."""
    weights = weights_of(model)
    for name, tensor in weights.items():
        if isinstance(tensor, nn.Parameter) and not _all(tensor.isfinite()):
            raise ValueError(
                f"model must have finite weights; {name} holds nan or inf. It has blown up: what "
                f"was saved before stays, go on from there with a lower learning rate."
            )
    return weights


def check_weights(path: Any, model: nn.Module, theirs: Mapping[str, torch.Tensor]) -> None:
    """The weights of a file, theirs, have the model's names, shapes and kinds, and are finite."""
    ours = weights_of(model)
    for name in {**ours, **theirs}:
        shapes = [tuple(w[name].shape) if name in w else "missing" for w in (theirs, ours)]
        if shapes[0] != shapes[1]:
            raise ValueError(_another_model(path, name, *shapes))
    for name, tensor in theirs.items():
        kinds = tensor.dtype, ours[name].dtype
        if kinds[0] != kinds[1] and not all(kind.is_floating_point for kind in kinds):
            raise ValueError(_another_model(path, name, *kinds))
        # As they will be: a number may be too large for a type of fewer bits.
        if isinstance(ours[name], nn.Parameter) and not _all(tensor.to(kinds[1]).isfinite()):
            raise ValueError(
                f"{path} cannot be used: {name} holds nan or inf, so its model has blown up. Take "
                f"an earlier checkpoint."
            )


def check_tokenizer(path: Any, theirs: str | None, ours: Any, *, resumed: bool) -> None:
    """A tokenizer that was saved, theirs being its fingerprint, is the one in use, ours.

    Who goes on with a run must name it: the next checkpoint would be without it.
    """
    if theirs is None or (ours is None and not resumed):
        return
    if ours is None:
        raise ValueError(f"{path} has a tokenizer: to go on with its run, give it as tokenizer=.")
    if ours.fingerprint() != theirs:
        raise ValueError(f"{path} was made with another tokenizer: take its tokenizer.json.")


def check_described(
    path: Any, model: nn.Module, theirs: Mapping[str, Any], resumed: bool = False
) -> None:
    """The model in a file, as `description` told of it, is the one in hand.

    A class made from the saved one is welcome. A run is resumed with the same dropout, too.
    """
    config: Any = getattr(unwrapped(model), "config", None)
    ours = description(model)
    names = [kind.__name__ for kind in type(unwrapped(model)).__mro__]
    if theirs["model"] not in names:
        raise ValueError(_another_model(path, "its class", theirs["model"], names[0]))
    # What the config of an earlier version did not have yet was as it is by default.
    known = fields(config) if is_dataclass(config) else ()
    defaults = {field.name: field.default for field in known if field.default is not MISSING}
    told = {**defaults, **theirs["config"]}
    skipped = BY_SHAPE if resumed else BY_SHAPE + LEARNING
    for name in {**ours["config"], **theirs["config"]}:
        values = [told.get(name, "missing"), ours["config"].get(name, "missing")]
        if name not in skipped and not _same(*values):
            raise ValueError(_another_model(path, name, *map(repr, values)))
    free = {name: told[name] for name in skipped if name in defaults}
    try:  # what need not be the same must be possible
        if free and not isinstance(config, type):
            replace(config, **free)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} describes no model that can be: {error}") from error


def _another_model(path: Any, name: str, theirs: Any, ours: Any) -> str:
    return (
        f"{path} is a checkpoint of another model: {name} is {theirs} in the file and {ours} in "
        f"the model. Build the model by the saved one's configuration."
    )


def check_form(state: Any) -> None:
    """The state of a run has the form in which `Run.state_dict` gives it, whatever run it is of."""
    _ask(isinstance(state, dict) and state.keys() == set(NEEDED), "has other entries")
    step, history = state["step"], state["history"]
    _ask(is_whole(step) and step >= 0, f"is at step {step!r}")
    _ask(is_whole(state["tokens"]) and state["tokens"] >= 0, f"has seen {state['tokens']!r} tokens")
    seconds = state["seconds"]
    _ask(is_number(seconds) and 0 <= seconds < math.inf, f"took {seconds!r} seconds")
    _ask(isinstance(history, list), "has no history")  # empty: of a run that nobody looked at
    for record in history:
        _check_record(record, state)
    for name, told in (("step", set), ("seconds", list)):
        values = [record[name] for record in history]
        _ask(values == sorted(told(values)), "has a history in another order")
    _ask(isinstance(state["config"], dict) and bool(state["config"]), "has no settings")
    _ask(state["data"] is None or isinstance(state["data"], dict), "has no sums of its data")
    for part in ("optimizer", "random"):
        tensors = state[part]
        _ask(isinstance(tensors, dict), f"has no {part}")
        _ask(all(map(torch.is_tensor, tensors.values())), f"holds no tensors in {part}")


def _check_record(record: Any, state: Mapping[str, Any]) -> None:
    """What was recorded at one step of a run; an evaluator's own metrics may be anything."""
    there = isinstance(record, dict) and record.keys() >= set(RECORDED)
    _ask(there, "has a history of something else")
    step, tokens = record["step"], record["tokens"]
    _ask(is_whole(step) and 0 <= step <= state["step"], f"has a record of step {step!r}")
    fits = is_whole(tokens) and 0 <= tokens <= state["tokens"]
    fits = fits and tokens * state["step"] == state["tokens"] * step  # as many in each step
    _ask(fits, f"has a record of {tokens!r} tokens at step {step}")
    for name in (*RECORDED, *LOSSES):
        value = record.get(name)
        if value is None:  # before the first update there is no batch
            fits = name in LOSSES or (step == 0 and name in ("loss", "grad_norm"))
        elif name in LOSSES:
            fits = is_number(value)
        else:
            least = -math.inf if name == "loss" else 0
            fits = is_number(value) and least <= value < math.inf
        _ask(fits, f"has a record of {name} {value!r} at step {step}")
    _ask(record["seconds"] <= state["seconds"], f"has a record from after its end, of step {step}")


def check_state(state: Any, run: Any, ours: Mapping[str, Any], free: Sequence[str]) -> None:
    """The state of a run can be put into `run`, whose own is `ours`. Errors: ValueError if not."""
    check_form(state)
    check_same_run(ours["config"], state["config"], free)
    check_settings(state["config"])  # those that may differ make sense, too
    c = run.config
    tokens = state["step"] * c.grad_accumulation * c.batch_size * c.context_length
    _ask(state["step"] <= c.steps, f"is at step {state['step']} of {c.steps}")
    _ask(state["tokens"] == tokens, f"has seen {state['tokens']} tokens, not {tokens}")
    for name in ours["data"] if state["data"] is not None else ():
        if ours["data"][name] != state["data"].get(name, "missing"):
            raise ValueError(
                f"{name} must be the same as in the run to be resumed; it has other values. Give "
                f"that data, encoded by that tokenizer, or begin a new run from the weights with "
                f"load_checkpoint(path, model)."
            )
    _check_averages(state["optimizer"], ours["optimizer"], state["step"])
    _check_random(state["random"], ours["random"])


def check_same_run(ours: Mapping[str, Any], theirs: Mapping[str, Any], free: Sequence[str]) -> None:
    """A run is resumed with the settings it had; those named in free may differ."""
    for name in {**theirs, **ours}:
        values = [settings.get(name, "missing") for settings in (theirs, ours)]
        if name not in free and not _same(*values):
            raise ValueError(
                f"{name} must be {values[0]!r}, as in the run to be resumed; got {values[1]!r}. "
                f"For others begin a new run from its weights, load_checkpoint(path, model)."
            )


def _check_averages(
    theirs: Mapping[str, torch.Tensor], ours: Mapping[str, torch.Tensor], step: int
) -> None:
    """AdamW's averages are those of our parameters, and such as AdamW can have."""
    for name in {**ours, **theirs}:
        shapes = [tuple(w[name].shape) if name in w else "missing" for w in (theirs, ours)]
        _ask(shapes[0] == shapes[1], f"has {name} as {shapes[0]} and not {shapes[1]}")
        tensor = theirs[name]
        _ask(tensor.dtype == ours[name].dtype, f"has {name} as {tensor.dtype}")
        _ask(_all(tensor.isfinite()), f"holds nan or inf in {name}")
        kind = name.rpartition(".")[2]
        if kind == AVERAGES[0]:
            count = tensor.item()
            _ask(0 <= count <= step and count == round(count), f"has {name} {count}")
        if kind == AVERAGES[2]:
            _ask(_all(tensor >= 0), f"holds squares below 0 in {name}")


def _check_random(theirs: Mapping[str, torch.Tensor], ours: Mapping[str, torch.Tensor]) -> None:
    """The states of the generators are such as the generators take."""
    wrong = {"data", "cpu"} - theirs.keys() or theirs.keys() - {"data", *PROBED}
    _ask(not wrong, f"has other random numbers: {', '.join(map(str, wrong))}")
    for name in theirs.keys() & ours.keys():
        device = "cpu" if name == "data" else name
        try:
            torch.Generator(device).set_state(theirs[name])
        except (RuntimeError, TypeError) as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"random state {name!r} is none: {reason}.") from error


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same in JSON, where a tuple is a list and True is not 1."""
    return json.dumps(one, default=plain) == json.dumps(other, default=plain)


def _all(fits: torch.Tensor) -> bool:
    """Whether all of it is True; of a tensor in parts the processes ask one another.

    Each would look at its own part alone, and one would refuse what the others go on with.
    """
    wrong: Any = (~fits).sum()
    return not (wrong.full_tensor() if hasattr(wrong, "full_tensor") else wrong)


def _ask(fine: bool, otherwise: str) -> None:
    if not fine:
        raise ValueError(f"The saved run {otherwise}: it was changed or is of another run.")

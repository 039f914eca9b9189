"""Keep a model and its training run in a file, and go on later as if nothing had happened.

Built in chapter 7. A checkpoint holds tensors and plain values, never code.
"""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gptlib.given.checks.recipe import check_same_run, check_shapes
from gptlib.given.files import replacing

FORMAT = "gptlib checkpoint 1"
FREE = ("device", "eval_every", "eval_batches")  # settings that do not change the updates


def save_checkpoint(path: str | os.PathLike, model: nn.Module, run: Any = None) -> None:
    """Write the weights to path, and with a training run what is needed to go on with it.

    The file at path is the old one or the whole new one, even if the power goes in between.
    """
    state = {"format": FORMAT, "model": model.state_dict(), "run": run and run_state(run)}
    with replacing(path) as temporary:
        torch.save(state, temporary)


def load_checkpoint(
    path: str | os.PathLike, model: nn.Module, run: Any = None
) -> list[dict[str, Any]]:
    """Put the weights of a checkpoint into the model; returns the history of the saved run.

    With a run of the same settings, its optimiser, step and random numbers come back too.

    Errors: FileNotFoundError; ValueError if the file is damaged, no checkpoint, of a model of
    another shape or of a run with other settings. Model and run are unchanged then.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no checkpoint at {path}.")
    state = read_checkpoint(path)
    check_shapes(path, model.state_dict(), state["model"])
    if run is not None:
        if state["run"] is None:
            raise ValueError(f"{path} holds weights only: there is no run in it to resume.")
        restore_run(run, state["run"])
    model.load_state_dict(state["model"])
    return json.loads(state["run"]["json"])["history"] if state["run"] else []


def read_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    """The content of a checkpoint file. Errors: ValueError if it is damaged or something else."""
    try:
        with zipfile.ZipFile(path) as archive:  # torch writes a zip file, with a sum of each part
            if (damaged := archive.testzip()) is not None:
                raise ValueError(f"its part {damaged} has changed")
        # weights_only: a file from a stranger can be wrong, but it cannot run anything here.
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise ValueError(f"it is not marked as {FORMAT!r}")
    except Exception as error:  # zipfile, pickle and torch each raise several kinds
        raise ValueError(
            f"{path} is not a whole checkpoint of gptlib: {str(error).splitlines()[0]}. Take an "
            f"earlier one; a file from elsewhere may have been cut short on its way."
        ) from error
    return state


def run_state(run: Any) -> dict[str, Any]:
    """What going on exactly needs next to the weights: place, optimiser and random numbers."""
    place = {"step": run.step, "tokens": run.tokens, "seconds": run.seconds}
    told = {"config": asdict(run.config), "history": run.history, "place": place}
    on_gpu = run.device.type == "cuda"
    return {
        "json": json.dumps(told, default=float),
        "optimizer": run.optimizer.state_dict(),
        "data_rng": run.generator.get_state(),
        "cpu_rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state(run.device) if on_gpu else None,
    }


def restore_run(run: Any, state: dict[str, Any]) -> None:
    """Put back what `run_state` returned. Errors: ValueError if that run had other settings."""
    told = json.loads(state["json"])
    ours = json.loads(json.dumps(asdict(run.config), default=float))  # tuples become lists
    check_same_run(ours, told["config"], FREE)
    run.optimizer.load_state_dict(state["optimizer"])
    run.generator.set_state(state["data_rng"])
    torch.set_rng_state(state["cpu_rng"])
    if run.device.type == "cuda" and state["cuda_rng"] is not None:
        torch.cuda.set_rng_state(state["cuda_rng"], run.device)
    run.history[:] = told["history"]
    for name, value in told["place"].items():
        setattr(run, name, value)

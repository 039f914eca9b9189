"""A run's folder: its settings, its log, and checkpoints of which the last ones and the best stay.

Given, not built.

    settings.json            the settings; of the text that it learns from the sums and the sources
    log.jsonl                what was reported, a line each
    loss.svg                 the curve
    checkpoints/00000050     as `gptlib.checkpoint` writes them, named by their steps
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gptlib.checkpoint import read_parts, save_checkpoint
from gptlib.counts import count_parameters
from gptlib.engine.prepared import Prepared, Tokenizer, tokenizer_at
from gptlib.engine.recipes import KINDS, Model
from gptlib.given.checks.saved import check_weights
from gptlib.given.files import followed, remove, those_beside, write_text
from gptlib.given.folders import MANIFEST, read_json
from gptlib.given.run_state import set_weights
from gptlib.given.saved import read_saved

FORMAT = "gptlib run 1"
STATE, LOG, CURVE, CHECKPOINTS = "settings.json", "log.jsonl", "loss.svg", "checkpoints"


def checkpoints(run: str | os.PathLike[str]) -> list[Path]:
    """The checkpoints of a run, the newest first, whether they are whole or not."""
    folder = followed(run) / CHECKPOINTS
    found = [path for path in folder.glob("*") if path.name.isdigit()] if folder.is_dir() else []
    return sorted(found, key=lambda path: int(path.name), reverse=True)


def is_run(path: str | os.PathLike[str]) -> bool:
    """Whether a folder is a run's."""
    return (followed(path) / STATE).is_file()


def state_of(run: str | os.PathLike[str]) -> dict[str, Any]:
    """Settings and data of a run. Errors: ValueError for no run, and for one of a newer version."""
    file = followed(run) / STATE
    if not file.is_file():
        raise ValueError(f"{run} is no run: there is no {STATE} in it. gptlib train makes one.")
    told = read_json(file)
    form = told.get("format") if isinstance(told, dict) else None
    if form != FORMAT:
        raise ValueError(
            f"{file} is marked as {form!r}; this version of gptlib reads {FORMAT!r}. Where it is "
            f"newer, update gptlib."
        )
    return told


def begin(run: str | os.PathLike[str], settings: dict[str, Any], text: Prepared, room: int) -> Path:
    """A folder for a new run, proved to be one that can be written to. room: bytes that it needs.

    Errors: ValueError for a place that cannot be written to, holds something else or has no room.
    """
    target = followed(run)
    if not target.parent.is_dir():
        raise ValueError(f"{run} must lie in a folder that exists; {target.parent} does not.")
    if target.exists() and not (target.is_dir() and _is_bare(target)):
        raise ValueError(f"{run} holds something else than a run: name a new folder.")
    free = shutil.disk_usage(target.parent).free
    if free < room:
        raise ValueError(
            f"{run} has no room: the checkpoints take {room / 1e6:,.0f} MB, and {free / 1e6:,.0f} "
            f"MB are free. Keep fewer of them, or name a folder on another disk."
        )
    try:
        (target / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        told = {"format": FORMAT, "settings": settings, "data": text.sums, "text": text.origin()}
        write_text(target / STATE, json.dumps(told, indent=1) + "\n")
    except OSError as error:
        raise ValueError(f"{run} must be a folder that can be written to: {error}") from error
    return target


def _is_bare(target: Path) -> bool:
    """Whether a folder is empty, or holds what a beginning leaves that was killed half way."""
    begun = {target / CHECKPOINTS, *those_beside(target / STATE, "tmp")}
    inside = target / CHECKPOINTS
    return begun.issuperset(target.iterdir()) and not (inside.is_dir() and any(inside.iterdir()))


def place_of(run: Path, step: int) -> Path:
    """Where a run's checkpoint of a step stands."""
    return run / CHECKPOINTS / f"{step:08d}"


def save(run: Path, state: Any, tokenizer: Any, keep: int) -> None:
    """Write a checkpoint of a training run, then remove those that are neither new nor the best."""
    save_checkpoint(place_of(run, state.step), state.model, state, tokenizer)
    tidy(run, state, keep)


def tidy(run: Path, state: Any, keep: int) -> None:
    """Remove the checkpoints that are neither among the last ones nor the best."""
    stay = {found.name for found in checkpoints(run)[:keep]}
    losses = {record["step"]: record.get("val_loss") for record in state.history}
    scored = {p.name: losses.get(int(p.name)) for p in checkpoints(run)}
    known = {name: loss for name, loss in scored.items() if loss is not None}
    stay |= {min(known, key=lambda name: (known[name], -int(name)))} if known else set()
    for found in checkpoints(run):
        if found.name not in stay:
            (found / MANIFEST).unlink(missing_ok=True)  # half of it is none
            remove(found)


def best_first(run: str | os.PathLike[str]) -> list[Path]:
    """The checkpoints of a run, that of the lowest validation loss first, then the newest."""
    found = checkpoints(run)
    losses: dict[int, float] = {}
    for path in found:
        try:
            history = read_json(path / "run.json")["history"]
        except (OSError, ValueError, KeyError, TypeError):  # damaged: others may tell
            continue
        losses |= {r["step"]: r["val_loss"] for r in history if r.get("val_loss") is not None}
    scored = [path for path in found if int(path.name) in losses]
    best = min(scored, key=lambda path: losses[int(path.name)], default=None)
    return [*([best] if best else []), *(path for path in found if path != best)]


def readable(paths: list[Path]) -> Iterator[tuple[Path, dict[str, Any] | ValueError]]:
    """Each checkpoint with what it holds, or with why it cannot be read."""
    for path in paths:
        try:
            yield path, read_saved(path, nn.Module(), read_parts)
        except (ValueError, FileNotFoundError) as error:
            yield path, error if isinstance(error, ValueError) else ValueError(str(error))


def load(
    path: str | os.PathLike[str], which: str = "best"
) -> tuple[Model, Tokenizer, Path, list[str]]:
    """A model with its tokenizer out of a run or a checkpoint.

    which: "best", "last" or a step. Where that checkpoint is damaged the next good one is taken.
    Returns model, tokenizer, the checkpoint's folder, and a sentence for each that was passed over.
    Errors: ValueError where there is none, or none that can be read.
    """
    if not is_run(path):
        paths = [followed(path)]
    elif which in ("best", "last"):
        paths = best_first(path) if which == "best" else checkpoints(path)
    else:
        paths = [p for p in checkpoints(path) if which.isdigit() and int(p.name) == int(which)]
    passed: list[str] = []
    for found, saved in readable(paths):
        if not isinstance(saved, ValueError):
            return _built(found, saved), _tokenizer(found), found, passed
        passed.append(str(saved))
    have = ", ".join(str(int(p.name)) for p in checkpoints(path)) if is_run(path) else "none"
    raise ValueError(passed[0] if passed else f"{path} has no checkpoint {which}; it has {have}.")


def _built(path: Path, saved: dict[str, Any]) -> Model:
    """The model that a checkpoint describes, with its weights; counted before it is built."""
    told = saved["config"] or {"model": "a model that it does not describe", "config": {}}
    kinds = {model.__name__: (config, model) for config, model in KINDS.values()}
    if told["model"] not in kinds:
        raise ValueError(f"{path} holds {told['model']}; known here are {', '.join(kinds)}.")
    make_config, make = kinds[told["model"]]
    try:
        config = make_config(**told["config"])
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} has no configuration of a {told['model']}: {error}") from error
    count = sum(tensor.numel() for tensor in saved["model"].values())
    if count != count_parameters(config):
        raise ValueError(f"{path} has {count} weights; its model has {count_parameters(config)}.")
    with torch.random.fork_rng([]):
        model = make(config)
    check_weights(path, model, saved["model"])
    set_weights(model, saved["model"])
    return model.eval()


def _tokenizer(path: Path) -> Tokenizer:
    if not (path / "tokenizer.json").is_file():
        raise ValueError(f"{path} has no tokenizer: save it with the model, tokenizer=….")
    return tokenizer_at(path / "tokenizer.json")

"""Train a model on a prepared text, in a folder that a run can be taken up from at any time.

Given, not built. The loop is that of `gptlib.training`; what stands here begins it, looks on,
saves, and stops it well.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gptlib.corpus.scoring import story_starts
from gptlib.counts import count_parameters
from gptlib.engine import runs
from gptlib.engine.prepared import Prepared
from gptlib.engine.processes import TIMEOUT, Processes, joined
from gptlib.engine.recipes import (
    SAVING,
    build,
    check_dtype,
    computing_in,
    model_config,
    settings_of,
    train_config,
)
from gptlib.engine.reporter import Reporter
from gptlib.engine.shared import shared
from gptlib.engine.signals import Stopped, signals
from gptlib.engine.tracking import check_tracker, tracker
from gptlib.given.checks.recipe import check_context_length, check_data, pick_device
from gptlib.given.files import followed, plain, remove_leftovers
from gptlib.training import FREE, Run, train

MAY_CHANGE = (*FREE, *SAVING)  # settings that a run may be taken up with


def learn(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    preset: str | None = None,
    log: Callable[[str], object] = print,
    peak: float | None = None,
    progress: bool = False,
    track: str | None = None,
    shard: bool = False,
    timeout: float = TIMEOUT,
    **changes: Any,
) -> Path:
    """Train by a recipe on what `prepare` wrote to `data`; returns the run's folder, `out`.

    changes: single settings over those of the recipe, see `settings_of`. Where the run is there
    already it is taken up from its newest good checkpoint, as if it had never stopped; on other
    data or with other settings it is refused. Ctrl-C and SIGTERM save it first. log gets a line
    every log_every steps; peak: FLOPs a second of this machine, to be compared with.

    Where `torchrun` has started several processes, each works on its share of every batch, and
    all see the same two folders. One that does not answer for timeout seconds is lost. shard: each
    keeps a part of every weight and not the whole model, and saves its part.

    Errors: ValueError for what does not fit, before the first step; Stopped after a signal; Lost
    where another process has ended or hangs.
    """
    check_tracker(track)
    with joined(timeout) as group:
        if shard and group.world_size == 1:
            raise ValueError("shard needs several processes: start them by torchrun, or leave it.")
        return _learn(group, data, out, preset, changes, log, peak, progress, track, shard)


def _learn(
    group: Processes,
    data: Any,
    out: Any,
    preset: str | None,
    changes: dict[str, Any],
    log: Callable[[str], object],
    peak: float | None,
    progress: bool,
    track: str | None,
    shard: bool,
) -> Path:
    """The same, as one of a group of processes; the first one begins, reports and saves."""
    prepared = Prepared.open(data)
    settings, folder = group.first_does(lambda: _begun(prepared, data, out, preset, changes, group))
    device = pick_device(settings["device"])
    group.check_card(device)
    model = build(settings, prepared.tokenizer.vocab_size)
    model = computing_in(settings["dtype"], model, device)
    config = train_config(settings)
    maps = _check_lengths(model, config, prepared)
    found, passed = group.first_does(lambda: _newest(folder))
    reporter = Reporter(folder, settings, prepared, log, peak and peak * group.world_size)
    if group.first:
        step = _say_where(reporter, found, passed, config.steps)
        reporter.tracker = tracker(track, folder, settings, step)
    with signals(once=group.world_size == 1) as stopped:

        def keep(run: Run) -> None:
            asked = group.largest(stopped() or 0)
            last = run.step == run.config.steps
            if asked or last or run.step % settings["save_every"] == 0:
                _save(group, folder, run, prepared.tokenizer, settings["keep"], shard)
            if asked:
                group.first_does(lambda: reporter.draw(run.history))
                raise Stopped(asked, _stopped_at(run, data, out), told=not group.first)

        history = train(
            shared(model, group, device, shard=shard, every=config.grad_accumulation),
            **_rows(prepared, model, maps), config=config, tokenizer=prepared.tokenizer,
            callbacks=[reporter] if group.first else [], progress=progress and group.first,
            resume=found, keep=keep,
        )  # fmt: skip
    group.first_does(lambda: reporter.draw(history))
    return folder


def _save(group: Processes, folder: Path, run: Run, tokenizer: Any, keep: int, shard: bool) -> None:
    """A checkpoint: the first process writes it, or of a model in parts each one its own."""
    if not shard:
        return group.first_does(lambda: runs.save(folder, run, tokenizer, keep))
    from gptlib.engine.parts import save_in_parts  # slow to load, and seldom needed

    save_in_parts(runs.place_of(folder, run.step), group, run, tokenizer)
    group.first_does(lambda: runs.tidy(folder, run, keep))


def _say_where(reporter: Reporter, found: Path | None, passed: list[str], steps: int) -> int:
    """What was passed over, and where the run goes on: that step."""
    for fault in passed:
        reporter.log(fault)
    step = 0 if found is None else int(found.name)
    reporter.cut(step)
    if found is not None:
        reporter.log(f"Goes on from step {step} of {steps}.")
    return step


def _rows(prepared: Prepared, model: Any, maps: Any) -> dict[str, Any]:
    """Both parts of the text, and where windows begin in one of stories."""
    rows: dict[str, Any] = {"train_data": prepared.train, "val_data": prepared.validation}
    starts: dict[str, Any] = {}
    if prepared.stories() is not None and prepared.mark in getattr(
        prepared.tokenizer, "special_tokens", {}
    ):  # as the book trains on them: no window lacks the beginning of its story
        T = model.config.context_length
        starts = {
            name: story_starts(row, prepared.tokenizer, T)
            for name, row in zip(("starts", "val_starts"), maps, strict=True)
        }
    return rows | starts


def _stopped_at(run: Run, data: Any, out: Any) -> str:
    return (
        f"stopped and saved at step {run.step} of {run.config.steps}. Go on with: "
        f"gptlib train {data} --out {out}"
    )


def _begun(
    prepared: Prepared,
    data: Any,
    out: Any,
    preset: str | None,
    changes: dict[str, Any],
    group: Processes,
) -> tuple[dict[str, Any], Path]:
    """Settings and folder of the run: a new one, or the one that is there, if it is the same."""
    if not runs.is_run(out):
        settings = settings_of(preset or "small", **changes)
        check_dtype(settings)
        group.check(settings)
        config = model_config(settings, prepared.tokenizer.vocab_size)
        room = 12 * count_parameters(config) * (settings["keep"] + 2)
        return settings, runs.begin(out, settings, prepared, room)
    told = runs.state_of(out)
    if told["data"] != prepared.sums:
        raise ValueError(
            f"{out} learns from another text than {data}: their sums differ. Name the folder that "
            f"it was begun with, or another one for a new run."
        )
    old = {"dtype": "float32", **told["settings"]}  # older runs do not say it
    new = {name: value for name, value in changes.items() if value is not None}
    same = {name: value for name, value in old.items() if name != "preset"}
    wanted = settings_of(preset, **new) if preset else settings_of(old["preset"], **{**same, **new})
    for name, value in wanted.items():
        had = old.get(name)
        if json.dumps(had) != json.dumps(value, default=plain) and name not in MAY_CHANGE:
            raise ValueError(
                f"{name} is {had!r} in the run at {out}, and {value!r} now. Leave it out to go on "
                f"with that run, or name another folder for a new one."
            )
    check_dtype(wanted)
    group.check(wanted)
    return wanted, followed(out)


def _check_lengths(model: Any, config: Any, prepared: Prepared) -> list[Any]:
    """Both parts hold a window: they come back as tensors on the files, with no second copy.

    Errors: ValueError; `train` would say so too, in other words.
    """
    from dataclasses import replace

    config = replace(config, context_length=check_context_length(None, model))
    try:
        return check_data(config, prepared.train, prepared.validation)
    except ValueError as error:
        short = min(len(prepared.train), len(prepared.validation))
        raise ValueError(
            f"context_length is {config.context_length}, and a part of the text has {short} "
            f"tokens. Take a shorter context_length, or more text."
        ) from error


def _newest(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that can be read; damaged ones above it are put aside, and told."""
    place = folder / runs.CHECKPOINTS
    for left in place.glob(".*.tmp"):  # of a process that was killed
        remove_leftovers(place / left.name.split(".")[1])
    passed: list[str] = []
    for path, saved in runs.readable(runs.checkpoints(folder)):
        if not isinstance(saved, ValueError):
            return path, passed
        aside = path.with_name(f"{path.name}.damaged")
        shutil.rmtree(aside, ignore_errors=True)
        shutil.move(path, aside)
        passed.append(f"{saved} It was put aside as {aside.name}.")
    return None, passed

"""Train a model on a prepared text, in a folder that a run can be taken up from at any time.

Given, not built. The loop is that of `gptlib.training`; what stands here begins it, looks on,
saves, and stops it well.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gptlib.corpus.scoring import story_starts
from gptlib.counts import count_parameters
from gptlib.engine import runs
from gptlib.engine.prepared import Prepared
from gptlib.engine.recipes import (
    SAVING,
    build,
    model_config,
    settings_of,
    train_config,
)
from gptlib.engine.reporter import Reporter
from gptlib.engine.tracking import check_tracker, tracker
from gptlib.given.checks.recipe import check_context_length, check_data
from gptlib.given.files import followed, plain, remove_leftovers
from gptlib.training import FREE, Run, train

MAY_CHANGE = (*FREE, *SAVING)  # settings that a run may be taken up with


class Stopped(KeyboardInterrupt):
    """A run that a signal has stopped, after it was saved; `signal` is the signal's number."""

    def __init__(self, number: int, message: str):
        super().__init__(message)
        self.signal = number


def learn(
    data: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    preset: str | None = None,
    log: Callable[[str], object] = print,
    peak: float | None = None,
    progress: bool = False,
    track: str | None = None,
    **changes: Any,
) -> Path:
    """Train by a recipe on what `prepare` wrote to `data`; returns the run's folder, `out`.

    changes: single settings over those of the recipe, see `settings_of`. Where the run is there
    already it is taken up from its newest good checkpoint, as if it had never stopped; on other
    data or with other settings it is refused. Ctrl-C and SIGTERM save it first. log gets a line
    every log_every steps; peak: FLOPs a second of this machine, to be compared with.

    Errors: ValueError for what does not fit, before the first step; Stopped after a signal.
    """
    check_tracker(track)
    prepared = Prepared.open(data)
    settings, folder = _begun(prepared, data, out, preset, changes)
    model = build(settings, prepared.tokenizer.vocab_size)
    config = train_config(settings)
    maps = _check_lengths(model, config, prepared)
    found, passed = _newest(folder)
    for fault in passed:
        log(fault)
    reporter = Reporter(folder, settings, prepared, log, peak)
    reporter.cut(0 if found is None else int(found.name))
    reporter.tracker = tracker(track, folder, settings, 0 if found is None else int(found.name))
    if found is not None:
        log(f"Goes on from step {int(found.name)} of {config.steps}.")
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
    with _signals() as stopped:

        def keep(run: Run) -> None:
            asked = stopped()
            last = run.step == run.config.steps
            if asked is not None or last or run.step % settings["save_every"] == 0:
                runs.save(folder, run, prepared.tokenizer, settings["keep"])
            if asked is not None:
                reporter.draw(run.history)
                raise Stopped(
                    asked,
                    f"stopped and saved at step {run.step} of {run.config.steps}. Go on with: "
                    f"gptlib train {data} --out {out}",
                )

        history = train(
            model, **rows, config=config, callbacks=[reporter], progress=progress, resume=found,
            tokenizer=prepared.tokenizer, keep=keep, **starts,
        )  # fmt: skip
    reporter.draw(history)
    return folder


def _begun(
    prepared: Prepared, data: Any, out: Any, preset: str | None, changes: dict[str, Any]
) -> tuple[dict[str, Any], Path]:
    """Settings and folder of the run: a new one, or the one that is there, if it is the same."""
    if not runs.is_run(out):
        settings = settings_of(preset or "small", **changes)
        config = model_config(settings, prepared.tokenizer.vocab_size)
        room = 12 * count_parameters(config) * (settings["keep"] + 2)
        return settings, runs.begin(out, settings, prepared.sums, room)
    told = runs.state_of(out)
    if told["data"] != prepared.sums:
        raise ValueError(
            f"{out} learns from another text than {data}: their sums differ. Name the folder that "
            f"it was begun with, or another one for a new run."
        )
    old = told["settings"]
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


@contextmanager
def _signals() -> Iterator[Callable[[], int | None]]:
    """Ctrl-C and SIGTERM are noted inside; a second one acts as it always does."""
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.getsignal(kind) for kind in kinds}

    def note(number: int, _: Any) -> None:
        noted.append(number)
        for kind in kinds:
            signal.signal(kind, before[kind])

    for kind in kinds:
        signal.signal(kind, note)
    try:
        yield lambda: noted[0] if noted else None
    finally:
        for kind in kinds:
            signal.signal(kind, before[kind])

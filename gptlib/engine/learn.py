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

import torch

from gptlib.corpus.scoring import story_starts
from gptlib.counts import count_parameters
from gptlib.engine import curve, runs
from gptlib.engine.prepared import Prepared
from gptlib.engine.recipes import (
    SAVING,
    build,
    model_config,
    settings_of,
    train_config,
    training_flops,
)
from gptlib.given.checks.recipe import check_context_length, check_data
from gptlib.given.files import followed, plain, remove_leftovers, write_text
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
    **changes: Any,
) -> Path:
    """Train by a recipe on what `prepare` wrote to `data`; returns the run's folder, `out`.

    changes: single settings over those of the recipe, see `settings_of`. Where the run is there
    already it is taken up from its newest good checkpoint, as if it had never stopped; on other
    data or with other settings it is refused. Ctrl-C and SIGTERM save it first. log gets a line
    every log_every steps; peak: FLOPs a second of this machine, to be compared with.

    Errors: ValueError for what does not fit, before the first step; Stopped after a signal.
    """
    prepared = Prepared.open(data)
    settings, folder = _begun(prepared, data, out, preset, changes)
    model = build(settings, prepared.tokenizer.vocab_size)
    config = train_config(settings)
    _check_lengths(model, config, prepared)
    found, passed = _newest(folder)
    for fault in passed:
        log(fault)
    reporter = Reporter(folder, settings, prepared, log, peak)
    reporter.cut(0 if found is None else int(found.name))
    if found is not None:
        log(f"Goes on from step {int(found.name)} of {config.steps}.")
    rows: dict[str, Any] = {"train_data": prepared.train, "val_data": prepared.validation}
    starts: dict[str, Any] = {}
    if prepared.stories() is not None and prepared.mark in getattr(
        prepared.tokenizer, "special_tokens", {}
    ):  # as the book trains on them: no window lacks the beginning of its story
        T = model.config.context_length
        ids = [torch.from_numpy(row.astype("int64")) for row in rows.values()]
        starts = {
            name: story_starts(row, prepared.tokenizer, T)
            for name, row in zip(("starts", "val_starts"), ids, strict=True)
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


def _check_lengths(model: Any, config: Any, prepared: Prepared) -> None:
    """Both parts hold a window. Errors: ValueError; `train` would say so too, in other words."""
    from dataclasses import replace

    config = replace(config, context_length=check_context_length(None, model))
    try:
        check_data(config, prepared.train, prepared.validation)
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


class Reporter:
    """A callback of `train`: a line in the log every so many steps, and the curve at the end."""

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any],
        prepared: Prepared,
        log: Callable[[str], object],
        peak: float | None,
    ):
        self.file, self.curve, self.log, self.peak = (
            folder / runs.LOG,
            folder / runs.CURVE,
            log,
            peak,
        )
        self.every, self.steps = settings["log_every"], settings["steps"]
        self.flops = training_flops(model_config(settings, prepared.tokenizer.vocab_size))
        self.before: tuple[int, int, float] | None = None  # step, tokens, seconds
        self.rate, self.a_step = 0.0, 0.0

    def cut(self, step: int) -> None:
        """Forget what was logged after this step: it will be done again."""
        if self.file.is_file():
            kept = [line for line in self.lines() if 0 < step >= line["step"]]
            write_text(self.file, "".join(json.dumps(line) + "\n" for line in kept))

    def lines(self) -> list[dict[str, Any]]:
        """What was logged so far; a line that was cut off by a kill is left out."""
        found = []
        if self.file.is_file():
            for line in self.file.read_text(encoding="utf-8").splitlines():
                try:
                    found.append(json.loads(line))
                except ValueError:
                    continue
        return found

    def __call__(self, step: int, model: Any, metrics: dict[str, Any]) -> None:
        now = (step, metrics["tokens"], metrics["seconds"])
        if self.before is None:
            self.before = now
        if step % self.every and step != self.steps and "val_loss" not in metrics:
            return
        if now[2] > self.before[2]:
            self.rate = (now[1] - self.before[1]) / (now[2] - self.before[2])
            self.a_step = (now[2] - self.before[2]) / (now[0] - self.before[0])
        self.before = now
        told = {**metrics, "tokens_per_second": round(self.rate, 1)}
        if self.peak:
            told["share_of_peak"] = round(self.rate * self.flops / self.peak, 4)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(told, default=plain) + "\n")
        self.log(self.line(told))

    def line(self, told: dict[str, Any]) -> str:
        """What a person reads."""
        parts = [f"step {told['step']:>{len(str(self.steps))}}/{self.steps}"]
        parts += [f"loss {told['loss']:.3f}"] if told["loss"] is not None else []
        parts += [f"validation {told['val_loss']:.3f}"] if "val_loss" in told else []
        if self.rate:
            left = round(self.a_step * (self.steps - told["step"]))
            parts += [f"lr {told['lr']:.1e}", f"{self.rate:,.0f} tokens/s"]
            if self.peak:
                parts += [f"{100 * told['share_of_peak']:.0f} % of peak"]
            parts += [f"{left // 3600}:{left % 3600 // 60:02}:{left % 60:02} left"]
        return "  ".join(parts)

    def draw(self, history: list[dict[str, Any]]) -> None:
        """The curve into the run's folder and the terminal."""
        curves = {
            "training": [(line["step"], line["loss"]) for line in self.lines() if line["loss"]],
            "validation": [(record["step"], record["val_loss"]) for record in history],
        }
        curve.to_file(self.curve, curves)
        self.log(curve.in_terminal(curves["training"]))

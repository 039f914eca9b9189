"""Train on a prepared text; a run that is there already is taken up again."""

from __future__ import annotations

import argparse
import sys
from typing import Any

EXAMPLE = "gptlib train data/book --out runs/book --preset modern --steps 2000"

NUMBERS: dict[str, tuple[type, str]] = {
    "context_length": (int, "tokens that the model sees"),
    "n_layer": (int, "blocks"),
    "n_head": (int, "heads"),
    "n_kv_head": (int, "heads of keys and values, of a modern model"),
    "n_embd": (int, "numbers a token"),
    "head_size": (int, "numbers a head, of a modern model"),
    "hidden": (int, "inside a feed-forward network, of a modern model"),
    "dropout": (float, "of a classic model"),
    "steps": (int, "updates"),
    "batch_size": (int, "windows in a batch"),
    "grad_accumulation": (int, "batches in a step"),
    "lr": (float, "the highest learning rate"),
    "min_lr_ratio": (float, "what share of it is left in the end"),
    "warmup_steps": (int, "steps in which it climbs"),
    "weight_decay": (float, "of matrices"),
    "grad_clip": (float, "the longest gradient"),
    "eval_every": (int, "steps between two evaluations"),
    "eval_batches": (int, "batches of an evaluation"),
    "seed": (int, "draws weights and batches"),
    "log_every": (int, "steps between two lines"),
    "save_every": (int, "steps between two checkpoints"),
    "keep": (int, "how many checkpoints stay, beside the best"),
}


def add_words(parser: argparse.ArgumentParser) -> None:
    """What the verb understands."""
    parser.add_argument("data", nargs="?", metavar="DIR", help="what gptlib prepare wrote")
    parser.add_argument("--out", metavar="RUN", help="the run's folder")
    parser.add_argument("--preset", help="a recipe: small (the default), modern, stories, …")
    for name, (kind, says) in NUMBERS.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, help=says)
    parser.add_argument("--device", help="auto, cpu, cuda or mps")
    parser.add_argument(
        "--dtype", choices=("float32", "bfloat16"),
        help="numbers that a step computes in: bfloat16 is faster where the device has it",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", type=float, help="seconds to wait for another process of torchrun's (600)"
    )
    parser.add_argument(
        "--shard", action=argparse.BooleanOptionalAction, default=False,
        help="each process keeps a part of the model, not all of it",
    )  # fmt: skip
    parser.add_argument("--plan", action="store_true", help="say what it would cost, and stop")
    parser.add_argument("--track", help="tell a tracker too: tensorboard, mlflow or trackio")
    parser.add_argument("--curve", metavar="FILE", help="draw the curve here too: .png, .svg, .pdf")


def changes(told: argparse.Namespace) -> dict[str, Any]:
    """The settings that were asked for; None where the recipe's hold."""
    return {name: getattr(told, name) for name in (*NUMBERS, "device", "dtype")}


def settings(told: argparse.Namespace) -> dict[str, Any]:
    """All settings of the run, for --print-config."""
    from gptlib.engine.recipes import settings_of

    found = settings_of(told.preset or "small", **changes(told))
    return {
        "out": told.out,
        "curve": told.curve,
        "track": told.track,
        "timeout": told.timeout,
        "shard": told.shard,
        **found,
    }


def run(told: argparse.Namespace) -> str:
    """Train, and say what to do with the result."""
    from gptlib.engine import recipes
    from gptlib.engine.learn import learn
    from gptlib.engine.prepared import Prepared
    from gptlib.engine.processes import TIMEOUT, place

    if not told.data or not (told.out or told.plan):
        raise ValueError(f"name a prepared text and a folder for the run: {EXAMPLE}")
    if told.plan:
        text, asked = Prepared.open(told.data), settings(told)
        return recipes.plan(asked, text.tokenizer.vocab_size, len(text.train))
    if told.curve and not told.curve.endswith((".svg", ".png", ".pdf")):
        raise ValueError(f"--curve must end in .svg, .png or .pdf; got {told.curve}.")
    first = place()[0] == 0
    folder = learn(
        told.data, told.out, preset=told.preset, log=say,
        peak=peak(told) if first else None, progress=sys.stderr.isatty(),
        track=told.track, shard=told.shard, timeout=told.timeout or TIMEOUT, **changes(told),
    )  # fmt: skip
    if not first:
        return ""
    if told.curve:
        redraw(folder, told.curve)
    return f"Done: {told.out}. Now: gptlib generate {told.out} --prompt …"


def say(line: str) -> None:
    """A line for the reader, above the bar where there is one."""
    from tqdm.auto import tqdm

    tqdm.write(line)
    sys.stdout.flush()


def peak(told: argparse.Namespace) -> float:
    """What this machine's matrix product reaches in the run's numbers, FLOPs a second."""
    import torch

    from gptlib.engine import runs
    from gptlib.given.checks.recipe import pick_device
    from gptlib.roofline import measure_machine

    known = runs.state_of(told.out)["settings"] if runs.is_run(told.out) else {}
    dtype = told.dtype or known.get("dtype", "float32")
    chosen = pick_device(told.device or "auto")
    n = 512 if chosen.type == "cpu" else 4096
    return measure_machine(chosen, getattr(torch, dtype), n=n, rounds=3).peak


def redraw(folder: Any, path: str) -> None:
    """The curve of a run, from its log, into another file."""
    import json

    from gptlib.engine import curve, runs

    text = (folder / runs.LOG).read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    curve.to_file(path, {
        name: [(line["step"], line[key]) for line in lines if line.get(key) is not None]
        for name, key in (("training", "loss"), ("validation", "val_loss"))
    })  # fmt: skip

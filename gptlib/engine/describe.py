"""What a path is: a prepared text, a run, a checkpoint, a model in a form of Transformers.

Given, not built.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gptlib.engine import runs
from gptlib.engine.export import PAGE
from gptlib.engine.prepared import FORMAT, Prepared, is_prepared
from gptlib.given.files import followed
from gptlib.given.folders import MANIFEST, read_json


def describe(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What stands at a path, by name and value; "is" says what it is.

    Errors: FileNotFoundError; ValueError for what is none of gptlib's, or is damaged.
    """
    place = followed(path)
    if not place.exists():
        raise FileNotFoundError(f"There is nothing at {path}.")
    if is_prepared(path):
        return _text(path)
    if runs.is_run(path):
        return _run(path)
    if (place / "config.json").is_file():
        told = read_json(place / "config.json")
        if isinstance(told, dict) and "model_type" in told:
            return {"is": "a model in a form of Transformers", "model": told["model_type"]}
    if (place / MANIFEST).is_file():
        manifest = read_json(place / MANIFEST)
        if isinstance(manifest, dict) and manifest.get("format") == PAGE:
            return {"is": "a page with a model", "open": os.path.join(path, "index.html")}
        return _checkpoint(path)
    raise ValueError(f"{path} is no prepared text, no run, no checkpoint and no exported model.")


def _text(path: Any) -> dict[str, Any]:
    about = Prepared.open(path).about
    told: dict[str, Any] = {"is": f"a prepared text ({FORMAT})"}
    told |= {name: about[name] for name in ("tokenizer", "vocab_size", "dtype", "split")}
    for part in ("train", "validation"):
        told[part] = ", ".join(f"{n:,} {name}" for name, n in about[part].items())
    told["sources"] = ", ".join(source["name"] for source in about["sources"][:5])
    return told


def _run(path: Any) -> dict[str, Any]:
    state = runs.state_of(path)
    settings = state["settings"]
    told = {"is": "a run", "preset": settings["preset"], "model": settings["model"]}
    kept: list[Path] = runs.best_first(path)
    told["steps"] = settings["steps"]
    told["checkpoints"] = ", ".join(str(int(p.name)) for p in runs.checkpoints(path)) or "none"
    if kept:
        model, _, best, passed = runs.load(path)
        told |= {"best": int(best.name), "parameters": f"{model.num_parameters():,}"}
        told |= {"damaged": "; ".join(passed)} if passed else {}
    return told


def _checkpoint(path: Any) -> dict[str, Any]:
    ((_, saved),) = runs.readable([followed(path)])
    if isinstance(saved, ValueError):
        raise saved
    told = {"is": "a checkpoint", "model": (saved["config"] or {}).get("model")}
    told["parameters"] = f"{sum(t.numel() for t in saved['model'].values()):,}"
    told["tokenizer"] = "yes" if saved["tokenizer"] else "no"
    if saved["run"]:
        history = saved["run"]["history"]
        told["step"] = saved["run"]["step"]
        told["validation loss"] = history[-1].get("val_loss") if history else None
    return told

"""Checkpoints that were damaged or forged: real ones, each changed in one place.

A damaged one has a changed byte; a forged one has sums that fit what was changed.
"""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

WRONG = (None, "x", -1, [], {}, 1e308, True)
FREE = ("device", "eval_every", "eval_batches")  # settings that may differ from ours


def peak() -> int:
    """The most memory this process has had, in bytes."""
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def save_old(path: Path, model: torch.nn.Module, run: Any = None) -> None:
    """A checkpoint of the first kind, as it was written then."""
    state = {"format": "gptlib checkpoint 1", "model": model.state_dict(), "run": None}
    if run is not None:
        place = {"step": run.step, "tokens": run.tokens, "seconds": run.seconds}
        config = run.state_dict()["config"]
        told = {"config": config, "history": run.history, "place": place}
        state["run"] = {
            "json": json.dumps(told, default=float),
            "optimizer": run.optimizer.state_dict(),
            "data_rng": run.generator.get_state(),
            "cpu_rng": torch.get_rng_state(),
            "cuda_rng": None,
        }
    torch.save(state, path)


def sign(folder: Path) -> None:
    """Make the manifest fit the files again."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in manifest["files"]:
        content = (folder / name).read_bytes()
        told = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        manifest["files"][name] = told
    (folder / "manifest.json").write_text(json.dumps(manifest))


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Bytes that were cut, flipped, lengthened or overwritten in one place."""
    at = rng.randrange(len(content))
    return rng.choice([
        content[:at],
        content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :],
        content[:at] + b"\0" * (len(content) - at) + b"!",
        content + bytes(rng.randrange(256) for _ in range(9)),
    ])  # fmt: skip


# Plain values ------------------------------------------------------------------------------------


def spots(tree: Any, path: tuple = ()) -> Iterator[tuple]:
    """Where the values of a tree of dicts stand; what is recorded of a step is free."""
    for key, value in tree.items() if isinstance(tree, dict) else ():
        if key not in (*FREE, "history"):
            yield (*path, key)
            yield from spots(value, (*path, key))


def with_one_changed(tree: dict, path: tuple, rng: random.Random) -> dict:
    """The tree with one value taken away, of another type or with a foreign one beside it."""
    tree = json.loads(json.dumps(tree))
    place = tree
    for key in path[:-1]:
        place = place[key]
    old, kind = place[path[-1]], rng.choice(["removed", "renamed", "retyped", "retyped"])
    if kind == "retyped":
        place[path[-1]] = rng.choice([w for w in WRONG if json.dumps(w) != json.dumps(old)])
    elif kind == "renamed":
        place[f"{path[-1]}_"] = place.pop(path[-1])
    else:
        del place[path[-1]]
    return tree


# Tensors -----------------------------------------------------------------------------------------


def with_one_forged(tensors: dict, rng: random.Random) -> dict:
    """The tensors with one of another kind, shape or content, missing, or under a foreign name."""
    tensors = dict(tensors)
    name = rng.choice(sorted(tensors))
    old = tensors[name]
    changes: list[Callable] = [
        lambda t: t.to(torch.complex64),
        lambda t: t.to(torch.int32),
        lambda t: torch.zeros(10, dtype=t.dtype),
        lambda t: t[None],
        lambda t: torch.zeros(0, dtype=t.dtype),
    ]
    if old.is_floating_point():
        changes += [lambda t: torch.full_like(t, float("nan")), lambda t: t - float("inf")]
    else:  # the state of a generator
        changes += [torch.zeros_like, lambda t: torch.full_like(t, 255)]
    kind = rng.randrange(len(changes) + 2)
    if kind < len(changes):
        tensors[name] = changes[kind](old)
    else:
        del tensors[name]
        tensors |= {f"{name}_": old} if kind == len(changes) else {}
    return tensors


# Whole checkpoints -------------------------------------------------------------------------------


def forge_folder(real: Path, to: Path, rng: random.Random) -> str:
    """Write a damaged or forged copy of a checkpoint to `to`; returns what was done."""
    shutil.copytree(real, to)
    file = rng.choice(sorted(to.iterdir()))
    kind = rng.choice(["damaged", "damaged", "missing", "json", "json", "tensors", "tensors"])
    if kind == "damaged":
        file.write_bytes(damaged(file.read_bytes(), rng))
    elif kind == "missing":
        file.unlink()
    elif kind == "json":
        file = to / rng.choice(["config.json", "run.json", "run.json", "manifest.json"])
        told = json.loads(file.read_text())
        places = [p for p in spots(told) if p[-1] not in ("gptlib", "torch", "seconds", "waves")]
        path = rng.choice([p for p in places if file.name != "config.json" or p[0] != "config"
                           or p[-1] in ("n_head", "n_layer")])  # fmt: skip
        changed = with_one_changed(told, path, rng)
        file.write_text(json.dumps(changed))
        if file.name != "manifest.json":
            sign(to)
        kind = f"{kind} {path}: {json.dumps(changed)[:60]}"
    else:
        file = to / rng.choice(["model.safetensors", "run.safetensors"])
        changed = with_one_forged(load_file(file), rng)
        save_file({name: tensor.contiguous() for name, tensor in changed.items()}, file)
        sign(to)
    return f"{kind} {file.name}"


def forge_file(real: Path, to: Path, rng: random.Random) -> str:
    """The same for a checkpoint of the first kind."""
    kind = rng.choice(["damaged", "model", "run", "json", "optimizer", "layout"])
    if kind == "damaged":
        to.write_bytes(damaged(real.read_bytes()[:-60], rng))  # a zip file's last bytes say little
        return kind
    state = torch.load(real, weights_only=True)
    run = state["run"]
    if kind == "model":
        state["model"] = with_one_forged(state["model"], rng)
    elif kind == "run":
        key = rng.choice(["json", "optimizer", "data_rng", "cpu_rng"])
        run[key] = rng.choice([None, 7, "x", {}, torch.zeros(10, dtype=torch.uint8)])
    elif kind == "json":
        told = json.loads(run["json"])
        path = rng.choice([p for p in spots(told) if p[-1] != "seconds"])
        run["json"] = json.dumps(with_one_changed(told, path, rng))
    elif kind == "optimizer":
        number = rng.choice(sorted(run["optimizer"]["state"]))
        run["optimizer"]["state"][number] = with_one_forged(run["optimizer"]["state"][number], rng)
    else:
        name = rng.choice(sorted(state["model"]))
        state["model"][name] = rng.choice([
            state["model"][name].to_sparse(), torch.empty(3, 3, device="meta"),
            torch.zeros(1).expand(10**9), "a text", bytearray(10), {1, 2},
        ])  # fmt: skip
    torch.save(state, to)
    return kind


def bombs(folder: Path, real: Path) -> dict[str, Path]:
    """Files that are small and ask for much."""
    found = {name: folder / f"{name}.pt" for name in ("listed often", "packed", "numbers")}
    with zipfile.ZipFile(real) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    weights = max(parts, key=lambda name: len(parts[name]))
    with zipfile.ZipFile(found["listed often"], "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
        archive.filelist.extend([archive.getinfo(weights)] * 60_000)  # one content, many entries
    with zipfile.ZipFile(found["packed"], "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
        with archive.open(f"{weights}0", "w", force_zip64=True) as part:
            for _ in range(300):
                part.write(bytes(2**20))
    with zipfile.ZipFile(found["numbers"], "w") as archive:
        for name, content in parts.items():  # a pickle that asks for 4 GiB of zeros
            asking = b"\x80\x02\x96" + b"\xff" * 4 + bytes(4)
            archive.writestr(name, asking if name.endswith("data.pkl") else content)
    return found

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
GONE, FOREIGN = object(), object()  # in the place of a value: none, one under another name
DEFAULT = ("bias", "qkv_bias", "tied", "norm", "init", "waves", "gelu")  # as they are in a GPT
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
    """Where the values of a tree of dicts stand, and of the list of what was recorded."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if key not in FREE:
            yield (*path, key)
            if isinstance(value, dict) or key == "history":
                yield from spots(value, (*path, key))


def unseen(path: tuple, new: Any) -> bool:
    """Whether a real run could have had that value there, or none: nobody can tell."""
    root, name = path[0], path[-1]
    if root == "config":  # of the model; what an earlier version did not write is as usual
        return name in DEFAULT and (new is GONE or (name == "qkv_bias" and new is True))
    if path == ("history",):
        return new == []  # of a run that nobody looked at
    if root == "history" and len(path) == 2:
        return new is GONE  # one record less
    if root == "history" and name in ("train_loss", "val_loss"):  # another evaluator has others
        return new in (GONE, None, -1, 1e308)
    if root == "history" or name == "seconds":
        numbers = {"loss": (-1, 1e308), "lr": (1e308,), "grad_norm": (1e308,)}
        whole = () if root == "history" else (1e308,)  # no record is later than the end
        return new in numbers.get(name, whole if name == "seconds" else ())
    return False


def changes(tree: Any, path: tuple) -> Iterator[Any]:
    """The tree with the value at path taken away, under a foreign name, or of another kind."""
    *above, name = path
    for new in (GONE, FOREIGN, *WRONG):
        copy = json.loads(json.dumps(tree))
        place = copy
        for key in above:
            place = place[key]
        old = place[name]
        optional = path[0] == "history" and unseen(path, GONE)  # any name may stand there
        if unseen(path, new) or (new is FOREIGN and optional):
            continue
        if new in (GONE, FOREIGN):
            del place[name]
        if new is FOREIGN:
            place[f"{name}_"] = old
        elif new is not GONE:
            place[name] = new
        if json.dumps(copy) != json.dumps(tree):
            yield copy


def with_one_changed(tree: dict, rng: random.Random, left_out: tuple = ()) -> dict:
    """The tree with one of its values changed."""
    places = [path for path in spots(tree) if path[-1] not in left_out]
    return rng.choice(list(changes(tree, rng.choice(places))))


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
        changed = with_one_changed(json.loads(file.read_text()), rng, ("gptlib", "torch"))
        file.write_text(json.dumps(changed))
        if file.name != "manifest.json":
            sign(to)
        kind = f"{kind}: {json.dumps(changed)}"
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
        run["json"] = json.dumps(with_one_changed(told, rng))
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


def with_more(values: str, told: str) -> str:
    """A JSON object that has some values more, each with a comma behind it."""
    return f'{{"more": [{values}0], {told.lstrip()[1:]}'


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
    units = ("[],", "{},", '"a",', "1e9,", '{"a":1},')  # JSON that takes 10 to 25 times its size
    for number, unit in enumerate(units):
        for name in ("run.json", "config.json", "manifest.json"):
            where = found[f"{unit} in {name}"] = folder / f"json-{number}-{name}"
            shutil.copytree(real.with_suffix(""), where)
            n = 2**20 * (3 if name == "run.json" else 1) // len(unit)
            (where / name).write_text(with_more(unit * n, (where / name).read_text()))
            if name != "manifest.json":
                sign(where)
    found["in an old file"] = folder / "json.pt"
    state = torch.load(real, weights_only=True)
    state["run"]["json"] = with_more("[]," * 2**18, state["run"]["json"])
    torch.save(state, found["in an old file"])
    return found

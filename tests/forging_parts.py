"""Checkpoints in parts that were damaged or forged: each says how it was made and why it is none.

A real one in two parts is changed in one place. All but the damaged ones are signed anew, so that
the sums in the manifest fit what was changed.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from forging import sign
from safetensors import safe_open
from safetensors.torch import save_file

ONE, TWO = (f"shard-0000{n}-model-00001-of-00001.safetensors" for n in (1, 2))
SMALL, TOLD = "run.safetensors", "DCP_SHARDING_INFO"
ROWS, BIAS = "token_embedding.weight", "final_norm.bias"  # 7 rows in parts of 4 and 3; 8 and 8
AVERAGE = f"optimizer/{ROWS}.exp_avg"
WHOLE = "its parts do not make a whole"
NONE = "is not a whole checkpoint of gptlib: "

Forge = Callable[[Path, Path], None]


class Harm:
    """A pickle that makes a folder when it is read."""

    def __reduce__(self):
        return os.mkdir, (os.environ["HARM"],)


# Ways to change a folder -------------------------------------------------------------------------


def cut(name: str, share: float = 0.5) -> Forge:
    def forge(folder: Path, _: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(share * len(content))])

    return forge


def gone(*names: str) -> Forge:
    def forge(folder: Path, _: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return forge


def written(name: str, content: bytes | Callable[[], bytes]) -> Forge:
    def forge(folder: Path, _: Path) -> None:
        (folder / name).write_bytes(content() if callable(content) else content)

    return forge


def told(name: str, change: Callable[[Any], Any]) -> Forge:
    """A JSON file with other values: those that change(values) gives, or leaves in them."""

    def forge(folder: Path, _: Path) -> None:
        values = json.loads((folder / name).read_text())
        changed = change(values)
        (folder / name).write_text(json.dumps(values if changed is None else changed))

    return forge


def doubled(*places: dict) -> None:
    """Twice as many tokens in each of them."""
    for place in places:
        place["tokens"] *= 2


def without_key(values: dict, key: str) -> dict:
    return {name: value for name, value in values.items() if name != key}


def twice(name: str, key: str) -> Forge:
    """A key that stands twice in a JSON file."""

    def forge(folder: Path, _: Path) -> None:
        text = (folder / name).read_text().lstrip()
        (folder / name).write_text(f'{{"{key}": 1, {text[1:]}')

    return forge


def tensors(name: str, change: Callable[[dict], object]) -> Forge:
    """A file of tensors in which change(tensors by name) has changed some."""

    def forge(folder: Path, _: Path) -> None:
        with safe_open(folder / name, framework="pt") as file:
            about = file.metadata()
        found = _read(folder / name)
        change(found)
        found = {key: tensor.contiguous().clone() for key, tensor in found.items()}
        if about and TOLD in about:
            places = json.loads(about[TOLD])
            extra = {key: {"saved_offsets": [0] * t.dim()} for key, t in found.items()}
            about[TOLD] = json.dumps(extra | {key: places[key] for key in found if key in places})
        save_file(found, folder / name, about)

    return forge


def places(name: str, change: Callable[[dict], Any]) -> Forge:
    """A part whose header says something else of where its pieces lie."""

    def forge(folder: Path, _: Path) -> None:
        with safe_open(folder / name, framework="pt") as file:
            about = file.metadata()
        found = _read(folder / name)
        said = json.loads(about[TOLD])
        changed = change(said)
        save_file(
            found, folder / name, about | {TOLD: json.dumps(said if changed is None else changed)}
        )

    return forge


def lies(offsets: Any, part: str = TWO) -> Forge:
    """A piece of the embedding lies elsewhere than it should."""
    return places(part, lambda said: said.update({ROWS: {"saved_offsets": offsets}}))


def halved(said: dict) -> dict:
    """The places that pieces of four processes have."""
    return {
        name: {"saved_offsets": [n // 2 for n in place["saved_offsets"]]}
        for name, place in said.items()
    }


def header(name: str, change: Callable[[bytes], bytes]) -> Forge:
    """A part with another header, of whatever length."""

    def forge(folder: Path, _: Path) -> None:
        content = (folder / name).read_bytes()
        end = 8 + struct.unpack("<Q", content[:8])[0]
        new = change(content[8:end])
        (folder / name).write_bytes(struct.pack("<Q", len(new)) + new + content[end:])

    return forge


def hole(folder: Path, _: Path) -> None:
    """Rows 0 and 1 twice, 2 and 3 nowhere, 4 to 6 as before: as many numbers as there should be."""
    with safe_open(folder / ONE, framework="pt") as file:
        rows = file.get_tensor(ROWS)
    tensors(ONE, lambda found: found.update({ROWS: rows[:2]}))(folder, folder)
    about = {TOLD: json.dumps({ROWS: {"saved_offsets": [0, 0]}})}
    save_file({ROWS: rows[:2].clone()}, folder / "shard-3.safetensors", about)


def tiles(folder: Path, _: Path) -> None:
    """Pieces that overlap in a corner of a matrix, and leave another out."""
    with safe_open(folder / ONE, framework="pt") as file:
        rows = file.get_tensor(ROWS)
    tensors(ONE, lambda found: found.update({ROWS: rows[:, :8]}))(folder, folder)
    about = {TOLD: json.dumps({ROWS: {"saved_offsets": [0, 7]}})}
    save_file({ROWS: rows[:, :8].clone()}, folder / "shard-3.safetensors", about)


def from_four(name: str, place: str) -> Forge:
    """A part of the same run in four processes, in the place of ours or beside them."""
    return lambda folder, four: shutil.copy(four / name, folder / place)


def all_of_four(folder: Path, four: Path) -> None:
    for part in four.glob("shard-*"):
        shutil.copy(part, folder / f"four-{part.name}")


def both(*ways: Forge) -> Forge:
    def forge(folder: Path, four: Path) -> None:
        for way in ways:
            way(folder, four)

    return forge


def put(name: str, change: Callable[[torch.Tensor], Any], part: str = ONE) -> Forge:
    """One tensor of a part, changed."""
    return tensors(part, lambda found: found.update({name: change(found[name])}))


def filled(value: float, at: int = 3) -> Callable[[torch.Tensor], torch.Tensor]:
    def fill(tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.clone()
        tensor.view(-1)[min(at, tensor.numel() - 1)] = value
        return tensor

    return fill


def without(name: str) -> Forge:
    return both(*(tensors(part, lambda found: found.pop(name)) for part in (ONE, TWO)))


def more(name: str, value: torch.Tensor, part: str = SMALL) -> Forge:
    return tensors(part, lambda found: found.update({name: value}))


def as_both(kind: torch.dtype, name: str = ROWS) -> Forge:
    return both(*(put(name, lambda t: t.to(kind), part) for part in (ONE, TWO)))


def pickled() -> bytes:
    return pickle.dumps(Harm())


NAN, INF = float("nan"), float("inf")
STEP = f"optimizer/{ROWS}.step"

# What is done -> (how, what the error says). Signed anew, all of them.
FORGED: dict[str, tuple[Forge, str]] = {
    # Cut, missing, too many
    "a part cut in half": (cut(ONE), NONE),
    "a part cut by its last number": (cut(TWO, 0.999), NONE),
    "an empty part": (cut(ONE, 0), NONE),
    "the random numbers cut": (cut(SMALL), NONE),
    "the run cut": (cut("run.json"), "its part run.json is not JSON"),
    "the configuration cut": (cut("config.json"), "its part config.json is not JSON"),
    "the tokenizer cut": (cut("tokenizer.json"), "made with another tokenizer"),
    "no first part": (gone(ONE), WHOLE),
    "no second part": (gone(TWO), "another model|" + WHOLE),
    "no part": (gone(ONE, TWO), "another model"),
    "no random numbers": (gone(SMALL), "lacks the model's description or the run"),
    "no run": (gone("run.json"), "lacks the model's description or the run"),
    "no configuration": (gone("config.json"), "lacks the model's description or the run"),
    "a part once more": (lambda f, _: shutil.copy(f / ONE, f / "shard-3.safetensors"), WHOLE),
    # Another world's
    "a part of four in the place of ours": (from_four(ONE, ONE), WHOLE),
    "all parts of four beside our two": (all_of_four, WHOLE),
    "a third part, of four": (from_four(TWO, "shard-3.safetensors"), WHOLE),
    # Where pieces lie
    "no places": (lambda f, _: save_file(_read(f / TWO), f / TWO), WHOLE),
    "places of four processes": (places(TWO, halved), WHOLE),
    "pieces that have changed places": (both(lies([0, 0]), lies([4, 0], ONE)), WHOLE),
    "a hole": (hole, WHOLE),
    "tiles": (tiles, WHOLE),
    "a piece before the beginning": (lies([-4, 0]), NONE),
    "a piece beyond the end": (lies([5, 0]), WHOLE),
    "a piece far away": (lies([10**30, 0]), NONE),
    "a piece beside the others": (lies([4, 16]), WHOLE),
    "a piece at a half": (lies([3.5, 0]), NONE),
    "a piece at a word": (lies(["4", 0]), NONE),
    "a piece at true": (lies([True, 0]), NONE),
    "a piece at nothing": (lies(None), NONE),
    "a piece with one place too few": (lies([4]), NONE),
    "a piece with no place": (lies([]), NONE),
    "a piece with one place too many": (lies([4, 0, 0]), NONE),
    "a piece that is not told of": (places(TWO, lambda said: without_key(said, ROWS)), NONE),
    "places that are a list": (places(TWO, lambda said: [1]), NONE),
    "places that are no JSON": (header(TWO, lambda h: h.replace(b'{\\"token', b'\\"token')), NONE),
    # Headers
    "a header longer than the file": (written(ONE, struct.pack("<Q", 2**60) + bytes(9999)), NONE),
    "a header that is no JSON": (header(ONE, lambda h: b"x" + h[1:]), NONE),
    "a header that is nested too deep": (header(ONE, lambda h: b"[" * 100_000), NONE),
    "a shape that is larger than its numbers": (
        header(ONE, lambda h: h.replace(b'"shape":[4,16]', b'"shape":[9999999,16]', 1)),
        NONE,
    ),
    "a name twice in a header": (
        header(ONE, lambda h: h.replace(f'"{AVERAGE}_sq"'.encode(), f'"{ROWS}"'.encode(), 1)),
        NONE,
    ),
    # Names
    "a key twice in the run": (twice("run.json", "step"), "the key 'step' stands there more than"),
    "a key twice in the configuration": (twice("config.json", "model"), "the key 'model' stands"),
    "a weight in two files": (more(ROWS, torch.zeros(7, 16)), WHOLE),
    "a weight under a foreign name": (more("head.bias", torch.zeros(7)), "another model"),
    "a weight that is missing": (without(BIAS), "another model"),
    "an average that is missing": (without(AVERAGE), "The saved run has"),
    "an average of nothing": (more("optimizer/x.exp_avg", torch.zeros(3)), "The saved run has"),
    "a tensor in the history": (more("history/x", torch.zeros(3)), "it holds history/x"),
    "a tensor in the settings": (more("config/lr", torch.zeros(3)), "it holds config/lr"),
    "a tensor in the sums of the data": (more("data/x", torch.zeros(3)), "it holds data/x"),
    "a tensor in the step": (more("step/x", torch.zeros(3)), "it holds step/x"),
    "a tensor in nothing": (more("more/x", torch.zeros(3)), "it holds more/x"),
    "random numbers of something else": (more("random/dice", torch.zeros(3)), "dice"),
    "no random numbers of the data": (
        tensors(SMALL, lambda found: found.pop("random/data")),
        "has other random numbers: data",
    ),
    # Values
    "nan in a weight": (put(ROWS, filled(NAN)), "holds nan or inf"),
    "inf in a weight": (put(BIAS, filled(-INF), TWO), "holds nan or inf"),
    "nan in an average": (put(AVERAGE, filled(NAN), TWO), "holds nan or inf"),
    "squares below 0": (put(f"{AVERAGE}_sq", filled(-1.0)), "holds squares below 0"),
    "a step that is nan": (put(STEP, filled(NAN), SMALL), "The saved run"),
    "a step and a half": (put(STEP, filled(1.5), SMALL), r"step 1\.5"),
    "a step to come": (put(STEP, filled(3.0), SMALL), r"step 3\.0"),
    "random numbers that are zeros": (put("random/cpu", torch.zeros_like, SMALL), "random state"),
    "ten random bytes": (put("random/data", lambda t: t[:10], SMALL), "random state"),
    # Kinds and shapes
    "a weight of whole numbers": (as_both(torch.int32), "another model"),
    "a weight of complex numbers": (as_both(torch.complex64), "another model"),
    "an average of half precision": (as_both(torch.float16, AVERAGE), "as torch.float16"),
    "a piece of whole numbers": (put(ROWS, lambda t: t.to(torch.int32), TWO), "of one kind"),
    "a piece of complex numbers": (put(ROWS, lambda t: t.to(torch.complex64), TWO), "of one kind"),
    "a piece of doubles": (put(ROWS, lambda t: t.double(), TWO), "of one kind"),
    "a step of whole numbers": (put(STEP, lambda t: t.long(), SMALL), "as torch.int64"),
    "a step with an axis": (put(STEP, lambda t: t[None], SMALL), r"as \(1,\) and not \(\)"),
    "random numbers that are not bytes": (
        put("random/cpu", lambda t: t.float(), SMALL),
        "random state",
    ),
    "a piece on its side": (put(ROWS, lambda t: t.T, TWO), NONE),
    "a piece with one axis more": (put(ROWS, lambda t: t[None], TWO), NONE),
    "a piece of fewer columns": (put(ROWS, lambda t: t[:, :8], TWO), WHOLE),
    "a piece of one row more": (
        put(ROWS, lambda t: torch.cat([t, t[:1]]), TWO),
        r"is \(8, 16\) in the file",
    ),
    "a bias with an axis more": (
        both(*(put(BIAS, lambda t: t[None], part) for part in (ONE, TWO))),
        NONE,
    ),
    "an empty piece": (put(ROWS, lambda t: t[:0], TWO), "another model|" + WHOLE),
    # Programs
    "a program for a part": (written(ONE, pickled), NONE),
    "a program for the random numbers": (written(SMALL, pickled), NONE),
    "a program for the run": (written("run.json", pickled), "its part run.json is not JSON"),
    "a program for the configuration": (written("config.json", pickled), "config.json is not JSON"),
    "a program for the tokenizer": (written("tokenizer.json", pickled), "another tokenizer"),
    "torch.save for a part": (lambda f, _: torch.save({ROWS: Harm()}, f / ONE), NONE),
    # What is said
    "a run that is a list": (written("run.json", b"[1]"), "its run.json"),
    "a run that is null": (written("run.json", b"null"), "its run.json"),
    "a run without a step": (
        told("run.json", lambda run: without_key(run, "step")),
        "other entries",
    ),
    "a run at a later step": (
        told("run.json", lambda run: run.update(step=4)),
        "has a record of 32 tokens at step 1",
    ),
    "a run that has read twice as much": (
        told("run.json", lambda run: doubled(run, *run["history"])),
        "has seen 128 tokens, not 64",
    ),
    "a run of another rate": (told("run.json", lambda run: run["config"].update(lr=1)), "lr must"),
    "a run of other data": (
        told("run.json", lambda run: run["data"].update(train_data="0" * 64)),
        "train_data must be",
    ),
    "a run with an average in it": (
        told("run.json", lambda run: run.update(optimizer={"x": 1})),
        "its run.json",
    ),
    "a configuration that is a list": (written("config.json", b"[1]"), "its config.json"),
    "a configuration that is null": (written("config.json", b"null"), "its config.json"),
    "another class": (told("config.json", lambda c: c.update(model="Own")), "its class is Own"),
    "a list for a class": (
        told("config.json", lambda c: c.update(model=[1])),
        "describes no model",
    ),
    "other heads": (told("config.json", lambda c: c["config"].update(n_head=4)), "n_head is 4"),
    "another format": (
        told("manifest.json", lambda m: m.update(format="gptlib checkpoint 2")),
        "no model",
    ),
    "no format": (told("manifest.json", lambda m: without_key(m, "format")), "not marked as"),
}

# Not signed: what happens to files on their way.
DAMAGED: dict[str, tuple[Forge, str]] = {
    **{
        f"{name} cut": (cut(name), f"its part {name} has changed")
        for name in (ONE, TWO, SMALL, "run.json", "config.json", "tokenizer.json")
    },
    **{
        f"{name} missing": (gone(name), f"its part {name} is missing")
        for name in (ONE, TWO, SMALL, "run.json", "config.json", "tokenizer.json")
    },
    "the manifest cut": (cut("manifest.json"), "its manifest.json is not JSON"),
    "the manifest missing": (gone("manifest.json"), "it has no manifest.json"),
    "a program for the manifest": (written("manifest.json", pickled), "manifest.json is not JSON"),
    "parts that have changed names": (
        lambda f, _: [os.rename(f / a, f / b) for a, b in ((ONE, "x"), (TWO, ONE), ("x", TWO))],
        f"its part {ONE} has changed",
    ),
    "a part that nobody lists": (
        lambda f, _: shutil.copy(f / ONE, f / "more.safetensors"),
        r"it has a part that is not its own, more\.safetensors",
    ),
    "a file twice in the manifest": (twice("manifest.json", "files"), "the key 'files' stands"),
    "a file outside of the folder": (
        told("manifest.json", lambda m: m["files"].update({"../x": m["files"].pop(SMALL)})),
        "its manifest.json lists no files",
    ),
}


def _read(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


def forge_parts(real: Path, four: Path, to: Path, name: str) -> str:
    """Write a damaged or forged copy of a checkpoint in parts to `to`; returns what is to be said.

    four: the checkpoint of a like run in four processes.
    """
    shutil.copytree(real, to)
    forge, reason = (FORGED | DAMAGED)[name]
    forge(to, four)
    if name in FORGED:
        listed = json.loads((to / "manifest.json").read_text())
        names = sorted(file.name for file in to.iterdir() if file.name != "manifest.json")
        listed["files"] = dict.fromkeys(names)
        (to / "manifest.json").write_text(json.dumps(listed))
        sign(to)
    return reason

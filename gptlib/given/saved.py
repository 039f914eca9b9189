"""Given, not built: what stands at a path is read as a checkpoint, or refused with one ValueError.

Checkpoints are folders. The first ones were single files, written by torch.save: a zip archive with
a pickle in it, and a pickle is a program. This reads the few things that such a file needs, dicts,
plain values and tensors, and refuses all others. How much is read is known before: never more than
the size of the file.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gptlib.given.checks.saved import check_form
from gptlib.given.files import followed, parse_frugal
from gptlib.given.folders import read_whole
from gptlib.given.run_state import AVERAGES, plain_name, tied_names
from gptlib.given.shards import FORMAT as PIECES
from gptlib.given.shards import in_parts, read_pieces

FORMAT = "gptlib checkpoint 1"
PICKLED = (
    "PROTO MARK STOP EMPTY_DICT SETITEM SETITEMS EMPTY_LIST APPEND APPENDS EMPTY_TUPLE TUPLE "
    "TUPLE1 TUPLE2 TUPLE3 BINUNICODE BININT BININT1 BININT2 LONG1 BINFLOAT NONE NEWTRUE NEWFALSE "
    "BINPUT LONG_BINPUT BINGET LONG_BINGET GLOBAL REDUCE BUILD BINPERSID"
)
DTYPES = {
    "FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool, "ComplexFloatStorage": torch.complex64,
}  # fmt: skip


def read_saved(
    path: str | os.PathLike[str],
    model: nn.Module,
    read_parts: Callable[[Path, dict[str, Any]], dict[str, Any]],
) -> dict[str, Any]:
    """The content of a checkpoint: read_parts(folder, manifest) of a folder that is whole.

    An old single file gives the same, with the model's names for what it kept by number.

    Errors: FileNotFoundError; ValueError for everything that is no whole checkpoint.
    """
    try:
        if (file := followed(path)).is_file():
            saved = read_single_file(file, model)
        else:
            saved = read_whole(path, lambda at, told: _read_folder(at, told, model, read_parts))
            if saved["run"] and saved["run"]["data"] is None:  # as in the old files
                raise ValueError("its run has no sums of the data")
        if not all(map(torch.is_tensor, saved["model"].values())):
            raise ValueError("its model has parts that are no tensors")
        if saved["config"] is not None and not isinstance(saved["config"]["model"], str):
            raise ValueError("its config.json describes no model")
        if saved["run"] is not None:
            check_form(saved["run"])
        return saved
    except FileNotFoundError as error:
        raise FileNotFoundError(f"There is no checkpoint at {path}.") from error
    except Exception as error:  # json, safetensors, zipfile and pickle each raise several kinds
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        if isinstance(error, (AttributeError, KeyError, TypeError)):
            reason = f"something in it has another form than it should ({error!r})"
        raise ValueError(
            f"{path} is not a whole checkpoint of gptlib: {reason.removesuffix('.')}. Take an "
            f"earlier one; a file from elsewhere may have been cut short on its way."
        ) from error


def _read_folder(
    folder: Path,
    manifest: dict[str, Any],
    model: nn.Module,
    read_parts: Callable[[Path, dict[str, Any]], dict[str, Any]],
) -> dict[str, Any]:
    """A whole checkpoint, or one in parts; into a model in parts both are read piece by piece."""
    pieces = manifest.get("format") == PIECES
    if pieces or (in_parts(model) and "run.json" in manifest["files"]):
        return read_pieces(folder, manifest, model)
    return read_parts(folder, manifest)


def read_single_file(path: Path, model: nn.Module) -> dict[str, Any]:
    """The content of an old checkpoint, in the form that checkpoints have now.

    AdamW's averages were kept by number: they get the names that the model has for them.

    Errors: ValueError, and whatever zipfile and pickle raise, for any other file.
    """
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        plain = all(part.compress_type == zipfile.ZIP_STORED for part in parts)
        names = {part.filename for part in parts}
        total = sum(part.file_size for part in parts)
        if not plain or len(names) != len(parts) or total > path.stat().st_size:
            raise ValueError("its parts are packed as torch.save never does it")
        (pickled,) = (name for name in names if name.endswith("/data.pkl"))
        state = _Reader(archive, pickled).load()
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise ValueError(f"it is not marked as {FORMAT!r}")
    _check_keys(state, "format model run")
    weights = {plain_name(name): tensor for name, tensor in state["model"].items()}
    for name, kept in tied_names(model).items():  # tied weights stood there under both names
        if name not in weights:
            raise ValueError(f"{name} is missing")
        if kept in weights and weights[name].data_ptr() == weights[kept].data_ptr():
            del weights[name]
    run = None if state["run"] is None else _run_state(state["run"], model)
    return {"model": weights, "config": None, "tokenizer": None, "run": run}


def _run_state(old: dict[str, Any], model: nn.Module) -> dict[str, Any]:
    """The state of a run as `Run.state_dict` gives it now."""
    _check_keys(old, "json optimizer data_rng cpu_rng cuda_rng")
    told, optimizer = parse_frugal(old["json"]), old["optimizer"]
    _check_keys(told, "config history place")
    _check_keys(optimizer, "state param_groups")
    place = told.pop("place")
    _check_keys(place, "step tokens seconds")
    trained = [(plain_name(n), p) for n, p in model.named_parameters() if p.requires_grad]
    trained.sort(key=lambda named: named[1].dim() < 2)  # matrices were first
    if not optimizer["state"] and place["step"] == 0:  # before its first update AdamW keeps nothing
        zeros = [{k: torch.zeros_like(p) for k in AVERAGES[1:]} for _, p in trained]
        optimizer["state"] = {i: {"step": torch.zeros(()), **z} for i, z in enumerate(zeros)}
    names = [name for name, _ in trained]
    return {
        **told,
        **place,
        "data": None,  # not kept then
        "optimizer": {
            f"{names[number] if number < len(names) else number}.{kind}": tensor
            for number, kinds in optimizer["state"].items()
            for kind, tensor in kinds.items()
        },
        "random": {
            name.removesuffix("_rng"): old[name]
            for name in ("data_rng", "cpu_rng", "cuda_rng")
            if old[name] is not None
        },
    }


def _check_keys(entries: Any, wanted: str) -> None:
    if not isinstance(entries, dict) or entries.keys() != set(wanted.split()):
        raise ValueError(f"it has other entries than {wanted}")


class _Reader(pickle._Unpickler):
    """Reads the pickle of an old checkpoint; whatever else a pickle can ask for is an error."""

    dispatch = {  # noqa: RUF012
        code: pickle._Unpickler.dispatch[code]
        for code in (getattr(pickle, name)[0] for name in PICKLED.split())
    }

    def load_build(self) -> None:
        """Pass over what a state_dict says of itself; nothing else has something to add."""
        stack: list[Any] = self.stack  # type: ignore[attr-defined] # pickle's own, in Python
        stack.pop()
        if type(stack[-1]) is not _Names:
            raise ValueError("it gives attributes to something that has none")

    dispatch[pickle.BUILD[0]] = load_build  # type: ignore[assignment]

    def __init__(self, archive: zipfile.ZipFile, pickled: str):
        super().__init__(io.BytesIO(archive.read(pickled)))
        self.archive, self.root = archive, pickled.removesuffix("data.pkl")
        self.rows: dict[str, torch.Tensor] = {}
        order = f"{self.root}byteorder"
        if order in archive.namelist() and archive.read(order).decode() != sys.byteorder:
            raise ValueError("its numbers are in the other order of bytes")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return _Names
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        raise ValueError(f"it asks for {module}.{name}, which no checkpoint needs")

    def persistent_load(self, pid: Any) -> torch.Tensor:
        """A row of numbers, from the part of the archive that holds it."""
        kind, dtype, key, _, count = pid
        if key not in self.rows:
            content = bytearray(self.archive.read(f"{self.root}data/{key}"))
            if kind != "storage" or len(content) != count * dtype.itemsize:
                raise ValueError(f"its part data/{key} has another size than it should")
            row = torch.frombuffer(content, dtype=dtype) if count else torch.empty(0, dtype=dtype)
            self.rows[key] = row
        return self.rows[key]


class _Names(dict):
    """Stands for the OrderedDict of a state_dict."""


def _tensor(row: torch.Tensor, offset: int, size: Any, stride: Any, *_: Any) -> torch.Tensor:
    """A dense tensor that lies within its row."""
    if math.prod(size) > row.numel():
        raise ValueError("it has a tensor that is larger than its numbers")
    return torch.as_strided(row, size, stride, offset)

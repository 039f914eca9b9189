"""Given, not built: folders that are written whole or not at all, with a list of what is in them.

A folder cannot be replaced in one go as a file can: the old one is moved away, then the new one
moved in. Who is killed in between leaves the old one under its hidden name, where reading finds it.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from gptlib.given.files import (
    beside,
    flush,
    followed,
    new_beside,
    parse_frugal,
    plain,
    remove,
    remove_leftovers,
    those_beside,
)

MANIFEST = "manifest.json"
MOST_BYTES = 2**20  # of a manifest: it is read before anything is known about the folder
ATTEMPTS = 20  # a reader whose folder is replaced under its hands begins again

Result = TypeVar("Result")


@contextmanager
def replacing_folder(
    path: str | os.PathLike[str], told: Mapping[str, Any] | None = None, /, **about: Any
) -> Iterator[Path]:
    """A new, empty folder to write files into; at the end it becomes `path`, or is removed.

    A manifest is added: `about`, what `told` holds at the end, and of each file its size and
    SHA-256. All is on the disk before
    the folder takes the name. What holds for `replacing` of a file holds here too. Files of others
    in the old folder are kept; an old checkpoint that was a single file is replaced.

    Errors: ValueError as in `check_place`; OSError where the disk or its rights forbid it.
    """
    target = check_place(path)
    with new_beside(target, Path.mkdir) as new:
        yield new
        files = {file.name: _told_of(file) for file in sorted(new.iterdir())}
        manifest = {**about, **(told or {}), "files": files}
        text = json.dumps(manifest, indent=1, default=plain)  # ends with a brace, or was cut
        (new / MANIFEST).write_text(text, encoding="utf-8")
        for file in [*new.iterdir(), new]:
            like = target / file.name if file != new else target
            with suppress(FileNotFoundError):  # new, or just now moved away by another process
                if target.is_dir():
                    os.chmod(file, like.stat().st_mode & 0o7777)
            flush(file)
        _swap(new, target)
    for old in those_beside(target, "old"):
        _keep_foreign(old, target)
        with suppress(OSError):  # first what makes it a checkpoint, so that half of it is none
            (old / MANIFEST).unlink()
        remove(old)


def check_place(path: str | os.PathLike[str]) -> Path:
    """Where a folder is to be written, links followed.

    It may be new, empty, or hold what was saved there before; its parent is there and can be
    written to. What processes that were killed had begun is removed.

    Errors: ValueError if it cannot be written, or is something else.
    """
    target = followed(path)
    if not target.parent.is_dir():
        raise ValueError(f"path must lie in a folder that exists; {target.parent} does not.")
    if not _is_ours(target):
        raise ValueError(
            f"path must name a new folder, or one that was saved before; {path} is something "
            f"else, and saving would replace it. Name a folder inside it, or remove it yourself."
        )
    remove_leftovers(target)
    try:
        with new_beside(target, Path.mkdir):
            return target
    except OSError as error:
        raise ValueError(f"path must be in a folder that can be written to: {error}") from error


def _is_ours(target: Path) -> bool:
    """Whether what stands there may be replaced; looked at again while others swap it."""
    for _ in range(ATTEMPTS):
        with suppress(FileNotFoundError):
            if not target.is_dir():
                ours = not target.exists() or _is_torch_file(target)
            else:
                ours = not any(target.iterdir()) or (target / MANIFEST).is_file()
            if ours:
                return True
        time.sleep(0.01)
    return False


def is_saved(path: str | os.PathLike[str]) -> bool:
    """Whether there is something to read, at `path` or moved away from it a moment ago."""
    return _standing(followed(path)) is not None


def read_whole(
    path: str | os.PathLike[str], read: Callable[[Path, dict[str, Any]], Result]
) -> Result:
    """What read(folder, manifest) gives; every file is as the manifest says, before and after.

    Errors: FileNotFoundError; ValueError for a manifest that is none and for a file that is
    missing, of another size or with another sum.
    """
    target = followed(path)
    for attempt in range(ATTEMPTS):
        folder, before = _standing(target), None
        try:
            if folder is None:
                raise FileNotFoundError(f"There is nothing at {path}.")
            before = _mark(folder)
            manifest = _manifest(before and before[0])
            for name, told in manifest["files"].items():
                _check_file(folder / name, told)
            result = read(folder, manifest)
        except Exception:  # those who read raise several kinds
            # Wrong, or replaced while it was read?
            now = _standing(target)
            # In the middle of a swap the same folder stands under its hidden name.
            same = now == folder and (now is None or _mark(now) == before)
            if same or attempt == ATTEMPTS - 1:
                raise
            time.sleep(0.01 * (attempt + 1))  # longer than a swap takes
            continue
        if _mark(folder) == before:
            return result
    raise ValueError(f"{path} is replaced faster than it can be read: try again later.")


def read_json(file: Path) -> Any:
    """The content of a JSON file, read by `parse_frugal`. Errors: ValueError names a bad one."""
    try:
        return parse_frugal(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"its part {file.name} is not JSON: {error}") from error


def _standing(target: Path) -> Path | None:
    """The folder itself, or the newest that was moved away and never replaced."""
    if target.exists():
        return target
    moved = []
    for old in those_beside(target, "old"):
        with suppress(FileNotFoundError):  # removed since it was listed
            moved.append((old.stat().st_mtime_ns, old))
    if moved:
        return max(moved)[1]
    return target if target.exists() else None  # the swap may have ended meanwhile


def _swap(new: Path, target: Path) -> None:
    """Move the old folder away and the new one in, whoever else does the same."""
    while True:
        old = beside(target, "old")
        with suppress(FileNotFoundError):
            os.rename(target, old)
        try:
            os.rename(new, target)
        except OSError:
            if target.exists():  # another process has put its own there meanwhile
                continue
            with suppress(OSError):
                os.rename(old, target)
            raise
        flush(target.parent)
        return


def _keep_foreign(old: Path, target: Path) -> None:
    """Move what somebody else has put into the old folder over to the new one."""
    with suppress(OSError, ValueError):
        ours = {MANIFEST, *_manifest(_manifest_bytes(old))["files"]}
        for file in old.iterdir():
            if file.name not in ours and not (target / file.name).exists():
                os.rename(file, target / file.name)


def _told_of(file: Path) -> dict[str, Any]:
    """What the manifest says of a file: its size in bytes and its SHA-256."""
    with file.open("rb") as content:
        return {
            "bytes": file.stat().st_size,
            "sha256": hashlib.file_digest(content, "sha256").hexdigest(),
        }


def _check_file(file: Path, told: Any) -> None:
    """A file is an ordinary one and as the manifest says."""
    if not file.is_file():
        raise ValueError(f"its part {file.name} is missing")
    if told["bytes"] != file.stat().st_size or _told_of(file) != told:
        raise ValueError(f"its part {file.name} has changed")


def _mark(folder: Path) -> tuple[bytes | None, int, int] | None:
    """By what a folder is told from one with the same content that has taken its place."""
    try:
        told = (folder / MANIFEST).stat()
    except OSError:
        return None
    return _manifest_bytes(folder), told.st_ino, told.st_mtime_ns


def _manifest_bytes(folder: Path) -> bytes | None:
    """What stands in the manifest, None where there is none; not more than one may hold."""
    file = folder / MANIFEST
    try:
        if not file.is_file():
            return None
        with file.open("rb") as content:
            return content.read(MOST_BYTES + 1)
    except OSError:
        return None


def _manifest(content: bytes | None) -> dict[str, Any]:
    """The manifest that stands in these bytes."""
    if content is None:
        raise ValueError(f"it has no {MANIFEST}")
    if len(content) > MOST_BYTES:
        raise ValueError(f"its {MANIFEST} is too long")
    try:
        manifest = parse_frugal(content.decode("utf-8"))
    except ValueError as error:
        raise ValueError(f"its {MANIFEST} is not JSON: {error}") from error
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict) or not all(
        Path(name).name == name and isinstance(told, dict) and told.keys() == {"bytes", "sha256"}
        for name, told in files.items()
    ):
        raise ValueError(f"its {MANIFEST} lists no files")
    return manifest


def _is_torch_file(path: Path) -> bool:
    """Whether a file is a single-file checkpoint: a zip archive with a pickle of tensors."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/data.pkl") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False

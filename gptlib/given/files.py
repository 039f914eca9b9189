"""Given, not built: files that are written whole or not at all, and objects that are kept as JSON.

Whatever happens while a file is written, a full disk, a kill, the power, what stands under its name
afterwards is the old content or the whole new one.
"""

from __future__ import annotations

import glob
import hashlib
import inspect
import json
import os
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

TIMES = 6  # what reading a JSON file may take, in sizes of the file
LEFTOVER_AGE = 3600  # seconds; where there are no locks, an older temporary is nobody's


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A new, empty file to write to; it becomes `path` at the end, or is removed if writing failed.

    It is on the disk before it takes the name, so that not even a power cut leaves half of it. A
    link at `path` stays a link, and what it leads to is replaced; the old file's mode is kept. Two
    that save to one path at once each write a file of their own, and the last one stays. What a
    process that was killed has left behind is removed by the next save to the same path.

    Errors: ValueError for a folder or a device; OSError where the disk or its rights forbid it.

    with replacing("notes.txt") as new: new.write_text("all of it")
    """
    target = followed(path)
    if target.exists() and not target.is_file():
        raise ValueError(f"path must name a file, and {path} is none: name a file in a folder.")
    remove_leftovers(target)
    with new_beside(target, lambda temporary: temporary.touch(exist_ok=False)) as temporary:
        yield temporary
        if target.exists():
            os.chmod(temporary, target.stat().st_mode & 0o7777)
        flush(temporary)
        os.replace(temporary, target)
        flush(target.parent)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file in UTF-8, whole or not at all; its lines end as they do in `text`."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def plain(value: Any) -> Any:
    """A number, tensor or array as what JSON holds: json.dumps(…, default=plain)."""
    return value.tolist() if hasattr(value, "tolist") else float(value)


def as_json(told: Any, name: str) -> str:
    """Plain values as the text of a JSON file of this name, numbers of arrays and tensors included.

    as_json({"step": 3}, "run.json") -> '{"step": 3}\\n'

    Errors: ValueError for what could not be read again.
    """
    text = json.dumps(told, default=plain) + "\n"
    try:
        check_frugal(text)
    except ValueError as error:
        raise ValueError(
            f"{name} could not be read again: {error}. Let evaluate give numbers, not lists."
        ) from error
    return text


def flush(path: str | os.PathLike[str]) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk itself."""
    if os.path.isdir(path) and os.name == "nt":
        return  # Windows keeps the names of a folder safe by itself
    handle = os.open(path, os.O_RDONLY if os.path.isdir(path) else os.O_RDWR)
    try:
        if hasattr(fcntl, "F_FULLFSYNC"):  # macOS: fsync alone stops at the drive's own cache
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
        else:
            os.fsync(handle)
    finally:
        os.close(handle)


def followed(path: str | os.PathLike[str]) -> Path:
    """The absolute path that a path leads to: `~` is the user's folder, and links are followed."""
    try:
        return Path(os.path.realpath(Path(path).expanduser()))
    except RuntimeError as error:  # there is no such user
        raise ValueError(f"path must name a place on this machine; got {path}: {error}") from error


@contextmanager
def new_beside(target: Path, create: Callable[[Path], None]) -> Iterator[Path]:
    """A file or folder under a new name beside `target`, locked; removed if it is there at the end.

    `create` must refuse a name that is taken, so that a link which somebody laid there is not
    followed.
    """
    while True:
        temporary = beside(target, "tmp")
        create(temporary)
        with _lock(temporary, wait=True):
            if not temporary.exists():  # it was taken for a leftover before it had its lock
                continue
            try:
                yield temporary
            finally:
                remove(temporary)
            return


def beside(target: Path, ending: str) -> Path:
    """A new hidden name beside `target`: on the same disk, where renaming does not copy."""
    return target.with_name(f".{target.name}.{secrets.token_hex(6)}.{ending}")


def those_beside(target: Path, ending: str) -> list[Path]:
    """The files and folders that stand under such names."""
    found = target.parent.glob(f".{glob.escape(target.name)}.{'?' * 12}.{ending}")
    return [path for path in found if path.is_file() or path.is_dir()]


def remove_leftovers(target: Path) -> None:
    """Remove the temporaries beside `target` whose writers are gone."""
    for left in those_beside(target, "tmp"):
        with suppress(OSError), _lock(left, wait=False) as held:
            if held or (held is None and time.time() - left.stat().st_mtime > LEFTOVER_AGE):
                remove(left)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it; a link goes and what it leads to stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)  # another process may remove the same
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _lock(path: Path, wait: bool) -> Iterator[bool | None]:
    """Hold the lock of a file or folder. False: another process has it; None: there are no locks.

    The system itself drops a lock when its owner dies.
    """
    handle, held = None, None
    if fcntl is not None:
        with suppress(FileNotFoundError):  # removed meanwhile
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        if handle is not None:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                held = True
            except BlockingIOError:
                held = False
            except OSError:  # a network drive without locks
                held = None
        yield held
    finally:
        if handle is not None:
            os.close(handle)


class JsonFile:
    """A class whose objects are saved as JSON and built again from it.

    A subclass gives `_state()`, a dict of what JSON can hold, and `_from_state(**state)`, which
    checks every value: the file may come from anywhere. Nothing in it is executed.
    """

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the object to `path` as JSON, whole or not at all."""
        write_text(path, self._json() + "\n")

    def fingerprint(self) -> str:
        """The SHA-256, 64 hex digits, of what `save` writes: equal objects have equal ones."""
        return hashlib.sha256(self._json().encode()).hexdigest()

    def _json(self) -> str:
        return json.dumps({"type": type(self).__name__, **self._state()})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what `save` wrote. Errors: ValueError says what is wrong with any other file.

        While it is read, memory is taken for at most some sixty times the size of the file.
        """
        try:
            state = parse_json(followed(path).read_text(encoding="utf-8"))
            if not isinstance(state, dict) or state.pop("type", None) != cls.__name__:
                raise ValueError(f'it is no JSON object with "type": "{cls.__name__}"')
            expected = set(inspect.signature(cls._from_state).parameters)
            if wrong := expected ^ set(state):
                raise ValueError(f"missing or not known: {', '.join(sorted(wrong)[:5])}")
            return cls._from_state(**state)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is not a saved {cls.__name__}: {error}") from error

    def _state(self) -> dict[str, Any]:
        raise NotImplementedError

    @classmethod
    def _from_state(cls, **state: Any) -> Self:
        raise NotImplementedError


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text that somebody else may have written.

    Errors: ValueError for what is not well formed, nested too deep, or has a key twice.

    parse_json('{"a": [1, 2]}') -> {"a": [1, 2]}
    """
    try:
        return json.loads(text, object_pairs_hook=_once)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def parse_frugal(text: str) -> Any:
    """The same for a text whose values take little memory beside it, such as dicts of numbers.

    A list of empty lists takes some 25 times its text; here it is at most `TIMES`, and 2 MiB.
    Errors: ValueError as in `parse_json`, and for a text of too many small values.

    parse_frugal('{"loss": 1.5}') -> {"loss": 1.5}
    """
    check_frugal(text)
    return parse_json(text)


def check_frugal(text: str) -> None:
    """What `parse_frugal` asks for: counted before anything of the text is read."""
    containers, values = text.count("[") + text.count("{"), text.count(",")
    if 100 * containers + 40 * values > TIMES * len(text) + 2**21:  # bytes that each of them takes
        raise ValueError("it holds so many small values that it would take too much memory")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys are all different; which of two values was meant nobody can tell."""
    state = dict(pairs)
    if len(state) < len(pairs):
        twice = next(key for key, n in Counter(key for key, _ in pairs).items() if n > 1)
        raise ValueError(f"the key {twice!r} stands there more than once")
    return state

"""Given, not built: files that are written whole or not at all, and objects that are kept as JSON.

Whatever happens while a file is written, a full disk, a kill, the power, what stands under its name
afterwards is the old content or the whole new one.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

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
    target = Path(os.path.realpath(Path(path).expanduser()))
    if target.exists() and not target.is_file():
        raise ValueError(f"path must name a file, and {path} is none: name a file in a folder.")
    remove_leftovers(target)
    temporary, handle = _new_file(target)
    try:
        yield temporary
        if target.exists():
            os.chmod(temporary, target.stat().st_mode & 0o7777)
        flush(temporary)
        os.replace(temporary, target)
        flush(target.parent)
    finally:
        temporary.unlink(missing_ok=True)
        if handle is not None:
            os.close(handle)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file in UTF-8, whole or not at all; its lines end as they do in `text`."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


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


def remove_leftovers(target: Path) -> None:
    """Remove the temporaries beside `target` whose writers are gone."""
    for left in target.parent.glob(f".{_escaped(target.name)}.*.tmp"):
        with suppress(OSError):  # another process may have removed it, or finished, meanwhile
            if _is_nobodys(left):
                left.unlink()


def _is_nobodys(temporary: Path) -> bool:
    """Whether no process writes this file any more; the system drops a lock when its owner dies."""
    if temporary.is_symlink() or not temporary.is_file():
        return False
    if fcntl is None:
        return time.time() - temporary.stat().st_mtime > LEFTOVER_AGE
    with temporary.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _new_file(target: Path) -> tuple[Path, int | None]:
    """An empty file beside `target` that was not there before, and the handle that locks it."""
    while True:
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
        # Exclusive: a link that somebody laid under this name is refused and not followed.
        handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
        if fcntl is None:
            os.close(handle)  # an open file cannot be renamed there
            return temporary, None
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # else it was taken for a leftover before it had its lock
            return temporary, handle
        os.close(handle)


def _escaped(name: str) -> str:
    """A file name as a pattern that matches itself alone."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)


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
            text = Path(path).read_text(encoding="utf-8")
            state = json.loads(text, object_pairs_hook=_once)
            if not isinstance(state, dict) or state.pop("type", None) != cls.__name__:
                raise ValueError(f'it is no JSON object with "type": "{cls.__name__}"')
            expected = set(inspect.signature(cls._from_state).parameters)
            if wrong := expected ^ set(state):
                raise ValueError(f"missing or not known: {', '.join(sorted(wrong)[:5])}")
            return cls._from_state(**state)
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"{path} is not a saved {cls.__name__}: {error}") from error

    def _state(self) -> dict[str, Any]:
        raise NotImplementedError

    @classmethod
    def _from_state(cls, **state: Any) -> Self:
        raise NotImplementedError


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys are all different; which of two values was meant nobody can tell."""
    state = dict(pairs)
    if len(state) < len(pairs):
        twice = next(key for key, n in Counter(key for key, _ in pairs).items() if n > 1)
        raise ValueError(f"the key {twice!r} stands there more than once")
    return state

"""Given, not built: bring a public text to this machine, whole or not at all.

A download goes into a file ending in `.part`, can be continued after an interruption, and gets its
real name only when its size and its SHA-256 sum are right.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import requests
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

from gptlib.given.checks.numbers import is_number
from gptlib.given.checks.numbers import is_whole as is_whole_number
from gptlib.given.parts import discard, give_name, held, kept_tag, remember_tag
from gptlib.given.reaching import BrokenOff, Clock, Refused
from gptlib.given.sources import SOURCES, Source
from gptlib.given.web import ask, content

DAY = 86_400  # seconds; a socket cannot be told to wait for 25 of them


class DownloadError(RuntimeError):
    """A file could not be fetched; the message says why and what else one can do."""


def cache_dir() -> Path:
    """The folder that keeps downloads: GPTLIB_DATA where it is set, else one of the user's caches.

    Without GPTLIB_DATA it is ~/.cache/gptlib on Linux.
    Errors: DownloadError where the machine knows no such home folder.
    """
    try:
        return _cache_dir()
    except RuntimeError as error:  # pathlib's, for "~nobody" and for a user without a home
        raise DownloadError(
            f"There is no cache folder ({error}): set the environment variable GPTLIB_DATA to a "
            f"folder where you may write; it is {os.environ.get('GPTLIB_DATA')!r}."
        ) from None


def _cache_dir() -> Path:
    if named := os.environ.get("GPTLIB_DATA"):
        return Path(named).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "gptlib"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/gptlib"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gptlib"


def fetch(
    source: str | Source,
    *,
    progress: bool = True,
    timeout: float = 20.0,
    attempts: int = 4,
    pause: float = 1.0,
    min_speed: float = 1000.0,
    deadline: float | None = None,
) -> Path:
    """The path of a file, downloaded if it is not in the cache yet; a name of SOURCES or a Source.

    timeout: seconds to wait for the server to connect or to send something. After a failure up to
    `attempts` tries are made in all, with pauses of 1, 2, 4 … times `pause` seconds, at most 30.
    min_speed: bytes a second; an attempt with fewer over three timeouts has failed; 0 allows any.
    deadline: seconds for all of it, attempts, pauses and waiting for another process included; by
    default 300 and one more for every 50,000 bytes. What has come by then is kept, and the next
    call goes on from there.

    Errors: ValueError for an unknown name or a number that makes no sense; DownloadError, with the
    ways out, for everything else. The cache then holds no file of that name that is not right.
    """
    if isinstance(source, str) and source in SOURCES:
        source = SOURCES[source]
    if not isinstance(source, Source):
        raise ValueError(f"source must be one of {', '.join(SOURCES)}; got {source!r}.")
    if deadline is None:
        deadline = 300 + source.size / 50_000
    check_numbers(
        timeout=timeout, attempts=attempts, pause=pause, min_speed=min_speed, deadline=deadline
    )
    clock = Clock(deadline, timeout, min_speed)
    path = cache_dir() / source.file
    try:
        if is_whole(path, source):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with only_one(path, progress, clock):
            if not is_whole(path, source):  # otherwise another process has just fetched it
                download(source, path, progress, clock, attempts, pause)
    except Timeout:
        raise refusal(
            source, path, f"another process has been fetching it for {deadline:g} seconds"
        ) from None
    except (OSError, NotImplementedError) as error:  # of the disk; NotImplementedError: no locks
        raise DownloadError(
            f"The cache folder {path.parent} cannot be used ({error}): set the environment "
            f"variable GPTLIB_DATA to a folder where you may write and with room for "
            f"{source.size / 1e6:,.1f} MB."
        ) from None
    return path


def check_numbers(**numbers: Any) -> None:
    """Each is a number that fetch can use. Errors: ValueError if not."""
    for name, value in numbers.items():
        kind = is_whole_number if name == "attempts" else is_number
        needed = "a whole number" if name == "attempts" else "finite"
        least = "0 or more" if name in ("pause", "min_speed") else "above 0"
        usable = kind(value) and 0 <= value < math.inf and (value or least != "above 0")
        if not usable or (name == "timeout" and value > DAY):
            most = f" and at most {DAY:,} seconds" if name == "timeout" else ""
            raise ValueError(f"{name} must be {least}{most}, {needed}; got {value!r}.")


def is_whole(path: Path, source: Source) -> bool:
    """Whether the file at path is the source's, by size and SHA-256."""
    if not path.is_file() or path.stat().st_size != source.size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == source.sha256


@contextmanager
def only_one(path: Path, progress: bool, clock: Clock) -> Iterator[None]:
    """Let one process at a time fetch a file. The system ends the lock when a process dies."""
    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=min(0.5, max(0.0, clock.left())))
    except Timeout:
        if progress:
            print(f"Another process is fetching {path.name}; waiting for it.", file=sys.stderr)
        lock.acquire(timeout=max(0.0, clock.left()))
    try:
        yield
    finally:
        lock.release()


def download(
    source: Source, path: Path, progress: bool, clock: Clock, attempts: int, pause: float
) -> None:
    """Try until the whole file has arrived and is right, then give it its name."""
    part, reason = Path(f"{path}.part"), ""
    for attempt in range(attempts):
        if attempt > 0:
            rest = min(pause * 2 ** (attempt - 1), 30)
            if rest >= clock.left():
                reason += f", and the {clock.deadline:g} seconds for it are over"
                break
            time.sleep(rest)
        continued = held(part) > 0
        try:
            receive(source, part, progress, clock)
        except BrokenOff as error:
            reason = str(error)
            continue
        except Refused as error:
            reason = str(error)
            break
        if is_whole(part, source):
            give_name(part, path)
            return
        discard(part)
        reason = "what arrived has the right size and another content (its SHA-256 sum is wrong)"
        if not continued:  # a continued one may have been put together from two versions
            break
    raise refusal(source, path, reason)


def receive(source: Source, part: Path, progress: bool, clock: Clock) -> None:
    """Send one request and write what comes to the part file, behind what it holds already."""
    have = held(part)
    if have > source.size:
        discard(part)
        have = 0
    if have == source.size:
        return
    # identity: a compressed answer could not be continued at a byte of the file.
    headers = {"Accept-Encoding": "identity", "User-Agent": "gptlib"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if tag := kept_tag(part):  # the rest only if the file is still the same one
            headers["If-Range"] = tag
    with ask(source.url, headers, clock) as response:
        start = starting_point(response, have, source, part)
        pieces = content(response, clock)
        first = next(pieces, b"")
        if start == 0:
            if re.match(rb"\s*<(!doctype\s+html|html)", first, re.IGNORECASE):
                raise Refused("a web page came instead of the text")
            discard(part)
            remember_tag(response, part)
        bar = tqdm(
            desc=source.file, total=source.size, initial=start, unit="B", unit_scale=True,
            disable=not progress,
        )  # fmt: skip
        with bar, part.open("ab" if start else "xb") as file:  # x: never through a link
            for piece in chain([first], pieces):
                start += len(piece)
                if start > source.size:
                    break
                file.write(piece)
                bar.update(len(piece))
    if start > source.size:
        discard(part)
        raise Refused(f"more than the expected {source.size:,} bytes came")
    if start < source.size:
        raise BrokenOff(f"the transfer broke off after {start:,} of {source.size:,} bytes")


def starting_point(response: requests.Response, have: int, source: Source, part: Path) -> int:
    """The byte at which the answer begins, or the error that the answer is."""
    status, told = response.status_code, response.headers
    if status == 416:  # the range does not exist: what we have belongs to another file
        discard(part)
        raise BrokenOff("the server's file has changed")
    if status in (408, 429) or 500 <= status < 600:
        raise BrokenOff(f"the server answers {status} {response.reason}")
    if status not in (200, 206):
        raise Refused(f"the server answers {status} {response.reason}")
    if "text/html" in told.get("Content-Type", "").lower():
        raise Refused("a web page came instead of the text")
    for name, asked in (("Content-Encoding", "identity"), ("Transfer-Encoding", "chunked")):
        if told.get(name, asked).strip().lower() != asked:
            raise Refused(f"the server sends it in a form nobody asked for ({name}: {told[name]})")
    length = told.get("Content-Length")
    if length is not None and not re.fullmatch("[0-9]{1,18}", length):
        raise Refused(f"the server tells a length that is none ({length})")
    if status == 200:
        if length is not None and int(length) != source.size:
            raise Refused(f"the server's file has {int(length):,} bytes instead of {source.size:,}")
        return 0
    span = re.fullmatch(
        r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", told.get("Content-Range", "")
    )
    if (
        not span
        or not have == int(span[1]) <= int(span[2]) < source.size
        or span[3] not in (str(source.size), "*")
    ):
        discard(part)
        raise BrokenOff("the server sent another range than the one asked for")
    return have


def refusal(source: Source, path: Path, reason: str) -> DownloadError:
    """One sentence: what failed, and the ways out."""
    if path.exists():
        reason += f" (and the file that is there has {path.stat().st_size:,} bytes and is not it)"
    return DownloadError(
        f"{source.file} could not be fetched, because {reason}: try again later, or download "
        f"{source.url} by hand and save it as {path}, or set GPTLIB_DATA to a folder that holds "
        f"{source.file}, or set HTTPS_PROXY if your network needs a proxy, or use "
        f'corpus.load("stories"), which needs no network.'
    )

"""Given, not built: bring a public text to this machine, whole or not at all.

A download goes into a file ending in `.part`, can be continued after an interruption, and gets its
real name only when its size and its SHA-256 sum are right.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from urllib.parse import urlsplit

import requests
from filelock import FileLock, Timeout
from tqdm.auto import tqdm

CHUNK = 2**13  # bytes read at once; when a transfer breaks off, the one under way is lost


class DownloadError(RuntimeError):
    """A file could not be fetched; the message says why and what else one can do."""


class BrokenOff(Exception):
    """A transfer ended too soon or must begin anew: worth another attempt."""


@dataclass(frozen=True)
class Source:
    """A public file: its name in the cache, where it is, and what it must be once it is here.

    size in bytes; sha256 as 64 hexadecimal digits. Only http and https addresses are accepted.
    """

    file: str
    url: str
    size: int
    sha256: str
    licence: str

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url must begin with http:// or https://; got {self.url!r}.")
        if self.size < 1:
            raise ValueError(f"size must be 1 byte or more; got {self.size!r}.")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256 must be 64 hexadecimal digits; got {self.sha256!r}.")
        if not self.file or Path(self.file).name != self.file:
            raise ValueError(f"file must be a name without folders; got {self.file!r}.")


# Both addresses name a commit, so what they give does not change.
_CHAR_RNN = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e"
)
_TINYSTORIES = (
    "https://huggingface.co/datasets/roneneldan/TinyStories/resolve/"
    "f54c09fd23315a6f9c86f9dc80f725de7d8f9c64"
)
SOURCES = {
    "tinyshakespeare": Source(
        file="tinyshakespeare.txt",
        url=f"{_CHAR_RNN}/data/tinyshakespeare/input.txt",
        size=1_115_394,
        sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        licence="public domain: plays of Shakespeare, put together by A. Karpathy",
    ),
    # R. Eldan, Y. Li, "TinyStories", 2023. The stories by GPT-4; the smaller of the two files is
    # plenty for a model of a few million parameters.
    "tinystories": Source(
        file="tinystories.txt",
        url=f"{_TINYSTORIES}/TinyStoriesV2-GPT4-valid.txt",
        size=22_502_601,
        sha256="6874bae9a4c1a4e7edcf0e53b86c17817e9cf881fc75ff2368da457b80c0585d",
        licence="CDLA-Sharing-1.0",
    ),
    "tinystories-train": Source(
        file="tinystories-train.txt",
        url=f"{_TINYSTORIES}/TinyStoriesV2-GPT4-train.txt",
        size=2_227_753_162,
        sha256="6418d412de72888f52b5142c761ac21a582f7d1166f0bfbdb5f03ccfdec90443",
        licence="CDLA-Sharing-1.0",
    ),
}


def cache_dir() -> Path:
    """The folder that keeps downloads: GPTLIB_DATA where it is set, else one of the user's caches.

    On Linux without GPTLIB_DATA -> ~/.cache/gptlib
    """
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
) -> Path:
    """The path of a file, downloaded if it is not in the cache yet; a name of SOURCES or a Source.

    timeout: seconds to wait for the server to connect or to send something. After a failure up to
    `attempts` tries are made in all, with pauses of 1, 2, 4 … times `pause` seconds, at most 30.

    Errors: ValueError for an unknown name; DownloadError, with the ways out, for everything else.
    The cache then holds no file of that name that is not right.
    """
    if isinstance(source, str):
        if source not in SOURCES:
            raise ValueError(f"source must be one of {', '.join(SOURCES)}; got {source!r}.")
        source = SOURCES[source]
    for name, value in (("timeout", timeout), ("attempts", attempts)):
        if not value > 0:
            raise ValueError(f"{name} must be above 0; got {value!r}.")
    path = cache_dir() / source.file
    try:
        if is_whole(path, source):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        with only_one(path, progress):
            if not is_whole(path, source):  # otherwise another process has just fetched it
                download(source, path, progress, timeout, attempts, pause)
    except OSError as error:  # those of the network are dealt with in download
        raise DownloadError(
            f"The cache folder {path.parent} cannot be used ({error}): set the environment "
            f"variable GPTLIB_DATA to a folder where you may write and with room for "
            f"{source.size / 1e6:,.1f} MB."
        ) from None
    return path


def is_whole(path: Path, source: Source) -> bool:
    """Whether the file at path is the source's, by size and SHA-256."""
    if not path.is_file() or path.stat().st_size != source.size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == source.sha256


@contextmanager
def only_one(path: Path, progress: bool) -> Iterator[None]:
    """Let one process at a time fetch a file. The system ends the lock when a process dies."""
    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=0.5)
    except Timeout:
        if progress:
            print(f"Another process is fetching {path.name}; waiting for it.", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def download(
    source: Source, path: Path, progress: bool, timeout: float, attempts: int, pause: float
) -> None:
    """Try until the whole file has arrived and is right, then give it its name."""
    part, reason = Path(f"{path}.part"), ""
    for attempt in range(attempts):
        if attempt > 0:
            time.sleep(min(pause * 2 ** (attempt - 1), 30))
        continued = part.exists() and part.stat().st_size > 0
        try:
            receive(source, path, part, progress, timeout)
        except (requests.RequestException, BrokenOff) as error:
            reason = in_words(error, source, timeout)
            if isinstance(error, requests.exceptions.InvalidSchema | requests.TooManyRedirects):
                break
            continue
        if is_whole(part, source):
            os.replace(part, path)
            discard(part)
            return
        discard(part)
        reason = "what arrived has the right size and another content (its SHA-256 sum is wrong)"
        if not continued:  # a continued one may have been put together from two versions
            break
    raise refusal(source, path, reason)


def receive(source: Source, path: Path, part: Path, progress: bool, timeout: float) -> None:
    """Send one request and write what comes to the part file, behind what it holds already."""
    have = part.stat().st_size if part.exists() else 0
    if have > source.size:
        discard(part)
        have = 0
    if have == source.size:
        return
    # identity: a compressed answer could not be continued at a byte of the file.
    headers = {"Accept-Encoding": "identity", "User-Agent": "gptlib"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if (tag := tag_file(part)).exists():  # the rest only if the file is still the same one
            headers["If-Range"] = tag.read_text(encoding="latin-1")
    with requests.get(source.url, headers=headers, stream=True, timeout=timeout) as response:
        start = starting_point(response, have, source, path, part)
        content = response.iter_content(CHUNK)
        first = next(content, b"")
        is_page = re.match(rb"\s*<(!doctype\s+html|html)", first, re.IGNORECASE)
        if is_page and start == 0:
            raise refusal(source, path, "a web page came instead of the text")
        if start == 0:
            remember_tag(response, part)
        bar = tqdm(
            desc=source.file, total=source.size, initial=start, unit="B", unit_scale=True,
            disable=not progress,
        )  # fmt: skip
        with bar, part.open("ab" if start else "wb") as file:
            for chunk in chain([first], content):
                start += len(chunk)
                if start > source.size:
                    break
                file.write(chunk)
                bar.update(len(chunk))
    if start > source.size:
        discard(part)
        raise refusal(source, path, f"more than the expected {source.size:,} bytes came")
    if start < source.size:
        raise BrokenOff(f"the transfer broke off after {start:,} of {source.size:,} bytes")


def starting_point(
    response: requests.Response, have: int, source: Source, path: Path, part: Path
) -> int:
    """The byte at which the answer begins, or the error that the answer is."""
    status, kind = response.status_code, response.headers.get("Content-Type", "")
    if status == 416:  # the range does not exist: what we have belongs to another file
        discard(part)
        raise BrokenOff("the server's file has changed")
    if status in (408, 429) or status >= 500:
        raise BrokenOff(f"the server answers {status} {response.reason}")
    if status not in (200, 206):
        raise refusal(source, path, f"the server answers {status} {response.reason}")
    if "text/html" in kind.lower():
        raise refusal(source, path, "a web page came instead of the text")
    length = response.headers.get("Content-Length", "")
    if status == 200:
        encoded = response.headers.get("Content-Encoding", "identity") != "identity"
        if length.isdigit() and int(length) != source.size and not encoded:
            reason = f"the server's file has {int(length):,} bytes instead of {source.size:,}"
            raise refusal(source, path, reason)
        return 0
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if not match or int(match[1]) != have or match[2] not in (str(source.size), "*"):
        discard(part)
        raise BrokenOff("the server sent another range than the one asked for")
    return have


def tag_file(part: Path) -> Path:
    """Where the server's name for the version being fetched (its ETag) is kept."""
    return Path(f"{part}.etag")


def remember_tag(response: requests.Response, part: Path) -> None:
    """Keep a strong ETag for continuing; a weak one (W/…) does not stand for exact bytes."""
    tag = response.headers.get("ETag", "")
    if tag.startswith('"'):
        tag_file(part).write_text(tag, encoding="latin-1")
    else:
        tag_file(part).unlink(missing_ok=True)


def discard(part: Path) -> None:
    """Remove a part file and its tag."""
    part.unlink(missing_ok=True)
    tag_file(part).unlink(missing_ok=True)


def in_words(error: Exception, source: Source, timeout: float) -> str:
    """Why an attempt failed, for people."""
    host = urlsplit(source.url).hostname
    if isinstance(error, requests.exceptions.SSLError):
        return f"the certificate of {host} could not be checked"
    if isinstance(error, requests.exceptions.ProxyError):
        return f"the proxy that leads to {host} does not answer"
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"{host} sent nothing for {timeout:g} seconds"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return f"the transfer from {host} broke off"
    if isinstance(error, requests.ConnectionError):
        return f"there is no connection to {host}"
    return str(error)


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


def read_text(path: str | os.PathLike) -> str:
    """The text of a UTF-8 file, line ends as "\\n" and without a byte order mark.

    Errors: FileNotFoundError; ValueError if it is a folder, empty, not UTF-8 or not text.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; name a text file in it.")
    if not path.exists():
        raise FileNotFoundError(f"There is no file at {path}.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text: byte 0x{error.object[error.start]:02x} at position "
            f"{error.start:,} does not belong there. Save it as UTF-8 in an editor, or read it "
            f"yourself with the right encoding and write it again."
        ) from None
    if "\0" in text:
        raise ValueError(f"{path} holds bytes of value 0, which no text has. Is it another format?")
    if not text.strip():
        raise ValueError(f"{path} is empty. A model needs at least a few thousand characters.")
    return text

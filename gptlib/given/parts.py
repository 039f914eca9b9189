"""Given, not built: what has come of a download, in a file ending in `.part`.

Beside it, in a file ending in `.etag`, stands the server's name for the version that has come.
"""

from __future__ import annotations

import os
import re
import stat
from contextlib import suppress
from pathlib import Path

import requests

from gptlib.given.files import flush

STRONG_TAG = re.compile(r'"[!#-~\x80-\xff]{0,900}"')


def held(part: Path) -> int:
    """How many bytes a part file holds.

    What nobody here made is removed: a link, symbolic or hard, would be written through.
    """
    for path in (part, tag_file(part)):
        with suppress(FileNotFoundError):
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
                path.unlink()
    return part.stat().st_size if part.exists() else 0


def tag_file(part: Path) -> Path:
    """Where the server's name for the version being fetched (its ETag) is kept."""
    return Path(f"{part}.etag")


def kept_tag(part: Path) -> str:
    """The ETag of the version that the part file began with; empty if there is none."""
    with suppress(FileNotFoundError), tag_file(part).open(encoding="latin-1") as file:
        tag = file.read(1000)
        return tag if STRONG_TAG.fullmatch(tag) else ""
    return ""


def remember_tag(response: requests.Response, part: Path) -> None:
    """Keep a strong ETag for continuing; a weak one (W/…) does not stand for exact bytes."""
    if STRONG_TAG.fullmatch(tag := response.headers.get("ETag", "")):
        tag_file(part).write_text(tag, encoding="latin-1")


def give_name(part: Path, path: Path) -> None:
    """Turn a part file into the finished one, on the disk before the name says so."""
    flush(part)
    os.replace(part, path)
    flush(path.parent)
    discard(part)


def discard(part: Path) -> None:
    """Remove a part file and its tag."""
    part.unlink(missing_ok=True)
    tag_file(part).unlink(missing_ok=True)

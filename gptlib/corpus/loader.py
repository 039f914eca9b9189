"""One loader for all texts: the stories, the public ones from the network, and files of your own.

Given, not built.
"""

from __future__ import annotations

import os
from pathlib import Path

from gptlib.corpus.story import END, stories
from gptlib.given.download import SOURCES, fetch, read_text


def load(name_or_path: str | os.PathLike[str], *, n: int = 30_000, seed: int = 0) -> str:
    """A text to learn from: "stories", a named one from the network, or a file of your own.

    "stories": ``n`` of them from ``seed``, each followed by ``END``; they need no network.
    "tinyshakespeare", "tinystories": fetched once, checked, and kept (`gptlib.given.download`).
    Anything else is the path of a text file in UTF-8. Errors: ValueError for a name that is
    neither, for a file that is empty or not UTF-8; DownloadError where fetching fails.

    load("stories", n=1).count(END) -> 1
    """
    if name_or_path == "stories":
        return "".join(story.text + END for story in stories(n, seed))
    if name_or_path in SOURCES:
        return read_text(fetch(name_or_path))
    path = Path(name_or_path).expanduser()
    if not path.is_file():
        names = ", ".join(repr(name) for name in ("stories", *SOURCES))
        raise ValueError(
            f"name_or_path must be one of {names} or the path of a text file; "
            f"there is no file {str(name_or_path)!r}."
        )
    return read_text(path)

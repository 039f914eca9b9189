"""One loader for all texts: the stories, the public ones from the network, and files of your own.

Given, not built.
"""

from __future__ import annotations

import os
from pathlib import Path

from gptlib.corpus.story import END, stories
from gptlib.given.sources import SOURCES


def load(
    name_or_path: str | os.PathLike[str], *, n: int = 30_000, seed: int = 0, volume: int = 1
) -> str:
    """A text to learn from: "stories", a named one from the network, or a file of your own.

    "stories": `n` of them from `seed`, each followed by `END`; they need no network. `volume`:
    1, of Part I, or 2, which is longer and harder.
    "tinyshakespeare", "tinystories": fetched once, checked, and kept (`gptlib.given.download`).
    Anything else is the path of a text file in UTF-8, `~` being your home. Errors: ValueError for
    what is neither, for a folder, for a file that is empty or not UTF-8; DownloadError where
    fetching fails.

    load("stories", n=1).count(END) -> 1
    """
    if isinstance(name_or_path, str) and name_or_path == "stories":
        return "".join(story.text + END for story in stories(n, seed, volume))
    if isinstance(name_or_path, str) and name_or_path in SOURCES:
        from gptlib.given.download import fetch  # here: the stories need no network's libraries

        return read_text(fetch(name_or_path))
    return read_text(file_at(name_or_path))


def file_at(name_or_path: str | os.PathLike[str]) -> Path:
    """The path of a file that is there. Errors: ValueError says why name_or_path leads to none."""
    try:
        path = Path(name_or_path).expanduser()
        if path.is_file():
            return path
        reason = "that is a folder: name a text file in it" if path.is_dir() else "there is no file"
    except TypeError:  # bytes, None, a number
        reason = f"a {type(name_or_path).__name__} is neither"
    except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: the home of nobody
        reason = str(getattr(error, "strerror", None) or error)
    shown = repr(name_or_path)
    if len(shown) > 200 or "\\n" in shown:
        reason += ". A text that you have already needs no loading: use it as it is"
        shown = shown[:100] + "…"
    names = ", ".join(repr(name) for name in ("stories", *SOURCES))
    raise ValueError(
        f"name_or_path must be one of {names} or the path of a text file; got {shown} ({reason})."
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
        # Not by "utf-8-sig", which counts an error's position from behind the mark.
        text = path.read_text(encoding="utf-8").removeprefix("\ufeff")
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

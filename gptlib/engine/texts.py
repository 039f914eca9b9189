"""Texts to learn from, read piece by piece: files, folders, patterns, and the course's own corpora.

Given, not built. A text may be larger than the memory: nothing here holds more than a piece of it.
"""

from __future__ import annotations

import codecs
import glob
import hashlib
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gptlib.corpus.story import END, volume_of
from gptlib.given.checks.numbers import is_whole
from gptlib.given.sources import SOURCES

PIECE = 2**20  # bytes read at a time
ENDINGS = (".txt", ".md", ".text")  # of the files that are taken out of a folder


@dataclass(frozen=True)
class TextFile:
    """A file in UTF-8; line ends become "\\n", and a byte order mark is left out."""

    path: Path
    name: str

    def pieces(self) -> Iterator[str]:
        """The text, a part at a time. Errors: ValueError where it is not UTF-8 or not text."""
        decoder = codecs.getincrementaldecoder("utf-8")()
        lines = io.IncrementalNewlineDecoder(decoder=None, translate=True)
        before, first = 0, True
        with self.path.open("rb") as file:
            while True:
                part = file.read(PIECE)
                pending = len(decoder.getstate()[0])
                try:
                    text = decoder.decode(part, final=not part)
                except UnicodeDecodeError as error:
                    raise ValueError(
                        f"{self.path} is not UTF-8 text: byte 0x{error.object[error.start]:02x} at "
                        f"position {before - pending + error.start:,} does not belong there. Save "
                        f"it as UTF-8 in an editor."
                    ) from None
                before += len(part)
                text = lines.decode(text, final=not part)
                if "\0" in text:
                    raise ValueError(
                        f"{self.path} holds bytes of value 0, which no text has. Is it another "
                        f"format?"
                    )
                if first and text:
                    text, first = text.removeprefix("\ufeff"), False
                if text:
                    yield text
                if not part:
                    return

    def about(self) -> dict[str, object]:
        """What a manifest says of it: its name, its bytes and their SHA-256."""
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"name": self.name, "bytes": self.path.stat().st_size, "sha256": digest}


@dataclass(frozen=True)
class Stories:
    """The course's own stories, written anew whenever they are read: always the same ones."""

    n: int
    seed: int
    volume: int
    name: str = "stories"

    def pieces(self) -> Iterator[str]:
        """Story by story, each followed by the mark of its end."""
        from random import Random

        grammar, rng = volume_of(self.volume).grammar, Random(self.seed)
        for _ in range(self.n):  # as `stories` does, without a list of them all
            yield grammar.write(rng)[0] + END

    def about(self) -> dict[str, object]:
        """What a manifest says of them: all that is needed to write them again."""
        return {"name": self.name, "n": self.n, "seed": self.seed, "volume": self.volume}


Text = TextFile | Stories


def find(
    words: Sequence[str | os.PathLike[str]], n: int = 30_000, seed: int = 0, volume: int = 1
) -> list[Text]:
    """The texts that these words name: corpora, files, folders, patterns such as "books/**/*.txt".

    Out of a folder come its files that end in .txt, .md or .text, those in its folders too, in the
    order of their names. n, seed, volume: of the stories. A file that is named twice is read once.
    Errors: ValueError for a word that leads nowhere, DownloadError where fetching fails.

    find(["stories"], n=2)[0].about()["n"] -> 2
    """
    found: dict[str, Text] = {}
    for word in words:
        for text in _named(word, n, seed, volume):
            place = os.path.realpath(text.path) if isinstance(text, TextFile) else text.name
            found.setdefault(place, text)
    if not found:
        raise ValueError("there must be at least one text: name a file, a folder or a corpus.")
    return list(found.values())


def _named(word: str | os.PathLike[str], n: int, seed: int, volume: int) -> list[Text]:
    if word == "stories":
        volume_of(volume)
        if not (is_whole(n) and is_whole(seed)) or n < 1 or seed < 0:
            raise ValueError(
                f"stories must be 1 or more, from a seed of 0 or more; got {n}, {seed}."
            )
        return [Stories(int(n), int(seed), int(volume))]
    if word in SOURCES:
        from gptlib.given.download import fetch  # only here are the network's libraries needed

        return [TextFile(Path(fetch(str(word))), str(word))]
    path = Path(word).expanduser()
    if path.is_file():
        return [TextFile(path, str(word))]
    if path.is_dir():
        inside = (Path(root) / name for root, _, names in os.walk(path) for name in names)
        files = sorted(f for f in inside if f.suffix.lower() in ENDINGS and f.name[0] != ".")
        if not files:
            raise ValueError(
                f"{word} is a folder without a file that ends in {', '.join(ENDINGS)}."
            )
        return [TextFile(file, str(file)) for file in files]
    files = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
    if not (files := [file for file in files if file.is_file()]):
        names = ", ".join(("stories", *SOURCES))
        raise ValueError(f"{word} is no file, no folder, no pattern that fits a file, and none of "
                         f"{names}.")  # fmt: skip
    return [TextFile(file, str(file)) for file in files]


def documents(
    texts: Iterable[Iterable[str]], mark: str, inside: bool = True
) -> Iterator[tuple[int, str]]:
    """The documents of texts that come in pieces: (number, part), in order; a long one in parts.

    A document ends at the mark, wherever the pieces are cut, and at the end of its text; the mark
    is added there. inside=False: a text is one document, whatever stands in it.

    list(documents([["a|b", "c|"], ["d"]], "|")) -> [(0, "a|"), (1, "bc|"), (2, "d|")]
    """
    number, keep = 0, len(mark) - 1
    for pieces in texts:
        rest, begun = "", False
        for piece in pieces:
            *whole, rest = (rest + piece).split(mark) if inside else [rest + piece]
            for part in whole:
                yield number, part + mark
                number, begun = number + 1, False
            if len(rest) > max(keep, PIECE // 2):  # the end may be half a mark
                cut = len(rest) - keep
                yield number, rest[:cut]
                rest, begun = rest[cut:], True
        if begun or rest.strip():
            yield number, rest + mark
            number += 1

"""A prepared text: tokens in files that are mapped into memory, their tokenizer and a manifest.

Given, not built. `prepare` writes such a folder, `learn` and `evaluate` read it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gptlib.given.files import followed
from gptlib.given.folders import MANIFEST, read_json, read_whole
from gptlib.tokenizer import BPETokenizer, CharTokenizer

FORMAT = "gptlib text 1"
PARTS = ("train", "validation")
NAMED = 20  # sources that a run names one by one
TYPES = {"uint16": np.dtype("<u2"), "uint32": np.dtype("<u4")}

Tokenizer = CharTokenizer | BPETokenizer


def type_for(vocab_size: int) -> str:
    """The smallest type that holds every id of a vocabulary.

    type_for(65_536) -> "uint16"
    type_for(65_537) -> "uint32"
    """
    return "uint16" if vocab_size <= 2**16 else "uint32"


def tokenizer_at(path: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer that was saved at path, of whichever kind. Errors: ValueError if none was."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise ValueError(f"{path} is no file: name a tokenizer.json.")
    told = read_json(file)
    kinds: dict[str, type[Tokenizer]]
    kinds = {"CharTokenizer": CharTokenizer, "BPETokenizer": BPETokenizer}
    kind = told.get("type") if isinstance(told, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise ValueError(f"{path} is no tokenizer of gptlib: its type is {kind!r}.")
    return kinds[kind].load(file)


def bytes_of_tokens(tokenizer: Tokenizer) -> np.ndarray:
    """How many bytes of UTF-8 each id stands for: (V,), so that losses compare across tokenizers.

    bytes_of_tokens(CharTokenizer("aé")) -> [1, 2]
    """
    if isinstance(tokenizer, CharTokenizer):
        return np.array([len(char.encode()) for char in tokenizer.chars])
    return np.array([len(token) for token in tokenizer.vocab])


@dataclass(frozen=True)
class Prepared:
    """A folder that `prepare` wrote: train and validation (N,) as memory maps, and what is told.

    sums: the SHA-256 of the two files and of the tokenizer's, by which a run knows its data.
    """

    folder: Path
    about: dict[str, Any]
    sums: dict[str, str]
    tokenizer: Tokenizer
    train: np.ndarray
    validation: np.ndarray

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Prepared:
        """Read a prepared folder; every file must be as its manifest says.

        Errors: FileNotFoundError; ValueError for a folder that is damaged or something else.
        """
        try:
            return read_whole(path, cls._read)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"There is no prepared text at {path}: make one by gptlib prepare."
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} is not a whole folder of gptlib prepare: {error}. Prepare the text again."
            ) from error

    @classmethod
    def _read(cls, folder: Path, manifest: dict[str, Any]) -> Prepared:
        if manifest.get("format") != FORMAT:
            raise ValueError(f"its format is {manifest.get('format')!r} and not {FORMAT!r}")
        _check_about(manifest)
        names = [f"{part}.bin" for part in PARTS]
        sums = {name: manifest["files"][name]["sha256"] for name in (*names, "tokenizer.json")}
        tokenizer = tokenizer_at(folder / "tokenizer.json")
        dtype: Any = TYPES[manifest["dtype"]]
        rows = [np.memmap(folder / name, dtype, mode="r") for name in names]
        about = {name: value for name, value in manifest.items() if name != "files"}
        return cls(folder, about, sums, tokenizer, *rows)

    @property
    def mark(self) -> str | None:
        """What ends a document in this text; None where no documents are marked."""
        return self.about["mark"]

    def stories(self) -> int | None:
        """The volume of the stories that this text consists of, and of nothing else; or None."""
        volumes = {source.get("volume") for source in self.about["sources"]}
        return volumes.pop() if len(volumes) == 1 else None

    def origin(self) -> dict[str, Any]:
        """What a run keeps of its text beside the sums: sources, how it was cut, what was counted.

        Of many sources the first `NAMED`, and how many more there are.
        """
        sources = self.about["sources"]
        left = len(sources[NAMED:]) + self.about.get("more_sources", 0)
        told = {"sources": sources[:NAMED], "more_sources": left}
        return told | {name: self.about.get(name) for name in ("split", "held_out", "seed", *PARTS)}


def _check_about(about: dict[str, Any]) -> None:
    """Refuse a manifest that says its counts and sources in another way than `prepare` does."""
    if not isinstance(about.get("vocab_size"), int) or not {"tokenizer", "split", "mark"} <= {
        *about
    }:
        raise ValueError("its manifest does not say tokenizer, vocab_size, split and mark")
    for part in PARTS:
        counts = about.get(part)
        if not isinstance(counts, dict) or not all(isinstance(n, int) for n in counts.values()):
            raise ValueError(f"its manifest does not count {part}")
    sources = about.get("sources")
    if not isinstance(sources, list) or not all(
        isinstance(source, dict) and isinstance(source.get("name"), str) for source in sources
    ):
        raise ValueError("its manifest does not name its sources")


def is_prepared(path: str | os.PathLike[str]) -> bool:
    """Whether a folder says of itself that it is a prepared text."""
    try:
        told = json.loads((followed(path) / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and str(told.get("format")).startswith("gptlib text")

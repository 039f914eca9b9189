"""Make a text ready to learn from: a tokenizer, two files of tokens, and a manifest of them.

Given, not built. The text is read several times and never held: to count it, to learn merges from a
part of it, to encode it, and for its sum.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from tqdm.auto import tqdm

import gptlib
from gptlib.corpus.story import END
from gptlib.engine.prepared import (
    FORMAT,
    PARTS,
    TYPES,
    Prepared,
    Tokenizer,
    is_prepared,
    tokenizer_at,
    type_for,
)
from gptlib.engine.texts import Text, documents, find
from gptlib.given.checks.numbers import is_whole
from gptlib.given.files import followed
from gptlib.given.folders import MANIFEST, replacing_folder
from gptlib.tokenizer import BPETokenizer, CharTokenizer

SAMPLE = 16_000_000  # characters that merges are learned from; more hardly changes them
BLOCK = 2**20  # ids written at a time
LISTED = 1000  # sources that a manifest names one by one
SPLITS = ("auto", "marks", "files", "position")


@dataclass
class Plan:
    """What was counted, and by it which part of the text is held out for validation.

    how: "marks" and "files" hold out whole documents, drawn by seed; "position" the text's end.
    """

    texts: Sequence[Text]
    mark: str
    how: str
    share: float
    seed: int
    characters: int = 0
    chars: set[str] = field(default_factory=set)
    n_documents: int = 0
    progress: bool = False
    held_out: set[int] = field(default_factory=set)

    def count(self) -> None:
        """Read all of it once."""
        texts = (self._counted(text) for text in self.texts)
        inside = self.how in ("auto", "marks")
        for number, _ in self.watched("counting", documents(texts, self.mark, inside)):
            self.n_documents = number + 1
        if self.how == "auto":
            self.how = "marks" if self.n_documents > len(self.texts) else "position"
        if self.how == "position":
            return
        self.chars.update(self.mark)
        if self.n_documents < 2:
            raise ValueError(
                f"documents must be two or more to hold some out; there is {self.n_documents}. "
                f"Split by position, or name the mark that ends a document."
            )
        n = max(1, round(self.share * self.n_documents))
        self.held_out = set(Random(self.seed).sample(range(self.n_documents), n))

    def parts(self) -> Iterator[tuple[bool, str]]:
        """The whole text: (whether it is held out, a part of it), in order."""
        if self.how != "position":
            for number, part in self._documents(inside=self.how == "marks"):
                yield number in self.held_out, part
            return
        left = int(self.characters * (1 - self.share))
        for piece in self._pieces():
            if left > 0 and piece[:left]:
                yield False, piece[:left]
            if piece[left:]:
                yield True, piece[left:]
            left = max(0, left - len(piece))

    def sample(self) -> Iterator[str]:
        """The part that merges are learned from: of the training text, evenly from all of it."""
        share = min(1.0, SAMPLE / max(1, self.characters))
        parts = self.watched("reading for merges", self.parts())
        training = (part for held_out, part in parts if not held_out)
        for i, part in enumerate(training):
            if int((i + 1) * share) > int(i * share):
                yield part

    def watched(self, does: str, parts: Iterable[tuple[Any, str]]) -> Iterator[tuple[Any, str]]:
        """The same parts; where progress is asked for, a bar counts their characters."""
        shown: dict[str, Any] = {"unit": " characters", "unit_scale": True}
        total = self.characters or None  # not known before they are counted
        with tqdm(desc=does, total=total, disable=not self.progress, **shown) as bar:
            for part in parts:
                yield part
                n = len(part[1])  # with the marks that are added, a little more than was counted
                bar.update(n if total is None else min(n, total - bar.n))

    def _counted(self, text: Text) -> Iterator[str]:
        for piece in text.pieces():
            self.characters += len(piece)
            self.chars.update(piece)
            yield piece

    def _pieces(self) -> Iterator[str]:
        return (piece for text in self.texts for piece in text.pieces())

    def _documents(self, inside: bool) -> Iterator[tuple[int, str]]:
        return documents((text.pieces() for text in self.texts), self.mark, inside)


def prepare(
    words: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    tokenizer: str | os.PathLike[str] = "chars",
    vocab_size: int = 1024,
    split: str = "auto",
    mark: str = END,
    validation: float = 0.1,
    seed: int = 0,
    stories: int = 30_000,
    volume: int = 1,
    progress: bool = False,
) -> Prepared:
    """Encode texts into the folder `out`, a part of them held out for validation.

    words: files, folders, patterns, names of corpora, see `find`. tokenizer: "chars", "bpe" with
    vocab_size tokens, or a tokenizer.json to use again. split: by "marks" (a document ends with
    `mark`), "files" (each is a document), "position" (the last part of the text is held out), or
    "auto": marks where there are any, else position. validation: the share that is held out.
    stories, volume: how many of the course's stories, and of which, where words name them.
    progress: show how far it has come, on the error channel.

    Memory is taken for a piece of the text and for the tokenizer, whatever the length of the text.
    Errors: ValueError for what cannot be read, split or written; the folder is whole or as it was.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}; got {split!r}.")
    if not 0 < validation < 1:
        raise ValueError(f"validation must lie between 0 and 1; got {validation!r}.")
    if not is_whole(seed):
        raise ValueError(f"seed must be a whole number; got {seed!r}.")
    if not mark:
        raise ValueError("mark must be a text of at least one character; got an empty one.")
    texts = find(words, stories, seed, volume)
    plan = Plan(texts, mark, split, validation, int(seed), progress=progress)
    about: dict[str, Any] = {"format": FORMAT, "gptlib": gptlib.__version__}
    if (followed(out) / MANIFEST).exists() and not is_prepared(out):
        raise ValueError(f"{out} holds something else than a prepared text: name another folder.")
    with replacing_folder(out, about) as folder:
        plan.count()
        if not plan.characters:
            raise ValueError("the text is empty. A model needs at least a few thousand characters.")
        chosen = _tokenizer(tokenizer, vocab_size, plan)
        chosen.save(folder / "tokenizer.json")
        counts = _write(folder, chosen, plan)
        _check_parts(counts, plan)
        sources = [text.about() for text in plan.texts[:LISTED]]
        about |= {
            "tokenizer": type(chosen).__name__, "vocab_size": chosen.vocab_size,
            "dtype": type_for(chosen.vocab_size), **counts, "split": plan.how,
            "mark": None if plan.how == "position" else mark, "held_out": validation, "seed": seed,
            "sources": sources, "more_sources": max(0, len(plan.texts) - LISTED),
        }  # fmt: skip
    return Prepared.open(out)


def _tokenizer(kind: str | os.PathLike[str], vocab_size: int, plan: Plan) -> Tokenizer:
    if kind == "chars":
        return CharTokenizer("".join(plan.chars))
    if kind == "bpe":
        special = [] if plan.how == "position" else [plan.mark]
        return BPETokenizer.train(plan.sample(), vocab_size, special)
    return tokenizer_at(kind)


def _write(folder: Path, tokenizer: Tokenizer, plan: Plan) -> dict[str, dict[str, int]]:
    """Encode every part into its file; what was counted on the way."""
    dtype: Any = TYPES[type_for(tokenizer.vocab_size)]
    counts = {name: dict.fromkeys(("tokens", "characters", "bytes"), 0) for name in PARTS}
    held_out = len(plan.held_out)
    n_documents = (plan.n_documents - held_out, held_out) if plan.how != "position" else (0, 0)
    with (folder / "train.bin").open("wb") as train, (folder / "validation.bin").open("wb") as val:
        # A document ends where the tokenizer cuts: each run of them is encoded by itself.
        for is_held_out, run in groupby(
            plan.watched("encoding", plan.parts()), key=lambda part: part[0]
        ):
            count = counts[PARTS[is_held_out]]
            parts = _counted((part for _, part in run), count)
            for block in encoded(tokenizer, parts):
                count["tokens"] += len(block)
                (val if is_held_out else train).write(block.astype(dtype).tobytes())
    for name, n in zip(PARTS, n_documents, strict=True):
        counts[name]["documents"] = n
    return counts


def _counted(parts: Iterable[str], count: dict[str, int]) -> Iterator[str]:
    for part in parts:
        count["characters"] += len(part)
        count["bytes"] += len(part.encode())
        yield part


def encoded(tokenizer: Tokenizer, parts: Iterable[str]) -> Iterator[np.ndarray]:
    """The ids of a text that comes in parts, (n,) at a time: those of `encode`, marks included.

    [block.tolist() for block in encoded(CharTokenizer("ab"), ["ab", "a"])] -> [[0, 1], [0]]
    """
    if isinstance(tokenizer, BPETokenizer):
        ids = tokenizer.encode_iterable(parts, allowed_special="all")
        while len(block := np.fromiter(islice(ids, BLOCK), np.int64)):
            yield block
        return
    # One look-up for a whole part: the characters as numbers, and a table of their ids.
    known = np.array([ord(char) for char in tokenizer.chars])
    table = np.full(int(known.max()) + 2, -1)
    table[known] = np.arange(len(known))
    for part in parts:
        codes = np.frombuffer(part.encode("utf-32-le"), "<u4")
        block = table[np.minimum(codes, len(table) - 1)]
        if len(block) and block.min() < 0:
            tokenizer.encode(part)  # raises, and says which character it is
        yield block


def _check_parts(counts: dict[str, dict[str, int]], plan: Plan) -> None:
    for name in PARTS:
        if not counts[name]["tokens"]:
            raise ValueError(
                f"the text is too short: nothing is left for {name}, of {plan.characters} "
                f"characters. Give more text, or another share for validation."
            )

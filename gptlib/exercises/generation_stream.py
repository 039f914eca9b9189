"""Stretch of chapter 8: text from bytes that come in pieces, half a character at a time."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterator
from itertools import pairwise
from random import Random
from typing import Any

from gptlib.exercises.task import Mistake, Task


def text_so_far(pieces: tuple[bytes, ...]) -> list[str]:
    """What can be shown after each piece of UTF-8: the characters that have become whole by it."""
    shown, waiting = [], b""
    for piece in pieces:
        waiting += piece
        whole = len(waiting)
        while whole > 0:
            try:
                text = waiting[:whole].decode("utf-8")
                break
            except UnicodeDecodeError:
                whole -= 1
        else:
            text = ""
        shown.append(text)
        waiting = waiting[whole:]
    return shown


def rivers(seed: int) -> Iterator[tuple[Any, ...]]:
    """Pieces of a text: cut within a character, behind a letter, byte by byte, anywhere."""
    yield ((b"caf", b"\xc3", b"\xa9", b"!"),)
    yield ((b"a\xf0\x9f", b"\x8d", b"\x8ebc"),)
    yield (tuple(bytes([b]) for b in "né🍎".encode()),)
    draw, text = Random(seed), "Süß, 日本 🍎 und mehr".encode()
    places = sorted(draw.sample(range(1, len(text)), 6))
    yield (tuple(text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)),)


def _with_codecs(pieces: tuple[bytes, ...]) -> list[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    return [decoder.decode(piece) for piece in pieces]


def _from_the_start(pieces: tuple[bytes, ...]) -> list[str]:
    """Right, too: all bytes so far, less what has been shown."""
    all_of_it, shown = b"", [""]
    for piece in pieces:
        all_of_it += piece
        shown.append(all_of_it.decode("utf-8", errors="ignore"))
    return [new[len(old) :] for old, new in pairwise(shown)]


def _whole_pieces(
    kept: bool, silent: Callable[[bytes], str] = lambda waiting: ""
) -> Callable[[tuple[bytes, ...]], list[str]]:
    """Shows what waits where all of it can be decoded."""

    def show(pieces: tuple[bytes, ...]) -> list[str]:
        shown, waiting = [], b""
        for piece in pieces:
            waiting += piece
            try:
                shown.append(waiting.decode("utf-8"))
                waiting = waiting if kept else b""
            except UnicodeDecodeError:
                shown.append(silent(waiting))
        return shown

    return show


def _drops_the_pause(pieces: tuple[bytes, ...]) -> list[str]:
    return [text for text in text_so_far(pieces) if text]


TEXT_SO_FAR = Task(
    name="generation.text_so_far",
    asks="For each piece of bytes, the text that can be shown once it is there; half a character "
    "waits for its other half.",
    reference=text_so_far,
    inputs=rivers,
    hints=(
        "What is to happen with the bytes of half a character until the next piece comes?",
        "Keep a store of bytes. Add each piece to it, find how many of its bytes make whole "
        "characters, show these, and keep the rest.",
        "waiting[:n].decode() raises UnicodeDecodeError where a character is cut: try n = "
        "len(waiting), then one less, up to three less. The standard library has "
        "codecs.getincrementaldecoder.",
    ),
    mistakes=(
        Mistake(
            "Each piece is decoded alone, and half a character becomes a question mark in a "
            "diamond: twice, once for each half.",
            lambda pieces: [piece.decode("utf-8", errors="replace") for piece in pieces],
        ),
        Mistake(
            "Half a character is thrown away in both pieces: é is in neither.",
            lambda pieces: [piece.decode("utf-8", errors="ignore") for piece in pieces],
        ),
        Mistake(
            "Each byte is taken for a character: that is Latin-1, in which é in UTF-8 becomes two "
            "letters.",
            lambda pieces: [piece.decode("latin-1") for piece in pieces],
        ),
        Mistake(
            "Letters that are whole wait as well when a piece ends in half a character: the a in "
            "front of half an apple can be shown at once.",
            _whole_pieces(kept=False),
        ),
        Mistake(
            "What was shown is shown again with each new piece: what waits must be emptied.",
            _whole_pieces(kept=True),
        ),
        Mistake(
            "Each entry holds the whole text up to there. What a piece adds to it is asked for, "
            "so that it can be printed behind what stands there.",
            lambda pieces: [
                b"".join(pieces[: i + 1]).decode(errors="ignore") for i in range(len(pieces))
            ],
        ),
        Mistake(
            "A piece that shows nothing is passed over; an empty text is asked for, one for each "
            "piece.",
            _drops_the_pause,
        ),
        Mistake(
            "Half a character is shown as a question mark until its rest comes, and then it stands "
            "there twice.",
            _whole_pieces(kept=False, silent=lambda waiting: waiting.decode(errors="replace")),
        ),
        Mistake(
            "The text comes as a whole; for each piece its own is asked for.",
            lambda pieces: b"".join(pieces).decode(),
        ),
    ),
    right=(_with_codecs, _from_the_start),
    kind="stretch",
)

TASKS = (TEXT_SO_FAR,)

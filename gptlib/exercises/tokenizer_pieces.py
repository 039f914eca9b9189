"""Exercises of chapter 1: text that comes piece by piece."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Sequence
from itertools import pairwise
from random import Random
from typing import Any

from gptlib.exercises.task import Mistake, Task
from gptlib.exercises.tokenizer_characters import AsWritten


def pieces_of(ids: Sequence[int], vocab: Sequence[bytes]) -> list[str]:
    """For each id the text that has become whole with it; half a character waits for its rest."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    return [decoder.decode(vocab[i]) for i in ids]


STREAM = [b"ca", b"f\xc3", b"\xa9!", b" ", b"\xf0\x9f", b"\x8d", b"\x8e \xc3", b"\xb6"]


def streams(seed: int) -> Iterator[tuple[Any, ...]]:
    """Tokens that hold a whole character and half of the next; then one that breaks off."""
    yield [0, 1, 2, 3, 4, 5, 6, 7], STREAM
    yield [0, 1], STREAM
    yield [], STREAM
    draw = Random(seed)
    whole = [[0], [3], [1, 2], [4, 5, 6, 7]]
    yield [i for _ in range(6) for i in draw.choice(whole)], STREAM


def _waiting(ids: Sequence[int], vocab: Sequence[bytes]) -> list[str]:
    """A whole token waits where a part of it is no character."""
    pieces, waiting = [], b""
    for i in ids:
        waiting += vocab[i]
        try:
            pieces.append(waiting.decode())
            waiting = b""
        except UnicodeDecodeError:
            pieces.append("")
    return pieces


def _cut(ids: Sequence[int], vocab: Sequence[bytes]) -> list[str]:
    """The same with the end of the bytes cut off until the rest is whole."""
    pieces, waiting = [], b""
    for i in ids:
        waiting += vocab[i]
        for cut in range(len(waiting), -1, -1):
            try:
                pieces.append(waiting[:cut].decode())
            except UnicodeDecodeError:
                continue
            waiting = waiting[cut:]
            break
    return pieces


def _grown(ids: Sequence[int], vocab: Sequence[bytes]) -> list[str]:
    """The whole text so far, less what was shown before."""
    whole = [
        b"".join(vocab[i] for i in ids[:n]).decode(errors="ignore") for n in range(len(ids) + 1)
    ]
    return [after[len(before) :] for before, after in pairwise(whole)]


PIECES_OF = Task(
    name="tokenizer.pieces_of",
    asks="For each id the text that has become whole with it, while the ids come one at a time.",
    reference=pieces_of,
    inputs=streams,
    use=AsWritten(),
    kind="stretch",
    hints=(
        "A token ends in the middle of a character. What can be shown now, and what has to wait?",
        "Keep the bytes that wait. With each id add its bytes, show the longest beginning that is "
        "valid UTF-8, and keep the rest.",
        "codecs.getincrementaldecoder('utf-8')() does this: one decoder, and its decode(...) for "
        "the bytes of each id in turn.",
    ),
    mistakes=(
        Mistake(
            "Each token is read alone, and half a character becomes a strange sign.",
            lambda ids, vocab: [vocab[i].decode(errors="replace") for i in ids],
        ),
        Mistake(
            "Half a character is thrown away, and its other half as well: nothing waits.",
            lambda ids, vocab: [vocab[i].decode(errors="ignore") for i in ids],
        ),
        Mistake(
            "Whole characters wait together with the half one behind them: a reader sees them one "
            "token late.",
            _waiting,
        ),
        Mistake(
            "Each piece holds the whole text so far; what is new is asked for.",
            lambda ids, vocab: [
                b"".join(vocab[i] for i in ids[: n + 1]).decode(errors="ignore")
                for n in range(len(ids))
            ],
        ),
        Mistake(
            "The ids that complete nothing have no piece: one piece for each id is asked for, "
            "an empty one too.",
            lambda ids, vocab: [piece for piece in _cut(ids, vocab) if piece],
        ),
        Mistake(
            "This is one text; a list with a piece for each id is asked for.",
            lambda ids, vocab: "".join(_cut(ids, vocab)),
        ),
    ),
    right=(_cut, _grown),
)

TASKS = (PIECES_OF,)

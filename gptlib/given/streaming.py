"""Given, not built: texts that come in pieces, and ids that come one at a time.

What is made of the pieces is what would be made of the whole, wherever the borders between them
fall: in the middle of a word, of a special token, of a character.
"""

from __future__ import annotations

import codecs
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import accumulate

from gptlib.given.checks.text import check_texts

CHUNK = 2**16  # characters; fewer are waited for


def stream_words(
    texts: str | Iterable[str],
    special: Collection[str],
    split: Callable[[str, Collection[str]], list[str]],
) -> Iterator[list[str]]:
    """The words of `split("".join(texts), special)`, a list of them at a time.

    A word is given out once no later text can change it. GPT-2's pattern looks at most two
    characters past the end of a word (the apostrophe of "'ll"), a special token can begin where
    fewer characters are left than the longest one has. So the memory depends on the longest word
    and the longest text, not on their sum.

    list(stream_words(["a\\n", "\\n\\nb"], [], split_text)) -> [["a", "\\n\\n", "\\n", "b"]]
    """
    margin = 1 + max(map(len, special), default=1)
    rest, waiting, size = "", [], 0
    for text in check_texts(texts, CHUNK):
        waiting.append(text)
        size += len(text)
        if size >= max(CHUNK, len(rest)):  # a long word is not cut anew for every text
            rest += "".join(waiting)
            waiting, size = [], 0
            words = split(rest, special)
            ends = [0, *accumulate(map(len, words))]
            n = bisect_right(ends, len(rest) - margin) - 1
            if n > 0:
                yield words[:n]
                rest = rest[ends[n] :]
    yield split(rest + "".join(waiting), special)


def stream_text(parts: Iterable[bytes]) -> Iterator[str]:
    """The text of UTF-8 bytes, each piece as soon as its characters are whole.

    Joined together the pieces are `b"".join(parts).decode("utf-8", errors="replace")`.

    list(stream_text([b"\\xf0\\x9f", b"\\x8d\\x8e!"])) -> ["🍎!"]
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    for part in parts:
        if text := decoder.decode(part):
            yield text
    if text := decoder.decode(b"", final=True):
        yield text

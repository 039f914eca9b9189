"""Exercises of chapter 1: a tokenizer by characters, and what each id of BPE stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

import torch

from gptlib.exercises.task import Mistake, Task, Use, Wrong
from gptlib.tokenizer import CharTokenizer

Pair = tuple[int, int]


class AsWritten(Use):
    """A function is called; in a message what it was given stands as one would type it."""

    def shown(self, name: str, *given: Any) -> str:
        return f"{name}({', '.join(map(repr, given))})"


# A class that turns text into ids ----------------------------------------------------------------


class Tokenize(Use):
    """Make a tokenizer from a text, encode another text, decode it, and try what it cannot."""

    in_order = True

    def run(self, answer: Any, *given: Any) -> dict[str, Any]:
        text, written = given
        made = answer(text)
        for name in ("chars", "vocab_size", "encode", "decode"):
            if not hasattr(made, name):
                what = f"no method {name}(...)" if name.endswith("code") else f"no {name}"
                raise Wrong(f"It has {what}: CharTokenizer('hello').{name} is asked for.")
        if callable(made.vocab_size):
            raise Wrong("vocab_size is a method. A number is asked for: set it in __init__.")
        return {
            "chars": _listed(made.chars),
            "vocab_size": made.vocab_size,
            f"encode({written!r})": _tried(lambda: _plain(made.encode(written))),
            "decode of these ids": _tried(lambda: made.decode(made.encode(written))),
            "encode('é')": _refused(made, "é"),
        }

    def shown(self, name: str, *given: Any) -> str:
        return f"{name}({given[0]!r})"


def _tried(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        return f"raises {type(error).__name__}: {error}"


def _listed(chars: Any) -> Any:
    if isinstance(chars, list | tuple | str):
        return list(chars)
    return f"a {type(chars).__name__} of {sorted(chars)}"


def _plain(ids: Any) -> Any:
    return f"a tensor, {ids.tolist()}" if hasattr(ids, "tolist") else ids


def _refused(made: Any, char: str) -> str:
    """How a tokenizer refuses a character that its vocabulary lacks."""
    try:
        return f"gives {made.encode(char)!r}"
    except ValueError as error:
        return f"raises ValueError, {'names' if char in str(error) else 'without'} the character"
    except Exception as error:
        return f"raises {type(error).__name__}"


def vocabularies(seed: int) -> Iterator[tuple[Any, ...]]:
    """A text with capitals and repetitions, and one to encode, in which characters come again."""
    yield "Hello, my old grey fox", "lol, Hey"
    draw = Random(seed)
    yield "the red fox", "".join(draw.choices("the rdfox", k=12))
    yield "aaa", ""


def _written(
    order: Callable[[str], list[str]] = lambda text: sorted(set(text)),
    size: Callable[[list[str]], int] = len,
    of: Callable[[dict[str, int], str], Any] | None = None,
    back: Callable[[list[str]], Any] = "".join,
    shift: int = 0,
) -> type:
    """A character tokenizer, one part of it exchanged."""

    class Written:
        def __init__(self, text: str) -> None:
            self.chars = order(text)
            self.char_to_id = {c: i + shift for i, c in enumerate(self.chars)}
            self.vocab_size = size(self.chars)

        def encode(self, text: str) -> Any:
            if of is not None:
                return of(self.char_to_id, text)
            for c in text:
                if c not in self.char_to_id:
                    raise ValueError(f"{c!r} is none of the characters of this vocabulary.")
            return [self.char_to_id[c] for c in text]

        def decode(self, ids: Sequence[int]) -> Any:
            return back([self.chars[i - shift] for i in ids])

    return Written


class Dictionaries:
    """The same with two dictionaries and one lookup that fails in words."""

    def __init__(self, text: str) -> None:
        self.chars = "".join(sorted(dict.fromkeys(text)))
        self.vocab_size = len(self.chars)

    def encode(self, text: str) -> list[int]:
        found = [self.chars.find(c) for c in text]
        if -1 in found:
            raise ValueError(f"unknown: {text[found.index(-1)]}")
        return found

    def decode(self, ids: Sequence[int]) -> str:
        text = ""
        for i in ids:
            text += self.chars[i]
        return text


def _with_a_set(text: str) -> Any:
    made = _written()(text)
    made.chars = set(text)
    made.decode = lambda ids: "".join(sorted(made.chars)[i] for i in ids)
    return made


def _nameless(table: dict[str, int], text: str) -> list[int]:
    if any(c not in table for c in text):
        raise ValueError("unknown character")
    return [table[c] for c in text]


def _known(table: dict[str, int], text: str) -> list[int] | None:
    return [table[c] for c in text] if all(c in table for c in text) else None


CHAR_TOKENIZER = Task(
    name="tokenizer.CharTokenizer",
    asks="One id for each different character of a text, in the order of their code points; a "
    "character that is not among them raises a ValueError that names it.",
    reference=CharTokenizer,
    inputs=vocabularies,
    use=Tokenize(),
    hints=(
        "What has to be remembered from the text, so that encode and decode agree for ever?",
        "self.chars, the different characters in sorted order: the place in it is the id. A "
        "dictionary from character to id makes encode quick.",
        "encode: look each character up, and before that `if char not in self.char_to_id: raise "
        "ValueError(...)`; decode: join self.chars[i] for each id.",
    ),
    mistakes=(
        Mistake(
            "A character that comes again gets a second id: each different one is listed once.",
            _written(order=sorted),
        ),
        Mistake(
            "The characters stand in the order in which the text brings them. Two texts with the "
            "same characters would give two vocabularies; the order of code points does not.",
            _written(order=lambda text: list(dict.fromkeys(text))),
        ),
        Mistake(
            "The characters stand in the order in which a set has them, which is another one each "
            "time Python starts: ids of yesterday would mean other characters today.",
            _written(order=lambda text: list(set(text))),
        ),
        Mistake(
            "Capitals are made small before they are counted: the text cannot come back as it was.",
            _written(order=lambda text: sorted(set(text.lower()))),
        ),
        Mistake(
            "The vocabulary holds letters and no signs: a space and a comma need ids as well.",
            _written(order=lambda text: sorted({c for c in text if c.isalpha()})),
        ),
        Mistake(
            "vocab_size is the largest id; with ids that begin at 0 there is one entry more.",
            _written(size=lambda chars: len(chars) - 1),
        ),
        Mistake(
            "The ids begin at 1: row 0 of every table that the model keeps would never be used, "
            "and the last id would have no row.",
            _written(shift=1),
        ),
        Mistake(
            "A character that is not there raises a bare KeyError, which says neither what is "
            "wrong nor what to do. A ValueError with words is asked for.",
            _written(of=lambda table, text: [table[c] for c in text]),
        ),
        Mistake(
            "A character that is not there is left out in silence: the text comes back shorter.",
            _written(of=lambda table, text: [table[c] for c in text if c in table]),
        ),
        Mistake(
            "A character that is not there becomes id 0, and comes back as another character.",
            _written(of=lambda table, text: [table.get(c, 0) for c in text]),
        ),
        Mistake(
            "The ids are code points, as ord gives them: numbers up to a million, for a table of a "
            "few rows. An id is the place of a character in chars.",
            _written(of=lambda table, text: [ord(c) for c in text], back=lambda c: c),
        ),
        Mistake(
            "chars is a set, which has no order and no places. A list is asked for, sorted.",
            _with_a_set,
        ),
        Mistake(
            "A character that is not there raises a ValueError which does not name it: whoever "
            "reads it has to search the whole text.",
            _written(of=_nameless),
        ),
        Mistake(
            "encode gives a tensor; a list of whole numbers is asked for, which needs no torch.",
            _written(of=lambda table, text: torch.tensor([table[c] for c in text])),
        ),
        Mistake(
            "encode gives None. Is its `return` missing, or is there a print in its place?",
            _written(of=lambda table, text: None),
        ),
        Mistake(
            "decode gives None. Is its `return` missing, or is there a print in its place?",
            _written(back=lambda c: None),
        ),
        Mistake(
            "A character that is not there makes encode give None, and a line is printed at best. "
            "Who calls it goes on with None: raise a ValueError.",
            _written(of=lambda table, text: _known(table, text) or None),
        ),
        Mistake(
            "decode gives a list of characters; a text is asked for.", _written(back=lambda c: c)
        ),
        Mistake("decode puts spaces between the characters.", _written(back=" ".join)),
    ),
    right=(_written(), Dictionaries),
)

# The bytes of each id ----------------------------------------------------------------------------


def vocab_of(merges: Sequence[Pair]) -> list[bytes]:
    """The bytes of each id: 256 single bytes, then for each merge its two parts joined."""
    vocab = [bytes([byte]) for byte in range(256)]
    for left, right in merges:
        vocab.append(vocab[left] + vocab[right])
    return vocab


class LastEntries(Use):
    """Of a vocabulary the size, the letter a and what the merges have added are looked at."""

    def run(self, answer: Any, *given: Any) -> dict[str, Any]:
        vocab = answer(*given)
        if vocab is None:
            raise Wrong("It gives None. Is its `return` missing?")
        one = vocab[97] if len(vocab) > 97 else "not there"
        return {"Its length": len(vocab), "Entry 97": one, "From 256 on": list(vocab[256:])}


def learned(seed: int) -> Iterator[tuple[Any, ...]]:
    """Merges of bytes, then of what was merged before."""
    yield ([(97, 98), (256, 99), (100, 257), (257, 256)],)
    yield ([],)
    draw = Random(seed)
    yield ([(draw.randrange(256 + i), draw.randrange(256 + i)) for i in range(6)],)


VOCAB_OF = Task(
    name="tokenizer.vocab_of",
    asks="From a list of merges make the list of tokens: the bytes of each id.",
    reference=vocab_of,
    inputs=learned,
    use=LastEntries(),
    kind="warm-up",
    hints=(
        "What do the ids 0 to 255 stand for, before there is any merge?",
        "Begin with 256 entries of one byte each, bytes([i]). Each merge adds one at the end.",
        "vocab.append(vocab[left] + vocab[right]): both parts are in the list already.",
    ),
    mistakes=(
        Mistake(
            "The 256 single bytes are missing: without them a merge has no parts.",
            lambda merges: vocab_of(merges)[256:],
        ),
        Mistake(
            "The two parts of a merge have changed places.",
            lambda merges: vocab_of([(right, left) for left, right in merges]),
        ),
        Mistake(
            "An entry holds the two ids of its merge; the bytes that they stand for are asked for.",
            lambda merges: [*(bytes([i]) for i in range(256)), *merges],
        ),
        Mistake(
            "The entries are texts, one character for each byte: half an emoji is no text. Bytes "
            "are asked for.",
            lambda merges: [token.decode("latin-1") for token in vocab_of(merges)],
        ),
        Mistake(
            "bytes(i) makes i zero bytes; bytes([i]) is the one byte i.",
            lambda merges: [
                *map(bytes, range(256)),
                *(b"\0" * sum(token) for token in vocab_of(merges)[256:]),
            ],
        ),
    ),
    right=(
        lambda merges: _grown({i: i.to_bytes() for i in range(256)}, merges),
        lambda merges: [_spelled(i, merges) for i in range(256 + len(merges))],
    ),
)


def _grown(table: dict[int, bytes], merges: Sequence[Pair]) -> list[bytes]:
    for left, right in merges:
        table[len(table)] = table[left] + table[right]
    return list(table.values())


def _spelled(i: int, merges: Sequence[Pair]) -> bytes:
    if i < 256:
        return bytes([i])
    left, right = merges[i - 256]
    return _spelled(left, merges) + _spelled(right, merges)


TASKS = (CHAR_TOKENIZER, VOCAB_OF)

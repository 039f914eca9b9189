"""A text as characters, bytes and tokens, and the merges of a tokenizer one at a time.

Used in chapter 1. Given, not built.
"""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import traitlets

from gptlib.given.checks.text import check_text
from gptlib.merges import apply_merges
from gptlib.tokenizer import BPETokenizer, CharTokenizer, split_text
from gptlib.widgets.widget import Widget, bundle, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_TEXT = 2000  # characters: each gets boxes of its own
EXAMPLES = ("The fox had a red umbrella.", "café 🍎", "The cat's hat: 1,234!", "aaaaaaa")
TINTS = ("#cce3f0", "#f1dbcc", "#cce5de", "#ebdbe5", "#f3f6f8")
MAX_DRAWN = 120  # tokens of a line in the figure that stands in
PRINTED = "␣⏎⇥◌⟨⟩…"  # signs that every font of a figure has
SIGNS = {" ": "␣", "\n": "⏎", "\t": "⇥"}


class TokenizerExplorer(Widget):
    """A text in the hands of a tokenizer, and every merge on the way from bytes to tokens.

    tokenizer: the one whose merges are shown; a class of your own will do, with the attributes of
    BPETokenizer. text: what to begin with, at most 2,000 characters. others: more tokenizers by
    name, of characters or of merges, to compare; one of characters that is named "characters" gives
    its ids to the first line. name: of the tokenizer itself. examples: texts to press. The trait
    step says how many of the text's merges are made (-1: all), special whether special tokens may
    count as such; like text they follow the reader. Errors: ValueError for a tokenizer of neither
    kind and for a text with half a character.

    TokenizerExplorer(BPETokenizer([(97, 98), (97, 256)]), "aab").ids() -> [257]
    TokenizerExplorer(BPETokenizer([(97, 98), (97, 256)]), "aab", step=1).ids() -> [97, 256]
    TokenizerExplorer(BPETokenizer([(97, 98), (97, 256)]), "aab").merges_made() -> [256, 257]
    """

    _esm = bundle("tokenizer_explorer.js")
    _css = style("tokenizer_explorer.css")
    title = traitlets.Unicode("From text to tokens").tag(sync=True)
    text = traitlets.Unicode().tag(sync=True)
    examples = traitlets.List(traitlets.Unicode()).tag(sync=True)
    lanes = traitlets.List(traitlets.Dict()).tag(sync=True)
    step = traitlets.Int(-1, min=-1).tag(sync=True)
    special = traitlets.Bool(False).tag(sync=True)
    picked = traitlets.List(traitlets.Int()).tag(sync=True)

    def __init__(
        self,
        tokenizer: BPETokenizer,
        text: str = "The fox had a red umbrella.",
        others: Mapping[str, BPETokenizer | CharTokenizer] | None = None,
        name: str = "tokens",
        examples: Sequence[str] = EXAMPLES,
        **settings: Any,
    ) -> None:
        if not hasattr(tokenizer, "merges"):
            kind = type(tokenizer).__name__
            raise ValueError(f"tokenizer must be one with merges; a {kind} has none.")
        self.tokenizer = tokenizer
        lanes: dict[str, dict[str, Any]]
        lanes = {"characters": {"kind": "characters", "chars": ""}, "bytes": {"kind": "bytes"}}
        lanes[name] = {**_lane(tokenizer), "main": True}
        for other, its in (others or {}).items():
            if other in lanes and not (other == "characters" and hasattr(its, "chars")):
                raise ValueError(f"others names a tokenizer {other!r}, as another line is named.")
            lanes[other] = _lane(its)
        super().__init__(
            text=check_text(text),
            examples=[check_text(example) for example in examples],
            lanes=[{"name": lane, **about} for lane, about in lanes.items()],
            **settings,
        )

    @traitlets.validate("text")
    def _check_text(self, proposal: Any) -> str:
        text = check_text(proposal["value"])
        if len(text) > MAX_TEXT:
            raise traitlets.TraitError(
                f"text has {len(text):,} characters; there is room for {MAX_TEXT:,}"
            )
        return text

    def _words(self) -> list[str]:
        return split_text(self.text, self._allowed())

    def _allowed(self) -> dict[str, int]:
        return self.tokenizer.special_tokens if self.special else {}

    def merges_made(self) -> list[int]:
        """The ids of the merges on the way to the tokens of the text, in the order they happen."""
        parts = {new_id: pair for pair, new_id in self.tokenizer.merges.items()}
        made: set[int] = set()
        left = set(self.tokenizer.encode(self.text, self._allowed()))
        while left := left & parts.keys() - made:
            made |= left
            left = {part for new_id in left for part in parts[new_id]}
        return sorted(made)

    def ids(self) -> list[int]:
        """The tokens of the text after as many of its merges as `step` says."""
        made = self.merges_made()
        last = made[: self.step][-1:] if self.step >= 0 else made[-1:]
        merges = {p: i for p, i in self.tokenizer.merges.items() if last and i <= last[0]}
        order, allowed = self.tokenizer.byte_order, self._allowed()
        ids: list[int] = []
        for word in self._words():
            start = [order.index(byte) for byte in word.encode("utf-8")]
            ids += [allowed[word]] if word in allowed else apply_merges(start, merges)
        return ids

    def words(self) -> str:
        ids = self.ids()
        said = ", ".join(f"{readable(self.tokenizer.vocab[i])} ({i})" for i in ids[:12])
        return (
            f"{self.title}. The text has {len(self.text):,} characters, "
            f"{len(self.text.encode()):,} bytes and {len(ids):,} tokens: {said}"
            + (", and so on." if len(ids) > 12 else ".")
        )

    def draw(self) -> Figure:
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle

        vocab = self.tokenizer.vocab
        rows = {
            "characters": [(plain(char), ord(char)) for char in self.text],
            "bytes": [(str(byte), byte) for byte in self.text.encode()],
            "tokens": [(readable(vocab[i]), i) for i in self.ids()],
        }
        boxes: list[tuple[float, float, str, int | None]] = []
        y, wide = 0.0, 74.0  # in widths of a letter
        for name, tokens in rows.items():
            boxes.append((0.0, y, f"{len(tokens):,} {name}", None))
            x, y = 0.0, y + 1
            for said, i in [*tokens[:MAX_DRAWN], *[("…", None)] * (len(tokens) > MAX_DRAWN)]:
                label = "".join(
                    c if c < "\u0250" or c in PRINTED else f"U+{ord(c):04X}" for c in said
                )
                if x and x + len(label) + 1 > wide:
                    x, y = 0.0, y + 1.2
                boxes.append((x, y, label, i))
                x += len(label) + 1.4
            y += 1.6
        figure = Figure(figsize=(7.2, 0.25 * y + 0.2))
        ax = figure.subplots()
        for x, top, label, i in boxes:
            if i is not None:
                tint = TINTS[i % len(TINTS)]
                ax.add_patch(Rectangle((x, top - 0.5), len(label) + 1, 1, fc=tint, ec="#55606b"))
            middle = x if i is None else x + (len(label) + 1) / 2
            ax.text(
                middle, top, label, va="center", ha="left" if i is None else "center",
                family="sans-serif" if i is None else "monospace", fontsize=9 if i is None else 7.5,
            )  # fmt: skip
        ax.set(xlim=(-0.5, wide + 2), ylim=(y - 0.8, -0.8))
        ax.axis("off")
        return figure


def _lane(tokenizer: BPETokenizer | CharTokenizer) -> dict[str, Any]:
    """What the page needs of a tokenizer."""
    if hasattr(tokenizer, "chars"):
        return {"kind": "characters", "chars": "".join(tokenizer.chars)}
    if not hasattr(tokenizer, "merges"):
        kind = type(tokenizer).__name__
        raise ValueError(f"others must be tokenizers with merges or chars; a {kind} has none.")
    return {
        "kind": "bpe",
        "merges": array("I", [i for pair in tokenizer.merges for i in pair]).tobytes(),
        "byte_order": tokenizer.byte_order,
        "special_tokens": list(tokenizer.special_tokens),
    }


def plain(char: str) -> str:
    """One character, or its code point where nobody would see it; white space has signs.

    plain("\\u200b") -> "U+200B"
    """
    kind = unicodedata.category(char)[0]
    if char in SIGNS:
        return SIGNS[char]
    if kind == "M":
        return "◌" + char
    return f"U+{ord(char):04X}" if kind in "CZ" else char


def readable(token: bytes) -> str:
    """Bytes as people can read them: text where they are text, a number for each other byte.

    readable(b" fox") -> "␣fox"
    readable(b"a\\xf0\\x9f") -> "a⟨240⟩⟨159⟩"
    """
    said, i = "", 0
    while i < len(token):
        size = 1 if token[i] < 0x80 else 2 if token[i] < 0xE0 else 3 if token[i] < 0xF0 else 4
        try:
            said += plain(token[i : i + size].decode("utf-8"))
            i += size
        except UnicodeDecodeError:
            said += f"⟨{token[i]}⟩"
            i += 1
    return said

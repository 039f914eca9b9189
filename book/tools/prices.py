"""The start page's figure: a story, and above each word a bar for how unlikely it was.

The story is the one that the page quotes at its top. What its words cost is computed while the book
is built, by the grammar that wrote it: gptlib/corpus.
"""

from __future__ import annotations

import html
import re
import sys
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

FREE = 0.005  # nats below which a word counts as certain
HIGH = 0.36  # em of a bar for each nat
CAPTION = (
    "Nora’s story once more, as its program sees it. The taller the bar above a word, the less"
    " likely the program was to write that word there. A word without a bar was certain."
)


def quoted(page: str) -> str:
    """The first quotation of a Markdown page, as one line, with typewriter's quotation marks.

    >>> quoted("# A\\n\\n> He said\\n> “no”.\\n\\nB\\n\\n> C")
    'He said "no".'
    """
    found = re.search(r"(?:^> .*\n?)+", page, flags=re.M)
    words = " ".join(re.sub(r"^> ", "", found[0], flags=re.M).split()) if found else ""
    return words.replace("“", '"').replace("”", '"')


def priced(story: str, root: Path) -> list[tuple[str, float]]:
    """Each word of a story with what it costs, in nats. ValueError where it is no story."""
    sys.path.insert(0, str(root))  # the course's own gptlib, whichever else is installed
    try:
        from gptlib import corpus
    finally:
        sys.path.remove(str(root))
    derivations, failure, prices = corpus.GRAMMAR.read(story)
    if not derivations:
        raise ValueError(f"the quotation is no story of the grammar: {failure}")
    found, at = [], 0
    for word in story.split(" "):
        end = at + len(word)
        found.append((word, prices[end] - prices[max(at - 1, 0)]))
        at = end + 1
    return found


def figure(words: list[tuple[str, float]]) -> str:
    """The words as HTML, with a bar above each that could have been another."""
    drawn, said = [], []
    for word, nats in words:
        shown = html.escape(re.sub(r'^"', "“", word).replace('"', "”"))
        if nats < FREE:
            drawn.append(shown)
        else:
            drawn.append(f'<b style="--high: {nats * HIGH:.2f}em">{shown}</b>')
            said.append(f"{word.strip(chr(34) + '.,?')} {nats:.1f}")
    return (
        f'<figure class="prices" id="figure-prices"><p>{" ".join(drawn)}</p>'
        f"<figcaption>{CAPTION}</figcaption>"
        '<details class="fold in-words"><summary>In words</summary><p>The words with a bar, and'
        f" minus the logarithm of their probability: {html.escape(', '.join(said))}. All others"
        " 0.</p></details></figure>"
    )


class PricePicture(SphinxDirective):
    """`{price-picture}`: the story at the top of this page, word by word."""

    def run(self) -> list[nodes.Node]:
        root = Path(self.env.srcdir)
        for file in (root / "gptlib" / "corpus").glob("*.py"):
            self.env.note_dependency(str(file))
        page = Path(self.env.doc2path(self.env.docname)).read_text(encoding="utf-8")
        return [nodes.raw("", figure(priced(quoted(page), root)), format="html")]

"""Every term is introduced before it is used: the glossary against the prose of the chapters.

An entry of the glossary names the chapter that introduces its term. Read in the order of the book,
the prose before that chapter does not use the term, except in a sentence that names the chapter;
and in that chapter the term is in bold, in emphasis or in a heading by the time it is used.

Prose is what stands in the paragraphs, lists and tables of the Markdown cells, folded solutions
included, without code, formulas, quoted blocks and addresses. Words that also have an everyday
meaning count only in emphasis, as they do for the links (coursebook.EVERYDAY). The objectives of a
chapter may name what that chapter introduces. Only words are seen, not what they mean: that an
introduction explains anything, a reader has to judge.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import house
import nbformat
import pytest
from chapterfiles import ROOT, chapters
from course import course
from coursebook import EVERYDAY, glossary_entries, term_pattern
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin

MARKDOWN = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin)
OBJECTIVES = "After this chapter you can"
LEFT_OUT = "…"  # stands for code and formulas, so that the words around them do not join

Span = tuple[int, int]


# Reading -----------------------------------------------------------------------------------------


@dataclass
class Passage:
    """A paragraph, list item, table cell or heading, and what stands where in its text."""

    chapter: int
    heading: bool = False
    objective: bool = False  # a line of the list that says what the chapter will bring
    text: str = ""
    emphasis: list[Span] = field(default_factory=list)
    links: list[tuple[Span, str]] = field(default_factory=list)

    def sentence(self, at: int) -> Span:
        """Where the sentence around a position begins and ends."""
        ends = [m.end() for m in re.finditer(r"[\w…)\]”\"’*][.?!]+[)\]”\"’]*\s", self.text)]
        # The full stop of "2. Bigram", in a link or at the start of an exercise, ends nothing.
        names = [span for span, _ in self.links]
        ends = [end for end in ends if not overlaps((end - 1, end), names)]
        ends = [end for end in ends if not re.fullmatch(r"\d+\.\s", self.text[:end])]
        start = max((end for end in ends if end <= at), default=0)
        return start, min((end for end in ends if end > at), default=len(self.text))

    def points_to(self, chapter: int, at: int) -> bool:
        """Whether the sentence around a position names that chapter or links to it."""
        start, end = self.sentence(at)
        named = re.findall(r"(?i)\bchapters? (\d+(?:(?:, | and | to )\d+)*)", self.text[start:end])
        numbers = {int(number) for group in named for number in re.findall(r"\d+", group)}
        numbers |= {number_of(to) for span, to in self.links if overlaps(span, [(start, end)])}
        return chapter in numbers


def overlaps(span: Span, others: list[Span]) -> bool:
    """Whether a span shares a character with any of the others."""
    return any(a < span[1] and span[0] < b for a, b in others)


def number_of(path: str) -> int | None:
    """The number of a chapter's file; None for any other file or address."""
    found = re.match(r"(\d+)_[^#]*\.ipynb", Path(path).name)
    return int(found[1]) if found else None


def read_inline(pieces, passage: Passage) -> Passage:
    """Fill a passage from the pieces of its text: words, emphasis, links, code."""
    opened: list[tuple[int, str]] = []
    for piece in pieces:
        at = len(passage.text)
        if piece.nesting > 0:
            opened.append((at, piece.attrs.get("href", "")))
        elif piece.nesting < 0:
            start, address = opened.pop()
            if piece.type == "link_close":
                passage.links.append(((start, at), address))
            else:
                passage.emphasis.append((start, at))
        elif piece.type in ("softbreak", "hardbreak"):
            passage.text += " "
        elif piece.type != "html_inline":
            passage.text += piece.content if piece.type == "text" else LEFT_OUT
    return passage


def passages(markdown: str, chapter: int) -> list[Passage]:
    """The prose of a Markdown text, passage by passage."""
    found, inside, objectives = [], [], False
    for token in MARKDOWN.parse(markdown):
        if token.nesting:
            inside = [*inside, token.type] if token.nesting > 0 else inside[:-1]
        if token.type != "inline" or "blockquote_open" in inside:
            continue
        in_list = "list_item_open" in inside
        objectives = objectives and in_list
        start = Passage(chapter, heading="heading_open" in inside, objective=objectives)
        found.append(read_inline(token.children, start))
        objectives = objectives or OBJECTIVES in found[-1].text
    return found


def prose_of(path: Path) -> list[Passage]:
    """The prose of a chapter."""
    cells = nbformat.read(path, as_version=4).cells
    text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return passages(text, number_of(path.name))


def numbered_chapters() -> list[Path]:
    """The chapters that have a number, in the order of _toc.yml."""
    return [path for path in chapters(course()) if number_of(path.name)]


# What is used before it is introduced ------------------------------------------------------------


def uses(names: list[str], passage: Passage, every_name: list[str]) -> list[Span]:
    """Where a passage uses a term by one of its names, in order.

    "entropy" is not used by "conditional entropy" where that is a term of its own.
    """
    found = []
    for name in names:
        longer = [term for term in every_name if name in term and term not in names]
        taken = [hit.span() for term in longer for hit in term_pattern(term).finditer(passage.text)]
        spans = [hit.span() for hit in term_pattern(name).finditer(passage.text)]
        if name in EVERYDAY:
            spans = [span for span in spans if overlaps(span, passage.emphasis)]
        found += [span for span in spans if not overlaps(span, taken)]
    return sorted(found)


def says(passage: Passage, at: int) -> str:
    start, end = passage.sentence(at)
    return f"chapter {passage.chapter}: {passage.text[start:end].strip()}"


def used_too_early(home: int, found: list[tuple[Passage, list[Span]]]) -> list[str]:
    """The sentences of earlier chapters that use a term and do not name its chapter."""
    return [
        f"chapter {home} introduces it, used in {says(passage, start)}"
        for passage, spans in found
        for start, _ in spans
        if passage.chapter < home and not passage.heading and not passage.points_to(home, start)
    ]


def used_plainly(home: int, found: list[tuple[Passage, list[Span]]]) -> list[str]:
    """The first use in the term's own chapter, if nothing has introduced the term by then."""
    here = [(p, spans) for p, spans in found if p.chapter == home and not p.objective and spans]
    for passage, spans in here:
        if passage.heading or any(overlaps(span, passage.emphasis) for span in spans):
            break
        return [f"plain at its first use in {says(passage, spans[0][0])}"]
    in_use = any(not passage.heading for passage, _ in here)
    return [] if in_use else [f"chapter {home} should introduce it and does not use it"]


def faults(glossary: str, book: list[Passage], coming=()) -> list[str]:
    """What is wrong with the order of terms in a book, in words.

    `coming` holds the numbers of chapters that are planned and not yet in the book.
    """
    entries = glossary_entries(glossary)
    every_name = [name for names, _ in entries for name in names]
    there = {passage.chapter for passage in book}
    found = []
    for names, home in entries:
        if home is None:
            wrong = ["its entry does not end with the chapter that introduces it"]
        elif home not in there | set(coming):
            wrong = [f"its entry names chapter {home}, and there is none"]
        else:
            where = [(passage, uses(names, passage, every_name)) for passage in book]
            wrong = used_too_early(home, where)
            wrong += used_plainly(home, where) if home in there else []
        found += [f"{names[0]}: {fault}" for fault in wrong]
    return found


# The book ----------------------------------------------------------------------------------------


def test_the_chapters_come_in_the_order_of_their_numbers():
    numbers = [number_of(path.name) for path in numbered_chapters()]
    assert numbers and numbers == sorted(set(numbers))


def test_every_term_is_introduced_before_it_is_used():
    glossary = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
    book = [passage for path in numbered_chapters() for passage in prose_of(path)]
    assert len(glossary_entries(glossary)) > 80 and len(book) > 500
    found = faults(glossary, book, coming=house.chapters_of(house.table()))
    assert not found, "\n".join(["", *found])


# The test itself ---------------------------------------------------------------------------------

GLOSSARY = """
:::{glossary}
**entropy**
  Surprise. Chapter 2.

**conditional entropy**
  What is left of it. Chapter 2.

**shortcut**
**skip connection**
  A way around. Chapter
  2.

**head**
  One of several. Chapter 2.
:::
"""
SECOND = """# 2. Second

**After this chapter you can**

- measure entropy and *conditional entropy*;

The **entropy** is a mean. What is left is the *conditional entropy*, here 0.5. A **head** has
a **shortcut**, or skip connection, in each
layer.
"""


def book_of(*chapters: str) -> list[Passage]:
    texts = enumerate(chapters, 1)
    return [passage for number, text in texts for passage in passages(text, number)]


@pytest.mark.parametrize(
    "first",
    [
        "Nothing of it, by head or by hand.",
        "Measured in chapter 2 by its entropy.",
        "Its entropy is for [later](02_second.ipynb#there).",
        "## Entropy\n\nThe `entropy` is $entropy$.\n\n> Quoted entropy.",
        "```python\nentropy = 1\n```\n\n[Here](entropy.md).",
        "Written as entropy-like.",
    ],
)
def test_a_book_in_order_has_no_faults(first):
    assert faults(GLOSSARY, book_of(first, SECOND)) == []


@pytest.mark.parametrize(
    ("first", "fault"),
    [
        ("The entropies differ.", "entropy: chapter 2 introduces it, used in chapter 1: The ent"),
        ("Chapter 2 has it. The entropy\nis one.", "used in chapter 1: The entropy is one."),
        ("By 0.5. Its entropy, see chapter 3.", "used in chapter 1: Its entropy, see chapter 3."),
        ("Its *entropy*.", "entropy: chapter 2"),
        ("- **After this chapter you can**\n\n- use entropy", "entropy: chapter 2"),
        ("| a | b |\n|---|---|\n| c | entropy |", "used in chapter 1: entropy"),
        ("<details><summary>Solution</summary>\n\nThe entropy.\n\n</details>", "The entropy."),
        ("A skip connection.", "shortcut: chapter 2"),
        ("The conditional entropy.", "conditional entropy: chapter 2"),
        ("A **head**.", "head: chapter 2"),
    ],
)
def test_a_term_that_is_used_too_early_is_found(first, fault):
    found = faults(GLOSSARY, book_of(first, SECOND))
    assert len(found) == 1 and fault in found[0]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("**entropy**", "entropy", "entropy: plain at its first use in chapter 2: The entropy is"),
        ("The **entropy**", "Its entropy. The **entropy**", None),
        ("The **entropy**", "Its entropy.\n\nThe **entropy**", "entropy: plain at its first use"),
        ("The **entropy**", "## Entropy\n\nThe entropy", None),
        ("**shortcut**", "path", "shortcut: plain at its first use"),
        ("**shortcut**, or skip connection,", "path", "shortcut: chapter 2 should introduce it"),
        ("**head**", "head", "head: chapter 2 should introduce it and does not use it"),
    ],
)
def test_a_term_that_its_chapter_does_not_introduce_is_found(old, new, fault):
    assert old in SECOND
    found = faults(GLOSSARY, book_of("Nothing.", SECOND.replace(old, new)))
    assert len(found) == bool(fault) and (not fault or fault in found[0])


def test_an_entry_must_name_a_chapter_that_is_there_or_planned():
    book = book_of("Nothing.", SECOND)
    missing = GLOSSARY.replace("Surprise. Chapter 2.", "Surprise.")
    assert faults(missing, book) == [
        "entropy: its entry does not end with the chapter that introduces it"
    ]
    later = GLOSSARY.replace("around. Chapter\n  2.", "around. Chapter\n  9.")
    assert faults(later, book) == ["shortcut: its entry names chapter 9, and there is none"]
    assert len(faults(later, book, coming=[9])) == 2, "chapter 2 uses both names, and no chapter 9"
    assert faults(later, book_of("", SECOND.replace("or skip", "in chapter 9 a skip")), [9]) == []


def test_words_in_a_notebook_are_read_and_code_is_not(tmp_path):
    cells = [nbformat.v4.new_markdown_cell("The *long\nway*."), nbformat.v4.new_code_cell("x = 1")]
    path = tmp_path / "03_made_up.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    assert prose_of(path) == [Passage(3, text="The long way.", emphasis=[(4, 12)])]

"""The list of sources that JupyterLab shows is that of references.bib, and links land in it."""

from __future__ import annotations

import doctest
import re

import bibliography
import coursebook
import pytest
from bibliography import BEGIN, END
from chapterfiles import ROOT, chapters, read

PAGE = ROOT / "book" / "references.md"
BIB = PAGE.with_suffix(".bib")
ENTRY = re.compile(r'^<a id="(\w+)"></a>(.+)$', flags=re.M)
ONE = """@misc{a1, author = {Doe, Jane}, title = {On {BPE}_x}, year = 1999,
howpublished = {\\url{https://example.org/a_b/}}}"""


def test_the_worked_values():
    assert doctest.testmod(bibliography).failed == 0


def test_the_page_is_what_the_sources_make_of_it():
    text = PAGE.read_text(encoding="utf-8")
    wanted = bibliography.written(text, BIB)
    assert text == wanted, "run python book/tools/bibliography.py"


def test_every_source_stands_in_it_once_with_its_title_and_a_link():
    listed = dict(ENTRY.findall(PAGE.read_text(encoding="utf-8")))
    texts = BIB.read_text(encoding="utf-8").split("\n@")
    assert len(texts) == len(listed) > 80
    for text in texts:
        key = re.search(r"\{(\w+),", text)[1]
        title = re.search(r"\btitle\s*=\s*\{(.*)\},?$", text, flags=re.M)[1]
        letters = re.sub(r"\\\W|\\\w+|\W", "", title).lower()
        assert letters in re.sub(r"\W", "", listed[key]).lower(), key
        assert "](http" in listed[key], key
    assert "url{" not in PAGE.read_text(encoding="utf-8")


def test_every_link_of_a_notebook_to_a_source_lands_on_an_entry():
    known, seen = dict(ENTRY.findall(PAGE.read_text(encoding="utf-8"))), 0
    for path in chapters(ROOT):
        text = "\n".join(c.source for c in read(path).cells if c.cell_type == "markdown")
        for key in re.findall(r"references\.md#(\w+)", text):
            assert key in known, (path.name, key)
            seen += 1
    assert seen > 80


def test_a_source_of_every_kind_of_sign(tmp_path):
    (tmp_path / "a.bib").write_text(ONE, encoding="utf-8")
    page = bibliography.written(f"# R\n\n{BEGIN} old {END}\n", tmp_path / "a.bib")
    (key, text), = ENTRY.findall(page)  # fmt: skip
    assert key == "a1" and text.startswith("Jane Doe. On BPE")
    assert "[https://example.org/a\\_b/](https://example.org/a\\_b/), 1999." in text
    assert bibliography.written(page, tmp_path / "a.bib") == page
    with pytest.raises(ValueError, match="must stand once"):
        bibliography.written("# R\n", tmp_path / "a.bib")


def test_the_book_makes_its_own_list():
    text = [PAGE.read_text(encoding="utf-8")]
    coursebook.make_list_of_references(None, "book/references", text)
    assert text[0].count("{bibliography}") == 1 and "<a id=" not in text[0]
    assert text[0].startswith("# References\n\nWhat the chapters build on")
    other = [f"{BEGIN} x {END}"]
    coursebook.make_list_of_references(None, "book/intro", other)
    assert other == [f"{BEGIN} x {END}"]

"""What is put into every page before it is written, on small pages: no book is built for this."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import finish
import folds
import pytest
from bs4 import BeautifulSoup
from chapterfiles import chapters, read, tags
from course import course
from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.utils import new_document

LONG = "A tokenizer turns a text into <em>integers</em> and back, and loses no comma on the way."
PAGE = """<!DOCTYPE html><html lang="en" data-content_root="../"><head><title>1. Tokenizer</title>
</head><body><article class="bd-article"><p>Short.</p><p>{words}</p>
<a class="reference internal" href="../book/glossary.html#term-token" title="x">token</a>
</article></body></html>"""


def page(words: str) -> BeautifulSoup:
    return BeautifulSoup(finish.describe(PAGE.format(words=words), "The book"), "html.parser")


def said(soup: BeautifulSoup, name: str) -> list[str]:
    found = soup.find_all("meta", attrs={"name": name}) + soup.find_all("meta", property=name)
    return [meta["content"] for meta in found]


def test_a_page_describes_itself_by_its_first_long_paragraph():
    soup, words = page(LONG), re.sub("<.*?>", "", LONG)
    assert said(soup, "description") == said(soup, "og:description") == [words]
    assert said(soup, "og:title") == ["1. Tokenizer"]
    assert said(soup, "og:site_name") == ["The book"] and said(soup, "og:type") == ["article"]


def test_a_long_description_is_cut_between_words_and_signs_do_no_harm():
    (words,) = said(page('He said "no" &amp; went, ' + "on and " * 60), "description")
    assert words.startswith('He said "no" & went, on and') and words.endswith(" …")
    assert len(words) <= 202 and words.split()[-2] in ("on", "and")


def test_a_page_with_no_paragraph_has_no_description():
    assert said(page("Short, too."), "description") == []


def test_a_term_says_what_it_means_when_the_pointer_rests_on_it():
    text = PAGE.format(words=LONG)
    soup = BeautifulSoup(finish.explain_terms(text, {"term-token": 'A "unit".'}), "html.parser")
    assert soup.select_one("article a")["title"] == 'A "unit".'
    assert finish.explain_terms(text, {}) == text


def test_a_wrong_address_has_a_page_that_leads_to_the_start(tmp_path):
    (tmp_path / "_static" / "scripts").mkdir(parents=True)
    config = SimpleNamespace(html_title="A <b>ook", project="")
    builder = SimpleNamespace(format="html")
    finish.lay_out(SimpleNamespace(builder=builder, outdir=tmp_path, config=config), None)
    soup = BeautifulSoup((tmp_path / "404.html").read_text(encoding="utf-8"), "html.parser")
    assert soup.title.get_text() == "No such page — A <b>ook"
    assert soup.select_one("main a")["href"] == "index.html"
    assert all("://" not in str(link.get("href")) for link in soup.select("[href]"))


@pytest.fixture
def chapter():
    """A chapter of some words, three exercises, and a solution; as Sphinx reads it."""
    document = new_document("chapters/01_x.ipynb", get_default_settings())
    document.settings.env = SimpleNamespace(docname="chapters/01_x", note_dependency=str)

    def words(title, *texts):
        bold = nodes.strong("", title) if title else nodes.Text("")
        return nodes.paragraph("", "", bold, *map(nodes.Text, texts))

    inside = [words("1. By hand.", " Do it."), words("2. Count.", " Do it, too."), words("", "No.")]
    section = nodes.section("", nodes.title("", "Exercises"), *inside)
    turns = [words("Your turn 1: a mask.", " Write it."), words("Your turn: think.", " Why?")]
    before = [words("", "word " * 3_000), *turns]
    opening = nodes.section("", nodes.title("", "1. X"), *before, section)
    document += opening
    return document


def test_each_exercise_has_an_address(chapter):
    folds.NameExercises(chapter).apply()
    found = [p["ids"] for p in chapter.findall(nodes.paragraph) if p["ids"]]
    assert found == [["your-turn-1"], ["exercise-1"], ["exercise-2"]]
    assert chapter.astext().count('href="#exercise-2"') == 1
    assert chapter.astext().count('href="#your-turn-1"') == 1


@pytest.mark.parametrize("path", chapters(course()), ids=lambda p: p.stem)
def test_every_piece_to_write_begins_with_the_words_that_give_it_an_address(path):
    cells = read(path).cells
    # The cells below a numbered exercise end in "-code"; those on the way do not.
    asked = [c for c in cells if "exercise" in tags(c) and not c.id.endswith("-code")]
    texts = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    turns = re.findall(r"^\*\*Your turn (\d+): ", texts, re.MULTILINE)
    assert [int(number) for number in turns] == list(range(1, len(asked) + 1))


def test_a_chapter_says_how_long_it_is(chapter, tmp_path, monkeypatch):
    times = tmp_path / "chapter_time.json"
    times.write_text('{"seconds": {"01_x": [52.0, 80.0]}}')
    monkeypatch.setattr(folds, "RUNNING", times)
    folds.SayReadingTime(chapter).apply()
    (line,) = (p for p in chapter.findall(nodes.paragraph) if "reading-time" in p["classes"])
    assert line.astext().startswith("About 3,000 words: 15 minutes to read")
    assert line.astext().endswith("Its cells run for about one minute on one core.")
    title = next(iter(chapter.findall(nodes.title)))
    assert title.parent.index(line) == title.parent.index(title) + 1


def test_every_chapter_has_a_running_time():
    seconds = json.loads(folds.RUNNING.read_text(encoding="utf-8"))["seconds"]
    assert seconds.keys() == {path.stem for path in chapters()}

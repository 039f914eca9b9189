"""The printed book: every page in its order, an outline, links that lead somewhere."""

from __future__ import annotations

from pathlib import Path

import pdf
import pytest
from bs4 import BeautifulSoup
from course import course
from pypdf import PdfReader

PAGE = """<html><head><link rel="stylesheet" href="../_static/a.css"></head><body>
<article class="bd-article"><h1 id="top">{title}<a class="headerlink" href="#top">#</a></h1>
<details><summary>Solution</summary>{text}</details><script>1</script></article></body></html>"""


@pytest.fixture
def small(tmp_path) -> Path:
    """A book of two pages, built: its root, where `html` is the folder of the pages."""
    (tmp_path / "_toc.yml").write_text(
        "root: book/intro\nparts:\n- caption: One\n  chapters:\n  - file: chapters/01_a\n"
    )
    (tmp_path / "CITATION.cff").write_text("title: Small\nversion: 1.2.3\n")
    texts = {
        "book/intro": '<a href="../chapters/01_a.html#top">on</a> <a href="../a.ipynb">file</a>',
        "chapters/01_a": '<img src="../_images/a.svg"> <a href="#top">up</a>'
        ' <a href="https://example.org/x">out</a>',
    }
    for page, text in texts.items():
        path = tmp_path / "html" / f"{page}.html"
        path.parent.mkdir(parents=True)
        path.write_text(PAGE.format(title=page, text=text), encoding="utf-8")
    return tmp_path


def test_pages_become_one_and_their_links_follow(small):
    page = BeautifulSoup(pdf.one_page(small / "html", small), "html.parser")
    links = [link.get("href") for link in page.select("details a")]
    there = "chapters-01_a--top"
    assert links == [f"#{there}", None, f"#{there}", "https://example.org/x"]
    assert page.select_one(f"#{there}").get_text() == "chapters/01_a"
    assert page.select_one("img")["src"] == "html/_images/a.svg"
    assert page.select_one("link")["href"] == "html/_static/a.css"
    assert all(fold.has_attr("open") for fold in page.select("details"))
    assert not page.select("script, .headerlink")
    assert [h.get_text() for h in page.select("h1")] == ["Contents", "book/intro", "chapters/01_a"]


def test_without_a_browser_it_is_said(monkeypatch):
    monkeypatch.setattr(pdf, "BROWSERS", ("no-such-browser",))
    monkeypatch.delenv("CHROMIUM", raising=False)
    with pytest.raises(SystemExit, match="CHROMIUM"):
        pdf.main()


class Fails:
    """A browser that ends in the middle of a page."""

    def new_page(self):
        raise OSError("the browser has gone")


def test_a_browser_that_fails_leaves_the_last_book_in_its_place(small):
    (small / "book.pdf").write_text("the last one")
    with pytest.raises(OSError, match="gone"):
        pdf.print_book(Fails(), small / "book.pdf", small / "html", small)
    assert (small / "book.pdf").read_text() == "the last one"
    assert [path.name for path in small.glob("book.*")] == ["book.pdf"]


@pytest.fixture(scope="module")
def printed(html, browser, tmp_path_factory) -> PdfReader:
    target = tmp_path_factory.mktemp("pdf") / "gptlib-book.pdf"
    pdf.print_book(browser, target, html, course())
    return PdfReader(target)


def titles(html: Path) -> list[str]:
    """The heading of each page of the built book, in the order of the contents."""
    found = []
    for _, pages in pdf.order(course()):
        for page in pages:
            text = (html / f"{page}.html").read_text(encoding="utf-8")
            heading = BeautifulSoup(text, "html.parser").select_one("article h1")
            found.append(heading.get_text().removesuffix("#"))
    return found


def test_the_printed_book_has_every_page_in_its_outline(printed, html):
    top = [item for item in printed.outline if not isinstance(item, list)]
    assert [item.title for item in top] == ["Contents", *titles(html)]
    places = [printed.get_destination_page_number(item) for item in top]
    assert places == sorted(set(places))  # each begins a page of its own
    for item, place in zip(top, places, strict=True):
        assert item.title in " ".join(printed.pages[place].extract_text().split())


def test_links_in_the_printed_book_lead_somewhere(printed):
    known, inside, outside = set(printed.named_destinations), [], []
    for page in printed.pages:
        for annotation in page.get("/Annots") or []:
            link = annotation.get_object()
            if "/Dest" in link:
                inside.append(str(link["/Dest"]))
            elif "/A" in link:
                outside.append(str(link["/A"].get("/URI", "")))
    assert len(inside) > 300 and set(inside) <= known
    assert outside and all(uri.startswith(("https://", "http://")) for uri in outside)

"""The built book: links that resolve, pictures with words, and the extension behind both."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import coursebook
import pytest
import yaml
from bookbuild import ROOT, chapters, files_behind, fingerprint


class Page(HTMLParser):
    """The ids, the links and the pictures of one page."""

    def __init__(self, text: str):
        super().__init__()
        self.ids, self.links, self.images = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if "id" in attributes:
            self.ids.add(attributes["id"])
        if tag == "a" and attributes.get("name"):
            self.ids.add(attributes["name"])
        for name in ("href", "src"):
            if attributes.get(name) is not None:
                self.links.append(attributes[name])
        if tag == "img":
            self.images.append(attributes)


def read(folder: Path) -> dict[Path, Page]:
    """Every page of a folder of HTML."""
    return {
        path: Page(path.read_text(encoding="utf-8"))
        for path in sorted(folder.rglob("*.html"))
        if path.relative_to(folder).parts[0] != "_static"
    }


def broken_links(pages: dict[Path, Page]) -> list[str]:
    """The links inside the book that lead to no file or to no anchor."""
    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target = target / "index.html"
            anchor = unquote(parts.fragment)
            missing_anchor = anchor and target in pages and anchor not in pages[target].ids
            if not target.exists() or missing_anchor:
                broken.append(f"{path.name}: {link}")
    return broken


@pytest.fixture(scope="module")
def pages(html):
    return read(html.resolve())


def test_every_internal_link_and_anchor_resolves(pages):
    assert len(pages) > 8
    assert broken_links(pages) == []


def test_every_picture_has_words(pages):
    silent = [(p.name, i) for p, page in pages.items() for i in page.images if not i.get("alt")]
    assert silent == []


def test_every_page_of_the_book_is_in_it(html):
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    for page in (*(ROOT / "book").glob("*.md"), *chapters()):
        name = page.relative_to(ROOT).with_suffix("").as_posix()
        assert name in toc, f"{name} is missing from _toc.yml"
        assert (html / f"{name}.html").exists()


def test_each_chapter_can_be_downloaded_as_it_stands(html, pages):
    for chapter in chapters():
        source = html / "_sources" / "chapters" / chapter.name
        assert source.read_bytes() == chapter.read_bytes()
        page = pages[(html / "chapters" / chapter.stem).with_suffix(".html").resolve()]
        assert f"../_sources/chapters/{chapter.name}" in page.links


def test_buttons_to_other_sites_stand_only_where_an_address_is_set(pages):
    settings = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    address = settings["repository"]["url"]
    for path, page in pages.items():
        colab = [link for link in page.links if "colab.research" in link]
        is_chapter = path.parent.name == "chapters"
        assert bool(colab) == bool(address and is_chapter), path


def test_a_folded_solution_is_folded(html):
    text = "".join(
        (html / "chapters" / f"{chapter.stem}.html").read_text(encoding="utf-8")
        for chapter in chapters()
    )
    assert "<summary>" in text and "<details open" not in text
    assert "&lt;details" not in text and "&lt;summary" not in text


def test_the_set_up_cell_is_not_on_the_page(html):
    for chapter in chapters():
        page = (html / "chapters" / f"{chapter.stem}.html").read_text(encoding="utf-8")
        assert "find_spec" not in page


def test_a_broken_link_and_a_broken_anchor_are_found(tmp_path):
    (tmp_path / "a.html").write_text('<h1 id="x">a</h1><a href="b.html#y">b</a>')
    (tmp_path / "b.html").write_text('<a href="a.html#x">a</a><a href="c.html">c</a>')
    assert broken_links(read(tmp_path.resolve())) == ["a.html: b.html#y", "b.html: c.html"]


# The extension -----------------------------------------------------------------------------------

GLOSSARY = """# Glossary

```{glossary}
byte pair encoding
BPE
  Merging. Chapter 1.

entropy
  Surprise, in nats.

  For example, a coin. Chapter 2.

loss
  What is made small.
```
"""


def test_the_glossary_is_read_with_the_chapter_of_each_term():
    terms = coursebook.glossary_terms(GLOSSARY)
    assert terms == {"byte pair encoding": 1, "BPE": 1, "entropy": 2, "loss": 1}


@pytest.mark.parametrize(
    ("term", "text", "found"),
    [
        ("token", "Two tokens.", "tokens"),
        ("token", "A tokenizer.", None),
        ("entropy", "Entropies differ", "Entropies"),
        ("loss", "many losses", "losses"),
        ("cross-entropy", "the cross-entropy is", "cross-entropy"),
        ("entropy", "the cross-entropy is", None),
        ("BPE", "bpe is", None),
        ("causal mask", "the causal\nmask", "causal\nmask"),
    ],
)
def test_a_term_is_found_as_a_whole_word(term, text, found):
    hit = coursebook.term_pattern(term).search(text)
    assert (hit and hit[0]) == found


def test_the_real_glossary_is_read():
    terms = coursebook.glossary_terms((ROOT / "book" / "glossary.md").read_text(encoding="utf-8"))
    assert len(terms) >= 35 and {"token", "logits", "causal mask"} <= set(terms)
    assert terms["causal mask"] == 3
    missing = {term for term in coursebook.EVERYDAY if term not in terms}
    assert not missing, f"listed as everyday words, but not in the glossary: {missing}"


def test_chapters_link_to_the_glossary_once_a_term(html, pages):
    for chapter in chapters():
        page = pages[(html / "chapters" / f"{chapter.stem}.html").resolve()]
        links = [link for link in page.links if "glossary.html#term-" in link]
        assert links and len(links) == len(set(links)), chapter.stem


# What is executed again --------------------------------------------------------------------------


def test_the_modules_that_a_chapter_imports_are_seen():
    code = (
        "import gptlib.gpt as g, torch\nfrom gptlib import corpus\nfrom gptlib.given import plots"
    )
    names = {path.relative_to(ROOT / "gptlib").as_posix() for path in files_behind(code)}
    assert {"gpt.py", "block.py", "corpus/__init__.py", "corpus/storybook.py"} <= names
    assert {"given/plots.py", "given/__init__.py", "__init__.py"} <= names
    assert "training.py" not in names


def test_a_changed_module_changes_the_fingerprint_of_the_chapters_that_use_it(
    tmp_path, monkeypatch
):
    import bookbuild

    files = {
        "gptlib/__init__.py": "",
        "gptlib/a.py": "from .b import x",
        "gptlib/b.py": "x = 1",
        "gptlib/c.py": "y = 1",
        "requirements.txt": "",
    }
    cell = {"cell_type": "code", "source": ["import gptlib.a\n", "%time 1"]}
    (tmp_path / "n.ipynb").write_text(json.dumps({"cells": [cell]}))
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(bookbuild, "ROOT", tmp_path)
    before = fingerprint(tmp_path / "n.ipynb")
    (tmp_path / "gptlib/c.py").write_text("y = 2")
    assert fingerprint(tmp_path / "n.ipynb") == before
    (tmp_path / "gptlib/b.py").write_text("x = 2")
    assert fingerprint(tmp_path / "n.ipynb") != before

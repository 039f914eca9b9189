"""The whole book as one PDF: its built pages, one after the other, printed by a browser.

    .venv/bin/python book/tools/pdf.py

The pages of _build/html are put into one, in the order of _toc.yml: folds stand open, widgets are
the figures that stand in for them, and a link to another page leads to its place in the PDF.
Headings become its outline.
"""

from __future__ import annotations

import os
import posixpath
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dates
import yaml
from bs4 import BeautifulSoup, Tag
from running import ROOT, say

from gptlib.given.files import replacing

HTML = ROOT / "_build" / "html"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
FLAGS += ["--disable-sync", "--no-first-run"]
ABOUT_IDS = ("for", "aria-labelledby", "aria-describedby", "aria-controls")
DROPPED = "script, button, .headerlink, .go-on, .copybtn"
STYLE = """<style>
  @page { size: A4; margin: 18mm 16mm 20mm; }
  body, html { overflow: visible; height: auto; }
  .bd-article { max-width: none; padding: 0; }
  main > article { break-before: page; }
  /* A letter that sticks out of its line is drawn on both sides of a page's end, and said twice in
     the outline. */
  .bd-article :is(h1, h2, h3) { line-height: 1.3; }
  .title-page { text-align: center; padding-top: 30vh; }
  .contents li { break-inside: avoid; }
</style>"""
FOOT = """<p style="font: 8pt sans-serif; color: #555; width: 100%; text-align: center">
<span class="pageNumber"></span></p>"""


def find_browser(env=os.environ) -> str | None:
    """The path of a Chromium or Chrome: the one that CHROMIUM names, or the first that is found."""
    return env.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


def order(root: Path = ROOT) -> list[tuple[str, list[str]]]:
    """The parts of the book, each with its pages: [(caption, ["chapters/01_tokenizer", ...])]."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    parts = [(p["caption"], [c["file"] for c in p["chapters"]]) for p in toc["parts"]]
    return [("", [toc["root"]]), *parts]


def anchor(page: str, name: str = "") -> str:
    """The id in the one page of what was `name` in `page`; of the page itself without a name."""
    return page.replace("/", "-") + (f"--{name}" if name else "")


def article(html: Path, page: str, known: set[str]) -> Tag:
    """The text of a page, with ids and addresses as the one page needs them."""
    text = (html / f"{page}.html").read_text(encoding="utf-8")
    body = BeautifulSoup(text, "html.parser").select_one("article.bd-article")
    assert body is not None, page
    for part in body.select(DROPPED):
        part.decompose()
    for fold in body.select("details"):
        fold["open"] = ""
    for part in body.select("[id]"):
        part["id"] = anchor(page, str(part["id"]))
    for name in ABOUT_IDS:
        for part in body.select(f"[{name}]"):
            part[name] = " ".join(anchor(page, one) for one in str(part[name]).split())
    for part in body.select("[href], [src]"):
        for name in {"href", "src"} & set(part.attrs):
            there = address(page, str(part[name]), known)
            if there is None:
                del part[name]
            else:
                part[name] = there
    body["id"] = anchor(page)
    return body


def address(page: str, link: str, known: set[str]) -> str | None:
    """Where a link of `page` leads in the PDF; None where it cannot, as to a file of the book."""
    if ":" in link.split("/")[0]:  # another host, or data
        return link
    path, _, name = link.partition("#")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), path)) if path else page
    if path.removesuffix(".html") in known:
        return "#" + anchor(path.removesuffix(".html"), name)
    return f"html/{path}" if path.startswith(("_images/", "_static/")) else None


def one_page(html: Path = HTML, root: Path = ROOT) -> str:
    """The whole book as the text of one page that lies beside the folder of the built one."""
    parts = order(root)
    known = {page for _, pages in parts for page in pages}
    first = BeautifulSoup(
        (html / f"{parts[0][1][0]}.html").read_text(encoding="utf-8"), "html.parser"
    )
    styles = [str(link) for link in first.select("link[rel=stylesheet]")]
    head = "\n".join(styles).replace('href="../', 'href="html/')
    about, date = dates.about(root), dates.date_of(root)
    articles = {page: article(html, page, known) for page in sorted(known)}
    return (
        f'<!DOCTYPE html><html lang="en" data-theme="light"><head><meta charset="utf-8">'
        f"<title>{about['title']}</title>{head}{STYLE}</head><body><main>"
        f'<div class="title-page"><p style="font-size: 2.4rem">{about["title"]}</p>'
        f"<p>Version {about['version']}{f', {date}' if date else ''}</p></div>"
        f'<article class="bd-article"><section class="contents"><h1>Contents</h1>'
        + "".join(contents(parts, articles))
        + "</section></article>"
        + "".join(str(articles[page]) for _, pages in parts for page in pages)
        + "</main></body></html>"
    )


def contents(parts: list[tuple[str, list[str]]], articles: dict[str, Tag]) -> Iterator[str]:
    """The list of contents, part by part."""
    for caption, pages in parts:
        yield f"<p><strong>{caption}</strong></p><ul>"
        for page in pages:
            heading = articles[page].select_one("h1")
            title = heading.get_text() if heading else page
            yield f'<li><a href="#{anchor(page)}">{title}</a></li>'
        yield "</ul>"


def print_book(browser: Any, target: Path, html: Path = HTML, root: Path = ROOT) -> None:
    """Let an open browser print the built book into `target`: all of it, or nothing."""
    page_file = html.with_name("book.html")
    page_file.write_text(one_page(html, root), encoding="utf-8")
    try:
        page = browser.new_page()
        page.set_default_timeout(0)  # a slow computer needs minutes
        page.goto(page_file.as_uri())
        with replacing(target) as unfinished:
            page.pdf(
                path=unfinished, scale=0.8, prefer_css_page_size=True, print_background=True,
                outline=True, tagged=True, display_header_footer=True, footer_template=FOOT,
                header_template="<p></p>",
            )  # fmt: skip
        page.close()
    finally:
        page_file.unlink()


def main() -> None:
    """Print the book that was built last. SystemExit without a browser."""
    from playwright.sync_api import sync_playwright

    program = find_browser()
    if not program:
        sys.exit("no Chromium or Chrome to print with: install one, or name it in CHROMIUM=...")
    say("printing the book; this takes a minute or two")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        print_book(browser, HTML.with_name("gptlib-book.pdf"))
        browser.close()
    say("_build/gptlib-book.pdf")


if __name__ == "__main__":
    main()

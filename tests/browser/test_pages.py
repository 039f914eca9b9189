"""Every page of the built book in a real browser that can reach this computer and nothing else."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from looking import LOOPBACK, NARROW, PATIENCE, UNFOLD, WIDE, ahead, pages_of, serve, wake

LAPTOP = 1280
# The cells that have a line wider than their box, each by its longest one.
CUT = """() => [...document.querySelectorAll('.cell_input pre')]
    .filter(e => e.scrollWidth > e.clientWidth)
    .map(e => 'a cell that is cut: ' + e.innerText.split('\\n')
        .reduce((a, b) => b.length > a.length ? b : a))"""


def opening(browser, address: str, width: int = WIDE, theme: str = "light") -> tuple:
    """A page that begins to load, and what has been wrong with it so far, in words."""
    problems = []
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)

    def guard(route):
        host = urlsplit(route.request.url).hostname
        if host in LOOPBACK:
            route.continue_()
        else:
            problems.append(f"asks another host: {route.request.url}")
            route.abort()

    context.route("**/*", guard)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.on("requestfailed", lambda r: problems.append(f"request failed: {r.url} ({r.failure})"))
    page.on("response", lambda r: r.status >= 400 and problems.append(f"{r.status}: {r.url}"))
    page.on("pageerror", lambda error: problems.append(f"script error: {error}"))
    page.on(
        "console",
        lambda m: m.type in ("error", "warning") and problems.append(f"console {m.type}: {m.text}"),
    )
    page.goto(address, wait_until="commit")
    return page, problems


def problems_on(page, problems: list[str]) -> list[str]:
    """Wait for a page that is opening, close it, and say everything that is wrong with it."""
    page.wait_for_load_state("networkidle")
    page.evaluate(UNFOLD)
    problems += wake(page)
    # Pictures further down load when they are scrolled to: look at all of them.
    page.evaluate("document.querySelectorAll('img').forEach(i => { i.loading = 'eager' })")
    page.wait_for_function("[...document.images].every(i => i.complete)")
    problems += page.evaluate(
        """() => [
            ...[...document.images].filter(i => !i.naturalWidth).map(i => 'no picture: ' + i.src),
            ...[...document.querySelectorAll('mjx-merror, .MathJax_Error')]
                .map(e => 'math that cannot be read: ' + e.textContent),
            ...[...document.querySelectorAll('span.math, div.math')]
                .filter(e => !e.querySelector('mjx-container'))
                .map(e => 'math left as source: ' + e.textContent.slice(0, 60)),
        ]"""
    )
    overflow = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    if overflow > 0:
        wide = page.evaluate(
            """() => [...document.querySelectorAll('main *')]
                .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
                .slice(0, 3).map(e => e.outerHTML.slice(0, 100))"""
        )
        width = page.viewport_size["width"]
        problems.append(f"{overflow} px wider than the window of {width} px: {wide}")
    if page.viewport_size["width"] > LAPTOP:  # on a telephone code may scroll
        page.set_viewport_size({"width": LAPTOP, "height": 900})
        problems += page.evaluate(CUT)
    page.context.close()
    return problems


@pytest.mark.parametrize(("width", "theme"), [(WIDE, "light"), (NARROW, "dark")])
def test_every_page_is_whole_and_asks_no_other_host(html, site, browser, width, theme):
    pages = pages_of(html)
    assert "book/intro.html" in pages and len(pages) > 5
    loading = ahead(pages, lambda page: opening(browser, f"{site}/{page}", width, theme))
    found = {page: problems_on(*one) for page, one in zip(pages, loading, strict=True)}
    assert not {page: problems for page, problems in found.items() if problems}


def test_mathematics_is_drawn(html, site, browser):
    pages = [p for p in pages_of(html) if 'class="math' in (html / p).read_text(encoding="utf-8")]
    assert pages, "no page of the book has a formula: this test looks at nothing"
    page = browser.new_page()
    page.goto(f"{site}/{pages[0]}", wait_until="networkidle")
    page.wait_for_selector("mjx-container mjx-math")
    page.close()


def test_a_folded_solution_opens_with_the_keyboard(html, site, browser):
    pages = [p for p in pages_of(html) if "<details" in (html / p).read_text(encoding="utf-8")]
    pages = [p for p in pages if p.startswith("chapters/")]
    assert pages, "no chapter has a folded solution: this test looks at nothing"
    page = browser.new_page()
    page.goto(f"{site}/{pages[0]}", wait_until="networkidle")
    details = page.locator("main details:not(.toggle-details):has(> summary)").first
    assert not details.evaluate("d => d.open")
    details.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert details.evaluate("d => d.open")
    page.close()


def test_the_growing_table_is_neither_wrapped_nor_cut(html, site, browser):
    texts = {page: (html / page).read_text(encoding="utf-8") for page in pages_of(html)}
    pages = [page for page, text in texts.items() if "above floor, %" in text]
    assert "chapters/06_gpt.html" in pages
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    for path in pages:
        page.goto(f"{site}/{path}", wait_until="networkidle")
        page.evaluate(UNFOLD)
        table = page.locator(".cell_output pre", has_text="above floor, %").first
        lines = table.inner_text().strip("\n").count("\n") + 1
        size = "e => [e.scrollWidth - e.clientWidth, e.clientHeight / parseFloat(style(e))]"
        size = size.replace("style(e)", "getComputedStyle(e).lineHeight")
        hidden, drawn = table.evaluate(size)
        assert hidden <= 0, f"{path}: the table is {hidden} px wider than its box"
        assert drawn < lines + 3, f"{path}: {lines} lines take the height of {drawn:.0f}"
    page.close()


def test_a_wide_figure_scrolls_on_a_telephone_and_is_not_shrunk(html, site, browser):
    pages = [p for p in pages_of(html) if "wide-figure" in (html / p).read_text(encoding="utf-8")]
    assert "chapters/07_training.html" in pages
    page = browser.new_page(viewport={"width": NARROW, "height": 900})
    page.goto(f"{site}/chapters/07_training.html", wait_until="networkidle")
    page.evaluate(UNFOLD)
    figures = page.locator("img.wide-figure").all()
    assert figures, "no figure of the page is wide: this test looks at nothing"
    for figure in figures:
        box, overflow = figure.evaluate(
            "e => [e.parentElement.clientWidth, getComputedStyle(e.parentElement).overflowX]"
        )
        assert figure.evaluate("e => e.clientWidth") > 1.4 * box and overflow == "auto"
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW
    page.close()


BROKEN = {
    "another host": ('<img src="http://example.org/a.png" alt="">', "asks another host"),
    "a missing picture": ('<img src="nowhere.png" alt="">', "no picture"),
    "a failed request": ('<script src="nowhere.js"></script>', "404"),
    "a script error": ("<script>throw new Error('oh')</script>", "script error: oh"),
    "a console error": ("<script>console.error('oh')</script>", "console error: oh"),
    "a broken widget": (
        '<div class="widget-failed">no luck</div><img class="widget-0" src="data:," alt="">',
        "no luck",
    ),
    "a wide page": ('<div style="width: 2000px">wide</div>', "wider than the window"),
    "a cut cell": (
        f'<div class="cell_input"><pre style="overflow: auto">{"x = 1; " * 300}</pre></div>',
        "a cell that is cut: x = 1",
    ),
    "undrawn math": (r'<span class="math">\(x\)</span>', "math left as source"),
}


@pytest.mark.parametrize(("body", "said"), BROKEN.values(), ids=BROKEN)
def test_a_broken_page_is_found(tmp_path, browser, body, said):
    head = '<!DOCTYPE html><title>t</title><link rel="icon" href="data:,"><main>'
    (tmp_path / "page.html").write_text(head + body, encoding="utf-8")
    server, address = serve(tmp_path)
    try:
        problems = problems_on(*opening(browser, f"{address}/page.html"))
        assert any(said in problem for problem in problems)
    finally:
        server.shutdown()


def test_the_next_page_begins_to_load_before_one_is_looked_at():
    begun, seen = [], []
    for one in ahead("abc", lambda page: begun.append(page) or page):
        seen.append((one, "".join(begun)))
    assert seen == [("a", "ab"), ("b", "abc"), ("c", "abc")]
    assert list(ahead("", str)) == [] and list(ahead("a", str)) == ["a"]

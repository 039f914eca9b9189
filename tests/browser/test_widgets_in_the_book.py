"""The widgets in the pages of the built book: each answers, served and opened from a folder."""

from __future__ import annotations

import pytest
from looking import PATIENCE, UNFOLD, pages_of, wake
from playwright.sync_api import TimeoutError

CONTROLS = "input[type=range]:not(:disabled), select"

# What a widget shows, apart from the control that is moved and the number beside it.
SHOWN = """w => {
    const copy = w.cloneNode(true);
    copy.querySelectorAll('input, output, select, [aria-live]').forEach(e => e.remove());
    return copy.innerHTML;
}"""


def pages_with_widgets(html) -> list[str]:
    texts = {page: (html / page).read_text(encoding="utf-8") for page in pages_of(html)}
    return [page for page, text in texts.items() if 'class="widget-states"' in text]


def follows(page, widget, control) -> bool:
    """Whether a widget draws something else when a control is moved by a key."""
    before, value = widget.evaluate(SHOWN), control.input_value()
    for key in ("ArrowRight", "ArrowLeft"):  # a slider may stand at its end
        if control.input_value() == value:
            control.press(key)
    try:
        change = f"([w, before]) => ({SHOWN})(w) !== before"
        page.wait_for_function(change, arg=[widget.element_handle(), before], timeout=5_000)
    except TimeoutError:  # after "q" comes "u", at every temperature
        return False
    return control.input_value() != value


def silent_widgets(browser, address: str) -> list[str]:
    """What is wrong with the widgets of a page, in words, after their controls were moved."""
    page, found = browser.new_page(viewport={"width": 1280, "height": 900}), []
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: found.append(f"script error: {error}"))
    page.on("requestfailed", lambda request: found.append(f"request failed: {request.url}"))
    told = ("error", "warning")
    page.on("console", lambda m: found.append(f"console: {m.text}") if m.type in told else None)
    page.goto(address, wait_until="networkidle")
    page.evaluate(UNFOLD)
    states = "Object.keys(JSON.parse(document.querySelector('.widget-states').textContent)).length"
    asked = page.evaluate(states)
    figures = page.locator("main img[class*='widget-']").all()
    found += [] if len(figures) == asked > 0 else [f"{asked} widgets, {len(figures)} figures"]
    found += wake(page)
    for number, widget in enumerate(page.locator(".gpt-widget").all(), 1):
        if not any(follows(page, widget, c) for c in widget.locator(CONTROLS).all()):
            found.append(f"widget {number} follows none of its controls")
    page.close()
    return found


@pytest.mark.parametrize("by", ["http", "file"])
def test_every_widget_of_the_book_answers_in_its_own_page(html, site, browser, by):
    pages = pages_with_widgets(html)
    assert {page[9:11] for page in pages if page.startswith("chapters/")} >= {
        f"0{n}" for n in range(1, 9)
    }
    start = site if by == "http" else html.resolve().as_uri()
    silent = {page: silent_widgets(browser, f"{start}/{page}") for page in pages}
    assert {page: found for page, found in silent.items() if found} == {}

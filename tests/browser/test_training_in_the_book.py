"""The training of chapter 10 in its page of the built book, opened from a folder."""

from __future__ import annotations

import re

from looking import PATIENCE, UNFOLD, wake

PAGE = "chapters/10_speed.html"
STEPS = 20
# Whether a widget has told of so many steps.
CAME_TO = """([widget, steps]) => {
    const said = widget.querySelector('.gw-facts').textContent.replaceAll(',', '');
    return Number((said.match(/Step (\\d+)/) ?? [0, 0])[1]) >= steps;
}"""


def loss_of(widget) -> float:
    """The loss of the last batch, as the widget says it."""
    return float(re.search(r"Step [\d,]+: loss ([\d.]+)", widget.inner_text())[1])


def trains(page, steps: int = STEPS) -> tuple[float, float]:
    """Press *train*, wait for so many steps, pause: the first step's loss, and the last one's."""
    widget = page.locator(".gpt-widget").filter(
        has=page.get_by_role("button", name="keep the model")
    )
    assert widget.count() == 1
    widget.get_by_role("button", name="one step").click()
    page.wait_for_function(CAME_TO, arg=[widget.element_handle(), 1])
    first = loss_of(widget)
    widget.get_by_role("button", name="go on").click()
    page.wait_for_function(CAME_TO, arg=[widget.element_handle(), steps])
    widget.get_by_role("button", name="pause").click()
    widget.get_by_role("button", name="go on", pressed=False).wait_for()
    assert "Nothing is sent anywhere." in widget.inner_text()
    return first, loss_of(widget)


def test_the_page_of_chapter_10_trains(html, browser):
    """By file://: the loss falls, nothing is asked of anyone, and nothing complains."""
    page, found = browser.new_page(viewport={"width": 1280, "height": 900}), []
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: found.append(f"script error: {error}"))
    page.on("request", lambda r: found.append(r.url) if r.url.startswith("http") else None)
    page.on("requestfailed", lambda request: found.append(f"request failed: {request.url}"))
    told = ("error", "warning")
    page.on("console", lambda m: found.append(f"console: {m.text}") if m.type in told else None)
    page.goto(f"{html.resolve().as_uri()}/{PAGE}", wait_until="networkidle")
    page.evaluate(UNFOLD)
    found += wake(page)
    first, last = trains(page)
    page.close()
    assert last < first - 0.5, (first, last)
    assert found == []

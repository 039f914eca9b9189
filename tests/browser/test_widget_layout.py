"""Where a widget's parts stand on a telephone: what is moved by hand beside what it moves."""

from __future__ import annotations

from looking import NARROW, settle
from test_playing import (
    attention,
    course_training,
    distribution,
    scrubber,
    shown,
    told_step,
)

__all__ = ["shown"]  # a fixture


def box(place) -> dict[str, float]:
    return place.first.bounding_box()


def test_the_draws_stand_above_the_bars_that_they_add_to(shown):
    page = shown(distribution(), width=NARROW)
    draw = box(page.get_by_role("button", name="draw 1", exact=True))
    assert draw["y"] < box(page.locator(".gw-bars"))["y"] < box(page.locator(".gw-heat"))["y"]


def test_the_slider_of_a_run_stays_in_sight(shown):
    """It is scrolled along, below what the page itself keeps on top."""
    page = shown(scrubber(shown=1), width=NARROW)
    slider, picture = page.get_by_role("slider", name="step"), page.locator(".gw-square")
    page.set_viewport_size({"width": NARROW, "height": 400})
    picture.evaluate("e => e.scrollIntoView()")
    assert 0 <= box(slider)["y"] < 60 and box(picture)["y"] < 60
    page.evaluate("document.body.style.setProperty('--gw-below', '80px')")
    assert box(slider)["y"] >= 80
    slider.press("Home")
    settle(page)
    assert page.locator(".gw-now").inner_text().startswith("Step 0")


def test_places_give_their_room_to_the_bars_where_there_is_little(shown):
    page = shown(attention(), width=NARROW)
    others, bar = (
        page.locator(".gw-looks th", has_text="others"),
        page.locator(".gw-looks td.gw-track"),
    )
    for width, there in ((NARROW, False), (690, False), (1000, True)):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.locator(".gw-looks .gw-place").first.is_visible() == there
        assert others.evaluate("e => e.scrollWidth <= e.clientWidth")
        assert box(bar)["width"] > 60


def test_a_run_that_has_not_begun_shows_no_empty_places(shown):
    page = shown(course_training(), width=NARROW)
    note = page.get_by_text("The training has not begun.")
    assert box(note)["y"] < box(page.locator(".gw-loss"))["y"]
    empty = [page.locator(".gw-written"), page.locator(".gw-gained")]
    assert not any(place.is_visible() for place in empty)
    page.get_by_role("button", name="one step").click()
    told_step(page, 1)
    for place in empty:
        place.wait_for()

"""What Python sets is drawn: its own message is handed to a page's traits, as a notebook does."""

from __future__ import annotations

import pytest
from controls import noting, told
from test_playing import AGREES, MADE, shown

__all__ = ["shown"]  # a fixture
SETS = {
    "attention": [
        {"query": 9},
        {"layer": 1},
        {"head": 1},
        {"shown": 1},
        {"mask": False},
        {"divisor": 1.0},
        {"text": "more and lower and lowest; <more>"},
    ],
}


@pytest.mark.parametrize(("name", "changes"), SETS.items(), ids=SETS)
def test_what_python_sets_is_drawn(shown, name, changes):
    """Each trait by itself, to the right values; the reader's cursor stands in a field."""
    widget = told(MADE[name]())
    page = shown(widget, spoil=noting)
    AGREES[name](page, widget)
    sent = []  # the messages for the page
    widget.comm.publish_msg = lambda kind, data, *_, **__: sent.append(data)
    for change in changes:
        before = page.evaluate("hands.picture()")
        page.locator("textarea").first.focus()
        for trait, value in change.items():
            widget.set_trait(trait, value)
        states = [sent.pop(0)["state"] for _ in change]
        assert [list(state) for state in states] == [[trait] for trait in change]
        for state in states:
            page.evaluate("state => model.set(state)", state)
        AGREES[name](page, widget)
        assert page.evaluate("hands.picture()") != before, change
        assert page.locator("textarea").first.input_value() == widget.text
    assert sent == [] and page.faults == []

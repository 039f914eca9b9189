"""Every control of every widget, by mouse, finger and keys: it does what it says, nothing else."""

from __future__ import annotations

import pytest
from control_tables import OPENS_FILES, TABLES
from controls import HANDS, Does, move, noting, those, told
from looking import WIDE, settle
from test_playing import AGREES, MADE, live, shown

from gptlib.widgets import export_model

__all__ = ["shown"]  # a fixture
WIDTHS = {"mouse": WIDE, "finger": 360, "keys": WIDE}
# Whose controls are those, or some of those, of another of MADE.
ALIKE = {"attention_of_chapter_3", "rotations_of_a_large_head", "one_run", "live", "training"}


def give(page, traits: dict) -> None:
    """What a control needs: so Python may set it."""
    page.evaluate("traits => model.set(traits)", traits)
    settle(page)


def near(found: dict, wanted: dict) -> bool:
    """The same traits with the same values; where the page shows a rounded number, about that."""
    return found.keys() == wanted.keys() and all(
        found[k] == pytest.approx(v, rel=2e-3) if isinstance(v, float) else found[k] == v
        for k, v in wanted.items()
    )


def answers(hand, seen, does) -> None:
    """Move a control: its trait, what it shows of that, and the picture are to follow."""
    if does.given:
        give(hand.page, does.given(seen) if callable(does.given) else does.given)
    move(hand, seen, does)
    wanted = does.says(seen) if does.says else {}
    new = {name: value for name, value in wanted.items() if seen.before[name] != value}
    assert near(seen.changed, new), f"{seen.label}: {seen.changed}, and not {new}"
    assert new or not does.says, f"{seen.label} does nothing"
    assert seen.drawn or not does.draws, f"{seen.label} changes nothing that can be seen"
    assert seen.kind != "slider" or seen.output == seen.said
    if does.then:
        does.then(hand, seen)


def as_in(page, widget) -> None:
    """Python's traits become the page's."""
    now = page.evaluate("hands.traits()")
    new = {k: v for k, v in now.items() if widget.has_trait(k) and getattr(widget, k) != v}
    if "shown" in new:
        widget.shown = new.pop("shown")  # it brings others
    with widget.hold_trait_notifications():  # they are valid together
        for name, value in new.items():
            widget.set_trait(name, value)


@pytest.mark.parametrize("by", HANDS)
@pytest.mark.parametrize("name", [name for name in MADE if name not in ALIKE])
def test_every_control_does_what_it_says(shown, tmp_path, name, by):
    widget = told(MADE[name]())
    page = shown(widget, width=WIDTHS[by], has_touch=by == "finger", spoil=noting)
    settle(page)
    hand, given, changed = HANDS[by](page), [], {}
    if name in OPENS_FILES:
        other = live(seed=5, n_layer=1)
        given = [export_model(tmp_path / "mine", other._model, other._tokenizer)]
    table = TABLES[name](widget, *given)
    if by == "keys":
        assert hand.misses() == []
    for label, does in table.items():
        if by not in does.hands:
            continue
        if isinstance(does.given, dict):
            give(page, does.given)
        for seen in those(page, label, table):
            answers(hand, seen, does)
            changed.setdefault(label, set()).update(seen.changed)
        if name in AGREES and does.agrees:
            as_in(page, widget)
            AGREES[name](page, widget)
    assert not_by_keys(table, changed) == []
    assert page.faults == []


def not_by_keys(table: dict, changed: dict[str, set]) -> list[str]:
    """The lines for a pointer alone whose traits no control that keys move changes, too."""
    found = []
    for label, does in table.items():
        if "keys" in does.hands or not does.hands:
            continue
        others = [one for one in does.instead if "keys" in table[one].hands]
        if does.says and any(table[one].says is does.says for one in others):
            continue  # the same is asked of both, whatever of it was so before
        moved = set().union(*(changed[one] for one in others))
        if not others or not changed.get(label, set()) <= moved:
            found.append(label)
    return found


def test_a_control_that_nobody_thought_of_is_found(shown):
    """A part of a picture that listens to a finger, and has no line in the table."""
    widget = told(MADE["one_run"]())
    page = shown(widget, spoil=noting)
    table = TABLES["one_run"](widget)
    assert len(those(page, "slider step", table)) == 1
    press = "document.querySelector('.gw-legend').addEventListener('pointerdown', () => {})"
    page.evaluate(press)
    with pytest.raises(AssertionError, match="picture gw-legend"):
        those(page, "slider step", table)


def test_a_control_that_the_tab_key_does_not_reach_is_found(shown):
    widget = told(MADE["one_run"]())
    page = shown(widget, spoil=noting)
    keys = HANDS["keys"](page)
    assert keys.misses() == []
    page.evaluate("document.querySelector('.gpt-widget input[type=range]').tabIndex = -1")
    assert [out.startswith('<input type="range"') for out in keys.misses()] == [True]
    (slider,) = those(page, "slider step", TABLES["one_run"](widget))
    with pytest.raises(AssertionError, match="slider step is out of reach of the Tab key"):
        keys.reach(slider)


def test_what_only_a_pointer_does_names_a_control_that_keys_move():
    pointer = ("mouse", "finger")
    table = {"slider": Does(), "picture": Does(hands=pointer, instead=("slider",))}
    assert not_by_keys(table, {"slider": {"row"}, "picture": {"row"}}) == []
    assert not_by_keys(table, {"slider": {"row"}, "picture": {"column"}}) == ["picture"]
    table["picture"] = Does(hands=pointer)
    assert not_by_keys(table, {"slider": {"row"}}) == ["picture"]

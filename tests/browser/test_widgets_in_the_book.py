"""The widgets in the pages of the built book: each answers, served and opened from a folder."""

from __future__ import annotations

import json
import re

import nbformat
import pytest
from chapterfiles import ROOT
from control_tables import TABLES, sampling
from controls import HANDS, RENDER, SCRIPT, find
from looking import FRAMES, PATIENCE, UNFOLD, pages_of, wake
from remade import remade
from test_every_control import answers, as_in
from test_playing import AGREES, told_rate, told_step

from gptlib.recipe import TrainConfig, learning_rate
from gptlib.widgets.widget import Widget


def pages_with_widgets(html) -> list[str]:
    texts = {page: (html / page).read_text(encoding="utf-8") for page in pages_of(html)}
    return [page for page, text in texts.items() if 'class="widget-states"' in text]


# Of each page's widgets, in their order: the kind, and the control that the hands move.
PLAYED = {
    "book/playground.html": [("live", "slider temperature")],
    "chapters/01_tokenizer.html": [("tokens", "slider merges made")],
    "chapters/02_bigram.html": [("distribution", "choice after")],
    "chapters/03_attention.html": [("attention", "slider scores divided by")],
    "chapters/04_layernorm_gelu.html": [("signals", "slider gain: .*")],
    "chapters/05_residuals.html": [("signals", "slider layers")],
    "chapters/06_gpt.html": [
        ("picture", "slider width"),
        ("attention", "slider scores divided by"),
    ],
    "chapters/07_training.html": [("scrubber", "slider step"), ("scrubber", "slider step")],
    "chapters/08_generation.html": [
        ("distribution", "slider temperature"),
        ("live", "slider temperature"),
    ],
    "chapters/09_modern.html": [
        ("rotations", "slider query at"),
        ("growing_cache", "slider tokens of text"),
        ("routed", "slider block"),
    ],
    "chapters/10_speed.html": [("training", "slider learning rate")],
}
TOLD = """export default { render(given) {
    models.set(given.el, given.model);
    return render(given);
} };"""
# Put in front of a page's scripts: each widget leaves its traits in `models`, where `only` finds
# those of the one that it leaves in the page, with all others out of the way.
HEARD = """
window.models = new Map();
window.bookWidgets = new Proxy({}, { set(all, name, text) {
    all[name] = text.replace(RENDER, TOLD);
    return true;
} });
window.only = (number) => {
    const all = [...document.querySelectorAll(".widget-place")];
    window.places ??= all.map((place) => [place, [...place.childNodes]]);
    places.forEach(([place, inside], i) => place.replaceChildren(...(i === number ? inside : [])));
    window.model = models.get(places[number][0]);
};
""".replace("RENDER", json.dumps(RENDER)).replace("TOLD", json.dumps(TOLD))
STATES = "Object.values(JSON.parse(document.querySelector('.widget-states').textContent))"
LISTENS = SCRIPT.read_text(encoding="utf-8")


def rate_agrees(page, widget, step: int) -> None:
    """One more step of the training is made at the rate that Python has for it."""
    page.get_by_role("button", name="one step").press("Enter")
    known = {k: v for k, v in widget.chosen["recipe"].items() if k not in ("muon", "hold")}
    wanted = widget.factor * learning_rate(step, TrainConfig(**known))
    assert told_rate(told_step(page, step)) == pytest.approx(wanted, rel=0.01)


def moved(page, kind: str, label: str, state: dict) -> None:
    """Move a control of the one widget in the page by each hand: all is as Python has it then.

    A page is full of links: keys go to the control from the widget's title on.
    """
    widget = remade(kind, state)
    live = kind == "live"
    does = (sampling(widget._tokenizer.vocab_size) if live else TABLES[kind](widget))[label]
    for step, by in enumerate(HANDS, 1):
        if by == "keys":
            page.locator(".gw-title").click()
        (seen,) = [one for one in find(page) if re.fullmatch(label, one.label)]
        answers(HANDS[by](page), seen, does)
        as_in(page, widget)
        rate_agrees(page, widget, step) if kind == "training" else AGREES[kind](page, widget)


def wrong_with(browser, address: str, played: list[tuple[str, str]]) -> list[str]:
    """What is wrong with the widgets of a page, in words, after their controls were moved."""
    page = browser.new_page(viewport={"width": 1280, "height": 900}, has_touch=True)
    page.add_init_script(f"window.calm = () => {FRAMES};\n{HEARD}\n{LISTENS}")
    page.faults = found = []
    page.set_default_timeout(PATIENCE)
    page.on("pageerror", lambda error: found.append(f"script error: {error}"))
    page.on("requestfailed", lambda request: found.append(f"request failed: {request.url}"))
    told = ("error", "warning")
    page.on("console", lambda m: found.append(f"console: {m.text}") if m.type in told else None)
    page.goto(address, wait_until="networkidle")
    page.evaluate(UNFOLD)
    states = page.evaluate(STATES)
    figures = page.locator("main img[class*='widget-']").count()
    found += wake(page)
    counted = {
        "states": len(states),
        "figures": figures,
        "drawn": page.locator(".gpt-widget").count(),
    }
    found += [] if set(counted.values()) == {len(played)} else [f"{len(played)} in {counted}"]
    for number, ((kind, label), state) in enumerate(zip(played, states, strict=True)):
        page.evaluate("number => only(number)", number)
        try:
            moved(page, kind, label, state)
        except Exception as error:  # the other widgets are to be looked at, too
            found.append(f"widget {number + 1}, {label}: {type(error).__name__}, {error}")
    page.close()
    return found


@pytest.mark.parametrize("by", ["http", "file"])
def test_every_widget_of_the_book_answers_in_its_own_page(html, site, browser, by):
    """By every hand, and with Python's numbers."""
    assert pages_with_widgets(html) == sorted(PLAYED)
    start = site if by == "http" else html.resolve().as_uri()
    wrong = {page: wrong_with(browser, f"{start}/{page}", PLAYED[page]) for page in PLAYED}
    assert {page: found for page, found in wrong.items() if found} == {}


def named_in_the_table() -> list[tuple[str, str, str, str]]:
    """The rows of the table in `book/widgets.md`: chapter, widget, cell, what is tried there."""
    text = (ROOT / "book" / "widgets.md").read_text(encoding="utf-8")
    row = r"^\| \[\d+\]\(\.\./chapters/(\w+)\.ipynb\) \| `(\w+)` \| `([\w-]+)` \| (.+) \|$"
    return re.findall(row, text, flags=re.M)


def test_each_widget_lets_the_reader_try_a_sentence_of_its_chapter():
    """The cell shows that widget, beside it stands the sentence, and no widget is left out."""
    rows, cells = named_in_the_table(), {}
    for path in sorted((ROOT / "chapters").glob("*.ipynb")):
        for cell in nbformat.read(path, as_version=4).cells:
            cells.setdefault(path.stem, {})[cell.id] = cell
    for chapter, widget, name, tried in rows:
        place = list(cells[chapter]).index(name)
        near = [cell.source for cell in list(cells[chapter].values())[place - 1 : place + 2]]
        assert re.search(rf"\b{widget}(\.lab)?\(", near[1]), (chapter, name)
        said = " ".join(f"{near[0]} {near[2]}".replace("*", "").split())
        assert tried in said, f"chapter {chapter} does not say: {tried}"
    faces = "|".join(face.__name__ for face in Widget.__subclasses__())
    shown = {
        (chapter, name)
        for chapter, its in cells.items()
        for name, cell in its.items()
        if cell.cell_type == "code" and re.search(rf"\b({faces})(\.lab)?\(", cell.source)
    }
    assert {(chapter, name) for chapter, _, name, _ in rows} == shown
    assert {int(chapter[:2]) for chapter, *_ in rows} == set(range(1, 11))

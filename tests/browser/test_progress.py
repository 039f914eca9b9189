"""How far a reader has come: kept in the browser, shown in the side bar, forgotten on request."""

from __future__ import annotations

import pytest
from looking import PATIENCE, WIDE, read_axe

CHAPTER, OTHER = "chapters/03_attention.html", "chapters/01_tokenizer.html"
SECTION = "#several-heads"
# The theme keeps light or dark in the same place and does not ask whether it may.
BROKEN = """for (const name of ['getItem', 'setItem', 'removeItem']) {
    const real = Storage.prototype[name];
    Storage.prototype[name] = function (key, ...rest) {
        if (key.startsWith('gptlib-read')) throw new Error('no storage here');
        return real.call(this, key, ...rest);
    };
}"""


@pytest.fixture
def reader(browser, site):
    """A page of one browser that remembers: `reader.go(path)` opens a page of the book."""
    context = browser.new_context(viewport={"width": WIDE, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.go = lambda path: page.goto(f"{site}/{path}", wait_until="networkidle")
    yield page
    context.close()


def mark_of(page, path: str) -> str:
    """What a reader of screens hears behind a chapter in the side bar."""
    name = path.split("/")[-1]
    link = page.locator(f".bd-links a[href$='{name}']")
    return link.text_content().partition("(")[2].rstrip(")")


def read_to(page, selector: str) -> None:
    """Scroll to a section as a reader does, a little on and back, until it counts as read."""
    mark = page.locator("a.current .read-mark")
    for _ in range(20):
        page.evaluate("s => document.querySelector(s).scrollIntoView()", selector)
        page.wait_for_timeout(1000)
        if mark.count():
            return
        page.mouse.wheel(0, 40)
    raise AssertionError(f"{selector} does not count as read")


def test_a_chapter_says_how_far_it_was_read(reader):
    reader.go(CHAPTER)
    assert reader.locator(".go-on, .read-mark, .forget").count() == 0
    read_to(reader, SECTION)
    reader.go(OTHER)
    assert mark_of(reader, CHAPTER) == "begun"
    reader.go(CHAPTER)
    link = reader.locator(".go-on a")
    assert link.inner_text() == "Several heads" and link.get_attribute("href") == SECTION
    link.click()
    assert abs(reader.locator(SECTION).bounding_box()["y"]) < 300


def test_the_start_page_leads_back_to_the_chapter(reader):
    reader.go(CHAPTER)
    read_to(reader, SECTION)
    reader.go("book/intro.html")
    link = reader.locator(".go-on a")
    assert link.inner_text() == "3. Attention"
    link.click()
    reader.wait_for_url(f"**/{CHAPTER}{SECTION}")


def test_a_chapter_that_was_read_to_its_end_has_a_tick(reader):
    reader.go(CHAPTER)
    reader.evaluate("scrollTo(0, document.body.scrollHeight)")
    reader.wait_for_selector("a.current .read-mark", state="attached")
    reader.go(OTHER)
    assert mark_of(reader, CHAPTER) == "read"
    reader.go(CHAPTER)
    read_to(reader, SECTION)  # read again from the middle: it stays read
    reader.go(OTHER)
    assert mark_of(reader, CHAPTER) == "read"


def test_all_is_forgotten_by_keyboard(reader):
    reader.go(CHAPTER)
    read_to(reader, SECTION)
    reader.locator(".forget button").focus()
    reader.keyboard.press("Enter")
    assert reader.locator(".read-mark, .go-on, .forget button").count() == 0
    assert "Forgotten" in reader.locator(".forget[role=status]").inner_text()
    assert reader.evaluate("Object.keys(localStorage).filter(k => k.includes('read'))") == []
    reader.go(CHAPTER)
    assert reader.locator(".go-on, .read-mark, .forget").count() == 0


def test_predictions_are_counted_in_the_browser_and_forgotten_with_the_rest(reader):
    reader.go(CHAPTER)
    score = reader.locator(".score[role=status]")
    assert score.is_hidden() and reader.locator(".guess:visible").count() == 0
    answers = reader.locator("details.answer:has(.guess)")
    there = answers.count()
    assert there >= 3
    for i, words in ((0, "as I guessed"), (1, "otherwise"), (2, "otherwise")):
        answers.nth(i).locator("summary").first.click()
        answers.nth(i).get_by_role("button", name=words).press("Enter")
    assert score.inner_text() == (
        f"Predictions: 1 of 3 came out as you guessed; there are {there}."
    )
    answers.nth(2).get_by_role("button", name="otherwise").click()  # taken back
    reader.go(CHAPTER)
    assert "1 of 2" in score.inner_text()
    pressed = reader.locator(".guess button[aria-pressed=true]")
    assert pressed.all_text_contents() == ["as I guessed", "otherwise"]
    read_to(reader, SECTION)
    reader.locator(".forget button").click()
    assert score.is_hidden() and pressed.count() == 0
    assert reader.evaluate("Object.keys(localStorage).filter(k => k.includes('read'))") == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_where_marks_are(reader, theme):
    reader.emulate_media(color_scheme=theme)
    reader.go(OTHER)
    reader.evaluate("scrollTo(0, document.body.scrollHeight)")
    reader.wait_for_selector("a.current .read-mark", state="attached")
    reader.go(CHAPTER)
    read_to(reader, SECTION)
    reader.go(CHAPTER)
    guess = reader.locator("details.answer:has(.guess)").first
    guess.locator("summary").first.click()
    guess.get_by_role("button", name="as I guessed").click()
    assert reader.locator(".read-mark").count() == 2 and reader.locator(".go-on").count() == 1
    read_axe(reader)
    found = reader.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    assert [(violation["id"], violation["nodes"][0]["html"]) for violation in found] == []


def test_with_no_storage_the_pages_are_as_they_were(reader):
    faults = []
    reader.on("pageerror", lambda error: faults.append(str(error)))
    reader.add_init_script(BROKEN)
    reader.go(CHAPTER)
    reader.evaluate("scrollTo(0, document.body.scrollHeight)")
    reader.wait_for_timeout(900)
    assert reader.locator(".go-on, .read-mark, .forget, .score, .guess").count() == 0
    assert faults == []

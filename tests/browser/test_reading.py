"""What a page does for its reader: hides answers, prints, and works in the dark and by keyboard."""

from __future__ import annotations

import io

import pytest
from looking import NARROW, PATIENCE, UNFOLD, WIDE, Packing, ahead, pages_of, read_axe, serve, wake
from PIL import Image

MOST_BYTES = 1_500_000  # that any page may transfer, packed
CHAPTER = "chapters/02_bigram.html"  # it has predictions, figures, formulas, stories, a heat map


@pytest.fixture
def opened(browser, site):
    """Open a page of the book: `opened(path, width, theme, script)`."""
    contexts = []

    def look(path, width=WIDE, theme="light", script=True, address=site, wait="networkidle"):
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=theme,
            java_script_enabled=script,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"{address}/{path}", wait_until=wait)
        return page

    yield look
    for context in contexts:
        context.close()


# Telephones --------------------------------------------------------------------------------------


def test_no_button_lies_on_the_text_of_a_telephone(opened):
    """The theme shows *Back to top* as soon as a reader scrolls up a little."""
    page = opened(CHAPTER, width=NARROW)
    for by in (3000, -200):
        page.mouse.wheel(0, by)
        page.wait_for_timeout(400)
    button = page.locator("#pst-back-to-top")
    assert button.count() == 1 and not button.is_visible()


# Predictions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_an_answer_is_hidden_until_it_is_asked_for(opened, script):
    page = opened(CHAPTER, script=script)
    answers = page.locator("details.answer")
    assert answers.count() >= page.locator("p.predict").count() >= 8
    first = answers.first
    inside = first.locator(".cell_output pre").first
    assert not inside.is_visible()
    first.locator("summary").first.click()
    assert inside.is_visible()


def test_every_prediction_has_an_answer_to_open(html):
    from bs4 import BeautifulSoup

    lonely, seen = [], 0
    for path in pages_of(html):
        if path.startswith("chapters/"):
            soup = BeautifulSoup((html / path).read_text(encoding="utf-8"), "html.parser")
            for prediction in soup.select("p.predict"):
                seen += 1
                following = prediction.find_next(["details", "p"], class_=["answer", "predict"])
                folded = following is not None and "answer" in following["class"]
                beside = prediction.find_next_sibling()  # one that the author has folded
                if not folded and (beside is None or beside.name != "details"):
                    lonely.append(prediction.get_text()[:60])
    assert seen >= 60 and lonely == []


def test_no_code_above_a_figure_says_what_it_shows(html):
    from bs4 import BeautifulSoup

    shown = 0
    for path in pages_of(html):
        if path.startswith("chapters/"):
            soup = BeautifulSoup((html / path).read_text(encoding="utf-8"), "html.parser")
            codes = [code.get_text() for code in soup.select(".cell_input pre")]
            for image in soup.select(".cell_output img"):
                shown += 1
                assert all(image["alt"][:25] not in code for code in codes), path
    assert shown > 30


# Light and dark ----------------------------------------------------------------------------------


def brightness(picture) -> list[float]:
    """How bright a picture is on a grid of places, left to right and down."""
    picture.scroll_into_view_if_needed()
    pixels = Image.open(io.BytesIO(picture.screenshot())).convert("L").resize((48, 48))
    return list(pixels.tobytes())


def correlation(a: list[float], b: list[float]) -> float:
    a, b = ([x - sum(xs) / len(xs) for x in xs] for xs in (a, b))
    norm = (sum(x * x for x in a) * sum(y * y for y in b)) ** 0.5
    return sum(x * y for x, y in zip(a, b, strict=True)) / norm


def test_dark_is_much_in_every_heat_map_and_other_figures_are_turned_round(opened, html):
    maps = curves = 0
    for path in pages_of(html):
        if "heat-map" not in (html / path).read_text(encoding="utf-8"):
            continue
        light, dark = (opened(path, theme=theme) for theme in ("light", "dark"))
        for page in (light, dark):
            page.evaluate(UNFOLD)
        for i in range(light.locator(".cell_output img").count()):
            one, other = (page.locator(".cell_output img").nth(i) for page in (light, dark))
            for picture in (one, other):
                picture.evaluate("e => e.scrollIntoView()")
                picture.page.wait_for_timeout(300)
            if not (one.is_visible() and other.is_visible()):
                continue  # it stood in for a widget, which is drawn now, or is for one theme
            alike = "heat-map" in (one.get_attribute("class") or "")
            found = correlation(brightness(one), brightness(other))
            assert abs(found) > 0.3 and (found > 0) == alike, (path, i, found)
            maps, curves = maps + alike, curves + (not alike)
    assert maps >= 4 and curves >= 12


def test_printing_from_the_dark_theme_is_dark_on_white_whole_and_unfolded(opened):
    page = opened(CHAPTER, theme="dark")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.set_viewport_size({"width": 700, "height": 900})  # about a sheet of A4
    page.emulate_media(media="print")
    page.wait_for_function("document.documentElement.dataset.theme === 'light'")
    closed, cut, ground, ink = page.evaluate(
        """() => [
            document.querySelectorAll('main details:not([open])').length,
            [...document.querySelectorAll('main pre')]
                .filter(e => e.scrollWidth > e.clientWidth + 1).length,
            getComputedStyle(document.body).backgroundColor,
            getComputedStyle(document.querySelector('main article p:not([class])')).color,
        ]"""
    )
    assert (closed, cut, ground) == (0, 0, "rgb(255, 255, 255)")
    assert max(map(int, ink[4:-1].split(","))) < 80
    page.emulate_media(media="screen")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    assert not page.locator("details.answer").first.evaluate("d => d.open")


# Narrow screens and the keyboard -----------------------------------------------------------------


def test_a_telephone_cuts_neither_formulas_nor_stories(opened):
    page = opened("chapters/03_attention.html", width=360)
    cut = page.evaluate(
        """() => [...document.querySelectorAll('div.math')].filter(e =>
            e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).overflowX !== 'auto')
            .map(e => e.textContent)"""
    )
    assert page.locator("div.math").count() and cut == []
    formula = page.locator("div.math mjx-math").first.bounding_box()
    assert formula["x"] >= 0 and formula["x"] + formula["width"] <= 360
    page = opened(CHAPTER, width=360)
    page.evaluate(UNFOLD)
    stories = page.locator(".prose-output pre")
    assert stories.count()
    assert (
        stories.evaluate_all("all => all.filter(e => e.scrollWidth > e.clientWidth + 1).length")
        == 0
    )


def test_what_scrolls_can_be_reached_by_keyboard(opened):
    page = opened(CHAPTER, width=NARROW)
    page.evaluate(UNFOLD)
    page.wait_for_timeout(300)
    wide, unreached = page.evaluate(
        """() => {
            const wide = [...document.querySelectorAll('main article *')].filter(e =>
                e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0 &&
                ['auto', 'scroll'].includes(getComputedStyle(e).overflowX));
            const unreached = wide.filter(e => e.tabIndex < 0);
            return [wide.length, unreached.map(e => e.outerHTML.slice(0, 90))];
        }"""
    )
    assert wide > 3 and unreached == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("button", [".primary-toggle", ".dropdown-download-buttons > button"])
def test_the_focus_is_seen_on_a_button(opened, theme, button):
    page = opened(CHAPTER, theme=theme)
    page.keyboard.press("Tab")  # from here on the keyboard is in use
    page.locator(button).first.focus()
    style, width, colour = page.locator(button).first.evaluate(
        """e => {
            const s = getComputedStyle(e);
            return [s.outlineStyle, s.outlineWidth, s.outlineColor];
        }"""
    )
    assert style == "solid" and float(width[:-2]) >= 2 and "0)" not in colour[-4:]


# From a folder, and with no script ---------------------------------------------------------------


def test_from_a_folder_a_notebook_is_saved_and_a_search_has_excerpts(html, browser, tmp_path):
    context = browser.new_context(accept_downloads=True)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto((html / CHAPTER).as_uri())
    page.locator(".dropdown-download-buttons > button").click()
    with page.expect_download() as waiting:
        page.locator("a.btn-download-source-button").click()
    waiting.value.save_as(tmp_path / "saved.ipynb")
    stored = html / "_sources" / "chapters" / "02_bigram.ipynb"
    assert (tmp_path / "saved.ipynb").read_bytes() == stored.read_bytes()
    assert waiting.value.suggested_filename == "02_bigram.ipynb"
    page.goto(f"{(html / 'search.html').as_uri()}?q=bigram")
    excerpt = page.locator("#search-results p.context").first
    excerpt.wait_for()
    assert "bigram" in excerpt.inner_text().lower()
    context.close()


def test_with_no_script_there_are_formulas_colours_and_icons(opened):
    page = opened("chapters/03_attention.html", theme="dark", script=False)
    assert page.locator("mjx-container mjx-math").count() > 5
    body = page.locator("article").first.inner_text()
    assert "\\(" not in body and "\\[" not in body and "\\frac" not in body
    assert page.locator("svg.icon").count() > 3
    link = page.locator("article a.reference.internal").first
    assert link.evaluate("e => getComputedStyle(e).color") != "rgb(0, 0, 0)"


# For all, and light ------------------------------------------------------------------------------


COLOURS = "['color-contrast', 'link-in-text-block']"
RULES = {
    "all but colours": "{rules: {'label-content-name-mismatch': {enabled: true},"
    " 'color-contrast': {enabled: false}, 'link-in-text-block': {enabled: false}},"
    " resultTypes: ['violations']}",
    "colours": f"{{runOnly: {COLOURS}, resultTypes: ['violations']}}",
}
# A style sheet gives each kind of word in code one colour. Three of each kind stand for all; axe
# needs half as long without the thousands of others. Plain text stays in the first three blocks.
THIN = """() => {
    const seen = {};
    for (const word of document.querySelectorAll('.highlight pre span[class]'))
        if (!word.children.length) {
            const kind = word.className;
            seen[kind] = (seen[kind] ?? 0) + 1;
            if (seen[kind] > 3) word.remove();
        }
    for (const block of [...document.querySelectorAll('.highlight pre')].slice(3))
        for (const node of [...block.childNodes])
            if (node.nodeType === Node.TEXT_NODE) node.remove();
}"""


def violations(page, rules: str) -> list[str]:
    """What axe finds in a page."""
    found = page.evaluate(f"axe.run(document, {RULES[rules]})")["violations"]
    return [f"{v['id']} ({len(v['nodes'])}): {v['nodes'][0]['html']}" for v in found]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_any_page(html, opened, theme):
    found = []
    paths = pages_of(html)
    loading = ahead(paths, lambda path: opened(path, theme=theme, wait="commit"))
    for path, page in zip(paths, loading, strict=True):
        page.wait_for_load_state("networkidle")
        page.evaluate(UNFOLD)
        found += [f"{path}: {failed}" for failed in wake(page)]
        read_axe(page)
        if theme == "light":  # what is no matter of colours is the same in both
            found += [f"{path}: {violation}" for violation in violations(page, "all but colours")]
        page.evaluate(THIN)
        found += [f"{path}: {violation}" for violation in violations(page, "colours")]
        page.context.close()
    assert found == []


def test_axe_would_find_something(tmp_path, browser):
    words = "<span class=k>def</span> plain <span class=n>name</span>\n" * 9
    blocks = f"<div class=highlight><pre>{words}</pre></div>" * 5
    pale = "<style>pre { color: #111; background: #fff } .n { color: #eee }</style>"
    content = f'<!DOCTYPE html><meta charset="utf-8">{pale}<img src="x.png">{blocks}'
    (tmp_path / "page.html").write_text(content, encoding="utf-8")
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    read_axe(page)
    found = str(violations(page, "all but colours"))
    assert "image-alt" in found and "html-has-lang" in found
    page.evaluate(THIN)
    assert page.locator("span").count() == 6 and "plain" in page.locator("pre").nth(2).inner_text()
    (pale,) = violations(page, "colours")
    assert pale == 'color-contrast (3): <span class="n">name</span>'
    page.evaluate(
        "document.head.append(Object.assign(document.createElement('style'),"
        " {textContent: '.n { color: #111 } pre { color: #eee }'}))"
    )
    (pale,) = violations(page, "colours")
    assert pale.startswith("color-contrast (")
    page.close()


def test_no_page_weighs_more_than_it_should(html, browser):
    server, address = serve(html, Packing)

    def opening(path):
        page = browser.new_context().new_page()
        page.set_default_timeout(PATIENCE)
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        sizes = []
        session.on("Network.loadingFinished", lambda e: sizes.append(e["encodedDataLength"]))
        page.goto(f"{address}/{path}", wait_until="commit")
        return page, sizes

    heavy, paths = {}, pages_of(html)
    for path, (page, sizes) in zip(paths, ahead(paths, opening), strict=True):
        page.wait_for_load_state("networkidle")
        loaded = page.evaluate("performance.getEntriesByType('resource').map(e => e.name)")
        wrong = [name for name in loaded if "fontawesome" in name or "tex-" in name]
        assert not wrong and sum(sizes) > 0
        if sum(sizes) > MOST_BYTES:
            heavy[path] = sum(sizes)
        page.context.close()
    server.shutdown()
    assert heavy == {}

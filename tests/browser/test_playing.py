"""Widgets in a page with no Python: they show Python's numbers, and follow the reader's hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from looking import NARROW, PATIENCE, WIDE
from widgetpage import write_page

from gptlib.widgets import DistributionExplorer, SignalExplorer

AXE = Path(__file__).parents[2] / "book" / "node_modules" / "axe-core" / "axe.min.js"


def distribution() -> DistributionExplorer:
    logits = torch.randn(3, 40, generator=torch.Generator().manual_seed(0)) * 3
    labels = [f"t{i}" for i in range(40)]
    return DistributionExplorer(logits, labels, ["x", " ", "\n"], row=1)


def signals() -> SignalExplorer:
    return SignalExplorer(depth=12, gain=0.8, activation="relu")


def recorded_signals() -> SignalExplorer:
    torch.manual_seed(0)
    layers = (torch.nn.Linear(8, 8) for _ in range(5))
    models = {
        "shallow": torch.nn.Sequential(*layers),
        "deep": torch.nn.Sequential(*signals().stack()[0]),
    }
    batches = {"shallow": torch.randn(16, 8), "deep": torch.randn(16, 32).double()}
    one = {"loss": lambda y: y.pow(2).mean()}
    parts = [SignalExplorer.of({k: m}, batches[k], **one) for k, m in models.items()]
    return SignalExplorer(
        names=list(models), depths=[p.depths[0] for p in parts],
        recorded=b"".join(p.recorded for p in parts),
    )  # fmt: skip


# What a finger presses, with its label, is at least 24 pixels high.
SMALL = """[...document.querySelectorAll('.gpt-widget :is(button, select, input, [tabindex="0"])')]
    .map(e => e.closest('label') || e).filter(e => e.offsetParent)
    .filter(e => e.getBoundingClientRect().height < 24).map(e => e.outerHTML)"""
MADE = {
    "distribution": distribution,
    "signals": signals,
    "recorded_signals": recorded_signals,
}


@pytest.fixture
def shown(browser, tmp_path):
    """Open a page with widgets: `shown(widget, width=, theme=)`. It may ask nobody for anything."""
    contexts = []

    def look(*widgets, width=WIDE, theme="light", script=True):
        path = write_page(tmp_path, *widgets, theme=theme)
        context = browser.new_context(
            viewport={"width": width, "height": 1000},
            color_scheme=theme,
            java_script_enabled=script,
            has_touch=True,
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.faults = []
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("requestfailed", lambda request: page.faults.append(request.url))
        page.on("console", lambda m: page.faults.append(m.text) if m.type == "error" else None)
        page.goto(path.as_uri())
        if script:
            page.wait_for_selector(".gpt-widget, .widget-failed")
        return page

    yield look
    for context in contexts:
        context.close()


def numbers(page, selector: str) -> list[float]:
    """The shares that the elements show as percentages; "< 0.1 %" is 0."""
    texts = page.locator(selector).all_inner_texts()
    return [0.0 if "<" in text else float(text.rstrip(" %")) / 100 for text in texts if text]


# Every widget ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_widget_appears_once_and_all_can_use_it(shown, make, theme):
    widget = make()
    page = shown(widget, theme=theme)
    assert page.locator(".gpt-widget").count() == 1
    assert not page.locator("img.stands-in").is_visible()
    page.add_script_tag(path=AXE)
    found = page.evaluate(
        "axe.run('.gpt-widget', {preload: false})"
        ".then(r => r.violations.map(v => v.id + ': ' + v.nodes[0].html))"
    )
    assert found == [] and page.faults == []


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_a_widget_fits_a_telephone_and_a_finger(shown, make):
    page = shown(make(), width=NARROW - 30)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    small = page.evaluate(SMALL)
    assert small == []


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_with_no_script_and_in_print_the_figure_stands_in(shown, make):
    page = shown(make(), script=False)
    assert page.locator("img").is_visible() and "JavaScript" in page.locator("main").inner_text()
    page = shown(make())
    page.emulate_media(media="print")
    assert (
        page.locator("img.stands-in").is_visible() and not page.locator(".gpt-widget").is_visible()
    )


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_a_broken_widget_leaves_its_figure_and_a_message(shown, make):
    widget = make()
    widget._esm = "export default { render() { throw new Error('no luck'); } };"
    page = shown(widget)
    assert "no luck" in page.locator(".widget-failed").inner_text()
    assert page.locator("img").is_visible()


# The distribution explorer -----------------------------------------------------------------------


def test_the_distribution_follows_its_controls(shown):
    widget = distribution()
    page = shown(widget)

    def agrees():
        got = numbers(page, ".gw-bars tbody tr:not([hidden]) td.gw-number:nth-child(2)")
        order = widget._table[widget.row].softmax(0).topk(12).indices
        wanted = widget.probs()[order].tolist()
        assert got[:12] == pytest.approx(wanted, abs=6e-4)
        assert got[12] == pytest.approx(1 - sum(wanted), abs=6e-4)

    agrees()
    page.locator("select").select_option("2")
    widget.row = 2
    page.wait_for_timeout(100)
    agrees()
    temperature, top_k, top_p = (page.locator("input[type=range]").nth(i) for i in range(3))
    for _ in range(10):
        temperature.press("ArrowRight")
    widget.temperature = 1.5
    page.wait_for_timeout(100)
    agrees()
    top_k.press("Home")
    for _ in range(4):
        top_k.press("ArrowRight")
    widget.top_k = 5
    page.wait_for_timeout(100)
    agrees()
    top_p.press("Home")
    page.wait_for_timeout(100)
    widget.top_k, widget.top_p = 5, 0.05
    agrees()
    nats = -(widget.probs() * widget.probs().clamp_min(1e-30).log()).sum().item()
    assert f"entropy {abs(nats):.3f} nats" in page.locator(".gw-facts").inner_text()
    assert page.faults == []


def test_draws_come_near_to_the_probabilities(shown):
    page = shown(distribution())
    page.get_by_role("button", name="draw 1,000").tap()
    page.wait_for_timeout(100)
    assert "1,000 drawn" in page.locator(".gpt-widget").inner_text()
    bars, drawn = (
        numbers(page, f".gw-bars tbody tr:not([hidden]) td.gw-number:nth-child({k})")
        for k in (2, 4)
    )
    assert sum(drawn) == pytest.approx(1, abs=0.01) and bars != drawn
    assert all(abs(a - b) < 0.08 for a, b in zip(bars, drawn, strict=True))


def test_a_row_of_the_table_is_picked_with_the_pointer(shown):
    widget = distribution()
    page = shown(widget)
    box = page.locator("canvas").bounding_box()
    page.mouse.click(box["x"] + 5, box["y"] + box["height"] * 0.1)
    page.wait_for_timeout(100)
    assert page.locator("select").input_value() == "0"


# The signal explorer -----------------------------------------------------------------------------

SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")


def drawn_sizes(page, panel: int) -> list[float]:
    """The sizes by layer that a picture's line shows, read from the drawing and its axis."""
    found = page.evaluate(
        """panel => {
            const svg = document.querySelectorAll('.gw-signal-plot svg')[panel];
            const all = [...svg.querySelectorAll('.gw-axes text[text-anchor=end]')];
            const ticks = all.filter(t => !t.classList.contains('gw-axis-name'))
                .map(t => [t.textContent, Number(t.getAttribute('y')) - 4]);
            const line = svg.querySelector('.gw-line-now').getAttribute('d');
            return {ticks, ys: line.match(/,[\\d.]+/g).map(y => Number(y.slice(1)))};
        }""",
        panel,
    )

    def exponent(text):
        if text.startswith("10") and text[2:].translate(SUPERSCRIPTS) != text[2:]:
            return int(text[2:].translate(SUPERSCRIPTS))
        return math.log10(float(text.replace(",", "")))

    (low, y_low), (high, y_high) = (
        (exponent(text), y) for text, y in (found["ticks"][0], found["ticks"][-1])
    )
    return [10 ** (low + (y - y_low) / (y_high - y_low) * (high - low)) for y in found["ys"]]


def signals_agree(page, widget: SignalExplorer):
    """The page draws PyTorch's sizes, and says what PyTorch's loss is."""
    page.wait_for_timeout(150)
    sizes = widget.sizes()
    assert drawn_sizes(page, 0) == pytest.approx(sizes["numbers"], rel=0.1)
    kind = "weights" if widget.gradient_of == "weights" else "gradients"
    assert drawn_sizes(page, 1) == pytest.approx(sizes[kind], rel=0.1)


def test_signals_follow_every_control(shown):
    widget = signals()
    page = shown(widget)
    signals_agree(page, widget)
    depth, gain, layer = (page.locator("input[type=range]").nth(i) for i in range(3))
    for _ in range(3):
        depth.press("ArrowRight")
        gain.press("ArrowLeft")
    widget.depth, widget.gain = 15, 0.65
    signals_agree(page, widget)
    activation, norm, _, gradients = (page.locator("select").nth(i) for i in range(4))
    activation.select_option(label="tanh")
    norm.select_option(label="behind the sum (post)")
    page.get_by_label("shortcuts").press("Space")
    widget.activation, widget.norm, widget.shortcut = "tanh", "post", True
    signals_agree(page, widget)
    gradients.select_option(label="of the numbers handed on")
    widget.gradient_of = "numbers"
    signals_agree(page, widget)
    layer.press("Home")
    page.wait_for_timeout(150)
    assert "layer 0: size 0.9" in page.locator(".gw-signal-panel .gw-facts").first.inner_text()
    plot = page.locator(".gw-signal-plot").first.bounding_box()
    page.mouse.click(plot["x"] + plot["width"] * 0.93, plot["y"] + 50)
    page.wait_for_timeout(150)
    assert layer.input_value() in ("14", "15")
    assert page.faults == []


def test_signals_train_in_the_page_as_in_pytorch(shown):
    widget = signals()
    page = shown(widget)
    page.get_by_label("shortcuts").check()
    page.locator("select").nth(2).select_option(label="plain SGD")
    page.get_by_role("button", name="train 50 steps").tap()
    facts = page.locator(".gpt-widget > .gw-facts").first
    page.locator(".gw-facts", has_text="after 50 steps").wait_for()
    widget.shortcut, widget.optimizer, widget.steps = True, "sgd", 50
    signals_agree(page, widget)
    wanted = widget.signals()
    assert f"loss {wanted['loss']:.3g}"[:9] in facts.inner_text()
    assert f"{wanted['right']} of 16" in facts.inner_text()
    assert page.locator(".gw-line-before").first.get_attribute("d")
    page.wait_for_timeout(500)
    assert "After 50 steps" in page.locator(".gw-words").inner_text()
    page.get_by_role("button", name="back to the start").tap()
    page.wait_for_timeout(200)
    assert "after 0 steps" in facts.inner_text()
    assert not page.locator(".gw-line-before").first.get_attribute("d")


def test_recorded_signals_are_drawn_and_say_that_they_are(shown):
    widget = recorded_signals()
    page = shown(widget)
    assert "Recorded from a model in Python" in page.locator(".gpt-widget").inner_text()
    signals_agree(page, widget)
    page.locator("select").first.select_option(label="deep")
    widget.shown = 1
    signals_agree(page, widget)
    assert page.locator("input[type=range]").get_attribute("max") == "12"

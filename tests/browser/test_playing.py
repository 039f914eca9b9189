"""Widgets in a page with no Python: they show Python's numbers, and follow the reader's hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from looking import NARROW, PATIENCE, WIDE
from widgetpage import write_page

from gptlib import corpus
from gptlib.generation import stream
from gptlib.gpt import GPT, GPTConfig
from gptlib.tokenizer import BPETokenizer, CharTokenizer
from gptlib.widgets import (
    DistributionExplorer,
    LiveGPT,
    ModelPicture,
    SignalExplorer,
    TokenizerExplorer,
    export_model,
)
from gptlib.widgets.tokenizer_explorer import readable

AXE = Path(__file__).parents[2] / "book" / "node_modules" / "axe-core" / "axe.min.js"


def distribution() -> DistributionExplorer:
    logits = torch.randn(5, 40, generator=torch.Generator().manual_seed(0)) * 3
    labels = [f"t{i}" for i in range(40)]
    return DistributionExplorer(logits, labels, ["x", " ", "\n", "y", "z"], row=1)


def tokens(text: str = "The fox had an umbrella, café 🍎") -> TokenizerExplorer:
    stories = corpus.load("stories", n=100)
    tokenizer = BPETokenizer.train(stories, 600, special_tokens=[corpus.END])
    characters = CharTokenizer(stories.replace(corpus.END, ""))
    smaller = BPETokenizer(list(tokenizer.merges)[:50])
    others = {"characters": characters, "50 merges": smaller}
    return TokenizerExplorer(tokenizer, text, others=others, name="our BPE")


def picture() -> ModelPicture:
    return ModelPicture(GPTConfig.preset("stories"), part="qkv")


def live(seed=0, n_layer=2, **settings) -> LiveGPT:
    tokenizer = CharTokenizer("lower, lowest; and <more>")
    torch.manual_seed(seed)
    config = GPTConfig(tokenizer.vocab_size, 24, n_layer, n_head=2, n_embd=16, init="torch")
    return LiveGPT(GPT(config), tokenizer, "lower lower", numbers="float32", **settings)


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
    "tokens": tokens,
    "picture": picture,
    "live": live,
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
    # preload would ask for the style sheet once more, which a page from a folder may not
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


# The tokenizer explorer --------------------------------------------------------------------------


def boxes(page, lane: int) -> list[str]:
    return page.locator(".gw-lane").nth(lane).locator(".gw-token").all_inner_texts()


def agrees_with(page, widget: TokenizerExplorer) -> None:
    """What the page shows is what Python says of the same traits."""
    page.wait_for_timeout(100)
    vocab = widget.tokenizer.vocab
    assert boxes(page, 2) == [readable(vocab[i]) for i in widget.ids()]
    assert boxes(page, 0) == [readable(char.encode()) for char in widget.text]
    assert boxes(page, 1) == [str(byte) for byte in widget.text.encode()]
    made = len(widget.merges_made())
    step = made if widget.step < 0 else min(made, widget.step)
    assert page.locator(".gw-steps output").inner_text() == f"{step} of {made}"
    counts = f"{len(widget.ids())}, {len(widget.text) / len(widget.ids()):.2f} characters each"
    assert counts in page.locator(".gw-main .gw-lane-head").inner_text()


def test_the_tokens_follow_the_text_and_the_steps(shown):
    widget = tokens()
    page = shown(widget)
    agrees_with(page, widget)
    assert "2 unknown" in page.locator(".gw-lane").nth(0).inner_text()  # é and the apple
    assert page.locator(".gw-unknown").all_inner_texts() == ["é", "🍎"]
    slider = page.locator("input[type=range]")
    slider.press("Home")
    widget.step = 0
    agrees_with(page, widget)
    for step in (1, 2, 3):
        page.get_by_role("button", name="next merge").tap()
        widget.step = step
        agrees_with(page, widget)
        rank = page.locator(".gw-merges").nth(0).locator("tbody tr").nth(0).locator("td").nth(2)
        assert rank.inner_text() == f"{widget.merges_made()[step - 1] - 255:,}"
        joined = set(page.locator(".gw-joined").all_inner_texts())
        assert joined == {readable(widget.tokenizer.vocab[widget.merges_made()[step - 1]])}
    slider.press("ArrowLeft")
    widget.step = 2
    agrees_with(page, widget)
    page.locator("textarea").fill(f"umbrellas {corpus.END}")
    widget.text = f"umbrellas {corpus.END}"
    agrees_with(page, widget)
    page.get_by_role("button", name="all").tap()
    page.get_by_role("checkbox").check()
    widget.step, widget.special = -1, True
    agrees_with(page, widget)
    assert boxes(page, 2)[-1] == corpus.END and page.faults == []
    page.get_by_role("button", name="text: café 🍎").press("Enter")
    widget.text, widget.special = "café 🍎", True
    agrees_with(page, widget)
    page.locator("textarea").fill("")
    page.wait_for_timeout(100)
    assert boxes(page, 0) == boxes(page, 1) == boxes(page, 2) == [] and page.faults == []


def test_a_token_is_reached_by_keyboard_and_marked_in_every_line(shown):
    widget = tokens("a red fox")
    page = shown(widget)
    lane = page.locator(".gw-main .gw-token")
    assert page.locator(".gw-token[tabindex='0']").count() == 4  # one a line
    lane.nth(0).focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(100)
    i = widget.ids()[1]
    said = readable(widget.tokenizer.vocab[i])
    detail = page.locator(".gw-detail").inner_text()
    assert detail.startswith(f"token {said}: id {i}; bytes 32 ")
    assert lane.nth(1).get_attribute("aria-label") == f"token {said}, id {i}"
    marked = page.locator(".gw-lane").nth(0).locator(".gw-marked").all_inner_texts()
    assert "".join(marked) == said
    page.keyboard.press("End")
    page.wait_for_timeout(100)
    assert f"id {widget.ids()[-1]};" in page.locator(".gw-detail").inner_text()
    page.locator(".gw-lane").nth(1).locator(".gw-token").nth(1).hover()
    assert page.locator(".gw-detail").inner_text() == "byte 32: id 32; byte 32"


# The model picture -------------------------------------------------------------------------------


def counts_agree(page, widget: ModelPicture) -> None:
    """The numbers and the shapes in the page are Python's for the same configuration."""
    page.wait_for_timeout(100)
    c, costs = widget.config, widget.costs()
    assert page.locator(".gw-big").nth(0).inner_text() == f"{costs['parameters']:,}"
    tables = page.locator(".gw-part-cost").all_inner_texts()
    counted = sum(int(text.replace(",", "")) for text in tables if text != "–")
    assert counted == costs["parameters"]
    ends = page.locator(".gw-end").all_inner_texts()
    places = f"({widget.batch_size}, {c.context_length}"
    assert ends == [f"ids {places})", f"logits {places}, {c.vocab_size})"]
    shapes = page.locator(".gw-part-shape").all_inner_texts()
    assert shapes[0] == f"{places}, {c.n_embd})"
    size = c.n_embd // c.n_head
    assert f"({widget.batch_size}, {c.n_head}, {c.context_length}, {size})" in shapes
    memory = page.locator(".gw-big").nth(2).inner_text()
    number, unit = memory.split()
    assert float(number) * {"MB": 1e6, "GB": 1e9, "TB": 1e12}[unit] == pytest.approx(
        costs["memory"], rel=0.01
    )


def test_the_picture_follows_its_sizes_and_presets(shown):
    widget = picture()
    page = shown(widget)
    counts_agree(page, widget)
    pressed = page.locator("[aria-pressed='true']")
    assert pressed.all_inner_texts() == ["this book's"]
    sliders = {
        name: page.get_by_role("slider", name=name)
        for name in ("layers", "width", "heads", "vocabulary", "context", "batch")
    }
    sliders["layers"].press("ArrowRight")  # 4 -> 5
    widget.n_layer = 5
    counts_agree(page, widget)
    assert pressed.count() == 0 and "5 blocks" in page.locator(".gw-times").inner_text()
    sliders["width"].press("ArrowRight")  # 64 -> 96
    widget.n_embd = 96
    counts_agree(page, widget)
    sliders["heads"].press("ArrowRight")  # 4 -> 6, the next that divides 96
    widget.n_head = 6
    counts_agree(page, widget)
    sliders["width"].press("ArrowRight")  # 96 -> 128, which 6 does not divide: 4 or 8 do
    widget.n_embd, widget.n_head = 128, 4
    counts_agree(page, widget)
    sliders["vocabulary"].press("End")
    sliders["context"].press("ArrowRight")
    sliders["batch"].press("Home")
    widget.vocab_size, widget.context_length, widget.batch_size = 200_000, 256, 1
    counts_agree(page, widget)
    page.get_by_role("checkbox").uncheck()
    widget.tied = False
    counts_agree(page, widget)
    page.get_by_role("button", name="preset pythia-6.9B").tap()
    for name, value in next(p for p in widget.presets if p["label"] == "6.9B")["config"].items():
        setattr(widget, name, value)
    counts_agree(page, widget)
    assert "6,444,163,072 without the tables" in page.locator(".gw-totals").inner_text()
    assert "turns queries and keys" in page.locator(".gw-about").inner_text()
    assert page.faults == []


def test_a_part_opens_with_its_cost_and_its_code(shown):
    page = shown(ModelPicture(GPTConfig()))
    part = page.get_by_role("button", name="feed-forward, wider")
    assert page.locator(".gw-part-detail").is_hidden()
    part.press("Enter")
    page.wait_for_timeout(100)
    assert part.get_attribute("aria-expanded") == "true"
    said = page.locator(".gw-part-detail").inner_text()
    assert "768 × 3072 + 3072 = 2,362,368 in each of 12 blocks, 28,348,416 together" in said
    assert "gptlib.layers.FeedForward, chapter 4" in said
    assert page.locator(".gw-part-detail a").count() == 0  # this page has no such link
    page.evaluate(
        "document.querySelector('h1').innerHTML = '<a href=\"04_layernorm_gelu.html#x\">4</a>'"
    )
    page.get_by_role("button", name="GELU").tap()
    page.wait_for_timeout(100)
    link = page.get_by_role("link", name="chapter 4")
    assert link.get_attribute("href").endswith("/04_layernorm_gelu.html")
    page.get_by_role("combobox").select_option("1")
    page.wait_for_timeout(100)
    shares = numbers(page, ".gw-part-share")
    assert sum(shares) == pytest.approx(1, abs=0.01)
    page.get_by_role("button", name="GELU").tap()
    page.wait_for_timeout(100)
    assert page.locator(".gw-part-detail").is_hidden() and page.faults == []


# The live GPT ------------------------------------------------------------------------------------


def test_the_model_in_the_page_says_what_pytorch_says(shown):
    """At the end, further back, with other settings, with parts switched off, after a choice."""
    widget = live()
    page = shown(widget)
    toks = page.locator(".gw-token:not([hidden])")

    def agrees():
        page.wait_for_timeout(150)
        got = numbers(page, ".gw-bars:not(.gw-lens) tbody tr:not([hidden]) td.gw-number")
        settings = {"temperature": widget.temperature, "top_p": widget.top_p, "off": widget.off}
        widget.set_trait("temperature", 1.0)
        widget.set_trait("top_p", 1.0)
        order = widget.probs().sort(descending=True, stable=True).indices[:12]
        for name, value in settings.items():
            widget.set_trait(name, value)
        wanted = widget.probs()[order].tolist()
        assert got[:12] == pytest.approx(wanted, abs=6e-4)

    agrees()
    page.get_by_role("slider", name="temperature").press("ArrowRight")
    page.get_by_role("slider", name="temperature").press("ArrowRight")
    widget.temperature = 1.1
    agrees()
    toks.nth(9).click()
    widget.at = 9
    agrees()
    toks.nth(9).press("ArrowLeft")
    widget.at = 8
    agrees()
    page.get_by_role("checkbox", name="block 0, head 1 is on").press(" ")
    page.get_by_role("checkbox", name="block 1, feed-forward is on").click()
    widget.off = ["blocks.0.attention.1", "blocks.1.feed_forward"]
    agrees()
    page.get_by_role("button", name="switch all on").tap()
    widget.off = []
    agrees()
    # Another candidate at a place of the prompt: the prompt ends there, and the text goes on.
    other = page.locator(".gw-pick").nth(3)
    name = other.inner_text()
    other.click()
    page.wait_for_timeout(150)
    widget.prompt = page.locator("textarea").input_value()
    shown_text = page.locator(".gw-token.gw-written:not([hidden])").all_inner_texts()
    ids = [i for i in range(widget._tokenizer.vocab_size) if widget._tokenizer.decode([i]) == name]
    assert len(shown_text) == 1 and shown_text == [name] and widget.prompt == "lower lo"
    widget.ids, widget.at = ids, -1
    agrees()
    assert page.faults == []


def test_the_model_in_the_page_writes(shown):
    widget = live(temperature=0.0)
    page = shown(widget)
    page.get_by_role("button", name="next token").press("Enter")
    page.wait_for_timeout(150)
    wanted = widget.probs().argmax().item()
    assert page.locator(".gw-written:not([hidden])").all_inner_texts() == [
        widget._tokenizer.decode([wanted])
    ]
    page.get_by_role("button", name="write", exact=True).tap()
    # With no END to come to, it stops by itself when two contexts are full.
    page.wait_for_function("document.querySelectorAll('.gw-written:not([hidden])').length === 49")
    page.wait_for_selector("button:text-is('write')")
    idx = torch.tensor([widget.whole()])
    right = list(stream(widget._model, idx, 40, temperature=0.0))
    got = page.locator(".gw-written:not([hidden])").all_inner_texts()[:40]
    assert got == [widget._tokenizer.decode([i]) for i in right]
    assert "are forgotten" in page.locator(".gw-facts").inner_text()
    more = page.evaluate(
        """() => new Promise((done) => {
            const all = [...document.querySelectorAll("button")];
            const run = all.find((b) => b.innerText === "write");
            run.click();
            const later = (n, f) => requestAnimationFrame(() => (n ? later(n - 1, f) : f()));
            later(8, () => { run.click(); later(8, () => done(run.innerText)); });
        })"""
    )
    assert more == "write"
    assert 50 < page.locator(".gw-written:not([hidden])").count() < 70
    page.get_by_role("button", name="one back").tap()
    page.get_by_role("button", name="clear").tap()
    page.wait_for_timeout(150)
    assert page.locator(".gw-written:not([hidden])").count() == 0
    page.locator("textarea").fill("lower ?")
    page.wait_for_timeout(150)
    assert 'holds "?"' in page.get_by_role("alert").inner_text()
    assert page.faults == []


def test_the_page_opens_a_model_of_the_readers_own(shown, tmp_path):
    page = shown(live())
    other = live(seed=5, n_layer=1)
    path = export_model(tmp_path / "mine", other._model, other._tokenizer)
    page.locator("input[type=file]").set_input_files(path)
    page.wait_for_function("document.querySelector('[role=status]').innerText.includes('mine')")
    assert "mine.gpt.safetensors: blocks 1, heads 2" in page.locator("p[role=status]").inner_text()
    other.prompt = page.locator("textarea").input_value()
    got = numbers(page, ".gw-bars:not(.gw-lens) tbody tr:not([hidden]) td.gw-number")[:12]
    assert got == pytest.approx(other.probs().topk(12).values.tolist(), abs=6e-4)
    for name, data in (("cut", path.read_bytes()[:-5]), ("photo.png", b"\x89PNG" * 50)):
        bad = tmp_path / name
        bad.write_bytes(data)
        page.locator("input[type=file]").set_input_files(bad)
        page.wait_for_function("document.querySelector('[role=status]').innerText.includes('not')")
        said = page.locator("p[role=status]").inner_text()
        assert f"{name} was not opened." in said and "still here" in said
        page.get_by_role("button", name="next token").tap()
    page.wait_for_timeout(150)
    assert page.locator(".gw-written:not([hidden])").count() == 2
    page.get_by_role("button", name="back to the first model").tap()
    assert "blocks 2" in page.locator("p[role=status]").inner_text()
    assert page.faults == []


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
    page.get_by_role("button", name="train 50 steps").tap()
    facts = page.locator(".gpt-widget > .gw-facts").first
    page.locator(".gw-facts", has_text="after 50 steps").wait_for()
    widget.shortcut, widget.steps = True, 50
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

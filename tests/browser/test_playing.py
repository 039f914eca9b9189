"""Widgets in a page with no Python: they show Python's numbers, and follow the reader's hand."""

from __future__ import annotations

import base64
import json
import math
import re
from functools import partial
from pathlib import Path

import pytest
import torch
from bookmodel import book
from looking import NARROW, PATIENCE, WIDE, read_axe, settle, tells
from widgetpage import write_page

from gptlib import corpus
from gptlib.attention import AttentionModel
from gptlib.corpus.scoring import AnswerKey
from gptlib.counts import forward_flops
from gptlib.generation import stream
from gptlib.gpt import GPT, GPTConfig, flops_per_token
from gptlib.modern import ModernConfig, ModernGPT
from gptlib.recipe import learning_rate
from gptlib.rope import Rope, scaled_base
from gptlib.tokenizer import BPETokenizer, CharTokenizer
from gptlib.training import TrainConfig, train
from gptlib.widgets import (
    AttentionExplorer,
    CacheGrowth,
    DistributionExplorer,
    ExpertRouting,
    LiveGPT,
    LiveTraining,
    ModelPicture,
    RotationExplorer,
    SignalExplorer,
    Tape,
    TokenizerExplorer,
    TrainingScrubber,
    export_model,
    switched_off,
)
from gptlib.widgets.cache_growth import MEASURES
from gptlib.widgets.signal_explorer import KINDS, LINES, SAMPLES
from gptlib.widgets.story_key import answer_key, exam_stories
from gptlib.widgets.tokenizer_explorer import readable


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


def growing_cache() -> CacheGrowth:
    return CacheGrowth()


def routed() -> ExpertRouting:
    """Experts that are asked unevenly, with little room; vowels are the skill."""
    text, tokenizer = "lower lowest and more lower", CharTokenizer("lower, lowest; and <more>")
    torch.manual_seed(0)
    model = ModernGPT(ModernConfig.preset("stories-experts", vocab_size=tokenizer.vocab_size))
    torch.nn.init.normal_(model.blocks[1].feed_forward.router.weight, std=0.5)
    vowels = ["vowel" if letter in "aeo" else "" for letter in text]
    return ExpertRouting(model, text, tokenizer, skills=vowels, capacity=0.75, layer=1)


def live(seed=0, n_layer=2, **settings) -> LiveGPT:
    tokenizer = CharTokenizer("lower, lowest; and <more>")
    torch.manual_seed(seed)
    config = GPTConfig(tokenizer.vocab_size, 24, n_layer, n_head=2, n_embd=16, init="torch")
    return LiveGPT(GPT(config), tokenizer, "lower lower", numbers="float32", **settings)


def training(steps=12, **settings) -> LiveTraining:
    """A model so small that a step takes no time, and an exam of four stories."""
    config = GPTConfig.preset("stories", n_layer=1, n_embd=16)
    recipe = TrainConfig(steps=steps, batch_size=2, lr=4e-3, weight_decay=0.01)
    return LiveTraining(book()[1], config, recipe, exam=4, **settings)


def course_training(**settings) -> LiveTraining:
    """What chapter 10 shows, with a shorter exam."""
    return LiveTraining(book()[1], exam=4, **settings)


def attention(n_layer=2, **settings) -> AttentionExplorer:
    """Two models; the text is longer than what the page reads in one frame."""
    tokenizer = CharTokenizer("lower, lowest; and <more>")
    models = {}
    for seed, name in enumerate(("before", "after")):
        torch.manual_seed(seed)
        sizes = {"n_layer": n_layer, "n_head": 2, "n_embd": 16, "init": "torch"}
        models[name] = GPT(GPTConfig(tokenizer.vocab_size, 40, **sizes))
    return AttentionExplorer(models, "lower lowest and more lower wards", tokenizer, **settings)


def attention_of_chapter_3() -> AttentionExplorer:
    tokenizer = BPETokenizer.train(corpus.load("stories", n=50), 300, special_tokens=[corpus.END])
    torch.manual_seed(0)
    return AttentionExplorer(AttentionModel(300, 32, 24, 3), "A fox had a kite.", tokenizer)


def teller(prompt: str = corpus.stories(1, seed=9)[0].text, **settings) -> LiveGPT:
    """The book's model with the stories' answer key, and a shorter exam."""
    widget = LiveGPT(*book(), prompt, answer_key=True, **settings)
    key = answer_key() | {"exam": {"seed": 4, "places": 3}}
    widget.key_data = json.dumps(key)
    return widget


def spoilt_teller() -> LiveGPT:
    return teller(corpus.stories(1, seed=9)[0].text.replace("she", "he"))


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


def scrubber(**settings) -> TrainingScrubber:
    """Two short runs on tape, the second at a tenth of the rate and with its last block frozen."""
    tokenizer = CharTokenizer("lower, lowest; and <more>")
    ids = torch.tensor(tokenizer.encode("lower, lowest; and <more> " * 20))
    tapes = {}
    for name, lr in (("healthy", 0.01), ("patient", 0.001)):
        torch.manual_seed(0)
        model = GPT(GPTConfig(tokenizer.vocab_size, 24, 2, n_head=2, n_embd=16))
        model.blocks[1].requires_grad_(name == "healthy")
        tape = Tape(tokenizer, "lower, low", at=range(0, 31, 5), max_new_tokens=8)
        config = TrainConfig(steps=30, batch_size=4, lr=lr, eval_every=5, device="cpu")

        def examine(model):
            x, y = ids[None, :24], ids[None, 1:25]
            logits, loss = model(x, y)
            right = logits.argmax(-1) == y  # (1, T)
            early, late = (half.float().mean().item() for half in right.chunk(2, dim=1))
            return {"val_loss": loss.item(), "early": early, "late": late}

        train(model, ids, None, config, evaluate=examine, callbacks=[tape], progress=False)
        tapes[name] = {**tape.run(["block 0, head 1", "block 1, head 0"]), "exam": 1.5}
    band = {"step": [0, 15, 30], "low": [2.5, 1.5, 1.0], "high": [3.0, 2.5, 2.0]}
    return TrainingScrubber(tapes, floor=0.5, band=band, **settings)


def one_run() -> TrainingScrubber:
    """The least that there can be to wind."""
    return TrainingScrubber({"step": [0, 10, 20], "val": [3.0, 2.0, None]})


def rotations(**settings) -> RotationExplorer:
    return RotationExplorer(**settings)


def rotations_of_a_large_head() -> RotationExplorer:
    """More pairs than faces, one of them open, some at new angles, the slowest slowed."""
    return rotations(head_size=64, query_at=400, key_at=0, scaling=4, pair=0)


# What a finger presses, with its label, is at least 24 pixels high and wide.
SMALL = """[...document.querySelectorAll(
    '.gpt-widget :is(button, select, input, [tabindex="0"], .gw-token, .gw-seen)')]
    .map(e => e.closest('label') || e).filter(e => e.offsetParent)
    .filter(e => ['height', 'width'].some(side => e.getBoundingClientRect()[side] < 24))
    .map(e => e.outerHTML)"""
MADE = {
    "distribution": distribution,
    "tokens": tokens,
    "picture": picture,
    "growing_cache": growing_cache,
    "routed": routed,
    "live": live,
    "training": training,
    "training_of_the_course": partial(course_training, mistakes=["mask"]),
    "attention": attention,
    "attention_of_chapter_3": attention_of_chapter_3,
    "teller": spoilt_teller,
    "signals": signals,
    "recorded_signals": recorded_signals,
    "scrubber": partial(scrubber, shown=1),
    "one_run": one_run,
    "rotations": rotations,
    "rotations_of_a_large_head": rotations_of_a_large_head,
}


@pytest.fixture
def shown(browser, tmp_path):
    """Open a page with widgets: `shown(widget, width=, theme=)`. It may ask nobody for anything.

    `spoil(path)` may do harm to the page before it is opened.
    """
    contexts = []

    def look(*widgets, width=WIDE, theme="light", script=True, spoil=None, **settings):
        path = write_page(tmp_path, *widgets, theme=theme)
        if spoil:
            spoil(path)
        context = browser.new_context(
            viewport={"width": width, "height": 1000},
            color_scheme=theme,
            java_script_enabled=script,
            **{"has_touch": True, **settings},
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
    """The shares that the elements show as percentages; "< 0.1 %" is 0, and so is "impossible"."""
    texts = page.locator(selector).all_inner_texts()
    none = ("<", "impossible")
    return [
        0.0 if text.startswith(none) else float(text.rstrip(" %")) / 100 for text in texts if text
    ]


def widths(page, selector: str) -> list[float]:
    """The widths of bars, in percent of their track."""
    return page.locator(selector).evaluate_all("all => all.map(bar => parseFloat(bar.style.width))")


def histograms(page, selector: str) -> list[tuple[float, float, list[float]]]:
    """Of each drawn one: where it begins and ends, and how high its bars are; none where empty."""
    found = []
    for d in page.locator(selector).evaluate_all("all => all.map(e => e.getAttribute('d'))"):
        across = [float(x) for x in re.findall(r"[MH]([\d.]+)", d)]
        *tops, base = [float(y) for y in re.findall(r"V([\d.]+)", d)] or [0.0]
        found += [(across[0], across[-1], [base - y for y in tops])] if d else []
    return found


# Every widget ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_widget_appears_once_and_all_can_use_it(shown, make, theme):
    widget = make()
    page = shown(widget, theme=theme)
    assert page.locator(".gpt-widget").count() == 1
    assert not page.locator("img.stands-in").is_visible()
    read_axe(page)
    # preload would ask for the style sheet once more, which a page from a folder may not
    found = page.evaluate(
        "axe.run('.gpt-widget', {preload: false, "
        "rules: {'label-content-name-mismatch': {enabled: true}}})"
        ".then(r => r.violations.map(v => v.id + ': ' + v.nodes[0].html))"
    )
    assert found == [] and page.faults == []


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_a_widget_fits_a_telephone_and_a_finger(shown, make):
    page = shown(make(), width=NARROW)
    for width in (NARROW, 640, 690):  # a screen of 1,280 at 200 %, and the book's column
        page.set_viewport_size({"width": width, "height": 500})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        small = page.evaluate(SMALL)
        assert small == []


# What is too small to read: letters below 11 pixels on the screen, drawings shrunk as they are.
TINY = """() => {
    const found = [];
    const walk = document.createTreeWalker(document.querySelector('.gpt-widget'), NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const e = walk.currentNode.parentElement;
        if (!walk.currentNode.data.trim() || !e.checkVisibility() || e.closest('.gw-words, .gw-hidden')) continue;
        const size = parseFloat(getComputedStyle(e).fontSize) * (e.ownerSVGElement ? e.getScreenCTM().a : 1);
        if (size < 11) found.push(`${size.toFixed(1)} px: ${walk.currentNode.data}`);
    }
    return found;
}"""  # noqa: E501


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_no_letter_is_too_small_to_read(shown, make):
    page = shown(make(), width=NARROW)
    for width in (NARROW, 390, 690, WIDE):
        page.set_viewport_size({"width": width, "height": 800})
        settle(page)
        assert page.evaluate(TINY) == []


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


def script_lost(path: Path) -> None:
    for script in (path.parent / "_static" / "widgets").glob("*.js"):
        if script.name != "host.js":
            script.unlink()


def state_lost(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub(r'(class="widget-states">).*', r"\1{}</script>", text), encoding="utf-8")


def state_cut(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    cut = re.sub(r'(class="widget-states">.{200}).*', r"\1</script>", text)
    path.write_text(cut, encoding="utf-8")


def state_spoilt(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"labels": [', '"labels": 7, "other": ['), encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (script_lost, "its script did not load"),
        (state_lost, "the page holds no state for it"),
        (state_cut, "the page holds no state for it"),
        (state_spoilt, "This figure could not be made one to play with"),
    ],
)
def test_what_is_missing_is_said_where_the_widget_would_be(shown, spoil, said):
    page = shown(distribution(), spoil=spoil)
    assert said in page.locator(".widget-failed:visible").inner_text()
    assert page.locator("img").is_visible() and page.locator(".gpt-widget tbody").count() == 0
    assert spoil is script_lost or page.faults == []  # a file that is not there is told


# Every word that a screen reader is given by itself, in order.
SAID = """() => {
    window.said = [];
    new MutationObserver((all) => all.forEach(({ target }) => {
        const place = (target.closest ? target : target.parentElement).closest(
            '[aria-live=polite], [role=status], [role=alert], output:not([aria-live=off])');
        if (place) window.said.push(place.textContent);
    })).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_a_widget_says_what_is_shown_and_does_not_chatter(shown, make):
    """Ten moves of every slider: words when the hand is still, and once each time."""
    page = shown(make())
    page.wait_for_timeout(600)
    page.evaluate(SAID)
    sliders = page.locator(".gpt-widget input[type=range]:visible")
    for i in range(sliders.count()):
        page.evaluate("said = []")
        for key in ["ArrowLeft"] * 5 + ["ArrowRight"] * 4:
            sliders.nth(i).press(key)
        page.wait_for_timeout(600)
        said = page.evaluate("said")
        assert len(said) <= 2 and all(said), said  # a slow machine may come to rest half-way
    assert page.evaluate("said.length") < 3 and page.faults == []


def still(widget):
    """The same widget, which draws once and never again."""
    before, redraw, after = widget._esm.rpartition("= batched(draw);")
    if not redraw:
        raise ValueError("this script draws in another way")
    widget._esm = f"{before}= batched(() => {{}});{after}"
    return widget


# The distribution explorer -----------------------------------------------------------------------


def distribution_agrees(page, widget: DistributionExplorer) -> None:
    """List, others and heat map are what Python says of the same traits."""
    settle(page)
    plain = widget._table[widget.row].softmax(0)
    list_agrees(page, widget, [as_seen(text) for text in widget.labels], plain)
    assert page.locator("canvas.gw-heat").count() == (len(widget.row_labels) > 4)
    if len(widget.row_labels) > 4:  # fewer are no picture
        squares = green_of(widget._table.softmax(dim=1).sqrt()).flatten()
        assert shades(page, "canvas.gw-heat") == pytest.approx(squares.tolist(), abs=1)


def as_seen(text: str) -> str:
    """A token as a list shows it: spaces and line breaks are visible."""
    for sign, there in ((" ", "␣"), ("\n", "⏎"), ("\t", "⇥")):
        text = text.replace(sign, there)
    return text or "∅"


def list_agrees(page, widget, labels: list[str], plain: torch.Tensor) -> tuple[int, list, list]:
    """The tokens with a line each, the others' line, and both their probabilities.

    Returns how many have a line each, and what is drawn: with the settings, and before them.
    """
    order = plain.sort(descending=True, stable=True).indices.tolist()
    sought = as_seen(widget.sought).lower() if widget.sought else ""
    own = [i for i in order if sought in labels[i].lower()][: widget.listed]
    left = [i for i in order if i not in own]
    rows = ".gw-candidates tbody tr:not([hidden])"
    names, both = page.locator(f"{rows} th").all_inner_texts(), []
    assert names[len(own) :] == ([f"{len(left):,} others"] if left else [])
    assert all(sought in name.lower() for name in names[: len(own)])
    for column, probs in ((2, widget.probs()), (3, plain)):
        wanted = [*probs[own].tolist(), *([probs[left].sum().item()] if left else [])]
        got = numbers(page, f"{rows} td:nth-child({column})")
        assert got == pytest.approx(wanted, abs=6e-4)
        for name, share in zip(names[: len(own)], got, strict=False):  # of equals any may be first
            these = [p for label, p in zip(labels, probs.tolist(), strict=True) if label == name]
            assert min(abs(p - share) for p in these) < 6e-4, name
        both.append(wanted)
    return len(own), both[0], both[1]


def test_the_distribution_follows_its_controls(shown):
    widget = distribution()
    page = shown(widget)
    distribution_agrees(page, widget)
    page.locator("select").select_option("2")
    widget.row = 2
    distribution_agrees(page, widget)
    temperature, top_k, top_p = (page.locator("input[type=range]").nth(i) for i in range(3))
    for _ in range(10):
        temperature.press("ArrowRight")
    widget.temperature = 1.5
    distribution_agrees(page, widget)
    top_k.press("Home")
    for _ in range(4):
        top_k.press("ArrowRight")
    widget.top_k = 5
    distribution_agrees(page, widget)
    top_p.press("Home")
    widget.top_k, widget.top_p = 5, 0.05
    distribution_agrees(page, widget)
    nats = -(widget.probs() * widget.probs().clamp_min(1e-30).log()).sum().item()
    facts = page.locator(".gw-facts").inner_text()
    assert f"entropy {abs(nats):.3f} nats" in facts
    assert float(re.search(r"perplexity ([\d.]+)", facts)[1]) == pytest.approx(
        math.exp(nats), abs=0.006
    )
    assert page.faults == []


def test_an_impossible_token_is_called_so_and_has_no_bar(shown):
    """Where the model gives 0, and where a filter does; the others that are left out, too."""
    logits = torch.tensor([[2.0, 1.0, -40.0, -math.inf]])
    page = shown(DistributionExplorer(logits, list("abcd")))

    def lines():
        settle(page)
        return page.locator(".gw-bars tbody tr:not([hidden])").evaluate_all(
            """all => all.map(tr => [tr.children[1].innerText, ...[".gw-bar", ".gw-outline"].map(
                kind => tr.querySelector(kind).getBoundingClientRect().width > 0)])"""
        )

    assert [line[0] for line in lines()] == ["73.1 %", "26.9 %", "< 0.1 %", "impossible"]
    assert lines()[2][2] and lines()[3][1:] == [False, False]
    page.get_by_role("slider", name="top-k").press("Home")
    assert [line[0] for line in lines()] == ["100.0 %", *["impossible"] * 3]
    assert lines()[1][1:] == [False, True]  # as the model says it, it is possible
    page = shown(DistributionExplorer(torch.arange(40.0)[None], list("x" * 40), top_k=5))
    assert lines()[-1][0] == "impossible" and lines()[5][0] == "impossible"
    assert page.faults == []


def draws(probs: torch.Tensor, n: int) -> torch.Tensor:
    """The first n draws of the page's random numbers (mulberry32) for the seed 0."""
    low = 0xFFFFFFFF
    state = (torch.arange(1, n + 1) * 0x6D2B79F5) & low
    t = ((state ^ (state >> 15)) * (state | 1)) & low
    t = t ^ ((t + ((t ^ (t >> 7)) * (t | 61))) & low)
    uniform = (t ^ (t >> 14)).double() / 2**32
    return torch.searchsorted(probs.double().cumsum(0), uniform, right=True)


def test_draws_come_near_to_the_probabilities(shown):
    """They are those of Python, one by one; each stands there as a number and as a dot."""
    widget = distribution()
    page = shown(widget)
    probs = widget._table[widget.row].double().softmax(dim=0)
    order = probs.argsort(descending=True)
    said, dots = page.locator("output").last, page.locator(".gw-dot")

    def agrees(n: int):
        settle(page)
        counts = draws(probs, n).bincount(minlength=len(probs))[order]
        shares = [count / n for count in (*counts[:12].tolist(), counts[12:].sum().item())]
        drawn = numbers(page, ".gw-bars tbody tr:not([hidden]) td.gw-number:nth-child(5)")
        assert drawn == pytest.approx(shares, abs=6e-4)
        most = max(probs.max().item(), *shares[:12])
        left = dots.evaluate_all("all => all.map(dot => parseFloat(dot.style.left))")
        assert left == pytest.approx([min(100, 100 * share / most) for share in shares], abs=0.01)
        return shares

    for n in (1, 2):
        page.get_by_role("button", name="draw 1", exact=True).tap()
        agrees(n)
        assert said.inner_text() == f"{n} drawn, the last: t{draws(probs, n)[-1]}"
    page.get_by_role("button", name="clear").tap()
    settle(page)
    assert said.inner_text() == "" and not page.locator(".gw-dot:visible").count()
    page.get_by_role("button", name="draw 1,000").tap()
    drawn = agrees(1000)
    assert said.inner_text() == "1,000 drawn" and dots.first.is_visible()
    bars = numbers(page, ".gw-bars tbody tr:not([hidden]) td.gw-number:nth-child(2)")
    assert sum(drawn) == pytest.approx(1) and bars != drawn
    assert all(abs(a - b) < 0.08 for a, b in zip(bars, drawn, strict=True))


def test_bars_of_tokens_are_to_be_seen_where_all_others_have_more(shown):
    """A flat distribution: the longest bar is that of a token, and all are in proportion."""
    logits = torch.randn(1, 1000, generator=torch.Generator().manual_seed(0))
    page = shown(DistributionExplorer(logits, [f"t{i}" for i in range(1000)]), width=NARROW)
    *shares, others = numbers(page, ".gw-bars tbody td.gw-number:nth-child(2)")
    *widths, last = page.locator(".gw-bars .gw-bar").evaluate_all(
        "all => all.map(bar => Number(bar.style.width.replace('%', '')))"
    )
    assert others > 0.8 and shares[0] < 0.05
    assert widths[0] == 100 and widths == pytest.approx(
        [100 * share / shares[0] for share in shares], rel=0.1
    )
    bars = page.locator(".gw-bars .gw-bar")
    assert bars.first.bounding_box()["width"] > 110  # a third of the telephone
    assert last == 100 and "gw-longer" in bars.last.get_attribute("class")
    assert page.locator(".gw-bars .gw-longer").count() == 2  # its bar and its outline


@pytest.mark.parametrize("press", ["tap", "click", "Enter"])
def test_every_token_can_be_brought_into_the_list(shown, press):
    """By more lines and by a part of its text; each with its number before the settings."""
    widget = distribution()
    widget.temperature = 2.0
    page = shown(widget, width=NARROW - 30)
    more, fewer = (page.get_by_role("button", name=name) for name in ("more tokens", "fewer"))
    assert fewer.is_disabled()
    for button, listed in ((more, 24), (more, 40), (fewer, 20), (fewer, 12), (more, 24)):
        button.press(press) if press == "Enter" else getattr(button, press)()
        widget.listed = listed
        distribution_agrees(page, widget)
        assert more.is_disabled() == (listed == 40) and fewer.is_disabled() == (listed == 12)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    find = page.get_by_role("textbox", name="find a token")
    for text, found in (("T3", 11), ("t39", 1), (" ", 0), ("", 24)):
        find.fill(text)
        widget.sought = text
        distribution_agrees(page, widget)
        own = page.locator(".gw-candidates tbody tr:not([hidden]) th:not(:has-text('others'))")
        assert own.count() == found
        if found == 1:
            tells(page, "In the list: 1 with “t39”.")
    assert page.faults == []


def test_a_token_that_is_found_is_taken(shown):
    widget = live()
    page = shown(widget)
    labels = [widget._tokenizer.decode([i]) for i in range(widget._tokenizer.vocab_size)]
    rare = labels[widget.probs().argmin()]  # it has no line of its own
    assert rare not in page.locator(".gw-candidates .gw-pick").all_inner_texts()
    page.get_by_role("textbox", name="find a token").fill(rare)
    widget.sought = rare
    writing_agrees(page, widget)
    page.locator(".gw-candidates").get_by_role("button", name=rare, exact=True).press("Enter")
    widget.ids = [labels.index(rare)]
    writing_agrees(page, widget)
    assert page.locator(".gw-written:not([hidden])").all_inner_texts() == [rare]
    assert page.faults == []


def test_a_square_of_the_table_tells_its_number_to_the_keyboard(shown):
    widget = distribution()
    page = shown(widget)
    map, read = page.get_by_role("slider", name="the table as a heat map"), page.locator(".gw-read")
    mark, resting = page.locator(".gw-where"), read.inner_text()
    page.get_by_role("textbox", name="find a token").focus()
    page.keyboard.press("Tab")
    at = [1, 0]  # the row that is picked
    steps = {
        "": (0, 0), "ArrowRight": (0, 1), "ArrowDown": (1, 0), "End": (0, 99), "ArrowLeft": (0, -1),
        "PageUp": (-10, 0), "ArrowUp": (-1, 0), "PageDown": (10, 0), "Home": (0, -99),
    }  # fmt: skip
    for key, (down, across) in steps.items():
        if key:
            page.keyboard.press(key)
        at = [min(4, max(0, at[0] + down)), min(39, max(0, at[1] + across))]
        share = widget._table[at[0]].softmax(0)[at[1]].item()
        said = re.fullmatch(
            rf"{['x', '␣', '⏎', 'y', 'z'][at[0]]}, then t{at[1]}: (.*) %", read.inner_text()
        )
        number = 0.0 if said[1].startswith("<") else float(said[1]) / 100
        assert number == pytest.approx(share, abs=6e-4)
        assert map.get_attribute("aria-valuetext") == read.inner_text()
        assert map.get_attribute("aria-valuenow") == str(40 * at[0] + at[1])
        box, seen = map.bounding_box(), mark.bounding_box()
        for side, long, k, n in (("y", "height", at[0], 5), ("x", "width", at[1], 40)):
            middle = (seen[side] + seen[long] / 2 - box[side]) / box[long]
            assert middle == pytest.approx((k + 0.5) / n, abs=0.01)
    assert page.locator("select").input_value() == "1"
    page.keyboard.press("Enter")
    settle(page)
    widget.row = 4
    assert page.locator("select").input_value() == "4"
    distribution_agrees(page, widget)
    page.keyboard.press("Shift+Tab")
    assert read.inner_text() == resting and not mark.is_visible()
    assert page.faults == []


def test_a_row_of_the_table_is_picked_with_the_pointer(shown):
    widget = distribution()
    page = shown(widget)
    box = page.locator("canvas").bounding_box()
    page.mouse.click(box["x"] + 5, box["y"] + box["height"] * 0.1)
    settle(page)
    assert page.locator("select").input_value() == "0"
    read = page.locator(".gw-read")
    page.mouse.move(box["x"] + box["width"] * 7.5 / 40, box["y"] + box["height"] * 3.5 / 5)
    share = widget._table[3].softmax(0)[7].item()
    assert read.inner_text() == f"y, then t7: {share:.1%}".replace("%", " %")
    page.mouse.move(0, 0)
    assert read.inner_text().startswith("Each row is")
    assert page.faults == []


# The tokenizer explorer --------------------------------------------------------------------------


def boxes(page, lane: int) -> list[str]:
    return page.locator(".gw-lane").nth(lane).locator(".gw-token").all_inner_texts()


def agrees_with(page, widget: TokenizerExplorer) -> None:
    """What the page shows is what Python says of the same traits."""
    settle(page)
    vocab = widget.tokenizer.vocab
    assert boxes(page, 2) == [readable(vocab[i]) for i in widget.ids()]
    assert boxes(page, 0) == [readable(char.encode()) for char in widget.text]
    assert boxes(page, 1) == [str(byte) for byte in widget.text.encode()]
    made = len(widget.merges_made())
    step = made if widget.step < 0 else min(made, widget.step)
    assert page.locator(".gw-steps output").inner_text() == f"{step} of {made}"
    counts, characters = f"{len(widget.ids())}", len(widget.text)
    if len(widget.ids()) != characters:
        counts += f", {characters / len(widget.ids()):.2f} characters each"
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
    page.get_by_role("button", name="back").tap()
    widget.step = 1
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
    settle(page)
    assert boxes(page, 0) == boxes(page, 1) == boxes(page, 2) == [] and page.faults == []


@pytest.mark.parametrize("width", [NARROW, 390, 690, WIDE])
def test_a_merge_stands_in_one_line(shown, width):
    page = shown(tokens("The umbrella of grandmother"), width=width)
    for step in (-1, 3):
        if step > 0:
            page.get_by_role("button", name="none").tap()
            for _ in range(step):
                page.get_by_role("button", name="next merge").tap()
        settle(page)
        high = page.locator(".gw-merges tbody tr:not(.gw-blank)").evaluate_all(
            "all => all.map(tr => tr.getBoundingClientRect().height)"
        )
        assert high and max(high) < 32, high
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_token_is_reached_by_keyboard_and_marked_in_every_line(shown):
    widget = tokens("a red fox")
    page = shown(widget)
    lane = page.locator(".gw-main .gw-token")
    assert page.locator(".gw-token[tabindex='0']").count() == 4  # one a line
    lane.nth(0).focus()
    page.keyboard.press("ArrowRight")
    settle(page)
    i = widget.ids()[1]
    said = readable(widget.tokenizer.vocab[i])
    detail = page.locator(".gw-detail").inner_text()
    assert detail.startswith(f"token {said}: id {i}; bytes 32 ")
    assert lane.nth(1).get_attribute("aria-label") == f"token {said}, id {i}"
    marked = page.locator(".gw-lane").nth(0).locator(".gw-marked").all_inner_texts()
    assert "".join(marked) == said
    page.keyboard.press("End")
    settle(page)
    assert f"id {widget.ids()[-1]};" in page.locator(".gw-detail").inner_text()
    page.locator(".gw-lane").nth(1).locator(".gw-token").nth(1).hover()
    assert page.locator(".gw-detail").inner_text() == "byte 32: id 32; byte 32"


# The model picture -------------------------------------------------------------------------------


def as_count(text: str) -> float:
    number, _, word = text.partition(" ")
    words = {"": 1, "million": 1e6, "billion": 1e9, "trillion": 1e12}
    return float(number.replace(",", "")) * words[word]


def part_sizes(config: GPTConfig) -> list[int]:
    """The parameters of each part, in the order in which a token meets them."""
    with torch.device("meta"):  # shapes, and no numbers
        model = GPT(config)
    block, n = model.blocks[0], config.n_layer
    attention, feed_forward = block.attention, block.feed_forward
    inside = [
        *(block.norm_1, attention.qkv, None, attention.project),
        *(block.norm_2, feed_forward.expand, None, feed_forward.project),
    ]
    head = None if config.tied else model.head
    parts = [
        *((part, 1) for part in (model.token_embedding, model.position_embedding)),
        *((part, n) for part in inside),
        *((part, 1) for part in (model.final_norm, head)),
    ]
    return [
        times * sum(weight.numel() for weight in part.parameters()) if part else 0
        for part, times in parts
    ]


def counts_agree(page, widget: ModelPicture) -> None:
    """The numbers and the shapes in the page are Python's for the same configuration."""
    settle(page)
    c, costs = widget.config, widget.costs()
    assert page.locator(".gw-big").nth(0).inner_text() == f"{costs['parameters']:,}"
    assert as_count(page.locator(".gw-big").nth(1).inner_text()) == pytest.approx(
        costs["forward"], rel=0.006
    )
    back = page.locator(".gw-total .gw-legend").nth(1).inner_text()
    there = re.fullmatch("forward; (.*) with the way back", back)[1]
    assert as_count(there) == pytest.approx(costs["training"], rel=0.006)
    tables = page.locator(".gw-part-cost").all_inner_texts()
    counted = [0 if text == "–" else int(text.replace(",", "")) for text in tables]
    assert counted == part_sizes(c) and sum(counted) == costs["parameters"]
    assert widths(page, ".gw-part .gw-bar") == pytest.approx(
        [100 * size / max(counted) for size in counted], abs=0.01
    )
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
    note = page.locator(".gw-legend", has_text="cannot be cut into")
    assert note.inner_text() == "A width of 128 cannot be cut into 6 equal heads: there are 4 now."
    sliders["width"].press("ArrowRight")  # 192: there the 6 fit again
    widget.n_embd, widget.n_head = 192, 6
    counts_agree(page, widget)
    assert not note.is_visible()
    sliders["width"].press("ArrowLeft")
    widget.n_embd, widget.n_head = 128, 4
    counts_agree(page, widget)
    tells(page, "cannot be cut into 6 equal heads")
    sliders["heads"].press("ArrowRight")
    settle(page)
    assert not note.is_visible()
    sliders["heads"].press("ArrowLeft")
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
    settle(page)
    assert part.get_attribute("aria-expanded") == "true"
    said = page.locator(".gw-part-detail").inner_text()
    assert "768 × 3072 + 3072 = 2,362,368 in each of 12 blocks, 28,348,416 together" in said
    assert "gptlib.layers.FeedForward, chapter 4" in said
    assert page.locator(".gw-part-detail a").count() == 0  # this page has no such link
    page.evaluate(
        "document.querySelector('h1').innerHTML = '<a href=\"04_layernorm_gelu.html#x\">4</a>'"
    )
    page.get_by_role("button", name="GELU").tap()
    settle(page)
    link = page.get_by_role("link", name="chapter 4")
    assert link.get_attribute("href").endswith("/04_layernorm_gelu.html")
    code = page.get_by_role("link", name="gptlib.layers.GELU").get_attribute("href")
    assert code.endswith("/source/layers.html#GELU")
    page.get_by_role("combobox").select_option("1")
    settle(page)
    shares = numbers(page, ".gw-part-share")
    assert sum(shares) == pytest.approx(1, abs=0.01)
    costs = [
        as_count(text) for text in page.locator(".gw-part-cost").all_inner_texts() if text != "–"
    ]
    forward = flops_per_token(GPTConfig(), training=False)
    assert sum(costs) == pytest.approx(forward, rel=0.006)
    lengths = [width for width in widths(page, ".gw-part .gw-bar") if width]
    assert lengths == pytest.approx([100 * cost / max(costs) for cost in costs], abs=0.5)
    page.get_by_role("button", name="GELU").tap()
    settle(page)
    assert page.locator(".gw-part-detail").is_hidden() and page.faults == []


# The growth of a cache ---------------------------------------------------------------------------


def as_bytes(text: str) -> float:
    number, unit = text.split()
    return float(number) * {"bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}[unit]


def growth_agrees(page, widget: CacheGrowth) -> None:
    """Both bars and both sentences say what Python counts."""
    settle(page)
    costs = widget.costs()
    held, weights = page.locator(".gw-memory-line .gw-value").all_inner_texts()
    assert as_bytes(held) == pytest.approx(costs["cache"], rel=0.006)
    assert as_bytes(weights) == pytest.approx(costs["weights"], rel=0.006)
    lengths = page.locator(".gw-memory-line .gw-bar").evaluate_all(
        "bars => bars.map(bar => parseFloat(bar.style.width) / 100)"
    )
    most = max(costs.values())
    assert lengths == pytest.approx([costs["cache"] / most, costs["weights"] / most], abs=1e-3)
    adds = widget.costs(widget.n_tokens + 1)["cache"] - costs["cache"]
    said = page.locator(".gw-facts").nth(0).inner_text()
    if adds:
        number, unit = said.split("adds ")[1].split()[:2]
        assert as_bytes(f"{number} {unit.rstrip('.')}") == pytest.approx(adds, rel=0.006)
    else:
        assert "adds nothing" in said
    shape = widget.models[widget.shown]
    shown = page.get_by_role("slider", name="tokens of text").get_attribute("aria-valuetext")
    assert shown == f"{widget.n_tokens:,}"
    heads = page.get_by_role("slider", name="key/value heads").get_attribute("aria-valuetext")
    assert heads == str(widget.n_kv_head) and shape["n_head"] % widget.n_kv_head == 0


def test_a_growing_cache_follows_its_controls(shown):
    widget = growing_cache()
    page = shown(widget)
    growth_agrees(page, widget)
    kind, facts = page.locator(".gw-kind"), page.locator(".gw-facts")
    assert kind.inner_text().startswith("Multi-head attention: each of the 25 heads")
    # 25 heads, 64 numbers each, twice, in 48 layers; 1,024 tokens read, or 1 + 2 + ... + 1,024
    assert facts.nth(1).inner_text() == (
        "157 million numbers with the cache, 80.6 billion without: 513 times as many."
    )
    slider = {
        name: page.get_by_role("slider", name=name)
        for name in ("tokens of text", "key/value heads", "window")
    }
    slider["tokens of text"].press("ArrowLeft")
    widget.n_tokens = 768
    growth_agrees(page, widget)
    slider["key/value heads"].press("ArrowLeft")
    widget.n_kv_head = 5
    growth_agrees(page, widget)
    assert "25 heads in 5 groups of 5" in kind.inner_text()
    assert "would be 5 times as large" in facts.nth(0).inner_text()
    slider["key/value heads"].press("Home")
    widget.n_kv_head = 1
    growth_agrees(page, widget)
    assert kind.inner_text().startswith("Multi-query attention: all 25 heads share")
    every = page.get_by_role("checkbox")
    assert every.is_disabled()
    for _ in range(4):  # 768, 512, 384, 256
        slider["window"].press("ArrowLeft")
    widget.window = 256
    growth_agrees(page, widget)
    assert slider["window"].get_attribute("aria-valuetext") == "256"
    every.check()
    widget.full_every = 2
    growth_agrees(page, widget)
    every.uncheck()
    slider["window"].press("End")
    widget.window, widget.full_every = 0, 0
    growth_agrees(page, widget)
    page.get_by_role("combobox", name="numbers").select_option("8 bits: 1 byte")
    widget.bytes_per_value = 1
    growth_agrees(page, widget)
    page.get_by_role("button", name="GPT-OSS 20B").press("Enter")
    widget.shown = 2
    growth_agrees(page, widget)
    assert (widget.window, widget.full_every, widget.n_tokens) == (128, 2, 768)
    assert every.is_checked()
    page.get_by_role("combobox", name="counted").select_option(MEASURES[2])
    settle(page)
    # the next token's operations by gptlib.counts, added up once with the cache, twice without
    one, config = forward_flops, ModernConfig.preset("gpt-oss-20b")
    cached = sum(one(config, n) for n in range(1, 769))
    without = sum((769 - n) * one(config, n) for n in range(1, 769))
    assert facts.nth(1).inner_text() == (
        f"{cached / 1e12:.2f} trillion operations with the cache, {without / 1e15:.2f} quadrillion "
        f"without: {round(without / cached)} times as many."
    )
    page.get_by_role("button", name="The book's GPT").tap()
    widget.shown = 3
    growth_agrees(page, widget)
    assert widget.n_tokens == 128
    tells(page, "128 tokens: the cache holds 32.8 kB, the weights 277 kB.")
    assert page.faults == []


def test_a_growing_cache_draws_a_line_and_a_curve(shown):
    """Half the text: half the cache, and a quarter of what would be read without it."""
    page = shown(growing_cache())
    heights = """paths => paths.map(path => {
        const [x, y] = path.getAttribute('d').slice(1).split(/[L,]/).reduce(
            ([xs, ys], v, i) => (i % 2 ? [xs, [...ys, +v]] : [[...xs, +v], ys]), [[], []]);
        return (176 - y[32]) / (176 - y[64]);
    })"""
    now = page.locator(".gw-growth-now").evaluate_all(heights)
    other = page.locator(".gw-growth-other").evaluate_all(heights)
    assert now[0] == pytest.approx(0.5, abs=0.01) and other[1] == pytest.approx(0.25, abs=0.01)
    slider = page.get_by_role("slider", name="window")
    for _ in range(7):  # 768, 512, 384, 256, 192, 128, 96
        slider.press("ArrowLeft")
    settle(page)
    assert page.locator(".gw-growth-now").evaluate_all(heights)[0] == pytest.approx(1)
    assert "adds nothing" in page.locator(".gw-facts").nth(0).inner_text()


# The experts -------------------------------------------------------------------------------------


def routing_agrees(page, widget: ExpertRouting) -> None:
    """Every token, every bar and every cell of the table say what the model's routing says."""
    settle(page)
    one, T, E = widget.routing(), len(widget.labels), widget.n_expert
    boxes = page.locator(".gw-routed-token")
    told = boxes.evaluate_all("""boxes => boxes.map(box => [
        ...[...box.querySelectorAll('.gw-routed-numbers span')].map(e => Number(e.textContent)),
        ...[...box.querySelectorAll('.gw-stripes span')].map(e => Number(e.style.flexGrow))])""")
    for t in range(T):
        assert told[t][:2] == one.chosen[0, t].tolist()
        assert told[t][2:] == pytest.approx(one.weights[0, t].tolist(), abs=1e-4)
    crossed = boxes.evaluate_all("""boxes => boxes.map(box =>
        [...box.querySelectorAll('.gw-routed-numbers span')].map(e => e.className === ''))""")
    assert crossed == one.answered[0].tolist()
    assert numbers(page, ".gw-load tbody td:nth-child(2)") == pytest.approx(
        widget.load(), abs=0.0006
    )
    lengths = page.locator(".gw-load .gw-bar").evaluate_all(
        "bars => bars.map(bar => parseFloat(bar.style.width) / 100)"
    )
    most = max(*widget.load(), widget.n_active / E)
    assert lengths == pytest.approx([share / most for share in widget.load()], abs=1e-4)
    lines = page.locator(".gw-load .gw-even").evaluate_all(
        "lines => lines.map(line => parseFloat(line.style.left) / 100)"
    )
    assert lines == pytest.approx([widget.n_active / E / most] * E, abs=1e-4)
    if widget.limited:
        dropped = torch.bincount(one.chosen[~one.answered], minlength=E).tolist()
        shown = page.locator(".gw-load tbody td:nth-child(4)").all_inner_texts()
        assert [int(text) for text in shown] == dropped
    cells = page.locator(".gw-skills-table tbody td:not(.gw-places)").all_inner_texts()
    by_skill = [one["asked"][widget.layer] for one in widget.counted]
    shares = [100 * n / sum(asked) for asked in by_skill for n in asked]
    assert [int(cell) for cell in cells] == pytest.approx(shares, abs=0.51)
    marked = boxes.evaluate_all("boxes => boxes.map(box => box.classList.contains('gw-asked'))")
    assert marked == (one.chosen[0] == widget.expert).any(dim=-1).tolist()
    facts = page.locator(".gw-facts").nth(1).inner_text()
    balance = widget.balance[(widget.n_layer if widget.limited else 0) + widget.layer]
    assert f"The balance loss is {balance:.2f}: 1 is even, 4 is the same 2 experts" in facts


def test_experts_follow_every_control(shown):
    widget = routed()
    page = shown(widget)
    routing_agrees(page, widget)
    load = widget.load()
    facts, detail = page.locator(".gw-facts").nth(1), page.locator(".gw-asks")
    assert facts.inner_text().startswith(
        f"Expert {load.index(max(load))} is asked most, by {100 * max(load):.1f} % of the tokens; "
        "an even share is 25.0 %."
    )
    page.get_by_role("slider", name="block").press("ArrowRight")
    widget.layer = 2
    routing_agrees(page, widget)
    page.get_by_role("slider", name="block").press("Home")
    page.get_by_role("slider", name="block").press("ArrowRight")
    widget.layer = 1
    expert = load.index(max(load))
    button = page.get_by_role("button", name=f"expert {expert}", exact=True)
    button.press("Enter")
    widget.expert = expert
    routing_agrees(page, widget)
    assert button.get_attribute("aria-pressed") == "true"
    n_asking = round(max(load) * len(widget.labels))
    assert facts.inner_text().startswith(f"Expert {expert} is asked by {n_asking} of 27 tokens")
    room = page.get_by_role("checkbox", name="room for 6 tokens an expert, as in training")
    room.check()  # ceil(0.75 · 27 tokens · 2 / 8 experts)
    widget.limited = True
    routing_agrees(page, widget)
    lost = widget.routing().answered[0]
    assert (~lost).sum() > 0 and (
        f"{(~lost).sum()} of 54 questions found no room; {(~lost.any(dim=-1)).sum()} tokens got no "
        "answer at all." in facts.inner_text()
    )
    button.tap()  # once more: none is picked
    widget.expert = -1
    routing_agrees(page, widget)
    page.locator(".gw-routed-token").nth(1).tap()
    page.keyboard.press("ArrowRight")
    settle(page)
    said = []
    for layer in range(widget.n_layer):
        widget.layer = layer
        one = widget.routing()
        asks = [
            f"expert {e} ({100 * w:.1f} %{'' if answered else ', no room'})"
            for e, w, answered in zip(*(part[0, 2].tolist() for part in one[1:]), strict=True)
        ]
        said.append(f"block {layer} asks {' and '.join(asks)}")
    assert detail.inner_text() == f"w, token 2: {'; '.join(said)}."
    page.keyboard.press("End")
    settle(page)
    assert detail.inner_text().startswith("r, token 26: ")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    settle(page)
    assert detail.inner_text().startswith("o, token 1, before vowel: ")
    tells(page, "Block 1. o, token 1, before vowel")
    room.uncheck()
    widget.limited, widget.layer = False, 1
    routing_agrees(page, widget)
    assert page.faults == []


def test_each_expert_has_a_pattern_of_its_own(shown):
    """Not by colour alone: eight patterns, the same below a token and in the bars."""
    page = shown(routed())
    look = """bars => bars.map(bar => {
        const { backgroundImage, backgroundColor } = getComputedStyle(bar);
        return backgroundImage + backgroundColor; })"""
    bars = page.locator(".gw-load .gw-bar").evaluate_all(look)
    assert len(set(bars)) == 8
    first = page.locator(".gw-routed-token").first
    stripes = first.locator(".gw-stripe").evaluate_all(look)
    experts = first.locator(".gw-routed-numbers span").all_inner_texts()
    assert stripes == [bars[int(e)] for e in experts]


# The live GPT ------------------------------------------------------------------------------------


def writing_agrees(page, widget: LiveGPT) -> None:
    """Candidates, guesses on the way and heads are what PyTorch says of the same traits."""
    settle(page)
    plain = {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
    settings = {name: getattr(widget, name) for name in plain}
    for name, value in plain.items():
        widget.set_trait(name, value)
    as_it_says = widget.probs()
    for name, value in settings.items():
        widget.set_trait(name, value)
    labels = [shown_as(widget, i) for i in range(widget._tokenizer.vocab_size)]
    own, wanted, before = list_agrees(page, widget, labels, as_it_says)
    most = max(*wanted[:own], *before[:own])  # without the others
    for kind, shares in (("bar", wanted), ("outline", before)):
        found = widths(page, f".gw-candidates tbody tr:not([hidden]) .gw-{kind}")
        assert found == pytest.approx([min(100, 100 * p / most) for p in shares], abs=0.02)
    lens_agrees(page, widget)
    heads_agree(page, widget)


def shown_as(widget: LiveGPT | AttentionExplorer, token: int) -> str:
    """A token in the page's words."""
    special = getattr(widget._tokenizer, "special_tokens", {}).values()
    return "END" if token in special else readable(widget._tokenizer.decode([token]).encode())


def heads_agree(page, widget: LiveGPT) -> None:
    """What each head looks at most, and the bars below the tokens: surprise, or a head's."""
    model, ids = widget._model, widget.whole()
    at = widget.at if widget.at > 0 else len(ids)
    looks = []  # of each block (n_head, at)
    hooks = [
        block.attention.register_forward_pre_hook(
            lambda part, given: looks.append(part.weights(given[0])[0, :, at - 1, :at])
        )
        for block in model.blocks
    ]
    with torch.no_grad(), switched_off(model, widget.off):
        logits = model(torch.tensor([ids]))[0][0]  # (T, V)
    for hook in hooks:
        hook.remove()
    cells = page.locator(".gw-heads td:has(.gw-cell)").evaluate_all("""all => all.map(td => [
        td.querySelector('.gw-cell').innerText, td.querySelector('.gw-much').textContent,
        Number(td.style.getPropertyValue('--share'))])""")
    names = [
        f"blocks.{i}.attention.{j}" for i, heads in enumerate(looks) for j in range(len(heads))
    ]
    for cell, name, look in zip(cells, names, torch.cat(looks), strict=True):
        share, best = look.max(dim=0)
        if name in widget.off:
            assert cell == ["off", "", 0]
            continue
        assert cell[0] == shown_as(widget, ids[best])
        assert float(cell[1].rstrip(" %")) == pytest.approx(100 * share.item(), abs=0.51)
        assert cell[2] == pytest.approx(share.item(), abs=6e-4)
    toks = page.locator(".gw-token:not([hidden])")
    bars = toks.evaluate_all("all => all.map(e => +e.style.getPropertyValue('--share'))")
    if widget.bars == "attention":
        look = looks[widget.layer][widget.head]
        wanted = [*(look / look.max()).tolist(), *[0] * (len(bars) - at)]
    else:
        given = logits[:-1].log_softmax(-1)[range(len(ids) - 1), ids[1:]]
        surprise = (-given / math.log(logits.size(-1))).clamp(0, 1)
        wanted = [0, *surprise.tolist(), 0]  # nothing is said of the first, and of what comes
    assert bars == pytest.approx(wanted, abs=6e-4)


def lens_agrees(page, widget: LiveGPT) -> None:
    """What the stream would say before the first block and after each, and what it gives."""
    model, ids = widget._model, widget.whole()
    at = widget.at if widget.at > 0 else len(ids)
    with torch.no_grad(), switched_off(model, widget.off):
        stages = [model.token_embedding.weight[ids[:at]] + model.position_embedding.weight[:at]]
        for block in model.blocks:
            stages.append(block(stages[-1][None])[0])  # (T, C)
        probs = model.head(model.final_norm(torch.stack(stages)[:, -1])).softmax(-1)
        likeliest = model(torch.tensor([ids[:at]]))[0][0, -1].argmax().item()
    counted = ids[at] if at < len(ids) else likeliest
    rows = [row.split("\t") for row in page.locator(".gw-lens tbody tr").all_inner_texts()]
    best, which = probs.max(dim=1)
    assert [row[1] for row in rows] == [shown_as(widget, i) for i in which.tolist()]
    assert numbers(page, ".gw-lens .gw-number") == pytest.approx(best.tolist(), abs=6e-4)
    said = page.locator(".gw-lens .gw-hidden").all_text_contents()
    assert said == page.locator(".gw-lens .gw-bar").evaluate_all("all => all.map(b => b.title)")
    given = [0.0 if "<" in text else float(text.rstrip(" %")) / 100 for text in said]
    assert given == pytest.approx(probs[:, counted].tolist(), abs=6e-4)


def test_the_model_in_the_page_says_what_pytorch_says(shown):
    """At the end, further back, with other settings, with parts switched off, after a choice."""
    widget = live()
    page = shown(widget)
    toks = page.locator(".gw-token:not([hidden])")

    writing_agrees(page, widget)
    page.get_by_role("slider", name="temperature").press("ArrowRight")
    page.get_by_role("slider", name="temperature").press("ArrowRight")
    widget.temperature = 1.1
    writing_agrees(page, widget)
    page.get_by_role("slider", name="top-k").press("Home")
    for _ in range(6):
        page.get_by_role("slider", name="top-k").press("ArrowRight")
    widget.top_k = 7
    writing_agrees(page, widget)
    for _ in range(2):
        page.get_by_role("slider", name="top-p").press("ArrowLeft")
    widget.top_p = 0.98
    writing_agrees(page, widget)
    assert 1 < (widget.probs() > 0).sum() < 7  # it leaves out more than top-k does
    toks.nth(9).click()
    widget.at = 9
    writing_agrees(page, widget)
    toks.nth(9).press("ArrowLeft")
    widget.at = 8
    writing_agrees(page, widget)
    page.get_by_role("checkbox", name="block 0, head 1 is on").press(" ")
    page.get_by_role("checkbox", name="block 1, feed-forward is on").click()
    widget.off = ["blocks.0.attention.1", "blocks.1.feed_forward"]
    writing_agrees(page, widget)
    page.get_by_role("button", name="block 1, head 0 looks at").tap()
    widget.bars, widget.layer = "attention", 1
    writing_agrees(page, widget)
    page.get_by_role("button", name="switch all on").tap()
    widget.off = []
    writing_agrees(page, widget)
    page.get_by_role("button", name="block 1, head 0 looks at").tap()
    widget.bars = "surprise"
    # Another candidate at a place of the prompt: the prompt ends there, and the text goes on.
    other = page.locator(".gw-pick").nth(3)
    name = other.inner_text()
    other.click()
    settle(page)
    widget.prompt = page.locator("textarea").first.input_value()
    shown_text = page.locator(".gw-token.gw-written:not([hidden])").all_inner_texts()
    ids = [i for i in range(widget._tokenizer.vocab_size) if widget._tokenizer.decode([i]) == name]
    assert len(shown_text) == 1 and shown_text == [name] and widget.prompt == "lower lo"
    widget.ids, widget.at = ids, -1
    writing_agrees(page, widget)
    assert page.faults == []


def test_it_is_said_what_the_bars_and_the_numbers_are(shown):
    """A head is pressed while the bars are its own; a number says what it was worked out with."""
    widget = live()
    page = shown(widget)
    pressed = page.locator(".gw-cell[aria-pressed='true']")
    says = page.locator(".gw-legend", has_text="Bars: ")
    assert pressed.count() == 0 and "surprise at each token" in says.inner_text()
    cell = page.get_by_role("button", name="block 1, head 0 looks at")
    cell.press("Enter")
    settle(page)
    assert pressed.count() == 1 and cell.get_attribute("aria-pressed") == "true"
    assert "how much block 1, head 0 takes from each token for what comes next" in says.inner_text()
    assert page.locator("select").input_value() == "1"
    cell.press("Enter")
    settle(page)
    assert pressed.count() == 0 and page.locator("select").input_value() == "0"
    drawn_with = page.get_by_text("drawn with, after temperature, top-k and top-p")
    assert drawn_with.count() == 0
    page.get_by_role("slider", name="temperature").press("ArrowRight")
    settle(page)
    assert drawn_with.is_visible()
    assert page.get_by_text("would say, block by block, before temperature").is_visible()
    assert page.faults == []


def test_a_telephone_folds_what_is_secondary(shown):
    page = shown(teller(), width=NARROW)
    for name, inside in (
        ("Look inside", ".gw-heads"),
        ("Which skills", "button:text-is('set the exam')"),
    ):
        summary = page.locator("summary", has_text=name)
        assert not page.locator(inside).is_visible()
        assert summary.bounding_box()["height"] >= 24
        summary.tap()
        assert page.locator(inside).is_visible()
    page = shown(teller())
    assert page.locator(".gw-heads").is_visible()
    assert page.get_by_role("button", name="set the exam").is_visible() and page.faults == []


def test_the_model_in_the_page_writes(shown):
    widget = live(temperature=0.0)
    page = shown(widget)
    page.get_by_role("button", name="next token").press("Enter")
    settle(page)
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
    page.get_by_role("button", name="back to the beginning").tap()
    settle(page)
    assert page.locator(".gw-written:not([hidden])").count() == 0
    page.locator("textarea").first.fill("lower ?")
    settle(page)
    assert 'holds "?"' in page.get_by_role("alert").inner_text()
    assert page.faults == []


def test_as_fast_as_it_can_it_writes_the_same_and_as_many_as_fit_between_two_pictures(shown):
    """A clock that stands still: all in one go, and one picture; one that runs: one by one."""
    widget = live(temperature=0.0)
    page = shown(widget)
    page.evaluate(
        """() => {
            window.ticks = 0, window.now = 0, window.pictures = 0;
            performance.now = () => (now += ticks);
            const toks = document.querySelector(".gw-tokens");
            new MutationObserver(() => (pictures += 1)).observe(toks, { childList: true });
        }"""
    )
    page.get_by_role("checkbox", name="as fast as this page can").tap()
    write = page.get_by_role("button", name="write", exact=True)
    write.tap()
    page.wait_for_function("document.querySelectorAll('.gw-written:not([hidden])').length === 48")
    settle(page)
    right = list(stream(widget._model, torch.tensor([widget.whole()]), 48, temperature=0.0))
    written = page.locator(".gw-written:not([hidden])")
    assert written.all_inner_texts() == [widget._tokenizer.decode([i]) for i in right]
    assert page.evaluate("pictures") == 1 and write.get_attribute("aria-pressed") == "false"
    page.get_by_role("button", name="back to the beginning").tap()
    settle(page)
    page.evaluate("ticks = 20")  # each token takes longer than there is room for
    write.tap()
    settle(page)
    page.get_by_role("button", name="stop", exact=True).tap()
    settle(page)
    assert 1 < written.count() < 20
    widget.ids = right[: written.count()]
    widget.fast = True
    writing_agrees(page, widget)
    assert page.faults == []


@pytest.mark.parametrize("clock", [0, 150])
def test_with_reduced_motion_it_writes_in_strides_and_can_be_stopped(shown, clock):
    """A model that needs no time writes all in one go; a slow one leaves the page alive."""
    page = shown(live(temperature=0.0), reduced_motion="reduce")
    written = page.evaluate(
        """(step) => new Promise((done) => {
            let now = 0;
            performance.now = () => (now += step);
            const all = [...document.querySelectorAll("button")];
            const run = all.find((b) => b.innerText === "write");
            const count = () => document.querySelectorAll(".gw-written:not([hidden])").length;
            const later = (n, f) => requestAnimationFrame(() => (n ? later(n - 1, f) : f()));
            run.click();
            later(6, () => {
                const before = [count(), run.innerText];
                if (run.innerText === "stop") run.click();
                later(6, () => done([...before, count(), run.innerText]));
            });
        })""",
        clock,
    )
    early, button, late, last = written
    assert last == "write" and page.faults == []
    if clock:
        assert 2 < early < 30 and button == "stop" and late - early < 4
    else:
        assert early == late == 48 and button == "write"


def test_the_page_opens_a_model_of_the_readers_own(shown, tmp_path):
    page = shown(live())
    other = live(seed=5, n_layer=1)
    path = export_model(tmp_path / "mine", other._model, other._tokenizer)
    page.locator("input[type=file]").set_input_files(path)
    page.get_by_text("mine.gpt.safetensors: blocks 1, heads 2").wait_for()
    other.prompt = page.locator("textarea").first.input_value()
    got = numbers(page, ".gw-bars:not(.gw-lens) tbody tr:not([hidden]) td.gw-number:nth-child(2)")[
        :12
    ]
    assert got == pytest.approx(other.probs().topk(12).values.tolist(), abs=6e-4)
    for name, data in (("cut", path.read_bytes()[:-5]), ("photo.png", b"\x89PNG" * 50)):
        bad = tmp_path / name
        bad.write_bytes(data)
        page.locator("input[type=file]").set_input_files(bad)
        page.locator("p[role=status]", has_text=f"{name} was not opened.").wait_for()
        assert "still here" in page.locator("p[role=status]").inner_text()
        page.get_by_role("button", name="next token").tap()
    settle(page)
    assert page.locator(".gw-written:not([hidden])").count() == 2
    page.get_by_role("button", name="back to the first model").tap()
    assert "blocks 2" in page.locator("p[role=status]").inner_text()
    dropped = """([name, bytes]) => {
        const data = new DataTransfer();
        data.items.add(new File([Uint8Array.from(bytes)], name));
        const place = document.querySelector('.gpt-widget');
        for (const kind of ['dragover', 'drop']) {
            const given = { dataTransfer: data, bubbles: true, cancelable: true };
            if (place.dispatchEvent(new DragEvent(kind, given))) throw Error('the page would go');
        }
    }"""
    page.evaluate(dropped, ["dropped.gpt.safetensors", list(path.read_bytes())])
    page.get_by_text("dropped.gpt.safetensors: blocks 1, heads 2").wait_for()
    header = path.read_bytes()[8:]  # the first eight bytes say how long it is
    for name, data, said in (
        ("empty.safetensors", b"", "empty, or nearly so"),
        ("long.safetensors", (2**60).to_bytes(8, "little") + header, "no safetensors file"),
        ("other.safetensors", (2).to_bytes(8, "little") + b"{}" + bytes(9), "not one that gptlib"),
    ):
        page.evaluate(dropped, [name, list(data)])
        page.locator("p[role=status]", has_text=f"{name} was not opened.").wait_for()
        assert said in page.locator("p[role=status]").inner_text()
    assert page.faults == []


# The attention explorer --------------------------------------------------------------------------


def attention_agrees(page, widget: AttentionExplorer):
    """List, result, votes, facts and shades in the page are what Python says of the same traits."""
    settle(page)
    ids, weights, scores = widget.ids(), widget.weights(), widget.scores()
    best = weights.sort(descending=True, stable=True).indices[:8]
    lines = page.locator(".gw-looks tbody tr:not([hidden])")
    got = lines.evaluate_all("all => all.map(tr => [...tr.cells].map(td => td.textContent))")
    wanted = [
        [shown_as(widget, ids[s]), f"{s}", f"{scores[s]:.2f}", f"{widget.parts()[s].norm():.2f}"]
        for s in best.tolist()
    ]
    assert len(got) == min(9, len(weights))
    for line, (token, place, score, brings) in zip(got, wanted, strict=False):
        assert (line[0], line[1]) == (token, place)
        assert float(line[2]) == pytest.approx(float(score), abs=0.011)
        assert float(line[5]) == pytest.approx(float(brings), abs=0.011)
    shares = numbers(page, ".gw-looks tbody tr:not([hidden]) .gw-weight")
    assert shares[: len(best)] == pytest.approx(weights[best].tolist(), abs=6e-4)
    assert sum(shares) == pytest.approx(1, abs=6e-3)
    votes = widget.votes().sort(descending=True, stable=True)
    lines = page.locator(".gw-votes tbody tr:not([hidden])").all_inner_texts()
    assert [line.split("\t")[0] for line in lines] == [
        shown_as(widget, i) for i in votes.indices[:5].tolist()
    ]
    assert [float(line.split("\t")[1].replace("−", "-")) for line in lines] == pytest.approx(
        votes.values[:5].tolist(), abs=0.006
    )
    facts = page.locator(".gw-facts").inner_text()
    nats = -(weights * weights.clamp_min(1e-30).log()).sum().item()
    assert f"Entropy {abs(nats):.3f} nats" in facts and f"{len(weights)} tokens shared" in facts
    largest = float(re.search(r"The largest weight is ([\d.]+) %", facts)[1]) / 100
    assert largest == pytest.approx(weights.max().item(), abs=6e-4)
    spread = float(re.search(r"spread by ([\d.]+)\.", facts)[1])
    assert spread == pytest.approx(scores.std(correction=0).item(), rel=0.006)
    bars = widths(page, ".gw-looks tbody tr:not([hidden]) .gw-bar")
    assert bars[: len(best)] == pytest.approx((100 * weights[best]).tolist(), abs=0.01)
    products = scores * (widget.divisor or len(widget.result()) ** 0.5)
    wanted = [(products / d).softmax(dim=0).max() for d in (0.5, 1, 2, 4, 8, 16, 32, 64)]
    curve = page.locator(".gw-line-now").get_attribute("d")
    assert [(118 - float(y)) / 88 for y in re.findall(r",([\d.]+)", curve)] == pytest.approx(
        [float(share) for share in wanted], abs=1e-3
    )
    now = float(page.locator(".gw-mark-dot").get_attribute("cy"))
    assert (118 - now) / 88 == pytest.approx(weights.max().item(), abs=1e-3)
    at = page.locator(".gw-token[aria-current='true']:not([hidden])")
    assert at.get_attribute("title").startswith(f"token {widget._place}, ")
    tops = page.evaluate(
        "[...document.querySelectorAll('.gw-vector')]"
        ".map(r => [r.y, r.height].map(a => a.baseVal.value))"
    )
    heights = torch.tensor([(1 if y < 47.95 else -1) * height for y, height in tops])
    result = widget.result()
    most = max(result.abs().max().item(), widget.parts()[best[0]].abs().max().item())
    torch.testing.assert_close(heights, result * 45 / most, atol=0.11, rtol=0)
    assert shades(page, ".gw-heat-box .gw-heat") == pytest.approx(greens(widget), abs=1)


def shades(page, selector: str) -> list[int]:
    """The green of every square of a heat map; -1 where there is none."""
    return page.evaluate(
        """selector => {
            const map = document.querySelector(selector);
            const { data } = map.getContext("2d").getImageData(0, 0, map.width, map.height);
            const pixels = Array.from({ length: data.length / 4 }, (_, i) => 4 * i);
            return pixels.map((i) => (data[i + 3] ? data[i + 1] : -1));
        }""",
        selector,
    )


def green_of(shares: torch.Tensor) -> torch.Tensor:
    """The green of shares from 0 to 1: white to blue."""
    share = (shares * 255).round() / 255 * 3
    stops = torch.tensor([251.0, 202.0, 130.0, 48.0])
    low = share.floor().clamp(max=2).long()
    return stops[low] + (stops[low + 1] - stops[low]) * (share - low)


def greens(widget: AttentionExplorer) -> list[float]:
    """The same for Python's table, by the root of the weight."""
    green = green_of(widget.table().sqrt())
    if widget.mask:
        green = green.masked_fill(torch.ones_like(green, dtype=torch.bool).triu(1), -1)
    return green.flatten().tolist()


def test_attention_follows_every_control(shown):
    widget = attention()
    page = shown(widget)
    toks = page.locator(".gw-token:not([hidden])")
    attention_agrees(page, widget)
    toks.nth(9).tap()
    widget.query = 9
    attention_agrees(page, widget)
    page.keyboard.press("ArrowRight")
    widget.query = 10
    attention_agrees(page, widget)
    page.get_by_role("button", name="block 1, head 0").press("Enter")
    widget.layer = 1
    attention_agrees(page, widget)
    page.get_by_role("button", name="block 1, head 1").tap()
    widget.head = 1
    attention_agrees(page, widget)
    page.get_by_role("button", name="after").click()
    widget.shown = 1
    attention_agrees(page, widget)
    page.get_by_role("checkbox", name="mask").press("Space")
    widget.mask = False
    attention_agrees(page, widget)
    divisor = page.get_by_role("slider", name="scores divided by")
    assert divisor.get_attribute("aria-valuetext") == "2.83 = √8"
    for _ in range(2):
        divisor.press("ArrowLeft")
    widget.divisor = 1.0
    attention_agrees(page, widget)
    assert divisor.get_attribute("aria-valuetext") == "1: not at all"
    page.get_by_role("checkbox", name="mask").tap()
    widget.mask = True
    page.locator("textarea").fill("more and lower and lowest; <more>")
    widget.text = "more and lower and lowest; <more>"
    attention_agrees(page, widget)
    box = page.locator(".gw-heat-box .gw-heat").bounding_box()
    page.mouse.click(box["x"] + 3, box["y"] + box["height"] * 20.5 / 33)
    widget.query = 20
    page.mouse.move(0, 0)
    attention_agrees(page, widget)
    assert page.faults == []


def test_a_token_below_the_pointer_looks_until_it_leaves(shown):
    widget = attention(query=30)
    page = shown(widget)
    page.locator(".gw-token:not([hidden])").nth(12).hover()
    widget.query = 12
    attention_agrees(page, widget)
    box = page.locator(".gw-heat-box .gw-heat").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 3.5 / 33, box["y"] + box["height"] * 7.5 / 33)
    widget.query = 30
    attention_agrees(page, widget)
    said = page.locator(".gw-read").inner_text()
    assert f"takes {widget.table()[7, 3]:.1%}".replace("%", " %") in said
    page.mouse.move(box["x"] + box["width"] * 9.5 / 33, box["y"] + box["height"] * 7.5 / 33)
    assert "may not see token 9" in page.locator(".gw-read").inner_text()
    assert page.faults == []


def test_a_square_of_a_head_s_map_tells_its_number_to_the_keyboard(shown):
    """Also after the text, the head or the mask have changed."""
    widget = attention(query=7)
    page = shown(widget)
    attention_agrees(page, widget)
    map, read = (
        page.get_by_role("slider", name="the weights of the picked head"),
        page.locator(".gw-read"),
    )

    def agrees(i: int, j: int):
        said = read.inner_text()
        assert said.startswith(f"Token {i}, ") and map.get_attribute("aria-valuetext") == said
        weight = widget.table()[i, j].item()
        if widget.mask and j > i:
            assert f"may not see token {j}, " in said
            return
        told = re.search(rf"takes (.*) % from token {j}, ", said)[1]
        assert 0 if told.startswith("<") else float(told) / 100 == pytest.approx(weight, abs=6e-4)

    map.press("ArrowRight")
    agrees(7, 1)
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    agrees(7, 8)
    page.keyboard.press("ArrowDown")
    agrees(8, 8)
    page.keyboard.press("Enter")
    widget.query = 8
    attention_agrees(page, widget)
    agrees(8, 8)
    page.evaluate("document.querySelectorAll('.gw-thumb')[3].click()")  # the keyboard stays here
    widget.layer = widget.head = 1
    attention_agrees(page, widget)
    agrees(8, 8)
    page.keyboard.press("PageDown")
    page.keyboard.press("End")
    agrees(18, len(widget.ids()) - 1)
    page.keyboard.press("Tab")
    assert read.inner_text().startswith("A row for each token") and page.faults == []


def test_the_small_maps_are_those_of_the_heads(shown):
    widget = attention(mask=False, divisor=1.0)
    page = shown(widget)
    for change in (lambda: None, lambda: page.get_by_role("checkbox", name="mask").tap()):
        change()
        widget.mask = page.get_by_role("checkbox", name="mask").is_checked()
        settle(page)
        for i in range(4):
            widget.layer, widget.head = divmod(i, 2)
            found = shades(page, f".gw-thumb:nth-child({i + 1}) .gw-heat")
            assert found == pytest.approx(greens(widget), abs=1)


def test_attention_says_what_it_cannot_read(shown):
    widget = attention()
    page = shown(widget)
    page.locator("textarea").fill("lower?")
    settle(page)
    assert 'holds "?"' in page.get_by_role("alert").inner_text()
    page.locator("textarea").fill("")
    settle(page)
    assert not page.locator(".gw-looks").is_visible()
    page.locator("textarea").fill("l")
    widget.text = "l"
    attention_agrees(page, widget)
    page.locator("textarea").fill("lower " * 8)
    widget.text = "lower " * 8
    attention_agrees(page, widget)
    assert "reads 40 tokens; the last 8 are left out" in page.get_by_role("alert").inner_text()
    tells(page, "(token 39), block 0, head 0: looks at")


def marked(page, kind: str) -> list[tuple[int, str]]:
    """The tokens with a mark of this kind: their numbers in the text behind the first END."""
    settle(page)
    tokens = page.locator(".gw-token:not([hidden])").all()
    return [
        (i - 1, token.get_attribute("title"))
        for i, token in enumerate(tokens)
        if f"gw-{kind}" in token.get_attribute("class").split()
    ]


def test_the_answer_key_marks_what_is_forced_and_what_breaks_a_rule(shown):
    """A story, one with a wrong colour, one that runs: the places and the words are Python's."""
    story = next(s for s in corpus.stories(50, seed=9) if s.plot == "lost")
    page = shown(teller(story.text))
    tokenizer = book()[1]
    places = AnswerKey([story], tokenizer).places
    wanted = {t: skill for skill in places for _, a, b in places[skill] for t in range(a, b)}
    got = dict(marked(page, "forced"))
    assert got.keys() == wanted.keys() and not marked(page, "broken")
    for t, skill in wanted.items():
        assert f"forced: {skill}, {corpus.SKILLS[skill]}" in got[t]
    said = page.locator(".gw-key-words")
    assert "No rule is broken" in said.inner_text()

    last = max(label for label in story.labels if label.skill == "colour")
    other = next(s for s in ("red", "blue") if s != story.text[last.start : last.end])
    spoilt = story.text[: last.start] + other + story.text[last.end :]
    verdict = corpus.judge(spoilt).verdicts[0]
    page.locator("textarea").first.fill(spoilt)
    [(broken, title)] = marked(page, "broken")
    before = len(tokenizer.decode(tokenizer.encode(spoilt)[:broken]))
    assert before <= verdict.position < before + 1 + len(other)
    right = story.text[last.start : last.end]
    fault = f"“{other}” stands where “{right}” should: colour, {corpus.SKILLS['colour']}"
    assert fault in title and fault in said.inner_text()
    assert "character" not in said.inner_text()
    tells(page, fault)

    early = story.text[: story.text.index(". ") + 1]
    page.locator("textarea").first.fill(early + corpus.END)
    settle(page)
    # in a prompt END is plain text, as in Python's encode
    assert len(marked(page, "broken")) == 1
    page.locator("textarea").first.fill(early)
    assert not marked(page, "broken")
    for _ in range(30):
        page.get_by_role("button", name="next token").press("Enter")
    written = "".join(page.locator(".gw-token:not([hidden])").all_inner_texts()[1:-1])
    verdict = corpus.judge(written).verdicts[0]
    assert bool(marked(page, "broken")) == (verdict.skill not in (None, "end"))
    page.get_by_role("checkbox", name="answer key").press(" ")
    assert not marked(page, "forced") and not said.is_visible()
    assert page.faults == []


def test_the_exam_in_the_page_gives_the_marks_of_python(shown):
    """With all parts on, and with one off: each skill's share, and what is said of it."""
    widget = teller()
    page = shown(widget)
    model, tokenizer = book()
    stories = exam_stories(seed=4, places=3)
    key = AnswerKey(stories, tokenizer)
    off = ["blocks.1.attention.2"]

    def agrees(column: int, off: list[str]) -> dict[str, float]:
        with switched_off(model, off):
            wanted = key.score(model).skills
        names = page.locator(".gw-exam tbody th").all_inner_texts()
        got = numbers(page, f".gw-exam tbody td:nth-child({column})")
        assert dict(zip(names, got, strict=True)) == pytest.approx(wanted, abs=6e-4)
        return wanted

    assert not page.locator(".gw-exam").is_visible()
    start = page.get_by_role("button", name="set the exam")
    page.wait_for_timeout(600)
    page.evaluate(SAID)
    start.press("Enter")
    page.locator(".gw-facts", has_text="with all parts on").wait_for()
    tells(page, "with all parts on")
    assert len(page.evaluate("said")) == 1  # how far it is, is to be seen, and not read aloud
    agrees(2, [])
    page.get_by_role("checkbox", name="block 1, head 2 is on").click()
    page.locator(".gw-facts", has_text="set the exam again").wait_for()
    assert page.locator(".gw-exam tbody td:nth-child(2)").all_inner_texts() == ["–"] * 11
    start.tap()
    page.locator(".gw-facts", has_text="With these parts off").wait_for()
    whole, now = agrees(3, []), agrees(2, off)
    fell = {skill for skill in whole if now[skill] < whole[skill] - 0.05}
    said = page.locator(".gw-exam ~ .gw-facts").inner_text()
    assert fell and {skill for skill in whole if f"{skill} from" in said} == fell
    bars = page.locator(".gw-exam .gw-bar").evaluate_all("all => all.map(b => b.style.width)")
    assert [float(bar.rstrip("%")) / 100 for bar in bars] == pytest.approx(
        numbers(page, ".gw-exam tbody td:nth-child(2)"), abs=6e-4
    )
    page.get_by_role("button", name="switch all on").tap()
    page.locator(".gw-facts", has_text="with all parts on").wait_for()  # taken already
    assert page.faults == []


def test_another_model_is_not_marked_until_it_is_asked_for(shown, tmp_path):
    page = shown(teller())
    assert marked(page, "forced")
    path = export_model(tmp_path / "same", *book())
    page.locator("input[type=file]").set_input_files(path)
    page.get_by_text("same.gpt.safetensors: blocks").wait_for()
    assert not marked(page, "forced")
    page.get_by_role("checkbox", name="answer key").check()
    assert marked(page, "forced")
    path = export_model(tmp_path / "other", live()._model, live()._tokenizer)
    page.locator("input[type=file]").set_input_files(path)
    page.get_by_text("other.gpt.safetensors: blocks").wait_for()
    assert not page.get_by_role("checkbox", name="answer key").is_visible()
    assert not page.get_by_role("button", name="set the exam").is_visible()
    assert page.faults == []


# The signal explorer -----------------------------------------------------------------------------

SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")


def drawn_sizes(page, panel: int) -> list[float]:
    """The sizes by layer that a picture's line shows, read from the drawing and its axis."""
    line = page.locator(".gw-signal-plot svg .gw-line-now").nth(panel).get_attribute("d")
    return sizes_at(page, panel, [float(y) for y in re.findall(r",([\d.]+)", line)])


def sizes_at(page, panel: int, ys: list[float]) -> list[float]:
    """The sizes that stand at these heights of a picture, by its axis."""
    ticks = page.evaluate(
        """panel => {
            const svg = document.querySelectorAll('.gw-signal-plot svg')[panel];
            const all = [...svg.querySelectorAll('.gw-axes text[text-anchor=end]')];
            return all.filter(t => !t.classList.contains('gw-axis-name'))
                .map(t => [t.textContent, Number(t.getAttribute('y')) - 4]);
        }""",
        panel,
    )

    def exponent(text):
        if text.startswith("10") and text[2:].translate(SUPERSCRIPTS) != text[2:]:
            return int(text[2:].translate(SUPERSCRIPTS))
        return math.log10(float(text.replace(",", "")))

    (low, y_low), (high, y_high) = ((exponent(text), y) for text, y in (ticks[0], ticks[-1]))
    return [10 ** (low + (y - y_low) / (y_high - y_low) * (high - low)) for y in ys]


def signals_agree(page, widget: SignalExplorer):
    """The page draws PyTorch's sizes, and says what PyTorch's loss is."""
    settle(page)
    sizes = widget.sizes()
    assert drawn_sizes(page, 0) == pytest.approx(sizes["numbers"], rel=0.1)
    kind = "weights" if widget.gradient_of == "weights" else "gradients"
    wanted = [size for size in sizes[kind] if size > 0]  # no place on its axis for what is 0
    assert drawn_sizes(page, 1) == pytest.approx(wanted, rel=0.1)
    for panel, name in enumerate(("numbers", kind)):
        numbers = numbers_of(widget, name)
        shades_agree(page, panel, numbers)
        histogram_agrees(page, panel, numbers[widget.layer])


def numbers_of(widget: SignalExplorer, kind: str) -> list[torch.Tensor]:
    """All numbers by layer, the input first: computed by PyTorch, or as they were recorded."""
    if widget.recorded:
        values = torch.frombuffer(bytearray(widget.recorded), dtype=torch.float32)
        rooms = [(n + 1) * (len(LINES) + len(KINDS) * SAMPLES) for n in widget.depths]
        n = widget.depths[widget.shown] + 1
        one = values.split(rooms)[widget.shown][len(LINES) * n :].view(len(KINDS), n, SAMPLES)
        found = list(one[KINDS.index(kind)])
    else:
        passed = widget.signals()
        weights = [passed["gradients"][f"layers.{n}.linear.weight"] for n in range(widget.depth)]
        found = {
            "numbers": list(passed["states"]),
            "gradients": list(passed["state_gradients"]),
            "weights": [torch.zeros(0), *weights],
        }[kind]
    return [torch.zeros(0) if kind == "weights" and not n else x for n, x in enumerate(found)]


def shades_agree(page, panel: int, numbers: list[torch.Tensor]):
    """A column a layer: the more of its numbers have a size, the darker its square.

    Sizes go up in two bins for each doubling, by the root of how many there are.
    """
    found = page.evaluate(
        """panel => {
            const canvas = document.querySelectorAll('.gw-signal-shades')[panel];
            const { width, height } = canvas;
            const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
            const alpha = data.filter((_, i) => i % 4 === 3);
            return {
                top: parseFloat(canvas.style.top) * 2.14,
                rows: Array.from({ length: height }, (_, i) => [
                    ...alpha.slice(i * width, (i + 1) * width)]),
            };
        }""",
        panel,
    )
    top = round(2 * (math.log2(sizes_at(page, panel, [found["top"]])[0]) + 127))
    got = torch.tensor(found["rows"]).flip(0)[:, : len(numbers)]  # (bins, layers), the small first
    wanted = torch.zeros(512, len(numbers))
    for column, x in zip(wanted.T, numbers, strict=True):
        mantissa, exponent = torch.frexp(x.flatten()[:: math.ceil(x.numel() / SAMPLES) or 1].abs())
        bins = (2 * (exponent.long() - 1 + 127) + (mantissa >= 0.75)).clamp(0, 511)[mantissa > 0]
        counts = bins.bincount(minlength=512)
        column[:] = (190 * (counts / counts.max().clamp(min=1)).sqrt()).floor()
    wanted = wanted[:top][-len(got) :]
    lowest = int(got.any(dim=1).int().argmax())  # below it is no room
    assert got.any() and wanted[lowest:].flatten().tolist() == pytest.approx(
        got[lowest:].flatten().tolist(), abs=1
    )


def histogram_agrees(page, panel: int, numbers: torch.Tensor):
    """The layer that is looked into: its numbers in 41 bins, on the axis that stands below them."""
    svg = ".gw-signal-panel svg:has(> .gw-fill)"
    _, _, heights = histograms(page, f"{svg} .gw-fill")[panel]
    edge = page.locator(svg).nth(panel).locator("text").nth(2).text_content()
    limit, size = float(edge.replace(",", "")), numbers.pow(2).mean().sqrt().item()
    assert not size > 0 or 3.99 * size <= limit <= 8.1 * size
    at = ((numbers.flatten() + limit) / (2 * limit) * 41).floor().clamp(0, 40).long()
    counts = at.bincount(minlength=41)
    assert heights == pytest.approx((62 * counts / max(counts.max(), 1)).tolist(), abs=0.06)


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
    activation, norm, kind, _, gradients = (page.locator("select").nth(i) for i in range(5))
    assert kind.is_disabled()
    activation.select_option(label="tanh")
    norm.select_option(label="behind the sum (post)")
    page.get_by_label("shortcuts").press("Space")
    widget.activation, widget.norm, widget.shortcut = "tanh", "post", True
    signals_agree(page, widget)
    kind.select_option(label="RMSNorm")
    widget.norm_kind = "rms"
    signals_agree(page, widget)
    gradients.select_option(label="of the numbers handed on")
    widget.gradient_of = "numbers"
    signals_agree(page, widget)
    layer.press("Home")
    widget.layer = 0
    signals_agree(page, widget)
    assert "layer 0: size 0.9" in page.locator(".gw-signal-panel .gw-facts").first.inner_text()
    plot = page.locator(".gw-signal-plot").first.bounding_box()
    page.mouse.click(plot["x"] + plot["width"] * 0.93, plot["y"] + 50)
    settle(page)
    assert layer.input_value() in ("14", "15")
    widget.layer = int(layer.input_value())
    signals_agree(page, widget)
    assert page.faults == []


# Notes each text of a place, with its time in milliseconds.
NOTED = """selector => {
    const place = document.querySelector(selector);
    window.noted = [];
    new MutationObserver(() => noted.push([place.textContent, performance.now()]))
        .observe(place, { childList: true, characterData: true, subtree: true });
}"""


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_signals_train_in_the_page_as_in_pytorch(shown, motion):
    """Step by step before the reader's eyes, or, with reduced motion, in one go."""
    widget = signals()
    page = shown(widget, reduced_motion=motion)
    page.get_by_label("shortcuts").check()
    page.evaluate(NOTED, ".gpt-widget > .gw-facts")
    page.get_by_role("button", name="train 50 steps").tap()
    facts = page.locator(".gpt-widget > .gw-facts").first
    page.locator(".gw-facts", has_text="after 50 steps").wait_for()
    widget.shortcut, widget.steps = True, 50
    signals_agree(page, widget)
    wanted = widget.signals()
    assert f"loss {wanted['loss']:.3g}"[:9] in facts.inner_text()
    assert f"{wanted['right']} of 16" in facts.inner_text()
    assert page.locator(".gw-line-before").first.get_attribute("d")
    seen = {int(text.split()[1]) for text, _ in page.evaluate("noted")}
    assert 50 in seen and (motion != "reduce" or seen <= {0, 50})
    tells(page, "After 50 steps")
    page.get_by_role("button", name="back to the start").tap()
    settle(page)
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


def test_a_recorded_model_may_be_deeper_than_the_page_s_own(shown):
    torch.manual_seed(0)
    model = torch.nn.Sequential(*(torch.nn.Linear(8, 8) for _ in range(90)))
    widget = SignalExplorer.of(model, torch.randn(16, 8), loss=lambda y: y.pow(2).mean())
    page = shown(widget)
    signals_agree(page, widget)
    last = """() => { const c = document.querySelector('.gw-signal-shades');
        return [...c.getContext('2d').getImageData(90, 0, 1, c.height).data].some(v => v); }"""
    assert page.evaluate(last) and page.faults == []


def test_signals_that_burst_are_said_to_have_burst(shown):
    widget = SignalExplorer(depth=40, gain=2.5, shortcut=True, optimizer="sgd", lr=5.0)
    page = shown(widget)
    facts = page.locator(".gpt-widget > .gw-facts").first
    assert "beyond" not in facts.inner_text()
    page.get_by_role("button", name="train 50 steps").tap()
    page.locator(".gw-facts", has_text="grown beyond what a computer can hold").wait_for()
    widget.steps = 50
    assert math.isnan(widget.signals()["loss"])  # so it is in PyTorch
    tells(page, "grown beyond")


def test_signals_take_the_colours_of_the_theme_as_it_turns(shown):
    page = shown(signals())
    ink = """() => { const c = document.querySelector('.gw-signal-shades');
        const all = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        const at = all.findIndex((v, i) => i % 4 === 3 && v > 150);
        return [...all.slice(at - 3, at)]; }"""
    light = page.evaluate(ink)
    page.evaluate("document.documentElement.dataset.theme = 'dark'")
    settle(page)
    dark = page.evaluate(ink)
    wanted = page.evaluate(
        "getComputedStyle(document.querySelector('.gw-signal-shades')).color.match(/\\d+/g)"
    )
    assert light != dark
    assert max(abs(a - int(b)) for a, b in zip(dark, wanted, strict=False)) <= 2


# The training scrubber ---------------------------------------------------------------------------


def moment_agrees(page, widget: TrainingScrubber):
    """Every number and every word of the page is Python's for the same moment."""
    settle(page)
    now = widget.now()
    facts = page.locator(".gw-now").inner_text().replace(",", "")  # "1,200"
    said = {
        name: float(v) for name, v in re.findall(r"(Step|loss|training|exam) (\d+\.?\d*)", facts)
    }
    assert said["Step"] == now["step"]
    assert said["loss"] == pytest.approx(now["val"], rel=6e-3)
    if now["train"] is not None:
        assert said["training"] == pytest.approx(now["train"], rel=6e-3)
    assert float(re.search(r"([\d.]+) % above", facts)[1]) == pytest.approx(
        100 * now["above_floor"], rel=0.06
    )
    run = widget.runs[widget.shown]
    assert ("exam" in said) == (run["exam"] is not None and now["step"] == run["step"][-1])
    if widget.shown:
        behind = re.search(r"\(healthy (\d+\.?\d*)\)", facts)[1]
        assert float(behind) == pytest.approx(widget.now(0)["val"], rel=6e-3)
    shares = dict(zip(*(page.locator(f".gw-skills {cell}").all_inner_texts()
                        for cell in ("th", ".gw-number")), strict=True))  # fmt: skip
    assert {s: float(p.rstrip(" %")) / 100 for s, p in shares.items()} == pytest.approx(
        now["skills"], abs=6e-4
    )
    names = page.locator(".gw-layers tbody th").all_inner_texts()
    assert names == widget.runs[0]["layers"][::-1]
    for column, gauge in ((1, "gradients"), (2, "updates")):
        cells = f".gw-layers tbody td:nth-of-type({column}) .gw-number"
        got = dict(zip(names, page.locator(cells).all_inner_texts(), strict=True))
        for name in names:
            wanted = now[gauge].get(name)
            assert (
                got[name] == "–"
                if wanted is None
                else float(got[name]) == pytest.approx(wanted, rel=0.06, abs=1e-12)
            )
    handed_on_agrees(page, widget)
    written = page.locator(".gw-written").inner_text()
    assert written == run["prompt"] + now["text"]
    bars = page.locator(".gw-seen").evaluate_all(
        "all => all.map(e => Number(e.style.getPropertyValue('--share')))"
    )
    assert bars == pytest.approx(now["attention"], abs=1e-3) and sum(bars) == pytest.approx(1, 0.02)
    assert (
        page.locator(".gw-seen.gw-at").inner_text().strip() == run["tokens"][widget.query].strip()
    )
    square = recorded(run, "attention")[run["step"].index(now["step"]), widget.head] / 255
    assert shades(page, ".gw-square .gw-heat") == pytest.approx(
        green_of(square).flatten().tolist(), abs=1
    )
    assert page.faults == []


def recorded(run: dict, kind: str) -> torch.Tensor:
    """A tape's bytes: histograms (moment, layer, bin), or attention (moment, head, T, T)."""
    values = torch.frombuffer(bytearray(base64.b64decode(run[kind])), dtype=torch.uint8)
    M, L, H, T = (len(run[name]) for name in ("step", "limits", "heads", "tokens"))
    return values.view((M, L, -1) if kind == "histograms" else (M, H, T, T)).float()


def handed_on_agrees(page, widget: TrainingScrubber):
    """The histograms, the last layer on top; the healthy run's are outlines behind a patient's."""
    both = [widget.shown, 0] if widget.shown else [0]
    widest = [max(limits) for limits in zip(*(widget.runs[i]["limits"] for i in both), strict=True)]
    named = page.locator(".gw-layers tbody td:nth-of-type(3) .gw-number").all_inner_texts()
    assert [float(text.lstrip("± ")) for text in named] == pytest.approx(widest[::-1], rel=0.06)
    for kind, i in zip((".gw-fill", ".gw-outline-healthy"), both, strict=False):
        run = widget.runs[i]
        counts = recorded(run, "histograms")[run["step"].index(widget.now(i)["step"])]
        found = histograms(page, f".gw-layers {kind}")[::-1]
        assert len(found) == len(counts)
        for layer, (begins, ends, heights) in enumerate(found):
            half = 76 * run["limits"][layer] / widest[layer]
            assert (begins, ends) == pytest.approx((80 - half, 80 + half), abs=0.06)
            assert heights == pytest.approx((counts[layer] * 52 / 255).tolist(), abs=0.06)
    if not widget.shown:
        assert histograms(page, ".gw-layers .gw-outline-healthy") == []


def test_every_picture_shows_the_moment_that_the_slider_says(shown):
    widget = scrubber()
    page = shown(widget)
    moment_agrees(page, widget)
    time = page.get_by_role("slider", name="step")
    time.press("ArrowLeft")
    widget.moment = 5
    moment_agrees(page, widget)
    assert page.locator("output").first.inner_text() == "25"
    page.get_by_role("button", name="one moment back").tap()
    widget.moment = 4
    moment_agrees(page, widget)
    time.press("Home")
    widget.moment = 0
    moment_agrees(page, widget)
    assert page.get_by_role("button", name="one moment back").is_disabled()
    page.get_by_role("button", name="one moment on").press("Enter")
    widget.moment = 1
    moment_agrees(page, widget)
    box = page.locator(".gw-loss").bounding_box()
    page.mouse.click(box["x"] + box["width"] * (44 + 408 * 14 / 30) / 464, box["y"] + 90)
    widget.moment = 3  # step 15 lies nearest to 14
    moment_agrees(page, widget)
    tells(page, "Step 15. Loss")


def test_the_attention_square_says_what_it_shows(shown):
    page = shown(scrubber())
    assert "A row for each token that looks" in page.locator(".gw-square").inner_text()


def test_the_patient_is_shown_beside_the_healthy_run(shown):
    widget = scrubber(shown=1)
    page = shown(widget)
    moment_agrees(page, widget)
    assert page.locator(".gw-loss .gw-line-healthy").count() == 1
    page.get_by_role("combobox", name="run").select_option("0")
    widget.shown = 0
    moment_agrees(page, widget)
    assert page.locator(".gw-loss .gw-line-healthy").count() == 0
    page.get_by_role("combobox", name="run").select_option("1")
    page.get_by_role("slider", name="step").press("ArrowLeft")
    widget.shown, widget.moment = 1, 5
    moment_agrees(page, widget)
    page.get_by_role("combobox", name="head").select_option("1")
    page.get_by_role("slider", name="token that looks").press("ArrowLeft")
    widget.head, widget.query = 1, 8
    moment_agrees(page, widget)
    page.locator(".gw-seen").nth(3).click()
    widget.query = 3
    moment_agrees(page, widget)


@pytest.mark.parametrize(("motion", "pause"), [("no-preference", 700), ("reduce", 1500)])
def test_a_run_plays_to_its_end_and_pauses(shown, motion, pause):
    """From moment to moment after a pause, which is longer where motion is to be reduced."""
    widget = scrubber()
    page = shown(widget, reduced_motion=motion)
    output, time = page.locator("output").first, page.get_by_role("slider", name="step")
    play = page.get_by_role("button", name="play")
    play.press("Enter")  # at the end: from the beginning
    page.wait_for_function("document.querySelector('output').textContent === '5'")
    pressed = page.get_by_role("button", name="pause").get_attribute("aria-pressed")
    assert pressed == "true"
    time.press(" ")
    settle(page)
    here = output.inner_text()
    page.wait_for_timeout(pause + 500)
    assert output.inner_text() == here != "30"
    widget.moment = int(here) // 5
    moment_agrees(page, widget)
    for key in ("End", "ArrowLeft", "ArrowLeft"):
        time.press(key)
    settle(page)
    page.evaluate(NOTED, "output")
    time.press(" ")
    page.wait_for_function("document.querySelector('output').textContent === '30'")
    page.get_by_role("button", name="play").wait_for()
    (first, then), (last, at) = page.evaluate("noted")
    assert (first, last) == ("25", "30") and at - then > pause - 50
    widget.moment = -1
    moment_agrees(page, widget)
    tells(page, "Step 30. Loss")


def test_what_a_run_lacks_is_left_out(shown):
    page = shown(one_run())
    assert page.locator(".gw-now").inner_text() == "Step 20: no loss was recorded."
    page.get_by_role("slider", name="step").press("ArrowLeft")
    settle(page)
    assert page.locator(".gw-now").inner_text() == "Step 10: loss 2."
    for part in (".gw-skills", ".gw-layers", ".gw-written", ".gw-seen"):
        assert page.locator(f"{part}:visible").count() == 0
    assert page.faults == []


# The rotation explorer ---------------------------------------------------------------------------

FACES = """() => [...document.querySelectorAll('.gw-pair')].map(face => {
    const ends = ['query', 'key'].map(name => face.querySelector(`.gw-line-${name}`))
        .map(line => ['x2', 'y2'].map(at => Number(line.getAttribute(at))));
    return {
        ends: ends, part: face.querySelector('.gw-part-added').textContent,
        words: face.querySelector('.gw-pair-words').textContent,
        short: face.classList.contains('gw-short'),
        strange: getComputedStyle(face.querySelector('.gw-news')).visibility === 'visible',
        bar: parseFloat(face.querySelector('.gw-added').style.left),
    };
})"""
SCORES = """() => {
    const svg = document.querySelector('.gw-scores');
    const ticks = [...svg.querySelectorAll('.gw-axes text[text-anchor=end]')]
        .filter(t => !t.classList.contains('gw-axis-name'))
        .map(t => [Number(t.textContent.replace('−', '-')), Number(t.getAttribute('y')) - 4]);
    const values = d => (d.match(/,[\\d.]+/g) || []).map(y => Number(y.slice(1)));
    return {
        ticks, dot: Number(svg.querySelector('.gw-mark-dot').getAttribute('cy')),
        line: values(svg.querySelector('.gw-line-score').getAttribute('d')),
        plain: values(svg.querySelector('.gw-line-plain')?.getAttribute('d') || ''),
    };
}"""


def written(page, i: int) -> float:
    """One of the two large numbers: the distance, the score."""
    return float(page.locator(".gw-big").nth(i).inner_text().replace("−", "-"))


def rotations_agree(page, widget: RotationExplorer, drawn_to: int = 512):
    """Hands, bars, words, score and curve are those of gptlib.rope."""
    settle(page)
    half, distance = widget.head_size // 2, widget.query_at - widget.key_at
    assert (written(page, 0), written(page, 1)) == (
        distance,
        pytest.approx(widget.score(), abs=6e-4),
    )
    faces = page.evaluate(FACES)
    parts, turns = widget.contributions().tolist(), widget.turns_in_training().tolist()
    rope = Rope(widget.head_size, 513, scaled_base(widget.base, widget.scaling, widget.head_size))
    hands = [
        rope(torch.tensor(x)[None], start=at)[0].view(2, half).T  # (hs / 2, 2)
        for x, at in ((widget.query, widget.query_at), (widget.key, widget.key_at))
    ]
    scale = 36 / max(hand.norm(dim=1).max().item() for hand in hands)
    assert len(faces) == half
    for i, (face, part, turn, new) in enumerate(
        zip(faces, parts, turns, widget.new_angles().tolist(), strict=True)
    ):
        for end, hand in zip(face["ends"], hands, strict=True):
            right, up = hand[i].tolist()
            assert end == pytest.approx([scale * right, -scale * up], abs=0.02)
        assert float(face["part"].replace("−", "-")) == pytest.approx(part, abs=6e-3)
        assert (face["bar"] < 50) == (part < 0)
        assert face["short"] == (turn < 1) == ("of one turn" in face["words"])
        assert face["strange"] == new
    found = page.evaluate(SCORES)
    (low, y_low), (high, y_high) = found["ticks"][0], found["ticks"][-1]
    wanted = [y_low + (s - low) / (high - low) * (y_high - y_low) for s in widget.scores()]
    assert found["line"] == pytest.approx([float(y) for y in wanted[: drawn_to + 1]], abs=0.2)
    assert found["dot"] == pytest.approx(float(wanted[distance]), abs=0.2)
    assert bool(found["plain"]) == (widget.scaling > 1)


def test_rotations_follow_every_control(shown):
    widget = rotations()
    page = shown(widget)
    rotations_agree(page, widget)
    query, key, both, base, slowed, drawn_to = (
        page.get_by_role("slider", name=name)
        for name in ("query at", "key at", "both together", "base", "slowed", "drawn to")
    )
    for _ in range(3):
        query.press("ArrowRight")
    widget.query_at = 43
    rotations_agree(page, widget)
    before = written(page, 1)
    both.press("End")
    widget.query_at, widget.key_at = 512, 481
    rotations_agree(page, widget)
    assert written(page, 1) == before and both.get_attribute("aria-valuetext") == "512, 481"
    key.press("Home")
    widget.key_at = 0
    rotations_agree(page, widget)
    assert written(page, 1) != before and query.input_value() == "512"
    assert page.locator(".gw-short").count() == 5
    base.press("ArrowRight")
    slowed.press("ArrowRight")
    widget.base, widget.scaling = 100_000, 2
    rotations_agree(page, widget)
    assert "Dashed" in page.locator(".gw-read").inner_text()
    assert "→" in page.locator(".gw-pair").last.inner_text()
    assert "→" not in page.locator(".gw-pair").first.inner_text()
    tells(page, "at distance 512, query at 512, key at 0")
    query.press("Home")
    key.press("ArrowRight")  # it cannot stand behind the query, which goes along
    settle(page)
    assert (query.input_value(), key.input_value()) == ("1", "1")
    query.press("Home")  # nor the query before the key
    widget.key_at, widget.query_at = 0, 0
    drawn_to.press("Home")
    rotations_agree(page, widget, drawn_to=32)
    assert page.faults == []


def test_a_face_and_the_curve_tell_their_numbers(shown):
    widget = rotations()
    page = shown(widget)
    detail, read = page.locator(".gw-pair-detail"), page.locator(".gw-read")
    assert not detail.is_visible()
    page.get_by_role("button", name="pair 3").tap()
    settle(page)
    q, k = widget.query, widget.key
    said = detail.inner_text().replace("\u00a0", " ").replace("−", "-")
    assert f"query ({q[3]:.2f}, {q[11]:.2f}), key ({k[3]:.2f}, {k[11]:.2f})" in said
    assert "40 · 0.0316 = 1.26 radians, 72.5° against the clock" in said
    assert f"= {widget.contributions()[3]:.2f}" in said and "0.64 turns in 128 tokens" in said
    assert page.get_by_role("button", name="pair 3").get_attribute("aria-expanded") == "true"
    page.get_by_role("button", name="pair 3").press("Enter")
    settle(page)
    assert not detail.is_visible()
    box = page.locator(".gw-scores").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 80)
    found = re.fullmatch(r"distance (\d+): score (.*)", read.inner_text())
    distance = int(found[1])
    assert float(found[2].replace("−", "-")) == pytest.approx(
        widget.scores()[distance].item(), abs=6e-4
    )
    page.mouse.down()
    page.mouse.up()
    widget.query_at = 12 + distance
    rotations_agree(page, widget)
    page.mouse.click(box["x"] + box["width"] - 2, box["y"] + 80)  # the key makes room
    widget.query_at, widget.key_at = 512, 0
    rotations_agree(page, widget)
    page.mouse.move(0, 0)
    assert "Press the curve" in read.inner_text() and page.faults == []


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_both_walk_on_until_they_are_stopped(shown, motion):
    widget = rotations(query_at=509, key_at=481)
    page = shown(widget, reduced_motion=motion)
    score = written(page, 1)
    query = page.get_by_role("slider", name="query at")
    page.get_by_role("button", name="let both walk on").tap()
    page.wait_for_function("document.querySelector('input').value === '510'")
    page.get_by_role("button", name="stop").tap()
    settle(page)
    place = int(query.input_value())
    widget.query_at, widget.key_at = place, place - 28
    rotations_agree(page, widget)
    assert written(page, 1) == score
    query.press("End")  # from the last place they begin anew
    page.get_by_role("button", name="let both walk on").tap()
    page.wait_for_function("document.querySelectorAll('input')[1].value === '1'")
    page.get_by_role("slider", name="key at").press("Home")  # a hand on a slider stops them
    page.get_by_role("button", name="let both walk on").wait_for()
    assert page.faults == []


def test_pairs_without_a_face_are_counted_too(shown):
    widget = rotations_of_a_large_head()
    page = shown(widget)
    faces = page.evaluate(FACES)
    said = page.locator(".gw-facts", has_text="other 16 pairs").inner_text().replace("−", "-")
    rest = float(re.search(r"add (\S+) together", said)[1])
    parts = sum(float(face["part"].replace("−", "-")) for face in faces)
    assert len(faces) == 16 and parts + rest == pytest.approx(widget.score(), abs=0.1)
    short, new = int((widget.turns_in_training() < 1).sum()), int(widget.new_angles().sum())
    facts = page.locator(".gw-facts").first.inner_text()
    assert f"{short} of 32 go less than once round" in facts
    assert f"At this distance, {new} are at a new angle" in facts


# The training ------------------------------------------------------------------------------------


def told_step(page, step: int) -> str:
    """What stands below the buttons, once that step is there."""
    line = page.locator(".gpt-widget .gw-facts")
    for _ in range(600):
        if line.inner_text().startswith(f"Step {step}:"):
            break
        page.wait_for_timeout(50)
    said = line.inner_text()
    assert said.startswith(f"Step {step}:"), said
    return said


def told_rate(said: str) -> float:
    return float(re.search(r"learning rate ([\d.e-]+\d)", said)[1])


def test_a_model_is_trained_in_the_page(shown, tmp_path):
    """Step by step, then on its own; broken, slowed down, begun again, and kept."""
    from gptlib.widgets import import_model

    widget = training()
    page = shown(widget)
    steps = page.get_by_role("button", name="one step")
    steps.click()
    first = told_step(page, 1)
    assert "in a worker of this page" in page.locator(".gpt-widget").inner_text()
    loss = float(re.search(r"loss ([\d.]+)", first)[1])
    assert loss == pytest.approx(math.log(1536), abs=0.1)
    recipe = dict(widget.chosen["recipe"])
    assert recipe.pop("muon") is recipe.pop("hold") is None
    config = TrainConfig(**recipe)
    assert told_rate(first) == pytest.approx(learning_rate(1, config), rel=0.01)
    page.get_by_role("slider", name="learning rate").press("Home")
    page.locator("summary", has_text="break it").click()
    page.get_by_label("forgotten zero_grad").check()
    steps.click()
    slow = told_rate(told_step(page, 2))
    assert slow == pytest.approx(0.03 * learning_rate(2, config), rel=0.01)
    page.get_by_role("button", name="go on").click()
    told_step(page, 12)  # the end of the recipe
    page.get_by_role("button", name="go on").wait_for()
    for kind in (".gw-line-train", ".gw-line-blocks"):  # the loss, and the update ratios
        assert page.locator(kind).first.get_attribute("d").count("L") == 11
    assert page.locator(".gw-bars tbody tr").count() >= 5
    assert page.locator(".gw-written .gw-broken").count() == 1
    assert "The parser:" in page.locator(".gpt-widget").inner_text()
    with page.expect_download() as kept:
        page.get_by_role("button", name="keep the model").click()
    path = tmp_path / kept.value.suggested_filename
    kept.value.save_as(path)
    assert path.name == "trained_12.gpt.safetensors"
    model, tokenizer = import_model(path)
    assert model.config.n_embd == 16 and tokenizer.vocab_size == 1536
    wanted = AnswerKey(corpus.stories(4, seed=1), tokenizer).score(model)
    skills_agree(page, wanted.skills)
    said = page.locator(".gpt-widget .gw-facts").inner_text()
    exam, above = re.search(r"exam ([\d.]+), ([\d.]+) % above the floor", said).groups()
    assert float(exam) == pytest.approx(wanted.loss, rel=0.006)
    assert float(above) == pytest.approx(100 * (wanted.loss / wanted.floor - 1), rel=0.001)
    page.get_by_role("button", name="begin again").click()
    steps.click()
    again = told_step(page, 1)  # the same weights and the same stories
    assert float(re.search(r"loss ([\d.]+)", again)[1]) == loss
    assert page.faults == []


def skills_agree(page, wanted: dict[str, float]) -> None:
    """The table of the exam, its numbers and its bars."""
    names = page.locator(".gw-gained tbody th").all_inner_texts()
    shares = dict(zip(names, numbers(page, ".gw-gained .gw-number"), strict=True))
    assert shares == pytest.approx(wanted, abs=6e-4)
    bars = dict(zip(names, widths(page, ".gw-gained .gw-bar"), strict=True))
    assert bars == pytest.approx({skill: 100 * share for skill, share in wanted.items()}, abs=0.06)


# A worker that trains nothing, and says at once what the page holds in `told`.
SAYS = """<head><script>
    window.Worker = class {
        postMessage(message) {
            if (message.do !== "begin") return;
            for (const data of %s) setTimeout(() => this.onmessage({ data }));
        }
        terminate() {}
    };
</script>"""


def test_the_skills_of_a_trained_model_are_drawn(shown):
    """A model that knows some and not others: what the answer key says of it, as bars."""
    widget = course_training()
    model, tokenizer = book()
    key = AnswerKey(corpus.stories(4, seed=1), tokenizer)
    off = ["blocks.1.attention.2", "blocks.2.feed_forward", "blocks.3.attention.0"]
    with switched_off(model, off):
        score = key.score(model)
    marks = {skill: [sum(hit for _, hit in m), len(m)] for skill, m in score.marks.items()}
    assert len({share for share in score.skills.values() if 0 < share < 1}) > 2
    exam = {"is": "exam", "step": 0, "loss": score.loss, "floor": score.floor, "skills": marks}

    def told(path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace("<head>", SAYS % json.dumps([exam]), 1), encoding="utf-8")

    page = shown(widget, spoil=told)
    page.get_by_role("button", name="one step").click()
    page.locator(".gw-gained tbody tr").first.wait_for()
    skills_agree(page, score.skills)
    assert page.faults == []


def test_a_file_that_the_page_kept_is_opened_by_the_playground(shown, tmp_path):
    page = shown(training())
    page.get_by_role("button", name="one step").click()
    told_step(page, 1)
    with page.expect_download() as kept:
        page.get_by_role("button", name="keep the model").click()
    path = tmp_path / "mine.gpt.safetensors"
    kept.value.save_as(path)
    other = shown(live())
    other.set_input_files("input[type=file]", path)
    other.get_by_text("mine.gpt.safetensors: blocks 1, heads 4").wait_for()
    other.get_by_role("button", name="next token").click()
    assert page.faults == other.faults == []


def test_a_head_is_looked_at_and_a_token_picked_by_keyboard(shown):
    """Of the story just written: what the row says is what the worker worked out."""
    page = shown(training())
    fold = page.locator("details", has_text="who looks where")
    fold.locator("summary").click()
    assert fold.locator("canvas").is_hidden()  # no story, nothing to look at
    page.get_by_role("button", name="one step").click()
    told_step(page, 1)
    token = fold.get_by_role("slider", name="token")
    token.wait_for()
    token.press("Home")
    read = fold.locator(".gw-read")
    assert "token 0, “END”, takes 100.0 % from “END” (0)" in read.inner_text()
    token.press("ArrowRight")
    said = read.inner_text()
    shares = [float(share) for share in re.findall(r"([\d.]+) % from", said)]
    assert "token 1, " in said and sum(shares) == pytest.approx(100, abs=0.2)
    assert "pick a token" in fold.locator("canvas").get_attribute("aria-label")
    assert page.faults == []


def test_another_model_is_another_run(shown):
    """With its own parameters, steps and band; a GPT without blocks is not kept."""
    page = shown(course_training())
    models = page.get_by_role("combobox", name="model")
    one = page.get_by_role("button", name="one step")
    one.click()
    told_step(page, 1)
    models.select_option(label="no block: the last token alone (chapter 2): 106,560 parameters")
    assert page.locator(".gw-facts").inner_text() == ""
    keep = page.get_by_role("button", name="keep the model")
    assert keep.is_disabled() and page.locator("summary", has_text="who looks").count() == 0
    one.click()
    told_step(page, 1)
    page.locator(".gw-legend", has_text="106,560 parameters").wait_for()
    models.select_option(index=1)
    assert page.locator(".gw-band").count() == 1 and keep.is_enabled()
    assert "recorded runs" in page.locator(".gpt-widget").inner_text()
    assert page.faults == []


# Notes the steps that a page hears of from its worker.
NOTE_STEPS = """<head><script>
    window.steps = [];
    const Plain = Worker;
    window.Worker = class extends Plain {
        set onmessage(heard) {
            super.onmessage = (event) => {
                window.steps.push(...(event.data.points ?? []).map((point) => point.step));
                heard(event);
            };
        }
    };
</script>"""


def note_steps(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("<head>", NOTE_STEPS, 1), encoding="utf-8")


def test_a_run_goes_on_behind_another_tab(shown):
    """Behind another page, then frozen as an old one: no step is lost, none is done again."""
    page = shown(training(steps=1_000_000), spoil=note_steps)
    page.get_by_role("button", name="train").click()
    page.wait_for_function("window.steps.length > 0")
    front = page.context.new_page()
    front.goto("about:blank")
    front.bring_to_front()
    tools = page.context.new_cdp_session(page)
    behind = page.evaluate("window.steps.length")
    page.wait_for_function("n => window.steps.length > n", arg=behind, polling=100)
    tools.send("Page.setWebLifecycleState", {"state": "frozen"})
    front.wait_for_timeout(500)
    tools.send("Page.setWebLifecycleState", {"state": "active"})
    page.bring_to_front()
    thawed = page.evaluate("window.steps.length")
    page.wait_for_function("n => window.steps.length > n", arg=thawed, polling=100)
    page.get_by_role("button", name="pause").click()
    page.get_by_role("button", name="go on").wait_for()
    steps = page.evaluate("window.steps")
    assert steps == list(range(1, len(steps) + 1))
    told_step(page, len(steps))
    assert page.faults == []


def test_a_page_that_may_have_no_worker_says_so(shown):
    page = shown(training(), spoil=lambda path: take_away(path, "Worker"))
    page.get_by_role("button", name="train").click()
    page.locator(".gw-legend", has_text="cannot start a worker").wait_for()


def take_away(path: Path, name: str) -> None:
    text = path.read_text(encoding="utf-8")
    gone = f"<head><script>delete globalThis.{name}; globalThis.{name} = undefined;</script>"
    path.write_text(text.replace("<head>", gone, 1), encoding="utf-8")


# All of them -------------------------------------------------------------------------------------

# What compares a widget's whole picture with Python's.
AGREES = {
    "distribution": distribution_agrees,
    "tokens": agrees_with,
    "picture": counts_agree,
    "growing_cache": growth_agrees,
    "routed": routing_agrees,
    "live": writing_agrees,
    "attention": attention_agrees,
    "signals": signals_agree,
    "recorded_signals": signals_agree,
    "scrubber": moment_agrees,
    "rotations": lambda page, widget: rotations_agree(page, widget, widget.drawn_to or 512),
}


@pytest.mark.parametrize(
    "follows",
    [
        test_the_distribution_follows_its_controls,
        test_the_tokens_follow_the_text_and_the_steps,
        test_the_picture_follows_its_sizes_and_presets,
        test_a_growing_cache_follows_its_controls,
        test_experts_follow_every_control,
        test_the_model_in_the_page_says_what_pytorch_says,
        test_attention_follows_every_control,
        test_signals_follow_every_control,
        test_every_picture_shows_the_moment_that_the_slider_says,
        test_rotations_follow_every_control,
        partial(test_a_model_is_trained_in_the_page, tmp_path=Path()),
    ],
)
def test_a_widget_that_no_longer_redraws_is_found(shown, follows):
    with pytest.raises(AssertionError):
        follows(lambda widget, **settings: shown(still(widget), **settings))

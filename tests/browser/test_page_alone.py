"""A run becomes a page that stands alone: from a folder it writes what `generate` writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from looking import NARROW, PATIENCE, WIDE, read_axe, settle

from gptlib.cli.main import main
from gptlib.engine import runs
from gptlib.widgets import import_model

TEXT = "a cat sat on a mat, and the dog sat on the log.\nOnce upon a time, für 3 🍎!\n"
SMALL = "--context-length 16 --n-layer 2 --n-embd 16 --n-head 2 --steps 120 --batch-size 8"
SMALL += " --lr 0.02 --eval-batches 1 --warmup-steps 5 --save-every 120 --device cpu"
KINDS = {
    "characters": [],
    "BPE": ["--tokenizer", "bpe", "--vocab-size", "290"],
    "BPE with marks": ["--tokenizer", "bpe", "--vocab-size", "290", "--split", "marks"],
    "modern": ["--tokenizer", "bpe", "--vocab-size", "290"],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """By kind of tokenizer a folder with a run and its page, `site`."""
    done: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in done:
            folder = done[kind] = tmp_path_factory.mktemp("made")
            text = TEXT * 30
            if "marks" in kind:
                text = text.replace("\n", "<|endoftext|>")
            (folder / "my.txt").write_text(text, encoding="utf-8")
            data, run = str(folder / "data"), str(folder / "run")
            assert main(["prepare", str(folder / "my.txt"), "--out", data, *KINDS[kind]]) == 0
            modern = ["--preset", "modern", "--n-kv-head", "1"] if kind == "modern" else []
            assert main(["train", data, "--out", run, *SMALL.split(), *modern]) == 0
            words = ["--to", "page", "--numbers", "float32", "--prompt", "a cat"]
            assert main(["export", run, str(folder / "site"), *words]) == 0
        return done[kind]

    return make


@pytest.fixture
def opened(browser):
    """Open a page from its folder, with no network at all: `opened(folder)`."""
    contexts = []

    def look(site: Path, width=WIDE, **settings):
        context = browser.new_context(viewport={"width": width, "height": 900}, **settings)
        context.set_offline(True)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.faults, page.asked = [], []
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("console", lambda m: page.faults.append(m.text) if m.type == "error" else None)
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto((site / "index.html").as_uri())
        return page

    yield look
    for context in contexts:
        context.close()


def written(page) -> list[int]:
    """The ids that the page has written behind the prompt."""
    titles = page.eval_on_selector_all(
        ".gw-token.gw-written:not([hidden])", "all => all.map((token) => token.title)"
    )
    return [int(re.match(r"id (\d+)", title)[1]) for title in titles if title.startswith("id ")]


def write_greedily(page) -> list[int]:
    page.get_by_role("slider", name="temperature").press("Home")
    page.get_by_role("button", name="write", exact=True).click()
    page.get_by_role("button", name="stop", exact=True).wait_for(state="detached")
    settle(page)
    return written(page)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prompt", ["a cat", "", "Once upon a time, für 3 🍎"])
def test_it_writes_what_generate_writes_token_by_token(made, opened, kind, prompt, capsys):
    folder = made(kind)
    _, tokenizer, _, _ = runs.load(folder / "run")
    page = opened(folder / "site")
    page.get_by_label("the text begins").fill(prompt)
    ids = write_greedily(page)
    capsys.readouterr()
    words = ["--no-sampling", "--length", "32", "--prompt", prompt, "--device", "cpu"]
    assert main(["generate", str(folder / "run"), *words]) == 0
    said = capsys.readouterr()
    end = next(iter(getattr(tokenizer, "special_tokens", {}).values()), None)
    assert said.out == prompt + tokenizer.decode([i for i in ids if i != end]) + "\n"
    assert len(set(ids)) > 4  # it has learned enough for one wrong number to be seen
    assert said.err.startswith(f"{len(ids)} tokens, ") and (len(ids) == 32 or ids[-1] == end)
    assert page.faults == [] and page.asked == [(folder / "site" / "index.html").as_uri()]


def test_a_greedy_text_that_differs_is_seen(made, opened):
    """The comparison above is one of models: another run's text is another one."""
    folder = made("characters")
    page = opened(folder / "site")
    page.get_by_label("the text begins").fill("a cat")
    before = write_greedily(page)
    page.get_by_role("button", name="back to the beginning").click()
    page.get_by_label("the text begins").fill("the dog")
    assert write_greedily(page) != before


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_can_use_it(made, opened, theme):
    page = opened(made("BPE") / "site", color_scheme=theme)
    page.locator(".gpt-widget .gw-token").first.wait_for()
    read_axe(page)
    for _ in range(2):
        found = page.evaluate(
            "axe.run(document, {preload: false})"
            ".then(r => r.violations.map(v => v.id + ': ' + v.nodes[0].html))"
        )
        assert found == [] and page.faults == []
        page.get_by_role("button", name="dark").click()
    for width in (NARROW, 640):
        page.set_viewport_size({"width": width, "height": 700})
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.title() == "run: a language model in a page"
    assert page.locator("dt", has_text="not measured").count() == 1


def test_the_keyboard_reaches_the_model_and_the_light(made, opened):
    page = opened(made("BPE") / "site")
    page.locator(".gpt-widget .gw-token").first.wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_the_model_of_the_page_can_be_kept_as_a_file(made, opened, tmp_path):
    folder = made("BPE")
    page = opened(folder / "site")
    with page.expect_download() as kept:
        page.get_by_role("button", name="keep the model as a file").click()
    path = tmp_path / kept.value.suggested_filename
    kept.value.save_as(path)
    assert path.name == "run.gpt.safetensors"
    model, tokenizer = import_model(path)
    ours, ids, _, _ = runs.load(folder / "run")
    assert tokenizer.fingerprint() == ids.fingerprint()
    theirs = model.state_dict()
    assert all(tensor.equal(theirs[name]) for name, tensor in ours.state_dict().items())


def test_a_page_that_was_damaged_or_has_no_script_says_so(made, opened, tmp_path):
    folder = made("BPE") / "site"
    text = (folder / "index.html").read_text("utf-8")
    (tmp_path / "index.html").write_text(
        re.sub(r'(class="model">).*?</script>', r"\1AAAA</script>", text), encoding="utf-8"
    )
    page = opened(tmp_path)
    said = page.locator(".wait").inner_text()
    assert "The model in this page cannot be read." in said and "Export it again." in said
    page = opened(folder, java_script_enabled=False)
    assert "This page needs JavaScript" in page.locator(".wait").inner_text()
    assert page.locator("dd", has_text="GPT of gptlib").count() == 1


def test_no_other_script_can_run_in_it_and_it_can_ask_nobody(made, opened, tmp_path):
    text = (made("BPE") / "site" / "index.html").read_text("utf-8")
    strange = "<script>document.title = 'strange'</script><img src='https://example.org/a.png'>"
    (tmp_path / "index.html").write_text(text.replace("</body>", f"{strange}</body>"), "utf-8")
    page = opened(tmp_path)
    page.locator(".gpt-widget .gw-token").first.wait_for()
    assert page.title() != "strange" and len(page.faults) == 2
    assert all("Content Security Policy" in fault for fault in page.faults)

"""Widgets in a real JupyterLab: they appear, and page and Python follow each other."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest
from chapterfiles import ROOT
from looking import PATIENCE

CODE = [
    "import torch\n"
    "from gptlib.widgets import DistributionExplorer\n"
    "w = DistributionExplorer(torch.tensor([2.0, 1.0, 0.0]), ['red', 'blue', 'green'])\n"
    "w",
    "print('python has', w.temperature)",
    "w.temperature = 2.0",
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A JupyterLab server: its address, and the folder that it shows."""
    home = tmp_path_factory.mktemp("lab")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "PYTHONPATH": str(ROOT),
        "GPTLIB_FIGURES": "",  # as a learner's: the figures of the book have no words of their own
    }
    (home / "shown").mkdir()
    # Settings, "Save Widget State Automatically": JupyterLab leaves it off.
    keep = home / "settings" / "@jupyter-widgets" / "jupyterlab-manager"
    keep.mkdir(parents=True)
    (keep / "plugin.jupyterlab-settings").write_text('{"saveState": true}', encoding="utf-8")
    # A long notebook is in the page as a whole, so that a test finds every cell.
    tracker = home / "settings" / "@jupyterlab" / "notebook-extension"
    tracker.mkdir(parents=True)
    (tracker / "tracker.jupyterlab-settings").write_text('{"windowingMode": "none"}', "utf-8")
    options = ["--no-browser", f"--port={port}", "--IdentityProvider.token=", "--allow-root"]
    options += [f"--ServerApp.root_dir={home / 'shown'}", "--ServerApp.disable_check_xsrf=True"]
    log = open(home / "lab.log", "w")  # noqa: SIM115
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options],
        env={**os.environ, **settings},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            assert server.poll() is None, (home / "lab.log").read_text()
            try:
                urllib.request.urlopen(f"{address}/api/status", timeout=5)
                break
            except OSError:
                time.sleep(0.3)
        yield address, home / "shown"
    finally:
        server.terminate()
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:  # it may wait for a thread of its own, which never ends
            server.kill()
            server.wait()
        log.close()


@pytest.fixture
def lab(server, tmp_path):
    """Where JupyterLab shows an empty folder, `work` of this test: the address of its files."""
    address, shown = server
    (shown / tmp_path.name).mkdir()
    (tmp_path / "work").symlink_to(shown / tmp_path.name, target_is_directory=True)
    yield f"{address}/lab/tree/{tmp_path.name}"
    # The kernels of a test end with it, as they would with a server of its own.
    with urllib.request.urlopen(f"{address}/api/kernels") as answer:
        kernels = json.load(answer)
    for kernel in kernels:
        end = urllib.request.Request(f"{address}/api/kernels/{kernel['id']}", method="DELETE")
        urllib.request.urlopen(end).close()


def write_notebook(tmp_path, codes: list[str]) -> Path:
    """A notebook with these cells, where the server looks for it."""
    cells = [nbformat.v4.new_code_cell(code) for code in codes]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    path = tmp_path / "work" / "try.ipynb"
    nbformat.write(notebook, path)
    return path


def open_notebook(browser, address: str, path: str = "try.ipynb"):
    page = browser.new_context().new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{address}/{path}?reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    return page


def kernel_is_ready(page) -> None:
    """Waits for the notebook's kernel. Before, JupyterLab says that it idles and has none yet, and
    asks whoever runs all cells to choose one."""
    panel = ".jp-NotebookPanel:not(.lm-mod-hidden)"
    page.wait_for_selector(f"{panel} .jp-Toolbar-kernelName:has-text('Python 3')")
    page.wait_for_selector(
        f"{panel} .jp-Notebook-ExecutionIndicator[data-status=idle]", state="attached"
    )


def run(page, cell: int) -> None:
    """Run a cell as a reader does, by a click and Ctrl-Enter, and wait until it has run.

    Once more where it did not: what a kernel gets while it starts is dropped.
    """
    here = page.locator(".jp-Notebook .jp-CodeCell").nth(cell)
    prompt = here.locator(".jp-InputPrompt")
    before = prompt.inner_text()

    def has_run() -> bool:
        return bool(re.search(r"\d", now := prompt.inner_text())) and now != before

    deadline = time.monotonic() + PATIENCE / 1000
    while not has_run():
        assert time.monotonic() < deadline, f"the cell did not run: {prompt.inner_text()}"
        if "*" not in prompt.inner_text():
            here.locator(".cm-content").click()
            page.keyboard.press("Control+Enter")
        for _ in range(20):  # a second, in which a cell that was heard says that it runs
            page.wait_for_timeout(50)
            if has_run():
                break


def run_all(browser, lab, tmp_path, codes: list[str], widgets: int = 2):
    """The page of a notebook whose cells have run and show so many widgets."""
    write_notebook(tmp_path, codes)
    page = open_notebook(browser, lab)
    page.set_viewport_size({"width": 1100, "height": 3600})  # all cells are in the page
    kernel_is_ready(page)
    for cell in range(len(codes)):
        run(page, cell)
    page.wait_for_function(f"document.querySelectorAll('.gpt-widget').length === {widgets}")
    return page


def whole_chapter(browser, lab, tmp_path, chapter):
    """A chapter's file and its page, all of whose cells have been told to run."""
    path = write_notebook(tmp_path, ["1"])
    nbformat.write(chapter, path)
    page = open_notebook(browser, lab)
    kernel_is_ready(page)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    return path, page


def reopened(page, browser, address: str, path: Path):
    """The page of a notebook that was saved, closed and opened again, with no cell run."""
    shown = page.locator(".gpt-widget").count()
    page.keyboard.press("Control+s")
    deadline = time.monotonic() + PATIENCE / 1000
    while "widget-state" not in path.read_text(encoding="utf-8"):
        assert time.monotonic() < deadline, "the state of the widgets was not saved"
        time.sleep(0.3)
    page.context.close()
    page = open_notebook(browser, address)
    page.wait_for_function(f"document.querySelectorAll('.gpt-widget').length === {shown}")
    return page


@pytest.mark.slow
def test_a_widget_in_jupyterlab_talks_with_python_and_is_kept(browser, lab, tmp_path):
    path = write_notebook(tmp_path, CODE[:2])
    page = open_notebook(browser, lab)
    kernel_is_ready(page)
    run(page, 0)
    page.wait_for_selector(".gpt-widget")
    run(page, 1)
    page.wait_for_selector("text=python has 1.0")

    # The reader's hand reaches Python ...
    page.locator(".gpt-widget input[type=range]").first.press("ArrowRight")
    run(page, 1)
    page.wait_for_selector("text=python has 1.05")

    # ... and Python reaches the page.
    before = page.locator(".gpt-widget tbody td.gw-number").first.inner_text()
    page.locator(".jp-Notebook .jp-CodeCell .cm-content").nth(1).fill(CODE[2])
    run(page, 1)
    page.wait_for_function(
        "before => document.querySelector('.gpt-widget tbody td.gw-number').innerText !== before",
        arg=before,
    )
    assert page.locator(".gpt-widget output").first.inner_text() == "2"

    # Saved with its state, it is there again with no cell run.
    page = reopened(page, browser, lab, path)
    assert re.search(r'"temperature": 2', path.read_text(encoding="utf-8"))
    assert page.locator(".gpt-widget output").first.inner_text() == "2"
    page.context.close()


@pytest.mark.slow
def test_a_whole_chapter_runs_and_its_widget_is_there_again_when_it_is_opened(
    browser, lab, tmp_path
):
    """Chapter 1 as a learner has it: run all cells, play, ask Python, save, open."""
    chapter = nbformat.read(ROOT / "chapters" / "01_tokenizer.ipynb", as_version=4)
    asks = "shown = next(o for o in Out.values() if hasattr(o, 'step'))"
    asks += "\nprint('python has', shown.step, shown.text)"
    chapter.cells.append(nbformat.v4.new_code_cell(asks))
    path, page = whole_chapter(browser, lab, tmp_path, chapter)
    page.wait_for_selector("text=python has 0 an umbrella, two umbrellas")
    page.wait_for_selector(".gpt-widget")
    page.get_by_role("button", name="all", exact=True).press("Enter")
    run(page, -1)
    page.wait_for_selector("text=python has -1 an umbrella, two umbrellas")
    tokens = page.locator(".gpt-widget .gw-main .gw-token").all_inner_texts()
    assert len(tokens) < 12
    page = reopened(page, browser, lab, path)
    assert page.locator(".gpt-widget .gw-main .gw-token").all_inner_texts() == tokens
    page.context.close()


@pytest.mark.slow
def test_chapter_9_runs_whole_and_shows_its_three_widgets(browser, lab, tmp_path):
    """To its last cell, with no error on the way: the longest of the chapters."""
    chapter = nbformat.read(ROOT / "chapters" / "09_modern.ipynb", as_version=4)
    chapter.cells.append(nbformat.v4.new_code_cell("print('come', 'to the end')"))
    _, page = whole_chapter(browser, lab, tmp_path, chapter)
    page.wait_for_selector("text=come to the end", timeout=4 * PATIENCE)
    errors = page.locator("[data-mime-type='application/vnd.jupyter.error']")
    assert errors.count() == 0, errors.first.inner_text()
    page.wait_for_function("document.querySelectorAll('.gpt-widget').length === 3")
    page.context.close()


@pytest.mark.slow
def test_chapter_8_writes_and_marks_and_is_there_again_when_it_is_opened(browser, lab, tmp_path):
    """To its second widget: the book's model with the answer key, used, saved, opened, not run."""
    chapter = nbformat.read(ROOT / "chapters" / "08_generation.ipynb", as_version=4)
    del chapter.cells[[cell.id for cell in chapter.cells].index("play-live") + 1 :]
    asks = "g = next(o for o in Out.values() if hasattr(o, 'off'))"
    asks += "\nprint('python has', len(g.ids), *g.off, g.text)"
    chapter.cells.append(nbformat.v4.new_code_cell(asks))
    path, page = whole_chapter(browser, lab, tmp_path, chapter)
    tom = "Tom was a quiet boy with freckles who lived by the sea. He owned a"
    page.wait_for_selector(f"text=python has 0 {tom}")
    page.wait_for_function("document.querySelectorAll('.gpt-widget').length === 2")
    live = page.locator(".gpt-widget", has_text="Write with the model")
    colour = live.locator(".gw-pick").first.inner_text().strip("␣ ")
    live.locator(".gw-pick").first.press("Enter")
    live.get_by_role("checkbox", name="block 1, head 2 is on").press(" ")
    for _ in range(24):
        live.get_by_role("button", name="next token", exact=True).press("Enter")
    run(page, -1)
    page.wait_for_selector(f"text=python has 25 blocks.1.attention.2 {tom} {colour}")

    def shown() -> list[list[str]]:
        looks = ".map(e => [e.innerText, e.className.includes('gw-forced') ? 'framed' : ''])"
        return live.locator(".gw-token:not([hidden])").evaluate_all(f"all => all{looks}")

    before = shown()
    assert len(before) > 40 and any(mark for _, mark in before)
    page = reopened(page, browser, lab, path)
    live = page.locator(".gpt-widget", has_text="Write with the model")
    assert shown() == before
    assert not live.get_by_role("checkbox", name="block 1, head 2 is on").is_checked()
    page.context.close()


@pytest.mark.slow
def test_chapter_7_s_tape_is_wound_in_jupyterlab_and_is_there_again(browser, lab, tmp_path):
    """The cell of its symptom lab: the whole run takes minutes, its record does not."""
    chapter = nbformat.read(ROOT / "chapters" / "07_training.ipynb", as_version=4)
    cell = next(cell for cell in chapter.cells if cell.id == "play-lab")
    codes = [
        "from gptlib.given.records import record\nfrom gptlib.widgets import TrainingScrubber",
        cell.source,
        "s = Out[2]\nprint('python has', s.moment, s.shown, s.now()['step'])",
    ]
    page = run_all(browser, lab, tmp_path, codes, widgets=1)
    now = page.locator(".gw-now")
    page.get_by_role("combobox", name="run").select_option("6")
    step = page.get_by_role("slider", name="step")
    step.press("Home")
    step.press("ArrowRight")
    page.wait_for_function("!document.querySelector('.gw-now').innerText.startsWith('Step 0')")
    said = now.inner_text()
    run(page, 2)
    page.wait_for_selector(f"text=python has 1 6 {re.match('Step ([0-9]+)', said)[1]}")
    page.get_by_role("button", name="play").press("Enter")
    page.wait_for_function("said => document.querySelector('.gw-now').innerText !== said", arg=said)
    page.get_by_role("button", name="pause").press("Enter")
    page.get_by_role("button", name="play").wait_for()
    said, row = now.inner_text(), page.locator(".gw-layers tbody").inner_text()
    page = reopened(page, browser, lab, tmp_path / "work" / "try.ipynb")
    now = page.locator(".gw-now")
    assert (now.inner_text(), page.locator(".gw-layers tbody").inner_text()) == (said, row)
    page.context.close()


TWO = [
    "from gptlib.gpt import GPTConfig\n"
    "from gptlib.tokenizer import BPETokenizer\n"
    "from gptlib.widgets import ModelPicture, TokenizerExplorer\n"
    "m = ModelPicture(GPTConfig.preset('stories'))\n"
    "t = TokenizerExplorer(BPETokenizer([(97, 98), (97, 256)]), 'aab ab')",
    "print('python has', m.n_embd, m.n_head, t.ids(), t.picked)",
    "t",
    "m",
]


@pytest.mark.slow
def test_keys_in_a_widget_are_the_widget_s_and_not_jupyterlab_s(browser, lab, tmp_path):
    page = run_all(browser, lab, tmp_path, TWO)
    page.wait_for_selector("text=python has 64 4 [257, 32, 256] []")

    # In command mode an arrow to the right opens a heading: not while a slider has the keyboard.
    page.get_by_role("slider", name="width").press("ArrowRight")
    page.get_by_role("slider", name="heads").press("ArrowRight")
    page.get_by_role("button", name="none", exact=True).press("Enter")
    page.locator(".gw-main .gw-token").first.press("ArrowRight")
    run(page, 1)
    page.wait_for_selector("text=python has 96 6 [97, 97, 98, 32, 97, 98] [2, 1]")

    page.locator(".jp-Notebook .jp-CodeCell .cm-content").nth(1).fill(
        "t.text, t.step, m.n_layer = 'ab ab', -1, 7"
    )
    page.keyboard.press("Control+Enter")
    page.wait_for_selector("text=7 blocks like this one")
    assert page.locator(".gw-main .gw-token").all_inner_texts() == ["ab", "␣", "ab"]
    page = reopened(page, browser, lab, tmp_path / "work" / "try.ipynb")
    page.wait_for_selector("text=7 blocks like this one")
    assert page.locator(".gw-main .gw-token").all_inner_texts() == ["ab", "␣", "ab"]
    page.context.close()


RECORDED = [
    "import torch\n"
    "from gptlib.attention import AttentionModel\n"
    "from gptlib.tokenizer import CharTokenizer\n"
    "from gptlib.widgets import AttentionExplorer, TrainingScrubber\n"
    "two = {name: AttentionModel(5, 16, 8, 2) for name in ('before', 'after')}\n"
    "a = AttentionExplorer(two, 'lower', CharTokenizer('lower'))\n"
    "from gptlib.given.records import record\n"
    "s = TrainingScrubber.lab(record('patients'))",
    "print('python has', a.shown, a.head, a.mask, s.moment, s.shown)",
    "a",
    "s",
]


@pytest.mark.slow
def test_models_and_recorded_runs_travel_to_jupyterlab(browser, lab, tmp_path):
    """Lists of bytes and whole records are traits like others: what moves in the page returns."""
    page = run_all(browser, lab, tmp_path, RECORDED)
    page.wait_for_selector("text=python has 0 0 True -1 1")

    page.get_by_role("button", name="after", exact=True).click()
    page.get_by_role("group", name="the heads").get_by_role("button").nth(1).press("Enter")
    page.get_by_role("checkbox", name="mask").press("Space")
    page.get_by_role("slider", name="step").press("ArrowLeft")
    page.get_by_role("combobox", name="run").select_option("2")
    run(page, 1)
    page.wait_for_selector("text=python has 1 1 False 16 2")

    page.locator(".jp-Notebook .jp-CodeCell .cm-content").nth(1).fill("a.head = 0; s.moment = 0")
    page.keyboard.press("Control+Enter")
    page.wait_for_function("document.querySelector('.gw-now').innerText.startsWith('Step 0')")
    page.get_by_role("button", name="head 0", pressed=True).wait_for()
    page = reopened(page, browser, lab, tmp_path / "work" / "try.ipynb")
    page.wait_for_function("document.querySelector('.gw-now').innerText.startsWith('Step 0')")
    page.get_by_role("button", name="head 0", pressed=True).wait_for()
    assert not page.get_by_role("checkbox", name="mask").is_checked()
    page.context.close()


COMPUTING = [
    "import torch\n"
    "from gptlib.gpt import GPT, GPTConfig\n"
    "from gptlib.tokenizer import CharTokenizer\n"
    "from gptlib.widgets import LiveGPT, SignalExplorer\n"
    "tiny = GPT(GPTConfig(5, 16, 1, n_head=2, n_embd=8))\n"
    "g = LiveGPT(tiny, CharTokenizer('lower'), 'low', numbers='float32')\n"
    "s = SignalExplorer(depth=5, width=8)",
    "print('python has', s.depth, s.norm, s.steps, len(g.ids), *g.off)",
    "display(s, g)",  # in one cell: a click below the first would miss as it grows
]


@pytest.mark.slow
def test_what_the_page_computes_itself_it_computes_in_jupyterlab_too(browser, lab, tmp_path):
    page = run_all(browser, lab, tmp_path, COMPUTING)
    page.wait_for_selector("text=python has 5 none 0 0")
    assert page.get_by_role("slider", name="layers").input_value() == "5"
    # JupyterLab puts a widget into the page after it has drawn: its colour comes then
    page.wait_for_function("""() => {
        const c = document.querySelector('.gw-signal-shades');
        const all = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        const at = all.findIndex((v, i) => i % 4 === 3 && v > 150);
        const ink = getComputedStyle(c).color.match(/\\d+/g).map(Number);
        return ink.every((v, k) => Math.abs(all[at - 3 + k] - v) < 3);
    }""")

    page.get_by_role("slider", name="layers").press("ArrowRight")
    page.get_by_role("combobox", name="norm").select_option(label="before the layer (pre)")
    page.get_by_role("button", name="train 50 steps").click()
    page.get_by_text("after 50 steps").wait_for()
    page.get_by_role("button", name="next token").press("Enter")
    page.get_by_role("button", name="next token").press("Enter")
    page.get_by_role("checkbox", name="block 0, feed-forward is on").press(" ")
    run(page, 1)
    page.wait_for_selector("text=python has 6 pre 50 2 blocks.0.feed_forward")

    page.locator(".jp-Notebook .jp-CodeCell .cm-content").nth(1).fill("s.steps = 0; g.ids = [0]")
    page.keyboard.press("Control+Enter")
    page.get_by_text("after 0 steps").wait_for()
    page.wait_for_function("document.querySelectorAll('.gw-written:not([hidden])').length === 1")
    page = reopened(page, browser, lab, tmp_path / "work" / "try.ipynb")
    page.get_by_text("after 0 steps").wait_for()
    assert page.get_by_role("slider", name="layers").input_value() == "6"
    assert not page.get_by_role("checkbox", name="block 0, feed-forward is on").is_checked()
    page.context.close()


TRAINED = [
    "from gptlib import corpus\n"
    "from gptlib.tokenizer import BPETokenizer\n"
    "from gptlib.widgets import LiveTraining\n"
    "text = corpus.load('stories', n=200)\n"
    "t = LiveTraining(BPETokenizer.train(text, 1000, [corpus.END]), exam=2)",
    "print('python has', t.choice, t.factor, *t.mistakes)",
    "t",
]


@pytest.mark.slow
def test_a_run_in_jupyterlab_hears_what_python_sets(browser, lab, tmp_path):
    """The rate and the mistakes reach the page and its worker; another model ends the run."""
    page = run_all(browser, lab, tmp_path, TRAINED, widgets=1)
    page.wait_for_selector("text=python has 0 1.0")
    facts, rate = page.locator(".gw-facts"), page.get_by_role("slider", name="learning rate")

    def one_step(step: int) -> float:
        page.get_by_role("button", name="one step").click()
        facts.filter(has_text=f"Step {step}:").wait_for()
        return float(re.search(r"learning rate ([\d.e-]+\d)", facts.inner_text())[1])

    first = one_step(1)
    rate.press("ArrowRight")
    page.locator("summary", has_text="break it").click()
    page.get_by_label("no mask").check()
    run(page, 1)
    page.wait_for_selector("text=python has 0 3.0 mask")

    page.locator(".jp-Notebook .jp-CodeCell .cm-content").nth(1).fill(
        "t.factor, t.mistakes = 0.1, ['clip']"
    )
    page.keyboard.press("Control+Enter")
    page.wait_for_function(
        "[...document.querySelectorAll('.gpt-widget output')].some(o => o.innerText === '× 0.1')"
    )
    page.locator("input:checked").wait_for()
    assert page.get_by_label("no clipping").is_checked()
    assert not page.get_by_label("no mask").is_checked()
    assert one_step(2) == pytest.approx(0.1 * 2 * first, rel=0.02)  # the warm-up's second step

    page.locator(".jp-Notebook .jp-CodeCell .cm-content").nth(1).fill("t.choice = 3")
    page.keyboard.press("Control+Enter")
    page.wait_for_function("document.querySelector('.gpt-widget select').value === '3'")
    page.get_by_text("The training has not begun.").wait_for()
    assert facts.inner_text() == "" and page.get_by_text("keep the model").is_disabled()
    page = reopened(page, browser, lab, tmp_path / "work" / "try.ipynb")
    assert page.locator(".gpt-widget select").first.input_value() == "3"
    assert page.get_by_label("no clipping").is_checked()
    page.context.close()


MODERN = [
    "import torch\n"
    "from gptlib.modern import ModernConfig, ModernGPT\n"
    "from gptlib.tokenizer import CharTokenizer\n"
    "from gptlib.widgets import CacheGrowth, ExpertRouting, RotationExplorer\n"
    "model = ModernGPT(ModernConfig.preset('stories-experts', vocab_size=5))\n"
    "r, c = RotationExplorer(), CacheGrowth()\n"
    "e = ExpertRouting(model, 'lower', CharTokenizer('lower'), capacity=0.75)",
    "print('python has', r.query_at, r.base, c.n_kv_head, c.shown, e.layer, e.expert, e.limited)",
    "display(r, c, e)",
]


@pytest.mark.slow
def test_the_widgets_of_chapter_9_live_in_jupyterlab(browser, lab, tmp_path):
    """Turns, a growing cache, experts: each answers, tells Python, hears it, and is kept."""
    page = run_all(browser, lab, tmp_path, MODERN, widgets=3)
    page.wait_for_selector("text=python has 40 10000.0 25 0 0 -1 False")
    turns = page.locator(".gpt-widget", has_text="RoPE: positions as turns")
    growth = page.locator(".gpt-widget", has_text="What a KV cache holds")
    experts = page.locator(".gpt-widget", has_text="Who asks which expert?")

    def waits_for(facts, words: str) -> None:
        facts.filter(has_text=words).first.wait_for()

    # The reader's hand reaches the picture and Python ...
    turns.get_by_role("slider", name="query at").press("ArrowRight")
    turns.get_by_role("slider", name="base").press("ArrowRight")
    growth.get_by_role("slider", name="key/value heads").press("ArrowLeft")
    waits_for(growth.locator(".gw-kind"), "25 heads in 5 groups of 5")
    experts.get_by_role("slider", name="block").press("ArrowRight")
    experts.get_by_role("button", name="expert 2", exact=True).press("Enter")
    experts.get_by_role("checkbox").press(" ")
    waits_for(experts.locator(".gw-facts"), "Expert 2 is asked by")
    run(page, 1)
    page.wait_for_selector("text=python has 41 100000.0 5 0 1 2 True")

    # ... and Python reaches the pictures.
    page.locator(".jp-Notebook .jp-CodeCell .cm-content").nth(1).fill(
        "r.query_at, c.shown, e.limited, e.expert = 60, 2, False, 3"
    )
    page.keyboard.press("Control+Enter")
    waits_for(experts.locator(".gw-facts"), "Expert 3 is asked by")

    def agrees() -> None:
        """What the traits say now is what each of the three shows."""
        page.wait_for_function(
            "document.querySelectorAll('.gpt-widget input[type=range]')[0].value === '60'"
        )
        assert turns.get_by_role("slider", name="base").get_attribute("aria-valuetext") == "100,000"
        chosen = growth.get_by_role("button", name="GPT-OSS 20B")
        assert chosen.get_attribute("aria-pressed") == "true"
        heads = growth.get_by_role("slider", name="key/value heads")
        assert heads.get_attribute("aria-valuetext") == "8"
        assert experts.get_by_role("slider", name="block").input_value() == "1"
        assert not experts.get_by_role("checkbox").is_checked()
        assert "Expert 3 is asked by" in experts.locator(".gw-facts").nth(1).inner_text()

    agrees()
    page = reopened(page, browser, lab, tmp_path / "work" / "try.ipynb")
    turns, growth, experts = (page.locator(".gpt-widget").nth(i) for i in range(3))
    agrees()
    page.context.close()


@pytest.mark.slow
def test_an_exercise_in_jupyterlab_is_done_wrongly_and_then_rightly(browser, lab, tmp_path):
    """Chapter 3's own cells: nothing, a wrong answer, a right one, and ours stays closed."""
    chapter = nbformat.read(ROOT / "chapters" / "03_attention.ipynb", as_version=4)
    named = [i for i, c in enumerate(chapter.cells) if c.id == "exercise-03-causal-mask"]
    stub, ours = (c for c in chapter.cells[named[0] : named[0] + 3] if c.cell_type == "code")
    assert "@otherwise" in ours.source and ours.metadata.jupyter.source_hidden
    path = write_notebook(tmp_path, ["import torch\nfrom gptlib.exercises import *", "", "", "1"])
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[1:3] = stub, ours
    notebook.cells[3].source = "print('whose:', causal_mask.__doc__)"
    nbformat.write(notebook, path)
    page = open_notebook(browser, lab)
    kernel_is_ready(page)
    assert page.get_by_text("nbgrader", exact=False).count() == 0  # it is there for the kit's tests
    run(page, 0)
    said = page.locator(".jp-Notebook .jp-CodeCell").nth(1).locator(".jp-OutputArea")
    placeholder = page.locator(".jp-Notebook .jp-CodeCell").nth(2).locator(".jp-Placeholder")
    assert placeholder.is_visible()

    def answer(body: str) -> str:
        editor = page.locator(".jp-Notebook .jp-CodeCell").nth(1).locator(".cm-content")
        editor.click()
        page.keyboard.press("Control+A")
        head = '@exercise("attention.causal_mask")\ndef causal_mask(context_length):\n'
        page.keyboard.insert_text(f'{head}    """Mine."""\n    {body}')
        run(page, 1)
        return said.inner_text()

    run(page, 1)
    assert "nothing is written yet" in said.inner_text()
    wrong = answer("return torch.ones(context_length, context_length).bool().triu()")
    assert "upside down" in wrong and "asked     causal_mask(3)" in wrong
    assert "A hint: hint(" in wrong and not (tmp_path / "work" / "my_gpt").exists()
    right = answer("return torch.arange(context_length)[:, None] >= torch.arange(context_length)")
    kept = tmp_path / "work" / "my_gpt" / "attention" / "causal_mask.py"
    assert "right." in right and "It is kept in" in right and "Mine." in kept.read_text()
    page.keyboard.press("Escape")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Control+Enter")  # the closed cell that shows ours
    run(page, 3)
    page.wait_for_selector("text=whose: Mine.")
    assert placeholder.is_visible()


@pytest.mark.slow
def test_in_jupyterlab_a_link_to_a_source_lands_on_its_entry(browser, lab, tmp_path):
    work = tmp_path / "work"
    (work / "book").mkdir()
    shutil.copy(ROOT / "book" / "references.md", work / "book")
    words = "As in [Yergeau, 2003](book/references.md#yergeau2003)."
    path = write_notebook(tmp_path, [])
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [nbformat.v4.new_markdown_cell(words)]
    nbformat.write(notebook, path)
    page = open_notebook(browser, lab)
    page.locator(".jp-MarkdownCell a", has_text="Yergeau").click()
    entry = page.locator(".jp-MarkdownViewer p", has_text="Yergeau")
    entry.wait_for()
    page.wait_for_function(
        """entry => {
            const view = entry.closest('.jp-MarkdownViewer').getBoundingClientRect();
            const box = entry.getBoundingClientRect();
            return box.top >= view.top - 2 && box.bottom <= view.bottom + 2;
        }""",
        arg=entry.element_handle(),
    )
    first = page.locator(".jp-MarkdownViewer p", has_text="Joshua Ainslie")
    assert not first.evaluate(
        """e => e.getBoundingClientRect().bottom >
            e.closest('.jp-MarkdownViewer').getBoundingClientRect().top"""
    )
    page.context.close()


@pytest.mark.slow
def test_in_jupyterlab_figures_have_words_and_terms_their_glossary(browser, lab, tmp_path):
    """A figure's alt text, drawn or in pixels; a chapter's own link, and an entry that reads."""
    work = tmp_path / "work"
    for folder in ("book", "chapters"):
        (work / folder).mkdir()
    shutil.copy(ROOT / "book" / "glossary.md", work / "book")
    head = nbformat.read(ROOT / "chapters" / "05_residuals.ipynb", as_version=4).cells[0]
    path = write_notebook(
        tmp_path,
        [
            "from matplotlib import pyplot as plt\n"
            "from gptlib.given import plots\n"
            "for plots.MAX_SVG in (400_000, 0):\n"
            "    plots.show(plt.figure(), alt='Nothing, \"quoted\".')"
        ],
    )
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_markdown_cell(head.source))
    path.unlink()
    nbformat.write(notebook, work / "chapters" / "try.ipynb")
    page = open_notebook(browser, lab, "chapters/try.ipynb")
    kernel_is_ready(page)
    run(page, 0)
    figures = page.locator(".jp-OutputArea img")
    figures.nth(1).wait_for()
    assert (
        figures.evaluate_all("all => all.map(e => [e.alt, e.naturalWidth > 100])")
        == [['Nothing, "quoted".', True]] * 2
    )
    page.locator(".jp-MarkdownCell a", has_text="glossary").click()
    entry = page.locator(".jp-MarkdownViewer p", has_text="With ten steps of it and a rate")
    entry.wait_for()
    above = page.locator(".jp-MarkdownViewer p", has_text="The first steps of a run").first
    assert above.locator("strong").inner_text() == "warm-up"
    assert page.locator(".jp-MarkdownViewer pre").count() == 0
    page.context.close()

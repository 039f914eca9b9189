"""Widgets in a real JupyterLab: they appear, and page and Python follow each other."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request

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


@pytest.fixture
def lab(tmp_path):
    """A JupyterLab server over an empty folder: its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTER_DATA_DIR": str(tmp_path / "data"),
        "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "workspaces"),
        "PYTHONPATH": str(ROOT),
    }
    (tmp_path / "work").mkdir()
    # Settings, "Save Widget State Automatically": JupyterLab leaves it off.
    keep = tmp_path / "settings" / "@jupyter-widgets" / "jupyterlab-manager"
    keep.mkdir(parents=True)
    (keep / "plugin.jupyterlab-settings").write_text('{"saveState": true}', encoding="utf-8")
    options = ["--no-browser", f"--port={port}", "--IdentityProvider.token=", "--allow-root"]
    options += [f"--ServerApp.root_dir={tmp_path / 'work'}"]
    log = open(tmp_path / "lab.log", "w")  # noqa: SIM115
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options],
        env={**os.environ, **settings},
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            assert server.poll() is None, (tmp_path / "lab.log").read_text()
            try:
                urllib.request.urlopen(f"{address}/api/status", timeout=5)
                break
            except OSError:
                time.sleep(0.3)
        yield address
    finally:
        server.terminate()
        server.wait()
        log.close()


def open_notebook(browser, address: str):
    page = browser.new_context().new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(f"{address}/lab/tree/try.ipynb?reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    return page


def run(page, cell: int) -> None:
    """Run a cell as a reader does, by a click and Ctrl-Enter, and wait until it has run.

    Once more where it did not: what a kernel gets while it starts is dropped.
    """
    here = page.locator(".jp-Notebook .jp-CodeCell").nth(cell)
    prompt = here.locator(".jp-InputPrompt")
    before = prompt.inner_text()
    deadline = time.monotonic() + PATIENCE / 1000
    while not (re.search(r"\d", prompt.inner_text()) and prompt.inner_text() != before):
        assert time.monotonic() < deadline, f"the cell did not run: {prompt.inner_text()}"
        if "*" not in prompt.inner_text():
            here.locator(".cm-content").click()
            page.keyboard.press("Control+Enter")
        page.wait_for_timeout(1000)


@pytest.mark.slow
def test_a_widget_in_jupyterlab_talks_with_python_and_is_kept(browser, lab, tmp_path):
    cells = [nbformat.v4.new_code_cell(code) for code in CODE[:2]]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    path = tmp_path / "work" / "try.ipynb"
    nbformat.write(notebook, path)
    page = open_notebook(browser, lab)
    page.wait_for_selector("text=Idle", state="attached")
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
    page.keyboard.press("Control+s")
    deadline = time.monotonic() + PATIENCE / 1000
    while "widget-state" not in path.read_text(encoding="utf-8"):
        assert time.monotonic() < deadline, "the state of the widgets was not saved"
        time.sleep(0.3)
    page.context.close()
    assert re.search(r'"temperature": 2', path.read_text(encoding="utf-8"))
    page = open_notebook(browser, lab)
    page.wait_for_selector(".gpt-widget")
    assert page.locator(".gpt-widget output").first.inner_text() == "2"
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
    cells = [nbformat.v4.new_code_cell(code) for code in TWO]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, tmp_path / "work" / "try.ipynb")
    page = open_notebook(browser, lab)
    page.set_viewport_size({"width": 1100, "height": 3000})  # all cells are in the page
    page.wait_for_selector("text=Idle", state="attached")
    for cell in range(4):
        run(page, cell)
    page.wait_for_function("document.querySelectorAll('.gpt-widget').length === 2")
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
    page.context.close()

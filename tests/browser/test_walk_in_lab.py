"""All exercises of two chapters in a real JupyterLab, as a learner does them: wrongly first."""

from __future__ import annotations

import re

import nbformat
import pytest
from learner import RIGHT, TRIES, asked_by, typed
from test_lab import kernel_is_ready, lab, open_notebook, run, server, write_notebook
from test_learner_walk import CHAPTERS, needed

__all__ = ["lab", "server"]  # fixtures


@pytest.mark.slow
@pytest.mark.parametrize("part", CHAPTERS)
def test_every_exercise_of_a_chapter_is_done_in_jupyterlab(browser, lab, tmp_path, part):
    path = write_notebook(tmp_path, [])
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = needed(CHAPTERS[part])
    nbformat.write(notebook, path)
    page = open_notebook(browser, lab)
    kernel_is_ready(page)
    asked = [asked_by(cell.source) for cell in notebook.cells]
    assert [name for name in asked if name] == [one for one in TRIES if one.startswith(f"{part}.")]
    for at, (name, cell) in enumerate(zip(asked, notebook.cells, strict=True)):
        here = page.locator(".jp-Notebook .jp-CodeCell").nth(at)
        if here.locator(".jp-Placeholder").count():  # closed: what is marked runs
            here.locator(".jp-InputPrompt").click()
            page.keyboard.press("Control+Enter")
            here.locator(".jp-InputPrompt", has_text=re.compile(r"\[\d+\]")).wait_for()
            continue
        run(page, at)
        if not name:
            continue
        heard = [here.locator(".jp-OutputArea").inner_text()]
        for answer in (TRIES[name][0][0], RIGHT[name]):
            here.locator(".cm-content").click()
            page.keyboard.press("Control+A")
            page.keyboard.insert_text(typed(cell.source, answer))
            run(page, at)
            heard.append(here.locator(".jp-OutputArea").inner_text())
        before, wrong, right = heard
        assert "nothing is written yet" in before or "the bug is still there" in before
        assert f"{name}: not yet" in wrong and TRIES[name][0][1] in wrong
        assert f'hint("{name}")' in wrong
        assert f"{name}: right." in right
    page.context.close()

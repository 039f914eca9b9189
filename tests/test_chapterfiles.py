"""The files of the chapters: the order of _toc.yml, and what learners leave in them."""

from __future__ import annotations

import json
import sys

import nbformat
import pytest
from chapterfiles import NOT_PYTHON, ROOT, ChapterError, chapters, code_of, place, python_of, read
from execution import execute
from myst_nb.core.utils import coalesce_streams

TOC = """format: jb-book
root: book/intro
parts:
  - chapters: [{file: book/notation}, {file: chapters/02_b}]
  - chapters: [{file: chapters/01_a}]
"""


def write(folder, *sources):
    """A notebook with these code cells."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    path = folder / "chapters" / "01_a.ipynb"
    path.parent.mkdir(exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_the_chapters_are_those_of_the_table_of_contents_in_its_order(tmp_path):
    (tmp_path / "_toc.yml").write_text(TOC)
    write(tmp_path).with_name("01_a-Copy1.ipynb").write_text("")
    assert [path.name for path in chapters(tmp_path)] == ["02_b.ipynb", "01_a.ipynb"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "chapters/01_a.ipynb is empty"),
        (b" \n", "chapters/01_a.ipynb is empty"),
        (b"{", "chapters/01_a.ipynb is not a notebook: "),
        (b"[]", "chapters/01_a.ipynb is not a notebook: "),
        (b"{}", "chapters/01_a.ipynb is not a notebook: "),
        (b'{"nbformat": 4, "nbformat_minor": 5, "cells": 3, "metadata": {}}', "is not a notebook"),
        (b'{"nbformat": 4, "nbformat_minor": 5, "cells": [], "metadata": {}}', "has no cells"),
        (b"\xff\xfe", "chapters/01_a.ipynb cannot be read: "),
        (None, "chapters/01_a.ipynb cannot be read: "),
    ],
)
def test_a_file_that_is_no_chapter_is_an_error_in_words(tmp_path, content, said):
    path = write(tmp_path, "x")
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ChapterError) as caught:
        read(path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("source", "python"),
    [
        ("x = 1", "x = 1\n"),
        ("files = !ls", "files = get_ipython().getoutput('ls')\n"),
        ("?help", "get_ipython().run_line_magic('pinfo', 'help')\n"),
        ("%%time\nx", "get_ipython().run_cell_magic('time', '', 'x\\n')\n"),
        ("t = await f()", "t = await f()\n"),
    ],
)
def test_what_only_ipython_understands_becomes_python(source, python):
    assert python_of(source) == python


@pytest.mark.parametrize("source", ["def f(:", "a\x00b", "'''", "a ; !ls"])
def test_a_cell_that_is_no_python_is_named(tmp_path, source):
    with pytest.raises(NOT_PYTHON):
        python_of(source)
    with pytest.raises(ChapterError, match=r"^chapters/01_a.ipynb, code cell 2 \(\""):
        code_of(write(tmp_path, "x = 1", source))


def test_a_cell_goes_by_its_number_and_its_first_line(tmp_path):
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_markdown_cell("x"), nbformat.v4.new_code_cell("\n f(1)\ng")]
    path = tmp_path / "chapters" / "03_c.ipynb"
    assert place(path, notebook, notebook.cells[1]) == 'chapters/03_c.ipynb, code cell 1 ("f(1)")'


def run_broken(tmp_path, *sources) -> str:
    """What is said of a notebook that fails."""
    path = write(tmp_path, *sources)
    with pytest.raises(ChapterError) as caught:
        execute(read(path), path)
    return str(caught.value)


def test_a_failing_cell_is_named_with_its_reason(tmp_path):
    said = run_broken(tmp_path, "x = 1", "def f(:", "y = 2")
    assert said.startswith('chapters/01_a.ipynb, code cell 2 ("def f(:"): SyntaxError: ')


def test_a_kernel_that_ends_is_named_with_the_cell(tmp_path):
    said = run_broken(tmp_path, "import os", "os._exit(1)")
    assert said.startswith('chapters/01_a.ipynb, code cell 2 ("os._exit(1)"): Python itself ended')


def test_a_chapter_runs_in_this_python_whatever_kernels_there_are(tmp_path, monkeypatch):
    """A user's kernel of the same name must not be taken: this one only fails."""
    spec = {"argv": ["false"], "display_name": "Foreign", "language": "python"}
    folder = tmp_path / "share" / "kernels" / "python3"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share"))
    path = write(tmp_path, "import sys, gptlib; print(sys.prefix); print(gptlib.__file__)")
    notebook = read(path)
    execute(notebook, path)
    said = notebook.cells[0].outputs[0].text.split("\n")
    assert said[:2] == [sys.prefix, str(ROOT / "gptlib" / "__init__.py")]


def test_what_is_printed_in_pieces_is_kept_as_one_and_joined_without_line_ends(tmp_path):
    """So a story that is printed word by word is a story on the page, too."""
    path = write(
        tmp_path,
        "import sys, time\n"
        "for word in ('Once', ' there', ' was', ' an', ' owl.'):\n"
        "    print(word, end='', flush=True)\n"
        "    time.sleep(0.05)\n"
        "print(' Hoo', file=sys.stderr)",
    )
    notebook = read(path)
    execute(notebook, path)
    kept = [(output.name, output.text) for output in notebook.cells[0].outputs]
    assert sorted(kept) == [("stderr", " Hoo\n"), ("stdout", "Once there was an owl.")]
    page = coalesce_streams(notebook.cells[0].outputs)  # what the page's renderer makes of it
    assert page[0].text == "Once there was an owl.\n"

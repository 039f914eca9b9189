"""The course beside the versions that Colab has, in an environment made to match.

`make pythons` makes the environment while there is a network: IPython 7.34, ipywidgets 7 and what
else a notebook meets there, over this Python and its torch. Chapters run in it, and the package's
quick tests: those that draw, show, read NumPy's arrays, split texts, build models and save them.
"""

from __future__ import annotations

import re

import colab
import nbformat
import packages
import pytest
from chapterfiles import chapters
from course import course
from environment import python_of
from running import ROOT, ask
from test_pythons import run

PINS = packages.pins(colab.LOCK.read_text(encoding="utf-8"))
VERSIONS = {name: re.match(r"[\w.-]+==([\w.]+)", entry)[1] for name, entry in PINS.items()}
# The two that take less than half a minute; both have widgets, exercises and figures.
TWO = ("01_tokenizer", "02_bigram")
# What takes seconds; nothing that needs a browser.
QUICK = ("plots", "schematics", "batches", "loss", "tokenizer", "gpt")
TESTS = [f"tests/test_{name}.py" for name in QUICK]
TESTS += [
    f"tests/test_{name}"
    for name in (
        "checkpoint.py::test_the_weights_alone",
        "checkpoint.py::test_metrics_of_any_number_type_can_be_saved",
        "checkpoint.py::test_anybody_can_read_what_is_in_it",
        "generation.py::test_fractions_and_numpys_numbers_are_numbers",
    )
]
TESTS += ["tests/test_widgets.py::test_a_notebook_keeps_the_widget_and_a_figure_with_words"]


def test_each_version_has_its_hashes(record_property):
    if not colab.is_possible():
        record_property("python", "Colab's versions: they have no wheels for this Python")
    for name, entry in PINS.items():
        assert re.search(r" \\\n +--hash=sha256:[0-9a-f]{64}", entry), name
    assert VERSIONS["ipython"] == "7.34.0" and VERSIONS["ipywidgets"].startswith("7.")


@pytest.fixture(scope="module")
def python():
    """The environment's Python."""
    if not colab.is_ready():
        pytest.skip("no environment with what Colab has: `make pythons` makes it")
    return python_of(colab.COLAB)


if colab.is_possible():

    def test_what_is_imported_there_is_what_colab_has(python):
        """Each of the locked versions is found before the one of `.venv`, and gptlib is ours."""
        code = "import sys, importlib.metadata as m; print(*map(m.version, sys.argv[1:]))"
        assert ask([python, "-I", "-c", code, *VERSIONS]).split() == list(VERSIONS.values())
        code = "import IPython, ipywidgets; print(IPython.__version__, ipywidgets.__version__)"
        assert ask([python, "-I", "-c", code]) == f"7.34.0 {VERSIONS['ipywidgets']}"
        where = ask([python, "-I", "-c", "import gptlib; print(gptlib.__file__)"])
        assert where == str(ROOT / "gptlib" / "__init__.py")

    @pytest.mark.slow
    @pytest.mark.parametrize("name", TWO)
    def test_a_chapter_runs_there(name, python, tmp_path):
        """Every cell, every stored output; the kernel itself says which versions it has."""
        (path,) = (path for path in chapters(course()) if path.stem == name)
        notebook = nbformat.read(path, as_version=4)
        check = "import IPython, ipykernel, ipywidgets, matplotlib, numpy, traitlets\n"
        for package in ("IPython", "ipykernel", "ipywidgets", "matplotlib", "numpy", "traitlets"):
            check += f"assert {package}.__version__ == {VERSIONS[package.lower()]!r}\n"
        notebook.cells.insert(0, nbformat.v4.new_code_cell(check))
        nbformat.write(notebook, tmp_path / path.name)
        said = run(colab.COLAB, "--nbval-lax", tmp_path / path.name)
        assert f"{sum(cell.cell_type == 'code' for cell in notebook.cells)} passed" in said

    @pytest.mark.slow
    def test_the_package_s_tests_pass_there(python, record_property):
        said = run(colab.COLAB, *TESTS, "-k", "not by_heart")
        count = int(re.search(r"(\d+) passed", said)[1])
        assert count > 50
        record_property("python", f"Colab's versions: {count} tests and {len(TWO)} chapters")

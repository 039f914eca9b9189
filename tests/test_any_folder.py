"""Every chapter, executed by nbval alone in an empty folder, with gptlib from its wheel.

That is what a download gives a reader, and the only place where the tests execute the notebooks
(the built book executes them once more, for its pages).

The wheel is built without a network. The clean environment sees the pinned packages of this one by
a .pth file, but not this repository: it must find everything of ours in the wheel.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import nbformat
import notebooks
import pytest
from chapterfiles import ROOT, chapters
from course import course

NBVAL = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", "--nbval-lax"]
NBVAL += ["--nbval-current-env", "--nbval-kernel-startup-timeout=120", "--nbval-cell-timeout=900"]


def run(*command, **kwargs) -> str:
    """Run a command and return what it says; fail the test with that when it fails."""
    words = [str(word) for word in command]
    answer = subprocess.run(words, capture_output=True, text=True, **kwargs)
    assert answer.returncode == 0, (answer.stdout + answer.stderr)[-4000:]
    return answer.stdout


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """gptlib's wheel, built from the files that git knows or would know."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, source)
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "gptlib", source / "gptlib", ignore=ignore)
    shutil.copytree(ROOT / "data" / "runs", source / "data" / "runs")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps"]
    run(*pip, "--no-build-isolation", "--wheel-dir", target, source)
    (built,) = target.glob("gptlib-*.whl")
    return built


@pytest.fixture(scope="session")
def clean_python(wheel, tmp_path_factory) -> Path:
    """The Python of an environment with the wheel and the pinned packages, but not this folder."""
    home = tmp_path_factory.mktemp("clean") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", home)
    scheme = {"base": str(home), "platbase": str(home)}
    packages = Path(sysconfig.get_path("purelib", "venv", scheme))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    # addsitedir would also read the parent's .pth files, and with them the editable gptlib; a bare
    # path in a .pth file does not.
    (packages / "parent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = Path(sysconfig.get_path("scripts", "venv", scheme)) / Path(sys.executable).name
    kernel = home / "share" / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    arguments = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": arguments, "display_name": "Python 3", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    return python


def environment(folder: Path) -> dict[str, str]:
    """An environment that leads back to this repository by no variable."""
    kept = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return {**kept, "IPYTHONDIR": str(folder / ".ipython"), "MPLBACKEND": ""}


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    tree = {f.relative_to(ROOT).as_posix() for f in (ROOT / "gptlib").rglob("*") if f.is_file()}
    tree = {name for name in tree if "__pycache__" not in name}
    runs = {f"gptlib/runs/{f.name}" for f in (ROOT / "data" / "runs").iterdir()}
    kept = {f"gptlib/measured/{f.name}" for f in (ROOT / "benchmarks" / "results").iterdir()}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == tree | runs | kept


def test_the_clean_environment_has_gptlib_from_the_wheel(clean_python, tmp_path):
    code = "import gptlib; print(gptlib.__file__)"
    where = run(clean_python, "-c", code, cwd=tmp_path, env=environment(tmp_path))
    assert str(ROOT) not in where and "venv" in where


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("chapter", chapters(course()), ids=lambda path: path.stem)
def test_nbval_runs_a_chapter_alone_in_an_empty_folder(chapter, clean_python, tmp_path):
    """Every cell runs, every stored output comes out again, and no file is left behind."""
    alone, temporary = tmp_path / "alone", tmp_path / "temporary"
    temporary.mkdir()
    alone.mkdir()
    notebook = nbformat.read(chapter, as_version=4)
    # The kernel itself says where its gptlib comes from: from the wheel, not from this repository.
    check = f"import gptlib\nassert not gptlib.__file__.startswith({str(ROOT)!r}), gptlib.__file__"
    notebook.cells.insert(0, nbformat.v4.new_code_cell(check))
    nbformat.write(notebook, alone / chapter.name)
    elsewhere = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    env = environment(tmp_path) | elsewhere
    said = run(clean_python, *NBVAL, chapter.name, cwd=alone, env=env)
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    assert re.search(rf"(?<!\d){cells} passed", said)
    # What MLX has compiled it keeps in a folder of its own, for the next program that asks for it.
    files = (file.relative_to(temporary) for file in temporary.rglob("*") if file.is_file())
    left = [str(file) for file in files if file.parts[0] != "mlx"]
    assert not left, f"the chapter leaves {left} in the temporary folder"


def test_nbval_sees_a_changed_output_and_a_failing_cell(clean_python, tmp_path):
    """The check above, checked: two notebooks that must not pass."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    wrong, fails = (nbformat.v4.new_notebook(metadata=kernel) for _ in range(2))
    wrong.cells = [nbformat.v4.new_code_cell("print(1 + 1)", execution_count=1)]
    wrong.cells[0].metadata.tags = ["nbval-check-output"]
    wrong.cells[0].outputs = [nbformat.v4.new_output("stream", name="stdout", text="3\n")]
    fails.cells = [nbformat.v4.new_code_cell("assert 1 + 1 == 3")]
    for name, notebook in (("wrong", wrong), ("fails", fails)):
        nbformat.write(notebook, tmp_path / f"{name}.ipynb")
        command = [str(clean_python), *NBVAL, f"{name}.ipynb"]
        answer = subprocess.run(
            command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, text=True
        )
        assert answer.returncode == 1 and "1 failed" in answer.stdout, answer.stdout


def test_without_gptlib_a_chapter_says_what_to_install(monkeypatch, tmp_path):
    """The set-up cell, in a Python that has no gptlib at all; no address is set."""
    (tmp_path / "_config.yml").write_text('repository: {url: ""}')
    monkeypatch.setattr(notebooks, "ROOT", tmp_path)
    answer = subprocess.run(
        [sys.executable, "-I", "-S", "-c", notebooks.setup_cell()], capture_output=True, text=True
    )
    assert answer.returncode != 0 and "python -m pip install ." in answer.stderr

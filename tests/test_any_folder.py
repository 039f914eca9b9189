"""Every chapter, executed by nbval alone in an empty folder, with gptlib from its wheel.

That is what a download gives a reader, and the place where the tests execute the notebooks. What
the cells have shown there is kept for the pages of the book, which need not run them once more.

The wheel is built without a network. The clean environment sees the pinned packages of this one by
a .pth file, but not this repository: it must find everything of ours in the wheel.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import nbformat
import notebooks
import pytest
from bookbuild import BUILD, alone, remember
from chapterfiles import ROOT, chapters, code_cells, read
from course import course
from execution import execute
from inputs import fingerprint
from pdf import FLAGS
from solutions import with_solutions, without_solutions

NBVAL = ["-q", "-p", "no:cacheprovider", "--rootdir", ".", "--nbval-lax"]
NBVAL += ["--nbval-current-env", "--nbval-kernel-startup-timeout=120", "--nbval-cell-timeout=900"]
KEEPING = ROOT / "tests" / "keeping.py"


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
    shutil.copytree(ROOT / "benchmarks" / "results", source / "benchmarks" / "results")
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


def otherwise_in(wheel: Path, package: Path = ROOT / "gptlib") -> set[str]:
    """The files that a wheel lacks, and those that it holds and nobody put there."""
    tree = {f"gptlib/{f.relative_to(package).as_posix()}" for f in package.rglob("*")
            if f.is_file() and "__pycache__" not in f.parts}  # fmt: skip
    runs = {f"gptlib/runs/{f.name}" for f in (ROOT / "data" / "runs").iterdir()}
    kept = {f"gptlib/measured/{f.name}" for f in (ROOT / "benchmarks" / "results").iterdir()}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    return held ^ (tree | runs | kept)


def test_the_wheel_holds_the_package_and_nothing_else(wheel, tmp_path):
    assert otherwise_in(wheel) == set()
    shutil.copy(wheel, tmp_path / "more.whl")
    with zipfile.ZipFile(tmp_path / "more.whl", "a") as archive:
        archive.writestr("gptlib/secret.py", "")
    assert otherwise_in(tmp_path / "more.whl") == {"gptlib/secret.py"}
    another = tmp_path / "gptlib"
    shutil.copytree(ROOT / "gptlib", another)
    (another / "widgets" / "heat").mkdir()
    (another / "widgets" / "heat" / "heat.js").touch()
    assert otherwise_in(wheel, another) == {"gptlib/widgets/heat/heat.js"}


def test_the_clean_environment_has_gptlib_from_the_wheel(clean_python, tmp_path):
    code = "import gptlib; print(gptlib.__file__)"
    where = run(clean_python, "-c", code, cwd=tmp_path, env=environment(tmp_path))
    assert str(ROOT) not in where and "venv" in where


COMMAND = """
import sys
from importlib.metadata import entry_points
(command,) = entry_points(group="console_scripts", name="gptlib")
sys.exit(command.load()())
"""
LOADED = """
import sys
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained("model", local_files_only=True)
model = AutoModelForCausalLM.from_pretrained("model", local_files_only=True)
ids = tokenizer("a cat", return_tensors="pt")
ids = model.generate(**ids, max_new_tokens=11, do_sample=False)[0]  # its context has 16 places
sys.stdout.write(tokenizer.decode(ids))
"""
OPENED = """
import sys
from playwright.sync_api import sync_playwright
with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=sys.argv[1], args=sys.argv[3:])
    page = browser.new_page()
    page.goto(sys.argv[2])
    page.get_by_label("the text begins").fill("a cat")
    page.get_by_role("slider", name="temperature").press("Home")
    for _ in range(11):
        page.get_by_role("button", name="next token").click()
    page.locator(".gw-written").nth(10).wait_for()
    assert page.locator("dt", has_text="bits_per_byte").count() == 1
    for token in page.locator(".gw-begun, .gw-written").all():
        print(token.get_attribute("title"))
    browser.close()
"""
SIZES = "--context-length 16 --n-layer 2 --n-embd 16 --n-head 2 --batch-size 8 --device cpu"
STEPS = "--steps 120 --lr 0.02 --warmup-steps 5 --eval-batches 1 --save-every 60"


def test_five_commands_of_the_wheel_take_a_text_to_transformers_and_to_a_page(
    clean_python, chromium, tmp_path
):
    """As a stranger types them, in an empty folder: what both readers write is what ours writes."""
    folder = tmp_path / "alone"
    folder.mkdir()
    text = "a cat sat on a mat, and the dog sat on the log. Once upon a time it ran.\n"
    (folder / "my.txt").write_text(text * 40, encoding="utf-8")

    def gptlib(words: str) -> str:
        env = environment(tmp_path)
        return run(clean_python, "-c", COMMAND, *shlex.split(words), cwd=folder, env=env)

    assert "Now: gptlib train data" in gptlib("prepare my.txt --out data")
    assert "Done: run." in gptlib(f"train data --out run {SIZES} {STEPS}")
    written = gptlib("generate run --prompt 'a cat' --no-sampling --length 11")
    assert "bits per byte" in gptlib("evaluate run --data data --samples 2 --json scores.json")
    said = gptlib("export run --to transformers model --scores scores.json")
    assert "model is a GPT2LMHeadModel" in said
    said = gptlib("export run --to page site --scores scores.json --numbers float32")
    assert "site/index.html has the model in it" in said
    loaded = run(clean_python, "-c", LOADED, cwd=folder, env=environment(tmp_path))
    assert loaded + "\n" == written and len(set(loaded[5:])) > 3
    address = (folder / "site" / "index.html").as_uri()
    titles = run(sys.executable, "-c", OPENED, chromium, address, *FLAGS).splitlines()
    letters = json.loads((folder / "data" / "tokenizer.json").read_text("utf-8"))["chars"]
    assert "".join(letters[int(re.match(r"id (\d+)", t)[1])] for t in titles) == loaded


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("chapter", chapters(course()), ids=lambda path: path.stem)
def test_nbval_runs_a_chapter_alone_in_an_empty_folder(chapter, clean_python, tmp_path):
    """Every cell runs, every stored output comes out again, and no file is left behind.

    The exercises' solutions run behind it, as they do where the book executes a chapter.
    """
    empty, temporary = tmp_path / "alone", tmp_path / "temporary"
    temporary.mkdir()
    empty.mkdir()
    stored = read(chapter)
    notebook = with_solutions(stored, chapter)
    # The kernel itself says where its gptlib comes from: from the wheel, not from this repository.
    check = f"import gptlib\nassert not gptlib.__file__.startswith({str(ROOT)!r}), gptlib.__file__"
    notebook.cells.append(nbformat.v4.new_code_cell(check))
    nbformat.write(notebook, empty / chapter.name)
    elsewhere = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    env = environment(tmp_path) | elsewhere
    executed = tmp_path / "executed.ipynb"
    said = run(clean_python, KEEPING, executed, *NBVAL, chapter.name, cwd=empty, env=env)
    assert re.search(rf"(?<!\d){len(code_cells(notebook))} passed", said)
    # What MLX has compiled it keeps in a folder of its own, for the next program that asks for it.
    files = (file.relative_to(temporary) for file in temporary.rglob("*") if file.is_file())
    left = [str(file) for file in files if file.parts[0] != "mlx"]
    assert not left, f"the chapter leaves {left} in the temporary folder"
    done = nbformat.read(executed, as_version=4)
    done.cells.pop()  # our check
    with alone(BUILD):
        remember(without_solutions(done), chapter, fingerprint(chapter), BUILD)


SHOWS = [
    "import sys\nprint('one')\nprint('two', file=sys.stderr)\nprint('a\\rthree')\n40 + 2",
    "",
    "from IPython.display import clear_output, display\nprint('gone')\nclear_output()\n"
    "print('gone too')\nclear_output(wait=True)\n"
    "shown = display('first', display_id='it')\nshown.update('second')",
    "import matplotlib.pyplot as plt\n_ = plt.figure(figsize=(1, 1)).gca().plot([1, 2])",
    "import torch\nfrom gptlib.widgets import DistributionExplorer\n"
    "w = DistributionExplorer(torch.tensor([2.0, 1.0]), ['red', 'blue'])\nw",
    "w.temperature = 0.5\nclear_output(wait=True)",
    "'still there'",
]


def without_names(notebook) -> list:
    """What the book takes of an executed notebook; widgets are counted, not named by chance."""
    states = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"]
    kept = [(cell.source, cell.execution_count, cell.outputs) for cell in code_cells(notebook)]
    text = json.dumps([kept, states, notebook.metadata.language_info], sort_keys=True)
    for name in states:
        text = text.replace(name, states[name]["model_name"])
    return json.loads(re.sub(r"0x[0-9a-f]+", "0x0", text))


def test_what_is_kept_of_nbval_s_run_is_what_the_book_s_own_would_be(clean_python, tmp_path):
    cells = [nbformat.v4.new_code_cell(code) for code in SHOWS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbformat.write(notebook, tmp_path / "shows.ipynb")
    words = [KEEPING, "executed.ipynb", *NBVAL, "shows.ipynb"]
    run(clean_python, *words, cwd=tmp_path, env=environment(tmp_path))
    execute(notebook, tmp_path / "shows.ipynb")
    kept = nbformat.read(tmp_path / "executed.ipynb", as_version=4)
    assert without_names(kept) == without_names(notebook)
    assert "second" in str(kept.cells[2].outputs) and "gone" not in str(kept.cells[2].outputs)


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
        command = [str(clean_python), str(KEEPING), "kept.ipynb", *NBVAL, f"{name}.ipynb"]
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

"""The package as a whole: who imports whom, and what it asks to be installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import house
import pytest
from course import files_of_the_reader

ROOT = Path(__file__).resolve().parent.parent
HOUSE = house.table()
FILES = house.modules_in()
NO_TORCH = [
    f"{room}.{name}"
    for room, settings in HOUSE["rooms"].items()
    for name in settings.get("no_torch", [])
]


def test_the_house_is_as_the_table_says():
    assert house.broken_rules() == []


@pytest.fixture
def another_house(tmp_path):
    """A copy of the package and its table, to be broken."""
    shutil.copytree(ROOT / "gptlib", tmp_path / "gptlib")
    (tmp_path / "book").mkdir()
    shutil.copy(ROOT / "book" / "house.toml", tmp_path / "book")
    return tmp_path


BROKEN = {
    "a new room": ("widgets/heat.py", "import pandas", "widgets.heat stands in no room"),
    "a new file": ("given/extra.py", "x = 1", "given.extra stands in no room"),
    "a later chapter": ("batches.py", "from gptlib.gpt import GPT", "batches may not import gpt"),
    "its own chapter, backwards": (
        "loss.py",
        "from gptlib.bigram import fit",
        "loss may not import bigram",
    ),
    "given from a chapter": (
        "given/files.py",
        "import gptlib.tokenizer",
        "given.files may not import tokenizer",
    ),
    "a relative import": (
        "given/files.py",
        "from ..training import train",
        "given.files may not import training",
    ),
    "a relative import of a neighbour": (
        "given/files.py",
        "from . import plots",
        "given.files may not import given.plots",
    ),
    "hidden in a function": (
        "corpus/story.py",
        "def f():\n    from gptlib import gpt",
        "corpus.story may not import gpt",
    ),
    "a chapter from the corpus": (
        "tokenizer.py",
        "from gptlib import corpus",
        "tokenizer may not import corpus",
    ),
    "the package itself": ("__init__.py", "from . import gpt", "the package itself may import"),
}


@pytest.mark.parametrize(("file", "code", "fault"), BROKEN.values(), ids=BROKEN)
def test_what_breaks_the_house_is_seen(another_house, file, code, fault):
    path = another_house / "gptlib" / file
    path.parent.mkdir(exist_ok=True)
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(f"{before}\n{code}\n", encoding="utf-8")
    faults = house.broken_rules(another_house)
    assert len(faults) == 1 and fault in faults[0], faults


def test_a_module_that_is_missing_is_seen(another_house):
    (another_house / "gptlib" / "given" / "plots.py").unlink()
    assert "given.plots is in book/house.toml and has no file" in house.broken_rules(another_house)


def test_a_notebook_imports_what_was_built_before_it_and_what_is_given():
    third = house.allowed_in_chapter(HOUSE, 3)
    assert {"bigram", "loss", "given.plots", "corpus.scoring"} <= third
    assert not {"attention", "layers", "gpt"} & third


def test_nobody_imports_the_command_line():
    grown = {**HOUSE, "rooms": {**HOUSE["rooms"], "cli": {**HOUSE["rooms"]["cli"]}}}
    grown["rooms"]["cli"]["modules"] = ["main"]
    others = [name for name in house.all_modules(grown) if name.partition(".")[0] != "cli"]
    assert not any("cli.main" in house.allowed(grown, name) for name in others)
    assert {"gpt", "training", "corpus.loader"} <= house.allowed(grown, "cli.main")


@pytest.mark.parametrize("module", NO_TORCH)
def test_what_needs_no_torch_does_not_load_it(module):
    code = f"import sys, gptlib.{module}; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout.strip() == "False", answer.stderr


def test_importing_the_package_loads_nothing_else():
    code = "import sys; before = set(sys.modules); import gptlib; print(set(sys.modules) - before)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert answer.stdout.strip() == "{'gptlib'}", answer.stderr


def test_it_asks_for_what_it_imports_and_nothing_else():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = {re.match(r"[\w-]+", line)[0].lower() for line in project["dependencies"]}
    imported = set()
    for name, path in FILES.items():
        extra = set(HOUSE["rooms"].get(name.partition(".")[0], {}).get("packages", []))
        imported |= house.third_party(path.read_text(encoding="utf-8")) - extra
    # cycler is a part of matplotlib's own interface
    assert {name.lower() for name in imported} - {"cycler"} == asked


def test_everything_pinned_is_pinned_exactly_and_names_no_host():
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    for line in lines:
        assert re.match(r"[\w.-]+==[\w.]+(\s*;.*|\s+#.*)?$", line), line
    names = [re.split("==", line)[0].lower() for line in lines]
    assert len(names) == len(set(names))
    assert not any(name.startswith("nvidia") for name in names) and "://" not in text
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = sum(project["optional-dependencies"].values(), project["dependencies"])
    assert {re.match(r"[\w-]+", line)[0].lower() for line in extras} <= set(names)


def types(folder: Path, *words: str) -> tuple[int, str]:
    """mypy's status and what it says, by the settings of pyproject.toml."""
    command = [sys.executable, "-m", "mypy", f"--cache-dir={folder}", *words]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return answer.returncode, answer.stdout + answer.stderr


def test_the_types_fit_and_a_wrong_one_is_seen(tmp_path):
    status, said = types(tmp_path / "cache")
    assert status == 0, said
    wrong = tmp_path / "wrong.py"
    wrong.write_text("from gptlib.gpt import GPTConfig\nGPTConfig(n_layer='four')\n")
    status, said = types(tmp_path / "cache", str(wrong))
    assert status == 1 and 'incompatible type "str"; expected "int"' in said, said


def test_the_style_is_clean():
    left_out = [f"--extend-exclude={name}" for name in files_of_the_reader()]
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", *left_out, "."]
        answer = subprocess.run(ruff, cwd=ROOT, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stdout + answer.stderr

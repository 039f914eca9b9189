"""The package as a whole: the order of its modules, and what it asks to be installed."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from bookbuild import imported_names

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "gptlib"

# Given, not built: chapters use these, no chapter explains them. A given module imports only from
# given ones before it; scoring, which looks at models from outside, may use chapter 1 too.
GIVEN = [
    "unicode16",
    "checks",
    "limits",
    "settings",
    "download",
    "grammar",
    "storybook",
    "corpus",
    "notebook",
    "plots",
    "records",
]
# What each chapter builds.
CHAPTERS = {
    1: ["tokenizer", "batches"],
    2: ["bigram"],
    3: ["attention"],
    4: ["layers"],
    5: ["block"],
    6: ["gpt"],
    7: ["checkpoint", "training"],
    8: ["generation"],
}
AFTER = {"scoring": 1}  # a given module, and the last chapter whose modules it may import
NO_TORCH = ["unicode16", "checks", "download", "grammar", "storybook", "corpus", "plots", "records"]


def modules() -> list[str]:
    return sorted(p.stem for p in PACKAGE.glob("*.py") if p.stem != "__init__")


def may_import(module: str) -> set[str]:
    """The modules that a module may import from, by the course's order."""
    if module in GIVEN:
        return set(GIVEN[: GIVEN.index(module)])
    last = AFTER.get(module) or next(n for n, names in CHAPTERS.items() if module in names)
    built = [name for n, names in CHAPTERS.items() if n <= last for name in names]
    before = built if module in AFTER else built[: built.index(module)]
    return set(GIVEN) | set(before)


def imports_of(source: str) -> set[str]:
    """The gptlib modules that a source imports, by their last names."""
    dotted = {name.split(".")[1] for name in imported_names(source) if "." in name}
    return dotted & set(modules())


def third_party(source: str) -> set[str]:
    """The packages outside the standard library that a source imports when it runs."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"gptlib"}


def test_every_module_has_its_place_in_the_course():
    known = {name for names in CHAPTERS.values() for name in names} | set(GIVEN) | set(AFTER)
    strays = set(modules()) - known
    assert not strays, f"name these in GIVEN or CHAPTERS, where they belong: {strays}"


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_only_from_earlier_ones(module):
    source = (PACKAGE / f"{module}.py").read_text(encoding="utf-8")
    assert imports_of(source) <= may_import(module)


def test_the_order_is_a_line_that_can_be_crossed():
    assert imports_of("from gptlib.gpt import GPT") - may_import("bigram")
    assert not imports_of("from gptlib.bigram import fit") - may_import("attention")


@pytest.mark.parametrize("module", sorted(set(NO_TORCH) & set(modules())))
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
    imported = {
        name.lower()
        for path in PACKAGE.glob("*.py")
        for name in third_party(path.read_text(encoding="utf-8"))
    }
    assert imported - {"cycler"} == asked  # cycler is a part of matplotlib's own interface


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


def test_the_style_is_clean():
    for command in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--no-cache", "."]
        answer = subprocess.run(ruff, cwd=ROOT, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stdout + answer.stderr

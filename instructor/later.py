"""What a release leaves out beyond its own answers: later parts that tell them in other words.

The appendices write the model anew, the bug foundry has its lines as text, and the layers of
Part II compute what those of Part I do. A release has what one of its notebooks asks for.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

from instructor import views
from instructor.parsing import parsed

FOUNDRY = ("fault_table", "faults", "fingerprints", "foundry", "foundry_plot", "program", "ward")
PART_TWO = 9  # its first chapter


def leave_out(package: Path, chapters: Iterable[int]) -> None:
    """Take out of a copy of the package what these chapters do not import."""
    numbers = sorted(set(chapters))
    text = "\n".join(_text(number) for number in numbers)
    if "gptlib.appendix" not in text:
        for path in package.glob("appendix/[!_]*.py"):
            path.unlink()
    if not re.search(r"from gptlib.exercises import .*\bbug\b", text):
        for name in FOUNDRY:
            (package / "exercises" / f"{name}.py").unlink(missing_ok=True)
    house = tomllib.loads((views.ROOT / "book" / "house.toml").read_text(encoding="utf-8"))
    for number, modules in house["chapters"].items():
        if int(number) < PART_TWO or int(number) <= numbers[-1]:
            continue
        for name in modules:
            if not re.search(rf"\bgptlib\.{name}\b", text):
                source = views.sources()[f"gptlib.{name}"]
                stubs = views.without(source, layers_in(source), "comes in a later chapter")
                (package / f"{name}.py").write_text(stubs, encoding="utf-8")


def _text(chapter: int) -> str:
    (path,) = (views.ROOT / "chapters").glob(f"{chapter:02}_*.ipynb")
    return path.read_text(encoding="utf-8")


def layers_in(source: str) -> set[str]:
    """What computes as a layer does: modules, and functions that call torch's own.

    layers_in("class A(nn.Module):\\n    pass\\n\\ndef f(x):\\n    return x") -> {"A"}
    """
    return {
        node.name
        for node in parsed(source).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and _computes(node)
    }


def _computes(node: ast.ClassDef | ast.FunctionDef) -> bool:
    if isinstance(node, ast.ClassDef) and "nn.Module" in map(ast.unparse, node.bases):
        return True
    return any(isinstance(one, ast.Attribute) and ast.unparse(one.value) == "F"
               for one in ast.walk(node))  # fmt: skip

"""Cells of a release that tell an answer all the same: in a chapter's experiments, in other words.

An experiment may copy a core piece and change a line of it. Such a cell is left out where half of
the statements of one function of the answer stand in it, and where it comes after the question:
what a chapter shows before it asks is what it teaches.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any

import nbformat

from gptlib.exercises import work
from gptlib.exercises.task import Task
from instructor.parsing import parsed

SHARE = 0.5
LEFT_OUT = """from gptlib.exercises import left_out

{names}left_out()  # what stands here in the book tells a part of an answer"""


def without_leaks(cells: Iterable[Any], tasks: Iterable[Task]) -> Iterator[Any]:
    """The cells of a chapter; one that tells an answer to a question above it is emptied.

    Its imports stay. What else it would have made is missing then, and cells that need it are
    skipped.
    """
    core = {one.name: one for one in tasks if one.kind == "core"}
    asked: list[list[str]] = []  # of each function that was asked for so far, what it computes
    for cell in cells:
        source = cell.source if cell.cell_type == "code" else ""
        names = [name for name in core if f'@exercise("{name}")' in source]
        asked += [one for name in names for one in functions_of(core[name], source)]
        if names or "exercise" in cell.metadata.get("tags", ()) or not tells(source, asked):
            yield cell
            continue
        body = parsed(source).body
        imports = [one for one in body if isinstance(one, ast.Import | ast.ImportFrom)]
        if imports:
            yield nbformat.v4.new_code_cell("\n".join(map(ast.unparse, imports)))
        made = dict.fromkeys(name for one in body if one not in imports for name in _makes(one))
        cell.source = LEFT_OUT.format(names="".join(f"{name} = " for name in made))
        yield cell


def functions_of(task: Task, stub: str) -> list[list[str]]:
    """What the functions of an answer compute that are to be written in this stub.

    Each statement is one expression, as its syntax tree. Checks of arguments and `super()` are no
    answer, and a function of one line is no experiment's secret.
    """
    asked = {one.name for one in ast.walk(parsed(stub)) if isinstance(one, ast.FunctionDef)}
    tree = _plain(textwrap.dedent(work.source_of(task.reference)))
    found = [list(_computes(one)) for one in ast.walk(tree)
             if isinstance(one, ast.FunctionDef) and one.name in asked]  # fmt: skip
    return [one for one in found if len(one) > 1]


def tells(source: str, functions: Iterable[list[str]]) -> bool:
    """Whether half of the statements of one of these functions stand in a cell.

    tells("y = x.sum() + 1", [["a", "b"]]) -> False
    """
    try:
        whole = _plain(source)
    except SyntaxError:  # lines for IPython
        return False
    there = {ast.dump(one) for one in ast.walk(whole) if isinstance(one, ast.expr)}
    return any(sum(one in there for one in each) >= SHARE * len(each) for each in functions)


class _WithoutSelf(ast.NodeTransformer):
    """`self.x` and `x` are the same: an experiment may be a function, where the answer is none."""

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            return ast.Name(node.attr, node.ctx)
        return node


def _plain(source: str) -> ast.AST:
    tree: ast.AST = _WithoutSelf().visit(parsed(source))
    return tree


def _computes(function: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.If | ast.While):
            value: Any = node.test
        elif isinstance(node, ast.For):
            value = node.iter
        else:
            value = getattr(node, "value", None) if isinstance(node, ast.stmt) else None
        if value is None or isinstance(value, ast.Constant | ast.Name):
            continue
        if not ast.unparse(value).startswith(("check_", "super()")):
            yield ast.dump(value)


def _makes(node: ast.stmt) -> list[str]:
    """The names that a statement gives a value at a cell's top level."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    return [one.id for one in ast.walk(node)
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)]  # fmt: skip

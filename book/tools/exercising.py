"""The exercises of a chapter as its page shows them: hints and solution from the one source.

A notebook names an exercise, `@exercise("attention.causal_mask")` or `answer("gpt.weights", ...)`.
The page gets the three hints below it, each inside the one before, and last the course's own
answer. Both come from gptlib.exercises when the page is read, so they stand in no notebook.

With GPTLIB_SOLUTIONS=no in the environment the book has no solutions: not in its pages, its
search, the notebooks that can be saved from it, and the pages of gptlib's code. The course's own
code for its core pieces is left out as well, and so are the pages of the modules that hold it; a
chapter goes on with it all the same. What a chapter says of that code in words stays.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import house
import nbformat
from chapterfiles import NOT_PYTHON, code_cells, python_of, tags
from docutils import nodes
from solutions import with_printed
from sphinx.application import Sphinx

FLAG = "GPTLIB_SOLUTIONS"
ROOM = "exercises"
DEFINITIONS = (ast.FunctionDef, ast.ClassDef)


def with_solutions() -> bool:
    """Whether this build shows solutions. Errors: ValueError for a flag that is neither."""
    flag = os.environ.get(FLAG, "yes")
    if flag not in ("yes", "no"):
        raise ValueError(f"{FLAG} must be yes or no; got {flag!r}.")
    return flag == "yes"


def named_in(code: str, *calls: str) -> list[str]:
    """The exercises that a cell asks, by name; or those that it names in other calls.

    >>> named_in('@exercise("attention.causal_mask")\\ndef causal_mask(T): ...')
    ['attention.causal_mask']
    >>> named_in('answer("gpt.weights", 12)')
    ['gpt.weights']
    """
    try:
        tree = ast.parse(python_of(code))
    except NOT_PYTHON:
        return []
    return [
        node.args[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in (calls or ("exercise", "answer"))
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str)
    ]


def fold(summary: str, body: str) -> str:
    """A fold in Markdown."""
    return f"<details><summary>{summary}</summary>\n\n{body}\n\n</details>"


def hints_of(name: str, solution: bool) -> str:
    """The hints of an exercise as folds, each in the one before; the solution after them."""
    from gptlib.exercises.book import find, solution_of
    from gptlib.exercises.task import Task

    asked, inner = find(name), ""
    for n in (3, 2, 1):
        inner = fold(f"Hint {n} of 3", f"{asked.hints[n - 1]}\n\n{inner}".rstrip())
    if not solution:
        return inner
    own = solution_of(asked)
    shown = f"```python\n{own}\n```" if isinstance(asked, Task) else own
    return f"{inner}\n\n{fold('Solution', shown)}"


def written(notebook, solutions: bool):
    """The notebook with hints and solutions behind its exercises; without any solution if asked."""
    cells, done = [], set()
    shown = {name for c in code_cells(notebook) for name in named_in(c.source, "otherwise")}
    told = {c.id for c in notebook.cells if str(c.get("id", "")).startswith("solution-")}
    for cell in notebook.cells:
        if cell.id in told and not solutions:
            continue
        cells.append(cell)
        if cell.cell_type != "code" or not {"exercise", "answer"} & {*tags(cell)}:
            continue
        for name in named_in(cell.source):
            if name in done:
                continue
            done.add(name)
            # A solution that the chapter tells in its own words stands in a cell of its own, and
            # what the chapter goes on with below.
            own = "answer" in tags(cell) and cell.id.replace("answer-", "solution-") in told
            words = hints_of(name, solutions and not own and name not in shown)
            cells.append(nbformat.v4.new_markdown_cell(words, id=f"hints-{len(cells)}"))
    form = nbformat.from_dict(notebook)
    form.cells = cells
    return form


def without_solutions(text: str, given: dict[str, str] | None = None) -> str:
    """The text of a notebook's file without solutions and the course's own code for its exercises.

    given: helpers that the package has, by name, each with its module.
    """
    notebook = nbformat.reads(text, as_version=4)
    cells = [c for c in notebook.cells if not str(c.get("id", "")).startswith("solution-")]
    notebook.cells = list(without_ours(cells, given or {}))
    return nbformat.writes(notebook) + "\n"


def without_ours(cells: list, given: dict[str, str]) -> Iterator:
    """The cells without the course's own code; what is left runs from top to bottom.

    `@exercise` has put the right code under its name already. A cell that needs a helper which
    nobody has any more is left out, too.
    """
    gone: set[str] = set()
    for cell in cells:
        if cell.cell_type == "code":
            uses, makes = names_in(cell.source)
            if "ours" in tags(cell):
                cell.source, lost = rest_of(cell.source, given)
                cell.metadata["tags"] = [tag for tag in tags(cell) if tag != "ours"]
                cell.outputs = []
                gone |= lost
                if not cell.source:
                    continue
            elif uses & gone:
                gone |= makes
                continue
            else:
                gone -= makes
        yield cell


def names_in(code: str) -> tuple[set[str], set[str]]:
    """The names that a cell uses and has from elsewhere, and those that it makes."""
    try:
        tree = ast.parse(python_of(code))
    except NOT_PYTHON:
        return set(), set()
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    makes = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    makes |= {node.name for node in ast.walk(tree) if isinstance(node, DEFINITIONS)}
    inside = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    return {node.id for node in names if isinstance(node.ctx, ast.Load)} - makes - inside, makes


def rest_of(code: str, given: dict[str, str]) -> tuple[str, set[str]]:
    r"""What stays of a cell of the course's own code, and the names that nobody has any more.

    Imports and constants stay; a helper is taken from the module that has it.

    >>> rest_of('import math\n@otherwise("a.f")\ndef f(x): ...\ndef g(x): ...', {"g": "bigram"})
    ('import math\nfrom gptlib.bigram import g', set())
    """
    lines, lost = [], set()
    for node in ast.parse(code).body:
        if isinstance(node, DEFINITIONS):
            above = {ast.unparse(d).partition("(")[0] for d in node.decorator_list}
            if node.name in given and not above & {"otherwise", "add_to"}:
                lines.append(f"from {house.PACKAGE}.{given[node.name]} import {node.name}")
            elif not above & {"otherwise", "add_to"}:
                lost.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom) or is_constant(node):
            lines.append(ast.unparse(node))
        else:
            lost |= names_in(ast.unparse(node))[1]
    return "\n".join(lines), lost


def is_constant(node: ast.stmt) -> bool:
    """Whether a statement gives names in capitals a value that stands there."""
    if not isinstance(node, ast.Assign) or not ast.unparse(node.targets[0]).isupper():
        return False
    return not any(isinstance(one, ast.Name | ast.Call) for one in ast.walk(node.value))


def helpers(root: Path, chapter: str) -> dict[str, str]:
    """What the modules of a chapter define, by name: `helpers(ROOT, "03_attention")`."""
    number = re.match(r"0*(\d+)_", chapter)
    modules = house.chapters_of(house.table(root)).get(int(number[1]), ()) if number else ()
    files = house.modules_in(root)
    return {
        node.name: module
        for module in modules
        for node in ast.parse(files[module].read_text(encoding="utf-8")).body
        if isinstance(node, DEFINITIONS)
    }


@cache
def answering() -> frozenset[str]:
    """The modules that hold the course's answer to an exercise."""
    from gptlib.exercises.book import TASKS

    return frozenset(
        one.reference.__module__.removeprefix(f"{house.PACKAGE}.") for one in TASKS.values()
    )


def has_page(module: str) -> bool:
    """Whether a module of gptlib has a page in this build: none that tells an answer, if asked."""
    if with_solutions():
        return True
    return not module.startswith(f"{ROOM}.") and module not in answering()


def read_chapter(app: Sphinx, name: str, source: list[str]) -> None:
    """Put the hints in while Sphinx reads a chapter."""
    if name.startswith("chapters/"):
        notebook = nbformat.reads(source[0], as_version=4)
        if any(named_in(cell.source) for cell in code_cells(notebook)):
            for file in (Path(app.srcdir) / "gptlib" / ROOM).glob("*.py"):
                app.env.note_dependency(str(file))
        if with_solutions():
            notebook = with_printed(notebook, printed_in(app, notebook))
        source[0] = json.dumps(written(notebook, with_solutions()))


def printed_in(app: Sphinx, notebook) -> list[str]:
    """What the solutions of a chapter have printed when the build executed it."""
    from jupyter_cache import get_cache

    try:
        kept = get_cache(str(Path(app.outdir).parent / ".jupyter_cache"))
        return kept.match_cache_notebook(notebook).data.get("printed", [])
    except KeyError:  # nothing has executed it
        return []


def only_asks(cell: nodes.Element) -> bool:
    """Whether a cell of a page holds an exercise to be written."""
    return "exercise" in cell.get("cell_metadata", {}).get("tags", [])


def shows_ours(cell: nodes.Element) -> bool:
    """Whether a cell of a page holds the course's own code for an exercise."""
    return "ours" in cell.get("cell_metadata", {}).get("tags", [])


def lay_out(app: Sphinx, exception: Exception | None) -> None:
    """Take the solutions out of the notebooks that the book hands out, if there are to be none."""
    if exception or app.builder.format != "html" or with_solutions():
        return
    for path in sorted((Path(app.outdir) / "_sources" / "chapters").glob("*.ipynb")):
        given = helpers(Path(app.srcdir), path.name)
        text = without_solutions(path.read_text(encoding="utf-8"), given)
        path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> None:
    app.connect("source-read", read_chapter)
    app.connect("build-finished", lay_out, priority=400)  # before they are packed to be saved

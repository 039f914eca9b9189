"""The exercises of a chapter as its page shows them: hints and solution from the one source.

A notebook names an exercise, `@exercise("attention.causal_mask")` or `answer("gpt.weights", ...)`.
The page gets the three hints below it, each inside the one before, and last the course's own
answer. Both come from gptlib.exercises when the page is read, so they stand in no notebook.

With GPTLIB_SOLUTIONS=no in the environment the book has no solutions: not in its pages, its
search, the notebooks that can be saved from it, and the pages of gptlib's code.
"""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path

import nbformat
from chapterfiles import NOT_PYTHON, code_cells, python_of, tags
from docutils import nodes
from solutions import with_printed
from sphinx.application import Sphinx

FLAG = "GPTLIB_SOLUTIONS"
ROOM = "exercises"


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


def without_solutions(text: str) -> str:
    """The text of a notebook's file without the cells that hold a solution."""
    notebook = nbformat.reads(text, as_version=4)
    notebook.cells = [c for c in notebook.cells if not str(c.get("id", "")).startswith("solution-")]
    return nbformat.writes(notebook) + "\n"


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
        path.write_text(without_solutions(path.read_text(encoding="utf-8")), encoding="utf-8")


def setup(app: Sphinx) -> None:
    app.connect("source-read", read_chapter)
    app.connect("build-finished", lay_out, priority=400)  # before they are packed to be saved

"""The code of a chapter's exercises, executed behind the chapter itself: a solution must run.

In the text a solution is words and code in a fold. Whoever opens it runs that code at the end of
the chapter, with all that the chapter has defined. So does the build: what an exercise asks about
(code with a bug in it) first, then the solution. Where it fails there is no book.
"""

from __future__ import annotations

import re

import nbformat
from chapterfiles import NOT_PYTHON, ChapterError, name_of, python_of

SECTION = re.compile(r"^## Exercises$(.*?)(?=^## |\Z)", flags=re.M | re.S)
TITLE = re.compile(r"^\*\*(\d+)\. ([^*]+?)\.?\*\*", flags=re.M)
CODE = re.compile(r"^```python\n(.*?)^```$", flags=re.M | re.S)


def exercises(notebook) -> list[tuple[str, list[str]]]:
    """Each exercise of a chapter with the code in its text: [("3. Two colours", [code, ...])]."""
    text = "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    found = SECTION.search(text)
    parts = TITLE.split(found[1])[1:] if found else []
    return [
        (f"{number}. {name}", CODE.findall(body))
        for number, name, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    ]


def with_solutions(notebook, path):
    """The notebook with a cell behind it for each piece of code; ChapterError where one is none."""
    longer = nbformat.from_dict(notebook)
    for title, pieces in exercises(notebook):
        for code in pieces:
            try:
                python_of(code)
            except NOT_PYTHON as error:
                raise ChapterError(f"{name_of(path)}, exercise {title}: {error}") from None
            cell = nbformat.v4.new_code_cell(code, metadata={"exercise": title})
            longer.cells.append(cell)
    return longer


def without_solutions(notebook):
    """The notebook as it was before `with_solutions`, what has run since included."""
    shorter = nbformat.from_dict(notebook)
    shorter.cells = [cell for cell in notebook.cells if "exercise" not in cell.metadata]
    return shorter

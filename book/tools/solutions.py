"""The code of a chapter's exercises, executed behind the chapter itself: a solution must run.

In the text a solution is words and code in a fold. Whoever opens it runs that code at the end of
the chapter, with all that the chapter has defined. So does the build: what an exercise asks about
(code with a bug in it) first, then the solution. Where it fails there is no book.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

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
    """The notebook as it was before `with_solutions`, what has run since included.

    What the solutions have printed stays in its metadata, a text for each piece of code.
    """
    shorter = nbformat.from_dict(notebook)
    shorter.cells = [cell for cell in notebook.cells if "exercise" not in cell.metadata]
    solved = [cell for cell in notebook.cells if "exercise" in cell.metadata]
    shorter.metadata["printed"] = [printed(cell) for cell in solved]
    return shorter


def printed(cell) -> str:
    """What a cell that has run says in words; nothing where it draws alone."""
    said = ""
    for output in cell.get("outputs", []):
        if output.output_type == "stream" and output.name == "stdout":
            said += output.text
        elif output.output_type == "execute_result" and not {*output.data} - {"text/plain"}:
            said += output.data["text/plain"] + "\n"
    return said.rstrip()


def with_printed(notebook, texts: list[str]):
    """The notebook with what each solution prints below its code; the tasks' own code has none."""
    longer, left = nbformat.from_dict(notebook), iter(texts)
    inside = False
    for cell in longer.cells:
        if cell.cell_type != "markdown":
            continue
        shown = str(cell.get("id", "")).startswith("solution-")
        parts = re.split(r"(?m)(?=^## )", cell.source)  # a section may begin inside a cell
        for n, part in enumerate(parts):
            if part.startswith("## "):
                inside = SECTION.search(part) is not None
            if inside:
                parts[n] = CODE.sub(partial(_below, texts=left, shown=shown), part)
        cell.source = "".join(parts)
    return longer


def _below(code: re.Match[str], texts: Iterator[str], shown: bool) -> str:
    text = next(texts, "")
    said = f"\n\n*It prints:*\n\n~~~text\n{text}\n~~~" if text and shown else ""
    return f"{code[0]}{said}"

"""The chapters' files: which there are, what stands in them, and their code as Python.

Learners work in these files. One may be half written, empty or not Python at all: what cannot be
read is a ChapterError, which says in words what is wrong and where.
"""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import yaml
from IPython.core.inputtransformer2 import TransformerManager

ROOT = Path(__file__).resolve().parents[2]
# Each chapter's kernel, as it is stored. JupyterLab writes in the name of its own when it saves.
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
# What Python may raise when it reads a cell that is no Python.
NOT_PYTHON = (SyntaxError, ValueError, RecursionError, MemoryError)


class ChapterError(Exception):
    """A chapter that cannot be used, in words for whoever wrote in it."""


def pages(root: Path = ROOT) -> list[str]:
    """Every page of the book by its path without suffix, in the order of _toc.yml."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    return [toc["root"], *(page["file"] for part in toc["parts"] for page in part["chapters"])]


def chapters(root: Path = ROOT) -> list[Path]:
    """The notebooks of the book in its order; what else lies in chapters/ is its reader's own."""
    return [root / f"{page}.ipynb" for page in pages(root) if page.startswith("chapters/")]


def name_of(path: Path) -> str:
    """A chapter's path below the root, as it is written in messages.

    name_of(Path("/home/me/gpt/chapters/02_bigram.ipynb")) -> "chapters/02_bigram.ipynb"
    """
    return f"{path.parent.name}/{path.name}"


def read(path: Path) -> nbformat.NotebookNode:
    """A notebook; ChapterError where the file holds none."""
    name = name_of(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ChapterError(f"{name} cannot be read: {error}") from None
    if not text.strip():
        raise ChapterError(f"{name} is empty")
    try:
        notebook = nbformat.reads(text, as_version=4)
        nbformat.validate(notebook)
    except Exception as error:  # nbformat raises whatever it stumbles over
        first = str(error).strip().partition("\n")[0][:200]
        raise ChapterError(f"{name} is not a notebook: {first or type(error).__name__}") from None
    if not notebook.cells:
        raise ChapterError(f"{name} has no cells")
    return notebook


def tags(cell) -> list[str]:
    """The tags of a cell."""
    return cell.get("metadata", {}).get("tags", [])


def code_cells(notebook) -> list:
    """The code cells of a notebook, in order."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def place(path: Path, notebook, cell) -> str:
    """Where a cell stands: the number that JupyterLab shows beside it after a run from the top.

    place(path, notebook, cell) -> 'chapters/02_bigram.ipynb, code cell 3 ("counts = ...")'
    """
    if exercise := cell.metadata.get("exercise"):  # behind the chapter, see solutions.py
        return f"{name_of(path)}, code of exercise {exercise}"
    number = next(n for n, other in enumerate(code_cells(notebook), 1) if other is cell)
    first = next((line.strip() for line in cell.source.splitlines() if line.strip()), "")
    return f'{name_of(path)}, code cell {number} ("{first[:60]}")'


def python_of(source: str) -> str:
    """A cell's code as Python: IPython's own commands, such as `!ls`, become calls.

    Errors: one of NOT_PYTHON where the rest is no Python.

    python_of("files = !ls") -> "files = get_ipython().getoutput('ls')\\n"
    """
    code = TransformerManager().transform_cell(source)
    ast.parse(code)
    return code


def code_of(path: Path) -> str:
    """All code of a chapter as Python; ChapterError names the cell that is none."""
    notebook, code = read(path), []
    for cell in code_cells(notebook):
        try:
            code.append(python_of(cell.source))
        except NOT_PYTHON as error:
            where = place(path, notebook, cell)
            raise ChapterError(f"{where}: {type(error).__name__}: {error}") from None
    return "\n".join(code)

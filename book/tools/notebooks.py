"""Keep the chapters as they are stored: the set-up cell, and outputs only where they are exact.

    python book/tasks.py notebooks                # every chapter
    python book/tasks.py notebooks 02_bigram      # one
    python book/tasks.py notebooks --no-execute   # set-up cell and stripping only

A cell tagged `nbval-check-output` is executed and its output stored: the tests compare it. Every
other cell is stored without outputs, because an output that nobody compares goes stale unseen.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import nbformat
import yaml
from chapterfiles import KERNEL, ROOT, ChapterError, chapters, code_cells, read, tags
from execution import execute

from gptlib.given.files import write_text

CHECKED = "nbval-check-output"
OURS = "ours"
SETUP_TAGS = ["remove-cell", "setup"]  # the page leaves it out, JupyterLab and Colab show it

SETUP_CELL = """\
# Brings in gptlib where it is missing, as on Colab. Elsewhere it does nothing.
import importlib.util

if importlib.util.find_spec("gptlib") is None:
{install}
"""

INSTALL = """\
    import subprocess
    import sys

    source = "{requirement}"
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, source], check=True)"""

EXPLAIN = """\
    raise ModuleNotFoundError(
        "This chapter needs gptlib, the course's package; this Python lacks it. In "
        "the course's folder run:  python -m pip install .  and restart the kernel."
    )"""


def setup_cell() -> str:
    """The first code cell of every chapter, from the address in _config.yml.

    With an address it installs gptlib from there; without one it says what to install, because a
    package of that name on some index need not be ours.
    """
    settings = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    repository = settings.get("repository") or {}
    url, branch = repository.get("url", "").rstrip("/"), repository.get("branch", "main")
    install = INSTALL.format(requirement=f"gptlib @ git+{url}@{branch}") if url else EXPLAIN
    return SETUP_CELL.format(install=install).rstrip("\n")


def put_setup_cell(notebook) -> None:
    """Make the standard cell the first code cell, after the chapter's opening words."""
    cells = [cell for cell in notebook.cells if "setup" not in tags(cell)]
    cell = nbformat.v4.new_code_cell(setup_cell(), id="setup", metadata={"tags": SETUP_TAGS})
    at = next((i for i, c in enumerate(cells) if c.cell_type == "code"), len(cells))
    at = 1 if cells and cells[0].cell_type == "markdown" else min(at, 0)
    notebook.cells = [*cells[:at], cell, *cells[at:]]


def strip(notebook, keep: bool) -> None:
    """Remove what is not to be stored: outputs, counters, traces of the machine."""
    for number, cell in enumerate(code_cells(notebook), 1):
        if not (keep and CHECKED in tags(cell)):
            cell.outputs = []
        # nbval compares outputs only in cells that have a number; ours do not depend on how often
        # a cell was run.
        cell.execution_count = number if cell.outputs else None
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number
        kept = {"caption": cell.metadata["caption"]} if "caption" in cell.metadata else {}
        if OURS in tags(cell):  # what an exercise asks for stays closed until it is opened
            kept["jupyter"] = {"source_hidden": True}
        cell.metadata = {**kept, "tags": sorted(tags(cell))} if tags(cell) else kept
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    )


def save(notebook, path: Path) -> None:
    """Write the notebook in one step, so that an interruption leaves the old file."""
    nbformat.validate(notebook)
    write_text(path, nbformat.writes(notebook) + "\n")


def refresh(path: Path, run: bool = True) -> None:
    """Bring one chapter into its stored form."""
    notebook = read(path)
    put_setup_cell(notebook)
    if run:
        execute(notebook, path)
    strip(notebook, keep=True)
    save(notebook, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="chapters, such as 02_bigram; none means all")
    parser.add_argument("--no-execute", action="store_true", help="keep the outputs as they stand")
    args = parser.parse_args()
    known = {path.stem: path for path in chapters()}
    unknown = [name for name in args.names if Path(name).stem not in known]
    if unknown:
        sys.exit(f"no such chapter: {', '.join(unknown)}; there are {', '.join(known)}")
    for stem in [Path(name).stem for name in args.names] or known:
        try:
            refresh(known[stem], run=not args.no_execute)
        except ChapterError as error:
            sys.exit(f"{error.__cause__ or ''}\n{error}")
        print(f"-- chapters/{stem}.ipynb")


if __name__ == "__main__":
    main()

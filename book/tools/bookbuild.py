"""Build the HTML book: execute what changed, warnings are errors. Runs inside .venv.

    .venv/bin/python book/tools/bookbuild.py

Chapters come from jupyter-cache while their code is unchanged. The cache looks at the notebook
alone, but a chapter's figures also depend on the gptlib modules that it imports. So each chapter
has a fingerprint of those modules, and where it differs from the one of the last execution the
chapter is taken out of the cache first.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import house

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "_build"
HTML = BUILD / "html"
CACHE = BUILD / ".jupyter_cache"
DOCTREES = BUILD / ".doctrees"
RECORD = BUILD / "fingerprints.json"


def files_behind(source: str) -> set[Path]:
    """The files of gptlib that a piece of code runs by its imports, directly or by theirs."""
    known = house.modules_in(ROOT)
    todo, files = house.imports_of(source, known), set()
    while todo:
        name = todo.pop()
        above = {name.rsplit(".", n)[0] for n in range(name.count(".") + 1)} | {""}
        for file in {known[module] for module in above if module in known} - files:
            files.add(file)
            todo |= house.imports_of_file(file, ROOT)
    return files


def code_of(notebook: Path) -> str:
    """All code of a notebook, without the lines that only IPython understands."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", code, flags=re.M)


def fingerprint(notebook: Path) -> str:
    """A hash of all that the notebook's outputs depend on, beside the notebook's own code."""
    files = files_behind(code_of(notebook))
    # Data inside the package may be read by any module; the environment decides the rest.
    files |= {f for f in (ROOT / "gptlib").rglob("*") if f.suffix in {".json", ".txt", ".js"}}
    files.add(ROOT / "requirements.txt")
    digest = hashlib.sha256(sys.version.encode())
    for file in sorted(files):
        digest.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def book_fingerprint() -> str:
    """A hash of what shapes every page: settings, the extension, styles."""
    files = [ROOT / "_config.yml", ROOT / "_toc.yml", *(ROOT / "book" / "tools").glob("*.py")]
    files += [f for f in (ROOT / "book" / "_static").rglob("*") if f.is_file()]
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def forget_stale() -> dict[str, str]:
    """Take out of the caches what may no longer be used; return the fingerprints of now."""
    now = {str(nb.relative_to(ROOT)): fingerprint(nb) for nb in chapters()}
    now["book"] = book_fingerprint()
    try:
        last = json.loads(RECORD.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        last = {}
    if last.get("book") != now["book"]:
        shutil.rmtree(DOCTREES, ignore_errors=True)  # executed chapters stay in the cache
        shutil.rmtree(HTML, ignore_errors=True)
    stale = {name for name in now if name != "book" and last.get(name) != now[name]}
    if stale and CACHE.exists():
        from jupyter_cache import get_cache

        cache = get_cache(str(CACHE))
        for record in cache.list_cache_records():
            if any(Path(record.uri) == ROOT / name for name in stale):
                cache.remove_cache(record.pk)
    for name in stale:
        (DOCTREES / name).with_suffix(".doctree").unlink(missing_ok=True)
    return now


def chapters() -> list[Path]:
    """The notebooks of the book, in the order of their file names."""
    return sorted((ROOT / "chapters").glob("*.ipynb"))


def kernel_environment() -> dict[str, str]:
    """The environment for running chapters: this one, without the user's own IPython start-up."""
    profile = BUILD / ".ipython" / "profile_default"
    profile.mkdir(parents=True, exist_ok=True)
    # Warnings of the kernel itself, such as how it is connected, say nothing about a chapter.
    (profile / "ipython_kernel_config.py").write_text("c.IPKernelApp.log_level = 40\n")
    quiet = {"IPYTHONDIR": str(profile.parent), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    return {**os.environ, **quiet}


def build() -> Path:
    """Build the book if anything changed; return the folder of its HTML.

    Raises SystemExit when a chapter fails or Sphinx has a warning.
    """
    now = forget_stale()
    RECORD.parent.mkdir(exist_ok=True)
    temporary = RECORD.with_suffix(".tmp")
    temporary.write_text(json.dumps(now, indent=1), encoding="utf-8")
    os.replace(temporary, RECORD)  # from here on an interrupted build can go on where it stopped
    program = Path(sys.executable).with_name("jupyter-book")
    command = [program, "build", ".", "-W", "-n", "--keep-going", "-q"]
    status = subprocess.run(command, cwd=ROOT, env=kernel_environment()).returncode
    if status:
        # Sphinx would not warn again about pages that it keeps: the next build reads all anew.
        shutil.rmtree(DOCTREES, ignore_errors=True)
        sys.exit(f"the book was not built: see the warnings above (status {status})")
    return HTML


if __name__ == "__main__":
    print(f"-- the book is in {build() / 'index.html'}")

"""Build the HTML book: execute what changed, warnings are errors. Runs inside .venv.

    .venv/bin/python book/tools/bookbuild.py

An executed chapter is kept in jupyter-cache together with a fingerprint of all that its outputs
depend on (inputs.py), and is used while both its code and the fingerprint are the same. Neither
depends on where the course lies, so a copied or moved folder goes on with what it has.

Sphinx works in _build/work. Only a whole book is put into _build/html, in one step: a build that
fails or is interrupted leaves the last good one there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import as_completed
from contextlib import contextmanager
from pathlib import Path

import addresses  # noqa: F401 (before nbformat)
import nbformat
from anyio import CapacityLimiter
from anyio.from_thread import start_blocking_portal
from chapterfiles import (
    KERNEL,
    ROOT,
    ChapterError,
    chapters,
    code_cells,
    code_of,
    name_of,
    read,
    tags,
)
from execution import executing
from filelock import FileLock, Timeout
from inputs import fingerprint, fingerprint_of_pages
from running import cores
from solutions import with_solutions, without_solutions

BUILD = ROOT / "_build"


class BuildError(Exception):
    """Why there is no new book, in words."""


def say(text: str) -> None:
    print(f"-- {text}", flush=True)


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Let other builds of this folder wait meanwhile; BuildError where nothing can be written."""
    lock = FileLock(out / ".lock")
    try:
        out.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            say("another build of this book is running: waiting until it is done")
            lock.acquire()
    except OSError as error:
        raise BuildError(
            f"{out} cannot be written to ({error.strerror}), and a build writes there: "
            "copy the course into a folder of your own."
        ) from None
    try:
        yield
    finally:
        lock.release()


# Executed chapters -------------------------------------------------------------------------------


def cache_in(out: Path):
    """The executed chapters of a build."""
    from jupyter_cache import get_cache

    return get_cache(str(out / "work" / "_build" / ".jupyter_cache"))


def plain(notebook):
    """The notebook as it is found whoever saved it: the kernel's usual name, no cell's state."""
    form = nbformat.from_dict({**notebook, "metadata": {"kernelspec": KERNEL}})
    for cell in code_cells(form):
        cell.metadata = {"tags": tags(cell)} if tags(cell) else {}
    return form


def with_outputs(notebook, done):
    """The notebook with the outputs of another that has the same code."""
    form = nbformat.from_dict(notebook)
    for cell, other in zip(code_cells(form), code_cells(done), strict=True):
        cell.outputs, cell.execution_count = other.outputs, other.execution_count
    for key in ("language_info", "widgets"):
        form.metadata[key] = done.metadata.get(key, {})
    form.metadata["printed"] = done.metadata.get("printed", [])
    return form


def find(cache, notebook, wanted: str):
    """The notebook with the outputs of its last execution; None where they no longer hold."""
    try:
        kept = cache.match_cache_notebook(notebook).data
        if kept.get("fingerprint") == wanted and "printed" in kept:
            done = cache.merge_match_into_notebook(notebook)[1]
            done.metadata["printed"] = kept["printed"]
            return done
    except (KeyError, OSError, ValueError):  # not there, or only half of it
        pass
    return None


def keep(cache, notebook, path: Path, wanted: str) -> None:
    """Put an executed notebook into the cache, with what its outputs depended on."""
    from jupyter_cache.base import CacheBundleIn

    # What its solutions have printed: the page shows it (exercising.py).
    kept = {"fingerprint": wanted, "printed": notebook.metadata.pop("printed", [])}
    bundle = CacheBundleIn(notebook, str(path), data=kept)
    cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def remember(done, path: Path, wanted: str, out: Path) -> None:
    """Keep an executed chapter, also as it is stored: that is what Sphinx looks for."""
    cache, notebook = cache_in(out), read(path)
    for form in (plain(notebook), notebook):
        if find(cache, form, wanted) is None:
            keep(cache, with_outputs(form, done), path, wanted)


def search(notebook, wanted: str, out: Path):
    """An execution of the notebook that still holds, of this build or of the course's; or None."""
    caches = (cache_in(place) for place in dict.fromkeys((out, BUILD)))
    return next(filter(None, (find(cache, plain(notebook), wanted) for cache in caches)), None)


def check_python(path: Path) -> None:
    """ChapterError names a cell that is no Python, unless a cell of the chapter may fail."""
    if not any("raises-exception" in tags(cell) for cell in code_cells(read(path))):
        code_of(path)


async def executed(path: Path, turn: CapacityLimiter):
    """The chapter with its outputs when its turn comes; its solutions ran too. ChapterError."""
    async with turn:
        say(f"executing {name_of(path)}")
        whole = with_solutions(plain(read(path)), path)
        await executing(whole, path, ROOT / "chapters")
        return without_solutions(whole)


def execute_changed(source: Path, out: Path) -> dict[str, str]:
    """Bring every chapter's outputs up to date; return the fingerprints by name.

    As many at once as there are cores, the last ones first, which take longest. Raises BuildError
    with a line for each chapter that cannot be executed.
    """
    used, faults, waiting = {}, {}, []
    # All code is parsed before any chapter runs: in Python 3.11.7 and 3.12.1, and before, two
    # threads that parse at once end in "AST constructor recursion depth mismatch".
    for path in reversed(chapters(source)):
        try:
            used[path] = fingerprint(path)
            done = search(read(path), used[path], out)
            if done is not None:
                remember(done, path, used[path], out)
            else:
                check_python(path)
                waiting.append(path)
        except ChapterError as error:
            faults[path] = error
    with start_blocking_portal() as portal:
        turn = portal.call(CapacityLimiter, cores())
        running = {portal.start_task_soon(executed, path, turn): path for path in waiting}
        for job in as_completed(running):
            try:
                remember(job.result(), running[job], used[running[job]], out)
            except ChapterError as error:
                print(error.__cause__ or "", file=sys.stderr)  # the traceback, where there is one
                faults[running[job]] = error
    if faults:
        lines = [str(faults[path]) for path in chapters(source) if path in faults]
        raise BuildError("\n".join(["the book was not built:", *lines]))
    return {name_of(path): used[path] for path in chapters(source)}


# Pages -------------------------------------------------------------------------------------------


def make_pages(source: Path, out: Path, used: dict[str, str]) -> None:
    """Let Sphinx write the pages that changed; raise BuildError where it has a warning."""
    work = out / "work" / "_build"
    record = out / "work" / "pages.json"
    now = {"pages": fingerprint_of_pages(source), **used}
    try:
        last = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # the last build did not come to its end
        last = {}
    if last.get("pages") != now["pages"]:
        shutil.rmtree(work / ".doctrees", ignore_errors=True)
        shutil.rmtree(work / "html", ignore_errors=True)
    for name in now:
        if last.get(name) != now[name]:
            (work / ".doctrees" / name).with_suffix(".doctree").unlink(missing_ok=True)
    # What Sphinx keeps is trusted only after a whole build: it would not warn a second time.
    record.unlink(missing_ok=True)
    # Its own script names a fixed Python. What is left out: see addresses.py.
    program = "import sys; sys.modules['rfc3987_syntax'] = None\n"
    program += "from jupyter_book.cli.main import main; main()"
    command = [sys.executable, "-c", program, "build", str(source), "-W", "-n", "--keep-going"]
    command += ["-q", "--path-output", str(out / "work")]
    # Warnings go to stderr; what it says of success names the place where we let it work.
    status = subprocess.run(command, cwd=source, stdout=subprocess.DEVNULL).returncode
    if status:
        raise BuildError(f"the book was not built: see the warnings above (status {status})")
    record.write_text(json.dumps(now, indent=1), encoding="utf-8")


def publish(out: Path) -> Path:
    """Put the finished pages in the place of the last ones."""
    new, old, html = (out / name for name in ("html.new", "html.old", "html"))
    for left in (new, old):
        shutil.rmtree(left, ignore_errors=True)
    shutil.copytree(out / "work" / "_build" / "html", new)
    if html.exists():
        os.replace(html, old)
    os.replace(new, html)
    shutil.rmtree(old, ignore_errors=True)
    return html


def build(source: Path = ROOT, out: Path = BUILD) -> Path:
    """Build the book of a folder where anything changed; return the folder of its HTML.

    Raises BuildError when a chapter fails or Sphinx has a warning; the last good book stays.
    """
    with alone(out):
        make_pages(source, out, execute_changed(source, out))
        return publish(out)


if __name__ == "__main__":
    try:
        say(f"the book is in {build() / 'index.html'}")
    except BuildError as error:
        last = f"\n{BUILD / 'html'} holds the last good one." if (BUILD / "html").exists() else ""
        sys.exit(f"{error}{last}")

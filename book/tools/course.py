"""The course as it was handed out, where its reader has worked in the chapters.

A chapter that was run and saved, or changed, is its reader's own, and no fault of the course. The
tests look at the version that git has instead and say so. Without git, as after the download of an
archive, only what running leaves behind can be told from the course, and is taken away.

In CI, and for an author, who sets GPTLIB_AUTHOR=1, everything is tested as it stands.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path

import nbformat
from chapterfiles import ROOT, ChapterError, chapters, name_of, read
from notebooks import strip

STAGE = ROOT / "_build" / "course" / "source"  # its book is built beside it


def as_it_stands(env=os.environ) -> bool:
    """Whether the chapters are tested as they stand, whoever changed them."""
    return any(
        env.get(name, "").lower() in {"1", "true", "yes"} for name in ("CI", "GPTLIB_AUTHOR")
    )


def git(root: Path, *words: str) -> str | None:
    """What git says in a folder, None where it does not know the folder or is not there."""
    try:
        command = ["git", "-C", str(root), *words]
        answer = subprocess.run(command, capture_output=True, encoding="utf-8")
    except OSError:
        return None
    return None if answer.returncode else answer.stdout


def stripped(text: str, keep: bool) -> str:
    """A notebook's text without what running and saving it leave behind."""
    notebook = nbformat.reads(text, as_version=4)
    strip(notebook, keep=keep)
    return nbformat.writes(notebook)


def changes(root: Path = ROOT) -> dict[str, tuple[str, str]]:
    """The chapters that are no longer the course's: {name: (what happened, the course's text)}.

    What counts as the course's is what git would commit: an author's `git add` makes it that.
    """
    found = {}
    differing = git(root, "diff", "--name-only", "-z", "--relative", "--", "chapters")
    for path in chapters(root):
        name = name_of(path)
        before = git(root, "show", f":./{name}")
        if before is not None and name not in (differing or "").split("\0"):
            continue
        try:
            read(path)
            now = path.read_text(encoding="utf-8")
        except ChapterError:
            if before is None:
                continue  # nothing to put in its place: the tests will say what is wrong with it
            now = None
        if before is None:  # git does not know it
            before = stripped(now, keep=True)
            if nbformat.reads(before, as_version=4) == nbformat.reads(now, as_version=4):
                continue
        same = now is not None and stripped(now, keep=False) == stripped(before, keep=False)
        found[name] = ("run and saved by you" if same else "changed by you", before)
    return found


@functools.cache
def changed() -> dict[str, tuple[str, str]]:
    """The changes of this checkout that the tests set aside, looked up once."""
    return {} if as_it_stands() else changes()


@functools.cache
def course() -> Path:
    """The folder whose chapters and pages the tests look at: ROOT, or a copy of the course's own.

    The copy has the chapters as the course has them, and everything else as it stands.
    """
    if not changed():
        return ROOT
    stage(ROOT, STAGE, {name: text for name, (_, text) in changed().items()})
    return STAGE


def stage(root: Path, target: Path, texts: dict[str, str]) -> None:
    """Copy what the book is built from, with other texts for some of the chapters."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(root / "book", target / "book", ignore=ignore, dirs_exist_ok=True)
    (target / "chapters").mkdir(exist_ok=True)
    for name in ("_config.yml", "_toc.yml", *map(name_of, chapters(root))):
        if name not in texts:
            shutil.copy2(root / name, target / name)
        # Written only where it differs: Sphinx reads again what has a new date.
        elif not (target / name).exists() or (target / name).read_text("utf-8") != texts[name]:
            (target / name).write_text(texts[name], encoding="utf-8")


def files_of_the_reader(root: Path = ROOT) -> list[str]:
    """What lies in chapters/ and is not the course's, or no longer: copies, notes, changed ones."""
    if as_it_stands():
        return []
    own = {name_of(path) for path in chapters(root)} - set(changes(root))
    names = (path.relative_to(root).as_posix() for path in (root / "chapters").rglob("*"))
    return sorted(name for name in names if name not in own)


def notice() -> list[str]:
    """A line for each chapter that the tests did not take as it stands."""
    lines = []
    for name, (what, _) in changed().items():
        known = git(ROOT, "ls-files", "--error-unmatch", name) is not None
        own = "the course's own version" if known else "it without what running left behind"
        back = f" `git checkout {name}` brings the course's back." if known else ""
        lines.append(f"{what}: {name}. Tested was {own}; GPTLIB_AUTHOR=1 tests yours.{back}")
    return lines

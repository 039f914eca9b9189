"""What a chapter's outputs depend on beside its own code, as one hash.

A changed input means that the chapter is executed again; what cannot be told from the code counts
as changed with anything. Seen are: the modules of gptlib behind its imports, its imports from its
own folder, the records it shows, files that it names, the pinned packages as they are installed
here, and the Python. Not seen is a file whose name the code puts together.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import os
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from importlib import metadata
from pathlib import Path

import house
from chapterfiles import NOT_PYTHON, ROOT, ChapterError, code_cells, code_of, name_of, read, tags
from solutions import exercises

# What opens a record in gptlib.given.records, and at which place its name stands.
SHOW_RECORDS = {"record": 0, "measured": 0, "load_recorded": 1, "recorded_file": 0}


@functools.cache
def environment(root: Path = ROOT) -> str:
    """The Python and the installed version of every package that requirements.txt names."""
    lines = [sys.version, sysconfig.get_platform()]
    text = (root / "requirements.txt").read_text(encoding="utf-8")
    for name in re.findall(r"^([\w.-]+)==", text, flags=re.M):
        try:
            lines.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:  # another platform's, or missing
            lines.append(f"{name} -")
    return "\n".join(lines)


def modules_behind(code: str, root: Path = ROOT, but: Sequence[str] = ()) -> set[Path]:
    """The files of gptlib that a piece of code runs by its imports, directly or by theirs.

    but: what the code itself imports from a room of that name is left out, and a module of that
    name, whoever imports it.
    """
    known = house.modules_in(root)
    todo = {name for name in house.imports_of(code, known) if name.partition(".")[0] not in but}
    files: set[Path] = set()
    while todo:
        name = todo.pop()
        if name in but:
            continue
        above = {name.rsplit(".", n)[0] for n in range(name.count(".") + 1)} | {""}
        for file in {known[module] for module in above if module in known} - files:
            files.add(file)
            todo |= house.imports_of_file(file, root, known)
    return files


def widget_files(root: Path = ROOT) -> set[Path]:
    """What a widget is made of beside Python: scripts, styles, and the recorded weights."""
    folders = root / "gptlib" / "widgets", root / "data" / "runs"
    files = [file for folder in folders for file in folder.glob("*")]
    return {file for file in files if file.suffix in {".js", ".css", ".safetensors"}}


def texts_in(tree: ast.AST) -> set[str]:
    """The strings that stand in a piece of code."""
    nodes = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return {value for value in nodes if isinstance(value, str)}


def files_named(tree: ast.AST, folder: Path) -> Iterator[Path]:
    """The files that the strings of some code name, seen from a folder; of data/ folders, too."""
    for text in texts_in(tree):
        try:
            path = (folder / text).resolve()
            if path.is_dir() and folder.parent / "data" in (path, *path.parents):
                yield from (file for file in path.rglob("*") if file.is_file())
            elif path.is_file():
                yield path
        except (OSError, ValueError):  # a text that can be no path
            continue


def names_its_records(tree: ast.AST) -> bool:
    """Whether each record that some code shows is named by a string.

    names_its_records(ast.parse("record('skills'); record(name)")) -> False
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.alias) and node.asname and node.name in SHOW_RECORDS:
            return False
        if isinstance(node, ast.Call):
            place = SHOW_RECORDS.get(getattr(node.func, "id", getattr(node.func, "attr", "")))
            names = [] if place is None else node.args[place : place + 1]
            names += [] if place is None else [keyword.value for keyword in node.keywords]
            if not all(isinstance(name, ast.Constant) for name in names):
                return False
    return True


def records_shown(tree: ast.AST, modules: Iterable[Path], root: Path) -> set[Path]:
    """The records and benchmarks' figures that some code may show, given the modules behind it."""
    reader = root / "gptlib" / "given" / "records.py"
    if reader not in modules:
        return set()
    folders = (root / "data" / "runs", root / "benchmarks" / "results")
    every = {file for folder in folders for file in folder.glob("*") if file.is_file()}
    # The reader's own strings name what it shows unasked, such as the growing table's.
    named = texts_in(tree) | texts_in(ast.parse(reader.read_text(encoding="utf-8")))
    return {file for file in every if file.stem in named} if names_its_records(tree) else every


def everything(root: Path) -> set[Path]:
    """Every file of ours that any code could use: what a chapter depends on when nobody can say."""
    found = {*(root / "gptlib").rglob("*"), *(root / "data").rglob("*")}
    found |= set((root / "chapters").rglob("*.py"))
    left_out = {root / "data" / "downloads"}
    return {
        file
        for file in found
        if file.is_file() and "__pycache__" not in file.parts and not left_out & {*file.parents}
    }


def files_of(path: Path, root: Path = ROOT) -> set[Path]:
    """The files that a chapter's outputs depend on, as far as its code tells; else every file."""
    folder = root / "chapters"  # where every chapter runs
    try:
        code = code_of(path)
        tree, modules = ast.parse(code), modules_behind(code, root)
    except (ChapterError, *NOT_PYTHON):  # here or in a module: executing it says what is wrong
        return everything(root)
    tops = {base.partition(".")[0] for base, _ in house.import_names(code)} - {""}
    own = any((folder / top).is_dir() or (folder / f"{top}.py").is_file() for top in tops)
    if own or "get_ipython()" in code:  # a reader's own module, a shell: who knows what they use
        return everything(root)
    # The bug foundry of the exercises reads records; a page shows none of them. The training in the
    # page shows one, where the chapter names it.
    shows_none = ("exercises", "widgets.live_training")
    showing = modules_behind(code, root, but=() if "LiveTraining" in code else shows_none)
    return {*modules, *records_shown(tree, showing, root), *files_named(tree, folder)}


def fingerprint(path: Path, root: Path = ROOT) -> str:
    """A hash of all that a chapter's outputs depend on, beside its own code."""
    files = files_of(path, root)
    # Data inside the package may be read by any module.
    package = [f for f in (root / "gptlib").rglob("*") if f.is_file()]
    files |= {f for f in package if f.suffix not in {".py", ".pyc"}}
    tagged = [tags(cell) for cell in code_cells(read(path))]  # a tag may allow a cell to fail
    asked = exercises(read(path))  # their code runs behind the chapter
    return digest(files, root, environment(root), name_of(path), f"{tagged} {asked}")


def digest(files: Iterable[Path], root: Path, *words: str) -> str:
    """A hash of words and of files by their paths below the root, the same wherever that lies."""
    total = hashlib.sha256("\0".join(words).encode())
    for file in sorted(files):
        below = file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name
        with file.open("rb") as stream:
            total.update(below.encode() + b"\0" + hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()


def fingerprint_of_pages(root: Path = ROOT) -> str:
    """A hash of what shapes every page: settings, order, the extension, styles, references."""
    names = ("_config.yml", "_toc.yml", "CITATION.cff", "book/package-lock.json")
    files = [root / name for name in (*names, "book/references.bib")]
    tools = ("alive", "bibliography", "coursebook", "dates", "exercising", "finish", "folds")
    tools += ("mathset", "picture", "prices", "sources")
    names = (*(f"{name}.py" for name in tools), "typeset.js")
    files += [root / "book" / "tools" / name for name in names]
    for folder in ("_static", "assets"):
        files += [f for f in (root / "book" / folder).rglob("*") if f.is_file()]
    said = os.environ.get("GPTLIB_SOLUTIONS", "yes")  # see exercising.py
    return digest([file for file in files if file.is_file()], root, environment(ROOT), said)

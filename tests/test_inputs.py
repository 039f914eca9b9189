"""What a chapter is executed again for: each kind of input, changed, changes its fingerprint."""

from __future__ import annotations

import ast
import shutil
import sys

import inputs
import nbformat
import pytest
from chapterfiles import ROOT, chapters
from inputs import files_of, fingerprint, modules_behind, names_its_records

FILES = {
    "gptlib/__init__.py": "",
    "gptlib/a.py": "from .b import x",
    "gptlib/b.py": "x = 1",
    "gptlib/c.py": "y = 1",
    "gptlib/face.js": "1",
    "gptlib/given/__init__.py": "",
    "gptlib/given/records.py": "def parts_table(): return record('skills')",
    "data/runs/skills.json": "{}",
    "data/runs/waves.json": "{}",
    "data/runs/stories.safetensors": "{}",
    "data/stories.txt": "Once.",
    "data/downloads/large.txt": "Once.",
    "chapters/helper.py": "import gptlib.c",
    "chapters/notes.txt": "mine",
    "requirements.txt": "nbformat==1  # a\n",
}
SHOW = "from gptlib.given.records import record\n"


@pytest.fixture
def course(tmp_path):
    """A small course in a folder that no shell script expects."""
    root = tmp_path / "Künstliche Intelligenz (1)"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


def chapter(root, *sources, tags=()):
    """A chapter of the small course, with these code cells."""
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = list(tags)
    path = root / "chapters" / "01_x.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_the_modules_that_a_chapter_imports_are_seen():
    code = (
        "import gptlib.gpt as g, torch\nfrom gptlib import corpus\nfrom gptlib.given import plots"
    )
    names = {path.relative_to(ROOT / "gptlib").as_posix() for path in modules_behind(code)}
    assert {"gpt.py", "block.py", "corpus/__init__.py", "corpus/storybook.py"} <= names
    assert {"given/plots.py", "given/__init__.py", "__init__.py"} <= names
    assert "training.py" not in names


CHANGES = {
    "a module behind a module": ("import gptlib.a", "gptlib/b.py", True),
    "a module of nobody": ("import gptlib.a", "gptlib/c.py", False),
    "data of the package": ("import gptlib.a", "gptlib/face.js", True),
    "a record by name": (f"{SHOW}record('waves')", "data/runs/waves.json", True),
    "a record in a loop": (f"{SHOW}[record(n) for n in 'ab']", "data/runs/waves.json", True),
    "a record under another name": (
        "from gptlib.given.records import record as r\nr('a' + 'b')",
        "data/runs/waves.json",
        True,
    ),
    "a record that the reader shows unasked": (SHOW, "data/runs/skills.json", True),
    "another record": (f"{SHOW}record('waves')", "data/runs/stories.safetensors", False),
    "weights by name": (
        "from gptlib.given import records\nrecords.load_recorded(m, name='stories')",
        "data/runs/stories.safetensors",
        True,
    ),
    "a record of a chapter that shows none": ("import gptlib.a", "data/runs/waves.json", False),
    "a file by its path": ("open('../data/stories.txt')", "data/stories.txt", True),
    "a file beside the chapter": ("open('notes.txt')", "chapters/notes.txt", True),
    "a folder of data": ("list(Path('../data/runs').glob('*'))", "data/runs/waves.json", True),
    "a module beside the chapter": ("import helper", "chapters/helper.py", True),
    "what a module beside the chapter uses": ("import helper", "gptlib/c.py", True),
    "anything, where a cell has a shell": ("files = !ls", "data/runs/waves.json", True),
    "anything, where a cell has a magic": ("%%time\nx = 1", "gptlib/c.py", True),
    "anything, where a cell is no Python": ("def f(:", "gptlib/c.py", True),
    "downloads, even then": ("files = !ls", "data/downloads/large.txt", False),
}


@pytest.mark.parametrize(("code", "file", "seen"), CHANGES.values(), ids=CHANGES)
def test_a_changed_file_changes_the_fingerprint_of_the_chapters_that_use_it(
    course, code, file, seen
):
    path = chapter(course, "x = 1", code)
    before = fingerprint(path, course)
    assert fingerprint(path, course) == before
    (course / file).write_text(FILES[file] + "\n# changed", encoding="utf-8")
    assert (fingerprint(path, course) != before) == seen


def test_a_module_that_is_no_python_counts_as_everything(course):
    (course / "gptlib" / "b.py").write_text("def f(:")
    assert course / "gptlib" / "c.py" in files_of(chapter(course, "import gptlib.a"), course)


def test_the_environment_counts_and_not_the_words_about_it(course, monkeypatch):
    path = chapter(course, "x = 1")
    seen = {}

    def now(name):
        inputs.environment.cache_clear()
        seen[name] = fingerprint(path, course)

    now("first")
    (course / "requirements.txt").write_text("nbformat==1  # another reason\n")
    now("comment")
    monkeypatch.setattr(inputs.metadata, "version", lambda name: "9.9")
    now("version")
    monkeypatch.setattr(sys, "version", "9.9")
    now("python")
    inputs.environment.cache_clear()
    assert seen["first"] == seen["comment"] and len(set(seen.values())) == 3


def test_a_tag_counts_and_outputs_do_not(course):
    plain = fingerprint(chapter(course, "x = 1"), course)
    assert fingerprint(chapter(course, "x = 1", tags=["raises-exception"]), course) != plain
    path = chapter(course, "x = 1")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[0].execution_count = 7
    nbformat.write(notebook, path)
    assert fingerprint(path, course) == plain


def test_a_copy_of_the_course_has_the_same_fingerprints(course, tmp_path):
    path = chapter(course, f"import gptlib.a\n{SHOW}record('waves'); open('notes.txt')")
    copy = tmp_path / "copy"
    shutil.copytree(course, copy)
    assert fingerprint(copy / "chapters" / path.name, copy) == fingerprint(path, course)


def test_the_chapters_name_the_records_that_they_show():
    """Otherwise a changed record would execute chapters again that do not show it."""
    shown = {}
    for path in chapters():
        runs = {f.stem for f in files_of(path) if f.parent == ROOT / "data" / "runs"}
        shown[path.name[:2]] = runs
    assert shown["02"] == set() and shown["05"] > {"norm_places"} and "scaling" in shown["07"]
    assert "decoding" in shown["08"] and "decoding" not in shown["07"]


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("record('skills')['gpt']", True),
        ("load_recorded(GPT(c), 'stories'); load_recorded(model)", True),
        ("load_recorded(model, name)", False),
        ("records.record(f'{x}')", False),
        ("record(name=chosen)", False),
        ("record(*names)", False),
        ("print(name)", True),
    ],
)
def test_a_record_that_the_code_does_not_name_is_seen(code, named):
    assert names_its_records(ast.parse(code)) == named


def test_a_page_depends_on_styles_settings_and_references(tmp_path):
    for name in ("_config.yml", "_toc.yml", "book/references.bib", "book/_static/book.css"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        seen = {inputs.fingerprint_of_pages(tmp_path)}
        (tmp_path / name).write_text("a")
        seen.add(inputs.fingerprint_of_pages(tmp_path))
        (tmp_path / name).write_text("b")
        seen.add(inputs.fingerprint_of_pages(tmp_path))
        assert len(seen) == 3, name

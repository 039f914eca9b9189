"""A chapter that its reader ran, saved or changed: the tests take the course's own, and say so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import course
import nbformat
import pytest
from chapterfiles import ROOT
from notebooks import CHECKED, strip

TOC = "{format: jb-book, root: book/intro, parts: [chapters: [file: chapters/01_x]]}"
NAME = "chapters/01_x.ipynb"


def git(root: Path, *words: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", str(root), *identity, *words], check=True, capture_output=True)


@pytest.fixture
def own(tmp_path) -> Path:
    """A course of one chapter in its stored form, in no git repository."""
    root = tmp_path / "Übung 1"
    for folder in ("book", "chapters"):
        (root / folder).mkdir(parents=True)
    (root / "_toc.yml").write_text(TOC)
    (root / "_config.yml").write_text("title: T")
    (root / "book" / "intro.md").write_text("# Intro")
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [
        nbformat.v4.new_markdown_cell("# X"),
        nbformat.v4.new_code_cell("1 + 1", metadata={"tags": [CHECKED]}),
        nbformat.v4.new_code_cell("print(2)"),
    ]
    output = nbformat.v4.new_output("execute_result", {"text/plain": "2"}, execution_count=1)
    notebook.cells[1].outputs = [output]
    strip(notebook, keep=True)
    nbformat.write(notebook, root / NAME)
    return root


@pytest.fixture
def cloned(own) -> Path:
    """The same, in git."""
    git(own, "init", "-q")
    git(own, "add", ".")
    git(own, "commit", "-qm", "a")
    return own


def change(root: Path, how: str) -> None:
    """What a learner does to the chapter."""
    path = root / NAME
    notebook = nbformat.read(path, as_version=4)
    if how == "run":
        for number, cell in enumerate(notebook.cells[1:], 5):
            cell.execution_count = number
            cell.metadata["scrolled"] = True
            for output in cell.outputs:
                output.execution_count = number
        notebook.cells[2].outputs = [nbformat.v4.new_output("stream", text="2\n")]
        notebook.metadata["kernelspec"]["display_name"] = "Python 3 (ipykernel)"
        notebook.metadata["widgets"] = {}
    elif how == "add a cell":
        notebook.cells.append(nbformat.v4.new_code_cell("def f(:"))
    elif how == "change a word":
        notebook.cells[0].source = "# Y"
    nbformat.write(notebook, path)
    if how in ("empty", "spoil"):
        path.write_text({"empty": "", "spoil": "{"}[how])
    elif how == "delete":
        path.unlink()


HOW = {
    "run": "run and saved by you",
    **dict.fromkeys(("add a cell", "change a word", "empty", "spoil", "delete"), "changed by you"),
}


@pytest.mark.parametrize(("how", "what"), HOW.items(), ids=HOW)
def test_a_chapter_that_its_reader_changed_is_set_aside(cloned, how, what):
    stored = (cloned / NAME).read_text(encoding="utf-8")
    assert course.changes(cloned) == {}
    change(cloned, how)
    assert course.changes(cloned) == {NAME: (what, stored)}


def test_what_an_author_adds_is_the_course_s(cloned):
    change(cloned, "change a word")
    git(cloned, "add", ".")
    assert course.changes(cloned) == {}


def test_copies_and_files_of_the_reader_s_own_are_no_change(cloned):
    for name in ("01_x-Copy1.ipynb", "Untitled.ipynb", "x.py"):
        (cloned / "chapters" / name).write_text("def f(:")
    assert course.changes(cloned) == {}


def test_style_is_asked_of_the_course_and_not_of_its_reader(cloned, monkeypatch):
    for name in ("CI", "GPTLIB_AUTHOR"):
        monkeypatch.delenv(name, raising=False)
    (cloned / "chapters" / "x.py").write_text("def f(:")
    assert course.files_of_the_reader(cloned) == ["chapters/x.py"]
    change(cloned, "add a cell")
    assert course.files_of_the_reader(cloned) == [NAME, "chapters/x.py"]
    monkeypatch.setenv("CI", "true")
    assert course.files_of_the_reader(cloned) == []


def test_without_git_only_what_running_leaves_behind_is_set_aside(own):
    stored = nbformat.read(own / NAME, as_version=4)
    assert course.changes(own) == {}
    change(own, "run")
    ((what, text),) = course.changes(own).values()
    assert what == "run and saved by you"
    assert nbformat.reads(text, as_version=4) == stored
    change(own, "spoil")
    assert course.changes(own) == {}, "there is nothing to put in its place"


def test_a_repository_around_an_unpacked_archive_is_not_the_course_s(own):
    git(own.parent, "init", "-q")
    change(own, "run")
    assert list(course.changes(own)) == [NAME]


def test_the_course_s_own_is_staged_beside_the_reader_s(cloned, tmp_path):
    stored = (cloned / NAME).read_bytes()
    change(cloned, "empty")
    target = tmp_path / "stage"
    texts = {name: text for name, (_, text) in course.changes(cloned).items()}
    course.stage(cloned, target, texts)
    assert (target / NAME).read_bytes() == stored and (cloned / NAME).read_bytes() == b""
    assert (target / "book" / "intro.md").exists() and (target / "_toc.yml").exists()
    date = (target / NAME).stat().st_mtime_ns
    course.stage(cloned, target, texts)
    assert (target / NAME).stat().st_mtime_ns == date


@pytest.mark.parametrize(
    ("env", "strict"),
    [({"CI": "true"}, True), ({"GPTLIB_AUTHOR": "1"}, True), ({}, False), ({"CI": "0"}, False)],
)
def test_ci_and_authors_test_everything_as_it_stands(env, strict):
    assert course.as_it_stands(env) == strict


def test_the_summary_says_what_was_set_aside(cloned):
    """pytest's own output, with our conftest, in a course whose chapter was run and saved."""
    change(cloned, "run")
    tools = cloned / "book" / "tools"
    tools.mkdir()
    for path in (ROOT / "book" / "tools").glob("*.py"):
        (tools / path.name).write_bytes(path.read_bytes())
    (cloned / "tests").mkdir()
    conftest = (ROOT / "tests" / "conftest.py").read_bytes()
    (cloned / "tests" / "conftest.py").write_bytes(conftest)
    (cloned / "tests" / "test_x.py").write_text("def test(): pass")
    (cloned / "pytest.ini").write_text("[pytest]\npythonpath = book/tools")
    env = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTHONPATH")}
    said = {}
    for author in ("", "1"):
        command = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_x.py"]
        answer = subprocess.run(
            [sys.executable, *command],
            cwd=cloned,
            env={**env, "GPTLIB_AUTHOR": author},
            capture_output=True,
            encoding="utf-8",
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr
        said[author] = answer.stdout
    line = f"run and saved by you: {NAME}. Tested was the course's own version; "
    assert line in said[""] and f"`git checkout {NAME}` brings the course's back" in said[""]
    assert "by you" not in said["1"]

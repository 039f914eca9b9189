"""The build of the book, on a small course of one chapter that counts how often it is run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import bookbuild
import nbformat
import pytest
from bookbuild import BuildError, alone, build, make_pages, publish
from chapterfiles import ROOT
from execution import kernel_environment
from filelock import FileLock

CODE = """\
import os
from gptlib.given.records import record
with open(os.environ["TALLY"], "a") as tally:
    tally.write("1")
print("the record says", record("waves")["x"])"""
RECORDS = """\
import json, pathlib
def record(name):
    folder = pathlib.Path(__file__).parents[2] / "data" / "runs"
    return json.loads((folder / f"{name}.json").read_text())
"""
FILES = {
    "_config.yml": "title: T\nonly_build_toc_files: true\nexecute: {execute_notebooks: cache}\n",
    "_toc.yml": "{format: jb-book, root: book/intro, parts: [chapters: [file: chapters/01_x]]}",
    "book/intro.md": "# Intro\n",
    "gptlib/__init__.py": "",
    "gptlib/given/__init__.py": "",
    "gptlib/given/records.py": RECORDS,
    "data/runs/waves.json": '{"x": "seven"}',
    "requirements.txt": "",
    # What a learner leaves in the folder, and no build looks at.
    "chapters/01_x-Copy1.ipynb": "",
    "chapters/Untitled.ipynb": "{",
    "chapters/.ipynb_checkpoints/01_x-checkpoint.ipynb": "",
}


class Course:
    """A small course in a folder, and the builds of its book."""

    def __init__(self, root: Path):
        self.root, self.chapter = root, root / "chapters" / "01_x.ipynb"
        self.page = root / "_build" / "html" / "chapters" / "01_x.html"
        self.tally = root.parent / "tally.txt"

    def make(self) -> None:
        for name, text in FILES.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text, encoding="utf-8")
        tools = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "book" / "tools", self.root / "book" / "tools", ignore=tools)
        self.write(CODE)

    def write(self, code: str, words: str = "# X", **metadata) -> None:
        cells = [nbformat.v4.new_markdown_cell(words), nbformat.v4.new_code_cell(code)]
        for number, cell in enumerate(cells):
            cell.id = str(number)
        notebook = nbformat.v4.new_notebook(cells=cells, metadata=metadata)
        nbformat.write(notebook, self.chapter)

    def build(self, *arguments):
        """Build the book with the copy's own tools; return the process and the runs so far."""
        env = {**os.environ, "TALLY": str(self.tally), "PYTHONPATH": ""}
        tools = self.root / "book" / "tools"
        command = [sys.executable, *(arguments or [tools / "bookbuild.py"])]
        answer = subprocess.run(
            command, cwd=tools, env=env, capture_output=True, text=True, encoding="utf-8"
        )
        return answer, len(self.tally.read_text()) if self.tally.exists() else 0

    def builds(self) -> int:
        """Build the book, which must succeed; how often the chapter was run until now."""
        answer, runs = self.build()
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return runs


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Course:
    """The course, built once."""
    course = Course(tmp_path_factory.mktemp("first") / "Übung 1 (neu)")
    course.make()
    assert course.builds() == 1
    assert "the record says seven" in course.page.read_text(encoding="utf-8")
    return course


@pytest.fixture
def copied(first, tmp_path) -> Course:
    """A copy of the built course, with its _build, in another folder."""
    copy = Course(tmp_path / "a copy")
    shutil.copytree(first.root, copy.root)
    return copy


def test_a_copied_folder_goes_on_with_what_it_has(copied):
    assert copied.builds() == 0
    assert "the record says seven" in copied.page.read_text(encoding="utf-8")


def test_a_changed_record_executes_the_chapter_in_a_copied_folder(copied):
    (copied.root / "data" / "runs" / "waves.json").write_text('{"x": "eight"}')
    assert copied.builds() == 1
    assert "the record says eight" in copied.page.read_text(encoding="utf-8")
    assert copied.builds() == 1


def test_a_chapter_that_was_run_and_saved_is_not_executed_for_that(copied):
    lab = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    copied.write(CODE, "# Renamed", kernelspec=lab)
    notebook = nbformat.read(copied.chapter, as_version=4)
    notebook.cells[1].metadata["scrolled"] = True
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", text="the record says six")]
    nbformat.write(notebook, copied.chapter)
    assert copied.builds() == 0
    page = copied.page.read_text(encoding="utf-8")
    assert "Renamed" in page and "the record says seven" in page


STAGED = """\
import bookbuild, course
text = (course.ROOT / "chapters" / "01_x.ipynb").read_text(encoding="utf-8")
(course.ROOT / "chapters" / "01_x.ipynb").write_text("", encoding="utf-8")
course.stage(course.ROOT, course.STAGE, {"chapters/01_x.ipynb": text})
bookbuild.build(course.STAGE, course.STAGE.parent)
"""


def test_the_course_s_own_book_is_built_beside_the_reader_s_and_from_its_executions(copied):
    before = copied.page.read_bytes()
    answer, runs = copied.build("-c", STAGED)
    assert (answer.returncode, runs) == (0, 0), answer.stderr
    page = copied.root / "_build" / "course" / "html" / "chapters" / "01_x.html"
    assert "the record says seven" in page.read_text(encoding="utf-8")
    assert copied.page.read_bytes() == before


def test_a_chapter_that_fails_is_named_and_the_last_good_book_stays(copied):
    before = copied.page.read_bytes()
    copied.write("def f(:", "# Changed")
    answer, _ = copied.build()
    assert answer.returncode == 1
    assert 'chapters/01_x.ipynb, code cell 1 ("def f(:"): SyntaxError' in answer.stderr
    assert "holds the last good one" in answer.stderr
    assert copied.page.read_bytes() == before


def test_a_page_with_a_warning_stops_the_build_each_time_and_the_last_good_book_stays(copied):
    before = copied.page.read_bytes()
    copied.write(CODE, "# Changed\n\n[nowhere](nowhere.ipynb)")
    for _ in range(2):
        answer, _ = copied.build()
        assert answer.returncode == 1 and "nowhere.ipynb" in answer.stderr
    assert copied.page.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"{", b"{}"])
def test_a_chapter_that_is_no_notebook_is_named(copied, content):
    copied.chapter.write_bytes(content)
    answer, _ = copied.build()
    assert answer.returncode == 1 and "Traceback" not in answer.stderr
    assert "chapters/01_x.ipynb is " in answer.stderr


def test_all_code_is_parsed_before_any_chapter_runs(tmp_path, monkeypatch):
    """Python before 3.11.8 and 3.12.2 cannot parse in two threads at once."""
    paths, running = [tmp_path / "01_a.ipynb", tmp_path / "02_b.ipynb"], threading.Event()
    for path in paths:
        nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")]), path)

    async def run(*_):
        running.set()

    def parse(_):
        assert not running.wait(0.2)
        return "all that it depends on"

    for name, put in {"chapters": lambda _: paths, "executing": run, "fingerprint": parse}.items():
        monkeypatch.setattr(bookbuild, name, put)
    assert len(bookbuild.execute_changed(tmp_path, tmp_path)) == 2 and running.is_set()


# One at a time, all or nothing -------------------------------------------------------------------


def test_a_second_build_waits_for_the_first(tmp_path, capsys):
    order = []

    def second():
        with alone(tmp_path):
            order.append("second")

    lock = FileLock(tmp_path / ".lock")
    with lock:
        waiting = threading.Thread(target=second)
        waiting.start()
        while "another build" not in capsys.readouterr().out:
            assert waiting.is_alive()
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]


def test_a_folder_that_cannot_be_written_to_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BuildError, match=r"cannot be written to .* copy the course into a folder"):
        build(tmp_path, tmp_path / "file" / "_build")


def test_after_an_interrupted_build_every_page_is_read_again(tmp_path, monkeypatch):
    """Sphinx may have kept a page that it never wrote."""
    kept = tmp_path / "work" / "_build" / ".doctrees" / "environment.pickle"
    record = tmp_path / "work" / "pages.json"
    now = {"pages": bookbuild.fingerprint_of_pages(tmp_path)}

    def kill(*_, **__):
        assert not record.exists() and kept.exists()
        raise KeyboardInterrupt

    kept.parent.mkdir(parents=True)
    kept.write_text("")
    record.write_text(json.dumps(now))
    monkeypatch.setattr("subprocess.run", kill)
    with pytest.raises(KeyboardInterrupt):
        make_pages(tmp_path, tmp_path, {})
    monkeypatch.setattr("subprocess.run", lambda *_, **__: subprocess.CompletedProcess([], 0))
    make_pages(tmp_path, tmp_path, {})
    assert not kept.exists() and json.loads(record.read_text()) == now


def test_the_book_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    work, html = tmp_path / "work" / "_build" / "html", tmp_path / "html"
    work.mkdir(parents=True)
    (work / "index.html").write_text("one")
    (work / "gone.html").write_text("one")
    publish(tmp_path)
    (work / "gone.html").unlink()
    (work / "index.html").write_text("two")

    def full(source, target, **_):
        Path(target).mkdir()
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("shutil.copytree", full)
        with pytest.raises(OSError, match="no space"):
            publish(tmp_path)
    assert {f.name: f.read_text() for f in html.iterdir()} == {
        "index.html": "one",
        "gone.html": "one",
    }
    publish(tmp_path)
    assert {f.name: f.read_text() for f in html.iterdir()} == {"index.html": "two"}
    assert sorted(f.name for f in tmp_path.iterdir()) == ["html", "work"]


SLEEPS = """\
import os, time
with open(os.environ["TALLY"], "w") as tally:
    tally.write(str(os.getpid()))
time.sleep(600)"""


@pytest.mark.skipif(os.name == "nt", reason="an interrupt cannot be sent to one process alone")
def test_ctrl_c_ends_the_build_and_the_kernel(tmp_path):
    course = Course(tmp_path / "course")
    course.make()
    course.write(SLEEPS)
    env = {**os.environ, "TALLY": str(course.tally), "PYTHONPATH": ""}
    command = [sys.executable, str(course.root / "book" / "tools" / "bookbuild.py")]
    build = subprocess.Popen(
        command,
        env=env,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # What a shell runs in the background, and its children, would ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        wait_for(lambda: course.tally.exists() and course.tally.read_text())
        build.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in build.communicate(timeout=120)[1].decode()
        wait_for(lambda: not is_running(int(course.tally.read_text())))
    finally:
        build.kill()


def wait_for(happened) -> None:
    """Look ten times a second, for two minutes at most."""
    for _ in range(1200):
        if happened():
            return
        time.sleep(0.1)
    pytest.fail("it did not happen in two minutes")


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_torch_says_of_one_python_stands_in_no_chapter():
    say = "import warnings; warnings.warn('{}', RuntimeWarning)"
    for text, heard in (
        ("Guards may run slower on Python 3.13.0. Consider upgrading to Python 3.13.1+.", False),
        ("overflow encountered in exp", True),
    ):
        command = [sys.executable, "-c", say.format(text)]
        run = subprocess.run(command, capture_output=True, text=True, env=kernel_environment())
        assert (text in run.stderr) == heard

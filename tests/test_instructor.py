"""The instructor's kit: a class of made-up students is marked, hostile ones among them."""

from __future__ import annotations

import ast
import csv
import hashlib
import inspect
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import suppress
from pathlib import Path

import nbformat
import pytest
import torch
from classroom import (
    ASKED,
    BEND,
    GELU,
    GOOD,
    HELPERS,
    IMPORTS,
    MASK,
    NORM,
    STUBS,
    UPSIDE_DOWN,
    WEIGHTS,
    build,
    notebook,
    pupil,
)  # fmt: skip

import gptlib.exercises
from gptlib.exercises import book
from gptlib.exercises import work as learners
from gptlib.exercises.question import Question
from gptlib.exercises.task import Mistake, share
from instructor import similar, tables, uses, views
from instructor.__main__ import main
from instructor.grading import Settings, grade
from instructor.inside import wire
from instructor.marking import mark_work
from instructor.notebooks import read, shape
from instructor.release import imports_in, pieces, strip_package, stripped
from instructor.sandbox import NoIsolation, Sandbox, bubblewrap
from instructor.submissions import students_in

CHAPTERS = (3, 4)
HUNT = "attention.late_mask"
ROOT = Path(__file__).resolve().parent.parent


def files_under(folder: Path) -> dict[str, str]:
    """Every file below a folder, by its name, with a digest of what is in it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()
    }  # fmt: skip


@pytest.fixture(scope="session")
def isolation() -> None:
    """Skip where students' code cannot be kept apart; in CI that is a failure."""
    try:
        bubblewrap()
    except NoIsolation as error:
        pytest.skip(str(error).splitlines()[0])


@pytest.fixture(scope="session")
def marked_class(tmp_path_factory, isolation):
    """The class, marked once: what was expected, what came of it, and where things lie."""
    base = tmp_path_factory.mktemp("class")
    outside = base / "outside"
    outside.mkdir()
    (outside / "secret.ipynb").write_text(notebook(*GOOD.values()), encoding="utf-8")
    pupils = build(base / "handed in", outside)
    before = files_under(base)
    began = time.perf_counter()
    outcome = grade(base / "handed in", base / "out" / "grades.csv", Settings(CHAPTERS))
    seconds = time.perf_counter() - began
    print(f"{len(pupils)} submissions in {seconds:.1f} s")
    return pupils, outcome, base, before


def row_of(outcome, one):
    """The student and the marks of a pupil, found by the name of the file or folder."""
    first = Path(one.path).parts[0]
    for student, marked in outcome.rows:
        names = {student.name, f"{student.name}_{student.id}_assignsubmission_file_"}
        if first in names or (student.platform == "canvas" and f"_{student.id}_1_" in first):
            return student, marked
    raise AssertionError(f"{one.path} has no row")


def test_every_submission_has_its_row_and_nobody_else_s(marked_class):
    pupils, outcome, _, _ = marked_class
    assert len(pupils) >= 40 and len(outcome.rows) == len(pupils)
    assert len({row_of(outcome, one)[0].key for one in pupils.values()}) == len(pupils)


def test_everybody_has_the_marks_that_the_work_deserves(marked_class):
    pupils, outcome, _, _ = marked_class
    faults = []
    for name, one in pupils.items():
        marks = row_of(outcome, one)[1].marks
        states = tuple(marks[asked].state for asked in ASKED)
        if states != one.states:
            words = {asked: marks[asked].words for asked in ASKED if marks[asked].state == "wrong"}
            faults.append(f"{name}: {states}, not {one.states}: {words}")
    assert not faults, "\n".join(faults)


def test_everybody_is_told_what_is_wrong(marked_class):
    pupils, outcome, _, _ = marked_class
    faults = []
    for name, one in pupils.items():
        _, marked = row_of(outcome, one)
        for asked, words in one.says.items():
            if words not in marked.marks[asked].words:
                faults.append(f"{name}: {words!r} is not in {marked.marks[asked].words!r}")
        if one.notes not in "; ".join(marked.notes):
            faults.append(f"{name}: {one.notes!r} is not in {marked.notes}")
    assert not faults, "\n".join(faults)


def test_nothing_outside_is_touched_and_nothing_stays_behind(marked_class):
    _, _, base, before = marked_class
    after = {name: digest for name, digest in files_under(base).items()
             if not name.startswith("out/")}  # fmt: skip
    assert after == before
    assert not list(Path("/").glob("owned.txt")) and not Path("/tmp/owned.txt").exists()
    assert not (Path.home() / "owned.txt").exists() and not Path("/dev/shm/owned.txt").exists()
    if shutil.which("ps"):
        running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
        ours = [line for line in running.splitlines() if "/box/instructor/inside/worker.py" in line]
        assert not ours


def test_the_second_time_nothing_is_run_and_all_is_the_same(marked_class):
    _, outcome, base, _ = marked_class
    out = base / "out" / "grades.csv"
    first = files_under(base / "out")
    again = grade(base / "handed in", out, Settings(CHAPTERS))
    assert again.run == 0
    assert files_under(base / "out") == first
    assert [m for _, m in again.rows] == [m for _, m in outcome.rows]


def test_marked_afresh_the_result_is_the_same(marked_class, tmp_path):
    """Some of the class, those whose process ended among them, in another folder."""
    _, outcome, base, _ = marked_class
    few = tmp_path / "few"
    for name in ("attack-exit", "attack-fork", "attack-equal", "attack-html",
                 "Ada Lovelace_101_assignsubmission_file_"):  # fmt: skip
        shutil.copytree(base / "handed in" / name, few / name)
    again = grade(few, tmp_path / "grades.csv", Settings(CHAPTERS))
    assert again.run == 5
    old = {student.key: marked for student, marked in outcome.rows}
    assert all(old[student.key] == marked for student, marked in again.rows)


def test_the_tables_can_be_imported(marked_class):
    _, outcome, base, _ = marked_class

    def table(name: str) -> list[dict[str, str]]:
        with (base / "out" / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    everybody = table("grades.csv")
    names = [one.name for one in outcome.asked]
    assert list(everybody[0]) == ["student", "id", "platform", *names, "sum", "of", "notes", "page"]
    for row in everybody:
        assert float(row["sum"]) == sum(float(row[name]) for name in names)
        assert (base / "out" / "grades" / row["page"]).is_file()
    assert "'=cmd|'x'!A1" in {row["student"] for row in everybody}
    moodle = table("grades-moodle.csv")
    head = {"Identifier", "Grade", "Last modified (grade)", "Feedback comments"}
    assert head <= set(moodle[0]) and len(moodle) == 12
    ada = next(row for row in moodle if row["Full name"] == "Ada Lovelace")
    right = [mark for mark in outcome.rows[0][1].marks.values() if mark.state == "right"]
    assert len(right) == len(GOOD) and ada["Identifier"] == "Participant 101"
    assert ada["Grade"] == "12.00"  # four core pieces of three points
    canvas = table("grades-canvas.csv")
    five = ["Student", "ID", "SIS User ID", "SIS Login ID", "Section", "grades"]
    assert list(canvas[0]) == five
    assert canvas[0]["Student"].strip() == "Points Possible"
    assert {row["ID"] for row in canvas[1:]} == {str(n) for n in range(1, 17)}


def test_pages_go_back_under_the_names_under_which_work_came(marked_class):
    """A folder a student for Moodle, a file for Canvas: the platform reads the numbers in them."""
    pupils, _, base, _ = marked_class
    first = [Path(one.path).parts[0] for one in pupils.values()]
    for platform, place in (("moodle", "{}/marks.html"), ("canvas", "{}_marks.html")):
        with zipfile.ZipFile(base / "out" / f"grades-{platform}-feedback.zip") as archive:
            found = {name: archive.read(name).decode() for name in archive.namelist()}
        if platform == "moodle":
            wanted = {place.format(name) for name in first if "assignsubmission" in name}
            page = found["Ada Lovelace_101_assignsubmission_file_/marks.html"]
            assert "<h1>Ada Lovelace</h1>" in page and found.keys() == wanted
        else:  # work that is no notebook has no file to be named after
            assert {"odda_1_1_marks.html", "oddh_8_1_marks.html"} <= found.keys()
            assert len(found) >= len([n for n in first if n.startswith("odd")]) - 2


def test_marking_that_was_stopped_goes_on_where_it_was(tmp_path, isolation):
    for name in ("ada", "ben", "cleo", "dora"):
        (tmp_path / "in").mkdir(exist_ok=True)
        text = pupil("x", {MASK: UPSIDE_DOWN.replace("T", name)}).text
        (tmp_path / "in" / f"{name}.ipynb").write_text(text, encoding="utf-8")

    def stop(text):
        said.append(text)
        if len(said) == 2:
            raise KeyboardInterrupt

    said = []
    with pytest.raises(KeyboardInterrupt):
        grade(tmp_path / "in", tmp_path / "grades.csv", Settings((3,)), say=stop)
    assert said == ["[#####...............] 1 of 4: ada", "[##########..........] 2 of 4: ben"]
    (tmp_path / "in" / "dora.ipynb").write_text(notebook("x = 1"), encoding="utf-8")
    again = grade(tmp_path / "in", tmp_path / "grades.csv", Settings((3,)))
    assert 1 <= again.run <= 2 and len(again.rows) == 4


def test_pages_are_escaped_and_hold_no_script(marked_class):
    _, _, base, _ = marked_class
    pages = sorted((base / "out" / "grades").glob("*.html"))
    assert len(pages) == len(list((base / "handed in").iterdir())) + 1
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "<script" not in text and "<b>bold" not in text and "default-src 'none'" in text
    html = (base / "out" / "grades" / "attack-html-attack-html.html").read_text(encoding="utf-8")
    assert "&lt;script&gt;alert(1)" in html


def test_the_class_page_says_what_was_hard(marked_class):
    _, _, base, _ = marked_class
    text = (base / "out" / "grades" / "class.html").read_text(encoding="utf-8")
    assert 'role="img"' in text and 'aria-label="Students by points.' in text
    assert "The scores are not divided by the root of the head size." in text
    assert text.index(f"<td>{MASK}</td>") < text.index(f"<td>{GELU}</td>")  # the hardest first
    assert "Dora and Jon" in text and "no verdict" in text
    assert "Ada Lovelace and Ben" not in text


def test_two_threads_never_parse_at_once(tmp_path, isolation, monkeypatch):
    """Python before 3.11.8 and 3.12.2 ends in an error where they do."""
    ours, busy, together = ast.parse, threading.Semaphore(1), []

    def parse(*given, **how):
        if threading.current_thread() is threading.main_thread():  # which reads before and after
            return ours(*given, **how)
        alone = busy.acquire(blocking=False)
        together.append(not alone)
        time.sleep(0.01)  # so long that another thread would come in between
        try:
            return ours(*given, **how)
        finally:
            if alone:
                busy.release()

    for number in range(4):
        text = notebook(*GOOD.values())
        (tmp_path / f"student-{number}.ipynb").write_text(text, encoding="utf-8")
    monkeypatch.setattr("instructor.grading._cores", lambda: 4)
    monkeypatch.setattr("ast.parse", parse)
    for kept in (views.view, uses.needs, uses._definitions):
        kept.cache_clear()
    grade(tmp_path, tmp_path / "out" / "grades.csv", Settings(CHAPTERS))
    assert len(together) > 20 and not any(together)


# The sandbox --------------------------------------------------------------------------------------


def marks(tmp_path, text: str, chapters=CHAPTERS, **how):
    """The marks of one notebook."""
    path = tmp_path / "one.ipynb"
    path.write_text(text, encoding="utf-8")
    work = read(path, [*book.TASKS, *book.QUESTIONS])
    with Sandbox(**how) as sandbox:
        return mark_work(sandbox, work, views.asked_in(chapters)), sandbox.mode


def test_a_wrong_warm_up_does_not_cost_the_piece_that_calls_it(tmp_path, isolation):
    """Its answer stands among the exercises, out of sight, and is lent for the second look."""
    rows = """def row_statistics(x):
    return x.mean(dim=-1, keepdim=True), x.var(dim=-1, keepdim=True)"""
    norm = """def layer_norm(x, weight=None, bias=None, eps=1e-5):
    mean, var = row_statistics(x)
    x = (x - mean) / torch.sqrt(var + eps)
    return x * (1 if weight is None else weight) + (0 if bias is None else bias)"""
    warm_up = "layers.row_statistics"
    cells = [IMPORTS, f'@exercise("{warm_up}")\n{rows}', f'@exercise("{NORM}")\n{norm}']
    marked = marks(tmp_path, notebook(*cells), (4,))[0].marks
    assert marked[warm_up].state == "wrong" and "C - 1" in marked[warm_up].words
    assert marked[NORM].words == f"right, with the course's {warm_up} in the place of yours."
    # What is lent is not there for another answer, and mends none.
    spy = norm.replace("row_statistics(x)", "x.mean(), x.var()") + "\n# row_statistics"
    stolen = "def gelu(x, approximate='tanh'):\n    import gptlib.exercises.layers_parts"
    cells = [*cells[:2], f'@exercise("{NORM}")\n{spy}', f'@exercise("{GELU}")\n{stolen}']
    marked = marks(tmp_path, notebook(*cells), (4,))[0].marks
    assert marked[NORM].state == "wrong" and "ModuleNotFoundError" in marked[GELU].words


def test_without_nested_namespaces_each_has_a_sandbox_of_its_own(tmp_path, isolation):
    one = pupil(
        "x",
        {GELU: BEND + "    open('/tmp/x', 'w').write('x')\n    return x"},
    )
    nested, _ = marks(tmp_path, one.text)
    alone, mode = marks(tmp_path, one.text, nested=False)
    assert mode == 1 and alone.marks == nested.marks


def test_submissions_do_not_see_one_another(tmp_path, isolation):
    """A file, a patched module and a name of one are not there for the next."""
    leave = BEND + "    open('/tmp/left', 'w').write('x')\n    torch.left = 1\n    return x"
    look = """
def gelu(x, approximate='tanh'):
    import os
    for place in ("/tmp", "/dev/shm", "/proc"):
        if os.listdir(place): raise RuntimeError(place)
    if hasattr(torch, "left"): raise RuntimeError("torch")
    raise RuntimeError("alone")"""
    names = [*book.TASKS]
    with Sandbox() as sandbox:
        found = []
        for source in (leave, look):
            path = tmp_path / "one.ipynb"
            path.write_text(pupil("x", {GELU: source}).text, encoding="utf-8")
            marked = mark_work(sandbox, read(path, names), views.asked_in([4]))
            found.append(marked.marks[GELU].words)
    assert "This is" not in found[1] and "raises RuntimeError: alone" in found[1]


def test_trusted_code_runs_without_a_sandbox(tmp_path):
    marked, mode = marks(tmp_path, pupil("x", {MASK: UPSIDE_DOWN}).text, trust=True)
    assert mode == 0
    assert [marked.marks[name].state for name in ASKED] == ["wrong", "right", "right", "right"]


def test_without_bubblewrap_it_refuses(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ada.ipynb").write_text(pupil("x").text, encoding="utf-8")
    words = ["grade", str(tmp_path / "in"), "--out", str(tmp_path / "grades.csv")]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "bubblewrap" in said and "--trust" in said and not (tmp_path / "grades.csv").exists()
    assert main([*words, "--trust"]) == 0
    assert "ada" in (tmp_path / "grades.csv").read_text(encoding="utf-8")


def test_a_sandbox_that_does_not_work_is_named(tmp_path, monkeypatch):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho no namespaces here >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(NoIsolation, match="no namespaces here"):
        bubblewrap()


@pytest.mark.slow
def test_every_reference_is_right_in_the_sandbox_too(tmp_path, isolation):
    """Whatever a task does with an answer, and whatever goes to it, crosses over and back."""
    wrong = {}
    with Sandbox() as sandbox:
        for number, module in enumerate(book.CHAPTERS, 1):
            cells = [IMPORTS]
            cells += [f'@exercise("{one.name}")\n{learners.source_of(one.reference)}'
                      for one in module.TASKS]  # fmt: skip
            path = tmp_path / "one.ipynb"
            path.write_text(notebook(*cells), encoding="utf-8")
            tasks = [one for one in views.asked_in([number]) if not isinstance(one, Question)]
            marked = mark_work(sandbox, read(path, [*book.TASKS]), tasks)
            wrong |= {n: m.words for n, m in marked.marks.items() if m.state != "right"}
    assert wrong == {}


def right_answers(chapters) -> dict[str, str]:
    """The named right answers of these chapters by what they do, not the references alone."""
    found = {}
    for one in views.asked_in(chapters):
        for answer in () if isinstance(one, Question) else (one.reference, *one.right):
            with suppress(OSError):  # a lambda, or a class that another one makes
                found[shape(learners.source_of(answer))] = one.name
    return found


def told_in(sources: dict[str, str], answers: dict[str, str]) -> list[tuple[str, str]]:
    """The modules that hold one of these answers, and which."""
    return [
        (where, answers[shape(node)])
        for where, source in sources.items()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and shape(node) in answers
    ]


@pytest.mark.parametrize("number", range(1, len(book.CHAPTERS) + 1))
def test_no_right_answer_is_in_sight_while_a_chapter_is_marked(number):
    answers = right_answers([number])
    assert len(answers) >= 6
    assert told_in(views.view(number), answers) == []


@pytest.mark.slow
@pytest.mark.parametrize("chapters", [(1, 2), (5, 6), (7, 8), (9, 10), (11, 12)])
def test_a_release_of_any_chapters_holds_no_right_answer(chapters, tmp_path):
    shutil.copytree(views.PACKAGE, tmp_path / "gptlib",
                    ignore=shutil.ignore_patterns("__pycache__"))  # fmt: skip
    shutil.copytree(ROOT / "data" / "runs", tmp_path / "data" / "runs")
    whole = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.py")}
    answers = right_answers(chapters)
    assert len(told_in(whole, answers)) > 10
    strip_package(tmp_path / "gptlib", views.asked_in(chapters))
    left = {str(path): path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.py")}
    assert told_in(left, answers) == []


def test_what_is_asked_for_is_out_of_sight(isolation):
    for number in range(1, len(book.CHAPTERS) + 1):
        seen = views.view(number)
        assert not any("Mistake(" in source for source in seen.values())
        for module, names in views.taken(number).items():
            for name in names:
                assert f"{name} is yours to write" in seen.get(module, f"{name} is yours to write")


# What is read, and whose it is --------------------------------------------------------------------


def found_in(tmp_path, *cells: str):
    path = tmp_path / "one.ipynb"
    path.write_text(notebook(*cells), encoding="utf-8")
    return read(path, [*ASKED, "attention.parameters"])


def test_only_imports_definitions_and_constants_are_taken(tmp_path):
    work = found_in(
        tmp_path, IMPORTS, "SIZE = 3 * 4\nout = open('x')\nprint(1)\nfor i in x: pass",
        "twice = lambda x: 2 * x\ndel SIZE", GOOD[MASK],
    )  # fmt: skip
    assert [piece.source for piece in work.pieces][-3:] == [
        "SIZE = 3 * 4", "twice = lambda x: 2 * x", GOOD[MASK],
    ]  # fmt: skip


def test_the_course_s_own_code_is_nobody_s_answer(tmp_path):
    ours = f'@otherwise("{MASK}")\n{GOOD[MASK]}'
    assert found_in(tmp_path, ours).code(MASK) == ""
    assert "triu" in found_in(tmp_path, f'@exercise("{MASK}")\n{UPSIDE_DOWN}', ours).code(MASK)


def test_typed_answers_are_read_and_not_run(tmp_path):
    cells = ['answer("attention.parameters", 3 * 4 + 2**3)', 'answer("attention.parameters", ...)']
    assert found_in(tmp_path, *cells).answers == {"attention.parameters": 20}
    assert found_in(tmp_path, "n = 5", 'answer("attention.parameters", (n, "rows"))').answers == {
        "attention.parameters": (5, "rows")
    }
    whole = found_in(tmp_path, 'answer("attention.parameters", (4 * 1600**2, 2**0.5, 4**-1))')
    assert whole.answers == {"attention.parameters": (10_240_000, 2**0.5, 0.25)}
    assert type(whole.answers["attention.parameters"][0]) is int
    for hostile in ("9**9**9**9", "__import__('os').system('x')", "'x' * 10**12", "model(x)"):
        work = found_in(tmp_path, f'answer("attention.parameters", {hostile})')
        assert work.answers == {} and "only a value" in work.unread["attention.parameters"]


@pytest.fixture
def question(monkeypatch):
    """A question in chapter 3, whose figures differ by seed."""
    asked = Question(
        name="attention.parameters", asks="How many are {n} times {n}?",
        figures=lambda seed: {"n": 4 + seed}, answer=lambda n: n * n, hints=("a", "b", "c"),
        mistakes=(Mistake("That is the double.", lambda n: 2 * n),), because="n · n.",
    )  # fmt: skip
    monkeypatch.setattr(book.CHAPTERS[2], "QUESTIONS", (asked,), raising=False)
    monkeypatch.setattr(book, "QUESTIONS", {asked.name: asked})
    for one in (views._chapters, views.view, views.sources, uses.needs):
        one.cache_clear()
    yield asked
    for one in (views._chapters, views.view, views.sources, uses.needs):
        one.cache_clear()


def test_a_typed_answer_is_marked_by_the_variant_of_the_class(tmp_path, question, isolation):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, value in {"ada": "16", "ben": "25", "cleo": "8", "dora": "..."}.items():
        text = notebook(f'answer("attention.parameters", {value})')
        (folder / f"{name}.ipynb").write_text(text, encoding="utf-8")
    states = {}
    for seed in (0, 1):
        rows = grade(folder, tmp_path / f"{seed}.csv", Settings((3,), seed)).rows
        states[seed] = {s.name: m.marks[question.name] for s, m in rows}
    assert [one.state for one in states[0].values()] == ["right", "wrong", "wrong", "not attempted"]
    assert [one.state for one in states[1].values()] == ["wrong", "right", "wrong", "not attempted"]
    assert "That is the double." in states[0]["cleo"].words


def test_download_folders_are_understood(tmp_path):
    names = {
        "moodle": ["Ada Lovelace_1_assignsubmission_file_/a.ipynb",
                   "Ben_2_assignsubmission_file_b.ipynb"],
        "canvas": ["lovelaceada_11_21_03.ipynb", "benoit_LATE_12_22_03-1.ipynb"],
        "classroom": ["week-3-ada/x/y.ipynb", "week-3-ben/y.ipynb", "week-3-ada/.git/z.ipynb"],
        "folder": ["Ada/03.ipynb", "Ben/03.ipynb", "Ben/__MACOSX/._03.ipynb"],
        "file": ["ada_03_attention.ipynb", "ada_04_layers.ipynb", "ben.ipynb"],
    }  # fmt: skip
    for platform, paths in names.items():
        for nested in ("", "an archive/"):
            folder = tmp_path / f"{platform}{bool(nested)}"
            for path in paths:
                (folder / (nested + path)).parent.mkdir(parents=True, exist_ok=True)
                (folder / (nested + path)).write_text("{}", encoding="utf-8")
            if platform == "file" and nested:
                continue  # a lone folder of files is one student's
            students = students_in(folder)
            assert len(students) == 2, (platform, students)
            assert {one.platform for one in students} == {platform}
            count = 2 if platform == "file" else 1
            assert len(students[0].files) == count
    assert students_in(tmp_path / "moodleFalse")[0].id == "1"
    assert students_in(tmp_path / "canvasFalse")[0].id == "12"
    assert [one.name for one in students_in(tmp_path / "classroomFalse")] == ["ada", "ben"]


def test_several_notebooks_of_one_student_are_one_row(tmp_path, isolation):
    folder = tmp_path / "in" / "Ada"
    folder.mkdir(parents=True)
    other = {name: source.replace("bent", "causal_mask") for name, source in GOOD.items()}
    third = [IMPORTS, *(f'@exercise("{name}")\n{GOOD[name]}' for name in (MASK, WEIGHTS))]
    fourth = [IMPORTS, HELPERS.replace("bent", "causal_mask"),
              *(f'@exercise("{name}")\n{other[name]}' for name in (NORM, GELU))]  # fmt: skip
    (folder / "03.ipynb").write_text(notebook(*third), encoding="utf-8")
    (folder / "04.ipynb").write_text(notebook(*fourth), encoding="utf-8")
    outcome = grade(folder.parent, tmp_path / "grades.csv", Settings())
    assert len(outcome.rows) == 1
    marks = outcome.rows[0][1].marks
    assert {name for name, mark in marks.items() if mark.state == "right"} == {*GOOD}


def test_alike_is_asked_about_code_and_not_about_names(tmp_path):
    renamed = GOOD[WEIGHTS].replace("scores", "s").replace("query", "q")
    other = "def attention_weights(q, k, m=None):\n    return F.scaled_dot_product_attention(" \
            "q, k, torch.eye(k.size(-2), dtype=k.dtype), attn_mask=m)"  # fmt: skip
    works = {}
    for name, source in {"a": GOOD[WEIGHTS], "b": renamed, "c": other, "d": STUBS[WEIGHTS],
                         "e": STUBS[WEIGHTS]}.items():  # fmt: skip
        works[name] = found_in(tmp_path, f'@exercise("{WEIGHTS}")\n{source}')
    pairs = similar.alike(works, [WEIGHTS], {})
    assert [(pair.first, pair.second) for pair in pairs] == [("a", "b")]
    assert similar.alike(works, [WEIGHTS], {WEIGHTS: [GOOD[WEIGHTS]]}) == []


@pytest.mark.parametrize(
    "words",
    [["grade", "/nowhere"], ["grade", ".", "--points", "/nowhere"],
     ["grade", ".", "--chapters", "99"]],
)  # fmt: skip
def test_bad_words_are_told(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.ipynb").write_text("{}", encoding="utf-8")
    assert main(words) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.ipynb"]


# An instructor's overlay -------------------------------------------------------------------------

LONG = f'''
def long(seed):
    """A mask that is larger than any in the notebook."""
    yield (300,)

def weights(seed):
    import torch
    yield torch.ones(1, 40, 2), torch.ones(1, 40, 2), torch.ones(40, 40, dtype=torch.bool).tril()

HIDDEN = {{"{MASK}": long, "{WEIGHTS}": weights}}
'''
SHORT_ONLY = """def causal_mask(T):
    return torch.ones(T, T, dtype=torch.bool).tril(0 if T < 100 else 1)"""


def overlay_of(tmp_path, **files: str) -> Path:
    folder = tmp_path / "overlay"
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_dot_", ".")).write_text(text, encoding="utf-8")
    return folder


def test_hidden_checks_have_columns_and_points_of_their_own(tmp_path, isolation, capsys):
    overlay = overlay_of(tmp_path, long_dot_py=LONG, points_dot_toml=f'"{MASK}.hidden" = 4\n')
    copied = {WEIGHTS: GOOD[WEIGHTS].replace("~mask", "~causal_mask(key.size(-2))")}
    pupils = {"ada": {}, "ben": {MASK: SHORT_ONLY}, "cleo": STUBS, "dora": {MASK: UPSIDE_DOWN},
              "emil": {MASK: UPSIDE_DOWN, **copied}}  # fmt: skip
    (tmp_path / "in").mkdir()
    for name, given in pupils.items():
        (tmp_path / "in" / f"{name}.ipynb").write_text(pupil("x", given).text, encoding="utf-8")
    words = ["grade", str(tmp_path / "in"), "--out", str(tmp_path / "grades.csv"),
             "--chapters", "3"]  # fmt: skip

    def table() -> dict[str, dict[str, str]]:
        with (tmp_path / "grades.csv").open(encoding="utf-8") as file:
            return {row["student"]: row for row in csv.DictReader(file)}

    assert main(words) == 0
    before = table()
    assert main([*words, "--overlay", str(overlay)]) == 0
    assert capsys.readouterr().out.count("5 run") == 2  # what is remembered has no such check
    after = table()
    columns = [f"{MASK}.hidden", f"{WEIGHTS}.hidden"]
    points = {name: [row[MASK], *(row[one] for one in columns)] for name, row in after.items()}
    assert points == {
        "ada": ["3", "4", "1"], "ben": ["3", "0", "1"], "cleo": ["0", "0", "0"],
        "dora": ["0", "0", "1"], "emil": ["0", "0", "1"],
    }  # fmt: skip
    for name, row in after.items():
        hidden = sum(map(float, points[name][1:]))
        assert float(row["sum"]) == float(before[name]["sum"]) + hidden
    page = (tmp_path / "grades" / "ben.html").read_text(encoding="utf-8")
    assert f"{MASK}.hidden: not yet, 0 of 4" in page and "causal_mask(300)" in page
    (overlay / "long.py").write_text(LONG.replace("(300,)", "(30,)"), encoding="utf-8")
    assert main([*words, "--overlay", str(overlay)]) == 0
    assert table()["ben"][columns[0]] == "4"  # another check: nothing is remembered of the old one
    # The answer that a hidden check of another one calls need not have one itself.
    overlay_of(tmp_path, long_dot_py=LONG.replace(f'"{MASK}": long, ', ""), points_dot_toml="")
    assert main([*words, "--overlay", str(overlay)]) == 0
    assert table()["emil"][columns[1]] == "1" and columns[0] not in table()["emil"]


@pytest.mark.parametrize(("text", "says"), [
    ("HIDDEN = {", "does not run: SyntaxError"),
    ("1 / 0", "does not run: ZeroDivisionError"),
    ("x = 1", "must have a table HIDDEN"),
    ("HIDDEN = {'attention.mask': None}", "'attention.mask' is no exercise"),
    ("HIDDEN = {'attention.shapes': None}", "takes no inputs"),
    (f"HIDDEN = {{'{MASK}': lambda seed: []}}", "there are none"),
    (f"HIDDEN = {{'{MASK}': lambda seed: [3]}}", "must be a tuple"),
    (f"HIDDEN = {{'{MASK}': lambda seed: [(-3,)]}}", f"hidden inputs of {MASK}: ValueError"),
    (f"HIDDEN = {{'{MASK}': 3}}", "'int' object is not callable"),
])  # fmt: skip
def test_a_bad_file_of_an_overlay_is_named(tmp_path, text, says, capsys):
    overlay = overlay_of(tmp_path, hard_dot_py=text)
    for words in (["grade", str(tmp_path)], ["release", "--chapters", "3", "--out", "x"]):
        assert main([*words, "--overlay", str(overlay)]) == 1
        said = capsys.readouterr().err
        assert "hard.py" in said and says in said, said


def test_bad_points_of_an_overlay_are_named(tmp_path, capsys):
    for text, says in (('"attention.mask" = 1', "'attention.mask' is no exercise"),
                       (f'"{MASK}.hidden" = 1', "no hidden check"),
                       (f'"{MASK}" = -1', "has -1"), ("x", "must be a TOML file")):  # fmt: skip
        overlay = overlay_of(tmp_path, points_dot_toml=text)
        assert main(["grade", str(tmp_path), "--overlay", str(overlay)]) == 1
        said = capsys.readouterr().err
        assert "points.toml" in said and says in said, said
    twice = overlay_of(tmp_path, a_dot_py=LONG, b_dot_py=LONG)
    assert main(["grade", str(tmp_path), "--overlay", str(twice)]) == 1
    assert "b.py" in (said := capsys.readouterr().err) and "another file" in said


# Bytes --------------------------------------------------------------------------------------------

VALUES = [
    None, True, -3, 2**80, 0.5, float("inf"), "é\n", b"\x00\xff", [1, (2, "x")], {(1, 2): [3]},
    {1, 2}, torch.tensor([[0.5, -1.25], [3.0, 7e-8]]), torch.tensor(True), torch.zeros(0, 4),
    torch.zeros(2, device="meta"),
    torch.tensor([0.5, -1.25, 3.0]).bfloat16(), torch.int8, ..., torch.arange(6).view(2, 3).T,
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_travel(value):
    back = wire.unpack(wire.pack(value))
    if torch.is_tensor(value):
        assert (back.dtype, back.shape, back.device) == (value.dtype, value.shape, value.device)
        assert value.device.type == "meta" or torch.equal(back, value)
    else:
        assert back == value and type(back) is type(value)


def test_objects_do_not_travel():
    class Yes(int):
        def __eq__(self, other):
            return True

        __hash__ = None

    assert type(wire.unpack(wire.pack(Yes(3)))) is int
    back = wire.unpack(wire.pack(object()))
    assert type(back).__name__ == "object" and repr(back) == "<object object>"
    assert (
        type(wire.unpack(wire.pack(torch.zeros(2).as_subclass(torch.nn.Parameter)))) is torch.Tensor
    )


@pytest.mark.parametrize("data", [
    b"", b"\x00\x00\x00\x02[]", b"\x00\x00\x00\x05[1,2]", b"\xff" * 40,
    b"\x00\x00\x00\x01" + b"[" * 9,
    b"\x00\x00\xff\xff" + b"[" * 70000, b'\x00\x00\x00\x20["tensor","float32",[1000000000]]',
    b'\x00\x00\x00\x1f["data","os","environ",{"a":1}]  ', b'\x00\x00\x00\x10["__init__",[1]]',
])  # fmt: skip
def test_what_is_no_message_is_broken(data):
    with pytest.raises(wire.Broken):
        wire.unpack(data)


def test_a_message_that_never_ends_is_given_up():
    ours, theirs = socket.socketpair()
    theirs.sendall(b"\x00" * 4)
    with pytest.raises(TimeoutError):
        wire.receive(ours, time.monotonic() + 0.2)


def test_a_formula_is_no_cell():
    assert tables.cell("=1+1") == "'=1+1" and tables.cell("Ada\x00") == "Ada "


# nbgrader -----------------------------------------------------------------------------------------


def nbgrader(folder: Path, *words: str) -> str:
    """Run nbgrader in a folder; what it says."""
    from execution import kernel_environment

    env = kernel_environment() | {"PYTHONPATH": str(ROOT), "JUPYTER_PREFER_ENV_PATH": "1"}
    env["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # it calls alembic
    answer = subprocess.run(
        [sys.executable, "-m", "nbgrader", *words], cwd=folder, env=env, capture_output=True,
        text=True, timeout=600,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr[-3000:]
    return answer.stdout + answer.stderr


@pytest.mark.slow
def test_nbgrader_marks_the_exported_notebooks_with_partial_credit(tmp_path):
    pytest.importorskip("nbgrader")
    assert main(["export-nbgrader", str(tmp_path), "--chapters", "3"]) == 0
    nbgrader(tmp_path, "generate_assignment", "chapter-3")
    stubs = (tmp_path / "release" / "chapter-3" / "chapter-3.ipynb").read_text(encoding="utf-8")
    whole = (tmp_path / "source" / "chapter-3" / "chapter-3.ipynb").read_text(encoding="utf-8")
    assert "tril()" in whole and "tril()" not in stubs and "YOUR CODE HERE" in stubs
    wrong = nbformat.reads(whole, as_version=4)
    for cell in wrong.cells:
        if cell.metadata.nbgrader.grade_id == "attention-causal_mask-answer":
            cell.source = UPSIDE_DOWN  # right for one token, which is one input of three
    for name, text in (("ada", whole), ("ben", stubs), ("cleo", nbformat.writes(wrong))):
        path = tmp_path / "submitted" / name / "chapter-3" / "chapter-3.ipynb"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    nbgrader(tmp_path, "autograde", "chapter-3")
    nbgrader(tmp_path, "export")
    with (tmp_path / "grades.csv").open(encoding="utf-8") as file:
        rows = {row["student_id"]: row for row in csv.DictReader(file)}
    whole_score = float(rows["ada"]["max_score"])
    scores = {name: float(row["score"]) for name, row in rows.items()}
    assert scores == {"ada": whole_score, "ben": 0.0, "cleo": whole_score - 2}


def test_a_notebook_for_nbgrader_is_not_overwritten(tmp_path, capsys):
    words = ["export-nbgrader", str(tmp_path), "--chapters", "3,4"]
    assert main(words) == 0
    written = files_under(tmp_path)
    assert main(words) == 1 and "is there already" in capsys.readouterr().err
    assert files_under(tmp_path) == written


def test_a_class_in_nbgrader_is_dealt_its_own_bug_too(tmp_path):
    assert main(["export-nbgrader", str(tmp_path), "--chapters", "3", "--seed", "4"]) == 0
    text = (tmp_path / "source" / "chapter-3" / "chapter-3.ipynb").read_text(encoding="utf-8")
    assert "#     scores = scores.masked_fill(~mask, 0.0)" in text
    assert f'dealt(find(\\"{HUNT}\\"), 4)' in text


def test_a_part_of_the_inputs_right_is_a_part_of_the_credit():
    task = book.TASKS[MASK]
    assert share(task, task.reference) == 1.0
    assert share(task, lambda T: torch.ones(T, T, dtype=torch.bool).triu()) == pytest.approx(1 / 3)
    assert share(task, lambda T: None) == 0.0


# A release ----------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def released(tmp_path_factory):
    """A release of chapters 3 and 4, its wheel unpacked: the release, and the package."""
    base = tmp_path_factory.mktemp("release")
    overlay = base / "overlay"
    overlay.mkdir()
    (overlay / "points.toml").write_text(f'"{MASK}" = 7\n', encoding="utf-8")
    (overlay / "long.py").write_text(LONG, encoding="utf-8")
    (overlay / "rules.md").write_text("Work alone.\n", encoding="utf-8")
    words = ["release", "--chapters", "3,4", "--out", str(base / "out"), "--seed", "4",
             "--due", "2026-12-01", "--overlay", str(overlay)]  # fmt: skip
    assert main(words) == 0
    (wheel,) = (base / "out").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0].partition("-")[0] for name in archive.namelist()}
        assert tops == {"gptlib"}, tops  # the kit stays outside the students' wheel
        archive.extractall(base / "package")
    return base / "out", base / "package"


def as_student(package: Path, work: Path, code: str) -> str:
    """What a program prints that has the release's package and no other."""
    env = {**os.environ, "PYTHONPATH": str(package), "GPTLIB_WORK": str(work)}
    program = work / "program.py"  # a file: what is kept of an answer is its source
    program.write_text(code, encoding="utf-8")
    words = [sys.executable, str(program)]
    answer = subprocess.run(words, env=env, cwd=work, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


def codes_in(code):
    """The functions in a code object, as what they do: their instructions and names.

    The body of a class is none: classes with methods of the same names have the same one.
    """
    if code.co_flags & inspect.CO_OPTIMIZED:
        yield code.co_code, code.co_names
    for one in code.co_consts:
        if hasattr(one, "co_code"):
            yield from codes_in(one)


@pytest.mark.slow
def test_a_release_holds_no_answer(released):
    """Not as source, not as byte code, and not in a notebook."""
    folder, package = released
    tasks = [one for one in views.asked_in(CHAPTERS) if not isinstance(one, Question)]
    shapes, codes = {}, {}
    for one in tasks:
        source = learners.source_of(one.reference)
        shapes[shape(source)] = one.name
        whole = codes_in(compile(source, "<reference>", "exec"))
        codes |= {each: one.name for each in whole if len(each[0]) > 60}
    assert {*codes.values()} == {*shapes.values()} == {one.name for one in tasks}
    sources = {path: path.read_text(encoding="utf-8") for path in package.rglob("*.py")}
    assert len(sources) > 30 and not list(package.rglob("*.pyc"))
    for path in folder.glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        assert not any("<summary>Solution" in cell.source for cell in cells)
        assert not any("ours" in cell.metadata.get("tags", ()) for cell in cells)
        sources |= {f"{path.name} {i}": cell.source for i, cell in enumerate(cells)
                    if cell.cell_type == "code" and "@exercise" in cell.source}  # fmt: skip
    found = []
    for path, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and shape(node) in shapes:
                found.append(f"{path}: {shapes[shape(node)]}")
        for one in codes_in(compile(source, "<released>", "exec")):
            if one in codes:
                found.append(f"{path}: {codes[one]} as byte code")
    assert found == []


PARTS = ("qkv(x).split", "self.split_heads(x)", ".transpose(1, 2).reshape(B, T, C)",
         "is_causal=True", "self.mask[:T, :T]", "part.reshape(B", "attn_mask=")  # fmt: skip


@pytest.mark.slow
def test_no_other_module_of_a_release_tells_the_answers_in_other_words(released, late, tmp_path):
    """GELU in NumPy, the foundry's table of lines, the attention of Part II."""
    parts = (*PARTS, "unbiased=False", "erf(", "0.044715")

    def told(package: Path) -> set[str]:
        return {path.stem for path in package.rglob("gptlib/**/*.py")
                if any(part in path.read_text(encoding="utf-8") for part in parts)}  # fmt: skip

    everywhere = told(ROOT)
    assert {"numpy_gpt", "mlx_gpt", "by_hand", "fault_table", "grouped", "cache"} <= everywhere
    assert told(released[1]) == set()
    assert "fault_table" in told(late)  # chapter 7 has the foundry, and asks for none of these
    code = "from gptlib.exercises import bug\ntry: bug(0)\n"
    code += "except NotImplementedError as error: print(error)"
    assert "bug is in releases of chapter 7" in as_student(released[1], tmp_path, code)


@pytest.mark.slow
def test_later_cells_of_a_release_hold_no_part_of_a_layer_either(released):
    """Experiments that copy the attention layer and change a line of it are left out."""
    (there,) = (ROOT / "chapters").glob("03_*.ipynb")
    ours = [cell for cell in nbformat.read(there, as_version=4).cells
            if "ours" not in cell.metadata.get("tags", ()) and "Solution" not in cell.source
            and not cell.id.startswith("solution-")]  # fmt: skip
    cells = nbformat.read(released[0] / there.name, as_version=4).cells
    assert sum(any(part in cell.source for part in PARTS) for cell in ours) >= 4
    shown = [(part, cell.source) for cell in cells for part in PARTS
             if cell.cell_type == "code" and part in cell.source]  # fmt: skip
    assert shown == []
    out = [cell.source for cell in cells if "left_out()" in cell.source]
    assert any("OneTable = NotItself = left_out()" in source for source in out)
    assert any("FloatMask = left_out()" in source for source in out) and len(out) < 8


@pytest.fixture(scope="session")
def late(tmp_path_factory):
    """The package of a release of chapters 7 and 8, as it is before the wheel is built."""
    base = tmp_path_factory.mktemp("late")
    shutil.copytree(views.PACKAGE, base / "gptlib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "data" / "runs", base / "data" / "runs")
    strip_package(base / "gptlib", views.asked_in((7, 8)))
    return base


def begun_as_student(package: Path, work: Path, numbers) -> None:
    """Run all imports of these chapters as they are released."""
    for number in numbers:
        (there,) = (ROOT / "chapters").glob(f"{number:02}_*.ipynb")
        asked = views.asked_in((number,))
        cells = stripped(nbformat.read(there, as_version=4), asked, 0).cells
        code = [imports_in(cell.source) for cell in cells
                if cell.cell_type == "code" and not cell.source.startswith(("%", "!"))]  # fmt: skip
        assert any("gptlib.exercises" in one for one in code)
        as_student(package, work, "\n".join(dict.fromkeys(code)))


@pytest.mark.slow
def test_the_command_runs_in_a_release_and_says_what_is_done(released, tmp_path):
    _, package = released
    work = tmp_path / "work"
    work.mkdir()
    begin = "from gptlib.cli.main import main\n"
    assert "gptlib 0." in as_student(package, work, begin + "try: main(['--version'])\n"
                                     "except SystemExit as end: assert not end.code")  # fmt: skip
    right = "def causal_mask(T):\n    return torch.ones(T, T, dtype=torch.bool).tril()\n"
    noted = 'from gptlib.exercises import answer\nanswer("attention.two_scores", 1, 2)'
    as_student(package, work, f'{IMPORTS}\n@exercise("{MASK}")\n{right}\n{noted}')
    said = as_student(package, work, begin + "assert main(['progress', '--all']) == 0")
    theirs = [one.name for one in views.asked_in((3,))]
    assert f"3. Attention: 2 of {len(theirs)}\n" in said and "4. LayerNorm and GELU: 0 of" in said
    assert f"   done: {MASK}\n" in said and "   noted: attention.two_scores\n" in said
    assert f"Next: {theirs[1]}." in said and "5. " not in said


@pytest.mark.slow
def test_every_import_of_a_released_chapter_is_there(released, late, tmp_path):
    begun_as_student(released[1], tmp_path, (3, 4))
    begun_as_student(late, tmp_path, (7, 8))


@pytest.mark.slow
def test_a_release_has_every_word_of_the_exercises_and_grading_too(released, tmp_path):
    theirs = sorted({*gptlib.exercises.__all__} - {"Patient"})
    as_student(released[1], tmp_path, f"from gptlib.exercises import {', '.join(theirs)}")
    space: dict[str, object] = {}
    exec(views.WORDS, space)
    assert {*theirs, "left_out"} <= space.keys()


@pytest.mark.slow
def test_my_gpt_of_a_release_has_pieces_and_a_bug_can_be_looked_for(late, tmp_path):
    """What chapter 7 and 8 do with `own`, and their patient; what is asked there is missing."""
    code = """
import torch
from gptlib.exercises import bug, hint, my_gpt
from gptlib.gpt import GPTConfig
own = my_gpt()
small = own.GPT(GPTConfig.preset("stories", n_layer=1))
print(type(small).__name__, own.causal_mask(2).tolist())
try: own.generate(small, torch.zeros(1, 1, dtype=torch.long), 2)
except NotImplementedError as error: print("not written:", error)
try: own.nothing
except AttributeError as error: print(error)
patient = bug(0)
patient.guess(patient.choices()[0])
patient.reveal()
"""
    said = as_student(late, tmp_path, code)
    assert "Yours: none yet (0 of" in said and "GPT [[True, False], [True, True]]" in said
    assert "not written: generate is yours" in said and "nothing is no piece of a GPT" in said
    assert "What shows it best" in said
    later = """
from gptlib.exercises import book, hint
book.LATER["training.unseen"] = ["look there", "look here", "write it"]
hint("training.unseen")
"""
    assert "Hint 1 of 3: look there" in as_student(late, tmp_path, later)


@pytest.mark.slow
def test_a_student_is_told_what_is_wrong_without_the_answer_being_there(released, tmp_path):
    _, package = released
    code = f"""
import torch
from gptlib.exercises import exercise, hint
from gptlib import attention
assert attention.__file__.startswith({str(package)!r})
@exercise("{MASK}")
def causal_mask(T):
    return torch.ones(T, T, dtype=torch.bool).triu()
hint("{MASK}")
for call in (causal_mask, attention.causal_mask):
    try: call(3)
    except NotImplementedError as error: print("not written:", error)
@exercise("{MASK}")
def causal_mask(T):
    return torch.ones(T, T, dtype=torch.bool).tril()
print(attention.causal_mask(2).tolist())
@exercise("{WEIGHTS}")
def attention_weights(query, key, mask=None):
    ...
@exercise("{WEIGHTS}")
def attention_weights(query, key, mask=None):
    scores = query @ key.permute(*range(key.dim())[::-1]) / query.size(-1) ** 0.5
    return (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(-1)
"""
    said = as_student(package, tmp_path, code)
    assert "The mask is upside down" in said and "Hint 1 of 3" in said
    assert "`.T` turns all axes round" in said  # a mistake that raises is known, too
    assert said.count("not written:") == 2 and f"{MASK}: right." in said
    assert "[[True, False], [True, True]]" in said and "nothing is written yet" in said
    assert "tril()" in (tmp_path / "attention" / "causal_mask.py").read_text(encoding="utf-8")
    again = "from gptlib.exercises import my_gpt\nprint(my_gpt().causal_mask(1).tolist())"
    said = as_student(package, tmp_path, again)
    assert said.startswith(f"Yours: {MASK} (1 of") and said.endswith("[[True]]\n")


@pytest.mark.slow
def test_cells_that_need_what_is_missing_are_skipped_and_the_others_run(released, tmp_path):
    _, package = released
    code = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
cells = ["from gptlib.exercises import exercise\\nfrom gptlib.attention import causal_mask",
         "model = causal_mask(3)\\nmodel", "other = model.sum()\\nother", "1 + 1", "1 / 0",
         "2 + causal_mask(1)", "3 + 3", "from gptlib.exercises import left_out",
         "from math import pi\\nOneTable = left_out()", "class Two(OneTable):\\n    pass",
         "pi // 1", "model = 5", "model / 0"]
for cell in cells:
    result = shell.run_cell(cell)
    print("#", result.result, type(result.error_in_exec).__name__)
"""
    lines = as_student(package, tmp_path, code).splitlines()
    assert [line for line in lines if line.startswith("#")] == [
        "# None NoneType", "# None NoneType", "# None NoneType", "# 2 NoneType",
        "# None ZeroDivisionError", "# None NoneType", "# 6 NoneType",
        "# None NoneType", "# None NoneType", "# None NoneType", "# 3.0 NoneType",
        "# None NoneType", "# None ZeroDivisionError",  # model was made after all
    ]  # fmt: skip
    assert sum("This cell is skipped" in line for line in lines) == 5
    assert any("it tells a part of an answer" in line for line in lines)


@pytest.mark.slow
def test_a_release_is_marked_with_its_own_points_and_is_not_overwritten(
    released, tmp_path, isolation, capsys
):
    folder, _ = released
    assert (folder / "rules.md").exists() and not (folder / "points.toml").exists()
    assert not list(folder.rglob("*.py")) and "hidden" not in "".join(
        path.read_text(encoding="utf-8") for path in folder.glob("*.json")
    )
    assert "2026-12-01" in (folder / "README.md").read_text(encoding="utf-8")
    assert folder.with_suffix(".zip").exists()
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "ada.ipynb").write_text(pupil("x").text, encoding="utf-8")
    words = ["grade", str(tmp_path / "in"), "--out", str(tmp_path / "grades.csv")]
    assert main([*words, "--release", str(folder)]) == 0
    with (tmp_path / "grades.csv").open(encoding="utf-8") as file:
        assert next(csv.DictReader(file))[MASK] == "7"
    capsys.readouterr()
    assert main(["release", "--chapters", "3", "--out", str(folder)]) == 1
    assert "is not empty" in capsys.readouterr().err


@pytest.mark.slow
def test_a_class_is_dealt_its_own_bug_and_marked_by_it(released, tmp_path, isolation):
    """With seed 4 the hunt of the book is not the class's, and code left as it was is no answer."""
    folder, package = released
    cells = nbformat.read(folder / "03_attention.ipynb", as_version=4).cells
    at = next(i for i, cell in enumerate(cells) if f'@exercise("{HUNT}")' in cell.source)
    dealt_out, words = cells[at].source, cells[at - 1].source
    assert "masked_fill(~mask, 0.0)  # the future is hidden" in dealt_out
    assert words.startswith("**4. Find the bug.** Each row sums to 1") and "Mend it." in words
    said = as_student(package, tmp_path, f"import torch\n{IMPORTS}\n{dealt_out}\nhint('{HUNT}')")
    assert "the bug is still there. Each row sums to 1" in said
    assert "How much goes to what is hidden?" in said
    given = learners.source_of(book.TASKS[HUNT].bug).replace("Tensor", "torch.Tensor")
    book_s = f'@exercise("{HUNT}")\n{given}'
    mended = dealt_out.replace("~mask, 0.0", "~mask, -math.inf")
    (tmp_path / "in").mkdir()
    for name, code in {"ada": mended, "ben": dealt_out, "cleo": book_s}.items():
        text = notebook(IMPORTS, code)
        (tmp_path / "in" / f"{name}.ipynb").write_text(text, encoding="utf-8")
    states = {}
    for seed in (0, 4):
        rows = grade(tmp_path / "in", tmp_path / f"{seed}.csv", Settings((3,), seed)).rows
        states[seed] = [marked.marks[HUNT].state for _, marked in rows]
    assert states == {0: ["right", "wrong", "not attempted"],
                      4: ["right", "not attempted", "wrong"]}  # fmt: skip


def test_every_piece_of_my_gpt_has_a_module():
    known = vars(book.my_gpt())
    assert pieces().keys() == known.keys()
    for name, module in pieces().items():
        assert hasattr(sys.modules[module], name), name


def test_a_notebook_is_stripped_of_what_shows_answers(question):
    ours = "import math\n@otherwise('x')\ndef f(): return 1"
    text = notebook(ours, "x = 1", 'answer("attention.parameters", ...)')
    book_ = nbformat.reads(text, as_version=4)
    book_.cells[1].metadata["tags"] = ["ours"]
    book_.cells.append(nbformat.v4.new_markdown_cell("<details><summary>Solution</summary>16"))
    cells = stripped(book_, [question], seed=3).cells
    sources = [cell.source for cell in cells if not cell.source.startswith("What is")]
    assert sources[0] == "import math" and sources[1] == "x = 1"
    assert sources[2] == "**Your figures.** How many are 7 times 7?"
    assert len(sources) == 4 and not any("Solution" in source for source in sources)

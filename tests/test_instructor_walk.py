"""The instructors' page, followed to the letter: its own commands, and a class of five.

The commands are read out of the page's code blocks and go through make. The five hand in what they
were handed out, filled in: all right, a part of it, wrong as people are wrong, hostile, broken.
"""

from __future__ import annotations

import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from learner import RIGHT, TRIES, filled

from instructor.sandbox import NoIsolation, bubblewrap

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "book" / "instructors.md").read_text(encoding="utf-8")
MAKE = """
import sys
sys.path.insert(0, {book!r})
import tasks
tasks.environment.setup = lambda: None  # what runs the tests is set up already
tasks.VENV_PYTHON = sys.executable
tasks.main(sys.argv[2:])
"""
# What the release of seed 7 asks, worked out on paper.
FIGURES = {
    "attention.two_scores": "(0.91, 0.91, 0.99)",  # ln 10 and 0
    "attention.layer_count": "(4 * 1600**2, 25 * 512**2)",
    "attention.two_colours": "(0.27, 0.27)",  # 22 words, a score of 2.5
    "attention.shapes": "((15, 25, 288), (15, 6, 25, 16), (15, 6, 25, 25), (15, 25, 96))",
    "attention.spread": "17.0",  # the root of 289
    "layers.row_by_hand": "(6, 12.667, 1.405)",  # 3, 4, 11
    "layers.feed_forward_count": "(16 * (8 * 960**2 + 5 * 960), 33 * 2 * 960)",
    "layers.bend_gain": "1.29",  # negative numbers times 0.45
}
WRONG_FIGURES = {
    "attention.two_scores": "(0.91, 0.91, 0.95)",
    "attention.layer_count": "(3 * 1600**2, 25 * 512**2)",
    "attention.two_colours": "(0.5, 0.5)",
    "attention.shapes": "((15, 25, 288), (15, 25, 6, 16), (15, 6, 25, 25), (15, 25, 96))",
    "attention.spread": "289",
    "layers.row_by_hand": "(6, 19, 1.147)",
    "layers.feed_forward_count": "(16 * 8 * 960**2, 33 * 2 * 960)",
    "layers.bend_gain": "1.66",
}
GOOD = RIGHT | FIGURES
PARTLY = {name: GOOD[name] for name in (
    "attention.past_average", "attention.causal_mask", "attention.attention_weights",
    "attention.two_scores", "layers.row_statistics", "layers.layer_norm",
)} | {"attention.Head": TRIES["attention.Head"][0][0]}  # fmt: skip
BAD = {name: tries[0][0] for name, tries in TRIES.items()} | WRONG_FIGURES
HOSTILE = GOOD | {
    "attention.causal_mask": """
def causal_mask(context_length):
    import time
    while True:
        time.sleep(1)  # it never ends, and costs the tests no processor
""",
    "layers.gelu": "def gelu(x, approximate='tanh'):\n    import os\n    os._exit(0)",
}
HUNTS = ("attention.late_mask", "attention.join_heads", "layers.layer_norm_short")
OTHERWISE = GOOD | {
    "attention.causal_mask": "def causal_mask(T):\n    return torch.ones(T, T).tril().bool()"
}
CLASS = {"Ada Lovelace": GOOD, "Ben Õun": PARTLY, "Cleo": BAD, "Dora": HOSTILE, "Emil": OTHERWISE}


def commands(verb: str) -> str:
    """The one command of the page's code blocks that begins so."""
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, flags=re.M | re.S)
    found = [block.strip() for block in blocks if block.startswith(f"make {verb} ")]
    assert len(found) == 1, found
    return found[0]


def word(command: str, name: str) -> str:
    """What a command gives a variable of make."""
    (found,) = re.findall(rf"\b{name}=(\S+)", command)
    return found


def answered(path: Path, answers: dict[str, str]) -> str:
    """The text of a released notebook with a student's answers in it."""
    part = "attention." if path.name.startswith("03") else "layers."
    mine = {name: text for name, text in answers.items() if name.startswith(part)}
    return nbformat.writes(filled(nbformat.read(path, as_version=4), mine))


def hand_in(folder: Path, handout: Path) -> None:
    """What five students do, as Moodle's "Download all submissions" has it."""
    for number, (name, answers) in enumerate(CLASS.items(), 101):
        mine = folder / f"{name}_{number}_assignsubmission_file_"
        mine.mkdir(parents=True)
        for path in sorted(handout.glob("*.ipynb")):
            (mine / path.name).write_text(answered(path, answers), encoding="utf-8")
    broken = folder / "Emil_105_assignsubmission_file_" / "03_attention.ipynb"
    text = broken.read_text(encoding="utf-8")
    broken.write_text(text[: len(text) // 2], encoding="utf-8")


class Walk:
    """A folder that stands for the course's, and what was said in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(ROOT / "Makefile", folder)
        program = folder / "program.py"
        program.write_text(MAKE.format(book=str(ROOT / "book")), encoding="utf-8")
        python = folder / "python"
        python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {program} "$@"\n')
        python.chmod(0o755)
        self.env = {**os.environ, "PYTHON": str(python)}

    def run(self, command: str) -> str:
        answer = subprocess.run(
            command, shell=True, cwd=self.folder, env=self.env, capture_output=True, text=True
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout

    def table(self, name: str, key: str) -> dict[str, dict[str, str]]:
        with (self.folder / name).open(encoding="utf-8", newline="") as file:
            return {row[key]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """The walk up to the marks: released, handed in, marked."""
    try:
        bubblewrap()
    except NoIsolation as error:
        pytest.skip(str(error).splitlines()[0])
    one = Walk(tmp_path_factory.mktemp("course"))
    one.released = one.run(commands("release"))
    mark = commands("grade")
    hand_in(one.folder / word(mark, "SUBMISSIONS"), one.folder / "handout")
    one.marked = one.run(mark)
    return one


def points(row: dict[str, str], without: str = "") -> list[str]:
    """The exercises for which a student has no points; of those that begin so, only."""
    return [name for name in GOOD if float(row[name]) == 0 and name.startswith(without)]


@pytest.mark.slow
def test_everybody_has_the_row_that_the_work_deserves(walk):
    rows = walk.table("grades.csv", "student")
    assert [*rows] == sorted(CLASS)
    assert points(rows["Ada Lovelace"]) == []
    assert {*points(rows["Ben Õun"])} == {*GOOD} - {*PARTLY} | {"attention.Head"}
    assert points(rows["Cleo"]) == [*GOOD]
    assert {*points(rows["Dora"])} == {"attention.causal_mask", "layers.gelu"}
    assert points(rows["Emil"]) == [name for name in GOOD if name.startswith("attention.")]
    assert {name: row["sum"] for name, row in rows.items()} == {
        "Ada Lovelace": "45", "Ben Õun": "12", "Cleo": "0", "Dora": "39", "Emil": "21",
    }  # fmt: skip
    assert {row["of"] for row in rows.values()} == {"45"}
    assert [name for name, row in rows.items() if row["notes"]] == ["Emil"]
    assert "03_attention.ipynb: the file holds no JSON" in rows["Emil"]["notes"]


@pytest.mark.slow
def test_everybody_reads_what_is_wrong(walk):
    rows = walk.table("grades.csv", "student")
    pages = {name: (walk.folder / "grades" / row["page"]).read_text(encoding="utf-8")
             for name, row in rows.items()}  # fmt: skip
    assert pages["Ada Lovelace"].count(": right,") == len(GOOD)
    said = " ".join(pages["Cleo"].replace("&#x27;", "'").split())
    unsaid = [name for name, tries in TRIES.items() if " ".join(tries[0][1].split()) not in said]
    assert {*unsaid} <= {*HUNTS}, unsaid  # a class is dealt other bugs than the book's
    assert "in line return layer_norm(x, self.weight, self.bias, eps)" in said  # Cleo's own
    assert "not yet: (7680000, 6553600)." in said  # 3 * 1600**2, as it was counted
    assert "is the mask cut to the length of the text?" in pages["Ben Õun"]
    assert "takes more than" in pages["Dora"] and "ended Python itself" in pages["Dora"]
    assert "holds no JSON" in pages["Emil"]


@pytest.mark.slow
def test_the_commands_name_the_files_that_the_page_names(walk):
    """Those of Canvas are written where work came from there."""
    listed = re.findall(r"^\| `([\w./-]+)` \|", PAGE, flags=re.M)
    assert len(listed) == 6
    for name in [one for one in listed if "canvas" not in one and "<" not in one]:
        assert (walk.folder / name).is_file() and name in walk.marked, name
    for name in ("handout/README.md", "handout.zip"):
        assert (walk.folder / name).is_file() and f"{name}\n" in walk.released
    assert "5 students, 24 exercises, 5 run" in walk.marked
    readme = (walk.folder / "handout" / "README.md").read_text(encoding="utf-8")
    assert "2027-02-01" in readme and "03_attention.ipynb` and `04_layernorm_gelu.ipynb" in readme


@pytest.mark.slow
def test_a_released_notebook_speaks_of_no_solution_and_of_its_own_wheel(walk):
    for path in (walk.folder / "handout").glob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        assert "open the solution" not in text and "pip install ." not in text
        assert "README.md, beside the" in text


def span(words: str) -> list[int]:
    """span("5 to 7") -> [5, 6, 7]"""
    first, last = map(int, words.split(" to "))
    return [*range(first, last + 1)]


@pytest.mark.slow
def test_the_page_names_the_exercises_that_are_not_marked(walk):
    (said,) = re.findall(r"numbers (\d to \d) of chapter 3\s+and (\d to \d) of chapter 4", PAGE)
    spans = {"03": span(said[0]), "04": span(said[1])}
    for path in (walk.folder / "handout").glob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        open_ = [int(n) for n in re.findall(r"# Your answer to exercise (\d+)", text)]
        assert open_ == spans[path.name[:2]]


@pytest.mark.slow
def test_moodle_gets_its_worksheet_and_the_pages(walk):
    table = walk.table("grades-moodle.csv", "Full name")
    assert {name: row["Grade"] for name, row in table.items()} == {
        "Ada Lovelace": "45.00", "Ben Õun": "12.00", "Cleo": "0.00", "Dora": "39.00",
        "Emil": "21.00",
    }  # fmt: skip
    with zipfile.ZipFile(walk.folder / "grades-moodle-feedback.zip") as archive:
        names = sorted(archive.namelist())
    assert names == [f"{name}_{number}_assignsubmission_file_/marks.html"
                     for number, name in enumerate(CLASS, 101)]  # fmt: skip


@pytest.mark.slow
def test_the_class_page_says_who_had_what_and_what_was_hard(walk):
    text = (walk.folder / "grades" / "class.html").read_text(encoding="utf-8")
    assert "<h1>The class: 5 students</h1>" in text
    assert "The mask is upside down" in text and all(name in text for name in CLASS)
    # Of a typed answer the mistake is counted, and not the figure.
    assert "<td>This is near d_k itself: that is the variance of the scores." in text


@pytest.mark.slow
def test_a_corrected_notebook_is_marked_again_and_nobody_else_s(walk):
    """Put in the place of the old one, as the page says; the last test, for it changes the rows."""
    before = walk.table("grades.csv", "student")
    place = walk.folder / word(commands("grade"), "SUBMISSIONS")
    text = answered(walk.folder / "handout" / "03_attention.ipynb", OTHERWISE)
    broken = place / "Emil_105_assignsubmission_file_" / "03_attention.ipynb"
    broken.write_text(text, encoding="utf-8")
    assert "5 students, 24 exercises, 1 run" in walk.run(commands("grade"))
    after = walk.table("grades.csv", "student")
    assert after["Emil"]["sum"] == "45" and after["Emil"]["notes"] == ""
    assert {**after, "Emil": before["Emil"]} == before


def test_without_make_the_same_commands_are_called():
    (part,) = re.findall(r"Without make:\n(.*?)\n\n", PAGE, flags=re.S)
    plain = [shlex.split(" ".join(one.split())) for one in re.findall(r"`(.*?)`", part, flags=re.S)]
    for verb, words in zip(("release", "grade"), plain, strict=True):
        made = subprocess.run(
            f"{commands(verb)} -n", shell=True, cwd=ROOT, capture_output=True, text=True
        ).stdout
        assert shlex.split(made.splitlines()[-1])[1:] == words[1:]

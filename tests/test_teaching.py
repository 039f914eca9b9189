"""The teaching notes: plans that add up, exercises that exist, a note for each chapter."""

from __future__ import annotations

import re

import nbformat
import pytest
from chapterfiles import ROOT, chapters

from gptlib.exercises.book import CHAPTERS, QUESTIONS, TASKS

TEXT = (ROOT / "book" / "teaching.md").read_text(encoding="utf-8")
NOTES = {int(n): body for n, body in re.findall(r"(?ms)^## (\d+)\. .*?$(.*?)(?=^## |\Z)", TEXT)}


def exercises(text: str) -> list[str]:
    """The exercises that a text names, by their room."""
    rooms = "|".join(module.__name__.rpartition(".")[2] for module in CHAPTERS)
    return re.findall(rf"`((?:{rooms})\.\w+)`", text)


def test_every_chapter_has_its_notes_with_its_title():
    titles = re.findall(r"(?m)^## (\d+\. .*)$", TEXT)
    texts = [p.read_text(encoding="utf-8") for p in chapters() if p.stem[0].isdigit()]
    assert titles == [re.search(r'"# (\d+\. [^"\\]*)', text)[1] for text in texts]


@pytest.mark.parametrize("chapter", sorted(NOTES))
def test_the_plans_fill_50_and_90_minutes(chapter):
    rows = re.findall(r"(?m)^\| *(\d*) *\| *(\d+) *\|", NOTES[chapter])
    assert sum(int(short or 0) for short, _ in rows) == 50
    assert sum(int(long) for _, long in rows) == 90


@pytest.mark.parametrize("chapter", sorted(NOTES))
def test_a_chapter_is_as_long_as_the_notes_say(chapter):
    """Its words and lines of code, solutions left out, and the minutes that they take to read."""
    words = lines = 0
    for cell in nbformat.read(chapters()[chapter - 1], as_version=4).cells:
        if cell.id.startswith("solution-") or "<summary>Solution" in cell.source:
            continue
        if cell.cell_type == "markdown":
            words += len(re.findall(r"\w+", re.sub(r"<[^>]+>|\$[^$]*\$", "", cell.source)))
        else:
            lines += sum(bool(line.strip()) for line in cell.source.splitlines())
    row = re.search(rf"(?m)^\| {chapter} \| ([\d,]+) \| ([\d,]+) \| (\d+) \|$", TEXT)
    said = [int(one.replace(",", "")) for one in row.groups()]
    assert said == pytest.approx([words, lines, words / 200 + lines / 20], rel=0.1)
    assert said[2] >= 45, "no plan of 50 minutes takes in a whole chapter"


@pytest.mark.parametrize("chapter", sorted(NOTES))
def test_the_notes_name_exercises_that_exist_and_belong_to_the_chapter(chapter):
    named = exercises(NOTES[chapter])
    assert len(set(named)) >= 5 and set(named) <= TASKS.keys() | QUESTIONS.keys()
    room = CHAPTERS[chapter - 1].__name__.rpartition(".")[2]
    assert {name.partition(".")[0] for name in named} == {room}
    for part in ("What students believe", "Ask the room", "Leave out", "Examination"):
        assert f"**{part}.**" in NOTES[chapter]

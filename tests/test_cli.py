"""The command `gptlib`: what it is told, where it looks, and one line for a user's mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

import gptlib
from gptlib.cli.main import main
from gptlib.exercises.work import FOLDER

MASK = "attention.causal_mask"
RIGHT = "def causal_mask(T):\n    return torch.arange(T)[:, None] >= torch.arange(T)\n"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    """An empty folder to stand in, where no variable names the learner's work."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPTLIB_WORK", "")  # set, so that what a command sets is taken back
    return tmp_path


def work_in(folder: Path) -> None:
    """One exercise that is done."""
    (folder / "attention").mkdir(parents=True)
    (folder / "attention" / "causal_mask.py").write_text(RIGHT, encoding="utf-8")


@pytest.mark.parametrize("words", [[], ["nonsense"], ["progress", "--nonsense"]])
def test_words_that_are_none_are_refused_with_the_usage(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    said = capsys.readouterr()
    assert stopped.value.code == 2 and not said.out
    assert said.err.startswith("usage: gptlib ")
    if not words:
        assert "required: verb" in said.err


def test_it_tells_its_version_and_its_verbs(capsys):
    for words in (["--version"], ["--help"], ["progress", "--help"]):
        with pytest.raises(SystemExit) as stopped:
            main(words)
        assert stopped.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(f"gptlib {gptlib.__version__} usage: gptlib ")
    assert "progress Say which exercises are done, and which one comes next." in said
    assert all(word in said for word in ("built step by step", "--work", "--all", "here or below"))


@pytest.mark.parametrize("where", [FOLDER, f"chapters/{FOLDER}"])
def test_the_work_is_found_here_and_in_the_chapters(here, where, capsys):
    work_in(here / where)
    assert main(["progress"]) == 0
    said = capsys.readouterr().out
    assert "3. Attention: 1 of " in said and "done: " not in said
    assert main(["progress", "--all"]) == 0
    assert f"done: {MASK}\n" in capsys.readouterr().out


def test_what_is_here_counts_before_the_chapters_and_what_is_named_before_both(here, capsys):
    work_in(here / "chapters" / FOLDER)
    (here / FOLDER).mkdir()
    assert main(["progress"]) == 0
    assert "3. Attention: 0 of " in capsys.readouterr().out
    work_in(here / "elsewhere")
    assert main(["progress", "--work", "elsewhere"]) == 0
    assert "3. Attention: 1 of " in capsys.readouterr().out


def test_without_any_work_everything_is_open(capsys):
    assert main(["progress"]) == 0
    assert "3. Attention: 0 of " in capsys.readouterr().out


def test_a_mistake_is_one_line_on_the_other_channel(capsys):
    assert main(["progress", "--work", "nowhere"]) == 2
    said = capsys.readouterr()
    assert not said.out and said.err.startswith("gptlib progress: nowhere is no folder. Name the ")
    assert said.err.count("\n") == 1

"""The date on the pages is that of what they were built from, and no clock's."""

from __future__ import annotations

import doctest
import os
import subprocess
import time

import coursebook
import dates
import pdf
import pytest
import yaml
from chapterfiles import ROOT

CITATION = "title: Small\nversion: 1.2.3\nauthors: [{name: somebody}]\n"
RELEASED = "date-released: 2021-03-04\n"
NONE: dict[str, str] = {}
# 23:30 on the last day of 2019 in this zone is the first day of 2020 by UTC.
LATE = "2019-12-31T23:30:00-0500"


@pytest.fixture
def archive(tmp_path):
    """A course that came without git, in a folder of its own."""
    folder = tmp_path / "course"
    folder.mkdir()
    (folder / "CITATION.cff").write_text(CITATION + RELEASED, encoding="utf-8")
    return folder


def commit(folder, when: str) -> None:
    """Make the folder a repository, if it is none, and commit all of it at that time."""
    who = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
    env = {**os.environ, **dict.fromkeys(who, "x"), "GIT_COMMITTER_DATE": when}
    for words in ("init -q", "add -A", "commit -q --allow-empty -m x"):
        subprocess.run(["git", "-C", str(folder), *words.split()], env=env, check=True)


def test_the_worked_values():
    assert doctest.testmod(dates).failed == 0


def test_an_archive_has_the_date_of_its_release_or_none(archive):
    assert dates.date_of(archive, NONE) == "2021-03-04"
    (archive / "CITATION.cff").write_text(CITATION, encoding="utf-8")
    assert dates.date_of(archive, NONE) == ""


def test_a_repository_has_the_day_of_its_last_commit_by_utc(archive):
    commit(archive, LATE)
    assert dates.date_of(archive, NONE) == "2020-01-01"
    (archive / "new.txt").write_text("not committed", encoding="utf-8")
    os.utime(archive / "CITATION.cff")
    assert dates.date_of(archive, NONE) == "2020-01-01"
    commit(archive, "2022-05-06T12:00:00+0000")
    assert dates.date_of(archive, NONE) == "2022-05-06"


def test_a_course_inside_of_another_repository_does_not_take_its_date(archive):
    commit(archive.parent, LATE)
    assert dates.date_of(archive, NONE) == "2021-03-04"


def test_source_date_epoch_comes_first_and_must_be_a_number(archive):
    commit(archive, LATE)
    assert dates.date_of(archive, {"SOURCE_DATE_EPOCH": "86400"}) == "1970-01-02"
    assert dates.date_of(archive, {"SOURCE_DATE_EPOCH": ""}) == "2020-01-01"
    with pytest.raises(ValueError, match="must be a number of seconds; got 'today'"):
        dates.date_of(archive, {"SOURCE_DATE_EPOCH": "today"})


def test_the_foot_says_version_and_date_and_no_clock_moves_it(archive, monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    commit(archive, LATE)
    before = coursebook.footer(archive)
    assert "<p>Version 1.2.3, 2020-01-01</p>" in before
    assert "somebody (2020). <em>Small</em>, version 1.2.3, 2020-01-01." in before
    monkeypatch.setattr(time, "time", lambda: 4e9)
    monkeypatch.setenv("TZ", "Pacific/Kiritimati")
    time.tzset()
    try:
        assert coursebook.footer(archive) == before
    finally:
        monkeypatch.undo()
        time.tzset()


def test_where_nobody_knows_a_date_none_is_said(archive, monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    (archive / "CITATION.cff").write_text(CITATION, encoding="utf-8")
    assert "<p>Version 1.2.3</p>" in coursebook.footer(archive)
    assert "somebody. <em>Small</em>, version 1.2.3." in coursebook.footer(archive)


def test_the_printed_book_has_it_on_its_title_page(archive, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    toc = {"root": "book/intro", "parts": []}
    (archive / "_toc.yml").write_text(yaml.safe_dump(toc), encoding="utf-8")
    page = archive / "html" / "book" / "intro.html"
    page.parent.mkdir(parents=True)
    page.write_text('<article class="bd-article"><h1>Start</h1></article>', encoding="utf-8")
    assert "<p>Version 1.2.3, 1970-01-02</p>" in pdf.one_page(archive / "html", archive)


def test_this_course_has_one():
    assert len(dates.date_of(ROOT, {"SOURCE_DATE_EPOCH": "86400"})) == len("1970-01-02")
    coursebook.add_footer(None, config := type("Config", (), {"html_theme_options": {}})())
    assert "Version" in config.html_theme_options["extra_footer"]

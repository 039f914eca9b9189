"""The date that the pages carry: that of the version they were built from, and of no clock.

Two builds of one commit must give the same pages, so the day of the build says nothing here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import yaml
from course import git


def about(root: Path) -> dict:
    """What CITATION.cff says of the course in a folder."""
    return yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))


def day(seconds: str) -> str:
    """The day, by UTC, of a number of seconds since 1970.

    >>> day("86399"), day("86400")
    ('1970-01-01', '1970-01-02')
    """
    return datetime.fromtimestamp(int(seconds), UTC).date().isoformat()


def committed(root: Path) -> str | None:
    """The day of the last commit; None where the folder is not the top of a repository.

    A copy of the course somewhere inside another repository must not take that one's date.
    """
    top = git(root, "rev-parse", "--show-toplevel")
    if not top or Path(top.strip()).resolve() != root.resolve():
        return None
    seconds = git(root, "log", "-1", "--format=%ct")
    return day(seconds) if seconds and seconds.strip() else None


def date_of(root: Path, env: Mapping[str, str] = os.environ) -> str:
    """The date of the course in a folder, as 2026-11-27, or an empty text where nobody knows it.

    What SOURCE_DATE_EPOCH says, as for every reproducible build; otherwise the day of the last
    commit; without git, as in an archive, the day of the release in CITATION.cff. Raises
    ValueError for a SOURCE_DATE_EPOCH that is no number of seconds.
    """
    if given := env.get("SOURCE_DATE_EPOCH", "").strip():
        if not given.isdecimal():
            raise ValueError(f"SOURCE_DATE_EPOCH must be a number of seconds; got {given!r}.")
        return day(given)
    return committed(root) or str(about(root).get("date-released") or "")

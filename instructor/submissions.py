"""Whose file is whose: the download folders of Moodle, Canvas and GitHub Classroom, or any folder.

Moodle      Ada Lovelace_12345_assignsubmission_file_/x.ipynb   (or that as the file's own name)
Canvas      lovelaceada_12345_67890_x.ipynb, lovelaceada_LATE_12345_67890_x-1.ipynb
Classroom   attention-ada/…/x.ipynb, every folder beginning with the assignment's name
any other   a folder for each student, or a file; files that differ in the chapter's name are one's
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

MOODLE = re.compile(r"^(?P<name>.+?)_(?P<id>\d+)_assignsubmission_\w+?_(?P<rest>.*)$")
CANVAS = re.compile(r"^(?P<name>[^_]+)_(?:LATE_)?(?P<id>\d+)_(?P<sub>\d+)_(?P<rest>.+)$")
CHAPTER = re.compile(r"[_\- ]*\d\d[_\- ][a-z_]+$|^\d\d_[a-z_]+[_\- ]+", re.IGNORECASE)
SKIPPED = {"__MACOSX", ".ipynb_checkpoints", ".git", ".DS_Store", "__pycache__"}
MOST_FILES = 2000  # of one student, that are looked at


@dataclass
class Student:
    """One student: a name to show, the platform's number for them, and their notebooks."""

    name: str
    id: str = ""
    platform: str = ""
    files: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def key(self) -> str:
        """What no other student has."""
        return f"{self.platform}:{self.id or self.name}"


def students_in(folder: Path) -> list[Student]:
    """Everybody who handed something in, in the order of their names. Errors: ValueError.

    Links are not followed: one may lead out of the folder.
    """
    if not folder.is_dir():
        raise ValueError(f"SUBMISSIONS must be a folder; {folder} is none.")
    entries = _entries(folder)
    if len(entries) == 1 and entries[0].is_dir() and not entries[0].is_symlink():
        inner = _entries(entries[0])  # an archive was unpacked into a folder of its own
        if len([one for one in inner if one.is_dir()]) > 1 or _looks_like_a_class(inner):
            entries = inner
    prefix = _shared_prefix([one.name for one in entries if one.is_dir()])
    found: dict[str, Student] = {}
    for entry in entries:
        student = _whose(entry, prefix)
        student = found.setdefault(student.key, student)
        _collect(entry, student)
    for student in found.values():
        if not student.files and not student.notes:
            student.notes.append("nothing was handed in")
    if not found:
        raise ValueError(f"{folder} is empty: it should hold what the students handed in.")
    return sorted(found.values(), key=lambda one: (one.name.casefold(), one.key))


def _entries(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.name not in SKIPPED)


def _looks_like_a_class(entries: list[Path]) -> bool:
    return any(MOODLE.match(one.name) or CANVAS.match(one.name) for one in entries)


def _whose(entry: Path, prefix: str) -> Student:
    """Whose folder or file this is, by its name."""
    name = entry.name
    if found := MOODLE.match(f"{name}_" if entry.is_dir() else name):
        return Student(found["name"], found["id"], "moodle")
    if found := CANVAS.match(name):
        return Student(found["name"], found["id"], "canvas")
    if entry.is_dir() and not entry.is_symlink():
        return Student(name.removeprefix(prefix), name, "classroom" if prefix else "folder")
    stem = entry.stem
    return Student(CHAPTER.sub("", stem) or stem, "", "file")


def _shared_prefix(names: list[str]) -> str:
    """What all folders of a Classroom begin with, up to its last hyphen: "attention-".

    _shared_prefix(["week-3-ada", "week-3-ben"]) -> 'week-3-'
    """
    if len(names) < 2 or any(MOODLE.match(f"{one}_") for one in names):
        return ""
    shared = os.path.commonprefix(names)  # noqa: RUF071 (letters are meant)
    return shared[: shared.rfind("-") + 1]


def _collect(entry: Path, student: Student) -> None:
    """Put the notebooks of a folder, or a file, to a student; say what else was there."""
    others = 0
    for path in _walk(entry):
        if len(student.files) >= MOST_FILES:
            student.notes.append(f"more than {MOST_FILES} files: the rest is not looked at")
            return
        if path.is_symlink():
            student.notes.append(f"{path.name} is a link: links are not followed")
        elif path.suffix.lower() == ".ipynb" and path.is_file():
            student.files.append(path)
        else:
            others += 1
            if others <= 3:
                student.notes.append(f"{path.name} is no notebook (.ipynb): not looked at")
    student.files.sort()


def _walk(entry: Path) -> Iterator[Path]:
    if entry.is_symlink() or not entry.is_dir():
        yield entry
        return
    for folder, folders, files in os.walk(entry):
        for name in sorted(folders):
            if (Path(folder) / name).is_symlink():
                yield Path(folder) / name
        folders[:] = sorted(
            name for name in folders
            if name not in SKIPPED and not (Path(folder) / name).is_symlink()
        )  # fmt: skip
        for name in sorted(files):
            if name not in SKIPPED and not name.startswith("."):
                yield Path(folder) / name

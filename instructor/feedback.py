"""Students' pages as a zip for a platform: named as the work was that came from there."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from instructor.submissions import CANVAS, Student


def write(path: Path, students: Sequence[Student], pages: Mapping[str, Path]) -> list[Path]:
    """Write grades-moodle-feedback.zip and grades-canvas-feedback.zip beside grades.csv.

    pages: by student's key, the page. Of Moodle and of Canvas only where work came from there; the
    paths of what was written.
    """
    written = []
    for platform in ("moodle", "canvas"):
        named = [(place_of(one), pages[one.key]) for one in students if one.platform == platform]
        if any(place for place, _ in named):
            written.append(path.with_name(f"{path.stem}-{platform}-feedback.zip"))
            with zipfile.ZipFile(written[-1], "w", zipfile.ZIP_DEFLATED) as archive:
                for place, page in named:
                    if place:  # at no time of its own: what has not changed is the same file
                        archive.writestr(zipfile.ZipInfo(place), page.read_bytes())
    return written


def place_of(student: Student) -> str:
    """Where a platform looks for a student's page, or nothing where that cannot be known.

    place_of(Student("Ada", "7", "moodle")) -> 'Ada_7_assignsubmission_file_/marks.html'
    """
    if student.platform == "moodle":
        return f"{student.name}_{student.id}_assignsubmission_file_/marks.html"
    for file in student.files:
        if found := CANVAS.match(file.name):
            return f"{found['name']}_{found['id']}_{found['sub']}_marks.html"
    return ""

"""What was written at the console, kept over sessions: a file in the run's folder, a line a text.

Given, not built. A line is JSON, `{"text": …}` and what else is told of it. It is written whole; a
line that is damaged is told of, and stays as it is.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from gptlib.engine import runs
from gptlib.given.files import followed

FILE = "chat.jsonl"


def place_of(path: str | os.PathLike[str]) -> Path | None:
    """Where the texts of a run, or of one of its checkpoints, are kept; None for what is no run's.

    place_of("nowhere") -> None
    """
    place = followed(path)
    for folder in (place, place.parent.parent):
        if runs.is_run(folder):
            return folder / FILE
    return None


class Conversation:
    """The texts of all sessions, the oldest first. file: where they are kept; None keeps nothing.

    faults: a sentence for each damaged line, and one where nothing can be kept.
    """

    def __init__(self, file: Path | None = None):
        self.file, self.texts = file, list[str]()
        self.faults: list[str] = []
        if file is None or not file.is_file():
            return
        try:
            lines = file.read_bytes().split(b"\n")
        except OSError as error:
            self._lost(error)
            return
        for number, line in enumerate(lines, start=1):
            if line.strip():
                self._take(number, line)

    def _take(self, number: int, line: bytes) -> None:
        try:
            told = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError):
            told = None
        if isinstance(told, dict) and isinstance(told.get("text"), str):
            self.texts.append(told["text"])
        else:
            self.faults.append(
                f"{self.file}: line {number} is damaged: it is passed over, and stays as it is."
            )

    def add(self, text: str, **about: Any) -> None:
        """Keep a text, behind what the file holds. What cannot be kept is a fault, told once."""
        self.texts.append(text)
        if self.file is None:
            return
        line = json.dumps({"text": text, **about}, ensure_ascii=False).encode("utf-8") + b"\n"
        try:
            with self.file.open("ab+", buffering=0) as file:
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    if file.read(1) != b"\n":  # the last line was cut off by a kill
                        line = b"\n" + line
                file.write(line)  # at the end, in one go
        except OSError as error:
            self._lost(error)

    def _lost(self, error: OSError) -> None:
        self.faults.append(f"{self.file}: texts of this session are not kept: {error}")
        self.file = None

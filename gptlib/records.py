"""What was measured beforehand: the files of data/runs, to be read and shown in a chapter.

Given, not built. A run that takes longer than a chapter may is recorded once by a script in
benchmarks/, and each record says under "about" which command makes it again.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
# Inside a wheel the records lie in the package; in a checkout they lie among the data.
PLACES = (HERE / "runs", HERE.parent / "data" / "runs")

# The columns of the growing table: key in skills.json, chapter, what that chapter added.
PARTS = [
    ("bigram", 2, "bigram"),
    ("attention", 3, "attention"),
    ("positions", 3, "+ positions"),
    ("feed_forward", 4, "+ norm, FF"),
    ("block", 5, "+ shortcuts"),
    ("gpt", 6, "four blocks"),
]


def record(name: str) -> dict[str, Any]:
    """The record data/runs/<name>.json as it was written.

    Errors: ValueError for a name that is not there, with the names that are.

    record("skills")["gpt"]["floor"] -> the stories' floor in nats per token
    """
    files = {path.stem: path for place in PLACES for path in sorted(place.glob("*.json"))}
    if name not in files:
        raise ValueError(f"name must be one of {', '.join(files) or 'no records'}; got {name!r}.")
    return json.loads(files[name].read_text(encoding="utf-8"))


def parts_table(up_to: int) -> str:
    """What each part brought: the recorded models of the chapters 2 to `up_to`, one a column.

    Loss in nats per token on unseen stories, how far that lies above the floor, and for each skill
    the share of places at which the first choice is right, in per cent.

    parts_table(2) -> fifteen lines of row names and one column, the bigram's
    """
    runs = record("skills")
    shown = [part for part in PARTS if part[1] <= up_to]
    if not shown:
        raise ValueError(f"up_to must be 2 or more, the first chapter with a model; got {up_to!r}.")
    skills = sorted(runs["gpt"]["curve"][-1]["skills"])
    columns = [["chapter", "part", "parameters", "loss", "above floor", *skills]]
    for key, chapter, added in shown:
        run, last = runs[key], runs[key]["curve"][-1]
        above = last["loss"] / run["floor"] - 1
        column = [str(chapter), added, f"{run['parameters']:,}", f"{last['loss']:.2f}"]
        column += [f"{above:.0%}", *(f"{100 * last['skills'][skill]:.0f}" for skill in skills)]
        columns.append(column)
    rows = zip(*columns, strict=True)
    return "\n".join("".join([f"{n:11}", *(f"{cell:>13}" for cell in row)]) for n, *row in rows)

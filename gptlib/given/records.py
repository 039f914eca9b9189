"""What was measured or trained beforehand: the files of data/runs, to be shown in a chapter.

Given, not built. A run that takes longer than a chapter may is recorded once by a script in
experiments/, and each record says under "about" which command makes it again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

PACKAGE = Path(__file__).resolve().parent.parent
# Inside a wheel the records lie in the package; in a checkout they lie among the data.
PLACES = (PACKAGE / "runs", PACKAGE.parent / "data" / "runs")
MEASURED = (PACKAGE / "measured", PACKAGE.parent / "benchmarks" / "results")

# The columns of the growing table: key in skills.json, chapter, what that chapter added.
PARTS = [
    ("bigram", 2, "bigram"),
    ("attention", 3, "attention"),
    ("positions", 3, "positions"),
    ("feed_forward", 4, "norm, FF"),
    ("block", 5, "shortcuts"),
    ("gpt", 6, "4 blocks"),
]


def record(name: str) -> dict[str, Any]:
    """The record data/runs/<name>.json as it was written.

    Errors: ValueError for a name that is not there, with the names that are.

    record("skills")["gpt"]["floor"] -> 0.4185  # nats per token
    """
    return json.loads(recorded_file(name, ".json").read_text(encoding="utf-8"))


def measured(name: str) -> dict[str, Any]:
    """What the script benchmarks/<name>.py kept: benchmarks/results/<name>.json.

    Errors: ValueError for a name that is not there, with the names that are.

    measured("int8")["speed"]["stories"]["weight_mb"] -> {"float32": 1.215, "int8": 0.321}
    """
    return json.loads(recorded_file(name, ".json", MEASURED).read_text(encoding="utf-8"))


def load_recorded(model: nn.Module, name: str = "stories") -> None:
    """Put the weights of a recorded model, data/runs/<name>.safetensors, into `model`.

    "stories" is the GPT of chapter 7: GPTConfig and TrainConfig "stories", seed 0. Its numbers were
    stored with 16 bits and are float32 again in the model.

    Errors: ValueError for a name that is not there; RuntimeError if the shapes do not fit.

    With it GPT(GPTConfig.preset("stories")) is 2.4 % above the floor.
    """
    from safetensors.torch import load_model  # here, because the tables can be read without torch

    load_model(model, recorded_file(name, ".safetensors"))


def recorded_file(name: str, suffix: str, places: Iterable[Path] = PLACES) -> Path:
    """Where a recorded file lies. Errors: ValueError with the names that there are."""
    files = {path.stem: path for place in places for path in sorted(place.glob(f"*{suffix}"))}
    if name not in files:
        raise ValueError(f"name must be one of {', '.join(files) or 'no records'}; got {name!r}.")
    return files[name]


def parts_table(up_to: int) -> str:
    """What each part brought: the recorded models of the chapters 2 to `up_to`, one a column.

    Loss in nats per token on unseen stories, how far that lies above the floor, and for each skill
    the share of places at which the first choice is right, in per cent: of three seeds the lowest
    and the highest, or one number where they agree.

    parts_table(2).split()[:4] -> ["chapter", "2", "part", "bigram"]
    """
    runs = record("skills")
    shown = [part for part in PARTS if part[1] <= up_to]
    if not shown:
        raise ValueError(f"up_to must be 2 or more, the first chapter with a model; got {up_to!r}.")
    skills = sorted(runs["gpt"]["curve"][-1]["skills"])
    columns = [["chapter", "part", "parameters", "loss", "above floor, %", *skills]]
    for key, chapter, added in shown:
        floor, ends = runs[key]["floor"], seeds_of(runs[key])
        column = [str(chapter), added, f"{runs[key]['parameters']:,}"]
        column += [spread((end["loss"] for end in ends), ".2f")]
        column += [spread((100 * (end["loss"] / floor - 1) for end in ends), ".0f")]
        column += [spread((100 * end["skills"][name] for end in ends), ".0f") for name in skills]
        columns.append(column)
    rows = zip(*columns, strict=True)
    return "\n".join("".join([f"{n:14}", *(f"{cell:>11}" for cell in row)]) for n, *row in rows)


def seeds_of(run: dict[str, Any]) -> list[dict[str, Any]]:
    """Loss and skills at the end of each seed of a recorded model, seed 0 first."""
    return [run["curve"][-1], *run["more"].values()]


def spread(values: Iterable[float], form: str) -> str:
    """The lowest and the highest number, or the one that both are when rounded.

    spread([0.93, 0.961, 0.95], ".2f") -> "0.93–0.96"
    """
    ordered = sorted(values)
    low, high = format(ordered[0], form), format(ordered[-1], form)
    return low if low == high else f"{low}–{high}"

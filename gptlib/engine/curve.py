"""A loss curve: drawn into a file, and with dots into the terminal.

Given, not built.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

Points = Sequence[tuple[float, float]]
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # of a Braille letter: row, column


def in_terminal(points: Points, width: int = 60, height: int = 8) -> str:
    """A curve of (step, loss), the steps in order, in Braille letters of two by four dots."""
    if not points:
        return ""
    steps, losses = zip(*points, strict=True)
    low, high = min(losses), max(losses)
    span, length = (high - low) or 1.0, (max(steps) - min(steps)) or 1
    cells = [[0] * width for _ in range(height)]
    last = (2 * width - 1, 4 * height - 1)
    xs = [last[0] * (step - steps[0]) / length for step in steps]
    for x in range(2 * width):  # a dot a column, on the line from point to point
        y = round(last[1] * (high - _between(x, xs, losses)) / span)
        cells[y // 4][x // 2] |= DOTS[y % 4][x % 2]
    labels = [f"{high:.3f}", *[""] * (height - 2), f"{low:.3f}"]
    lines = [
        f"{label:>7} {''.join(chr(0x2800 + cell) for cell in row)}"
        for label, row in zip(labels, cells, strict=True)
    ]
    return "\n".join([*lines, f"{'':>7} step {min(steps)} to {max(steps)}"])


def _between(x: float, xs: Sequence[float], values: Sequence[float]) -> float:
    """The value at x on the line that joins (xs, values); xs climb."""
    after = next((i for i, at in enumerate(xs) if at >= x), len(xs) - 1)
    if after == 0 or xs[after] == xs[after - 1]:
        return values[after]
    part = min(1.0, (x - xs[after - 1]) / (xs[after] - xs[after - 1]))
    return values[after - 1] + part * (values[after] - values[after - 1])


def to_file(path: str | os.PathLike[str], curves: Mapping[str, Points]) -> None:
    """Draw curves by their names into a file; its ending says which kind: .svg, .png, .pdf.

    Errors: ValueError for an ending that is none of these.
    """
    from matplotlib.figure import Figure

    from gptlib.given.files import replacing

    kind = Path(path).suffix.lstrip(".")
    if kind not in ("svg", "png", "pdf"):
        raise ValueError(f"path must end in .svg, .png or .pdf; got {path}.")
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, points in curves.items():
        if points:
            axes.plot(*zip(*points, strict=True), label=name, marker="." if len(points) < 9 else "")
    axes.set_xlabel("step")
    axes.set_ylabel("loss, nats per token")
    axes.legend()
    with replacing(path) as new:
        figure.savefig(new, format=kind, metadata={"Date": None} if kind == "svg" else {})

"""The pieces that `schematics` draws with: boxes, arrows, words and tables of numbers.

Given, not built. A drawing counts in units from its upper left corner, the y axis pointing down.
Nothing is told by colour alone: what is filled has a name, what is hidden is hatched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gptlib.given.plots import GREY, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Table = Sequence[Sequence[float]]  # rows of numbers: a list of lists, or a tensor

UNIT = 0.36  # inches
ROW = 0.8  # the height of a row of a table
INK = "#262626"
TINTS = ("#DCEBF7", "#FBE3CF", "#D6F0E4", "#F6E2EE")  # blue, orange, green, purple, all light
SMALL, LARGE = 8.5, 10  # sizes of letters, in points
MONO: dict[str, Any] = {"family": "DejaVu Sans Mono"}


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty drawing of so many units, with the y axis pointing down."""
    import matplotlib
    from matplotlib import pyplot  # here, because importing pyplot chooses a backend

    with matplotlib.rc_context(STYLE):
        fig = pyplot.figure(figsize=(width * UNIT, height * UNIT))
        ax = fig.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    ax.axis("off")
    return fig, ax


def words(ax: Axes, x: float, y: float, text: str, size: float = LARGE, **options: Any) -> None:
    """Text around the point (x, y)."""
    usual = {"ha": "center", "va": "center", "color": INK, "family": "DejaVu Sans"}
    ax.text(x, y, text, **{"size": size, **usual, **options})


def area(ax: Axes, x: float, y: float, width: float, height: float, **options: Any) -> None:
    """A rectangle by its upper left corner."""
    from matplotlib.patches import Rectangle

    usual = {"facecolor": "white", "edgecolor": GREY, "linewidth": 0.9}
    ax.add_patch(Rectangle((x, y), width, height, **{**usual, **options}))


def box(
    ax: Axes, x: float, y: float, label: str, shape: str = "", tint: int = 0, width: float = 6.4
) -> float:
    """A part of a model, centred at x, its upper edge at y; returns the y of its lower edge."""
    height = 1.5 if shape else 1.1
    area(ax, x - width / 2, y, width, height, facecolor=TINTS[tint], linewidth=1.2)
    words(ax, x, y + (0.48 if shape else height / 2), label)
    words(ax, x, y + 1.05, shape, SMALL, **MONO)
    return y + height


def plus(ax: Axes, x: float, y: float) -> None:
    """The sign where two ways are added."""
    words(ax, x, y, "+", 12, bbox={"boxstyle": "circle,pad=0.15", "fc": "white", "ec": INK})


def arrow(ax: Axes, *points: tuple[float, float], label: str = "", dashed: bool = False) -> None:
    """An arrow along the points; the label stands to the right of the middle of its beginning."""
    style: dict[str, Any] = {
        "color": INK,
        "linewidth": 1.2,
        "linestyle": (0, (3, 2)) if dashed else "-",
    }
    ax.plot(*zip(*points[:-1], strict=True), **style)
    head = {"arrowstyle": "-|>", "shrinkA": 0, "shrinkB": 0, "mutation_scale": 11, **style}
    ax.annotate("", points[-1], points[-2], arrowprops=head)
    (x0, y0), (x1, y1) = points[:2]
    words(ax, (x0 + x1) / 2 + 0.25, (y0 + y1) / 2, label, SMALL, ha="left")


def written(value: float, decimals: int) -> str:
    """A number as it stands in a cell.

    written(-0.004, 2) -> "0.00"
    """
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def table(
    ax: Axes, x: float, y: float, rows: Table, decimals: int = 0, cell: float = ROW,
    tint: int = 0, bars: bool = False, causal: bool = False,
) -> float:  # fmt: skip
    """A table of numbers by its upper left corner; returns the y of its lower edge.

    `bars` fills each cell as far as its number, from 0 to 1, says; `causal` hatches the future.
    """
    for i, row in enumerate(rows):
        for j, value in enumerate(row):
            at, hidden = (x + j * cell, y + i * ROW), causal and j > i
            filled = 0 if hidden else value if bars else 1
            area(ax, *at, cell * filled, ROW, facecolor=TINTS[tint], linewidth=0)
            area(ax, *at, cell, ROW, facecolor="none", hatch="////" if hidden else "")
            text = "" if hidden else written(value, decimals)
            words(ax, at[0] + cell / 2, at[1] + ROW / 2, text, SMALL)
    return y + ROW * len(rows)


def names(ax: Axes, x: float, y: float, texts: Sequence[str], cell: float = 0) -> None:
    """Names of the rows of a table, to its left; with `cell`, of its columns, above it."""
    for i, text in enumerate(texts):
        if cell:
            words(ax, x + (i + 0.5) * cell, y - 0.15, text, SMALL, rotation=90, va="bottom")
        else:
            words(ax, x - 0.2, y + (i + 0.5) * ROW, text, SMALL, ha="right")

"""One quiet style for every figure, and the one way to show a figure: with words beside it.

Given, not built: no chapter explains this module, every chapter uses it.

    from gptlib.given import plots
    plots.style()                                   # once, near the top of a chapter
    fig, ax = plt.subplots()
    ax.plot(losses, label="validation")
    plots.floor_line(ax, 0.382)
    plots.show(fig, alt="The validation loss falls from 6.5 to 0.41, just above the floor.")

The colours are those of Okabe and Ito (2008), which stay apart for colour-blind readers; the lines
differ in their dashes too. Figures are drawn dark on white. In the dark theme the book turns the
lightness round and keeps the hue, so "the blue line" stays blue.
"""

from __future__ import annotations

import base64
import io
import os
import re
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import matplotlib
from cycler import cycler
from IPython.display import display

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

BLUE = "#0072B2"
VERMILION = "#D55E00"
GREEN = "#009E73"
PURPLE = "#CC79A7"
ORANGE = "#E69F00"
SKY = "#56B4E9"
GREY = "#595959"
COLORS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1)), (0, (5, 1.5, 1, 1.5)), (0, (8, 2)), (0, (3, 1, 1, 1)))

MAX_SVG = 400_000  # characters; a drawing with more parts than that travels as pixels instead
# What an address and an attribute may hold as it is: the rest of a drawing is written as %22.
SAFE = " /:=;,.()-<>"

STYLE: dict[Any, Any] = {
    "figure.figsize": (6.4, 3.5),
    "figure.dpi": 100,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "axes.prop_cycle": cycler(color=COLORS) + cycler(linestyle=DASHES),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": "#262626",
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E5E5E5",
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "image.cmap": "Blues",
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same drawing on every machine
    "svg.fonttype": "path",  # letters as outlines: they look alike where that font is missing
    "svg.hashsalt": "gptlib",  # the same figure gives the same bytes
}


def style() -> None:
    """Set the book's style for every figure drawn after this call."""
    matplotlib.rcParams.update(STYLE)


def floor_line(ax: Axes, value: float, label: str = "floor") -> Line2D:
    """Draw the lowest loss that any model can reach, the same way in every figure of the book.

    `value` is in the unit of the vertical axis. Returns the line: `floor_line(ax, 0.382)` draws a
    dotted grey one labelled "floor 0.382". Errors: ValueError for a NaN or an infinite value.
    """
    if not float("-inf") < value < float("inf"):
        raise ValueError(f"value must be a finite number, not {value}: pass the floor in nats")
    dots = (0, (1, 1.5))
    return ax.axhline(
        value, color=GREY, linestyle=dots, linewidth=1.5, label=f"{label} {value:.3f}"
    )


def show(fig: Figure, alt: str) -> None:
    """Show a figure with a text that says what is to be seen in it, and close it.

    The figure goes out as SVG, sharp at any size, or as PNG where the SVG would be large. `alt` is
    for everyone who cannot see the figure: one or two sentences with what it shows, numbers
    included, not "a plot of the loss". The text travels with the picture: JupyterLab, which gives
    pictures no words of its own, gets an `<img>` that has them. The book, whose Python has
    GPTLIB_FIGURES=bare, takes them from the output's metadata. Errors: ValueError for an empty alt.
    """
    if not isinstance(alt, str) or not alt.strip():
        raise ValueError(f"alt must be a sentence that says what the figure shows, not {alt!r}")
    alt = " ".join(alt.split())
    svg = svg_of(fig, alt)
    mime, content, extra = "image/svg+xml", svg, dict[str, int]()
    if len(svg) > MAX_SVG:
        mime, (content, extra) = "image/png", _png(fig)
    _close(fig)
    about: dict[str, Any] = {"alt": alt, **extra}
    if os.environ.get("GPTLIB_FIGURES") != "bare":
        mime, content, about = "text/html", _image(mime, content, **about), {}
    display({mime: content, "text/plain": f"Figure: {alt}"}, metadata={mime: about}, raw=True)


def svg_of(fig: Figure, alt: str) -> str:
    """The figure as one `<svg>` element that carries its own description."""
    buffer = io.StringIO()
    # Without a date and a creator the bytes depend on the figure alone.
    quiet = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with matplotlib.rc_context({"svg.hashsalt": "gptlib", "svg.fonttype": "path"}):
        fig.savefig(buffer, format="svg", bbox_inches="tight", metadata=quiet)
    drawing = buffer.getvalue()
    drawing = drawing[drawing.index("<svg") :]  # no XML prologue: this stands inside a page
    # Millionths of a point and a line for each of them are nearly half of the text.
    drawing = re.sub(r' d="([^"]*)"', lambda path: f' d="{_short_path(path[1])}"', drawing)
    places = r'translate\([^)]*\)| (?:x|y|width|height)="[^"]*"'
    drawing = re.sub(places, lambda place: _rounded(place[0]), drawing)
    drawing = re.sub(r"\s*<!--.*?-->", "", re.sub(r"\s*\n\s*", " ", drawing))
    return re.sub(r"^<svg", f'<svg role="img" aria-label={quoteattr(alt)}', drawing, count=1)


def _short_path(steps: str) -> str:
    """A path's steps in fewer characters.

    _short_path("M 1.23456 2 L 3 4 z ") -> "M1.23 2L3 4z"
    """
    return re.sub(r"\s*([A-Za-z])\s*", r"\1", _rounded(steps)).strip()


def _rounded(places: str) -> str:
    """Two decimals of each number.

    _rounded("translate(1.23456 2)") -> "translate(1.23 2)"
    """
    return re.sub(r"(\.\d\d)\d+", r"\1", places)


def _png(fig: Figure) -> tuple[str, dict[str, int]]:
    """The figure as base64 PNG at twice the screen's resolution, and the width to show it at."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=200, bbox_inches="tight", metadata={"Software": None})
    data = buffer.getvalue()
    width = int.from_bytes(data[16:20], "big")  # PNG: the width stands in bytes 16 to 19
    return base64.b64encode(data).decode("ascii"), {"width": width // 2}


def _image(mime: str, content: str, alt: str, width: int | None = None) -> str:
    """An `<img>` with words that holds its picture itself.

    _image("image/png", "iVBO", "Down.") -> '<img alt="Down." src="data:image/png;base64,iVBO"/>'
    """
    drawn = mime.startswith("image/svg")
    data = f",{quote(content, safe=SAFE)}" if drawn else f";base64,{content}"
    sized = f' width="{width}"' if width else ""
    return f'<img alt="{escape(alt)}"{sized} src="data:{mime}{data}"/>'


def _close(fig: Figure) -> None:
    """Close the figure, so that a notebook does not show it a second time."""
    from matplotlib import pyplot  # here, because importing pyplot chooses a backend

    pyplot.close(fig)

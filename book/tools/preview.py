"""The picture that is shown where somebody shares a link to the book.

It is drawn from the recorded runs when the book is built. Whoever shows it fetches it by a whole
address, so its line stands in the pages only where the book's address is known: in GPTLIB_ADDRESS,
`https://someone.github.io/course/`, as the workflow that publishes sets it.
"""

from __future__ import annotations

import html
import os
from pathlib import Path
from urllib.parse import urljoin, urlsplit

NAME = "_static/preview.png"
SIZE = (1200, 630)  # pixels, the shape that those who show it ask for
ADDRESS = "GPTLIB_ADDRESS"
ALT = "The loss of fifteen seeds falls in a narrow band towards a dashed line, the floor."


def address() -> str | None:
    """Where the book will be, with a slash at its end; None where nobody has said.

    Errors: ValueError for what is no address of the web.
    """
    said = os.environ.get(ADDRESS, "").strip()
    if not said:
        return None
    parts = urlsplit(said)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError(f"{ADDRESS} must begin with https:// and a host; got {said!r}.")
    return f"{said.rstrip('/')}/"


def with_preview(page: str, home: str | None) -> str:
    """A page whose head names the picture; unchanged where the book's address is not known."""
    if home is None:
        return page
    lines = [
        f'<meta property="og:image" content="{html.escape(urljoin(home, NAME))}">',
        f'<meta property="og:image:alt" content="{html.escape(ALT)}">',
        f'<meta property="og:image:width" content="{SIZE[0]}">',
        f'<meta property="og:image:height" content="{SIZE[1]}">',
        '<meta name="twitter:card" content="summary_large_image">',
    ]
    return page.replace("</title>", "</title>\n    " + "\n    ".join(lines), 1)


def draw(path: Path, title: str) -> None:
    """Write the picture: the recorded runs of chapter 7, their floor, and the book's name."""
    import numpy as np
    from matplotlib.figure import Figure

    from gptlib.given.plots import BLUE, GREY
    from gptlib.given.records import record

    told = record("seeds")
    runs = list(told["seeds"].values())
    steps = np.array(runs[0]["step"])
    losses = np.array([run["loss"] for run in runs])  # (seeds, places)
    fig = Figure(figsize=(SIZE[0] / 100, SIZE[1] / 100), dpi=100, facecolor="white")
    ax = fig.add_axes((0.07, 0.12, 0.86, 0.6))
    ax.fill_between(steps, losses.min(axis=0), losses.max(axis=0), color=BLUE, alpha=0.35)
    ax.plot(steps, np.median(losses, axis=0), color=BLUE, linewidth=3)
    ax.axhline(told["floor"], color=GREY, linestyle="--", linewidth=2)
    ax.annotate("the floor, known exactly", (steps[-1], told["floor"]), (0, -24),
                textcoords="offset points", ha="right", fontsize=16)  # fmt: skip
    ax.set(ylim=(0, 2.2), xlim=(steps[0], steps[-1]))
    ax.set_xlabel("steps of training", fontsize=16)
    ax.set_ylabel("loss, nats per token", fontsize=16)
    ax.spines[["top", "right"]].set_visible(False)
    fig.text(0.07, 0.88, title, fontsize=30, weight="bold")
    fig.text(0.07, 0.79, "every number measured, every cause with its control", fontsize=19)
    fig.savefig(path, metadata={"Software": None})

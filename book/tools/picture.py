"""The house as a picture, drawn from book/house.toml and from nothing else.

    python book/tools/picture.py > house.svg

A column of boxes, a room each, with the importer always above what it may import. Each importer has
a lane to the right of the boxes; its arrows run down there and turn off to what they point at. So
the picture stays narrow enough for a telephone, whatever the table grows to.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import escape

import house

ROOT, NOTEBOOKS = "chapters", "notebooks"
WHAT = {
    NOTEBOOKS: "what a learner opens; each imports what the chapters before it built",
    ROOT: "the package's root; each chapter imports from those below it",
}

WIDTH, RIGHT = 360, 252  # of the picture, and of its boxes; a telephone shows it almost full size
LINE, GAP, LANE = 17, 14, 14
# A lane's colour on white, and in the dark theme: those of the book's figures, and two more.
COLORS = {
    "#0072b2": "#56b4e9",
    "#b04d00": "#f0a562",
    "#00795a": "#4fcfa8",
    "#8f4a77": "#e3a6cb",
    "#595959": "#b9c1c9",
    "#7a5f00": "#e0c25a",
    "#b3244b": "#f59ab0",
    "#3d6b1f": "#a5d183",
}

STYLE = """
.house { font-family: inherit; color: var(--pst-color-text-base, #222); }
.house text { fill: currentColor; font-size: 13px; }
.house .name { font-family: var(--pst-font-family-monospace, monospace); font-weight: 600; }
.house .box { fill: var(--book-quiet, #f5f7f9); stroke: currentColor; stroke-width: 1; }
.house .inner { fill: var(--pst-color-background, #fff); }
.house .empty { stroke-dasharray: 5 3; }
.house .arrow path { fill: none; stroke: var(--lane); stroke-width: 1.5; }
.house .arrow .head { fill: var(--lane); }
"""


@dataclass
class Box:
    """A room, or one chapter of the root: its words, and where it stands once it is laid out."""

    key: str
    lines: list[str]
    empty: bool = False
    inside: list[Box] = field(default_factory=list)
    top: int = 0
    height: int = 0


def chapter_key(number: int) -> str:
    return f"chapter {number}"


def target_of(tables: dict[str, Any], name: str) -> str:
    """The box that a name in a list of `imports` points at: a room, or the chapter of a module."""
    for number, modules in house.chapters_of(tables).items():
        if name in modules:
            return chapter_key(number)
    return name


def arrows(tables: dict[str, Any]) -> list[tuple[str, str]]:
    """Who may import whom, box by box. A chapter's arrow to the one before stands for all before.

    arrows(table()) holds ("corpus", "given") and ("chapter 2", "chapter 1").
    """
    found = [(NOTEBOOKS, ROOT)]
    sources = {NOTEBOOKS: tables["notebooks"], ROOT: tables["root"], **tables["rooms"]}
    for source, settings in sources.items():
        found += [(source, target_of(tables, name)) for name in settings["imports"]]
    numbers = sorted(house.chapters_of(tables), reverse=True)
    found += [(chapter_key(n), chapter_key(m)) for n, m in pairwise(numbers)]
    return list(dict.fromkeys(found))


def boxes(tables: dict[str, Any]) -> list[Box]:
    """The boxes from top to bottom, each above all that it may import.

    Errors: ValueError (graphlib's CycleError) for a table in which two rooms import each other.
    """
    chapters = house.chapters_of(tables)
    rows = {chapter_key(number) for number in chapters}
    graph: dict[str, list[str]] = {
        NOTEBOOKS: [],
        ROOT: [],
        **{room: [] for room in tables["rooms"]},
    }
    for source, target in arrows(tables):
        if source not in rows:
            graph[source].append(ROOT if target in rows else target)
    order = reversed(list(TopologicalSorter(graph).static_order()))
    inside = [
        Box(chapter_key(n), textwrap.wrap(f"{n}: {', '.join(chapters[n])}", 26))
        for n in sorted(chapters, reverse=True)
    ]
    what = {**WHAT, **{room: settings["what"] for room, settings in tables["rooms"].items()}}
    empty = {room for room, settings in tables["rooms"].items() if not settings["modules"]}
    return [
        Box(
            key,
            textwrap.wrap(what[key] + (" (nothing yet)" if key in empty else ""), 34),
            key in empty,
            inside if key == ROOT else [],
        )
        for key in order
    ]


def in_words(tables: dict[str, Any]) -> str:
    """The picture for those who do not see it: a sentence for each box that has arrows.

    in_words(table()) begins with "notebooks may import chapters, given, corpus, …".
    """
    by: dict[str, list[str]] = {}
    for source, target in arrows(tables):
        by.setdefault(source, []).append(target)
    return " ".join(f"{source} may import {', '.join(targets)}." for source, targets in by.items())


# Drawing -----------------------------------------------------------------------------------------


def lay_out(column: list[Box], arriving: dict[str, int]) -> int:
    """Give each box its place, tall enough for its words and arrows; returns the whole height."""
    y = 2
    for box in column:
        words = (LINE * (len(box.lines) + 1)) + 12
        box.top, box.height = y, max(words, 9 * (arriving.get(box.key, 0) + 2))
        if box.inside:
            y += box.height
            for row in box.inside:
                row.top, row.height = y, LINE * len(row.lines) + 11
                y += row.height + GAP
            y += 8
        else:
            y += box.height + GAP
    return y - GAP + 2


def draw_box(box: Box) -> str:
    """A box with its words, and the boxes inside it."""
    height = box.height
    if box.inside:
        height = box.inside[-1].top + box.inside[-1].height + 9 - box.top
    kind = "box empty" if box.empty else "box"
    parts = [
        f'<rect class="{kind}" x="2" y="{box.top}" width="{RIGHT - 2}" height="{height}" rx="5"/>'
    ]
    parts.append(f'<text class="name" x="12" y="{box.top + LINE + 2}">{escape(box.key)}</text>')
    for i, line in enumerate(box.lines):
        parts.append(f'<text x="12" y="{box.top + LINE * (i + 2) + 2}">{escape(line)}</text>')
    for row in box.inside:
        words = "".join(
            f'<text class="name" x="22" y="{row.top + LINE * (i + 1) + 2}">{escape(line)}</text>'
            for i, line in enumerate(row.lines)
        )
        parts.append(
            f'<g data-box="{row.key}"><rect class="box inner" x="12" y="{row.top}" '
            f'width="{RIGHT - 24}" height="{row.height}" rx="4"/>{words}</g>'
        )
    return f'<g data-box="{box.key}">{"".join(parts)}</g>'


def draw_arrow(source: str, target: str, path: str, head: str, lane: int) -> str:
    """A line and its head, in the colour of the lane."""
    return (
        f'<g class="arrow lane-{lane % len(COLORS)}" data-from="{source}" data-to="{target}">'
        f'<path d="{path}"/><path class="head" d="{head}"/></g>'
    )


def svg(tables: dict[str, Any]) -> str:
    """The whole picture as one `<svg>` element that carries its title and its description."""
    column, pointing = boxes(tables), arrows(tables)
    rows = [row for box in column for row in box.inside]
    importers = [box.key for box in column if any(source == box.key for source, _ in pointing)]
    targets = [target for _, target in pointing]
    height = lay_out(column, {key: targets.count(key) for key in targets})
    place = {box.key: box for box in [*column, *rows]}
    used: dict[str, int] = {}

    def port(key: str) -> tuple[int, int]:
        """The next free place on a box's right edge, from the top."""
        used[key] = used.get(key, 0) + 1
        inner = place[key] in rows
        return RIGHT - 12 if inner else RIGHT, place[key].top + (7 if inner else 9) * used[key]

    drawn = []
    outer = {key: WIDTH - 6 - LANE * i for i, key in enumerate(importers)}
    start = {key: port(key) for key in importers}
    for lane, key in enumerate(importers):
        x, y = start[key]
        for target in [target for source, target in pointing if source == key]:
            end, at = port(target)
            path = f"M{x} {y}H{outer[key]}V{at}H{end + 6}"
            head = f"M{end + 1} {at}l8 -4v8z"
            drawn.append(draw_arrow(key, target, path, head, lane))
    for source, target in pointing:
        if source not in importers:  # one chapter below another
            y, end = place[source].top + place[source].height, place[target].top
            drawn.append(
                draw_arrow(source, target, f"M30 {y}V{end - 6}", f"M30 {end - 1}l-4 -8h8z", 4)
            )
    colors = "".join(
        f".house .lane-{i} {{ --lane: {light}; }}\n"
        f'html[data-theme="dark"] .house .lane-{i} {{ --lane: {dark}; }}\n'
        for i, (light, dark) in enumerate(COLORS.items())
    )
    return (
        f'<svg class="house" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'role="img" aria-labelledby="house-title house-words">'
        f'<title id="house-title">Who may import whom in gptlib</title>'
        f'<desc id="house-words">{escape(in_words(tables))}</desc><style>{STYLE}{colors}</style>'
        f"{''.join(map(draw_box, column))}{''.join(drawn)}</svg>"
    )


if __name__ == "__main__":
    print(svg(house.table()))

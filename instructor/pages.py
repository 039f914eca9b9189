"""The pages: one for each student, one about the class. One file each, no script, no other host."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from html import escape

from instructor.marking import Marked, points_of
from instructor.similar import Alike
from instructor.submissions import Student
from instructor.tables import Asked, Rows, got, most, number, total

SAID = re.compile(r"^not yet(\.|: .*?\.) ")  # a typed answer differs where the mistake is one
STATES = {"right": "right", "wrong": "not yet", "not attempted": "not attempted"}
HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; }}
th, td {{ text-align: left; padding: .25rem .75rem; border-bottom: 1px solid #8888; vertical-align: top; }}
td.n {{ text-align: right; font-variant-numeric: tabular-nums; }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; border-left: 3px solid #8888; padding-left: 1rem; }}
rect {{ fill: #2c7fb8; }} text, line {{ fill: currentColor; stroke: none; }} line {{ stroke: currentColor; }}
</style></head><body>
"""  # noqa: E501
FOOT = "</body></html>\n"


def student_page(
    student: Student, marked: Marked, asked: Sequence[Asked], points: dict[str, float]
) -> str:
    """What a student reads: the points, and of each exercise what the notebook would say."""
    sums = f"{number(total(marked, asked, points))} of {number(most(asked, points))} points"
    parts = [HEAD.format(title=escape(f"Marks of {student.name}"))]
    parts.append(f"<h1>{escape(student.name)}</h1>\n<p>{sums}.</p>\n")
    if marked.notes:
        parts.append("<h2>About what was handed in</h2>\n<ul>\n")
        parts += [f"<li>{escape(note)}</li>\n" for note in marked.notes]
        parts.append("</ul>\n")
    for one in asked:
        mark = marked.marks[one.name]
        have = f"{number(got(marked, one, points))} of {number(points_of(one, points))}"
        parts.append(
            f"<h2>{escape(one.name)}: {STATES[mark.state]}, {have}</h2>\n"
            f"<pre>{escape(mark.words)}</pre>\n"
        )
    return "".join([*parts, FOOT])


def class_page(
    rows: Rows, asked: Sequence[Asked], points: dict[str, float], pairs: Sequence[Alike],
    pages: dict[str, str],
) -> str:  # fmt: skip
    """What the instructor reads: how the class did, what was hard, what went wrong most often.

    pages: by student's key, the address of the page.
    """
    sums = [total(marked, asked, points) for _, marked in rows]
    parts = [HEAD.format(title="The class"), f"<h1>The class: {len(rows)} students</h1>\n"]
    parts.append(f"<h2>How many have how many points</h2>\n{histogram(sums, most(asked, points))}")
    parts.append(
        "<h2>The exercises, the hardest first</h2>\n<table><thead><tr><th>exercise</th>"
        "<th>right</th><th>not yet</th><th>not attempted</th></tr></thead><tbody>\n"
    )
    counts = {one.name: Counter(m.marks[one.name].state for _, m in rows) for one in asked}
    for one in sorted(asked, key=lambda one: (counts[one.name]["right"], one.name)):
        each = "".join(f'<td class="n">{counts[one.name][state]}</td>' for state in STATES)
        parts.append(f"<tr><td>{escape(one.name)}</td>{each}</tr>\n")
    parts.append("</tbody></table>\n<h2>What went wrong most often</h2>\n")
    parts.append(_commonest(rows))
    parts.append("<h2>Nearly the same code: worth a question?</h2>\n")
    parts.append(_alike(pairs))
    parts.append("<h2>Each student</h2>\n<table><thead><tr><th>student</th><th>points</th>"
                 "<th>notes</th></tr></thead><tbody>\n")  # fmt: skip
    for (student, marked), points_had in zip(rows, sums, strict=True):
        link = f'<a href="{escape(pages[student.key])}">{escape(student.name)}</a>'
        notes = escape("; ".join(marked.notes))
        parts.append(
            f'<tr><td>{link}</td><td class="n">{number(points_had)}</td><td>{notes}</td></tr>\n'
        )
    return "".join([*parts, "</tbody></table>\n", FOOT])


def _commonest(rows: Rows, shown: int = 15) -> str:
    said = Counter(
        (name, SAID.sub("", mark.words.splitlines()[0]))
        for _, marked in rows for name, mark in marked.marks.items() if mark.state == "wrong"
    )  # fmt: skip
    if not said:
        return "<p>Nothing went wrong.</p>\n"
    lines = sorted(said.items(), key=lambda item: (-item[1], item[0]))[:shown]
    return (
        "<table><thead><tr><th>students</th><th>exercise</th><th>what they read</th></tr></thead>"
        "<tbody>\n"
        + "".join(
            f'<tr><td class="n">{count}</td><td>{escape(name)}</td><td>{escape(words)}</td></tr>\n'
            for (name, words), count in lines
        )
        + "</tbody></table>\n"
    )


def _alike(pairs: Sequence[Alike]) -> str:
    if not pairs:
        return "<p>No two students handed in nearly the same code.</p>\n"
    items = "".join(
        f"<li>{escape(pair.first)} and {escape(pair.second)}: {pair.share:.0%} of the code, in "
        f"{escape(', '.join(pair.exercises))}</li>\n"
        for pair in pairs[:50]
    )
    return (
        "<p>These answers read alike when names and comments are put aside. That is no verdict: "
        "people who learn together write alike, and some tasks have few ways. It is a question to "
        f"ask them.</p>\n<ul>\n{items}</ul>\n"
    )


def histogram(sums: Sequence[float], whole: float, bins: int = 10) -> str:
    """A drawing of how many students have how many points, and the same in words."""
    width = whole / bins if whole else 1.0
    counts = [0] * bins
    for value in sums:
        counts[min(bins - 1, int(value / width))] += 1
    tallest = max([*counts, 1])
    edges = [(number(round(i * width, 1)), number(round((i + 1) * width, 1))) for i in range(bins)]
    words = "; ".join(f"{a} to {b}: {n}" for (a, b), n in zip(edges, counts, strict=True) if n)
    words = f"Students by points. {words or 'none'}."
    bars = []
    for i, n in enumerate(counts):
        height = 120 * n / tallest
        bars.append(
            f'<rect x="{40 + 50 * i}" y="{140 - height:.1f}" width="44" height="{height:.1f}"/>'
            f'<text x="{62 + 50 * i}" y="{134 - height:.1f}" text-anchor="middle">{n or ""}</text>'
            f'<text x="{40 + 50 * i}" y="158" text-anchor="middle" font-size="11">'
            f"{edges[i][0]}</text>"
        )
    last = f'<text x="{40 + 50 * bins}" y="158" text-anchor="middle" font-size="11">{edges[-1][1]}'
    return (
        f'<svg role="img" viewBox="0 0 570 170" width="570" aria-label="{escape(words)}">'
        f"<title>{escape(words)}</title>{''.join(bars)}{last}</text>"
        '<line x1="38" y1="141" x2="540" y2="141"/></svg>\n'
        f"<p>{escape(words)}</p>\n"
    )


def bar(done: int, whole: int, width: int = 20) -> str:
    """How far it is, drawn.

    bar(1, 4, 8) -> '[##......]'
    """
    full = width * done // max(whole, 1)
    return f"[{'#' * full}{'.' * (width - full)}]"

"""A small page with widgets, made as the book makes its own, and no book to build for it."""

from __future__ import annotations

import html
import json
import shutil
from pathlib import Path

from alive import with_widgets
from ipywidgets.embed import dependency_state

BOOK = Path(__file__).parents[2] / "book"
PAGE = """<!DOCTYPE html>
<html lang="en" data-theme="{theme}" data-content_root="">
<head><meta charset="utf-8"><title>Widgets</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,"><link rel="stylesheet" href="_static/book.css">
<style>body {{ margin: 8px; background: {back}; }}</style></head>
<body><main><h1>Widgets</h1>
{figures}
</main>
<script type="application/vnd.jupyter.widget-state+json">{state}</script>
</body></html>
"""


def write_page(folder: Path, *widgets, theme: str = "light") -> Path:
    """Write a page with these widgets and all that it needs into a folder; return its path."""
    figures = []
    for widget in widgets:
        data, about = widget._repr_mimebundle_()
        name = f"{widget.model_id}.svg"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(data["image/svg+xml"], encoding="utf-8")
        alt = html.escape(about["image/svg+xml"]["alt"])
        picture = f'<img alt="{alt}" class="widget-{widget.model_id}" src="{name}"/>'
        figures.append(f'<div class="cell_output">{picture}</div>')
    state = {"state": dependency_state(list(widgets), drop_defaults=False)}
    page = PAGE.format(
        theme=theme,
        back="#fff" if theme == "light" else "#14181e",
        figures="\n".join(figures),
        state=json.dumps(state).replace("</", "<\\/"),
    )
    static = folder / "_static"
    static.mkdir(exist_ok=True)
    shutil.copy(BOOK / "_static" / "book.css", static)
    path = folder / "page.html"
    path.write_text(with_widgets(page, "", static), encoding="utf-8")
    return path

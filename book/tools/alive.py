"""Pages whose widgets live with no Python: what they need, put where assets/widgets.js finds it.

A notebook's output holds a widget and a figure that stands in for it; its metadata hold the state
of every widget. The page shows the figure. Here the state of those that are shown is cut down to
what a script needs, and scripts and styles, which many pages share, become files of their own.

Jupyter's own viewer for widgets in pages weighs 3.6 MB (0.9 MB packed), and looks for anywidget on
another host; the host of ours weighs 4 KB.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import Any

STATE = re.compile(
    r'\s*<script[^>]*type="application/vnd\.jupyter\.widget-state\+json"[^>]*>(.*?)</script>',
    flags=re.S,
)
SHOWN = re.compile(r'<img\b[^>]*\bclass="[^"]*\bwidget-([0-9a-f]+)')
NOT_TRAITS = {"layout", "tabbable", "tooltip"}
HOST = Path(__file__).parents[1] / "assets" / "widgets.js"
NO_SCRIPT = (
    '<noscript><p class="widget-failed">With JavaScript this figure is one to play with.'
    "</p></noscript>"
)


def script_file(text: str, folder: Path) -> str:
    """Write a script or style as a file that a page from a folder can load; return its name."""
    name = hashlib.sha256(text.encode()).hexdigest()[:16]
    said = f"(window.bookWidgets ??= {{}})[{json.dumps(name)}] = {json.dumps(text)};\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.js").write_text(said, encoding="utf-8")
    return name


def needed(model: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What a widget's script needs of its saved state.

    Its scripts are left in files in `folder`: {"traits", "buffers", "esm", "css"}, the last two by
    name, "" where there is none.
    """
    state = model["state"]
    traits = {k: v for k, v in state.items() if k[0] != "_" and k not in NOT_TRAITS}
    kept = {"traits": traits, "buffers": model.get("buffers", [])}
    for key in ("esm", "css"):
        text = state.get(f"_{key}", "")
        kept[key] = script_file(text, folder) if text else ""
    return kept


def with_widgets(page: str, root: str, static: Path) -> str:
    """The page with all that its widgets need; `root` leads from it to the book's folder."""
    found = STATE.search(page)
    if not found:
        return page
    page = STATE.sub("", page)
    shown = SHOWN.findall(page)
    if not shown:
        return page
    models = json.loads(found[1])["state"]
    folder = static / "widgets"
    states = {name: needed(models[name], folder) for name in shown if name in models}
    (folder / "host.js").write_text(HOST.read_text(encoding="utf-8"), encoding="utf-8")
    names = {state[key] for state in states.values() for key in ("esm", "css")} - {""}
    scripts = [
        f'<script defer src="{root}_static/widgets/{name}.js"></script>'
        for name in [*sorted(names), "host"]
    ]
    data = json.dumps(states, ensure_ascii=False).replace("</", "<\\/")
    holder = f'<script type="application/json" class="widget-states">{data}</script>'
    page = page.replace("</head>", "  " + "\n  ".join(scripts) + "\n  </head>", 1)
    page = re.sub(r'(?=<img\b[^>]*\bclass="[^"]*\bwidget-[0-9a-f])', NO_SCRIPT, page)
    return page.replace("</body>", f"{holder}\n</body>", 1)


def standing(widget: Any) -> str:
    """A widget for a page that no notebook made: its figure, and its state for `with_widgets`."""
    from ipywidgets.embed import dependency_state

    data, about = widget._repr_mimebundle_()
    said = about["image/svg+xml"]
    picture = base64.b64encode(data["image/svg+xml"].encode()).decode()
    figure = (
        f'<img alt="{html.escape(said["alt"])}" class="widget-{said["widget"]}" '
        f'src="data:image/svg+xml;base64,{picture}"/>'
    )
    state = json.dumps({"state": dependency_state([widget], drop_defaults=False)})
    state = state.replace("</", "<\\/")
    holder = '<script type="application/vnd.jupyter.widget-state+json">'
    return f'<div class="cell_output">{figure}</div>\n{holder}{state}</script>'

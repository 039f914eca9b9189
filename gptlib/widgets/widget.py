"""What every widget has: its script, its style, and a picture for where no script runs.

Given, not built. A widget is a Python face (`distribution_explorer.py`) and a script of the same
stem (`distribution_explorer.js`). Its traits are the whole truth: from them alone the script draws
everything, so a widget lives in JupyterLab, in Colab and in a page with no Python running. A trait
that the reader changes in the page changes in Python, and the other way round.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import matplotlib

from gptlib.given import plots
from gptlib.given.checks.numbers import is_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HERE = Path(__file__).parent
IMPORT = re.compile(r'^import (?:\{[^}]*\}|\w+) from "\./([\w-]+\.js)";\n', flags=re.M)
FACE = re.compile(r'^import (\w+) from "\./([\w-]+\.js)";\n', flags=re.M)


def bundle(name: str, seen: set[str] | None = None, called: str = "") -> str:
    """One script made of a module of this folder and of all that it imports, in order.

    A widget's script travels as one text, and a text cannot import its neighbours. So the imports
    are replaced by what they name, each module once; only the last one keeps its exports. What
    another module exports by default has the name that it is imported by, `called`. Errors:
    FileNotFoundError for a module that is not there.
    """
    first = seen is None
    seen = set() if seen is None else seen
    seen.add(name)
    code = (HERE / name).read_text(encoding="utf-8")
    faces = {other: word for word, other in FACE.findall(code)}
    parts = [
        bundle(other, seen, faces.get(other, ""))
        for other in IMPORT.findall(code)
        if other not in seen
    ]
    code = IMPORT.sub("", code)
    if not first:
        code = re.sub(r"^export (?=function|const|class|async)", "", code, flags=re.M)
    if called:
        code = re.sub(r"^export default ", f"const {called} = ", code, flags=re.M)
    return "\n".join([*parts, code])


def style(*names: str) -> str:
    """What all widgets look like, and what those files of this folder add for one of them."""
    files = [HERE / name for name in ("widget.css", *names)]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def _plain(value: Any) -> Any:
    return int(value) if is_whole(value) else value


class Widget(anywidget.AnyWidget):
    """A picture to play with. A face sets `_esm`, and says in `draw` and `words` what it shows."""

    _css = style()

    def __init__(self, **settings: Any) -> None:
        known = {*self.class_trait_names(), "model_id"}
        for name in settings.keys() - known:
            near = get_close_matches(name, (n for n in known if not n.startswith("_")), n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise ValueError(f"{type(self).__name__} has no setting {name!r}.{hint}")
        super().__init__(**settings)

    def __setattr__(self, name: str, value: Any) -> None:
        """NumPy's whole numbers become Python's: a trait takes no others, nor does a page."""
        if self.has_trait(name):
            many = type(value) in (list, tuple)
            value = type(value)(map(_plain, value)) if many else _plain(value)
        super().__setattr__(name, value)

    def draw(self) -> Figure:
        """The figure that stands in where no script runs: in print, on GitHub, with none at all."""
        raise NotImplementedError

    def words(self) -> str:
        """What the figure shows, numbers included, for whoever cannot see it."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """What a notebook stores: the widget, and beside it the figure that stands in for it."""
        shown = super()._repr_mimebundle_(**kwargs)
        if shown is None:
            return None
        data, metadata = shown if isinstance(shown, tuple) else (shown, {})
        alt = " ".join(self.words().split())
        with matplotlib.rc_context(plots.STYLE):
            picture = plots.svg_of(self.draw(), alt)
        about = {"alt": alt, "widget": self.model_id}
        return (
            {**data, "image/svg+xml": picture, "text/plain": f"Figure: {alt}"},
            {**metadata, "image/svg+xml": about},
        )

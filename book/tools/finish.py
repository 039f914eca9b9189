"""The last touches on every written page: light, readable with no script, open to all.

The theme's pages carry a 1.5 MB script for a dozen icons, wait for scripts before they show
anything, and have small faults for those who do not see them. Here the text of a page is put right
just before it is written.
"""

from __future__ import annotations

import html
import json
import re
from functools import cache
from pathlib import Path

import preview
from alive import with_widgets
from sphinx.application import Sphinx

ICON = re.compile(
    r'<(i|span) class="((?:[\w-]+ )*)fa[sb]?(?:-solid|-brands)? +fa-([\w-]+)([^"]*)"([^>]*)>'
    r"\s*</\1>"
)
DRAWING = re.compile(r'[{,]"?([a-z][a-z0-9-]*)"?:\[(\d+),(\d+),\[[^\]]*\],"\w+","([^"]+)"\]')
BIG = ("fontawesome.js", *(f"{name}.js.map" for name in ("fontawesome", "bootstrap")))
BIG += ("pydata-sphinx-theme.js.map",)

SCRIPTS = ("book.js", "progress.js", "predictions.js")  # of book/_static, on every page

# Light or dark is settled before anything is drawn; with no script the page is light.
THEME = """<script>
    (() => {
      const page = document.documentElement.dataset;
      let mode = "auto";
      try { mode = localStorage.getItem("mode") || "auto"; } catch {}
      const dark = matchMedia("(prefers-color-scheme: dark)").matches;
      page.mode = mode;
      page.theme = mode === "auto" ? (dark ? "dark" : "light") : mode;
    })();
  </script>"""

NOT_FOUND = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>No such page — {title}</title>
<link rel="icon" href="data:,">
<style>
body {{ font: 1.1rem/1.6 sans-serif; max-width: 34rem; margin: 12vh auto; padding: 0 1.2rem;
  color: #1d232b; background: #fff; }}
a {{ color: #005a8f; }}
@media (prefers-color-scheme: dark) {{ body {{ color: #e6e9ec; background: #14181e; }}
  a {{ color: #7cc4ee; }} }}
</style>
</head>
<body>
<main>
<h1>No such page</h1>
<p>There is nothing at this address of the book. A page may have been renamed.</p>
<p><a id="start" href="index.html">To the start of the book</a></p>
</main>
<script>
// The address that is missing may lie deeper than the book's first page.
document.getElementById("start").href =
  location.pathname.replace(/(book|chapters|source)\\/.*$|[^/]*$/, "") + "index.html";
</script>
</body>
</html>
"""


@cache
def icons(script: Path) -> dict[str, tuple[str, str, str]]:
    """The drawings of Font Awesome's solid icons by name: width, height, path."""
    text = script.read_text(encoding="utf-8")
    # The last of a name in the file is the solid one.
    return {name: (width, height, path) for name, width, height, path in DRAWING.findall(text)}


def draw_icons(page: str, drawings: dict[str, tuple[str, str, str]]) -> str:
    """Put an icon's drawing where the theme has an empty element for a script to fill."""

    def drawing(found: re.Match[str]) -> str:
        tag, before, name, after, rest = found.groups()
        if name not in drawings:
            return found[0]
        width, height, path = drawings[name]
        picture = f'<svg class="icon" viewBox="0 0 {width} {height}" aria-hidden="true">'
        picture += f'<path d="{path}"/></svg>'
        return f'<{tag} class="icon-of {before}{after.strip()}"{rest}>{picture}</{tag}>'

    return ICON.sub(drawing, page)


def lighten(page: str, needs_search: bool) -> str:
    """Leave out what the page does not use, and let no script hold up the first picture."""
    page = re.sub(r"\s*<!-- So that users can add custom icons -->", "", page)
    page = re.sub(r'\s*<script defer src="[^"]*fontawesome\.js[^"]*"></script>', "", page)
    page = re.sub(r'\s*<link rel="preload" as="script"[^>]*>', "", page)
    page = re.sub(r'\s*<link rel="stylesheet"[^>]*sphinx-thebe\.css[^>]*>', "", page)
    page = re.sub(r"\s*<script>window\.MathJax = .*?</script>", "", page)
    page = re.sub(r"\s*<script[^>]*/mathjax/[^>]*></script>", "", page)
    for name in ("togglebutton", "design-tabs"):
        page = re.sub(rf"\s*<script[^>]*{name}\.js[^>]*></script>", "", page)
    page = re.sub(r"\s*<script>(?:let toggle|var toggle)[^<]*</script>", "", page)
    unused = ["togglebutton.css"]
    if 'class="sd-' not in page and " sd-" not in page:
        unused.append("sphinx-design.min.css")
    for name in unused:
        page = re.sub(rf'\s*<link rel="stylesheet"[^>]*{re.escape(name)}[^>]*>', "", page)
    if not needs_search:
        for name in ("searchtools", "language_data", "searchindex"):
            page = re.sub(rf'\s*<script src="[^"]*{name}\.js[^"]*"></script>', "", page)
        # In the head, a script with an address waits for the page; what is written out does not.
        head, rest = page.split("</head>", 1)
        head = re.sub(r'<script ((?:data-[\w-]+="[^"]*" )?src=)', r"<script defer \1", head)
        options = r"<script>(DOCUMENTATION_OPTIONS\.[^<]*)</script>"
        later = '<script>addEventListener("DOMContentLoaded", () => {{ {} }});</script>'
        head = re.sub(options, lambda found: later.format(found[1].strip()), head)
        page = f"{head}</head>{rest}"
    return page


def open_to_all(page: str) -> str:
    """Mend what axe-core finds in the theme's own parts."""
    page = re.sub(
        r'<script data-cfasync="false">.*?</script>', lambda _: THEME, page, count=1, flags=re.S
    )
    page = page.replace('data-theme="auto"', 'data-theme="light"', 1)
    page = page.replace(
        '<div id="pst-primary-sidebar" class="',
        '<div id="pst-primary-sidebar" role="navigation" aria-label="Book" class="',
        1,
    )
    page = page.replace('role="doc-biblioentry"', 'role="listitem"')
    keys = '<span class="search-button__kbd-shortcut"'
    page = page.replace(keys, f'{keys} aria-hidden="true"')
    # The words of a fold say what it does; a label would hide them from a screen reader.
    page = page.replace('<summary aria-label="Toggle hidden content">', "<summary>")
    for name in ("Toggle primary sidebar", "Toggle secondary sidebar"):
        page = page.replace(f'title="{name}"', f'title="{name}" aria-label="{name}"')
    # A button with words in it is called by them.
    named = r'(<button class="btn search-button-field[^>]*?) title="Search" aria-label="Search"'
    page = re.sub(named, r"\1", page)
    # Once is enough.
    once = '<meta name="viewport" content="width=device-width, initial-scale=1">'
    page = re.sub(r'\s*<meta name="viewport"[^>]*>', "", page)
    return page.replace('<meta charset="utf-8" />', f'<meta charset="utf-8">\n    {once}', 1)


def describe(page: str, title: str) -> str:
    """A description for search engines, and what is shown where somebody shares a link."""
    article = page.split('<article class="bd-article">', 1)[-1]
    for found in re.findall(r"<p>(.*?)</p>", article, flags=re.S):
        words = " ".join(html.unescape(re.sub(r"<[^>]+>", "", found)).split())
        if len(words) > 60:
            break
    else:
        return page
    if len(words) > 200:
        words = words[:200].rsplit(" ", 1)[0] + " …"
    words = html.escape(words)
    own = re.search(r"<title>(.*?)</title>", page, flags=re.S)
    own = " ".join(own[1].split()) if own else html.escape(title)
    lines = [
        f'<meta name="description" content="{words}">',
        f'<meta property="og:title" content="{own}">',
        f'<meta property="og:description" content="{words}">',
        '<meta property="og:type" content="article">',
        f'<meta property="og:site_name" content="{html.escape(title)}">',
    ]
    return page.replace("</title>", "</title>\n    " + "\n    ".join(lines), 1)


def explain_terms(page: str, meanings: dict[str, str]) -> str:
    """Show what a term means when the pointer rests on its link."""

    def link(found: re.Match[str]) -> str:
        meaning = meanings.get(found[2].lower())
        if not meaning:
            return found[0]
        rest = re.sub(r' title="[^"]*"', "", found[3])
        return f'{found[1]} title="{html.escape(meaning)}"{rest}>'

    pattern = r'(<a class="reference internal" href="[^"]*glossary\.html#(term-[^"]+)")([^>]*)>'
    return re.sub(pattern, link, page)


def finished(page: str, name: str, title: str, drawings, meanings) -> str:
    """The text of a page as it is written."""
    page = lighten(page, needs_search=name == "search")
    page = draw_icons(open_to_all(page), drawings)
    root = re.search(r'data-content_root="([^"]*)"', page)
    root = root[1] if root else ""
    for script in SCRIPTS:
        line = f'<script defer src="{root}_static/{script}"></script>'
        page = page.replace("</head>", f"  {line}\n  </head>", 1)
    if "<mjx-container" in page:
        sheet = f'<link rel="stylesheet" href="{root}_static/math.css">'
        page = page.replace("</head>", f"  {sheet}\n  </head>", 1)
    page = preview.with_preview(describe(page, title), preview.address())
    return explain_terms(page, meanings)


def wrap_templates(app: Sphinx, explained) -> None:
    """Let every page go through `finished` before it is written."""
    if app.builder.format != "html":
        return
    templates = app.builder.templates
    render = templates.render
    import pydata_sphinx_theme

    theme = Path(pydata_sphinx_theme.__file__).parent / "theme" / "pydata_sphinx_theme" / "static"
    drawings = icons(theme / "scripts" / "fontawesome.js")
    glossary = Path(app.srcdir) / "book" / "glossary.md"
    meanings = explained(glossary.read_text(encoding="utf-8")) if glossary.exists() else {}

    def render_finished(template: str, context: dict) -> str:
        page = render(template, context)
        if "</html>" not in page:
            return page
        name = context.get("pagename", "")
        page = finished(page, name, app.config.html_title or app.config.project, drawings, meanings)
        root = re.search(r'data-content_root="([^"]*)"', page)
        return with_widgets(page, root[1] if root else "", Path(app.outdir) / "_static")

    templates.render = render_finished


def lay_out(app: Sphinx, exception: Exception | None) -> None:
    """What a book without a server needs: notebooks to save, and texts to search in."""
    if exception or app.builder.format != "html":
        return
    out = Path(app.outdir)
    title = html.escape(app.config.html_title or app.config.project)
    (out / "404.html").write_text(NOT_FOUND.format(title=title), encoding="utf-8")
    preview.draw(out / preview.NAME, app.config.html_title or app.config.project)
    for big in BIG:
        (out / "_static" / "scripts" / big).unlink(missing_ok=True)
    texts = {}
    for page in sorted(out.rglob("*.html")):
        name = page.relative_to(out).as_posix()
        if name.startswith(("book/", "chapters/")):
            texts[name] = plain_text(page.read_text(encoding="utf-8"))
    script = f"window.bookTexts = {json.dumps(texts, ensure_ascii=False)};\n"
    (out / "_static" / "local").mkdir(exist_ok=True)
    (out / "_static" / "local" / "texts.js").write_text(script, encoding="utf-8")
    for notebook in sorted((out / "_sources" / "chapters").glob("*.ipynb")):
        said = json.dumps([notebook.name, notebook.read_text(encoding="utf-8")])
        target = out / "_static" / "local" / f"{notebook.name}.js"
        target.write_text(f"window.bookSave(...{said});\n", encoding="utf-8")


def plain_text(page: str) -> str:
    """The text of a page's article, for excerpts of a search where nothing can be fetched."""
    article = page.split('<article class="bd-article">', 1)[-1].split("</article>", 1)[0]
    article = re.sub(r"<(script|style|svg|math)\b.*?</\1>", " ", article, flags=re.S)
    article = re.sub(r'<a class="headerlink".*?</a>', " ", article, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", article)).split())


def setup(app: Sphinx, explained) -> None:
    """`explained` reads a glossary page: what each term means, by its anchor."""
    app.connect("builder-inited", lambda app: wrap_templates(app, explained))
    app.connect("build-finished", lay_out)

"""The book's Sphinx extension: what plain Markdown chapters need to become good pages.

Chapters stay ordinary notebooks. Here, at build time, figures get their alt text, the first use
of a glossary term in a chapter becomes a link, references can be linked by their key, and buttons
that would lead nowhere are left out. The directive `{house-picture}` draws who may import whom;
`{widget}` sets a widget on a page that is no chapter.
Nine modules beside this one do the rest: folds.py what a page hides until it is asked for,
exercising.py its exercises, mathset.py its formulas, alive.py its widgets, sources.py the pages
with gptlib's code, bibliography.py the list of sources, prices.py the start page's figure, dates.py
the date at the foot of each page, finish.py what is put right in the text of every page.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import alive
import bibliography
import dates
import exercising
import finish
import folds
import house
import inputs
import mathset
import picture
import prices
import sources
from chapterfiles import ROOT
from docutils import nodes
from myst_nb.core.render import NbElementRenderer
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

# Words that also have an everyday meaning. They become links only where the chapter puts them in
# emphasis, as it does where it introduces a term: *value* or **value**.
EVERYDAY = {
    *("key", "value", "query", "head", "floor", "shape", "batch", "buffer", "skill", "merge"),
    *("parameter", "bit", "mask", "step", "unit", "tail", "score", "scale", "shift", "repetition"),
}

# Inside these nothing is turned into a link.
NO_LINKS = (nodes.literal, nodes.literal_block, nodes.title, nodes.reference, nodes.figure)
NO_LINKS += (nodes.math, nodes.math_block, nodes.raw, nodes.caption, addnodes.pending_xref)


# Alt text --------------------------------------------------------------------------------------


WIDE_FIGURE = 520  # points; two panels side by side, unreadable when a telephone shrinks them


def add_alt_text(render_image):
    """Wrap myst-nb's renderer: an output's own `alt` metadata becomes the picture's alt text.

    A wide drawing is marked too, so that narrow screens can let it scroll instead of shrinking it,
    and a heat map, whose light and dark must not be turned round.
    """

    def render_image_with_alt(self, data):
        rendered = render_image(self, data)
        about = data.output_metadata.get(data.mime_type, {})
        alt, widget = about.get("alt"), about.get("widget")
        for node in rendered:
            if widget and isinstance(node, nodes.image):
                node["classes"].append(f"widget-{widget}")
            if alt and isinstance(node, nodes.image):
                node["alt"] = alt
            if isinstance(node, nodes.image) and data.mime_type == "image/svg+xml":
                width = re.search(r'<svg[^>]* width="([\d.]+)pt"', data.string)
                if width and float(width[1]) > WIDE_FIGURE:
                    node["classes"].append("wide-figure")
                if "<image " in data.string:  # pixels in a drawing: a heat map, where dark is much
                    node["classes"].append("heat-map")
        return rendered

    render_image_with_alt.wrapped = render_image
    return render_image_with_alt


# The glossary ----------------------------------------------------------------------------------


def entries_of(text: str) -> list[tuple[str, str]]:
    """The names, without their stars, and the definition of each entry of a glossary page."""
    blocks = re.findall(r"^:{3,}\{glossary\}\n(.*?)^:{3,}", text, flags=re.M | re.S)
    entry = re.compile(r"((?:^\S.*\n)+)((?:^[ \t]+.*\n|^[ \t]*\n)+)", flags=re.M)
    found = [pair for block in blocks for pair in entry.findall(block)]
    return [(re.sub(r"^\*\*(.+)\*\*$", r"\1", names, flags=re.M), said) for names, said in found]


def glossary_entries(text: str) -> list[tuple[list[str], int | None]]:
    """The entries of a glossary page: the names of each, and the chapter that introduces it.

    A term stands at the start of a line inside the `{glossary}` block, alone or under another name
    of the same thing, its definition below it, indented. "Chapter 3." at the end of a definition
    says where the term is introduced.

    >>> glossary_entries(":::{glossary}\\n**shortcut**\\n**skip**\\n  A way. Chapter 5.\\n:::")
    [(['shortcut', 'skip'], 5)]
    """
    found = []
    for names, definition in entries_of(text):
        chapter = re.search(r"Chapter\s+(\d+)\.\s*$", definition)
        lines = [name.strip() for name in names.splitlines() if not name.startswith(":")]
        found.append((lines, int(chapter[1]) if chapter else None))
    return found


def meanings(text: str) -> dict[str, str]:
    """What each term means in a sentence, by its anchor on the glossary page.

    >>> meanings(":::{glossary}\\n**best head**\\n  A *unit*. More of it. Chapter 3.\\n:::")
    {'term-best-head': 'A unit.'}
    """
    found = {}
    for names, definition in entries_of(text):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)|[*`$\\]", r"\1", " ".join(definition.split()))
        sentence = re.split(r"(?<=[.?!])\s", words, maxsplit=1)[0]
        for name in names.split("\n"):
            if name.strip() and not name.startswith(":"):
                found["term-" + re.sub(r"[^a-z0-9]+", "-", name.strip().lower())] = sentence
    return found


def glossary_terms(text: str) -> dict[str, int]:
    """The terms of a glossary page, each with the number of the chapter that introduces it.

    A term whose entry names no chapter is linked from the first chapter on.

    >>> glossary_terms(":::{glossary}\\n**head**\\n  A unit. Chapter 3.\\n:::")
    {'head': 3}
    """
    return {name: chapter or 1 for names, chapter in glossary_entries(text) for name in names}


def term_pattern(term: str) -> re.Pattern[str]:
    """A pattern for the term as a whole word, singular or plural, in either case.

    >>> bool(term_pattern("query").search("Its queries are"))
    True
    """
    stem = re.escape(term).replace(r"\ ", r"\s+")
    plural = f"(?:{stem}|{stem[:-1]}ies)" if term.endswith("y") else f"{stem}(?:s|es)?"
    return re.compile(rf"(?<![\w-]){plural}(?![\w-])", 0 if term.isupper() else re.IGNORECASE)


class LinkGlossaryTerms(SphinxTransform):
    """Make the first use of each glossary term in a chapter a link to the glossary."""

    default_priority = 450  # after the page is parsed, before cross-references are resolved

    def apply(self, **kwargs):
        name = self.env.docname
        number = re.match(r"chapters/(\d+)_", name)
        page = Path(self.env.srcdir) / "book" / "glossary.md"
        if not name.startswith("chapters/") or not page.exists():
            return
        self.env.note_dependency(str(page))
        chapter = int(number[1]) if number else 99
        terms = glossary_terms(page.read_text(encoding="utf-8"))
        # Longest first, so that "byte pair encoding" is not taken apart.
        open_terms = {
            term: term_pattern(term)
            for term in sorted(terms, key=len, reverse=True)
            if terms[term] <= chapter
        }
        for paragraph in self.document.findall(nodes.paragraph):
            for text in list(paragraph.findall(nodes.Text)):
                self.link(text, open_terms)

    def link(self, text: nodes.Text, open_terms: dict[str, re.Pattern[str]]) -> None:
        """Replace the text by text and links; drop the terms that were found."""
        parent, ancestors = text.parent, set()
        while parent is not None:
            if isinstance(parent, NO_LINKS) or "cell_output" in parent.get("classes", []):
                return
            ancestors.add(type(parent))
            parent = parent.parent
        content, found, taken = text.astext(), [], []
        for term, pattern in open_terms.items():
            if term in EVERYDAY and not ancestors & {nodes.emphasis, nodes.strong}:
                continue
            hit = pattern.search(content)
            if hit and not any(a < hit.end() and hit.start() < b for a, b in taken):
                taken.append(hit.span())
                found.append((hit.start(), hit.end(), term))
        if not found:
            return
        pieces, position = [], 0
        for start, end, term in sorted(found):
            pieces += [
                nodes.Text(content[position:start]),
                self.reference(term, content[start:end]),
            ]
            position = end
            del open_terms[term]
        pieces.append(nodes.Text(content[position:]))
        text.parent.replace(text, [piece for piece in pieces if piece.astext()])

    def reference(self, term: str, words: str) -> addnodes.pending_xref:
        """A cross-reference of the kind that the {term} role makes."""
        return addnodes.pending_xref(
            "",
            nodes.inline(words, words, classes=["xref", "std", "std-term"]),
            refdomain="std",
            reftype="term",
            reftarget=term,
            refdoc=self.env.docname,
            refexplicit=True,
            refwarn=True,
        )


LONG_LINE = 100  # characters; tables and tensors are narrower, a printed story is not


def is_prose(text: str) -> bool:
    """Whether printed text may wrap: a very long line, or words that stand in no columns.

    >>> is_prose("Once there was a quiet girl who lived on a hill.\\nShe had a red kite.")
    True
    >>> is_prose("loss at the start   7.34\\nloss at the end   0.45 after so many steps")
    False
    """
    lines = text.splitlines() or [""]
    if max(map(len, lines)) > LONG_LINE:
        return True
    letters = sum(c.isalpha() or c in " .,'“”’" for c in text)
    columns = any("  " in line.strip() for line in lines)
    return max(map(len, lines)) > 45 and not columns and letters > 0.93 * len(text)


class WrapPrintedProse(SphinxTransform):
    """Let printed prose wrap on a narrow screen; tables and tensors keep their lines and scroll."""

    default_priority = 450

    def apply(self, **kwargs):
        for block in self.document.findall(nodes.literal_block):
            parent = block.parent
            while parent is not None and "cell_output" not in parent.get("classes", []):
                parent = parent.parent
            if parent is not None and is_prose(block.astext()):
                block["classes"].append("prose-output")


# The house ---------------------------------------------------------------------------------------


class HousePicture(SphinxDirective):
    """`{house-picture}`: book/house.toml as a picture, drawn anew whenever the table changes."""

    def run(self) -> list[nodes.Node]:
        self.env.note_dependency(str(Path(self.env.srcdir) / "book" / "house.toml"))
        drawing = picture.svg(house.table(Path(self.env.srcdir)))
        return [nodes.raw("", f'<figure class="house-picture">{drawing}</figure>', format="html")]


# Widgets outside of chapters -----------------------------------------------------------------


class Widget(SphinxDirective):
    """`{widget} name`: a widget on a page that is no chapter, made anew with the page.

    The body is the Python that makes it; its last line is the widget.
    """

    has_content = True

    def run(self) -> list[nodes.Node]:
        code = "\n".join(self.content)
        for file in inputs.modules_behind(code) | inputs.widget_files():
            self.env.note_dependency(str(file))
        *before, last = ast.parse(code).body
        names: dict[str, object] = {}
        exec(compile(ast.Module(before, []), "<widget>", "exec"), names)
        made = eval(compile(ast.Expression(last.value), "<widget>", "eval"), names)
        return [nodes.raw("", alive.standing(made), format="html")]


# References, buttons, files --------------------------------------------------------------------


def make_list_of_references(_app: Sphinx, name: str, source: list[str]) -> None:
    """Put the directive in the place of the list that JupyterLab shows."""
    if name == "book/references":
        source[0] = bibliography.built(source[0])


def allow_links_to_references(app: Sphinx, _doctree: nodes.document) -> None:
    """Let `[words](../book/references.md#key)` in a chapter point at one entry of the list."""
    if app.env.docname != "book/references":
        return
    entries = (Path(app.srcdir) / "book" / "references.bib").read_text(encoding="utf-8")
    slugs = app.env.metadata[app.env.docname].setdefault("myst_slugs", {})
    for key in re.findall(r"^@\w+\{(\w+),", entries, flags=re.M):
        slugs[key] = (0, key, key)


def no_thebe(_app: Sphinx, _page: str, _template: str, context: dict, _doctree) -> None:
    """Leave out the scripts that would fetch a live kernel's client from another host."""
    context["script_files"] = [
        script
        for script in context["script_files"]
        if "thebe" not in str(getattr(script, "attributes", {}).get("body", ""))
        and "thebe" not in str(getattr(script, "filename", script))
    ]


def no_dead_buttons(_app: Sphinx, config) -> None:
    """Show Colab and repository buttons only when there is an address for them to lead to."""
    options = config.html_theme_options
    if options.get("repository_url"):
        options["use_repository_button"] = True
    else:
        options.pop("launch_buttons", None)
        options.pop("repository_url", None)


def footer(root: Path) -> str:
    """The line at the foot of every page: which version this is and of what day, how to cite it."""
    citation, date = dates.about(root), dates.date_of(root)
    version, title = citation["version"], citation["title"]
    authors = ", ".join(author["name"] for author in citation["authors"])
    when, year = (f", {date}", f" ({date[:4]})") if date else ("", "")
    cite = f"{authors}{year}. <em>{title}</em>, version {version}{when}."
    return (
        f"<p>Version {version}{when}</p>"
        f'<details class="fold cite"><summary>Cite this book</summary><p>{cite}</p></details>'
    )


def add_footer(_app: Sphinx, config) -> None:
    # Not of app.srcdir: what the tests build where a reader has worked is a part of the course.
    config.html_theme_options["extra_footer"] = footer(ROOT)


def setup(app: Sphinx) -> dict[str, object]:
    render_image = NbElementRenderer.render_image
    NbElementRenderer.render_image = add_alt_text(getattr(render_image, "wrapped", render_image))
    app.add_directive("house-picture", HousePicture)
    app.add_directive("widget", Widget)
    app.add_directive("price-picture", prices.PricePicture)
    app.add_transform(LinkGlossaryTerms)
    app.add_transform(WrapPrintedProse)
    app.connect("config-inited", no_dead_buttons)
    app.connect("source-read", make_list_of_references)
    app.connect("doctree-read", allow_links_to_references)
    app.connect("html-page-context", no_thebe, priority=900)
    app.connect("config-inited", add_footer)
    exercising.setup(app)
    folds.setup(app)
    mathset.setup(app)
    sources.setup(app)
    finish.setup(app, meanings)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

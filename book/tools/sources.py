"""The code of gptlib as pages of the book, and the links that lead there from the chapters.

Each module has a page with its file in colours, `source/given/plots.html`. Under a cell that
imports from gptlib stand links to what it imports; under a chapter's title, to what it builds.
"""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Iterator
from pathlib import Path

import house
from chapterfiles import NOT_PYTHON
from docutils import nodes
from exercising import has_page
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

FOLDER = "source"


def page_of(module: str) -> str:
    """The name of a module's page.

    >>> page_of("given.plots")
    'source/given/plots'
    """
    return "/".join([FOLDER, *module.split(".")])


def defined(code: str) -> dict[str, int]:
    """The names that a module defines itself, each with its line.

    >>> defined("import os\\nA = 1\\n\\n@f\\nclass B:\\n    c = 2")
    {'A': 2, 'B': 4}
    """
    found = {}
    for node in ast.parse(code).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found[node.name] = min([node.lineno, *(d.lineno for d in node.decorator_list)])
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {n.id: node.lineno for t in targets for n in ast.walk(t) if hasattr(n, "id")}
            found = {**names, **found}
    return found


def imported(code: str, files: dict[str, Path]) -> dict[str, set[str]]:
    """The modules of gptlib that a cell imports from, in order, each with the names it takes."""
    found: dict[str, set[str]] = {}
    try:
        tree = ast.parse(code)
    except NOT_PYTHON:
        return {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                for module in house.imports_of(f"from {node.module} import {alias.name}", files):
                    own = module != f"{node.module}.{alias.name}".removeprefix(house.PACKAGE + ".")
                    found.setdefault(module, set()).update({alias.name} if own else ())
    return {module: names for module, names in found.items() if module in files}


def links(modules: dict[str, set[str]], files: dict[str, Path], up: str) -> list[nodes.Node]:
    """Links to the pages of modules, with commas between; to a name's line where there is one."""
    parts: list[nodes.Node] = []
    for module, names in modules.items():
        known = defined(files[module].read_text(encoding="utf-8"))
        anchor = f"#{next(iter(names))}" if len(names) == 1 and names <= set(known) else ""
        words = f"{house.PACKAGE}.{module}"
        target = f"{up}{page_of(module)}.html{anchor}"
        parts += [nodes.Text(", "), nodes.reference("", words, refuri=target, internal=True)]
    return parts[1:]


class LinkSources(SphinxTransform):
    """Lead from what a chapter imports and builds to the pages with that code."""

    default_priority = 452  # after all that reads or moves code and words

    def apply(self, **kwargs) -> None:
        name, root = self.env.docname, Path(self.env.srcdir)
        number = re.match(r"chapters/0*(\d+)_", name)
        if not name.startswith("chapters/") or not (root / house.PACKAGE).is_dir():
            return
        files, up = house.modules_in(root), "../" * name.count("/")
        for source in list(self.document.findall(nodes.container)):
            block = next(iter(source.findall(nodes.literal_block)), None)
            if source.get("nb_element") == "cell_code_source" and block is not None:
                found = imported(block.astext(), files)
                found = {module: names for module, names in found.items() if has_page(module)}
                if found:
                    source += self.line("Source: ", found, files, up)
        built = house.chapters_of(house.table(root)).get(int(number[1]), []) if number else []
        built = [module for module in built if has_page(module)]
        title = next(iter(self.document.findall(nodes.title)), None)
        if built and title is not None:
            line = self.line("Built here: ", {module: set() for module in built}, files, up)
            title.parent.insert(title.parent.index(title) + 2, line)  # below the reading time

    def line(self, words: str, modules, files, up: str) -> nodes.paragraph:
        said = [nodes.Text(words), *links(modules, files, up), nodes.Text(".")]
        return nodes.paragraph("", "", *said, classes=["sources"])


def in_colours(code: str, highlighter) -> str:
    """A module's code as HTML, with an anchor on each line that defines a name."""
    before, lines = highlighter.highlight_block(code, "python").split("<pre>", 1)
    lines = lines.split("\n")
    for name, number in defined(code).items():
        lines[number - 1] = f'<span id="{html.escape(name)}"></span>{lines[number - 1]}'
    return f"{before}<pre>" + "\n".join(lines)


def write_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, str], str]]:
    """The page of each module, as Sphinx wants it: a name, what stands in it, its template."""
    root = Path(app.srcdir)
    if app.builder.format != "html" or not (root / house.PACKAGE).is_dir():
        return
    builders = {
        module: number
        for number, modules in house.chapters_of(house.table(root)).items()
        for module in modules
    }
    titles = {int(name[9:11]): name for name in app.env.titles if name[9:11].isdigit()}
    for module, path in house.modules_in(root).items():
        if not module or not has_page(module):
            continue
        page, number = page_of(module), builders.get(module)
        name = titles.get(number)
        said = "Chapters use it; none of them builds it."
        if name:
            address = app.builder.get_relative_uri(page, name)
            words = html.escape(app.env.titles[name].astext())
            said = f'The chapter that builds it is <a href="{address}">{words}</a>.'
        words = f"{house.PACKAGE}.{module}"
        where = path.relative_to(root).as_posix()
        body = f"<h1>{words}</h1>\n<p>The file <code>{where}</code> of the package. {said}</p>\n"
        body += in_colours(path.read_text(encoding="utf-8"), app.builder.highlighter)
        yield page, {"title": words, "body": body}, "page.html"


def setup(app: Sphinx) -> None:
    app.add_transform(LinkSources)
    app.connect("html-collect-pages", write_pages)

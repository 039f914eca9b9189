"""What a chapter's page folds: the answers to predictions, checks, and the code of figures.

A chapter stays a plain notebook. Its page is made to think with: the output below a prediction
stays hidden until the reader asks for it, cells that only assert are folded, and so is code that
only draws; the words of a figure no longer stand in the code above it. A fold is a `<details>`: it
works with no script, and opens for printing.
"""

from __future__ import annotations

import ast
import html
import json
import re
from collections.abc import Iterator

from chapterfiles import ROOT
from docutils import nodes
from exercising import only_asks, shows_ours, with_solutions
from sphinx.transforms import SphinxTransform

ANSWER, FIGURE, SEEN = "Show the answer", "Show the figure", "What is to be seen"
CHECK, DRAWING = "The check of this", "The code of this figure"
OURS, LEFT_OUT = "The course's own code", "The course's own code is not in this book."
WORDS_A_MINUTE = 200
RUNNING = ROOT / "benchmarks" / "results" / "chapter_time.json"
# A paragraph that begins like this goes on with the chapter; it does not answer a question.
GOES_ON = ("So ", "To ", "(")
DRAWS = {"fig", "ax", "axes", "plots", "plt", "image", "alt"}
WORDS = '"…"'


class fold(nodes.General, nodes.Element):
    """`<details>` with a summary."""


def visit_fold(self, node) -> None:
    kinds = " ".join(["fold", *node["classes"]])
    self.body.append(f'<details class="{kinds}"><summary>{node["summary"]}</summary>\n')


def depart_fold(self, _node) -> None:
    self.body.append("</details>\n")


def folded(kind: str, summary: str, *children: nodes.Node) -> fold:
    return fold("", *children, summary=summary, classes=[kind])


# Code ------------------------------------------------------------------------------------------


def without_words(code: str) -> str:
    """The code of a figure without the words for those who cannot see it.

    They stand below the figure, and above it they would give away what it shows. Only what is
    passed as `alt=`, or named `alt`, and holds a text is replaced.

    >>> without_words('plots.show(fig, alt="It " + f"falls to {end}.")')
    'plots.show(fig, alt="…")'
    """
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return code
    lines = code.encode().splitlines(keepends=True)
    starts = [sum(map(len, lines[:i])) for i in range(len(lines))]
    found = []
    for node in ast.walk(tree):
        named = isinstance(node, ast.keyword) and node.arg == "alt"
        if not named and isinstance(node, ast.Assign):
            named = ast.unparse(node.targets[0]) == "alt"
        if not named:
            continue
        value = node.value
        texts = [n for n in ast.walk(value) if isinstance(n, ast.Constant | ast.JoinedStr)]
        if any(isinstance(n, ast.JoinedStr) or isinstance(n.value, str) for n in texts):
            found.append(
                (
                    starts[value.lineno - 1] + value.col_offset,
                    starts[value.end_lineno - 1] + value.end_col_offset,
                )
            )
    content = code.encode()
    for start, end in sorted(found, reverse=True):
        before, after = content[:start], content[end:]
        # Brackets that were there for a text of several lines.
        if re.search(rb"=\s*\(\s*$", before) and re.match(rb"\s*\)", after):
            before = re.sub(rb"\(\s*$", b"", before)
            after = re.sub(rb"^\s*\)", b"", after)
        content = before + WORDS.encode() + after
    return content.decode()


def is_check(code: str) -> bool:
    """Whether a cell only asserts, or names a value for it, or goes through some.

    >>> is_check("few = 0.2\\nassert few < 1")
    True
    """
    try:
        body = ast.parse(code).body
    except SyntaxError:
        return False

    def asserts(statement) -> bool:
        inside = isinstance(statement, ast.For) and all(map(asserts, statement.body))
        return inside or isinstance(statement, ast.Assert)

    return any(map(asserts, body)) and all(asserts(s) or isinstance(s, ast.Assign) for s in body)


def before_checks(code: str) -> tuple[str, str]:
    """A cell's code, and the assertions at its end, which say what came out."""
    try:
        body = ast.parse(code).body
    except SyntaxError:
        return code, ""
    last = len(body)
    while last and isinstance(body[last - 1], ast.Assert):
        last -= 1
    if last in (0, len(body)):
        return code, ""
    lines = code.splitlines()
    cut = body[last - 1].end_lineno
    if "#" in lines[cut - 1] and "fmt:" in lines[cut - 1] and body[last].lineno == cut:
        return code, ""
    return "\n".join(lines[:cut]), "\n".join(lines[cut:]).strip("\n")


def only_draws(code: str) -> bool:
    """Whether most of a cell's statements have to do with its figure and nothing is defined.

    >>> only_draws("fig, ax = plt.subplots()\\nax.plot(losses)\\nplots.show(fig, alt='Down.')")
    True
    """
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return False

    def leaves(statements) -> Iterator[ast.stmt]:
        for statement in statements:
            inner = getattr(statement, "body", None)
            if isinstance(inner, list):
                yield from leaves(inner)
            elif not isinstance(statement, ast.Import | ast.ImportFrom):
                yield statement

    drawn = total = 0
    for leaf in leaves(tree.body):
        size = leaf.end_lineno - leaf.lineno + 1
        total += size
        names = {n.id for n in ast.walk(leaf) if isinstance(n, ast.Name)}
        drawn += size * bool(names & DRAWS)
    return "plots.show" in code and total > 0 and drawn / total > 0.6


# The page ----------------------------------------------------------------------------------------


def part_of(cell: nodes.Element, name: str) -> nodes.Element | None:
    return next((n for n in cell.children if n.get("nb_element") == name), None)


def is_cell(node: nodes.Node | None) -> bool:
    return isinstance(node, nodes.container) and node.get("nb_element") == "cell_code"


def has_figure(node: nodes.Node) -> bool:
    return any(True for _ in node.findall(nodes.image))


def is_widget(cell: nodes.Node) -> bool:
    """Whether a cell shows a figure to play with."""
    images = cell.findall(nodes.image)
    return any(name.startswith("widget-") for n in images for name in n.get("classes", []))


class FoldCode(SphinxTransform):
    """Fold checks and drawing code; take the words of figures out of the code above them."""

    default_priority = 440

    def apply(self, **kwargs) -> None:
        if not self.env.docname.startswith("chapters/"):
            return
        for cell in list(self.document.findall(is_cell)):
            source, output = (part_of(cell, f"cell_code_{p}") for p in ("source", "output"))
            block = source and next(iter(source.findall(nodes.literal_block)), None)
            if not block:
                continue
            code = block.astext()
            if only_asks(cell) and output:
                cell.remove(output)  # it says that nothing is written yet
            if shows_ours(cell):
                if with_solutions():
                    self.wrap(source, "ours", OURS)
                else:
                    cell.replace(source, nodes.paragraph("", LEFT_OUT))
                continue
            if is_check(code) and not output:
                self.wrap(source, "check", CHECK)
                continue
            code, checks = before_checks(code)
            self.write(block, without_words(code))
            if only_draws(code):
                self.wrap(source, "drawing", DRAWING)
            if checks:
                below = block.deepcopy()
                self.write(below, checks)
                inside = source.deepcopy()
                inside.children.clear()
                inside += below
                cell += folded("check", CHECK, inside)

    def write(self, block: nodes.Element, code: str) -> None:
        block.rawsource = code
        block.children.clear()
        block += nodes.Text(code)

    def wrap(self, source: nodes.Element, kind: str, summary: str) -> None:
        place, parent = source.parent.index(source), source.parent
        parent.remove(source)
        parent.insert(place, folded(kind, summary, source))


class FoldAnswers(SphinxTransform):
    """Hide what comes out of the cell below a prediction, and the words that say it."""

    default_priority = 445  # after the code, before the glossary's links

    def apply(self, **kwargs) -> None:
        if not self.env.docname.startswith("chapters/"):
            return
        for paragraph in list(self.document.findall(is_prediction)):
            paragraph["classes"].append("predict")
            self.hide(paragraph)

    def hide(self, prediction: nodes.Element) -> None:
        parent = prediction.parent
        place = parent.index(prediction) + 1
        cell = None
        while place < len(parent):
            node = parent[place]
            if is_prediction(node) or isinstance(node, nodes.section):
                return
            html_of = node.astext() if isinstance(node, nodes.raw) else ""
            if "<details" in html_of and "<summary>Hint" not in html_of:
                return  # the author has folded the answer already
            if is_cell(node):
                cell = node
                if part_of(cell, "cell_code_output"):
                    break
                following = parent[place + 1] if place + 1 < len(parent) else None
                if isinstance(following, nodes.paragraph) and not announces(following):
                    break  # the code itself is half of the answer; the words are the rest
            place += 1
        if cell is None or place >= len(parent):
            return
        playing = is_widget(cell)  # it answers when the reader plays; only the words are hidden
        hidden = [] if playing else outputs_of(cell)
        following = parent[place + 1] if place + 1 < len(parent) else None
        if isinstance(following, nodes.paragraph) and not is_prediction(following):
            said = answer_of(following)
            if said is not None:
                hidden.append(said)
            if not following.children:
                parent.remove(following)
        if hidden:
            parent.insert(place + 1, folded("answer", SEEN if playing else ANSWER, *hidden))
            self.hide_figure(parent, place + 2)

    def hide_figure(self, parent: nodes.Element, place: int) -> None:
        """The figure that comes next shows the same answer once more: hide it too."""
        for node in parent[place : place + 3]:
            if is_cell(node):
                output = part_of(node, "cell_code_output")
                if output and has_figure(output):
                    hidden = outputs_of(node)
                    parent.insert(parent.index(node) + 1, folded("answer", FIGURE, *hidden))
                return
            if not isinstance(node, nodes.paragraph) or is_prediction(node):
                return


def first_in(paragraph: nodes.paragraph) -> nodes.Node | None:
    """What a paragraph begins with; the parser may put an empty text before it."""
    return next((n for n in paragraph.children if n.astext()), None)


def is_prediction(node: nodes.Node | None) -> bool:
    first = first_in(node) if isinstance(node, nodes.paragraph) else None
    return isinstance(first, nodes.strong) and first.astext().rstrip(".:") == "Predict"


def announces(paragraph: nodes.paragraph) -> bool:
    return paragraph.astext().rstrip().endswith(":")


def outputs_of(cell: nodes.Element) -> list[nodes.Node]:
    """Take everything but the code out of a cell; return it in a cell of its own."""
    taken = [n for n in cell.children if n.get("nb_element") == "cell_code_output"]
    taken += [n for n in cell.children if isinstance(n, fold) and "check" in n["classes"]]
    if not taken:
        return []
    for node in taken:
        cell.remove(node)
    said = cell.get("cell_metadata", {})
    return [nodes.container("", *taken, classes=["cell"], cell_metadata=said)]


def answer_of(paragraph: nodes.paragraph) -> nodes.paragraph | None:
    """Take out of the paragraph below an output what says the answer; None if it says none.

    A last sentence that ends in a colon announces what comes next, and stays.
    """
    words = paragraph.astext()
    first = re.split(r"(?<=[.?!:])\s", words, maxsplit=1)[0]
    if words.startswith(GOES_ON) or any(n.astext() in first for n in definitions(paragraph)):
        return None
    said = paragraph.deepcopy()
    if not announces(paragraph):
        paragraph.children.clear()
        return said
    for i in range(len(paragraph.children) - 1, -1, -1):
        text = paragraph.children[i]
        if not isinstance(text, nodes.Text):
            continue
        ends = [m.end() for m in re.finditer(r"[.?!]\)?\s", text.astext())]
        if ends:
            content = text.astext()
            said.children[i:] = [nodes.Text(content[: ends[-1]].rstrip())]
            paragraph.children[: i + 1] = [nodes.Text(content[ends[-1] :])]
            for piece in (said, paragraph):
                for child in piece.children:
                    child.parent = piece
            return said
    return None


def definitions(paragraph: nodes.paragraph) -> list[nodes.strong]:
    """The bold words of a paragraph, save those that it begins with."""
    first = first_in(paragraph)
    return [n for n in paragraph.children if isinstance(n, nodes.strong) and n is not first]


class NumberFigures(SphinxTransform):
    """Give each figure a number, an address, its caption, and its description in words.

    The caption stands in the metadata of the cell, as `caption`: it says what is drawn, and the
    description what comes out.
    """

    default_priority = 447

    def apply(self, **kwargs) -> None:
        chapter = re.match(r"chapters/(?:0*(\d+)|(\w)\d*)_", self.env.docname)
        if not chapter:
            return
        number = 0
        for output in list(self.document.findall(nodes.container)):
            if output.get("nb_element") != "cell_code_output" or not has_figure(output):
                continue
            number += 1
            name = f"{chapter[1] or chapter[2].upper()}.{number}"
            anchor = f"figure-{name.lower().replace('.', '-')}"
            alt = next(iter(output.findall(nodes.image))).get("alt", "")
            words = output.parent.get("cell_metadata", {}).get("caption", "")
            said = f' <span class="caption">{html.escape(words)}</span>' if words else ""
            link = f'<a href="#{anchor}">Figure {name}.</a>'
            caption = nodes.raw("", f'<p class="figure-number">{link}{said}</p>', format="html")
            output["ids"].append(anchor)
            output["classes"].append("with-figure")
            output += caption
            if alt:
                output += folded("in-words", "In words", nodes.paragraph("", alt))


class NameExercises(SphinxTransform):
    """Give each exercise an address: `#exercise-3`, and `#your-turn-2` for a core piece."""

    default_priority = 448

    def apply(self, **kwargs) -> None:
        if not self.env.docname.startswith("chapters/"):
            return
        for paragraph in self.document.findall(nodes.paragraph):
            self.name(paragraph, "your-turn", r"Your turn (\d+): ")
        for section in self.document.findall(nodes.section):
            title = next(iter(section.findall(nodes.title)), None)
            if title is None or title.astext().strip() != "Exercises":
                continue
            for paragraph in section.findall(nodes.paragraph):
                self.name(paragraph, "exercise", r"(\d+)\. ")

    def name(self, paragraph: nodes.paragraph, kind: str, begins: str) -> None:
        """Give a paragraph that begins so in bold its address, and a link to it."""
        first = first_in(paragraph)
        number = isinstance(first, nodes.strong) and re.match(begins, first.astext())
        anchor = f"{kind}-{number[1]}" if number else ""
        if not number or anchor in self.document.ids:
            return
        paragraph["ids"].append(anchor)
        self.document.ids[anchor] = paragraph
        link = f'<a class="headerlink" href="#{anchor}" title="Link to this">#</a>'
        paragraph += nodes.raw("", link, format="html")


def open_paragraphs(document: nodes.document) -> Iterator[nodes.paragraph]:
    """The paragraphs outside of hints and solutions."""
    depth = 0
    for node in document.findall(lambda n: isinstance(n, nodes.paragraph | nodes.raw)):
        if isinstance(node, nodes.raw):
            depth += node.astext().count("<details") - node.astext().count("</details")
        elif not depth:
            yield node


def running_time(seconds: float) -> str:
    """How long the cells of a chapter run, in words.

    >>> running_time(7), running_time(31), running_time(170)
    ('for some seconds', 'for about half a minute', 'for about three minutes')
    """
    if seconds < 20:
        return "for some seconds"
    if seconds < 45:
        return "for about half a minute"
    names = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    minutes = max(1, round(seconds / 60))
    name = names[minutes - 1] if minutes <= len(names) else str(minutes)
    return f"for about {name} minute{'s' * (minutes > 1)}"


class SayReadingTime(SphinxTransform):
    """Say under a chapter's title how long its text is, and how long its cells run."""

    default_priority = 439  # before the words of figures stand in the page, too

    def apply(self, **kwargs) -> None:
        if not self.env.docname.startswith("chapters/"):
            return
        texts = [n for p in open_paragraphs(self.document) for n in p.findall(nodes.Text)]
        words = sum(len(t.split()) for t in texts if not isinstance(t.parent, nodes.math))
        minutes = max(5, round(words / WORDS_A_MINUTE / 5) * 5)
        title = next(iter(self.document.findall(nodes.title)), None)
        if title is None:
            return
        said = f"About {round(words, -2):,} words: {minutes} minutes to read, more with a pencil."
        if RUNNING.exists():
            self.env.note_dependency(str(RUNNING))
            seconds = json.loads(RUNNING.read_text(encoding="utf-8"))["seconds"]
            if took := seconds.get(self.env.docname.rpartition("/")[2]):
                said += f" Its cells run {running_time(took[0])} on one core."
        line = nodes.paragraph("", said, classes=["reading-time"])
        title.parent.insert(title.parent.index(title) + 1, line)


def setup(app) -> None:
    app.add_node(fold, override=True, html=(visit_fold, depart_fold))
    for transform in (FoldCode, FoldAnswers, NumberFigures, NameExercises, SayReadingTime):
        app.add_transform(transform)

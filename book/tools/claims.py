"""The register of claims: what shows each sentence that says why, how much, or how often.

    .venv/bin/python book/tools/claims.py                # what is not registered yet, in all texts
    .venv/bin/python book/tools/claims.py 03_attention   # in one

A sentence with one of TRIGGERS, in the prose, in a caption or in the words for a figure (`alt`),
stands in chapters/claims/<name of the text>.toml, or the tests fail. There it is found by a part of
it, `says`, that no other sentence of the text has; the kind says what holds it up:

    measured     a cell or a record shows it, with a control that could have refuted it
    exact        it follows by counting or by proof; a cell or a test shows it
    cited        a source that is named in the text says it
    definition   it says what a word or a piece of code means, or what the reader is to do

What is measured or exact has something that would go red: a `test`, or in `holds` a part of each
assertion in a cell of `shown`, or of its compared output, that says what the claim says.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from dataclasses import dataclass, field
from textwrap import dedent

from chapterfiles import ROOT, chapters, python_of, read, tags
from nbformat import NotebookNode
from notebooks import CHECKED

REGISTERS = ROOT / "chapters" / "claims"
PAGES = ("intro", "glossary")  # pages of book/ that make claims, too
TRIGGERS = ("because", "since", "only", "never", "always", "all", "most", "largest", "first")
TRIGGER = re.compile(rf"\b({'|'.join(TRIGGERS)})\b", re.IGNORECASE)
# What every claim of a kind has to name.
NEEDED = {
    "measured": {"shown", "seeds", "control"},
    "exact": {"shown"},
    "cited": {"source"},
    "definition": set(),
}
FENCES = re.compile(r"^ *```.*?\n(.*?)^ *```", flags=re.DOTALL | re.MULTILINE)
KNOWN = {"says", "kind", "shown", "seeds", "control", "source", "test", "holds"}


@dataclass(frozen=True)
class Text:
    """A chapter or a page: its sentences, and what `shown` may name in it."""

    name: str
    sentences: list[str]
    cells: dict[str, str]  # the code cells by id
    red: dict[str, str] = field(default_factory=dict)  # what of each fails where it is otherwise


def sentences(markdown: str) -> list[str]:
    """The sentences of a text, without its code, formulas, directives and link targets.

    >>> sentences("It falls, because `x` is 1. So\\nit `is all`. See [the *first*](a/only.md).")
    ['It falls, because ` is 1.', 'So it `.', 'See the first.']
    """
    bare = re.sub(r"```.*?```|~~~.*?~~~|\$\$.*?\$\$", " ", markdown, flags=re.DOTALL)
    bare = re.sub(r"`[^`\n]*`", "`", bare)
    bare = re.sub(r"\$[^$\n]+\$", "$", bare)
    bare = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", bare)
    bare = re.sub(
        r"<!--.*?-->|<[^>\n]+>|[*_]{1,2}(?=\S)|(?<=\S)[*_]{1,2}", "", bare, flags=re.DOTALL
    )
    found = []
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-+*#|>:]|\d+\.)\s?)", bare):
        line = " ".join(block.split())
        found += re.split(r"(?<=[.?!])[”\"’)]*\s+(?=[“\"‘(]?[A-Z0-9`$])", line)
    return [sentence.strip(" #|>-") for sentence in found if sentence.strip(" #|>-")]


def words_in(node: ast.expr) -> str:
    """The words of a string in code; what an f-string puts in reads 0.

    >>> words_in(ast.parse("f'All {n:.1f} are' ' pale.'", mode="eval").body)
    'All 0 are pale.'
    """
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(words_in(part) for part in node.values)
    if isinstance(node, ast.BinOp):
        return words_in(node.left) + words_in(node.right)
    return "0" if isinstance(node, ast.FormattedValue) else ""


def of_figures(code: str) -> list[str]:
    """The sentences that a cell's code says of its figures: each `alt` that it gives or names.

    >>> of_figures("alt = 'All is flat.'\\nshow(fig, alt='It falls. Then it ' f'is {x}.')")
    ['All is flat.', 'It falls.', 'Then it is 0.']
    """
    found = []
    for node in ast.walk(ast.parse(python_of(code))):
        if isinstance(node, ast.keyword) and node.arg == "alt":
            found += sentences(words_in(node.value))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "alt":
            found += sentences(words_in(node.value))
    return found


def assertions(code: str) -> str:
    """The assertions of a piece of code, as they are written.

    >>> assertions("for k in (2, 3):\\n    x = 2 * k\\n    assert x > k, 'small'\\nprint(x)")
    "assert x > k, 'small'"
    """
    found = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Assert)]
    return "\n".join(ast.get_source_segment(code, node) or "" for node in found)


def red(cell: NotebookNode) -> str:
    """What of a cell goes red where something else comes out: its assertions, a compared output.

    A solution is prose with code in it.
    """
    if cell.cell_type == "markdown":
        return "\n".join(assertions(dedent(code)) for code in FENCES.findall(cell.source))
    compared = cell.outputs if CHECKED in tags(cell) else []
    texts = [out.get("text") or out.get("data", {}).get("text/plain", "") for out in compared]
    return "\n".join([assertions(python_of(cell.source)), *texts])


def text_of(name: str) -> Text:
    """A chapter by the name of its notebook, or a page of book/."""
    if name in PAGES:
        markdown = (ROOT / "book" / f"{name}.md").read_text(encoding="utf-8")
        # A glossary is a fence, and what stands in it is prose.
        markdown = re.sub(r":::\{glossary\}\n(.*?)\n:::", r"\1", markdown, flags=re.DOTALL)
        return Text(name, sentences(markdown), {})
    notebook = read(ROOT / "chapters" / f"{name}.ipynb")
    prose = [s for c in notebook.cells if c.cell_type == "markdown" for s in sentences(c.source)]
    for cell in notebook.cells:
        if cell.cell_type == "code":
            prose += [*sentences(cell.metadata.get("caption", "")), *of_figures(cell.source)]
    # A solution counts as a cell: the build runs its code behind the chapter.
    code = [c for c in notebook.cells if c.cell_type == "code" or c.id.startswith("solution-")]
    return Text(name, prose, {c.id: c.source for c in code}, {c.id: red(c) for c in code})


def names() -> list[str]:
    """All texts that have a register."""
    return [*(path.stem for path in chapters(ROOT)), *PAGES]


def register(name: str) -> list[dict]:
    """The claims of a text, as they stand in its file."""
    path = REGISTERS / f"{name}.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))["claim"] if path.exists() else []


def told(sentence: str, claims: list[dict]) -> list[dict]:
    """The claims that speak of a sentence."""
    return [claim for claim in claims if claim["says"] in sentence]


def missing(text: Text, claims: list[dict]) -> list[str]:
    """The sentences that no claim speaks of and that have a trigger."""
    return [s for s in text.sentences if TRIGGER.search(s) and not told(s, claims)]


def faults(text: Text, claims: list[dict]) -> list[str]:
    """What is wrong with a register, a line each; an empty list where all is well."""
    found = [f"not registered: {sentence}" for sentence in missing(text, claims)]
    for claim in claims:
        says, kind = claim.get("says", ""), claim.get("kind")
        where = [sentence for sentence in text.sentences if says and says in sentence]
        if len(where) != 1:
            found.append(f"says must be a part of one sentence, and is in {len(where)}: {says!r}")
        if kind not in NEEDED:
            found.append(f"kind must be one of {', '.join(NEEDED)}; got {kind!r}: {says!r}")
            continue
        if lacking := NEEDED[kind] - {name for name, value in claim.items() if value}:
            found.append(f"{kind}, and names no {', '.join(sorted(lacking))}: {says!r}")
        if unknown := claim.keys() - KNOWN:
            found.append(f"unknown: {', '.join(sorted(unknown))}: {says!r}")
        for shown in claim.get("shown", []):
            found += [f"{reason}: {says!r}" for reason in wrong_place(shown, text)]
        for test in claim.get("test", []):
            file, _, function = test.partition("::")
            path = ROOT / "tests" / file
            if not path.is_file() or f"def {function}(" not in path.read_text(encoding="utf-8"):
                found.append(f"there is no test {test}: {says!r}")
    return found


def wrong_place(shown: str, text: Text) -> list[str]:
    """Why `shown` is no place: "cell <id>", "record <name>" or "test <file>::<name>" it must be."""
    kind, _, name = shown.partition(" ")
    if kind == "cell":
        chapter, _, cell = name.rpartition(" ")  # "cell 07_training 1a2b3c4d": of another chapter
        cells = text_of(chapter).cells if chapter else text.cells
        return [] if cell in cells else [f"there is no code cell {name}"]
    if kind == "record":
        path = ROOT / "data" / "runs" / f"{name}.json"
        return [] if path.is_file() else [f"there is no record {name}"]
    if kind == "test":
        file, _, function = name.partition("::")
        path = ROOT / "tests" / file
        there = path.is_file() and f"def {function}(" in path.read_text(encoding="utf-8")
        return [] if there else [f"there is no test {name}"]
    return [f"shown must be a cell, a record or a test; got {shown!r}"]


def unguarded(text: Text, claims: list[dict]) -> list[str]:
    """The measured and exact claims for which nothing would go red, were they no longer true.

    A test goes red. So does a cell: `holds` names a part of each assertion, or of the compared
    output, that says what the claim says.
    """
    found = []
    for claim in claims:
        places = [shown.split() for shown in claim.get("shown", [])]
        tested = claim.get("test") or any(words[0] == "test" for words in places)
        if claim["kind"] not in ("measured", "exact") or tested:
            continue
        cells = [words[1:] for words in places if words[0] == "cell"]
        asserted = [(text_of(w[0]) if w[1:] else text).red.get(w[-1], "") for w in cells]
        seen = " ".join(" ".join(asserted).split())
        holds = [" ".join(part.split()) for part in claim.get("holds", [])]
        if not holds or not all(part and part in seen for part in holds):
            found.append(claim["says"])
    return found


def main(words: list[str]) -> None:
    for name in words or names():
        found = faults(text_of(name), register(name))
        bare = unguarded(text_of(name), register(name))
        print(f"{name}: {len(register(name))} claims, {len(found)} to do, {len(bare)} unguarded")
        for line in [*found, *(f"nothing would go red: {says}" for says in bare)]:
            print(f"   {line}")


if __name__ == "__main__":
    main(sys.argv[1:])

"""The list of sources as plain Markdown, for JupyterLab: a link to one of them lands on its entry.

    .venv/bin/python book/tools/bibliography.py     # after a change of references.bib

A page of the book makes its list while it is built. JupyterLab shows the file as it is stored, and
would show nothing but the name of a directive. So the list stands in the file, and the build puts
the directive in its place.
"""

from __future__ import annotations

import re
from pathlib import Path

from chapterfiles import ROOT
from pybtex.database import parse_file
from pybtex.plugin import find_plugin

BEGIN = "<!-- Written by book/tools/bibliography.py from references.bib. -->"
END = "<!-- The end of the list. -->"
LIST = re.compile(rf"{re.escape(BEGIN)}.*?{re.escape(END)}", flags=re.DOTALL)
DIRECTIVE = "```{bibliography}\n:all:\n:style: plain\n```"


def entries(bib: Path) -> list[str]:
    """Each source in one line of Markdown, an anchor by its key before it."""
    style = find_plugin("pybtex.style.formatting", "plain")()
    backend = find_plugin("pybtex.backends", "markdown")()
    lines = []
    for entry in style.format_entries(parse_file(str(bib)).entries.values()):
        text = " ".join(entry.text.render(backend).split())
        text = re.sub(r"\\{2}url (\S+?)(?=[.,]?(?: |$))", r"[\1](\1)", text)
        # Escaped where Markdown has no use for the sign, and hard to read in the file.
        text = re.sub(r"\\([.\-+!#(){}])", r"\1", text)
        lines.append(f'<a id="{entry.key}"></a>{text}')
    return lines


def written(page: str, bib: Path) -> str:
    """The text of the page with the list as it should be; ValueError where no list stands in it."""
    if len(LIST.findall(page)) != 1:
        raise ValueError(f"the list must stand once in the page, between {BEGIN!r} and {END!r}.")
    listed = "\n\n".join([BEGIN, *entries(bib), END])
    return LIST.sub(lambda _: listed, page)


def built(page: str) -> str:
    r"""The text of the page as the book is built from it.

    >>> built(f"Here:\n\n{BEGIN}\n\nA. *B*.\n\n{END}\n").splitlines()[2]
    '```{bibliography}'
    """
    return LIST.sub(lambda _: DIRECTIVE, page)


if __name__ == "__main__":
    place = ROOT / "book" / "references.md"
    text = written(place.read_text(encoding="utf-8"), place.with_suffix(".bib"))
    place.write_text(text, encoding="utf-8")

"""Chapters 3 and 4 in a real kernel as a learner has them: wrong answers first, then right ones.

Only the cells run that exercises need. Of any other the imports do, for an answer may use them.
"""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest
from execution import kernel_environment
from learner import RIGHT, TRIES, asked_by, typed
from nbclient import NotebookClient

from instructor.release import imports_in

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = {"attention": "03_attention", "layers": "04_layernorm_gelu"}
WHOSE = """
from gptlib.exercises import work
print([name for name, text in {mine!r} if work.source_of(eval(name)).strip() == text])
"""


def needed(name: str) -> list[nbformat.NotebookNode]:
    """The code cells of a chapter that its exercises need.

    Of others their imports, and what the course gives for an answer to use, such as `GELU`.
    """
    notebook = nbformat.read(ROOT / "chapters" / f"{name}.ipynb", as_version=4)
    code = [text for text in RIGHT.values() if "def " in text]
    used = {one.id for text in code for one in ast.walk(ast.parse(text))
            if isinstance(one, ast.Name)} - {one.split(".")[1] for one in RIGHT}  # fmt: skip
    found = []
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        whole = {"exercise", "ours", "setup"} & {*cell.metadata.get("tags", ())}
        if not whole and not asked_by(cell.source):
            body = ast.parse(cell.source).body
            given = [ast.unparse(one) for one in body if getattr(one, "name", "") in used]
            cell.source = "\n".join([imports_in(cell.source), *given]).strip()
        if cell.source:
            found.append(cell)
    return found


class Desk:
    """A chapter that is open in a kernel; what is said below a cell is text."""

    def __init__(self, name: str, folder: Path) -> None:
        self.cells = needed(name)
        self.asked = {one: cell for cell in self.cells if (one := asked_by(cell.source))}
        self.stubs = {one: cell.source for one, cell in self.asked.items()}
        book = nbformat.v4.new_notebook(cells=[*self.cells, nbformat.v4.new_code_cell("")])
        where = {"metadata": {"path": str(folder)}}
        self.client = NotebookClient(book, timeout=120, kernel_name="python3", resources=where)

    def run(self, cell: nbformat.NotebookNode, source: str | None = None) -> str:
        """Run a cell, with another text in it if there is one; what it prints or gives."""
        if source is not None:
            cell.source = source
        done = self.client.execute_cell(cell, self.client.nb.cells.index(cell))
        told = [one for one in done.outputs if one.get("name") != "stderr"]
        return "".join(one.get("text") or one.get("data", {}).get("text/plain", "") for one in told)

    def ask(self, code: str) -> str:
        """Run a cell below all others."""
        return self.run(self.client.nb.cells[-1], code)


def wrongly(desk: Desk) -> list[str]:
    """Walk through a chapter with answer after wrong answer; what is amiss."""
    amiss = []
    for cell in desk.cells:
        name = asked_by(cell.source)
        said = desk.run(cell)
        if not name:
            continue
        begun = ("nothing is written yet.", "the bug is still there.")
        if not said.partition(": ")[2].startswith(begun):
            amiss.append(f"{name}, as it is handed out:\n{said}")
        heard = []
        for answer, words in TRIES[name]:
            said = desk.run(cell, typed(desk.stubs[name], answer))
            heard.append(said)
            own = said.startswith(f"{name}: not yet") and words in said
            if not own or f'hint("{name}")' not in said:
                amiss.append(f"{name}: {words!r} is not what is said of\n{answer}\n{said}")
        if len({*heard}) != len(heard):
            amiss.append(f"{name} says the same of two wrong answers")
    return amiss


@pytest.mark.slow
@pytest.mark.parametrize("part", CHAPTERS)
def test_wrong_answers_have_messages_of_their_own_and_right_ones_go_on(part, tmp_path):
    desk = Desk(CHAPTERS[part], tmp_path)
    mine = [name for name in TRIES if name.startswith(f"{part}.")]
    assert [*desk.asked] == mine  # all that the chapter asks for, in its order
    code = [(name.split(".")[1], RIGHT[name].strip()) for name in mine if "def " in RIGHT[name]]
    with desk.client.setup_kernel(env={**kernel_environment(), "OMP_NUM_THREADS": "1"}):
        assert wrongly(desk) == []
        assert desk.ask(WHOSE.format(mine=code)) == "[]\n"  # it has gone on with the course's
        for name, cell in desk.asked.items():
            cell.source = typed(desk.stubs[name], RIGHT[name])
        for cell in desk.cells:
            said = desk.run(cell)
            if name := asked_by(cell.source):
                assert said.startswith(f"{name}: right."), said
        assert desk.ask(WHOSE.format(mine=code)) == f"{[name for name, _ in code]}\n"
        told = desk.ask("from gptlib.exercises import progress\nprint(progress().text(every=True))")
    assert [name for name in mine if f"   done: {name}\n" not in told] == []
    number = int(CHAPTERS[part][:2])
    assert f"\n{number}. " in told and f": {len(mine)} of {len(mine)}\n" in told

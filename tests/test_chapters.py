"""The chapters as notebooks: what is stored, what they import, what they build, how they read.

That every cell runs, and that stored outputs come out again, is what nbval shows in
test_any_folder.py.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from itertools import pairwise
from pathlib import Path

import house
import nbformat
import notebooks
import pytest
from bookbuild import cache_in
from bookbuild import find as find_executed
from chapterfiles import ROOT, chapters, code_cells, code_of, python_of, tags
from course import course
from inputs import fingerprint
from notebooks import CHECKED, OURS, setup_cell
from torch import nn

from gptlib.exercises.book import find
from gptlib.exercises.question import Question
from gptlib.exercises.work import source_of as source_of_answer
from gptlib.exercises.written import attempted

HOUSE = house.table()
MAX_LINES = 25
PART_II = 9  # the first chapter that may import the rest of what it has begun
# What a stub may use: it is empty, and its decorator is replaced by one that keeps it.
EXECUTED = {"nn": nn, "kept": lambda name: lambda answer: answer}
MAX_COLUMNS = 84  # chapters/.ruff.toml says why
# Words that tell the reader how hard something should feel. Code, figures of speech in quotation
# marks and quoted sources are not looked at.
BANNED = ["simply", "just", "obviously", "obvious", "easy", "easily", "trivial", "trivially"]
BANNED += ["of course", "clearly", "merely"]

CHAPTERS = chapters(course())
every_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def read(path: Path):
    return nbformat.read(path, as_version=4)


def number(path: Path) -> int | None:
    """The number of a chapter, None for an appendix."""
    found = re.match(r"(\d+)_", path.name)
    return int(found[1]) if found else None


# What is stored ----------------------------------------------------------------------------------


@every_chapter
def test_a_chapter_is_a_valid_notebook(path):
    notebook = read(path)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")


@every_chapter
def test_the_first_lines_lead_to_the_glossary(path):
    """In JupyterLab, where no term is a link."""
    assert "[glossary](../book/glossary.md)" in read(path).cells[0].source


@every_chapter
def test_only_exact_outputs_are_stored(path):
    cells = code_cells(read(path))
    for cell in cells:
        stored = bool(cell.outputs)
        assert stored == (CHECKED in tags(cell)), f"{cell.source}\n-> run: make notebooks"
        for output in cell.outputs:
            assert output.output_type in ("stream", "execute_result"), cell.source
            assert set(output.get("data", {"text/plain": ""})) == {"text/plain"}, cell.source
        assert (cell.execution_count is None) != stored, "run: make notebooks"
    assert any(cell.outputs for cell in cells), "no cell is compared: tag some nbval-check-output"


@every_chapter
def test_the_first_code_cell_is_the_book_s(path):
    first = code_cells(read(path))[0]
    assert first.source == setup_cell(), "run: make notebooks"


@pytest.fixture
def with_address(monkeypatch, tmp_path):
    """A set-up cell for the address that is given, for a package that no Python has."""

    def cell(url: str) -> str:
        (tmp_path / "_config.yml").write_text(f'repository: {{url: "{url}", branch: spring}}')
        monkeypatch.setattr(notebooks, "ROOT", tmp_path)
        return setup_cell().replace('"gptlib"', '"no_such_gptlib"')

    return cell


def test_the_set_up_cell_installs_from_the_address_in_the_settings(with_address, monkeypatch):
    asked = []
    monkeypatch.setattr("subprocess.run", lambda command, **options: asked.append(command))
    exec(with_address("https://example.org/a/gpt/"), {})
    assert [command[1:] for command in asked] == [
        ["-m", "pip", "install", "--quiet", "gptlib @ git+https://example.org/a/gpt@spring"]
    ]


def test_without_an_address_the_set_up_cell_says_what_to_install(with_address):
    with pytest.raises(ModuleNotFoundError, match="python -m pip install"):
        exec(with_address(""), {})


@every_chapter
def test_the_set_up_cell_does_nothing_where_gptlib_is(path):
    exec(code_cells(read(path))[0].source, {})


# What a chapter builds ---------------------------------------------------------------------------


class Bare(ast.NodeTransformer):
    """Leaves out what the package needs and a beginner does not: docstrings and annotations."""

    def visit_body(self, node):
        self.generic_visit(node)
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            node.body = node.body[1:] or [ast.Pass()]
        if not isinstance(node, ast.ClassDef):
            node.returns = None
        return node

    visit_ClassDef = visit_FunctionDef = visit_AsyncFunctionDef = visit_body

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_AnnAssign(self, node):
        if node.value is None:  # it says a type and does nothing
            return None
        return ast.Assign([node.target], node.value, lineno=0)


def class_that(decorator: ast.expr) -> str | None:
    """`Dog` for the decorator `add_to(Dog)`, by which a chapter builds a class in pieces."""
    if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "add_to":
        return ast.unparse(decorator.args[0])
    return None


def put_aside(decorator: ast.expr) -> bool:
    """Whether a decorator belongs to the notebook alone: `add_to(…)`, `otherwise(…)`."""
    called = ast.unparse(decorator.func) if isinstance(decorator, ast.Call) else ""
    return called in ("add_to", "otherwise")


def asked(node: ast.stmt) -> bool:
    """Whether a definition is what a learner is to write, and no part of the chapter."""
    decorators = getattr(node, "decorator_list", [])
    return any(isinstance(d, ast.Call) and ast.unparse(d.func) == "exercise" for d in decorators)


def definitions(source: str) -> dict[str, dict[str, str]]:
    """The last definition of each class and function at the top of a source, part by part.

    A function has one part. A class has its head, its methods by name, and what else it holds.
    """
    found: dict[str, dict[str, str]] = {}
    for node in Bare().visit(ast.parse(source)).body:
        if asked(node):
            continue
        if isinstance(node, ast.ClassDef):
            methods = {f.name: ast.dump(f) for f in node.body if isinstance(f, ast.FunctionDef)}
            rest = [ast.dump(n) for n in node.body if not isinstance(n, ast.FunctionDef | ast.Pass)]
            bases = [ast.dump(base) for base in node.bases]
            found[node.name] = {**methods, "rest": str(rest), "bases": str(bases)}
        elif isinstance(node, ast.FunctionDef):
            owner = next(filter(None, map(class_that, node.decorator_list)), None)
            node.decorator_list = [d for d in node.decorator_list if not put_aside(d)]
            if owner in found:
                found[owner][node.name] = ast.dump(node)
            elif owner is None:
                found[node.name] = {"function": ast.dump(node)}
    return found


def built_by(path: Path) -> list[str]:
    """The modules that a chapter builds, those that exist. An appendix's begin with its name."""
    if number(path) is None:
        named = path.stem.partition("_")[2]
        modules = HOUSE["rooms"]["appendix"]["modules"]
        return [f"appendix.{module}" for module in modules if module.startswith(named)]
    return house.chapters_of(HOUSE).get(number(path), [])


def source_of(module: str) -> str:
    path = ROOT.joinpath("gptlib", *module.split(".")).with_suffix(".py")
    return path.read_text(encoding="utf-8")


@every_chapter
def test_the_last_definition_in_a_chapter_is_the_module_s(path):
    ours = definitions(code_of(path))
    for module in built_by(path):
        for name, tree in definitions(source_of(module)).items():
            if name in ours:
                assert ours[name] == tree, f"{name}: chapter and gptlib/{module}.py differ"


@every_chapter
def test_a_chapter_builds_a_part_of_each_of_its_modules(path):
    ours = definitions(code_of(path))
    assert built_by(path)
    for module in built_by(path):
        public = {name for name in definitions(source_of(module)) if not name.startswith("_")}
        assert public & set(ours), f"the chapter defines nothing of gptlib/{module}.py"


def test_two_definitions_differ_by_code_and_not_by_words_about_it():
    one = definitions('def f(x: int) -> int:\n    """One."""\n    return x')
    assert one == definitions('def f(x):\n    """Two."""\n    return x')
    assert one != definitions("def f(x):\n    return -x")
    assert one == definitions("def f(x): return 0\ndef f(x):\n    return x")


def test_a_class_in_pieces_is_the_class_in_one():
    whole = "class A(B):\n    x = 1\n    def f(self): pass\n    @classmethod\n    def g(cls): pass"
    pieces = (
        "class A(B):\n    x = 1\n    def g(self): return 0\n"
        "@add_to(A)\ndef f(self): pass\n@add_to(A)\n@classmethod\ndef g(cls): pass"
    )
    assert definitions(whole) == definitions(pieces)
    assert definitions(whole) != definitions(pieces.replace("x = 1", "x = 2"))
    assert definitions(whole) != definitions(pieces.replace("@classmethod\n", ""))
    assert definitions(whole) != definitions(pieces.replace("f(self): pass", "f(self): return 1"))


def imports_too_early(cells: list[str], chapter: int, own: list[str]) -> dict[int, set[str]]:
    """What each cell of a chapter imports before it was built, by the number of the cell.

    Part I builds its own modules before the reader's eyes and imports none of them. In Part II a
    module is an idea: where a part of it has been built, the rest may be imported.
    """
    known, allowed = house.modules_in(), house.allowed_in_chapter(HOUSE, chapter)
    built: set[str] = set()
    found = {}
    for n, source in enumerate(cells):
        built |= set(definitions(source))
        if chapter >= PART_II:
            allowed |= {name for name in own if built & set(definitions(source_of(name)))}
        if early := house.imports_of(source, known) - allowed:
            found[n] = early
    return found


@every_chapter
def test_a_chapter_imports_only_what_was_built_before_it(path):
    cells = [python_of(cell.source) for cell in code_cells(read(path))]
    assert imports_too_early(cells, number(path) or 99, built_by(path)) == {}


def test_a_module_is_imported_where_a_part_of_it_was_built():
    build, use = "def rms_norm(x): return x", "from gptlib.rms_norm import RMSNorm"
    assert imports_too_early([build, use], PART_II, ["rms_norm"]) == {}
    assert imports_too_early([use, build], PART_II, ["rms_norm"]) == {0: {"rms_norm"}}
    assert imports_too_early([build, "from gptlib.rope import Rope"], PART_II, ["rope"])
    part_one = ["def causal_mask(n): return n", "from gptlib.attention import Head"]
    assert imports_too_early(part_one, 3, ["attention"]) == {1: {"attention"}}


REQUIRED = {
    re.match(r"[\w-]+", line)[0].lower()
    for line in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"][
        "dependencies"
    ]
} | {"gptlib", "numpy"}  # numpy comes with matplotlib


def imports_of_others(source: str) -> set[str]:
    """Packages that code needs although `pip install .` does not bring them.

    One whose absence is caught is not needed.
    """
    tree = ast.parse(source)
    caught = {
        inside
        for node in ast.walk(tree)
        if isinstance(node, ast.Try) and "ImportError" in ast.dump(ast.Tuple(node.handlers))
        for part in node.body
        for inside in ast.walk(part)
    }
    found = set()
    for node in set(ast.walk(tree)) - caught:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).partition(".")[0])
    return {name for name in found if name.lower() not in REQUIRED} - sys.stdlib_module_names


@every_chapter
def test_a_chapter_runs_where_gptlib_alone_was_installed(path):
    cells = [python_of(cell.source) for cell in code_cells(read(path))]
    assert set().union(*map(imports_of_others, cells)) == set()


def test_an_import_that_is_not_caught_is_found():
    caught = "try:\n    from transformers import x\nexcept ImportError:\n    print()\n"
    assert imports_of_others(caught + "import json, numpy as np, IPython") == set()
    assert imports_of_others(caught + "else:\n    import pandas.io") == {"pandas"}
    assert imports_of_others(caught.replace("ImportError", "ValueError")) == {"transformers"}
    assert imports_of_others("def f():\n    from einops import x") == {"einops"}


# Exercises ---------------------------------------------------------------------------------------


def turns(notebook) -> list[tuple[int, str, str]]:
    """Where a notebook asks for an exercise or shows ours: (cell, "exercise" or "otherwise", name).

    A cell that asks for a value counts as "answer".
    """
    found = []
    for place, cell in enumerate(notebook.cells):
        calls = ast.walk(ast.parse(python_of(cell.source))) if cell.cell_type == "code" else ()
        for node in calls:
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called, name = ast.unparse(node.func), node.args[0]
            if called in ("exercise", "otherwise", "answer") and isinstance(name, ast.Constant):
                found.append((place, called, name.value))
    return found


@every_chapter
def test_a_core_piece_is_asked_for_before_it_is_shown(path):
    """And what shows it is closed, in the page and in JupyterLab."""
    notebook = read(path)
    asks = {name: place for place, called, name in turns(notebook) if called == "exercise"}
    for place, called, name in turns(notebook):
        if called == "otherwise":
            cell = notebook.cells[place]
            assert asks.get(name, place) < place, f"{name} is shown before it is asked for"
            assert OURS in tags(cell) and cell.metadata.jupyter.source_hidden, name
            assert ast.unparse(ast.parse(cell.source).body[-1]).startswith("@otherwise"), name


@every_chapter
def test_every_exercise_that_is_asked_exists_and_is_not_done(path):
    """A stub has nothing in it, and a bug hunt has the code that the task knows as its bug."""
    for place, called, name in turns(read(path)):
        cell = read(path).cells[place]
        if called == "otherwise":
            continue
        asked = find(name)
        assert "answer" if called == "answer" else "exercise" in tags(cell)
        if called == "answer":
            assert isinstance(asked, Question) and f'answer("{name}", ...)' in cell.source
        elif asked.bug is not None:
            shown = next(n for n in ast.parse(cell.source).body if hasattr(n, "decorator_list"))
            shown.decorator_list = []
            bug = Bare().visit(ast.parse(source_of_answer(asked.bug))).body[0]
            assert Bare().visit(shown) and ast.dump(shown.args) == ast.dump(bug.args), name
            assert [ast.dump(n) for n in shown.body] == [ast.dump(n) for n in bug.body], name
        else:
            space = {}
            exec(
                compile(cell.source.replace("@exercise(", "@kept("), name, "exec"), EXECUTED, space
            )
            assert not attempted(next(iter(reversed(space.values())))), name


# How it reads ------------------------------------------------------------------------------------


@every_chapter
def test_words_stand_before_every_code_cell(path):
    cells = read(path).cells
    for before, cell in pairwise(cells):
        if cell.cell_type == "code" and "setup" not in tags(cell):
            assert before.cell_type == "markdown" or "setup" in tags(before), cell.source


@every_chapter
def test_code_cells_are_short(path):
    for cell in code_cells(read(path)):
        assert len(cell.source.splitlines()) <= MAX_LINES, cell.source


@every_chapter
def test_no_line_of_code_is_cut_on_a_laptop(path):
    lines = [line for cell in code_cells(read(path)) for line in cell.source.splitlines()]
    assert [line for line in lines if len(line) > MAX_COLUMNS] == []


def prose(markdown: str) -> str:
    """Markdown without code, formulas, addresses and quotations."""
    for pattern in (
        r"```.*?```",
        r"\$\$.*?\$\$",
        r"`[^`\n]*`",
        r"\$[^$\n]*\$",
        r"\]\([^)]*\)",
        r"</?[a-z][^>]*>",
        r"^>[^\n]*$",
        r"[“\"][^”\"\n]*[”\"]",
    ):
        markdown = re.sub(pattern, " ", markdown, flags=re.S | re.M)
    return markdown


def faults(markdown: str) -> list[str]:
    """The banned words and exclamation marks in the prose of a Markdown text."""
    text = prose(markdown)
    words = re.findall(rf"\b(?:{'|'.join(BANNED)})\b", text, flags=re.I)
    return words + re.findall(r"\w+!(?=\s|$)", text)


@pytest.mark.parametrize(
    "path", [*sorted((ROOT / "book").glob("*.md")), *CHAPTERS], ids=lambda path: path.stem
)
def test_the_prose_does_not_tell_how_hard_it_should_feel(path):
    if path.suffix == ".md":
        texts = [path.read_text(encoding="utf-8")]
    else:
        texts = [cell.source for cell in read(path).cells if cell.cell_type == "markdown"]
    assert [fault for text in texts for fault in faults(text)] == []


def test_a_banned_word_is_found_in_prose_and_not_in_code_or_quotation():
    assert faults("This is Just\nsimply so!") == ["Just", "simply", "so!"]
    assert faults("`just` and $easy$ and “easy!”, adjust; `n != 1`") == []
    assert faults("```python\n# easy\n```\n\n> Quoted, obviously!") == []
    assert faults("> Quoted, obviously!\n\nOur own, obviously.") == ["obviously"]


# The figures -------------------------------------------------------------------------------------


def silent_images(notebook) -> list[str]:
    """The cells of an executed notebook that show a picture without alt text."""
    return [
        cell.source
        for cell in code_cells(notebook)
        for output in cell.outputs
        for mime in output.get("data", {})
        if mime.startswith("image/")
        and len(output.metadata.get(mime, {}).get("alt", "").split()) < 4
    ]


@pytest.fixture(scope="module")
def executed(html):
    """The executed form of each chapter, from the build of the book: {path: notebook}."""
    cache = cache_in(html.parent)
    return {path: find_executed(cache, read(path), fingerprint(path)) for path in CHAPTERS}


@every_chapter
def test_every_figure_has_words(path, executed):
    assert silent_images(executed[path]) == []


def caption_faults(notebook) -> list[str]:
    """What is wrong with the captions of an executed notebook, in words."""
    found = []
    for cell in code_cells(notebook):
        data = [mime for output in cell.outputs for mime in output.get("data", {})]
        shows, said = any(m.startswith("image/") for m in data), cell.metadata.get("caption", "")
        if shows != bool(said):
            found.append(f"{'no caption' if shows else 'a caption and no figure'}: {cell.id}")
        elif shows and not (3 <= len(said.split()) <= 16 and said.endswith(".")):
            found.append(f"no short sentence: {said}")
        elif re.search(r"\d\.\d|\d ?%", said):
            found.append(f"says what comes out, and that is the alt text's: {said}")
    return found


@every_chapter
def test_every_figure_has_a_caption_that_says_what_is_drawn(path, executed):
    assert caption_faults(executed[path]) == []


@pytest.mark.parametrize(
    ("caption", "shows", "fault"),
    [
        ("The loss of two runs.", True, None),
        ("", True, "no caption"),
        ("The loss of two runs.", False, "a caption and no figure"),
        ("Loss", True, "no short sentence"),
        ("The loss falls to 0.4 in the end.", True, "says what comes out"),
    ],
)
def test_a_caption_that_does_not_fit_is_found(caption, shows, fault):
    new = nbformat.v4
    outputs = [new.new_output("display_data", data={"image/png": "x"})] if shows else []
    cell = new.new_code_cell("a", outputs=outputs, metadata={"caption": caption} if caption else {})
    found = caption_faults(new.new_notebook(cells=[cell]))
    assert found == [] if fault is None else found[0].startswith(fault)


def test_a_caption_is_stored_with_its_cell_and_nothing_else_is():
    kept = {"caption": "The loss of two runs.", "tags": ["hide-input"]}
    cell = nbformat.v4.new_code_cell("a", metadata={**kept, "collapsed": True})
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebooks.strip(notebook, keep=True)
    assert notebook.cells[0].metadata == kept


@every_chapter
def test_a_chapter_stays_small(path, executed):
    assert len(nbformat.writes(executed[path])) < 2_000_000


def test_a_figure_without_words_is_found():
    new = nbformat.v4
    mute = new.new_output("display_data", data={"image/png": "x"})
    loud = new.new_output("display_data", data={"image/png": "x"})
    loud.metadata = nbformat.from_dict({"image/png": {"alt": "The loss falls to 0.4."}})
    cells = [new.new_code_cell(name, outputs=[out]) for name, out in (("a", mute), ("b", loud))]
    assert silent_images(new.new_notebook(cells=cells)) == ["a"]

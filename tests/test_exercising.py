"""What the book puts behind an exercise: hints one by one, and the solution, unless left out."""

from __future__ import annotations

import html as markup
import re
import subprocess
import sys
from functools import cache
from types import SimpleNamespace

import exercising
import folds
import house
import nbformat
import pytest
from chapterfiles import ROOT, chapters, code_cells, python_of, read, tags
from course import course
from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.utils import new_document
from exercising import hints_of, named_in, without_solutions, written

from gptlib.exercises.book import QUESTIONS, TASKS

NAME = "attention.causal_mask"
new = nbformat.v4


def chapter():
    """A chapter with an exercise of either kind, and a solution in words of its own."""
    stub = f'@exercise("{NAME}")\ndef causal_mask(context_length): ...'
    return new.new_notebook(
        cells=[
            new.new_code_cell(stub, id="exercise-03-mask", metadata={"tags": ["exercise"]}),
            new.new_code_cell("print(1)", id="other"),
            new.new_code_cell("# Yours", id="answer-03-1", metadata={"tags": ["answer"]}),
            new.new_markdown_cell("<details>It is 4.</details>", id="solution-03-1"),
        ]
    )


def words(notebook) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def test_the_exercises_of_a_cell_are_found_by_their_names():
    assert named_in(f'@exercise("{NAME}")\ndef f(): ...') == [NAME]
    assert named_in('x = 1\nanswer("gpt.weights", ...)') == ["gpt.weights"]
    assert named_in("print(exercise)") == named_in("def f(:") == named_in("exercise(name)") == []


def test_hints_stand_one_in_another_and_the_solution_last():
    whole = hints_of(NAME, solution=True)
    places = [whole.index(f"<summary>{said}<") for said in ("Hint 1 of 3", "Hint 2 of 3")]
    assert places == sorted(places) and whole.count("<details>") == whole.count("</details>") == 4
    assert all(hint in whole for hint in TASKS[NAME].hints)
    inner = whole[: whole.index("<summary>Solution")]
    assert inner.index("Hint 3") < inner.index("</details>")  # three open, then three close
    assert whole.index("def causal_mask") > whole.index("<summary>Solution")
    assert "def causal_mask" not in hints_of(NAME, solution=False)


def test_a_page_has_them_behind_the_exercise_and_can_do_without_solutions():
    with_all, without = written(chapter(), True), written(chapter(), False)
    kinds = [cell.id.partition("-")[0] for cell in with_all.cells]
    assert kinds == ["exercise", "hints", "other", "answer", "solution"]
    assert "tril" in words(with_all) and "It is 4." in words(with_all)
    assert [cell.id.partition("-")[0] for cell in without.cells] == kinds[:-1]
    assert "tril()" not in words(without) and "It is 4." not in words(without)
    assert "It is 4." not in without_solutions(nbformat.writes(chapter()))


def test_a_piece_that_is_shown_below_needs_no_solution():
    notebook = chapter()
    ours = f'@otherwise("{NAME}")\ndef causal_mask(context_length): return 1'
    notebook.cells.insert(1, new.new_code_cell(ours, metadata={"tags": ["ours"]}))
    assert "<summary>Solution" not in words(written(notebook, True))
    assert "Hint 3 of 3" in words(written(notebook, True))


OURS = f"""\
import math
LIMIT = -1
naive = [1, 2]
@otherwise("{NAME}")
def causal_mask(context_length):
    return torch.ones(context_length, context_length).tril()
def slowly(x):
    return x
def quickly(x):
    return x
"""


def with_ours():
    """A chapter that shows its own code, and cells below that use what stands in it."""
    notebook = chapter()
    below = ["print(causal_mask(3), math.pi, quickly(1))", "lost = slowly(LIMIT)", "lost + 1"]
    again = ["lost = 2", "lost + 2", "naive", "def f(naive): return naive"]
    cells = [new.new_code_cell(code, id=f"below-{n}") for n, code in enumerate(below + again)]
    ours = new.new_code_cell(OURS, id="ours-03-mask", metadata={"tags": ["ours"]})
    ours.outputs = [new.new_output("stream", text="tensor")]
    notebook.cells[1:2] = [ours, *cells]
    return notebook


def test_a_notebook_without_solutions_has_none_of_the_course_s_own_code_and_still_runs():
    text = without_solutions(nbformat.writes(with_ours()), {"quickly": "attention"})
    left = {cell.id: cell for cell in nbformat.reads(text, as_version=4).cells}
    wanted = "import math\nLIMIT = -1\nfrom gptlib.attention import quickly"
    assert left["ours-03-mask"].source == wanted and left["ours-03-mask"].outputs == []
    below = [name for name in left if name.startswith("below")]
    assert below == [f"below-{n}" for n in (0, 3, 4, 6)]
    assert "exercise-03-mask" in left and "tril()" not in text


def undefined(notebook) -> set[str]:
    """The names that a notebook's code uses and nothing above gives, as ruff finds them."""
    code = "\n\n".join(python_of(cell.source) for cell in code_cells(notebook))
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", "-"]
    done = subprocess.run(
        [*command, "--output-format", "concise"], input=code, capture_output=True, text=True
    )
    assert done.returncode in (0, 1), done.stderr
    return set(re.findall(r"Undefined name `(\w+)`", done.stdout))


@pytest.mark.parametrize("path", chapters(course()), ids=lambda p: p.stem)
def test_a_chapter_without_the_course_s_own_code_uses_nothing_that_is_gone(path):
    given = exercising.helpers(ROOT, path.name)
    text = without_solutions(path.read_text(encoding="utf-8"), given)
    left, whole = nbformat.reads(text, as_version=4), read(path)
    assert undefined(left) <= undefined(whole)
    assert [line for line in own_lines() if line in text] == []
    assert not [cell for cell in left.cells if "ours" in tags(cell)]
    cut = {c.id for c in code_cells(whole) if "ours" not in tags(c)} - {c.id for c in left.cells}
    # Four cells of chapter 1 set the slow way to merge beside the quick one.
    assert len(cut) == (4 if path.stem == "01_tokenizer" else 0), cut


def test_a_page_shows_the_course_s_own_code_only_in_a_book_with_solutions(monkeypatch):
    for flag, shown in (("yes", True), ("no", False)):
        monkeypatch.setenv(exercising.FLAG, flag)
        document = new_document("chapters/03_x.ipynb", get_default_settings())
        document.settings.env = SimpleNamespace(docname="chapters/03_x")
        for number, said in enumerate((["ours"], [])):
            block = nodes.literal_block("", f"def f(): return {number}")
            source = nodes.container("", block, nb_element="cell_code_source")
            metadata = {"cell_metadata": {"tags": said}}
            document += nodes.container("", source, nb_element="cell_code", **metadata)
        folds.FoldCode(document).apply()
        assert ("return 0" in document.astext()) is shown and "return 1" in document.astext()
        assert (folds.LEFT_OUT in document.astext()) is not shown


def test_the_code_of_gptlib_that_answers_an_exercise_has_a_page_only_with_solutions(monkeypatch):
    told = {"attention", "bigram", "parallel", "exercises.attention", "exercises.speed_counts"}
    for flag, shown in (("yes", True), ("no", False)):
        monkeypatch.setenv(exercising.FLAG, flag)
        assert {exercising.has_page(module) for module in told} == {shown}
        assert exercising.has_page("given.plots") and exercising.has_page("exercises")


@pytest.mark.parametrize(("flag", "shown"), [(None, True), ("yes", True), ("no", False)])
def test_the_flag_is_yes_or_no(monkeypatch, flag, shown):
    monkeypatch.delenv(exercising.FLAG, raising=False)
    if flag:
        monkeypatch.setenv(exercising.FLAG, flag)
    assert exercising.with_solutions() is shown


def test_another_flag_is_an_error(monkeypatch):
    monkeypatch.setenv(exercising.FLAG, "perhaps")
    with pytest.raises(ValueError, match="must be yes or no; got 'perhaps'"):
        exercising.with_solutions()


# The built book ----------------------------------------------------------------------------------

PAGES = (".html", ".js", ".ipynb", ".json")
STAYS = re.compile(r"(from|import) |[A-Z_, ]+ = ")


def solved_texts() -> list[str]:
    """What stands in solutions alone: a piece of each chapter's own ones, and why an answer is."""
    told = [c.source for p in chapters(course()) for c in read(p).cells if is_solution(c)]
    lines = [line for text in told for line in text.splitlines() if is_plain(line)]
    return [line[:60] for line in lines] + [q.because for q in QUESTIONS.values() if q.because]


@cache
def own_lines() -> list[str]:
    """Lines of the course's own code for its core pieces, where they stand alone.

    Other cells of the chapters, other modules of gptlib, and the last hints may hold the same line.
    """
    own, other = set(), {hint for task in TASKS.values() for hint in task.hints}
    for path in chapters(course()):
        for cell in read(path).cells:
            lines = {line.strip() for line in cell.source.splitlines()}
            (own if "ours" in tags(cell) else other).update(lines)
    kept = set(house.modules_in(ROOT)) - exercising.answering()
    files = [file for module, file in house.modules_in(ROOT).items() if module in kept]
    others = "\n".join([*other, *(f.read_text(encoding="utf-8") for f in files)])
    found = {line for line in own if len(line) > 40 and not {'"', "\\"} & {*line}}
    # Imports and constants stay in the notebooks: cells below need them.
    return sorted(n for n in found if not STAYS.match(n) and n not in others)


def is_solution(cell) -> bool:
    return cell.id.startswith("solution-")


def plain_of(page: str) -> str:
    """What a page says, without its tags: code stands there in spans of all colours."""
    return markup.unescape(re.sub(r"<[^>]+>", "", page))


def is_plain(line: str) -> bool:
    """Whether a page shows this line as it is written: long, no code, no formula, no link."""
    return len(line) > 60 and not any(sign in line[:60] for sign in "`$[]*_<>&\\'\"(")


def test_a_book_without_solutions_has_none(html, tmp_path, monkeypatch):
    """Neither its pages, nor its search, nor the notebooks that it hands out."""
    from bookbuild import build

    texts, lines = solved_texts(), own_lines()
    assert len(texts) > 60 and len(lines) > 60
    whole = "\n".join(p.read_text(encoding="utf-8") for p in html.rglob("*.ipynb"))
    assert sum(text in whole for text in texts) > 20  # those that are looked for can be found
    assert all(line in whole for line in lines)
    shown = plain_of((html / "chapters" / "03_attention.html").read_text(encoding="utf-8"))
    assert sum(line in shown for line in lines) > 5
    monkeypatch.setenv(exercising.FLAG, "no")
    book = build(course(), tmp_path / "book")
    for path in book.rglob("*"):
        if path.suffix in PAGES and "node_modules" not in path.parts:
            content = path.read_text(encoding="utf-8")
            assert [text for text in texts if text in content] == [], path
            plain = plain_of(content) if path.suffix == ".html" else content
            assert [line for line in lines if line in plain] == [], path
            assert "<summary>Solution</summary>" not in content, path
    assert not (book / "source" / "exercises" / "attention.html").exists()
    assert not (book / "source" / "attention.html").exists()
    hints = (book / "chapters" / "03_attention.html").read_text(encoding="utf-8")
    assert "Hint 1 of 3" in hints


def test_the_page_folds_hints_solutions_and_the_course_s_own_code(html):
    page = (html / "chapters" / "03_attention.html").read_text(encoding="utf-8")
    assert page.count("<summary>Hint 3 of 3</summary>") >= 10
    assert page.count("<summary>Solution</summary>") >= 8
    assert page.count("<summary>The course's own code</summary>") >= 4
    assert "nothing is written yet" not in page
    assert (html / "source" / "exercises" / "attention.html").exists()


# What stands before the course's own code ---------------------------------------------------------

CODE = re.compile(r"`([^`]+)`")
SHORT = 45  # words: more of them say how it is done
# What our own code has beside what is asked for, and may be named.
GIVEN = {"JsonFile", "starts", "next_tokens", "evaluating"}


def before_ours():
    """Each exercise that is shown below: its name, what was asked, and the words until ours."""
    for path in chapters(course()):
        asked, name, between = "", "", []
        for cell in read(path).cells:
            tagged = set(cell.metadata.get("tags", ()))
            if "exercise" in tagged:
                (name,), between = named_in(cell.source), []
                asked += cell.source
            elif "ours" in tagged and name:
                yield name, asked, [*between], cell.source
                name = ""
            elif cell.cell_type == "markdown":
                between.append(cell.source)
                asked = asked if name else cell.source


def test_the_words_before_our_own_code_do_not_say_how_it_works():
    found = list(before_ours())
    assert len(found) >= 30
    for name, asked, between, ours in found:
        if name == "gpt.total_parameters":
            continue  # the parts are counted in the open, on the way to a prediction
        words = " ".join(between)
        assert len(words.split()) <= SHORT, (name, words)
        told = {word for code in CODE.findall(words) for word in re.findall(r"\w+", code)}
        new = told - set(re.findall(r"\w+", asked)) - GIVEN
        assert not {word for word in new if re.search(rf"\b{word}\b", ours)}, (name, words)


def test_what_a_solution_prints_stands_in_the_page(html):
    page = (html / "chapters" / "11_scale.html").read_text(encoding="utf-8")
    solution = page[page.index("16 bytes a parameter are 480 GB") :]
    assert solution.index("It prints:") < solution.index("</details>")

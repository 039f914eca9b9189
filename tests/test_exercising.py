"""What the book puts behind an exercise: hints one by one, and the solution, unless left out."""

from __future__ import annotations

import re

import exercising
import nbformat
import pytest
from chapterfiles import chapters, read
from course import course
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


def solved_texts() -> list[str]:
    """What stands in solutions alone: a piece of each chapter's own ones, and why an answer is."""
    told = [c.source for p in chapters(course()) for c in read(p).cells if is_solution(c)]
    lines = [line for text in told for line in text.splitlines() if is_plain(line)]
    return [line[:60] for line in lines] + [q.because for q in QUESTIONS.values() if q.because]


def is_solution(cell) -> bool:
    return cell.id.startswith("solution-")


def is_plain(line: str) -> bool:
    """Whether a page shows this line as it is written: long, no code, no formula, no link."""
    return len(line) > 60 and not any(sign in line[:60] for sign in "`$[]*_<>&\\'\"(")


def test_a_book_without_solutions_has_none(html, tmp_path, monkeypatch):
    """Neither its pages, nor its search, nor the notebooks that it hands out."""
    from bookbuild import build

    texts = solved_texts()
    assert len(texts) > 60
    whole = "\n".join(p.read_text(encoding="utf-8") for p in html.rglob("*.ipynb"))
    assert sum(text in whole for text in texts) > 20  # those that are looked for can be found
    monkeypatch.setenv(exercising.FLAG, "no")
    book = build(course(), tmp_path / "book")
    for path in book.rglob("*"):
        if path.suffix in PAGES and "node_modules" not in path.parts:
            content = path.read_text(encoding="utf-8")
            assert [text for text in texts if text in content] == [], path
            assert "<summary>Solution</summary>" not in content, path
    assert not (book / "source" / "exercises" / "attention.html").exists()
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

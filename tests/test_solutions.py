"""The code of the exercises: found in the text, and run behind the chapter by the build."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from chapterfiles import ChapterError, chapters, name_of, read
from execution import execute
from inputs import fingerprint
from solutions import exercises, with_printed, with_solutions, without_solutions

TEXT = """## Exercises

Try each one.

**1. By hand.** How much is it?

```python
bug = x + {n}
```

<details><summary>Solution</summary>

Three.

```python
assert bug == 3, bug
```

</details>

**2. Words alone.** Why? **Not a title.**

## Summary

```python
1 / 0
```
"""
PATH = Path("chapters/01_x.ipynb")


def notebook(n: int = 1, text: str = TEXT):
    cells = [nbformat.v4.new_code_cell("x = 2"), nbformat.v4.new_markdown_cell(text)]
    cells[1].source = cells[1].source.replace("{n}", str(n))
    return nbformat.v4.new_notebook(cells=cells)


def test_the_code_of_each_exercise_is_found_in_its_order():
    wanted = [("1. By hand", ["bug = x + 1\n", "assert bug == 3, bug\n"]), ("2. Words alone", [])]
    assert exercises(notebook()) == wanted
    assert exercises(nbformat.v4.new_notebook()) == []


def test_solutions_run_with_what_the_chapter_defined_and_leave_it_as_it_was(tmp_path):
    whole = with_solutions(notebook(), PATH)
    execute(whole, tmp_path / "01_x.ipynb")
    done = without_solutions(whole)
    assert [cell.source for cell in done.cells] == [cell.source for cell in notebook().cells]
    assert done.cells[0].execution_count == 1


def test_a_solution_that_fails_is_named_with_its_exercise(tmp_path):
    with pytest.raises(ChapterError, match=r"01_x.ipynb, code of exercise 1\. By hand: Assertion"):
        execute(with_solutions(notebook(2), PATH), tmp_path / "01_x.ipynb")
    with pytest.raises(ChapterError, match=r"exercise 1\. By hand: .*syntax"):
        with_solutions(notebook(text=TEXT.replace("assert", "assert assert")), PATH)


def test_another_solution_is_another_fingerprint(tmp_path):
    path = tmp_path / "chapters" / "01_x.ipynb"
    path.parent.mkdir()
    (tmp_path / "requirements.txt").write_text("")
    found = []
    for n, text in ((1, TEXT), (2, TEXT), (1, TEXT.replace("How much", "What"))):
        nbformat.write(notebook(n, text), path)
        found.append(fingerprint(path, tmp_path))
    assert found[0] != found[1] and found[0] == found[2]


@pytest.mark.parametrize("path", chapters(), ids=name_of)
def test_every_exercise_of_a_chapter_is_seen_and_nearly_all_have_code(path):
    """Those told in the chapter's own words; a task of gptlib.exercises brings its solution."""
    cells = read(path).cells
    text = "\n".join(c.source for c in cells if c.cell_type == "markdown")
    found = {title.split(".")[0]: code for title, code in exercises(read(path))}
    assert len(found) >= (6 if path.stem[0].isdigit() else 3)  # an appendix has fewer
    assert list(found) == [str(n) for n in range(1, len(found) + 1)]
    section = text[text.index("## Exercises") : text.index("## Summary")]
    assert sum(len(code) for code in found.values()) == section.count("```python")
    told = {c.id.split("-")[-1] for c in cells if c.id.startswith("solution-")}
    assert sum(not found[number] for number in told) <= 2


def test_what_a_solution_prints_stands_below_its_code_and_a_task_s_own_stays_bare(tmp_path):
    text = """## Before

```python
not_an_exercise
```

## Exercises

**1. By hand.** Here it goes wrong:

```python
print("the task's own")
```
"""
    solved = """<details><summary>Solution</summary>

```python
print("one")
x + 1
```

and

```python
y = 5
```

</details>"""
    cells = [
        nbformat.v4.new_code_cell("x = 2"),
        nbformat.v4.new_markdown_cell(text),
        nbformat.v4.new_markdown_cell(solved, id="solution-01-1"),
        nbformat.v4.new_markdown_cell("## Summary\n\n```python\nno more\n```"),
    ]
    book = nbformat.v4.new_notebook(cells=cells)
    whole = with_solutions(book, PATH)
    execute(whole, tmp_path / "01_x.ipynb")
    done = without_solutions(whole)
    assert done.metadata["printed"] == ["the task's own", "one\n3", ""]
    shown = with_printed(book, done.metadata["printed"])
    assert [cell.source for cell in shown.cells[:2]] == [cell.source for cell in cells[:2]]
    assert shown.cells[3].source == cells[3].source
    below = "x + 1\n```\n\n*It prints:*\n\n~~~text\none\n3\n~~~\n\nand"
    assert below in shown.cells[2].source and shown.cells[2].source.count("~~~text") == 1

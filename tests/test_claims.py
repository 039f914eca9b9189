"""Every sentence that says why or how often stands in the register, with what shows it."""

from __future__ import annotations

import doctest

import claims
import pytest
from claims import Text, faults, names, register, text_of, unguarded
from nbformat.v4 import new_code_cell, new_markdown_cell, new_output

TEXT = Text("x", ["It falls, because the rate is high.", "A token is a piece."], {"ab12": "1 + 1"})
GOOD = {
    "says": "because the rate is high", "kind": "measured", "shown": ["cell ab12"], "seeds": 3,
    "control": "the same run at a tenth of the rate",
}  # fmt: skip


def test_the_worked_values():
    assert doctest.testmod(claims).failed == 0


@pytest.mark.parametrize("name", names())
def test_every_claim_is_registered_and_names_what_shows_it(name):
    assert faults(text_of(name), register(name)) == []


def test_a_good_register_passes():
    assert faults(TEXT, [GOOD]) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"says": "no such words"}, "not registered: It falls"),
        ({"says": "no such words"}, "is in 0: 'no such words'"),
        ({"says": "is"}, "says must be a part of one sentence"),
        ({"kind": "felt"}, "kind must be one of measured"),
        ({"control": ""}, "measured, and names no control"),
        ({"seeds": 0}, "measured, and names no seeds"),
        ({"shown": []}, "measured, and names no shown"),
        ({"shown": ["cell 00"]}, "there is no code cell 00"),
        ({"shown": ["record nothing"]}, "there is no record nothing"),
        ({"shown": ["test test_claims.py::test_none"]}, "there is no test"),
        ({"shown": ["my word"]}, "shown must be a cell, a record or a test"),
        ({"test": ["test_claims.py::test_none"]}, "there is no test"),
        ({"kind": "cited"}, "cited, and names no source"),
        ({"why": "so"}, "unknown: why"),
    ],
)
def test_a_bad_one_is_seen(change, reason):
    assert any(reason in fault for fault in faults(TEXT, [{**GOOD, **change}]))


@pytest.mark.parametrize("word", claims.TRIGGERS)
def test_each_trigger_asks_for_a_claim(word):
    text = Text("x", [f"It is {word.upper()} so.", f"No s{word}y word."], {})
    assert faults(text, []) == [f"not registered: It is {word.upper()} so."]


@pytest.mark.parametrize("name", names())
def test_what_is_measured_has_something_that_would_go_red(name):
    assert unguarded(text_of(name), register(name)) == []


@pytest.mark.parametrize(
    ("change", "red", "bare"),
    [
        ({"holds": ["loss < 1"]}, "assert loss <  1, loss", False),
        ({"holds": ["loss < 1", "seed == 2"]}, "assert loss < 1", True),
        ({"holds": []}, "assert loss < 1", True),
        ({"holds": [""]}, "assert loss < 1", True),
        ({}, "assert loss < 1", True),
        ({"holds": ["loss < 1"]}, "", True),
        ({"test": ["test_claims.py::test_a_good_register_passes"]}, "", False),
        ({"shown": ["record waves"], "holds": ["loss < 1"]}, "assert loss < 1", True),
        ({"shown": ["test test_claims.py::test_a_good_register_passes"]}, "", False),
        ({"shown": ["cell 08_generation 00"], "holds": ["loss < 1"]}, "assert loss < 1", True),
        ({"kind": "definition"}, "", False),
    ],
)
def test_a_claim_that_nothing_guards_is_seen(change, red, bare):
    text = Text(TEXT.name, TEXT.sentences, TEXT.cells, {"ab12": red})
    assert bool(unguarded(text, [{**GOOD, **change}])) == bare


def test_what_goes_red_is_an_assertion_of_a_cell_of_a_solution_or_a_compared_output():
    source = "x = 1  # assert nothing\nfor k in (1, 2):\n    assert (\n        x < k + 1\n    )"
    code = new_code_cell(source, outputs=[new_output("stream", text="1.5")])
    assert " ".join(claims.red(code).split()) == "assert ( x < k + 1 )"
    code.metadata["tags"] = [claims.CHECKED]
    assert claims.red(code).split()[-1] == "1.5"
    prose = new_markdown_cell("It holds:\n\n```python\nassert y > 2\n```\n\nassert nothing.\n")
    assert claims.red(prose) == "assert y > 2"

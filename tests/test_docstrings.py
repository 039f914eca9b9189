"""What the docstrings of gptlib claim: every worked value is computed here, and one dialect holds.

An arrow in a docstring has one of two forms:

    count_pairs([7, 7, 7]) -> {(7, 7): 2}  # an example, on a line of its own
    x (B, T, C) -> (B, T, head_size)       a change of shape, with a shape in brackets before it

An example is two Python expressions. The left one may use the names of its module, of torch and
math, and everything public in gptlib; the right one is a literal, compared as it is written: whole
numbers, words and True exactly, a decimal number of four digits or more within half of its last
digit, a shorter one exactly; `...` in a list stands for any number of elements. Tensors and arrays
count as lists. What follows a `#` is for people.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

import house
import numpy as np
import pytest
import torch

SHAPE = r"(?:^|\s)\((?:…|[\w\[\]-]+)(?:, [\w \[\]*-]+)*\)"
OTHERS = {"two backticks": "``", "a role": r":\w+:`", "a prompt": ">>>", "a field": r"(?m)^:\w+"}


@dataclass(frozen=True)
class Docstring:
    """The docstring of a module, a class or a function of gptlib."""

    module: str
    owner: str
    text: str


def docstrings() -> list[Docstring]:
    """Every docstring of the package, private ones included."""
    found = []
    for module, path in house.modules_in().items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                owner = getattr(node, "name", "the module")
                found.append(Docstring(module, owner, ast.get_docstring(node) or ""))
    return found


# Examples ----------------------------------------------------------------------------------------


def examples(text: str) -> list[tuple[str, str]]:
    """The worked values of a docstring: pairs of an expression and what it should give."""
    pairs = [line.split(" -> ", 1) for line in text.splitlines() if " -> " in line]
    return [(left.strip(), right) for left, right in pairs if not re.search(f"{SHAPE}$", left)]


@cache
def is_here(module: str) -> bool:
    """Whether all that a module asks for is installed: MLX has wheels for some systems alone.

    What a function imports when it is called, as a tracker's does, is not asked for here.
    """
    code = ast.parse(house.modules_in()[module].read_text(encoding="utf-8"))
    first = [n for n in code.body if isinstance(n, ast.Import | ast.ImportFrom)]
    asked = house.third_party("\n".join(map(ast.unparse, first)))
    return all(importlib.util.find_spec(name) for name in asked)


@cache
def names_in(module: str) -> dict[str, Any]:
    """The names at the top of a module of gptlib, if it can be imported here."""
    if not is_here(module):
        return {}
    return vars(importlib.import_module(f"gptlib.{module}".rstrip(".")))


@cache
def names_of(module: str) -> dict[str, Any]:
    """What an example in the docstrings of a module may use."""
    everything = {k: v for name in house.modules_in() for k, v in names_in(name).items()}
    return {**everything, **names_in(module), "torch": torch, "math": math}


def same(got: Any, wanted: ast.expr, source: str) -> bool:
    """Whether a value is the literal that stands in the source, as exactly as it is written."""
    got = got.tolist() if isinstance(got, torch.Tensor | np.ndarray) else got
    if isinstance(wanted, ast.List | ast.Tuple):
        return isinstance(got, list | tuple | torch.Size) and same_row(
            list(got), list(wanted.elts), source
        )
    if isinstance(wanted, ast.Dict):
        keys = [ast.literal_eval(key) for key in wanted.keys]
        return (
            isinstance(got, Mapping)
            and set(got) == set(keys)
            and all(same(got[k], v, source) for k, v in zip(keys, wanted.values, strict=True))
        )
    value = ast.literal_eval(wanted)
    if not isinstance(value, float):
        return got == value and isinstance(got, bool) == isinstance(value, bool)
    written = Decimal(ast.get_source_segment(source, wanted).replace("_", ""))
    _, digits, exponent = written.as_tuple()
    rounded = 0.5 * 10.0**exponent if len(digits) >= 4 else 1e-6 * abs(value)
    return isinstance(got, float) and abs(got - value) <= rounded * (1 + 1e-9)


def same_row(got: list, wanted: list[ast.expr], source: str) -> bool:
    """Whether a list is the one written, `...` standing for any number of its elements."""
    dots = [i for i, e in enumerate(wanted) if isinstance(e, ast.Constant) and e.value is ...]
    if dots:
        head, tail = wanted[: dots[0]], wanted[dots[0] + 1 :]
        if len(got) < len(head) + len(tail):
            return False
        got, wanted = got[: len(head)] + got[len(got) - len(tail) :], head + tail
    return len(got) == len(wanted) and all(map(same, got, wanted, [source] * len(got)))


def wrong(expression: str, literal: str, names: Mapping[str, Any]) -> str:
    """Why an example does not hold; empty where it does."""
    try:
        wanted = ast.parse(literal.strip(), mode="eval").body
        got = eval(expression, dict(names))
        ok = same(got, wanted, literal.strip())
    except Exception as error:
        return f"{expression} -> {literal}: {type(error).__name__}: {error}"
    return "" if ok else f"{expression} -> {literal}: it is {got!r}"


def test_every_worked_value_comes_out():
    ran, faults = 0, []
    for doc in docstrings():
        for expression, literal in examples(doc.text) if is_here(doc.module) else ():
            torch.manual_seed(0)
            ran += 1
            if fault := wrong(expression, literal, names_of(doc.module)):
                faults.append(f"{doc.module}.{doc.owner}: {fault}")
    print(f"{ran} examples computed")
    assert not faults, "\n".join(["", *faults])
    assert ran >= 40


def test_what_is_left_out_is_what_asks_for_mlx_and_nothing_else():
    left = {module for module in house.modules_in() if not is_here(module)}
    assert left <= {"appendix.mlx_gpt"}


def stray_arrows(text: str) -> list[str]:
    """The lines whose arrow is neither an example nor a change of shape."""
    found = []
    for line in text.splitlines():
        shapes = len(re.findall(f"{SHAPE} -> ", line))
        if line.count("->") != shapes + len(examples(line)):
            found.append(line)
    return found


def test_every_arrow_is_an_example_or_a_change_of_shape():
    stray = [f"{d.module}.{d.owner}: {line}" for d in docstrings() for line in stray_arrows(d.text)]
    assert not stray, "\n".join(["", *stray])


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("f([1], 2) -> [3]", "example"),
        ("f(x) -> [3]", "example"),
        ("x (B, T, C) -> (B, T, head_size)", "shape"),
        ("two of (…, T, hs) -> (…, T, T), rows sum to 1.", "shape"),
        ("logits (B, T, V), targets (B, T) -> a scalar", "shape"),
        ("rules: name -> wordings", "example"),  # and a wrong one: it does not parse
        ("f(1)-> 2", "stray"),
        ("x (B, T) -> (B) -> 3", "stray"),
        ("f(1) -> 2, f(2) -> 3", "stray"),
    ],
)
def test_an_arrow_is_read_as_what_it_is(line, kind):
    assert bool(stray_arrows(line)) == (kind == "stray")
    if kind != "stray":
        assert len(examples(line)) == (kind == "example")


@pytest.mark.parametrize(
    ("expression", "literal", "holds"),
    [
        ("1 + 1", "2", True),
        ("1 + 1", "3", False),
        ("1 + 1", "True", False),
        ("1 == 1", "1", False),
        ("math.log(2)", "0.6931", True),
        ("math.log(2)", "0.6932", False),
        ("math.log(2)", "0.69", False),  # too short to be a rounded number
        ("0.1 + 0.2", "0.3", True),
        ("0.5", "0.50001", False),
        ("5e-4", "5e-4", True),
        ("5.1e-4", "5e-4", False),
        ("torch.tensor([[1, 2]])", "[[1, 2]]", True),
        ("torch.tensor([1.0, 0.0])", "[1, 0]", True),
        ("list(range(8))", "[0, 1, ..., 7]", True),
        ("list(range(8))", "[0, 1, ..., 6]", False),
        ("[0]", "[0, ..., 0]", False),
        ("(1, [2])", "(1, [2])", True),
        ("{1: 'a'}", "{1: 'a'}", True),
        ("{1: 'a', 2: 'b'}", "{1: 'a'}", False),
        ("'ab'", '"ab"  # in words', True),
        ("'ab'", "ab", False),
        ("nothing", "1", False),
        ("1", "1 in words", False),
    ],
)
def test_a_worked_value_is_compared_as_it_is_written(expression, literal, holds):
    assert (wrong(expression, literal, {"torch": torch, "math": math}) == "") == holds


# The dialect -------------------------------------------------------------------------------------


def other_dialects(text: str, module: bool = False) -> list[str]:
    """Which other ways of writing a docstring are found in this one."""
    found = [name for name, pattern in OTHERS.items() if re.search(pattern, text)]
    if not module and re.search(r"\b\w+Error\b", text.partition("Errors:")[0]):
        found.append("an error outside of `Errors:`")
    return found


def test_docstrings_are_written_in_one_dialect():
    mixed = [
        f"{doc.module}.{doc.owner}: {fault}"
        for doc in docstrings()
        for fault in other_dialects(doc.text, module=doc.owner == "the module")
    ]
    assert not mixed, "\n".join(["", *mixed])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("The ``text``.", "two backticks"),
        ("As in :func:`floor`.", "a role"),
        (">>> 1 + 1\n2", "a prompt"),
        ("One.\n\n:param x: a number", "a field"),
        ("The ids; ValueError names one outside.", "an error outside of `Errors:`"),
    ],
)
def test_another_dialect_is_seen(text, fault):
    assert other_dialects(text) == [fault]
    assert other_dialects("The `text`. Errors: ValueError names what is wrong.") == []


def test_everything_public_has_a_docstring():
    bare = []
    for module, path in house.modules_in().items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        named = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
        public = [tree, *(node for node in named if not node.name.startswith("_"))]
        bare += [(module, getattr(n, "name", "")) for n in public if not ast.get_docstring(n)]
    assert not bare

"""A student's notebook, read and never run: the code that answers exercises, and typed answers.

Found by name: what stands below `@exercise("attention.causal_mask")`, or else the function or class
with the last part of that name; the last one that does something. With it go imports, helper
functions and classes, and constants, so that cells may be doubled, moved, or have lost their tags.
"""

from __future__ import annotations

import ast
import math
import operator
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from IPython.core.inputtransformer2 import TransformerManager

from instructor.parsing import parsed

MOST = 100 * 2**20  # bytes of a notebook
CELL = 200_000  # letters of a cell that is read
Definition = ast.FunctionDef | ast.ClassDef


@dataclass(frozen=True)
class Piece:
    """One statement of a student; `name` is the exercise that it answers, or empty."""

    label: str
    source: str
    defines: str = ""
    name: str = ""
    file: int = 0  # which of the student's notebooks it stands in
    marked: bool = False  # whether @exercise stands above it


@dataclass
class Notebook:
    """What was found in a file. `faults`: in which way it is no ordinary notebook, in words."""

    pieces: list[Piece] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)  # an exercise: why its cell is not read
    faults: list[str] = field(default_factory=list)

    def code(self, name: str) -> str:
        """The code that answers an exercise, or nothing."""
        found = self.answer(name)
        return found.source if found else ""

    def answer(self, name: str) -> Piece | None:
        """The statement that answers an exercise."""
        return next((piece for piece in self.pieces if piece.name == name), None)

    def alone(self, name: str) -> Notebook:
        """The one file in which an answer stands: names of other notebooks are not its own."""
        files = [piece.file for piece in self.pieces if piece.name == name]
        return Notebook([piece for piece in self.pieces if piece.file in files[-1:]])

    def words(self, name: str) -> set[str]:
        """All names that an answer, or what stands beside it, may call."""
        sources = (one.source for one in self.pieces if one.name in ("", name))
        return {
            node.id for source in sources for node in ast.walk(parsed(source))
            if isinstance(node, ast.Name)
        }  # fmt: skip


def cells_of(path: Path) -> list[tuple[str, str]]:
    """The code cells of a notebook, each with its label; those of the course itself left out.

    Errors: ValueError in words for what is no notebook.
    """
    size = path.stat().st_size
    if size == 0:
        raise ValueError("the file is empty")
    if size > MOST:
        raise ValueError(f"the file has {size / 2**20:.0f} MB; {MOST // 2**20} MB is the most")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of cells without ids, and the like
            text = path.read_text(encoding="utf-8-sig")
            notebook = nbformat.reads(text, as_version=4)
        found = []
        for number, cell in enumerate(notebook.cells, 1):
            if cell.get("cell_type") != "code":
                continue
            if "ours" in cell.get("metadata", {}).get("tags", ()):
                continue
            source = cell.get("source", "")
            source = source if isinstance(source, str) else "".join(map(str, source))
            found.append((f"cell {number}", source))
        return found
    except Exception as error:  # nbformat has no one error for what it cannot read
        what = "holds no JSON" if isinstance(error, ValueError) else "is no notebook"
        raise ValueError(f"the file {what} ({type(error).__name__})") from None


def read(path: Path, names: Iterable[str], ours: frozenset[str] = frozenset()) -> Notebook:
    """What a notebook holds for exercises of these names.

    ours: `shape` of code that the course gives out itself; where it has not been changed and
    stands below no `@exercise`, it is nobody's answer.
    """
    found, names = Notebook(), list(names)
    try:
        cells = cells_of(path)
    except (ValueError, OSError) as error:
        found.faults.append(f"{path.name}: {error}")
        return found
    constants: dict[str, Any] = {}
    statements: list[tuple[str, ast.stmt]] = []
    for label, source in cells:
        for node in _statements(found, path, label, source, names):
            statements.append((label, node))
            constants |= dict(_constants(node, constants))
            _note_answer(found, node, names, constants)
    chosen = _chosen([node for _, node in statements], names, ours)
    for label, node in statements:
        name = chosen.get(id(node), "")
        if (name or _helps(node)) and not _is_ours(node) and not _completes(node, names, ours):
            defines = node.name if isinstance(node, Definition) else ""
            marked = any(word == "exercise" for word, _ in _decorated(node))
            source = ast.unparse(_bare(node))
            found.pieces.append(Piece(label, source, defines, name, marked=marked))
    return found


def _statements(
    found: Notebook, path: Path, label: str, source: str, names: list[str]
) -> list[ast.stmt]:
    """The statements of a cell; lines for IPython (%time, !ls) are none of them."""
    try:
        if len(source) > CELL:
            raise SyntaxError(f"it has {len(source)} letters")
        plain = TransformerManager().transform_cell(source)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of "\d" and the like
            return parsed(plain).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = getattr(error, "lineno", None)
        place = f", line {line}" if line else ""
        why = f"{label}{place}: this is no Python ({getattr(error, 'msg', error)})"
        found.faults.append(f"{path.name}, {why}")
        for name in names:
            if f'"{name}"' in source or f"'{name}'" in source:
                found.unread[name] = why
        return []


def _decorated(node: ast.stmt) -> Iterator[tuple[str, str]]:
    """The decorators that name an exercise: ("exercise", "attention.causal_mask")."""
    for one in getattr(node, "decorator_list", ()):
        if isinstance(one, ast.Call) and one.args and isinstance(one.args[0], ast.Constant):
            word = one.func.attr if isinstance(one.func, ast.Attribute) else one.func
            word = word.id if isinstance(word, ast.Name) else word
            if word in ("exercise", "otherwise"):
                yield str(word), str(one.args[0].value)


def _is_ours(node: ast.stmt) -> bool:
    return any(word == "otherwise" for word, _ in _decorated(node))


def _completes(node: ast.stmt, names: list[str], ours: frozenset[str]) -> bool:
    """Whether the course's own code adds a method to a class that is asked for."""
    for one in getattr(node, "decorator_list", ()):
        if isinstance(one, ast.Call) and ast.unparse(one.func) == "add_to" and one.args:
            asked = {name.split(".")[-1] for name in names}
            return ast.unparse(one.args[0]) in asked and shape(node) in ours
    return False


def _bare(node: ast.stmt) -> ast.stmt:
    """A definition without the decorators that are the notebook's."""
    if isinstance(node, Definition):
        kept = [
            one
            for one in node.decorator_list
            if not (isinstance(one, ast.Call) and "exercise" in ast.unparse(one.func))
        ]
        node.decorator_list = kept
    return node


def _chosen(statements: list[ast.stmt], names: list[str], ours: frozenset[str]) -> dict[int, str]:
    """Which statement answers which exercise, by the statement's id."""
    below: dict[str, list[ast.stmt]] = {}
    called: dict[str, list[ast.stmt]] = {}
    for node in statements:
        if not isinstance(node, Definition) or _is_ours(node):
            continue
        asked = [name for word, name in _decorated(node) if word == "exercise"]
        for name in asked:
            below.setdefault(name, []).append(node)
        if not asked and shape(node) not in ours:
            called.setdefault(node.name, []).append(node)
    found = {}
    for name in names:
        those = below.get(name) or called.get(name.split(".")[-1], [])
        done = [node for node in those if not is_stub(node)] or those
        if done:
            found[id(done[-1])] = name
    return found


def is_stub(node: ast.AST) -> bool:
    """Whether a function, or all of a class's methods, do nothing.

    is_stub(ast.parse("def f(x):\\n    ...").body[0]) -> True
    """
    if isinstance(node, ast.ClassDef):
        methods = [one for one in node.body if isinstance(one, ast.FunctionDef)]
        return bool(methods) and all(is_stub(one) for one in methods)
    calls_parent = "super().__init__()"
    return isinstance(node, ast.FunctionDef) and all(
        isinstance(one, ast.Pass)
        or (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))
        or (isinstance(one, ast.Return) and one.value is None)
        or ast.unparse(one) == calls_parent
        for one in node.body
    )


def shape(node: ast.AST | str) -> str:
    """Code without what does not act: docstrings, comments, decorators, annotations.

    shape("def f(x: int): return x") == shape("def f(x):\\n    'x.'\\n    return x  # x") -> True
    """
    tree = parsed(node if isinstance(node, str) else ast.unparse(node))
    for one in ast.walk(tree):
        if isinstance(one, Definition):
            one.decorator_list = []
            first = one.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                one.body = one.body[1:] or [ast.Pass()]
        if isinstance(one, ast.FunctionDef):
            one.returns = None
        if isinstance(one, ast.arg):
            one.annotation = None
    return ast.dump(tree)


# What may run beside an answer, and what was typed in ---------------------------------------------


def _helps(node: ast.stmt) -> bool:
    """Whether a statement may run: an import, a definition, a constant, a lambda with a name."""
    if isinstance(node, ast.Import | ast.ImportFrom | Definition):
        return True
    if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        plain = all(isinstance(one, ast.Name | ast.Tuple) for one in targets)
        return plain and (isinstance(node.value, ast.Lambda) or is_constant(node.value))
    return False


CONSTANT = (
    ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.UnaryOp, ast.BinOp, ast.Name,
    ast.Attribute, ast.Subscript, ast.operator, ast.unaryop, ast.expr_context,
)  # fmt: skip


def is_constant(node: ast.expr) -> bool:
    """Whether a value is made of literals, names, signs, and calls of math alone."""
    for one in ast.walk(node):
        if isinstance(one, ast.Call):
            if not ast.unparse(one.func).startswith("math.") or one.keywords:
                return False
        elif not isinstance(one, CONSTANT):
            return False
    return True


def _constants(node: ast.stmt, known: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        target = node.targets[0]
        value = computed(node.value, known)
        if isinstance(target, ast.Name) and value is not None:
            yield target.id, value


def _note_answer(found: Notebook, node: ast.stmt, names: list[str], known: dict[str, Any]) -> None:
    """Keep the value of `answer("chapter.name", value)`; `...` keeps none."""
    call = node.value if isinstance(node, ast.Expr) else None
    if not isinstance(call, ast.Call) or not ast.unparse(call.func).endswith("answer"):
        return
    parts = [*call.args, *(one.value for one in call.keywords)]
    if len(parts) > 1 and isinstance(parts[0], ast.Constant) and parts[0].value in names:
        # Several values are a tuple whose brackets were forgotten.
        said = parts[1] if len(parts) == 2 else ast.Tuple(parts[1:], ast.Load())
        if isinstance(said, ast.Constant) and said.value is ...:
            return
        value = computed(said, known)
        name = str(parts[0].value)
        if value is None:
            found.unread.setdefault(name, "only a value is read: a number, a word, a tuple of them")
        else:
            found.answers[name] = value
            found.unread.pop(name, None)


SIGNS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv, ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
    ast.USub: operator.neg, ast.UAdd: operator.pos,
}  # fmt: skip


def computed(node: ast.expr, known: dict[str, Any]) -> Any:
    """The value of a literal, or of sums and products of some; None for anything else.

    computed(ast.parse("(3 * 4, 'row')", mode="eval").body, {}) -> (12, 'row')
    """
    try:
        return _computed(node, known)
    except Exception:
        return None


def _computed(node: ast.expr, known: dict[str, Any]) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str):
        if isinstance(node.value, str) and len(node.value) > 1000:
            raise ValueError
        return node.value
    if isinstance(node, ast.Name):
        return known[node.id]
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_computed(one, known) for one in node.elts)
    if isinstance(node, ast.UnaryOp):
        return SIGNS[type(node.op)](_number(node.operand, known))
    if isinstance(node, ast.BinOp):
        pair = _number(node.left, known), _number(node.right, known)
        if isinstance(node.op, ast.Pow):
            whole = all(isinstance(one, int) for one in pair) and abs(pair[0]) < 2**53
            exact = whole and 0 <= pair[1] <= 64  # 1600**2 is 2560000, and no power takes a minute
            return _number_of(pair[0] ** pair[1] if exact else math.pow(*pair))
        return _number_of(SIGNS[type(node.op)](*pair))
    raise ValueError


def _number(node: ast.expr, known: dict[str, Any]) -> int | float:
    return _number_of(_computed(node, known))


def _number_of(value: Any) -> int | float:
    """A number of ordinary size: students' sums are not to take a minute."""
    if not isinstance(value, int | float) or abs(value) > 1e60:
        raise ValueError
    return value

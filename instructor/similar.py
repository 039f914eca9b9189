"""Students whose code is nearly the same: a question to ask them, and no verdict.

Code is compared token by token, with the student's own names replaced by their order, so that
renaming and moving comments changes nothing. What the course gives out (stubs, its own code) does
not count, and neither does what a quarter of the class has written, nor what is very short.
"""

from __future__ import annotations

import ast
import builtins
import io
import tokenize
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from instructor.notebooks import Notebook, is_stub
from instructor.parsing import parsed

LENGTH = 5  # tokens in a row that are compared
FEWEST = 20  # rows of tokens that two students must have in common
SHARE = 0.9  # of all their rows of tokens
MANY = 0.25  # of the class: what so many have written is what the task leads to


@dataclass(frozen=True)
class Alike:
    """Two students whose code is nearly the same: how much of it, and which exercises."""

    first: str
    second: str
    share: float
    exercises: tuple[str, ...]


def tokens(source: str) -> list[str]:
    """The tokens of code, its own names by number.

    tokens("def f(x): return x") -> ['def', 'v0', '(', 'v1', ')', ':', 'return', 'v1']
    """
    tree = parsed(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    own: dict[str, str] = {}
    bound = {
        n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    bound |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    bound |= {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    found = []
    for token in tokenize.generate_tokens(io.StringIO(ast.unparse(tree)).readline):
        if (
            token.type == tokenize.NAME
            and token.string in bound
            and not hasattr(builtins, token.string)
        ):
            found.append(own.setdefault(token.string, f"v{len(own)}"))
        elif token.string.strip():
            found.append(token.string)
    return found


def rows(source: str) -> set[tuple[str, ...]]:
    """All rows of LENGTH tokens in code; none where it cannot be read."""
    try:
        words = tokens(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError):
        return set()
    return {tuple(words[i : i + LENGTH]) for i in range(len(words) - LENGTH + 1)}


def alike(
    works: dict[str, Notebook], names: Iterable[str], given: dict[str, list[str]]
) -> list[Alike]:
    """Pairs of students whose answers are nearly the same, the most alike first.

    works: by student. given: by exercise, code that the course gave out.
    """
    common = {name: set().union(*map(rows, given.get(name, ()))) for name in names}
    read: dict[str, dict[str, set[tuple[str, ...]]]] = {}
    for student, work in works.items():
        read[student] = {}
        for piece in work.pieces:
            if piece.name in common and not is_stub(parsed(piece.source).body[0]):
                read[student][piece.name] = rows(piece.source) - common[piece.name]
    everywhere = Counter(
        (name, row) for code in read.values() for name, rows_ in code.items() for row in rows_
    )
    most = max(3, MANY * len(works))
    for code in read.values():
        for name in code:
            code[name] = {row for row in code[name] if everywhere[name, row] <= most}
    found = []
    for one, other in combinations(sorted(read), 2):
        both = [name for name in read[one] if name in read[other]]
        same = {name: len(read[one][name] & read[other][name]) for name in both}
        whole = sum(len(read[one][name] | read[other][name]) for name in both)
        total = sum(same.values())
        if total >= FEWEST and total >= SHARE * whole:
            where = tuple(name for name in both if same[name])
            found.append(Alike(one, other, total / whole, where))
    return sorted(found, key=lambda pair: (-pair.share, pair.first, pair.second))

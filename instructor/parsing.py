"""Python code as a syntax tree, one text at a time."""

from __future__ import annotations

import ast
import threading

_alone = threading.Lock()


def parsed(source: str) -> ast.Module:
    """The syntax tree of a source. Errors: SyntaxError, ValueError, like `ast.parse`.

    Students are marked in threads, and Python before 3.11.8 and 3.12.2 keeps one count of the depth
    for all of them: two that parse at once end in "AST constructor recursion depth mismatch".

    ast.unparse(parsed("x  =  1")) -> 'x = 1'
    """
    with _alone:
        return ast.parse(source)

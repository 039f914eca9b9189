"""What is done with an answer, as source for the sandbox: the class of a `Use`, and what it needs.

A `Use` may stand in a chapter's file, among references and wrong answers. Its class is cut out of
there, with the helpers and imports that it names, and nothing else goes along.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache

from instructor import views
from instructor.parsing import parsed

ROOM = "gptlib.exercises."


Place = tuple[str, str]  # a module and a name in it


@dataclass(frozen=True)
class Needs:
    """Names that are needed from hidden modules, and answers of the chapter that are needed."""

    hidden: frozenset[Place]
    answers: frozenset[Place]


@cache
def needs(starts: frozenset[Place], chapter: int, lifted: frozenset[Place] = frozenset()) -> Needs:
    """All that these names need, and what that needs in turn.

    lifted: answers that may be seen all the same, for they stand in the place of a student's. A
    `Use` that makes a GPT to hand it to the student's function needs the course's GPT, and what
    GPT is made of. Errors: ValueError where it needs what may not be seen there.
    """
    seen: set[Place] = set()
    hidden, answers = set[Place](), set[Place]()
    waiting = list(starts)
    while waiting:
        module, name = place = waiting.pop()
        if place in seen:
            continue
        seen.add(place)
        asked = name in views.taken(chapter).get(module, ())
        if module not in views.view(chapter):
            if not module.startswith(ROOM) or (asked and place not in lifted):
                raise ValueError(f"{module}.{name} is needed, and students may not see it")
            hidden.add(place)
        elif asked:
            answers.add(place)
        for node in _definitions(module).get(name, ()):
            waiting += _names_in(node, module, name)
    return Needs(frozenset(hidden), frozenset(answers))


def of(kind: type, chapter: int) -> Needs:
    """What a `Use` needs."""
    return needs(frozenset({(kind.__module__, kind.__qualname__)}), chapter)


def stands_alone(place: Place, chapter: int) -> bool:
    """Whether an answer of the course can be put in the place of a student's."""
    module, name = place
    if module in views.view(chapter):
        return True
    try:
        needs(frozenset({place}), chapter, frozenset({place}))
    except ValueError:
        return False
    return name in _definitions(module)


def sources(hidden: frozenset[Place]) -> dict[str, str]:
    """The source of hidden modules, of each these names alone."""
    names: dict[str, set[str]] = {}
    for module, name in hidden:
        names.setdefault(module, set()).add(name)
    return {module: _source(module, some) for module, some in names.items()}


def _names_in(node: ast.stmt, module: str, name: str) -> list[Place]:
    """What one statement needs: (module, name) each."""
    if isinstance(node, ast.Import):
        return []
    if isinstance(node, ast.ImportFrom):
        if not (node.module or "").startswith("gptlib"):
            return []
        return [(str(node.module), one.name) for one in node.names
                if (one.asname or one.name) == name]  # fmt: skip
    found = []
    for one in ast.walk(node):
        if isinstance(one, ast.Call) and getattr(one.func, "id", "") in views.MADE:
            raise ValueError(f"{module}.{name} is needed, and it holds an answer")
        if isinstance(one, ast.Name):
            found.append((module, one.id))
    return found


@cache
def _definitions(module: str) -> dict[str, list[ast.stmt]]:
    """The statements of a module that give each of its names a value."""
    found: dict[str, list[ast.stmt]] = {}
    for node in parsed(views.sources().get(module, "")).body:
        for name in _defines(node):
            found.setdefault(name, []).append(node)
    return found


def _defines(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [(one.asname or one.name).split(".")[0] for one in node.names]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [one.id for target in targets if target is not None for one in ast.walk(target)
            if isinstance(one, ast.Name)]  # fmt: skip


def _source(module: str, names: set[str]) -> str:
    """The statements of a module that define these names; of an import, those names alone."""
    kept = ["from __future__ import annotations"]
    for node in parsed(views.sources()[module]).body:
        if isinstance(node, ast.ImportFrom) and node.module == "__future__":
            continue
        if not set(_defines(node)) & names:
            continue
        if isinstance(node, ast.Import | ast.ImportFrom):
            node.names = [one for one in node.names
                          if (one.asname or one.name).split(".")[0] in names]  # fmt: skip
        kept.append(ast.unparse(node))
    return "\n".join(kept) + "\n"


def imports_of(module: str) -> list[str]:
    """The imports of a module, one name each: the names among which its references are written."""
    found = []
    for node in parsed(views.sources().get(module, "")).body:
        if isinstance(node, ast.Import):
            found.append(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            if f"{node.module}.".startswith(ROOM):
                continue
            found += [ast.unparse(ast.ImportFrom(node.module, [one], node.level))
                      for one in node.names]  # fmt: skip
    return found

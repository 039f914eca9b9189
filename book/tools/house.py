"""Who imports whom in gptlib, read from the code, and who may, read from book/house.toml.

A module goes by its dotted name below gptlib: "gpt", "given.files", "corpus" for the room itself.
"""

from __future__ import annotations

import ast
import functools
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "gptlib"


def table(root: Path = ROOT) -> dict[str, Any]:
    """The import table, as it is written in book/house.toml."""
    return tomllib.loads((root / "book" / "house.toml").read_text(encoding="utf-8"))


# What the table allows ---------------------------------------------------------------------------


def chapters_of(house: dict[str, Any]) -> dict[int, list[str]]:
    """The modules that each chapter builds, by the number of the chapter."""
    return {int(number): names for number, names in house["chapters"].items()}


def room_modules(house: dict[str, Any], room: str) -> list[str]:
    """The modules of a room, in order; "chapters" is the package's root, by chapters."""
    if room == "chapters":
        return [name for names in chapters_of(house).values() for name in names]
    return [f"{room}.{name}" for name in house["rooms"][room]["modules"]]


def all_modules(house: dict[str, Any]) -> list[str]:
    """Every module that the table names, the rooms that hold one included."""
    rooms = [room for room in house["rooms"] if room_modules(house, room)]
    inside = [name for room in rooms for name in room_modules(house, room)]
    return [*room_modules(house, "chapters"), *rooms, *inside]


def opened(house: dict[str, Any], names: Iterable[str]) -> set[str]:
    """What a list of `imports` lets in: each room with all its modules, each module by itself."""
    found = set()
    for name in names:
        if name in house["rooms"]:
            found |= {name, *room_modules(house, name)}
        else:
            found |= set(room_modules(house, name)) if name == "chapters" else {name}
    return found


def allowed(house: dict[str, Any], module: str) -> set[str]:
    """The modules that a module may import.

    allowed(table(), "batches") -> "tokenizer" and all of given
    """
    room = module.partition(".")[0]
    if room == module and room in house["rooms"]:  # a room's own door shows what is inside
        return set(room_modules(house, room))
    settings = house["rooms"].get(room, house["root"])
    own = room_modules(house, room if room in house["rooms"] else "chapters")
    return opened(house, settings["imports"]) | set(own[: own.index(module)])


def allowed_in_chapter(house: dict[str, Any], number: int) -> set[str]:
    """The modules that a chapter's notebook may import: it builds its own before the reader."""
    before = [name for n, names in chapters_of(house).items() if n < number for name in names]
    return opened(house, house["notebooks"]["imports"]) | set(before)


# What the code does ------------------------------------------------------------------------------


def modules_in(root: Path = ROOT) -> dict[str, Path]:
    """Every module in the package's folder, with its file; the package itself is ""."""
    package, found = root / PACKAGE, {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache  # a build asks for those of each module once a chapter
def import_names(source: str, inside: str | None = None) -> frozenset[tuple[str, str]]:
    """What a source imports: (module, name) pairs by absolute names, name "" for `import module`.

    inside: the dotted name of the package that the source stands in, for relative imports.

    import_names("from .b import c", inside="gptlib.a") -> {("gptlib.a.b", "c")}
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = (inside or "").split(".")
                above = above[: len(above) - node.level + 1]
                base = ".".join([*above, *filter(None, [node.module])])
            found |= {(base, alias.name) for alias in node.names}
    return frozenset(found)


def imports_of(source: str, known: Iterable[str], inside: str | None = None) -> set[str]:
    """The modules of gptlib that a source imports, of those `known`.

    imports_of("from gptlib.given import plots", ["given", "given.plots"]) -> {"given.plots"}
    """
    known, found = set(known), set()
    for base, name in import_names(source, inside):
        if base.partition(".")[0] != PACKAGE:
            continue
        base = base.removeprefix(PACKAGE).lstrip(".")
        whole = f"{base}.{name}".strip(".")
        found.add(whole if name and whole in known else base)
    return {name for name in found if name}


def imports_of_file(path: Path, root: Path = ROOT, known: Iterable[str] | None = None) -> set[str]:
    """The modules of gptlib that a file of the package imports, of those `known`: else of all."""
    inside = ".".join(path.relative_to(root).parent.parts)
    known = modules_in(root) if known is None else known
    return imports_of(path.read_text(encoding="utf-8"), known, inside)


def third_party(source: str) -> set[str]:
    """The packages outside the standard library that a source imports when it runs."""
    import sys

    tops = {base.partition(".")[0] for base, _ in import_names(source, PACKAGE)}
    return tops - set(sys.stdlib_module_names) - {PACKAGE}


# The rules ---------------------------------------------------------------------------------------


def broken_rules(root: Path = ROOT) -> list[str]:
    """Every way in which the package's folder differs from the table; empty when all is well."""
    house, found = table(root), modules_in(root)
    named, faults = set(all_modules(house)), []
    for name in sorted(set(found) - named - {""}):
        faults.append(f"{name} stands in no room: name it in book/house.toml")
    for name in sorted(named - set(found)):
        faults.append(f"{name} is in book/house.toml and has no file")
    for name in sorted(set(found) & named):
        for wrong in sorted(imports_of_file(found[name], root) - allowed(house, name)):
            faults.append(f"{name} may not import {wrong}")
    if "" in found and (imports := imports_of_file(found[""], root)):
        faults.append(f"the package itself may import nothing, and imports {sorted(imports)}")
    return faults

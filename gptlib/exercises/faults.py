"""The kinds of fault that the bug foundry knows, each as a change of the program's source.

Given, not built. The program is the source of the chapters' modules and of `program`, run anew in
one space. A fault is one change of it, or two that belong together: lines that are taken out and
what stands there instead. A change inside a block may be made in all blocks or in one.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from difflib import unified_diff
from importlib import import_module
from inspect import getsource
from random import Random
from typing import Any

from gptlib.exercises.fault_table import KINDS, Kind, Variant
from gptlib.exercises.program import Program

PARTS = ("loss", "attention", "layers", "block", "gpt", "exercises.program")
NAMES = {kind.name: kind for kind in KINDS}
N_LAYER = 4


@dataclass(frozen=True)
class Fault:
    """One fault of one patient: its kind, the variant, and the block if it is in one alone."""

    kind: Kind
    variant: Variant
    block: int | None = None

    @property
    def told(self) -> str:
        """The fault in words, with its place.

        draw(0).told.partition(":")[0] in NAMES -> True
        """
        place = ""
        if self.variant.inside:
            place = ", in " + ("all blocks" if self.block is None else f"block {self.block} alone")
        return f"{self.kind.name}: {self.variant.detail}{place}"

    @property
    def difference(self) -> str:
        """The lines that were changed, as a diff: - for the healthy ones, + for the patient's.

        A release for a class may lack the lines that are asked for there; then the file is named.
        """
        lines = []
        for part in dict.fromkeys(part for part, _, _ in self.variant.edits):
            lines.append(f"gptlib/{part.replace('.', '/')}.py")
            before = getsource(import_module(f"gptlib.{part}"))
            try:
                after = edited(part, before, self.variant)
            except ValueError:
                continue
            found = unified_diff(before.split("\n"), after.split("\n"), lineterm="", n=0)
            lines += [line for line in found if line[:2] not in ("--", "++", "@@")]
        return "\n".join(lines)


def draw(seed: int) -> Fault:
    """The fault of a seed.

    In the first len(KINDS) seeds each kind comes once, in any order, then once more, and so on; a
    kind's variants come in turn, too.

    len({draw(seed).kind.name for seed in range(len(KINDS))}) == len(KINDS) -> True
    """
    turn, place = divmod(seed, len(KINDS))
    kind = Random(f"turn {turn}").sample(KINDS, len(KINDS))[place]
    variants = Random(kind.name).sample(kind.variants, len(kind.variants))
    variant = variants[turn % len(variants)]
    blocks = (None, None, *range(N_LAYER)) if variant.inside else (None,)
    return Fault(kind, variant, Random(f"{kind.name} {turn}").choice(blocks))


def all_faults() -> list[Fault]:
    """Every fault there is, the model's seed apart."""
    found = []
    for kind in KINDS:
        for variant in kind.variants:
            blocks = (None, *range(N_LAYER)) if variant.inside else (None,)
            found += [Fault(kind, variant, block) for block in blocks]
    return found


def edited(part: str, source: str, variant: Variant) -> str:
    """The source of a part with the edits of a variant that are for it.

    Errors: ValueError where an edit does not fit the source at exactly one place.
    """
    for at, old, new in variant.edits:
        if at == part and source.count(old) != 1:
            raise ValueError(f"{old!r} must stand once in {part}; it stands {source.count(old)} x.")
        source = source.replace(old, new) if at == part else source
    return source


def space_of(variant: Variant | None = None) -> dict[str, Any]:
    """The names of the whole program, run from its source with the edits of a variant.

    space_of()["CONFIG"].context_length -> 16
    """
    modules = {part: import_module(f"gptlib.{part}") for part in PARTS}
    space: dict[str, Any] = {"__name__": "gptlib.exercises.program"}
    for part, module in modules.items():
        source = getsource(module)
        if variant is not None:
            source = edited(part, source, variant)
        tree = ast.parse(source)
        tree.body = [node for node in tree.body if not _from_a_part(node)]
        exec(compile(tree, str(module.__file__), "exec"), space)
    return space


def _from_a_part(node: ast.stmt) -> bool:
    """Whether a line imports from a part of the program: that is in the space already."""
    return isinstance(node, ast.ImportFrom) and node.module in {f"gptlib.{p}" for p in PARTS}


def program_of(fault: Fault | None, train: Any, val: Any, seed: int) -> Any:
    """A `Program` with a fault, or a healthy one, ready for its first step."""
    if fault is None:
        return Program(train, val, seed)
    space = space_of(fault.variant)
    if fault.block is None:
        return space["Program"](train, val, seed)
    program = Program(train, val, seed)
    for part in program.model.blocks[fault.block].modules():
        if type(part).__name__ in space:
            part.__class__ = space[type(part).__name__]
    return program

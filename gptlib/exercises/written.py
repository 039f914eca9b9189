"""What can be read off a learner's code: whether it does anything, which line raised, and why.

Given, not built.
"""

from __future__ import annotations

import dis
import os
import re
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

NOTHING = {"RESUME", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE", "NOP", "POP_TOP"}
PATHS = sysconfig.get_paths()
OTHERS = (  # where code stands that is not the learner's
    "<gptlib.",  # in a sandbox, where modules have no files
    *([str(Path(__file__).resolve().parents[1])] if "__file__" in globals() else []),
    os.path.dirname(torch.__file__),
    PATHS["stdlib"],
    PATHS["purelib"],
    "<frozen",
)


def attempted(answer: Callable[..., Any]) -> bool:
    """Whether a function, or any method of a class, does more than `...`, `pass` or a docstring.

    attempted(lambda: None) -> False
    """
    if isinstance(answer, type):
        methods = [m for m in vars(answer).values() if hasattr(m, "__code__")]
        return not methods or any(_does_something(m) for m in methods)
    return _does_something(answer)


def _does_something(function: Callable[..., Any]) -> bool:
    code = getattr(function, "__code__", None)
    if code is None:
        return True
    said = {None, Ellipsis, function.__doc__}
    found = list(dis.get_instructions(code))
    used = {i.argval for i in found if i.opname.startswith(("LOAD", "RETURN_C"))}
    # `super().__init__()` alone is what the task has written already.
    if function.__name__ == "__init__" and set(code.co_names) <= {"super", "__init__"}:
        return False
    return not ({i.opname for i in found} <= NOTHING and used <= said)


def _names_of_init(answer: Callable[..., Any]) -> tuple[str, ...]:
    """What the `__init__` of a class calls its arguments and what it makes; nothing of others."""
    made = vars(answer).get("__init__") if isinstance(answer, type) else None
    code = getattr(made, "__code__", None)
    return code.co_varnames[1:] if code else ()


def _unknown(name: str, answers: tuple[Callable[..., Any], ...]) -> str:
    """What to do about a name that nothing has.

    _unknown("T", (len,)) -> "Nothing is called `T` here: it needs a value first, or an import."
    """
    code = next((one.__code__ for one in answers if hasattr(one, "__code__")), None)
    given = ", ".join(f"`{one}`" for one in code.co_varnames[: code.co_argcount]) if code else ""
    if not given:
        return f"Nothing is called `{name}` here: it needs a value first, or an import."
    return (
        f"Nothing is called `{name}` here. What the function is given is called {given}; any other "
        "name needs a value first, or an import."
    )


def line_of(error: Exception) -> str:
    """The line of the learner's that raised, as an end for a message; nothing if it is not known.

    It is the last one that stands in a notebook, or in a file that belongs to no package. An error
    that was raised in another process brings its line along, as `line_there`.
    """
    there = getattr(error, "line_there", None)
    if there is not None:
        return f"\n  in line   {there}" if there else ""
    frames = traceback.extract_tb(error.__traceback__)
    own = [one for one in frames if one.line and not one.filename.startswith(OTHERS)]
    return f"\n  in line   {own[-1].line}" if own else ""


def advice(error: str, *answers: Callable[..., Any]) -> str:
    """What to do instead, for the ways to get there that beginners take.

    answers: the code that raised, and ours: where the learner's runs elsewhere, its names are not
    known here.
    """
    unknown = re.search(r"name '(\w+)' is not defined", error)
    if unknown and any(unknown[1] in _names_of_init(one) for one in answers):
        name = unknown[1]
        return (
            f"\n`{name}` is known in `__init__` alone. Keep it there, as `self.{name} = {name}`, "
            f"and use `self.{name}`."
        )
    if unknown:
        return f"\n{_unknown(unknown[1], answers)}"
    if "'NoneType'" in error:
        return (
            "\nSomething is None here: an argument that may be left out and was, or what comes "
            "from a function without a `return`. `is None` asks for that."
        )
    if "only one element tensors" in error or "single element" in error:
        return (
            "\n`math` and float() take one number. For a tensor of many, torch has functions of "
            "the same names."
        )
    if "view size is not compatible" in error:
        return (
            "\n`view` asks that the numbers lie in the new order already, and exchanging axes "
            "moves none of them; `reshape` copies them where it has to."
        )
    if "leaf Variable" in error:  # no input of a check is one
        return (
            "\nThese are a model's own numbers, which want a gradient. Write under "
            "`with torch.no_grad():`."
        )
    if "inplace" in error or "in-place" in error:
        return (
            "\nx += ... and x[0] = ... write into numbers that the way back still needs: make new "
            "ones, x = x + ... ."
        )
    if "can't be cast" in error:
        return "\nx += ... keeps the kind of number that x holds: x = x + ... makes a new one."
    if "is ambiguous" in error:
        return (
            "\nMany numbers are neither true nor false as a whole: torch.where chooses for each, "
            "and `is None` asks whether there are any."
        )
    if "'bytes' object has no attribute" in error:
        return "\nWhat it was given may be bytes: list(...) makes a list of their numbers."
    if "numpy" in error:
        return "\nNumPy knows no gradients. Say it with torch alone, and do not detach."
    return ""

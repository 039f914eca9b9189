"""The names in which a student's code runs, and how its functions are called.

What the student wrote arrives as pieces of source, one a statement, in order; each runs by itself,
so that one that fails takes none of the others with it.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
import importlib.abc
import importlib.util
import linecache
import marshal
import random
import socket
import sys
import time
import traceback
import types
from collections.abc import Callable
from typing import Any

import torch

from instructor.inside import wire

SAID = 300  # letters of an error that are passed on


class FromMemory(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports modules that were sent compiled: {"gptlib.loss": bytes}. Nothing is on a disk."""

    def __init__(self, sources: dict[str, bytes]) -> None:
        self.sources = sources

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.split(".")[0] != "gptlib":
            return None
        if name not in self.sources:
            raise ModuleNotFoundError(f"{name} is not there while work is marked", name=name)
        package = any(other.startswith(f"{name}.") for other in self.sources)
        return importlib.util.spec_from_loader(name, self, is_package=package)

    def exec_module(self, module: types.ModuleType) -> None:
        exec(marshal.loads(self.sources[module.__name__]), vars(module))


class Space:
    """A student's names, the functions that were asked for, and what is done with them."""

    def __init__(self, load: dict[str, Any]) -> None:
        sys.meta_path.insert(0, FromMemory(load["modules"]))
        student = types.ModuleType("student")
        sys.modules["student"] = student
        self.names = vars(student)
        self.asked: dict[str, Any] = {}
        self.uses: dict[str, Any] = {}
        self.notes: list[str] = []
        for module in load["around"]:  # what the course's own code stands among
            with contextlib.suppress(Exception):
                for key, value in vars(importlib.import_module(module)).items():
                    self.names.setdefault(key, value)
        for line in load["imports"]:
            with contextlib.suppress(Exception):
                exec(line, self.names)
        for label, source, defines, name in load["pieces"]:
            self.run(label, source, defines, name)
        for name, (module, key) in load["places"].items():
            # The course's own code calls the student's, as it does in the notebook.
            with contextlib.suppress(Exception):
                if name in self.asked:
                    setattr(importlib.import_module(module), key, self.asked[name])
        for name, (module, kind, state) in load["uses"].items():
            try:
                self.uses[name] = object.__new__(getattr(importlib.import_module(module), kind))
                vars(self.uses[name]).update(state)
            except Exception as error:
                self.notes.append(f"{kind}: {said(error)}")

    def run(self, label: str, source: str, defines: str, name: str) -> None:
        """Run one statement of the student; where it is an answer, keep what it defines."""
        path = f"<{label}, {defines}>"
        linecache.cache[path] = (len(source), None, source.splitlines(keepends=True), path)
        try:
            exec(compile(source, path, "exec"), self.names)
            if name:
                self.asked[name] = self.names[defines]
        except Exception as error:
            if name:  # a helper that fails is missed where it is called, and is named there
                self.notes.append(f"{label}: {said(error)}")

    def call(self, name: str, given: tuple[Any, ...], use: bool) -> dict[str, Any]:
        """What comes out of an answer, what it changed of what it was given, and how long it took.

        Seconds are the processor's, so that a busy machine makes nobody slow.
        """
        random.seed(0)
        torch.manual_seed(0)
        mine = copy.deepcopy(given)
        began = time.process_time()
        try:
            run: Callable[..., Any] = self.uses[name].run if use else Space.plainly
            out = run(self.asked[name], *mine)
            answer: dict[str, Any] = {"value": wire.pack(out)}
        except Exception as error:
            answer = {"raised": [type(error).__name__, said(error, alone=True), line_of(error)]}
        except SystemExit:
            answer = {"raised": ["SystemExit", "it ends Python", ""]}
        answer["seconds"] = time.process_time() - began
        pairs = enumerate(zip(mine, given, strict=True))
        answer["changed"] = {i: after for i, (after, before) in pairs if differs(after, before)}
        return answer

    @staticmethod
    def plainly(answer: Callable[..., Any], *given: Any) -> Any:
        """Call a function."""
        return answer(*given)


def differs(after: Any, before: Any) -> bool:
    """Whether the bytes of two values differ."""
    try:
        return wire.pack(after) != wire.pack(before)
    except Exception:
        return True


def line_of(error: Exception) -> str:
    """The last line of the student's own that an error came through, or nothing."""
    try:
        frames = traceback.extract_tb(error.__traceback__)
        own = [one.line or "" for one in frames if one.filename.startswith("<cell ")]
    except Exception:  # what a student's code may have broken
        return ""
    return str(own[-1])[:SAID] if own else ""


def said(error: BaseException, alone: bool = False) -> str:
    """An error in words, short, and the same in every run."""
    try:
        text = wire.without_addresses(str(error))[:SAID]
    except Exception:
        text = "(an error that cannot be printed)"
    return text if alone else f"{type(error).__name__}: {text}"


def serve(channel: socket.socket) -> None:
    """Load what is sent first, then answer calls until the other end is closed."""
    wire.send(channel, "here")
    from_outside = Space(wire.receive(channel))
    from gptlib.exercises.written import attempted

    there = {name: bool(attempted(answer)) for name, answer in from_outside.asked.items()}
    wire.send(channel, {"there": there, "notes": from_outside.notes})
    while True:
        try:
            asked = wire.receive(channel)
        except EOFError:
            return
        wire.send(channel, from_outside.call(asked["name"], asked["given"], asked["use"]))

"""A class of made-up students for tests/test_instructor.py: ordinary, odd and hostile ones.

Each has the exercises of chapters 3 and 4 to answer that stand in ASKED, and what is expected of
the marking stands beside the work.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

MASK, WEIGHTS = "attention.causal_mask", "attention.attention_weights"
NORM, GELU = "layers.layer_norm", "layers.gelu"
ASKED = (MASK, WEIGHTS, NORM, GELU)
R, W, N = "right", "wrong", "not attempted"
IMPORTS = """
import math
import torch
import torch.nn.functional as F
from gptlib.exercises import exercise, hint
from gptlib.given import plots
"""

GOOD = {
    MASK: "def causal_mask(T):\n    return torch.ones(T, T, dtype=torch.bool).tril()",
    WEIGHTS: """
def attention_weights(query, key, mask=None):
    scores = query @ key.transpose(-2, -1) / key.size(-1) ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return torch.softmax(scores, dim=-1)""",
    NORM: """
def layer_norm(x, weight=None, bias=None, eps=1e-5):
    mean = x.mean(dim=-1, keepdim=True)
    var = x.var(dim=-1, keepdim=True, unbiased=False)
    x = (x - mean) / torch.sqrt(var + max(eps, EPS))
    x = x if weight is None else x * weight
    return x if bias is None else x + bias""",
    GELU: """
def gelu(x, approximate="tanh"):
    if approximate == "none":
        return 0.5 * x * (1 + torch.erf(x / 2**0.5))
    return 0.5 * x * (1 + bent(ROOT * (x + 0.044715 * x**3)))""",
}
BEND = "def gelu(x, approximate='tanh'):\n"
HELPERS = "EPS = 1e-9\nROOT = math.sqrt(2 / math.pi)\n\ndef bent(x):\n    return torch.tanh(x)"
STUBS = {
    MASK: 'def causal_mask(context_length):\n    """(T, T) booleans."""\n    ...  # your code',
    WEIGHTS: "def attention_weights(query, key, mask=None):\n    ...",
    NORM: "def layer_norm(x, weight=None, bias=None, eps=1e-5):\n    pass",
    GELU: 'def gelu(x, approximate="tanh"):\n    """GPT-2\'s form."""',
}
SPOILS = "query /= 2\n    query *= 2\n    query[..., 0] = 0\n"
UPSIDE_DOWN = "def causal_mask(T):\n    return torch.ones(T, T, dtype=torch.bool).triu()"
UNSCALED = """
def attention_weights(query, key, mask=None):
    scores = query @ key.transpose(-2, -1)
    return F.softmax(scores if mask is None else scores.masked_fill(~mask, -math.inf), dim=-1)"""
TWICE_AS_LARGE = """
def gelu(x, approximate="tanh"):
    if approximate == "none":
        return x * (1 + torch.erf(x / 2**0.5))
    return x * (1 + torch.tanh(ROOT * (x + 0.044715 * x**3)))"""


@dataclass
class Pupil:
    """One student: where the file lies, what is in it, and what is to come of it."""

    path: str
    text: str
    states: tuple[str, str, str, str] = (R, R, R, R)
    says: dict[str, str] = field(default_factory=dict)  # by exercise, a part of the words
    notes: str = ""


def notebook(*cells: str, tags: bool = True, **metadata: object) -> str:
    """A notebook's text."""
    book = nbformat.v4.new_notebook(metadata=metadata)
    for source in cells:
        book.cells.append(nbformat.v4.new_markdown_cell("What is asked."))
        book.cells.append(nbformat.v4.new_code_cell(source))
        if tags:
            book.cells[-1].metadata["tags"] = ["exercise"]
    for cell in book.cells:
        cell.pop("id", None)
    book.nbformat_minor = 4
    return nbformat.writes(book)


def answered(given: dict[str, str] | None = None, *more: str, before: str = "") -> list[str]:
    """The cells of a student: the good answers, some of them exchanged."""
    answers = {**GOOD, **(given or {})}
    cells = [f'@exercise("{name}")\n{source.strip()}' for name, source in answers.items()]
    return [IMPORTS, HELPERS, *([before] if before else []), *cells, *more]


def pupil(path: str, given: dict[str, str] | None = None, *more: str, **words) -> Pupil:
    """A student with good answers, some of them exchanged."""
    cells = answered(given, *more, before=words.pop("before", ""))
    return Pupil(path, notebook(*cells), **words)


# Those who mean no harm ---------------------------------------------------------------------------


def ordinary() -> dict[str, Pupil]:
    """Right answers and wrong ones, written as people write."""
    moodle = "{}_{}_assignsubmission_file_/03_attention.ipynb"
    return {
        "all right": pupil(moodle.format("Ada Lovelace", 101)),
        "another way": pupil(
            moodle.format("Ben Õun", 102),
            {MASK: "def causal_mask(T):\n    i = torch.arange(T)\n    return i[:, None] >= i"},
        ),
        "upside down": pupil(
            moodle.format("Cleo", 103), {MASK: UPSIDE_DOWN}, states=(W, R, R, R),
            says={MASK: "The mask is upside down"},
        ),
        "unscaled": pupil(
            moodle.format("Dora", 104), {WEIGHTS: UNSCALED}, states=(R, W, R, R),
            says={WEIGHTS: "not divided by the root of the head size"},
        ),
        "no half": pupil(
            moodle.format("Emil", 105), {GELU: TWICE_AS_LARGE}, states=(R, R, R, W),
            says={GELU: "The half is missing"},
        ),
        "nothing done": pupil(moodle.format("Finn", 106), STUBS, states=(N, N, N, N)),
        "half done": pupil(
            moodle.format("Gül", 107), {NORM: STUBS[NORM], GELU: STUBS[GELU]}, states=(R, R, N, N)
        ),
        "changes its input": pupil(
            moodle.format("Hugo", 108),
            {WEIGHTS: GOOD[WEIGHTS].replace("scores =", f"{SPOILS}    scores =", 1)},
            states=(R, W, R, R), says={WEIGHTS: "changes what it was given"},
        ),
        "a helper of two": pupil(
            moodle.format("Ida", 109),
            {WEIGHTS: """
def attention_weights(query, key, mask=None):
    mask = causal_mask(key.size(-2)) if mask is not None else None
    scores = query @ key.transpose(-2, -1) / key.size(-1) ** 0.5
    return (scores if mask is None else scores.masked_fill(~mask, -math.inf)).softmax(-1)""",
             MASK: UPSIDE_DOWN},
            states=(W, R, R, R), says={WEIGHTS: "the course's attention.causal_mask"},
        ),
        "copied": pupil(moodle.format("Jon", 110), {WEIGHTS: UNSCALED.replace("scores", "s")},
                        states=(R, W, R, R)),
        "gives None": pupil(
            moodle.format("Kim", 111), {GELU: BEND + "    y = x * 2\n    print(y)"},
            states=(R, R, R, W), says={GELU: "gives None"},
        ),
        "raises": pupil(
            moodle.format("Leo", 112), {GELU: BEND + "    return x.bend()"},
            states=(R, R, R, W), says={GELU: "raises AttributeError: 'Tensor' object has no attr"},
        ),
    }  # fmt: skip


def odd() -> dict[str, Pupil]:
    """Notebooks as they come back: broken, doubled, renamed."""
    cells = answered()
    canvas = "odd{}_{}_{}_work.ipynb"
    good = notebook(*cells)
    untagged = [IMPORTS, HELPERS, *GOOD.values()]
    loud = json.loads(good)
    loud["cells"][1]["outputs"] = [
        {"output_type": "stream", "name": "stdout", "text": ["/etc/passwd ../../x\n", "x" * 10**7]}
    ]
    broken = f'@exercise("{NORM}")\ndef layer_norm(x, w, b:\n  x'
    faulty = [*cells[:4], broken, cells[5]]
    magics = ["%matplotlib inline\n!ls /\n" + cells[0], *cells[1:]]
    return {
        "broken JSON": Pupil(canvas.format("a", 1, 1), good[: len(good) // 2], (N, N, N, N),
                             notes="holds no JSON"),
        "syntax error": Pupil(canvas.format("b", 2, 1), notebook(*faulty), (R, R, W, R),
                              says={NORM: "this is no Python"}, notes="cell 10, line 2"),
        "wrong kernel": Pupil(canvas.format("c", 3, 1), notebook(*cells, kernelspec={
            "name": "ir", "display_name": "R", "language": "R"})),
        "doubled cells": Pupil(canvas.format("d", 4, 1), notebook(
            *cells, *(f'@exercise("{n}")\n{s}' for n, s in STUBS.items()), *cells)),
        "corrected below": Pupil(canvas.format("e", 5, 1), notebook(
            *answered({MASK: UPSIDE_DOWN}), f'@exercise("{MASK}")\n{GOOD[MASK]}')),
        "deleted cells": Pupil(canvas.format("f", 6, 1), notebook(*cells[:1], *cells[2:4]),
                               (R, R, N, N)),
        "lost metadata": Pupil("oddg_LATE_7_1_Copy of 03 (1).ipynb", notebook(
            *untagged, tags=False)),
        "renamed": Pupil("oddh_8_1_asdf.IPYNB", good),
        "empty file": Pupil(canvas.format("i", 9, 1), "", (N, N, N, N), notes="is empty"),
        "no notebook": Pupil("oddj_10_1_essay.docx", "My essay.", (N, N, N, N),
                             notes="is no notebook"),
        "JSON of another kind": Pupil(canvas.format("k", 11, 1), "[1, 2, 3]", (N, N, N, N),
                                      notes="is no notebook"),
        "huge outputs": Pupil(canvas.format("l", 12, 1), json.dumps(loud)),
        "magics": Pupil(canvas.format("m", 13, 1), notebook(*magics)),
        "old format": Pupil(canvas.format("n", 14, 1), json.dumps({
            "nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": [
                {"cell_type": "code", "language": "python", "outputs": [], "input": cell,
                 "metadata": {}} for cell in cells]}]})),
        "top-level mischief": Pupil(canvas.format("o", 15, 1), notebook(
            *cells, "while True:\n    pass", "raise SystemExit", "causal_mask = None or 5")),
    }  # fmt: skip


# Those who do -------------------------------------------------------------------------------------


def hostile(outside: Path) -> dict[str, Pupil]:
    """Attacks on the machine, on the marks, and on the others. `outside`: a folder to be spared."""
    classroom = "attack-{}/work.ipynb"

    def first(name: str, body: str, state: str = W, says: str = "", **more) -> Pupil:
        """The attack in causal_mask; the other three answers are good and stay so."""
        source = "def causal_mask(T):\n" + "".join(f"    {x}\n" for x in body.strip().splitlines())
        words = {MASK: says} if says else {}
        return pupil(classroom.format(name), {MASK: source}, states=(state, R, R, R), says=words,
                     **more)  # fmt: skip

    good = "return torch.ones(T, T, dtype=torch.bool).tril()"
    return {
        "endless loop": first("loop", "while True:\n    pass", says="takes more than"),
        "memory bomb": first("memory", "x = []\nwhile True:\n    x.append(bytearray(10**8))"),
        "tensor bomb": first("tensor", "return torch.ones(10**6, 10**6)", says="raises"),
        "huge answer": first("answer", "return torch.ones(30000, 30000, dtype=torch.bool)"),
        "fork bomb": first("fork", "import os\nwhile True:\n    os.fork()", says="PermissionError"),
        "thread bomb": first("threads", (
            "import threading, time\nwhile True:\n"
            "    threading.Thread(target=time.sleep, args=(99,)).start()")),
        "exits": first("exit", "import os\nos._exit(0)", says="ended Python itself"),
        "exits politely": first("sys-exit", "import sys\nsys.exit(0)", says="SystemExit"),
        "crashes": first("crash", "import ctypes\nctypes.string_at(0)", says="ended Python itself"),
        "writes files": first("files", f"""
import os, pathlib
for place in ({str(outside)!r}, "/tmp", "/", os.path.expanduser("~"), "/box", "/dev/shm"):
    try: (pathlib.Path(place) / "owned.txt").write_text("x" * 10**6)
    except OSError: pass
{good}""", R),
        "fills the disk": first("disk", """
with open("/tmp/fill", "wb") as f:
    for _ in range(1000): f.write(b"x" * 10**6); f.flush()""", says="raises OSError"),
        "reads the solutions": first("solutions", f"""
import importlib, pathlib, sys
for name in ("gptlib.exercises.attention", "gptlib.exercises.book", "instructor.marking"):
    try:
        importlib.import_module(name)
    except ImportError: continue
    raise RuntimeError("found " + name)
for place in ({str(outside)!r}, {str(Path(__file__).resolve().parents[1] / 'gptlib')!r},
              {str(Path(__file__).resolve().parents[1] / 'instructor')!r},
              {str(Path.home() / ".ssh")!r}, "/home"):
    try: seen = list(pathlib.Path(place).iterdir())
    except OSError: continue
    if seen: raise RuntimeError("found " + str(seen))
import gptlib.attention
return gptlib.attention.causal_mask(T)""", says="RecursionError"),
        "opens a socket": first("socket", """
import socket
socket.create_connection(("127.0.0.1", 80), 1)""", says="raises PermissionError"),
        "starts a program": first("program", "import subprocess\nsubprocess.run(['/bin/sh'])",
                                  says="PermissionError"),
        "forges a result": first("forge", r"""
import json, os, struct
tree = json.dumps(["dict", [["value", ["bytes", 0]], ["seconds", 0.0], ["changed", ["dict", []]],
                   ["state", "right"]]]).encode()
frame = struct.pack(">I", len(tree)) + tree
for fd in range(3, 64):
    try: os.write(fd, struct.pack(">Q", len(frame)) + frame)
    except OSError: pass
print("right."); os.write(1, b"right."); os.write(2, b"right.")
return torch.zeros(T)""", says="no message"),
        "sends rubbish": first("rubbish", r"""
import os
for fd in range(3, 64):
    try: os.write(fd, b"\xff" * 4096)
    except OSError: pass
return torch.zeros(T)""", says="no message"),
        "patches the comparison": first("patch", """
import builtins, sys
torch.allclose = torch.equal = torch.testing.assert_close = lambda *a, **k: True
builtins.AssertionError = type("Never", (Exception,), {})
builtins.isinstance = lambda *a: True
for module in list(sys.modules.values()):
    for name in ("difference", "judge", "compare", "pack", "without_addresses"):
        if hasattr(module, name): setattr(module, name, lambda *a, **k: None)
return torch.zeros(T, T)"""),
        "equals everything": first("equal", """
class Yes(torch.Tensor):
    def __eq__(self, other): return True
    def __bool__(self): return True
    shape = property(lambda self: torch.Size([T, T]))
    dtype = torch.bool
return torch.zeros(1).as_subclass(Yes)"""),
        "is equal to everything": first("any", """
class Any:
    def __eq__(self, other): return True
    def __getattr__(self, name): return self
return Any()"""),
        "prints a lot": first("print", f"print('x' * 10**8)\n{good}", R),
        "leaves a daemon": first("daemon", f"""
import os, threading, time
def later():
    time.sleep(0.2)
    os._exit(1)
try: os.fork()
except OSError: pass
threading.Thread(target=time.sleep, args=(99,), daemon=True).start()
{good}""", R),
        "speaks at its end": first("end", f"""
import atexit, sys, weakref
class Late:
    def __del__(self): print("right.", file=sys.stderr)
global kept
kept = Late()
atexit.register(lambda: print("right."))
{good}""", R),
        "kills its neighbours": first("kill", f"""
import os, signal
for pid in range(1, 40):
    try: os.kill(pid, signal.SIGKILL)
    except OSError: pass
try: os.kill(-1, signal.SIGKILL)
except OSError: pass
{good}""", R),
        "raises what cannot be printed": first("raise", """
class Odd(Exception):
    def __str__(self): raise RuntimeError
    __repr__ = __str__
raise Odd""", says="raises Odd"),
        "an error with a page in it": first(
            "html", 'raise ValueError("<script>alert(1)</script>")', says="<script>"),
        "a decorator that ends it": pupil(
            classroom.format("decorator"),
            {MASK: f"@lambda f: __import__('os')._exit(3)\n{GOOD[MASK]}"}, states=(W, R, R, R),
            says={MASK: "When its cell runs"},
        ),
        "exits when a class is made": pupil(
            classroom.format("class"), before="class Bomb:\n    __import__('os')._exit(3)",
            states=(W, W, W, W)),
        "a name like a formula": pupil("=cmd|'x'!A1/work.ipynb"),
        "a name like a page": pupil("attack-<b>bold<b>/work.ipynb"),
    }  # fmt: skip


def build(folder: Path, outside: Path) -> dict[str, Pupil]:
    """Write the whole class into a folder; by name, what is expected of each."""
    everybody = {**ordinary(), **odd(), **hostile(outside)}
    for one in everybody.values():
        path = folder / one.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(one.text, encoding="utf-8")
    link = folder / "oddp_16_1_link.ipynb"
    os.symlink(outside / "secret.ipynb", link)
    everybody["a link"] = Pupil(link.name, "", (N, N, N, N), notes="links are not followed")
    return everybody

"""Change one thing in the package at a time: does a test of that module notice?

    python tests/mutation/mutants.py                       # every module, 40 changes each
    python tests/mutation/mutants.py attention corpus/story --changes 100 --seed 1
    python tests/mutation/mutants.py bigram --lines 40 41  # what survived there, once more

A change swaps an operator or a comparison, moves a number by one, turns a condition round, drops a
statement or a named argument, or returns None. Each is tried in a forked process that has torch
and pytest loaded already, against the module's own tests alone, the quick ones first; they must
pass before, in that order too. What no test notices is listed with its line; changes that nobody
can see stand in `equivalent.toml` with the reason. It needs `os.fork`: Linux or macOS. README.md
here has the last figures.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib
import importlib.util
import json
import os
import re
import resource
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from random import Random
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = ROOT / "gptlib"
EQUIVALENT = Path(__file__).with_name("equivalent.toml")

# Module -> the test files that are to notice, where these are not tests/test_<module>.py.
TESTS = {
    "tokenizer": ["tokenizer", "streaming"],
    "training": ["training", "checkpoint"],
    "recipe": ["training"],
    "modern": ["modern", "published_models", "counts"],
    "window": ["window", "cache"],
    "given/drawing": ["drawing", "schematics"],
    "given/files": ["files", "tokenizer"],
    "given/folders": ["files", "checkpoint", "saved"],
    "given/models": ["models", "training", "generation"],
    "given/notebook": ["notebook", "work"],
    "given/parts": ["download"],
    "given/run_state": ["checkpoint"],
    "given/saved": ["saved", "checkpoint"],
    "given/shards": ["saved", "processes"],
    "given/sources": ["download"],
    "given/unicode16": ["tokenizer"],
    "given/reaching": ["download", "hostile_servers"],
    "given/web": ["download"],
    "given/checks/numbers": ["numbers"],
    "given/checks/recipe": ["training", "checkpoint", "models"],
    "given/checks/saved": ["saved", "checkpoint"],
    "given/checks/tensors": [
        *("batches", "bigram", "attention", "layers", "gpt", "generation", "models")
    ],
    "given/checks/text": ["tokenizer", "streaming"],
    "corpus/loader": ["corpus", "download"],
    "corpus/judging": ["corpus"],
    "corpus/grammar": ["corpus"],
    "corpus/tales": ["tales"],
    "corpus/story": ["corpus"],
    "corpus/storybook": ["corpus"],
    "cli/main": ["cli", "work"],
    **{
        f"cli/{name}": ["cli"]
        for name in (
            *("words", "prepare", "train", "generate", "chat", "evaluate", "export", "info"),
            "completion",
        )
    },
    **{f"engine/{name}": ["prepare"] for name in ("texts", "prepared", "prepare")},
    **{f"engine/{name}": ["learn"] for name in ("recipes", "runs", "curve", "reporter", "learn")},
    "engine/signals": ["learn"],
    "engine/processes": ["processes"],
    **{f"engine/{name}": ["processes", "saved"] for name in ("shared", "parts")},
    **{
        f"engine/{name}": ["evaluation"]
        for name in ("writer", "measures", "evaluation", "describe")
    },
    **{f"engine/{name}": ["export"] for name in ("forms", "foreign_tokenizer", "card", "export")},
    "engine/export": ["export", "own_page"],
    "engine/tracking": ["tracking", "learn"],
    "engine/conversation": ["cli"],
    "widgets/own_page": ["own_page"],
    "cli/progress": ["cli", "work"],
    "widgets/attention_explorer": ["attention_explorer", "faces"],
    "widgets/cache_growth": ["cache_growth", "faces"],
    "widgets/expert_routing": ["expert_routing", "faces"],
    "widgets/live_gpt": ["page_model", "page_grammar", "faces"],
    "widgets/live_training": ["page_trainee", "faces"],
    "widgets/model_file": ["page_model"],
    "widgets/rotation_explorer": ["rotation_explorer", "faces"],
    "widgets/story_key": ["page_grammar"],
    **{
        f"widgets/{name}": ["widgets", "faces"]
        for name in (
            *("widget", "distribution_explorer", "tokenizer_explorer", "model_picture"),
            *("signal_explorer", "tape", "training_scrubber"),
        )
    },
    # The room's own machinery; the answers themselves are what answers.py changes.
    **{
        f"exercises/{name}": ["exercises"]
        for name in ("comparing", "task", "question", "modules", "ending", "slopes", "written")
    },
    **{
        f"exercises/{name}": ["foundry"]
        for name in ("program", "fault_table", "faults", "fingerprints", "ward", "foundry",
                     "foundry_plot")
    },
    "exercises/book": ["work", "exercising", "exercises"],
    "exercises/predictions": ["work"],
    "exercises/progress": ["work"],
    "exercises/work": ["work"],
}  # fmt: skip
# They judge many stories, kill many processes, build a book or read the whole of a long text, and
# take minutes;
# what they alone would notice counts as survived.
SLOW = (
    "one_text_one", "labelled_places", "judge_inverts", "names_the_broken", "by_heart", "million",
    "hundred_kills", "every_single_step", "two_at_once", "small_multiple", "book_without_solutions",
    "page_folds_hints",
)  # fmt: skip

# What a change makes of a node -------------------------------------------------------------------

SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
KEPT_DECORATORS = ("property", "classmethod", "staticmethod", "dataclass", "contextmanager")


def changes_of(node: ast.AST) -> Iterator[Callable[[ast.AST], Any]]:
    """Ways to change a node: functions that take a copy of it and return what stands there then."""
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            new = [*node.ops[:i], SWAPS[type(op)](), *node.ops[i + 1 :]]
            yield lambda n, new=new: _with(n, ops=new)
    elif isinstance(node, (ast.BinOp, ast.AugAssign, ast.BoolOp)) and type(node.op) in SWAPS:
        yield lambda n: _with(n, op=SWAPS[type(n.op)]())
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield lambda n: ast.Constant(not n.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield lambda n: ast.Constant(n.value + 1)
        yield lambda n: ast.Constant(n.value - 1)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield lambda n: n.operand
    elif isinstance(node, (ast.If, ast.While, ast.IfExp)):
        yield lambda n: _with(n, test=ast.UnaryOp(ast.Not(), n.test))
    elif isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        yield lambda n: _with(n, value=ast.Constant(None))
    elif isinstance(node, ast.Call):
        for i, keyword in enumerate(node.keywords):
            if keyword.arg is not None:
                yield lambda n, i=i: _with(n, keywords=n.keywords[:i] + n.keywords[i + 1 :])
    elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        for i, decorator in enumerate(node.decorator_list):
            if not any(name in ast.unparse(decorator) for name in KEPT_DECORATORS):
                kept = node.decorator_list[:i] + node.decorator_list[i + 1 :]
                yield lambda n, kept=kept: _with(n, decorator_list=kept)
    if can_be_dropped(node):
        yield lambda n: ast.Pass()


def can_be_dropped(node: ast.AST) -> bool:
    """Statements without which a function still runs: not those that first name something."""
    if isinstance(node, (ast.Raise, ast.AugAssign, ast.Break, ast.Continue)):
        return True
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call)
    if not isinstance(node, ast.Assign):
        return False
    used = {n.id for n in ast.walk(node.value) if isinstance(n, ast.Name)}
    return all(
        isinstance(target, (ast.Attribute, ast.Subscript))
        or (isinstance(target, ast.Name) and target.id in used)
        for target in node.targets
    )


def _with(node: ast.AST, **fields: Any) -> ast.AST:
    for name, value in fields.items():
        setattr(node, name, value)
    return node


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def nodes_of(tree: ast.AST, path: tuple = ()) -> Iterator[tuple[tuple, ast.AST]]:
    """Every node that runs, and the way to it; annotations, messages and protocols say nothing."""
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns", "type_params") or isinstance(tree, ast.JoinedStr):
            continue
        for i, node in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(node, ast.AST):
                way = (*path, (field, i if isinstance(value, list) else None))
                yield way, node
                yield from nodes_of(node, way)


class Change:
    """One change of one module: the whole changed tree, and how to speak of it."""

    def __init__(self, source: str, way: tuple, number: int) -> None:
        self.tree = ast.parse(source)
        parent: Any = self.tree
        for field, i in way[:-1]:
            parent = getattr(parent, field) if i is None else getattr(parent, field)[i]
        field, i = way[-1]
        old = getattr(parent, field) if i is None else getattr(parent, field)[i]
        self.line = old.lineno
        self.on = source.split("\n")[old.lineno - 1].strip()
        before = _first_line(old)
        new = list(changes_of(old))[number](copy.deepcopy(old))
        self.text = f"{before}  ->  {_first_line(new)}"
        if i is None:
            setattr(parent, field, new)
        else:
            getattr(parent, field)[i] = new
        ast.fix_missing_locations(self.tree)


def _first_line(node: ast.AST) -> str:
    lines = ast.unparse(node).split("\n")
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return " ".join(line for line in lines if line.startswith(("@", "def", "class")))
    return lines[0]


def sample(source: str, rng: Random, n: int) -> list[Change]:
    """n changes at random, or all where there are fewer, in the order of the lines."""
    places = [
        (way, number)
        for way, node in nodes_of(ast.parse(source))
        if hasattr(node, "lineno")
        for number, _ in enumerate(changes_of(node))
    ]
    chosen = sorted(rng.sample(range(len(places)), min(n, len(places))))
    return [Change(source, *places[i]) for i in chosen]


# Trying a change ---------------------------------------------------------------------------------


# Imports a module from changed source in the place of its file. It runs in the process that tests,
# and as sitecustomize.py in each Python that a test starts.
HOOK = """
import importlib.util, sys
from importlib.machinery import SourceFileLoader

class Changed(SourceFileLoader):
    def get_code(self, fullname):
        return compile({source!r}, {path!r}, "exec")

    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            return importlib.util.spec_from_file_location(name, {path!r}, loader=self)

sys.meta_path.insert(0, Changed({name!r}, {path!r}))
"""


class QuickFirst:
    """Notes how long each test takes, and puts those first that took least the last time."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        known, self.seconds = self.seconds, {}
        items.sort(key=lambda item: known.get(item.nodeid, 0))


def passes(
    tests: list[str], hook: str | None, limit: float, order: QuickFirst, only: str = ""
) -> tuple[bool, str]:
    """Run the tests in a child of this process, with the hook in place: passed, and what it says.

    only: what their names are to match, as pytest's `-k` takes it; all but the slow ones if empty.

    A child that computes for longer than `limit` seconds, or takes twenty times as long as that, is
    ended, and has not passed: on a busy machine the clock on the wall says little. Without a hook,
    `order` learns how long each test takes.
    """
    with (
        tempfile.TemporaryFile("w+") as said,
        tempfile.TemporaryFile("w+") as told,
        tempfile.TemporaryDirectory() as folder,
    ):
        child = os.fork()
        if child == 0:
            os.setpgid(0, 0)  # a group to end; still of this session, whose priority counts
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            resource.setrlimit(resource.RLIMIT_CPU, (int(limit) + 1, int(limit) + 1))
            if hook is not None:
                Path(folder, "sitecustomize.py").write_text(hook, encoding="utf-8")
                os.environ["PYTHONPATH"] = folder
                exec(hook, {"__name__": "changed"})
            code = 99
            try:
                options = "-x -q -p no:cacheprovider --hypothesis-seed=0 --tb=line --assert=plain"
                options += " -W ignore -k"
                chosen = f"not ({' or '.join(SLOW)})" + (f" and ({only})" if only else "")
                words = [*options.split(), chosen, *tests]
                code = int(pytest.main(words, plugins=[order]))
                json.dump(order.seconds, told)
                told.flush()
            finally:
                sys.stdout.flush()
                os._exit(code)
        ends, status = time.monotonic() + 20 * limit, None
        try:
            while status is None and time.monotonic() < ends:
                done, found = os.waitpid(child, os.WNOHANG)
                status = found if done else None
                time.sleep(0.02)
        finally:  # too slow, or the user has lost patience
            if status is None:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
        said.seek(0)
        if status == 0 and hook is None:
            told.seek(0)
            order.seconds = json.load(told)
        return status == 0, said.read()


def warm_up(tests: list[str]) -> None:
    """Load pytest's plugins and what the tests import from elsewhere, once for all children."""
    for plugin in entry_points(group="pytest11"):
        plugin.load()
    importlib.import_module("hypothesis")  # its plugin loads it late
    importlib.import_module("torch._dynamo")  # and an optimiser the compiler
    for path in [ROOT / "tests" / "conftest.py", *tests, *PACKAGE.rglob("*.py")]:
        for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in filter(_is_foreign, names):
                try:
                    foreign = importlib.import_module(name)
                except ImportError:  # of an extra that is not here, such as a tracker
                    continue
                if isinstance(node, ast.ImportFrom):  # transformers loads a name when it is asked
                    [getattr(foreign, alias.name, None) for alias in node.names]


def _is_foreign(name: str) -> bool:
    """Whether a module comes from outside this tree: what is ours is loaded anew by each child."""
    spec = importlib.util.find_spec(name.split(".")[0])
    places = [spec.origin, *(spec.submodule_search_locations or [])] if spec else []
    ours = [ROOT / folder for folder in ("gptlib", "tests", "book", "experiments", "benchmarks")]
    return bool(spec) and not any(Path(p).is_relative_to(o) for p in places if p for o in ours)


def files_for(module: str) -> list[str]:
    """The test files of a module that there are."""
    own = [] if module.startswith("exercises/") else [Path(module).stem]
    names = TESTS.get(module, own)
    files = [ROOT / "tests" / f"test_{name}.py" for name in names]
    return [str(path) for path in files if path.is_file()]


def try_module(
    module: str,
    n: int,
    seed: int,
    tell: bool = False,
    lines: Sequence[int] = (),
    only: str = "",
) -> str:
    """Try n changes of a module; prints what survives, returns its line of the table.

    lines: of those n changes, only the ones of these lines. only: as in `passes`.
    """
    path, tests = PACKAGE / f"{module}.py", files_for(module)
    warm_up(tests)
    order = QuickFirst()

    def computed_by_tests() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        whole, said = passes(tests, None, 3600, order, only)
        if not whole:
            raise SystemExit(f"{module}: its tests fail without any change\n{said[-3000:]}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    limit = 10 + 5 * computed_by_tests()
    source, name = path.read_text(encoding="utf-8"), f"gptlib.{module.replace('/', '.')}"
    listed = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))["equivalent"]
    same = {(entry["module"], entry["on"], entry["change"]) for entry in listed}
    killed, nobody_sees, survived = 0, 0, []
    for change in sample(source, Random(f"{seed} {module}"), n):
        if lines and change.line not in lines:
            continue
        if (module, change.on, change.text) in same:
            nobody_sees += 1
            continue
        hook = HOOK.format(source=ast.unparse(change.tree), path=str(path), name=name)
        passed, said = passes(tests, hook, limit, order, only)
        if passed:
            survived.append(change)
            print(f"  {module}.py:{change.line}  {change.text}", flush=True)
            continue
        killed += 1
        if tell:
            noticed = re.findall(r"^(?:FAILED|ERROR) (\S+)", said, re.MULTILINE)
            by = noticed[0] if noticed else "no test in particular, such as the limit of time"
            print(f"  killed: {module}.py:{change.line}  {change.text}  by {by}", flush=True)
    if not survived:  # else one has passed them all in the order of the changed ones
        computed_by_tests()
    tried = killed + len(survived)
    share = f"{killed / tried:.0%}" if tried else "-"
    return f"{module:22} {tried:5} {killed:6} {share:>6} {nobody_sees:10}"


def modules() -> list[str]:
    """Every module of the package that has tests of its own."""
    found = (path.relative_to(PACKAGE).with_suffix("") for path in sorted(PACKAGE.rglob("*.py")))
    return [str(path) for path in found if path.name != "__init__" and files_for(str(path))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("modules", nargs="*", help="such as attention or corpus/story; all if none")
    parser.add_argument("--changes", type=int, default=40, help="at most so many a module")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lines", nargs="*", type=int, default=(), help="only changes of these")
    parser.add_argument("--only", default="", help="tests of these names, as pytest's -k has them")
    parser.add_argument("--tell", action="store_true", help="which test noticed each change")
    args = parser.parse_args()
    os.chdir(ROOT)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is there, and it must not thread
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = tempfile.mkdtemp()
    sys.path[:0] = [str(ROOT), str(ROOT / "book" / "tools")]
    table = [f"{'module':22} tried killed  share equivalent"]
    for module in args.modules or modules():
        table.append(try_module(module, args.changes, args.seed, args.tell, args.lines, args.only))
        print(table[-1], flush=True)
    print("", *table, sep="\n")


if __name__ == "__main__":
    main()

"""Change one thing in the answer to an exercise: does the exercise's check notice?

    python tests/mutation/answers.py                       # every exercise, every change
    python tests/mutation/answers.py attention.causal_mask

The changes are those of mutants.py, and the exchange of two arguments. Each changed answer is
judged in a forked process, as a learner's would be. What is judged right although it was changed
is listed with its line; changes that nobody can see stand in `equivalent_answers.toml` with the
reason. Argument checks are left as they are: an exercise does not ask for them.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import resource
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import mutants

from gptlib.exercises import work
from gptlib.exercises.book import TASKS
from gptlib.exercises.task import Task, judge
from gptlib.exercises.training_models import load_optimizers

EQUIVALENT = Path(__file__).with_name("equivalent_answers.toml")
SECONDS = 20  # of computing, after which an answer counts as too slow
RIGHT, OTHER = 0, 1


def changed(source: str) -> Iterator[tuple[str, str, str]]:
    """Every change of an answer: the line it is on, what is changed to what, the new source.

    Where two changes of a line read the same, the second has "(2)" behind it.
    """
    times: Counter[tuple[str, str]] = Counter()
    for on, text, new in _changed(source):
        times[on, text] += 1
        n = times[on, text]
        yield on, f"{text} ({n})" if n > 1 else text, new


def _changed(source: str) -> Iterator[tuple[str, str, str]]:
    guarding = lines_of_checks(source)
    for way, node in mutants.nodes_of(ast.parse(source)):
        if not hasattr(node, "lineno") or node.lineno in guarding:
            continue
        for number, _ in enumerate(mutants.changes_of(node)):
            change = mutants.Change(source, way, number)
            yield change.on, change.text, ast.unparse(change.tree)
    for tree, old in exchanged(source):
        new = ast.unparse(tree)
        yield source.split("\n")[old.lineno - 1].strip(), f"arguments of {ast.unparse(old)}", new


def lines_of_checks(source: str) -> set[int]:
    """The lines on which arguments are checked: calls of check_…, and conditions that raise."""
    found = {n for n, line in enumerate(source.split("\n"), 1) if "check_" in line}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.If) and len(node.body) == 1 and isinstance(node.body[0], ast.Raise):
            found |= set(range(node.lineno, (node.body[0].end_lineno or 0) + 1))
    return found


def exchanged(source: str) -> Iterator[tuple[ast.AST, ast.Call]]:
    """The trees in which the first two arguments of a call have changed places."""
    calls = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)]
    for i, old in enumerate(calls):
        if len(old.args) >= 2 and ast.dump(old.args[0]) != ast.dump(old.args[1]):
            tree = ast.parse(source)
            call = [n for n in ast.walk(tree) if isinstance(n, ast.Call)][i]
            call.args[:2] = call.args[1::-1]
            yield tree, copy.deepcopy(old)


def judged_right(task: Task, source: str) -> bool:
    """Whether the check takes this source for a right answer; asked in a child of this process."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = OTHER
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            space = work.space_of([task], TASKS.values())
            answer: Any = work.put_into(space, task, source, "<changed>")
            code = RIGHT if judge(task, answer).state == "right" else OTHER
        finally:
            os._exit(code)
    ends, status = time.monotonic() + 10 * SECONDS, None
    while status is None and time.monotonic() < ends:
        done, found = os.waitpid(child, os.WNOHANG)
        status = found if done else None
        time.sleep(0.002)
    if status is None:
        os.kill(child, 9)
        os.waitpid(child, 0)
    return status == 0


def try_task(task: Task, known: set[tuple[str, str, str]]) -> tuple[int, int, int]:
    """Try every change of a reference: how many were tried, told wrong, and are known as equal."""
    tried = wrong = equal = 0
    for on, text, source in changed(work.source_of(task.reference)):
        if (task.name, on, text) in known:
            equal += 1
            continue
        tried += 1
        if judged_right(task, source):
            print(f"  {task.name}  {on}\n      {text}", flush=True)
        else:
            wrong += 1
    return tried, wrong, equal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="exercises, such as attention.causal_mask")
    names = parser.parse_args().names or list(TASKS)
    load_optimizers()  # or each child would
    listed = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")).get("equivalent", [])
    known = {(entry["task"], entry["on"], entry["change"]) for entry in listed}
    print(f"{'exercise':36} tried wrong equivalent")
    total = [0, 0, 0]
    for name in names:
        counts = try_task(TASKS[name], known)
        total = [a + b for a, b in zip(total, counts, strict=True)]
        print(f"{name:36} {counts[0]:5} {counts[1]:5} {counts[2]:10}", flush=True)
    print(f"{'all':36} {total[0]:5} {total[1]:5} {total[2]:10}")
    sys.exit(total[0] != total[1])


if __name__ == "__main__":
    main()

"""Does the check of an exercise say the same with every seed?

    python tests/mutation/seeds.py                          # every exercise, 200 seeds
    python tests/mutation/seeds.py attention.causal_mask --seeds 1000
    python tests/mutation/seeds.py --seconds 5              # fewer where they take long
    python tests/mutation/seeds.py --seeds 1 --tell         # the table of wrong answers

Every right answer is to be right with each seed, and every wrong one is to hear its own sentence.
`tests/test_exercises.py` asks the same with 10 seeds. What differs is listed with its first seed.
With `--seconds` an exercise gets no new seed once it has computed for so long; at least 20 it gets.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from gptlib.exercises.book import QUESTIONS, TASKS, find
from gptlib.exercises.question import Question, mark
from gptlib.exercises.task import Task, judge

LEAST = 20  # seeds that an exercise gets, however long they take


def of_task(task: Task, seed: int) -> Iterator[tuple[str, bool]]:
    """Each answer that is known, and whether it hears what it should with this seed."""
    for number, answer in enumerate((task.reference, *task.right)):
        yield f"right answer {number}", judge(task, answer, seed).state == "right"
    for mistake in task.mistakes:
        words = judge(task, mistake.made, seed).words
        yield mistake.says, words.startswith(f"not yet. {mistake.says}\n")


def of_question(question: Question, seed: int) -> Iterator[tuple[str, bool]]:
    """The same for values that are typed in."""
    figures = question.figures(seed)
    yield "right answer", mark(question, question.answer(**figures), seed).state == "right"
    for mistake in question.mistakes:
        words = mark(question, mistake.made(**figures), seed).words
        yield mistake.says, words.endswith(mistake.says)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help="exercises, such as attention.causal_mask")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--tell", action="store_true", help="what is said to each answer")
    told = parser.parse_args()
    bad = 0
    print(f"{'exercise':36} answers seeds differ", flush=True)
    for name in told.names or [*TASKS, *QUESTIONS]:
        asked, answers, wrong, tried = find(name), 0, {}, 0
        began = time.process_time()
        for seed in range(told.seeds):
            if seed >= LEAST and time.process_time() - began > told.seconds:
                break
            tried += 1
            of = of_task(asked, seed) if isinstance(asked, Task) else of_question(asked, seed)
            heard = list(of)
            answers = len(heard)
            for what in (what for what, holds in heard if not holds):
                wrong.setdefault(what, seed)
        print(f"{name:36} {answers:7} {tried:5} {len(wrong):6}", flush=True)
        for what, _ in heard if told.tell else ():
            print(f"    {what}")
        for what, seed in wrong.items():
            print(f"    seed {seed}: {what}")
        bad += len(wrong)
    sys.exit(bad != 0)


if __name__ == "__main__":
    main()

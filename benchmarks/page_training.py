"""How fast a page trains the book's GPT, and after how many steps it is 10 % above the floor.

    python book/tasks.py bench page_training

One of the page's choices in node and in Chromium, on one core: the quick recipe, or the book's
with `--choice 1`. In node the processor's own time counts, so that a busy machine changes little;
what is in the matrix product is measured beside it. `--runs 3` makes whole runs in node, by the
scripts of the page, of three seeds from `--seed` on; `--on 2` lets each go on twice when its recipe
is over. The record keeps one run for each recipe and seed. `--whole` trains in Chromium, from a
folder, until the exam's loss is at most 10 % above the floor; training_page.py says what it notes.

    python benchmarks/page_training.py --choice 1 --rounds 0 --seconds 0 --runs 3    # runs alone
    python benchmarks/page_training.py --rounds 0 --whole --slower 4       # the slow page alone
    python benchmarks/page_training.py --rounds 0 --workers 2           # two workers a step
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

from gptlib import corpus
from gptlib.given.files import write_text
from gptlib.tokenizer import BPETokenizer
from gptlib.widgets import LiveTraining

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "book" / "tools"))
from mathset import node_program  # noqa: E402 # the book's own tool
from training_page import in_chromium  # noqa: E402

RESULT = HERE / "results" / "page_training.json"
CLAIM = "a page trains the book's GPT to 10 % above the floor within four minutes"
GOAL, LIMIT = 1.10, 240  # of the floor; seconds
SCRIPT = """
import { readFileSync } from "node:fs";
const { Trainee } = await import(process.argv[1] + "/trainee.js");
const given = JSON.parse(readFileSync(0).toString());
if (given.plain) globalThis.WebAssembly = undefined;
const trainee = new Trainee(given);
const { multiply } = trainee.room;
const used = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1e6; };
for (let k = 0; k < given.steps; k++) trainee.step(); // compiled before the clock starts
let inside = 0;
const rounds = [];
for (let k = 0; k < given.rounds; k++) {
  const before = used();
  for (let i = 0; i < given.steps; i++) trainee.step();
  rounds.push((used() - before) / given.steps);
}
trainee.room.multiply = (...all) => {
  const began = performance.now();
  multiply(...all);
  inside += performance.now() - began;
};
const began = performance.now();
for (let i = 0; i < given.steps; i++) trainee.step();
const share = inside / (performance.now() - began);
console.log(JSON.stringify({ rounds, share, bytes: trainee.room.bytes, node: process.version }));
"""


WHOLE = """
import { readFileSync } from "node:fs";
const { Trainee } = await import(process.argv[1] + "/trainee.js");
const given = JSON.parse(readFileSync(0).toString()), { recipe } = given;
const trainee = new Trainee(given);
const used = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1e6; };
let seconds = 0, goal = null, exam;
while (trainee.steps < recipe.steps) {
  const before = used();
  trainee.step();
  seconds += used() - before;
  if (trainee.steps % 50 && trainee.steps < recipe.steps) continue;
  exam = trainee.exam();
  if (goal === null && exam.loss <= given.goal * exam.floor) goal = trainee.steps;
}
const tell = () => {
  const { loss, floor } = trainee.exam();
  const whole = given.temperatures.map((temperature) => // its own 0.8 where none is given
    Array.from({ length: given.stories }, () => trainee.write(temperature ?? undefined)).filter(({ ok }) => ok).length);
  return { step: trainee.steps, above: loss / floor - 1, whole };
};
const ends = [tell()];
for (let k = 0; k < given.on; k++) {
  do trainee.step(); while (trainee.steps < trainee.end);
  ends.push(tell());
}
console.log(JSON.stringify({ seconds, goal, ends }));
"""  # noqa: E501
STORIES = 50  # written at each temperature when a whole run is over
TEMPERATURES = {"1": 1, "page": None}  # None: the page's own


def wanted(widget: LiveTraining) -> dict[str, Any]:
    """What a trainee asks for, apart from seed and exam."""
    chosen = widget.chosen
    return {
        "config": chosen["config"], "recipe": chosen["recipe"], "tokenizer": widget.tokenizer,
        "key": json.loads(widget.key_data),
    }  # fmt: skip


def tokens_a_step(widget: LiveTraining) -> int:
    return widget.chosen["recipe"]["batch_size"] * widget.chosen["config"]["context_length"]


def run_script(script: str, given: dict[str, Any]) -> Any:
    """What a script prints as JSON; it finds the widgets' folder as its argument."""
    folder = (HERE.parent / "gptlib" / "widgets").as_uri()
    command = [node_program(), "--input-type=module", "--eval", script, folder]
    answer = subprocess.run(
        command, input=json.dumps(given).encode(), capture_output=True, check=False
    )
    if answer.returncode:
        raise SystemExit(answer.stderr.decode())
    return json.loads(answer.stdout)


def whole_run(widget: LiveTraining, seed: int, on: int = 0) -> dict[str, Any]:
    """A run in node, from random weights to the recipe's end, and so many times on."""
    given = {
        **wanted(widget), "seed": seed, "exam": 100, "goal": GOAL, "stories": STORIES, "on": on,
        "temperatures": list(TEMPERATURES.values()),
    }  # fmt: skip
    got, recipe, tokens = run_script(WHOLE, given), widget.chosen["recipe"], tokens_a_step(widget)
    first, *later = [
        {
            "steps": one["step"], "above_floor": round(one["above"], 4),
            "well_formed": {
                name: n / STORIES for name, n in zip(TEMPERATURES, one["whole"], strict=True)
            },
        }
        for one in got["ends"]
    ]  # fmt: skip
    return {
        "name": widget.chosen["name"], "seed": seed, **first, "went_on": later,
        "steps_to_goal": got["goal"], "tokens_to_goal": got["goal"] and got["goal"] * tokens,
        "tokens_per_second": round(tokens * recipe["steps"] / got["seconds"]),
    }  # fmt: skip


def kept(runs: list[dict[str, Any]], found: dict[str, Any]) -> list[dict[str, Any]]:
    """The recorded runs with this one, one for each recipe and seed."""
    which = {(run["name"], run["seed"]): run for run in [*runs, found]}
    return [which[key] for key in sorted(which)]


def in_node(widget: LiveTraining, rounds: int, steps: int, plain: bool) -> dict[str, Any]:
    """Seconds of processor time a step, and the share of the product in it."""
    given = {
        **wanted(widget), "seed": 0, "exam": 8, "plain": plain, "rounds": rounds, "steps": steps,
    }  # fmt: skip
    got = run_script(SCRIPT, given)
    tokens = tokens_a_step(widget)
    middle = statistics.median(got["rounds"])
    return {
        "ms_a_step": round(1000 * middle), "tokens_per_second": round(tokens / middle),
        "share_of_product": round(got["share"], 2), "mb": round(got["bytes"] / 1e6, 1),
        "node": got["node"],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--choice", type=int, default=0, help="of the page's models, from 0")
    parser.add_argument("--rounds", type=int, default=5, help="in node; 0: none")
    parser.add_argument("--steps", type=int, default=10, help="steps in a round")
    parser.add_argument(
        "--seconds", type=float, default=20, help="of training in Chromium; 0: none"
    )
    parser.add_argument("--slower", type=float, default=1, help="stop Chromium's page in between")
    parser.add_argument("--workers", type=int, default=1, help="that share a step in Chromium")
    parser.add_argument("--runs", type=int, default=0, help="whole runs in node, so many seeds")
    parser.add_argument("--seed", type=int, default=0, help="the first of them")
    parser.add_argument("--on", type=int, default=0, help="so many times, each of them goes on")
    parser.add_argument("--whole", action="store_true", help="train to 10 %% above the floor")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    if min(args.steps, args.slower) < 1 or min(args.rounds, args.seconds, args.runs, args.on) < 0:
        parser.error(
            "--steps and --slower must be 1 or more, --rounds, --seconds, --runs, --on 0 or more"
        )
    text = corpus.load("stories", n=3000)
    tokenizer = BPETokenizer.train(text, 1536, special_tokens=[corpus.END])
    widget = LiveTraining(tokenizer, choice=args.choice, workers=args.workers)

    def keep(**found: Any) -> None:
        """Into the record at once; what was not asked for this time stays."""
        old = json.loads(args.out.read_text(encoding="utf-8")) if args.out.exists() else {}
        if "run" in found:
            found = {"runs": kept(old.get("runs", []), found["run"])}
        told = {"claim": CLAIM, "limit_seconds": LIMIT, **old, **found}
        told |= {"date": date.today().isoformat(), "machine": platform.machine()}
        write_text(args.out, json.dumps(told, indent=2) + "\n")

    for name, plain in (("simd", False), ("plain", True)) if args.rounds else ():
        rounds, steps = (1, max(1, args.steps // 5)) if plain else (args.rounds, args.steps)
        found = in_node(widget, rounds, steps, plain)
        keep(**{name: found})
        print(
            f"node, {name}: {found['tokens_per_second']:,} tokens a second of processor time, "
            f"{found['ms_a_step']} ms a step, {found['share_of_product']:.0%} in the product"
        )
    if args.seconds or args.whole:
        shared = "" if args.workers == 1 else f"shared_{args.workers}_"
        page = f"{shared}{'' if args.slower == 1 else 'slow_'}{'whole_' if args.whole else ''}page"
        found = in_chromium(
            widget, 20 * LIMIT if args.whole else args.seconds, args.slower, args.whole and GOAL
        )
        keep(**{page: found})
        print(said_of_page(found))
    for seed in range(args.seed, args.seed + args.runs):
        found = whole_run(widget, seed, args.on)
        keep(run=found)
        print(said_of_run(found))


def said_of_run(found: dict[str, Any]) -> str:
    told, written = [found, *found["went_on"]], found["well_formed"]
    above = ", ".join(f"{one['above_floor']:.1%} at step {one['steps']}" for one in told)
    return (
        f"seed {found['seed']}: 10 % above the floor after {found['steps_to_goal']} of "
        f"{found['steps']} steps, {above}; of {STORIES} stories {written['1']:.0%} whole, "
        f"{written['page']:.0%} as the page writes; {found['tokens_per_second']:,} tokens a second"
    )


def said_of_page(found: dict[str, Any]) -> str:
    return (
        f"Chromium, stopped to be {found['slower']:g} times slower: "
        f"{found['tokens_per_second']:,} tokens a second by the clock, "
        f"{found['tokens_per_second_of_processor']:,} of processor time; step {found['steps']} and "
        f"loss {found['exam']} after {found['seconds']} s on {found['share_of_a_core']:.2f} of a "
        f"core, floor {found['floor']:.3f}; the page's "
        f"own thread ran scripts {found['page_script_share']:.1%} of the time, its longest task "
        f"took {found['longest_task_ms']} ms; {found['mb_at_most']} MB at most"
    )


if __name__ == "__main__":
    main()

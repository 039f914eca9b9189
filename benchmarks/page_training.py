"""How fast a page trains the book's GPT, and after how many steps it is 10 % above the floor.

    python book/tasks.py bench page_training

The first of the page's choices, the quick recipe, in node and in Chromium, on one core. In node the
processor's own time counts, so that a busy machine changes little; what is in the matrix product is
measured beside it. `--runs 3` makes whole runs in node, three seeds of the quick recipe, by the
scripts of the page. `--whole` trains in Chromium, from a folder, until the exam's loss is at most
10 % above the floor.

In Chromium three things are noted beside tokens a second, by the clock and by the processor's time:
the most memory that the page's process held, the share of the time that the page's own thread ran
scripts, and the long tasks of that thread (of 50 ms or more; by the clock, so a busy machine makes
some). `--slower 4` stops the whole process of the page three quarters of the time. Chromium can
emulate slow processors itself, but then it slows the page's own thread alone, and no worker.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import date
from pathlib import Path
from typing import Any

from gptlib import corpus
from gptlib.given.files import write_text
from gptlib.tokenizer import BPETokenizer
from gptlib.widgets import LiveTraining

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "book" / "tools"))
import alive  # noqa: E402 # the book's own tool
from mathset import node_program  # noqa: E402

RESULT = HERE / "results" / "page_training.json"
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
# Seconds of training, steps and exam of a page that trains, as its own words have them.
READ = """() => {
    const said = document.querySelector(".gpt-widget .gw-facts").textContent.replaceAll(",", "");
    const number = (pattern) => Number((said.match(pattern) ?? [])[1] ?? NaN);
    return [number(/Step (\\d+)/), number(/exam (\\d+\\.?\\d*)/), number(/(\\d+) tokens a second/)];
}"""


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
const whole = Array.from({ length: given.stories }, () => trainee.write(1)).filter(({ ok }) => ok).length;
console.log(JSON.stringify({ seconds, goal, above: exam.loss / exam.floor - 1, skills: exam.skills, whole }));
"""  # noqa: E501
STORIES = 50  # written at temperature 1 when a whole run is over


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


def whole_run(widget: LiveTraining, seed: int) -> dict[str, Any]:
    """A run in node, from random weights to the recipe's end."""
    given = {**wanted(widget), "seed": seed, "exam": 100, "goal": GOAL, "stories": STORIES}
    got, recipe, tokens = run_script(WHOLE, given), widget.chosen["recipe"], tokens_a_step(widget)
    return {
        "name": widget.chosen["name"], "seed": seed, "steps": recipe["steps"],
        "steps_to_goal": got["goal"], "tokens_to_goal": got["goal"] and got["goal"] * tokens,
        "above_floor": round(got["above"], 4), "well_formed": got["whole"] / STORIES,
        "tokens_per_second": round(tokens * recipe["steps"] / got["seconds"]),
    }  # fmt: skip


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


def spent(process: int) -> float:
    """Seconds of processor time of all its threads so far."""
    after_name = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


class Process:
    """The page's process, the one that works hardest; and a brake for all of its threads."""

    def __init__(self, browser: Any, slower: float):
        told = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
        pages = [one["id"] for one in told["processInfo"] if one["type"] == "renderer"]
        before = {one: spent(one) for one in pages}
        time.sleep(2)
        self.id = max(pages, key=lambda one: spent(one) - before[one])
        self.slower, self.over = slower, threading.Event()
        self.brake = threading.Thread(target=self.stop_and_go)
        self.brake.start()

    def stop_and_go(self) -> None:
        while self.slower > 1 and not self.over.is_set():
            os.kill(self.id, signal.SIGSTOP)
            time.sleep(0.02 * (1 - 1 / self.slower))
            os.kill(self.id, signal.SIGCONT)
            time.sleep(0.02 / self.slower)

    def end(self) -> None:
        self.over.set()
        self.brake.join()

    def megabytes(self) -> float:
        """The most memory that it has held."""
        lines = Path(f"/proc/{self.id}/status").read_text(encoding="utf-8").splitlines()
        return next(int(one.split()[1]) / 1000 for one in lines if one.startswith("VmHWM"))


NOTE_TASKS = """window.tasks = [];
new PerformanceObserver((list) => {
    window.tasks.push(...list.getEntries().map((one) => one.duration));
}).observe({ type: "longtask" });"""


def in_chromium(widget: LiveTraining, seconds: float, slower: float, whole: bool) -> dict[str, Any]:
    """The page's own figures after so many seconds, or where the goal is reached."""
    from playwright.sync_api import sync_playwright

    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    if not program:
        raise SystemExit("This needs a Chromium: install one, or name it in CHROMIUM.")
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 1000})
        static = Path(folder, "_static")
        static.mkdir()
        body = f"<!DOCTYPE html><html><head></head><body>{alive.standing(widget)}</body></html>"
        text = alive.with_widgets(body, "", static)
        Path(folder, "page.html").write_text(text, encoding="utf-8")
        page.goto(Path(folder, "page.html").as_uri())
        page.wait_for_selector(".gpt-widget")
        tools = page.context.new_cdp_session(page)
        tools.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.evaluate(NOTE_TASKS)
        page.get_by_role("button", name="train").click()
        started = time.monotonic()
        page.locator(".gw-facts", has_text="Step").wait_for()
        process = Process(browser, slower)
        first, used, seen = page.evaluate(READ)[0], spent(process.id), [float("nan")] * 3
        while time.monotonic() - started < (20 * LIMIT if whole else seconds):
            page.wait_for_timeout(500)
            seen = page.evaluate(READ)
            if whole and seen[1] <= GOAL * widget.floor:
                break
        past, used = time.monotonic() - started, spent(process.id) - used
        process.end()
        metrics = tools.send("Performance.getMetrics")["metrics"]
        script = next(one["value"] for one in metrics if one["name"] == "ScriptDuration")
        tasks, most = page.evaluate("window.tasks"), process.megabytes()
        version = browser.version
        browser.close()
    return {
        "seconds": round(past, 1), "steps": seen[0], "exam": seen[1], "floor": widget.floor,
        "tokens_per_second": seen[2],
        "tokens_per_second_of_processor": round((seen[0] - first) * tokens_a_step(widget) / used),
        "page_script_share": round(script / past, 4), "long_tasks": len(tasks),
        "tasks_above_60_ms": sum(task > 60 for task in tasks),
        "longest_task_ms": round(max(tasks, default=0)), "mb_at_most": round(most),
        "slower": slower, "chromium": version,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="steps in a round")
    parser.add_argument(
        "--seconds", type=float, default=20, help="of training in Chromium; 0: none"
    )
    parser.add_argument("--slower", type=float, default=1, help="stop Chromium's page in between")
    parser.add_argument("--runs", type=int, default=0, help="whole runs in node, so many seeds")
    parser.add_argument("--whole", action="store_true", help="train to 10 %% above the floor")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    if min(args.rounds, args.steps, args.slower) < 1 or min(args.seconds, args.runs) < 0:
        parser.error(
            "--rounds, --steps, --slower must be 1 or more, --seconds and --runs 0 or more"
        )
    text = corpus.load("stories", n=3000)
    widget = LiveTraining(BPETokenizer.train(text, 1536, special_tokens=[corpus.END]))
    result: dict[str, Any] = {
        "claim": "a page trains the book's GPT to 10 % above the floor within four minutes",
        "limit_seconds": LIMIT,
    }
    for name, plain in (("simd", False), ("plain", True)):
        rounds, steps = (1, max(1, args.steps // 5)) if plain else (args.rounds, args.steps)
        found = result[name] = in_node(widget, rounds, steps, plain)
        print(
            f"node, {name}: {found['tokens_per_second']:,} tokens a second of processor time, "
            f"{found['ms_a_step']} ms a step, {found['share_of_product']:.0%} in the product"
        )
    if args.seconds or args.whole:
        page = "page" if args.slower == 1 else "slow_page"
        found = result[page] = in_chromium(widget, args.seconds, args.slower, args.whole)
        print(said_of_page(found))
    for seed in range(args.runs):
        found = whole_run(widget, seed)
        result["runs"] = [*result.get("runs", []), found]
        print(
            f"seed {seed}: 10 % above the floor after {found['steps_to_goal']} of "
            f"{found['steps']} steps, {found['above_floor']:.1%} at the end; of {STORIES} stories "
            f"{found['well_formed']:.0%} whole; {found['tokens_per_second']:,} tokens a second"
        )
    result |= {"date": date.today().isoformat(), "machine": platform.machine()}
    if args.out.exists():  # what was not asked for this time stays
        result = json.loads(args.out.read_text(encoding="utf-8")) | result
    write_text(args.out, json.dumps(result, indent=2) + "\n")


def said_of_page(found: dict[str, Any]) -> str:
    return (
        f"Chromium, stopped to be {found['slower']:g} times slower: "
        f"{found['tokens_per_second']:,} tokens a second by the clock, "
        f"{found['tokens_per_second_of_processor']:,} of processor time; step {found['steps']} and "
        f"loss {found['exam']} after {found['seconds']} s, floor {found['floor']:.3f}; the page's "
        f"own thread ran scripts {found['page_script_share']:.1%} of the time, its longest task "
        f"took {found['longest_task_ms']} ms; {found['mb_at_most']} MB at most"
    )


if __name__ == "__main__":
    main()

"""How fast a page trains the book's GPT: tokens a second, and the time to 10 % above the floor.

    python book/tasks.py bench page_training

The book's model and recipe, from random weights, in node and in Chromium, on one core. In node the
processor's own time counts, so that a busy machine changes little; what is in the matrix product is
measured beside it. `--whole` trains in Chromium, from a folder, until the exam's loss is at most
10 % above the floor; `--slower 4` asks Chromium to slow its processor down as for a telephone's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
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


def in_node(widget: LiveTraining, rounds: int, steps: int, plain: bool) -> dict[str, Any]:
    """Seconds of processor time a step, and the share of the product in it."""
    given = {
        "config": widget.chosen["config"], "recipe": widget.chosen["recipe"], "tokenizer": widget.tokenizer,
        "key": json.loads(widget.key_data), "seed": 0, "exam": 8, "plain": plain,
        "rounds": rounds, "steps": steps,
    }  # fmt: skip
    folder = (HERE.parent / "gptlib" / "widgets").as_uri()
    command = [node_program(), "--input-type=module", "--eval", SCRIPT, folder]
    answer = subprocess.run(
        command, input=json.dumps(given).encode(), capture_output=True, check=False
    )
    if answer.returncode:
        raise SystemExit(answer.stderr.decode())
    got = json.loads(answer.stdout)
    tokens = widget.chosen["recipe"]["batch_size"] * widget.chosen["config"]["context_length"]
    middle = statistics.median(got["rounds"])
    return {
        "ms_a_step": round(1000 * middle), "tokens_per_second": round(tokens / middle),
        "share_of_product": round(got["share"], 2), "mb": round(got["bytes"] / 1e6, 1),
        "node": got["node"],
    }  # fmt: skip


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
        tools.send("Emulation.setCPUThrottlingRate", {"rate": slower})
        page.get_by_role("button", name="train").click()
        waited, seen = 0.0, [float("nan")] * 3
        frames = page.evaluate("performance.now()")
        while waited < (20 * LIMIT if whole else seconds):
            page.wait_for_timeout(500)
            waited += 0.5
            seen = page.evaluate(READ)
            if whole and seen[1] <= GOAL * widget.floor:
                break
        metrics = tools.send("Performance.getMetrics")["metrics"]
        script = next(one["value"] for one in metrics if one["name"] == "ScriptDuration")
        past = (page.evaluate("performance.now()") - frames) / 1000
        version = browser.version
        browser.close()
    return {
        "seconds": round(past, 1), "steps": seen[0], "exam": seen[1], "floor": widget.floor,
        "tokens_per_second": seen[2], "page_script_share": round(script / past, 4),
        "slower": slower, "chromium": version,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10, help="steps in a round")
    parser.add_argument(
        "--seconds", type=float, default=20, help="of training in Chromium; 0: none"
    )
    parser.add_argument("--slower", type=float, default=1, help="how many times, in Chromium")
    parser.add_argument("--whole", action="store_true", help="train to 10 %% above the floor")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    if min(args.rounds, args.steps, args.slower) < 1 or args.seconds < 0:
        parser.error("--rounds, --steps and --slower must be 1 or more, --seconds 0 or more")
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
        found = result["page"] = in_chromium(widget, args.seconds, args.slower, args.whole)
        print(
            f"Chromium, slowed {args.slower:g} times: {found['tokens_per_second']:,} tokens a "
            f"second; step {found['steps']} and loss {found['exam']} after {found['seconds']} s, "
            f"floor {found['floor']:.3f}; the page's own thread was busy "
            f"{found['page_script_share']:.1%} of the time"
        )
    result |= {"date": date.today().isoformat(), "machine": platform.machine()}
    write_text(args.out, json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""How long the explorers compute at each move of a control, on a processor throttled four times.

    python book/tasks.py bench slow_page

Each explorer stands alone in a page, in Chromium, whose processor is slowed down by its own
developer tools, as for a cheap telephone. Each control (a slider, a choice, a box, a field, a
button) is moved many times, a frame between two moves, in several rounds; the median round counts.
A screen that shows 60 pictures a second leaves 16 ms; the scripts of a move should need less.
Beside them stand styles and layout, the browser's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import torch

from gptlib import corpus
from gptlib.corpus import stories
from gptlib.given.files import write_text
from gptlib.given.records import load_recorded
from gptlib.gpt import GPT, GPTConfig
from gptlib.tokenizer import BPETokenizer, CharTokenizer
from gptlib.widgets import AttentionExplorer, DistributionExplorer, SignalExplorer

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "book" / "tools"))
import alive  # noqa: E402 # the book's own tool

RESULT = HERE / "results" / "slow_page.json"
BUDGET = 16  # milliseconds
COUNTED = ("ScriptDuration", "RecalcStyleDuration", "LayoutDuration")
ROUNDS = 3
# A button that does nothing twice is pressed in turn with the one beside it that makes it useful.
TURNS = {
    "clear": "draw 1,000", "more tokens": "fewer", "after training": "before training",
    "3 · 3": "0 · 0",
}  # fmt: skip
IDLE = re.compile(r"fewer|before training|back to the start|\d · \d")  # the others of these
# The controls that can be used, and behind them the token that looks; not what sets training going.
FIND = """() => {
    const root = document.querySelector(".gpt-widget");
    const all = [...root.querySelectorAll("input, select, textarea, button:not(.gw-token)")];
    const named = (x) => {
        const label = x.closest("label") ?? x;
        return (label.querySelector(".gw-name") ?? label).textContent.trim();
    };
    const quick = (x) => x.offsetParent && !named(x).startsWith("train");
    window.controls = all.filter(quick);
    const token = root.querySelector(".gw-token[tabindex='0']");
    return [...window.controls.map(named), ...(token ? ["token that looks"] : [])];
}"""
# Control i is moved so many times, by what its kind takes.
MOVE = """async ([i, other, times]) => {
    const frame = () => new Promise(done => requestAnimationFrame(() => setTimeout(done)));
    const input = window.controls[i];
    const tell = (kind) => input.dispatchEvent(new Event(kind, { bubbles: true }));
    for (let k = 0; k < times; k++) {
        if (!input) {
            const key = k % 20 < 10 ? "ArrowLeft" : "ArrowRight";
            const token = document.querySelector(".gpt-widget .gw-token[tabindex='0']");
            token.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
        } else if (input.type === "range") {
            const [low, high] = [Number(input.min), Number(input.max)];
            input.value = low + (high - low) * (k % 10 + 1) / 10;
            tell("input");
        } else if (input.tagName === "SELECT") {
            input.selectedIndex = (input.selectedIndex + 1) % input.length;
            tell("change");
        } else if (input.tagName === "BUTTON" || input.type === "checkbox") {
            (k % 2 && other >= 0 ? window.controls[other] : input).click();
        } else {
            input.value = k % 2 ? input.value.slice(0, -1) : input.value + input.value[0];
            tell("input");
        }
        await frame();
    }
}"""


def explorers() -> dict[str, Any]:
    """What is measured, in sizes of the chapters: stacks, places and tokens, heads and a text."""
    dearest = {"depth": 64, "activation": "tanh", "norm": "post", "shortcut": True}
    found: dict[str, Any] = {"signals": SignalExplorer(), "norms": SignalExplorer(**dearest)}
    for places, tokens in ((2, 1536), (60, 60)):
        logits = torch.randn(places, tokens, generator=torch.Generator().manual_seed(0)) * 3
        names = [f"t{i}" for i in range(tokens)], [f"p{i}" for i in range(places)]
        found[f"{places} × {tokens}"] = DistributionExplorer(logits, *names)
        if tokens > 1000:
            found["10,000 drawn"] = DistributionExplorer(logits, *names, n_samples=10_000)
    torch.manual_seed(0)
    text = stories(1, seed=1)[0].text[:120]
    config = GPTConfig.preset("stories", vocab_size=64)
    found["attention"] = AttentionExplorer(GPT(config), text, CharTokenizer(text), numbers="int8")
    book = GPT(GPTConfig.preset("stories"))
    load_recorded(book, "stories")
    known = corpus.load("stories", n=3000)
    tokenizer = BPETokenizer.train(known, book.config.vocab_size, special_tokens=[corpus.END])
    found["two models"] = AttentionExplorer(
        {"before training": GPT(book.config), "after training": book},
        text, tokenizer, shown=1, numbers="int8",
    )  # fmt: skip
    return found


def page_of(widget: Any, folder: Path) -> str:
    """A page with this widget alone; its address."""
    static = folder / "_static"
    static.mkdir(parents=True)
    body = f"<!DOCTYPE html><html><head></head><body>{alive.standing(widget)}</body></html>"
    (folder / "page.html").write_text(alive.with_widgets(body, "", static), encoding="utf-8")
    return (folder / "page.html").as_uri()


def measure(slower: float, times: int) -> dict[str, Any]:
    """Milliseconds a move, by explorer and control: in scripts, and in styles and layout."""
    from playwright.sync_api import sync_playwright

    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    if not program:
        raise SystemExit("This needs a Chromium: install one, or name it in CHROMIUM.")
    found: dict[str, dict[str, list[float]]] = {}
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for name, widget in explorers().items():
            page = browser.new_page(viewport={"width": 1000, "height": 1000})
            page.set_default_timeout(120_000)
            page.goto(page_of(widget, Path(folder, name)))
            page.wait_for_selector(".gpt-widget")
            tools = page.context.new_cdp_session(page)
            tools.send("Performance.enable", {"timeDomain": "threadTicks"})  # not of other programs
            tools.send("Emulation.setCPUThrottlingRate", {"rate": slower})
            found[name] = {}
            labels = page.evaluate(FIND)
            for i, label in enumerate(labels):
                if label not in TURNS and IDLE.fullmatch(label):
                    continue
                other = labels.index(TURNS[label]) if label in TURNS else -1
                page.evaluate(MOVE, [i, other, 6])  # compiled before the clock starts
                rounds = []
                for _ in range(ROUNDS):
                    before = clock(tools)
                    page.evaluate(MOVE, [i, other, times])
                    rounds.append([z - a for a, z in zip(before, clock(tools), strict=True)])
                script, style, layout = (
                    1000 * statistics.median(part) / times for part in zip(*rounds, strict=True)
                )
                found[name][label] = [round(script, 2), round(style + layout, 2)]
            page.close()
        version = browser.version
        browser.close()
    return {
        "claim": "the scripts of a move leave time for 60 pictures a second",
        "slower": slower,
        "budget_ms": BUDGET,
        "ms_a_move": found,
        "columns": ["scripts", "styles and layout"],
        "moves": times,
        "date": date.today().isoformat(),
        "versions": {"chromium": version, "machine": platform.machine()},
    }


def clock(tools: Any) -> list[float]:
    """Seconds that the page has computed so far, in scripts, styles and layout."""
    metrics = tools.send("Performance.getMetrics")["metrics"]
    values = {metric["name"]: metric["value"] for metric in metrics}
    return [values[name] for name in COUNTED]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--slower", type=float, default=4, help="how many times slower")
    parser.add_argument("--moves", type=int, default=20, help="of each control in a round")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    if args.slower < 1 or args.moves < 1:
        parser.error("--slower and --moves must be 1 or more")
    result = measure(args.slower, args.moves)
    for name, controls in result["ms_a_move"].items():
        for label, (script, rest) in controls.items():
            print(
                f"{name:10} {label:21} {script:6.2f} ms in scripts,"
                f" {script / BUDGET:5.2f} of {BUDGET} ms; {rest:6.2f} beside them"
            )
    write_text(args.out, json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

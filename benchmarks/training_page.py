"""A page that trains, in Chromium: how fast it is, what it holds, how a slow processor does.

page_training.py asks it. Beside tokens a second, by the clock and by the processor's time, it notes
the share of a core that the page's process got, the most memory that it held, the share of the time
that the page's own thread ran scripts, and the long tasks of that thread (of 50 ms or more; by the
clock, so a busy machine makes some). To be slow, the page's whole process is stopped for a part of
the time, from before the training begins. Chromium can emulate slow processors itself, but then it
slows the page's own thread alone, and no worker.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anywidget

from gptlib.widgets import LiveTraining

sys.path.append(str(Path(__file__).resolve().parent.parent / "book" / "tools"))
import alive  # the book's own tool

# Seconds of training, steps and exam of a page that trains, as its own words have them.
READ = """() => {
    const said = document.querySelector(".gpt-widget .gw-facts").textContent.replaceAll(",", "");
    const number = (pattern) => Number((said.match(pattern) ?? [])[1] ?? NaN);
    return [number(/Step (\\d+)/), number(/exam (\\d+\\.?\\d*)/), number(/(\\d+) tokens a second/)];
}"""


def spent(process: int) -> float:
    """Seconds of processor time of all its threads so far."""
    after_name = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


# Half a second of work, to tell the page's process from others.
WORK = "() => { const end = performance.now() + 500; while (performance.now() < end); }"


class Process:
    """The page's process, the one that works when it should; and a brake for all its threads."""

    def __init__(self, browser: Any, page: Any, slower: float):
        told = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
        pages = [one["id"] for one in told["processInfo"] if one["type"] == "renderer"]
        before = {one: spent(one) for one in pages}
        page.evaluate(WORK)
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
PATIENCE = 120_000  # milliseconds: until a slow page has made its first step


def seconds_of_scripts(tools: Any) -> float:
    """Of the page's own thread so far."""
    metrics = tools.send("Performance.getMetrics")["metrics"]
    return next(one["value"] for one in metrics if one["name"] == "ScriptDuration")


@contextmanager
def opened(widget: anywidget.AnyWidget) -> Iterator[tuple[Any, Any, Any]]:
    """A widget in a page of its own in Chromium: the browser, the page, and its tools' session.

    The tools tell the seconds of the page's own thread.
    """
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
        yield browser, page, tools
        browser.close()


def in_chromium(widget: LiveTraining, seconds: float, slower: float, goal: float) -> dict[str, Any]:
    """The page's own figures after so many seconds, or where the exam is `goal` times the floor."""
    with opened(widget) as (browser, page, tools):
        process = Process(browser, page, slower)
        page.evaluate(NOTE_TASKS)
        scripts = seconds_of_scripts(tools)
        page.get_by_role("button", name="train").click()
        started = time.monotonic()
        page.locator(".gw-facts", has_text="Step").wait_for(timeout=PATIENCE)
        began, first, used = time.monotonic(), page.evaluate(READ)[0], spent(process.id)
        seen = [float("nan")] * 3
        while time.monotonic() - started < seconds:
            page.wait_for_timeout(500)
            seen = page.evaluate(READ)
            over = page.get_by_role("button", name="go on").count()  # the recipe
            if over or seen[1] <= goal * widget.floor:
                break
        now, used = time.monotonic(), spent(process.id) - used
        process.end()
        scripts, past = seconds_of_scripts(tools) - scripts, now - started
        tasks, most = page.evaluate("window.tasks"), process.megabytes()
        version = browser.version
    chosen = widget.chosen
    tokens = chosen["recipe"]["batch_size"] * chosen["config"]["context_length"]
    return {
        "name": chosen["name"], "seconds": round(past, 1), "steps": seen[0], "exam": seen[1],
        "floor": widget.floor,
        "tokens_per_second": seen[2],
        "tokens_per_second_of_processor": round((seen[0] - first) * tokens / used),
        "share_of_a_core": round(used / (now - began), 3),
        "page_script_share": round(scripts / past, 4), "long_tasks": len(tasks),
        "tasks_above_60_ms": sum(task > 60 for task in tasks),
        "longest_task_ms": round(max(tasks, default=0)), "mb_at_most": round(most),
        "slower": slower, "workers": widget.workers, "chromium": version,
    }  # fmt: skip

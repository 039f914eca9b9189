"""How soon a page of the built book shows its text on a slow line, and what it weighs.

    python book/tasks.py bench first_paint

Each page of `_build/html` is opened in a Chromium with an empty cache, from a server that packs
texts and keeps connections, as public hosts of pages do. The line carries 1.6 Mbit/s and takes
150 ms there and back. The first paint is Chromium's own "first contentful paint", the median of
several visits; the weight is what all requests transferred until the page was loaded.

There is no peer but the line itself: `line_seconds` is how long it needs for the page's weight
alone. The aim is a first paint under 2 s, and at most 1.5 MB.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
from datetime import date
from pathlib import Path
from typing import Any

from gptlib.given.files import write_text

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "book" / "tools"), str(ROOT / "tests" / "browser")]

from looking import FLAGS, Packing, pages_of, serve  # noqa: E402
from pdf import find_browser  # noqa: E402

RESULT = Path(__file__).parent / "results" / "first_paint.json"
BYTES_A_SECOND, ROUND_TRIP = 200_000, 150  # 1.6 Mbit/s, milliseconds
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
WEIGHT = """[...performance.getEntriesByType('resource'),
    ...performance.getEntriesByType('navigation')].reduce((n, e) => n + e.transferSize, 0)"""


def visit(browser: Any, address: str) -> tuple[float, int]:
    """Milliseconds to the first paint of a page, and the bytes that it took."""
    context = browser.new_context(viewport={"width": 390, "height": 800})
    page = context.new_page()
    wire = context.new_cdp_session(page)
    wire.send("Network.enable")
    limits = {"downloadThroughput": BYTES_A_SECOND, "uploadThroughput": BYTES_A_SECOND}
    wire.send(
        "Network.emulateNetworkConditions", {"offline": False, "latency": ROUND_TRIP, **limits}
    )
    page.goto(address, wait_until="load", timeout=120_000)
    page.wait_for_function(f"{PAINTED} !== undefined")
    painted, weight = page.evaluate(PAINTED), page.evaluate(WEIGHT)
    context.close()
    return painted, weight


def measure(folder: Path, pages: list[str], visits: int, program: str) -> dict[str, Any]:
    """For each page its seconds to the first paint, its weight, and the line's own seconds."""
    from playwright.sync_api import sync_playwright

    server, root = serve(folder, Packing)
    found: dict[str, Any] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        for page in pages:
            seen = [visit(browser, f"{root}/{page}") for _ in range(visits)]
            weight = max(bytes_ for _, bytes_ in seen)
            found[page] = {
                "first_paint": round(statistics.median(ms for ms, _ in seen) / 1000, 2),
                "bytes": weight,
                "line_seconds": round(weight / BYTES_A_SECOND, 2),
            }
            print(page, found[page], flush=True)
        about = browser.version
        browser.close()
    server.shutdown()
    return {"pages": found, "chromium": about}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--html", type=Path, default=ROOT / "_build" / "html", help="built book")
    parser.add_argument("--visits", type=int, default=3)
    parser.add_argument("--pages", nargs="*", help="instead of all of them")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    program = find_browser()
    if not program:
        sys.exit("no Chromium or Chrome to measure with: install one, or name it in CHROMIUM=...")
    if not (args.html / "index.html").exists():
        sys.exit(f"no built book in {args.html}: run `python book/tasks.py book --no-serve` first")
    pages = args.pages or [p for p in pages_of(args.html) if p.startswith(("book/", "chapters/"))]
    figures = measure(args.html, pages, args.visits, program)
    about = {"date": date.today().isoformat(), "python": platform.python_version()}
    write_text(args.out, json.dumps({**about, **figures}, indent=1) + "\n")
    slow = [page for page, one in figures["pages"].items() if one["first_paint"] > 2]
    print(f"{len(pages)} pages, {len(slow)} with a first paint after 2 s: {slow}")


if __name__ == "__main__":
    main()

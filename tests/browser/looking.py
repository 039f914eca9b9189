"""What the browser tests share: a server of the built book, its pages, and the browser's flags."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pdf

LOOPBACK = ("127.0.0.1", "localhost")
# A second lock beside the routing of the tests: every name but this computer's resolves to nothing.
FLAGS = [*pdf.FLAGS, "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"]
AXE = Path(__file__).parents[2] / "book" / "node_modules" / "axe-core" / "axe.min.js"
NARROW, WIDE = 360, 1400
PATIENCE = 120_000  # milliseconds: a busy machine is slow, and that is no fault of a page
# What axe's objects hold lies in WeakMaps, and that took over half of its time. While its script
# is read, there are ones that keep all in the objects themselves; what it finds is the same.
READ_AXE = """script => {
    const ours = window.WeakMap;
    window.WeakMap = class {
        #key = Symbol();
        has(at) { return Object.hasOwn(at, this.#key); }
        get(at) { return this.has(at) ? at[this.#key] : undefined; }
        set(at, value) { at[this.#key] = value; return this; }
        delete(at) { return this.has(at) && delete at[this.#key]; }
    };
    try { (0, eval)(script); } finally { window.WeakMap = ours; }
}"""
# Opens every fold of a page, and waits until the page has taken notice.
UNFOLD = """new Promise(done => {
    document.querySelectorAll('main details').forEach(d => { d.open = true });
    setTimeout(done, 300);
})"""
# Scrolls to each widget of a page and stays until it is drawn, then back to the top; says what
# failed. It gives up after six hundred frames: a busy machine has fewer of them in a second.
WAKE = """async () => {
    const drawn = (figure) => figure.previousElementSibling?.matches(
        '.widget-failed, .widget-place:has(.gpt-widget)');
    const found = [];
    for (const figure of document.querySelectorAll("main img[class*='widget-']")) {
        for (let left = 600; left && !drawn(figure); left--) {
            figure.parentElement.scrollIntoView({ behavior: 'instant' });
            await new Promise(requestAnimationFrame);
        }
        if (!drawn(figure)) found.push(`a widget that stays a figure: ${figure.alt}`);
    }
    scrollTo({ top: 0, behavior: 'instant' });
    const failed = [...document.querySelectorAll('main .widget-failed')];
    return [...found, ...failed.map((e) => e.textContent)];
}"""
# Three frames with no widget busy: it draws once a frame, and a drawing may ask for one more. One
# that stays busy for three hundred frames is broken, and the test is to see how it looks.
FRAMES = """new Promise(done => {
    let left = 3, most = 300;
    const next = () => {
        if (most-- > 0 && document.querySelector('.gpt-widget[aria-busy=true]')) left = 3;
        left-- ? requestAnimationFrame(next) : done();
    };
    next();
})"""
SOURCES = ("source/attention.html", "source/given/plots.html")
PACKED = (".html", ".css", ".js", ".svg", ".json")


class Quiet(SimpleHTTPRequestHandler):
    """A file server that does not write a line for every request."""

    def log_message(self, *_):
        pass


class Packing(Quiet):
    """One that compresses texts and keeps connections, as public hosts of pages do."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if path.suffix not in PACKED or not path.is_file():
            super().do_GET()
            return
        content = gzip.compress(path.read_bytes(), 6)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def serve(folder: Path, handler=Quiet) -> tuple[ThreadingHTTPServer, str]:
    """A server of the folder on this computer, and its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}"


def pages_of(folder: Path) -> list[str]:
    """The pages of a built book, relative to its folder.

    Those with the code of a module are made by one template: two stand for all of them.
    """
    found = (page.relative_to(folder) for page in folder.rglob("*.html"))
    pages = sorted(p.as_posix() for p in found if p.parts[0] != "_static")
    return [p for p in pages if not p.startswith("source/") or p in SOURCES]


def read_axe(page) -> None:
    """Put axe into a page."""
    page.evaluate(READ_AXE, AXE.read_text(encoding="utf-8"))


def ahead(things: Iterable, start: Callable) -> Iterator:
    """What `start` makes of each; the next is started before one is handed out.

    So a page loads while another is looked at. It must not be waited for when it is started.
    """
    last = []
    for thing in things:
        last.append(start(thing))
        if len(last) > 1:
            yield last.pop(0)
    yield from last


def wake(page) -> list[str]:
    """Bring the widgets of a page to life, as a reader does who comes near each; what failed."""
    failed = page.evaluate(WAKE)
    settle(page)
    return failed


def settle(page):
    """Wait until all that was asked of the page's widgets has been drawn, however long it takes."""
    page.evaluate(FRAMES)


def tells(page, words: str):
    """Wait until a widget has told a screen reader these words."""
    page.locator(".gw-words", has_text=words).wait_for(state="attached", timeout=PATIENCE)

"""Downloads, from a real server on this machine that misbehaves in every way we know of."""

import contextlib
import hashlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from gptlib.corpus.loader import read_text
from gptlib.given import download, parts, reaching, web
from gptlib.given.download import SOURCES, DownloadError, Source, cache_dir, fetch

TEXT = "".join(f"Line {n} of a play, and äöü “quotes”.\n" for n in range(8000)).encode()
PAGE = b"<!DOCTYPE html>\n<html><body>Please log in to the hotel's network.</body></html>"
SIZE, HALF = len(TEXT), len(TEXT) // 2


class Handler(BaseHTTPRequestHandler):
    """Answers each request by the next step of the server's plan, the last one again and again."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        with server.lock:
            server.asked.append(dict(self.headers))
            step = server.plan.pop(0) if len(server.plan) > 1 else server.plan[0]
        self.close_connection = True
        with contextlib.suppress(ConnectionError):  # we hang up when we have heard enough
            step(self)

    def head(self, status, length=None, **headers):
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, *args):
        pass


def whole(content=TEXT, kind="text/plain", tag='"v1"', **headers):
    """A well-behaved server: ranges, and If-Range against its ETag."""

    def answer(request):
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        same = request.headers.get("If-Range", tag) == tag
        if asked and same and int(asked[1]) >= len(content):
            return request.head(416, 0)
        if asked and same:
            start = int(asked[1])
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            request.head(206, len(content) - start, Content_Range=span, ETag=tag, **headers)
            return request.wfile.write(content[start:])
        request.head(200, len(content), Content_Type=kind, ETag=tag, **headers)
        return request.wfile.write(content)

    return answer


def no_ranges(content=TEXT):
    def answer(request):
        request.head(200, len(content))
        request.wfile.write(content)

    return answer


def cut(at, content=TEXT, length=SIZE, tag='"v1"'):
    """Breaks off after `at` bytes although it promised `length`; None promises nothing."""

    def answer(request):
        request.head(200, length, ETag=tag)
        request.wfile.write(content[:at])

    return answer


def stall(at, seconds=3.0):
    def answer(request):
        if at is not None:
            request.head(200, len(TEXT), ETag='"v1"')
            request.wfile.write(TEXT[:at])
            request.wfile.flush()
        request.server.released.wait(seconds)

    return answer


def status(code):
    return lambda request: request.head(code, 0)


def redirect(to):
    return lambda request: request.head(302, 0, Location=to)


@pytest.fixture
def server():
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    httpd.lock, httpd.asked, httpd.plan = threading.Lock(), [], [whole()]
    httpd.released = threading.Event()
    httpd.url = f"http://127.0.0.1:{httpd.server_port}/input.txt"
    threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True).start()
    yield httpd
    httpd.released.set()
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache, and no proxy between us and the local server."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    folder = tmp_path / "cache"
    monkeypatch.setenv("GPTLIB_DATA", str(folder))
    return folder


def source(server, content=TEXT, **changes):
    right = Source(
        "play.txt", server.url, len(content), hashlib.sha256(content).hexdigest(), "ours"
    )
    return replace(right, **changes)


def quick(what, **changes):
    """fetch without a bar and without long waits."""
    usual = {"progress": False, "timeout": 5, "pause": 0.001}
    return fetch(what, **{**usual, **changes})


def left(cache):
    """What lies in the cache, apart from the lock, which is empty."""
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


def refused(cache, what, match, **changes):
    """fetch fails, in one sentence with the ways out, and no finished file is left."""
    with pytest.raises(DownloadError, match=match) as caught:
        quick(what, **changes)
    message = str(caught.value)
    assert str(cache / what.file) in message
    assert what.url in message
    for way in ("by hand", "GPTLIB_DATA", "HTTPS_PROXY", 'corpus.load("stories")'):
        assert way in message
    assert message.endswith(".")
    assert not re.search(r"\. [A-Z]", message)
    assert not (cache / what.file).exists()
    return message


def is_first_half(part):
    """All that came before a break at HALF."""
    return part.read_bytes() == TEXT[:HALF]


def continues_at(headers):
    """The byte from which a request wants the file, None for all of it."""
    match = re.fullmatch(r"bytes=(\d+)-", headers.get("Range", ""))
    return match and int(match[1])


def count_bytes(monkeypatch, react=lambda seen: None):
    """Put a counter in the place of the progress bar."""

    class Bar(contextlib.nullcontext):
        seen = 0

        def update(self, n):
            Bar.seen += n
            react(Bar.seen)

    monkeypatch.setattr(download, "tqdm", lambda **settings: Bar())
    return Bar


# When all is well


def test_it_comes_whole_and_only_once(server, cache):
    path = quick(source(server))
    assert path == cache / "play.txt"
    assert path.read_bytes() == TEXT
    assert quick(source(server)) == path
    assert len(server.asked) == 1
    assert left(cache) == ["play.txt"]


def test_the_bar_shows_and_can_be_switched_off(server, capfd):
    quick(source(server))
    assert capfd.readouterr() == ("", "")
    quick(source(server, file="other.txt"), progress=True)
    shown = capfd.readouterr().err
    assert "other.txt" in shown
    assert "100%" in shown


def test_a_file_in_the_cache_that_is_not_right_is_replaced(server, cache):
    cache.mkdir()
    for wrong in (TEXT[:-1], TEXT[:-2] + b"!\n", b""):
        (cache / "play.txt").write_bytes(wrong)
        assert quick(source(server)).read_bytes() == TEXT
    assert len(server.asked) == 3


def test_a_redirect_is_followed(server):
    server.plan = [redirect(f"{server.url}?elsewhere"), whole()]
    assert quick(source(server)).read_bytes() == TEXT


def test_no_length_given_is_no_trouble(server):
    server.plan = [cut(len(TEXT), length=None)]
    assert quick(source(server)).read_bytes() == TEXT


def test_the_server_is_asked_for_plain_bytes(server):
    quick(source(server))
    assert server.asked[0]["Accept-Encoding"] == "identity"


# Continuing


def test_a_broken_transfer_is_continued_where_it_stopped(server, cache):
    server.plan = [cut(HALF), whole()]
    assert quick(source(server)).read_bytes() == TEXT
    assert continues_at(server.asked[1]) == HALF
    assert server.asked[1]["If-Range"] == '"v1"'
    assert left(cache) == ["play.txt"]


def test_the_next_call_continues_too(server, cache):
    server.plan = [cut(HALF), status(503)]
    refused(cache, source(server), "answers 503", attempts=2)
    assert is_first_half(cache / "play.txt.part")
    server.plan = [whole()]
    assert quick(source(server)).read_bytes() == TEXT
    assert continues_at(server.asked[-1]) == HALF
    assert left(cache) == ["play.txt"]


def test_many_short_pieces(server):
    def piece(request):
        start, total = continues_at(request.headers) or 0, len(TEXT)
        if start == 0:
            request.head(200, total)
        else:
            request.head(206, total - start, Content_Range=f"bytes {start}-{total - 1}/{total}")
        request.wfile.write(TEXT[start : start + total // 3])

    server.plan = [piece]
    assert quick(source(server), attempts=6).read_bytes() == TEXT
    starts = [continues_at(request) or 0 for request in server.asked]
    assert starts == sorted(starts)
    assert len(starts) >= 4


def test_a_server_that_ignores_ranges_starts_anew(server):
    server.plan = [cut(HALF), no_ranges()]
    assert quick(source(server)).read_bytes() == TEXT
    assert "Range" in server.asked[1]


def test_a_file_that_changed_in_between_is_taken_from_the_start(server):
    old = b"x" * len(TEXT)
    server.plan = [cut(HALF, old, tag='"old"'), whole(tag='"new"')]
    assert quick(source(server)).read_bytes() == TEXT
    assert server.asked[1]["If-Range"] == '"old"'


@pytest.mark.parametrize("tag", ["", 'W/"weak"'])
def test_a_change_that_no_tag_told_is_found_by_the_sum(server, cache, tag):
    old = b"x" * len(TEXT)
    server.plan = [cut(HALF, old, tag=tag), whole()]
    assert quick(source(server)).read_bytes() == TEXT
    assert "If-Range" not in server.asked[1]
    assert "Range" not in server.asked[2]  # half old, half new: the sum is wrong, so all again
    assert left(cache) == ["play.txt"]


@pytest.mark.parametrize("wrong", ["bytes 0-9/10", f"bytes 0-9/{SIZE}", "bytes 5-/x", ""])
def test_another_range_than_the_one_asked_for(server, wrong):
    def answer(request):
        request.head(206, 10, Content_Range=wrong)
        request.wfile.write(TEXT[:10])

    server.plan = [cut(HALF), answer, whole()]
    assert quick(source(server)).read_bytes() == TEXT
    assert [continues_at(request) is None for request in server.asked] == [True, False, True]


def test_a_range_that_does_not_exist_any_more(server):
    server.plan = [cut(HALF), status(416), whole()]
    assert quick(source(server)).read_bytes() == TEXT


@pytest.mark.parametrize("content", [TEXT + b"more", b"x" * len(TEXT), b""])
def test_a_bad_part_file_of_another_day(server, cache, content):
    cache.mkdir()
    (cache / "play.txt.part").write_bytes(content)
    assert quick(source(server)).read_bytes() == TEXT
    assert left(cache) == ["play.txt"]
    assert [continues_at(request) for request in server.asked] == [None]


def test_a_complete_part_file_needs_no_server(server, cache):
    cache.mkdir()
    (cache / "play.txt.part").write_bytes(TEXT)
    assert quick(source(server)).read_bytes() == TEXT
    assert server.asked == []


def test_an_interrupt_keeps_what_has_come(server, cache, monkeypatch):
    monkeypatch.setattr(web, "CHUNK", 1000)

    def stop(seen):
        if seen > HALF:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        count_bytes(patched, stop)
        with pytest.raises(KeyboardInterrupt):
            quick(source(server))
    assert not (cache / "play.txt").exists()
    assert quick(source(server)).read_bytes() == TEXT
    assert continues_at(server.asked[1]) > HALF


# Servers that misbehave


def test_a_server_that_stalls_is_given_up_and_asked_again(server):
    server.plan = [stall(HALF), whole()]
    assert quick(source(server), timeout=0.3).read_bytes() == TEXT
    assert continues_at(server.asked[1]) == HALF


@pytest.mark.parametrize("at", [None, 0, HALF])
def test_a_server_that_always_stalls(server, cache, at):
    server.plan = [stall(at)]
    began = time.monotonic()
    refused(cache, source(server), "sent nothing for 0.2 seconds", timeout=0.2, attempts=2)
    assert time.monotonic() - began < 60  # it ends: no matter when


@pytest.mark.parametrize("length", [len(TEXT), None])
def test_a_server_that_always_truncates(server, cache, length):
    server.plan = [cut(HALF, length=length)]
    refused(cache, source(server), "broke off", attempts=3)
    assert len(server.asked) == 3
    assert left(cache) in (["play.txt.part", "play.txt.part.etag"], ["play.txt.part"])
    assert is_first_half(cache / "play.txt.part")


@pytest.mark.parametrize("length", [10, len(TEXT) - 1, len(TEXT) + 1, 10**12])
def test_a_length_that_is_not_the_files(server, cache, length):
    server.plan = [cut(len(TEXT), length=length)]
    refused(cache, source(server), f"has {length:,} bytes instead of {len(TEXT):,}")
    assert len(server.asked) == 1
    assert left(cache) == []


def test_more_bytes_than_expected_are_not_stored_without_end(server, cache, monkeypatch):
    bar = count_bytes(monkeypatch)
    server.plan = [cut(20 * SIZE, content=TEXT * 20, length=None)]
    refused(cache, source(server), "more than the expected")
    assert bar.seen <= SIZE
    assert left(cache) == []


def test_a_length_that_is_a_lie_about_a_longer_file(server, cache):
    longer = TEXT[:-1] + b"?" + TEXT
    server.plan = [cut(len(longer), content=longer, length=len(TEXT))]
    refused(cache, source(server), "SHA-256 sum is wrong")
    assert left(cache) == []


def test_corrupt_bytes_are_refused_and_removed(server, cache):
    server.plan = [whole(TEXT[:HALF] + b"#" + TEXT[HALF + 1 :])]
    refused(cache, source(server), "SHA-256 sum is wrong")
    assert len(server.asked) == 1  # the same server would send the same bytes again
    assert left(cache) == []


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "text/plain"])
@pytest.mark.parametrize("page", [PAGE, b"\n  <HTML>" + b" " * (len(TEXT) - 9)])
def test_a_web_page_instead_of_the_text(server, cache, kind, page):
    server.plan = [lambda request: (request.head(200, None, Content_Type=kind),
                                    request.wfile.write(page))]  # fmt: skip
    refused(cache, source(server), "a web page came instead")
    assert left(cache) == []
    assert len(server.asked) == 1


def test_a_web_page_does_not_cost_the_good_part(server, cache):
    server.plan = [cut(HALF), whole(PAGE, kind="text/html", tag='"page"')]
    refused(cache, source(server), "a web page came instead")
    assert is_first_half(cache / "play.txt.part")


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_what_is_not_there_is_not_asked_for_again(server, cache, code):
    server.plan = [status(code)]
    refused(cache, source(server), f"the server answers {code} ")
    assert len(server.asked) == 1
    assert left(cache) == []


@pytest.mark.parametrize("code", [429, 500, 502, 503])
def test_a_server_in_trouble_is_asked_again(server, cache, code):
    server.plan = [status(code), status(code), whole()]
    assert quick(source(server)).read_bytes() == TEXT
    assert left(cache) == ["play.txt"]


def test_a_server_that_stays_in_trouble(server, cache):
    server.plan = [status(500)]
    refused(cache, source(server), "the server answers 500 Internal Server Error", attempts=3)
    assert len(server.asked) == 3
    assert left(cache) == []


def test_an_empty_answer(server, cache):
    server.plan = [cut(0, length=None)]
    refused(cache, source(server), "broke off after 0 of", attempts=2)


def test_a_redirect_without_end(server, cache):
    def on(request):
        request.head(302, 0, Location=f"/{len(server.asked)}")

    server.plan = [on]
    refused(cache, source(server), "more than 10 redirects")
    assert len(server.asked) == 11  # and not four times as many


def test_redirects_in_a_circle(server, cache):
    server.plan = [redirect("/a"), redirect("/b"), redirect("/a")]
    refused(cache, source(server), "in a circle, back to .*/a:")
    assert len(server.asked) == 3


@pytest.mark.parametrize("to", ["file:///etc/hostname", "ftp://127.0.0.1/play.txt"])
def test_a_redirect_that_leaves_the_web(server, cache, to):
    server.plan = [redirect(to)]
    refused(cache, source(server), re.escape(to))
    assert len(server.asked) == 1


def test_the_pauses_grow_and_stay_bounded(server, cache, monkeypatch):
    pauses = []
    monkeypatch.setattr(download.time, "sleep", pauses.append)
    server.plan = [status(500)]
    refused(cache, source(server), "500", attempts=8, pause=1.0)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


# No network


def closed_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_connection_refused(server, cache):
    nowhere = source(server, url=f"http://127.0.0.1:{closed_port()}/input.txt")
    refused(cache, nowhere, "there is no connection to 127.0.0.1", attempts=2)


def test_a_name_that_cannot_be_resolved(server, cache):
    nowhere = source(server, url="https://no-such-host.invalid/input.txt")
    refused(cache, nowhere, "there is no connection to no-such-host.invalid", attempts=2)


def test_a_proxy_that_does_not_answer(server, cache, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    nowhere = source(server, url="http://play.invalid/input.txt")
    refused(cache, nowhere, "the proxy that leads to play.invalid", attempts=2)


def test_no_second_traceback_in_a_notebook(server, cache):
    nowhere = source(server, url=f"http://127.0.0.1:{closed_port()}/input.txt")
    with pytest.raises(DownloadError) as caught:
        quick(nowhere, attempts=1)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_what_is_in_the_cache_needs_no_network(server, cache):
    cache.mkdir()
    (cache / "play.txt").write_bytes(TEXT)
    before = left(cache), [path.name for path in cache.iterdir()]
    nowhere = source(server, url="https://no-such-host.invalid/input.txt")
    assert quick(nowhere).read_bytes() == TEXT
    assert (left(cache), [path.name for path in cache.iterdir()]) == before  # not even a lock


def test_a_wrong_file_saved_by_hand_is_told(server, cache):
    cache.mkdir()
    (cache / "play.txt").write_bytes(PAGE)
    nowhere = source(server, url="https://no-such-host.invalid/input.txt")
    with pytest.raises(DownloadError, match=f"is there has {len(PAGE)} bytes and is not it"):
        quick(nowhere, attempts=1)


# The cache folder


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("GPTLIB_DATA", str(tmp_path / "mine"))
    assert cache_dir() == tmp_path / "mine"
    assert not cache_dir().exists()  # asking makes nothing
    monkeypatch.setenv("GPTLIB_DATA", "~/texts")
    assert cache_dir() == download.Path.home() / "texts"
    monkeypatch.delenv("GPTLIB_DATA")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "gptlib"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == download.Path.home() / ".cache" / "gptlib"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert cache_dir() == download.Path.home() / "Library" / "Caches" / "gptlib"
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "Local"))
    assert cache_dir() == tmp_path / "Local" / "gptlib"


def cannot_be_used(what):
    with pytest.raises(DownloadError, match=r"cannot be used .*GPTLIB_DATA to a folder") as caught:
        quick(what)
    assert caught.value.__suppress_context__


def test_a_cache_folder_that_is_a_file(server, cache):
    cache.write_text("not a folder")
    cannot_be_used(source(server))
    cache.unlink()
    cache.parent.joinpath("file").write_text("")
    os.environ["GPTLIB_DATA"] = str(cache.parent / "file" / "below")
    cannot_be_used(source(server))
    assert server.asked == []


def test_a_cache_folder_that_cannot_be_written(server, cache, monkeypatch):
    # The superuser may write anywhere, so the refusal is acted: the lock is the first file made.
    def acquire(self, **more):
        raise PermissionError(13, "Permission denied", self.lock_file)

    cache.mkdir()
    monkeypatch.setattr(download.FileLock, "acquire", acquire)
    cannot_be_used(source(server))
    (cache / "play.txt").write_bytes(TEXT)  # to read from such a folder is another matter
    assert quick(source(server)).read_bytes() == TEXT


def test_a_full_disk(server, cache, monkeypatch):
    def replace_file(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download.os, "replace", replace_file)
    cannot_be_used(source(server))
    assert not (cache / "play.txt").exists()


def test_two_processes_at_once(server, cache):
    def slow(request):
        request.head(200, len(TEXT))
        for start in range(0, len(TEXT), len(TEXT) // 8):
            request.wfile.write(TEXT[start : start + len(TEXT) // 8])
            time.sleep(0.1)

    server.plan = [slow]
    what = source(server)
    code = (
        "from gptlib.given.download import Source, fetch\n"
        f"print(fetch({what!r}, progress=True, timeout=20))"
    )
    run = [sys.executable, "-c", code]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(run, **pipes) for _ in range(2)]
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert out.strip() == str(cache / "play.txt")
    assert (cache / "play.txt").read_bytes() == TEXT
    assert left(cache) == ["play.txt"]
    assert len(server.asked) == 1  # the second one waited and found the file


def test_a_process_that_was_killed_does_not_lock_the_rest_out(server, cache):
    server.plan = [stall(HALF, 30), whole()]
    code = f"from gptlib.given.download import Source, fetch\nfetch({source(server)!r}, timeout=30)"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    part = cache / "play.txt.part"
    until = time.monotonic() + 60
    while time.monotonic() < until and not (part.exists() and part.stat().st_size):
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert quick(source(server)).read_bytes() == TEXT


# Sources


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://host/file", "input.txt", "https:///x", ""]
)
def test_only_web_addresses(server, url):
    with pytest.raises(ValueError, match="url must begin with http"):
        source(server, url=url)


@pytest.mark.parametrize(
    "url", ["http://[::1", "http://host:99999/x", "http://host:0/x", "http://"]
)
def test_an_address_that_leads_nowhere(server, url):
    with pytest.raises(ValueError, match="url must begin with http"):
        source(server, url=url)


@pytest.mark.parametrize(
    ("name", "bad"),
    [("size", 0), ("size", -1), ("size", 1.5), ("size", "5"), ("size", None)]
    + [("sha256", "abc"), ("sha256", "G" * 64), ("sha256", b"0" * 64), ("sha256", "٠" * 64)]
    + [("file", bad) for bad in ("../x", "", ".", "..", "a/b", "a\\b", ".x", "a\0", "a\x1b", None)]
    + [("file", "a" * 101), ("file", "a:b"), ("url", None), ("url", "http://host/\x1b[2J")]
    + [("url", "http://höst/")],
)
def test_a_source_that_makes_no_sense(server, name, bad):
    with pytest.raises(ValueError, match=f"{name} must be"):
        source(server, **{name: bad})


def test_a_source_of_one_byte_makes_sense(server):
    assert source(server, size=1).size == 1


def test_a_tag_of_any_letters_is_kept_as_it_came(tmp_path):
    """A header is Latin-1, and so is the file: its bytes are those of the server."""
    tag = '"Zürich-\xff"'
    parts.remember_tag(SimpleNamespace(headers={"ETag": tag}), tmp_path / "a.part")
    assert (tmp_path / "a.part.etag").read_bytes() == tag.encode("latin-1")
    assert parts.kept_tag(tmp_path / "a.part") == tag and parts.kept_tag(tmp_path / "b.part") == ""


def test_an_unknown_name():
    with pytest.raises(ValueError, match=r"source must be one of tinyshakespeare, .*got 'shakes'"):
        fetch("shakes")


@pytest.mark.parametrize("bad", [b"tinyshakespeare", None, 3, ["tinyshakespeare"]])
def test_what_is_no_source(bad):
    with pytest.raises(ValueError, match="source must be one of"):
        fetch(bad)


@pytest.mark.parametrize("bad", [0, -1.0, float("nan"), float("inf"), "20", None])
@pytest.mark.parametrize("name", ["timeout", "attempts"])
def test_bad_arguments(server, name, bad):
    with pytest.raises(ValueError, match=f"{name} must be above 0"):
        fetch(source(server), **{name: bad})


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("timeout", 10**6),
        ("attempts", 1.5),
        ("deadline", 0),
        ("deadline", "soon"),
        ("deadline", float("inf")),
        ("pause", -1),
        ("min_speed", -1),
        ("min_speed", None),
    ],
)
def test_more_bad_arguments(server, name, bad):
    with pytest.raises(ValueError, match=f"{name} must be .*got {bad!r}"):
        fetch(source(server), **{name: bad})
    assert server.asked == []


def test_every_source_is_pinned_by_https_and_has_a_licence():
    for known in SOURCES.values():
        assert known.url.startswith("https://")
        assert re.search(r"/[0-9a-f]{40}/", known.url)  # a commit, not a branch that moves
        assert known.licence
    assert len({known.file for known in SOURCES.values()}) == len(SOURCES)


def test_the_real_tiny_shakespeare_passes(server, cache, shared_data, monkeypatch):
    server.plan = [whole((shared_data / "tinyshakespeare.txt").read_bytes())]
    here = replace(SOURCES["tinyshakespeare"], url=server.url)
    monkeypatch.setitem(SOURCES, "tinyshakespeare", here)
    text = read_text(quick("tinyshakespeare"))
    assert (len(text), len(set(text))) == (1_115_394, 65)
    assert text.startswith("First Citizen:\n")


def test_what_is_not_the_real_tinystories_is_refused(server, cache, shared_data, monkeypatch):
    # The sample has the format and not the content, so the pinned size and sum must refuse it.
    server.plan = [whole((shared_data / "tinystories_sample.txt").read_bytes())]
    here = replace(SOURCES["tinystories"], url=server.url)
    refused(cache, here, "bytes instead of 22,502,601")


# Time


def test_the_deadline_grows_with_the_size(server, monkeypatch):
    deadlines = []

    class Clock(reaching.Clock):
        def __init__(self, deadline, *more):
            deadlines.append(deadline)
            super().__init__(deadline, *more)

    monkeypatch.setattr(download, "Clock", Clock)
    quick(source(server))
    refused(cache_dir(), source(server, size=10**9, file="large"), "instead of 1,000,000,000")
    assert deadlines == [300 + SIZE / 50_000, 300 + 20_000]


@pytest.fixture
def clock(monkeypatch):
    """A clock moved by hand: 1,000 s in all, 20 of silence, 1,000 bytes a second."""
    clock = reaching.Clock(1000, 20, 1000)
    monkeypatch.setattr(reaching, "time", SimpleNamespace(monotonic=lambda: clock.now))
    clock.now, clock.end = 0.0, 1000.0
    clock.start()
    return clock


def test_who_is_fast_enough_may_go_on_until_the_deadline(clock):
    for _ in range(110):
        assert 0 < clock.patience()[0] <= 20
        clock.now += 9
        clock.gained(9001)
    clock.now = 1000
    with pytest.raises(reaching.Refused, match="not here within 1000 seconds"):
        clock.patience()


def test_who_is_too_slow_may_not(clock):
    while clock.now < 60:
        clock.patience()
        clock.now += 10
        clock.gained(9_900)
    words = "fewer than 1000 bytes a second came for 60 seconds"
    with pytest.raises(reaching.BrokenOff, match=words):
        clock.patience()


def test_after_the_deadline_no_further_attempt(server, cache):
    server.plan = [status(503)]
    told = refused(cache, source(server), "answers 503", deadline=5.0, pause=20.0)
    assert "and the 5 seconds for it are over" in told
    assert len(server.asked) == 1


def test_what_came_before_the_deadline_is_continued_by_the_next_call(server, cache):
    server.plan = [stall(HALF, 30), whole()]
    refused(cache, source(server), "not here within 0.5 seconds", deadline=0.5, timeout=20)
    assert quick(source(server)).read_bytes() == TEXT
    assert continues_at(server.asked[1]) == HALF


def dripping(request):
    request.head(200, SIZE)
    with contextlib.suppress(OSError):
        for start in range(0, SIZE, 10):
            request.wfile.write(TEXT[start : start + 10])
            if request.server.released.wait(0.05):
                return


def test_a_server_that_drips_is_given_up(server, cache):
    server.plan = [dripping]
    told = refused(cache, source(server), "fewer than 1000 bytes a second came for 0.6 seconds",
                   timeout=0.2, attempts=2)  # fmt: skip
    assert "sent nothing" not in told
    assert len(server.asked) == 2


def test_no_minimum_is_a_choice(server, cache):
    server.plan = [dripping]
    refused(cache, source(server), "not here within 2 seconds",
            timeout=0.2, min_speed=0, deadline=2.0)  # fmt: skip
    assert len(server.asked) == 1


def test_waiting_for_another_process_ends_too(server, cache):
    cache.mkdir()
    with download.FileLock(f"{cache / 'play.txt'}.lock"):
        refused(cache, source(server), "another process has been fetching it for 0.2 seconds",
                deadline=0.2)  # fmt: skip
    assert server.asked == []


# The part file


@pytest.mark.parametrize("name", ["play.txt.part", "play.txt.part.etag"])
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_nothing_is_written_through_a_link(server, cache, tmp_path, link, name):
    cache.mkdir()
    mine = tmp_path / "mine.txt"
    mine.write_bytes(TEXT[:1000])
    link(mine, cache / name)  # a start that one would go on from
    assert quick(source(server)).read_bytes() == TEXT
    assert mine.read_bytes() == TEXT[:1000]
    assert not (cache / "play.txt").is_symlink()
    assert left(cache) == ["play.txt"]


def test_a_link_that_leads_nowhere_is_replaced(server, cache, tmp_path):
    cache.mkdir()
    (cache / "play.txt.part").symlink_to(tmp_path / "nothing")
    assert quick(source(server)).read_bytes() == TEXT
    assert not (tmp_path / "nothing").exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
@pytest.mark.parametrize("name", ["play.txt.part", "play.txt.part.etag"])
@pytest.mark.timeout(60)
def test_a_pipe_is_not_waited_for(server, cache, name):
    cache.mkdir()
    (cache / "play.txt.part").write_bytes(TEXT[:HALF])
    (cache / name).unlink(missing_ok=True)
    os.mkfifo(cache / name)
    assert quick(source(server)).read_bytes() == TEXT


def test_a_folder_in_its_place_is_told(server, cache):
    (cache / "play.txt.part").mkdir(parents=True)
    cannot_be_used(source(server))
    assert server.asked == []


@pytest.mark.parametrize(
    "tag", [b"", b"v1", b'"v1"\r\nEvil: yes', b'"\x1b[2J"', b'"' + b"x" * 10**6 + b'"', b'W/"v1"']
)
def test_a_tag_file_that_holds_something_else(server, cache, tag):
    cache.mkdir()
    (cache / "play.txt.part").write_bytes(TEXT[:HALF])
    (cache / "play.txt.part.etag").write_bytes(tag)
    assert quick(source(server)).read_bytes() == TEXT
    assert continues_at(server.asked[0]) == HALF
    assert "If-Range" not in server.asked[0] and "Evil" not in server.asked[0]


def test_it_is_on_the_disk_before_it_has_its_name(server, cache, monkeypatch):
    done, flush, replace_file = [], parts.flush, os.replace

    def flushing(path):
        done.append(f"flush {path.name}")
        flush(path)

    def replacing(old, new):
        done.append(f"{old.name} -> {new.name}")
        replace_file(old, new)

    monkeypatch.setattr(parts, "flush", flushing)
    monkeypatch.setattr(parts.os, "replace", replacing)
    quick(source(server))
    assert done == ["flush play.txt.part", "play.txt.part -> play.txt", f"flush {cache.name}"]


@pytest.mark.parametrize("named", ["~no-such-user-here/texts", "~no-such-user-here"])
def test_a_cache_in_the_home_of_nobody(server, monkeypatch, named):
    monkeypatch.setenv("GPTLIB_DATA", named)
    monkeypatch.setenv("USERNAME", "other")  # Windows guesses at homes beside one's own
    with pytest.raises(DownloadError, match=r"There is no cache folder .*GPTLIB_DATA"):
        quick(source(server))


# The text in a file


def test_reading_text(tmp_path, shared_data):
    path = tmp_path / "text.txt"
    path.write_bytes(TEXT)
    assert read_text(path) == TEXT.decode()
    assert read_text(str(path)) == TEXT.decode()
    path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\r\n")  # as a Windows editor saves it
    assert read_text(path) == "one\ntwo\n"
    sample = read_text(shared_data / "tinystories_sample.txt")
    assert "<|endoftext|>" in sample


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n\t", "is empty"),
        ("café".encode("latin-1"), r"not UTF-8 text: byte 0xe9 at position 3"),
        ("a text".encode("utf-16"), "not UTF-8 text"),
        (b"\x89PNG\r\n\x1a\n", "not UTF-8 text: byte 0x89 at position 0"),
        (b"text\0text", "bytes of value 0"),
        (b"\xef\xbb\xbfcaf\xe9", r"not UTF-8 text: byte 0xe9 at position 6"),
    ],
)
def test_what_is_no_text(tmp_path, content, message):
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_text(path)
    assert str(path) in str(caught.value)


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file at"):
        read_text(tmp_path / "nothing.txt")
    with pytest.raises(ValueError, match="is a folder"):
        read_text(tmp_path)

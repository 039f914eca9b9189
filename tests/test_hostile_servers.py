"""A server that means harm: each of its answers ends in the one DownloadError, and harms nothing.

A child process asks for all of them, so that its memory and what it shows on the terminal can be
seen from outside. The server speaks raw bytes: no library would send most of these.
"""

import contextlib
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import ClassVar

import pytest

from gptlib.given import reaching
from gptlib.given.download import DownloadError, Source, fetch

ROOT = Path(__file__).resolve().parent.parent

SIZE = 4 * 2**20
TEXT = b"A line of the play that is asked for.\n" * (SIZE // 38) + b"." * (SIZE % 38)
BAD = (
    "\x1b]0;owned\x07\x1b[2J\u202e\x9b".encode()
)  # sets a title, clears the screen, turns text round
PLAY = b"To be, or not to be.\n"
TIMEOUT, DEADLINE = 0.4, 4.0
OK = b"HTTP/1.1 200 OK\r\n"
SIZED = b"Content-Length: %d\r\n\r\n" % SIZE
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
BLOCK = b"x" * 2**16


def send(*pieces):
    """These bytes, then the end of the connection."""

    def play(connection, stop):
        for piece in pieces:
            connection.sendall(piece)

    return play


def endless(head, piece=BLOCK, pause=0.0):
    """The head, then the piece again and again until the client hangs up."""

    def play(connection, stop):
        connection.sendall(head)
        while not stop.is_set():
            connection.sendall(piece)
            stop.wait(pause)

    return play


def drip(head, piece=b"x"):
    return endless(head, piece, pause=0.05)


def silent(head=b""):
    def play(connection, stop):
        connection.sendall(head)
        stop.wait(20)

    return play


def head(status, *lines):
    return b"\r\n".join([b"HTTP/1.1 " + status, *lines, b"", b""])


def to(address, status=b"302 Found"):
    return send(head(status, b"Location: " + address))


def at(*, value, **headers):
    """A head with status 200 that holds one header of any value."""
    (name,) = headers or ("Content-Length",)
    return send(head(b"200 OK", name.replace("_", "-").encode() + b": " + value), TEXT)


GARBAGE = (
    "is no answer|no connection to|broke off|sent nothing|fewer than|makes no sense"
    "|the server answers [0-9]{3} "
)
STATUS_LINES = {
    "nothing": send(b""),
    "one line feed": send(b"\n"),
    "no HTTP": send(b"SSH-2.0-OpenSSH_9.2p1\r\n"),
    "another protocol": send(b"ICY 200 OK\r\n\r\n" + BLOCK),
    "another version": send(b"HTTP/9.9 200 OK\r\n\r\n" + BLOCK),
    "a status in words": send(b"HTTP/1.1 two OK\r\n\r\n"),
    "a negative status": send(b"HTTP/1.1 -200 OK\r\n\r\n"),
    "a status of 40 digits": send(b"HTTP/1.1 " + b"2" * 40 + b" OK\r\n\r\n"),
    "a status in other digits": send("HTTP/1.1 ٢٠٠ OK\r\n\r\n".encode()),
    "zero bytes": send(bytes(1000)),
    "a long line": send(b"HTTP/1.1 200 " + BLOCK * 2 + b"\r\n\r\n"),
    "a line without end": endless(b"HTTP/1.1 200 "),
    "a dripping line": drip(b"HTTP/1.1 200 "),
    "TLS": send(b"\x15\x03\x01\x00\x02\x02\x28"),
    "terminal codes": send(b"HTTP/1.1 200" + BAD + b"\r\n\r\n"),
    "silence": silent(),
}
REDIRECTS = {
    **{f"{code} with a body without end": endless(head(b"%d On" % code, b"Location: /x"))
       for code in (301, 302, 303, 307, 308)},
    **{f"{code} with a body of a gigabyte": endless(
        head(b"%d On" % code, b"Content-Length: 1073741824", b"Location: /x"))
       for code in (302, 307)},
    "a chunked body without end": endless(
        head(b"302 On", b"Transfer-Encoding: chunked", b"Location: /x"), b"1\r\nx\r\n"),
    "terminal codes": to(b"gopher://" + BAD),
    "the same place": to(b""),
    "a file": to(b"file:///etc/passwd"),
    "ftp": to(b"ftp://127.0.0.1/x"),
    "data": to(b"data:text/plain,x"),
    "javascript": to(b"javascript:alert(1)"),
    "no host": to(b"http://"),
    "a port and no host": to(b"http://:80/"),
    "port 99999": to(b"http://127.0.0.1:99999/"),
    "port 0": to(b"http://127.0.0.1:0/"),
    "port -1": to(b"http://127.0.0.1:-1/"),
    "port in words": to(b"http://127.0.0.1:http/"),
    "port in other digits": to("http://127.0.0.1:٨٠/".encode()),
    "half a bracket": to(b"http://[::1/"),
    "no address in brackets": to(b"http://[zz]/"),
    "an empty label": to(b"http://a..b/"),
    "a label of 70": to(b"http://" + b"a" * 70 + b".invalid/"),
    "a name of 300": to(b"http://" + b"a." * 150 + b"invalid/"),
    "a name of 60,000": to(b"http://" + b"a" * 60_000 + b"/"),
    "an emoji": to("http://😀.invalid/".encode()),
    "a joiner": to("http://a\u200db.invalid/".encode()),
    "a fraction": to("http://127.0.0.1\u2100.invalid/".encode()),
    "a broken xn--": to(b"http://xn--\xff\xfe.invalid/"),
    "a star": to(b"http://*/"),
    "no UTF-8": to(b"http://\xff\xfe\xfd/"),
    "a zero byte": to(b"http://127.0.0.1\x00.invalid/"),
    "a zero byte as %00": to(b"http://127.0.0.1%00.invalid/"),
    "a backslash": to(b"http:\\\\127.0.0.1\\x"),
    "a blank in the host": to(b"http://a b.invalid/"),
    "two at once": send(head(b"302 On", b"Location: ftp://a/", b"Location: ftp://b/")),
}  # fmt: skip
HEADERS = {
    "1,000 of them": send(head(b"200 OK", *[b"X-%d: y" % n for n in range(1000)])),
    "a long one": send(head(b"200 OK", b"X: " + BLOCK * 2)),
    "one without end": endless(OK + b"X: "),
    "without end": endless(OK, b"X: y\r\n" * 1000),
    "dripping": drip(OK + b"X: "),
    "dripping lines": drip(OK, b"X: y\r\n"),
    "silence after the first": silent(OK + b"X: y\r\n"),
    "no colon": send(OK + b"what is this\r\nX: y\r\n" + SIZED + TEXT),
    "a colon first": send(OK + b": y\r\n" + SIZED + BLOCK),
    "only a blank": send(OK + b" \r\n" + SIZED + BLOCK),
    "zero bytes": send(OK + b"X\x00: \x00\r\n" + SIZED + BLOCK),
    "terminal codes in a name": send(OK + BAD + b": y\r\n" + SIZED + BLOCK),
    "terminal codes in a type": send(OK + b"Content-Type: text/html" + BAD + b"\r\n\r\n"),
    "terminal codes in a tag": send(OK + b'ETag: "' + BAD + b'"\r\n' + SIZED + BLOCK),
    "cookies": send(OK + b"Set-Cookie: =;;" + BAD + b"; expires=" + b"9" * 500 + b"\r\n" * 2),
    "103 without end": endless(b"", head(b"103 Early Hints", b"X: y") * 1000),
    "100 without end": endless(b"", head(b"100 Continue") * 1000),
    "100 dripping": drip(b"", head(b"100 Continue")),
}
LENGTHS = {
    "-1": at(value=b"-1"),
    "-5": at(value=b"-5"),
    "+5": at(value=b"+5"),
    "a hexadecimal": at(value=b"0x400000"),
    "a fraction": at(value=b"4194304.0"),
    "an exponent": at(value=b"4e6"),
    "underscores": at(value=b"4_194_304"),
    "other digits": at(value="٤١٩٤٣٠٤".encode()),
    "a raised digit": at(value=b"\xb2"),
    "5,000 digits": at(value=b"9" * 5000),
    "two": at(value=b"4194304, 1"),
    "a word": at(value=b"many"),
    "empty": at(value=b""),
    "terminal codes": at(value=BAD),
    "another": at(value=b"17"),
    "twice": send(OK + b"Content-Length: 1\r\n" + SIZED + TEXT),
}
FORMS = {
    **{f"{form} for the content": at(Content_Encoding=0, value=form.encode())
       for form in ("gzip", "x-gzip", "deflate", "br", "zstd", "gzip, gzip", "none")},
    **{f"{form} for the transfer": at(Transfer_Encoding=0, value=form.encode())
       for form in ("gzip", "gzip, chunked", "chunked, chunked", "identity", "xchunked")},
    "terminal codes": at(Content_Encoding=0, value=BAD),
}  # fmt: skip
CHUNKS = {
    "-1 and no end": endless(CHUNKED + b"-1\r\n"),
    "-5": endless(CHUNKED + b"-5\r\n"),
    "a word": send(CHUNKED + b"zz\r\n" + BLOCK),
    "no digit": send(CHUNKED + b"\r\n" + BLOCK),
    "other digits": send(CHUNKED + "٤\r\n".encode() + BLOCK),
    "terminal codes": send(CHUNKED + BAD + b"\r\n" + BLOCK),
    "2 to the 64th and no end": endless(CHUNKED + b"10000000000000000\r\n"),
    "60,000 digits and no end": endless(CHUNKED + b"f" * 60_000 + b"\r\n"),
    "a line without end": endless(CHUNKED, b"0" * 2**16),
    "an extension without end": endless(CHUNKED + b"5;", BLOCK),
    "extensions without end": endless(CHUNKED, (b"1;" + b"x" * 60_000 + b"\r\nx\r\n")),
    "a dripping line": drip(CHUNKED),
    "dripping bytes": drip(CHUNKED, b"1\r\nx\r\n"),
    "no line end behind": send(CHUNKED + b"5\r\nabcde5\r\nabcde"),
    "the end at once": send(CHUNKED + b"0\r\n\r\n"),
    "trailers without end": endless(CHUNKED + b"0\r\n", b"X: y\r\n" * 1000),
    "a trailer without end": endless(CHUNKED + b"0\r\nX: "),
    "the right size of another text": send(
        CHUNKED + b"%x\r\n" % SIZE, BLOCK * 64, b"\r\n0\r\n\r\n"
    ),
}
RANGES = {
    name: endless(head(b"206 Partial", *([b"Content-Range: " + span] if span else [])))
    for name, span in {
        "none": b"",
        "a word": b"bytes",
        "no end": b"bytes 2097152-/4194304",
        "negative": b"bytes -2097152-4194303/4194304",
        "another unit": b"lines 2097152-4194303/4194304",
        "other digits": "bytes ٢٠٩٧١٥٢-4194303/4194304".encode(),
        "5,000 digits": b"bytes " + b"9" * 5000 + b"-1/1",
        "another start": b"bytes 0-4194303/4194304",
        "the end before the start": b"bytes 2097152-5/4194304",
        "the end behind the size": b"bytes 2097152-99999999/4194304",
        "another size": b"bytes 2097152-4194303/99999999",
        "terminal codes": b"bytes " + BAD,
        "right, and then no end": b"bytes 2097152-4194303/4194304",
    }.items()
}
RANGES["always 416"] = endless(head(b"416 No", b"Content-Range: bytes */0"))
CODES = """201 203 204 205 226 300 302 304 400 401 403 404 407 408 418 429 451
           500 501 502 503 504 511 599 600 999"""
STATUSES = {code: endless(head(code.encode() + b" " + BAD)) for code in CODES.split()}
BODIES = {
    "without end": endless(head(b"200 OK")),
    "without end but with a length": endless(OK + SIZED),
    "a page": send(OK + b"\r\n" + b"\n<!DOCTYPE HTML><title>" + BAD),
    "a page without end": endless(OK + b"\r\n<html>"),
    "nothing": send(OK + b"\r\n"),
    "cut short": send(OK + SIZED + TEXT[:-1]),
    "one byte too many": send(OK + b"\r\n", TEXT, b"x"),
    "one byte wrong": send(OK + SIZED, TEXT[:-1], b"x"),
    "another text": send(OK + SIZED, BLOCK * 64),
    "a byte at a time": drip(OK + SIZED),
    "a byte at a time and no length": drip(OK + b"\r\n"),
    "silence": silent(OK + SIZED),
    "silence at half": silent(OK + SIZED + TEXT[: SIZE // 2]),
    "too slow for the deadline": endless(OK + SIZED, b"x" * 1000, pause=0.05),
}
TLS = {
    "plain text": send(OK + SIZED),
    "silence": silent(),
    "dripping": drip(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"),
}
KINDS = {
    "status lines": (STATUS_LINES, GARBAGE),
    "redirects": (REDIRECTS, "redirects|is no web address|cannot be asked|no connection to"),
    "headers": (HEADERS, GARBAGE + "|headers that cannot be read|a web page"),
    "lengths": (LENGTHS, "a length that is none|has 17 bytes|multiple unmatching values"),
    "forms": (FORMS, "in a form nobody asked for"),
    "chunks": (CHUNKS, GARBAGE + "|SHA-256|more than the expected|within 4"),
    "ranges": (RANGES, "another range|file has changed|more than the expected"),
    "statuses": (STATUSES, "the server answers [0-9]{3} "),
    "bodies": (
        BODIES,
        "more than the expected|a web page|broke off|SHA-256|fewer|nothing|within 4",
    ),
    "TLS": (TLS, "no secure connection|sent nothing"),
}
# One or two of each kind whose reason must be just this one.
EXACT = {
    "status lines: no HTTP": "is no answer to a question of the web",
    "headers: 1,000 of them": "is no answer to a question of the web",
    "bodies: too slow for the deadline": "it was not here within 4 seconds",
    "bodies: a byte at a time": "fewer than 1000 bytes a second came for 1.2 seconds",
    "bodies: silence": "the server sent nothing for 0.4 seconds",
    "bodies: cut short": "broke off",
    "lengths: two": "multiple unmatching values",
    "chunks: 2 to the 64th and no end": "more than the expected",
    "bodies: one byte wrong": "SHA-256 sum is wrong",
    "headers: dripping": "fewer than 1000 bytes a second came",
    "headers: 100 without end": "fewer than 1000 bytes a second came",
    "headers: no colon": "headers that cannot be read",
    "chunks: -1 and no end": "more than the expected",
    "chunks: trailers without end": "fewer than 1000 bytes a second came",
    "redirects: 302 with a body without end": "in a circle",
    "redirects: port 99999": "is no web address",
    "redirects: an emoji": "cannot be asked",
    "ranges: the end behind the size": "another range than the one asked for",
}
NAMES = [f"{kind}: {name}" for kind, (plans, _) in KINDS.items() for name in plans]

CHILD = r"""
import json, logging, os, sys, threading, time, traceback
from concurrent.futures import ThreadPoolExecutor
from gptlib.given.download import DownloadError, Source, fetch

logging.basicConfig(level=logging.WARNING)  # what libraries log is seen on the terminal, too
timeout, deadline, asked = json.load(sys.stdin)

def peak():
    "The most memory this process has had, in bytes."
    if sys.platform == "win32":
        import psutil
        return psutil.Process().memory_info().peak_wset
    if sys.platform == "linux":  # getrusage would tell the parent's peak where that is higher
        status = open("/proc/self/status").read()
        return int(status.split("VmHWM:")[1].split()[0]) * 2**10
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

lost = [0.0]  # seconds in which this process stood still, as on a busy computer

def tick():
    while True:
        began = time.monotonic()
        time.sleep(0.05)
        lost[0] += max(0.0, time.monotonic() - began - 0.1)

threading.Thread(target=tick, daemon=True).start()

def ask(name, source):
    began, before = time.monotonic(), lost[0]
    try:
        told = "came", str(fetch(
            Source(**source), timeout=timeout, deadline=deadline, attempts=2, pause=0.01,
            progress=False))
    except Exception as error:
        traceback.print_exc()
        told = type(error).__name__, str(error)
    return name, *told, time.monotonic() - began - (lost[0] - before)

first, *rest = asked.items()
ask(*first)  # what is loaded once counts as before
before = peak()
with ThreadPoolExecutor(4) as pool:
    answers = list(pool.map(lambda item: ask(*item), asked.items()))
print(json.dumps({"answers": {name: told for name, *told in answers}, "grown": peak() - before}))
"""


def serve(plan, stop):
    """A port on which every question is answered by the plan."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=20)

    def answer(connection):
        with connection, contextlib.suppress(OSError):
            connection.settimeout(20)
            connection.recv(2**16)
            plan(connection, stop)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(2**16):  # to close with bytes unread would cut the answer off
                pass

    def accept():
        with listener, contextlib.suppress(OSError):
            while not stop.is_set():
                connection, _ = listener.accept()
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What the child process reported, what it showed, and what lies in its cache."""
    cache, stop, sources = tmp_path_factory.mktemp("cache"), threading.Event(), {}
    for number, name in enumerate(NAMES):
        kind, what = name.split(": ", 1)
        port = serve(KINDS[kind][0][what], stop)
        scheme = "https" if kind == "TLS" else "http"
        sources[name] = {
            "file": f"{number}.txt",
            "url": f"{scheme}://127.0.0.1:{port}/play",
            "size": SIZE,
            "sha256": hashlib.sha256(TEXT).hexdigest(),
            "licence": "ours",
        }
        if kind == "ranges":
            (cache / f"{number}.txt.part").write_bytes(TEXT[: SIZE // 2])
    clean = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps([TIMEOUT, DEADLINE, sources]).encode(),
        capture_output=True,
        env={**clean, "GPTLIB_DATA": str(cache), "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"},
        timeout=600,  # so that an answer without end fails, and does not hang
    )
    stop.set()
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return {**json.loads(done.stdout), "shown": done.stderr.decode(), "cache": cache}


def test_there_are_enough_of_them():
    assert len(NAMES) >= 125
    assert set(EXACT) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_it_ends_in_the_one_error(seen, name):
    kind, message, _ = seen["answers"][name]
    assert kind == "DownloadError", message
    reason = message.split("could not be fetched, because ")[1].split(": try again later")[0]
    assert re.search(KINDS[name.split(": ")[0]][1], reason), reason
    assert re.search(EXACT.get(name, ""), reason), reason
    assert message.isprintable()
    assert len(message) < 1500


def test_the_deadline_ended_all_of_them(seen):
    """Some would go on for minutes, or for ever. Time in which the process stood still is not
    theirs, and a busy computer may hold up a few."""
    took = {name: seconds for name, (_, _, seconds) in seen["answers"].items()}
    late = {name: s for name, s in took.items() if s > DEADLINE + TIMEOUT}
    assert len(late) <= len(NAMES) // 20, late
    assert {name: s for name, s in late.items() if s > 2 * DEADLINE} == {}


def test_no_wrong_file_was_accepted(seen):
    kinds = {path.suffix for path in seen["cache"].iterdir()}
    assert kinds <= {".part", ".etag", ".lock"}


def test_memory_stayed_small(seen):
    # Four at a time, so twice the size each, and what is loaded on the way. An endless body that
    # is read whole takes hundreds of MiB in a second.
    assert seen["grown"] < 8 * SIZE


def test_the_terminal_shows_no_control_characters(seen):
    shown = seen["shown"].replace("\n", "")
    assert "owned" in shown  # the server's words were shown
    assert [c for c in shown if not c.isprintable()] == []


# Before there is an answer: names and addresses ---------------------------------------------------


class Waiting(socket.socket):
    """A socket that nobody answers, but at one address; each keeps what it was told to wait."""

    told: ClassVar[list[float]] = []
    left_open: ClassVar[set] = set()

    def close(self):
        self.left_open.discard(self)
        super().close()

    def connect(self, address):
        if address[0] == "127.0.0.1":
            return super().connect(address)
        self.told.append(self.gettimeout())
        self.left_open.add(self)
        threading.Event().wait(self.gettimeout())
        raise TimeoutError


def some_source(port, **more):
    text = {"size": len(PLAY), "sha256": hashlib.sha256(PLAY).hexdigest(), "licence": "ours"}
    return Source(file="play.txt", url=f"http://many.invalid:{port}/play", **text, **more)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GPTLIB_DATA", str(tmp_path))
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def play():
    """The port of a server that sends what is asked for."""
    stop = threading.Event()
    yield serve(send(OK + b"Content-Length: %d\r\n\r\n" % len(PLAY), PLAY), stop)
    stop.set()


@pytest.fixture
def dead(monkeypatch):
    """A name with twelve addresses at which nobody answers; the limits that sockets were given."""
    monkeypatch.setattr(reaching.socket, "socket", Waiting)
    monkeypatch.setattr(Waiting, "told", [])
    monkeypatch.setattr(Waiting, "left_open", set())
    found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (f"192.0.2.{n}", 80)) for n in range(12)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    return found


def test_a_name_with_dead_addresses_is_given_up_at_the_deadline(cache, dead):
    with pytest.raises(DownloadError, match="because it was not here within 1 seconds:"):
        fetch(some_source(80), timeout=0.3, deadline=1, attempts=1, progress=False)
    assert max(Waiting.told) <= 0.3 and sum(Waiting.told) <= 1
    assert len(Waiting.told) < len(dead)


def test_all_dead_addresses_are_tried_while_there_is_time(cache, dead):
    with pytest.raises(DownloadError, match=r"many\.invalid sent nothing for 0\.01 seconds:"):
        fetch(some_source(80), timeout=0.01, deadline=60, attempts=1, progress=False)
    assert Waiting.told == [0.01] * len(dead) and Waiting.left_open == set()


def test_the_address_that_answers_is_found_behind_dead_ones(cache, dead, play):
    unknown = (12345, socket.SOCK_STREAM, 0, "", ("x", 1))  # of a kind that the machine has not
    dead[2:] = [unknown, (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", play))]
    path = fetch(some_source(play), timeout=5, deadline=60, attempts=1, progress=False)
    assert path.read_bytes() == PLAY and Waiting.told == [5, 5]


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"timeout": 5, "deadline": 0.2}, r"it was not here within 0\.2 seconds"),
        ({"timeout": 0.1, "deadline": 60}, r"the name service said nothing of many\.invalid for"),
    ],
)
@pytest.mark.parametrize("proxy", [None, "http://many.invalid:3128"])
def test_a_name_service_that_says_nothing_is_given_up(cache, monkeypatch, limits, words, proxy):
    over, asked, waited = threading.Event(), [], []

    class Answer(reaching.Future):
        def result(self, seconds):
            waited.append(seconds)
            return super().result(seconds)

    def getaddrinfo(host, port, *_, **__):
        asked.append((host, port))
        over.wait(60)
        raise socket.gaierror("too late")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(reaching, "Future", Answer)
    if proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy)
    try:
        with pytest.raises(DownloadError, match=words):
            fetch(some_source(80), **limits, attempts=1, progress=False)
        assert not over.is_set() and 0 < max(waited) <= min(limits.values())
        assert asked == [("many.invalid", 3128 if proxy else 80)]
    finally:
        over.set()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (socket.gaierror(-2, "not known"), r"there is no connection to many\.invalid"),
        (TimeoutError("its own"), r"there is no connection to many\.invalid"),
        (UnicodeError("too long"), "cannot be asked"),
    ],
)
def test_what_the_name_service_says_is_told(cache, monkeypatch, error, words):
    def getaddrinfo(*_, **__):
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(DownloadError, match=words):
        fetch(some_source(80), timeout=60, attempts=1, progress=False)


def test_a_name_without_an_address_is_told(cache, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [])
    with pytest.raises(DownloadError, match=r"there is no connection to many\.invalid"):
        fetch(some_source(80), timeout=60, attempts=1, progress=False)


def test_what_comes_next_has_the_time_that_is_left(play):
    """A handshake waits as long as the socket is told to; never without an end, and never not."""

    class Clock(reaching.Clock):
        def wait(self, why):
            found = super().wait(why)
            self.end += self.later * why.endswith("sent nothing")
            return found

    for later, timeout in ((0, 5), (-57.0, 3), (-1000, 0.001)):
        clock = Clock(60, 5, 0)
        clock.later = later
        with reaching.reach("127.0.0.1", play, clock) as sock:
            assert 0.8 * timeout <= sock.gettimeout() <= timeout


def test_what_a_server_says_is_one_short_line_for_a_terminal():
    assert str(reaching.Refused("a\x1b[2Jb\u202e")) == r"a\x1b[2Jb\u202e"
    assert str(reaching.BrokenOff("x" * 400)) == "x" * 400
    assert str(reaching.BrokenOff("x" * 401)) == "x" * 400 + "…"

"""Given, not built: ask a web server for a file, and be done whatever the server does.

A server may be slow, broken or hostile: a byte a minute, headers without end, lengths that are no
numbers, a circle of redirects. `ask` reads the body of no redirect, every wait runs against
a `Clock`, and all that can go wrong is one of two errors with a reason in words:
`BrokenOff`, worth another attempt, and `Refused`, which would come again.
"""

from __future__ import annotations

import http.client
import io
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial, partialmethod
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter

from gptlib.given.reaching import BrokenOff, Clock, Failure, Refused, reach
from gptlib.given.sources import check_address

CHUNK = 2**13  # bytes read at once, at most
REDIRECTS = 10  # followed at most; a file behind a release page or a storage service needs two


class Wire(io.RawIOBase):
    """The bytes of a connection as they come, each wait for them measured by the clock."""

    def __init__(self, sock: socket.socket, clock: Clock) -> None:
        self.sock, self.clock, self.raw = sock, clock, sock.makefile("rb", buffering=0)

    def makefile(self, mode: str) -> io.BufferedReader:
        """What http.client asks of a socket."""
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        seconds, failure = self.clock.patience()
        self.sock.settimeout(seconds)
        try:
            return self.raw.readinto(buffer)
        except TimeoutError:
            raise failure from None

    def close(self) -> None:
        self.raw.close()
        super().close()


class Answer(http.client.HTTPResponse):
    """An answer that is read from a `Wire`, and whose headers are headers."""

    def __init__(self, clock: Clock, sock: Any, *args: Any, **kwargs: Any) -> None:
        clock.start()
        super().__init__(Wire(sock, clock), *args, **kwargs)  # type: ignore[arg-type]

    def begin(self) -> None:
        try:
            super().begin()
        except http.client.RemoteDisconnected:  # nothing came at all
            raise
        except (http.client.HTTPException, ValueError):
            raise BrokenOff("the server sent what is no answer to a question of the web") from None
        if self.msg.defects or self.msg.get_payload():  # urllib3 would log them, with a traceback
            raise BrokenOff("the server sent headers that cannot be read")

    def read(self, amt: int | None = None) -> bytes:
        """What has come, up to amt bytes: to wait for all of them would hide from the clock."""
        return self.read1(-1 if amt is None else amt)


class Adapter(HTTPAdapter):
    """Makes connections, to a proxy too, by `reach`, and reads their answers as `Answer`.

    A SOCKS proxy is reached by its own library.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        super().__init__()

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool = super().get_connection_with_tls_context(*args, **kwargs)
        own: dict[str, Any] = {"response_class": staticmethod(partial(Answer, self.clock))}
        if "socks" not in pool.ConnectionCls.__module__:
            own["_new_conn"] = partialmethod(reached, self.clock)
        pool.ConnectionCls = type("Connection", (pool.ConnectionCls,), own)
        return pool


def reached(connection: Any, clock: Clock) -> socket.socket:
    """The socket of a connection of urllib3's."""
    host = getattr(connection, "_dns_host", connection.host)  # with the dot at the end of a name
    sock = reach(host.strip("[]"), connection.port, clock)
    for option in connection.socket_options or ():
        sock.setsockopt(*option)
    return sock


class Session(requests.Session):
    """Leaves redirects to `ask`: requests reads their bodies, however long they are."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        for scheme in ("http://", "https://"):
            self.mount(scheme, Adapter(clock))

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


@contextmanager
def ask(url: str, headers: Mapping[str, str], clock: Clock) -> Iterator[requests.Response]:
    """The answer to a GET request, redirects followed; read its body with `content`.

    Errors: Refused for a redirect that leads nowhere; BrokenOff for what the network does.
    """
    seen: list[str] = []
    with Session(clock) as session:
        while True:
            seen.append(url)
            limit = max(0.001, min(clock.timeout, clock.left()))
            with in_words(url, clock):
                response = session.get(url, headers=headers, stream=True, timeout=limit)
            with response:
                if not response.is_redirect:
                    yield response
                    return
                url = next_address(response)
            if url in seen:
                raise Refused(f"its redirects lead in a circle, back to {url}")
            if len(seen) > REDIRECTS:
                raise Refused(f"there are more than {REDIRECTS} redirects, the last one to {url}")


def next_address(response: requests.Response) -> str:
    """Where a redirect leads, as an absolute address of the web."""
    told = response.headers["Location"].encode("latin-1", "replace").decode("utf-8", "replace")
    try:
        address = urljoin(response.url, told)
        check_address(address)
    except ValueError as error:
        raise Refused(f"the server redirects to what is no web address ({error}): {told}") from None
    return address


def content(response: requests.Response, clock: Clock) -> Iterator[bytes]:
    """The body of an answer in pieces, as it was sent.

    Not by `iter_content`: that lets urllib3 read the lengths of chunks, with lines of any length.
    """
    clock.start()
    while True:
        with in_words(response.url, clock):
            piece = response.raw.read(CHUNK, decode_content=False)
        if not piece:
            return
        clock.gained(len(piece))
        yield piece


@contextmanager
def in_words(url: str, clock: Clock) -> Iterator[None]:
    """Turn what the libraries raise into BrokenOff with the reason.

    All of it: urllib3, http.client, ssl and idna have errors of their own, and requests lets some
    of them through, for a nonsensical length or a host that is no name.
    """
    try:
        yield
    except Failure:
        raise
    except Exception as error:
        raise BrokenOff(
            reason(error, (urlsplit(url).hostname or url)[:100], clock.timeout)
        ) from None


def reason(error: Exception, host: str, timeout: float) -> str:
    """Why a request failed, for people."""
    if isinstance(error, requests.exceptions.SSLError):
        return f"no secure connection to {host} could be made (it may have a wrong certificate)"
    if isinstance(error, requests.exceptions.ProxyError):
        return f"the proxy that leads to {host} does not answer"
    if isinstance(error, requests.Timeout):  # of connecting; Wire tells the others
        return f"{host} sent nothing for {timeout:g} seconds"
    if isinstance(error, ValueError):  # a host that is no name, a chunk of -5 bytes
        return f"{host} cannot be asked, or what it answers makes no sense ({error})"
    if isinstance(error, requests.ConnectionError):
        return f"there is no connection to {host}, or it ended before there was an answer"
    return f"the transfer from {host} broke off"

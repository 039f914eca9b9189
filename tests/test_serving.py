"""The server that `make book` ends in: many readers at once, and readers who leave."""

from __future__ import annotations

import argparse
import http.client
import socket
import struct
import subprocess
import sys
import threading
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest
import serving
from running import ROOT


@pytest.fixture
def folder(tmp_path):
    """A page, and a file too large to fit into the buffers of a connection."""
    (tmp_path / "index.html").write_text("<p>A page</p>", encoding="utf-8")
    (tmp_path / "large.bin").write_bytes(bytes(30_000_000))
    return tmp_path


@pytest.fixture
def server(folder):
    """A server of that folder, on a free port, in a thread."""
    with serving.open_server(folder, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(port: int, path: str) -> bytes:
    """The answer to one request; raises where there is none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status == 200
    return answer.read()


def test_two_hundred_requests_at_once_are_answered(server):
    # All connections stand before the first is read: that is what the queue has to hold.
    start = threading.Barrier(200)

    def ask(_):
        start.wait()
        return get(server.server_port, "/index.html")

    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(ask, range(200)))
    assert answers == [b"<p>A page</p>"] * 200


def test_the_queue_holds_two_hundred_before_any_is_taken(folder):
    """The kernel keeps the connections that the program has not yet taken; 5 are too few."""
    with serving.open_server(folder, 0) as server:  # nobody takes anything
        waiting = []
        for _ in range(200):
            waiting.append(socket.create_connection(server.server_address, timeout=5))
            waiting[-1].sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for connection in waiting:
            assert connection.recv(1000).startswith(b"HTTP/1.0 200")
            connection.close()
        server.shutdown()


def test_a_reader_who_leaves_a_loading_page_is_no_error(server, capfd):
    before = set(threading.enumerate())  # the server's, and what other tests have left behind
    leaver = socket.create_connection(server.server_address)
    leaver.sendall(b"GET /large.bin HTTP/1.0\r\n\r\n")
    assert leaver.recv(100).startswith(b"HTTP/1.0 200")
    # Closed with a reset, as a browser does that is closed itself.
    leaver.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    leaver.close()
    for thread in set(threading.enumerate()) - before:  # the request's
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert get(server.server_port, "/index.html")
    assert capfd.readouterr().err == ""


def test_another_error_is_told(server, capfd, monkeypatch):
    def broken(*_):
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(serving.Handler, "do_GET", broken)
    with pytest.raises(http.client.RemoteDisconnected):
        get(server.server_port, "/index.html")
    assert "a mistake of ours" in capfd.readouterr().err


def test_two_servers_never_share_a_port(folder):
    with serving.open_server(folder, 0) as first:
        port = first.server_port
        with serving.open_server(folder, port) as second:
            assert port < second.server_port < port + serving.TRIES


def test_where_no_port_is_free_it_says_so(folder, monkeypatch):
    monkeypatch.setattr(serving, "TRIES", 1)
    with serving.open_server(folder, 0) as server, pytest.raises(SystemExit, match=r"PORT=\.\.\."):
        serving.open_server(folder, server.server_port)


def test_port_0_tells_the_port_that_was_given(folder):
    code = "import sys, serving; serving.serve(sys.argv[1], 0)"
    command = [sys.executable, "-c", code, str(folder)]
    tools = ROOT / "book" / "tools"
    with subprocess.Popen(command, cwd=tools, stdout=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().split(" at ")[1].split()[0]
        assert urllib.request.urlopen(address + "index.html").read() == b"<p>A page</p>"
        process.terminate()


@pytest.mark.parametrize("text", ["0", "8000", "65535"])
def test_a_port_is_a_number_of_sixteen_bits(text):
    assert serving.port(text) == int(text)


@pytest.mark.parametrize("text", ["70000", "65536", "-1", "eighty", "", "8e3", "8000.0", "²"])
def test_what_is_no_port_is_refused_in_words(text):
    with pytest.raises(argparse.ArgumentTypeError, match="from 0 to 65535"):
        serving.port(text)

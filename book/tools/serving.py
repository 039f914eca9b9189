"""Serve a folder of pages to this computer only. Standard library only."""

import argparse
import os
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

HOST = "127.0.0.1"
TRIES = 50  # ports after the one that was asked for


def port(text):
    """A port number from the command line; 0 lets the system choose a free one."""
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(
            f"PORT is {text!r}; it must be a whole number from 0 to 65535 (0: any free port)"
        )
    return int(text)


class Handler(SimpleHTTPRequestHandler):
    """Files, without a line in the terminal for each."""

    def log_message(self, *_):
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """A thread for each request, and a queue that a page with all its files cannot fill."""

    request_queue_size = 1024  # the library's 5 turns away most of 200 requests at once
    allow_reuse_port = False  # two books on one port would each get half of the requests
    allow_reuse_address = os.name != "nt"  # on Windows this, too, would let two share a port

    def handle_error(self, request, client_address):
        """A reader who leaves a loading page is no error; anything else is told as usual."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def open_server(folder, first):
    """A server of the folder, on the first free port from `first` on.

    Raises SystemExit where none is free.
    """
    last = min(first + TRIES, 65536)
    for candidate in range(first, last):
        try:
            return Server((HOST, candidate), partial(Handler, directory=str(folder)))
        except OSError:
            continue
    sys.exit(f"No port from {first} to {last - 1} can be used: choose another with PORT=...")


def serve(folder, first):
    """Serve the folder until Ctrl-C."""
    with open_server(folder, first) as server:
        port = server.server_port  # the one that was given: 0 asks for any
        print(f"-- the book is at http://{HOST}:{port}/ (stop with Ctrl-C)", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()

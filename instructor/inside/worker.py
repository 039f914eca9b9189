"""The process beside a student's code: it runs it, calls it, and sends back what comes out.

It stands in a sandbox and knows no answer: what is asked comes over a socket, and so do the modules
of gptlib that a student may use, those of the exercises' answers taken out. One process has loaded
torch and waits; for each submission it is copied (forked), and the copy locks itself in
(`confine`), so that no submission sees another one.

    python worker.py CONTROL MODE MEMORY SECONDS

MODE: how it is kept apart from the next one. TRUST: by being a process. ALONE: it is the only one
in its sandbox. NESTED: by namespaces of its own inside the sandbox.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import select
import signal
import socket
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

import torch

from instructor.inside import confine, space, wire

TRUST, ALONE, NESTED = 0, 1, 2


def main(control: int, mode: int, memory: int, seconds: int) -> None:
    """Wait for submissions: each arrives as two sockets, and is served by a copy."""
    torch.set_num_threads(1)
    warm_up()
    own = confine.size()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # copies that end leave nothing behind
    with socket.socket(fileno=control) as orders:
        orders.sendall(b"ready")
        while True:
            word, handles, *_ = socket.recv_fds(orders, 16, 2)
            if not word:
                return
            if os.fork() == 0:
                orders.close()
                try:
                    guard(handles[0], handles[1], mode, memory + own, seconds)
                finally:
                    os._exit(0)
            for handle in handles:
                os.close(handle)


def warm_up() -> None:
    """Load now what torch loads when it is first used: no student's function is slow for that.

    No backward pass: it starts threads, which a copy would not have.
    """
    parameter = torch.nn.Parameter(torch.randn(4, 4))
    parameter.grad = torch.randn(4, 4)
    for kind in (torch.optim.SGD, torch.optim.AdamW):
        kind([parameter], lr=0.1).step()
    (parameter @ parameter).softmax(-1)
    for name in ("numpy", "matplotlib.pyplot", "regex", "tqdm", "IPython.display", "ipywidgets"):
        with contextlib.suppress(Exception):  # what notebooks import; not all of it need be there
            importlib.import_module(name)


def guard(channel: int, life: int, mode: int, memory: int, seconds: int) -> None:
    """Copy once more, into what is locked in, and end that when `life` is closed outside."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        if mode == NESTED:
            confine.apart()
    except OSError as error:
        os.write(life, f"apart {error}".encode())
        return
    child = os.fork()
    if child == 0:
        os.close(life)
        try:
            locked_in(channel, mode, memory, seconds)
        finally:
            os._exit(0)
    os.close(channel)
    watched = os.pidfd_open(child)
    select.select([watched, life], [], [])
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    with contextlib.suppress(OSError):  # nobody may ask any more
        os.write(life, f"ended {code}".encode())


def locked_in(channel: int, mode: int, memory: int, seconds: int) -> None:
    """Give up all that is not needed, then serve one submission."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for handle in (0, 1, 2):
        os.dup2(nothing, handle)
    os.closerange(3, channel)
    os.closerange(channel + 1, 256)
    confine.limits(memory, seconds, 4 * confine.MB)
    if mode != TRUST:
        confine.refuse()
    wire.imports = True
    with socket.socket(fileno=channel) as speak:
        space.serve(speak)


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))

"""`gptlib` in a process that does something in the middle of a run: started by torchrun, in tests.

python misbehaving.py ACT RANK STEP train …: that rank does it before that step, the first time that
torchrun starts it.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from gptlib import training
from gptlib.cli.main import main


def fail():
    raise RuntimeError("out of memory, made up.")


ACTS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "term": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "hang": lambda: time.sleep(1000),  # with a signal noted it sleeps on
    "fail": fail,
}


def misbehaves(act: str, rank: str, step: str) -> None:
    """Let a rank do `act` before a step."""
    update, first = training.Run.update, os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"

    def updated(run):
        if first and os.environ["RANK"] == rank and run.step + 1 == int(step):
            ACTS[act]()
        return update(run)

    training.Run.update = updated


if __name__ == "__main__":
    misbehaves(*sys.argv[1:4])
    sys.exit(main(sys.argv[4:]))

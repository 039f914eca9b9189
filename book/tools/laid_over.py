"""A small environment laid over `.venv`: some packages of its own, everything else from there.

What is its own stands in a lock in this folder's parent, each file with its hash. Torch is not
copied, so such an environment takes seconds and little room. Standard library only.
"""

import hashlib
import sys

from environment import STAMP, VENV, python_of, stamped, wanted
from running import ROOT, ask, run, say

PURELIB = "import sysconfig; print(sysconfig.get_path('purelib'))"


def wanted_here(lock, venv):
    """The stamp of a finished environment: all that it is made of, and its folder."""
    parts = (lock.read_bytes(), wanted(sys.version_info).encode(), bytes(VENV))
    return [hashlib.sha256(b"\n".join(parts)).hexdigest(), str(venv)]


def is_ready(lock, venv):
    """Whether the environment stands here and holds what is wanted."""
    return python_of(venv).exists() and stamped(venv) == wanted_here(lock, venv)


def make(lock, venv, what):
    """Make the environment, where it is not there yet; needs a network."""
    if is_ready(lock, venv):
        return
    say(f"making an environment with {what}")
    run([sys.executable, "-m", "venv", "--clear", "--without-pip", venv])
    # A bare path in a .pth file is searched after the environment's own packages.
    folders = [ask([python_of(VENV), "-c", PURELIB]), str(ROOT)]
    parent = ask([python_of(venv), "-c", PURELIB]) + "/parent.pth"
    with open(parent, "w", encoding="utf-8") as file:
        file.write("\n".join(folders) + "\n")
    pip = [python_of(VENV), "-m", "pip", "--python", python_of(venv), "install", "--quiet"]
    run([*pip, "--require-hashes", "--no-deps", "--only-binary=:all:", "-r", lock])
    stamp = "".join(f"{line}\n" for line in wanted_here(lock, venv))
    (venv / STAMP).write_text(stamp, encoding="utf-8")

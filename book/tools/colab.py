"""An environment with the versions that Colab has, laid over `.venv`, for a test.

What Colab has of the packages that a notebook meets stands in `book/colab.lock`, each with its
hashes; everything else, torch among it, is taken from `.venv`. Standard library only.
"""

import hashlib
import sys

from environment import BOOK, OTHERS, STAMP, VENV, python_of, stamped, wanted
from running import ROOT, ask, run, say

LOCK = BOOK / "colab.lock"
COLAB = OTHERS / "colab"
PURELIB = "import sysconfig; print(sysconfig.get_path('purelib'))"


def is_possible():
    """Whether Colab's versions have wheels for this Python: Colab's own is 3.13."""
    return sys.version_info < (3, 14)


def wanted_here():
    """The stamp of a finished environment: all that it is made of, and its folder."""
    parts = (LOCK.read_bytes(), wanted(sys.version_info).encode(), bytes(VENV))
    return [hashlib.sha256(b"\n".join(parts)).hexdigest(), str(COLAB)]


def is_ready():
    """Whether the environment stands here and holds what is wanted."""
    return python_of(COLAB).exists() and stamped(COLAB) == wanted_here()


def setup():
    """Make the environment, where it is possible and not there yet; needs a network."""
    if is_ready() or not is_possible():
        return
    say("making an environment with what Colab has")
    run([sys.executable, "-m", "venv", "--clear", "--without-pip", COLAB])
    # A bare path in a .pth file is searched after the environment's own packages.
    folders = [ask([python_of(VENV), "-c", PURELIB]), str(ROOT)]
    parent = ask([python_of(COLAB), "-c", PURELIB]) + "/parent.pth"
    with open(parent, "w", encoding="utf-8") as file:
        file.write("\n".join(folders) + "\n")
    pip = [python_of(VENV), "-m", "pip", "--python", python_of(COLAB), "install", "--quiet"]
    run([*pip, "--require-hashes", "--no-deps", "--only-binary=:all:", "-r", LOCK])
    stamp = "".join(f"{line}\n" for line in wanted_here())
    (COLAB / STAMP).write_text(stamp, encoding="utf-8")

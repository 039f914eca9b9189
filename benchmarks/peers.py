"""Where the projects are that ours is measured against: checkouts that you have."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The variable that names the checkout, a file by which it is known, and whose project it is.
PEERS = {
    "minbpe": ("GPTLIB_MINBPE", "minbpe/regex.py", "karpathy/minbpe"),
    "nanoGPT": ("GPTLIB_NANOGPT", "model.py", "karpathy/nanoGPT"),
}


def add_argument(parser: argparse.ArgumentParser, peer: str) -> None:
    """Let a script be told where its peer is: by `--peer`, or by the peer's variable."""
    variable = PEERS[peer][0]
    parser.add_argument(
        "--peer", default=os.environ.get(variable, ""), help=f"a checkout of {peer} (or {variable})"
    )


def checkout(folder: str, peer: str) -> Path:
    """The folder of a peer's checkout; SystemExit, saying how to get one, where it is none."""
    variable, known_by, project = PEERS[peer]
    path = Path(folder).expanduser().resolve()
    if folder and (path / known_by).is_file():
        return path
    reason = f"there is no {known_by} in {path}" if folder else "none is named"
    raise SystemExit(
        f"This needs a checkout of {peer}, and {reason}. Clone {project} from GitHub, and name its "
        f"folder by --peer or in the variable {variable}."
    )


def shakespeare() -> Path:
    """Where Tiny Shakespeare is expected: in GPTLIB_SHARED, or beside the course's folder."""
    shared = os.environ.get("GPTLIB_SHARED", ROOT.parent / "shared" / "data")
    return Path(shared, "tinyshakespeare.txt")

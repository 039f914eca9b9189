"""Where the projects are that ours is measured against: checkouts that you have."""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
# The variable that names the checkout, a file by which it is known, and whose project it is.
PEERS = {
    "minbpe": ("GPTLIB_MINBPE", "minbpe/regex.py", "karpathy/minbpe"),
    "nanoGPT": ("GPTLIB_NANOGPT", "model.py", "karpathy/nanoGPT"),
}
LACKING = 3  # the status of a script that could not measure all, for want of what others may have


class Lacking(SystemExit):
    """Ends a script whose needs are not at hand: it says what is lacking and how to get it.

    The status, LACKING, is one of its own: `make bench` names such a script and ends well.
    """

    def __init__(self, words: str):
        super().__init__(words)
        self.code = LACKING
        print(words, file=sys.stderr)


def add_argument(parser: argparse.ArgumentParser, peer: str) -> None:
    """Let a script be told where its peer is: by `--peer`, or by the peer's variable."""
    variable = PEERS[peer][0]
    parser.add_argument(
        "--peer", default=os.environ.get(variable, ""), help=f"a checkout of {peer} (or {variable})"
    )


def found(folder: str, peer: str) -> Path | str:
    """The folder of a peer's checkout; or, in words, why there is none and how to get one."""
    variable, known_by, project = PEERS[peer]
    path = Path(folder).expanduser().resolve()
    if folder and (path / known_by).is_file():
        return path
    reason = f"there is no {known_by} in {path}" if folder else "none is named"
    return (
        f"This needs a checkout of {peer}, and {reason}. Clone {project} from GitHub, and name its "
        f"folder by --peer or in the variable {variable}."
    )


def checkout(folder: str, peer: str) -> Path:
    """The folder of a peer's checkout; Lacking, saying how to get one, where it is none."""
    path = found(folder, peer)
    if isinstance(path, str):
        raise Lacking(path)
    return path


def installed(name: str) -> str | None:
    """How to get a peer that is a package; None where it is here. Nothing is fetched."""
    if importlib.util.find_spec(name):
        return None
    return f"This needs the package {name}, and it is not installed: pip install {name}."


def git_commit(checkout: Path) -> str:
    """The commit of a checkout, or "unknown" where git does not say."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short=12", "HEAD"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    return run.stdout.strip() or "unknown"


def from_file(path: Path, name: str) -> ModuleType:
    """A module out of a checkout, under a name of its own."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # a dataclass looks its own module up
    spec.loader.exec_module(module)
    return module


def shakespeare() -> Path:
    """Where Tiny Shakespeare is expected: in GPTLIB_SHARED, or beside the course's folder."""
    shared = os.environ.get("GPTLIB_SHARED", ROOT.parent / "shared" / "data")
    return Path(shared, "tinyshakespeare.txt")


def read(text: Path) -> str:
    """What stands in the file; Lacking where it is none."""
    if not text.is_file():
        raise Lacking(
            f"there is no {text}: name Tiny Shakespeare by --text, or its folder in GPTLIB_SHARED; "
            "gptlib.corpus.load('tinyshakespeare') fetches it."
        )
    return text.read_text(encoding="utf-8")

"""Install what is pinned, each file checked against its hash. Standard library only."""

import ast
import hashlib
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from running import ROOT, ask, clean_environment, say

REQUIREMENTS = ROOT / "requirements.txt"
LOCK = ROOT / "requirements.lock"
# Wheels for Linux that ask for a newer glibc than all others, which no marker can say. Where it is
# older they are left out, and appendix B shows what was recorded.
NEEDS_GLIBC = {"mlx": (2, 35), "mlx-cpu": (2, 35)}


def canonical(name):
    """A package's name as indexes compare it.

    >>> canonical("Jinja2"), canonical("ruamel_yaml")
    ('jinja2', 'ruamel-yaml')
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text):
    """The pinned lines of a requirements or lock file by name; a lock's hashes are part of them.

    >>> pins("a==1  # why\\nB==2 ; os_name == 'nt' \\\\\\n    --hash=sha256:00\\n")["b"]
    "B==2 ; os_name == 'nt' \\\\\\n    --hash=sha256:00"
    """
    entries = re.findall(r"^[A-Za-z0-9](?:\\\n|[^\n])*", text, flags=re.M)
    return {canonical(re.match(r"[\w.-]+", entry)[0]): entry for entry in entries}


def left_out():
    """The pinned packages that this computer's C library is too old for."""
    library, version = platform.libc_ver()
    if library != "glibc":
        return set()
    here = tuple(map(int, version.split(".")[:2]))
    return {name for name, needed in NEEDS_GLIBC.items() if here < needed}


def digest_of_pins():
    """The sha256 of requirements.txt, whatever its line ends; the lock says which it belongs to."""
    text = REQUIREMENTS.read_text(encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest()


def local_folders(program):
    """The folders of this computer that pip was told to take wheels from."""
    lines = (ask([program, "-m", "pip", "config", "list"]) or "").splitlines()
    values = [line.partition("=") for line in lines]
    values = [ast.literal_eval(v) for key, _, v in values if key.endswith(".find-links")]
    folders = dict.fromkeys(Path(path) for value in values for path in value.split())
    return [folder for folder in folders if folder.is_dir()]


def install_own(program, pip, locked):
    """Install this computer's own builds of pinned versions; return {name: file name}.

    A folder that pip's `find-links` names may hold another build, such as a torch without CUDA.
    Its hash is not in the lock and cannot be: whoever set pip up vouches for it.
    """
    own = {}
    for folder in local_folders(program):
        for wheel in sorted(folder.glob("*.whl")):
            name, version = wheel.name.split("-")[:2]
            entry = locked.get(canonical(name), "")
            if not re.match(rf"[\w.-]+=={re.escape(version.split('+')[0])}(\s|$)", entry):
                continue
            if hashlib.sha256(wheel.read_bytes()).hexdigest() in entry:
                continue
            # Quietly: a build for another Python is no candidate, and the lock's is taken.
            if ask([*pip, "--no-index", "--no-deps", wheel]) is not None:
                own[canonical(name)] = wheel.name
    return own


def install_locked(program, pip):
    """Install what the lock names, each file checked against its hashes."""
    text = LOCK.read_text(encoding="utf-8")
    if digest_of_pins() not in text:
        sys.exit("requirements.lock belongs to another requirements.txt: run `make lock` first.")
    locked = pins(text)
    named = pins(REQUIREMENTS.read_text(encoding="utf-8"))
    too_new = left_out()
    own = install_own(program, pip, locked)
    # What only the lock names is CUDA, which comes with the index's torch and not with an own one.
    left = {
        name: entry
        for name, entry in locked.items()
        if name not in {*own, *too_new} and (name in named or "torch" not in own)
    }
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "requirements.txt")
        file.write_text("\n".join(left.values()) + "\n", encoding="utf-8")
        command = [*pip, "--require-hashes", "--no-deps", "--only-binary=:all:", "-r", file]
        if subprocess.run([str(w) for w in command], cwd=ROOT, env=clean_environment()).returncode:
            reason = "With PIP_NO_INDEX set it may not ask any index: unset it. "
            reason = reason if os.environ.get("PIP_NO_INDEX", "0") not in ("0", "") else ""
            sys.exit(f"pip could not install the pinned packages: see above. {reason}".strip())
    for name in sorted(too_new):
        say(f"{name} was left out: this computer's glibc is too old for it")
    for name, file in own.items():
        say(f"{name} is this computer's own build, {file}, from a folder of pip's find-links")
    but = "every other package" if own else "every package"
    say(f"{but} was checked against the hashes in requirements.lock")

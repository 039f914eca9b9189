"""Run programs that cannot be led elsewhere by a variable, and write files whole.

Standard library only: this runs before anything is installed.
"""

import os
import secrets
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# What pip may be told from outside: where packages come from and how they are reached. All else,
# such as PIP_USER, PIP_TARGET or PIP_NO_DEPS, would put something else, or elsewhere.
PIP_KEPT = {
    f"PIP_{name}"
    for name in (
        *("INDEX_URL", "EXTRA_INDEX_URL", "FIND_LINKS", "NO_INDEX", "CONFIG_FILE", "CONSTRAINT"),
        *("CERT", "CLIENT_CERT", "TRUSTED_HOST", "PROXY", "KEYRING_PROVIDER", "CACHE_DIR"),
        *("NO_CACHE_DIR", "TIMEOUT", "DEFAULT_TIMEOUT", "RETRIES", "DISABLE_PIP_VERSION_CHECK"),
    )
}
# What would bring in other code or other kernels than those of the environment, or no figures.
DROPPED = {
    *("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "PYTHONUSERBASE", "PYTHONPLATLIBDIR"),
    *("PYTHONSAFEPATH", "PYTHONOPTIMIZE", "PYTHONINSPECT", "PYTHONEXECUTABLE"),
    *("__PYVENV_LAUNCHER__", "VIRTUAL_ENV", "JUPYTER_PATH", "MPLBACKEND"),
}


def say(text):
    """One line about what goes on."""
    print(f"-- {text}", flush=True)


def clean_environment(env=os.environ):
    """The variables for every program we start: those of `env` that cannot lead elsewhere."""
    kept = {
        name: value
        for name, value in env.items()
        if name not in DROPPED and (name in PIP_KEPT or not name.startswith("PIP_"))
    }
    # These win over pip's and Jupyter's configuration files; and text is UTF-8, on Windows too.
    ours = {"PIP_USER": "0", "PYTHONNOUSERSITE": "1", "JUPYTER_PREFER_ENV_PATH": "1"}
    return {**kept, **ours, "PYTHONUTF8": "1"}


def run(command, **kwargs):
    """Run a command in the repository's root; end this program with its status if it fails."""
    kwargs = {"cwd": ROOT, "env": clean_environment(), **kwargs}
    status = subprocess.run([str(part) for part in command], **kwargs).returncode
    if status:
        sys.exit(status)


def ask(command):
    """What a command prints, or None where it does not run or fails."""
    words = [str(part) for part in command]
    try:
        answer = subprocess.run(
            words, cwd=ROOT, env=clean_environment(), capture_output=True, text=True
        )
    except OSError:
        return None
    return None if answer.returncode else answer.stdout.strip()


@contextmanager
def replacing(path):
    """A new, empty file for bytes beside `path`; at the end it takes that name, or is removed.

    It is on the disk before. Its own name is drawn and must be free, so that nothing that lies
    there is written to, and two that write at once are not in each other's way. A link at `path`
    stays one, and what it leads to is replaced; the mode of the old file is kept.
    """
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with open(os.open(temporary, flags, 0o666), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            os.chmod(temporary, path.stat().st_mode & 0o7777)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name != "nt":  # where the names of a folder are safe by themselves
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write(path, text):
    """A text file in UTF-8, whole or not at all."""
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


def can_write():
    """Whether files can be made in the course's folder."""
    try:
        with tempfile.TemporaryFile(dir=ROOT):
            return True
    except OSError:
        return False


def cores():
    """How many processor cores this process may use.

    Inside a container that is often fewer than the computer has.
    """
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        return os.cpu_count() or 1

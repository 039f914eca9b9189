"""Run programs that cannot be led elsewhere by a variable. Standard library only."""

import os
import subprocess
import sys
import tempfile
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

"""Which Pythons this computer has, and which of them the course runs on.

Standard library only, and no syntax that an old Python does not know: an unsupported one has to
read this far to say what is wrong.
"""

import collections
import glob
import json
import os
import platform
import subprocess
import sys
import sysconfig

SUPPORTED = ((3, 11), (3, 14))  # the first and the last minor version that we test
UNFIT = ((3, 14, 1),)  # networkx, which torch needs, refuses this one release of Python

Python = collections.namedtuple("Python", "version program has_venv")

PROBE = """\
import importlib.util, json, sys
has_venv = all(importlib.util.find_spec(name) for name in ("venv", "ensurepip"))
base = getattr(sys, "_base_executable", sys.executable)
print(json.dumps([sys.version_info[:3], base, has_venv]))
"""

# Where installers put a Python that is not on PATH.
PLACES = (
    os.path.join(os.environ.get("PYENV_ROOT", "~/.pyenv"), "versions/*/bin/python"),
    "~/.local/share/uv/python/*/bin/python3",
    "/opt/homebrew/opt/python@3.*/libexec/bin/python",
    "/Library/Frameworks/Python.framework/Versions/3.*/bin/python3",
    os.path.join(os.environ.get("LOCALAPPDATA", "~"), "Programs/Python/Python3*/python.exe"),
)


def is_supported(version):
    """Whether the course runs on this version of Python.

    >>> is_supported((3, 14, 0)), is_supported((3, 14, 1)), is_supported((3, 10, 13))
    (True, False, False)
    """
    low, high = SUPPORTED
    return low <= tuple(version[:2]) <= high and tuple(version[:3]) not in UNFIT


def probe(program):
    """The Python behind a program, asked by running it, or None where it does not run.

    A name says little: a version manager leaves a `python3.13` on PATH that only prints an error.
    """
    try:
        # -I: the answer must not depend on PYTHON* variables or on the folder we stand in.
        answer = subprocess.run(
            [program, "-I", "-c", PROBE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=60,
        )
        version, base, has_venv = json.loads(answer.stdout.decode("utf-8", "replace"))
        return Python(tuple(version), base, has_venv)
    except (OSError, ValueError, TypeError, subprocess.TimeoutExpired):
        return None


def candidates():
    """Programs that may be Pythons: those of GPTLIB_PYTHONS, or all on PATH and in usual places."""
    named = os.environ.get("GPTLIB_PYTHONS")
    if named is not None:
        return [program for program in named.split(os.pathsep) if program]
    low, high = SUPPORTED
    names = [f"python3.{minor}" for minor in range(high[1], low[1] - 1, -1)]
    names += ["python3", "python"]
    end = ".exe" if os.name == "nt" else ""
    folders = os.environ.get("PATH", "").split(os.pathsep)
    on_path = [os.path.join(folder, name + end) for folder in folders for name in names]
    elsewhere = [path for place in PLACES for path in sorted(glob.glob(os.path.expanduser(place)))]
    return [path for path in on_path + elsewhere if os.path.isfile(path)]


def found():
    """Every supported Python of this computer, one for each version, the newest last."""
    answers = {}
    for program in dict.fromkeys(os.path.realpath(path) for path in candidates()):
        python = probe(program)
        if python and is_supported(python.version):
            answers.setdefault(python.version, python)
    return [answers[version] for version in sorted(answers)]


def no_wheels():
    """Why this computer cannot install the pinned torch, or None where it can."""
    built_for = sysconfig.get_platform()
    if sys.maxsize < 2**32:
        return "This is a 32-bit Python, and PyTorch needs a 64-bit one: install that beside it."
    if built_for == "win-arm64":
        return (
            "PyTorch 2.13 has no package for a Windows ARM64 Python. The x86-64 Python runs on the "
            "same computer: install that one and use it here."
        )
    if sys.platform == "darwin" and platform.machine() == "x86_64":
        return (
            "PyTorch has no package for Macs with an Intel processor any more. Read the built "
            "book, run the chapters on Colab, or use a Linux computer or virtual machine."
        )
    if sys.platform == "darwin" and int(platform.mac_ver()[0].split(".")[0] or 99) < 14:
        return "PyTorch 2.13 needs macOS 14 or newer, and this is macOS " + platform.mac_ver()[0]
    return None


def check(version=sys.version_info):
    """End with clear words, before pip says it unclearly, where the course cannot run."""
    if is_supported(version):
        reason = no_wheels()
        if reason:
            sys.exit(reason)
        return
    (low, high), pythons = SUPPORTED, found()
    advice = f"None was found on this computer: install Python {high[0]}.{high[1]}."
    if pythons:
        program = pythons[-1].program
        advice = f"Choose another one:  make book PYTHON={program}\n"
        advice += f"Without make:        {program} book/tasks.py book"
    but = "".join(f" (but not {'.'.join(map(str, unfit))})" for unfit in UNFIT)
    sys.exit(
        f"This course needs Python {low[0]}.{low[1]} to {high[0]}.{high[1]}{but}, and "
        f"{sys.executable} is Python {'.'.join(map(str, version[:3]))}.\n{advice}"
    )

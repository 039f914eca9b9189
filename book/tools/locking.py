"""Write the three locks: every pin with the hashes of its wheels, for every platform.

    python book/tasks.py lock

uv resolves requirements.txt from the index's metadata alone, in a minute and without downloading
a package. pip could answer the same questions with `--platform` and `--python-version`, but it
evaluates markers for the computer it runs on, and downloads what it finds. Standard library only.
"""

import datetime
import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from environment import python_of
from packages import LOCK, NEEDS_GLIBC, REQUIREMENTS, digest_of_pins, pins
from running import ROOT, clean_environment, run, say, write

UV = "uv==0.13.9"
COLAB = ROOT / "book" / "colab.lock"  # its versions are written by hand, its hashes here
TRACKERS = ROOT / "book" / "trackers.lock"  # what the extras below bring beside our pins
EXTRAS = ("tensorboard", "mlflow", "trackio")
OLDER = ("importlib-metadata", "pillow")  # MLflow and Trackio want an older one than ours
# The oldest release of each minor version: a pin that asks for 3.11.5 must not pass as 3.11.
PYTHONS = ("3.11.0", "3.12.0", "3.13.0", "3.14.0")
PLATFORMS = {  # by uv's names
    "Linux x86-64": "x86_64-manylinux_2_28",
    "Linux ARM64": "aarch64-manylinux_2_28",
    "macOS 14 ARM64": "aarch64-apple-darwin",
    "Windows x86-64": "x86_64-pc-windows-msvc",
}
# What asks for a newer glibc is looked for here, and left out where Linux is older.
NEWER = {
    "Linux x86-64, glibc 2.35": "x86_64-manylinux_2_35",
    "Linux ARM64, glibc 2.35": "aarch64-manylinux_2_35",
}
# Where the pinned torch has no wheel; the README and pythons.no_wheels say what to do there.
NO_TORCH = {"macOS x86-64": "x86_64-apple-darwin", "Windows ARM64": "aarch64-pc-windows-msvc"}

HEADER = """\
# Every pin of requirements.txt, and what torch brings along under Linux, with the hashes of its
# files. Written by `python book/tasks.py lock` on {date}; not to be edited by hand.
# It belongs to the requirements.txt with the sha256 {digest}.
# Every wheel is there for Python {pythons}
# on {platforms};
# under Linux {newer} need glibc 2.35.
# There is no torch for {missing}.
"""


def header(date):
    """The head of the lock that belongs to the requirements.txt of now."""
    return HEADER.format(
        date=date,
        digest=digest_of_pins(),
        pythons=", ".join(PYTHONS),
        platforms=", ".join(PLATFORMS),
        newer=" and ".join(NEEDS_GLIBC),
        missing=", ".join(NO_TORCH),
    )


def resolve(uv, *options, file="requirements.txt"):
    """What uv resolves a file's pins to, wheels only; then its complaint, or None."""
    command = [uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--no-config"]
    command += ["--only-binary", ":all:", *options, file]
    # torch has wheels for macOS 14 on; uv would ask for macOS 13.
    environment = {**clean_environment(), "MACOSX_DEPLOYMENT_TARGET": "14.0"}
    environment["UV_PYTHON_DOWNLOADS"] = "never"  # it need not run a Python to resolve for it
    certificates = os.environ.get("PIP_CERT")
    if certificates:
        environment.setdefault("SSL_CERT_FILE", certificates)
    answer = subprocess.run(
        [str(word) for word in command], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    return answer.stdout, answer.stderr if answer.returncode else None


def versions(text):
    """The pins of a lock without their hashes.

    >>> versions("# why\\na==1 \\\\\\n    --hash=sha256:00\\n")
    ['a==1']
    """
    return [entry.split()[0] for entry in pins(text).values()]


def comments(text):
    """The lines that a lock begins with.

    >>> comments("# why\\na==1\\n")
    '# why\\n'
    """
    return "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))


def pins_for(platform):
    """The pins for a platform: those that need a newer glibc are no part of an older Linux.

    >>> pins_for("aarch64-apple-darwin") == REQUIREMENTS.read_text(encoding="utf-8")
    True
    """
    text = REQUIREMENTS.read_text(encoding="utf-8")
    if "manylinux" not in platform or platform in NEWER.values():
        return text
    return "\n".join(entry for name, entry in pins(text).items() if name not in NEEDS_GLIBC) + "\n"


def trackers(uv, folder, locked):
    """The lock of the trackers: what their extras bring that is not in `locked` already.

    Versions stay as they are in the lock of now; a line that is taken out of it is found anew.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked, ours, out = (Path(folder, f"{name}.txt") for name in ("asked", "ours", "trackers"))
    extras = [line for name in EXTRAS for line in project["optional-dependencies"][name]]
    asked.write_text("\n".join(extras) + "\n", encoding="utf-8")
    pinned = pins(REQUIREMENTS.read_text(encoding="utf-8")).items()
    ours.write_text("\n".join(e for n, e in pinned if n not in OLDER) + "\n", encoding="utf-8")
    out.write_text("\n".join(versions(TRACKERS.read_text("utf-8"))) + "\n", encoding="utf-8")
    options = ["--universal", "--python-version", PYTHONS[0], "--constraints", ours]
    _, complaint = resolve(uv, "--generate-hashes", *options, "--output-file", out, file=asked)
    if complaint:
        sys.exit(f"the trackers do not resolve:\n{complaint}")
    there = set(versions(locked))
    found = [e for e in pins(out.read_text("utf-8")).values() if e.split()[0] not in there]
    text = "\n".join(entry for entry in found if "'emscripten'" not in entry) + "\n"
    out.write_text("\n".join(e.split("\\")[0] for e in pins(text).values()), encoding="utf-8")
    for name, platform in PLATFORMS.items():
        for version in PYTHONS:
            options = ["--no-deps", "--python-platform", platform, "--python-version", version]
            _, complaint = resolve(uv, *options, file=out)
            if complaint:
                sys.exit(f"the trackers, {name}, Python {version}: {complaint}")
    return text


def lock():
    """Resolve the pins for all Pythons and platforms, and write the three locks, each whole."""
    with tempfile.TemporaryDirectory() as folder:
        venv = Path(folder, "venv")
        run([sys.executable, "-m", "venv", venv])
        run([python_of(venv), "-m", "pip", "--quiet", "install", UV])
        uv = python_of(venv).with_name("uv" + python_of(venv).suffix)
        universal = ["--universal", "--python-version", PYTHONS[0]]
        text, complaint = resolve(uv, "--generate-hashes", *universal)
        if complaint:
            sys.exit(f"the pins do not resolve:\n{complaint}")
        file = Path(folder, "colab.txt")
        file.write_text("\n".join(versions(COLAB.read_text("utf-8"))) + "\n", encoding="utf-8")
        colab, complaint = resolve(uv, "--generate-hashes", "--no-deps", *universal, file=file)
        if complaint:
            sys.exit(f"what Colab has does not resolve:\n{complaint}")
        # Universal means Python in the browser, too, where the course does not run.
        kept = [entry for entry in pins(text).values() if "'emscripten'" not in entry]
        text = "\n".join(kept) + "\n"
        strays = set(pins(text)) - set(pins(REQUIREMENTS.read_text("utf-8")))
        strays = {n for n in strays if not n.startswith(("nvidia-", "cuda-", "triton"))}
        if strays:
            sys.exit(f"requirements.txt is not complete; pin these too: {', '.join(strays)}")
        for name, platform in {**PLATFORMS, **NEWER, **NO_TORCH}.items():
            file.write_text(pins_for(platform), encoding="utf-8")
            for version in PYTHONS:
                options = ["--python-platform", platform, "--python-version", version]
                _, complaint = resolve(uv, *options, file=file)
                if bool(complaint) != (name in NO_TORCH):
                    sys.exit(f"{name}, Python {version}: {complaint or 'torch has a wheel now'}")
                says = "no torch" if complaint else "every wheel is there"
                say(f"{name}, Python {version}: {says}")
        tracked = trackers(uv, folder, text)
    write(LOCK, header(datetime.date.today().isoformat()) + text)
    write(COLAB, comments(COLAB.read_text("utf-8")) + colab)
    write(TRACKERS, comments(TRACKERS.read_text("utf-8")) + tracked)
    say(f"{LOCK.name}: {len(pins(text))} packages, {text.count('--hash=')} hashes")

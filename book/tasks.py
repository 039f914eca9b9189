"""The book's commands: set up, build, test. Needs nothing but Python; `make` calls it too.

    python book/tasks.py book        build the book and serve it on this computer
    python book/tasks.py test        build it and run every test
    python book/tasks.py lab         open the chapters in JupyterLab

Every command sets up first: it makes `.venv` with the pinned packages, gptlib itself and the
page's JavaScript (tools/environment.py). When that is done already, it takes no time and needs no
network.

    GPTLIB_PYTHONS    the other Pythons that `pythons` and `test` use, with the path separator
                      between them, instead of all that are found; empty: none
    GPTLIB_SHARED     the folder with the real texts that some tests and measurements use
    GPTLIB_MINBPE, GPTLIB_NANOGPT
                      checkouts of the peers that `bench` and `speedrun` measure ours
                      against
"""

import argparse
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "tools"))

import pythons as found_pythons

if __name__ == "__main__":
    found_pythons.check()  # before anything is read that an old Python does not understand

import colab
import environment
import recordings
import trackers
from environment import VENV, python_of
from running import ROOT, can_write, clean_environment, cores, replacing, run, say
from serving import port, serve

HTML = ROOT / "_build" / "html"
VENV_PYTHON = python_of(VENV)
MOST_WORKERS = 4  # of the tests; each may take a gigabyte of memory
LACKING = 3  # the status of a measurement that lacks a peer: benchmarks/peers.py


def setup(_args):
    """Make .venv with everything that is pinned; do nothing when that is done already."""
    environment.setup()


def pythons(_args):
    """Make an environment for each other Python of this computer: gigabytes, for the tests.

    And two small ones: with the versions that Colab has, and with the trackers.
    """
    environment.setup()
    environment.setup_others()
    colab.setup()
    trackers.setup()


def book(args):
    """Execute what changed, build the HTML book with warnings as errors, and serve it."""
    if can_write():
        build(not args.no_solutions)
    elif (HTML / "index.html").exists():
        say("this folder cannot be written to: the book is shown as it was built last")
    else:
        sys.exit(
            f"{ROOT} cannot be written to, and no built book is in it: copy the course into a "
            "folder of your own."
        )
    if not args.no_serve:
        serve(HTML, args.port)


def build(solutions=True):
    """Set up, and build the HTML book, with the solutions of its exercises or without them."""
    environment.setup()
    env = {**clean_environment(), "GPTLIB_SOLUTIONS": "yes" if solutions else "no"}
    run([VENV_PYTHON, "book/tools/bookbuild.py"], env=env)


def zip_(args):
    """Build the book and pack it into one file, _build/gptlib-book.zip, to hand out."""
    build(not args.no_solutions)
    target = HTML.with_name("gptlib-book.zip")
    with replacing(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(HTML.rglob("*")):
            archive.write(path, Path("gptlib-book", path.relative_to(HTML)))
    say(f"unpack {target.relative_to(ROOT)} anywhere and open gptlib-book/index.html")


def pdf(_args):
    """Build the book and print it, whole, into _build/gptlib-book.pdf; needs a Chromium."""
    build()
    run([VENV_PYTHON, "book/tools/pdf.py"])


def test(args):
    """Build the book, execute every chapter and run every test; extra words go to pytest."""
    environment.setup()
    words, env = args.words, clean_environment()
    if not words:
        words, workers = ["tests"], min(cores(), MOST_WORKERS)
        if workers > 1:
            # Whole files to each, and one thread: two threads would wait for each other's cores.
            words += ["-n", workers, "--dist", "loadfile", "--no-loadscope-reorder"]
            env["OMP_NUM_THREADS"] = "1"
    run([VENV_PYTHON, "-m", "pytest", *words], env=env)


def lab(args):
    """Open the chapters in JupyterLab."""
    environment.setup()
    run([VENV_PYTHON, "-m", "jupyterlab", "--notebook-dir", ROOT, *(args.words or ["chapters"])])


def bench(args):
    """Run the measurements against a peer, or the one script that is named.

    A peer, a GPU or a text that is not at hand is no failure of a run of all: the script has said
    what it lacks, and the rest ran. Who names one script gets its own status.
    """
    environment.setup()
    names = sorted(path.stem for path in (ROOT / "benchmarks" / "results").glob("*.json"))
    if args.words and not args.words[0].startswith("-"):
        name = args.words.pop(0)
        if name not in names:
            sys.exit(f"no benchmark {name!r}; there are {', '.join(names)}")
        names = [name]
    failed, lacking = [], []
    for name in names:
        say(f"benchmarks/{name}.py")
        command = [str(VENV_PYTHON), f"benchmarks/{name}.py", *args.words]
        # One that cannot run says why; the others still run.
        status = subprocess.run(command, cwd=ROOT, env=clean_environment()).returncode
        if status:
            (lacking if status == LACKING else failed).append(name)
    if lacking:
        say(f"not measured whole: {', '.join(lacking)}; what is lacking stands above")
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}; the reason stands above")
    if lacking == names and len(names) == 1:
        sys.exit(LACKING)


def speedrun(args):
    """Train to nanoGPT's loss in a part of its time; extra words go to benchmarks/speedrun.py."""
    environment.setup()
    run([VENV_PYTHON, "benchmarks/speedrun.py", *args.words])


def records(args):
    """Make the recorded runs again, script by script; --list says which, and how long they take."""
    environment.setup()
    recordings.make(args.words, VENV_PYTHON, ROOT)


def lint(_args):
    """Check the style of all code, notebooks included, and the types of the package."""
    environment.setup()
    run([VENV_PYTHON, "-m", "ruff", "check", "."])
    run([VENV_PYTHON, "-m", "ruff", "format", "--check", "."])
    run([VENV_PYTHON, "-m", "mypy"])


def notebooks(args):
    """Write the set-up cell into every chapter, execute it, and store only the exact outputs."""
    environment.setup()
    run([VENV_PYTHON, "book/tools/notebooks.py", *args.words])


def grade(args):
    """Mark a folder of notebooks: grade SUBMISSIONS --out grades.csv; --help after it says more."""
    instruct("grade", args)


def release(args):
    """Make what students are handed: release --chapters 3,4 --out DIR."""
    instruct("release", args)


def nbgrader(args):
    """Write notebooks for nbgrader's formgrader: nbgrader DIR --chapters 3,4."""
    instruct("export-nbgrader", args)


def instruct(verb, args):
    """Run a command of the instructor's kit, in the folder from which this was called."""
    environment.setup()
    env = clean_environment()
    env["PYTHONPATH"] = str(ROOT)
    command = [str(VENV_PYTHON), "-m", "instructor", verb, *args.words]
    sys.exit(subprocess.run(command, env=env).returncode)


def lock(_args):
    """Write requirements.lock from requirements.txt, and the small locks; needs a network."""
    import locking

    locking.lock()


def clean(_args):
    """Remove the built book and its cache; .venv stays."""
    shutil.rmtree(ROOT / "_build", ignore_errors=True)


VERBS = (
    setup, pythons, book, zip_, pdf, test, lab, bench, speedrun, records, lint, notebooks, grade,
    release, nbgrader, lock, clean,
)  # fmt: skip
# Their words go on to what they call.
FORWARD = (test, lab, bench, speedrun, records, notebooks, grade, release, nbgrader)


def main(words=None):
    """Read the command line, or `words`, and do what it says."""
    parser = argparse.ArgumentParser(description="The commands of the course.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="command")
    for verb in VERBS:
        sub = verbs.add_parser(verb.__name__.strip("_"), help=verb.__doc__.splitlines()[0])
        sub.set_defaults(verb=verb)
        if verb is book:
            sub.add_argument("--no-serve", action="store_true", help="build only")
            sub.add_argument("--port", type=port, default=8000, help="the first port to try")
        if verb in (book, zip_):
            sub.add_argument("--no-solutions", action="store_true", help="leave solutions out")
    args, words = parser.parse_known_args(words)
    if words and args.verb not in FORWARD:
        parser.error(f"unknown words: {' '.join(words)}")
    args.words = words
    args.verb(args)


if __name__ == "__main__":
    main()

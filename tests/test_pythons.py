"""The course on every other Python of this computer, each in an environment of its own.

`make pythons` makes the environments while there is a network. The package's and the corpus's
tests run on each, and three chapters with their stored outputs; the summary names what was found.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import environment
import locking
import pytest
import pythons
from chapterfiles import chapters
from course import course
from running import ROOT, ask

# What a change of Python, or of torch's build, could break; no browser, no book, no long training.
TESTS = [
    f"tests/test_{name}.py"
    for name in (
        *("package", "tokenizer", "batches", "corpus", "attention", "layers", "block", "gpt"),
        *("generation", "checkpoint", "loss", "streaming", "plots", "notebook", "cli"),
        *("bigram", "merges", "files", "saved", "tales", "scoring"),
    )
]
# Minutes of work that depends on no Python: reading what was written, checking types, training,
# killing, and reading hundreds of forged checkpoints in other processes.
LONG = (
    *("one_text_one_derivation", "labelled_places", "the_types_fit", "every_skill_is_explained"),
    *("two_tokens_of_memory", "random_table", "three_functions", "short_steps", "tied_table"),
    *("hundred_kills", "every_single_step", "two_at_once", "every_one", "more_than_what_python"),
    *("multiple_of_the_size", "multiple_of_their_size", "in_parts"),
    *("every_process", "in_one_part", "class_is_no_name"),
    *("goes_away", "gradient_descent_finds", "fit_comes_close"),
)
SLOW = " and ".join(f"not {name}" for name in LONG)
THREE = ("01_tokenizer", "02_bigram", "09_modern")
CHAPTERS = [str(path) for path in chapters(course()) if path.stem in THREE]
OTHERS = environment.others()


def run(venv, *words) -> str:
    """What pytest says in an environment."""
    command = [environment.python_of(venv), "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, (answer.stdout + answer.stderr)[-4000:]
    return answer.stdout.strip().splitlines()[-1]


if OTHERS:  # a computer may have one Python only

    @pytest.mark.slow
    @pytest.mark.parametrize("venv", OTHERS, ids=lambda venv: venv.name)
    def test_the_package_and_three_chapters_on_another_python(venv, record_property):
        python = OTHERS[venv]
        if not environment.is_ready(venv, python.version):
            record_property("python", f"{venv.name}: found, but has no environment")
            pytest.skip(f"no environment for Python {venv.name}: `make pythons` makes it")
        code = "import sys, gptlib; print(*sys.version_info[:3], sep='.')"
        assert ask([environment.python_of(venv), "-I", "-c", code]) == venv.name
        said = run(venv, "-k", SLOW, *TESTS, "--nbval-lax", *CHAPTERS)
        count = int(re.search(r"(\d+) passed", said)[1])
        record_property(
            "python", f"{venv.name}: {count} tests of the package and of chapters passed"
        )
        assert count > 200


def test_every_supported_python_is_run_or_resolved(record_property):
    found = {python.version for python in OTHERS.values()} | {tuple(sys.version_info[:3])}
    record_property("python", f"{'.'.join(map(str, sys.version_info[:3]))}: all tests")
    for text in locking.PYTHONS:
        version = tuple(map(int, text.split(".")))
        assert pythons.is_supported(version)
        if version[:2] not in {here[:2] for here in found}:
            minor = ".".join(text.split(".")[:2])
            where = "not asked for" if "GPTLIB_PYTHONS" in os.environ else "not on this computer"
            record_property("python", f"{minor}: {where}; every pin resolves for it")


def unusable(named: str) -> list[str]:
    """What GPTLIB_PYTHONS names and is no Python that the course runs on."""
    probes = {program: pythons.probe(program) for program in named.split(os.pathsep) if program}
    return [p for p, python in probes.items() if not (python and pythons.is_supported(python[0]))]


def test_every_python_that_is_asked_for_is_there():
    """A name that leads nowhere would leave its Python out without a word."""
    assert unusable(os.environ.get("GPTLIB_PYTHONS", "")) == []
    assert unusable(os.pathsep.join([sys.executable, "/no/python3", ""])) == ["/no/python3"]


def test_it_would_fail_where_a_test_fails(tmp_path):
    """The check above, checked on this Python."""
    (tmp_path / "test_x.py").write_text("def test_x(): assert 1 + 1 == 3\n")
    with pytest.raises(AssertionError, match="1 failed"):
        run(Path(sys.prefix), str(tmp_path / "test_x.py"), "--rootdir", str(tmp_path))

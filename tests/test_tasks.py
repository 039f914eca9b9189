"""The commands: what the Makefile, the workflow and the pages call is there, and ends rightly."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import environment
import pytest
import tasks
import yaml
from pythons import SUPPORTED
from running import ROOT, clean_environment

VERBS = {verb.__name__.strip("_") for verb in tasks.VERBS}
WORKFLOW = ROOT / ".github" / "workflows" / "book.yml"


def called(text: str) -> set[str]:
    """The verbs that a text calls, by make or by tasks.py."""
    calls = re.findall(r"(?:\bmake|book/tasks\.py|\$\(TASKS\)) ([a-z]+)", text)
    return set(calls)


# The verbs ---------------------------------------------------------------------------------------


def test_the_makefile_has_every_verb_and_no_other():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert called(text) == VERBS
    targets = set(re.findall(r"^([a-z]+):", text, flags=re.M))
    (phony,) = re.findall(r"^\.PHONY: (.*)$", text, flags=re.M)
    assert targets == set(phony.split()) == VERBS | {"help"}


@pytest.mark.parametrize("name", ["README.md", "book/how_to_use.md", ".ci/run"])
def test_every_command_that_is_named_exists(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    # In a page, only what is set as code is a command: "to make the book" is none.
    code = r"```sh\n.*?```|`[^`\n]+`" if name.endswith(".md") else r".+"
    spans = re.findall(code, text, flags=re.S)
    names = set().union(*map(called, spans))
    assert names and names <= VERBS


def test_an_unknown_word_and_a_bad_port_are_refused_in_words():
    for words in (["book", "--port", "70000"], ["book", "nonsense"], ["nonsense"], []):
        command = [sys.executable, ROOT / "book" / "tasks.py", *words]
        answer = subprocess.run(command, capture_output=True, text=True)
        assert answer.returncode == 2 and "Traceback" not in answer.stderr


# The workflow ------------------------------------------------------------------------------------


def test_the_workflow_only_calls_what_is_called_here():
    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    lines = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    assert lines
    for line in lines:
        words = re.fullmatch(r"python book/tasks\.py ([a-z]+)( --no-serve)?", line)
        assert words and words[1] in VERBS, line


def test_the_workflow_runs_both_commands_on_every_system_and_python():
    jobs = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    matrix = jobs["test"]["strategy"]["matrix"]
    (_, low), (_, high) = SUPPORTED
    assert matrix["python"] == [f"3.{minor}" for minor in range(low, high + 1)]
    assert {name.split("-")[0] for name in matrix["system"]} == {"ubuntu", "macos", "windows"}
    assert jobs["test"]["runs-on"] == "${{ matrix.system }}"
    runs = " ".join(step.get("run", "") for step in jobs["test"]["steps"])
    assert {"book", "test"} <= called(runs)
    assert jobs["publish"]["needs"] == "test"
    used = [step.get("uses", "") for step in jobs["publish"]["steps"]]
    assert any(name.startswith("actions/deploy-pages@") for name in used)
    (upload,) = [s for s in jobs["publish"]["steps"] if "pages-artifact" in s.get("uses", "")]
    assert ROOT / upload["with"]["path"] == tasks.HTML


# zip ---------------------------------------------------------------------------------------------


def test_the_zip_holds_the_whole_book(monkeypatch, tmp_path):
    pages = tmp_path / "html"
    (pages / "chapters").mkdir(parents=True)
    (pages / "index.html").write_text("start")
    (pages / "chapters" / "01.html").write_text("one")
    monkeypatch.setattr(tasks, "ROOT", tmp_path)
    monkeypatch.setattr(tasks, "HTML", pages)
    monkeypatch.setattr(tasks, "build", lambda: None)
    tasks.main(["zip"])
    with zipfile.ZipFile(tmp_path / "gptlib-book.zip") as archive:
        files = {name: archive.read(name) for name in archive.namelist() if name[-1] != "/"}
    assert files == {"gptlib-book/index.html": b"start", "gptlib-book/chapters/01.html": b"one"}
    assert {path.name for path in tmp_path.iterdir()} == {"html", "gptlib-book.zip"}


# bench -------------------------------------------------------------------------------------------


@pytest.fixture
def scripts(monkeypatch, tmp_path):
    """Three measurements: one that works, one whose peer is missing, and one more that works."""
    folder = tmp_path / "benchmarks"
    (folder / "results").mkdir(parents=True)
    bodies = {"a": "print('a', sys.argv[1:])", "b": "sys.exit('no peer')", "c": "print('c')"}
    for name, body in bodies.items():
        (folder / f"{name}.py").write_text(f"import sys\n{body}\n")
        (folder / "results" / f"{name}.json").write_text("{}")
    monkeypatch.setattr(tasks, "ROOT", tmp_path)
    monkeypatch.setattr(tasks, "VENV_PYTHON", Path(sys.executable))
    monkeypatch.setattr(environment, "setup", lambda: None)


def test_bench_runs_the_rest_when_a_peer_is_missing(scripts, capfd):
    with pytest.raises(SystemExit, match="not measured: b;"):
        tasks.main(["bench"])
    said = capfd.readouterr()
    assert "a []" in said.out and "\nc\n" in said.out and "no peer" in said.err


def test_bench_runs_the_one_that_is_named_and_ends_well(scripts, capfd):
    tasks.main(["bench", "a", "--rounds", "2"])
    said = capfd.readouterr().out
    assert "a ['--rounds', '2']" in said and "c\n" not in said


def test_bench_names_the_scripts_there_are(scripts):
    with pytest.raises(SystemExit, match="no benchmark 'nonsense'; there are a, b, c"):
        tasks.main(["bench", "nonsense"])


@pytest.mark.parametrize(
    ("name", "variable"), [("bpe_train", "GPTLIB_MINBPE"), ("step_time", "GPTLIB_NANOGPT")]
)
def test_a_benchmark_without_its_peer_says_how_to_get_it(name, variable, tmp_path):
    for folder in ("", str(tmp_path)):
        answer = subprocess.run(
            [sys.executable, ROOT / "benchmarks" / f"{name}.py"],
            env={**clean_environment(), variable: folder},
            capture_output=True,
            text=True,
        )
        assert answer.returncode == 1 and "Traceback" not in answer.stderr
        assert variable in answer.stderr and "Clone karpathy/" in answer.stderr

"""The commands: what the Makefile, the workflow and the pages call is there, and ends rightly."""

from __future__ import annotations

import ast
import base64
import doctest
import importlib
import json
import os
import re
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import environment
import pytest
import recordings
import running
import tasks
import yaml
from pythons import SUPPORTED
from running import ROOT, clean_environment

from gptlib import corpus

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


TOOLS = {path.stem: path.read_text("utf-8") for path in (ROOT / "book" / "tools").glob("*.py")}


@pytest.mark.parametrize("name", sorted(name for name, text in TOOLS.items() if ">>> " in text))
def test_the_worked_values_of_the_tools_come_out(name):
    told = doctest.testmod(importlib.import_module(name))
    assert told.attempted and not told.failed


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


# Files that are written whole --------------------------------------------------------------------


@pytest.fixture
def synced(monkeypatch):
    """What is put on the disk, and what takes a name, in order."""
    done, fsync, replace = [], os.fsync, os.replace
    kind = {True: "folder", False: "file"}
    seen = lambda handle: done.append(kind[stat.S_ISDIR(os.fstat(handle).st_mode)])  # noqa: E731
    monkeypatch.setattr(os, "fsync", lambda handle: (seen(handle), fsync(handle)))
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("name"), replace(a, b)))
    return done


def test_a_file_is_on_the_disk_before_it_takes_its_name(tmp_path, synced):
    running.write(tmp_path / "a.lock", "one\n")
    running.write(tmp_path / "a.lock", "two\n")
    assert synced == ["file", "name", *(["folder"] if os.name != "nt" else [])] * 2
    assert (tmp_path / "a.lock").read_bytes() == b"two\n" and os.listdir(tmp_path) == ["a.lock"]


def test_a_file_that_fails_half_way_leaves_the_old_one_and_nothing_else(tmp_path):
    running.write(tmp_path / "a.lock", "old")
    with pytest.raises(ZeroDivisionError), running.replacing(tmp_path / "a.lock") as file:
        file.write(b"new")
        1 / 0  # noqa: B018
    assert (tmp_path / "a.lock").read_text() == "old" and os.listdir(tmp_path) == ["a.lock"]


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_nothing_is_written_through_a_link_that_lies_in_the_way(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in ("a.tmp", f".a.lock.{'0' * 12}.tmp"):
        (tmp_path / name).symlink_to(victim)
    running.write(tmp_path / "a.lock", "text")
    monkeypatch.setattr(running.secrets, "token_hex", lambda n: "00" * n)
    with pytest.raises(FileExistsError):
        running.write(tmp_path / "a.lock", "other")
    assert victim.read_text() == "mine" and (tmp_path / "a.lock").read_text() == "text"


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_stays_one_and_the_mode_is_kept(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("old")
    real.chmod(0o604)
    link.symlink_to(real)
    running.write(link, "new")
    assert link.is_symlink() and real.read_text() == "new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o604


def test_the_stamp_the_locks_and_the_zip_are_written_so():
    for name, times in (("tasks.py", 1), ("tools/environment.py", 1), ("tools/locking.py", 3)):
        code = (ROOT / "book" / name).read_text(encoding="utf-8")
        calls = [ast.unparse(n.func) for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Call)]
        assert calls.count("write") + calls.count("replacing") == times, name


# zip ---------------------------------------------------------------------------------------------


def test_the_zip_holds_the_whole_book(monkeypatch, tmp_path):
    pages = tmp_path / "html"
    (pages / "chapters").mkdir(parents=True)
    (pages / "index.html").write_text("start")
    (pages / "chapters" / "01.html").write_text("one")
    monkeypatch.setattr(tasks, "ROOT", tmp_path)
    monkeypatch.setattr(tasks, "HTML", pages)
    said = []
    monkeypatch.setattr(tasks, "build", said.append)
    tasks.main(["zip"])
    tasks.main(["zip", "--no-solutions"])
    assert said == [True, False]
    with zipfile.ZipFile(tmp_path / "gptlib-book.zip") as archive:
        files = {name: archive.read(name) for name in archive.namelist() if name[-1] != "/"}
    assert files == {"gptlib-book/index.html": b"start", "gptlib-book/chapters/01.html": b"one"}
    assert {path.name for path in tmp_path.iterdir()} == {"html", "gptlib-book.zip"}


# bench -------------------------------------------------------------------------------------------


@pytest.fixture
def scripts(monkeypatch, tmp_path):
    """Four: one that works, one whose peer is missing, one more that works, one that fails."""
    folder = tmp_path / "benchmarks"
    (folder / "results").mkdir(parents=True)
    bodies = {
        "a": "print('a', sys.argv[1:])",
        "b": "print('no peer', file=sys.stderr); sys.exit(3)",
        "c": "print('c')",
    }
    for name, body in bodies.items():
        (folder / f"{name}.py").write_text(f"import sys\n{body}\n")
        (folder / "results" / f"{name}.json").write_text("{}")
    monkeypatch.setattr(tasks, "ROOT", tmp_path)
    monkeypatch.setattr(tasks, "VENV_PYTHON", Path(sys.executable))
    monkeypatch.setattr(environment, "setup", lambda: None)


def test_bench_runs_the_rest_when_a_peer_is_missing_and_ends_well(scripts, capfd):
    tasks.main(["bench"])
    said = capfd.readouterr()
    assert "a []" in said.out and "\nc\n" in said.out and "no peer" in said.err
    assert "not measured whole: b; what is lacking stands above" in said.out
    with pytest.raises(SystemExit) as ended:
        tasks.main(["bench", "b"])  # who names one wants that one
    assert ended.value.code == tasks.LACKING


def test_bench_fails_where_a_script_does_and_runs_the_rest(scripts, capfd):
    (tasks.ROOT / "benchmarks" / "b.py").write_text("raise ValueError")
    with pytest.raises(SystemExit, match="not measured: b;"):
        tasks.main(["bench"])
    assert "\nc\n" in capfd.readouterr().out


def test_bench_runs_the_one_that_is_named_and_ends_well(scripts, capfd):
    tasks.main(["bench", "a", "--rounds", "2"])
    said = capfd.readouterr().out
    assert "a ['--rounds', '2']" in said and "c\n" not in said


def test_bench_names_the_scripts_there_are(scripts):
    with pytest.raises(SystemExit, match="no benchmark 'nonsense'; there are a, b, c"):
        tasks.main(["bench", "nonsense"])


# records -----------------------------------------------------------------------------------------


@pytest.fixture
def recorders(monkeypatch, tmp_path):
    """Scripts that say how they were called: one that goes on, one whole, one that fails."""
    bodies = {"decoding": "", "a": "", "whole": "arguments(resume=False)", "recording": "no script"}
    for folder in ("experiments", "data/runs"):
        (tmp_path / folder).mkdir(parents=True)
    for name, body in bodies.items():
        told = f'"""{name}?\n\n    python experiments/{name}.py  # a minute; writes it\n"""\n'
        run = f"import sys\nprint({name!r}, sys.argv[1:], flush=True)\n# {body}\n"
        (tmp_path / "experiments" / f"{name}.py").write_text(told + run)
    monkeypatch.setattr(tasks, "ROOT", tmp_path)
    monkeypatch.setattr(tasks, "VENV_PYTHON", Path(sys.executable))
    monkeypatch.setattr(environment, "setup", lambda: None)
    return tmp_path


def test_records_goes_on_with_each_record_and_makes_those_that_are_named_anew(recorders, capfd):
    tasks.main(["records"])
    said = capfd.readouterr().out
    assert re.findall(r"^\w+ \[.*", said, flags=re.M) == [
        "decoding ['--resume']", "a ['--resume']", "whole []"
    ]  # fmt: skip
    assert "-- a: a? (a minute)" in said
    (recorders / "data" / "runs" / "whole.json").write_text("{}")
    tasks.main(["records"])
    said = capfd.readouterr().out
    assert "whole []" not in said and "left as it is: recorded" in said
    tasks.main(["records", "--anew", "whole", "a"])
    assert re.findall(r"^\w+ \[.*", capfd.readouterr().out, flags=re.M) == ["a []", "whole []"]


def test_records_lists_without_running_says_what_failed_and_refuses_other_names(recorders, capfd):
    tasks.main(["records", "--list"])
    said = capfd.readouterr().out
    assert "python experiments/a.py --resume" in said and "a ['--resume']" not in said
    (recorders / "experiments" / "a.py").write_text("raise ValueError")
    with pytest.raises(SystemExit, match="not recorded: a;"):
        tasks.main(["records"])
    assert "whole []" in capfd.readouterr().out
    with pytest.raises(SystemExit):
        tasks.main(["records", "nonsense"])
    assert "no script nonsense; there are decoding, a, whole" in capfd.readouterr().err


def test_every_script_is_run_says_how_long_it_takes_and_what_it_lacks(monkeypatch, tmp_path):
    found = {script.name: script for script in recordings.scripts()}
    assert {*found} == {p.stem for p in (ROOT / "data" / "runs").glob("*.json")}
    assert next(iter(found)) == "decoding" and not found["costs"].resumes
    time = r"minute|hour"
    assert [s.name for s in found.values() if not re.search(time, s.takes)] == []
    assert recordings.words_of(found["tales"], anew=True) == [
        "book", "modern", "short_first", "larger"
    ]  # fmt: skip
    monkeypatch.delenv("GPTLIB_NANOGPT", raising=False)
    assert "GPTLIB_NANOGPT" in recordings.lacking("ten_million", tmp_path / "none")
    assert recordings.lacking("seeds", tmp_path / "none") is None


# A peer of each benchmark ------------------------------------------------------------------------


def measured(name: str, *words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script of benchmarks/ with these words and variables."""
    command = [sys.executable, ROOT / "benchmarks" / f"{name}.py", *words]
    env = {**clean_environment(), "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(command, env=env, capture_output=True, text=True)


@pytest.mark.parametrize("name", ["speedrun", "gpu_step"])
def test_a_benchmark_that_is_nothing_without_its_peer_says_how_to_get_it(name, tmp_path):
    for folder in ("", str(tmp_path)):
        answer = measured(name, GPTLIB_NANOGPT=folder)
        assert answer.returncode == tasks.LACKING and "Traceback" not in answer.stderr
        assert "GPTLIB_NANOGPT" in answer.stderr and "Clone karpathy/nanoGPT" in answer.stderr


def test_without_its_text_a_benchmark_says_where_to_put_it(tmp_path):
    answer = measured("bpe_train", GPTLIB_SHARED=str(tmp_path))
    assert answer.returncode == tasks.LACKING and "name Tiny Shakespeare by --text" in answer.stderr


# Peers of a few lines, under the names by which the scripts know the real ones.
MINBPE = """\
from gptlib.tokenizer import BPETokenizer
GPT2_SPLIT_PATTERN = "a pattern"

class RegexTokenizer:
    def __init__(self, pattern):
        assert pattern == GPT2_SPLIT_PATTERN

    def train(self, text, vocab_size):
        BPETokenizer.train(text, vocab_size)

    def encode(self, text):
        return BPETokenizer(self.merges).encode(text)
"""
NANOGPT = """\
from dataclasses import dataclass
import torch
from torch import nn
from gptlib import generation, gpt

@dataclass
class GPTConfig:
    block_size: int
    vocab_size: int
    n_layer: int
    n_head: int
    n_embd: int
    dropout: float
    bias: bool

def named(**modules):
    module = nn.Module()
    for name, part in modules.items():
        setattr(module, name, part)
    return module

class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        fields = dict(vars(config), context_length=config.block_size, gelu="none")
        del fields["block_size"]
        self.inner = m = gpt.GPT(gpt.GPTConfig(**fields))
        self.transformer = named(
            wte=m.token_embedding, wpe=m.position_embedding, ln_f=m.final_norm,
            h=nn.ModuleList(
                named(
                    ln_1=b.norm_1, ln_2=b.norm_2,
                    attn=named(c_attn=b.attention.qkv, c_proj=b.attention.project),
                    mlp=named(c_fc=b.feed_forward.expand, c_proj=b.feed_forward.project),
                )
                for b in m.blocks
            ),
        )

    def forward(self, idx, targets):
        return self.inner(idx, targets)

    def generate(self, idx, max_new_tokens, top_k):
        return generation.generate(self.inner, idx, max_new_tokens, top_k=top_k)

    def configure_optimizers(self, weight_decay, learning_rate, betas, device_type):
        return torch.optim.AdamW(self.parameters(), learning_rate, betas)
"""
BENCHES = {
    "bpe_train": ("GPTLIB_MINBPE", "minbpe/regex.py", MINBPE, ["--rounds", "1", "--slice", "4000"]),
    "step_time": ("GPTLIB_NANOGPT", "model.py", NANOGPT, ["--rounds", "2", "--steps", "1"]),
}


@pytest.mark.parametrize("name", BENCHES)
def test_a_benchmark_runs_beside_its_peer_and_leaves_the_results_alone(name, tmp_path):
    """The peer's folder comes in its variable, and what is kept has the form of what is stored."""
    variable, file, code, words = BENCHES[name]
    peer, out = tmp_path / "peer" / file, tmp_path / "out.json"
    peer.parent.mkdir(parents=True)
    peer.write_text(code)
    if name == "bpe_train":
        (tmp_path / "text.txt").write_text("".join(s.text for s in corpus.stories(100)))
        words = [*words, "--text", tmp_path / "text.txt"]
    results = ROOT / "benchmarks" / "results" / f"{name}.json"
    stored = results.read_bytes()
    command = [sys.executable, ROOT / "benchmarks" / f"{name}.py", *words, "--out", out]
    variables = {**clean_environment(), variable: str(tmp_path / "peer"), "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(command, env=variables, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    found, kept = json.loads(out.read_text()), json.loads(stored)
    assert found.keys() == kept.keys() and results.read_bytes() == stored
    if name == "bpe_train":
        assert {*found["slice"]["seconds"]} == {"ours", "hf_tokenizers", "minbpe"}
        assert found["slice"]["characters"] == 4000 < found["whole_text"]["characters"]
    else:  # three models that are one: the same weights saw the same batches
        losses = found["last_loss"]
        assert losses == pytest.approx(dict.fromkeys(losses, losses["ours"]), abs=1e-3)
        assert found["parameters"] == 804_096
        assert 0.1 < found["ratio"] < 10


def test_every_benchmark_has_its_row_and_its_results():
    folder = ROOT / "benchmarks"
    rows = set(re.findall(r"^\| `(\w+)\.py` \|", (folder / "README.md").read_text("utf-8"), re.M))
    kept = {path.stem for path in (folder / "results").glob("*.json")}
    shared = {"peers", "measuring", "training_page"}
    assert rows == kept == {path.stem for path in folder.glob("*.py")} - shared


def test_a_class_of_forty_was_marked_and_both_gave_the_same_marks():
    stored = json.loads((ROOT / "benchmarks" / "results" / "grading.json").read_text("utf-8"))
    assert stored["submissions"] == 40 and stored["same"] is True and stored["ratio"] > 1
    assert stored["ratio"] == pytest.approx(stored["nbgrader_s"] / stored["ours_s"], rel=0.01)


# The words of a short run, and the peer with whom it is a whole one.
SHORT = {
    "bpe_train": (["--rounds", "1", "--slice", "4000"], "minbpe"),
    "step_time": (["--rounds", "2", "--steps", "1"], "nanoGPT"),
    "bpe_encode": (["--rounds", "1", "--slice", "4000"], "minbpe"),
    "generation": (["--rounds", "1", "--lengths", "20", "24"], "nanoGPT"),
    "memory": (["--rounds", "1", "--sizes", "nanogpt-cpu"], "nanoGPT"),
    "int8": (
        ["--rounds", "1", "--new", "2", "--sizes", "stories", "--exam", "5", "--text", "300"],
        None,
    ),
}
FAKES = {"minbpe": ("minbpe/regex.py", MINBPE), "nanoGPT": ("model.py", NANOGPT)}
VARIABLES = {"minbpe": "GPTLIB_MINBPE", "nanoGPT": "GPTLIB_NANOGPT"}


@pytest.fixture
def shortly(tmp_path):
    """shortly(name, peer): a short run, with a peer of a few lines or without; what it kept."""

    def run(name: str, peer: str | None) -> tuple[subprocess.CompletedProcess[str], dict]:
        out, words = tmp_path / "out.json", list(SHORT[name][0])
        if name.startswith("bpe"):
            (tmp_path / "text.txt").write_text("".join(s.text for s in corpus.stories(100)))
            words += ["--text", tmp_path / "text.txt"]
        folders = dict.fromkeys(VARIABLES.values(), "")
        if peer:
            file, code = FAKES[peer]
            (tmp_path / "peer" / file).parent.mkdir(parents=True)
            (tmp_path / "peer" / file).write_text(code)
            folders[VARIABLES[peer]] = str(tmp_path / "peer")
        results = ROOT / "benchmarks" / "results" / f"{name}.json"
        stored = results.read_bytes()
        answer = measured(name, *words, "--out", out, **folders)
        assert "Traceback" not in answer.stderr, answer.stderr
        assert results.read_bytes() == stored
        return answer, json.loads(out.read_text(encoding="utf-8"))

    return run


def forms(record: dict, depth: int = 2) -> object:
    """The names in a record, some levels down."""
    if not depth or not isinstance(record, dict):
        return None
    return {name: forms(value, depth - 1) for name, value in record.items()}


@pytest.mark.parametrize("name", sorted(SHORT.keys() - BENCHES.keys()))
def test_a_short_run_beside_a_peer_has_the_form_of_what_is_stored(name, shortly):
    answer, kept = shortly(name, SHORT[name][1])
    assert answer.returncode == 0, answer.stderr
    stored = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text("utf-8"))
    by_size = ("sizes", "speed", "by_length", "ms_per_token")  # a short run has other ones, or few
    for record in (kept, stored):
        for key in {*by_size} & {*record}:
            record[key] = next(iter(record[key].values()))
    assert forms(kept) == forms(stored)


@pytest.mark.parametrize("name", ["bpe_train", "bpe_encode", "step_time", "generation", "memory"])
def test_without_its_peer_it_says_how_to_get_it_and_measures_the_rest(name, shortly):
    answer, kept = shortly(name, None)
    peer = SHORT[name][1]
    assert answer.returncode == tasks.LACKING and f"checkout of {peer}" in answer.stderr
    assert f"Clone karpathy/{peer}" in answer.stderr and "The rest was measured." in answer.stderr
    text = json.dumps({k: v for k, v in kept.items() if k not in ("claim", "versions")})
    assert peer.lower() not in text.replace("nanogpt-cpu", "") and '"ours"' in text


def test_the_page_s_speed_is_measured_beside_its_own_product(chromium, tmp_path):
    """A short run: the rates fit together, the exam was taken, and the widget wrote a story."""
    out = tmp_path / "speed.json"
    words = ["--rounds", "2", "--tokens", "4", "--places", "1", "--stories", "1", "--out", out]
    command = [sys.executable, ROOT / "benchmarks" / "page_speed.py", *words]
    environment = {**os.environ, "CHROMIUM": chromium}
    answer = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(out.read_text(encoding="utf-8"))
    rate = found["tokens_per_second"] * found["flops_per_token"] / 1e9
    assert found["flops_per_token"] == 589_824 and rate == pytest.approx(found["gflops"], abs=0.02)
    assert 0 < found["share_of_product"] < 1.5 and found["exam_stories"] > 3
    assert {name: one["bytes"] for name, one in found["files"].items()} == json.loads(
        (ROOT / "benchmarks" / "results" / "int8.json").read_text("utf-8")
    )["exam"]["file_bytes"]
    assert all(min(one.values()) > 0 for one in found["files"].values())
    assert "tokens a second" in answer.stdout and "one row at a time" in answer.stdout
    page = found["page"]
    assert page["stories"] == 1 and 20 < page["tokens"] < 513  # to its END, or two contexts
    assert page["tokens_per_second"] > 0 and page["tokens_per_second_of_processor"] > 0
    assert f"{page['tokens_per_second']:,} tokens a second by the clock" in answer.stdout


def test_a_page_that_trains_is_measured_with_simd_and_without(tmp_path):
    """A step each; Chromium is left out."""
    out = tmp_path / "training.json"
    words = ["--rounds", "1", "--steps", "1", "--seconds", "0", "--out", out]
    command = [sys.executable, ROOT / "benchmarks" / "page_training.py", *words]
    answer = subprocess.run(command, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(out.read_text(encoding="utf-8"))
    for name in ("simd", "plain"):
        rate = 1024_000 / found[name]["ms_a_step"]
        assert found[name]["tokens_per_second"] == pytest.approx(rate, rel=0.02)
        assert 0 < found[name]["share_of_product"] < 1 and found[name]["mb"] < 300
    assert answer.stdout.count("tokens a second of processor time") == 2


def test_a_slow_page_is_measured_control_by_control(chromium, tmp_path):
    out = tmp_path / "slow.json"
    words = ["--moves", "1", "--slower", "1", "--out", out]
    command = [sys.executable, ROOT / "benchmarks" / "slow_page.py", *words]
    environment = {**os.environ, "CHROMIUM": chromium}
    answer = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert answer.returncode == 0, answer.stderr
    moves = json.loads(out.read_text(encoding="utf-8"))["ms_a_move"]
    stored = json.loads((ROOT / "benchmarks" / "results" / "slow_page.json").read_text("utf-8"))
    controls = {name: [*own] for name, own in stored["ms_a_move"].items()}
    assert {name: [*own] for name, own in moves.items()} == controls
    assert {"after", "temperature", "draw 1,000", "clear", "find a token"} <= {*controls["60 × 60"]}
    assert {"layers", "activation", "shortcuts"} <= {*controls["signals"]}
    assert {"the text", "3 · 3", "token that looks"} <= {*controls["two models"]}
    pairs = [pair for sliders in moves.values() for pair in sliders.values()]
    # One move may write nothing into the page; then styles and layout have nothing to do.
    assert all(scripts > 0 and beside >= 0 for scripts, beside in pairs)
    assert any(beside > 0 for _, beside in pairs)
    assert answer.stdout.count("of 16 ms") == sum(map(len, moves.values()))


def test_the_first_paint_of_a_page_is_measured(chromium, tmp_path):
    pages, out = tmp_path / "html", tmp_path / "paint.json"
    pages.mkdir()
    for name, words in (("index", "start"), ("light", "few"), ("heavy", "many " * 80_000)):
        text = f'<!DOCTYPE html><link rel="icon" href="data:,"><p>{words}</p>'
        (pages / f"{name}.html").write_text(text, encoding="utf-8")
    noise = base64.b64encode(os.urandom(90_000)).decode()  # no packing makes it smaller than that
    (pages / "noise.js").write_text(f"//{noise}")
    with (pages / "heavy.html").open("a", encoding="utf-8") as page:
        page.write('<script src="noise.js"></script>')
    words = ["--html", pages, "--visits", "1", "--out", out, "--pages", "light.html", "heavy.html"]
    command = [sys.executable, ROOT / "benchmarks" / "first_paint.py", *words]
    environment = {**os.environ, "CHROMIUM": chromium}
    answer = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(out.read_text(encoding="utf-8"))["pages"]
    assert 0 < found["light.html"]["bytes"] < 2_000
    assert 90_000 < found["heavy.html"]["bytes"] < 105_000  # and the words are packed
    assert all(one["first_paint"] > 0.15 for one in found.values())  # there and back, at least
    command[3] = tmp_path / "nowhere"
    answer = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert answer.returncode and "no built book" in answer.stderr

"""The scripts that record runs: each from its first line to its last, for two steps."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from bookbuild import ROOT
from running import clean_environment

from gptlib import corpus
from gptlib.corpus.scoring import AnswerKey
from gptlib.generation import generate
from gptlib.gpt import GPT, GPTConfig
from gptlib.tokenizer import BPETokenizer
from gptlib.training import TrainConfig

EXPERIMENTS = ROOT / "experiments"
SHARED = {"recording", "writing"}
SCRIPTS = sorted(path.stem for path in EXPERIMENTS.glob("*.py") if path.stem not in SHARED)
WORDS = {  # "largest" is left out on a CPU, if nobody asks for it
    "symptoms": ["--seeds", "1"],
    "tales": ["book", "modern", "short_first", "larger", "largest"],
}
PEER = set() if "GPTLIB_NANOGPT" in os.environ else {"nanogpt", "ratio", "middle_half"}
# What needs a package that some systems have no wheel of is run where it is.
HERE = [name for name in SCRIPTS if name != "mlx_port" or importlib.util.find_spec("mlx")]


@pytest.fixture
def script(monkeypatch):
    """Imports a script, and what it shares with the others, as Python does that runs it."""
    monkeypatch.syspath_prepend(EXPERIMENTS)
    names = {*SCRIPTS, *SHARED}
    threads = torch.get_num_threads()
    yield importlib.import_module
    torch.set_num_threads(threads)
    importlib.import_module("recording").Rehearsal.steps = None
    for name in names & set(sys.modules):
        if name not in SHARED:  # what they have prepared serves the next test, too
            del sys.modules[name]


@pytest.fixture
def rehearse(script, monkeypatch):
    """Runs a script as its command line would: (name, words) -> None."""

    def run(name, *words):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", "--threads", "1", *map(str, words)])
        script(name).main()

    return run


def state_of(folder):
    """Names, sizes and times of what lies in a folder."""
    return {p: (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


def ways(thing, way=()):
    """The ways down to all that a record holds; seeds, widths and names of runs count as one."""
    if isinstance(thing, list) and thing and isinstance(thing[0], dict):
        thing = thing[0]
    if not isinstance(thing, dict):
        return {way}
    any_key = way[-1:] in [("runs",), ("without",), ("steps",)]
    found = [
        ways(value, (*way, "*" if any_key or key.replace(".", "").isdigit() else key))
        for key, value in thing.items()
        if key not in ("broken", "messages")  # which rules were broken is not to be known
    ]
    return set().union(*found)


def numbers_in(thing):
    """Every number of a record."""
    if isinstance(thing, dict):
        thing = list(thing.values())
    if isinstance(thing, list):
        return [number for item in thing for number in numbers_in(item)]
    return [thing] if isinstance(thing, (int, float)) else []


def test_there_is_a_script_for_each_record():
    assert sorted(path.stem for path in (ROOT / "data" / "runs").glob("*.json")) == SCRIPTS
    assert len(SCRIPTS) >= 11


@pytest.mark.parametrize("name", HERE)
def test_a_script_runs_to_its_end_and_leaves_the_records_alone(name, rehearse, tmp_path, request):
    words = WORDS.get(name, [])
    if name.endswith("shakespeare") or name == "capstone":
        shared = request.getfixturevalue("shared_data")
        words = ["--data", shared / "tinyshakespeare.txt"]
        if name == "capstone":
            words += ["--children", shared / "tinystories_sample.txt"]
    kept = {folder: state_of(folder) for folder in (ROOT / "data", ROOT / "runs")}
    out = tmp_path / "deeper" / f"{name}.json"
    rehearse(name, "--steps", 2, "--out", out, *words)
    assert kept == {folder: state_of(folder) for folder in kept}
    new = json.loads(out.read_text(encoding="utf-8"))
    old = json.loads((ROOT / "data" / "runs" / out.name).read_text(encoding="utf-8"))
    command = old["about"].pop("command").removesuffix(" --device cuda")
    assert new["about"].pop("command") == f"{command} --steps 2"
    # Parts that were added later, or on another machine, say so in a table of their own.
    old["about"] = {k: v for k, v in old["about"].items() if not isinstance(v, dict)}
    # The same record, in small: the chapters find in it what they ask for. A peer may be missing.
    lacking = {way for way in ways(old) - ways(new) if PEER.isdisjoint(way)}
    assert lacking == set()
    assert len(numbers_in(new)) > 10 and all(map(math.isfinite, numbers_in(new)))
    made = {path.name for path in out.parent.iterdir()}
    assert made == {out.name} | ({"stories.safetensors"} if name == "decoding" else set())


def test_a_resumed_script_keeps_what_is_recorded_and_a_named_run_is_made_anew(rehearse, tmp_path):
    out = tmp_path / "skills.json"
    rehearse("skills", "--steps", 1, "--out", out, "bigram")
    first = json.loads(out.read_text(encoding="utf-8"))
    assert set(first) == {"bigram", "about"}
    first["bigram"]["parameters"] = -1  # a mark: whoever trains again overwrites it
    out.write_text(json.dumps(first), encoding="utf-8")
    rehearse("skills", "--steps", 1, "--out", out, "--resume", "bigram", "attention")
    second = json.loads(out.read_text(encoding="utf-8"))
    assert set(second) == {"bigram", "attention", "about"}
    assert second["bigram"]["parameters"] == -1
    rehearse("skills", "--steps", 1, "--out", out, "bigram")
    assert json.loads(out.read_text(encoding="utf-8"))["bigram"]["parameters"] == 1536**2


def test_runs_side_by_side_are_recorded_as_one_after_the_other(rehearse, tmp_path):
    records = []
    for workers in (1, 2):
        out = tmp_path / f"{workers}.json"
        rehearse("lengths", "--steps", 1, "--out", out, "--workers", workers)
        records.append(json.loads(out.read_text(encoding="utf-8")))
    assert records[0] == records[1] and list(records[0]["runs"]) == list(records[1]["runs"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--steps", "2"], "name a file elsewhere with --out"),
        (["--steps", "2", "--out", str(ROOT / "data/runs/x.json")], "name a file elsewhere"),
        (["--steps", "0", "--out", "x.json"], "--steps must be 1 or more; got 0"),
        (["gpt5"], "no run 'gpt5': choose from bigram"),
    ],
)
def test_a_command_line_that_cannot_be_meant_is_refused(words, message, rehearse, capsys):
    with pytest.raises(SystemExit) as stopped:
        rehearse("skills", *words)
    assert stopped.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_without_steps_nothing_is_made_smaller(script):
    recording = script("recording")
    config = TrainConfig.preset("stories")
    assert recording.few(30_000) == 30_000 and recording.few((1, 2, 3)) == (1, 2, 3)
    assert recording.shortened(config) is config
    recording.Rehearsal.steps = 2
    assert recording.few(30_000, 300) == 300 and recording.few((1, 2, 3)) == (1, 2)
    assert recording.few(1, 300) == 1
    assert recording.shortened(config).steps == 2


# What the scripts share ---------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{"temperature": 0}, {"temperature": 1.0, "top_p": 0.9}])
def test_what_the_scripts_write_is_what_generate_writes_without_a_cache(script, settings):
    torch.manual_seed(0)
    writing = script("writing")
    tokenizer = BPETokenizer.train("Mia and her cat. " * 9, 264, special_tokens=[corpus.END])
    changes = {"vocab_size": 264, "context_length": 16, "init": "torch", "tied": False}
    config = GPTConfig.preset("stories", **changes)
    model, end = GPT(config), writing.end_id(tokenizer)
    plain = generate(
        model, torch.full((5, 1), end), 16, stop_tokens=[end],
        generator=torch.Generator().manual_seed(1), **settings,
    )  # fmt: skip
    written = writing.write(model, tokenizer, 5, seed=1, **settings)
    assert written == writing.texts_of(plain, tokenizer) and any(written)


def test_the_options_that_choices_are_worth(script):
    options = script("writing").options
    assert options(list("abcd")) == pytest.approx(4)
    assert options(["a"] * 7) == pytest.approx(1)
    assert options(list("aab")) == pytest.approx(3 / 2 ** (2 / 3))
    assert options([]) == 0


def test_true_stories_are_judged_well_formed_new_where_they_are_and_varied(script):
    writing = script("writing")
    script("recording").Rehearsal.steps = 1  # then 300 stories are known
    writing.known.cache_clear()
    told = [story.text for story in corpus.stories(2)] + ["Mia was a shy boy."]
    told += [story.text for story in corpus.stories(1, seed=9)]
    judged = writing.judged(told)
    writing.known.cache_clear()
    assert (judged["well_formed"], judged["new"], judged["distinct"]) == (0.75, 0.25, 1)
    assert judged["broken"] == {"pronoun": 1}
    assert 1 < judged["plots"] <= 3 and 1 < judged["names"] <= 3


# The lab ------------------------------------------------------------------------------------------


def test_a_healthy_run_of_the_lab_is_a_run_of_train(script):
    """The lab's own loop and `train` take the same steps: the same losses from the same batches."""
    from gptlib.training import train

    script("recording").Rehearsal.steps = 4
    symptoms = script("symptoms")
    lab = symptoms.Lab()
    watched = symptoms.run(symptoms.Healthy, lab, seed=0)
    config = symptoms.Healthy(lab, 0).training
    torch.manual_seed(config.seed)
    model, losses, norms = GPT(symptoms.CONFIG), [], []

    def note(step, model, metrics):
        losses.append(metrics["loss"])
        norms.append(metrics["grad_norm"])

    train(
        model, lab.ids, None, config, starts=lab.starts, callbacks=[note], progress=False,
        evaluate=lambda model: {},
    )  # fmt: skip
    assert watched["train"] == losses[1:] and watched["grad_norm"] == norms[1:]
    assert len(losses) == 5
    score = AnswerKey(corpus.stories(20, seed=2), lab.tokenizer)
    assert torch.equal(score.idx[:, :16], lab.exam.idx)


def test_each_fault_of_the_lab_is_one(script):
    """Each of the runs differs from the healthy one in what it records, dropout's included."""
    script("recording").Rehearsal.steps = 2
    symptoms = script("symptoms")
    lab = symptoms.Lab()
    seen = {
        name: symptoms.run(kind, lab, seed=0) for name, kind in symptoms.RUNS_OF_THE_LAB.items()
    }
    healthy = seen.pop("healthy")
    for name, result in seen.items():
        assert result != healthy, name
    assert seen["lost_optimizer"]["blocks"] == seen["frozen_blocks"]["blocks"] == [0, 0]
    assert seen["frozen_blocks"]["table"][0] > 0 == seen["lost_optimizer"]["table"][0]
    # Gradients that are never cleared add up; the first step cannot know.
    assert seen["no_zero_grad"]["grad_norm"][0] == healthy["grad_norm"][0]
    assert seen["no_zero_grad"]["grad_norm"][1] > 1.1 * healthy["grad_norm"][1]
    assert seen["one_batch"]["train"][0] == pytest.approx(healthy["train"][0])


def test_no_story_of_the_exam_is_among_the_sorted_ones(script):
    """Whatever the seed, the patient whose data come in order meets other stories than the exam."""
    script("recording").Rehearsal.steps = 2
    symptoms = script("symptoms")
    lab = symptoms.Lab()
    kept = {*lab.validation.text.split(corpus.END), *lab.exam.text.split(corpus.END)}
    assert len(kept) == 40
    for seed in symptoms.SEEDS:
        read = lab.tokenizer.decode(symptoms.Sorted(lab, seed).sorted_ids.tolist())
        stories = set(read.split(corpus.END)) - {""}
        assert stories and not stories & kept


def test_without_transpose_head_1_gets_the_first_quarter_of_the_tokens(script):
    """16 tokens of 64 numbers, each the token's place: what a head gets, and what is put back."""
    symptoms = script("symptoms")
    three = SimpleNamespace(n_head=4, qkv=lambda x: torch.cat([x] * 3, dim=-1))
    x = torch.arange(16).view(1, 16, 1).expand(1, 16, 64)  # (B, T, C)
    heads = symptoms.no_transpose(three, x)[0]  # (B, n_head, T, head_size)
    assert heads.shape == (1, 4, 16, 16)
    quarters = [set(heads[0, head].unique().tolist()) for head in range(4)]
    assert quarters == [{*range(i, i + 4)} for i in (0, 4, 8, 12)]
    joined = heads.transpose(1, 2).reshape(1, 16, 64)
    for place in joined[0]:
        assert {int(token) // 4 for token in place} == {0, 1, 2, 3}


BUSY = """
import torch
from functools import partial
import recording

def total(n):
    return float(torch.ones(n).sum())

torch.set_num_threads(2)
total(5_000_000)  # both threads have computed
jobs = {(str(n),): partial(total, n) for n in (4_000_000, 5_000_000)}
print([result for _, result in recording.results(jobs, 2)])
"""


def test_workers_of_a_process_whose_threads_have_computed_do_not_wait_for_them():
    """A fork has none of the other threads of its parent: one that counts on them stands still."""
    told = subprocess.run(
        [sys.executable, "-c", BUSY],
        env={**clean_environment(), "PYTHONPATH": f"{ROOT}{os.pathsep}{EXPERIMENTS}"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert told.stdout.split() == ["[4000000.0,", "5000000.0]"], told.stderr

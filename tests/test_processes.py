"""Several processes train one model: the same losses as one, and what happens if one is lost.

They are started by torchrun, as a user does it; what needs no command line is forked from here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from ranks import in_ranks

from gptlib import training
from gptlib.engine import runs
from gptlib.engine.learn import Stopped, learn
from gptlib.engine.processes import Elsewhere, Processes, joined, place
from gptlib.engine.recipes import settings_of
from gptlib.engine.shared import Shared

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.usefixtures("one_thread")
# Without biases: that of the keys has no gradient, and AdamW would blow its rounding up.
TINY = {
    "preset": "stories", "context_length": 8, "n_layer": 2, "n_head": 2, "n_embd": 8,
    "batch_size": 4, "grad_accumulation": 2, "steps": 12, "eval_every": 4, "eval_batches": 1,
    "save_every": 2, "log_every": 1, "device": "cpu",
}  # fmt: skip
WORDS = [w for name, v in TINY.items() for w in (f"--{name.replace('_', '-')}", str(v))]
# Sums in another order differ in the last of float32's seven digits, and 12 steps add up to more.
CLOSE = {"rtol": 1e-5, "atol": 3e-6}


@pytest.fixture(scope="module")
def alone(data, tmp_path_factory) -> Path:
    """A run of one process."""
    out = tmp_path_factory.mktemp("runs") / "alone"
    return learn(data, out, log=lambda line: None, **TINY)


def torchrun(n: int, *words, restarts: int = 0, seconds: int = 240) -> subprocess.CompletedProcess:
    """What torchrun gives for a program or -m module, in n processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(n), "--max-restarts", str(restarts), *map(str, words)]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, env=env)


def trained(n: int, data: Path, out: Path, *more, act: tuple = (), **options):
    """torchrun of `gptlib train` in n processes, of which one may misbehave."""
    badly = Path(__file__).with_name("misbehaving.py")
    program = [badly, *act] if act else ["-m", "gptlib.cli.main"]
    return torchrun(n, *program, "train", data, "--out", out, *WORDS, *more, **options)


def lines(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / runs.LOG).read_text("utf-8").splitlines()]


def assert_alike(run: Path, other: Path) -> None:
    """Losses, lengths of gradients and weights of two runs agree up to rounding."""
    ours, theirs = lines(run), lines(other)
    assert [line["step"] for line in ours] == [line["step"] for line in theirs]
    for name in ("loss", "grad_norm", "val_loss"):
        pairs = [(one.get(name), two.get(name)) for one, two in zip(ours, theirs, strict=True)]
        values = torch.tensor([pair for pair in pairs if pair[0] is not None])
        assert len(values) >= 4
        torch.testing.assert_close(values[:, 0], values[:, 1], **CLOSE)
    assert ours[-1]["tokens"] == theirs[-1]["tokens"] == 12 * 2 * 4 * 8
    saved = [runs.load(r, "last")[0].state_dict() for r in (run, other)]
    torch.testing.assert_close(*saved, **CLOSE)


# The same run ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 4])
def test_several_processes_learn_what_one_learns(data, alone, tmp_path, n):
    done = trained(n, data, tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert_alike(tmp_path / "run", alone)
    told = done.stdout.splitlines()
    assert told[0].startswith("step  0/12  validation ") and told[-1].startswith("Done: ")
    assert len([line for line in told if line.startswith("step ")]) == 13  # one of them reports


def test_a_run_moves_between_one_two_and_four_processes(data, alone, tmp_path):
    """And all save and stop at the step at which one of them is asked to."""
    out = tmp_path / "run"
    first = trained(1, data, out, act=("term", 0, 3))
    assert "stopped and saved at step 3 of 12" in first.stderr
    two = trained(2, data, out, act=("term", 1, 7))
    assert "Goes on from step 3 of 12." in two.stdout, two.stderr
    assert two.stderr.count("gptlib train: stopped and saved at step 7 of 12. Go on with:") == 1
    assert two.returncode and "rank 1:" not in two.stderr
    four = trained(4, data, out, act=("term", 2, 10))
    assert "Goes on from step 7 of 12." in four.stdout and "saved at step 10 of" in four.stderr
    assert runs.checkpoints(out)[0].name == "00000010"
    learn(data, out, log=lambda line: None)
    assert_alike(out, alone)


def test_a_batch_that_cannot_be_shared_is_refused_before_anything_is_written(data, tmp_path):
    done = trained(2, data, tmp_path / "run", "--batch-size", 5)
    said = "gptlib train: batch_size must be a multiple of the number of processes, 2, so that"
    assert done.returncode and done.stderr.count(said) == 1
    assert "got 5. Take 4 or 6, or a number" in done.stderr
    assert not (tmp_path / "run").exists() and "rank 1:" not in done.stderr


def test_what_one_process_says_of_itself():
    assert place() == (0, 1) and not dist.is_initialized()
    with joined() as group:
        assert (group.rank, group.world_size, group.first) == (0, 1, True)
        assert group.largest(15) == 15 and group.first_does(lambda: "x") == "x"
        group.check({"batch_size": 5, "device": "cpu"})
    assert not Processes(1, 2).first
    with pytest.raises(ValueError, match=r"got 1\. Take 2, or a number of processes"):
        Processes(0, 2).check({"batch_size": 1, "device": "cpu"})


def rows_of(rank: int) -> tuple:
    group = Processes(rank, 2)

    class Mean(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))

        def forward(self, idx, targets=None):
            logits = self.weight * idx
            return logits, None if targets is None else logits.float().mean()

    model, idx = Shared(Mean(), group), torch.arange(8).view(4, 2)
    logits, loss = model(idx, idx)
    loss.backward()
    whole = model(idx)[0]
    told = group.first_does(lambda: rank)
    try:
        group.first_does(lambda: [][1])
    except (IndexError, Elsewhere) as error:
        failed = f"{type(error).__name__} {error}"
    return (logits.tolist(), loss.item(), model.module.weight.grad.item(), len(whole), told,
            failed, group.largest(rank * 15))  # fmt: skip


def test_each_has_its_rows_and_all_have_the_loss(tmp_path):
    first, second = in_ranks(2, tmp_path / "ranks", rows_of)
    said = "list index out of range"
    assert first == ([[0.0, 1.0], [2.0, 3.0]], 3.5, 1.5, 4, 0, f"IndexError {said}", 15)
    assert second == ([[4.0, 5.0], [6.0, 7.0]], 3.5, 5.5, 4, 0, f"Elsewhere {said}", 15)


def masks(rank: int) -> tuple:
    torch.manual_seed(0)
    model = Shared(Noise(), Processes(rank, 2))
    own = [model(torch.zeros(4), torch.zeros(4))[1].item() and Noise.drawn for _ in range(2)]
    model.eval()
    return own, model(torch.zeros(4), torch.zeros(4)) and torch.rand(()).item()


class Noise(torch.nn.Module):
    """Draws as dropout does."""

    drawn = 0.0

    def forward(self, idx, targets=None):
        Noise.drawn = torch.rand(()).item() if self.training else 0.0
        return idx, idx.float().mean() + 1


def test_no_two_processes_drop_alike_and_what_they_have_in_common_stays_so(tmp_path):
    (one, common), (two, common_too) = in_ranks(2, tmp_path / "ranks", masks)
    assert len({*one, *two}) == 4 and common == common_too


def learn_in(rank: int, data: Path, outs: list, more: dict) -> list:
    """Runs one after the other, in a group that is there already."""
    said: list[str] = []
    for out in outs:
        learn(data, out, log=said.append, **(TINY | more))
    return said


def test_with_dropout_as_many_processes_repeat_themselves(data, tmp_path):
    more = {"dropout": 0.2, "steps": 6, "eval_every": 6}
    outs = [tmp_path / "one", tmp_path / "two"]
    said = in_ranks(2, tmp_path / "ranks", learn_in, data, outs, more)
    assert said[0] and not said[1]
    # Taken up in the middle, too: the checkpoint at step 4 of one of them, and then on.
    files = [runs.checkpoints(out)[0] / "model.safetensors" for out in outs]
    assert files[0].read_bytes() == files[1].read_bytes()
    newest = runs.checkpoints(outs[1])[0]
    for part in newest.iterdir():
        part.unlink()
    said = in_ranks(2, tmp_path / "again", learn_in, data, outs[1:], more)
    assert "Goes on from step 4 of 6." in said[0]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("shard", [False, True])
def test_in_bfloat16_several_learn_what_one_learns_up_to_its_digits(data, alone, tmp_path, shard):
    half = {"dtype": "bfloat16", "steps": 6, "eval_every": 6}
    learn(data, tmp_path / "one", log=lambda line: None, **TINY | half)
    in_ranks(2, tmp_path / "ranks", learn_in, data, [tmp_path / "two"], half | {"shard": shard})
    one, two, full = (lines(run)[1:7] for run in (tmp_path / "one", tmp_path / "two", alone))
    for name, close in (("loss", 1e-3), ("grad_norm", 2e-2)):
        ours, theirs, float32 = ([line[name] for line in run] for run in (two, one, full))
        assert ours == pytest.approx(theirs, rel=close), name
        assert max(abs(a - b) for a, b in zip(ours, float32, strict=True)) > 1e-6  # in bfloat16
    weights = runs.load(tmp_path / "two", "last")[0].parameters()
    assert {w.dtype for w in weights} == {torch.float32}


# Lost --------------------------------------------------------------------------------------------


def test_a_killed_process_ends_the_run_with_its_name_and_it_goes_on(data, alone, tmp_path):
    out = tmp_path / "run"
    done = trained(4, data, out, act=("kill", 3, 6))
    assert done.returncode and runs.checkpoints(out)[0].name == "00000004", done.stderr
    said = "gptlib train: rank 3 of 4 no longer answers: it has ended, or hangs. The run is kept"
    assert done.stderr.count(said) == 1
    learn(data, out, log=lambda line: None)
    assert_alike(out, alone)


def test_a_process_that_fails_says_why_and_the_others_say_who(data, tmp_path):
    done = trained(2, data, tmp_path / "run", act=("fail", 1, 4))
    assert done.returncode and "out of memory, made up." in done.stderr
    assert "gptlib train: rank 1 of 2 has ended: out of memory, made up. The run" in done.stderr


def test_a_process_that_hangs_ends_the_run_with_its_name(data, tmp_path):
    """After the timeout; torchrun then gives the one that hangs half a minute, and kills it."""
    done = trained(3, data, tmp_path / "run", "--batch-size", 3, "--timeout", 15,
                   act=("hang", 2, 6))  # fmt: skip
    assert done.returncode and runs.checkpoints(tmp_path / "run")[0].name == "00000004"
    assert done.stderr.count("rank 2 of 3 no longer answers: it has ended, or hangs.") == 1


def test_torchrun_starts_it_again_and_it_ends_with_the_same_weights(data, alone, tmp_path):
    out = tmp_path / "run"
    done = trained(2, data, out, act=("kill", 1, 6), restarts=1)
    assert done.returncode == 0, done.stderr
    assert "Goes on from step 4 of 12." in done.stdout
    assert_alike(out, alone)


# A model in parts --------------------------------------------------------------------------------


def parts_of(rank: int, data: Path, out: Path) -> list:
    """How much of the model and of AdamW's averages this process has, after a run in parts."""
    found = []

    class Looking(training.Run):
        def update(self):
            kept = [t for state in self.optimizer.state.values() for t in state.values()]
            tensors = [t for t in (*self.model.parameters(), *kept) if t.dim()]
            found[:] = [sum(t.to_local().numel() for t in tensors), sum(t.numel() for t in tensors)]
            return super().update()

    before, training.Run = training.Run, Looking
    learn(data, out, log=lambda line: None, shard=True, **TINY)
    training.Run = before
    return found


def test_in_parts_it_learns_the_same_and_each_process_has_its_part(data, alone, tmp_path):
    out = tmp_path / "run"
    (one, every), (two, _) = in_ranks(2, tmp_path / "ranks", parts_of, data, out)
    assert one + two == every and abs(one - two) < 0.1 * every  # 14 rows of ids are 7 and 7
    names = {file.name for file in runs.checkpoints(out)[0].iterdir()}
    assert {"shard-00001-model-00001-of-00001.safetensors", "manifest.json"} < names
    assert "model.safetensors" not in names and not any(n.endswith(".pkl") for n in names)
    model, _, found, passed = runs.load(out, "last")
    assert type(model).__name__ == "GPT" and not passed and found.name == "00000012"
    assert_alike(out, alone)


def stopped_at(rank: int, data: Path, out: Path, step: int, shard: bool) -> str:
    """A run that its second process is asked to stop before a step, and what is said of it."""
    update = training.Run.update

    def updated(run):
        if rank == 1 and run.step + 1 == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return update(run)

    training.Run.update = updated
    try:
        learn(data, out, log=lambda line: None, shard=shard, **TINY)
    except Stopped as stopped:
        return str(stopped)
    return "not stopped"


def test_a_run_moves_between_parts_and_the_whole(data, alone, tmp_path):
    """In two parts, in four parts, whole in two processes, in two parts, and whole in one."""
    out = tmp_path / "run"
    for n, step, shard in ((2, 3, True), (4, 5, True), (2, 8, False), (2, 10, True)):
        said = in_ranks(n, tmp_path / f"{step}", stopped_at, data, out, step, shard)
        assert all(f"stopped and saved at step {step} of 12" in line for line in said), said
        assert any(runs.checkpoints(out)[0].glob("shard-*")) == shard
    learn(data, out, log=lambda line: None)
    assert_alike(out, alone)


def test_parts_that_make_no_whole_are_refused(data, tmp_path):
    out = tmp_path / "run"
    in_ranks(2, tmp_path / "ranks", learn_in, data, [out], {"shard": True, "steps": 4})
    newest, older = runs.checkpoints(out)[:2]
    part = "shard-00001-model-00001-of-00001.safetensors"
    manifest = json.loads((newest / "manifest.json").read_text("utf-8"))
    del manifest["files"][part]
    (newest / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    (older / part).unlink()
    said = [str(error) for _, error in runs.readable([newest, older])]
    assert f"it has a part that is not its own, {part}" in said[0]
    assert f"its part {part} is missing" in said[1]
    (newest / part).unlink()
    with pytest.raises(ValueError, match="its parts do not make a whole "):
        runs.load(newest)


def test_one_process_has_nothing_to_share(data, tmp_path):
    with pytest.raises(ValueError, match="shard needs several processes: start them by torchrun"):
        learn(data, tmp_path / "run", shard=True, **TINY)
    assert not (tmp_path / "run").exists()


# Recipes -----------------------------------------------------------------------------------------


def test_the_recipe_for_slurm_runs_on_one_machine(data, alone, tmp_path):
    """With one machine in place of two, processes on the CPU, and Slurm's two programs made up."""
    for name, does in {"srun": 'exec "$@"', "scontrol": "echo localhost"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n", "utf-8")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    told = {"SLURM_NNODES": "1", "SLURM_GPUS_ON_NODE": "2", "SLURM_JOB_ID": "7",
            "SLURM_JOB_NODELIST": "one", "MASTER_PORT": "0", "OMP_NUM_THREADS": "1",
            "PATH": path, "PYTHONPATH": str(ROOT)}  # fmt: skip
    recipe = ROOT / "experiments" / "recipes" / "train.sbatch"
    done = subprocess.run(
        ["bash", recipe, data, "--out", tmp_path / "run", *WORDS],
        capture_output=True, text=True, timeout=240, env=os.environ | told,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert_alike(tmp_path / "run", alone)


def test_the_page_shows_the_lines_that_these_tests_run():
    page = (ROOT / "book" / "command_line.md").read_text("utf-8")
    assert "torchrun --standalone --nproc-per-node 8 -m gptlib.cli.main train data --out" in page
    assert settings_of("gpt2-124m")["batch_size"] * 40 == 16 * 30  # as many rows in a step
    Processes(0, 8).check(settings_of("gpt2-124m", batch_size=16, device="cpu"))

"""A run: its recipe, its folder, and that it goes on after whatever has stopped it.

Killed at random moments and, every second time, while a checkpoint is written, it ends with the
weights of a run that nobody touched, bit for bit. GPTLIB_KILLS=100 makes it a hundred times.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import time
import unicodedata
from pathlib import Path

import pytest
import torch
from forging import sign
from matplotlib.figure import Figure
from safetensors.torch import load_file

from gptlib.checkpoint import save_checkpoint
from gptlib.engine import curve, recipes, runs
from gptlib.engine.learn import Stopped, learn
from gptlib.engine.prepare import prepare
from gptlib.engine.prepared import Prepared
from gptlib.engine.recipes import RECIPES, build, model_config, plan, settings_of, train_config
from gptlib.engine.reporter import Reporter
from gptlib.engine.signals import signals
from gptlib.gpt import GPTConfig
from gptlib.recipe import TrainConfig

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = {
    "context_length": 8, "n_layer": 1, "n_head": 2, "n_embd": 8, "batch_size": 2, "steps": 12,
    "eval_every": 4, "eval_batches": 1, "save_every": 2, "log_every": 3, "dropout": 0.1,
    "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory) -> Path:
    """A run that nothing has disturbed."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    return learn(data, out, log=lambda line: None, **TINY)


def quiet(data, out, **changes):
    lines: list[str] = []
    learn(data, out, log=lines.append, **(TINY | changes))
    return lines


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(runs.checkpoints(run)[0] / "model.safetensors")


def same(one: Path, other: Path) -> bool:
    ours, theirs = weights(one), weights(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[n], theirs[n]) for n in ours)


# Recipes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_built(name):
    settings = settings_of(name)
    with torch.device("meta"):
        model = recipes.KINDS[settings["model"]][1](model_config(settings, 65))
    assert sum(p.numel() for p in model.parameters()) == recipes.count_parameters(model.config)


def test_the_recipes_are_those_that_were_published():
    cpu = settings_of("nanogpt-cpu")
    assert model_config(cpu, 65) == GPTConfig.preset("nanogpt-cpu")
    wanted = TrainConfig.preset("nanogpt-cpu")
    assert train_config(cpu) == wanted
    large = settings_of("gpt2-124m")
    assert recipes.count_parameters(model_config(large, 50257)) == 124_337_664  # without biases
    config = train_config(large)
    assert config.batch_size * config.grad_accumulation * 1024 * config.steps == 294_912_000_000
    ten = recipes.count_parameters(model_config(settings_of("nanogpt-gpu"), 65))
    assert round(ten / 1e6, 1) == 10.7


def test_the_plan_is_arithmetic():
    text = plan(settings_of("gpt2-124m"), 50257, 9_000_000_000)
    assert "294,912,000,000 (32.8 times the text)" in text and "124,337,664" in text
    hours = 854_438_400 * 294_912_000_000 / (0.4 * 8 * 3.12e14) / 3600
    assert f"eight A100, 40 % of peak     {hours:.1f} hours" in text
    assert text.endswith("are those of bfloat16: --dtype bfloat16")
    half = plan(settings_of("gpt2-124m", dtype="bfloat16"), 50257, 9_000_000_000)
    assert text.startswith(half) and "bfloat16" not in half
    short = plan(settings_of("small"), 65, 1_000_000)
    assert re.search(r"eight A100, 40 % of peak     0\.\d minutes", short)


@pytest.mark.parametrize(
    ("preset", "changes", "reason"),
    [
        ("huge", {}, "preset must be one of small, modern"),
        ("small", {"colour": 1}, "colour is no setting of a run"),
        ("small", {"n_kv_head": 2}, "n_kv_head is no setting of a classic model"),
        ("small", {"model": "modern"}, "model is classic in 'small'"),
        ("small", {"keep": 0}, "keep must be a whole number, 1 or more; got 0"),
        ("small", {"n_head": 3}, "n_embd"),
        ("small", {"lr": -1.0}, "lr must be"),
    ],
)
def test_a_setting_that_is_none_is_named(preset, changes, reason):
    with pytest.raises(ValueError, match=reason):
        settings_of(preset, **changes)


def test_the_seed_draws_the_weights():
    one, two = (build(settings_of(seed=seed, **small()), 9) for seed in (1, 1))
    other = build(settings_of(seed=2, **small()), 9)
    first = [next(m.parameters()) for m in (one, two, other)]
    assert torch.equal(first[0], first[1]) and not torch.equal(first[0], first[2])


def small() -> dict:
    return {name: TINY[name] for name in ("n_layer", "n_head", "n_embd", "context_length")}


# A run -------------------------------------------------------------------------------------------


def test_a_run_keeps_the_last_ones_and_the_best(whole):
    steps = [int(path.name) for path in runs.checkpoints(whole)]
    assert steps[:3] == [12, 10, 8] and len(steps) <= 4
    history = json.loads((runs.checkpoints(whole)[0] / "run.json").read_text("utf-8"))["history"]
    losses = {r["step"]: r["val_loss"] for r in history if r["step"]}
    best = min(losses, key=lambda step: losses[step])
    assert int(runs.best_first(whole)[0].name) == best


def test_the_best_stays_when_later_ones_are_worse(data, tmp_path):
    out = tmp_path / "run"
    quiet(data, out, lr=1e-3, keep=1, steps=6, eval_every=2, warmup_steps=0)
    state = json.loads((runs.checkpoints(out)[0] / "run.json").read_text("utf-8"))

    class Fake:
        step, model = 8, build(settings_of(**small()), 9)
        history = [*state["history"], {"step": 8, "val_loss": 99.0}]  # noqa: RUF012

        def state_dict(self):
            return {"step": 8, "history": self.history, "optimizer": {}, "random": {}}

    best = runs.best_first(out)[0].name
    runs.save(out, Fake(), None, 1)
    assert {p.name for p in runs.checkpoints(out)} == {"00000008", best}


def test_the_log_has_a_line_every_so_many_steps(whole):
    lines = [json.loads(line) for line in (whole / runs.LOG).read_text("utf-8").splitlines()]
    assert [line["step"] for line in lines] == [0, 3, 4, 6, 8, 9, 12]
    assert lines[1]["tokens"] == 3 * 2 * 8 and "val_loss" in lines[2] and lines[1]["loss"] > 0
    assert (whole / runs.CURVE).read_text("utf-8").startswith("<?xml")


def test_a_line_says_loss_speed_share_and_time_left(data, tmp_path):
    lines = quiet(data, tmp_path / "run", peak=1e9, steps=4)
    assert lines[0].startswith("step 0/4  validation ")
    for word in ("loss ", "validation ", "lr ", " tokens/s", " % of peak", "0:00:00 left"):
        assert word in lines[2], lines
    assert "step 3 to 4" in lines[-1]


def test_speed_and_time_left_are_those_since_the_line_before(data, tmp_path):
    said: list[str] = []
    settings = settings_of("small", **TINY | {"steps": 40, "log_every": 10})
    reporter = Reporter(tmp_path, settings, Prepared.open(data), said.append, None)
    usual = {"loss": 1.0, "lr": 1e-3}
    for step, seconds in ((0, 0.0), (10, 5.0), (20, 5.0), (30, 25.0)):
        reporter(step, None, usual | {"step": step, "tokens": 100 * step, "seconds": seconds})
    assert "200 tokens/s" in said[1] and said[1].endswith("0:00:15 left")  # half a second a step
    assert "200 tokens/s" in said[2]  # no time has passed
    assert "50 tokens/s" in said[3] and said[3].endswith("0:00:20 left")


def test_the_modern_model_learns_too(data, tmp_path):
    modern = TINY | {"preset": "modern", "n_kv_head": 1, "steps": 3, "dropout": None}
    out = learn(data, tmp_path / "run", log=lambda line: None, **modern)
    model, tokenizer, folder, passed = runs.load(out)
    assert type(model).__name__ == "ModernGPT" and tokenizer.vocab_size == model.config.vocab_size
    assert not passed and folder.parent.parent == out and not model.training


def test_a_finished_run_is_finished(whole, data):
    before = weights(whole)
    assert quiet(data, whole)[0] == "Goes on from step 12 of 12."
    assert all(torch.equal(before[name], w) for name, w in weights(whole).items())


# In half the digits ------------------------------------------------------------------------------


def test_in_bfloat16_it_learns_nearly_the_same_and_keeps_float32(data, whole, tmp_path):
    quiet(data, tmp_path / "run", dtype="bfloat16")
    ours, theirs = weights(tmp_path / "run"), weights(whole)
    assert {w.dtype for w in ours.values()} == {torch.float32}
    off = max(float((ours[name] - w).abs().max()) for name, w in theirs.items())
    assert 0 < off < 2e-3  # twelve steps of at most 3e-4
    for run, dtype in ((tmp_path / "run", "bfloat16"), (whole, "float32")):
        assert runs.state_of(run)["settings"]["dtype"] == dtype


@pytest.mark.parametrize("preset", ["small", "modern"])
def test_products_are_in_bfloat16_and_the_loss_is_not(preset):
    settings = settings_of(preset, **small(), dtype="bfloat16")
    plain = build(settings, 9)
    model = recipes.computing_in("bfloat16", build(settings, 9), torch.device("cpu"))
    seen: list[torch.dtype] = []
    for part in model.modules():
        if isinstance(part, torch.nn.Linear):
            part.register_forward_hook(lambda part, x, out: seen.append(out.dtype))
    idx = torch.randint(9, (2, 8))
    _, loss = model(idx, idx)
    loss.backward()
    assert len(seen) >= 5 and set(seen) == {torch.bfloat16} and loss.dtype == torch.float32
    assert {p.grad.dtype for p in model.parameters() if p.grad is not None} == {torch.float32}
    assert loss.item() == pytest.approx(plain(idx, idx)[1].item(), rel=1e-2)
    assert loss.item() != plain(idx, idx)[1].item()
    assert recipes.computing_in("float32", plain, torch.device("cpu")) is plain
    assert "forward" not in vars(plain)


def test_a_run_in_bfloat16_goes_on_in_it_bit_for_bit(data, tmp_path):
    def log(line):
        if line.startswith("step  6/"):
            os.kill(os.getpid(), signal.SIGINT)

    quiet(data, tmp_path / "whole", dtype="bfloat16")
    with pytest.raises(Stopped):
        learn(data, tmp_path / "run", log=log, **TINY, dtype="bfloat16")
    with pytest.raises(
        ValueError, match=r"dtype is 'bfloat16' in the run at .*, and 'float32' now"
    ):
        quiet(data, tmp_path / "run", dtype="float32")
    learn(data, tmp_path / "run", log=lambda line: None)
    assert same(tmp_path / "run", tmp_path / "whole")


def test_a_run_that_does_not_say_its_numbers_is_in_float32(data, whole, tmp_path):
    out = tmp_path / "run"
    quiet(data, out)
    told = json.loads((out / runs.STATE).read_text("utf-8"))
    del told["settings"]["dtype"]  # as before there was a choice
    (out / runs.STATE).write_text(json.dumps(told), "utf-8")
    assert quiet(data, out)[0] == "Goes on from step 12 of 12." and same(out, whole)
    with pytest.raises(ValueError, match="dtype is 'float32' in the run"):
        quiet(data, out, dtype="bfloat16")


def test_what_a_device_cannot_compute_in_is_refused(data, tmp_path, monkeypatch):
    asked = {"dtype": "bfloat16", "device": "cuda"}
    monkeypatch.setattr(recipes, "pick_device", torch.device)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    recipes.check_dtype(asked)
    for device in ("mps", "cuda"):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
        with pytest.raises(ValueError, match=f"dtype must be float32 on {device}, which has no bf"):
            quiet(data, tmp_path / "run", dtype="bfloat16", device=device)
        assert not (tmp_path / "run").exists()
    recipes.check_dtype(asked | {"dtype": "float32"})
    with pytest.raises(ValueError, match="dtype must be float32 or bfloat16; got 'float16'"):
        settings_of("small", dtype="float16")


# Stopped and taken up ----------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_after_saving_and_it_goes_on(data, whole, tmp_path, number):
    out, before = tmp_path / "run", signal.getsignal(number)

    def log(line):
        if line.startswith(("step 3/", "step  3/")):
            os.kill(os.getpid(), number)

    with pytest.raises(Stopped, match=r"saved at step 3 of 12. Go on with: gptlib train ") as end:
        learn(data, out, log=log, **TINY)
    assert end.value.signal == number and signal.getsignal(number) is before
    assert str(end.value).startswith("stopped and saved")
    assert int(runs.checkpoints(out)[0].name) == 3
    learn(data, out, log=lambda line: None)  # by the settings that the run has
    assert same(out, whole)
    lines = [json.loads(line) for line in (out / runs.LOG).read_text("utf-8").splitlines()]
    assert [line["step"] for line in lines] == [0, 3, 4, 6, 8, 9, 12]


def test_a_second_signal_acts_as_always_unless_all_are_noted():
    kinds = (signal.SIGINT, signal.SIGTERM)
    # A shell that starts this in the background has SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    before = [signal.getsignal(kind) for kind in kinds]
    with signals() as noted:
        assert noted() is None
    assert [signal.getsignal(kind) for kind in kinds] == before
    with pytest.raises(KeyboardInterrupt), signals() as noted:
        signal.raise_signal(signal.SIGINT)
        assert noted() == signal.SIGINT and signal.getsignal(signal.SIGTERM) is before[1]
        signal.raise_signal(signal.SIGINT)
    with signals(once=False) as noted:
        for kind in (signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(kind)
        assert noted() == signal.SIGTERM
    assert [signal.getsignal(kind) for kind in kinds] == before


@pytest.mark.parametrize("harm", ["cut", "empty", "newer"])
def test_a_damaged_checkpoint_is_put_aside_for_the_one_before(data, whole, tmp_path, harm):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    newest = runs.checkpoints(out)[0]
    if harm == "cut":
        os.truncate(newest / "model.safetensors", 100)
    elif harm == "empty":
        (newest / "manifest.json").unlink()
    else:
        text = (newest / "manifest.json").read_text("utf-8")
        text = text.replace("gptlib checkpoint 2", "gptlib checkpoint 3")
        (newest / "manifest.json").write_text(text, "utf-8")
    _, _, used, passed = runs.load(out, "last")
    assert used.name == "00000010" and "00000012 is not a whole checkpoint" in passed[0]
    left = newest.parent / ".00000014.0123456789ab.tmp"  # by a process that was killed
    left.mkdir()
    lines = quiet(data, out)
    assert not left.exists()
    assert "put aside as 00000012.damaged" in lines[0] and lines[1] == "Goes on from step 10 of 12."
    assert same(out, whole) and (newest.parent / "00000012.damaged").is_dir()


def test_other_data_and_other_settings_are_refused_with_what_to_do(data, whole, tmp_path):
    text = (data.parent / "a.txt").read_text("utf-8")
    (tmp_path / "b.txt").write_text(text + "cat", encoding="utf-8")
    prepare([tmp_path / "b.txt"], tmp_path / "other")
    with pytest.raises(ValueError, match=r"learns from another text than .*their sums differ"):
        quiet(tmp_path / "other", whole)
    with pytest.raises(
        ValueError, match=r"lr is 0.0003 in the run at .*, and 0.1 now. Leave it out"
    ):
        quiet(data, whole, lr=0.1)
    with pytest.raises(ValueError, match="n_layer is 1 in the run"):
        quiet(data, whole, n_layer=2)
    assert quiet(data, whole, keep=5, log_every=1)  # these may change


def test_what_would_fail_later_fails_before_the_first_step(data, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x", encoding="utf-8")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("x", encoding="utf-8")
    for out, reason in (
        (tmp_path / "no" / "run", "must lie in a folder that exists"),
        (tmp_path / "file", "holds something else than a run"),
        (tmp_path / "full", "holds something else than a run"),
    ):
        with pytest.raises(ValueError, match=reason):
            quiet(data, out)
    with pytest.raises(ValueError, match=r"context_length is 5000, and a part .* has \d+ tokens"):
        quiet(data, tmp_path / "run", context_length=5000)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(ValueError, match=r"has no room: the checkpoints take 0 MB, and 0 MB are"):
        quiet(data, tmp_path / "run2")


def test_a_beginning_that_was_killed_can_be_begun_again(data, whole, tmp_path):
    out = tmp_path / "run"
    (out / runs.CHECKPOINTS).mkdir(parents=True)
    (out / f".{runs.STATE}.0123456789ab.tmp").write_text("{", encoding="utf-8")
    quiet(data, out)
    assert same(out, whole) and not list(out.glob(".*"))
    (tmp_path / "other" / runs.CHECKPOINTS / "mine").mkdir(parents=True)
    with pytest.raises(ValueError, match="holds something else than a run"):
        quiet(data, tmp_path / "other")


def test_a_home_is_found_and_a_read_only_place_is_refused(data, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    quiet(data, "~/run", steps=1)
    assert runs.is_run(tmp_path / "run")

    def refused(*args, **more):
        raise PermissionError("read-only file system")

    monkeypatch.setattr(runs, "write_text", refused)
    with pytest.raises(ValueError, match="must be a folder that can be written to: read-only"):
        quiet(data, tmp_path / "other")


def test_a_full_disk_in_the_middle_loses_nothing(data, whole, tmp_path, monkeypatch):
    out, save, saved = tmp_path / "run", runs.save_checkpoint, []

    def full(path, *args):
        if len(saved) == 2:
            raise OSError(28, "No space left on device")
        saved.append(path)
        save(path, *args)

    monkeypatch.setattr(runs, "save_checkpoint", full)
    with pytest.raises(OSError, match="No space left"):
        quiet(data, out)
    assert [p.name for p in runs.checkpoints(out)] == ["00000004", "00000002"]
    monkeypatch.undo()
    quiet(data, out)
    assert same(out, whole)


def test_a_run_of_a_newer_version_is_refused_by_name(whole, data, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    told = json.loads((out / runs.STATE).read_text("utf-8")) | {"format": "gptlib run 2"}
    (out / runs.STATE).write_text(json.dumps(told), "utf-8")
    with pytest.raises(
        ValueError, match=r"marked as 'gptlib run 2'; this version .* 'gptlib run 1'"
    ):
        quiet(data, out)
    with pytest.raises(ValueError, match=r"is no run: there is no settings.json"):
        runs.state_of(tmp_path)


def test_a_checkpoint_is_asked_for_by_its_step(whole):
    assert runs.load(whole, "8")[2].name == "00000008"
    with pytest.raises(ValueError, match="has no checkpoint 7; it has 12, 10"):
        runs.load(whole, "7")


def test_a_checkpoint_without_a_tokenizer_and_one_of_too_large_a_model_are_refused(whole, tmp_path):
    save_checkpoint(tmp_path / "bare", build(settings_of(**small()), 9))
    with pytest.raises(ValueError, match=r"has no tokenizer: save it with the model, tokenizer="):
        runs.load(tmp_path / "bare")
    shutil.copytree(runs.checkpoints(whole)[0], tmp_path / "large")
    file = tmp_path / "large" / "config.json"
    told = json.loads(file.read_text("utf-8"))
    told["config"]["vocab_size"] = 10**12  # more than any memory: it is counted, and not built
    file.write_text(json.dumps(told), "utf-8")
    sign(tmp_path / "large")
    with pytest.raises(ValueError, match=r"weights; its model has 8000000\d+"):
        runs.load(tmp_path / "large")


# Killed ------------------------------------------------------------------------------------------


def work(data: Path, out: Path) -> None:
    torch.set_num_threads(1)
    learn(data, out, log=lambda line: None, **(TINY | {"steps": 16, "save_every": 1}))
    os._exit(0)


def begun(out: Path) -> set[Path]:
    """The checkpoints of a run that were begun and are not whole."""
    return set((out / runs.CHECKPOINTS).glob(".*.tmp"))


def wait_for_writing(process, out: Path, nth: int) -> None:
    """Until a process has begun to write its nth checkpoint from now on, or has ended."""
    seen = begun(out)  # left by one that was killed
    while nth > 0 and process.is_alive():
        new = begun(out) - seen
        seen, nth = seen | new, nth - len(new)
        time.sleep(0.0002)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
def test_killed_at_random_moments_it_ends_with_the_same_weights(data, tmp_path):
    many = int(os.environ.get("GPTLIB_KILLS", "20"))
    forked, draw = multiprocessing.get_context("fork"), random.Random(0)

    def started(out: Path):
        process = forked.Process(target=work, args=(data, out))
        process.start()
        return process

    began = time.monotonic()
    first = started(tmp_path / "untouched")
    first.join()
    assert first.exitcode == 0
    took, kills, half_written = time.monotonic() - began, 0, 0
    for turn in range(1000):
        out = tmp_path / f"run{turn}"
        while True:
            left, process = begun(out), started(out)
            if kills < many and kills % 2:
                wait_for_writing(process, out, draw.randint(1, 4))
                time.sleep(draw.choice((0, 0.001, 0.003)))
            process.join(None if kills >= many else 0 if kills % 2 else draw.uniform(0, took))
            if process.exitcode is not None:
                break
            process.kill()
            process.join()
            kills += 1
            half_written += begun(out) - left != set()
        assert process.exitcode == 0 and same(out, tmp_path / "untouched")
        if kills >= many:
            break
    print(f"{kills} kills, {half_written} of them while a checkpoint was written")
    assert half_written >= kills // 5  # aimed at by half of them; some find it finished
    assert not list((out / runs.CHECKPOINTS).glob(".*"))


# The curve ---------------------------------------------------------------------------------------


def test_the_curve_falls_in_the_terminal():
    rows = curve.in_terminal([(0, 3.0), (10, 1.0)], width=4, height=2).splitlines()
    assert rows[0].startswith("  3.000 ") and rows[1].startswith("  1.000 ")
    dots = [[ord(c) - 0x2800 for c in row[8:]] for row in rows[:2]]
    assert dots[0][0] & 0x01 and dots[1][3] & 0x80  # first dot at the top, last one at the bottom
    assert rows[2].endswith("step 0 to 10")
    assert curve.in_terminal([]) == "" and curve.in_terminal([(0, 1.0)])
    assert {len(row) for row in curve.in_terminal([(0, 1.0)]).splitlines()[:-1]} == {68}


def test_dots_are_those_of_braille():
    """Unicode's names count them down the left column and the right one, the lowest row last."""
    found = [[unicodedata.name(chr(0x2800 + dot))[-1] for dot in row] for row in curve.DOTS]
    assert found == [["1", "4"], ["2", "5"], ["3", "6"], ["7", "8"]]


def test_the_drawn_curves_have_names_and_few_points_are_marked(tmp_path, monkeypatch):
    drawn, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (drawn.append(self), save(self, *a, **k))
    )
    points = [(step, 1 / (1 + step)) for step in range(9)]
    curve.to_file(tmp_path / "a.png", {"few": points[:8], "many": points, "none": []})
    (axes,) = drawn[0].axes
    assert [(line.get_label(), line.get_marker()) for line in axes.lines] == [
        ("few", "."),
        ("many", ""),
    ]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["few", "many"]


@pytest.mark.parametrize(
    ("kind", "begin"), [("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")]
)
def test_the_curve_is_drawn_into_a_file(tmp_path, kind, begin):
    curve.to_file(tmp_path / f"a.{kind}", {"training": [(0, 2.0), (1, 1.0)], "none": []})
    assert (tmp_path / f"a.{kind}").read_bytes().startswith(begin)
    with pytest.raises(ValueError, match=r"must end in .svg, .png or .pdf"):
        curve.to_file(tmp_path / "a.txt", {})


def test_the_best_checkpoint_is_tried_first_and_then_the_newest(tmp_path, monkeypatch):
    """A damaged one tells no loss, and the others tell their own."""
    paths = [tmp_path / name for name in ("00000003", "00000002", "00000001")]
    for path, loss in zip(paths, (0.5, 0.3, None), strict=True):
        path.mkdir()
        history = [{"step": int(path.name), "val_loss": loss}]
        (path / "run.json").write_text(json.dumps({"history": history}), "utf-8")
    monkeypatch.setattr(runs, "checkpoints", lambda run: paths)
    three, two, one = paths
    assert runs.best_first("run") == [two, three, one]
    (two / "run.json").write_text("damaged", "utf-8")
    assert runs.best_first("run") == [three, two, one]
    (three / "run.json").unlink()
    assert runs.best_first("run") == [three, two, one]

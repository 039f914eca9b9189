"""Trackers: told what the log says, asked for by name alone, and nothing is left if one is absent.

Stand-ins, with the names and arguments of the real ones, see what ours calls. What the real ones
write is read back in `test_trackers.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from huggingface_hub import constants

from gptlib.cli.main import main
from gptlib.engine import tracking
from gptlib.engine.learn import learn
from gptlib.engine.prepare import prepare
from gptlib.engine.tracking import TRACKERS

TINY = {
    "context_length": 8, "n_layer": 1, "n_head": 2, "n_embd": 8, "batch_size": 2, "steps": 6,
    "eval_every": 4, "eval_batches": 1, "save_every": 2, "log_every": 2, "device": "cpu",
}  # fmt: skip
NAMES = {"loss", "val_loss", "lr", "grad_norm", "tokens_per_second"}


@pytest.fixture
def data(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("the cat sat on the mat. " * 40, encoding="utf-8")
    prepare([tmp_path / "a.txt"], tmp_path / "data")
    return tmp_path / "data"


def logged(run: Path) -> dict[str, dict[int, float]]:
    """By name the numbers of the run's own log, by step."""
    found: dict[str, dict[int, float]] = {}
    for line in (run / "log.jsonl").read_text("utf-8").splitlines():
        told = json.loads(line)
        for name, value in tracking.numbers_of(told).items():
            found.setdefault(name, {})[told["step"]] = pytest.approx(value, rel=1e-5)
    return found


def lose_the_last(run: Path) -> None:
    """As if it had been stopped at step 4: the last two steps are done once more."""
    shutil.rmtree(run / "checkpoints" / "00000006")


class Noting:
    """A tracker that remembers."""

    def __init__(self, folder, settings, step):
        self.folder, self.settings, self.step = folder, settings, step
        self.seen: dict[str, dict[int, float]] = {}
        self.closed = 0
        made.append(self)

    def log(self, step, numbers):
        for name, value in numbers.items():
            self.seen.setdefault(name, {})[step] = value

    def close(self):
        self.closed += 1


made: list[Noting] = []


def test_a_tracker_is_told_what_the_log_says_and_where_the_run_stands(data, tmp_path, monkeypatch):
    monkeypatch.setitem(TRACKERS, "noting", (Noting, "json", "noting"))
    made.clear()
    told = {"log": lambda line: None, "track": "noting"}
    run = learn(data, tmp_path / "run", **TINY, **told)
    (first,) = made
    assert first.seen == logged(run) and set(first.seen) >= NAMES
    assert (first.step, first.closed, first.folder) == (0, 1, run)
    assert first.settings["n_embd"] == 8
    lose_the_last(run)
    learn(data, run, **TINY, **told)
    assert (
        made[1].step == 4 and made[1].seen["tokens_per_second"] == logged(run)["tokens_per_second"]
    )  # of the log, and then of what is done again


def test_what_no_tracker_was_told_is_told_from_the_log(data, tmp_path, monkeypatch):
    """Asked for halfway, it has the whole curve."""
    monkeypatch.setitem(TRACKERS, "noting", (Noting, "json", "noting"))
    made.clear()
    run = learn(data, tmp_path / "run", log=lambda line: None, **TINY)
    lose_the_last(run)
    learn(data, run, log=lambda line: None, track="noting", **TINY)
    assert made[0].seen == logged(run) and sorted(made[0].seen["lr"]) == [0, 2, 4, 6]


def test_without_being_asked_for_none_is_imported(data, tmp_path, monkeypatch):
    for module in ("tensorboard", "mlflow", "trackio", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, module, None)  # importing it is an error
    assert learn(data, tmp_path / "run", log=lambda line: None, **TINY).is_dir()


@pytest.mark.parametrize("kind", TRACKERS)
def test_one_that_is_missing_is_said_before_anything_is_begun(data, kind, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, TRACKERS[kind][1], None)
    assert main(["train", "data", "--out", "run", "--track", kind]) == 2
    said = capsys.readouterr().err
    asked = f"pip install {TRACKERS[kind][2]}"
    assert said == f"gptlib train: {kind} is not installed here: {asked}\n"
    assert not Path("run").exists()


def test_one_that_is_none_is_named(data, capsys):
    assert main(["train", "data", "--out", "run", "--track", "paper"]) == 2
    said = capsys.readouterr().err
    assert "track must be one of tensorboard, mlflow, trackio; got 'paper'." in said
    assert not Path("run").exists()


# Stand-ins: the names and arguments of the real ones ----------------------------------------------


def stand_in_for_tensorboard(seen):
    class SummaryWriter:
        def __init__(self, log_dir=None, comment="", purge_step=None):
            assert Path(log_dir).name == tracking.PLACE
            Path(log_dir).mkdir(exist_ok=True)
            Path(log_dir, "events.out.tfevents.1").touch()
            if purge_step is not None:  # as its readers do
                seen[:] = [x for x in seen if len(x) < 3 or x[1] < purge_step]
            seen.append(("began", purge_step))

        def add_text(self, tag, text_string, global_step=None):
            seen.append(("settings", json.loads(text_string.strip("`\n"))["n_embd"]))

        def add_scalar(self, tag, scalar_value, global_step=None):
            seen.append((tag, global_step, scalar_value))

        def flush(self):
            pass

        def close(self):
            seen.append(("closed",))

    return {"tensorboard": {}, "torch.utils.tensorboard": {"SummaryWriter": SummaryWriter}}


def stand_in_for_mlflow(seen):
    def history(name):
        return [types.SimpleNamespace(step=x[1]) for x in seen if len(x) == 3 and x[0] == name]

    class MlflowClient:
        def __init__(self, tracking_uri=None):
            assert tracking_uri.startswith("sqlite:///") and tracking_uri.endswith("mlflow.db")
            assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"

        def get_experiment_by_name(self, name):
            return None

        def create_experiment(self, name, artifact_location=None):
            assert name == "gptlib" and artifact_location.startswith("file:")
            return "7"

        def create_run(self, experiment_id, run_name=None):
            assert (experiment_id, run_name) == ("7", "run")
            seen.append(("began", None))
            return types.SimpleNamespace(info=types.SimpleNamespace(run_id="abc"))

        def update_run(self, run_id, status=None):
            assert (run_id, status) == ("abc", "RUNNING")
            seen.append(("began", "again"))

        def get_run(self, run_id):
            assert run_id == "abc"
            metrics = {x[0]: x[2] for x in seen if len(x) == 3}
            return types.SimpleNamespace(data=types.SimpleNamespace(metrics=metrics))

        def get_metric_history(self, run_id, key):
            assert run_id == "abc"
            return history(key)

        def log_param(self, run_id, key, value):
            if key == "n_embd":
                seen.append(("settings", value))

        def log_batch(self, run_id, metrics=()):
            assert run_id == "abc" and metrics
            seen.extend(metrics)

        def set_terminated(self, run_id):
            seen.append(("closed",))

    def metric(key, value, timestamp, step):
        assert timestamp > 1_700_000_000_000  # milliseconds
        return key, step, value

    return {"mlflow": {"MlflowClient": MlflowClient}, "mlflow.entities": {"Metric": metric}}


def stand_in_for_trackio(seen):
    class Run:
        def log(self, metrics, step=None):
            seen.extend((name, step, value) for name, value in metrics.items())

        def finish(self):
            seen.append(("closed",))

    def init(project, name=None, config=None, resume="never", embed=True):
        assert (project, name, embed) == ("gptlib", "run", False)
        assert constants.HF_HUB_OFFLINE
        seen.append(("began", {"never": None, "allow": "again"}[resume]))
        if resume == "never":
            seen.append(("settings", config["n_embd"]))
        return Run()

    class SQLiteStorage:
        @staticmethod
        def get_logs(project, run):
            assert project == "gptlib" and run.startswith("run")
            return [{"step": x[1], "timestamp": "", x[0]: x[2]} for x in seen if len(x) == 3]

    return {"trackio": {"init": init}, "trackio.sqlite_storage": {"SQLiteStorage": SQLiteStorage}}


STAND_INS = {
    "tensorboard": stand_in_for_tensorboard,
    "mlflow": stand_in_for_mlflow,
    "trackio": stand_in_for_trackio,
}
VARIABLES = (
    "MLFLOW_TRACKING_URI", "MLFLOW_DISABLE_TELEMETRY", "TRACKIO_DIR", *tracking.ELSEWHERE
)  # fmt: skip


@pytest.fixture
def seen(kind, monkeypatch) -> list[tuple]:
    """All that the stand-in of a tracker is told."""
    told: list[tuple] = []
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # set, so that what is set meanwhile is taken back
        monkeypatch.delenv(name)
    for name, content in STAND_INS[kind](told).items():
        module = types.ModuleType(name)
        vars(module).update(content, __spec__=ModuleSpec(name, None))
        monkeypatch.setitem(sys.modules, name, module)
    return told


def points(seen) -> dict[tuple[str, int], float]:
    """The points that a reader would find, each of them once."""
    found = [x for x in seen if len(x) == 3]
    by_place = {(tag, step): value for tag, step, value in found}
    assert len(by_place) == len(found)
    return by_place


def wanted(run: Path) -> dict[tuple[str, int], float]:
    return {(tag, step): value for tag, row in logged(run).items() for step, value in row.items()}


CLOCK = {"seconds", "tokens_per_second", "share_of_peak"}  # not repeated by doing a step again


@pytest.mark.parametrize("kind", TRACKERS)
def test_ours_tells_it_begin_settings_every_point_and_the_end(kind, data, tmp_path, seen):
    told = {"log": lambda line: None, "track": kind}
    run = learn(data, tmp_path / "run", **TINY, **told)
    assert seen[:2] == [("began", None), ("settings", 8)] and seen[-1] == ("closed",)
    first = wanted(run)
    assert points(seen) == first
    lose_the_last(run)
    learn(data, run, **TINY, **told)
    assert ("began", 5 if kind == "tensorboard" else "again") in seen
    assert seen.count(("settings", 8)) == 1 and seen.count(("closed",)) == 2
    again = {k: v for k, v in first.items() if k[0] in CLOCK and kind != "tensorboard"}
    assert points(seen) == wanted(run) | again
    assert not constants.HF_HUB_OFFLINE  # for others that use the hub


@pytest.mark.parametrize("kind", TRACKERS)
def test_a_run_that_was_killed_before_its_first_checkpoint_goes_on_in_it(kind, data, seen):
    """All steps are done again, step 0 among them."""
    told = {"log": lambda line: None, "track": kind}
    run = learn(data, data.parent / "run", **TINY, **told)
    first = wanted(run)
    for checkpoint in (run / "checkpoints").iterdir():
        shutil.rmtree(checkpoint)
    learn(data, run, **TINY, **told)
    assert ("began", 0 if kind == "tensorboard" else "again") in seen
    again = {k: v for k, v in first.items() if k[0] in CLOCK and kind != "tensorboard"}
    assert set(points(seen)) == set(first) and points(seen) == wanted(run) | again


@pytest.mark.parametrize("kind", ["trackio"])
def test_a_server_of_trackio_is_told_no_step_of_the_log_again(kind, data, seen, monkeypatch):
    """It cannot be asked what it has; what is done again stands there twice."""
    told = {"log": lambda line: None, "track": kind}
    run = learn(data, data.parent / "run", **TINY, **told)
    lose_the_last(run)
    seen.clear()
    monkeypatch.setenv("TRACKIO_SERVER_URL", "http://localhost:1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # as the stand-in wants it
    learn(data, run, **TINY, **told)
    assert {step for _, step in points(seen)} == {6}


@pytest.mark.parametrize("kind", ["trackio"])
def test_among_the_runs_of_other_folders_one_of_trackio_has_a_name_of_its_own(
    kind, tmp_path, seen, monkeypatch
):
    names = []
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "all"))
    monkeypatch.setattr(sys.modules["trackio"], "init", lambda name, **_: names.append(name))
    for folder in (tmp_path / "a" / "run", tmp_path / "b" / "run"):
        folder.mkdir(parents=True)
        tracking.Trackio(folder, {}, 0)
        tracking.Trackio(folder, {}, 2)
    assert names[0] == names[1] != names[2] == names[3]
    assert all(name.startswith("run-") for name in names)

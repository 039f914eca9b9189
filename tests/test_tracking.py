"""Trackers: told what the log says, asked for by name alone, and nothing is left if one is absent.

What a tracker's own package writes is read back by that package, where it is installed: none is
pinned here. Everywhere a stand-in of it, with its names and arguments, sees what ours calls.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import types
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

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
HERE = [kind for kind, (_, module, _) in TRACKERS.items() if importlib.util.find_spec(module)]


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
    assert made[1].step == 4 and sorted(made[1].seen["loss"]) == [6]


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
    class MlflowClient:
        def __init__(self, tracking_uri=None):
            assert tracking_uri.startswith("sqlite:///") and tracking_uri.endswith("mlflow.db")

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
            seen.append(("began", 5))

        def log_param(self, run_id, key, value):
            if key == "n_embd":
                seen.append(("settings", value))

        def log_metric(self, run_id, key, value, step=None):
            assert run_id == "abc"
            seen.append((key, step, value))

        def set_terminated(self, run_id):
            seen.append(("closed",))

    return {"mlflow": {"MlflowClient": MlflowClient}}


def stand_in_for_trackio(seen):
    class Run:
        def log(self, metrics, step=None):
            seen.extend((name, step, value) for name, value in metrics.items())

        def finish(self):
            seen.append(("closed",))

    def init(project, name=None, config=None, resume="never", embed=True):
        assert (project, name, embed) == ("gptlib", "run", False)
        seen.append(("began", {"never": None, "allow": 5}[resume]))
        if resume == "never":
            seen.append(("settings", config["n_embd"]))
        return Run()

    return {"trackio": {"init": init}}


STAND_INS = {
    "tensorboard": stand_in_for_tensorboard,
    "mlflow": stand_in_for_mlflow,
    "trackio": stand_in_for_trackio,
}


@pytest.mark.parametrize("kind", TRACKERS)
def test_ours_tells_it_begin_settings_every_point_and_the_end(kind, data, tmp_path, monkeypatch):
    seen: list[tuple] = []
    for name in ("MLFLOW_TRACKING_URI", "TRACKIO_DIR"):
        monkeypatch.setenv(name, "")  # set, so that what is set meanwhile is taken back
        monkeypatch.delenv(name)
    for name, content in STAND_INS[kind](seen).items():
        module = types.ModuleType(name)
        vars(module).update(content, __spec__=ModuleSpec(name, None))
        monkeypatch.setitem(sys.modules, name, module)
    told = {"log": lambda line: None, "track": kind}
    run = learn(data, tmp_path / "run", **TINY, **told)
    points = {(tag, step): value for tag, step, *value in (x for x in seen if len(x) == 3)}
    assert seen[:2] == [("began", None), ("settings", 8)] and seen[-1] == ("closed",)
    wanted = logged(run)
    assert points == {(tag, s): [v] for tag, row in wanted.items() for s, v in row.items()}
    seen.clear()
    lose_the_last(run)
    learn(data, run, **TINY, **told)
    assert seen[0] == ("began", 5) and ("settings", 8) not in seen and seen[-1] == ("closed",)
    assert {x[1] for x in seen if len(x) == 3} == {6}


# The real ones, where they are -------------------------------------------------------------------

READ = {
    "tensorboard": """
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator("run/tracked").Reload()
found = {t: {e.step: e.value for e in events.Scalars(t)} for t in events.Tags()["scalars"]}
assert [len(events.Scalars(tag)) for tag in found] == [len(row) for row in found.values()]
""",
    "mlflow": """
from mlflow import MlflowClient
client = MlflowClient("sqlite:///run/tracked/mlflow.db")
(run,) = client.search_runs([client.get_experiment_by_name("gptlib").experiment_id])
assert run.info.status == "FINISHED" and run.data.params["n_embd"] == "8", run
found = {k: {m.step: m.value for m in client.get_metric_history(run.info.run_id, k)}
         for k in run.data.metrics}
""",
    "trackio": """
import os
os.environ["TRACKIO_DIR"] = os.path.abspath("run/tracked")
from trackio.sqlite_storage import SQLiteStorage
found = {}
for line in SQLiteStorage.get_logs("gptlib", "run"):
    for name, value in line.items():
        if name not in ("step", "timestamp"):
            found.setdefault(name, {})[line["step"]] = value
""",
}
MAIN = "import sys; from gptlib.cli.main import main; sys.exit(main(sys.argv[1:]))"


def in_python(code: str, *words: str) -> str:
    paths = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    left_out = {"MLFLOW_TRACKING_URI", "TRACKIO_DIR"}
    env = {k: v for k, v in os.environ.items() if k not in left_out} | {"PYTHONPATH": paths}
    command = [sys.executable, "-c", code, *words]
    answer = subprocess.run(command, env=env, capture_output=True, text=True, encoding="utf-8")
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


if HERE:  # elsewhere this test is not there: a skipped one would count as failed

    @pytest.mark.parametrize("kind", HERE)
    def test_its_own_reader_finds_the_numbers_of_the_log(kind, data, tmp_path):
        words = [f"--{k.replace('_', '-')}={v}" for k, v in TINY.items()]
        asked = ["train", "data", "--out", "run", "--track", kind, *words]
        in_python(MAIN, *asked)
        lose_the_last(tmp_path / "run")
        in_python(MAIN, *asked)  # taken up again: one run, the same curves
        said = in_python(READ[kind] + "\nimport json; print('\\n' + json.dumps(found))")
        found = json.loads(said.strip().splitlines()[-1])
        points = {name: {int(s): v for s, v in row.items()} for name, row in found.items()}
        assert points == logged(tmp_path / "run")
        assert set(points) >= NAMES and sorted(points["loss"]) == [2, 4, 6]

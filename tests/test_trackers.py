"""Trackers as they are: what `gptlib train --track` tells each, read back by its own reader.

`make pythons` makes an environment with TensorBoard, MLflow and Trackio while there is a network. A
run is killed before its first checkpoint, stopped by SIGTERM, killed again, and ends: every step
stands once, with the number of the run's own log. No run asks another computer for anything.
"""

from __future__ import annotations

import json
import re
import subprocess
import tomllib
from pathlib import Path

import matplotlib
import packages
import pytest
import trackers
from environment import VENV, python_of
from packaging.requirements import Requirement
from running import ROOT, ask, clean_environment

from gptlib.engine.prepare import prepare
from gptlib.engine.tracking import TRACKERS, numbers_of

PINS = packages.pins(trackers.LOCK.read_text(encoding="utf-8"))
LOCKED = {name: Requirement(entry.split("\\")[0]) for name, entry in PINS.items()}
VERSIONS = {name: next(iter(line.specifier)).version for name, line in LOCKED.items()}
OURS = {
    name: Requirement(entry.split("\\")[0]).specifier
    for name, entry in packages.pins(packages.LOCK.read_text(encoding="utf-8")).items()
}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]
TINY = {
    "context_length": 8, "n_layer": 1, "n_head": 2, "n_embd": 8, "batch_size": 2, "steps": 12,
    "eval_every": 4, "eval_batches": 1, "save_every": 4, "log_every": 2, "device": "cpu",
}  # fmt: skip
NAMES = {"loss", "val_loss", "lr", "grad_norm", "tokens_per_second"}
CLOCK = {"seconds", "tokens_per_second", "share_of_peak"}  # what doing a step again does not repeat

# The lock ----------------------------------------------------------------------------------------


def test_each_version_has_its_hashes_and_is_one_that_the_extras_ask_for():
    assert "://" not in trackers.LOCK.read_text(encoding="utf-8")
    for name, entry in PINS.items():
        assert re.search(r" \\\n +--hash=sha256:[0-9a-f]{64}", entry), name
    for kind in TRACKERS:
        for line in map(Requirement, EXTRAS[kind]):
            version = VERSIONS.get(line.name) or next(iter(OURS[line.name])).version
            assert version in line.specifier, line


def test_what_the_course_has_already_is_not_installed_again():
    """Two are there in an older version, because MLflow and Trackio want one."""
    twice = {name for name in VERSIONS if name in OURS}
    assert twice == {"importlib-metadata", "pillow"}
    assert not any(VERSIONS[name] in OURS[name] for name in twice)


@pytest.fixture(scope="module")
def python() -> Path:
    """The environment's Python."""
    if not trackers.is_ready():
        pytest.skip("no environment with the trackers: `make pythons` makes it")
    return python_of(trackers.TRACKERS)


def test_what_is_imported_there_is_what_is_locked(python):
    """Beside the course's own torch, and nothing is missing or too old."""
    here = [name for name, line in LOCKED.items() if not line.marker or line.marker.evaluate()]
    code = "import sys, importlib.metadata as m; print(*map(m.version, sys.argv[1:]))"
    said = ask([python, "-I", "-c", code, *here])
    assert said.split() == [VERSIONS[name] for name in here]
    code = "import gptlib, torch; print(gptlib.__file__, torch.__version__)"
    where, version = ask([python, "-I", "-c", code]).rsplit(" ", 1)
    assert where == str(ROOT / "gptlib" / "__init__.py")
    assert version.split("+")[0] in OURS["torch"]
    said = ask([python_of(VENV), "-m", "pip", "--python", python, "check"])
    assert said == "No broken requirements found."


# Runs --------------------------------------------------------------------------------------------

# Whoever asks another computer for something is noted, and gets no answer.
ALONE = """
import os, sys
def listening(event, args):
    if event == "socket.getaddrinfo":
        host = args[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(args[1], tuple):
        host = args[1][0]
    else:
        return
    if host not in ("localhost", "127.0.0.1", "::1", None):
        with open(os.environ["ASKED"], "a") as file:
            file.write(f"{host}\\n")
        raise OSError("the network is not to be used")
sys.addaudithook(listening)
"""
# The command line; at a step it is stopped, or killed as if the power went.
TRAIN = """
import signal, time
from gptlib.cli.main import main

class Told:
    def write(self, text):
        where = text.startswith(f"step {os.environ['AT']:>2}/")
        if where and os.environ["HOW"] == "stopped":
            signal.raise_signal(signal.SIGTERM)
        elif where:
            time.sleep(float(os.environ["WAIT"]))
            os._exit(9)
        return out.write(text)
    def __getattr__(self, name):
        return getattr(out, name)

out, sys.stdout = sys.stdout, Told()
sys.exit(main(sys.argv[1:]))
"""
READ = {
    "tensorboard": """
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator("run/tracked", size_guidance={"scalars": 0}).Reload()
found = [(t, e.step, e.value) for t in events.Tags()["scalars"] for e in events.Scalars(t)]
(settings,) = events.Tensors("settings/text_summary")
(text,) = settings.tensor_proto.string_val
width = json.loads(text.decode().strip("`\\n"))["n_embd"]
""",
    "mlflow": """
from mlflow import MlflowClient
client = MlflowClient("sqlite:///run/tracked/mlflow.db")
(run,) = client.search_runs([client.get_experiment_by_name("gptlib").experiment_id])
assert run.info.status == "FINISHED" and run.info.run_name == "run", run
found = [(m.key, m.step, m.value) for k in run.data.metrics
         for m in client.get_metric_history(run.info.run_id, k)]
width = int(run.data.params["n_embd"])
""",
    "trackio": """
import trackio
from trackio.sqlite_storage import SQLiteStorage
(run,) = trackio.Api().runs("gptlib")
assert run.name == "run", run
found = [(k, line["step"], v) for line in SQLiteStorage.get_logs("gptlib", "run", run_id=run.id)
         for k, v in line.items() if k not in ("step", "timestamp")]
width = run.config["n_embd"]
""",
}
FILES = {
    "tensorboard": r"events\.out\.tfevents\.\S+",
    "mlflow": r"mlflow\.(db|json)",
    "trackio": r"gptlib\.(db|lock)|trackio\.json",
}


class Runs:
    """Commands in the trackers' environment, in a folder and a home of their own."""

    def __init__(self, python: Path, folder: Path, kind: str):
        self.python, self.folder, self.kind = python, folder, kind
        self.run, self.home, self.asked = folder / "run", folder / "home", folder / "asked"
        self.home.mkdir()
        # Variables that lead elsewhere, or by which a tracker knows that it is tested.
        dropped = re.compile(r"CI|PYTEST_\w+|GITHUB_\w+|MLFLOW_\w+|TRACKIO_\w+|HF_\w+|XDG_\w+")
        kept = {k: v for k, v in clean_environment().items() if not dropped.fullmatch(k)}
        self.env = kept | {
            "HOME": str(self.home), "USERPROFILE": str(self.home), "ASKED": str(self.asked),
            "MPLCONFIGDIR": matplotlib.get_cachedir(), "OMP_NUM_THREADS": "1",
            "HF_TOKEN": "hf_of_nobody",  # by which Trackio would ask who that is
        }  # fmt: skip

    def python_says(self, code: str, *words: str, status: int = 0, **env: str) -> str:
        answer = subprocess.run(
            [str(self.python), "-c", code, *words], cwd=self.folder, env=self.env | env,
            capture_output=True, text=True, encoding="utf-8",
        )  # fmt: skip
        assert answer.returncode == status, answer.stdout + answer.stderr
        return answer.stdout

    def train(self, how: str = "", at: int = -1, wait: float = 0, status: int = 0) -> None:
        """`gptlib train` until it ends, or is `stopped` or `killed` as it tells of a step."""
        words = [f"--{k.replace('_', '-')}={v}" for k, v in TINY.items()]
        asked = ["train", "data", "--out", "run", "--track", self.kind, *words]
        env = {"HOW": how, "AT": str(at), "WAIT": str(wait)}
        self.python_says(ALONE + TRAIN, *asked, status=status, **env)

    def curves(self) -> dict[tuple[str, int], float]:
        """What the tracker's own reader finds; nothing stands there twice."""
        code = f"{ALONE}import json{READ[self.kind]}print('\\n' + json.dumps([found, width]))"
        here = {"TRACKIO_DIR": str(self.run / "tracked"), "MLFLOW_DISABLE_TELEMETRY": "true"}
        said = self.python_says(code, **here)
        found, width = json.loads(said.strip().splitlines()[-1])
        points = {(name, step): value for name, step, value in found}
        assert len(points) == len(found), sorted(found)
        assert width == TINY["n_embd"]
        return points

    def log(self) -> dict[tuple[str, int], float]:
        """The run's own log."""
        lines = (self.run / "log.jsonl").read_text(encoding="utf-8").splitlines()
        told = map(json.loads, lines)
        return {(k, line["step"]): v for line in told for k, v in numbers_of(line).items()}

    def leaves_all_else_alone(self) -> None:
        """Nobody was asked, and nothing was written beside the run."""
        assert not self.asked.exists(), self.asked.read_text()
        assert list(self.home.iterdir()) == []
        assert {path.name for path in self.folder.iterdir()} == {"a.txt", "data", "home", "run"}
        for path in (self.run / "tracked").iterdir():
            assert re.fullmatch(FILES[self.kind], path.name), path


@pytest.fixture(params=TRACKERS)
def runs(request, python, tmp_path) -> Runs:
    (tmp_path / "a.txt").write_text("the cat sat on the mat. " * 40, encoding="utf-8")
    prepare([tmp_path / "a.txt"], tmp_path / "data")
    return Runs(python, tmp_path, request.param)


def close(kind: str, value: float):
    """TensorBoard keeps single precision, the others every bit."""
    return pytest.approx(value, rel=1e-6) if kind == "tensorboard" else value


@pytest.mark.slow
def test_its_own_reader_finds_each_step_of_the_log_once(runs, record_property):
    """A step that is done again has the numbers of the first time, but for the clock's.

    Trackio writes twice a second, so a kill may take its last points: they come from the log.
    """
    replaces = runs.kind == "tensorboard"
    runs.train("killed", at=2, wait=1.5, status=9)  # nothing is saved yet: all is done again
    before = runs.log()
    runs.train("stopped", at=6, status=143)
    log, found = runs.log(), runs.curves()
    assert {name for name, _ in log} >= NAMES and max(step for _, step in log) == 6
    first = {} if replaces else {key: v for key, v in before.items() if key[0] in CLOCK}
    assert found == {key: close(runs.kind, value) for key, value in (log | first).items()}

    runs.train("killed", at=10, status=9)  # saved at step 8
    before = runs.log()
    runs.train()
    log, found = runs.log(), runs.curves()
    assert sorted(step for name, step in log if name == "loss") == [2, 4, 6, 8, 10, 12]
    if not replaces:
        first |= {k: v for k, v in before.items() if k[0] in CLOCK and found.get(k) == v}
        if runs.kind == "mlflow":
            assert ("seconds", 10) in first
    assert found == {key: close(runs.kind, value) for key, value in (log | first).items()}
    runs.leaves_all_else_alone()
    name = {"mlflow": "mlflow-skinny"}.get(runs.kind, runs.kind)
    record_property("python", f"trackers: {name} {VERSIONS[name]} reads a run that was interrupted")

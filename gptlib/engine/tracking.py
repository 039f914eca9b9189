"""What a run reports, told to a tracker as well: TensorBoard, MLflow or Trackio.

Given, not built. A run always keeps its own log, `log.jsonl`, a line of JSON each. A tracker is an
extra: it is imported when it is asked for, writes into the run's folder and sends nothing anywhere,
unless the tracker's own variables name another place. A new one is a class with `log` and `close`,
and a line in TRACKERS.

A run that is taken up again does some steps once more, and its tracker hears of them again. Each
step stands there once all the same. TensorBoard's readers drop the older points. MLflow and Trackio
take none back, so the first point stays: loss and gradient come out equal, the speed does not.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from gptlib.engine.runs import LOG
from gptlib.given.files import write_text

PLACE = "tracked"  # in the run's folder
ELSEWHERE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")  # Trackio sends to these, where they are set


class Tracker(Protocol):
    """What is told of a run: `log` numbers by name at a step, `close` at the end."""

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """Take in what a step reports, but for what is there already."""

    def close(self) -> None:
        """The run has ended, or was stopped; all is on the disk afterwards."""


class Nowhere:
    """No tracker."""

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class TensorBoard:
    """Event files, for `tensorboard --logdir runs/mine/tracked`; steps done again are replaced."""

    def __init__(self, folder: Path, settings: dict[str, Any], step: int):
        from torch.utils.tensorboard import SummaryWriter

        place = folder / PLACE
        begun = any(place.glob("events.out.tfevents.*"))
        self.done = kept(step) if begun else -1
        # What older files have from purge_step on is passed over by who reads them.
        self.writer = SummaryWriter(str(place), purge_step=self.done + 1 if begun else None)
        if not begun:
            self.writer.add_text("settings", f"```\n{json.dumps(settings, indent=1)}\n```")

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """A point on each curve."""
        if step <= self.done:
            return
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def close(self) -> None:
        """Close the file."""
        self.writer.close()


class MLflow:
    """A run in `tracked/mlflow.db`, or where MLFLOW_TRACKING_URI says; taken up again by its id."""

    def __init__(self, folder: Path, settings: dict[str, Any], step: int):
        # Or it would send which of its functions are called; read when it is imported.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        place = folder / PLACE
        place.mkdir(exist_ok=True)
        here = f"sqlite:///{(place / 'mlflow.db').as_posix()}"
        self.client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or here)
        self.there: set[tuple[str, int]] = set()
        state = place / "mlflow.json"
        if state.is_file():
            self.run = json.loads(state.read_text(encoding="utf-8"))["run"]
            self.client.update_run(self.run, status="RUNNING")
            for name in self.client.get_run(self.run).data.metrics:
                points = self.client.get_metric_history(self.run, name)
                self.there |= {(name, point.step) for point in points}
            return
        found = self.client.get_experiment_by_name("gptlib")
        experiment = found.experiment_id if found else self.client.create_experiment(
            "gptlib", artifact_location=(place / "artifacts").as_uri()
        )  # fmt: skip
        self.run = self.client.create_run(experiment, run_name=folder.name).info.run_id
        write_text(state, json.dumps({"run": self.run}))
        for name, value in settings.items():
            self.client.log_param(self.run, name, value)

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """A point on each curve, all in one message."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        new = {k: v for k, v in numbers.items() if (k, step) not in self.there}
        if new:
            self.client.log_batch(self.run, [Metric(k, v, now, step) for k, v in new.items()])

    def close(self) -> None:
        """Mark the run as ended."""
        self.client.set_terminated(self.run)


class Trackio:
    """A run in the project `gptlib`, in `tracked`, or where TRACKIO_DIR says; `trackio show`.

    Trackio asks for its place once: in one Python the runs after the first go where that one went.
    Points of a server or a Space cannot be asked for: there a step that is done again stands twice.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], step: int):
        own = str(folder / PLACE)
        alone = os.environ.setdefault("TRACKIO_DIR", own) == own
        import trackio
        from trackio.sqlite_storage import SQLiteStorage

        state = folder / PLACE / "trackio.json"
        if begun := state.is_file():
            name = json.loads(state.read_text(encoding="utf-8"))["run"]
        else:  # among the runs of other folders a name may be there already
            name = folder.name if alone else f"{folder.name}-{secrets.token_hex(3)}"
            state.parent.mkdir(exist_ok=True)
            write_text(state, json.dumps({"run": name}))
        self.there: set[tuple[str, int]] = set()
        self.done = -1
        remote = any(os.environ.get(variable) for variable in ELSEWHERE)
        if remote and begun:
            self.done = kept(step)
        elif begun:
            for told in SQLiteStorage.get_logs("gptlib", name):
                self.there |= {(key, told["step"]) for key in told}
        with asking_nobody(not remote):
            self.run = trackio.init(
                project="gptlib", name=name, config=settings, embed=False,
                resume="allow" if begun else "never",
            )  # fmt: skip

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """A point on each curve; half a second later it is on the disk."""
        new = {k: v for k, v in numbers.items() if (k, step) not in self.there}
        if new and step > self.done:
            self.run.log(new, step=step)

    def close(self) -> None:
        """Wait until all is written."""
        self.run.finish()


def kept(step: int) -> int:
    """The last step that is not done again by a run that stands at this one; -1 for none.

    kept(40) -> 40
    kept(0) -> -1  # a run begins with a line for step 0
    """
    return step or -1


@contextmanager
def asking_nobody(here: bool) -> Iterator[None]:
    """Trackio asks Hugging Face whose token this computer has: not for a run that stays here."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or here
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


# By name: the class, what it imports, and what brings that.
TRACKERS: dict[str, tuple[Any, str, str]] = {
    "tensorboard": (TensorBoard, "tensorboard", "tensorboard"),
    "mlflow": (MLflow, "mlflow", "mlflow-skinny sqlalchemy alembic"),
    "trackio": (Trackio, "trackio", "trackio"),
}


def check_tracker(kind: str | None) -> None:
    """A tracker that can be had, or None. Errors: ValueError with what to install, or the choice.

    check_tracker(None) -> None
    """
    if kind is None:
        return
    if kind not in TRACKERS:
        raise ValueError(f"track must be one of {', '.join(TRACKERS)}; got {kind!r}.")
    _, module, packages = TRACKERS[kind]
    if importlib.util.find_spec(module) is None:  # not imported: first it is told where to write
        raise ValueError(f"{kind} is not installed here: pip install {packages}")


def tracker(kind: str | None, folder: Path, settings: dict[str, Any], step: int) -> Tracker:
    """The tracker of a run that stands at a step, 0 when it begins. Errors: as `check_tracker`.

    It is told the run's log first, which ends at that step: what it lacks of it, it takes in.
    """
    check_tracker(kind)
    if kind is None:
        return Nowhere()
    found: Tracker = TRACKERS[kind][0](folder, settings, step)
    log = folder / LOG
    for line in log.read_text(encoding="utf-8").splitlines() if log.is_file() else ():
        told = json.loads(line)
        found.log(told["step"], numbers_of(told))
    return found


def numbers_of(told: dict[str, Any]) -> dict[str, float]:
    """What of a line of the log is a number to be drawn.

    numbers_of({"step": 20, "loss": 2.5, "val_loss": None}) -> {"loss": 2.5}
    """
    return {
        name: float(value)
        for name, value in told.items()
        if name != "step" and isinstance(value, int | float) and not isinstance(value, bool)
    }

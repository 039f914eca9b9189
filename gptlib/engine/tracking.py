"""What a run reports, told to a tracker as well: TensorBoard, MLflow or Trackio.

Given, not built. A run always keeps its own log, `log.jsonl`, a line of JSON each. A tracker is an
extra: it is imported when it is asked for, writes into the run's folder and sends nothing anywhere,
unless the tracker's own variables name another place. A new one is a class with `log` and `close`,
and a line in TRACKERS.
"""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any, Protocol

from gptlib.given.files import write_text

PLACE = "tracked"  # in the run's folder
STATE = "tracker.json"


class Tracker(Protocol):
    """What is told of a run: `log` numbers by name at a step, `close` at the end."""

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """Take in what a step reports; it is on the disk afterwards."""

    def close(self) -> None:
        """The run has ended, or was stopped."""


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

        self.writer = SummaryWriter(str(folder / PLACE), purge_step=step + 1 if step else None)
        if not step:
            self.writer.add_text("settings", f"```\n{json.dumps(settings, indent=1)}\n```")

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """A point on each curve."""
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def close(self) -> None:
        """Close the file."""
        self.writer.close()


class MLflow:
    """A run in `tracked/mlflow.db`, or where MLFLOW_TRACKING_URI says; taken up again by its id."""

    def __init__(self, folder: Path, settings: dict[str, Any], step: int):
        from mlflow import MlflowClient

        place = folder / PLACE
        place.mkdir(exist_ok=True)
        here = f"sqlite:///{(place / 'mlflow.db').as_posix()}"
        self.client = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or here)
        state = place / STATE
        if step and state.is_file():
            self.run = json.loads(state.read_text(encoding="utf-8"))["run"]
            self.client.update_run(self.run, status="RUNNING")
            return
        found = self.client.get_experiment_by_name("gptlib")
        experiment = found.experiment_id if found else self.client.create_experiment(
            "gptlib", artifact_location=(place / "artifacts").as_uri()
        )  # fmt: skip
        self.run = self.client.create_run(experiment, run_name=folder.name).info.run_id
        for name, value in settings.items():
            self.client.log_param(self.run, name, value)
        write_text(state, json.dumps({"run": self.run}))

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """A point on each curve."""
        for name, value in numbers.items():
            self.client.log_metric(self.run, name, value, step=step)

    def close(self) -> None:
        """Mark the run as ended."""
        self.client.set_terminated(self.run)


class Trackio:
    """A run in the project `gptlib`, in `tracked`, or where TRACKIO_DIR says; `trackio show`.

    Trackio asks for its place once: in one Python the runs after the first go where that one went.
    """

    def __init__(self, folder: Path, settings: dict[str, Any], step: int):
        os.environ.setdefault("TRACKIO_DIR", str(folder / PLACE))
        import trackio

        self.run = trackio.init(
            project="gptlib", name=folder.name, config=settings, embed=False,
            resume="allow" if step else "never",
        )  # fmt: skip

    def log(self, step: int, numbers: dict[str, float]) -> None:
        """A point on each curve."""
        self.run.log(dict(numbers), step=step)

    def close(self) -> None:
        """Wait until all is written."""
        self.run.finish()


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
    """The tracker of a run that stands at a step, 0 when it begins. Errors: as `check_tracker`."""
    check_tracker(kind)
    return Nowhere() if kind is None else TRACKERS[kind][0](folder, settings, step)


def numbers_of(told: dict[str, Any]) -> dict[str, float]:
    """What of a line of the log is a number to be drawn.

    numbers_of({"step": 20, "loss": 2.5, "val_loss": None}) -> {"loss": 2.5}
    """
    return {
        name: float(value)
        for name, value in told.items()
        if name != "step" and isinstance(value, int | float) and not isinstance(value, bool)
    }

"""What a run says of itself on the way: lines for the reader and the log, and the curve at the end.

Given, not built.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gptlib.engine import curve, runs
from gptlib.engine.prepared import Prepared
from gptlib.engine.recipes import model_config, training_flops
from gptlib.engine.tracking import Nowhere, Tracker, numbers_of
from gptlib.given.files import plain, write_text


class Reporter:
    """A callback of `train`: a line in the log every so many steps, and the curve at the end."""

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any],
        prepared: Prepared,
        log: Callable[[str], object],
        peak: float | None,
    ):
        self.file, self.curve, self.log, self.peak = (
            folder / runs.LOG,
            folder / runs.CURVE,
            log,
            peak,
        )
        self.every, self.steps = settings["log_every"], settings["steps"]
        self.flops = training_flops(model_config(settings, prepared.tokenizer.vocab_size))
        self.before: tuple[int, int, float] | None = None  # step, tokens, seconds
        self.rate, self.a_step = 0.0, 0.0
        self.tracker: Tracker = Nowhere()

    def cut(self, step: int) -> None:
        """Forget what was logged after this step: it will be done again."""
        if self.file.is_file():
            kept = [line for line in self.lines() if 0 < step >= line["step"]]
            write_text(self.file, "".join(json.dumps(line) + "\n" for line in kept))

    def lines(self) -> list[dict[str, Any]]:
        """What was logged so far; a line that was cut off by a kill is left out."""
        found = []
        if self.file.is_file():
            for line in self.file.read_text(encoding="utf-8").splitlines():
                try:
                    found.append(json.loads(line))
                except ValueError:
                    continue
        return found

    def __call__(self, step: int, model: Any, metrics: dict[str, Any]) -> None:
        now = (step, metrics["tokens"], metrics["seconds"])
        if self.before is None:
            self.before = now
        if step % self.every and step != self.steps and "val_loss" not in metrics:
            return
        if now[2] > self.before[2]:
            self.rate = (now[1] - self.before[1]) / (now[2] - self.before[2])
            self.a_step = (now[2] - self.before[2]) / (now[0] - self.before[0])
        self.before = now
        told = {**metrics, "tokens_per_second": round(self.rate, 1)}
        if self.peak:
            told["share_of_peak"] = round(self.rate * self.flops / self.peak, 4)
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(told, default=plain) + "\n")
        self.tracker.log(step, numbers_of(told))
        self.log(self.line(told))

    def line(self, told: dict[str, Any]) -> str:
        """What a person reads."""
        parts = [f"step {told['step']:>{len(str(self.steps))}}/{self.steps}"]
        parts += [f"loss {told['loss']:.3f}"] if told["loss"] is not None else []
        parts += [f"validation {told['val_loss']:.3f}"] if "val_loss" in told else []
        if self.rate:
            left = round(self.a_step * (self.steps - told["step"]))
            parts += [f"lr {told['lr']:.1e}", f"{self.rate:,.0f} tokens/s"]
            if self.peak:
                parts += [f"{100 * told['share_of_peak']:.0f} % of peak"]
            parts += [f"{left // 3600}:{left % 3600 // 60:02}:{left % 60:02} left"]
        return "  ".join(parts)

    def draw(self, history: list[dict[str, Any]]) -> None:
        """The curve into the run's folder and the terminal; the tracker's end."""
        curves = {
            "training": [(line["step"], line["loss"]) for line in self.lines() if line["loss"]],
            "validation": [(record["step"], record["val_loss"]) for record in history],
        }
        curve.to_file(self.curve, curves)
        self.log(curve.in_terminal(curves["training"]))
        self.tracker.close()

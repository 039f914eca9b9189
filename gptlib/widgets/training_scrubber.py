"""A training run as a tape to wind: all gauges, one head and the model's own words, together.

Used in chapter 7. Given, not built.
"""

from __future__ import annotations

import base64
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import traitlets

from gptlib.given import plots
from gptlib.given.checks.numbers import is_whole
from gptlib.widgets.tape import Tape
from gptlib.widgets.widget import Widget, bundle, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Recorded = Tape | Mapping[str, Any]
# What a run may lack, and the page then leaves out.
EMPTY: dict[str, Any] = {
    "train": [], "val": [], "skills": {}, "layers": [], "gradients": [], "updates": [],
    "limits": [], "histograms": "", "heads": [], "attention": "", "tokens": [], "prompt": "",
    "text": [], "exam": None,
}  # fmt: skip


class TrainingScrubber(Widget):
    """A slider over the recorded moments of a run; every picture shows the same moment.

    tape: a Tape, what its `run()` says, or several of them by name: the first is drawn in grey
    behind the one that is picked. floor: the lowest loss there is, in nats per token. band: where
    other runs were, {"step": [...], "low": [...], "high": [...]}. heads: which to take from a
    Tape, see there. The traits moment (-1: the last), shown (which run), head (of those on the
    tape), query (the token that looks, -1: the last) and playing may be set from Python and follow
    the reader; `now()` has the numbers that stand in the page. `TrainingScrubber.lab(record)` shows
    the patients of chapter 7. Errors: ValueError for no run, and as in `Tape.run`.

    TrainingScrubber({"step": [0, 9], "val": [4.0, 2.0]}, floor=1.6).now()["above_floor"] -> 0.25
    """

    _esm = bundle("training_scrubber.js")
    _css = style("training_scrubber.css")
    title = traitlets.Unicode("A training run, moment by moment").tag(sync=True)
    runs = traitlets.List(traitlets.Dict()).tag(sync=True)
    floor = traitlets.Float(None, allow_none=True).tag(sync=True)
    band = traitlets.Dict().tag(sync=True)
    moment = traitlets.Int(-1, min=-1).tag(sync=True)
    shown = traitlets.Int(0, min=0).tag(sync=True)
    head = traitlets.Int(0, min=0).tag(sync=True)
    query = traitlets.Int(-1, min=-1).tag(sync=True)
    playing = traitlets.Bool(False).tag(sync=True)

    def __init__(
        self,
        tape: Recorded | Mapping[str, Recorded],
        floor: float | None = None,
        band: Mapping[str, Sequence[float]] | None = None,
        heads: Sequence[str] | None = None,
        **settings: Any,
    ) -> None:
        if not isinstance(tape, Tape | Mapping):
            raise ValueError(f"tape must be a Tape, or runs by name; got {type(tape).__name__}.")
        alone = isinstance(tape, Tape) or "step" in tape
        named: Mapping[str, Any] = {"this run": tape} if alone else tape  # type: ignore[assignment]
        if not named:
            raise ValueError("tape must hold a run: pass a Tape, or several by name")
        taken = {n: one.run(heads) if isinstance(one, Tape) else one for n, one in named.items()}
        runs = [{**EMPTY, **_checked(name, run), "name": name} for name, run in taken.items()]
        super().__init__(runs=runs, floor=floor, band=dict(band or {}), **settings)

    @classmethod
    def lab(cls, lab: Mapping[str, Any], **settings: Any) -> TrainingScrubber:
        """The patients of chapter 7's symptom lab, `record("patients")`, beside the healthy run."""
        runs = {"healthy": lab["runs"]["healthy"]}
        runs |= {f"patient {n}": lab["runs"][name] for n, name in enumerate(lab["riddles"], 1)}
        usual = {"title": "The symptom lab, moment by moment", "floor": lab["floor"], "shown": 1}
        return cls(runs, **{**usual, **settings})

    @traitlets.validate("shown", "moment", "query", "head")
    def _check_place(self, proposal: Any) -> int:
        name, value = proposal["trait"].name, proposal["value"]
        run = self.runs[0 if name == "shown" else self.shown]
        there = {"shown": self.runs, "moment": run["step"], "query": run["tokens"] or [0]}
        n = len(there.get(name, run["heads"] or [0]))
        if value >= n:
            raise traitlets.TraitError(f"{name} must be below {n}; got {value}")
        return value

    def now(self, shown: int | None = None) -> dict[str, Any]:
        """What the page shows of this moment: numbers by gauge, by skill and by layer, and words.

        shown: of another run, at its last moment that is not later.
        """
        run = self.runs[self.shown if shown is None else shown]
        steps = self.runs[self.shown]["step"]
        step = steps[min(self.moment, len(steps) - 1)]
        m = max(0, bisect_right(run["step"], step) - 1)
        val, floor = _at(run["val"], m), self.floor
        T, H = len(run["tokens"]), len(run["heads"])
        row = (m * H + self.head) * T + (self.query % T if T else 0)
        looks = base64.b64decode(run["attention"])[row * T : (row + 1) * T]
        return {
            "step": run["step"][m],
            "train": _at(run["train"], m),
            "val": val,
            "above_floor": None if val is None or floor is None else val / floor - 1,
            "skills": {skill: _at(shares, m) for skill, shares in run["skills"].items()},
            "gradients": dict(zip(run["layers"], _at(run["gradients"], m) or (), strict=False)),
            "updates": dict(zip(run["layers"], _at(run["updates"], m) or (), strict=False)),
            "attention": [share / 255 for share in looks],
            "text": _at(run["text"], m) or "",
        }

    def words(self) -> str:
        now, run = self.now(), self.runs[self.shown]
        many = f"{len(run['step'])} moments, here step {now['step']:,}"
        said = [f"{self.title}: {run['name']}, {many}."]
        if now["val"] is not None:
            above = f", {now['above_floor']:.0%} above the floor" if self.floor else ""
            said.append(f"Loss {run['val'][0]:.2f} at the start and {now['val']:.2f} here{above}.")
        right = [
            f"{name} {share:.0%}" for name, share in now["skills"].items() if share is not None
        ]
        if right:
            said.append(f"Right: {', '.join(right)}.")
        if now["text"]:
            said.append(f"It goes on with “{run['prompt']}” so: “{now['text'].strip()}”")
        return " ".join(said)

    def draw(self) -> Figure:
        from matplotlib.figure import Figure

        run, healthy = self.runs[self.shown], self.runs[0]
        figure = Figure(figsize=(7.6, 4.3), layout="constrained")
        grid = figure.add_gridspec(2, 2, height_ratios=(3, 1.4))
        left, right = (figure.add_subplot(grid[0, i]) for i in (0, 1))
        if self.band:
            edges = (self.band[edge] for edge in ("step", "low", "high"))
            left.fill_between(*edges, color=plots.SKY, alpha=0.5, label="other seeds")
        if healthy is not run and healthy["val"]:
            left.plot(
                healthy["step"], healthy["val"], color="#858585", lw=2.5, label=healthy["name"]
            )
        for name, label in (("val", "validation"), ("train", "training")):
            if run[name]:
                curve = [float("nan") if v is None else v for v in run[name]]
                left.plot(run["step"], curve, "-" if name == "val" else "--", label=label)
        if self.floor:
            plots.floor_line(left, self.floor)
        left.set(title="loss", xlabel="step", yscale="log")
        left.minorticks_off()
        low, high = left.get_ylim()
        ticks = [v for v in (0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50) if low <= v <= high]
        left.set_yticks(ticks, [f"{v:g}" for v in ticks])
        left.legend(fontsize=8)
        by_layer = list(zip(*run["updates"], strict=True))
        lines = run["skills"] or dict(zip(run["layers"], by_layer, strict=False))
        for name, values in lines.items():
            right.plot(run["step"], [float("nan") if v is None else v for v in values], label=name)
        right.set(title="skills: share right" if run["skills"] else "update ratio", xlabel="step")
        if lines:
            right.legend(fontsize=7, ncols=2)
        below = figure.add_subplot(grid[1, :])
        below.axis("off")
        last = len(run["text"]) - 1
        for k, m in enumerate(sorted({last // 4, last}) if run["text"] else []):
            said = run["text"][m].strip()[:88].replace("$", r"\$")
            below.text(0, 1 - k / 4, f"step {run['step'][m]:,}: … {said}", fontsize=8, va="top")
        return figure


def _checked(name: str, run: Any) -> Mapping[str, Any]:
    """A run, if it has moments, and no losses beyond them. Errors: ValueError for others."""
    if not isinstance(run, Mapping) or not run.get("step"):
        example = '{"step": [0, 100], "val": [4.0, 2.0]}'
        raise ValueError(f"{name!r} must be a Tape, or a run with the steps it knows: {example}.")
    step = run["step"]
    if not all(map(is_whole, step)) or list(step) != sorted(set(step)):
        raise ValueError(f"the steps of {name!r} must be whole numbers that grow; got {step}.")
    for kind in ("val", "train"):
        if len(run.get(kind, ())) > len(step):
            raise ValueError(f"{name!r} has {len(run[kind])} in {kind} for {len(step)} steps.")
    return {**run, "step": [int(s) for s in step]}  # as NumPy's they could not be sent to a page


def _at(values: Sequence[Any], m: int) -> Any:
    """The value of a moment, None where it is missing."""
    return values[m] if m < len(values) else None

"""The picture of a patient of the bug foundry, beside the band of healthy runs.

Given, not built.
"""

from __future__ import annotations

from typing import Any

from gptlib.exercises.fingerprints import PANELS
from gptlib.exercises.ward import moments
from gptlib.given import plots

HEALTHY = "#BDBDBD"
LINES = (  # trace, panel, label, colour, dashes
    ("train", 0, "training", plots.BLUE, "-"),
    ("val", 0, "validation", plots.VERMILION, "--"),
    ("grad_norm", 1, "gradient norm", plots.BLUE, "-"),
    ("table", 2, "token table", plots.GREEN, "--"),
    ("blocks", 2, "blocks", plots.BLUE, "-"),
)
LEAST = 1e-6  # where a ratio of 0 is drawn


def draw_patient(traces: dict[str, Any], record: dict[str, Any]) -> None:
    """Losses, gradient norm, update ratios and the exam by place; below it two gauges in words."""
    import matplotlib
    from matplotlib import pyplot
    from matplotlib.ticker import LogLocator

    health, every = list(record["healthy"].values()), record["every"]
    steps = range(every, record["steps"] + 1, every)
    with matplotlib.rc_context(plots.STYLE):
        fig, axes = pyplot.subplots(2, 2, figsize=(8.0, 5.4), layout="constrained")
        panels = axes.flatten()
        for name, panel, label, color, dashes in LINES:
            ax = panels[panel]
            lowest, highest = band([[max(v, LEAST) for v in run[name]] for run in health])
            shade = {"color": HEALTHY, "alpha": 0.7, "linewidth": 0}
            first = name in ("train", "grad_norm", "table")
            at = steps if panel < 2 else moments(every, record["steps"])
            ax.fill_between(at, lowest, highest, label="healthy" if first else None, **shade)
            values = [max(v, LEAST) for v in traces[name]]
            ax.plot(at, values, color=color, linestyle=dashes, label=label)
        exam = sum(traces["exam"]) / len(traces["exam"])
        panels[0].plot(steps[-1] + 5, exam, "k*", ms=8, clip_on=False, label="exam")
        plots.floor_line(panels[0], record["val_floor"])
        top = max(traces["train"] + traces["val"] + [exam])
        panels[0].set(ylim=(0, max(8, 1.05 * top)), xlabel="step")
        panels[1].set(yscale="log", xlabel="step")
        panels[1].yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        for write in (panels[1].yaxis.set_major_formatter, panels[1].yaxis.set_minor_formatter):
            write("{x:g}")  # 0.5, not 5 × 10⁻¹
        panels[2].set(yscale="log", xlabel="step")
        _exam(panels[3], traces["exam"], [run["exam"] for run in health], record["floor"])
        for ax, title in zip(panels, PANELS, strict=True):
            ax.set_title(title)
            ax.legend(fontsize=8, frameon=True, framealpha=0.8, edgecolor="none")
        plots.show(fig, alt=described(traces, exam, record))
    print(f"pronouns right in the exam: {traces['pronoun']:.0%}, {_healthy(health)} in health")
    for name, when in (("early", "in step 10"), ("late", "at the end")):
        ratios = " ".join(f"{ratio:.2g}" for ratio in traces[name])
        print(f"update ratios of blocks 0 to 3 {when}: {ratios}")


def band(rows: list[list[float]]) -> tuple[list[float], list[float]]:
    """The lowest and the highest of several rows, place by place.

    band([[1, 5], [2, 4]]) -> ([1, 4], [2, 5])
    """
    columns = list(zip(*rows, strict=True))
    return list(map(min, columns)), list(map(max, columns))


def _exam(ax: Any, exam: list[float], health: list[list[float]], floor: list[float]) -> None:
    places = range(1, len(exam) + 1)
    ax.fill_between(places, *band(health), color=HEALTHY, alpha=0.7, linewidth=0, label="healthy")
    ax.plot(places, exam, "o-", ms=3, color=plots.BLUE, label="exam")
    ax.plot(places, floor, color=plots.GREY, linestyle=(0, (1, 1.5)), lw=1.5, label="floor")
    ax.set(xlabel="token", ylim=(0, 1.05 * max(*exam, 4)))


def _healthy(health: list[dict[str, Any]]) -> str:
    shares = [run["pronoun"] for run in health]
    return f"{min(shares):.0%} to {max(shares):.0%}"


def described(traces: dict[str, Any], exam: float, record: dict[str, Any]) -> str:
    """The picture in words: each gauge at five moments, and where health ends."""
    health, every, steps = list(record["healthy"].values()), record["every"], record["steps"]
    told = [n * every for n in (1, 6, 10, 14)] + [steps]
    said = []
    for name, panel, label, _, _ in LINES:
        values = traces[name]
        at = range(every, steps + 1, every) if panel < 2 else moments(every, steps)
        found = dict(zip(at, values, strict=True))
        course = ", ".join(f"{found[step]:.3g}" for step in told)
        ends = [run[name][-1] for run in health]
        said.append(f"{label} {course} (health ends at {min(ends):.3g} to {max(ends):.3g})")
    by_place = ", ".join(f"{loss:.2g}" for loss in traces["exam"])
    return (
        f"Four panels with the band of {len(health)} healthy runs in grey. At steps "
        f"{', '.join(map(str, told))}: {'; '.join(said)}. The floor of the validation loss is "
        f"{record['val_floor']:.2f}. The exam ends at {exam:.2f}, token by token {by_place}."
    )

"""A GPT that is trained in the page, on stories that the page writes, against their floor.

Given, not built.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import traitlets

from gptlib import corpus
from gptlib.corpus.scoring import end_id
from gptlib.given import plots
from gptlib.given.records import record
from gptlib.gpt import GPTConfig, total_parameters
from gptlib.recipe import TrainConfig
from gptlib.tokenizer import BPETokenizer
from gptlib.widgets import story_key
from gptlib.widgets.widget import Widget, bundle, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MISTAKES = ("mask", "shift", "zero_grad", "clip")
EXAM_SEED = 1  # of the exam's stories, as in trainee.js


class LiveTraining(Widget):
    """A training run that the reader starts: loss, floor, skills and stories as it goes on.

    tokenizer: a BPETokenizer with END. config, recipe: the book's own where none is given; the page
    trains models with norm "pre" and without dropout. exam: how many stories the loss and the
    skills are measured on. The traits seed (of the weights and the stories), factor (of the
    learning rate) and mistakes (of MISTAKES: what is broken) may be set from Python before the
    run begins, and the last two follow the reader. band: the recorded runs of the book's recipe.
    Errors: ValueError for what the page cannot train, and for an exam whose stories are too long.

    LiveTraining(tokenizer, seed=3)
    """

    _esm = bundle("live_training.js")
    _css = style("training_scrubber.css", "model_view.css")
    title = traitlets.Unicode("Train a GPT in this page").tag(sync=True)
    worker = traitlets.Unicode("").tag(sync=True)
    config = traitlets.Dict().tag(sync=True)
    recipe = traitlets.Dict().tag(sync=True)
    tokenizer = traitlets.Unicode("").tag(sync=True)
    key_data = traitlets.Unicode("").tag(sync=True)
    exam = traitlets.Int(100, min=1).tag(sync=True)
    floor = traitlets.Float(0.4).tag(sync=True)
    band = traitlets.Dict().tag(sync=True)
    seed = traitlets.Int(0, min=0).tag(sync=True)
    factor = traitlets.Float(1.0, min=0.0).tag(sync=True)
    mistakes = traitlets.List(traitlets.Enum(MISTAKES)).tag(sync=True)

    def __init__(
        self,
        tokenizer: BPETokenizer,
        config: GPTConfig | None = None,
        recipe: TrainConfig | None = None,
        exam: int = 100,
        **settings: Any,
    ) -> None:
        own = config is None and recipe is None
        config = config or GPTConfig.preset("stories")
        recipe = recipe or TrainConfig.preset("stories")
        end_id(tokenizer)  # or an error
        check_trainable(config, tokenizer)
        told = corpus.stories(exam, seed=EXAM_SEED)
        longest = max(len(tokenizer.encode(story.text)) for story in told) + 1
        if longest > config.context_length:
            raise ValueError(
                f"config must see the exam's longest story whole, {longest} tokens; its "
                f"context_length is {config.context_length}."
            )
        floor = corpus.floor(told, tokenizer).nats_per_token
        assert floor is not None  # a tokenizer was given
        if own:
            settings.setdefault("band", recorded_band(floor))
        super().__init__(
            worker=bundle("training_worker.js", set()),  # no exports: a worker that is no module
            config=asdict(config), recipe=asdict(recipe), tokenizer=tokenizer._json(),
            key_data=json.dumps(story_key.answer_key(), separators=(",", ":")),
            exam=exam, floor=floor, **settings,
        )  # fmt: skip

    def words(self) -> str:
        count = total_parameters(GPTConfig(**self.config))
        said = f"{self.title}: a GPT with {count:,} parameters, {self.recipe['steps']:,} steps."
        if self.band:
            low, high = self.band["low"][-1], self.band["high"][-1]
            said += f" Recorded runs end between {low:.2f} and {high:.2f} nats per token;"
        return f"{said} the floor is {self.floor:.3f}."

    def draw(self) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 3.4), layout="constrained")
        ax = figure.subplots()
        if self.band:
            edges = (self.band[edge] for edge in ("step", "low", "high"))
            ax.fill_between(*edges, color=plots.SKY, alpha=0.5, label="recorded runs")
        plots.floor_line(ax, self.floor)
        ax.set(
            xlabel="step", ylabel="loss, nats per token", yscale="log", ylim=(0.9 * self.floor, 9)
        )
        ax.minorticks_off()
        ticks = [v for v in (0.1, 0.2, 0.5, 1, 2, 5) if v >= 0.9 * self.floor]
        ax.set_yticks(ticks, [f"{v:g}" for v in ticks])
        ax.legend()
        return figure


def check_trainable(config: GPTConfig, tokenizer: BPETokenizer) -> None:
    """Errors: ValueError for a configuration that the page's own backward pass does not know."""
    if config.norm != "pre":
        raise ValueError(f'config.norm is {config.norm!r}; the page trains with "pre" only.')
    if config.dropout:
        raise ValueError(f"config.dropout is {config.dropout}; the page trains without: 0.")
    if tokenizer.vocab_size > config.vocab_size:
        raise ValueError(
            f"tokenizer has {tokenizer.vocab_size:,} tokens; config.vocab_size is "
            f"{config.vocab_size:,}."
        )


def recorded_band(floor: float) -> Mapping[str, list[float]]:
    """Where the recorded seeds of the book's recipe were, as far above this floor as above theirs.

    Their losses were measured on other stories, whose floor was another one.

    recorded_band(record("seeds")["floor"])["low"][-1] -> 0.4286
    """
    seeds = record("seeds")
    runs = [run for seed, run in seeds["seeds"].items() if int(seed) < 10]
    away = [[loss - seeds["floor"] + floor for loss in run["loss"]] for run in runs]
    columns = list(zip(*away, strict=True))
    return {
        "step": runs[0]["step"],
        "low": [min(column) for column in columns],
        "high": [max(column) for column in columns],
    }

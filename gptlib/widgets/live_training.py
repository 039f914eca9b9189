"""A GPT that is trained in the page, on stories that the page writes, against their floor.

Given, not built.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
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

MISTAKES = (
    "mask", "shift", "zero_grad", "clip", "warmup", "one_batch", "sorted", "validation_leak",
    "garbage", "softmax_twice", "reshape", "frozen", "lost", "big_start",
)  # fmt: skip
EXAM_SEED = 1  # of the exam's stories, as in trainee.js
# The page's quick recipe, of chapter 10's ideas: Muon for the matrices of the blocks, a larger rate
# for the tables; both stay at their height for `hold` of the way and fall to 0. 1.4 million tokens.
QUICK = TrainConfig(steps=1400, batch_size=8, lr=0.03, min_lr_ratio=0.0, weight_decay=0.01)
MUON, HOLD = 0.02, 0.3


class LiveTraining(Widget):
    """A training run that the reader starts: loss, floor, skills and stories as it goes on.

    tokenizer: a BPETokenizer with END. config, recipe: a model and a TrainConfig of your own; the
    page trains models with norm "pre" and without dropout. Without them the reader chooses: the
    book's model by a quick recipe with Muon or by the book's, with the band of its recorded runs,
    and two smaller models. exam: how many stories the loss and the skills are measured on. The
    traits choice (which of the choices, from 0; another one ends the run), factor (of the learning
    rate), workers (how many share each step, up to 4) and mistakes (of MISTAKES: what is broken)
    may be set from Python at any time, and follow the reader; seed (of the weights and the stories)
    before a run begins. Errors: ValueError for what the page cannot train, and for an exam whose
    stories are too long.

    LiveTraining(BPETokenizer([], [corpus.END]), GPTConfig(257, 999), exam=2).floor -> 0.1097
    """

    _esm = bundle("live_training.js")
    _css = style("training_scrubber.css", "model_view.css", "live_training.css")
    title = traitlets.Unicode("Train a GPT in this page").tag(sync=True)
    worker = traitlets.Unicode("").tag(sync=True)
    choices = traitlets.List(traitlets.Dict()).tag(sync=True)
    choice = traitlets.Int(0, min=0).tag(sync=True)
    tokenizer = traitlets.Unicode("").tag(sync=True)
    key_data = traitlets.Unicode("").tag(sync=True)
    exam = traitlets.Int(100, min=1).tag(sync=True)
    floor = traitlets.Float(0.4).tag(sync=True)
    seed = traitlets.Int(0, min=0).tag(sync=True)
    workers = traitlets.Int(1, min=1, max=4).tag(sync=True)
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
        end_id(tokenizer)  # or an error
        told = corpus.stories(exam, seed=EXAM_SEED)
        floor = corpus.floor(told, tokenizer).nats_per_token
        assert floor is not None  # a tokenizer was given
        if config is None and recipe is None:
            choices = of_the_course(floor)
        else:
            config = config or GPTConfig.preset("stories")
            recipe = recipe or TrainConfig.preset("stories")
            choices = [a_choice("your model", config, recipe)]
        longest = max(len(tokenizer.encode(story.text)) for story in told) + 1
        for one in choices:
            check_trainable(one["config"], tokenizer)
            if longest > one["config"]["context_length"]:
                raise ValueError(
                    f"config must see the exam's longest story whole, {longest} tokens; its "
                    f"context_length is {one['config']['context_length']}."
                )
        super().__init__(
            worker=bundle("training_worker.js", set()),  # no exports: a worker that is no module
            choices=choices, tokenizer=tokenizer._json(),
            key_data=json.dumps(story_key.answer_key(), separators=(",", ":")),
            exam=exam, floor=floor, **settings,
        )  # fmt: skip

    @traitlets.validate("choice")
    def _one_of_them(self, proposal: Any) -> int:
        if proposal["value"] >= len(self.choices):
            raise traitlets.TraitError(
                f"choice must be from 0 to {len(self.choices) - 1}; got {proposal['value']}."
            )
        return int(proposal["value"])

    @property
    def chosen(self) -> dict[str, Any]:
        """The choice that is set: its name, config, recipe, band and count of parameters."""
        return self.choices[self.choice]

    def words(self) -> str:
        count, steps = self.chosen["parameters"], self.chosen["recipe"]["steps"]
        said = f"{self.title}: a GPT with {count:,} parameters, {steps:,} steps."
        if band := self.chosen["band"]:
            low, high = band["low"][-1], band["high"][-1]
            said += f" Recorded runs of the book's recipe end between {low:.2f} and {high:.2f} "
            said += "nats per token;"
        return f"{said} the floor is {self.floor:.3f}."

    def draw(self) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 3.4), layout="constrained")
        ax = figure.subplots()
        if band := self.chosen["band"]:
            edges = (band[edge] for edge in ("step", "low", "high"))
            ax.fill_between(*edges, color=plots.SKY, alpha=0.5, label="the book's recipe, recorded")
        plots.floor_line(ax, self.floor)
        ax.set(
            xlabel="step", ylabel="loss, nats per token", yscale="log", ylim=(0.9 * self.floor, 9),
            xlim=(0, self.chosen["recipe"]["steps"]),
        )  # fmt: skip
        ax.minorticks_off()
        ticks = [v for v in (0.1, 0.2, 0.5, 1, 2, 5) if v >= 0.9 * self.floor]
        ax.set_yticks(ticks, [f"{v:g}" for v in ticks])
        ax.legend()
        return figure


def a_choice(
    name: str,
    config: GPTConfig,
    recipe: TrainConfig,
    muon: float | None = None,
    hold: float | None = None,
    band: Mapping[str, list[float]] | None = None,
    blocks: int | None = None,
) -> dict[str, Any]:
    """What the page needs to know of a model and its recipe.

    muon: the rate of the blocks' matrices, None for AdamW alone. hold: the share of the way on
    which the rates stay, before they fall in a straight line; None for half a cosine. blocks: as
    many in the place of config's n_layer; the page can do with 0, which Python's GPT refuses.
    """
    blocks = config.n_layer if blocks is None else blocks
    one = total_parameters(replace(config, n_layer=config.n_layer + 1)) - total_parameters(config)
    return {
        "name": name, "config": asdict(config) | {"n_layer": blocks},
        "recipe": asdict(recipe) | {"muon": muon, "hold": hold}, "band": dict(band or {}),
        "parameters": total_parameters(config) + (blocks - config.n_layer) * one,
    }  # fmt: skip


def of_the_course(floor: float) -> list[dict[str, Any]]:
    """The page's choices: the book's model by two recipes, and two smaller models."""
    config, recipe = GPTConfig.preset("stories"), TrainConfig.preset("stories")
    one = GPTConfig.preset("stories", n_layer=1, n_head=1)
    band = recorded_band(floor)
    return [
        a_choice("the book's GPT, quick recipe", config, QUICK, MUON, HOLD, band),
        a_choice("the book's GPT, the book's recipe", config, recipe, band=band),
        a_choice("one block with one head (chapter 3)", one, QUICK, MUON, HOLD),
        a_choice("no block: the last token alone (chapter 2)", one, QUICK, hold=HOLD, blocks=0),
    ]


def check_trainable(config: Mapping[str, Any], tokenizer: BPETokenizer) -> None:
    """Errors: ValueError for a configuration that the page's own backward pass does not know."""
    if config["norm"] != "pre":
        raise ValueError(f'config.norm is {config["norm"]!r}; the page trains with "pre" only.')
    if config["dropout"]:
        raise ValueError(f"config.dropout is {config['dropout']}; the page trains without: 0.")
    if tokenizer.vocab_size > config["vocab_size"]:
        raise ValueError(
            f"tokenizer has {tokenizer.vocab_size:,} tokens; config.vocab_size is "
            f"{config['vocab_size']:,}."
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

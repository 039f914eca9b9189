"""A whole GPT as a picture, with the shape at each step and the cost of each part.

Used in chapter 6. Given, not built.
"""

from __future__ import annotations

from dataclasses import is_dataclass, replace
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
import traitlets

from gptlib.given import schematics
from gptlib.given.models import unwrapped
from gptlib.gpt import (
    GPTConfig,
    flops_per_token,
    parameter_bytes,
    total_parameters,
    training_memory,
)
from gptlib.widgets.widget import Widget, bundle, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIELDS = (
    "vocab_size", "context_length", "n_layer", "n_head", "n_embd", "tied", "bias", "qkv_bias",
    "norm",
)  # fmt: skip
LABELS = {
    "gpt2-small": ("GPT-2", "small"),
    "gpt2-medium": ("GPT-2", "medium"),
    "gpt2-large": ("GPT-2", "large"),
    "gpt2-xl": ("GPT-2", "XL"),
    "stories": ("others", "this book's"),
    "lecture-124m": ("others", "a lecture's"),
    "nanogpt-cpu": ("others", "nanoGPT's small one"),
}
# S. Biderman et al., "Pythia", 2023, table 1: layers, width, heads, rows of the token table.
PYTHIA = {
    "70M": (6, 512, 8, 50304),
    "160M": (12, 768, 12, 50304),
    "410M": (24, 1024, 16, 50304),
    "1.0B": (16, 2048, 8, 50304),
    "1.4B": (24, 2048, 16, 50304),
    "2.8B": (32, 2560, 32, 50304),
    "6.9B": (32, 4096, 32, 50432),
    "12B": (36, 5120, 40, 50688),
}
PYTHIA_NOTE = (
    "Pythia has these blocks and tables of words, and no position table: it turns queries and keys "
    "instead. Its parameters without the tables are those below."
)


class ModelPicture(Widget):
    """A GPT from the ids to the logits, and what it costs as its sizes move.

    config: a GPTConfig, one of your own with the same fields, or a GPT that has one; batch_size:
    how many texts are worked on at once, for the shapes and for the memory in training. The sizes
    are traits by their names in GPTConfig and follow the reader. measure: "parameters",
    "operations a token" or "memory in training", which the bars show. part: the one that is open,
    "" for none.

    ModelPicture(GPTConfig(), n_layer=6).config.n_layer -> 6
    ModelPicture(GPTConfig()).costs()["parameters"] -> 124_439_808
    """

    _esm = bundle("model_picture.js")
    _css = style("sizes.css", "model_picture.css")
    title = traitlets.Unicode("A whole GPT, and what it costs").tag(sync=True)
    presets = traitlets.List(traitlets.Dict()).tag(sync=True)
    vocab_size = traitlets.Int(1, min=1).tag(sync=True)
    context_length = traitlets.Int(1, min=1).tag(sync=True)
    n_layer = traitlets.Int(1, min=1).tag(sync=True)
    n_head = traitlets.Int(1, min=1).tag(sync=True)
    n_embd = traitlets.Int(1, min=1).tag(sync=True)
    tied = traitlets.Bool(True).tag(sync=True)
    bias = traitlets.Bool(True).tag(sync=True)
    qkv_bias = traitlets.Bool(None, allow_none=True).tag(sync=True)
    norm = traitlets.Unicode("pre").tag(sync=True)
    batch_size = traitlets.Int(8, min=1).tag(sync=True)
    measure = traitlets.Unicode("parameters").tag(sync=True)
    part = traitlets.Unicode("").tag(sync=True)

    def __init__(self, config: GPTConfig, **settings: Any) -> None:
        config = getattr(unwrapped(config), "config", config)  # a whole model has one
        lacking = [name for name in FIELDS if not hasattr(config, name)]
        if lacking or not is_dataclass(config):
            raise ValueError(
                f"config must be a GPTConfig, or a model that has one; got {type(config).__name__}"
                + (f", which has no {lacking[0]}." if lacking else ".")
            )
        self._given = config
        fields = {name: getattr(config, name) for name in FIELDS}
        super().__init__(presets=_presets(), **{**fields, **settings})
        self.config  # noqa: B018  # an error here, and not when the picture is drawn

    @property
    def config(self) -> GPTConfig:
        """The configuration that the picture shows; what costs nothing is as it was given."""
        return replace(self._given, **{name: getattr(self, name) for name in FIELDS})

    def costs(self) -> dict[str, int]:
        """What it costs: parameters, their bytes, operations a token, bytes in training."""
        config = self.config
        return {
            "parameters": total_parameters(config),
            "bytes": parameter_bytes(config),
            "forward": flops_per_token(config, training=False),
            "training": flops_per_token(config),
            "memory": sum(training_memory(config, self.batch_size).values()),
        }

    def _drawing(self) -> schematics.Drawing:
        c = self.config
        figure, alt = schematics.gpt(
            self.batch_size, c.context_length, c.n_embd, c.vocab_size, c.n_layer,
            n_head=c.n_head, context_length=c.context_length, tied=c.tied,
        )  # fmt: skip
        plt.close(figure)  # else a notebook shows it once more, below the widget
        return figure, alt

    def words(self) -> str:
        costs = self.costs()
        return (
            f"{self.title}. {self._drawing()[1]} It has {costs['parameters']:,} parameters, "
            f"{costs['bytes'] / 1e6:,.1f} MB in float32, takes {costs['forward']:,} operations a "
            f"token forward, and with a batch of {self.batch_size} {costs['memory'] / 1e9:.2f} GB "
            "in training."
        )

    def draw(self) -> Figure:
        return self._drawing()[0]


def _presets() -> list[dict[str, Any]]:
    """The presets as buttons: those of gptlib.gpt, and Pythia's sizes."""
    found = []
    for name, (group, label) in LABELS.items():
        config = GPTConfig.preset(name)
        found.append({"name": name, "group": group, "label": label, "config": _sizes(config)})
    for size, (n_layer, n_embd, n_head, vocab_size) in PYTHIA.items():
        config = GPTConfig(vocab_size, 2048, n_layer, n_head, n_embd, tied=False)
        found.append(
            {
                "name": f"pythia-{size}", "group": "Pythia", "label": size,
                "config": _sizes(config), "about": PYTHIA_NOTE,
            }
        )  # fmt: skip
    return sorted(found, key=lambda preset: preset["group"] == "others")  # these last


def _sizes(config: GPTConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in FIELDS}

"""How large a KV cache grows with the text, and how much work it spares.

Used in chapter 9. Given, not built.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import traitlets

from gptlib.counts import Config, count_parameters
from gptlib.given.models import unwrapped
from gptlib.gpt import PRESETS, GPTConfig
from gptlib.modern import MODERN_PRESETS, ModernConfig
from gptlib.widgets.widget import Widget, bundle, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

USUAL = ("gpt2-xl", "llama3-8b", "gpt-oss-20b", "stories")
LABELS = {
    "gpt2-xl": "GPT-2 XL",
    "llama3-8b": "Llama 3 8B",
    "gpt-oss-20b": "GPT-OSS 20B",
    "stories": "The book's GPT",
}
MEASURES = (
    "keys and values read, next token",
    "operations, next token",
    "operations, whole text",
)
NUMBERS = {4: "float32, 4 bytes", 2: "16 bits, 2 bytes", 1: "8 bits, 1 byte"}


class CacheGrowth(Widget):
    """The bytes of a KV cache as the text grows, and the work with it and without.

    configs: a preset's name, a GPTConfig, a ModernConfig or a model that has one, or several: in a
    list, or by name, such as {"mine": config}. The traits shown (which of them), n_tokens,
    n_kv_head, window (0: none), full_every (of so many layers the last sees all; 0: none does),
    bytes_per_value (4, 2 or 1, for the weights too) and measure (of the work, one of MEASURES) may
    be set from Python and follow the reader. Another `shown` brings its own heads and window.
    Errors: ValueError for what is no configuration.

    CacheGrowth("gpt2-xl", n_tokens=1).costs()["cache"] -> 307_200
    CacheGrowth("gpt2-xl", n_tokens=1, n_kv_head=5).costs()["cache"] -> 61_440
    """

    _esm = bundle("cache_growth.js")
    _css = style("sizes.css", "cache_growth.css")
    title = traitlets.Unicode("What a KV cache holds, and what it spares").tag(sync=True)
    models = traitlets.List(traitlets.Dict()).tag(sync=True)
    shown = traitlets.Int(0, min=0).tag(sync=True)
    n_tokens = traitlets.Int(1, min=1).tag(sync=True)
    n_kv_head = traitlets.Int(1, min=1).tag(sync=True)
    window = traitlets.Int(0, min=0).tag(sync=True)
    full_every = traitlets.Int(0, min=0).tag(sync=True)
    bytes_per_value = traitlets.Int(2).tag(sync=True)
    measure = traitlets.Unicode(MEASURES[0]).tag(sync=True)

    _made = False  # while it is made, what was asked for holds

    def __init__(self, configs: Any = USUAL, **settings: Any) -> None:
        models = [{"name": name, **shape_of(one)} for name, one in _named(configs).items()]
        if not models:
            raise ValueError("configs must be a preset's name, a configuration, or several.")
        shown = settings.get("shown", 0)
        if shown not in range(len(models)):
            raise ValueError(f"shown must be below {len(models)}, not {shown}.")
        first = models[shown]
        own = {name: first[name] for name in ("window", "full_every")}
        own |= {"n_kv_head": first["own_kv_head"], "n_tokens": first["context_length"]}
        super().__init__(models=models, **{**own, **settings})
        self._made = True  # from now on another model brings its own sizes

    @traitlets.validate("shown")
    def _check_shown(self, proposal: Any) -> int:
        shown: int = proposal["value"]
        if shown >= len(self.models):
            raise traitlets.TraitError(f"shown must be below {len(self.models)}, not {shown}.")
        return shown

    @traitlets.validate("n_kv_head")
    def _check_heads(self, proposal: Any) -> int:
        heads, of = proposal["value"], self.models[self.shown]["n_head"]
        if heads < 1 or of % heads:
            raise traitlets.TraitError(
                f"n_kv_head must divide the {of} heads of this model; got {heads}."
            )
        return int(heads)

    @traitlets.validate("bytes_per_value")
    def _check_bytes(self, proposal: Any) -> int:
        if proposal["value"] not in NUMBERS:
            raise traitlets.TraitError(
                f"bytes_per_value must be 4, 2 or 1, not {proposal['value']}."
            )
        return int(proposal["value"])

    @traitlets.validate("measure")
    def _check_measure(self, proposal: Any) -> str:
        if proposal["value"] not in MEASURES:
            raise traitlets.TraitError(f"measure must be one of {', '.join(MEASURES)}.")
        return str(proposal["value"])

    @traitlets.observe("shown")
    def _take_its_sizes(self, change: Any) -> None:
        if self._made:
            shape = self.models[change["new"]]
            with self.hold_trait_notifications():
                self.n_kv_head = shape["own_kv_head"]
                self.window, self.full_every = shape["window"], shape["full_every"]
                self.n_tokens = min(self.n_tokens, shape["context_length"])

    def kept(self, n_tokens: int | None = None) -> int:
        """Tokens that the cache keeps of the first n of a text, all layers together."""
        n, shape = n_tokens or self.n_tokens, self.models[self.shown]
        full = shape["n_layer"] // self.full_every if self.full_every and self.window else 0
        short = min(n, self.window or n)
        return full * n + (shape["n_layer"] - full) * short

    def costs(self, n_tokens: int | None = None) -> dict[str, int]:
        """Bytes of the cache and of the weights for n tokens of text, with the present settings."""
        shape = self.models[self.shown]
        width = 2 * self.n_kv_head * shape["head_size"]
        fewer = shape["own_kv_head"] - self.n_kv_head
        less = 2 * shape["n_layer"] * fewer * shape["head_size"]
        weights = shape["parameters"] - less * (shape["n_embd"] + shape["qkv_bias"])
        return {
            "cache": self.kept(n_tokens) * width * self.bytes_per_value,
            "weights": weights * self.bytes_per_value,
        }

    def words(self) -> str:
        shape, costs = self.models[self.shown], self.costs()
        sight = f"a window of {self.window:,} tokens" if self.window else "no window"
        return (
            f"{self.title}. {shape['name']} with {self.n_kv_head} key/value heads for "
            f"{shape['n_head']} heads and {sight}, numbers of {NUMBERS[self.bytes_per_value]}: "
            f"after {self.n_tokens:,} tokens the cache holds {_bytes(costs['cache'])}, beside "
            f"{_bytes(costs['weights'])} of weights."
        )

    def draw(self) -> Figure:
        from matplotlib.figure import Figure

        shape = self.models[self.shown]
        lengths = [max(1, round(shape["context_length"] * k / 64)) for k in range(65)]
        held = [self.costs(n)["cache"] / 1e6 for n in lengths]
        token = 2 * shape["n_layer"] * shape["n_head"] * shape["head_size"] * self.bytes_per_value
        figure = Figure(figsize=(6.4, 3.2))
        ax = figure.subplots()
        label = f"{self.n_kv_head} key/value heads"
        ax.plot(lengths, held, label=label + (f", window {self.window:,}" if self.window else ""))
        ax.plot(lengths, [n * token / 1e6 for n in lengths], label="all heads, no window")
        ax.plot([self.n_tokens], [self.costs()["cache"] / 1e6], "o", color="C0")
        ax.set(xlabel="tokens of text", ylabel="MB of keys and values", title=shape["name"])
        ax.legend()
        return figure


def shape_of(config: Config) -> dict[str, Any]:
    """What the page counts with, made of a configuration of the classic GPT or the modern one.

    shape_of(GPTConfig.preset("gpt2-xl"))["head_size"] -> 64
    """
    c = config
    fields = ("vocab_size", "context_length", "n_layer", "n_head", "n_embd")
    shape = {name: getattr(c, name) for name in fields} | {"parameters": count_parameters(c)}
    if isinstance(c, GPTConfig):
        bias = c.bias if c.qkv_bias is None else c.qkv_bias
        return shape | {
            "own_kv_head": c.n_head, "head_size": c.n_embd // c.n_head, "window": 0,
            "full_every": 0, "thinking": 8 * c.n_embd**2, "qkv_bias": bias,
        }  # fmt: skip
    router = c.n_expert if c.n_expert > 1 else 0
    return shape | {
        "own_kv_head": c.n_kv_head, "head_size": c.head_size, "window": c.window or 0,
        "full_every": c.full_every or 0, "qkv_bias": c.bias,
        "thinking": (3 * c.n_active * c.hidden + router) * c.n_embd,
    }  # fmt: skip


def _named(configs: Any) -> dict[str, Config]:
    """The configurations by the names that the page gives them."""
    if isinstance(configs, Mapping):
        return {str(name): _config_of(one) for name, one in configs.items()}
    several = isinstance(configs, Iterable) and not isinstance(configs, str)
    found = {}
    for n, one in enumerate(configs if several else [configs]):
        name = LABELS.get(one, one) if isinstance(one, str) else "the model"
        found[name if name not in found else f"{name} {n + 1}"] = _config_of(one)
    return found


def _config_of(one: Any) -> Config:
    """The configuration, a model's, or a preset: the modern one where two have the name."""
    if isinstance(one, str):
        presets = {**PRESETS, **MODERN_PRESETS}
        if one not in presets:
            raise ValueError(
                f"configs: there is no preset {one!r}; there are {', '.join(presets)}."
            )
        return (ModernConfig if one in MODERN_PRESETS else GPTConfig).preset(one)
    config = getattr(unwrapped(one), "config", one)
    if not isinstance(config, GPTConfig | ModernConfig):
        raise ValueError(
            "configs must be a preset's name, a GPTConfig, a ModernConfig or a model that has one; "
            f"got {type(one).__name__}."
        )
    return config


def _bytes(n: int) -> str:
    """Bytes in units that people know.

    _bytes(314_572_800) -> "315 MB"
    """
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n >= size:
            return f"{n / size:.{2 if n < 10 * size else 1 if n < 100 * size else 0}f} {unit}"
    return f"{n} bytes"

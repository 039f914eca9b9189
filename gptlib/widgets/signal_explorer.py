"""Activations and gradients, layer by layer, in a stack that the reader builds and trains.

Used in chapters 4 and 5. Given, not built.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import traitlets
from torch import nn

from gptlib.layers import GELU, LayerNorm
from gptlib.widgets.widget import Widget, bundle, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLASSES = 4  # example i belongs to class i mod 4
RATES = {"adam": 0.003, "sgd": 0.1}
ACTIVATIONS = {"none": nn.Identity, "relu": nn.ReLU, "gelu": GELU, "tanh": nn.Tanh}
LINES = ("numbers", "differ", "gradients", "weights")  # as the script reads them from `recorded`
KINDS = ("numbers", "gradients", "weights")  # what there are samples of
SAMPLES = 512  # numbers that travel to the page for each layer of a recorded model


def normals(seed: int, offset: int, n: int) -> torch.Tensor:
    """The n (even) numbers of the bell curve at place `offset` of a seed, the same as in the page.

    The uniform numbers are those of mulberry32; the bell is made by Box and Muller's way.

    normals(0, 0, 2)[:1] -> [0.7872]
    """
    low = 0xFFFFFFFF
    state = (seed + (offset + torch.arange(1, n + 1)) * 0x6D2B79F5) & low
    t = ((state ^ (state >> 15)) * (state | 1)) & low
    t = t ^ ((t + ((t ^ (t >> 7)) * (t | 61))) & low)
    uniform = (t ^ (t >> 14)).double() / 2**32
    radius = torch.sqrt(-2 * torch.log(1 - uniform[0::2]))
    angle = 2 * math.pi * uniform[1::2]
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1).flatten()


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "layer": LayerNorm,
    "rms": partial(nn.RMSNorm, eps=1e-5),
}


class SignalLayer(nn.Module):
    """Linear, activation, and perhaps a norm and a way around: x (B, C) -> (B, C)."""

    def __init__(self, width: int, activation: str, norm: str, shortcut: bool, kind: str = "layer"):
        super().__init__()
        self.place, self.shortcut = norm, shortcut
        self.linear, self.activation = nn.Linear(width, width), ACTIVATIONS[activation]()
        self.norm = nn.Identity() if norm == "none" else NORMS[kind](width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        change = self.activation(self.linear(self.norm(x) if self.place == "pre" else x))
        x = x + change if self.shortcut else change
        return self.norm(x) if self.place == "post" else x


class SignalExplorer(Widget):
    """What becomes of numbers on the way up a stack of layers, and of gradients on the way down.

    The stack: `depth` layers of a linear map, an activation ("none", "relu", "gelu", "tanh"), a
    norm ("none", "pre", "post"; of the `norm_kind` "layer" or "rms") and a shortcut or none,
    `width` numbers wide. Weights are drawn from the bell curve with the size gain/√width, biases
    are 0. It learns to tell apart `batch` random examples of four classes, with "adam" or "sgd" at
    the rate `lr` (None: 0.003, 0.1); `steps` says how many steps it has taken. The page computes
    all of it, forward and backward. `layer` is the one whose histograms are drawn (-1: the last),
    `gradient_of` says which gradients are: "weights", or "numbers" for those at what each layer
    hands on. All are traits, to be set from Python at any time. `SignalExplorer.of(model, batch)`
    shows a model of your own. Errors: TraitError for a value that is not allowed.

    SignalExplorer(depth=1, width=8, gain=0.5).sizes()["numbers"][1:] -> [0.3824]
    """

    _esm = bundle("signal_explorer.js")
    _css = style("signal_explorer.css")
    title = traitlets.Unicode("What becomes of the signal, layer by layer?").tag(sync=True)
    depth = traitlets.Int(30, min=1, max=64).tag(sync=True)
    width = traitlets.Int(32, min=4, max=64).tag(sync=True)
    batch = traitlets.Int(16, min=4, max=64).tag(sync=True)
    activation = traitlets.Enum(list(ACTIVATIONS), "gelu").tag(sync=True)
    norm = traitlets.Enum(["none", "pre", "post"], "none").tag(sync=True)
    norm_kind = traitlets.Enum(list(NORMS), "layer").tag(sync=True)
    shortcut = traitlets.Bool(False).tag(sync=True)
    gain = traitlets.Float(1.0, min=0.0, max=10.0).tag(sync=True)
    optimizer = traitlets.Enum(list(RATES), "adam").tag(sync=True)
    lr = traitlets.Float(None, min=0.0, allow_none=True).tag(sync=True)
    seed = traitlets.Int(0, min=0).tag(sync=True)
    steps = traitlets.Int(0, min=0, max=5000).tag(sync=True)
    layer = traitlets.Int(-1, min=-1).tag(sync=True)
    gradient_of = traitlets.Enum(["weights", "numbers"], "weights").tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    depths = traitlets.List(traitlets.Int()).tag(sync=True)
    recorded = traitlets.Bytes().tag(sync=True)
    shown = traitlets.Int(0, min=0).tag(sync=True)

    @traitlets.validate("width", "batch")
    def _check_fours(self, proposal: Any) -> int:
        value: int = proposal["value"]
        if value % 4:
            raise traitlets.TraitError(
                f"{proposal['trait'].name} must be a multiple of 4; got {value}"
            )
        return value

    @classmethod
    def of(
        cls,
        model: nn.Module | Mapping[str, nn.Module],
        batch: torch.Tensor | tuple[Any, ...],
        loss: Callable[[Any], torch.Tensor] | None = None,
        layers: Callable[[nn.Module], Iterable[nn.Module]] | None = None,
        **settings: Any,
    ) -> SignalExplorer:
        """Show what goes through models of your own: one, or several by name.

        Each is called once, `model(*batch)`, on its own device, and its gradients are taken; its
        own `.grad` stays as it is. loss: from what the model answers to a scalar; it may be left
        out where the answer is one or ends with one, as `logits, loss` does. layers: from a model
        to its layers, in order; by default the longest ModuleList or Sequential in it. The page has
        no sliders then, because
        it has no such model. Errors: ValueError where there are no layers or no scalar.
        """
        models = dict(model) if isinstance(model, Mapping) else {type(model).__name__: model}
        if not models or not all(isinstance(one, nn.Module) for one in models.values()):
            got = ", ".join(type(one).__name__ for one in models.values()) or "none"
            raise ValueError(f"model must be a model, or several by name; got {got}.")
        found = {name: _record(one, batch, loss, layers) for name, one in models.items()}
        return cls(
            names=list(found),
            depths=[len(one["numbers"]) - 1 for one in found.values()],
            recorded=b"".join(_packed(one) for one in found.values()),
            **{"title": "What becomes of the signal in a model of your own?", **settings},
        )

    def stack(self) -> tuple[nn.ModuleList, nn.Linear, torch.Tensor]:
        """The page's stack in PyTorch before its first step: layers, head, examples (B, C)."""
        C, B = self.width, self.batch
        with torch.random.fork_rng(devices=[]):
            layers = nn.ModuleList(
                SignalLayer(C, self.activation, self.norm, self.shortcut, self.norm_kind)
                for _ in range(self.depth)
            ).double()
            head = nn.Linear(C, CLASSES).double()
        x = normals(self.seed, 0, B * C).view(B, C)
        drawn = normals(self.seed, B * C, CLASSES * C + self.depth * C * C) / C**0.5
        with torch.no_grad():
            head.weight.copy_(drawn[: CLASSES * C].view(CLASSES, C))
            layer: Any  # what a ModuleList holds has no type of its own
            for layer, weight in zip(layers, drawn[CLASSES * C :].view(-1, C, C), strict=True):
                layer.linear.weight.copy_(self.gain * weight)
                layer.linear.bias.zero_()
            head.bias.zero_()
        return layers, head, x.requires_grad_()

    def signals(self) -> dict[str, Any]:
        """What the page computes, computed by PyTorch: loss, right, logits (B, 4), and more.

        "states" and "state_gradients" are (depth + 1, B, C), "gradients" is by name of parameter.
        """
        layers, head, x = self.stack()
        model = nn.ModuleDict({"layers": layers, "head": head})
        lr = RATES[self.optimizer] if self.lr is None else self.lr
        kind: Any = torch.optim.Adam if self.optimizer == "adam" else torch.optim.SGD
        optimizer = kind(model.parameters(), lr=lr)
        targets = torch.arange(self.batch) % CLASSES
        for step in range(self.steps + 1):
            states = [x]
            for layer in layers:
                states.append(layer(states[-1]))  # (B, C) -> (B, C)
            logits = head(states[-1])  # (B, C) -> (B, CLASSES)
            loss = nn.functional.cross_entropy(logits, targets)
            named = dict(model.named_parameters())
            found = torch.autograd.grad(loss, [*states, *named.values()])
            for parameter, gradient in zip(named.values(), found[len(states) :], strict=True):
                parameter.grad = gradient
            if step < self.steps:
                optimizer.step()
        return {
            "loss": loss.item(),
            "right": int((logits.argmax(dim=1) == targets).sum()),
            "logits": logits.detach(),
            "states": torch.stack(states).detach(),
            "state_gradients": torch.stack(found[: len(states)]),
            "gradients": {name: parameter.grad for name, parameter in named.items()},
        }

    def sizes(self) -> dict[str, list[float]]:
        """Sizes by layer, each the root of a mean of squares; the input is layer 0.

        "numbers": what each layer hands on; "differ": how far its rows lie from their mean row;
        "gradients": of the loss, at these numbers; "weights": at each layer's weight matrices, from
        layer 1 on.
        """
        if self.recorded:
            values = torch.frombuffer(bytearray(self.recorded), dtype=torch.float32)
            for depth in self.depths[: self.shown]:
                values = values[(depth + 1) * (len(LINES) + len(KINDS) * SAMPLES) :]
            n = self.depths[self.shown] + 1
            lines = dict(zip(LINES, values[: len(LINES) * n].view(-1, n).tolist(), strict=True))
            return {**lines, "weights": lines["weights"][1:]}
        found = self.signals()
        states, gradients = found["states"], found["gradients"]
        weights = [gradients[f"layers.{n}.linear.weight"] for n in range(self.depth)]
        return {
            "numbers": [_size(one) for one in states],
            "differ": [_size(one - one.mean(dim=0)) for one in states],
            "gradients": [_size(one) for one in found["state_gradients"]],
            "weights": [_size(one) for one in weights],
        }

    def words(self) -> str:
        sizes = self.sizes()
        depth = len(sizes["numbers"]) - 1
        if self.recorded:
            what = f"{self.names[self.shown]}, {depth} layers, recorded in Python."
        else:
            bend = {"none": "no activation"}.get(self.activation, self.activation)
            kind = " (RMSNorm)" if self.norm_kind == "rms" else ""
            norm = {"none": "no norm"}.get(self.norm, f"{self.norm}-norm{kind}")
            way = "shortcuts" if self.shortcut else "no shortcuts"
            what = f"{depth} layers, {bend}, {norm}, {way}, gain {self.gain:g}, {self.steps} steps."
        return (
            f"{self.title} {what} Size of the numbers: {sizes['numbers'][0]:.2g} before the first "
            f"layer, {sizes['numbers'][-1]:.2g} after the last. Size of the weights' gradients: "
            f"{sizes['weights'][0]:.2g} in the first layer, {sizes['weights'][-1]:.2g} in the last."
        )

    def draw(self) -> Figure:
        from matplotlib.figure import Figure

        sizes = self.sizes()
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot(sizes["numbers"], label="their size")
        left.plot(sizes["differ"], linestyle=":", label="how far rows differ")
        left.set(title="numbers that layers hand on", xlabel="layer", yscale="log")
        left.legend(fontsize=8)
        right.plot(range(1, len(sizes["weights"]) + 1), sizes["weights"])
        right.set(title="gradients of the weights", xlabel="layer", yscale="log")
        return figure


def _size(numbers: torch.Tensor) -> float:
    return numbers.double().pow(2).mean().sqrt().item()


def layers_of(model: nn.Module) -> list[nn.Module]:
    """The longest list of layers in a model; the outer one where two are as long."""
    lists = [m for m in model.modules() if isinstance(m, nn.ModuleList | nn.Sequential)]
    return list(max(lists, key=len)) if lists else []


def _record(model: nn.Module, batch: Any, loss: Any, layers: Any) -> dict[str, list[torch.Tensor]]:
    """What goes through a model's layers and what comes back: of each kind, (rows, C) by layer."""
    parts = list(layers(model)) if layers else layers_of(model)
    if not parts:
        raise ValueError("model has no ModuleList or Sequential; say layers=lambda model: [...]")
    states: list[torch.Tensor] = []

    def first(_module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        states.append(given[0])

    def after(_module: nn.Module, _given: Any, answer: Any) -> None:
        states.append(answer[0] if isinstance(answer, tuple) else answer)

    given = batch if isinstance(batch, tuple) else (batch,)
    hooks = [parts[0].register_forward_pre_hook(first)]
    hooks += [part.register_forward_hook(after) for part in parts]
    try:
        with torch.enable_grad():
            answer = model(*(_beside(model, one) for one in given))
    finally:
        for hook in hooks:
            hook.remove()
    if loss is not None:
        answer = loss(answer)
    answer = answer[-1] if isinstance(answer, tuple) else answer
    if not isinstance(answer, torch.Tensor) or answer.numel() != 1:
        raise ValueError("model must answer with a scalar loss, or loss= make one of its answer")
    if len(states) != len(parts) + 1:
        calls = max(0, len(states) - 1)
        raise ValueError(f"{len(parts)} layers were called {calls} times, not once each")
    weights = [[p for p in part.parameters() if p.dim() > 1 and p.requires_grad] for part in parts]
    wanted = [s for s in states if s.requires_grad] + [p for some in weights for p in some]
    found = iter(torch.autograd.grad(answer.sum(), wanted, allow_unused=True))

    def gradient(one: torch.Tensor) -> torch.Tensor:
        given = next(found) if one.requires_grad else None
        return torch.zeros_like(one) if given is None else given

    rows = [state.detach().flatten(0, -2) for state in states]
    back = [gradient(state).flatten(0, -2) for state in states]
    flat = [[gradient(p).flatten() for p in some] or [torch.zeros(1)] for some in weights]
    matrices = [torch.zeros(1, 1), *(torch.cat(some)[None] for some in flat)]
    return {"numbers": rows, "gradients": back, "weights": matrices}


def _beside(model: nn.Module, one: Any) -> Any:
    """A tensor where the model's parameters are; what is none stays as it is."""
    place = next((p.device for p in model.parameters()), None)
    return one.to(place) if isinstance(one, torch.Tensor) and place is not None else one


def _packed(found: dict[str, list[torch.Tensor]]) -> bytes:
    """The four lines of sizes (layers + 1) of a recorded model, then its samples, as float32."""
    sizes = {kind: [_size(one) for one in found[kind]] for kind in KINDS}
    sizes["differ"] = [_size(one - one.mean(dim=0)) for one in found["numbers"]]
    samples = []
    for kind in KINDS:
        for one in found[kind]:
            flat = one.flatten().float().cpu()
            samples.append(flat[torch.linspace(0, len(flat) - 1, SAMPLES).long()])
    lines = torch.tensor([sizes[name] for name in LINES])
    return torch.cat([lines.flatten(), *samples]).contiguous().numpy().tobytes()

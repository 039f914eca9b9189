"""A run on tape: what a model has learned, is doing and writes, at chosen steps.

Used in chapter 7, by the training scrubber. Given, not built.
"""

from __future__ import annotations

import base64
import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from gptlib.generation import generate
from gptlib.given.models import context_length_of, unwrapped
from gptlib.training import measuring
from gptlib.widgets.signal_explorer import layers_of

BINS = 25  # of a histogram
BATCHES = 10  # the training loss is a mean of the last so many
# What `train` reports of a step beside what its `evaluate` found.
REPORTED = {"step", "loss", "lr", "grad_norm", "tokens", "seconds", "train_loss", "val_loss"}


class Tape:
    """Records a run at chosen steps, for a TrainingScrubber to play; the run stays the same.

    It is a callback of `train`, to be called in every step: tape(step, model, metrics). at: the
    steps to record, 0 for before the first. tokenizer: the model's. prompt: a text that the model
    looks at and goes on with, greedily, by max_new_tokens tokens or to `stop`, a token's id.
    metrics, as in `train`: loss (of the batch; the mean of the last ten is recorded), grad_norm
    (before clipping), val_loss, train_loss (in the place of loss); whatever else an evaluation
    found is taken for the share of a skill, from 0 to 1. All may be missing.
    Errors: ValueError for no steps, and for a prompt of no tokens or longer than the model's
    context.

    tape = Tape(tokenizer, "Tom was a", at=range(0, 3101, 100))
    train(model, ids, None, config, evaluate=exam, callbacks=[tape])
    TrainingScrubber(tape, floor=0.419)
    """

    def __init__(
        self,
        tokenizer: Any,
        prompt: str,
        at: Iterable[int],
        max_new_tokens: int = 30,
        stop: int | None = None,
    ) -> None:
        if not hasattr(tokenizer, "encode"):
            raise ValueError(f"tokenizer must be one of gptlib's; got {type(tokenizer).__name__}.")
        self.tokenizer, self.prompt, self.at = tokenizer, prompt, frozenset(at)
        self.max_new_tokens, self.stop = max_new_tokens, stop
        start = [] if stop is None else [stop]  # in the book's texts a story begins after END
        self.ids = [*start, *tokenizer.encode(prompt)]
        if not self.at or not self.ids:
            missing = "steps to record, at=[0, 100, 200]" if self.ids else "a prompt of some tokens"
            raise ValueError(f"Tape needs {missing}.")
        self.moments: list[dict[str, Any]] = []
        self._losses: deque[float] = deque(maxlen=BATCHES)
        self._before: list[list[torch.Tensor]] | None = None

    def __call__(self, step: int, model: Any, metrics: Mapping[str, Any]) -> None:
        """Look, if it is time; or keep the weights of one step before."""
        if metrics.get("loss") is not None:
            self._losses.append(metrics["loss"])
        if step in self.at:
            with measuring(model):
                self.moments.append(self._moment(step, unwrapped(model), metrics))
        before = step + 1 in self.at
        weights = layer_weights(unwrapped(model)).values() if before else []
        self._before = [[w.detach().clone() for w in some] for some in weights] if before else None

    def _moment(self, step: int, model: nn.Module, metrics: Mapping[str, Any]) -> dict[str, Any]:
        longest = context_length_of(model)
        if longest is not None and len(self.ids) > longest:
            raise ValueError(f"prompt has {len(self.ids)} tokens; the model can see {longest}.")
        device = next(model.parameters()).device
        idx = torch.tensor([self.ids], device=device)  # (1, T)
        mean = sum(self._losses) / len(self._losses) if self._losses else None
        states, attention = _look(model, idx)
        stops = () if self.stop is None else (self.stop,)
        # Greedy, and yet it draws: from a generator of its own.
        written = generate(
            model, idx, self.max_new_tokens, temperature=0.0, stop_tokens=stops,
            generator=torch.Generator(device),
        )  # fmt: skip
        new = [i for i in written[0, len(self.ids) :].tolist() if i != self.stop]
        return {
            "step": step,
            "train": metrics.get("train_loss", mean),
            "val": metrics.get("val_loss"),
            "skills": {name: metrics[name] for name in metrics if name not in REPORTED},
            "layers": list(layer_weights(model)),
            "gradients": _gradient_norms(model, metrics.get("grad_norm")),
            "updates": _update_ratios(model, self._before),
            "states": states,
            "attention": attention,
            "text": self.tokenizer.decode(new),
        }

    def run(self, heads: Sequence[str] | None = None) -> dict[str, Any]:
        """All of it as JSON, as the page reads it: a list of one value a moment for each gauge.

        gradients, updates: by moment and layer. histograms: bytes (moment, layer, bin) of what each
        layer hands on for the prompt, from -limits[layer] to limits[layer], the highest bin 255.
        attention: bytes (moment, head, T, T), 255 for all of it. heads: names such as "block 0,
        head 2"; None takes in each layer the one whose last token looks most at one place in the
        end. Errors: ValueError before the first moment, and for a head that is not there.
        """
        if not self.moments:
            raise ValueError("the tape is empty: call it in each step, tape(step, model, metrics)")
        first, last = self.moments[0], self.moments[-1]
        skills = {name: None for moment in self.moments for name in moment["skills"]}
        chosen = _sharpest(last["attention"]) if heads is None else list(heads)
        if not set(chosen) <= last["attention"].keys():
            there = ", ".join(last["attention"]) or "none"
            raise ValueError(f"heads names {chosen}; the model has {there}.")
        states = [
            torch.stack(one) for one in zip(*(m["states"] for m in self.moments), strict=True)
        ]
        limits = [
            max(one.nan_to_num().abs().quantile(0.98, dim=1).max().item(), 1e-6) for one in states
        ]
        looks = [m["attention"][head] for m in self.moments for head in chosen]  # (T, T) each
        return {
            "step": [m["step"] for m in self.moments],
            "train": _short(m["train"] for m in self.moments),
            "val": _short(m["val"] for m in self.moments),
            "skills": {s: _short(m["skills"].get(s) for m in self.moments) for s in skills},
            "layers": first["layers"],
            "gradients": [_short(m["gradients"]) for m in self.moments],
            "updates": [_short(m["updates"]) for m in self.moments],
            "limits": _short(limits),
            "histograms": _text(
                _counts(one[m], limit)
                for m in range(len(self.moments))
                for one, limit in zip(states, limits, strict=True)
            ),
            "heads": chosen,
            "attention": _text((255 * look).round() for look in looks),
            "tokens": ["END" if i == self.stop else self.tokenizer.decode([i]) for i in self.ids],
            "prompt": self.prompt,
            "text": [m["text"] for m in self.moments],
        }


def layer_weights(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The matrices that are trained, by layer: before the blocks, each block, behind them."""
    blocks = {id(p): f"block {i}" for i, b in enumerate(layers_of(model)) for p in b.parameters()}
    found: dict[str, list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.dim() > 1 and parameter.requires_grad:
            outside = "head" if any(name in found for name in blocks.values()) else "embedding"
            found.setdefault(blocks.get(id(parameter), outside), []).append(parameter)
    return found


def _length(tensors: Iterable[torch.Tensor]) -> float:
    return math.hypot(*(t.norm().item() for t in tensors))


def _gradient_norms(model: nn.Module, whole: float | None) -> list[float | None]:
    """The length of each layer's gradient; if the whole one's is given, as before clipping."""
    by_layer = layer_weights(model).values()
    if any(p.grad is None for some in by_layer for p in some):
        return [None for _ in by_layer]
    clipped = _length(p.grad for p in model.parameters() if p.grad is not None)
    scale = whole / clipped if whole and clipped else 1.0
    return [scale * _length(p.grad for p in some if p.grad is not None) for some in by_layer]


def _update_ratios(model: nn.Module, before: list[list[torch.Tensor]] | None) -> list[float | None]:
    """How far the last step moved each layer's matrices, as a share of their own length."""
    by_layer = layer_weights(model).values()
    if before is None:
        return [None for _ in by_layer]
    pairs = zip(by_layer, before, strict=True)
    return [_length(w - b for w, b in zip(*one, strict=True)) / _length(one[1]) for one in pairs]


def _look(
    model: nn.Module, idx: torch.Tensor
) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    """What comes in at the first layer and what each hands on; (T, T) weights by head."""
    blocks, states = layers_of(model), list[torch.Tensor]()
    heads: dict[str, torch.Tensor] = {}

    def came_in(_module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        states.append(given[0].float().flatten().cpu())

    def handed_on(_module: nn.Module, _given: Any, answer: Any) -> None:
        came_in(_module, answer if isinstance(answer, tuple) else (answer,))

    def looks(place: str, module: Any) -> Any:
        def hook(_module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
            for one in module.weights(given[0])[0].view(-1, idx.size(1), idx.size(1)):  # (T, T)
                heads[f"{place}head {sum(name.startswith(place) for name in heads)}"] = one.cpu()

        return hook

    with ExitStack() as hooks:
        if blocks:
            hooks.callback(blocks[0].register_forward_pre_hook(came_in).remove)
        for block in blocks:
            hooks.callback(block.register_forward_hook(handed_on).remove)
        for i, part in [*enumerate(blocks), (None, model)]:
            inner = {id(m) for block in blocks for m in block.modules()} if i is None else set()
            for module in part.modules():
                if callable(getattr(module, "weights", None)) and id(module) not in inner:
                    place = "" if i is None else f"block {i}, "
                    hook = module.register_forward_pre_hook(looks(place, module))
                    hooks.callback(hook.remove)
        model(idx)
    return states, heads


def _sharpest(looks: dict[str, torch.Tensor]) -> list[str]:
    """In each layer the head whose last token looks most at one place; the sharpest first."""
    best: dict[str, tuple[float, str]] = {}
    for name, look in looks.items():
        layer = name.rpartition("head")[0]
        best[layer] = max(best.get(layer, (0.0, name)), (look[-1].max().item(), name))
    return [name for _, name in sorted(best.values(), reverse=True)]


def _counts(numbers: torch.Tensor, limit: float) -> torch.Tensor:
    """A histogram from -limit to limit, what is beyond in the last bins; the highest bin 255."""
    counts = numbers.nan_to_num().clamp(-limit, limit).histc(BINS, -limit, limit)  # (BINS)
    return (255 * counts / counts.max()).round()


def _text(parts: Iterable[torch.Tensor]) -> str:
    """Whole numbers from 0 to 255, as text."""
    flat = [part.flatten().to(torch.uint8) for part in parts]
    data = torch.cat(flat).numpy().tobytes() if flat else b""
    return base64.b64encode(data).decode("ascii")


def _short(values: Iterable[float | None]) -> list[float | None]:
    """Four digits of each number; None for what is no finite number."""
    return [float(f"{v:.4g}") if v is not None and math.isfinite(v) else None for v in values]

"""Which experts the tokens of a text ask, how much each counts, and who is asked too often.

Used in chapter 9. Given, not built.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
import traitlets
from torch import nn

from gptlib.corpus.scoring import AnswerKey
from gptlib.corpus.story import Story
from gptlib.experts import Routing, balance_loss, check_experts
from gptlib.given.models import evaluating, unwrapped
from gptlib.tokenizer import BPETokenizer, CharTokenizer
from gptlib.widgets.tokenizer_explorer import plain, readable
from gptlib.widgets.widget import Widget, bundle, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    Places = list[tuple[str, int, int, int]]  # skill, text, first token, one past the last


class ExpertRouting(Widget):
    """Which experts the tokens of a text ask in each block, and how even the work is shared.

    model: a ModernGPT with experts. text: a text, read after the tokenizer's first special token
    where it has one, or a Story, whose labels mark the tokens that have to guess them. stories: in
    these the table counts which expert gets which skill; without them, in the text. skills: labels
    of your own instead, one a token that is read, "" for none. capacity: of each expert, where the
    model has none, see `Experts`. The traits layer, expert and token (-1: none is picked) and
    limited (as in training: what finds no room is dropped) may be set from Python and follow the
    reader. What the page shows was worked out here; it holds no weights.
    Errors: ValueError for a model without experts, a text too long for it, labels that do not fit.

    routing = ExpertRouting(model, corpus.stories(1)[0], tokenizer, layer=2, limited=True)
    routing.load()  # which share of the tokens asks each expert

    ExpertRouting(ModernGPT(ModernConfig(2, 4, n_expert=2)), "a", CharTokenizer("ab")).room -> 0
    """

    _esm = bundle("expert_routing.js")
    _css = style("expert_routing.css")
    title = traitlets.Unicode("Who asks which expert?").tag(sync=True)
    labels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    skills = traitlets.List(traitlets.Unicode()).tag(sync=True)
    n_layer = traitlets.Int(1).tag(sync=True)
    n_expert = traitlets.Int(1).tag(sync=True)
    n_active = traitlets.Int(1).tag(sync=True)
    room = traitlets.Int(0).tag(sync=True)  # tokens that an expert answers if limited; 0: all
    chosen = traitlets.Bytes().tag(sync=True)  # uint16 (L, T, K), and once more for limited
    weights = traitlets.Bytes().tag(sync=True)  # float32, the same
    answered = traitlets.Bytes().tag(sync=True)  # uint8, the same
    balance = traitlets.List(traitlets.Float()).tag(sync=True)  # (L), and once more
    counted = traitlets.List(traitlets.Dict()).tag(sync=True)  # skill, places, asked (L, E)
    layer = traitlets.Int(0, min=0).tag(sync=True)
    expert = traitlets.Int(-1, min=-1).tag(sync=True)
    token = traitlets.Int(-1, min=-1).tag(sync=True)
    limited = traitlets.Bool(False).tag(sync=True)

    def __init__(
        self,
        model: nn.Module,
        text: str | Story,
        tokenizer: BPETokenizer | CharTokenizer,
        stories: Sequence[Story] = (),
        skills: Sequence[str] | None = None,
        capacity: float | None = None,
        **settings: Any,
    ) -> None:
        inner = _with_experts(model)
        if not hasattr(tokenizer, "decode"):
            raise ValueError(
                f"tokenizer must be one of gptlib's; got {type(tokenizer).__name__}. The order is "
                "ExpertRouting(model, text, tokenizer)."
            )
        idx, places = _read(text, tokenizer)
        _check_fit(idx, inner)
        labels = [_label(i, tokenizer) for i in idx[0].tolist()]
        if skills is not None:
            places = _places_of(skills, labels)
        capacity = inner.config.capacity if capacity is None else capacity
        check_experts(inner.config.n_expert, inner.config.n_active, capacity)
        ways = [_evaluated(inner, idx)]
        if capacity is not None:
            ways.append(_routes(_training(inner, capacity), idx))
        self._ways = ways
        chosen, weights, answered = (
            torch.stack([getattr(one, name)[0] for way in ways for one in way])  # (R · L, T, K)
            for name in ("chosen", "weights", "answered")
        )
        marks = [""] * len(labels)
        for skill, _, first, end in places:
            marks[first:end] = [skill] * (end - first)
        whole = ways[0]
        if stories:
            key = AnswerKey(stories, tokenizer)
            _check_fit(key.idx, inner)
            places = [(skill, *one) for skill, found in key.places.items() for one in found]
            whole = _evaluated(inner, key.idx)
        E, K = inner.config.n_expert, inner.config.n_active
        super().__init__(
            labels=labels,
            skills=marks,
            n_layer=len(ways[0]),
            n_expert=E,
            n_active=K,
            room=0 if capacity is None else math.ceil(capacity * len(labels) * K / E),
            chosen=chosen.numpy().astype("<u2").tobytes(),
            weights=weights.numpy().astype("<f4").tobytes(),
            answered=answered.numpy().astype("u1").tobytes(),
            balance=[balance_loss(one).item() for way in ways for one in way],
            counted=_counted(whole, places, E),
            **settings,
        )

    @traitlets.validate("layer", "expert", "token")
    def _check_pick(self, proposal: Any) -> int:
        name, value = proposal["trait"].name, int(proposal["value"])
        most = {"layer": self.n_layer, "expert": self.n_expert, "token": len(self.labels)}[name]
        if value >= most:
            raise traitlets.TraitError(f"{name} must be below {most}, not {value}.")
        return value

    @traitlets.validate("limited")
    def _check_limited(self, proposal: Any) -> bool:
        if proposal["value"] and not self.room:
            raise traitlets.TraitError(
                "limited needs a capacity, and this model has none: ExpertRouting(..., "
                "capacity=1.25)."
            )
        return bool(proposal["value"])

    def routing(self) -> Routing:
        """Who asks whom in the picked block, as the present settings have it; B is 1."""
        return self._ways[int(self.limited)][self.layer]

    def load(self) -> list[float]:
        """The share of the tokens that ask each expert in the picked block; n_active in all."""
        chosen = self.routing().chosen.flatten()
        asked = torch.bincount(chosen, minlength=self.n_expert)  # (E)
        return (asked / len(self.labels)).tolist()

    def words(self) -> str:
        load, even = self.load(), self.n_active / self.n_expert
        most = max(range(self.n_expert), key=lambda e: load[e])
        dropped = int((~self.routing().answered).sum())
        return (
            f"{self.title} {len(self.labels)} tokens in block {self.layer} ask {self.n_active} of "
            f"{self.n_expert} experts each. Expert {most} is asked most, by {load[most]:.1%} of "
            f"the tokens; an even share is {even:.1%}. "
            + (f"{dropped} questions found no room." if self.limited else "Nobody is dropped.")
        )

    def draw(self) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 3.2))
        ax = figure.subplots()
        ax.bar(range(self.n_expert), [100 * share for share in self.load()])
        even = 100 * self.n_active / self.n_expert
        ax.axhline(even, color="C1", linestyle="--", label=f"even: {even:.1f} %")
        ax.set(xlabel=f"expert of block {self.layer}", ylabel="% of the tokens ask it")
        ax.set_xticks(range(self.n_expert))
        ax.grid(axis="x", visible=False)
        ax.legend()
        return figure


def _with_experts(model: Any) -> Any:
    """The model itself. Errors: ValueError where it is none with experts."""
    inner = unwrapped(model)
    if getattr(getattr(inner, "config", None), "n_expert", 1) < 2:
        raise ValueError(
            "model must be a ModernGPT with experts, such as ModernGPT(ModernConfig.preset("
            f'"stories-experts")); got {type(inner).__name__}.'
        )
    return inner


def _read(text: str | Story, tokenizer: Any) -> tuple[torch.Tensor, Places]:
    """The ids of a text, (1, T), and the places of a story's labels."""
    if isinstance(text, Story):
        key = AnswerKey([text], tokenizer)
        return key.idx, [(name, *one) for name, found in key.places.items() for one in found]
    special = getattr(tokenizer, "special_tokens", {})
    return torch.tensor([[*list(special.values())[:1], *tokenizer.encode(text)]]), []


def _check_fit(idx: torch.Tensor, model: Any) -> None:
    """A model can read these ids."""
    T, longest, size = idx.size(1), model.config.context_length, model.config.vocab_size
    if not 1 <= T <= longest:
        raise ValueError(
            f"text must have 1 to {longest} tokens, which is what the model sees at once; got {T}. "
            "Take a shorter text, or a model with a longer context_length."
        )
    if int(idx.max()) >= size:
        raise ValueError(
            f"tokenizer knows tokens that the model does not: id {int(idx.max())} of {size}. Take "
            "the tokenizer that it was trained with."
        )


def _places_of(skills: Sequence[str], labels: Sequence[str]) -> Places:
    """Labels of single tokens as places."""
    if isinstance(skills, str) or len(skills) != len(labels):
        raise ValueError(
            f"skills must be one label a token that is read, '' for none: {len(labels)} of them; "
            f"got {len(skills)}. The tokens are {', '.join(labels[:3])} ..."
        )
    return [(skill, 0, t, t + 1) for t, skill in enumerate(skills) if skill]


def _label(i: int, tokenizer: Any) -> str:
    """A token as it is shown."""
    if i in getattr(tokenizer, "special_tokens", {}).values():
        return "END"
    return (
        readable(tokenizer.vocab[i]) if hasattr(tokenizer, "vocab") else plain(tokenizer.chars[i])
    )


def _training(model: nn.Module, capacity: float) -> nn.Module:
    """A copy of the model whose experts have so much room, as they have in training."""
    copy = deepcopy(model).train()
    part: Any
    for part in copy.modules():
        if hasattr(part, "router"):
            part.capacity = capacity
    return copy


def _routes(model: Any, idx: torch.Tensor) -> list[Routing]:
    """One `Routing` a block, on the CPU; a model in training mode drops, another one does not."""
    routes: list[Routing] = []
    idx = idx.to(next(model.parameters()).device)
    with torch.no_grad():
        model(idx, routes=routes)
    return [Routing(*(part.cpu() for part in one)) for one in routes]


def _evaluated(model: Any, idx: torch.Tensor) -> list[Routing]:
    """The routes of a model that drops nobody, whatever mode it is in."""
    with evaluating(model):
        return _routes(model, idx)


def _counted(routes: list[Routing], places: Places, n_expert: int) -> list[dict[str, Any]]:
    """For each skill: how many tokens have it, and how many of them ask each expert, (L, E)."""
    found: dict[str, list[tuple[int, int]]] = {}
    for skill, n, first, end in places:
        found.setdefault(skill, []).extend((n, t) for t in range(first, end))
    counted = []
    for skill, where in sorted(found.items(), key=lambda one: (-len(one[1]), one[0])):
        rows, columns = zip(*where, strict=True)
        asked = [
            torch.bincount(one.chosen[list(rows), list(columns)].flatten(), minlength=n_expert)
            for one in routes
        ]
        counted.append(
            {"skill": skill, "tokens": len(where), "asked": [one.tolist() for one in asked]}
        )
    return counted

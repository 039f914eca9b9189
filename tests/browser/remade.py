"""Python's widget, made of what a page of the book holds of it: so the two can be compared."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import torch
from safetensors.torch import load

from gptlib.attention import AttentionModel
from gptlib.experts import Routing
from gptlib.given.run_state import set_weights
from gptlib.gpt import GPT, GPTConfig
from gptlib.tokenizer import BPETokenizer
from gptlib.widgets import (
    AttentionExplorer,
    CacheGrowth,
    DistributionExplorer,
    ExpertRouting,
    LiveGPT,
    LiveTraining,
    ModelPicture,
    RotationExplorer,
    SignalExplorer,
    TokenizerExplorer,
    TrainingScrubber,
)
from gptlib.widgets.model_file import TOKENIZERS, unpacked
from gptlib.widgets.widget import Widget

Traits = dict[str, Any]


def traits_of(state: dict[str, Any]) -> Traits:
    """A widget's traits as its page holds them; what travelled as base64 is bytes again."""
    traits = state["traits"]
    for one in state["buffers"]:
        *way, last = one["path"]
        place = traits
        for key in way:
            place = place[key]
        place[last] = base64.b64decode(one["data"])
    return traits


def remade(kind: str, state: dict[str, Any]) -> Widget:
    """The widget of this kind with the page's traits; what Python knows beside them is made anew.

    Its face is not asked to make it, because that asks for the chapter's own models.
    """
    face, knows = FACES[kind]
    traits = traits_of(state)
    widget = face.__new__(face)
    for name, known in knows(traits).items():
        setattr(widget, name, known)
    Widget.__init__(widget, **traits)
    return widget


def nothing(traits: Traits) -> Traits:
    return {}


def merges(traits: Traits) -> Traits:
    """The tokenizer whose merges are shown."""
    lane = next(lane for lane in traits["lanes"] if lane.get("main"))
    ids = torch.frombuffer(bytearray(lane["merges"]), dtype=torch.int32).view(-1, 2).tolist()
    about = {name: lane[name] for name in ("special_tokens", "byte_order")}
    return {"tokenizer": BPETokenizer([tuple(pair) for pair in ids], **about)}


def given(traits: Traits) -> Traits:
    """A configuration: its sizes are traits, and replaced."""
    return {"_given": GPTConfig()}


def table(traits: Traits) -> Traits:
    """Logits, (R, V)."""
    numbers = torch.frombuffer(bytearray(traits["logits"]), dtype=torch.float32)
    return {"_table": numbers.view(-1, len(traits["labels"]))}


def opened(data: bytes) -> tuple[GPT | AttentionModel, Any]:
    """The model and the tokenizer that the page reads out of a file."""
    head = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]
    config, told = json.loads(head["config"]), json.loads(head["tokenizer"])
    model: GPT | AttentionModel
    if "positions" in config:
        sizes = [config[name] for name in ("vocab_size", "context_length", "n_embd", "n_head")]
        model = AttentionModel(*sizes, config["positions"])
    else:
        model = GPT(GPTConfig(**config))
    set_weights(model.eval(), unpacked(load(data)))
    return model, TOKENIZERS[told.pop("type")]._from_state(**told)


def models(traits: Traits) -> Traits:
    both = [opened(data) for data in traits["model_files"]]
    return {"_models": [model for model, _ in both], "_tokenizer": both[0][1]}


def writer(traits: Traits) -> Traits:
    model, tokenizer = opened(traits["model_file"])
    return {"_model": model, "_tokenizer": tokenizer}


def ways(traits: Traits) -> Traits:
    """Who asked whom in each layer, and once more with little room where there is such a thing."""
    L, T, K = traits["n_layer"], len(traits["labels"]), traits["n_active"]

    def numbers(name: str, dtype: torch.dtype) -> torch.Tensor:
        return torch.frombuffer(bytearray(traits[name]), dtype=dtype).view(-1, L, 1, T, K)

    chosen = numbers("chosen", torch.int16).long()
    parts = chosen, numbers("weights", torch.float32), numbers("answered", torch.uint8).bool()
    none = torch.zeros(0)  # no page shows the router's whole distribution
    return {
        "_ways": [
            [Routing(none, *layer) for layer in zip(*way, strict=True)]
            for way in zip(*parts, strict=True)
        ]
    }


FACES: dict[str, tuple[type[Widget], Callable[[Traits], Traits]]] = {
    "tokens": (TokenizerExplorer, merges),
    "distribution": (DistributionExplorer, table),
    "attention": (AttentionExplorer, models),
    "signals": (SignalExplorer, nothing),
    "picture": (ModelPicture, given),
    "scrubber": (TrainingScrubber, nothing),
    "live": (LiveGPT, writer),
    "rotations": (RotationExplorer, nothing),
    "growing_cache": (CacheGrowth, nothing),
    "routed": (ExpertRouting, ways),
    "training": (LiveTraining, nothing),
}

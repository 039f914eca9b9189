"""A small model that writes, for the exercises of chapter 8, and what is looked at in its texts."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from gptlib.exercises.comparing import shown
from gptlib.exercises.task import Use, Wrong

Tensor = torch.Tensor
SEES = 4  # tokens that the model below may look at
V = 8  # and how many different ones there are


class Writer(nn.Module):
    """A model by the rules: it says how far it sees, and in training mode it says other things.

    It takes longer texts than it should, as no GPT does, so that what comes of it can be told.
    """

    def __init__(self, seed: int):
        super().__init__()
        draw = torch.Generator().manual_seed(seed)
        self.config = SimpleNamespace(context_length=SEES, vocab_size=V)
        self.table = nn.Parameter(torch.randn(64, V, V, generator=draw))
        self.recorded = False  # whether gradients were, in some call

    def forward(self, idx: Tensor, targets: None = None) -> tuple[Tensor, None]:
        places = torch.arange(idx.size(1), device=idx.device)
        logits = self.table[places, idx].cumsum(dim=1)  # (B, T, V)
        self.recorded |= logits.requires_grad
        return (logits.roll(3, dims=-1) if self.training else logits), None


class Write(Use):
    """A text by a model in training or evaluation mode, and what the writing left behind."""

    in_order = True

    def run(self, answer: Callable[..., Any], *given: Any) -> dict[str, Any]:
        seed, idx, n, settings, mode = given
        model = Writer(seed).train(mode == "training")
        torch.manual_seed(seed + 1)  # for those who leave the generator aside
        out = answer(model, idx, n, generator=torch.Generator().manual_seed(seed), **settings)
        if not torch.is_tensor(out):
            raise Wrong(f"The texts should be one tensor of ids; this is a {type(out).__name__}.")
        return {
            "The texts": out.detach(),
            "Gradients": "recorded" if model.recorded else "not recorded",
            "The model is left in": "training" if model.training else "evaluation",
        }

    def shown(self, name: str, *given: Any) -> str:
        _, idx, n, settings, mode = given
        told = "".join(f", {key}={shown(value)}" for key, value in settings.items())
        return f"{name}(model, {shown(idx)}, {n}{told}) of a model in {mode} mode that sees {SEES}"

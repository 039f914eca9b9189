"""A whole small training program: model, batches, loss, step and evaluation.

Given, not built. It is the program that the bug foundry changes. Run as it stands it is healthy: a
short form of chapter 7's loop, on the beginnings of stories.
"""

from __future__ import annotations

import torch
from torch import nn

from gptlib.given.models import evaluating
from gptlib.gpt import GPT, GPTConfig
from gptlib.loss import next_token_loss
from gptlib.recipe import TrainConfig, learning_rate
from gptlib.training import make_optimizer

CONFIG = GPTConfig.preset("stories", context_length=16)
RECIPE = TrainConfig.preset("stories", batch_size=32, steps=200)
Text = tuple[torch.Tensor, torch.Tensor]  # ids of many stories (N), where each begins (S)


def windows(ids: torch.Tensor, starts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets that begin at these places of the ids: (B, T) each.

    windows(torch.arange(100), torch.tensor([5]))[1] -> [[6, 7, ..., 21]]
    """
    places = starts[:, None] + torch.arange(CONFIG.context_length)  # (B, T)
    return ids[places], ids[places + 1]


class Program:
    """Model and optimiser of one seed, and how they learn from a text."""

    def __init__(self, train: Text, val: Text, seed: int) -> None:
        self.train, self.val = train, val
        torch.manual_seed(seed)
        self.model = GPT(CONFIG)
        self.optimizer = make_optimizer(self.model, RECIPE)
        self.generator = torch.Generator().manual_seed(seed)

    def batch(self, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Inputs and targets of update number `step`, counted from 1: (B, T) each."""
        ids, starts = self.train
        chosen = torch.randint(len(starts), (RECIPE.batch_size,), generator=self.generator)
        return windows(ids, starts[chosen])

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """What is made small, in nats per token."""
        logits, _ = self.model(x)  # (B, T, V)
        return next_token_loss(logits, y)

    def update(self, step: int) -> dict[str, float]:
        """One step; returns its loss and the length of its gradient before clipping."""
        x, y = self.batch(step)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(step, RECIPE)
        self.optimizer.zero_grad()
        loss = self.loss(x, y)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return {"loss": loss.item(), "grad_norm": norm.item()}

    @torch.no_grad()
    def evaluate(self) -> float:
        """The validation loss, in nats per token."""
        with evaluating(self.model):
            return self.loss(*windows(*self.val)).item()

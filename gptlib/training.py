"""Train any model of the course: AdamW, warm-up and cosine, clipping, accumulation, evaluation.

Built in chapter 7. The recipe is the one of GPT-2's open reproductions: weight decay for matrices
only, a learning rate that climbs and then falls to a tenth, gradients of bounded length. Saving a
run and going on with it stands in `checkpoint.py`, the checks of what comes in in `given/checks`.
Losses are in nats per token. A "step" is one update of the weights.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from gptlib.batches import get_batch
from gptlib.checkpoint import load_checkpoint, save_checkpoint
from gptlib.given.checks.recipe import check_finite, check_start, pick_device
from gptlib.given.checks.saved import check_state
from gptlib.given.files import plain, write_text
from gptlib.given.folders import check_place
from gptlib.given.models import LanguageModel, evaluating
from gptlib.given.run_state import (
    averages,
    fingerprint,
    random_states,
    set_averages,
    set_random_states,
)
from gptlib.loss import estimate_loss
from gptlib.recipe import TrainConfig, learning_rate

Callback = Callable[[int, LanguageModel, dict[str, Any]], None]
Evaluate = Callable[[LanguageModel], dict[str, Any]]
FREE = ("device", "eval_every", "eval_batches")  # settings that do not change the updates


class History(list):
    """What a run recorded: a list with one dict per evaluation, the first before any update.

    Keys: step, train_loss, val_loss (nats per token), loss (of the last batch), lr, grad_norm
    (before clipping), tokens (seen so far), seconds (of training, evaluation not counted).

    History([{"val_loss": 4.17}, {"val_loss": 2.51}]).column("val_loss") -> [4.17, 2.51]
    """

    def column(self, name: str) -> list[Any]:
        """The values of one key, in order of the steps."""
        return [record[name] for record in self]

    def to_json(self, path: str | os.PathLike | None = None) -> str:
        """The records as JSON text, written to path too where one is given."""
        text = json.dumps(self, indent=1, default=plain) + "\n"
        if path is not None:
            write_text(path, text)
        return text


def parameter_groups(model: LanguageModel, weight_decay: float) -> list[dict[str, Any]]:
    """Two groups for the optimiser: matrices, which decay, and vectors, which do not.

    Decay keeps the weights of sums small. Biases and the scales of a norm are no such weights, and
    pulling a scale towards 0 would fight the norm. Embedding tables are matrices and decay.
    A tied weight is one parameter and stands in one group, once.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]


def make_optimizer(model: LanguageModel, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (I. Loshchilov, F. Hutter, 2019) over the two groups of the model's parameters."""
    groups = parameter_groups(model, config.weight_decay)
    # Fused: one kernel updates all parameters, instead of several small ones for each.
    fused = next(model.parameters()).device.type in ("cpu", "cuda")
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=fused)


@contextmanager
def learning(model: LanguageModel) -> Iterator[None]:
    """Training mode, and afterwards, whatever happens, the mode that each part had before."""
    modes = [(part, part.training) for part in model.modules()]
    model.train()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextmanager
def measuring(model: LanguageModel) -> Iterator[None]:
    """Evaluation mode, no gradients, random numbers put back: looking does not change the run."""
    device = next(model.parameters()).device
    gpus = [device] if device.type == "cuda" else []  # the CPU's own are always put back
    with evaluating(model), torch.no_grad(), torch.random.fork_rng(gpus):
        yield


def backward(model: LanguageModel, batches: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """Add up the gradients of several small batches (x, y); returns their mean loss.

    Each loss is divided by the number of batches, so the sum is the gradient of one batch that
    holds all their rows, which need not fit in memory at once.
    """
    total = 0.0
    for x, y in batches:
        _, loss = model(x, y)
        (loss / len(batches)).backward()  # adds to what .grad holds already
        total += loss.item() / len(batches)
    return total


class Run:
    """A run under way: what changes from step to step, and how one step is made."""

    model: Any  # anything that is called like a LanguageModel and has weights
    config: Any  # a TrainConfig whose context_length has been filled in

    def __init__(
        self,
        model: LanguageModel,
        data: torch.Tensor,
        config: TrainConfig,
        starts: torch.Tensor | None = None,
    ):
        self.model, self.data, self.config = model, data, config
        self.starts = None if starts is None else torch.as_tensor(starts)
        self.device = pick_device(config.device)
        model.to(self.device)
        self.optimizer = make_optimizer(model, config)
        self.generator = torch.Generator().manual_seed(config.seed)  # the order of the data
        torch.manual_seed(config.seed)  # dropout
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        self.history = History()

    def update(self) -> dict[str, Any]:
        """One step: gradients of fresh batches, clipped, then one update. Returns its metrics."""
        c, began = self.config, time.perf_counter()
        self.step += 1
        self.tokens += c.grad_accumulation * c.batch_size * c.context_length
        lr = learning_rate(self.step, c)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad()
        loss = backward(self.model, [self.batch() for _ in range(c.grad_accumulation)])
        limit = math.inf if c.grad_clip is None else c.grad_clip
        grad_norm = nn.utils.clip_grad_norm_(self.model.parameters(), limit).item()
        # Before the update, so that the weights of the last good step are still there to look at.
        check_finite(self.step, lr, loss, grad_norm)
        self.optimizer.step()
        self.seconds += time.perf_counter() - began
        return self.metrics(loss=loss, lr=lr, grad_norm=grad_norm)

    def batch(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The next batch of windows, x and y, both (B, T)."""
        c = self.config
        draw: dict[str, Any]
        draw = {"starts": self.starts, "generator": self.generator, "device": self.device}
        return get_batch(self.data, c.batch_size, c.context_length, **draw)

    def state_dict(self) -> dict[str, Any]:
        """What going on exactly needs next to the weights, and what it is compared by."""
        return {
            "step": self.step, "tokens": self.tokens, "seconds": self.seconds,
            "history": list(self.history),
            "config": {**asdict(self.config), "warmup_steps": self.config.warmup},
            "data": {"train_data": fingerprint(self.data), "starts": fingerprint(self.starts)},
            "optimizer": averages(self.model, self.optimizer),
            "random": {"data": self.generator.get_state(), **random_states(self.device)},
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where a run of the same settings and data stood. Errors: ValueError if another."""
        check_state(state, self, self.state_dict(), FREE)  # all of it, before anything changes
        set_averages(self.model, self.optimizer, state["optimizer"])
        self.generator.set_state(state["random"]["data"])
        set_random_states(state["random"], self.device)
        self.history[:] = state["history"]
        self.step, self.tokens, self.seconds = (state[n] for n in ("step", "tokens", "seconds"))

    def metrics(self, **more: Any) -> dict[str, Any]:
        """How far the run has come, and what is to be reported with it."""
        return {"step": self.step, **more, "tokens": self.tokens, "seconds": self.seconds}

    def is_evaluation_step(self) -> bool:
        """Whether the model is to be evaluated now."""
        return self.step % self.config.eval_every == 0 or self.step == self.config.steps


def train(
    model: LanguageModel,
    train_data: torch.Tensor,
    val_data: torch.Tensor | None,
    config: TrainConfig,
    *,
    starts: torch.Tensor | None = None,
    val_starts: torch.Tensor | None = None,
    callbacks: Sequence[Callback] = (),
    evaluate: Evaluate | None = None,
    progress: bool = True,
    checkpoint: str | os.PathLike | None = None,
    resume: str | os.PathLike | None = None,
    tokenizer: Any = None,
    keep: Callable[[Run], object] | None = None,
) -> History:
    """Train the model in place for config.steps updates; returns what was recorded on the way.

    train_data, val_data: (N) token ids, a tensor or a NumPy array, which may be a memory map;
    val_data may be None. starts, val_starts: where windows begin, as in get_batch.
    evaluate(model) gives a dict of numbers, in place of estimates of train_loss and val_loss. It
    runs before the first update, every eval_every steps and after the last.
    callbacks: each is called as callback(step, model, metrics), before the first update and after
    every one. metrics: step, loss (this batch), lr, grad_norm, tokens, seconds, and in steps with
    an evaluation its numbers. Both find the model in evaluation mode, and whatever random numbers
    they draw, the run stays the same.
    checkpoint: a folder, written anew at each evaluation, tokenizer included. resume: such a
    folder, to go on from there as if nothing had happened. keep: called with the run after every
    update, for who wants to save it in another way, or to stop it by raising an error.

    Errors: ValueError for data shorter than a window, a device that is not there, a path that
    cannot be saved to, a checkpoint of another run; FloatingPointError when loss or gradient are
    no longer finite. Built in chapter 7.
    """
    config, train_data, val_data = check_start(model, config, train_data, val_data)
    if checkpoint is not None:
        check_place(checkpoint)  # now, and not after hours
    run = Run(model, train_data, config, starts)
    if resume is not None:
        load_checkpoint(resume, run.model, run, tokenizer)
    splits = {"train_loss": (train_data, starts), "val_loss": (val_data, val_starts)}
    evaluate = evaluate or (lambda model: estimate_losses(model, splits, config))
    losses: dict[str, str] = {}
    bar = tqdm(total=config.steps, initial=run.step, disable=not progress, unit="step")
    with learning(model), bar:
        if resume is None:  # otherwise this step was reported before it was saved
            report(run, run.metrics(loss=None, lr=0.0, grad_norm=None), evaluate, callbacks)
        while run.step < config.steps:
            show(bar, losses, report(run, run.update(), evaluate, callbacks))
            if checkpoint is not None and run.is_evaluation_step():
                save_checkpoint(checkpoint, run.model, run, tokenizer)
            if keep is not None:
                keep(run)
    return run.history


def show(bar: tqdm, losses: dict[str, str], metrics: dict[str, Any]) -> None:
    """Move the progress bar by one step, the newest losses beside it."""
    losses |= {name: f"{v:.3f}" for name, v in metrics.items() if name.endswith("loss")}
    bar.set_postfix(losses, refresh=False)
    bar.update()


def report(
    run: Run, metrics: dict[str, Any], evaluate: Evaluate, callbacks: Sequence[Callback]
) -> dict[str, Any]:
    """Add an evaluation to metrics and history where it is time, then call the callbacks."""
    if not (callbacks or run.is_evaluation_step()):
        return metrics
    with measuring(run.model):
        if run.is_evaluation_step():
            metrics |= evaluate(run.model)
            run.history.append(dict(metrics))
        for callback in callbacks:
            callback(run.step, run.model, metrics)
    return metrics


def estimate_losses(
    model: LanguageModel, splits: dict[str, tuple[Any, Any]], config: TrainConfig
) -> dict[str, float]:
    """Mean loss on each split, a dict of (data, starts) by name, in nats per token.

    The windows are the same every time: two evaluations differ by the model and not by luck.
    """
    return {
        name: estimate_loss(
            model,
            data,
            batch_size=config.batch_size,
            context_length=config.context_length,  # type: ignore[arg-type]
            n_batches=config.eval_batches,
            generator=torch.Generator().manual_seed(config.seed + 1),
            starts=starts,
        )
        for name, (data, starts) in splits.items()
        if data is not None
    }

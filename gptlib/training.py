"""Train any model of the course: AdamW, warm-up and cosine, clipping, evaluation, checkpoints.

Built in chapter 7. The recipe is the one of GPT-2's open reproductions: weight decay for matrices
only, a learning rate that climbs and then falls to a tenth, gradients of bounded length.
Losses are in nats per token. A "step" is one update of the weights.
"""

from __future__ import annotations

import json
import math
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm.auto import tqdm

from gptlib.batches import get_batch
from gptlib.bigram import estimate_loss

Callback = Callable[[int, nn.Module, dict[str, Any]], None]
Evaluate = Callable[[nn.Module], dict[str, Any]]
FORMAT = "gptlib checkpoint 1"


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run, apart from the model and the data.

    One step sees batch_size * grad_accumulation * context_length tokens. warmup_steps None means a
    tenth of the steps, at most 100. grad_clip None means no clipping. context_length None means
    the model's. seed decides the order of the data and what dropout drops.

    Errors: ValueError that names the field and the allowed range.
    """

    steps: int = 1000
    batch_size: int = 32
    lr: float = 1e-3
    min_lr_ratio: float = 0.1
    warmup_steps: int | None = None
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    grad_clip: float | None = 1.0
    grad_accumulation: int = 1
    eval_every: int = 100
    eval_batches: int = 20
    seed: int = 0
    device: str = "auto"
    context_length: int | None = None

    def __post_init__(self) -> None:
        if self.warmup_steps is None:
            object.__setattr__(self, "warmup_steps", min(100, self.steps // 10))
        whole = dict.fromkeys(
            ("steps", "batch_size", "grad_accumulation", "eval_every", "eval_batches"),
            (1, math.inf),
        )
        whole |= {"warmup_steps": (0, self.steps), "seed": (0, 2**63 - 1)}
        whole |= {} if self.context_length is None else {"context_length": (1, math.inf)}
        real = {"lr": (0, math.inf), "weight_decay": (0, math.inf), "min_lr_ratio": (0, 1)}
        real |= {} if self.grad_clip is None else {"grad_clip": (0, math.inf)}
        for kind, limits in ((int, whole), ((int, float), real)):
            for name, (low, high) in limits.items():
                _check_number(name, getattr(self, name), kind, low, high)
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas must be two numbers, each in [0, 1); got {self.betas!r}.")


def _check_number(name: str, value: Any, kind: Any, low: float, high: float) -> None:
    above = name in ("lr", "grad_clip")  # these must not be 0 itself
    if isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value):
        if low <= value <= high and not (above and value == low):
            return
    noun = "a whole number" if kind is int else "a finite number"
    span = f"above {low}" if above else f"{low} or more" if high == math.inf else f"{low} to {high}"
    raise ValueError(f"{name} must be {noun}, {span}; got {value!r}.")


class History(list):
    """What a run recorded: a list with one dict per evaluation, the first before any update.

    Keys: step, train_loss, val_loss (nats per token), lr, grad_norm (before clipping), tokens
    (seen so far), seconds (spent on training, evaluation not counted).

    history.column("val_loss") -> [4.17, 2.51, …]
    """

    def column(self, name: str) -> list[Any]:
        """The values of one key, in order of the steps."""
        return [record[name] for record in self]

    def to_json(self, path: str | os.PathLike | None = None) -> str:
        """The records as JSON text, written to path too where one is given."""
        text = json.dumps(list(self), indent=1) + "\n"
        if path is not None:
            with replacing(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
        return text


def learning_rate(step: int, config: TrainConfig) -> float:
    """The learning rate of update number `step`, counted from 1.

    It climbs in a straight line to config.lr, reached at warmup_steps, then falls along half a
    cosine to lr * min_lr_ratio at the last step (I. Loshchilov, F. Hutter, "SGDR", 2017).

    steps=100, warmup_steps=10, lr=1e-3: step 5 -> 5e-4, 10 -> 1e-3, 55 -> 5.5e-4, 100 -> 1e-4
    """
    if step < config.warmup_steps:
        return config.lr * step / config.warmup_steps
    decay_steps = max(1, config.steps - config.warmup_steps)
    progress = min(1.0, (step - config.warmup_steps) / decay_steps)
    share = 0.5 * (1 + math.cos(math.pi * progress))  # 1 at the peak, 0 at the end
    return config.lr * (config.min_lr_ratio + share * (1 - config.min_lr_ratio))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
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


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (I. Loshchilov, F. Hutter, 2019) over the two groups of the model's parameters."""
    groups = parameter_groups(model, config.weight_decay)
    # Fused: one kernel updates all parameters, instead of several small ones for each.
    fused = next(model.parameters()).device.type in ("cpu", "cuda")
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=fused)


def pick_device(name: str = "auto") -> torch.device:
    """The device to train on; "auto" takes CUDA, then Apple's MPS, then the CPU.

    Errors: ValueError if this machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f'device must be "auto", "cpu", or a GPU that this machine has ("cuda", "mps"); got '
            f"{name!r}."
        ) from error


@contextmanager
def measuring(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, no gradients, random numbers put back: looking does not change the run."""
    was_training = model.training
    gpus = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(gpus):
            yield
    finally:
        model.train(was_training)


def backward(model: nn.Module, batches: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> float:
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
    """A training run under way: what `train` turns the handle of, and what a checkpoint keeps."""

    def __init__(self, model, train_data, config, starts=None):
        self.model, self.train_data, self.config, self.starts = model, train_data, config, starts
        self.device = pick_device(config.device)
        model.to(self.device)
        self.optimizer = make_optimizer(model, config)
        self.generator = torch.Generator().manual_seed(config.seed)  # the order of the data
        torch.manual_seed(config.seed)  # dropout
        self.metrics = {"step": 0, "loss": None, "lr": 0.0, "grad_norm": None}
        self.metrics |= {"tokens": 0, "seconds": 0.0}
        self.history = History()

    def state(self) -> dict[str, Any]:
        """All that going on exactly needs, next to the weights."""
        state = {"config": asdict(self.config), "history": list(self.history)}
        state |= {"metrics": self.metrics, "optimizer": self.optimizer.state_dict()}
        state |= {"data_rng": self.generator.get_state(), "cpu_rng": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state(self.device)
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to what `state` returned. Errors: ValueError for a run with other settings."""
        free = ("device", "eval_every", "eval_batches")  # these do not change the updates
        now, then = asdict(self.config), state["config"]
        other = [name for name in now if name not in free and now[name] != then.get(name)]
        if other:
            raise ValueError(
                f"resume: the checkpoint's run had another {', '.join(other)}: "
                f"{[then.get(name) for name in other]}; now {[now[name] for name in other]}. "
                f"Use the same values, or begin a new run from its weights by load_checkpoint."
            )
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["data_rng"])
        torch.set_rng_state(state["cpu_rng"])
        if self.device.type == "cuda" and "cuda_rng" in state:
            torch.cuda.set_rng_state(state["cuda_rng"], self.device)
        self.metrics, self.history = state["metrics"], History(state["history"])

    def update(self) -> None:
        """One step: gradients of fresh batches, clipped, and one update of the weights."""
        c, began, step = self.config, time.perf_counter(), self.metrics["step"] + 1
        shape = (c.batch_size, c.context_length)
        rest = {"starts": self.starts, "generator": self.generator, "device": self.device}
        batches = [get_batch(self.train_data, *shape, **rest) for _ in range(c.grad_accumulation)]
        lr = learning_rate(step, c)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad()
        loss = backward(self.model, batches)
        limit = math.inf if c.grad_clip is None else c.grad_clip
        grad_norm = nn.utils.clip_grad_norm_(self.model.parameters(), limit).item()
        # Before the update, so that the weights of the last good step are still there to look at.
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            raise FloatingPointError(
                f"The loss is {loss} and the gradient's length {grad_norm} at step {step}, lr "
                f"{lr:.2g}. Try a lower lr, more warmup_steps or grad_clip=1.0, and look for a "
                f"division by 0 or a row of scores that is masked everywhere."
            )
        self.optimizer.step()
        tokens = self.metrics["tokens"] + c.grad_accumulation * c.batch_size * c.context_length
        seconds = self.metrics["seconds"] + time.perf_counter() - began
        self.metrics = {"step": step, "loss": loss, "lr": lr, "grad_norm": grad_norm}
        self.metrics |= {"tokens": tokens, "seconds": seconds}

    def is_evaluated(self) -> bool:
        """Whether this step is one with an evaluation."""
        step = self.metrics["step"]
        return step % self.config.eval_every == 0 or step == self.config.steps

    def look(self, evaluate: Evaluate, callbacks: Sequence[Callback]) -> dict[str, Any]:
        """Evaluate if this is a step for it, and show the step to the callbacks."""
        step, shown = self.metrics["step"], dict(self.metrics)
        if self.is_evaluated():
            with measuring(self.model):
                shown |= evaluate(self.model)
            self.history.append({k: v for k, v in shown.items() if k != "loss"})
        for callback in callbacks:
            with measuring(self.model):
                callback(step, self.model, shown)
        return shown


def train(
    model: nn.Module,
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
) -> History:
    """Train the model in place for config.steps updates; returns what was recorded on the way.

    train_data, val_data: (N) token ids; val_data may be None. starts, val_starts: the positions
    where windows begin, as in get_batch.
    evaluate(model) -> dict of numbers, in place of the estimates of train_loss and val_loss. It
    runs before the first update, every eval_every steps and after the last.
    callbacks: each is called as callback(step, model, metrics), before the first update and after
    every one. metrics: step, loss (this batch), lr, grad_norm, tokens, seconds, and in steps with
    an evaluation its numbers. Both find the model in evaluation mode, and whatever random numbers
    they draw, the run stays the same.
    checkpoint: a file, written anew at each evaluation. resume: such a file, to go on from there
    as if nothing had happened.

    Errors: ValueError for data shorter than a window, a device that is not there, a checkpoint of
    another run; FloatingPointError when loss or gradient are no longer finite. Built in chapter 7.
    """
    config = replace(config, context_length=_context_length(model, config))
    _check_data("train_data", train_data, config.context_length)
    if val_data is not None:
        _check_data("val_data", val_data, config.context_length)
    run = Run(model, train_data, config, starts)
    if resume is not None:
        load_checkpoint(resume, model, run)
    if evaluate is None:
        splits = {"train_loss": (train_data, starts), "val_loss": (val_data, val_starts)}
        evaluate = partial(_estimate_losses, splits=splits, config=config)
    was_training, losses = model.training, {}
    model.train()
    bar = tqdm(total=config.steps, initial=run.metrics["step"], disable=not progress, unit="step")
    try:
        if resume is None:
            run.look(evaluate, callbacks)
        while run.metrics["step"] < config.steps:
            run.update()
            shown = run.look(evaluate, callbacks)
            bar.update()
            losses |= {k: f"{v:.3f}" for k, v in shown.items() if "loss" in k}
            bar.set_postfix(losses, refresh=False)
            if checkpoint is not None and run.is_evaluated():
                save_checkpoint(checkpoint, model, run)
    finally:
        bar.close()
        model.train(was_training)
    return run.history


def save_checkpoint(path: str | os.PathLike, model: nn.Module, run: Run | None = None) -> None:
    """Write the weights to path, and what is needed to go on with the run where one is given.

    The file at path is either the old one or the whole new one, whenever the power goes.
    """
    state = {"format": FORMAT, "model": model.state_dict(), "run": run.state() if run else None}
    with replacing(path) as temporary:
        torch.save(state, temporary)


def load_checkpoint(path: str | os.PathLike, model: nn.Module, run: Run | None = None) -> History:
    """Put the weights of a checkpoint into the model; returns the history of its run.

    With a run, its optimiser, step and random numbers come back too. Only tensors and plain values
    are read, never code: a checkpoint from a stranger can be wrong, but it cannot do harm.

    Errors: ValueError if the file is damaged, no checkpoint, or one of a model of another shape.
    The model is unchanged then.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no checkpoint at {path}.")
    try:
        with zipfile.ZipFile(path) as archive:
            if (damaged := archive.testzip()) is not None:
                raise ValueError(f"its part {damaged} is not what was written")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise ValueError(f"it does not say {FORMAT!r}")
    except Exception as error:  # many kinds, from zipfile, pickle and torch: the file is no good
        raise ValueError(
            f"{path} is not a whole checkpoint of gptlib ({error}). Take an earlier one, or train "
            f"again; a file that came from elsewhere may have been cut short on the way."
        ) from error
    _check_weights(path, model.state_dict(), state["model"])
    if run is not None:
        if state["run"] is None:
            raise ValueError(f"{path} holds weights only, without a run to resume.")
        run.restore(state["run"])
    model.load_state_dict(state["model"])
    return History(state["run"]["history"] if state["run"] else [])


def _check_weights(path: Any, ours: dict[str, torch.Tensor], theirs: Any) -> None:
    shapes = [{name: tuple(t.shape) for name, t in weights.items()} for weights in (ours, theirs)]
    if shapes[0] != shapes[1]:
        name = min(k for k, _ in shapes[0].items() ^ shapes[1].items())
        raise ValueError(
            f"{path} is a checkpoint of another model: {name} is {shapes[1].get(name, 'not there')}"
            f" in the file and {shapes[0].get(name, 'not there')} in the model."
        )


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary name to write to, renamed to path at the end, or removed if something failed."""
    temporary = Path(f"{os.fspath(path)}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _estimate_losses(model: nn.Module, splits: dict[str, Any], config: TrainConfig) -> dict:
    # The same windows every time: two evaluations then differ by the model and not by luck.
    return {
        name: estimate_loss(
            model,
            data,
            batch_size=config.batch_size,
            context_length=config.context_length,
            n_batches=config.eval_batches,
            generator=torch.Generator().manual_seed(config.seed + 1),
            starts=starts,
        )
        for name, (data, starts) in splits.items()
        if data is not None
    }


def _context_length(model: nn.Module, config: TrainConfig) -> int:
    longest = getattr(getattr(model, "config", model), "context_length", None)
    wanted = config.context_length or longest
    if wanted is None:
        raise ValueError("context_length must be set in TrainConfig: this model has none itself.")
    if longest is not None and wanted > longest:
        raise ValueError(
            f"context_length must be 1 to {longest}, the model's own; TrainConfig has {wanted}."
        )
    return wanted


def _check_data(name: str, data: torch.Tensor, context_length: int) -> None:
    if not torch.is_tensor(data) or data.dim() != 1 or len(data) < context_length + 1:
        got = f"shape {tuple(data.shape)}" if torch.is_tensor(data) else type(data).__name__
        raise ValueError(
            f"{name} must be a tensor of one axis with at least context_length + 1 = "
            f"{context_length + 1} token ids; got {got}. Use more text or a shorter context_length."
        )

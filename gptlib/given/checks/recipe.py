"""What the training of chapter 7 asks of its settings, its data and its files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any

import torch

from gptlib.given.checks.tensors import check_range
from gptlib.given.models import LanguageModel, context_length_of, vocab_size_of

# NumPy's numbers are welcome too; they become Python's, which any file can hold.
PLAIN = {Integral: int, Real: float, Sequence: lambda pair: tuple(float(number) for number in pair)}
COUNT = (Integral, "a whole number, 1 or more", lambda value: value >= 1)
NOT_NEGATIVE = (Real, "a finite number, 0 or more", lambda value: 0 <= value < math.inf)
POSITIVE = (Real, "a finite number above 0", lambda value: 0 < value < math.inf)
RANGES = {
    **dict.fromkeys(("steps", "batch_size", "grad_accumulation", "context_length"), COUNT),
    **dict.fromkeys(("eval_every", "eval_batches"), COUNT),
    **dict.fromkeys(("lr", "grad_clip"), POSITIVE),
    "min_lr_ratio": (Real, "a number from 0 to 1", lambda value: 0 <= value <= 1),
    "weight_decay": NOT_NEGATIVE,
    "seed": (Integral, "a whole number from 0 to 2**63 - 1", lambda value: 0 <= value < 2**63),
    "betas": (
        Sequence,
        "two numbers, each from 0 to below 1",
        lambda value: len(value) == 2 and all(isinstance(b, Real) and 0 <= b < 1 for b in value),
    ),
}


def check_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a TrainConfig as plain numbers, each in its range.

    warmup_steps None becomes a tenth of the steps, at most 100.
    """
    plain = dict(settings)
    for name, (kind, allowed, fits) in RANGES.items():
        value = settings[name]
        if value is None and name in ("grad_clip", "context_length"):
            continue
        if not isinstance(value, kind) or isinstance(value, bool | str) or not fits(value):
            raise ValueError(f"{name} must be {allowed}; got {value!r}.")
        plain[name] = PLAIN[kind](value)
    warmup, steps = plain["warmup_steps"], plain["steps"]
    if warmup is None:
        warmup = plain["warmup_steps"] = min(100, steps // 10)
    if not (isinstance(warmup, Integral) and 0 <= warmup <= steps):
        raise ValueError(
            f"warmup_steps must be a whole number from 0 to steps, {steps}; got {warmup!r}."
        )
    return plain


def check_context_length(wanted: int | None, model: LanguageModel) -> int:
    """How long the windows are: as wanted, or as long as the model can read."""
    longest = context_length_of(model)
    wanted = wanted or longest
    if wanted is None:
        raise ValueError("context_length must be set in TrainConfig: this model has none itself.")
    if longest is not None and wanted > longest:
        raise ValueError(
            f"context_length must be 1 to {longest}, the model's own; TrainConfig has {wanted}."
        )
    return wanted


def check_data(context_length: int, **parts: torch.Tensor | None) -> None:
    """Each part is a tensor (N) of ids that holds at least one window; val_data may be None."""
    for name, data in parts.items():
        if data is None and name == "val_data":
            continue
        if not torch.is_tensor(data) or data.dim() != 1 or len(data) < context_length + 1:
            got = f"shape {tuple(data.shape)}" if torch.is_tensor(data) else type(data).__name__
            raise ValueError(
                f"{name} must be a tensor of one axis with at least context_length + 1 = "
                f"{context_length + 1} token ids; got {got}. Use more text or a shorter "
                f"context_length."
            )


def check_finite(step: int, lr: float, loss: float, grad_norm: float) -> None:
    """The loss and the gradient are finite. Errors: FloatingPointError says what to try."""
    if not (math.isfinite(loss) and math.isfinite(grad_norm)):
        raise FloatingPointError(
            f"At step {step} (lr {lr:.2g}) the loss is {loss} and the length of the gradient "
            f"{grad_norm}. Try a lower lr, more warmup_steps or grad_clip=1.0, and look for a "
            f"division by 0 or a row of scores that is masked from end to end."
        )


def check_shapes(path: Any, ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    """The weights of a file, theirs, have the names and shapes of the model's, ours."""
    for name in ours | theirs:
        shapes = [tuple(w[name].shape) if name in w else "missing" for w in (theirs, ours)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{path} is a checkpoint of another model: {name} is {shapes[0]} in the file and "
                f"{shapes[1]} in the model. Build the model by the saved one's configuration."
            )


def check_same_run(ours: Mapping[str, Any], theirs: Mapping[str, Any], free: Sequence[str]) -> None:
    """A run is resumed with the settings it had; those named in free may differ."""
    for name, value in theirs.items():
        if name not in free and ours.get(name) != value:
            raise ValueError(
                f"{name} must be {value!r}, as in the run to be resumed; got {ours.get(name)!r}. "
                f"For others begin a new run from its weights, load_checkpoint(path, model)."
            )


def pick_device(name: str = "auto") -> torch.device:
    """The device to train on; "auto" takes CUDA, then Apple's MPS, then the CPU.

    Errors: ValueError if this machine has no such device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        return torch.empty(0, device=torch.device(name)).device
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f'device must be "auto", "cpu", or a GPU that this machine has ("cuda", "mps"); got '
            f"{name!r}."
        ) from error


def check_vocabulary(model: LanguageModel, **parts: torch.Tensor | None) -> None:
    """The model knows every id of each part (N): looked at once here, so that no step has to."""
    for name, data in parts.items():
        if data is not None:
            check_range(name, data, vocab_size_of(model))

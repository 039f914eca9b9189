"""What the training of chapter 7 asks of its settings, its data and its files."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import torch

from gptlib.given.checks.tensors import check_range
from gptlib.given.models import LanguageModel, context_length_of, vocab_size_of

# NumPy's numbers are welcome too; they become Python's, which any file can hold.
PLAIN: dict[Any, Callable[[Any], Any]] = {
    Integral: int,
    Real: float,
    Sequence: lambda pair: tuple(float(number) for number in pair),
}
Range = tuple[Any, str, Callable[[Any], bool]]
COUNT: Range = (Integral, "a whole number, 1 or more", lambda value: value >= 1)
NOT_NEGATIVE: Range = (Real, "a finite number, 0 or more", lambda value: 0 <= value < math.inf)
POSITIVE: Range = (Real, "a finite number above 0", lambda value: 0 < value < math.inf)
RANGES: dict[str, Range] = {
    **dict.fromkeys(("steps", "batch_size", "grad_accumulation", "context_length"), COUNT),
    **dict.fromkeys(("eval_every", "eval_batches"), COUNT),
    **dict.fromkeys(("lr", "grad_clip"), POSITIVE),
    "min_lr_ratio": (Real, "a number from 0 to 1", lambda value: 0 <= value <= 1),
    "weight_decay": NOT_NEGATIVE,
    "seed": (Integral, "a whole number from 0 to 2**63 - 1", lambda value: 0 <= value < 2**63),
    "betas": (
        Sequence,
        "two numbers, each from 0 to below 1",
        lambda value: (
            len(value) == 2 and all(isinstance(b, Real) and 0 <= float(b) < 1 for b in value)
        ),
    ),
}


def check_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a TrainConfig as plain numbers, each in its range; None stays unset."""
    plain = dict(settings)
    for name, (kind, allowed, fits) in RANGES.items():
        value = settings[name]
        if value is None and name in ("grad_clip", "context_length"):
            continue
        if not isinstance(value, kind) or isinstance(value, bool | str) or not fits(value):
            raise ValueError(f"{name} must be {allowed}; got {value!r}.")
        plain[name] = PLAIN[kind](value)
    warmup: Any = plain["warmup_steps"]
    steps: Any = plain["steps"]
    if warmup is None:
        return plain
    if not (isinstance(warmup, Integral) and 0 <= int(warmup) <= steps) or isinstance(warmup, bool):
        raise ValueError(
            f"warmup_steps must be a whole number from 0 to steps, {steps}; got {warmup!r}. None "
            f"is a tenth of the steps, at most 100."
        )
    return {**plain, "warmup_steps": int(warmup)}


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


def check_start(
    model: LanguageModel, config: Any, train_data: Any, val_data: Any
) -> tuple[Any, torch.Tensor, torch.Tensor | None]:
    """The config with its windows' length filled in, and both parts of the data as tensors (N)."""
    length = check_context_length(config.context_length, model)
    config = replace(config, context_length=length)
    train_data, val_data = check_data(config, train_data, val_data)
    check_vocabulary(model, train_data=train_data, val_data=val_data)
    return config, train_data, val_data


def check_data(config: Any, train_data: Any, val_data: Any) -> list[torch.Tensor | None]:
    """Both as tensors (N) of ids that hold at least one window; val_data may be None.

    A NumPy array is welcome too, and a memory map stays one: nothing of it is copied.
    """
    rows: list[Any] = []
    for name, data in (("train_data", train_data), ("val_data", val_data)):
        row = _from_numpy(data) if hasattr(data, "__array_interface__") else data
        if row is None and name == "val_data":
            rows.append(row)
            continue
        got = f"shape {tuple(row.shape)}" if torch.is_tensor(row) else type(data).__name__
        wanted = (
            f"{name} must be a tensor of one axis with at least context_length + 1 = "
            f"{config.context_length + 1} token ids; got {got}."
        )
        if not torch.is_tensor(row) or row.dim() != 1:
            raise ValueError(f"{wanted} torch.tensor(ids) makes one of a list of ids.")
        if len(row) < config.context_length + 1:
            raise ValueError(f"{wanted} Use more text or a shorter context_length.")
        if row.is_floating_point() or row.is_complex() or row.dtype == torch.bool:
            raise ValueError(f"{name} must hold whole numbers, token ids; got {row.dtype}.")
        rows.append(row)
    return rows


def _from_numpy(array: Any) -> Any:
    """A NumPy array as a tensor that shares its memory; as it is where torch has no such kind."""
    with warnings.catch_warnings(), suppress(TypeError, ValueError):
        warnings.simplefilter("ignore")  # that it may be read-only: nobody writes to it
        return torch.as_tensor(array)
    return array


def check_finite(step: int, lr: float, loss: float, grad_norm: float) -> None:
    """The loss and the gradient are finite. Errors: FloatingPointError says what to try."""
    if not (math.isfinite(loss) and math.isfinite(grad_norm)):
        raise FloatingPointError(
            f"At step {step} (lr {lr:.2g}) the loss is {loss} and the length of the gradient "
            f"{grad_norm}. Try a lower lr, more warmup_steps or grad_clip=1.0, and look for a "
            f"division by 0 or a row of scores that is masked from end to end."
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

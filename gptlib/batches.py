"""From one long row of ids to training data: a split in two, and batches of windows.

Built in chapter 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

import torch
from torch import Tensor

from gptlib.given.checks.tensors import (
    check_count,
    check_range,
    check_starts,
    check_window,
    is_whole_type,
)


def as_row(values: Sequence[int] | Tensor, name: str) -> Tensor:
    """`values` as a tensor of whole numbers, shape (N,). Errors: ValueError names `name`."""
    wanted = f"{name} must be one row of whole numbers, shape (N,); got "
    try:
        row = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{wanted}{type(values).__name__}, which holds something else.") from error
    if row.shape == (0,):
        return row.long()  # an empty list has no type yet
    if row.ndim != 1 or not is_whole_type(row.dtype):
        raise ValueError(f"{wanted}shape {tuple(row.shape)} of {row.dtype}.")
    return row


def train_val_split(
    ids: Sequence[int] | Tensor, val_fraction: float = 0.1
) -> tuple[Tensor, Tensor]:
    """Cut `ids` (N,) once: the first part to train on, the last `val_fraction` to validate on.

    Both come back as int64. The cut is in one place, not at random: windows of a text overlap, so
    a random choice of them would put parts of the validation text into training.
    Errors: ValueError when a part would be empty.

    train_val_split(range(10), 0.2) -> ([0, 1, ..., 7], [8, 9])
    """
    if not (isinstance(val_fraction, Real) and 0 < val_fraction < 1):
        raise ValueError(
            f"val_fraction is {val_fraction!r}: it must lie between 0 and 1; 0.1 keeps the last "
            "tenth for validation."
        )
    data = as_row(ids, "ids").long()
    n_train = int(len(data) * (1 - val_fraction))
    if not 0 < n_train < len(data):
        advice = "a longer text" + " or a val_fraction nearer to 0.5" * (len(data) > 1)
        raise ValueError(
            f"ids has length {len(data)}: with val_fraction={val_fraction} one of the two parts "
            f"would be empty. Give {advice}."
        )
    return data[:n_train], data[n_train:]


def usable_starts(starts: Sequence[int] | Tensor, n_ids: int, n_windows: int) -> Tensor:
    """Those of `starts` (S,) that leave room for a whole window: the positions below `n_windows`.

    usable_starts([0, 4, 8], n_ids=10, n_windows=7) -> [0, 4]
    """
    starts = as_row(starts, "starts").long()
    check_starts(starts, n_ids, n_windows)
    usable = starts < n_windows
    return starts if usable.all() else starts[usable]  # as a rule all are


def get_batch(
    data: Sequence[int] | Tensor,
    batch_size: int,
    context_length: int,
    *,
    starts: Sequence[int] | Tensor | None = None,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
    vocab_size: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Random windows of `data` (N,) as inputs x and targets y, both (B, T) int64.

    y is x shifted by one: y[b, t] is the id that follows x[b, t]. With `starts`, a row of
    positions, every window begins at one of them, such as the first id of a story; those too near
    the end for a whole window are passed over. A `generator` of the same seed draws the same
    windows. Errors: ValueError when `data` is shorter than context_length + 1, and for an id that
    is drawn and negative or, where `vocab_size` is given, not below it.

    get_batch(torch.arange(4), 1, 3) -> ([[0, 1, 2]], [[1, 2, 3]])
    """
    data = as_row(data, "data")
    check_count(batch_size=batch_size, context_length=context_length)
    check_window(len(data), context_length)
    n_windows = len(data) - context_length  # a window holds context_length + 1 ids: x and one more
    if starts is None:
        first = torch.randint(n_windows, (batch_size, 1), generator=generator)  # (B, 1)
    else:
        starts = usable_starts(starts, len(data), n_windows)
        first = starts[torch.randint(len(starts), (batch_size, 1), generator=generator)]  # (B, 1)
    inputs = first + torch.arange(context_length)  # (B, T) positions in data
    x, y = data[inputs].long(), data[inputs + 1].long()  # (B, T), (B, T)
    check_range("data", torch.stack((x, y)), vocab_size)
    return x.to(device), y.to(device)

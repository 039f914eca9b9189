"""From one long row of ids to training data: a split in two, and batches of windows.

Built in chapter 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def as_row(values: Sequence[int] | Tensor, name: str) -> Tensor:
    """`values` as a tensor of whole numbers, shape (N,). Errors: ValueError names `name`."""
    row = torch.as_tensor(values)
    if row.ndim != 1 or row.is_floating_point() or row.dtype in (torch.bool, torch.complex64):
        raise ValueError(
            f"{name} must be one row of whole numbers, shape (N,); got shape "
            f"{tuple(row.shape)} of {row.dtype}."
        )
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
    if not 0 < val_fraction < 1:
        raise ValueError(
            f"val_fraction is {val_fraction}: it must lie between 0 and 1; 0.1 keeps the last "
            "tenth for validation."
        )
    data = as_row(ids, "ids").long()
    n_train = int(len(data) * (1 - val_fraction))
    if not 0 < n_train < len(data):
        raise ValueError(
            f"ids has length {len(data)}: with val_fraction={val_fraction} one of the two parts "
            "would be empty. Give a longer text."
        )
    return data[:n_train], data[n_train:]


def usable_starts(starts: Sequence[int] | Tensor, n_ids: int, n_windows: int) -> Tensor:
    """Those of `starts` (S,) that leave room for a whole window: the positions below `n_windows`.

    usable_starts([0, 4, 8], n_ids=10, n_windows=7) -> [0, 4]
    """
    starts = as_row(starts, "starts").long()
    outside = starts[(starts < 0) | (starts >= n_ids)]
    if len(outside):
        raise ValueError(
            f"starts holds {int(outside[0])}, outside data: positions go from 0 to {n_ids - 1}."
        )
    usable = starts[starts < n_windows]
    if not len(usable):
        raise ValueError(
            f"starts has no position from 0 to {n_windows - 1}, so no window of context_length + 1 "
            "ids fits. Give earlier starts or a smaller context_length."
        )
    return usable


def get_batch(
    data: Sequence[int] | Tensor,
    batch_size: int,
    context_length: int,
    *,
    starts: Sequence[int] | Tensor | None = None,
    generator: torch.Generator | None = None,
    device: torch.device | str | None = None,
) -> tuple[Tensor, Tensor]:
    """Random windows of `data` (N,) as inputs x and targets y, both (B, T) int64.

    y is x shifted by one: y[b, t] is the id that follows x[b, t]. With `starts`, a row of
    positions, every window begins at one of them, such as the first id of a story; those too near
    the end for a whole window are passed over. A `generator` of the same seed draws the same
    windows. Errors: ValueError when `data` is shorter than context_length + 1.

    get_batch(torch.arange(4), 1, 3) -> ([[0, 1, 2]], [[1, 2, 3]])
    """
    data = as_row(data, "data")
    for name, value in [("batch_size", batch_size), ("context_length", context_length)]:
        if value < 1:
            raise ValueError(f"{name} is {value}: it must be at least 1.")
    n_windows = len(data) - context_length  # a window holds context_length + 1 ids: x and one more
    if n_windows < 1:
        raise ValueError(
            f"data has length {len(data)}, shorter than context_length + 1 = "
            f"{context_length + 1}. Give a longer text or a smaller context_length."
        )
    if starts is None:
        first = torch.randint(n_windows, (batch_size, 1), generator=generator)  # (B, 1)
    else:
        starts = usable_starts(starts, len(data), n_windows)
        first = starts[torch.randint(len(starts), (batch_size, 1), generator=generator)]  # (B, 1)
    inputs = first + torch.arange(context_length)  # (B, T) positions in data
    x, y = data[inputs].long(), data[inputs + 1].long()  # (B, T), (B, T)
    return x.to(device), y.to(device)

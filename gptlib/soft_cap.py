"""A soft cap: numbers that may come near to a limit and never pass it.

Built in chapter 9.
"""

from __future__ import annotations

import torch


def soft_cap(x: torch.Tensor, cap: float | None) -> torch.Tensor:
    """Bend x so that it stays between -cap and cap, and small numbers stay as they are; any shape.

    cap · tanh(x / cap): near 0 the slope is 1, far out it is 0. None leaves x alone.
    Source: Gemma Team, "Gemma 2: Improving Open Language Models at a Practical Size", 2024.

    soft_cap(torch.tensor([1.0, 30.0, 300.0]), 30.0) -> [0.9996, 22.8478, 30.0]
    """
    return x if cap is None else cap * torch.tanh(x / cap)

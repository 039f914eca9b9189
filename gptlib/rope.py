"""RoPE: positions as turns. A query and a key are rotated by their places before they meet.

Built in chapter 9. Nothing is added to the tokens and nothing is learned. What a query and a key
have in common then depends on how far apart they stand, and no more on where.

Tensor letters: T tokens, hs numbers a head, in hs / 2 pairs.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from gptlib.given.checks.numbers import is_number
from gptlib.given.checks.tensors import check_count


def rope_speeds(head_size: int, base: float = 10_000.0) -> torch.Tensor:
    """How far each pair turns from one token to the next, in radians: (hs / 2), from 1 downwards.

    base ** (-2·i / hs) for pair i. The first pair is round after 6 tokens; with a larger base the
    last ones are slower. Source: J. Su et al., "RoFormer: Enhanced Transformer with Rotary Position
    Embedding", 2021.

    rope_speeds(4, base=100.0) -> [1, 0.1]
    """
    return base ** (-torch.arange(0, head_size, 2) / head_size)  # (hs / 2)


def scaled_base(base: float, scaling: float, head_size: int) -> float:
    """The base with which the slowest pair turns `scaling` times as slowly, and the first as ever.

    A model trained on T tokens so meets, over scaling · T tokens, no angle of the slowest pair that
    it does not know, while neighbours stay as far apart as they were. Errors: ValueError for a
    scaling below 1.
    Source: bloc97, "NTK-Aware Scaled RoPE", 2023; B. Peng et al., "YaRN: Efficient Context Window
    Extension of Large Language Models", 2023, section 3.1.

    scaled_base(100.0, 2.0, head_size=4) -> 400.0  # the speeds 1 and 0.1 become 1 and 0.05
    """
    if not (is_number(scaling) and 1 <= scaling < math.inf):
        raise ValueError(f"scaling must be a finite number, 1 or more; got {scaling!r}.")
    # With a single pair there is none that could be slower than the first.
    return base * scaling ** (head_size / (head_size - 2)) if head_size > 2 else base


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turn every pair of numbers by its angle: (…, T, hs) -> (…, T, hs); cos, sin are (T, hs / 2).

    Number i makes a pair with number i + hs / 2, as in Llama's published weights; in the paper it
    is the neighbour. Which are paired does not matter, as long as it is always the same.

    A quarter turn takes (1, 0) to (0, 1), and the length stays.

    rotate(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 1), torch.ones(1, 1)) -> [[0, 1]]
    """
    a, b = x.chunk(2, dim=-1)  # (…, T, hs / 2) each
    return torch.cat((a * cos - b * sin, a * sin + b * cos), dim=-1)  # (…, T, hs)


class Rope(nn.Module):
    """The turns of all places, made once: x (B, n_head, T, hs) -> the same shape, rotated.

    start: the place of the first token, where others were read before. For texts longer than those
    of the training, the base can be another one, see `scaled_base`.

    Errors: ValueError for an odd head_size, a base of 1 or less, and for places behind
    context_length. Built in chapter 9.

    Rope(4, 8)(torch.ones(1, 1, 1, 4), start=1)[0, 0, 0] -> [-0.3012, 0.9900, 1.3818, 1.0099]
    """

    cos: torch.Tensor
    sin: torch.Tensor

    def __init__(self, head_size: int, context_length: int, base: float = 10_000.0):
        super().__init__()
        check_rope(head_size, base)
        check_count(context_length=context_length)
        places = torch.arange(context_length)[:, None]  # (T, 1)
        angles = places * rope_speeds(head_size, base)  # (T, hs / 2)
        # Buffers, and not saved: they can be made again from three numbers.
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, x: torch.Tensor, start: int = 0) -> torch.Tensor:
        end = start + x.size(-2)
        if end > self.cos.size(0):
            raise ValueError(
                f"x reaches to place {end}; allowed are 1 to context_length {self.cos.size(0)}."
            )
        return rotate(x, self.cos[start:end], self.sin[start:end])


def check_rope(head_size: int, base: float) -> None:
    """head_size splits into pairs, and base is a number that gives turns."""
    check_count(head_size=head_size)
    if head_size % 2:
        raise ValueError(f"head_size must be even, for pairs that can turn; got {head_size}.")
    if not (is_number(base) and 1 < base < math.inf):
        raise ValueError(f"base must be a finite number above 1; got {base!r}.")

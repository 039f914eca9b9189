"""The exercise of chapter 11 about foreign weights: GPT-2's names and its turned matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from gptlib.exercises.task import Mistake, Task

Weights = dict[str, torch.Tensor]
OURS = {
    "ln_1": "norm_1", "attn.c_attn": "attention.qkv", "attn.c_proj": "attention.project",
    "ln_2": "norm_2", "mlp.c_fc": "feed_forward.expand", "mlp.c_proj": "feed_forward.project",
}  # fmt: skip


def renamed(theirs: Weights) -> Weights:
    """The weights of a block of GPT-2 under our names, and its matrices as nn.Linear has them."""
    names = {
        "ln_1": "norm_1", "attn.c_attn": "attention.qkv", "attn.c_proj": "attention.project",
        "ln_2": "norm_2", "mlp.c_fc": "feed_forward.expand", "mlp.c_proj": "feed_forward.project",
    }  # fmt: skip
    ours = {}
    for name, weight in theirs.items():
        part, kind = name.rsplit(".", 1)
        ours[f"{names[part]}.{kind}"] = weight.t() if weight.dim() == 2 else weight
    return ours


def blocks(seed: int) -> Iterator[tuple[Any, ...]]:
    """A block of two numbers a token, and one of four, drawn."""
    draw = torch.Generator().manual_seed(seed)
    for C in (2, 4):
        shapes = {
            "ln_1": (C,), "attn.c_attn": (C, 3 * C), "attn.c_proj": (C, C), "ln_2": (C,),
            "mlp.c_fc": (C, 4 * C), "mlp.c_proj": (4 * C, C),
        }  # fmt: skip
        block = {}
        for name, shape in shapes.items():
            block[f"{name}.weight"] = torch.randn(shape, generator=draw).round(decimals=2)
            block[f"{name}.bias"] = torch.randn(shape[-1], generator=draw).round(decimals=2)
        yield (block,)


def _by(
    turned: Callable[[str, torch.Tensor], bool] = lambda part, weight: weight.dim() == 2,
    names: dict[str, str] = OURS,
    biases: bool = True,
    flip: Callable[[torch.Tensor], torch.Tensor] = lambda weight: weight.t(),
) -> Callable[[Weights], Weights]:
    """The same with other matrices turned, other names, no biases, another way to turn."""

    def renamed(theirs: Weights) -> Weights:
        return {
            f"{names[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": flip(weight)
            if turned(name.rpartition(".")[0], weight)
            else weight
            for name, weight in theirs.items()
            if biases or name.endswith("weight")
        }

    return renamed


def _swapped(one: str, other: str) -> dict[str, str]:
    return OURS | {one: OURS[other], other: OURS[one]}


RENAMED = Task(
    name="scale.renamed",
    asks="The weights of a block of GPT-2, under our names and with its matrices turned over.",
    reference=renamed,
    inputs=blocks,
    anywhere=True,
    hints=(
        "nn.Linear keeps a matrix as (out, in). GPT-2's are (in, out): x @ weight.",
        "Four matrices have to be turned, a square one among them; norms and biases stay.",
        "part, kind = name.rsplit('.', 1); ours[f'{OURS[part]}.{kind}'] = weight.t() if "
        "weight.dim() == 2 else weight",
    ),
    mistakes=(
        Mistake(
            "No matrix is turned over. Three of the four would not even fit; the square one would, "
            "and nobody would complain.",
            _by(turned=lambda part, weight: False),
        ),
        Mistake(
            "The square matrix has been left as it is. It fits either way round, so no error is "
            "raised, and the model writes nonsense.",
            _by(turned=lambda part, weight: (
                weight.dim() == 2 and weight.shape[0] != weight.shape[1]
            )),
        ),
        Mistake(
            "The matrices are given another shape by `view` or `reshape`. That deals the numbers "
            "out anew, row by row; turning over is .t().",
            _by(flip=lambda weight: weight.reshape(weight.shape[::-1])),
        ),
        Mistake(
            "The two norms have changed places. ln_1 stands before attention, as norm_1 does.",
            _by(names=_swapped("ln_1", "ln_2")),
        ),
        Mistake(
            "The biases are missing.",
            _by(biases=False),
        ),
        Mistake(
            "Attention's matrices alone are turned over; those of the feed-forward network are "
            "stored as (in, out), too.",
            _by(turned=lambda part, weight: weight.dim() == 2 and part.startswith("attn")),
        ),
    ),
    right=(
        _by(),
        lambda theirs: {
            name.replace(old, new): (w.transpose(0, 1).contiguous() if w.dim() > 1 else w)
            for old, new in OURS.items()
            for name, w in theirs.items()
            if name.startswith(f"{old}.")
        },
    ),
)  # fmt: skip

TASKS = (RENAMED,)

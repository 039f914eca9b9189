"""Weights as whole numbers of 8 bits: a quarter of the memory, for writing on a CPU.

Built in chapter 10. A model that writes one token at a time reads every weight for every token, and
does two operations with each: the larger models wait for memory, not for arithmetic. So smaller
weights are quicker weights. Each row of a matrix is divided by a number of its own, its scale, and
rounded; the same numbers that `export_model(numbers="int8")` keeps.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import nn

from gptlib.given.checks.saved import check_finite_weights

Model = TypeVar("Model", bound=nn.Module)

# PyTorch's kernel for int8 weights, where this PyTorch has one: it takes and gives bfloat16.
KERNEL = getattr(torch, "_weight_int8pack_mm", None)


def quantise(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows as whole numbers from -127 to 127, and each row's scale: (rows, C) -> (rows, C), (rows).

    The largest number of a row becomes 127 or -127. Times the scale the row is back, each number
    off by at most half a scale.

    quantise(torch.tensor([[1.27, -0.5], [0.0, 0.0]]))[0] -> [[127, -50], [0, 0]]
    """
    scale = weight.detach().abs().amax(dim=1).clamp_min(1e-12) / 127  # (rows)
    return (weight.detach() / scale[:, None]).round().to(torch.int8), scale


class Int8Linear(nn.Module):
    """An `nn.Linear` with int8 weights: x (…, C) -> (…, out). It cannot be trained.

    For few rows, such as the next token of each text, the kernel reads the whole numbers as they
    are. For many, as in a prompt, making float32 of them once costs little. Built in chapter 10.
    """

    weight: torch.Tensor
    scale: torch.Tensor
    most_rows = 16  # for which the kernel is taken

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None):
        super().__init__()
        self.register_buffer("weight", weight)  # (out, C), int8
        self.register_buffer("scale", scale)  # (out)
        self.register_buffer("bias", None if bias is None else bias.detach())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.numel() // x.size(-1)
        whole = x.size(-1) % 16 == 0  # the kernel reads beyond the end of other rows
        if KERNEL is not None and whole and rows <= self.most_rows and x.device.type == "cpu":
            flat = x.reshape(rows, -1).bfloat16()  # (rows, C)
            out = KERNEL(flat, self.weight, self.scale.bfloat16()).to(x.dtype)  # (rows, out)
            out = out.view(*x.shape[:-1], -1)  # (…, out)
        else:
            out = F.linear(x, self.weight.to(x.dtype)) * self.scale  # (…, out)
        return out if self.bias is None else out + self.bias


class Int8Embedding(nn.Module):
    """An `nn.Embedding` with int8 weights: ids (…) -> (…, C), only those rows are scaled back."""

    weight: torch.Tensor
    scale: torch.Tensor

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor):
        super().__init__()
        self.register_buffer("weight", weight)  # (rows, C), int8
        self.register_buffer("scale", scale)  # (rows)

    def forward(self, idx: torch.Tensor) -> torch.Tensor:
        return self.weight[idx] * self.scale[idx][..., None]  # (…, C)


def quantized(model: Model) -> Model:
    """A copy of the model with the weights of all linear layers and embeddings as int8.

    Norms and biases stay as they are. A head that is tied to the embedding shares its numbers
    still. The copy is asked, scored and cached like the model: `generate(Cached(quantized(model)),
    idx, 50)`. Errors: ValueError for weights that are not finite. Built in chapter 10.
    """
    check_finite_weights(model)
    model = copy.deepcopy(model).eval()
    done: dict[torch.Tensor, tuple[torch.Tensor, torch.Tensor]] = {}  # tied weights, once
    for parent in list(model.modules()):
        for name, part in list(parent.named_children()):
            if isinstance(part, nn.Linear | nn.Embedding):
                if part.weight not in done:
                    done[part.weight] = quantise(part.weight)
                numbers = done[part.weight]
                if isinstance(part, nn.Linear):
                    setattr(parent, name, Int8Linear(*numbers, part.bias))
                else:
                    setattr(parent, name, Int8Embedding(*numbers))
    return model


def weight_bytes(model: nn.Module) -> int:
    """The bytes of all weights, int8 ones and their scales included; tied ones count once.

    weight_bytes(nn.Linear(1000, 10)) -> 40_040
    """
    kept = {tensor.data_ptr(): tensor for tensor in model.state_dict().values()}
    return sum(t.numel() * t.element_size() for t in kept.values())

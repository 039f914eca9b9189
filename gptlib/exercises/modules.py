"""What is done with an answer that is a class: a module is made, given weights, and run.

Given, not built.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from gptlib.exercises.comparing import shown
from gptlib.exercises.task import Use, Wrong

BACK = "The gradient for x"


class MakeModule(Use):
    """Make a module, put weights into it, run it forward and backward.

    An input is `(settings, weights, *inputs)`: `weights` maps the names of the parameters that the
    task has fixed to tensors. What comes out is compared, after it the gradient of each of these
    parameters, and the one that goes on to what came in: a layer may learn and cut off the others.
    """

    in_order = True

    def run(self, answer: Any, *given: Any) -> dict[str, Any]:
        settings, weights, *inputs = given
        module = self.made(answer, settings, weights)
        out = module(*inputs)
        if out is None:
            raise Wrong("Its forward gives None. Is a `return` missing?")
        seen = {"What comes out": first(out)}
        seen |= self.gradients(module, seen["What comes out"], weights)
        return seen | {BACK: slope(module, inputs[0])}

    def made(self, answer: Any, settings: dict[str, Any], weights: dict[str, Any]) -> nn.Module:
        """The module with these weights. Errors: Wrong where their names or shapes are others."""
        try:
            return self.filled(answer, settings, weights)
        except Wrong as fault:
            raise Wrong(f"{fault}\n  made with {told(settings)}") from None

    def filled(self, answer: Any, settings: dict[str, Any], weights: dict[str, Any]) -> nn.Module:
        """The same, with errors that do not name the settings."""
        module = answer(**settings)
        if not isinstance(module, nn.Module):
            raise Wrong("It is no nn.Module: write `class Name(nn.Module)`.")
        own = {name: tuple(p.shape) for name, p in module.named_parameters()}
        wanted = {name: tuple(p.shape) for name, p in weights.items()}
        missing, foreign = sorted(wanted.keys() - own), sorted(own.keys() - wanted)
        if missing and (hidden := in_a_list(module)):
            raise Wrong(hidden)
        if missing:
            raise Wrong(
                f"It has no parameter {missing[0]} of shape {wanted[missing[0]]}"
                + (f"; it has {', '.join(foreign)}." if foreign else ".")
                + " Is it an nn.Parameter or a layer, set in __init__ after super().__init__()?"
            )
        if foreign:
            bias = " Linear and LayerNorm have a bias unless told otherwise."
            raise Wrong(
                f"It has a parameter too many: {foreign[0]} of shape {own[foreign[0]]}."
                + bias * foreign[0].endswith(".bias")
            )
        for name, shape in wanted.items():
            if own[name] != shape:
                raise Wrong(f"{name} has the shape {own[name]}; it should be {shape}.")
        module.load_state_dict(weights, strict=False)
        some = next(iter(weights.values()), None)
        return module.to(some) if some is not None else module

    def gradients(self, module: nn.Module, out: torch.Tensor, weights: dict[str, Any]) -> dict:
        """The gradient of each parameter, of a sum in which every output has another weight."""
        if not weights or out.device.type == "meta" or not torch.is_tensor(out):
            return {}
        if not out.requires_grad:
            raise Wrong(
                "No gradient comes back: do the layers take part in it? Is something detached, or "
                "under no_grad?"
            )
        sway = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
        (out * sway).sum().backward()
        own = dict(module.named_parameters())
        seen = {}
        for name in weights:
            grad = own[name].grad
            seen[f"The gradient of {name}"] = torch.zeros_like(own[name]) if grad is None else grad
        return seen

    def shown(self, name: str, *given: Any) -> str:
        settings, weights, *inputs = given
        call = f"{name}({told(settings)})({', '.join(map(shown, inputs))})"
        return call + " (its weights drawn at random)" * bool(weights)


def in_a_list(module: nn.Module) -> str | None:
    """What to say of layers that a module keeps in a list; None where it does not.

    in_a_list(nn.ReLU()) -> None
    """
    for name, kept in vars(module).items():
        if isinstance(kept, list | tuple) and any(isinstance(one, nn.Module) for one in kept):
            kind = type(kept).__name__
            return (
                f"`{name}` is a {kind}; a module does not look into those, and would neither train "
                "nor save what is in it. Use `nn.ModuleList`."
            )
    return None


def slope(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """The gradient for what goes into a module, of the same sum; zeros where none comes back."""
    leaf = x.detach().clone().requires_grad_()
    out = first(module(leaf.clone()))
    if torch.is_tensor(out) and out.requires_grad:
        sway = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
        # For the leaf alone: what the parameters have was seen before, and must not be added to.
        found = torch.autograd.grad((out * sway).sum(), leaf, allow_unused=True)[0]
        return torch.zeros_like(leaf) if found is None else found
    return torch.zeros_like(leaf)


def told(settings: dict[str, Any]) -> str:
    """Settings as they stand in a message.

    told({"n_embd": 4, "bias": False}) -> "n_embd=4, bias=False"
    """
    return ", ".join(f"{key}={shown(value)}" for key, value in settings.items())


def first(out: Any) -> torch.Tensor:
    """The tensor of an output that may be (logits, loss)."""
    return out[0] if isinstance(out, tuple) else out


def weights_of(reference: Any, settings: dict[str, Any], seed: int) -> dict[str, torch.Tensor]:
    """Weights for a task's inputs: those of the reference, drawn anew, none of them 0 or 1."""
    draw = torch.Generator().manual_seed(seed)
    shapes = {name: p.shape for name, p in reference(**settings).named_parameters()}
    return {name: 0.5 * torch.randn(shape, generator=draw) for name, shape in shapes.items()}

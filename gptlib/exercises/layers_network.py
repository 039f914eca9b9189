"""The exercise of chapter 4 that asks for the feed-forward network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from gptlib.exercises.modules import BACK, MakeModule, slope, weights_of
from gptlib.exercises.task import Mistake, Task, Wrong
from gptlib.layers import GELU, FeedForward

Tensor = torch.Tensor
Made = Callable[..., Any]


class MakeFeedForward(MakeModule):
    """A feed-forward network: its result, another bend in its place, and dropout."""

    def run(self, answer: Any, *given: Any) -> dict[str, Any]:
        settings, weights, x = given
        module = self.made(answer, settings, weights).eval()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            out = module(x)
            if not torch.is_tensor(out):
                raise Wrong(f"Its forward gives {out!r}, and no tensor. Is a `return` missing?")
            seen = {"What comes out": out, **self.gradients(module, out, weights)}
            if settings.get("dropout"):
                kept = out / (1 - settings["dropout"])
                y = module.train()(x)
                seen["Dropout while training"] = not torch.allclose(y, out)
                each = torch.isclose(y, kept, atol=1e-5) | (y == 0)
                seen["While training each number that comes out is kept or 0"] = bool(each.all())
            if not isinstance(getattr(module, "gelu", None), nn.Module):
                raise Wrong(
                    "It has no layer named gelu: further below the chapter puts another bend there."
                )
            seen[BACK] = slope(module.eval(), x)
            module.gelu = nn.Identity()
            seen["With no bend in the place of gelu"] = module(x)
        return seen


def widths(seed: int) -> Iterator[tuple[Any, ...]]:
    """Texts for networks of several widths, with and without biases, forms of GELU, dropout."""
    draw = torch.Generator().manual_seed(seed)
    all_settings: list[dict[str, Any]] = [
        {"n_embd": 2},
        {"n_embd": 3, "bias": False, "expansion": 2},
        {"n_embd": 3, "gelu": "none"},
        {"n_embd": 4, "dropout": 0.5},
    ]
    for settings in all_settings:
        x = 2 * torch.randn(2, 3, settings["n_embd"], generator=draw)
        yield settings, weights_of(FeedForward, settings, seed), x


def _network(forward: Callable[[Any, Tensor], Tensor]) -> Made:
    return type("FeedForward", (FeedForward,), {"forward": forward})


def _bent(bend: Callable[[Any, Tensor], Tensor]) -> Made:
    """A network with another bend between its matrices."""
    return _network(lambda self, x: self.dropout(self.project(bend(self, self.expand(x)))))


class _InARow(nn.Module):
    def __init__(
        self,
        n: int,
        dropout: float = 0.0,
        bias: bool = True,
        expansion: int = 4,
        gelu: str = "tanh",
    ):
        super().__init__()
        wide = n * expansion
        self.expand, self.project = nn.Linear(n, wide, bias), nn.Linear(wide, n, bias)
        self.gelu, self.p = nn.GELU(approximate=gelu), dropout

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(self.project(self.gelu(self.expand(x))), self.p, self.training)


def _own(n_embd: int, *given: Any, **named: Any) -> nn.Module:
    return _InARow(n_embd, *given, **named)


FEED_FORWARD = Task(
    name="layers.FeedForward",
    asks="Widen each token's vector, bend it with GELU, make it narrow again.",
    reference=FeedForward,
    inputs=widths,
    hints=(
        "Three things happen to a token one after the other. Which of them has no parameters?",
        "expand goes from n_embd to expansion * n_embd, project back. The bend stands where the "
        "vector is wide.",
        "forward: self.dropout(self.project(self.gelu(self.expand(x)))), with GELU(gelu) as the "
        "bend and bias=bias in both matrices.",
    ),
    mistakes=(
        Mistake(
            "Nothing bends between the two matrices: one matrix could do the same as both.",
            _bent(lambda self, x: x + 0 * self.gelu(x)),
        ),
        Mistake(
            "The bend is ReLU: what is negative is gone, and its gradient is 0. GELU is asked for.",
            _bent(lambda self, x: torch.relu(x)),
        ),
        Mistake(
            "The bend comes before the widening: it bends a few numbers, and between the two "
            "matrices nothing bends.",
            _network(lambda self, x: self.dropout(self.project(self.expand(self.gelu(x))))),
        ),
        Mistake(
            "The bend comes at the end: nothing bends between the two matrices, and what comes "
            "out can hardly be negative.",
            _network(lambda self, x: self.dropout(self.gelu(self.project(self.expand(x))))),
        ),
        Mistake(
            "It bends twice, between the matrices and at the end: what comes out can hardly be "
            "negative, so the network cannot take anything away.",
            _network(
                lambda self, x: self.dropout(self.gelu(self.project(self.gelu(self.expand(x)))))
            ),
        ),
        Mistake(
            "What came in has been added to the result. That plus sign is the next chapter's; here "
            "the network gives its own answer.",
            _network(lambda self, x: x + self.dropout(self.project(self.gelu(self.expand(x))))),
        ),
        Mistake(
            "The bend is a tanh, which flattens what is large; GELU lets it through.",
            _bent(lambda self, x: torch.tanh(x)),
        ),
        Mistake(
            "The layer named gelu is there and is not used: whoever puts another bend into its "
            "place sees no difference.",
            _bent(lambda self, x: GELU(getattr(self.gelu, "approximate", "tanh"))(x)),
        ),
        Mistake(
            "The bend is the other form of GELU. Which one it is, the argument gelu says, and "
            'without a word it is "tanh".',
            _bent(lambda self, x: F.gelu(x)),
        ),
        Mistake(
            'The argument gelu is taken and not used: with "none" the definition is asked for.',
            _bent(
                lambda self, x: (
                    F.gelu(x, approximate="tanh") if isinstance(self.gelu, GELU) else self.gelu(x)
                )
            ),
        ),
        Mistake(
            "Dropout drops numbers between the matrices. It is asked for once, in the end, on what "
            "comes out.",
            _network(lambda self, x: self.project(self.dropout(self.gelu(self.expand(x))))),
        ),
        Mistake(
            "Dropout is on while the model is being used: two answers to one question differ. It "
            "belongs to training.",
            _network(
                lambda self, x: F.dropout(self.project(self.gelu(self.expand(x))), self.dropout.p)
            ),
        ),
        Mistake(
            "dropout is taken and does nothing: with 0.5, training gives the same as evaluation.",
            _network(lambda self, x: self.project(self.gelu(self.expand(x)))),
        ),
        Mistake(
            "It learns, and nothing before it could: x is cut off, by detach, no_grad or .data, "
            "and no gradient goes on to it.",
            _network(lambda self, x: FeedForward.forward(self, x.detach())),
        ),
    ),
    right=(
        _own,
        _network(
            lambda self, x: self.dropout(
                self.gelu(x @ self.expand.weight.T + _or_0(self.expand.bias))
                @ self.project.weight.T
                + _or_0(self.project.bias)
            )
        ),
    ),
    use=MakeFeedForward(),
)


def _or_0(bias: Tensor | None) -> Tensor | float:
    return 0.0 if bias is None else bias


TASKS = (FEED_FORWARD,)

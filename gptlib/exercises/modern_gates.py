"""Exercises of chapter 9 around feed-forward networks: a gate, and whom a token asks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from gptlib.exercises.modules import MakeModule, weights_of
from gptlib.exercises.slopes import CUT, WithSlopes
from gptlib.exercises.task import Mistake, Task
from gptlib.swiglu import SwiGLU

Tensor = torch.Tensor
Made = Callable[..., Any]


def networks(seed: int) -> Iterator[tuple[Any, ...]]:
    """Texts for networks of several widths, without biases and with."""
    draw = torch.Generator().manual_seed(seed)
    all_settings: list[dict[str, Any]] = [
        {"n_embd": 2, "hidden": 3},
        {"n_embd": 3, "hidden": 8, "bias": True},
        {"n_embd": 4, "hidden": 2, "bias": False},
    ]
    for settings in all_settings:
        x = 2 * torch.randn(2, 2, settings["n_embd"], generator=draw)
        x = torch.cat((x, -x), dim=1)  # so that no gate is open for all of them
        yield settings, weights_of(SwiGLU, settings, seed), x


def _network(forward: Callable[[Any, Tensor], Tensor]) -> Made:
    return type("SwiGLU", (SwiGLU,), {"forward": forward})


def _gated(gate: Callable[[Tensor, Tensor], Tensor]) -> Made:
    """A network with something else between its matrices, of the gate and of the value."""
    return _network(lambda self, x: self.project(gate(self.gate(x), self.expand(x))))


class _Own(nn.Module):
    def __init__(self, n_embd: int, hidden: int, bias: bool = False, gating: str = "swiglu"):
        super().__init__()
        self.gate = nn.Linear(n_embd, hidden, bias=bias)
        self.expand = nn.Linear(n_embd, hidden, bias=bias)
        self.project = nn.Linear(hidden, n_embd, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.gate(x)
        return self.project(gate * torch.sigmoid(gate) * self.expand(x))


SWIGLU = Task(
    name="modern.SwiGLU",
    asks="Widen each token twice, let silu of the one be the gate of the other, make it narrow.",
    reference=SwiGLU,
    inputs=networks,
    hints=(
        "Three matrices: two read the token, one reads what they made together. Which of the two "
        "is bent?",
        "silu(x) is x · sigmoid(x), F.silu in PyTorch. The gate is bent, the value is not, and the "
        "two are multiplied, number by number.",
        "forward: self.project(F.silu(self.gate(x)) * self.expand(x)). gate and expand go from "
        "n_embd to hidden, project back, all with bias=bias.",
    ),
    mistakes=(
        Mistake(
            "The two have changed places: `gate` is the matrix whose numbers are bent, and "
            "`expand` makes what passes. (Weights that others trained would not fit.)",
            _gated(lambda gate, value: gate * F.silu(value)),
        ),
        Mistake(
            "The gate is a plain sigmoid: that is the first gated network, GLU. silu is the number "
            "times its sigmoid.",
            _gated(lambda gate, value: torch.sigmoid(gate) * value),
        ),
        Mistake(
            "The gate is bent by GELU: that is GEGLU. silu is asked for.",
            _gated(lambda gate, value: F.gelu(gate) * value),
        ),
        Mistake(
            "The gate is bent by ReLU: closed, it has no gradient. silu is asked for.",
            _gated(lambda gate, value: torch.relu(gate) * value),
        ),
        Mistake("The gate is not bent at all.", _gated(lambda gate, value: gate * value)),
        Mistake(
            "Both are bent. The value is to pass as it is, times the gate.",
            _gated(lambda gate, value: F.silu(gate) * F.silu(value)),
        ),
        Mistake(
            "The product is bent. The gate alone should be, before it is multiplied.",
            _gated(lambda gate, value: F.silu(gate * value)),
        ),
        Mistake(
            "Gate and value are added. A gate decides how much passes: it multiplies.",
            _gated(lambda gate, value: F.silu(gate) + value),
        ),
        Mistake(
            "One of the two is not used: this is a plain network with silu, and a matrix more than "
            "it needs.",
            _gated(lambda gate, value: F.silu(gate) + 0 * value),
        ),
        Mistake(
            "The gate is not used: this is a plain network with silu, and a matrix more than it "
            "needs.",
            _gated(lambda gate, value: F.silu(value) + 0 * gate),
        ),
        Mistake(
            "What came in has been added to the result. The block does that; the network gives its "
            "own answer.",
            _network(lambda self, x: x + SwiGLU.forward(self, x)),
        ),
        Mistake(
            "The result is bent once more: what the network gives can hardly be negative.",
            _network(lambda self, x: F.silu(SwiGLU.forward(self, x))),
        ),
        Mistake(
            "The gate is cut off by detach or no_grad: it decides, and never learns.",
            _gated(lambda gate, value: F.silu(gate).detach() * value),
        ),
        Mistake(
            "It learns, and nothing before it could: x is cut off, by detach, no_grad or .data, "
            "and no gradient goes on to it.",
            _network(lambda self, x: SwiGLU.forward(self, x.detach())),
        ),
    ),
    right=(
        _Own,
        _network(lambda self, x: self.project(F.silu(self.gate(x)).mul(self.expand(x)))),
    ),
    use=MakeModule(),
)


def top_k_weights(scores: Tensor, k: int) -> Tensor:
    """What each expert's answer counts: scores (…, E) -> (…, E), 0 but for the k highest.

    The weights of the k are the softmax of their scores, and sum to 1.

    top_k_weights(torch.tensor([0.0, 2.0, 2.0]), 2) -> [0, 0.5, 0.5]
    """
    top, chosen = scores.topk(k, dim=-1)
    return torch.zeros_like(scores).scatter(-1, chosen, top.softmax(dim=-1))


def asked(seed: int) -> Iterator[tuple[Any, ...]]:
    """Three tokens and four experts, of which two are asked; then other numbers of each."""
    draw = torch.Generator().manual_seed(seed)
    for shape, k in (((3, 4), 2), ((2, 3, 5), 3), ((6,), 1), ((2, 2, 3), 3)):
        # Neighbours of a row differ by a half or more, so that nobody has to break a tie.
        order = torch.rand(shape, generator=draw).argsort(dim=-1).float()
        yield order - 1.5 + 0.5 * torch.rand(shape, generator=draw), k
    yield torch.tensor([[0.5, 2.0, -1.0]]).double(), 2


def _kept(scores: Tensor, k: int, weights: Tensor) -> Tensor:
    """These weights (…, E) where a score is among the k highest, 0 elsewhere."""
    return torch.where(scores >= scores.topk(k).values[..., -1:], weights, 0.0)


def _shared(weights: Tensor, dim: int = -1) -> Tensor:
    return weights / weights.sum(dim=dim, keepdim=True)


TOP_K_WEIGHTS = Task(
    name="modern.top_k_weights",
    asks="Give the k highest scores of each token weights that sum to 1, and all others 0.",
    reference=top_k_weights,
    inputs=asked,
    use=WithSlopes("scores"),
    kind="stretch",
    anywhere=True,
    hints=(
        "Two things are to be found for each token: which k experts, and how they share the 1.",
        "scores.topk(k, dim=-1) gives the k scores and their places. The softmax of these k alone "
        "sums to 1. How do they get back to their places among E?",
        "torch.zeros_like(scores).scatter(-1, chosen, top.softmax(dim=-1)). Or: hide the others "
        "with minus infinity, then softmax.",
    ),
    mistakes=(
        Mistake(
            "The softmax goes over all experts, and those not asked are set to 0 afterwards: what "
            "is left sums to less than 1.",
            lambda scores, k: _kept(scores, k, scores.softmax(dim=-1)),
        ),
        Mistake(
            "The others have the score 0, which is an ordinary score: every expert gets a weight.",
            lambda scores, k: _kept(scores, k, scores).softmax(dim=-1),
        ),
        Mistake(
            "Nobody is left out: this is the softmax of all experts.",
            lambda scores, k: scores.softmax(dim=-1),
        ),
        Mistake(
            "The lowest scores are chosen, where the highest are asked for.",
            lambda scores, k: _hidden(scores, k, -1).softmax(dim=-1),
        ),
        Mistake(
            "One expert more than k is asked.",
            lambda scores, k: top_k_weights(scores, min(k + 1, scores.size(-1))),
        ),
        Mistake(
            "The k share the 1 evenly. A higher score should count more.",
            lambda scores, k: _kept(scores, k, torch.ones_like(scores)) / k,
        ),
        Mistake(
            "The scores themselves are divided by their sum. They may be negative: the softmax "
            "makes shares of them.",
            lambda scores, k: _shared(_kept(scores, k, scores)),
        ),
        Mistake(
            "The softmax is taken twice, of all scores and again of those that are left: the "
            "second makes the weights nearly equal.",
            lambda scores, k: top_k_weights(scores.softmax(dim=-1), k),
        ),
        Mistake(
            "The k weights come out without their places. The result should have a number for each "
            "expert, 0 for those that are not asked.",
            lambda scores, k: scores.topk(k).values.softmax(dim=-1),
        ),
        Mistake(
            "The experts choose their tokens here: topk goes over the tokens. Each token chooses "
            "its experts.",
            lambda scores, k: top_k_weights(scores.transpose(0, -1), k).transpose(0, -1),
        ),
        Mistake(
            "The softmax goes over the tokens: what an expert counts depends on who else asks it.",
            lambda scores, k: _hidden(scores, k).softmax(dim=0).nan_to_num(),
        ),
        Mistake(CUT, lambda scores, k: top_k_weights(scores, k).detach()),
    ),
    right=(
        lambda scores, k: _hidden(scores, k).softmax(dim=-1),
        lambda scores, k: _shared(_kept(scores, k, scores.softmax(dim=-1))),
    ),
)


def _hidden(scores: Tensor, k: int, sign: int = 1) -> Tensor:
    """Minus infinity for all but the k highest; with a sign of -1, for all but the k lowest."""
    signed = sign * scores
    return scores.masked_fill(signed < signed.topk(k).values[..., -1:], -torch.inf)


TASKS = (SWIGLU, TOP_K_WEIGHTS)

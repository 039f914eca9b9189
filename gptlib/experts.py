"""A mixture of experts: many feed-forward networks, of which each token asks a few.

Built in chapter 9. The model knows more than a token pays for.

Tensor letters: B sequences, T tokens, N = B · T, C = n_embd, H = hidden, E experts, K = n_active of
them asked, R rows that an expert works on.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from gptlib.given.checks.numbers import is_number
from gptlib.given.checks.tensors import check_choice, check_count
from gptlib.swiglu import GATES


class Routing(NamedTuple):
    """Who asked whom: probs (B, T, E), chosen and weights and answered (B, T, K).

    probs: the router's distribution over all experts. chosen: the K likeliest, as ids. weights:
    what their answers are multiplied with, of sum 1. answered: False where an expert had no room.
    """

    probs: torch.Tensor
    chosen: torch.Tensor
    weights: torch.Tensor
    answered: torch.Tensor


def balance_loss(routing: Routing) -> torch.Tensor:
    """How unevenly the experts are used: 1 where all alike, E / K where the same K always are.

    E times the sum over experts of the share of choices and the mean probability. The share has no
    gradient; through the probability, an expert that is asked too often loses.
    Source: W. Fedus et al., "Switch Transformers", 2021, section 2.2.

    Two experts, of which every token asks the first and is sure of it: 2 · (1 · 1 + 0 · 0) = 2.
    """
    E = routing.probs.size(-1)
    asked = F.one_hot(routing.chosen, E).to(routing.probs.dtype)  # (B, T, K, E)
    shares = asked.flatten(0, -2).mean(dim=0)  # (E)
    return E * (shares * routing.probs.flatten(0, -2).mean(dim=0)).sum()


def check_experts(
    n_expert: int, n_active: int, capacity: float | None, balance: float = 0.0
) -> None:
    """A token asks no more experts than there are; room is above 0, balance no reward."""
    check_count(n_expert=n_expert, n_active=n_active)
    if n_active > n_expert:
        raise ValueError(f"n_active must be at most n_expert, {n_expert}; got {n_active}.")
    if capacity is not None and not (is_number(capacity) and 0 < capacity < math.inf):
        raise ValueError(f"capacity must be a number above 0; got {capacity!r}. None: no limit.")
    if not (is_number(balance) and 0 <= balance < math.inf):
        raise ValueError(f"balance must be a finite number, 0 or more; got {balance!r}.")


class Experts(nn.Module):
    """n_expert SwiGLU networks and a router; each token asks n_active of them: (B, T, C) stays.

    It fits where a `FeedForward` stands. capacity: in training an expert answers at most capacity
    times its fair share, N · K / E tokens, those that weigh it most; the others are dropped, and
    for them the shortcut is all there is. None, and evaluation, drop nobody: a token's answer must
    not depend on who else is in the batch. routes: a list that gets this call's `Routing`.

    Nobody dropped, every expert looks at every token and most answers are multiplied by 0: more
    work than needed, in products of a size that is known, so a GPU need not be waited for.

    Sources: N. Shazeer et al., "Outrageously Large Neural Networks", 2017; C. Riquelme et al.,
    "Scaling Vision with Sparse Mixture of Experts", 2021, for who is dropped. Errors: ValueError
    for n_active above n_expert and for sizes below 1. Built in chapter 9.

    Experts(64, 88, n_expert=8, n_active=2) has 8 · 3 · 64 · 88 + 8 · 64 = 135,680 weights, of which
    a token uses 2 · 3 · 64 · 88 + 8 · 64 = 34,304.
    """

    def __init__(
        self,
        n_embd: int,
        hidden: int,
        n_expert: int,
        n_active: int,
        capacity: float | None = None,
        bias: bool = False,
        gating: str = "swiglu",
    ):
        super().__init__()
        check_count(n_embd=n_embd, hidden=hidden)
        check_experts(n_expert, n_active, capacity)
        check_choice("gating", gating, GATES)
        self.n_expert, self.n_active = n_expert, n_active
        self.capacity, self.gating = capacity, gating
        self.router = nn.Linear(n_embd, n_expert, bias=bias)
        sizes = {"gate": (hidden, n_embd), "expand": (hidden, n_embd), "project": (n_embd, hidden)}
        for name, (n_out, n_in) in sizes.items():  # the experts' matrices, one upon the other
            weight = torch.randn(n_expert, n_out, n_in) * n_in**-0.5
            self.register_parameter(f"{name}_weight", nn.Parameter(weight))
            shift = nn.Parameter(torch.zeros(n_expert, n_out)) if bias else None
            self.register_parameter(f"{name}_bias", shift)

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """One linear layer of every expert at once: (E, R, n_in) -> (E, R, n_out)."""
        x = x @ self.get_parameter(f"{name}_weight").transpose(1, 2)
        bias = self._parameters[f"{name}_bias"]
        return x if bias is None else x + bias[:, None]  # (E, 1, n_out)

    def answers(self, x: torch.Tensor) -> torch.Tensor:
        """Every expert's answer to its own rows: (E, R, C) -> (E, R, C)."""
        x = GATES[self.gating](self.linear("gate", x), self.linear("expand", x))  # (E, R, H)
        return self.linear("project", x)

    def route(self, x: torch.Tensor) -> Routing:
        """Whom each token asks, and how much each answer counts; nobody is dropped yet."""
        scores = self.router(x)  # (B, T, E)
        top, chosen = scores.topk(self.n_active, dim=-1)  # (B, T, K)
        answered = torch.ones_like(chosen, dtype=torch.bool)
        return Routing(scores.softmax(dim=-1), chosen, top.softmax(dim=-1), answered)

    def forward(self, x: torch.Tensor, routes: list[Routing] | None = None) -> torch.Tensor:
        routing, E = self.route(x), self.n_expert
        rows = x.flatten(0, -2)  # (N, C)
        shares = torch.zeros_like(routing.probs).scatter(-1, routing.chosen, routing.weights)
        shares = shares.flatten(0, -2)  # (N, E), 0 for those not asked
        N = rows.size(0)
        room = N if self.capacity is None else math.ceil(self.capacity * N * self.n_active / E)
        if not self.training or room >= N:
            out = self.answers(rows.expand(E, -1, -1))  # (E, N, C)
            out = torch.einsum("ne,enc->nc", shares, out)  # (N, C)
        else:
            weights, taken = shares.t().topk(room, dim=-1)  # (E, R), each expert's own tokens
            out = self.answers(rows[taken]) * weights[..., None]  # (E, R, C)
            out = torch.zeros_like(rows).index_add(0, taken.flatten(), out.flatten(0, 1))  # (N, C)
            answered = torch.zeros_like(shares, dtype=torch.bool).scatter(0, taken.t(), True)
            answered = answered.view_as(routing.probs).gather(-1, routing.chosen)  # (B, T, K)
            routing = routing._replace(answered=answered)
        if routes is not None:
            routes.append(routing)
        return out.view_as(x)

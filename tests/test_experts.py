"""A mixture of experts against a loop over tokens and networks; balance, and who is dropped."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gptlib.experts import Experts, Routing, balance_loss
from gptlib.swiglu import GATES, SwiGLU

C, H, E, K = 6, 10, 5, 2


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def shaken(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
    return module


def single(experts: Experts, e: int) -> SwiGLU:
    """One expert as a network of its own."""
    bias = experts.gate_bias is not None
    network = SwiGLU(C, H, bias, experts.gating)
    names = {n.replace(".", "_"): n for n in network.state_dict()}
    network.load_state_dict({n: experts.get_parameter(o)[e] for o, n in names.items()})
    return network


def one_token_at_a_time(experts: Experts, x: torch.Tensor, answered=None) -> torch.Tensor:
    """Ask the router, ask the chosen, add up; nothing of it in one product."""
    networks, out = [single(experts, e) for e in range(experts.n_expert)], torch.zeros_like(x)
    for b in range(x.size(0)):
        for t in range(x.size(1)):
            scores = experts.router(x[b, t])
            order = scores.argsort(descending=True)[: experts.n_active].tolist()
            shares = torch.softmax(scores[order], dim=0)
            for n, (e, share) in enumerate(zip(order, shares, strict=True)):
                if answered is None or answered[b, t, n]:
                    out[b, t] += share * networks[e](x[b, t])
    return out


@pytest.mark.parametrize("n_active", [1, 2, 5])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("gating", GATES)
def test_it_is_the_sum_of_those_asked(n_active, bias, gating):
    experts = shaken(Experts(C, H, E, n_active, bias=bias, gating=gating))
    x = torch.randn(3, 7, C)
    torch.testing.assert_close(experts(x), one_token_at_a_time(experts, x), atol=1e-5, rtol=1e-4)


def test_gradients_reach_those_asked_the_router_and_nobody_else():
    experts = Experts(C, H, E, K)
    x = torch.randn(1, 1, C)
    routes = []
    experts(x, routes).sum().backward()
    asked = sorted(routes[0].chosen.flatten().tolist())
    for name in ("gate", "expand", "project"):
        used = experts.get_parameter(f"{name}_weight").grad.abs().amax(dim=(1, 2)) > 0
        assert used.nonzero().flatten().tolist() == asked
    assert experts.router.weight.grad.abs().max() > 0


def test_a_single_expert_is_a_swiglu_and_all_of_them_a_sum_of_all():
    experts = shaken(Experts(C, H, 1, 1))
    x = torch.randn(2, 3, C)
    torch.testing.assert_close(experts(x), single(experts, 0)(x))
    assert Experts(C, H, 1, 1).router.out_features == 1


def test_who_asked_whom_is_told():
    experts, routes, x = Experts(C, H, E, K), [], torch.randn(3, 7, C)
    experts(x)
    for _ in range(2):
        experts(x, routes)
    assert len(routes) == 2
    probs, chosen, weights, answered = routes[0]
    assert probs.shape == (3, 7, E) and chosen.shape == weights.shape == answered.shape == (3, 7, K)
    torch.testing.assert_close(probs, experts.router(x).softmax(-1))
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(3, 7))
    assert answered.all() and (weights[..., 0] >= weights[..., 1]).all()
    assert torch.equal(chosen, probs.topk(K).indices)


# Capacity ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [0.25, 0.5, 1.0, 1.5])
@pytest.mark.parametrize("n_active", [1, 2, 3])
@pytest.mark.parametrize("shape", [(4, 10), (3, 7)])  # the room is a whole number, and rounded up
def test_in_training_an_expert_answers_those_that_weigh_it_most(capacity, n_active, shape):
    experts = shaken(Experts(C, H, E, n_active, capacity)).train()
    x, routes = torch.randn(*shape, C), []
    out = experts(x, routes)
    answered = routes[0].answered
    torch.testing.assert_close(out, one_token_at_a_time(experts, x, answered), atol=1e-5, rtol=1e-4)
    room = -int(-capacity * shape[0] * shape[1] * n_active // E)
    for e in range(E):
        asking = routes[0].chosen == e
        weights, got = routes[0].weights[asking], answered[asking]
        assert got.sum() == min(room, len(got))
        if got.any() and not got.all():
            assert weights[got].min() >= weights[~got].max()
    assert capacity >= 1 or not answered.all()


def test_dropped_by_all_a_token_gets_nothing_and_its_shortcut_is_left():
    experts = Experts(C, H, 2, 1, capacity=0.5).train()
    with torch.no_grad():
        experts.router.weight.zero_()
        experts.router.weight[0] = 1
    x = torch.rand(1, 8, C) + torch.arange(8)[:, None]  # all ask the first; the last most of all
    routes = []
    out = experts(x, routes)
    assert routes[0].answered.sum() == 2  # half of 8 · 1 / 2
    assert (out.abs().amax(dim=-1) == 0).sum() == 6


def test_in_evaluation_nobody_is_dropped_and_others_do_not_matter():
    tight, wide = shaken(Experts(C, H, E, K, capacity=0.2)), Experts(C, H, E, K)
    wide.load_state_dict(tight.state_dict())
    x = torch.randn(4, 10, C)
    assert not torch.allclose(tight.train()(x), wide(x))
    torch.testing.assert_close(tight.eval()(x), wide(x))
    torch.testing.assert_close(tight(x[:1, :3]), tight(x)[:1, :3])
    routes = []
    tight(x, routes)
    assert routes[0].answered.all()


def test_with_room_for_all_a_capacity_changes_nothing():
    roomy, free = shaken(Experts(C, H, E, K, capacity=E / K - 0.01)).train(), Experts(C, H, E, K)
    free.load_state_dict(roomy.state_dict())
    x = torch.randn(2, 5, C)
    torch.testing.assert_close(roomy(x), free(x))


# Balance -----------------------------------------------------------------------------------------


def routing(probs: list[list[float]], n_active: int = 1) -> Routing:
    table = torch.tensor([probs])
    top, chosen = table.topk(n_active, dim=-1)
    return Routing(table, chosen, top, torch.ones_like(chosen, dtype=torch.bool))


def test_the_balance_is_1_where_all_are_used_alike_and_e_where_one_alone_is():
    even = [[0.7, 0.3], [0.3, 0.7]]
    assert balance_loss(routing(even)).item() == pytest.approx(1)
    assert balance_loss(routing([[1.0, 0.0, 0.0]] * 4)).item() == pytest.approx(3)
    uneven = routing([[0.6, 0.4, 0.0], [0.5, 0.2, 0.3], [0.1, 0.8, 0.1]])
    expected = 3 * (2 / 3 * 1.2 / 3 + 1 / 3 * 1.4 / 3)
    assert balance_loss(uneven).item() == pytest.approx(expected)
    assert balance_loss(routing([[0.5, 0.3, 0.2]], n_active=2)).item() == pytest.approx(1.2)


def test_following_the_balance_evens_out_who_is_asked():
    experts, x = Experts(C, H, E, 1), torch.randn(8, 50, C) + 1
    with torch.no_grad():
        experts.router.weight[0] = 0.5  # one is preferred at the start
    optimizer = torch.optim.Adam(experts.router.parameters(), lr=0.02)

    def most_asked():
        chosen = experts.route(x).chosen.flatten()
        return (chosen.bincount(minlength=E).max() / len(chosen)).item()

    before = most_asked()
    for _ in range(100):
        optimizer.zero_grad()
        balance_loss(experts.route(x)).backward()
        optimizer.step()
    assert before > 0.8 and most_asked() < 0.4


# What is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"n_active": 6}, "n_active must be at most n_expert, 5; got 6"),
        ({"n_active": 0}, "n_active must be a whole number, 1 or more; got 0"),
        ({"n_expert": 0}, "n_expert must be a whole number, 1 or more; got 0"),
        ({"hidden": 0}, "hidden must be a whole number, 1 or more; got 0"),
        ({"capacity": 0.0}, "capacity must be a number above 0; got 0.0. None: no limit"),
        ({"capacity": float("inf")}, "capacity must be a number above 0; got inf"),
        ({"gating": "relu"}, "gating must be one of swiglu, geglu, clipped; got 'relu'"),
    ],
)
def test_what_makes_no_experts_is_refused(asked, told):
    sizes = {"n_embd": C, "hidden": H, "n_expert": E, "n_active": K}
    with pytest.raises(ValueError, match=told):
        Experts(**{**sizes, **asked})

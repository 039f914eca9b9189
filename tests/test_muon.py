"""Muon: singular values that come near to 1, and the update that PyTorch's own makes."""

from __future__ import annotations

import pytest
import torch

from gptlib.gpt import GPT, GPTConfig
from gptlib.muon import POLYNOMIAL, Muon, orthogonalise


def matrix(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4), (1, 5)], ids=str)
def test_the_directions_stay_and_each_singular_value_goes_through_the_polynomial(shape):
    x = matrix(*shape)
    u, s, v = torch.linalg.svd(x, full_matrices=False)
    a, b, c = POLYNOMIAL
    s = s / x.norm()
    for _ in range(5):
        s = a * s + b * s**3 + c * s**5
    torch.testing.assert_close(orthogonalise(x), u @ torch.diag(s) @ v, atol=1e-5, rtol=1e-5)


def test_after_five_steps_what_was_above_0_002_lies_between_0_68_and_1_21():
    a, b, c = POLYNOMIAL
    s = torch.linspace(0.002, 1, 20_000, dtype=torch.float64)
    for _ in range(5):
        s = a * s + b * s**3 + c * s**5
    assert 0.68 < s.min() < 0.69 and 1.2 < s.max() < 1.21


def test_a_matrix_of_zeros_stays_one_and_no_steps_are_refused():
    assert orthogonalise(torch.zeros(2, 3)).tolist() == [[0, 0, 0], [0, 0, 0]]
    with pytest.raises(ValueError, match="steps"):
        orthogonalise(matrix(2, 2), steps=0)


@pytest.mark.parametrize("shape", [(8, 8), (24, 8), (8, 32)], ids=str)
def test_the_update_is_that_of_pytorch_s_own_muon(shape):
    """Which orthogonalises in 16 bits: within what these leave."""
    start = matrix(*shape).float()
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    mine = Muon([ours], lr=0.1, momentum=0.9, weight_decay=0.05)
    other = torch.optim.Muon(
        [theirs], lr=0.1, momentum=0.9, weight_decay=0.05, ns_coefficients=POLYNOMIAL, eps=1e-7
    )
    for step in range(4):
        for parameter in (ours, theirs):
            parameter.grad = matrix(*shape, seed=step + 1).float()
        mine.step()
        other.step()
    assert (ours - start).norm() > 0.5
    assert (ours - theirs).norm() < 0.02 * (ours - start).norm()


def test_nothing_said_it_is_as_jordan_sets_it():
    """His own defaults, momentum 0.95 and a rate of 0.02, and no decay."""
    group = Muon([torch.nn.Parameter(torch.ones(2, 2))]).param_groups[0]
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.02, 0.95, 0)


def test_what_is_no_matrix_is_refused_and_what_has_no_gradient_is_left_alone():
    model = GPT(GPTConfig(vocab_size=11, context_length=8, n_layer=1, n_head=2, n_embd=8))
    with pytest.raises(ValueError, match=r"must be matrices.*got shape \(24,\)"):
        Muon(model.parameters())
    still = torch.nn.Parameter(torch.ones(2, 2))
    Muon([still], lr=0.1).step()
    assert still.tolist() == [[1, 1], [1, 1]]

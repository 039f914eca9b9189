"""The soft cap: bounded, odd, of slope 1 at 0."""

from __future__ import annotations

import torch

from gptlib.soft_cap import soft_cap


def test_small_numbers_stay_and_no_number_passes_the_cap():
    x = torch.linspace(-1000, 1000, 2001, dtype=torch.float64)
    capped = soft_cap(x, 5.0)
    assert capped.abs().max() <= 5 and (capped.diff() >= 0).all()
    assert torch.equal(capped, -soft_cap(-x, 5.0))
    small = torch.linspace(-0.01, 0.01, 9, dtype=torch.float64)
    torch.testing.assert_close(soft_cap(small, 5.0), small, atol=1e-7, rtol=0)


def test_the_slope_is_1_at_0_and_fades():
    x = torch.tensor([0.0, 5.0, 50.0], requires_grad=True)
    soft_cap(x, 5.0).sum().backward()
    torch.testing.assert_close(
        x.grad, torch.tensor([1.0, 1 - torch.tanh(torch.tensor(1.0)) ** 2, 0])
    )


def test_none_leaves_everything_as_it_is():
    x = torch.tensor([1e9, -3.0])
    assert soft_cap(x, None) is x

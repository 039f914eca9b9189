"""RMSNorm against PyTorch's kernel and LayerNorm, and what it leaves in place."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from gptlib.layers import layer_norm
from gptlib.rms_norm import RMSNorm, rms_norm


@pytest.mark.parametrize("shape", [(5,), (2, 3, 8)])
@pytest.mark.parametrize("eps", [1e-6, 0.1])
def test_it_equals_pytorchs_with_and_without_a_scale(shape, eps):
    torch.manual_seed(0)
    x, weight = 3 * torch.randn(shape), torch.randn(shape[-1])
    module = RMSNorm(shape[-1], eps)
    torch.testing.assert_close(module(x), rms_norm(x, eps=eps))
    module.weight.data.copy_(weight)
    expected = F.rms_norm(x, weight.shape, weight, eps)
    torch.testing.assert_close(rms_norm(x, weight, eps), expected)
    torch.testing.assert_close(module(x), expected)


def test_where_the_mean_is_0_it_is_layer_norm_and_elsewhere_it_keeps_the_mean():
    x = torch.randn(4, 16, generator=torch.Generator().manual_seed(1))
    centred = x - x.mean(dim=-1, keepdim=True)
    torch.testing.assert_close(rms_norm(centred, eps=1e-5), layer_norm(centred))
    moved = rms_norm(centred + 2)
    assert moved.mean(dim=-1).min() > 0.5
    torch.testing.assert_close(moved.square().mean(dim=-1), torch.ones(4))


def test_the_length_of_what_comes_in_does_not_matter_and_zeros_stay_zeros():
    x = torch.randn(16, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(rms_norm(1000 * x), rms_norm(x))
    assert rms_norm(torch.zeros(4)).tolist() == [0] * 4


def test_module_and_formula_add_the_same_small_number_to_what_they_divide_by():
    """Where all is far smaller than eps, that number alone decides: x / sqrt(1e-6)."""
    tiny = 1e-6 * torch.randn(16, generator=torch.Generator().manual_seed(3))
    for normed in (rms_norm(tiny), RMSNorm(16)(tiny)):
        torch.testing.assert_close(normed, 1000 * tiny)


def test_a_size_below_1_is_refused():
    with pytest.raises(ValueError, match="n_embd must be a whole number, 1 or more; got 0"):
        RMSNorm(0)

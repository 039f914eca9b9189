"""The loss of every model against PyTorch's, and its estimate against batches drawn by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from gptlib.batches import get_batch
from gptlib.bigram import BigramModel
from gptlib.loss import IGNORED_TARGET, estimate_loss, next_token_loss

V = 6


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_the_loss_is_the_mean_over_all_scored_positions():
    logits = torch.randn(3, 5, V)
    targets = torch.randint(V, (3, 5))
    by_hand = -torch.log_softmax(logits, dim=-1).gather(2, targets[:, :, None]).squeeze(2)
    assert torch.allclose(next_token_loss(logits, targets), by_hand.mean())
    targets[0] = -1
    targets[2, 3] = -1
    assert torch.allclose(next_token_loss(logits, targets), by_hand[targets >= 0].mean())
    assert next_token_loss(torch.zeros(1, 1, 4), torch.zeros(1, 1, dtype=torch.long)) == (
        pytest.approx(math.log(4))
    )


class NoisyModel(torch.nn.Module):
    """A model whose loss says whether it is in training mode."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, idx, targets=None):
        assert not torch.is_grad_enabled()
        return None, torch.tensor(1.0 if self.training else float(targets.float().mean()))


@pytest.mark.parametrize("training", [True, False])
def test_estimate_loss_evaluates_and_restores_the_mode(training):
    model = NoisyModel().train(training)
    data = torch.full((50,), 3)
    settings = {"batch_size": 2, "context_length": 4, "n_batches": 3}
    assert estimate_loss(model, data, **settings) == 3.0
    assert model.training is training
    with pytest.raises(ValueError):
        estimate_loss(model, data[:4], **settings)  # too short for one window
    assert model.training is training


def test_estimate_loss_averages_and_repeats_with_a_seed():
    ids, model = torch.randint(V, (300,)), BigramModel(V)
    torch.nn.init.normal_(model.table.weight)
    settings = {"batch_size": 4, "context_length": 8, "n_batches": 5}

    def estimate(seed, **more):
        generator = torch.Generator().manual_seed(seed)
        return estimate_loss(model, ids, generator=generator, **settings, **more)

    assert estimate(1) == estimate(1) != estimate(2)
    generator = torch.Generator().manual_seed(1)
    batches = [get_batch(ids, 4, 8, generator=generator) for _ in range(5)]
    mean = sum(model(x, y)[1].item() for x, y in batches) / 5
    assert estimate(1) == pytest.approx(mean)
    # With every window at one start there is no chance left: the estimate is that window's loss.
    window = model(ids[None, 7:15], ids[None, 8:16])[1].item()
    assert estimate(1, starts=torch.tensor([7])) == pytest.approx(window)


def test_cross_entropy_is_what_pytorch_computes():
    logits, targets = torch.randn(2, 3, 7), torch.randint(7, (2, 3))
    expected = F.cross_entropy(logits.transpose(1, 2), targets)  # PyTorch's own (B, V, T) form
    assert torch.allclose(next_token_loss(logits, targets), expected)


@pytest.mark.parametrize("shape", [(5,), (2, 3), (2, 3, 4)])
def test_rows_may_be_arranged_in_any_way(shape):
    logits, targets = torch.randn(*shape, V), torch.randint(V, shape)
    expected = F.cross_entropy(logits.reshape(-1, V), targets.reshape(-1))
    assert torch.equal(next_token_loss(logits, targets), expected)
    targets.view(-1)[0] = IGNORED_TARGET
    expected = F.cross_entropy(logits.reshape(-1, V)[1:], targets.reshape(-1)[1:])
    torch.testing.assert_close(next_token_loss(logits, targets), expected)
    sliced = torch.randn(*shape, 2 * V)[..., ::2]  # not one block of memory
    assert torch.equal(
        next_token_loss(sliced, targets), next_token_loss(sliced.contiguous(), targets)
    )


def test_where_nothing_is_scored_the_loss_is_nan():
    assert next_token_loss(torch.randn(2, V), torch.full((2,), IGNORED_TARGET)).isnan()


@pytest.mark.parametrize(
    ("logits", "targets", "words"),
    [
        ((1, 2, V), torch.tensor([[1]]), ["targets", "(1, 2)", "(1, 1)"]),
        ((2, V), torch.tensor([[1, 1]]), ["targets", "(2,)", "(1, 2)"]),
        ((2, V), torch.tensor([1, 1, 1]), ["targets", "(2,)", "(3,)"]),
        ((2, V), torch.zeros(2, V), ["targets", "(2,)", f"(2, {V})"]),  # one row of chances each
        ((2, V), [1, 1], ["targets must be a tensor", "(2,)", "list"]),
        ((2, V), torch.tensor([1.0, 1.0]), ["targets", "torch.int64", "torch.float32"]),
        ((2, V), torch.tensor([1, 1], dtype=torch.int32), ["targets", "torch.int64", "int32"]),
        ((2, V), torch.tensor([1, 1], dtype=torch.uint8), ["targets", "torch.int64", "uint8"]),
    ],
)
def test_targets_that_do_not_fit(logits, targets, words):
    with pytest.raises(ValueError) as error:
        next_token_loss(torch.zeros(logits), targets)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_batches": 0}, "n_batches must be a whole number, 1 or more; got 0"),
        ({"batch_size": 2.5}, "batch_size must be a whole number, 1 or more; got 2.5"),
        ({"data": torch.full((9,), V)}, f"data holds the token id {V}; allowed are 0 to {V - 1}"),
        ({"data": torch.full((9,), -1)}, f"data holds the token id -1; allowed are 0 to {V - 1}"),
        ({"data": torch.zeros(2)}, "data must be one row of whole numbers"),
        ({"context_length": 9}, r"data has length 9, shorter than context_length \+ 1 = 10"),
    ],
)
def test_what_cannot_be_estimated(changes, words):
    model = BigramModel(V)
    arguments = {"data": torch.zeros(9, dtype=torch.long), "batch_size": 9, "context_length": 2}
    arguments |= {"n_batches": 1, **changes}
    with pytest.raises(ValueError, match=words):
        estimate_loss(model, **arguments)
    assert model.training


def test_an_id_that_is_drawn_only_as_the_last_target_is_found_too():
    data = torch.tensor([0, 1, 2, V])
    with pytest.raises(ValueError, match=f"token id {V}"):
        estimate_loss(BigramModel(V), data, batch_size=1, context_length=3, n_batches=1)


def test_the_batches_go_to_where_the_model_is():
    class Elsewhere(torch.nn.Module):
        """Lives on a device that every machine has, and this test does not."""

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1, device="meta"))

        def forward(self, idx, targets=None):
            assert idx.device.type == targets.device.type == "meta"
            return None, torch.tensor(1.5)

    sizes = {"batch_size": 2, "context_length": 3, "n_batches": 2}
    assert estimate_loss(Elsewhere(), torch.zeros(9, dtype=torch.long), **sizes) == 1.5

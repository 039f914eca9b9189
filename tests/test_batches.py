"""The split and the batches, on rows of numbers whose every neighbour is known."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gptlib.batches import get_batch, train_val_split, usable_starts

ROW = torch.arange(1000, 1100)  # the id at position p is 1000 + p


@given(st.integers(2, 200), st.floats(0.01, 0.99))
def test_the_split_is_one_cut_and_loses_nothing(n, val_fraction):
    ids = list(range(n))
    if int(n * (1 - val_fraction)) == 0:
        return
    train, val = train_val_split(ids, val_fraction)
    assert torch.cat([train, val]).tolist() == ids
    assert len(train) == int(n * (1 - val_fraction))
    assert train.dtype == val.dtype == torch.int64


def test_a_tenth_is_kept_for_validation_unless_told():
    train, val = train_val_split(ROW.to(torch.int32))
    assert (len(train), len(val), val.dtype) == (90, 10, torch.int64)
    assert [len(part) for part in train_val_split(range(1_115_394))] == [1_003_854, 111_540]
    assert [part.tolist() for part in train_val_split(range(5), 0.4)] == [[0, 1, 2], [3, 4]]


@pytest.mark.parametrize("val_fraction", [0, 1, -0.1, 1.5, float("nan"), "0.1", None])
def test_val_fraction_outside_its_range(val_fraction):
    with pytest.raises(ValueError, match=r"val_fraction is .* between 0 and 1"):
        train_val_split(ROW, val_fraction)


@pytest.mark.parametrize("ids", [[], [1]])
def test_too_short_to_split(ids):
    with pytest.raises(ValueError, match=rf"ids has length {len(ids)}.*Give a longer text\.$"):
        train_val_split(ids)


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 99), st.integers(0, 2**32))
def test_y_is_x_shifted_by_one_and_windows_lie_inside(batch_size, context_length, seed):
    generator = torch.Generator().manual_seed(seed)
    x, y = get_batch(ROW, batch_size, context_length, generator=generator)
    assert x.shape == y.shape == (batch_size, context_length)
    assert x.dtype == y.dtype == torch.int64
    steps = torch.arange(context_length)
    assert torch.equal(x, x[:, :1] + steps)  # each row is one unbroken window of data
    assert torch.equal(y, x + 1)
    assert x.min() >= ROW[0] and y.max() <= ROW[-1]


def test_every_window_is_drawn_about_equally_often_the_last_one_too():
    generator = torch.Generator().manual_seed(0)
    x, y = get_batch(ROW[:7], 8000, 3, generator=generator)  # windows begin at 0, 1, 2, 3
    counts = torch.bincount(x[:, 0] - ROW[0])
    assert len(counts) == 4
    assert y.max() == ROW[6]
    assert (counts - 2000).abs().max() < 200  # five standard deviations


def test_data_of_exactly_one_window():
    x, y = get_batch(ROW[:4], 2, 3)
    assert x.tolist() == [[1000, 1001, 1002]] * 2
    assert y.tolist() == [[1001, 1002, 1003]] * 2


def test_windows_begin_at_starts_and_all_of_them_are_used():
    starts = torch.tensor([0, 10, 25, 90])  # 90 has room for 9 ids and the one after
    generator = torch.Generator().manual_seed(0)
    x, y = get_batch(ROW, 500, 9, starts=starts, generator=generator)
    assert set(x[:, 0].tolist()) == {1000, 1010, 1025, 1090}
    assert torch.equal(y, x + 1)


def test_starts_without_room_for_a_window_are_passed_over():
    x, _ = get_batch(ROW, 500, 10, starts=[0, 89, 90, 99])
    assert set(x[:, 0].tolist()) == {1000, 1089}
    assert usable_starts([0, 4, 8], n_ids=10, n_windows=7).tolist() == [0, 4]


@pytest.mark.parametrize("starts", [None, [3, 40, 41]])
def test_the_same_seed_draws_the_same_batches(starts):
    def draw(seed):
        generator = torch.Generator().manual_seed(seed)
        return torch.stack(
            [get_batch(ROW, 30, 5, starts=starts, generator=generator)[0] for _ in range(3)]
        )

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    first, second, _ = draw(1)
    assert not torch.equal(first, second)


def test_a_generator_leaves_torchs_own_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    get_batch(ROW, 4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.rand(2), expected)


def test_lists_and_small_integers_are_data_too():
    for data in (ROW.tolist(), ROW.to(torch.int32), ROW.to(torch.int16), ROW.numpy()):
        x, y = get_batch(data, 2, 5, generator=torch.Generator().manual_seed(0))
        assert x.dtype == y.dtype == torch.int64
        assert torch.equal(y, x + 1)


def test_batches_can_be_reshaped_in_place_and_go_to_a_device():
    x, y = get_batch(ROW, 2, 5, device="meta")
    assert x.device.type == y.device.type == "meta"
    x, y = get_batch(ROW, 2, 5)
    assert x.view(-1).shape == y.view(-1).shape == (10,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": ROW[:5], "context_length": 5}, r"data has length 5, .*context_length \+ 1 = 6"),
        ({"data": []}, "data"),
        ({"data": ROW.view(10, 10)}, r"data must be one row .* shape \(10, 10\)"),
        ({"data": ROW.float()}, "data must be one row of whole numbers"),
        ({"data": ROW[:1], "context_length": 5}, r"data has length 1, .*6\. Give a longer text\.$"),
        ({"data": ROW[:5], "context_length": 5}, "Give a longer text or a smaller context_length"),
        ({"data": ROW.to(torch.complex128)}, "data must be one row of whole numbers.*complex128"),
        ({"data": "abc"}, "data must be one row of whole numbers.*got str"),
        ({"data": ["a", "b"]}, "data must be one row of whole numbers.*got list"),
        ({"data": [[0, 1], [2]]}, "data must be one row of whole numbers.*got list"),
        ({"data": None}, "data must be one row of whole numbers.*got NoneType"),
        ({"data": [2**70] * 9}, "data must be one row of whole numbers.*got list"),
        ({"data": torch.full((9,), -1)}, "data holds the token id -1; allowed are 0 or more"),
        ({"vocab_size": 1000}, "data holds the token id 10.*0 to 999.*tokenizer with more tokens"),
        ({"batch_size": 0}, "batch_size must be a whole number, 1 or more; got 0"),
        ({"batch_size": 1.5}, "batch_size must be a whole number, 1 or more; got 1.5"),
        ({"context_length": 0}, "context_length must be a whole number, 1 or more; got 0"),
        ({"context_length": "5"}, "context_length must be a whole number, 1 or more; got '5'"),
        ({"starts": [0, 100]}, "starts holds 100, .* from 0 to 99"),
        ({"starts": [-1, 5]}, "starts holds -1, .* from 0 to 99"),
        ({"starts": [96, 98]}, "no position from 0 to 94.*or a context_length of at most 3"),
        ({"starts": [99]}, r"no position from 0 to 94.*Give earlier starts\.$"),
        ({"starts": torch.tensor([], dtype=torch.long)}, "starts has no position.*or be None"),
        ({"starts": []}, "starts has no position.*one or more from 0 to 94"),
        ({"starts": [0.5]}, "starts must be one row of whole numbers"),
        ({"starts": [[0]]}, "starts must be one row"),
    ],
)
def test_bad_arguments_are_named(arguments, message):
    arguments = {"data": ROW, "batch_size": 2, "context_length": 5, **arguments}
    with pytest.raises(ValueError, match=message):
        get_batch(**arguments)


def test_the_advice_helps():
    """What a message proposes is accepted, one case for each proposal."""
    get_batch(ROW, 2, 3, starts=[96, 98])  # "a context_length of at most 3"
    get_batch(ROW[:5], 2, 4)  # "a smaller context_length"
    for n, fraction, words in ((2, 0.9, "nearer to 0.5"), (1, 0.9, r"a longer text\.$")):
        with pytest.raises(ValueError, match=words):
            train_val_split(range(n), fraction)
    assert [len(part) for part in train_val_split(range(2), 0.5)] == [1, 1]


def test_the_vocabulary_s_size_is_a_limit_that_is_not_reached():
    x, y = get_batch(ROW, 50, 9, vocab_size=1100)
    assert x.max() < 1100 and y.max() < 1100
    # Ids that were not drawn are nobody's business: a file may hold more than can be looked at.
    get_batch(torch.tensor([0, 1, 2, -1]), 9, 2, starts=[0])
    with pytest.raises(ValueError, match="token id -1"):
        get_batch(torch.tensor([0, 1, 2, -1]), 9, 2, starts=[1])


@pytest.mark.parametrize("kind", [torch.uint8, torch.int8, torch.uint16, torch.int32, torch.uint64])
def test_any_whole_numbers_become_int64(kind):
    x, y = get_batch(torch.arange(50).to(kind), 3, 5, vocab_size=50)
    assert x.dtype == y.dtype == torch.int64
    assert torch.equal(y, x + 1)


def test_windows_dealt_out_at_random_carry_validation_text_into_training():
    n, T = 5_000, 64
    order = torch.randperm(n - T, generator=torch.Generator().manual_seed(0))
    held_out, trained = order[: len(order) // 10], order[len(order) // 10 :]
    seen = torch.zeros(n, dtype=bool)
    seen[(trained[:, None] + torch.arange(T + 1)).flatten()] = True
    shares = seen[held_out[:, None] + torch.arange(T + 1)].float().mean(dim=1)
    assert shares.min() > 0.9
    train, val = train_val_split(torch.arange(n))
    assert train.max() < val.min()  # cut in one place, they share nothing

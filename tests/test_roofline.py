"""The two limits of a machine, and where the operations of a model stand under them."""

from __future__ import annotations

import pytest
import torch

from gptlib.gpt import GPTConfig, flops_per_token
from gptlib.roofline import Machine, Operation, measure_machine, operations, seconds, share_of_peak

CONFIG = GPTConfig.preset("stories")


def test_the_roof_is_the_lower_of_two_limits():
    machine = Machine(peak=100e9, bandwidth=20e9)
    assert machine.ridge == 5
    assert machine.roof(1) == 20e9 and machine.roof(5) == machine.roof(80) == 100e9
    with pytest.raises(AttributeError, match="cannot assign"):
        machine.peak = 1.0


def test_the_products_of_a_step_are_all_of_its_flops():
    """What the products and attention of all blocks and the head need is what the formula says."""
    found = {op.name: op for op in operations(CONFIG, batch_size=3)}
    block = sum(found[name].flops for name in ("qkv", "project", "expand", "contract", "attention"))
    tokens = 3 * CONFIG.context_length
    whole = CONFIG.n_layer * block + found["head"].flops
    assert whole == flops_per_token(CONFIG, training=False) * tokens


def test_bytes_are_those_of_inputs_and_outputs():
    found = {op.name: op for op in operations(CONFIG, batch_size=2)}
    rows, C = 2 * 128, 64
    assert found["add"].bytes == 4 * 3 * rows * C
    assert found["expand"].bytes == 4 * (rows * C + 4 * C * C + rows * 4 * C)
    assert found["head"].bytes == 4 * (rows * C + 1536 * C + rows * 1536)
    assert found["attention"].bytes == 4 * 4 * rows * C  # queries, keys, values, and what comes out
    assert found["norm"].bytes == 4 * 2 * rows * C
    assert found["gelu"].bytes == 4 * 2 * rows * 4 * C
    assert found["cross-entropy"].bytes == 4 * rows * 1536  # one number comes out
    half = {op.name: op for op in operations(CONFIG, 2, torch.bfloat16)}
    assert all(half[name].bytes == found[name].bytes / 2 for name in found)
    assert all(half[name].flops == found[name].flops for name in found)


def test_every_operation_runs_and_gives_what_the_model_s_own_parts_give_in_shape():
    shapes = {
        "norm": (256, 64), "qkv": (256, 192), "attention": (2, 4, 128, 16), "project": (256, 64),
        "add": (256, 64), "expand": (256, 256), "gelu": (256, 256), "contract": (256, 64),
        "head": (256, 1536), "cross-entropy": (),
    }  # fmt: skip
    assert {op.name: tuple(op.run().shape) for op in operations(CONFIG, 2)} == shapes


def test_more_rows_make_a_product_denser_and_leave_a_sum_as_it_is():
    few = {op.name: op.intensity for op in operations(CONFIG, 1)}
    many = {op.name: op.intensity for op in operations(CONFIG, 16)}
    assert many["expand"] > 1.2 * few["expand"] and many["add"] == few["add"] == 1 / 12


def test_seconds_is_the_shortest_round_and_waits_for_short_calls(monkeypatch):
    clock = iter([0.0, 0.001, 1.0, 1.5, 2.0, 2.004, 3.0, 3.002, 4.0, 4.006])
    monkeypatch.setattr("gptlib.roofline.time.perf_counter", lambda: next(clock))
    calls = []
    # rounds of 1 call (too short) and of 2, then three that count
    assert seconds(lambda: calls.append(0), rounds=3) == pytest.approx(0.001)
    assert len(calls) == 1 + 1 + 2 + 3 * 2


def test_a_machine_is_measured_in_plain_units():
    machine = measure_machine(n=64, rounds=1)
    assert machine.peak > 1e6 and machine.bandwidth > 1e6


def test_the_share_of_peak_is_flops_needed_over_flops_there():
    assert share_of_peak(CONFIG, 1000, 1000 * flops_per_token(CONFIG)) == 1
    assert share_of_peak(CONFIG, 500, 1000 * flops_per_token(CONFIG)) == 0.5


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: operations(CONFIG, 0), "batch_size"),
        (lambda: measure_machine(n=0), "n"),
        (lambda: seconds(lambda: None, rounds=0), "rounds"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(act, message):
    with pytest.raises(ValueError, match=message):
        act()


def test_an_operation_s_intensity():
    add = Operation("add", 10, 120, None)
    assert add.intensity == pytest.approx(1 / 12)
    with pytest.raises(AttributeError, match="cannot assign"):
        add.bytes = 1

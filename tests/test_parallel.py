"""What ranks read, send and keep: published figures, and two real processes."""

from __future__ import annotations

import multiprocessing

import pytest
import torch
import torch.distributed as dist
from torch import nn

from gptlib.gpt import GPT, GPTConfig
from gptlib.parallel import (
    SHARDED,
    average_gradients,
    bytes_kept,
    bytes_sent,
    pipeline_idle,
    ring_all_reduce,
    share_of_batch,
)

CONFIG = GPTConfig(vocab_size=11, context_length=8, n_layer=1, n_head=2, n_embd=8, dropout=0.0)


@pytest.mark.parametrize("world_size", [1, 2, 3, 6])
def test_the_shares_of_all_ranks_are_the_batch(world_size):
    idx = torch.arange(24).view(6, 4)
    shares = [share_of_batch(idx, rank, world_size) for rank in range(world_size)]
    assert torch.equal(torch.cat(shares), idx)


def test_rows_that_cannot_be_dealt_out_are_refused():
    with pytest.raises(ValueError, match="7 rows cannot be dealt out evenly to 2"):
        share_of_batch(torch.zeros(7, 3), 0, 2)


@pytest.mark.parametrize("n", [1, 5, 12])
@pytest.mark.parametrize("N", [1, 2, 3, 5])
def test_a_ring_adds_and_nobody_sends_more_than_twice_the_vector(N, n):
    drawn = torch.Generator().manual_seed(N)
    vectors = [torch.randint(-9, 10, (n,), generator=drawn) for _ in range(N)]
    before = [vector.clone() for vector in vectors]
    sums, sent = ring_all_reduce(vectors)
    assert all(torch.equal(each, torch.stack(vectors).sum(0)) for each in sums)
    assert all(map(torch.equal, vectors, before))  # those that came in are as they were
    assert sum(sent) == 2 * (N - 1) * n
    if n % N == 0:
        assert sent == [2 * n * (N - 1) // N] * N


def test_memory_is_that_of_the_paper():
    """Rajbhandari et al., 2020, figure 1: 7.5 billion parameters, 64 devices, in GB."""
    found = [round(bytes_kept(7_500_000_000, 64, word) / 1e9, 1) for word in SHARDED]
    assert found == [120.0, 31.4, 16.6, 1.9]
    assert all(bytes_kept(1000, 1, word) == 16_000 for word in SHARDED)
    assert bytes_kept(1000, sharded="weights") == 16_000  # one rank, where nothing is said
    with pytest.raises(ValueError):
        bytes_kept(1000, 2, "everything")


def test_traffic_is_that_of_the_paper_and_of_the_ring():
    """Section 7 of it: gradients cost 2 Ψ numbers, sharded weights 3 Ψ, for many devices."""
    big = 10**6
    assert bytes_sent(1000, big) / 2000 == pytest.approx(2, rel=1e-5)
    assert bytes_sent(1000, big, "gradients") == bytes_sent(1000, big)
    assert bytes_sent(1000, big, "weights") / 2000 == pytest.approx(3, rel=1e-5)
    _, sent = ring_all_reduce([torch.zeros(12) for _ in range(4)])
    assert [2 * numbers for numbers in sent] == [bytes_sent(12, 4)] * 4
    assert bytes_sent(1000, 1) == 0


@pytest.mark.parametrize(("stages", "pieces"), [(1, 5), (2, 3), (4, 12), (7, 1)])
def test_a_pipeline_waits_as_its_timetable_says(stages, pieces):
    from gptlib.exercises.scale_memory import timetable

    table = timetable(stages, pieces)
    waits = sum(row.count(None) for row in table)
    assert waits / sum(map(len, table)) == pytest.approx(pipeline_idle(stages, pieces))


def rank_of_two(rank: int, port: int, out) -> None:
    torch.set_num_threads(1)
    store = dist.TCPStore("127.0.0.1", port, 2, is_master=rank == 0)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    torch.manual_seed(0)
    model = GPT(CONFIG)
    model.unused = nn.Parameter(torch.ones(1))  # has no gradient, and nobody waits for it
    idx = torch.randint(11, (4, 9), generator=torch.Generator().manual_seed(1))
    mine = share_of_batch(idx, rank, 2)
    model(mine[:, :-1], mine[:, 1:])[1].backward()
    average_gradients(model)
    out.put((rank, {n: p.grad.tolist() for n, p in model.named_parameters() if p.grad is not None}))
    dist.barrier()
    dist.destroy_process_group()


def test_two_real_processes_have_the_gradient_of_the_whole_batch():
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    spawn = multiprocessing.get_context("spawn")
    out = spawn.Queue()
    started = [spawn.Process(target=rank_of_two, args=(rank, port, out)) for rank in range(2)]
    for one in started:
        one.start()
    found = dict(out.get(timeout=120) for _ in started)
    for one in started:
        one.join(60)
        assert one.exitcode == 0
    torch.manual_seed(0)
    model = GPT(CONFIG)
    idx = torch.randint(11, (4, 9), generator=torch.Generator().manual_seed(1))
    model(idx[:, :-1], idx[:, 1:])[1].backward()
    for name, parameter in model.named_parameters():
        for rank in range(2):
            torch.testing.assert_close(torch.tensor(found[rank][name]), parameter.grad)

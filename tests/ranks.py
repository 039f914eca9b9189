"""Processes that are forked from a test and share a gloo group."""

from __future__ import annotations

import multiprocessing
from contextlib import suppress
from pathlib import Path
from queue import Empty

import torch
import torch.distributed as dist


def in_ranks(n: int, folder: Path, work, *args) -> list:
    """What work(rank, *args) gives in n forked processes that share a gloo group."""
    folder.mkdir()
    forked = multiprocessing.get_context("fork")
    queue = forked.Queue()
    processes = [
        forked.Process(target=_as_rank, args=(rank, n, folder, queue, work, args))
        for rank in range(n)
    ]
    for process in processes:
        process.start()
    found: dict = {}
    while len(found) < n:
        assert all(process.exitcode in (None, 0) for process in processes)
        with suppress(Empty):
            found |= [queue.get(timeout=1)]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    return [found[rank] for rank in range(n)]


def _as_rank(rank, n, folder, queue, work, args):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=n)
    queue.put((rank, work(rank, *args)))
    dist.barrier()
    dist.destroy_process_group()

"""One model trained by several processes, each on its own rows of every batch.

Given, not built. What stands around the model is PyTorch's own: DistributedDataParallel, which
keeps a whole copy in every process and takes the mean of their gradients, or `fully_shard`, which
keeps in each a part of every weight, of its gradient and of AdamW's averages.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from gptlib.engine.processes import Processes

# Buffers need not travel at every step: those of our models are computed, and the same everywhere.
KNOWN = inspect.signature(DistributedDataParallel).parameters
KEEP = next(name for name in ("forward_sync_buffers", "broadcast_buffers") if name in KNOWN)


class Shared(nn.Module):
    """A model that is given a whole batch and works on this process's share of it.

    idx, targets (B, T) -> the logits of its own B / world_size rows, and the loss of all B. The
    gradient that `backward` leaves is that of the mean over all rows, as in one process: shares are
    of the same size, and in a text every target counts. Sums are added up in another order, so the
    last digits differ. Without targets it is the model itself.

    Dropout: all processes draw one number a batch from the generator that they have in common, and
    drop by a generator of their own that begins there. So no two rows share a mask, and a run with
    as many processes repeats itself, but masks are others than in one process or in another number.
    What a mixture of experts says of its balance is the mean of what the shares say.

    every: batches in a step; the gradients travel with the last of them.
    """

    def __init__(self, module: nn.Module, processes: Processes, every: int = 1):
        super().__init__()
        self.module, self.processes, self.every, self.batches = module, processes, every, 0

    def forward(
        self, idx: torch.Tensor, targets: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        if targets is None:
            return self.module(idx)
        own = self.processes.share(len(idx))
        if self.training and isinstance(self.module, DistributedDataParallel):
            self.batches += 1
            self.module.require_backward_grad_sync = self.batches % self.every == 0
        with self._own_numbers(idx.device):
            logits, loss = self.module(idx[own], targets[own])
        mean = loss.detach().clone()
        dist.all_reduce(mean)
        return logits, mean / self.processes.world_size + (loss - loss.detach())

    @contextmanager
    def _own_numbers(self, device: torch.device) -> Iterator[None]:
        """Random numbers that no other process draws; afterwards all have the same again."""
        if not self.training:
            yield
            return
        begin = int(torch.randint(2**62, ()))
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(begin + self.processes.rank)
            yield


def shared(
    model: Any, processes: Processes, device: torch.device, *, shard: bool = False, every: int = 1
) -> Any:
    """The model on its device, ready for all processes; in one process it stays as it is."""
    if processes.world_size == 1:
        return model
    if shard:
        return Shared(sharded(model, processes, device), processes, every)
    cards = [torch.cuda.current_device()] if device.type == "cuda" else None
    options: dict[str, Any] = {"device_ids": cards, "gradient_as_bucket_view": True, KEEP: False}
    ddp = DistributedDataParallel(model.to(device), **options)
    return Shared(ddp, processes, every)


def sharded(model: Any, processes: Processes, device: torch.device) -> Any:
    """The model, in place, with a part of every weight in each process: FSDP2's `fully_shard`.

    Block by block, so that never more than one block is whole at a time.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (processes.world_size,))
    for block in model.blocks:
        fully_shard(block, mesh=mesh)
    # After an evaluation, too, each has its part alone: a checkpoint may be next.
    return fully_shard(model, mesh=mesh, reshard_after_forward=True)

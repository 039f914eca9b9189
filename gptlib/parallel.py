"""Several processes that train one model: who reads what, what they exchange, what each keeps.

Built in chapter 11. A process is known by its rank, 0 to world_size - 1. Sources: P. Patarasu and
X. Yuan, "Bandwidth Optimal All-reduce Algorithms for Clusters of Workstations", 2009; S.
Rajbhandari and others, "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models",
2020.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import nn

# Bytes for a parameter in training with 16-bit weights: (Rajbhandari et al., 2020), section 3.1.
WEIGHT, GRADIENT = 2, 2
OPTIMIZER = 12  # AdamW's two averages, and the weights themselves in 32 bits
SHARDED = ("nothing", "optimizer", "gradients", "weights")  # each with what stands before it


def share_of_batch(idx: torch.Tensor, rank: int, world_size: int) -> torch.Tensor:
    """The rows of a batch (B, ...) that a rank reads, (B / world_size, ...).

    Errors: ValueError where the rows cannot be dealt out evenly.

    share_of_batch(torch.arange(6), rank=1, world_size=2).tolist() -> [3, 4, 5]
    """
    rows, left = divmod(len(idx), world_size)
    if left:
        raise ValueError(f"{len(idx)} rows cannot be dealt out evenly to {world_size}")
    return idx[rank * rows : (rank + 1) * rows]


def ring_all_reduce(vectors: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[int]]:
    """Add one vector (n,) of each rank: what every rank has at the end, and how much it has sent.

    Each rank sends to the next one alone, a piece of a world_size-th at a time. In the first
    world_size - 1 steps what arrives is added, in as many more it is kept.

    ring_all_reduce([torch.tensor([1, 2]), torch.tensor([10, 20])])[1] -> [2, 2]
    """
    N = len(vectors)
    pieces = [list(vector.tensor_split(N)) for vector in vectors]
    sent = [0] * N
    for step in range(2 * (N - 1)):
        for rank in range(N):  # no rank passes on what has arrived in the same step
            k, to = (rank - step) % N, (rank + 1) % N
            piece = pieces[rank][k]
            pieces[to][k] = pieces[to][k] + piece if step < N - 1 else piece
            sent[rank] += piece.numel()
    return [torch.cat(own) for own in pieces], sent


def average_gradients(model: nn.Module) -> None:
    """Put the mean over all ranks in place of each gradient; every rank has to call it.

    Needs a process group, see torch.distributed.init_process_group.
    """
    for parameter in model.parameters():
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= dist.get_world_size()


def bytes_kept(parameters: int, world_size: int = 1, sharded: str = "nothing") -> float:
    """Bytes that a rank keeps of a model in training, activations left out.

    sharded: what is cut into world_size parts instead of being kept whole by every rank: "nothing",
    "optimizer", "gradients" (and the optimiser's numbers), or "weights" (all three).
    Errors: ValueError for another word.

    bytes_kept(7_500_000_000) -> 120e9
    bytes_kept(7_500_000_000, world_size=64, sharded="weights") -> 1.875e9
    """
    level = SHARDED.index(sharded)
    kept = 0.0
    for k, size in enumerate((OPTIMIZER, GRADIENT, WEIGHT), start=1):
        kept += parameters * size / (world_size if k <= level else 1)
    return kept


def bytes_sent(parameters: int, world_size: int, sharded: str = "nothing") -> float:
    """Bytes that a rank sends in a step, along rings, with gradients and weights in 16 bits.

    Gradients are added once around and handed out once around. Where the weights are sharded they
    are handed out twice instead, for the way forward and for the way back.

    bytes_sent(1_000_000, world_size=2) -> 2e6
    """
    rounds = 3 if sharded == "weights" else 2
    return rounds * parameters * GRADIENT * (world_size - 1) / world_size


def pipeline_idle(stages: int, pieces: int) -> float:
    """The share of the time in which a stage of a pipeline waits, with a batch in so many pieces.

    Source: Y. Huang et al., "GPipe", 2019.

    pipeline_idle(stages=4, pieces=12) -> 0.2
    """
    return (stages - 1) / (pieces + stages - 1)

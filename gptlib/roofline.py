"""How fast could it be? Two limits of a machine, and where each operation of a model stands.

Built in chapter 10. A processor computes so many operations a second, and moves so many bytes a
second between memory and itself. An operation of a model needs some of both, and the one that takes
longer decides. Source: S. Williams, A. Waterman, D. Patterson, "Roofline: An Insightful Visual
Performance Model for Multicore Architectures", 2009.

Tensor letters: B sequences, T tokens, C = n_embd numbers a token, V tokens in the vocabulary.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from gptlib.given.checks.tensors import check_count
from gptlib.gpt import GPTConfig, flops_per_token
from gptlib.layers import gelu


@dataclass(frozen=True)
class Operation:
    """One operation: its name, its FLOPs, the bytes it must move, and a function that does it.

    FLOPs: floating-point operations, a multiplication and an addition being two. Bytes: each input
    read once and each output written once, which is the least that any machine can do.

    Operation("add", flops=12, bytes=120, run=None).intensity -> 0.1
    """

    name: str
    flops: float
    bytes: float
    run: Callable[[], Any] | None

    @property
    def intensity(self) -> float:
        """FLOPs a byte."""
        return self.flops / self.bytes


@dataclass(frozen=True)
class Machine:
    """The two limits: peak (FLOPs a second) and bandwidth (bytes a second).

    Machine(peak=100e9, bandwidth=20e9).ridge -> 5.0
    """

    peak: float
    bandwidth: float

    @property
    def ridge(self) -> float:
        """The intensity from which on computing takes longer than moving, in FLOPs a byte."""
        return self.peak / self.bandwidth

    def roof(self, intensity: float) -> float:
        """FLOPs a second that an operation of this intensity can reach at most.

        Machine(peak=100e9, bandwidth=20e9).roof(2.0) -> 4e10
        """
        return min(self.peak, self.bandwidth * intensity)


def seconds(run: Callable[[], Any], rounds: int = 7, at_least: float = 0.02) -> float:
    """How long one call takes: the shortest of several rounds, each of as many calls as fill one.

    The shortest, because what disturbs a measurement only ever makes it longer. at_least: seconds
    that a round lasts, so that the clock's own steps do not count.
    """
    check_count(rounds=rounds)
    run()  # the first call fills caches and reserves memory
    calls, best = 1, float("inf")
    while True:
        took = _round(run, calls)
        if took >= at_least:
            break
        calls *= 2
    for _ in range(rounds):
        best = min(best, _round(run, calls) / calls)
    return best


def _round(run: Callable[[], Any], calls: int) -> float:
    """Seconds that so many calls take; a GPU is waited for."""
    began = time.perf_counter()
    for _ in range(calls):
        run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def measure_machine(
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    n: int = 1024,
    rounds: int = 7,
) -> Machine:
    """The machine's limits as they can be met: a large matrix product, and a copy of many bytes.

    n: rows of the square matrices, so that their product has 2 · n³ FLOPs; the copy moves 16 · n²
    numbers, read and written, far more than a cache holds where n is 1024 or more.
    """
    check_count(n=n, rounds=rounds)
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(a)
    peak = 2 * n**3 / seconds(lambda: torch.mm(a, b, out=out), rounds)
    source = torch.zeros(16 * n * n, device=device, dtype=dtype)
    target = torch.empty_like(source)
    moved = 2 * source.numel() * source.element_size()
    return Machine(peak, moved / seconds(lambda: target.copy_(source), rounds))


def operations(config: GPTConfig, batch_size: int, dtype: torch.dtype = torch.float32) -> list:
    """The operations of one block and of the head, forward, each ready to be measured.

    One of each kind, on random numbers: (B, T, C) with T the longest text of the config.

    operations(GPTConfig.preset("stories"), 8)[0].name -> "norm"
    operations(GPTConfig.preset("stories"), 8)[1].flops -> 25_165_824
    """
    check_count(batch_size=batch_size)
    B, T, C, V = batch_size, config.context_length, config.n_embd, config.vocab_size
    x = torch.randn(B * T, C, dtype=dtype)
    wide = torch.randn(B * T, 4 * C, dtype=dtype)
    q, k, v = torch.randn(3, B, config.n_head, T, C // config.n_head, dtype=dtype)
    logits, targets = torch.randn(B * T, V, dtype=dtype), torch.randint(V, (B * T,))
    scale = torch.ones(C, dtype=dtype)

    def product(name: str, rows: torch.Tensor, n_out: int) -> Operation:
        n_rows, n_in = rows.shape
        weight = torch.randn(n_out, n_in, dtype=dtype)
        moved = rows.numel() + weight.numel() + n_rows * n_out
        flops = 2 * n_rows * n_in * n_out
        return Operation(name, flops, size * moved, lambda: F.linear(rows, weight))

    size = x.element_size()
    return [
        Operation(
            "norm", 8 * x.numel(), size * 2 * x.numel(), lambda: F.layer_norm(x, (C,), scale)
        ),
        product("qkv", x, 3 * C),
        Operation(
            "attention",
            4 * B * T * T * C,
            size * 4 * x.numel(),
            lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        ),
        product("project", x, C),
        Operation("add", x.numel(), size * 3 * x.numel(), lambda: x + x),
        product("expand", x, 4 * C),
        Operation(
            "gelu", 10 * wide.numel(), size * 2 * wide.numel(), lambda: gelu(wide, config.gelu)
        ),
        product("contract", wide, C),
        product("head", x, V),
        Operation(
            "cross-entropy",
            5 * logits.numel(),
            size * logits.numel(),
            lambda: F.cross_entropy(logits, targets),
        ),
    ]


def share_of_peak(config: GPTConfig, tokens_per_second: float, peak: float) -> float:
    """What share of a machine's peak a training run uses, by the FLOPs that it needs.

    The FLOPs are those of `flops_per_token`: what the mathematics asks for, whatever the program
    does. Known as model FLOPs utilisation; A. Chowdhery et al., "PaLM", 2022, appendix B.

    share_of_peak(GPTConfig.preset("gpt2-small"), 1e6, 854_438_400e6) -> 1.0
    """
    return flops_per_token(config) * tokens_per_second / peak

"""What does each change bring to the speed of the book's training step, on one core?

Claim: attention by hand costs a fifth of the speed, bfloat16 by autocast a third; a loop in the
place of fused AdamW less than a tenth; asking for the loss, and compiling, cannot be told from
noise.

    python experiments/rungs.py                  # minutes; writes data/runs/rungs.json
    python experiments/rungs.py --device cuda    # adds the same on a GPU

A step is forward, backward, clipping and fused AdamW on random tokens, eight windows of 128. `book`
is that step. Each of the others differs from it in one thing: attention by hand, with the weights
stored; AdamW in a loop over the tensors; loss and length of the gradient asked for in every step;
products in bfloat16 by autocast; 64 windows; `torch.compile(fullgraph=True)`. All stand ready and
are measured in turns. Recorded for each: tokens a second, the median of the rounds; `ratio`: its
tokens a second over those of the book's step in the same round, the median and the middle half;
`share`: of the peak, by the FLOPs of `flops_per_token`; `first`: seconds of the first step. `ways`:
milliseconds forward and back, in 32 bits and under autocast.
`peak`: FLOPs a second of a large product, in `float32` and `bfloat16`; the share is of the higher
of the two. `bandwidth`: bytes a second of a copy. Seconds are those of the processor on a CPU, one
thread, and of the clock on a GPU, which is waited for.
"""

from __future__ import annotations

import os
import time
from argparse import Namespace
from collections.abc import Callable
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from recording import arguments, few, load, save
from torch import nn

from gptlib import roofline
from gptlib.attention import CausalSelfAttention
from gptlib.gpt import GPT, GPTConfig
from gptlib.roofline import share_of_peak

CONFIG = GPTConfig.preset("stories")
CHANGES: dict[str, dict[str, Any]] = {
    "book": {},
    "by hand": {"by_hand": True},
    "loop": {"fused": False},
    "asking": {"ask": True},
    "bfloat16": {"half": True},
    "batch": {"batch": 64},
    "compiled": {"compiled": True},
}


class ByHand(CausalSelfAttention):
    """The same numbers, with the (T, T) weights of every head stored."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.split_heads(x)  # (B, nh, T, hs) each
        T = x.size(1)
        scores = q @ k.transpose(-2, -1) / k.size(-1) ** 0.5  # (B, nh, T, T)
        weights = F.softmax(scores.masked_fill(~self.mask[:T, :T], float("-inf")), dim=-1)
        out = (weights @ v).transpose(1, 2).reshape(x.shape)  # (B, T, C)
        return self.dropout(self.project(out))


def built(
    device: str, *, by_hand: bool = False, fused: bool = True, ask: bool = False,
    half: bool = False, batch: int = 8, compiled: bool = False,
) -> tuple[Callable[[], Any], int]:  # fmt: skip
    """A step, ready to be taken, and how many tokens it learns from."""
    torch.manual_seed(0)
    model = GPT(CONFIG)
    if by_hand:
        for block in model.blocks:
            block.attention.__class__ = ByHand
    model.to(device)
    how = {"fused": True} if fused else {"foreach": False, "fused": False}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, **how)
    asked: Any = torch.compile(model, fullgraph=True) if compiled else model
    idx = torch.randint(CONFIG.vocab_size, (batch, CONFIG.context_length), device=device)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=half):
            _, loss = asked(idx, idx)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if ask:
            loss.item(), norm.item()
        optimizer.step()

    return step, idx.numel()


def clock(device: str) -> float:
    """Seconds of the processor; of the clock where a GPU works, which is waited for."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def compared(device: str, peak: float) -> dict[str, Any]:
    """All steps, measured in turns."""
    ready = {name: built(device, **CHANGES[name]) for name in few([*CHANGES], 3)}
    took: dict[str, list[float]] = {name: [] for name in ready}
    first = {}
    for name, (step, _) in ready.items():
        began = time.perf_counter()
        step()
        clock(device)
        first[name] = time.perf_counter() - began
        step()
    for _ in range(few(40)):
        for name, (step, tokens) in ready.items():
            began = clock(device)
            step()
            took[name].append((clock(device) - began) / tokens)
    found = {}
    for name, times in took.items():
        ratios = [book / mine for book, mine in zip(took["book"], times, strict=True)]
        rate = 1 / median(times)
        found[name] = {
            "tokens_a_second": rate,
            "ratio": median(ratios),
            "middle_half": quantiles(ratios)[::2],
            "share": share_of_peak(CONFIG, rate, peak),
            "first": first[name],
        }
    return found


def two_ways(device: str) -> dict[str, dict[str, float]]:
    """Milliseconds forward and back, in 32 bits and under autocast, in turns: medians."""
    torch.manual_seed(0)
    model = GPT(CONFIG).to(device)
    idx = torch.randint(CONFIG.vocab_size, (8, CONFIG.context_length), device=device)
    took: dict[str, dict[str, list[float]]] = {
        name: {"forward": [], "backward": []} for name in ("float32", "bfloat16")
    }
    for _ in range(few(40)):
        for name, ways in took.items():
            model.zero_grad()
            began = clock(device)
            with torch.autocast(device, torch.bfloat16, enabled=name == "bfloat16"):
                _, loss = model(idx, idx)
            turned = clock(device)
            loss.backward()
            ways["forward"].append(1000 * (turned - began))
            ways["backward"].append(1000 * (clock(device) - turned))
    return {
        name: {way: median(times) for way, times in ways.items()} for name, ways in took.items()
    }


def main() -> None:
    args = arguments("rungs", __doc__, resume=False)
    with TemporaryDirectory() as folder:  # nothing that was compiled before: `first` counts
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        measure(args)


def measure(args: Namespace) -> None:
    """Measure all of it, and add it to the record."""
    torch.set_num_threads(1)
    device = args.device
    n = few(8192 if device == "cuda" else 1024, 64)
    kinds = (("float32", torch.float32), ("bfloat16", torch.bfloat16))
    alone = time.process_time if device == "cpu" else time.perf_counter
    with patch.object(roofline.time, "perf_counter", alone):
        limits = {name: roofline.measure_machine(device, kind, n) for name, kind in kinds}
    peaks = {name: limit.peak for name, limit in limits.items()}
    part: dict[str, Any] = {
        "machine": torch.cuda.get_device_name() if device == "cuda" else "one core",
        "peak": peaks,
        "bandwidth": limits["float32"].bandwidth,
        "steps": compared(device, max(peaks.values())),
        "ways": two_ways(device),
    }
    for name, found in part["steps"].items():
        print(
            f"{name:10} {found['tokens_a_second']:12,.0f} {found['ratio']:.2f} {found['share']:.1%}"
        )
    record = load(args.out) | {device: part}
    save(args, record, units="peak: FLOPs a second; bandwidth: bytes a second; first: seconds")


if __name__ == "__main__":
    main()

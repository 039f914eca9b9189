"""What does each change bring to the speed of a training step, on a processor and on a GPU?

Claim: on one core of a CPU the book's step gains little by any of them; on a GPU the same step
gains many times its speed, nearly all of it by larger batches and by a model that is larger.

    python experiments/rungs.py                  # one core; adds it to data/runs/rungs.json
    python experiments/rungs.py --device cuda    # adds the GPU

A step is forward, backward, clipping and AdamW on random tokens. The rungs are climbed one after
the other, each keeps what those below it have: attention by hand, with the weights stored, a loop
of AdamW over the tensors, float32, loss and length of the gradient asked for in every step
(`by hand`); PyTorch's fused attention; its fused AdamW; nothing asked for (`no waiting`); bfloat16
by autocast; eight times the batch; `torch.compile(fullgraph=True)`. All rungs stand ready
and are measured in turns. Recorded for each rung of the book's model (`stories`, batch 8) and, on
a GPU, of GPT-2 small (`gpt2-small`, batch 4, 1024 tokens): tokens a second, the median of the
rounds, and the middle half; `share`: of the peak, by the FLOPs of `flops_per_token`; `compiling`:
seconds of the first step where it is compiled. `peak`: FLOPs a second of a large product, in
`float32` and `bfloat16`; the share is of the higher of the two. `bandwidth`: bytes a second of a
copy. Seconds: of the processor on a
CPU, one thread; of the clock on a GPU, which is waited for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median, quantiles
from typing import Any

import torch
import torch.nn.functional as F
from recording import arguments, few, load, save
from torch import nn

from gptlib.attention import CausalSelfAttention
from gptlib.gpt import GPT, GPTConfig
from gptlib.roofline import measure_machine, share_of_peak

RUNGS = (
    "by hand", "fused attention", "fused AdamW", "no waiting", "bfloat16", "batch", "compiled",
)  # fmt: skip
SIZES = {"stories": 8, "gpt2-small": 4}  # the model and its batch
BATCHES = 8  # times the batch at the last rung
STEPS = 4  # in a round


class ByHand(CausalSelfAttention):
    """The same numbers, with the (T, T) weights of every head stored."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.split_heads(x)  # (B, nh, T, hs) each
        T = x.size(1)
        scores = q @ k.transpose(-2, -1) / k.size(-1) ** 0.5  # (B, nh, T, T)
        weights = F.softmax(scores.masked_fill(~self.mask[:T, :T], float("-inf")), dim=-1)
        out = (weights @ v).transpose(1, 2).reshape(x.shape)  # (B, T, C)
        return self.dropout(self.project(out))


def built(size: str, rung: int, device: str) -> tuple[Callable[[], Any], int]:
    """A step on this rung, ready to be taken, and how many tokens it learns from."""
    config = GPTConfig.preset(size)
    torch.manual_seed(0)
    model = GPT(config)
    if rung < 1:
        for block in model.blocks:
            block.attention.__class__ = ByHand
    model.to(device)
    fused = {"fused": True} if rung >= 2 else {"foreach": False, "fused": False}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, **fused)
    ask: Any = torch.compile(model, fullgraph=True) if rung >= 6 else model
    batch = SIZES[size] * (BATCHES if rung >= 5 else 1)
    idx = torch.randint(config.vocab_size, (batch, config.context_length), device=device)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=rung >= 4):
            _, loss = ask(idx, idx)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if rung < 3:
            loss.item(), norm.item()
        optimizer.step()

    return step, idx.numel()


def clock(device: str) -> float:
    """Seconds of the processor; of the clock where a GPU works, which is waited for."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def climb(size: str, device: str, peak: float) -> dict[str, Any]:
    """All rungs of a size, measured in turns."""
    ready = [built(size, rung, device) for rung in range(len(few(RUNGS, 3)))]
    took: list[list[float]] = [[] for _ in ready]
    compiling = []
    for step, _ in ready:
        began = time.perf_counter()
        step()
        clock(device)
        compiling.append(time.perf_counter() - began)
        step()
    steps = few(STEPS, 1)
    for _ in range(few(25 if device == "cuda" else 9)):
        for (step, _), times in zip(ready, took, strict=True):
            began = clock(device)
            for _ in range(steps):
                step()
            times.append((clock(device) - began) / steps)
    found = {}
    for rung, (_, tokens) in enumerate(ready):
        rates = [tokens / seconds for seconds in took[rung]]
        rate = median(rates)
        found[RUNGS[rung]] = {
            "tokens_a_second": rate,
            "middle_half": quantiles(rates)[::2],
            "share": share_of_peak(GPTConfig.preset(size), rate, peak),
        }
        if rung >= 6:
            found[RUNGS[rung]]["compiling"] = compiling[rung]
    return found


def main() -> None:
    args = arguments("rungs", __doc__, resume=False)
    torch.set_num_threads(1)
    device = args.device
    if device == "cuda":
        torch.set_float32_matmul_precision("high")
    n = few(8192 if device == "cuda" else 1024, 64)
    limits = {
        name: measure_machine(device, dtype, n)
        for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16))
    }
    peaks = {name: limit.peak for name, limit in limits.items()}
    part: dict[str, Any] = {
        "peak": peaks,
        "bandwidth": limits["float32"].bandwidth,
        "machine": torch.cuda.get_device_name() if device == "cuda" else "one core",
        "torch": torch.__version__,
    }
    for size in SIZES if device == "cuda" else ["stories"]:
        part[size] = climb(size, device, max(peaks.values()))
        for rung, found in part[size].items():
            print(f"{size:10} {rung:16} {found['tokens_a_second']:12,.0f} {found['share']:7.2%}")
    record = load(args.out) | {device: part}
    save(
        args,
        record,
        units="peak: FLOPs a second; bandwidth: bytes a second; compiling: seconds",
    )


if __name__ == "__main__":
    main()

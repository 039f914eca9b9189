"""How much memory training takes: ours, nanoGPT's `model.py`, and what the book's formula says.

    GPTLIB_NANOGPT=PATH_OF_A_NANOGPT_CHECKOUT python book/tasks.py bench memory

Two sizes: nanoGPT's recipe for a laptop (0.8M parameters, 12 × 64 tokens) and GPT-2 small (124M,
2 × 256 tokens). Each model is built in a process of its own and takes three steps with AdamW, as in
`step_time`; what is kept is by how much that raised the most memory that the process has held. The
formula is `gptlib.gpt.training_memory`: weights, gradients, averages, activations. What it leaves
out is what PyTorch's kernels hold while they work.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import measuring
import peers
import torch
from step_time import BETAS, GRAD_CLIP, LR, WEIGHT_DECAY, build_peer, load_peer, peer_optimizer

from gptlib import __version__
from gptlib.gpt import GPT, GPTConfig, training_memory
from gptlib.training import TrainConfig, make_optimizer

STEPS = 3
# A preset, changes to it, sequences in a batch. Unlike GPT-2's own, the GELU is nanoGPT's.
SIZES: dict[str, tuple[GPTConfig, int]] = {
    "nanogpt-cpu": (GPTConfig.preset("nanogpt-cpu"), 12),
    "gpt2-small": (GPTConfig.preset("gpt2-small", context_length=256, gelu="none"), 2),
}


def train(who: str, config: GPTConfig, batch_size: int, peer: str) -> None:
    """Build the model and take the steps."""
    if who == "ours":
        model: torch.nn.Module = GPT(config)
        recipe = TrainConfig(lr=LR, betas=BETAS, weight_decay=WEIGHT_DECAY)
        optimizer = make_optimizer(model, recipe)
    else:
        module = load_peer(Path(peer))
        model = build_peer(module, config)
        optimizer = peer_optimizer(module, model)
    for _ in range(STEPS):
        tokens = torch.randint(config.vocab_size, (batch_size, config.context_length + 1))
        _, loss = model(tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), GRAD_CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def child(who: str, size: str, peer: str) -> None:
    """A process of its own: first a model of no size, for what PyTorch loads at a first step."""
    config, batch_size = SIZES[size]
    train(who, replace(config, vocab_size=8, n_layer=1, n_head=1, n_embd=8), batch_size, peer)
    measuring.tell_peak(lambda: train(who, config, batch_size, peer))


def measure(who: list[str], size: str, peer: str, rounds: int) -> dict[str, Any]:
    """MB of each at one size: the median of several processes, in turn."""
    config, batch_size = SIZES[size]
    mb: dict[str, list[float]] = {name: [] for name in who}
    for i in range(rounds):
        for name in who[i % len(who) :] + who[: i % len(who)]:
            told = measuring.peak_of(__file__, "--child", name, size, peer)
            mb[name].append(told["work_mb"])
    formula = {part: n / 1e6 for part, n in training_memory(config, batch_size).items()}
    middle = {name: round(statistics.median(each), 1) for name, each in mb.items()}
    result: dict[str, Any] = {"mb": middle, "formula_mb": round(sum(formula.values()), 1)}
    if "nanogpt" in middle:
        result["ratio"] = round(middle["ours"] / middle["nanogpt"], 3)
    return result


def main() -> None:
    """Measure, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    peers.add_argument(parser, "nanoGPT")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.child:
        return child(*args.child)
    if args.rounds < 1:
        parser.error("--rounds must be 1 or more")
    checkout = peers.found(args.peer, "nanoGPT")
    lacking = [checkout] if isinstance(checkout, str) else []
    who, peer = (["ours"], "") if lacking else (["ours", "nanogpt"], str(checkout))
    sizes = {size: measure(who, size, peer, args.rounds) for size in args.sizes}
    for size, one in sizes.items():
        each = ", ".join(f"{name} {mb:,.1f} MB" for name, mb in one["mb"].items())
        print(f"{size}: {each}; by the formula {one['formula_mb']:,.1f} MB")
    result = {
        "claim": "training takes at most as much memory as nanoGPT's",
        "target": 1.0,
        "rounds": args.rounds,
        "steps": STEPS,
        "sizes": sizes,
        **measuring.about(
            gptlib=__version__,
            torch=torch.__version__,
            nanoGPT="none" if lacking else peers.git_commit(Path(peer)),
        ),
    }
    measuring.keep(args.out, "memory", result, lacking)


if __name__ == "__main__":
    sys.exit(main())

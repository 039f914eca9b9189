"""How many tokens a second GPT-2 small learns on a GPU, beside nanoGPT at equal settings.

    GPTLIB_NANOGPT=PATH_OF_A_NANOGPT_CHECKOUT python book/tasks.py bench gpu_step

nanoGPT's settings for 124 million parameters: 12 layers, 12 heads, width 768, context 1024, batch
12, a vocabulary of 50,304, no biases, no dropout; bfloat16 by autocast, float32 weights, TF32,
`torch.compile`, fused AdamW, gradients clipped at 1. Both begin with the same weights and see the
same random tokens. A step is forward, backward, clipping and AdamW.

Both take turns in one process, and the order changes from round to round; the figure is the median
over the rounds. `attention` names the kernels that did it: a difference there would be one of
PyTorch's choice and not of the models. `utilisation`: the operations of a step (the formula of
`gptlib.gpt.flops_per_token`, causal attention counted whole, as nanoGPT counts it) beside what a
large product of two bfloat16 matrices reaches on the same card in the same run.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from datetime import date
from pathlib import Path
from typing import Any

import peers
import torch
from step_time import build_peer, copy_weights, load_peer, peer_optimizer

from gptlib.given.files import write_text
from gptlib.gpt import GPT, GPTConfig, flops_per_token
from gptlib.training import TrainConfig, make_optimizer

CONFIG = GPTConfig.preset("gpt2-small", vocab_size=50304, bias=False, gelu="none")
BATCH_SIZE, LR, BETAS, WEIGHT_DECAY, GRAD_CLIP = 12, 6e-4, (0.9, 0.95), 0.1, 1.0
RESULT = Path(__file__).parent / "results" / "gpu_step.json"
ORDER = ("ours", "nanogpt")


class Runner:
    """A compiled model, its optimizer and the same batches again and again."""

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        batches: list[torch.Tensor],
    ):
        self.model, self.optimizer, self.batches = model, optimizer, batches
        self.step = torch.compile(model)
        self.rounds: list[float] = []
        self.loss = float("nan")

    def run(self) -> None:
        """One step on each batch; notes milliseconds a step, by the GPU's own clock."""
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for batch in self.batches:
            with torch.autocast("cuda", torch.bfloat16):
                _, loss = self.step(*batch)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRAD_CLIP)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        end.record()
        torch.cuda.synchronize()
        self.loss = loss.item()
        self.rounds.append(begin.elapsed_time(end) / len(self.batches))

    def attention_kernels(self) -> list[str]:
        """Which kernels of the GPU do the attention: the first 60 letters of their names."""
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
            self.run()
        self.rounds.pop()
        names = {event.name[:60] for event in seen.events()}
        return sorted(n for n in names if any(k in n for k in ("flash", "cudnn", "fmha", "sdpa")))


def peak_flops(n: int = 8192, times: int = 20) -> float:
    """Operations a second of a product of two n × n matrices in bfloat16, the best of three."""
    a, b = (torch.randn(n, n, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    best = 0.0
    for _ in range(3):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(times):
            a @ b
        end.record()
        torch.cuda.synchronize()
        best = max(best, 2 * n**3 * times / (begin.elapsed_time(end) / 1000))
    return best


def runners(peer: Path, steps: int) -> dict[str, Runner]:
    """The two that take turns, with equal weights."""
    module = load_peer(peer)
    torch.manual_seed(0)
    first = GPT(CONFIG)
    batches = [
        torch.randint(CONFIG.vocab_size, (2, BATCH_SIZE, CONFIG.context_length), device="cuda")
        for _ in range(steps)
    ]
    recipe = TrainConfig(lr=LR, betas=BETAS, weight_decay=WEIGHT_DECAY)
    found = {}
    for name in ORDER:
        model: Any = build_peer(module, CONFIG) if name == "nanogpt" else GPT(CONFIG)
        if name == "nanogpt":
            copy_weights(first, model)
        else:
            model.load_state_dict(first.state_dict())
        model.to("cuda").train()
        optimizer = (
            peer_optimizer(module, model, "cuda")
            if name == "nanogpt"
            else make_optimizer(model, recipe)
        )
        for group in optimizer.param_groups:
            group["lr"] = LR
        found[name] = Runner(model, optimizer, batches)
    return found


def measure(peer: Path, rounds: int, steps: int) -> dict[str, Any]:
    """Run all in turn and return what goes into the JSON file."""
    torch.set_float32_matmul_precision("high")  # TF32, as nanoGPT sets it
    all_of_them = runners(peer, steps)
    for runner in all_of_them.values():
        runner.run()  # compiles
        runner.run()
        runner.rounds.clear()
    order = list(all_of_them.values())
    for _ in range(rounds):
        for runner in order:
            runner.run()
        order.append(order.pop(0))  # nobody is always first
    peak = peak_flops()
    tokens = BATCH_SIZE * CONFIG.context_length
    result: dict[str, Any] = {"claim": "tokens a second at least 1.1 times nanoGPT's"}
    for name, runner in all_of_them.items():
        ms = statistics.median(runner.rounds)
        result[name] = {
            "ms_a_step": round(ms, 3),
            "tokens_a_second": round(1000 * tokens / ms),
            "utilisation": round(flops_per_token(CONFIG) * tokens * 1000 / ms / peak, 3),
            "last_loss": round(runner.loss, 4),
            "attention": runner.attention_kernels(),
        }
        ratios = [a / b for a, b in zip(all_of_them["nanogpt"].rounds, runner.rounds, strict=True)]
        result[name]["times_nanogpt"] = round(statistics.median(ratios), 3)
        result[name]["middle_half"] = [round(q, 3) for q in statistics.quantiles(ratios)[::2]]
    return result | {
        "peak_tflops": round(peak / 1e12, 1),
        "rounds": rounds,
        "steps_per_round": steps,
        "date": date.today().isoformat(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "gpu": torch.cuda.get_device_name(),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    peers.add_argument(parser, "nanoGPT")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=8, help="steps in a round")
    parser.add_argument("--out", type=Path, default=RESULT)
    args = parser.parse_args()
    peer = peers.checkout(args.peer, "nanoGPT")
    if not torch.cuda.is_available():
        raise peers.Lacking("This needs a GPU with CUDA, and PyTorch finds none here.")
    result = measure(peer, args.rounds, args.steps)
    for name in ORDER:
        print(f"{name:12}", result[name])
    write_text(args.out, json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()

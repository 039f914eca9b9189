"""How long a training step of our GPT takes beside nanoGPT's `model.py`, on the CPU.

    GPTLIB_NANOGPT=PATH_OF_A_NANOGPT_CHECKOUT python book/tasks.py bench step_time

nanoGPT's recipe for a laptop: 4 layers, 4 heads, width 128, context 64, batch 12, 65 characters,
no biases, no dropout. Both models begin with the same weights and see the same random tokens. A
step is forward, backward, clipping and AdamW with the same settings (decay for matrices only).

Two ratios. `ratio`: each side as its project trains, ours with gptlib.training's optimizer, theirs
with model.py's `configure_optimizers`. `ratio_same_optimizer`: both with theirs, so that only the
models differ. The target is at most 1.0.

All take turns, in short rounds and in one process, so that whatever else the machine does hits
each; the order changes from round to round. The ratio of a round compares neighbours in time; the
figure is the median over the rounds. On a busy machine set OMP_NUM_THREADS=1: with more threads
than free cores, each product waits for its slowest thread. Without nanoGPT ours alone is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import statistics
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import measuring
import peers
import torch

from gptlib import __version__
from gptlib.gpt import GPT, GPTConfig
from gptlib.training import TrainConfig, make_optimizer

BATCH_SIZE, LR, BETAS, WEIGHT_DECAY, GRAD_CLIP = 12, 1e-3, (0.9, 0.99), 0.1, 1.0


def load_peer(checkout: Path) -> ModuleType:
    """The module `model.py` of the checkout, under a name of its own."""
    return peers.from_file(checkout / "model.py", "nanogpt_model")


def build_peer(module: ModuleType, config: GPTConfig) -> torch.nn.Module:
    """nanoGPT's model in the same shape."""
    same = ("vocab_size", "n_layer", "n_head", "n_embd", "dropout", "bias")
    fields = {name: getattr(config, name) for name in same}
    with contextlib.redirect_stdout(io.StringIO()):
        return module.GPT(module.GPTConfig(block_size=config.context_length, **fields))


def copy_weights(ours: GPT, theirs: torch.nn.Module) -> None:
    """Give the peer our weights; its head is tied to its token embedding, as ours is."""
    names = {
        "transformer.wte": ours.token_embedding,
        "transformer.wpe": ours.position_embedding,
        "transformer.ln_f": ours.final_norm,
    }
    for i, block in enumerate(ours.blocks):
        names |= {
            f"transformer.h.{i}.ln_1": block.norm_1,
            f"transformer.h.{i}.attn.c_attn": block.attention.qkv,
            f"transformer.h.{i}.attn.c_proj": block.attention.project,
            f"transformer.h.{i}.ln_2": block.norm_2,
            f"transformer.h.{i}.mlp.c_fc": block.feed_forward.expand,
            f"transformer.h.{i}.mlp.c_proj": block.feed_forward.project,
        }
    for name, module in names.items():
        theirs.get_submodule(name).load_state_dict(module.state_dict())


def peer_optimizer(
    module: ModuleType, model: torch.nn.Module, device: str = "cpu"
) -> torch.optim.Optimizer:
    """What nanoGPT trains with; it only asks for named parameters, so ours fits too."""
    with contextlib.redirect_stdout(io.StringIO()):
        return module.GPT.configure_optimizers(model, WEIGHT_DECAY, LR, BETAS, device)


class Runner:
    """A model, its optimizer and its own copy of the same stream of batches."""

    def __init__(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer, config: GPTConfig):
        self.model, self.optimizer = model.train(), optimizer
        self.config, self.loss = config, float("nan")
        self.generator = torch.Generator().manual_seed(0)
        self.rounds: list[float] = []

    def run(self, steps: int) -> None:
        """Take one round and note its milliseconds a step; the clock starts after the drawing."""
        shape = (steps, BATCH_SIZE, self.config.context_length + 1)
        tokens = torch.randint(self.config.vocab_size, shape, generator=self.generator)
        batches = [(row[:, :-1].contiguous(), row[:, 1:].contiguous()) for row in tokens]
        start = time.perf_counter()
        for x, y in batches:
            _, loss = self.model(x, y)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRAD_CLIP)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        self.rounds.append(1000 * (time.perf_counter() - start) / steps)
        self.loss = loss.item()


def make_runners(peer: Path | None, config: GPTConfig) -> dict[str, Runner]:
    """What is measured, by name: all begin with the same weights. Without a peer ours alone."""
    torch.manual_seed(0)
    ours = GPT(config)
    recipe = TrainConfig(lr=LR, betas=BETAS, weight_decay=WEIGHT_DECAY)
    same_optimizer = copy.deepcopy(ours)
    runners = {"ours": Runner(ours, make_optimizer(ours, recipe), config)}
    if peer is not None:
        module = load_peer(peer)
        theirs = build_peer(module, config)
        copy_weights(ours, theirs)
        optimizer = peer_optimizer(module, same_optimizer)
        runners["same_optimizer"] = Runner(same_optimizer, optimizer, config)
        runners["nanogpt"] = Runner(theirs, peer_optimizer(module, theirs), config)
    return runners


def measure(peer: Path | None, rounds: int, steps: int) -> dict[str, Any]:
    """Run all in turn and return what goes into the JSON file."""
    runners = make_runners(peer, GPTConfig.preset("nanogpt-cpu"))
    for runner in runners.values():
        runner.run(3)  # the first steps fill caches and make AdamW's averages
        runner.rounds.clear()
    order = list(runners.values())
    for _ in range(rounds):
        for runner in order:
            runner.run(steps)
        order.append(order.pop(0))  # nobody is always first
    result: dict[str, Any] = {"claim": "a training step takes at most as long as nanoGPT's"}
    for name, runner in runners.items():
        result[f"{name}_ms"] = round(statistics.median(runner.rounds), 2)
    for name, key in (("ours", "ratio"), ("same_optimizer", "ratio_same_optimizer")):
        if peer is None:
            break
        pairs = zip(runners[name].rounds, runners["nanogpt"].rounds, strict=True)
        ratios = [a / b for a, b in pairs]
        result[key] = round(statistics.median(ratios), 3)
        result[f"{key}_middle_half"] = [round(q, 3) for q in statistics.quantiles(ratios)[::2]]
    result["last_loss"] = {name: round(runner.loss, 5) for name, runner in runners.items()}
    return result | {
        "target": 1.0,
        "rounds": rounds,
        "steps_per_round": steps,
        "parameters": sum(p.numel() for p in runners["ours"].model.parameters()),
        **measuring.about(
            threads=torch.get_num_threads(),
            gptlib=__version__,
            torch=torch.__version__,
            nanoGPT="none" if peer is None else peers.git_commit(peer),
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    peers.add_argument(parser, "nanoGPT")
    parser.add_argument("--rounds", type=int, default=120)
    parser.add_argument("--steps", type=int, default=3, help="steps in a round")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.rounds < 2 or args.steps < 1:
        parser.error("--rounds must be 2 or more and --steps 1 or more")
    peer = peers.found(args.peer, "nanoGPT")
    lacking = [peer] if isinstance(peer, str) else []
    result = measure(None if isinstance(peer, str) else peer, args.rounds, args.steps)
    for name in result["last_loss"]:
        print(f"{name:15} {result[f'{name}_ms']:7.2f} ms a step (median of {args.rounds} rounds)")
    for name in ("ratio", "ratio_same_optimizer") if not lacking else ():
        low, high = result[f"{name}_middle_half"]
        print(f"{name:21} {result[name]:.3f} (half of the rounds from {low:.3f} to {high:.3f})")
    measuring.keep(args.out, "step_time", result, lacking)


if __name__ == "__main__":
    main()

"""In what share of nanoGPT's time a GPT reaches nanoGPT's loss, on one thread of a CPU.

    GPTLIB_NANOGPT=PATH_OF_A_NANOGPT_CHECKOUT python book/tasks.py speedrun

Tiny Shakespeare by characters. nanoGPT's recipe for a laptop (4 layers, 4 heads, width 128, context
64, batch 12, 2,000 steps) is trained once, in slices; between two slices one of our entries is
trained whole, with one seed. So whatever else the machine does hits both. Seconds are those of the
processor, on one thread, evaluation not counted. The share of an attempt is its seconds over those
of nanoGPT's 2,000 steps. The rules, the entries and what was tried stand in SPEEDRUN.md.

Without nanoGPT nothing is run: a share of a time that was not taken is no result. The script says
how to get it, and ends with the status of a lack (peers.py).

Memory: by how much twenty steps of each raised what a process of its own held, at the most. More
steps take no more.

--rehearse trains everything for two steps: to see that it runs, not what it reaches.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import measuring
import peers
import torch
from sprint.model import Entry
from sprint.training import (
    MOST_PARAMETERS,
    keep_memory,
    quicker_dtype,
    random_loss,
    text_loss,
    train_entry,
    warm_up,
)
from step_time import GRAD_CLIP, LR, build_peer, load_peer, peer_optimizer

from gptlib import __version__
from gptlib.batches import train_val_split
from gptlib.given.files import write_text
from gptlib.gpt import GPTConfig
from gptlib.tokenizer import CharTokenizer

RESULT = Path(__file__).parent / "results" / "speedrun.json"
PEER_STEPS, PEER_BATCH, PEER_WARMUP = 2000, 12, 100
PEER_LOSS = 1.8857  # of nanoGPT's recipe, by its own evaluation


class Goal(NamedTuple):
    """An entry, the loss that every seed is to reach, and in which share of nanoGPT's time."""

    entry: Entry
    loss: float
    share: float


GOALS = {
    # Nothing but a Transformer: what better training alone brings.
    "transformer": Goal(
        Entry(n_layer=2, n_embd=128, n_head=2, tables=(), steps=300, table_lr=0.05, momentum=0.95),
        PEER_LOSS,
        1 / 8,
    ),
    # One block and two tables.
    "sprint": Goal(Entry(), PEER_LOSS, 1 / 8),
    # A loss that nanoGPT's recipe does not reach, in no more than its time.
    "distance": Goal(
        Entry(
            n_embd=128,
            n_head=2,
            tables=((3, 2500), (4, 2000)),
            context=128,
            steps=700,
            muon_lr=0.03,
            table_lr=0.05,
            momentum=0.95,
        ),
        1.60,
        1.0,
    ),
}


class Peer:
    """nanoGPT's recipe, trained in slices; its batches are drawn before its clock runs."""

    def __init__(self, checkout: Path, text: str):
        torch.manual_seed(0)
        module = load_peer(checkout)
        config = GPTConfig.preset("nanogpt-cpu")
        tokenizer = CharTokenizer(text)
        self.ids, self.held_out = train_val_split(tokenizer.encode(text))
        self.context, self.done, self.seconds = config.context_length, 0, 0.0
        self.model = build_peer(module, replace(config, vocab_size=tokenizer.vocab_size))
        self.optimizer = peer_optimizer(module, self.model)

    def lr(self) -> float:
        """nanoGPT's schedule: warm-up, then a cosine down to a tenth."""
        if self.done < PEER_WARMUP:
            return LR * (self.done + 1) / (PEER_WARMUP + 1)
        way = (self.done - PEER_WARMUP) / (PEER_STEPS - PEER_WARMUP)
        return LR * (0.1 + 0.45 * (1 + math.cos(math.pi * way)))

    def run(self, steps: int) -> None:
        """Take so many steps more, and add their seconds."""
        starts = torch.randint(len(self.ids) - self.context, (steps, PEER_BATCH, 1))
        batches = self.ids[starts + torch.arange(self.context + 1)]
        start = time.process_time()
        for batch in batches:
            for group in self.optimizer.param_groups:
                group["lr"] = self.lr()
            _, loss = self.model(batch[:, :-1].contiguous(), batch[:, 1:].contiguous())
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), GRAD_CLIP)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.done += 1
        self.seconds += time.process_time() - start


def attempts(names: list[str], seeds: int) -> Iterator[tuple[str, int]]:
    """Every entry with every seed; no entry keeps its place in the row."""
    for seed in range(seeds):
        for name in names[seed % len(names) :] + names[: seed % len(names)]:
            yield name, seed


def measure(
    checkout: Path, text: str, names: list[str], seeds: int, peer_steps: int, rehearse: bool
) -> dict:
    """Train nanoGPT's recipe and, between its slices, every entry with every seed."""
    dtype = quicker_dtype()
    warm_up()
    peer, runs = Peer(checkout, text), {name: [] for name in names}
    todo = list(attempts(names, seeds))
    peer_steps = 2 * len(todo) if rehearse else peer_steps
    for number, (name, seed) in enumerate(todo, 1):
        peer.run(peer_steps * number // len(todo) - peer.done)
        entry = GOALS[name].entry
        entry = replace(entry, steps=2) if rehearse else entry
        model, held_out, seconds = train_entry(entry, text, seed, dtype)
        run = {
            "seed": seed,
            "loss": text_loss(model, held_out, entry.context),
            "loss_random_windows": random_loss(model, held_out, entry.context),
            "seconds": seconds,
        }
        runs[name].append(run)
        print(f"{name}, seed {seed}: loss {run['loss']:.4f}, {seconds:.2f} s", flush=True)
    whole = peer.seconds * PEER_STEPS / peer.done
    return {
        "nanogpt": {
            "seconds": round(whole, 1),
            "steps": peer.done,
            "parameters": sum(p.numel() for p in peer.model.parameters()),
            "loss": round(text_loss(peer.model, peer.held_out, peer.context), 4),
            "loss_random_windows": round(random_loss(peer.model, peer.held_out, peer.context), 4),
        },
        "entries": {name: summary(name, runs[name], whole) for name in names},
        "dtype": str(dtype).removeprefix("torch."),
    }


def summary(name: str, runs: list[dict[str, Any]], whole: float) -> dict[str, Any]:
    """An entry's runs with their shares of nanoGPT's `whole` seconds; the goal asks every seed."""
    goal = GOALS[name]
    runs = [run | {"share": run["seconds"] / whole} for run in runs]
    loss, share = (max(run[key] for run in runs) for key in ("loss", "share"))
    return {
        "goal": {"loss": goal.loss, "share": goal.share},
        "worst_loss": round(loss, 4),
        "worst_share": round(share, 4),
        "reached": loss <= goal.loss and share <= goal.share,
        "entry": vars(goal.entry),
        "runs": [{key: round(value, 4) for key, value in run.items()} for run in runs],
    }


def child(name: str, checkout: str, text: Path) -> None:
    """A process of its own: twenty steps of nanoGPT's recipe or of an entry, and the peak."""
    keep_memory()
    dtype, words = quicker_dtype(), text.read_text(encoding="utf-8")
    warm_up()
    measuring.forget_peak()
    if name == "nanogpt":
        measuring.tell_peak(lambda: Peer(Path(checkout), words).run(20))
    else:
        entry = replace(GOALS[name].entry, steps=20)
        measuring.tell_peak(lambda: train_entry(entry, words, 0, dtype))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    peers.add_argument(parser, "nanoGPT")
    parser.add_argument("entries", nargs="*", help=f"only these, of {', '.join(GOALS)}")
    parser.add_argument("--text", type=Path, default=peers.shakespeare(), help="Tiny Shakespeare")
    parser.add_argument("--seeds", type=int, default=5)
    fewer = "of nanoGPT's 2,000; where fewer are taken, the time of all follows from theirs"
    parser.add_argument("--peer-steps", type=int, default=PEER_STEPS, help=fewer)
    parser.add_argument(
        "--rehearse", action="store_true", help="two steps of everything; needs --out"
    )
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        torch.set_num_threads(1)
        return child(args.child[0], args.child[1], Path(args.child[2]))
    unknown = set(args.entries) - set(GOALS)
    if unknown or args.seeds < 1 or args.peer_steps < 1:
        parser.error(
            f"--seeds and --peer-steps must be 1 or more, and entries some of {', '.join(GOALS)}"
        )
    if args.rehearse and args.out == RESULT:
        parser.error("--rehearse is no result: name another file by --out")
    checkout = peers.checkout(args.peer, "nanoGPT")
    text = peers.read(args.text)
    torch.set_num_threads(1)
    keep_memory()
    result = measure(
        checkout, text, args.entries or list(GOALS), args.seeds, args.peer_steps, args.rehearse
    )
    words = (str(checkout), str(args.text))
    result["memory_mb"] = measuring.peaks_of(
        __file__, ["nanogpt", *result["entries"]], *words, rounds=min(args.seeds, 3)
    )
    show(result)
    result = {"claim": "nanoGPT's loss in an eighth of its time"} | result
    result |= {
        "most_parameters": MOST_PARAMETERS,
        **measuring.about(
            gptlib=__version__, torch=torch.__version__, nanoGPT=peers.git_commit(checkout)
        ),
    }
    write_text(args.out, json.dumps(result, indent=2) + "\n")


def show(result: dict[str, Any]) -> None:
    """Print nanoGPT's line and one a entry, the worst of its seeds."""
    peer = result["nanogpt"]
    print(
        f"nanoGPT: {peer['loss']:.4f} after {peer['steps']} steps; 2,000 take {peer['seconds']} s, "
        f"{result['memory_mb']['nanogpt']:.1f} MB"
    )
    for name, entry in result["entries"].items():
        said = "reached" if entry["reached"] else "not reached"
        goal, mb = entry["goal"], result["memory_mb"][name]
        print(
            f"{name}: at worst {entry['worst_loss']:.4f} in 1/{1 / entry['worst_share']:.1f} of "
            f"that time, {mb:.1f} MB; goal {goal['loss']} in 1/{1 / goal['share']:.0f}: {said}"
        )


if __name__ == "__main__":
    main()

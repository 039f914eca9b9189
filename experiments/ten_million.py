"""Ten million parameters on two cores: what does such a model learn in a run that is cut in pieces?

Claim: after an hour on one core and four million tokens of the second volume a modern GPT of ten
million parameters writes whole sentences and no whole tale. The quarter of that hour in which it
reads whole tales brings as much as all of it; at equal tokens it ends lower than nanoGPT's model
with nanoGPT's recipe, at about four fifths of its pace.

    GPTLIB_NANOGPT=PATH_OF_A_NANOGPT_CHECKOUT python experiments/ten_million.py    # hours
    python experiments/ten_million.py --resume    # only what is not recorded yet
    python experiments/ten_million.py long        # one of its parts anew

"ours": 150 steps on batches of 16 windows of 448 tokens, the rate falling to 0 in the last two
fifths. "nanogpt": the same batches and the same schedule for nanoGPT's model of its recipe for
Tiny Shakespeare on a GPU (6 layers, width 384), with its optimiser and rate; without a checkout it
is left out. "pace": tokens a second of processor time on one thread, in turns, and what share of
the machine's best product that is. "long": ours for 360 steps on the beginnings of 64 tales each
and then 150 as above, and forty tales that it writes, judged. It keeps its place in
runs/ten_million every 25 steps, and goes on from there when it is called again. Before the whole
tales its loss on them is high: no place beyond the 128th has been met.

All in bfloat16 by autocast, with weights in 32 bits, on one thread. Recorded: loss beside the floor
(nats per token, on 100 tales that no model saw), accuracy by skill, tokens, seconds of processor.
"""

from __future__ import annotations

import json
import os
import sys
import time
from argparse import Namespace
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from recording import (
    CHECKPOINTS,
    ROOT,
    TALES,
    Prepared,
    Rehearsal,
    arguments,
    begin,
    distance,
    encode,
    few,
    fill,
    prepare,
)
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from speed import Both
from torch import nn
from writing import write

from gptlib import corpus, roofline
from gptlib.batches import get_batch
from gptlib.corpus.scoring import story_starts
from gptlib.engine.recipes import training_flops
from gptlib.given.files import replacing
from gptlib.gpt import GPTConfig
from gptlib.modern import ModernConfig, ModernGPT
from gptlib.training import TrainConfig

sys.path.append(str(ROOT / "benchmarks"))
import peers  # how a checkout of another project is read

SIZE = {"context_length": TALES.context_length, "n_layer": 6, "n_head": 6, "n_embd": 384}
OURS = ModernConfig.preset("stories", **SIZE, n_kv_head=2, head_size=64, hidden=1024, tied=False)
THEIRS = GPTConfig.preset("stories", **SIZE)
RATE, MUON = 4e-3, 0.02
PEER = {"weight_decay": 0.1, "learning_rate": 1e-3, "betas": (0.9, 0.99), "device_type": "cpu"}
SAME = ("vocab_size", "n_layer", "n_head", "n_embd")
WARM, FALL = 30, 0.4  # steps that the rate climbs, and the share of all in which it falls to 0
EVERY, KEPT = 75, 25
UNITS = "loss, floor: nats per token; seconds, tokens_a_second: of one thread's processor time"


class Part(NamedTuple):
    """So many steps on batches of one shape."""

    steps: int
    batch: int
    length: int


BEGINNINGS, WHOLE = Part(360, 64, 128), Part(150, 16, TALES.context_length)
COURSES = {"ours": [WHOLE], "nanogpt": [WHOLE], "long": [BEGINNINGS, WHOLE]}


class Peer(nn.Module):
    """nanoGPT's model, which gives the logits of all places when it is given targets."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner, self.config = inner, THEIRS

    def forward(
        self, idx: torch.Tensor, targets: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        logits, loss = self.inner(idx, idx if targets is None else targets)
        return logits, None if targets is None else loss


class Side:
    """A model and the optimisers that move it, each group with its full rate."""

    def __init__(self, name: str, checkout: Path | None):
        torch.manual_seed(0)
        if name == "nanogpt":
            code = peers.from_file(checkout / "model.py", "nanogpt_model")
            same = {key: getattr(THEIRS, key) for key in SAME}
            block = {"block_size": THEIRS.context_length, "bias": False, "dropout": 0.0}
            self.model: Any = Peer(code.GPT(code.GPTConfig(**same, **block)))
            self.optimizers = [self.model.inner.configure_optimizers(**PEER)]
        else:
            self.model = ModernGPT(OURS)
            both = Both(self.model, TrainConfig(lr=RATE, weight_decay=0.01), 1.0)
            for group in both.muon.param_groups:
                group["lr"] = MUON
            self.optimizers = [both.adamw, both.muon]
        for group in self._groups():
            group["full"] = group["lr"] if name == "nanogpt" or "momentum" in group else RATE

    def _groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def step(self, x: torch.Tensor, y: torch.Tensor, share: float) -> float:
        """One step at a share of the full rates; the loss before it."""
        # No cache: under one autocast it would keep the 16-bit weights of the first step.
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
            _, loss = self.model(x, y)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self._groups():
            group["lr"] = share * group["full"]
        for optimizer in self.optimizers:
            with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):  # Muon's products
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return loss.item()

    def save(self, folder: Path, told: dict[str, Any]) -> None:
        """Weights, the optimisers' averages, and where the run stands."""
        tensors = {f"model {name}": p for name, p in self.model.named_parameters()}
        for i, optimizer in enumerate(self.optimizers):
            for number, kinds in optimizer.state_dict()["state"].items():
                tensors |= {f"optimizer {i} {number} {kind}": t for kind, t in kinds.items()}
        tensors = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / "run.safetensors") as new:
            save_file(tensors, new, {"told": json.dumps(told)})

    def load(self, folder: Path) -> dict[str, Any]:
        """What `save` has kept; where the run stands."""
        file = folder / "run.safetensors"
        tensors = load_file(file)
        with torch.no_grad():
            for name, p in self.model.named_parameters():
                p.copy_(tensors[f"model {name}"])
        for i, optimizer in enumerate(self.optimizers):
            state: dict[int, dict[str, torch.Tensor]] = {}
            for key in (k for k in tensors if k.startswith(f"optimizer {i} ")):
                number, kind = key.split()[2:]
                state.setdefault(int(number), {})[kind] = tensors[key]
            optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        with safe_open(file, "pt") as opened:
            return json.loads(opened.metadata()["told"])


def batches(course: list[Part]) -> list[Part]:
    """The shape of each step's batch."""
    return [
        part._replace(batch=few(part.batch), length=few(part.length, 64))
        for part in course
        for _ in range(few(part.steps, Rehearsal.steps or 1))
    ]


def share_of_rate(step: int, steps: int) -> float:
    """Climbing over the first steps, then 1, then falling to 0."""
    return min(1.0, (step + 1) / WARM, (1 - step / steps) / FALL)


def run(name: str, prepared: Prepared, checkout: Path | None) -> dict[str, Any]:
    """Train one side on its course; "long" keeps its place, writes tales and has them judged."""
    side = Side(name, checkout)
    shapes = batches(COURSES[name])
    folder = CHECKPOINTS / "ten_million" if name == "long" and not Rehearsal.steps else None
    told: dict[str, Any] = {"step": 0, "tokens": 0, "seconds": 0.0, "curve": []}
    if folder and (folder / "run.safetensors").exists():
        told = side.load(folder)
    for step in range(told["step"], len(shapes) + 1):
        seen = told["curve"][-1]["step"] if told["curve"] else None
        if step != seen and (step % few(EVERY) == 0 or step == len(shapes)):
            score = prepared.key.score(side.model)
            point = {key: told[key] for key in ("step", "tokens", "seconds")}
            told["curve"].append(point | {"loss": score.loss, "skills": score.skills})
            print(f"{name} {step}: {score.loss / prepared.key.floor - 1:.1%}", flush=True)
        if folder and step % KEPT == 0:
            side.save(folder, told)
        if step == len(shapes):
            break
        _, batch, length = shapes[step]
        began = time.process_time()
        drawn = torch.Generator().manual_seed(step)  # the same for both sides, and after a stop
        x, y = get_batch(prepared.ids, batch, length, starts=prepared.starts, generator=drawn)
        side.step(x, y, share_of_rate(step, len(shapes)))
        told |= {"step": step + 1, "tokens": told["tokens"] + x.numel()}
        told["seconds"] += time.process_time() - began
    last = told["curve"][-1]
    found = {
        "parameters": sum(p.numel() for p in side.model.parameters()),
        "above_floor": last["loss"] / prepared.key.floor - 1,
        **{key: told[key] for key in ("tokens", "seconds", "curve")},
    }
    return found | (writing(side.model, prepared) if name == "long" else {})


def writing(model: nn.Module, prepared: Prepared) -> dict[str, Any]:
    """Forty tales at temperature 0.8, and what the parser says of them; the first three as text."""
    texts = write(model, prepared.tokenizer, few(40), seed=0, temperature=0.8)
    verdicts = corpus.judge(corpus.END.join(texts), volume=2)
    right = [1.0 if v.ok else v.position / len(v.text) for v in verdicts.verdicts]
    found = {"right_until": right, "broken": verdicts.broken, "texts": texts[:3]}
    return {"tales": {"well_formed": verdicts.well_formed, "distinct": verdicts.distinct, **found}}


def pace(checkout: Path | None) -> dict[str, Any]:
    """Tokens a second of each side, in turns, and their share of the best product here."""
    names = ["ours", "nanogpt"] if checkout else ["ours"]
    sides = {name: Side(name, checkout) for name in names}
    _, batch, length = COURSES["ours"][0]
    with patch.object(roofline.time, "perf_counter", time.process_time):
        peak = roofline.measure_machine("cpu", torch.bfloat16, few(1024, 64)).peak
    took: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(few(15)):
        idx = torch.randint(OURS.vocab_size, (few(batch), length))
        for name, side in sides.items():
            began = time.process_time()
            side.step(idx, idx, 0.01)
            took[name].append((time.process_time() - began) / idx.numel())
    found: dict[str, Any] = {"peak": peak}
    for name, config in {"ours": OURS, "nanogpt": THEIRS}.items():
        if name in sides:
            rate = 1 / median(took[name])
            found[name] = {"tokens_a_second": rate, "share": training_flops(config) * rate / peak}
    if checkout:
        ratios = [b / a for a, b in zip(took["ours"], took["nanogpt"], strict=True)]
        found |= {"ratio": median(ratios), "middle_half": quantiles(ratios)[::2]}
    return found


def more(prepared: Prepared) -> Prepared:
    """Forty thousand other tales: no beginning has to be read twice."""
    text = "".join(corpus.load("stories", n=few(20_000, 60), seed=s, volume=2) for s in (2, 3))
    ids = encode(prepared.tokenizer, text).long()
    starts = story_starts(ids, prepared.tokenizer, TALES.context_length)
    return prepared._replace(ids=ids, starts=starts)


def main() -> None:
    args: Namespace = arguments("ten_million", __doc__, [*COURSES, "pace"])
    torch.set_num_threads(1)
    named = os.environ.get("GPTLIB_NANOGPT")
    checkout = Path(named).expanduser() if named else None
    if checkout is None:
        print("No GPTLIB_NANOGPT: nanoGPT is left out.", flush=True)
    prepared = more(prepare(n_exam=100, volume=2))
    jobs: dict[tuple[str, ...], Any] = {("pace",): partial(pace, checkout)}
    jobs |= {(name,): partial(run, name, prepared, checkout) for name in COURSES}
    asked = args.names or [name for name in ("pace", *COURSES) if checkout or name != "nanogpt"]
    jobs = {way: job for way, job in jobs.items() if way[0] in asked}
    say = lambda found: distance(found) if "above_floor" in found else str(found)  # noqa: E731
    fill(args, begin(args) | {"floor": prepared.key.floor}, jobs, say, units=UNITS)


if __name__ == "__main__":
    main()

"""What int8 weights bring and cost on a CPU: size, tokens a second, loss and skills.

    python book/tasks.py bench int8

Two models. The book's own, with its recorded weights (0.4M parameters): the size of its file, and
its exam of 400 stories that it never saw, in float32, with int8 weights, and with int8 weights and
activations in bfloat16, as PyTorch's kernel takes them for one token at a time. And one of the
shape of GPT-2 small (124M parameters) with random weights, for its speed only: that does not depend
on what the weights are. Both write with the cache, one token at a time, in turn with two peers that
come with PyTorch: the same model in bfloat16, and its own dynamic int8 (`quantize_dynamic`).

Printed and kept: medians of processor time on one thread, and how many times as long as float32
each took: below 1, it is quicker than float32.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import warnings
from pathlib import Path
from typing import Any

import measuring
import torch
from torch import nn

from gptlib import __version__, corpus
from gptlib.cache import Cached
from gptlib.corpus.scoring import AnswerKey
from gptlib.generation import generate
from gptlib.given.records import load_recorded
from gptlib.gpt import GPT, GPTConfig
from gptlib.int8 import Int8Linear, quantized, weight_bytes
from gptlib.tokenizer import BPETokenizer
from gptlib.widgets.model_file import model_bytes

SIZES = {
    "stories": GPTConfig.preset("stories"),
    "gpt2-small": GPTConfig.preset("gpt2-small", context_length=128),
}


def most_rows(model: nn.Module, rows: int) -> nn.Module:
    """The same int8 model, taking the kernel for up to so many rows at once; 0 is never."""
    for part in model.modules():
        if isinstance(part, Int8Linear):
            part.most_rows = rows
    return model


def dynamic(model: nn.Module) -> nn.Module:
    """PyTorch's own: int8 weights in linear layers, activations rounded to int8 on the way."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


def speed(name: str, new: int, rounds: int) -> dict[str, Any]:
    """Tokens a second of one size, written in turn after one token."""
    torch.manual_seed(0)
    model = GPT(SIZES[name]).eval()
    models = {
        "float32": model,
        "int8": quantized(model),
        "int8 without the kernel": most_rows(quantized(model), 0),
        "bfloat16": copy.deepcopy(model).bfloat16(),
        "PyTorch's dynamic int8": dynamic(model),
    }
    prompt = torch.zeros(1, 1, dtype=torch.long)
    runs = {n: lambda m=m: generate(Cached(m), prompt, new, top_k=1) for n, m in models.items()}
    for run in runs.values():  # the first call sets up what later ones use
        run()
    seconds = measuring.in_turn(runs, rounds)
    return {
        "parameters": model.num_parameters(),
        "new_tokens": new,
        "weight_mb": {n: round(weight_bytes(models[n]) / 1e6, 3) for n in ("float32", "int8")},
        "cpu_seconds": measuring.medians(seconds),
        "tokens_per_second": {
            name: round(new / statistics.median(one), 1) for name, one in seconds.items()
        },
        "times_float32": measuring.ratios(seconds, "float32"),
    }


def cost(n_exam: int, n_text: int) -> dict[str, Any]:
    """The book's model at its exam: loss and skills; and how large its file is, by its numbers."""
    text = corpus.load("stories", n=n_text)
    config = SIZES["stories"]
    tokenizer = BPETokenizer.train(text, config.vocab_size, special_tokens=[corpus.END])
    model = GPT(config)
    load_recorded(model)
    key = AnswerKey(corpus.stories(n_exam, seed=1), tokenizer)
    models = {
        "float32": model,
        "int8": most_rows(quantized(model), 0),
        "int8, as it writes": most_rows(quantized(model), 10**9),
    }
    scores = {name: key.score(one) for name, one in models.items()}
    sizes = {n: len(model_bytes(model, tokenizer, n)) for n in ("float32", "float16", "int8")}
    return {
        "file_bytes": sizes,
        "stories": n_exam,
        "floor": round(key.floor, 5),
        "loss": {name: round(score.loss, 5) for name, score in scores.items()},
        "above_floor": {name: round(score.above_floor, 5) for name, score in scores.items()},
        "skills": {
            name: {skill: round(share, 4) for skill, share in score.skills.items()}
            for name, score in scores.items()
        },
        "labels": {skill: len(places) for skill, places in sorted(key.places.items())},
    }


def main() -> None:
    """Measure, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--new", type=int, default=32, help="tokens to write")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--exam", type=int, default=400, help="stories of the exam")
    parser.add_argument("--text", type=int, default=3000, help="stories the tokenizer learns from")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if min(args.rounds, args.exam, args.text) < 1 or not 1 <= args.new < 128:
        parser.error("--rounds, --exam and --text must be 1 or more, --new from 1 to 127")
    torch.set_num_threads(1)
    exam = cost(args.exam, args.text)
    print(f"File: {', '.join(f'{name} {n:,} bytes' for name, n in exam['file_bytes'].items())}")
    for name, loss in exam["loss"].items():
        shares = ", ".join(f"{skill} {share:.3f}" for skill, share in exam["skills"][name].items())
        print(f"{name}: {loss:.4f} nats, {exam['above_floor'][name]:.2%} above the floor; {shares}")
    speeds = {name: speed(name, args.new, args.rounds) for name in args.sizes}
    for size, one in speeds.items():
        print(f"{size}: {one['parameters']:,} parameters, median of {args.rounds} rounds")
        for name, rate in one["tokens_per_second"].items():
            times = one["times_float32"].get(name, 1.0)
            print(f"  {name:<24} {rate:8,.1f} tokens/s   this / float32: {times:.2f}")
    result = {
        "claim": "int8 weights take a quarter of the room; what they cost and bring",
        "rounds": args.rounds,
        "exam": exam,
        "speed": speeds,
        **measuring.about(gptlib=__version__, torch=torch.__version__),
    }
    measuring.keep(args.out, "int8", result, [])


if __name__ == "__main__":
    main()

"""Let a run write on from a start text, character by character."""

from __future__ import annotations

import argparse
import sys
import time

EXAMPLE = 'gptlib generate runs/book --prompt "Once upon a time" --length 100'


def add_words(parser: argparse.ArgumentParser) -> None:
    """What the verb understands."""
    parser.add_argument("model", nargs="?", metavar="RUN", help="a run, or one of its checkpoints")
    parser.add_argument("--prompt", default="", help="the start text")
    parser.add_argument("--length", type=int, default=50, help="tokens to write")
    parser.add_argument(
        "--temperature", type=float, default=0.8, help="below 1 safer, above 1 wilder"
    )
    parser.add_argument(
        "--top-k", type=int, default=50, help="draw from the k likeliest; 0 from all"
    )
    parser.add_argument(
        "--sampling", action=argparse.BooleanOptionalAction, default=True,
        help="draw tokens, or take the likeliest",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, help="the same seed, the same text")
    parser.add_argument("--checkpoint", default="best", help="best, last, or a step")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")


def run(told: argparse.Namespace) -> str:
    """Write while the text comes, then say how fast it came, on the other channel."""
    from gptlib.engine.writer import Wish, Writer

    if not told.model:
        raise ValueError(f"name a run: {EXAMPLE}")
    writer = Writer(told.model, told.checkpoint, told.device)
    for fault in writer.passed:
        print(fault, file=sys.stderr)
    wish = Wish(told.length, told.temperature, told.top_k, told.sampling, told.seed)
    pieces = writer.stream(told.prompt, wish)
    began = time.perf_counter()
    sys.stdout.write(told.prompt)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    seconds = time.perf_counter() - began
    sys.stdout.write("\n")
    sys.stdout.flush()
    speed = f"{writer.tokens} tokens, {writer.tokens / seconds:,.0f} tokens/s"
    print(f"{speed}, {writer.folder.name}", file=sys.stderr)
    return ""

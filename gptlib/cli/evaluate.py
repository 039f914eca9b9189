"""Measure a run: loss, bits per byte, and what it writes; of stories the floor and the parser."""

from __future__ import annotations

import argparse
import sys

EXAMPLE = "gptlib evaluate runs/book --data data/book --json book.json"


def add_words(parser: argparse.ArgumentParser) -> None:
    """What the verb understands."""
    parser.add_argument("model", nargs="?", metavar="RUN", help="a run, or one of its checkpoints")
    parser.add_argument("--data", metavar="DIR", help="the prepared text that it learned from")
    parser.add_argument("--json", metavar="FILE", help="write all numbers here")
    parser.add_argument("--samples", type=int, default=20, help="texts to write")
    parser.add_argument("--length", type=int, default=200, help="tokens in a text")
    parser.add_argument("--temperature", type=float, default=0.8, help="of the texts")
    parser.add_argument(
        "--top-k", type=int, default=50, help="draw from the k likeliest; 0 from all"
    )
    parser.add_argument("--seed", type=int, default=0, help="draws the texts")
    parser.add_argument("--most", type=int, help="no more windows of validation than that")
    parser.add_argument("--checkpoint", default="best", help="best, last, or a step")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")


def run(told: argparse.Namespace) -> str:
    """Measure, keep the numbers where asked, and show them."""
    import json

    from gptlib.engine.evaluation import evaluate, table
    from gptlib.given.files import write_text

    if not told.model or not told.data:
        raise ValueError(f"name a run and its text: {EXAMPLE}")
    found = evaluate(
        told.model, told.data, which=told.checkpoint, samples=told.samples, length=told.length,
        temperature=told.temperature, top_k=told.top_k or None, seed=told.seed, most=told.most,
        device=told.device, progress=sys.stderr.isatty(),
    )  # fmt: skip
    if told.json:
        write_text(told.json, json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return table(found)

"""Write a run as others read it: a folder that Transformers loads, with a model card."""

from __future__ import annotations

import argparse

EXAMPLE = "gptlib export runs/book --to transformers book-model --scores book.json"


def add_words(parser: argparse.ArgumentParser) -> None:
    """What the verb understands."""
    parser.add_argument("model", metavar="RUN", help="a run, or one of its checkpoints")
    parser.add_argument("out", metavar="DIR", help="the folder to write")
    parser.add_argument(
        "--to", default="transformers", choices=("transformers",), help="whose form"
    )
    parser.add_argument("--scores", metavar="FILE", help="what evaluate --json wrote, for the card")
    parser.add_argument("--checkpoint", default="best", help="best, last, or a step")


def run(told: argparse.Namespace) -> str:
    """Export, and say in which form."""
    from pathlib import Path

    from gptlib.engine.export import export
    from gptlib.given.folders import read_json

    scores = read_json(Path(told.scores).expanduser()) if told.scores else None
    folder = export(told.model, told.out, which=told.checkpoint, scores=scores)
    kind = read_json(folder / "config.json")["architectures"][0]
    return f'{told.out} is a {kind}: AutoModelForCausalLM.from_pretrained("{told.out}") loads it.'

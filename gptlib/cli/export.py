"""Write a run as others read it: a folder for Transformers, or a page that runs the model."""

from __future__ import annotations

import argparse

EXAMPLE = "gptlib export runs/book --to transformers book-model --scores book.json"


def add_words(parser: argparse.ArgumentParser) -> None:
    """What the verb understands."""
    parser.add_argument("model", nargs="?", metavar="RUN", help="a run, or one of its checkpoints")
    parser.add_argument("out", nargs="?", metavar="DIR", help="the folder to write")
    parser.add_argument(
        "--to", default="transformers", choices=("transformers", "page"),
        help="for which reader: Transformers, or any browser",
    )  # fmt: skip
    parser.add_argument("--scores", metavar="FILE", help="what evaluate --json wrote, for the card")
    parser.add_argument(
        "--numbers", default="float16", choices=("float32", "float16", "int8"),
        help="how the page keeps a weight: exactly, or in a half or a quarter of the room",
    )  # fmt: skip
    parser.add_argument("--prompt", help="how the text in the page begins")
    parser.add_argument("--checkpoint", default="best", help="best, last, or a step")


def run(told: argparse.Namespace) -> str:
    """Export, and say in which form."""
    from pathlib import Path

    from gptlib.engine.export import export, export_page
    from gptlib.given.folders import read_json

    if not told.model or not told.out:
        raise ValueError(f"name a run and a folder: {EXAMPLE}")
    scores = read_json(Path(told.scores).expanduser()) if told.scores else None
    if told.to == "page":
        folder = export_page(
            told.model, told.out, which=told.checkpoint, scores=scores, numbers=told.numbers,
            prompt=told.prompt,
        )  # fmt: skip
        size = (folder / "index.html").stat().st_size / 1e6
        return f"{told.out}/index.html has the model in it, {size:.1f} MB: open it in a browser."
    folder = export(told.model, told.out, which=told.checkpoint, scores=scores)
    kind = read_json(folder / "config.json")["architectures"][0]
    return f'{told.out} is a {kind}: AutoModelForCausalLM.from_pretrained("{told.out}") loads it.'

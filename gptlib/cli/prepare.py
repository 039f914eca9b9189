"""Make a text ready: a tokenizer, tokens for training and validation, and a manifest."""

from __future__ import annotations

import argparse
import sys

EXAMPLE = "gptlib prepare my_book.txt --out data/book --tokenizer bpe --vocab-size 2048"


def add_words(parser: argparse.ArgumentParser) -> None:
    """What the verb understands."""
    parser.add_argument(
        "texts", nargs="*", metavar="TEXT",
        help="files, folders, patterns, or stories, tinyshakespeare, tinystories",
    )  # fmt: skip
    parser.add_argument("--out", metavar="DIR", help="the folder to write")
    parser.add_argument(
        "--tokenizer", default="chars", help="chars, bpe, or a tokenizer.json to use again"
    )
    parser.add_argument("--vocab-size", type=int, default=1024, help="tokens of bpe")
    parser.add_argument(
        "--split", default="auto", choices=("auto", "marks", "files", "position"),
        help="what is held out: whole documents that end with a mark, whole files, or the end",
    )  # fmt: skip
    parser.add_argument("--mark", help="what ends a document; else the mark of the stories")
    parser.add_argument("--validation", type=float, default=0.1, help="the share held out")
    parser.add_argument("--seed", type=int, default=0, help="draws the documents, and the stories")
    parser.add_argument("--stories", type=int, default=30_000, help="how many stories")
    parser.add_argument("--volume", type=int, default=1, help="1, or the harder 2")


def run(told: argparse.Namespace) -> str:
    """Prepare, and say what there is now."""
    from gptlib.corpus.story import END
    from gptlib.engine.prepare import prepare

    if not told.texts or not told.out:
        raise ValueError(f"name a text and a folder: {EXAMPLE}")
    made = prepare(
        told.texts, told.out, tokenizer=told.tokenizer, vocab_size=told.vocab_size,
        split=told.split, mark=END if told.mark is None else told.mark,
        validation=told.validation, seed=told.seed, stories=told.stories, volume=told.volume,
        progress=sys.stderr.isatty(),
    )  # fmt: skip
    about = made.about
    lines = [
        f"{name:<10} {about[name]['tokens']:>12,} tokens {about[name]['bytes']:>13,} bytes"
        + f" {about[name]['documents']:>9,} documents" * bool(about[name]["documents"])
        for name in ("train", "validation")
    ]
    characters = [about[name]["characters"] for name in ("train", "validation")]
    share, asked = characters[1] / sum(characters), told.validation
    if not asked / 2 <= share <= 2 * asked:
        lines.append(
            f"{share:.0%} of the text is held out, where {asked:.0%} were asked for: its documents "
            f"are few, or of unequal length. --split position cuts it by length."
        )
    lines.append(f"{about['tokenizer']} with {about['vocab_size']:,} tokens, in {told.out}")
    return "\n".join([*lines, f"Now: gptlib train {told.out} --out RUN"])

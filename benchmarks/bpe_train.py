"""How long it takes to learn 512 merges: ours, minbpe's method, and HF tokenizers.

    GPTLIB_MINBPE=PATH_OF_A_MINBPE_CHECKOUT python book/tasks.py bench bpe_train

Meant for Tiny Shakespeare (1,115,394 characters). minbpe counts every pair of the text again for
each merge, which takes most of a minute there; so it is measured on the first `--slice` characters
only, beside ours on the same slice. Ours and HF tokenizers (compiled, on all cores) are measured
on the whole text too.

All take turns, several times, in one process, so that whatever else the machine does hits each.
Printed and kept: the median time of each, and the median of the rounds' ratios, ours divided by
theirs. Below 1, ours is the faster one. Without minbpe the other two are measured all the same.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import measuring
import peers
import tokenizers

from gptlib import __version__
from gptlib.tokenizer import BPETokenizer

N_MERGES = 512

Trainer = Callable[[str], None]


def train_ours(text: str) -> None:
    """Learn the merges with the book's trainer."""
    BPETokenizer.train(text, 256 + N_MERGES)


def train_hf(text: str) -> None:
    """Learn the merges with HF tokenizers, byte-level and with GPT-2's pattern, as ours."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=256 + N_MERGES,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text], trainer)
    if tokenizer.get_vocab_size() != 256 + N_MERGES:
        raise SystemExit("HF tokenizers learned another number of merges: nothing to compare.")


def load_minbpe(checkout: Path) -> Trainer:
    """minbpe's trainer with GPT-2's pattern, from a checkout."""
    sys.path.insert(0, str(checkout))
    from minbpe.regex import GPT2_SPLIT_PATTERN, RegexTokenizer

    def train_minbpe(text: str) -> None:
        RegexTokenizer(GPT2_SPLIT_PATTERN).train(text, 256 + N_MERGES)

    return train_minbpe


def measure(trainers: dict[str, Trainer], text: str, rounds: int) -> dict[str, Any]:
    """Seconds of each trainer on `text`, in turn; the order moves on by one each round."""
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    names = list(trainers)
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            start = time.perf_counter()
            trainers[name](text)
            seconds[name].append(time.perf_counter() - start)
    result: dict[str, Any] = {"characters": len(text), "rounds": rounds}
    result["seconds"] = {name: round(statistics.median(s), 3) for name, s in seconds.items()}
    result["ratio_ours_over"] = {
        name: round(statistics.median(o / t for o, t in zip(seconds["ours"], s, strict=True)), 3)
        for name, s in seconds.items()
        if name != "ours"
    }
    return result


def show(title: str, result: dict[str, Any]) -> None:
    """Print one measurement as a small table."""
    print(f"{title}: {result['characters']:,} characters, median of {result['rounds']} rounds")
    for name, seconds in result["seconds"].items():
        ratio = result["ratio_ours_over"].get(name, 1.0)
        print(f"  {name:<14} {seconds:8.3f} s   ours / this: {ratio:.3f}")


def main() -> None:
    """Measure, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--text", type=Path, default=peers.shakespeare(), help="Tiny Shakespeare")
    peers.add_argument(parser, "minbpe")
    parser.add_argument("--slice", type=int, default=100_000, help="characters for minbpe")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    peer = peers.found(args.peer, "minbpe")
    lacking = [peer] if isinstance(peer, str) else []
    text = peers.read(args.text)
    if args.rounds < 1 or not 0 < args.slice <= len(text):
        parser.error(f"--rounds must be 1 or more and --slice from 1 to {len(text)}")
    both = {"ours": train_ours, "hf_tokenizers": train_hf}
    beside = both | ({} if isinstance(peer, str) else {"minbpe": load_minbpe(peer)})

    whole = measure(both, text, args.rounds)
    show("Whole text", whole)
    part = measure(beside, text[: args.slice], args.rounds)
    show("Slice", part)

    result = {
        "claim": f"seconds to learn {N_MERGES} merges",
        "whole_text": whole,
        "slice": part,
        **measuring.about(
            threads=None,
            gptlib=__version__,
            regex=importlib.metadata.version("regex"),
            tokenizers=tokenizers.__version__,
            minbpe="none" if isinstance(peer, str) else peers.git_commit(peer),
        ),
    }
    measuring.keep(args.out, "bpe_train", result, lacking)


if __name__ == "__main__":
    main()

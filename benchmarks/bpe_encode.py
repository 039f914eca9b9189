"""How long it takes to turn a text into tokens: ours, minbpe, tiktoken and HF tokenizers.

    GPTLIB_MINBPE=PATH_OF_A_MINBPE_CHECKOUT python book/tasks.py bench bpe_encode

Meant for Tiny Shakespeare (1,115,394 characters), with 512 merges that ours has learned there. All
have the same merges, and the script ends where one of them gives other ids. In pure Python: ours
with nothing kept of an earlier text (`ours`) and with its words kept (`ours_again`), beside minbpe.
Compiled: ours by `to_tiktoken`, tiktoken with the pattern that it has for GPT-2, and HF tokenizers,
all on one thread. The target is ten times minbpe's speed.

All take turns, several times. Printed and kept: medians of processor time, and for each peer how
many times as long as ours it took. Above 1, ours is the faster one. Memory: what encoding, and
learning, added to the most that a process of its own has held; of a process that only encodes, and
gets its merges from a file.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["RAYON_NUM_THREADS"] = os.environ["TOKENIZERS_PARALLELISM"] = "1"

import measuring
import peers

from gptlib import __version__
from gptlib.tokenizer import BPETokenizer, read_gpt2_merges

N_MERGES, TARGET = 512, 10
Encode = Callable[[str], list[int]]
Merges = dict[tuple[int, int], int]


# Each encoder, made of the same merges -----------------------------------------------------------


def ours(merges: Merges, _peer: Path | None) -> Encode:
    """Ours in Python, with nothing in its memory."""
    return lambda text: BPETokenizer(merges).encode(text)


def ours_again(merges: Merges, _peer: Path | None) -> Encode:
    """Ours in Python, which keeps the words that it has met."""
    return BPETokenizer(merges).encode


def minbpe(merges: Merges, peer: Path | None) -> Encode:
    """minbpe's RegexTokenizer with GPT-2's pattern, from a checkout."""
    sys.path.insert(0, str(peer))
    from minbpe.regex import GPT2_SPLIT_PATTERN, RegexTokenizer

    tokenizer = RegexTokenizer(GPT2_SPLIT_PATTERN)
    tokenizer.merges = merges
    return tokenizer.encode


def ours_tiktoken(merges: Merges, _peer: Path | None) -> Encode:
    """Ours as a tiktoken.Encoding."""
    return BPETokenizer(merges).to_tiktoken().encode_ordinary


def tiktoken(merges: Merges, _peer: Path | None) -> Encode:
    """tiktoken with the pattern that it has for GPT-2."""
    import tiktoken
    from tiktoken_ext.openai_public import r50k_pat_str

    ranks = {token: i for i, token in enumerate(BPETokenizer(merges).vocab)}
    return tiktoken.Encoding(
        "gpt2", pat_str=r50k_pat_str, mergeable_ranks=ranks, special_tokens={}
    ).encode_ordinary


def hf_tokenizers(merges: Merges, _peer: Path | None) -> Encode:
    """HF tokenizers, byte-level as GPT-2."""
    import tokenizers

    _, order = read_gpt2_merges("")  # the bytes, in the order in which GPT-2 names them
    visible = sum(chr(byte).isprintable() and byte != 32 and byte != 173 for byte in range(256))
    sign = {byte: chr(byte if i < visible else 256 + i - visible) for i, byte in enumerate(order)}
    names = ["".join(sign[byte] for byte in token) for token in BPETokenizer(merges).vocab]
    tokenizer = tokenizers.Tokenizer(
        tokenizers.models.BPE(
            vocab={name: i for i, name in enumerate(names)},
            merges=[(names[left], names[right]) for left, right in merges],
        )
    )
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    return lambda text: tokenizer.encode(text).ids


PYTHON = {"ours": ours, "ours_again": ours_again, "minbpe": minbpe}
COMPILED = {"ours_tiktoken": ours_tiktoken, "tiktoken": tiktoken, "hf_tokenizers": hf_tokenizers}
ENCODERS = PYTHON | COMPILED


# Learning, for its memory ------------------------------------------------------------------------


def train_ours(text: str, _peer: Path | None) -> None:
    """Learn the merges with the book's trainer."""
    BPETokenizer.train(text, 256 + N_MERGES)


def train_hf(text: str, _peer: Path | None) -> None:
    """Learn the merges with HF tokenizers."""
    from bpe_train import train_hf

    train_hf(text)


def train_minbpe(text: str, peer: Path | None) -> None:
    """Learn the merges with minbpe."""
    from bpe_train import load_minbpe

    load_minbpe(peer)(text)


TRAINERS = {"ours": train_ours, "hf_tokenizers": train_hf, "minbpe": train_minbpe}


def child(words: list[str]) -> None:
    """A process of its own: do one thing once, and tell the peak of memory."""
    what, name, text_file, merges_file, peer = words
    text, folder = Path(text_file).read_text(encoding="utf-8"), Path(peer) if peer else None
    if what == "train":
        measuring.tell_peak(lambda: TRAINERS[name](text, folder))
    else:
        pairs = json.loads(Path(merges_file).read_text(encoding="utf-8"))
        merges = {tuple(pair): 256 + i for i, pair in enumerate(pairs)}
        encode = ENCODERS[name](merges, folder)
        encode("A first word.")  # what is imported or made at the first call is no work
        measuring.tell_peak(lambda: encode(text))


def memory(text: str, slice_: int, merges: Merges, peer: Path | None) -> dict[str, Any]:
    """MB that each added: encoding the text, learning from the text, and from its first slice."""
    here = Path(__file__)
    with tempfile.TemporaryDirectory() as folder:
        whole, part, pairs = (Path(folder, name) for name in ("text", "slice", "merges"))
        whole.write_text(text, encoding="utf-8")
        part.write_text(text[:slice_], encoding="utf-8")
        pairs.write_text(json.dumps(list(merges)), encoding="utf-8")

        def mb(what: str, name: str, file: Path) -> float:
            words = [what, name, str(file), str(pairs), str(peer or "")]
            return measuring.peak_of(str(here), "--child", *words)["work_mb"]

        skipped = set() if peer else {"minbpe"}
        encoders = [n for n in ENCODERS if n not in {*skipped, "ours_again"}]
        return {
            "encode": {name: mb("encode", name, whole) for name in encoders},
            "train": {name: mb("train", name, whole) for name in ("ours", "hf_tokenizers")},
            "train_slice": {n: mb("train", n, part) for n in TRAINERS if n not in skipped},
        }


# The measurement ---------------------------------------------------------------------------------


def measure(
    makers: dict[str, Any], text: str, merges: Merges, peer: Path | None, rounds: int
) -> dict[str, Any]:
    """CPU seconds of each encoder on the text, in turn; how many times ours the first one took."""
    encoders = {name: make(merges, peer) for name, make in makers.items()}
    ids = {name: encode(text) for name, encode in encoders.items()}
    first = next(iter(ids))
    if other := [name for name in ids if ids[name] != ids[first]]:
        raise SystemExit(f"{', '.join(other)}: other ids than {first}. Nothing to compare.")
    runs = {name: lambda encode=encode: encode(text) for name, encode in encoders.items()}
    seconds = measuring.in_turn(runs, rounds)
    return {
        "tokens": len(ids[first]),
        "rounds": rounds,
        "cpu_seconds": measuring.medians(seconds),
        f"times_{first}": measuring.ratios(seconds, first),
    }


def show(title: str, result: dict[str, Any], first: str) -> None:
    """Print one measurement as a small table."""
    print(f"{title}: {result['tokens']:,} tokens, median of {result['rounds']} rounds")
    for name, seconds in result["cpu_seconds"].items():
        times = result[f"times_{first}"].get(name, 1.0)
        print(f"  {name:<14} {seconds:8.3f} s   this / {first}: {times:.2f}")


def main() -> None:
    """Measure, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--text", type=Path, default=peers.shakespeare(), help="Tiny Shakespeare")
    peers.add_argument(parser, "minbpe")
    parser.add_argument("--slice", type=int, default=100_000, help="characters minbpe learns from")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args.child)
    text = peers.read(args.text)
    if args.rounds < 1 or not 0 < args.slice <= len(text):
        parser.error(f"--rounds must be 1 or more and --slice from 1 to {len(text)}")
    peer = peers.found(args.peer, "minbpe")
    lacking = [peer] if isinstance(peer, str) else []
    folder = None if isinstance(peer, str) else peer
    merges = BPETokenizer.train(text, 256 + N_MERGES).merges
    makers = {name: make for name, make in PYTHON.items() if folder or name != "minbpe"}

    python = measure(makers, text, merges, folder, args.rounds)
    show("In Python", python, "ours")
    compiled = measure(COMPILED, text, merges, folder, args.rounds)
    show("Compiled", compiled, "ours_tiktoken")
    mb = memory(text, args.slice, merges, folder)
    for what, each in mb.items():
        print(f"Memory, {what}: " + ", ".join(f"{name} {n:.1f} MB" for name, n in each.items()))

    version = importlib.metadata.version
    result = {
        "claim": f"encoding in Python is at least {TARGET} times as quick as minbpe's",
        "target": TARGET,
        "characters": len(text),
        "slice": args.slice,
        "merges": N_MERGES,
        "python": python,
        "compiled": compiled,
        "memory_mb": mb,
        **measuring.about(
            gptlib=__version__,
            regex=version("regex"),
            tiktoken=version("tiktoken"),
            tokenizers=version("tokenizers"),
            minbpe=peers.git_commit(folder) if folder else "none",
        ),
    }
    measuring.keep(args.out, "bpe_encode", result, lacking)


if __name__ == "__main__":
    main()

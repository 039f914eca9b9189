"""Does `gptlib prepare` take the same memory however long the text is?

    python benchmarks/prepare_memory.py  # 2 GB of text; wants 4 GB of disk, and time
    python benchmarks/prepare_memory.py --megabytes 50  # a smaller one

The text is made on the fly: words of a made-up language, as frequent as words are (Zipf), in
documents that end with a mark. Each size is prepared in a process of its own, whose peak is told.
The peer is a smaller text: what takes no more memory for more of it is streamed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import measuring
import numpy as np

from gptlib import __version__
from gptlib.corpus import END

TARGET = 1000.0  # MB
SMALLER = 10  # the small text is a tenth of the large one


def write_text(path: Path, megabytes: float) -> int:
    """A text of so many MB, a part at a time; how many bytes there are."""
    rng = np.random.default_rng(0)
    syllables = [a + b for a in "bdfgklmnprstvz" for b in "aeiou"]
    words = np.array(["".join(rng.choice(syllables, n)) for n in rng.integers(1, 5, 50_000)])
    written = 0
    with path.open("w", encoding="utf-8") as file:
        while written < megabytes * 1e6:
            ranks = np.minimum(rng.zipf(1.2, 100_000), len(words)) - 1
            documents = np.split(words[ranks], range(500, len(ranks), 500))
            written += file.write("".join(" ".join(one) + f".\n{END}" for one in documents))
    return written


def child(kind: str, text: str, out: str) -> None:
    """Prepare one text, and tell the peak."""
    from gptlib.cli.main import main

    words = ["prepare", text, "--out", out, "--tokenizer", kind, "--vocab-size", "4096"]
    measuring.tell_peak(lambda: main(words))


def measure(kind: str, megabytes: float, folder: Path) -> dict[str, Any]:
    """Peak and seconds of one size."""
    text, out = folder / "text.txt", folder / "out"
    size = write_text(text, megabytes)
    began = time.perf_counter()
    told = measuring.peak_of(__file__, "--child", kind, str(text), str(out))
    seconds = time.perf_counter() - began
    return {
        "megabytes": round(size / 1e6, 1),
        "peak_mb": told["peak_mb"],
        "seconds": round(seconds, 1),
    }


def main() -> None:
    """Measure, print, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--megabytes", type=float, default=2000)
    parser.add_argument(
        "--tokenizers", nargs="+", choices=("chars", "bpe"), default=["chars", "bpe"]
    )
    parser.add_argument("--folder", type=Path, help="where the texts go for the time")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(*args.child)
    if args.megabytes <= 0:
        parser.error("--megabytes must be above 0")
    found: dict[str, Any] = {}
    for kind in args.tokenizers:
        with tempfile.TemporaryDirectory(dir=args.folder) as name:
            small = measure(kind, args.megabytes / SMALLER, Path(name))
            large = measure(kind, args.megabytes, Path(name))
        found[kind] = {"small": small, "large": large}
        for one in (small, large):
            print(f"{kind}: {one['megabytes']:,.1f} MB of text, peak {one['peak_mb']:,.1f} MB, "
                  f"{one['seconds']:,.1f} s")  # fmt: skip
    worst = max(one["large"]["peak_mb"] for one in found.values())
    result = {
        "claim": "2 GB of text are prepared in less than 1 GB of memory",
        "target_mb": TARGET,
        "worst_mb": worst,
        "tokenizers": found,
        **measuring.about(gptlib=__version__, numpy=np.__version__),
    }
    full = args.megabytes >= 2000
    lacking = [] if full else [f"{args.megabytes:,.0f} MB is not the size of the claim: 2,000 MB."]
    measuring.keep(args.out, "prepare_memory", result, lacking)


if __name__ == "__main__":
    sys.exit(main())

"""GPT-2 as its authors published it: pinned files, fetched where somebody asks for them.

Given, not built.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from gptlib.engine.forms import gpt2_config
from gptlib.given import download
from gptlib.given.files import write_text
from gptlib.given.sources import Source
from gptlib.gpt import GPTConfig

HOME = "https://huggingface.co/openai-community"
# The address names a commit, so what it gives does not change.
_SMALL = f"{HOME}/gpt2/resolve/607a30d783dfa663caf39e06633721c8d4cfcd7e"
_LICENCE = "MIT: A. Radford and others, 'Language Models are Unsupervised Multitask Learners', 2019"
GPT2 = (
    Source(
        file="gpt2.config.json",
        url=f"{_SMALL}/config.json",
        size=665,
        sha256="0daed7749b4f02b8f76240d5444551d7b08712dab4d0adb8239c56ba823bb7b4",
        licence=_LICENCE,
    ),
    Source(
        file="gpt2.merges.txt",
        url=f"{_SMALL}/merges.txt",
        size=456_318,
        sha256="1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
        licence=_LICENCE,
    ),
    Source(
        file="gpt2.model.safetensors",
        url=f"{_SMALL}/model.safetensors",
        size=548_105_171,
        sha256="248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707",
        licence=_LICENCE,
    ),
)


# The larger ones: the commit, the bytes of the weights, and their SHA-256. That of XL stands alike
# in several public projects that have summed the file up. Of the other two none was found that
# could be compared: whoever fetches them says which sum the file's page shows.
LARGER: dict[str, tuple[str, int, str | None]] = {
    "medium": ("6dcaa7a952f72f9298047fd5137cd6e4f05f41da", 1_519_984_962, None),
    "large": ("32b71b12589c2f8d625668d2335a01cac3249519", 3_247_159_078, None),
    "xl": (
        "15ea56dee5df4983c59b2538573817e1667135e2",
        6_431_829_964,
        "0f8b28eb05a8075f48b61b6f35332978c74fc7763fa9fb4051a1c30511736a6a",
    ),
}
WEIGHTS = "model.safetensors"


def gpt2_folder(fetch: bool = False, size: str = "small", sha256: str | None = None) -> Path | None:
    """The folder of a GPT-2 for `from_pretrained`; None if it is absent.

    size: small, of 124 million parameters, medium, large or xl. fetch: get what is missing, 0.55,
    1.5, 3.2 or 6.4 GB, resumed where it was broken off and compared with its SHA-256. sha256: of
    the weights of medium and large, which the course does not know; their page shows it.

    Errors: ValueError for another size or sum; DownloadError with the ways out where that fails.
    """
    sources, folder = _sources(size, sha256), download.cache_dir() / "gpt2"
    if size != "small":
        folder = folder.with_name(f"gpt2-{size}")
    if not fetch and not all((download.cache_dir() / s.file).is_file() for s in sources.values()):
        return None
    for name, source in sources.items():
        file, place = download.fetch(source), folder / name
        if not (place.is_file() and place.stat().st_size == source.size):
            folder.mkdir(exist_ok=True)
            place.unlink(missing_ok=True)
            try:
                os.link(file, place)
            except OSError:  # a disk that knows no links
                shutil.copyfile(file, place)
    if size != "small":
        told = gpt2_config(GPTConfig.preset(f"gpt2-{size}"))
        write_text(folder / "config.json", json.dumps(told, indent=1) + "\n")
    return folder


def _sources(size: str, sha256: str | None) -> dict[str, Source]:
    """What is fetched for a size, by the names in its folder; the larger ones share the merges."""
    known = {source.file.removeprefix("gpt2."): source for source in GPT2}
    if size not in ("small", *LARGER):
        raise ValueError(f"size must be one of small, {', '.join(LARGER)}; got {size!r}.")
    commit, n_bytes, pinned = LARGER.get(size, ("", 0, known[WEIGHTS].sha256))
    page = f"{HOME}/gpt2-{size}/blob/{commit}/{WEIGHTS}"
    if pinned is None and sha256 is None:
        raise ValueError(
            f"sha256 must be given for {size}: the course knows no sum of its file. It stands at "
            f"{page}."
        )
    if pinned and sha256 not in (None, pinned):
        raise ValueError(f"sha256 of {size} is {pinned}; got {sha256!r}. Leave it out.")
    if size == "small":
        return known
    weights = Source(
        file=f"gpt2-{size}.{WEIGHTS}", url=page.replace("/blob/", "/resolve/"), size=n_bytes,
        sha256=pinned or str(sha256), licence=_LICENCE,
    )  # fmt: skip
    return {"merges.txt": known["merges.txt"], WEIGHTS: weights}

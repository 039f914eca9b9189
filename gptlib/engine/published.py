"""GPT-2 as its authors published it: three files, pinned, fetched where somebody asks for them.

Given, not built.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from gptlib.given import download
from gptlib.given.sources import Source

# The address names a commit, so what it gives does not change.
_HOME = (
    "https://huggingface.co/openai-community/gpt2/resolve/607a30d783dfa663caf39e06633721c8d4cfcd7e"
)
_LICENCE = "MIT: A. Radford and others, 'Language Models are Unsupervised Multitask Learners', 2019"
GPT2 = (
    Source(
        file="gpt2.config.json",
        url=f"{_HOME}/config.json",
        size=665,
        sha256="0daed7749b4f02b8f76240d5444551d7b08712dab4d0adb8239c56ba823bb7b4",
        licence=_LICENCE,
    ),
    Source(
        file="gpt2.merges.txt",
        url=f"{_HOME}/merges.txt",
        size=456_318,
        sha256="1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
        licence=_LICENCE,
    ),
    Source(
        file="gpt2.model.safetensors",
        url=f"{_HOME}/model.safetensors",
        size=548_105_171,
        sha256="248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707",
        licence=_LICENCE,
    ),
)


def gpt2_folder(fetch: bool = False) -> Path | None:
    """The folder of GPT-2 with 124 million parameters, for `from_pretrained`; None if it is absent.

    fetch: get what is missing, some 550 MB, resumed where it was broken off and compared with its
    SHA-256. Errors: DownloadError with the ways out where that fails.
    """
    folder = download.cache_dir() / "gpt2"
    for source in GPT2:
        if not fetch and not (download.cache_dir() / source.file).is_file():
            return None
        file = download.fetch(source)
        name = folder / source.file.removeprefix("gpt2.")
        if not (name.is_file() and name.stat().st_size == source.size):
            folder.mkdir(exist_ok=True)
            name.unlink(missing_ok=True)
            try:
                os.link(file, name)
            except OSError:  # a disk that knows no links
                shutil.copyfile(file, name)
    return folder

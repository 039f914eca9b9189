"""Given, not built: the public texts of the course, each pinned by its size and its SHA-256."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from gptlib.given.checks.numbers import is_whole


def check_address(url: str) -> None:
    """url is an address of the web: http or https, with a host. Errors: ValueError if not."""
    parts = urlsplit(url)  # raises ValueError itself for "http://[", and .port for port 99999
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("it does not begin with http:// or https:// and a host")


@dataclass(frozen=True)
class Source:
    """A public file: its name in the cache, where it is, and what it must be once it is here.

    size in bytes; sha256 as 64 hexadecimal digits. Only http and https addresses are accepted.
    """

    file: str
    url: str
    size: int
    sha256: str
    licence: str

    def __post_init__(self) -> None:
        for name in ("file", "url", "sha256"):
            if not isinstance(value := getattr(self, name), str):
                raise ValueError(f"{name} must be a string; got {value!r}.")
        try:
            check_address(self.url)
        except ValueError as error:
            raise ValueError(
                f"url must begin with http:// or https:// and a host; got {self.url!r} ({error})."
            ) from None
        if not (self.url.isascii() and self.url.isprintable()):
            raise ValueError(f"url must be printable ASCII, the rest as %XX; got {self.url!r}.")
        if not is_whole(self.size) or self.size < 1:
            raise ValueError(f"size must be a whole number, 1 byte or more; got {self.size!r}.")
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ValueError(f"sha256 must be 64 hexadecimal digits; got {self.sha256!r}.")
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", self.file):
            raise ValueError(
                f"file must be a name of letters, digits, _ - and . (not first), without folders; "
                f"got {self.file!r}."
            )


# Both addresses name a commit, so what they give does not change.
_CHAR_RNN = (
    "https://raw.githubusercontent.com/karpathy/char-rnn/6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e"
)
_TINYSTORIES = (
    "https://huggingface.co/datasets/roneneldan/TinyStories/resolve/"
    "f54c09fd23315a6f9c86f9dc80f725de7d8f9c64"
)
SOURCES = {
    "tinyshakespeare": Source(
        file="tinyshakespeare.txt",
        url=f"{_CHAR_RNN}/data/tinyshakespeare/input.txt",
        size=1_115_394,
        sha256="86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        licence="public domain: plays of Shakespeare, put together by A. Karpathy",
    ),
    # R. Eldan, Y. Li, "TinyStories", 2023. The stories by GPT-4; the smaller of the two files is
    # plenty for a model of a few million parameters.
    "tinystories": Source(
        file="tinystories.txt",
        url=f"{_TINYSTORIES}/TinyStoriesV2-GPT4-valid.txt",
        size=22_502_601,
        sha256="6874bae9a4c1a4e7edcf0e53b86c17817e9cf881fc75ff2368da457b80c0585d",
        licence="CDLA-Sharing-1.0",
    ),
    "tinystories-train": Source(
        file="tinystories-train.txt",
        url=f"{_TINYSTORIES}/TinyStoriesV2-GPT4-train.txt",
        size=2_227_753_162,
        sha256="6418d412de72888f52b5142c761ac21a582f7d1166f0bfbdb5f03ccfdec90443",
        licence="CDLA-Sharing-1.0",
    ),
}

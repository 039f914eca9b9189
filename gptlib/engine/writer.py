"""Let a run write: its model and its tokenizer out of a folder, text as it comes.

Given, not built.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from gptlib.cache import Cached
from gptlib.engine import runs
from gptlib.generation import stream
from gptlib.given.checks.recipe import pick_device
from gptlib.tokenizer import END_OF_TEXT


@dataclass
class Wish:
    """How to write: length in tokens; sampling=False takes the likeliest token every time."""

    length: int = 50
    temperature: float = 0.8
    top_k: int | None = 50
    sampling: bool = True
    seed: int | None = None


class Writer:
    """A model that writes, out of a run or one of its checkpoints.

    which: "best", "last" or a step of the run. Errors: ValueError where there is nothing to read.
    """

    def __init__(self, path: str | os.PathLike[str], which: str = "best", device: str = "auto"):
        self.model, self.tokenizer, self.folder, self.passed = runs.load(path, which)
        self.device = pick_device(device)
        self.model.to(self.device).eval()
        special = getattr(self.tokenizer, "special_tokens", {})
        self.end = special.get(END_OF_TEXT, next(iter(special.values()), None))
        self.tokens = 0  # of the last text

    def start(self, prompt: str) -> list[int]:
        """The ids of a prompt; an empty one begins a document, or a line."""
        if prompt:
            return self.tokenizer.encode(prompt)
        if self.end is not None:
            return [self.end]
        return self.tokenizer.encode("\n") if self._knows("\n") else [0]

    def _knows(self, char: str) -> bool:
        return char in getattr(self.tokenizer, "chars", char)

    def stream(self, prompt: str = "", wish: Wish | None = None) -> Iterator[str]:
        """What the model adds to the prompt, in whole characters; it ends where a document does.

        Errors: ValueError for a prompt that the tokenizer cannot encode, and for a setting outside
        its range; a top_k above the vocabulary means all of it.
        """
        wish = wish or Wish()
        idx = torch.tensor([self.start(prompt)], device=self.device)  # (1, T)
        top_k = min(wish.top_k, self.tokenizer.vocab_size) if wish.top_k else None
        generator = torch.Generator(self.device)
        generator.seed() if wish.seed is None else generator.manual_seed(wish.seed)
        new = stream(
            Cached(self.model), idx, wish.length, generator=generator, top_k=top_k,
            temperature=wish.temperature if wish.sampling else 0,
            stop_tokens=[] if self.end is None else [self.end],
        )  # fmt: skip
        self.tokens = 0
        return self.tokenizer.decode_iterable(self._counted(new))

    def _counted(self, ids: Iterator[int]) -> Iterator[int]:
        for i in ids:
            self.tokens += 1
            if i != self.end:
                yield i

    def text(self, prompt: str = "", length: int = 50, **settings: object) -> str:
        """The prompt and what the model adds: Writer("runs/mine").text("Once", 100, seed=1)."""
        wish = Wish(length=length, **settings)  # type: ignore[arg-type]
        return prompt + "".join(self.stream(prompt, wish))

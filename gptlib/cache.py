"""The KV cache: what was read once need not be read again.

Built in chapter 9. No token looks at later ones, so the keys and values of a text stay what they
are while the text grows. Kept, the next token costs one token. One class for all models of the
course, the classic GPT and the modern one.

Tensor letters: B sequences, T new tokens, S tokens that are seen, hs numbers a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from gptlib.attention import CausalSelfAttention
from gptlib.given.checks.tensors import is_whole_type
from gptlib.given.models import context_length_of, evaluating, unwrapped, vocab_size_of
from gptlib.gpt import GPT
from gptlib.window import visible


class LayerCache:
    """Keys and values that one attention layer has made, (B, n_kv_head, S, hs), the oldest first.

    A layer with a window keeps its last `window` tokens: nobody will look further back.
    """

    def __init__(self, window: int | None = None, padding: torch.Tensor | None = None):
        self.window, self.padding = window, padding
        self.read = 0  # tokens read so far, also those no longer kept
        self.k: torch.Tensor | None = None
        self.v: torch.Tensor | None = None

    def add(
        self, k: torch.Tensor, v: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Take in what T new tokens made; returns k and v of S tokens, and who sees whom.

        The mask is (T, S) or (B, 1, T, S), see `visible`; None: every query sees every key.
        """
        T = k.size(2)
        if self.k is not None and self.v is not None:
            k, v = torch.cat([self.k, k], dim=2), torch.cat([self.v, v], dim=2)  # T -> S
        self.read += T
        S = k.size(2)
        oldest = 0 if self.window is None else max(S - self.window, 0)
        self.k, self.v = k[:, :, oldest:], v[:, :, oldest:]
        if T == 1 and oldest == 0 and self.padding is None:
            return k, v, None
        # The first key kept is not the first one read.
        padding = None if self.padding is None else self.padding - (self.read - S)
        return k, v, visible(T, S, self.window, padding, k.device)


class Cache:
    """What a model has read, layer by layer: Cache(windows) with each layer's window or None.

    padding (B): so many places at the front of each row hold nothing, for rows of unequal length.

    Cache([None, None]).read -> 0
    """

    def __init__(self, windows: Sequence[int | None], padding: torch.Tensor | None = None):
        if not windows:
            raise ValueError("windows must have one entry a layer, at least one; got none.")
        self.padding = padding
        self.layers = [LayerCache(window, padding) for window in windows]

    @property
    def read(self) -> int:
        """How many tokens of each row were read."""
        return self.layers[0].read

    @property
    def nbytes(self) -> int:
        """The bytes of all keys and values that are kept."""
        kept = [t for layer in self.layers for t in (layer.k, layer.v) if t is not None]
        return sum(t.numel() * t.element_size() for t in kept)

    def positions(self, n_new: int, device: torch.device | None = None) -> torch.Tensor:
        """Where the next tokens stand, counted from each row's first: (T), or (B, T) if padded."""
        places = torch.arange(self.read, self.read + n_new, device=device)  # (T)
        if self.padding is None:
            return places
        return (places - self.padding[:, None]).clamp(min=0)  # (B, T)


# The classic GPT, with a cache -------------------------------------------------------------------


class CountingOn(nn.Module):
    """A table of positions that goes on counting where the cache has read to: (T) -> (T, C)."""

    def __init__(self, table: nn.Module, cache: Cache):
        super().__init__()
        self.table, self.cache = table, cache

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        return self.table(self.cache.positions(positions.size(0), positions.device))


class CachedAttention(nn.Module):
    """A `CausalSelfAttention` that is shown new tokens and remembers the old: (B, T, C) stays."""

    def __init__(self, layer: CausalSelfAttention, kept: LayerCache):
        super().__init__()
        self.layer, self.kept = layer, kept

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.layer.split_heads(x)  # (B, n_head, T, hs) each
        k, v, seen = self.kept.add(k, v)  # (B, n_head, S, hs) each
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return self.layer.project(out.transpose(1, 2).reshape(x.size()))  # (B, T, C)


def exchanged(module: nn.Module, **parts: nn.Module) -> Any:
    """The same module with other parts under these names; weights are shared, module untouched."""
    view = copy(module)
    view._modules = {**module._modules, **parts}
    return view


def with_cache(model: GPT, cache: Cache) -> GPT:
    """The GPT of chapter 6, reading on from a cache: idx (B, T) holds the new tokens alone.

    Two of its parts know where in the text a token stands: the table of positions and the
    attention. These are exchanged; all else is the model's own forward, whatever its norms and
    shortcuts, on the model's own weights.
    """
    blocks = nn.ModuleList()
    for block, kept in zip(model.blocks, cache.layers, strict=True):
        attention: Any = block.attention
        blocks.append(exchanged(block, attention=CachedAttention(attention, kept)))
    positions = CountingOn(model.position_embedding, cache)
    return exchanged(model, blocks=blocks, position_embedding=positions)


# Any of them, for generation ---------------------------------------------------------------------


class Cached(nn.Module):
    """A model that remembers the text it was asked about: `generate(Cached(model), idx, 50)`.

    It is asked like the model itself, and returns the logits of what is new: idx (B, T) -> (B, new,
    V). If idx goes on from the last one, the new tokens are read; if not, all of it is, so one
    `Cached` may read one text after another. Beyond context_length a text loses its first token at
    every step, and with it all that was worked out from it: the last window is read anew then,
    exactly as without a cache. The model is read in evaluation mode, without gradients; it must not
    learn while a text is being written.

    padding (B): so many tokens at the front of each row hold nothing, see `pad_left`.
    Errors: ValueError for a model that has no cache, and for targets. Built in chapter 9.
    """

    def __init__(self, model: nn.Module, padding: torch.Tensor | None = None):
        super().__init__()
        inner = unwrapped(model)
        if not isinstance(inner, GPT) and not hasattr(inner, "new_cache"):
            raise ValueError(
                f"model must be a GPT or have a method new_cache; got {type(inner).__name__}."
            )
        if padding is not None and (padding.dim() != 1 or not is_whole_type(padding.dtype)):
            raise ValueError(
                f"padding must be one whole number a row, of shape (B); got {padding.dtype} of "
                f"shape {tuple(padding.shape)}."
            )
        self.model, self.padding = inner, padding
        self.vocab_size, self.longest = vocab_size_of(inner), context_length_of(inner)
        self.text: torch.Tensor | None = None  # what was read, from its first token on
        self.cache: Cache | None = None

    def new_cache(self, idx: torch.Tensor, dropped: int) -> Cache:
        """An empty cache for a text that lost so many tokens at its front."""
        padding = self.padding
        if padding is not None:
            if len(padding) != len(idx):
                raise ValueError(f"padding has {len(padding)} rows, and idx {len(idx)}.")
            padding = (padding.to(idx.device) - dropped).clamp(min=0)  # (B)
        if isinstance(self.model, GPT):
            return Cache([None] * self.model.config.n_layer, padding)
        return self.model.new_cache(padding)

    def forward(
        self, idx: torch.Tensor, targets: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, None]:
        if targets is not None:
            raise ValueError("targets must be None: Cached returns the logits of new tokens alone.")
        text, self.text = self.text, None  # whatever happens below, nothing half-read is trusted
        dropped = 0 if self.longest is None else max(idx.size(1) - self.longest, 0)
        known = dropped  # so many tokens need not be read
        if text is not None and not dropped and text.size(1) < idx.size(1):
            known = text.size(1) if torch.equal(idx[:, : text.size(1)], text) else 0
        if known == dropped or self.cache is None:
            self.cache = self.new_cache(idx, dropped)
        new = idx[:, known:]  # (B, new)
        with torch.no_grad(), evaluating(self.model):
            if isinstance(self.model, GPT):
                logits, _ = with_cache(self.model, self.cache)(new)
            else:
                logits, _ = self.model(new, cache=self.cache)
        self.text = idx
        return logits, None


def pad_left(prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts of unequal length as one batch: ids (B, T) and how many of each row are padding (B).

    The filler stands in front, so that all rows end, and go on, in the same column; it is token 0,
    and nobody looks at it. Errors: ValueError where there is no prompt, or an empty one.

    pad_left([[5, 6, 7], [8]]) -> ([[5, 6, 7], [0, 0, 8]], [0, 2])
    """
    if not prompts or not all(len(prompt) for prompt in prompts):
        raise ValueError(f"prompts must hold one text or more, none of them empty; got {prompts}.")
    longest = max(len(prompt) for prompt in prompts)
    padding = [longest - len(prompt) for prompt in prompts]
    rows = [[0] * n + list(prompt) for n, prompt in zip(padding, prompts, strict=True)]
    return torch.tensor(rows), torch.tensor(padding)

"""The exercise of chapter 9 about the cache: one new token, and what was kept of those before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F

from gptlib.exercises.comparing import shown
from gptlib.exercises.task import Mistake, Task, Use, Wrong

Tensor = torch.Tensor
Pair = tuple[Tensor, Tensor]
Step = Callable[..., tuple[Tensor, Any]]


def cached_step(q: Tensor, k: Tensor, v: Tensor, kept: Any = None) -> tuple[Tensor, Any]:
    """The attention of one new token: what it takes, and what to keep for the next one.

    q, k, v (B, nh, 1, hs) are those of the new token; kept is None before the first one, and
    afterwards what the last call gave back. What a token takes is (B, nh, 1, hs).

    cached_step(*torch.ones(3, 1, 1, 1, 1))[0] -> [[[[1.0]]]]
    """
    if kept is not None:
        k = torch.cat([kept[0], k], dim=2)  # (B, nh, S, hs)
        v = torch.cat([kept[1], v], dim=2)
    scores = q @ k.transpose(-2, -1) / q.size(-1) ** 0.5  # (B, nh, 1, S)
    return scores.softmax(dim=-1) @ v, (k, v)


class ReadOn(Use):
    """Read a text token by token, then go on from its beginning with another token."""

    in_order = True

    def run(self, answer: Callable[..., Any], *given: Any) -> dict[str, Any]:
        q, k, v = given
        kept, seen, begun = None, {}, None
        for t in range(q.size(2)):
            out, kept = self.step(answer, given, t, kept)
            seen[f"What the token at place {t} takes"] = out
            begun = kept if t == 0 else begun
        out, _ = self.step(answer, (q + 1, k - 1, v + 1), 1, begun)
        seen["What another token takes, behind the first one once more"] = out
        return seen

    def step(self, answer: Any, text: tuple[Tensor, ...], t: int, kept: Any) -> tuple[Tensor, Any]:
        """One call, for the token at place t. Errors: Wrong where it does not give two things."""
        out = answer(*(part[:, :, t : t + 1] for part in text), kept)
        if not isinstance(out, tuple | list) or len(out) != 2:
            raise Wrong(
                "Two things should come back: what the token takes, and what is kept. "
                f"Got {'nothing' if out is None else shown(out)}."
            )
        return out[0], out[1]

    def shown(self, name: str, *given: Any) -> str:
        B, nh, T, hs = given[0].shape
        return f"{name} for each of {T} tokens, (B, nh, 1, hs) = ({B}, {nh}, 1, {hs})"


def texts(seed: int) -> Iterator[tuple[Any, ...]]:
    """Queries, keys and values of texts; of one token among them, and in double precision."""
    draw = torch.Generator().manual_seed(seed)
    for size in ((1, 1, 4, 2), (2, 3, 5, 4), (1, 2, 2, 3)):
        yield tuple(torch.randn(3, *size, generator=draw))
    yield tuple(torch.randn(3, 1, 2, 3, 2, generator=draw).double())


def _full(q: Tensor, k: Tensor, v: Tensor, **how: Any) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, **how)


def _joined(kept: Pair | None, k: Tensor, v: Tensor) -> Pair:
    return (k, v) if kept is None else (torch.cat([kept[0], k], 2), torch.cat([kept[1], v], 2))


def _step(
    attend: Callable[..., Tensor] = _full,
    join: Callable[..., Pair] = _joined,
    keep: Callable[..., Any] = lambda kept, k, v, new: (k, v),
) -> Step:
    """One step with one part of it exchanged; keep may look at what was kept and what is new."""

    def step(q: Tensor, k: Tensor, v: Tensor, kept: Any = None) -> tuple[Tensor, Any]:
        keys, values = join(kept, k, v)
        return attend(q, keys, values), keep(kept, keys, values, (k, v))

    return step


def _old_alone(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _full(q, k, v) if k.size(2) == 1 else _full(q, k[:, :, :-1], v[:, :, :-1])


def _unscaled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return _full(q, k, v, scale=1.0)


def _spelled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.mT / q.size(-1) ** 0.5).softmax(dim=-1) @ v


def _shares_of_one(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.mT / q.size(-1) ** 0.5).softmax(dim=-2) @ v


def _crossed(kept: Pair | None, k: Tensor, v: Tensor) -> Pair:
    return (k, v) if kept is None else (torch.cat([kept[0], k], 2), torch.cat([v, kept[1]], 2))


def _heads(kept: Pair | None, k: Tensor, v: Tensor) -> Pair:
    return (k, v) if kept is None else (torch.cat([kept[0], k], 1), torch.cat([kept[1], v], 1))


def _wider(kept: Pair | None, k: Tensor, v: Tensor) -> Pair:
    return (k, v) if kept is None else (torch.cat([kept[0], k], -1), torch.cat([kept[1], v], -1))


def _keys_alone(kept: Pair | None, k: Tensor, v: Tensor) -> Pair:
    return (k, v) if kept is None else (torch.cat([kept[0], k], 2), v)


def _one_list(q: Tensor, k: Tensor, v: Tensor, kept: Any = None) -> tuple[Tensor, Any]:
    kept = [] if kept is None else kept
    kept.append((k, v))
    return _full(q, *(torch.cat(part, dim=2) for part in zip(*kept, strict=True))), kept


def _new_list(q: Tensor, k: Tensor, v: Tensor, kept: Any = None) -> tuple[Tensor, Any]:
    return _one_list(q, k, v, [*(kept or [])])


CACHED_STEP = Task(
    name="modern.cached_step",
    asks="One new token looks back on all that were read, and its own key and value are kept with "
    "theirs. What it takes is what the last row of the full attention says.",
    reference=cached_step,
    inputs=texts,
    use=ReadOn(),
    anywhere=True,
    hints=(
        "Of the full attention only the last row is wanted. Which queries, keys and values does "
        "that row need?",
        "torch.cat along the axis of the tokens puts the new key behind those that were kept. The "
        "new token sees itself, too. Is there anything to hide?",
        "k = torch.cat([kept[0], k], dim=2), v likewise, unless kept is None. Then the softmax of "
        "the scaled scores, @ v; give that back, and (k, v).",
    ),
    mistakes=(
        Mistake(
            "is_causal=True hides everything but the first key: PyTorch lays the mask as if the "
            "one query stood at place 0. The newest token may see all that is there.",
            _step(attend=lambda q, k, v: _full(q, k, v, is_causal=True)),
        ),
        Mistake(
            "The new token does not see itself: its own key and value belong to those it looks at.",
            _step(attend=_old_alone),
        ),
        Mistake(
            "The token sees itself alone: what was kept is not looked at, or nothing was kept.",
            _step(join=lambda kept, k, v: (k, v)),
        ),
        Mistake(
            "Only the newest key and value are kept: the next token sees two tokens and no more.",
            _step(keep=lambda kept, k, v, new: new),
        ),
        Mistake(
            "Only the first key and value are kept; what came later is forgotten.",
            _step(keep=lambda kept, k, v, new: kept or new),
        ),
        Mistake(
            "The new key stands behind the old ones and the new value in front of them: who looks "
            "at one token takes from another.",
            _step(join=_crossed),
        ),
        Mistake(
            "The values are not kept: there are more keys than values.",
            _step(_spelled, _keys_alone),
        ),
        Mistake(
            "The new key is put beside the heads, where it should stand behind the tokens: axis 2 "
            "counts tokens.",
            _step(join=_heads),
        ),
        Mistake(
            "The new key is put behind the numbers of the old one, where it should stand behind "
            "the tokens: axis 2 counts tokens.",
            _step(join=_wider),
        ),
        Mistake(
            "The softmax goes over the one query: every weight is 1, and the values add up.",
            _step(attend=_shares_of_one),
        ),
        Mistake("The scores are not divided by the root of the head size.", _step(_unscaled)),
        Mistake(
            "What was kept has been changed, by append or +=. Two texts that begin alike go on "
            "from the same cache, and the second sees what the first has read: make a new one.",
            _one_list,
        ),
    ),
    right=(_step(_spelled), _new_list),
)

TASKS = (CACHED_STEP,)

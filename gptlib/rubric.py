"""A rubric that fills itself in: what a run has become, beside the text that it learned from.

Built in chapter 12.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch

Row = tuple[str, bool, str]  # what is asked, whether it is so, and the numbers


def counting(train: Sequence[int], validation: Sequence[int], vocab_size: int) -> dict[str, float]:
    """What two counts of the training ids (N) reach on validation ids (M), in nats per token.

    `unigram` gives each token its share, one more counted of each; `bigram` gives it what followed
    the token before, and to that one more, shared out as the unigram says. Each validation token
    but the first is asked.

    counting([0, 1, 0, 1], [0, 1, 0], 2)["unigram"] -> 0.6931  # two sides of a coin
    counting([0, 1, 0, 1], [0, 1, 0], 2)["bigram"] -> 0.2350  # of 5/6 and 3/4
    """
    ids = torch.tensor(train, dtype=torch.long)  # (N)
    asked = torch.tensor(validation, dtype=torch.long)  # (M)
    single = torch.bincount(ids, minlength=vocab_size).double() + 1  # (V)
    single = single / single.sum()
    before = torch.bincount(ids[:-1], minlength=vocab_size)  # (V)
    pairs, times = (ids[:-1] * vocab_size + ids[1:]).unique(return_counts=True)
    wanted = asked[:-1] * vocab_size + asked[1:]  # (M - 1)
    at = torch.searchsorted(pairs, wanted).clamp(max=len(pairs) - 1)
    seen = torch.where(pairs[at] == wanted, times[at], 0)
    pair = (seen + single[asked[1:]]) / (before[asked[:-1]] + 1)  # (M - 1)
    return {
        "unigram": -single[asked[1:]].log().mean().item(),
        "bigram": -pair.log().mean().item(),
    }


def rubric(
    found: dict[str, Any], text: dict[str, float], band: Collection[float] = ()
) -> list[Row]:
    """The questions that a run has to answer, each with yes or no and its numbers.

    found: what `evaluate` measured. Where it has a loss of whole stories, that one counts, and not
    the loss of windows. text: of held-out text `bigram`, from `counting`, and `repetition_4` and
    `novel_8`, measured as those of what was written. band: the losses of other seeds of this run.
    """
    wrote, told = found["samples"], found.get("stories", {})
    loss = told.get("loss", found["validation"]["loss"])
    again, new = wrote["repetition_4"], wrote["novel_8"] or 0.0
    pairs, often = text["bigram"], 2 * text["repetition_4"] + 0.01
    rows = [
        ("beats pairs", loss < pairs, f"{loss:.2f}, pairs {pairs:.2f}"),
        ("moves on", again <= often, f"said again {again:.1%}"),
        ("at least half as new", new >= text["novel_8"] / 2, f"new {new:.0%}"),
    ]
    if "floor" in told:
        floor, fine = told["floor"], told["well_formed"]
        both = f"{loss:.3f}, floor {floor:.3f}"
        rows += [
            ("stays above the floor", loss >= floor, both),
            ("tells whole stories", fine >= 0.8, f"well formed {fine:.0%}"),
        ]
    if band:
        low, high = min(band), max(band)
        usual = 2 * low - high <= loss <= 2 * high - low
        seeds = f"{loss:.3f}, seeds {low:.3f} to {high:.3f}"
        rows.append(("is a usual run", usual, seeds))
    return rows

"""Bug hunt of chapter 8: a loop that writes well as long as the text is short."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import torch

from gptlib.exercises.comparing import shown
from gptlib.exercises.generation_writer import SEES, Writer
from gptlib.exercises.task import Mistake, Task, Use

Tensor = torch.Tensor


def write_on(model: Any, idx: Tensor, n: int) -> Tensor:
    """Append n tokens to each row of idx (B, T), the most likely one each time."""
    longest = model.config.context_length
    for _ in range(n):
        logits, _ = model(idx[:, -longest:])
        new = logits[:, -1].argmax(dim=-1, keepdim=True)
        idx = torch.cat([idx, new], dim=1)
    return idx


def write_on_with_a_bug(model: Any, idx: Tensor, n: int) -> Tensor:
    """Append n tokens to each row of idx (B, T), the most likely one each time."""
    longest = model.config.context_length
    for _ in range(n):
        logits, _ = model(idx[:, :longest])
        new = logits[:, -1].argmax(dim=-1, keepdim=True)
        idx = torch.cat([idx, new], dim=1)
    return idx


class Greedy(Use):
    """A text of a small model, in evaluation mode."""

    def run(self, answer: Callable[..., Any], *given: Any) -> dict[str, Any]:
        seed, idx, n = given
        with torch.no_grad():
            return {"The text": answer(Writer(seed).eval(), idx, n)}

    def shown(self, name: str, *given: Any) -> str:
        _, idx, n = given
        return f"{name}(model, {shown(idx)}, {n}) of a model that sees {SEES}"


def texts(seed: int) -> Iterator[tuple[Any, ...]]:
    """A text that outgrows the context, then one that is longer from the start, then a short one.

    The model is one for which every repair that is none writes something else.
    """
    others = [write_on_with_a_bug, *(mistake.made for mistake in REPAIRS[:-1])]
    for one in count(1000 * seed):
        wish = (one, torch.tensor([[1, 3, 6, 2, 5, 0]]), 7)
        said = [Greedy().run(f, *wish)["The text"].tolist() for f in (write_on, *others)]
        if len({str(text) for text in said}) == len(said):
            yield wish
            yield one, torch.tensor([[2, 7]]), 1
            yield one, torch.tensor([[4, 4, 1], [0, 2, 7]]), 9
            return


def _repaired(
    crop: Callable[[Tensor, int], Tensor] = lambda idx, n: idx[:, -n:],
    forgets: bool = False,
    place: int = -1,
    stops: bool = False,
) -> Callable[..., Tensor]:
    def write(model: Any, idx: Tensor, n: int) -> Tensor:
        longest = model.config.context_length
        for _ in range(n):
            if stops and idx.size(1) > longest:
                break
            seen = crop(idx, longest)
            new = model(seen)[0][:, place].argmax(dim=-1, keepdim=True)
            idx = torch.cat([seen if forgets else idx, new], dim=1)
        return idx

    return write


REPAIRS = (
    Mistake(
        "The model is shown the whole text: a GPT has no positions beyond its context, and "
        "refuses.",
        _repaired(crop=lambda idx, n: idx),
    ),
    Mistake(
        "The text itself is cut down to the context: the beginning is no longer in what comes "
        "back.",
        _repaired(forgets=True),
    ),
    Mistake(
        "The writing ends when the context is full; n tokens were asked for.",
        _repaired(stops=True),
    ),
    Mistake(
        "The newest token alone is shown: a GPT remembers nothing between two calls, and what "
        "stood before it is lost.",
        _repaired(crop=lambda idx, n: idx[:, -1:]),
    ),
    Mistake(
        "The newest token is not shown: the model is asked once more what comes before it.",
        _repaired(crop=lambda idx, n: idx[:, -n - 1 : -1] if idx.size(1) > n else idx),
    ),
    Mistake(
        "It is shown one token fewer than its context holds.",
        _repaired(crop=lambda idx, n: idx[:, -n + 1 :]),
    ),
    Mistake(
        "The logits of the first place are taken: they speak about a token that is there already.",
        _repaired(place=0),
    ),
    Mistake(
        "A text that is shorter than the context loses its beginning: the place to cut at has "
        "become negative, which Python counts from the end.",
        _repaired(crop=lambda idx, n: idx[:, idx.size(1) - n :]),
    ),
)

WRITE_ON = Task(
    name="generation.write_on",
    asks="The loop writes well as long as the text fits into the context. Afterwards it repeats "
    "itself. Which tokens does the model see then?",
    reference=write_on,
    bug=write_on_with_a_bug,
    inputs=texts,
    hints=(
        "Write down which tokens the model sees at the first step behind the context, and at the "
        "next one.",
        "It sees the same ones each time, so it says the same each time. Which ones should it see?",
        "The slice keeps the first ones of a row; counted from the end, idx[:, -longest:], it "
        "keeps the last.",
    ),
    mistakes=REPAIRS,
    right=(
        _repaired(),
        _repaired(crop=lambda idx, n: idx[:, max(0, idx.size(1) - n) :]),
    ),
    kind="bug",
    use=Greedy(),
)

TASKS = (WRITE_ON,)

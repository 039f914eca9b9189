"""Exercises of chapter 2: shares from counts, and a text from shares."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from gptlib.bigram import bigram_probs
from gptlib.exercises.task import Mistake, Task, Use

Tensor = torch.Tensor

# Shares ------------------------------------------------------------------------------------------


def tables(seed: int) -> Iterator[tuple[Any, ...]]:
    """Counts, in whose last row there is nothing; then with something added to each."""
    counts = torch.tensor([[0, 2, 1], [3, 1, 4], [0, 0, 0]])
    yield (counts,)
    yield counts, 0.5
    draw = torch.Generator().manual_seed(seed)
    yield torch.randint(9, (5, 5), generator=draw), 0.01
    yield (torch.randint(1, 9, (4, 4), generator=draw),)
    yield (torch.tensor([[0, 1], [1, 1]]),)
    yield torch.tensor([[0, 1], [0, 0]]), 0.1


def _uniform_if_empty(shares: Tensor, weights: Tensor) -> Tensor:
    return torch.where(weights.sum(dim=1, keepdim=True) > 0, shares, 1 / weights.size(1))


def _shares(
    weigh: Callable[[Tensor, float], Tensor] = lambda c, s: c + s,
    divide: Callable[[Tensor], Tensor] = lambda w: w / w.sum(dim=1, keepdim=True),
    mend: bool = True,
) -> Callable[..., Tensor]:
    """Shares, one part of their making exchanged."""

    def probs(counts: Tensor, smoothing: float = 0.0) -> Tensor:
        weights = weigh(counts.float(), smoothing)
        return _uniform_if_empty(divide(weights), weights) if mend else divide(weights)

    return probs


def _list_by_list(counts: Tensor, smoothing: float = 0.0) -> Tensor:
    rows = []
    for row in counts.float() + smoothing:
        rows.append(row / row.sum() if row.sum() else torch.ones_like(row) / len(row))
    return torch.stack(rows)


BIGRAM_PROBS = Task(
    name="bigram.bigram_probs",
    asks="Turn counts into probabilities: each row sums to 1; a row without counts is uniform.",
    reference=bigram_probs,
    inputs=tables,
    devices_later=True,
    hints=(
        "What should each row of the result sum to, and by what is it divided, then?",
        "Add smoothing to each count, then divide each row by its own sum; keepdim=True keeps the "
        "sums as a column. Which row has the sum 0?",
        "weights = counts + smoothing; totals = weights.sum(dim=1, keepdim=True); torch.where("
        "totals > 0, weights / totals, 1 / V).",
    ),
    mistakes=(
        Mistake(
            "The sums of the rows lie as a row, and divide the columns: keep them as a column.",
            _shares(divide=lambda w: w / w.sum(dim=1), mend=False),
        ),
        Mistake(
            "The sums of the rows lie as a row, and divide the columns: keep them as a column. "
            "The row without counts is uniform, as it should be.",
            _shares(divide=lambda w: w / w.sum(dim=1)),
        ),
        Mistake(
            "Each column sums to 1. A row is what follows one token, so each row should.",
            _shares(divide=lambda w: w / w.sum(dim=0)),
        ),
        Mistake(
            "The whole table sums to 1; each row should, as it answers a question of its own.",
            _shares(divide=lambda w: w / w.sum()),
        ),
        Mistake(
            "The whole table sums to 1; each row should, the one without counts too.",
            _shares(divide=lambda w: w / w.sum(), mend=False),
        ),
        Mistake(
            "The row without counts is nan, 0 divided by 0. Nothing is known about what follows "
            "there, so every token is as likely as every other.",
            _shares(mend=False),
        ),
        Mistake(
            "The row without counts stays 0: a row of probabilities sums to 1, and a die that "
            "shows nothing cannot be thrown.",
            _shares(divide=lambda w: w / w.sum(dim=1, keepdim=True).clamp(min=1e-9), mend=False),
        ),
        Mistake(
            "This is a softmax of the counts: it takes them for logits, and a count of 10 would "
            "drown a count of 1 by a factor of e to the 9.",
            _shares(divide=lambda w: w.softmax(dim=1)),
        ),
        Mistake("The smoothing is not used.", _shares(weigh=lambda c, s: c)),
        Mistake(
            "The smoothing is added after the division: the rows sum to more than 1.",
            lambda counts, s=0.0: bigram_probs(counts) + s,
        ),
        Mistake(
            "The smoothing is missing in the sum that divides: the rows sum to more than 1.",
            lambda counts, s=0.0: _uniform_if_empty(
                (counts + s) / counts.sum(dim=1, keepdim=True), counts + 1.0 * s
            ),
        ),
        Mistake(
            "The smoothing is missing in the sum that divides: where nothing was counted, that "
            "divides by 0 still.",
            lambda counts, s=0.0: ((counts + s) / counts.sum(dim=1, keepdim=True)).nan_to_num(
                1 / len(counts)
            ),
        ),
        Mistake(
            "The smoothing is added to the sum of a row once. It is added to each of the V counts, "
            "so the sum grows by V times as much.",
            lambda counts, s=0.0: _uniform_if_empty(
                (counts + s) / (counts.sum(dim=1, keepdim=True) + s), counts + 1.0 * s
            ),
        ),
        Mistake(
            "What was never seen still has the probability 0: the smoothing goes to all counts.",
            _shares(weigh=lambda c, s: torch.where(c > 0, c + s, c)),
        ),
    ),
    right=(_shares(), _list_by_list),
)

# Writing -----------------------------------------------------------------------------------------


def sample(probs: Tensor, token: int, n: int, generator: torch.Generator) -> list[int]:
    """n tokens, each drawn from the row of the one before it, at first `token`."""
    ids = []
    for _ in range(n):
        token = int(torch.multinomial(probs[token], 1, generator=generator))
        ids.append(token)
    return ids


class DrawTokens(Use):
    """Draw a few tokens to see them, or many to see what follows what."""

    def run(self, answer: Any, *given: Any) -> Any:
        probs, token, n = given

        def draw(n: int) -> Any:
            return answer(probs, token, n, torch.Generator().manual_seed(0))

        ids = draw(n)
        if n < 20:
            return [i if type(i) is int else f"a {type(i).__name__}" for i in ids]
        seen = torch.zeros(probs.shape)
        ones = torch.ones(n - 1)
        seen.index_put_((torch.tensor(ids[:-1]), torch.tensor(ids[1:])), ones, accumulate=True)
        shares = seen / seen.sum(dim=1, keepdim=True).clamp(min=1)
        return {
            "What followed what, in quarters": (4 * shares).round(),
            "The same seed draws the same": draw(50) == draw(50),
        }

    def shown(self, name: str, *given: Any) -> str:
        probs, token, n = given
        rows = [[round(p, 2) for p in row] for row in probs.tolist()]
        return f"{name}({rows}, token={token}, n={n}, generator=...)"


def dice(seed: int) -> Iterator[tuple[Any, ...]]:
    """A table without choice, then dice with a large side and a small one."""
    yield torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]), 0, 5
    rows = torch.tensor([[0.25, 0.75, 0], [0, 0.25, 0.75], [0.75, 0, 0.25]])
    yield rows.roll(seed % 2, dims=1), 1, 800
    yield torch.eye(2), 1, 0


def _walk(
    step: Callable[[Tensor, int, Any], Any] = lambda probs, token, g: int(
        torch.multinomial(probs[token], 1, generator=g)
    ),
    moves: bool = True,
) -> Callable[..., list[int]]:
    def drawn(probs: Tensor, token: int, n: int, generator: Any) -> list[int]:
        ids = []
        for _ in range(n):
            ids.append(step(probs, token, generator))
            token = ids[-1] if moves else token
        return ids

    return drawn


def _by_ladder(probs: Tensor, token: int, generator: Any) -> int:
    throw = torch.rand(1, generator=generator).item()
    return min(int((probs[token].cumsum(0) < throw).sum()), len(probs) - 1)


SAMPLE = Task(
    name="bigram.sample",
    asks="Draw n tokens, each from the row of the one before it; the first from the row of token.",
    reference=sample,
    inputs=dice,
    use=DrawTokens(),
    kind="warm-up",
    hints=(
        "Which row of the table is the die for the next throw? And for the one after that?",
        "torch.multinomial(row, 1, generator=generator) throws it. What it shows is the next "
        "token, and its row the next die.",
        "In a loop: token = int(torch.multinomial(probs[token], 1, generator=generator)), then "
        "append it.",
    ),
    mistakes=(
        Mistake(
            "The token that was given stands there as well; the n that follow are asked for.",
            lambda probs, token, n, g: [token, *sample(probs, token, n, g)],
        ),
        Mistake(
            "The token that was given is counted as one of the n.",
            lambda probs, token, n, g: [token, *sample(probs, token, n - 1, g)] if n else [],
        ),
        Mistake(
            "All are drawn from the row of the first token: each throw has the die of the token "
            "before it.",
            _walk(moves=False),
        ),
        Mistake(
            "The columns are used as dice. A row says what follows a token; a column what comes "
            "before it.",
            _walk(lambda probs, token, g: int(torch.multinomial(probs[:, token], 1, generator=g))),
        ),
        Mistake(
            "The tokens are tensors; whole numbers are asked for, which int(...) makes of them.",
            lambda probs, token, n, g: list(map(torch.tensor, sample(probs, token, n, g))),
        ),
        Mistake(
            "multinomial gives a tensor that holds one number, and probs[...] of that is a table "
            "of one row, no row: int(...) makes a token of it.",
            _walk(lambda probs, token, g: torch.multinomial(probs[token], 1, generator=g)),
        ),
        Mistake(
            "All n are asked of one die, the row of the first token, and none may come twice. Each "
            "throw has the die of the token before it: draw them one by one.",
            lambda probs, token, n, g: torch.multinomial(probs[token], n, generator=g).tolist(),
        ),
        Mistake(
            "The likeliest token is taken each time: nothing is drawn, and the text soon runs in "
            "a circle.",
            _walk(lambda probs, token, g: int(probs[token].argmax())),
        ),
        Mistake(
            "Every token that is possible at all is as likely as every other: the die is not "
            "weighted.",
            _walk(
                lambda probs, token, g: int(
                    torch.multinomial((probs[token] > 0).float(), 1, generator=g)
                )
            ),
        ),
        Mistake(
            "The generator is not used: the same seed should draw the same text.",
            _walk(lambda probs, token, g: int(torch.multinomial(probs[token], 1))),
        ),
    ),
    right=(_walk(), _walk(_by_ladder)),
)

TASKS = (BIGRAM_PROBS, SAMPLE)

"""The exercises of chapter 11 about what ranks tell each other: one loss of many, and the ring."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from gptlib.exercises.comparing import shown
from gptlib.exercises.task import Mistake, Task, Use, Wrong
from gptlib.parallel import ring_all_reduce

Tensor = torch.Tensor


def joined_loss(losses: list[float], counts: list[int]) -> float:
    """The mean over all tokens, of each rank's mean over its own."""
    return sum(loss * n for loss, n in zip(losses, counts, strict=True)) / sum(counts)


def ranks(seed: int) -> Iterator[tuple[Any, ...]]:
    """The example; equal counts; a rank without a token; drawn ones."""
    yield [2.0, 4.0], [30, 10]
    yield [1.5, 2.5, 5.0], [8, 8, 8]
    yield [3.0, 0.0, 1.0], [10, 0, 40]
    draw = torch.Generator().manual_seed(seed)
    losses = (1 + 4 * torch.rand(4, generator=draw)).tolist()
    yield losses, torch.randint(1, 100, (4,), generator=draw).tolist()


JOINED_LOSS = Task(
    name="scale.joined_loss",
    asks="The mean over all tokens, from each rank's own mean and the number of its tokens.",
    reference=joined_loss,
    inputs=ranks,
    kind="warm-up",
    hints=(
        "What is the sum of all losses of a rank, if its mean is 2 and it has 30 tokens?",
        "Sums may be added, means may not. The sum of all losses, over the number of all tokens.",
        "sum(loss * n for loss, n in zip(losses, counts)) / sum(counts)",
    ),
    mistakes=(
        Mistake(
            "This is the mean of the means: a rank with ten tokens has as much to say as one with "
            "thirty.",
            lambda losses, counts: sum(losses) / len(losses),
        ),
        Mistake(
            "The sums are right, and they are divided by the number of ranks. There are as many "
            "losses as tokens.",
            lambda losses, counts: (
                sum(x * n for x, n in zip(losses, counts, strict=True)) / len(losses)
            ),
        ),
        Mistake(
            "This is the sum of all losses; a mean is asked for.",
            lambda losses, counts: sum(x * n for x, n in zip(losses, counts, strict=True)),
        ),
        Mistake(
            "The means are added up.",
            lambda losses, counts: sum(losses),
        ),
        Mistake(
            "Each mean is divided by its number of tokens. It has been divided by it before.",
            lambda losses, counts: sum(x / n for x, n in zip(losses, counts, strict=True)),
        ),
    ),
    right=(
        lambda losses, counts: (
            (torch.tensor(losses, dtype=torch.float64) * torch.tensor(counts)).sum().item()
            / sum(counts)
        ),
        lambda losses, counts: sum(
            x * (n / sum(counts)) for x, n in zip(losses, counts, strict=True)
        ),
    ),
)


class OnRing(Use):
    """Look at what every rank has at the end, then at how much each has sent."""

    in_order = True

    def run(self, answer: Callable[..., Any], *given: Any) -> dict[str, Any]:
        out = answer([vector.clone() for vector in given[0]])
        if not isinstance(out, tuple | list) or len(out) != 2:
            raise Wrong(
                "Two lists should come back, what each rank has and how many numbers it has sent. "
                f"Got {'nothing' if out is None else shown(out)}."
            )
        sums, sent = out
        return {"What each rank has": list(sums), "What each rank has sent": list(sent)}


def vectors(seed: int) -> Iterator[tuple[Any, ...]]:
    """The example; three ranks whose numbers do not divide evenly; one rank; drawn ones."""
    yield ([torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([10.0, 20.0, 30.0, 40.0])],)
    yield ([torch.arange(7.0) + 100 * rank for rank in range(3)],)
    yield ([torch.tensor([5.0, 6.0])],)
    draw = torch.Generator().manual_seed(seed)
    yield (list(torch.randint(-9, 10, (4, 6), generator=draw).float()),)


def _ring(
    steps: Callable[[int], int] = lambda N: 2 * (N - 1),
    cut: Callable[[Tensor, int], Any] = lambda vector, N: vector.tensor_split(N),
    at_once: bool = False,
    passed_on: Callable[[int, int], int] = lambda rank, step: rank - step,
    always_added: bool = False,
    counted: Callable[[Tensor], int] = lambda piece: piece.numel(),
    last: Callable[[Tensor, int], Tensor] = lambda vector, N: vector,
) -> Callable[[list[Tensor]], tuple[list[Tensor], list[int]]]:
    """The same with other steps, another cut, one rank after the other, and so on."""

    def ring_all_reduce(vectors: list[Tensor]) -> tuple[list[Tensor], list[int]]:
        N = len(vectors)
        pieces = [list(cut(vector, N)) for vector in vectors]
        sent = [0] * N
        for step in range(steps(N)):
            passed = [pieces[rank][passed_on(rank, step) % N] for rank in range(N)]
            for rank in range(N):
                k, to = passed_on(rank, step) % N, (rank + 1) % N
                piece = passed[rank] if at_once else pieces[rank][k]
                added = step < N - 1 or always_added
                pieces[to][k] = pieces[to][k] + piece if added else piece
                sent[rank] += counted(piece)
        return [last(torch.cat(own), N) for own in pieces], sent

    return ring_all_reduce


def _star(vectors: list[Tensor]) -> tuple[list[Tensor], list[int]]:
    N, n = len(vectors), len(vectors[0])
    total = sum(vectors[1:], vectors[0])
    return [total.clone() for _ in vectors], [(N - 1) * n, *[n] * (N - 1)]


def _whole_vectors(vectors: list[Tensor]) -> tuple[list[Tensor], list[int]]:
    N, n = len(vectors), len(vectors[0])
    total = sum(vectors[1:], vectors[0])
    return [total.clone() for _ in vectors], [(N - 1) * n] * N


def _everywhere_in_pieces(vectors: list[Tensor]) -> tuple[list[Tensor], list[int]]:
    """Another way along a ring: what arrives in the second round is looked up by its owner."""
    N = len(vectors)
    pieces = [list(vector.tensor_split(N)) for vector in vectors]
    sizes = [piece.numel() for piece in pieces[0]]
    whole = [sum((own[k] for own in pieces[1:]), pieces[0][k]) for k in range(N)]
    sent = [2 * sum(sizes) - sizes[(r + 1) % N] - sizes[(r + 2) % N] for r in range(N)]
    return [torch.cat(whole) for _ in range(N)], sent


RING = Task(
    name="scale.ring_all_reduce",
    asks="One vector of each rank comes in; out come what every rank has at the end, the sum, and "
    "how many numbers each has sent to the next one.",
    reference=ring_all_reduce,
    inputs=vectors,
    use=OnRing(),
    hints=(
        "With N ranks each vector is cut into N pieces. In one step every rank passes one piece "
        "on. Which, so that every piece collects the numbers of all ranks on its way round?",
        "In step s rank r passes piece (r - s) % N to rank (r + 1) % N. For N - 1 steps what "
        "arrives is added. Then one rank has each finished piece: for N - 1 more steps it is kept.",
        "k, to = (rank - step) % N, (rank + 1) % N; pieces[to][k] becomes pieces[to][k] + "
        "pieces[rank][k], or pieces[rank][k] alone. tensor_split(N) cuts into N pieces.",
    ),
    mistakes=(
        Mistake(
            "Everything goes to rank 0 and back. The sum is right, and rank 0 sends N - 1 times "
            "as much as the others: with a thousand ranks all wait for it.",
            _star,
        ),
        Mistake(
            "Whole vectors go around. Each rank then sends N - 1 of them; in pieces it is less "
            "than two, however many ranks there are.",
            _whole_vectors,
        ),
        Mistake(
            "It ends after N - 1 steps. Then every piece is finished at one rank, and at one "
            "alone; it has to be handed round.",
            _ring(steps=lambda N: N - 1),
        ),
        Mistake(
            "There is a step too many: after 2 (N - 1) everybody has everything.",
            _ring(steps=lambda N: 2 * N - 1 if N > 1 else 0),
        ),
        Mistake(
            "In the second half a finished piece is added as well. It has to take the place of "
            "what is there.",
            _ring(always_added=True),
        ),
        Mistake(
            "A rank passes on another piece than the one that has arrived in the step before, so "
            "nothing collects the numbers of all: piece (r - step) % N, and not (r + step) % N.",
            _ring(passed_on=lambda rank, step: rank + step),
        ),
        Mistake(
            "This is the mean; the sum is asked for.",
            _ring(last=lambda vector, N: vector / N),
        ),
        Mistake(
            "Pieces are counted, and numbers are asked for.",
            _ring(counted=lambda piece: 1),
        ),
        Mistake(
            "chunk(N) may give fewer than N pieces, of 6 numbers for 4 ranks three. tensor_split "
            "gives as many as it is asked for.",
            _ring(cut=lambda vector, N: vector.chunk(N)),
        ),
    ),
    right=(_ring(at_once=True), _everywhere_in_pieces),
)  # fmt: skip

TASKS = (JOINED_LOSS, RING)

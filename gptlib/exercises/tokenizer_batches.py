"""Exercises of chapter 1: batches, windows of a text and their answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from gptlib.batches import get_batch
from gptlib.exercises.task import Mistake, Task, Use, Wrong

Pair = tuple[int, int]
Tensor = torch.Tensor

# Batches -----------------------------------------------------------------------------------------


class DrawBatch(Use):
    """Draw a batch twice from the same seed, and find each id's place in the data."""

    in_order = True

    def run(self, answer: Any, *given: Any) -> dict[str, Any]:
        data, batch_size, context_length = given

        def draw() -> Any:
            seeded = torch.Generator().manual_seed(0)
            return answer(data, batch_size, context_length, generator=seeded)

        try:
            pair, again = draw(), draw()
        except IndexError:
            return {"It": "reaches past the end of the data"}
        if (
            not isinstance(pair, tuple | list)
            or len(pair) != 2
            or not all(map(torch.is_tensor, pair))
        ):
            raise Wrong("Two tensors are asked for, x and y: `return x, y`.")
        place = {number: i for i, number in enumerate(data.tolist())}
        x, y = (_places(side, place) for side in pair)
        seen: dict[str, Any] = {
            "The shape of x": tuple(x.shape),
            "The shape of y": tuple(y.shape),
            "A step along a row of x": _found(x[:, 1:] - x[:, :-1]) if x.dim() == 2 else None,
        }
        seen["From an id of x to that of y"] = _found(y - x) if x.shape == y.shape else None
        seen["Windows begin at"] = _found(x[:, :1]) if x.dim() == 2 else None
        seen["The same seed draws the same"] = all(map(torch.equal, pair, again))
        seen["They hold"] = str(pair[0].dtype)
        return seen

    def shown(self, name: str, *given: Any) -> str:
        return f"{name}(7 * torch.arange({len(given[0])}), {given[1]}, {given[2]}, generator=...)"


def _places(ids: Tensor, place: Mapping[int, int]) -> Tensor:
    return torch.tensor([place.get(i, -1000) for i in ids.flatten().tolist()]).view(ids.shape)


def _found(numbers: Tensor) -> list[int]:
    return numbers.unique().tolist()


def rows_of_data(seed: int) -> Iterator[tuple[Any, ...]]:
    """A short text, of which a large batch draws every window."""
    yield 7 * torch.arange(8), 64, 3  # so that the next id is not the id plus 1
    more = seed % 10  # a longer text would have more windows than a batch draws
    yield 7 * torch.arange(12 + more), 128, 2 + more % 4
    yield 7 * torch.arange(5), 2, 4


def _drawn(
    n_windows: Callable[[int, int], int] = lambda N, T: N - T,
    x_at: Callable[[Tensor, int], Tensor] = lambda first, T: first + torch.arange(T),
    y_at: Callable[[Tensor], Tensor] = lambda at: at + 1,
    n_rows: Callable[[int], int] = int,
    seeded: bool = True,
) -> Callable[..., tuple[Tensor, Tensor]]:
    """A batch, one part of its making exchanged."""

    def batch(
        data: Tensor, batch_size: int, context_length: int, generator: Any = None
    ) -> tuple[Tensor, Tensor]:
        n = n_windows(len(data), context_length)
        g = generator if seeded else None
        first = torch.randint(n, (n_rows(batch_size), 1), generator=g).expand(batch_size, 1)
        at = x_at(first, context_length)
        return data[at], data[y_at(at)]

    return batch


def _row_by_row(data: Tensor, batch_size: int, context_length: int, *, generator: Any) -> Any:
    x, y = [], []
    for _ in range(batch_size):
        i = int(torch.randint(0, len(data) - context_length, (1,), generator=generator))
        x.append(data[i : i + context_length])
        y.append(data[i + 1 : i + 1 + context_length])
    return torch.stack(x), torch.stack(y)


def _unfolded(data: Tensor, batch_size: int, context_length: int, *, generator: Any) -> Any:
    windows = data.unfold(0, context_length + 1, 1)
    rows = windows[torch.randint(len(windows), (batch_size,), generator=generator)]
    return rows[:, :-1], rows[:, 1:]


def _shuffled(data: Tensor, batch_size: int, context_length: int, generator: Any) -> Any:
    size = (batch_size, context_length)
    at = torch.randint(len(data) - 1, size, generator=generator)
    return data[at], data[at + 1]


def _turned(data: Tensor, batch_size: int, context_length: int, generator: Any) -> Any:
    x, y = _drawn()(data, batch_size, context_length, generator=generator)
    return x.T, y.T


def _plus_one(data: Tensor, batch_size: int, context_length: int, generator: Any) -> Any:
    x, _ = _drawn()(data, batch_size, context_length, generator=generator)
    return x, x + 1


def _last_only(data: Tensor, batch_size: int, context_length: int, generator: Any) -> Any:
    x, y = _drawn()(data, batch_size, context_length, generator=generator)
    return x, y[:, -1]


def _whole(data: Tensor, batch_size: int, context_length: int, generator: Any) -> Any:
    x, y = _drawn()(data, batch_size, context_length, generator=generator)
    return x, torch.cat([x, y[:, -1:]], dim=1)


GET_BATCH = Task(
    name="tokenizer.get_batch",
    asks="Draw random windows of a row of ids: x (B, T), and y (B, T), the id after each of x.",
    reference=get_batch,
    inputs=rows_of_data,
    use=DrawBatch(),
    hints=(
        "A window of T ids needs how many ids of the text, its last answer included? Where may the "
        "last window begin?",
        "Draw B beginnings from 0 to len(data) - T - 1 with torch.randint and the generator; each "
        "row of x is data from its beginning on, y is data from one place later.",
        "first = torch.randint(len(data) - T, (B, 1), generator=generator); at = first + "
        "torch.arange(T); x and y are data at `at` and one place further.",
    ),
    mistakes=(
        Mistake(
            "y is x itself: the model would be asked for the id that it is looking at.",
            _drawn(y_at=lambda at: at),
        ),
        Mistake(
            "y is moved the wrong way: each answer is the id before, which the model has seen.",
            _drawn(y_at=lambda at: (at - 1).clamp(min=0)),
        ),
        Mistake(
            "y is the next window: the answer to each place is the id after it, one further on.",
            _drawn(n_windows=lambda N, T: max(1, N - 2 * T + 1), y_at=lambda at: at + at.size(1)),
        ),
        Mistake(
            "y holds the last answer of each window; every place is a question with its answer.",
            _last_only,
        ),
        Mistake(
            "y is x plus 1: that is another id, and not the one that follows in the text.",
            _plus_one,
        ),
        Mistake("y is one longer than x: it holds the whole window.", _whole),
        Mistake("Rows and columns have changed places: a row is one window, (B, T).", _turned),
        Mistake(
            "The last window of the text is never drawn.",
            _drawn(n_windows=lambda N, T: max(1, N - T - 1)),
        ),
        Mistake(
            "Some windows begin too late: their last answer would stand behind the end of data.",
            _drawn(n_windows=lambda N, T: N - T + 1),
        ),
        Mistake(
            "Every row of the batch is the same window: a beginning is drawn for each row.",
            _drawn(n_rows=lambda B: 1),
        ),
        Mistake(
            "The generator is not used: the same seed should draw the same windows.",
            _drawn(seeded=False),
        ),
        Mistake(
            "The windows lie side by side: those that begin in between are never drawn.",
            _drawn(
                n_windows=lambda N, T: (N - 1) // T,
                x_at=lambda first, T: first * T + torch.arange(T),
            ),
        ),
        Mistake(
            "Single ids are drawn at random; a row of x is a window, ids that follow each other.",
            _shuffled,
        ),
    ),
    right=(_row_by_row, _unfolded, _drawn()),
)

TASKS = (GET_BATCH,)

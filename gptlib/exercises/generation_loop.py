"""Exercise of chapter 8: the loop that writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import torch

from gptlib.exercises.generation_writer import SEES, Write
from gptlib.exercises.task import Mistake, Task
from gptlib.generation import generate, next_token_probs

Tensor = torch.Tensor
STOP = (0, 7)


def wishes(seed: int) -> Iterator[tuple[Any, ...]]:
    """Texts to go on with: greedy past the context; drawn; with stop tokens; to be cut."""
    greedy = {"temperature": 0}
    yield _telling(seed, torch.tensor([[1, 5, 2]]), 6, greedy, "training", SIGHTS)
    yield _telling(seed, torch.tensor([[3, 0], [4, 4]]), 8, {}, "evaluation", DRAWS)
    yield _stopping(seed, torch.tensor([[1, 2], [3, 4]]), first=STOP[1])
    yield _stopping(seed, torch.tensor([[1, STOP[1]], [3, STOP[0]]]), first=STOP[0])
    warm = {"temperature": 2.0, "top_p": 0.6}
    yield _telling(seed, torch.tensor([[6]]), 8, warm, "evaluation", (PLAIN,))


def _telling(
    seed: int, idx: Tensor, n: int, settings: dict, mode: str, wrong: tuple[Callable, ...]
) -> tuple[Any, ...]:
    """A wish to a model for which each of these answers writes another text."""
    for one in count(1000 * seed):
        wish = (one, idx, n, settings, mode)
        said = [str(Write().run(f, *wish)["The texts"].tolist()) for f in (generate, *wrong)]
        if len(set(said)) == len(said):
            return wish
    raise AssertionError("count ends nowhere")


def _stopping(seed: int, idx: Tensor, first: int) -> tuple[Any, ...]:
    """Two texts that reach a stop token in different steps, the earlier one this token."""
    for one in count(1000 * seed):
        wish = (one, idx, 12, {"stop_tokens": STOP}, "training")
        new = Write().run(generate, *wish)["The texts"][:, 2:]
        stops = torch.isin(new, torch.tensor(STOP))
        place, row = stops.int().argmax(dim=1).sort()
        early, late = place.tolist()
        apart = stops.any(dim=1).all() and early > 0 and early + 2 < late < 9
        if apart and new[row[0], early] == first:
            return wish
    raise AssertionError("count ends nowhere")


def _loop(
    crop: Callable[[Tensor], Tensor] = lambda idx: idx[:, -SEES:],
    forgets: bool = False,
    place: int = -1,
    probs: Callable[..., Tensor] = next_token_probs,
    draw: Callable[..., Tensor] = lambda probs, generator: torch.multinomial(
        probs, num_samples=1, generator=generator
    ),
    mode: bool = True,
    back: bool = True,
    gradients: bool = False,
    stops: bool = True,
    ended: Callable[[Tensor], Tensor] = lambda done: done.all(),
    repeats: Callable[[Tensor, Any], Tensor] | None = lambda idx, stops: idx[:, -1:],
    before: bool = False,
    looks_at: Callable[[Tensor, Tensor], Tensor] = lambda idx, new: new,
    keeps_stop: bool = True,
    told: Callable[[Tensor, int], Tensor] = lambda idx, T: idx,
) -> Callable[..., Tensor]:
    """The whole loop, with one part of it exchanged."""

    def write(
        model: Any, idx: Tensor, n: int, *, generator: Any = None, stop_tokens: Any = (), **how: Any
    ) -> Tensor:
        mode_before, T = model.training, idx.size(1)
        if mode:
            model.eval()
        stop = torch.tensor(stop_tokens, dtype=torch.long)
        done = torch.isin(idx, stop).any(dim=1) & before
        for _ in range(n):
            if stops and ended(done):
                break
            with torch.set_grad_enabled(gradients):
                logits, _ = model(crop(idx))
            new = draw(probs(logits.detach()[:, place], **how), generator)
            if stops and repeats and len(stop):
                new = torch.where(done[:, None], repeats(idx, stop), new)
            done |= torch.isin(looks_at(idx, new), stop).any(dim=1)
            if stops and not keeps_stop and ended(done):
                break
            idx = torch.cat([crop(idx) if forgets else idx, new], dim=1)
        if back:
            model.train(mode_before)
        return told(idx, T)

    return write


def _reseeded(probs: Tensor, generator: torch.Generator) -> Tensor:
    return torch.multinomial(probs, 1, generator=generator.manual_seed(generator.initial_seed()))


def _before_last(idx: Tensor) -> Tensor:
    return torch.cat([idx[:, :1], idx], dim=1) if idx.size(1) == 1 else idx[:, -SEES:]


def _for_all(probs: Tensor, generator: torch.Generator) -> Tensor:
    return torch.multinomial(probs, 1, generator=generator)[:1].expand(len(probs), 1)


# What the model sees, and what of it is heard: all of it, the first tokens, with dropout, the
# first place, the one before the last.
SIGHTS = (
    _loop(crop=lambda idx: idx),
    _loop(crop=lambda idx: idx[:, :SEES]),
    _loop(mode=False),
    _loop(place=0),
    _loop(crop=_before_last, place=-2),
)
# How a token is drawn: not at all, anew each time, without the generator, one for all rows.
DRAWS = (
    _loop(draw=lambda probs, generator: probs.argmax(dim=-1, keepdim=True)),
    _loop(draw=_reseeded),
    _loop(draw=lambda probs, generator: torch.multinomial(probs, 1)),
    _loop(draw=_for_all),
)
PLAIN = _loop(
    probs=lambda logits, **how: next_token_probs(
        logits, temperature=min(1.0, how.get("temperature", 1.0))
    )
)


@torch.no_grad()
def _columns(
    model: Any, idx: Tensor, max_new_tokens: int, *, stop_tokens: Any = (), **how: Any
) -> Tensor:
    """Right, written otherwise: the columns in a list, and what is behind a stop put right."""
    before, generator, T = model.training, how.pop("generator", None), idx.size(1)
    model.train(False)
    columns, stopped = list(idx.split(1, dim=1)), [None] * idx.size(0)
    while len(columns) < T + max_new_tokens and None in stopped:
        logits = model(torch.cat(columns[-model.config.context_length :], dim=1))[0][:, -1]
        new = torch.multinomial(next_token_probs(logits, **how), 1, generator=generator)
        for row, stop in enumerate(stopped):
            if stop is not None:
                new[row] = stop
            elif int(new[row]) in stop_tokens:
                stopped[row] = int(new[row])  # type: ignore[call-overload]
        columns.append(new)
    model.train(before)
    return torch.cat(columns, dim=1)


GENERATE = Task(
    name="generation.generate",
    asks="Ask the model, take the last place, turn its logits into probabilities, draw, append, "
    "and ask again, until all rows have stopped or max_new_tokens are written.",
    reference=generate,
    inputs=wishes,
    hints=(
        "One token: what does the model see, in which mode is it, which of the T places of its "
        "logits speaks about what comes next?",
        "model(idx[:, -model.config.context_length:]) in evaluation mode under torch.no_grad(); "
        "logits[:, -1]; next_token_probs with the settings; torch.multinomial with the "
        "generator; torch.cat.",
        "Keep done, one boolean a row: torch.where(done, idx[:, -1:], new) before the cat, then "
        "done |= torch.isin(new, stops); leave the loop when done.all(). With evaluating(model) "
        "the mode comes back.",
    ),
    mistakes=(
        Mistake(
            "The model is shown more tokens than its context holds: a GPT has no place for them, "
            "and refuses.",
            SIGHTS[0],
        ),
        Mistake(
            "The model is shown the first tokens of the text and not the last ones: once the text "
            "is longer than the context, it sees the same for ever.",
            SIGHTS[1],
        ),
        Mistake(
            "The text itself is cut down to the context, and its beginning is lost; what the model "
            "sees is to be cut.",
            _loop(forgets=True),
        ),
        Mistake(
            "The model writes in training mode, with its dropout at work: greedy is not greedy.",
            SIGHTS[2],
        ),
        Mistake(
            "The model is left in evaluation mode, though it came in training mode: whoever trains "
            "on does so without dropout.",
            _loop(back=False),
        ),
        Mistake(
            "Gradients are recorded while it writes, for nobody: each token then keeps its graph "
            "in memory.",
            _loop(gradients=True),
        ),
        Mistake(
            "The logits of the first place are taken. They speak about the second token, which is "
            "written already; the last place speaks about what comes.",
            SIGHTS[3],
        ),
        Mistake(
            "The last place is passed over: the one before it speaks about a token that is there.",
            SIGHTS[4],
        ),
        Mistake(
            "The new tokens come back alone; the text that was given belongs before them.",
            _loop(told=lambda idx, T: idx[:, T:]),
        ),
        Mistake(
            "The most likely token is taken, whatever the temperature: nothing is drawn.",
            DRAWS[0],
        ),
        Mistake(
            "The generator begins anew at each token: every draw has the same luck. It is to be "
            "handed on as it stands.",
            DRAWS[1],
        ),
        Mistake(
            "The generator is not used: the same seed gives another text each time.",
            DRAWS[2],
        ),
        Mistake(
            "Every row gets the token that was drawn for the first one.",
            DRAWS[3],
        ),
        Mistake(
            "Nobody stops at a stop token.", _loop(stops=False)
        ),
        Mistake(
            "When one row stops all others stop with it, in the middle of their texts.",
            _loop(ended=lambda done: done.any()),
        ),
        Mistake(
            "A row that has stopped writes on while the others finish; it is to repeat its stop "
            "token.",
            _loop(repeats=None),
        ),
        Mistake(
            "A row that has stopped goes on with the first of stop_tokens, whichever it has drawn; "
            "it is to repeat its own.",
            _loop(repeats=lambda idx, stops: stops[0].expand(len(idx), 1)),
        ),
        Mistake(
            "A row that has stopped goes on with the last of stop_tokens, whichever it has drawn; "
            "it is to repeat its own.",
            _loop(repeats=lambda idx, stops: stops[-1].expand(len(idx), 1)),
        ),
        Mistake(
            "A stop token that stands in `idx` already stops nothing. Here the whole row is "
            "searched for one after each draw; only the new column is to be looked at.",
            _loop(looks_at=lambda idx, new: torch.cat([idx, new], dim=1)),
        ),
        Mistake(
            "A stop token that stands in `idx` already stops nothing. Here it is looked for before "
            "anything is drawn.",
            _loop(before=True),
        ),
        Mistake(
            "The last stop token is missing: it belongs to the text, and says that the text has "
            "ended.",
            _loop(keeps_stop=False),
        ),
        Mistake(
            "Temperature and top-p have no effect: the plain softmax is drawn from.",
            PLAIN,
        ),
    ),
    right=(_loop(), _columns),
    use=Write(),
)  # fmt: skip

TASKS = (GENERATE,)

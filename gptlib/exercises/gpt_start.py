"""Exercises of chapter 6 about how a GPT begins: its first numbers, and places as waves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from gptlib.exercises.task import Mistake, Task, Use
from gptlib.gpt import GPT, GPTConfig, init_gpt2, waves

Tensor = torch.Tensor
SIZES = (0.02, 1.0, 0.02**0.5, 0.02 / 2, 0.02 / 6**0.5, 0.3)  # that a table here may have


def rough_size(numbers: Tensor) -> float:
    """The root of the mean square, as exactly as random numbers allow.

    rough_size(torch.tensor([0.0201, -0.0199])) -> 0.02
    """
    size = numbers.detach().pow(2).mean().sqrt().item()
    near = next((s for s in SIZES if abs(size / s - 1) < 0.06), None)
    return float(f"{near:.2g}" if near else f"{size:.1g}")


class Start(Use):
    """A model is made and handed over; then the sizes of its numbers are looked at."""

    def run(self, answer: Any, *given: Any) -> dict[str, float]:
        (config,) = given
        torch.manual_seed(0)
        model = GPT(config)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                nn.init.constant_(parameter, 0.3)
        answer(model)
        numbers = dict(model.named_parameters(remove_duplicate=False))
        return {
            part: rough_size(torch.cat([numbers[n].flatten() for n in numbers if belongs(n)]))
            for part, belongs in PARTS.items()
        }

    def shown(self, name: str, *given: Any) -> str:
        return f"{name}(model), model with {given[0].n_layer} blocks; the sizes of its numbers"


PARTS: dict[str, Callable[[str], bool]] = {
    "tokens": lambda name: name == "token_embedding.weight",
    "places": lambda name: name == "position_embedding.weight",
    "head": lambda name: name == "head.weight",
    "qkv": lambda name: name.endswith("qkv.weight"),
    "expand": lambda name: name.endswith("expand.weight"),
    "attention.project": lambda name: name.endswith("attention.project.weight"),
    "feed_forward.project": lambda name: name.endswith("feed_forward.project.weight"),
    "biases": lambda name: name.endswith("bias"),
    "norms' scales": lambda name: "norm" in name and name.endswith("weight"),
}


def fresh(seed: int) -> Iterator[tuple[Any, ...]]:
    """Models of two and three blocks, wide enough for a size to be measured."""
    wide = {"vocab_size": 64, "context_length": 64, "n_embd": 64, "n_head": 2, "init": "torch"}
    for n_layer, tied in ((2, False), (3, True)):
        yield (GPTConfig(n_layer=n_layer, tied=tied, **wide),)  # type: ignore[arg-type]


def _start(
    smaller: Callable[[int], float] = lambda n_layer: (2 * n_layer) ** -0.5,
    into: Callable[[str], bool] = lambda name: name.endswith("project.weight"),
    draw: Callable[[Tensor, float], Any] = lambda p, std: nn.init.normal_(p, std=std),
    bias: Callable[[Tensor], Any] = nn.init.zeros_,
    skip: Callable[[str], bool] = lambda name: "norm" in name,
) -> Callable[[GPT], None]:
    """The whole start, with one part of it exchanged."""

    def start(model: GPT) -> None:
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                bias(parameter)
            elif not skip(name):
                scale = smaller(model.config.n_layer) if into(name) else 1.0
                draw(parameter, 0.02 * scale)

    return start


def _by_module(model: Any) -> None:
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            std = 0.02 / math.sqrt(2 * model.config.n_layer) if "project" in name else 0.02
            module.weight.data = torch.randn_like(module.weight) * std
        if getattr(module, "bias", None) is not None:
            module.bias.data.zero_()


INIT_GPT2 = Task(
    name="gpt.init_gpt2",
    asks="Give a model GPT-2's first numbers: size 0.02, biases 0, and the projections into the "
    "stream smaller.",
    reference=init_gpt2,
    inputs=fresh,
    use=Start(),
    hints=(
        "model.named_parameters() gives each name with its numbers. How can a name tell a bias, a "
        "matrix, and a projection into the stream?",
        'Biases end in "bias"; tables and matrices have two axes, a norm\'s scale has one; the two '
        'projections of a block end in "project.weight".',
        "nn.init.zeros_ for a bias; for what has two axes nn.init.normal_(parameter, std=0.02 * "
        "scale), scale being (2 * model.config.n_layer) ** -0.5 for a projection and 1 otherwise.",
    ),
    mistakes=(
        Mistake(
            "The projections into the stream are as large as all others: the deeper the model, the "
            "larger its stream at the start.",
            _start(smaller=lambda n: 1.0),
        ),
        Mistake(
            "The projections are divided by 2 · n_layer. Unrelated changes add by their squares: "
            "it is its root.",
            _start(smaller=lambda n: 1 / (2 * n)),
        ),
        Mistake(
            "The projections are divided by the root of n_layer. Each block adds twice.",
            _start(smaller=lambda n: n**-0.5),
        ),
        Mistake(
            "The projections are multiplied by the root of 2 · n_layer.",
            _start(smaller=lambda n: (2 * n) ** 0.5),
        ),
        Mistake(
            "Every table and matrix is made smaller. Only what writes into the stream should be.",
            _start(into=lambda name: True),
        ),
        Mistake(
            "Attention's projection is made smaller, the feed-forward network's is not. Both write "
            "into the stream.",
            _start(into=lambda name: name.endswith("attention.project.weight")),
        ),
        Mistake(
            "The feed-forward network's projection is made smaller, attention's is not. Both write "
            "into the stream.",
            _start(into=lambda name: name.endswith("feed_forward.project.weight")),
        ),
        Mistake(
            "What reads the stream is made smaller, qkv and expand; it is what writes into it that "
            "makes it grow.",
            _start(into=lambda name: name.endswith(("qkv.weight", "expand.weight"))),
        ),
        Mistake("The biases are left as they were.", _start(bias=lambda p: None)),
        Mistake(
            "The biases are drawn at random, too; they begin at 0.",
            _start(bias=lambda p: nn.init.normal_(p, std=0.02)),
        ),
        Mistake(
            "The scales of the norms are drawn, too: near 0 they let next to nothing through. They "
            "begin at 1.",
            _start(skip=lambda name: False),
        ),
        Mistake(
            "0.02 stands in the place of the mean, and the size is 1: nn.init.normal_ takes the "
            "mean before the size.",
            _start(draw=lambda p, std: nn.init.normal_(p, std)),
        ),
        Mistake(
            "0.02 is taken for the variance. It is the size, the root of the variance.",
            _start(draw=lambda p, std: nn.init.normal_(p, std=std / 0.02 * 0.02**0.5)),
        ),
        Mistake(
            "The numbers are spread evenly from -0.02 to 0.02: their size is smaller than that of "
            "a bell curve.",
            _start(draw=lambda p, std: nn.init.uniform_(p, -std, std)),
        ),
        Mistake(
            "The model is as it was. `p = ...` makes new numbers, and the model keeps its old "
            "ones: nn.init.normal_(p, std=...) writes into them.",
            _start(draw=lambda p, std: None, bias=lambda p: None),
        ),
        Mistake(
            "The biases are 0, and the rest is as it was. `p = ...` makes new numbers, and the "
            "model keeps its old ones: nn.init.normal_(p, std=...) writes into them.",
            _start(draw=lambda p, std: None),
        ),
        Mistake(
            "The two tables are left as nn.Embedding makes them, of size 1: as a head that shouts.",
            _start(skip=lambda name: "norm" in name or "embedding" in name),
        ),
    ),
    right=(_start(), _by_module),
)


def tables(seed: int) -> Iterator[tuple[Any, ...]]:
    """Two places of four numbers, then more, and an odd width."""
    yield from ((2, 4), (3, 2), (7 + seed, 6), (5, 7))


def _waves(
    places: Callable[[int], Tensor] = torch.arange,
    speeds: Callable[[int], Tensor] = lambda pairs: 1000 ** (-torch.arange(pairs) / pairs),
    joined: Callable[[Tensor, Tensor], Tensor] = lambda s, c: torch.stack((s, c), -1).flatten(1),
) -> Callable[[int, int], Tensor]:
    """The whole table, with one part of it exchanged."""

    def table(context_length: int, n_embd: int) -> Tensor:
        angles = places(context_length)[:, None] * speeds((n_embd + 1) // 2)
        return joined(angles.sin(), angles.cos())[:, :n_embd]

    return table


def _number_by_number(context_length: int, n_embd: int) -> Tensor:
    pairs = (n_embd + 1) // 2
    return torch.tensor(
        [
            [
                (math.cos if c % 2 else math.sin)(t * 1000 ** (-(c // 2) / pairs))
                for c in range(n_embd)
            ]
            for t in range(context_length)
        ]
    )


WAVES = Task(
    name="gpt.waves",
    asks="Write a table of places in which each pair of numbers is the hand of a clock.",
    reference=waves,
    inputs=tables,
    hints=(
        "A hand at the angle a points at (sin a, cos a). How far has hand k turned at place t?",
        "angles = places[:, None] * speeds gives (T, pairs). A sine and a cosine of each, side by "
        "side, make a row.",
        "pairs = (n_embd + 1) // 2; speeds = 1000 ** (-torch.arange(pairs) / pairs); then "
        "torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)[:, :n_embd].",
    ),
    mistakes=(
        Mistake(
            "All sines come before all cosines. The two numbers of a hand stand side by side.",
            _waves(joined=lambda s, c: torch.cat((s, c), dim=-1)),
        ),
        Mistake(
            "In each pair the cosine comes before the sine.",
            _waves(joined=lambda s, c: torch.stack((c, s), -1).flatten(1)),
        ),
        Mistake(
            "The places are counted from 1: at place 0 every hand points at (0, 1).",
            _waves(places=lambda T: torch.arange(1, T + 1)),
        ),
        Mistake(
            "The base is 10,000, which is for long texts; here it is 1,000.",
            _waves(speeds=lambda pairs: 10_000 ** (-torch.arange(pairs) / pairs)),
        ),
        Mistake(
            "Each hand is quicker than the one before it; they should become slower.",
            _waves(speeds=lambda pairs: 1000 ** (torch.arange(pairs) / pairs)),
        ),
        Mistake(
            "The exponent is divided by the width. It goes from 0 towards -1 over the pairs, of "
            "which there are half as many.",
            _waves(speeds=lambda pairs: 1000 ** (-torch.arange(pairs) / (2 * pairs))),
        ),
        Mistake(
            "All hands turn equally fast: places far apart could not be told from near ones.",
            _waves(speeds=lambda pairs: torch.ones(pairs)),
        ),
        Mistake(
            "Both numbers of a pair are sines. One number does not say where a hand points.",
            _waves(joined=lambda s, c: torch.stack((s, s), -1).flatten(1)),
        ),
    ),
    right=(_waves(), _number_by_number),
)

TASKS = (WAVES, INIT_GPT2)

"""Exercises of chapter 5: the Transformer block. The others stand in the files residuals*.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from gptlib.attention import CausalSelfAttention
from gptlib.block import TransformerBlock
from gptlib.exercises import residuals, residuals_asked, residuals_hunts, residuals_measured
from gptlib.exercises.comparing import shown
from gptlib.exercises.modules import BACK, MakeModule, first, slope, weights_of
from gptlib.exercises.task import Mistake, Task, Wrong
from gptlib.layers import FeedForward

Tensor = torch.Tensor


class MakeBlock(MakeModule):
    """A block in training mode: what comes out, and the gradient that goes on to what came in."""

    def run(self, answer: Any, *given: Any) -> Any:
        settings, weights, x = given
        torch.manual_seed(0)  # for dropout
        block = self.made(answer, settings, weights)
        out = block(x)
        if torch.is_tensor(out) and not out.requires_grad:
            raise Wrong(
                "No gradient comes back: do the layers take part in it? Is something detached, or "
                "under no_grad?"
            )
        if out is None:
            return None
        torch.manual_seed(0)  # the same numbers are dropped
        return {"What comes out": first(out), BACK: slope(block, x)}

    def shown(self, name: str, *given: Any) -> str:
        settings, _, x = given
        said = ", ".join(f"{key}={value!r}" for key, value in settings.items())
        return f"{name}({said})({shown(x)})"


def blocks(seed: int) -> Iterator[tuple[Any, ...]]:
    """Blocks with norms in front, then behind; nearly all dropped; without biases."""
    draw = torch.Generator().manual_seed(seed)
    small = {"n_embd": 4, "n_head": 2, "context_length": 5}
    large = {"n_embd": 12, "n_head": 3, "context_length": 7}
    changes: list[dict[str, Any]] = [
        {},
        {"norm": "post"},
        {"dropout": 0.999999},  # so that nothing is left of what is dropped
        {"gelu": "none"},
        {"bias": False, "gelu": "none"},
        {"qkv_bias": False},
    ]
    for change in changes:
        for sizes, shape in ((small, (1, 2, 4)), (large, (2, 5, 12))):
            settings: dict[str, Any] = {**sizes, **change}
            x = torch.randn(shape, generator=draw) * 2 + 0.5
            yield settings, weights_of(TransformerBlock, settings, seed), x


Part = Callable[[Tensor], Tensor]


def _add(x: Tensor, f: Part) -> Tensor:
    return x + f(x)


def _two(x: Tensor, first: Part, second: Part) -> Tensor:
    """Two parts one after the other, a way around each."""
    return _add(_add(x, first), second)


def _in(norm: nn.Module, part: nn.Module) -> Part:
    return lambda x: part(norm(x))


def _other(place: str, way: Callable[[Any, Tensor], Tensor]) -> type[TransformerBlock]:
    """The block with another way where the norms stand in this place."""

    class Other(TransformerBlock):
        def forward(self, x: Tensor) -> Tensor:
            return way(self, x) if self.norm == place else super().forward(x)

    return Other


def _built(change: Callable[[Any], object]) -> type[TransformerBlock]:
    """The block with something changed in its parts."""

    class Other(TransformerBlock):
        def forward(self, x: Tensor) -> Tensor:
            change(self)
            return super().forward(x)

    return Other


def _no_dropout(*parts: str) -> Callable[[Any], None]:
    def change(block: Any) -> None:
        for part in parts:
            for module in getattr(block, part).modules():
                if isinstance(module, nn.Dropout):
                    module.p = 0.0

    return change


class _Dropped(TransformerBlock):
    """Dropout on the stream, where `blocks` asks for any."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(super().forward(x), self.attention.dropout.p)


class _Written(nn.Module):
    """The block in other words."""

    def __init__(
        self, n_embd: int, n_head: int, context_length: int, dropout: float = 0.0,
        bias: bool = True, qkv_bias: bool | None = None, norm: str = "pre", gelu: str = "tanh",
    ):  # fmt: skip
        super().__init__()
        self.norm = norm
        self.norm_1, self.norm_2 = (nn.LayerNorm(n_embd, bias=bias) for _ in range(2))
        self.attention = CausalSelfAttention(
            n_embd, n_head, context_length, dropout=dropout, bias=bias, qkv_bias=qkv_bias
        )
        self.feed_forward = FeedForward(n_embd, dropout=dropout, bias=bias, gelu=gelu)

    def forward(self, x: Tensor) -> Tensor:
        for norm, part in ((self.norm_1, self.attention), (self.norm_2, self.feed_forward)):
            x = x + part(norm(x)) if self.norm == "pre" else norm(x + part(x))
        return x


class _Summed(_Written):
    """The block as one sum of what each part adds."""

    def forward(self, x: Tensor) -> Tensor:
        if self.norm == "post":
            h = self.norm_1(self.attention(x) + x)
            return self.norm_2(self.feed_forward(h) + h)
        change = self.attention(self.norm_1(x))
        return x + change + self.feed_forward(self.norm_2(x + change))


TRANSFORMER_BLOCK = Task(
    name="block.TransformerBlock",
    asks="Build the block: attention, then feed-forward, each with a norm and a way around it.",
    reference=TransformerBlock,
    inputs=blocks,
    use=MakeBlock(),
    hints=(
        "Draw the stream as a line from left to right. Where does each part read from it, and what "
        "does it hand back?",
        'Two steps of the same form. For norm="pre" each is x + part(norm(x)), with a part and a '
        "norm of its own; the second step starts from what the first has made.",
        "In __init__: self.attention = CausalSelfAttention(n_embd, n_head, context_length, "
        "dropout, bias, qkv_bias), self.feed_forward = FeedForward(n_embd, dropout, bias, "
        "gelu=gelu), two LayerNorm(n_embd, bias), self.norm = norm. In forward for pre: x = x + "
        "self.attention(self.norm_1(x)), and the same with feed_forward and norm_2; for post: x = "
        "self.norm_1(x + self.attention(x)), and so on.",
    ),
    mistakes=(
        Mistake(
            "Dropout stands on the stream. What walks around should stay whole: a number that is "
            "dropped there is lost to all blocks above.",
            _Dropped,
        ),
        Mistake(
            "A norm stands on the way around. The shortcut should leave from x as it came in: here "
            "the stream is rescaled twice in each block, and what early blocks wrote fades.",
            _other(
                "pre", lambda b, x: _add(b.norm_2(_add(b.norm_1(x), b.attention)), b.feed_forward)
            ),
        ),
        Mistake(
            "One norm serves both parts. It runs, and the other norm never gets a gradient: each "
            "part has a scale and a shift of its own to learn.",
            _other(
                "pre",
                lambda b, x: _two(x, _in(b.norm_1, b.attention), _in(b.norm_1, b.feed_forward)),
            ),
        ),
        Mistake(
            'For norm="pre" the norms stand behind the sums: that is post-norm, and the stream '
            "meets a norm twice in each block.",
            _other(
                "pre", lambda b, x: b.norm_2(_add(b.norm_1(_add(x, b.attention)), b.feed_forward))
            ),
        ),
        Mistake(
            "Nothing leads around either part: each replaces the stream by what it found.",
            _other("pre", lambda b, x: b.feed_forward(b.norm_2(b.attention(b.norm_1(x))))),
        ),
        Mistake(
            "Attention replaces the stream: no way leads around it.",
            _other(
                "pre", lambda b, x: _add(b.attention(b.norm_1(x)), _in(b.norm_2, b.feed_forward))
            ),
        ),
        Mistake(
            "The feed-forward network replaces the stream: no way leads around it.",
            _other(
                "pre", lambda b, x: b.feed_forward(b.norm_2(_add(x, _in(b.norm_1, b.attention))))
            ),
        ),
        Mistake(
            "One shortcut leads around both parts together. Each part has its own, so that the "
            "second can read what the first wrote beside what was there.",
            _other("pre", lambda b, x: x + b.feed_forward(b.norm_2(b.attention(b.norm_1(x))))),
        ),
        Mistake(
            "The second change is added to x as it came in, and not to what the first step made "
            "of it: what attention wrote is read once, and lost.",
            _other(
                "pre",
                lambda b, x: x + b.feed_forward(b.norm_2(_add(x, _in(b.norm_1, b.attention)))),
            ),
        ),
        Mistake(
            "The feed-forward network reads what stood before attention: both work side by side, "
            "and what attention has fetched is thought about in the next block at the earliest.",
            _other("pre", lambda b, x: x + b.attention(b.norm_1(x)) + b.feed_forward(b.norm_2(x))),
        ),
        Mistake(
            "x is overwritten before it is added: what comes out of a part is added to itself.",
            _other("pre", lambda b, x: 2 * b.feed_forward(b.norm_2(2 * b.attention(b.norm_1(x))))),
        ),
        Mistake(
            "The parts stand in the other order: attention comes before the feed-forward network.",
            _other(
                "pre",
                lambda b, x: _two(x, _in(b.norm_2, b.feed_forward), _in(b.norm_1, b.attention)),
            ),
        ),
        Mistake(
            "The two norms have changed places: norm_1 belongs to attention. A saved model would "
            "be read wrongly.",
            _other(
                "pre",
                lambda b, x: _two(x, _in(b.norm_2, b.attention), _in(b.norm_1, b.feed_forward)),
            ),
        ),
        Mistake(
            "Attention reads the stream without a norm: the deeper the block, the larger are the "
            "numbers that it meets.",
            _other("pre", lambda b, x: _two(x, b.attention, _in(b.norm_2, b.feed_forward))),
        ),
        Mistake(
            "The feed-forward network reads the stream without a norm.",
            _other("pre", lambda b, x: _two(x, _in(b.norm_1, b.attention), b.feed_forward)),
        ),
        Mistake(
            "The norms stand on the changes, behind the parts: they read the stream at any size, "
            "and every change is blown up to one size before it is added.",
            _other(
                "pre",
                lambda b, x: _two(x, _in(b.attention, b.norm_1), _in(b.feed_forward, b.norm_2)),
            ),
        ),
        Mistake(
            'norm="post" changes nothing: the norms still stand in front.',
            _other(
                "post",
                lambda b, x: _two(x, _in(b.norm_1, b.attention), _in(b.norm_2, b.feed_forward)),
            ),
        ),
        Mistake(
            'For norm="post" the norms stand on the changes. In the first Transformer they stand '
            "behind the sums.",
            _other(
                "post",
                lambda b, x: _two(x, _in(b.attention, b.norm_1), _in(b.feed_forward, b.norm_2)),
            ),
        ),
        Mistake(
            'For norm="post" the ways around are missing: norm(f(x)) in place of norm(x + f(x)).',
            _other("post", lambda b, x: b.norm_2(b.feed_forward(b.norm_1(b.attention(x))))),
        ),
        Mistake(
            "The block is given a dropout and hands it to neither part.",
            _built(_no_dropout("attention", "feed_forward")),
        ),
        Mistake("The dropout does not reach attention.", _built(_no_dropout("attention"))),
        Mistake(
            "The dropout does not reach the feed-forward network.",
            _built(_no_dropout("feed_forward")),
        ),
        Mistake(
            "The form of GELU that is asked for does not reach the feed-forward network.",
            _built(lambda b: setattr(b.feed_forward.gelu, "approximate", "tanh")),
        ),
        Mistake(
            "The numbers are right, and the way around is cut off, by detach or .data: the "
            "gradient comes back through the parts alone.",
            _other(
                "pre",
                lambda b, x: (
                    (h := x.detach() + b.attention(b.norm_1(x))).detach()
                    + b.feed_forward(b.norm_2(h))
                ),
            ),
        ),
        Mistake(
            "It learns, and nothing before it could: x is cut off, by detach, no_grad or .data, "
            "and no gradient goes on to it.",
            _other("pre", lambda b, x: TransformerBlock.forward(b, x.detach())),
        ),
    ),
    right=(_Written, _Summed),
)

TASKS = (
    *residuals.TASKS,
    *residuals_measured.TASKS,
    TRANSFORMER_BLOCK,
    *residuals_hunts.TASKS,
)
QUESTIONS = residuals_asked.QUESTIONS + residuals_measured.QUESTIONS

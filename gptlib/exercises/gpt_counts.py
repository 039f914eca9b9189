"""Exercises of chapter 6 that count: parameters, and operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from gptlib.exercises.task import Mistake, Task
from gptlib.gpt import GPTConfig, flops_per_token, total_parameters


def models(seed: int) -> Iterator[tuple[Any, ...]]:
    """GPT-2's kind of model: every bias, the head tied; then untied, and with fewer biases."""
    small: dict[str, Any] = {
        "n_layer": 2,
        "n_head": 2,
        "n_embd": 12,
        "vocab_size": 29,
        "context_length": 7,
    }
    yield (GPTConfig(**small),)
    yield (GPTConfig.preset("gpt2-small"),)
    yield (GPTConfig(**small, tied=False),)
    draw = Random(seed)
    for tied in (True, False):
        yield (
            GPTConfig(
                n_layer=draw.randrange(1, 9), n_head=4, n_embd=4 * draw.randrange(1, 99), tied=tied
            ),
        )
    yield (GPTConfig(**small, bias=False),)
    yield (GPTConfig.preset("stories"),)
    yield (GPTConfig(**small, qkv_bias=False),)
    yield (GPTConfig(**small, bias=False, qkv_bias=True),)
    yield (GPTConfig.preset("lecture-124m"),)


def _qkv(c: GPTConfig) -> bool:
    """Whether queries, keys and values have biases."""
    return c.bias if c.qkv_bias is None else c.qkv_bias


def _off(c: GPTConfig, qkv: Callable[[GPTConfig], bool] = _qkv, shifts: bool = True) -> int:
    """What biases that are off take away, those of the norms (`shifts`) among them."""
    block = 0 if qkv(c) else 3 * c.n_layer
    rest = 0 if c.bias else 6 * c.n_layer + shifts * (2 * c.n_layer + 1)
    return c.n_embd * (block + rest)


def _count(
    block: Callable[[int], int] = lambda d: 12 * d * d + 13 * d,
    last: Callable[[int], int] = lambda d: 2 * d,
    heads: Callable[[GPTConfig], int] = lambda c: 1 - c.tied,
    places: Callable[[GPTConfig], int] = lambda c: c.context_length,
    less: Callable[[GPTConfig], int] = lambda c: _off(c),
) -> Callable[[GPTConfig], int]:
    """The whole sum, with one part of it exchanged; `less`: what biases that are off take away."""

    def total(c: GPTConfig) -> int:
        tables = ((1 + heads(c)) * c.vocab_size + places(c)) * c.n_embd
        return tables + c.n_layer * block(c.n_embd) + last(c.n_embd) - less(c)

    return total


def _summed(c: GPTConfig) -> int:
    """The count as a list of every single tensor."""
    d, b = c.n_embd, int(c.bias)
    qkv = b if c.qkv_bias is None else int(c.qkv_bias)
    block = [3 * d * d, 3 * d * qkv, d * d, d * b, 4 * d * d, 4 * d * b, 4 * d * d, d * b]
    norms = [(2 * c.n_layer + 1) * d * (1 + b)]
    tables = [c.vocab_size * d] * (1 if c.tied else 2) + [c.context_length * d]
    return c.n_layer * sum(block) + sum(norms + tables)


TOTAL_PARAMETERS = Task(
    name="gpt.total_parameters",
    asks="Count all numbers of a GPT: tables, blocks, last norm, and the head unless it is tied.",
    reference=total_parameters,
    inputs=models,
    hints=(
        "Write the shapes of one block's matrices down, then their biases, then its two norms.",
        "With all biases a block has 12·d² weights, 9·d biases and 4·d numbers of norms. What "
        "stands around the blocks? And what is gone with bias=False: which of a norm's two rows?",
        "n_layer * (12 * d * d + 13 * d) + 2 * d, and (vocab_size + context_length) * d; an untied "
        "head has vocab_size * d more. bias=False takes 11 * d from each block and d from the last "
        "norm; qkv_bias=False alone 3 * d from each block.",
    ),
    mistakes=(
        Mistake("The head is tied: its numbers are the token table's.", _count(heads=lambda c: 1)),
        Mistake("A head that is not tied is a table of its own.", _count(heads=lambda c: 0)),
        Mistake("The position table is missing.", _count(places=lambda c: 0)),
        Mistake("The last norm is missing.", _count(last=lambda d: 0)),
        Mistake(
            "The biases of the blocks are missing.", _count(block=lambda d: 12 * d * d + 4 * d)
        ),
        Mistake("The norms of the blocks are missing.", _count(block=lambda d: 12 * d * d + 9 * d)),
        Mistake(
            "The shifts of the norms are missing.",
            _count(block=lambda d: 12 * d * d + 11 * d, last=lambda d: d),
        ),
        Mistake("A block has two norms.", _count(block=lambda d: 12 * d * d + 11 * d)),
        Mistake(
            "Attention has a projection behind its queries, keys and values.",
            _count(block=lambda d: 11 * d * d + 12 * d),
        ),
        Mistake(
            "The feed-forward network is four times as wide inside: 4·d² in, and 4·d² out again.",
            _count(block=lambda d: 6 * d * d + 10 * d),
        ),
        Mistake(
            "Queries, keys and values are counted once for each head; the heads share d numbers.",
            lambda c: (
                total_parameters(c) + c.n_layer * (c.n_head - 1) * 3 * (c.n_embd**2 + c.n_embd)
            ),
        ),
        Mistake(
            "bias=False changes nothing: then neither matrices have biases nor norms a shift.",
            _count(less=lambda c: 3 * c.n_embd * c.n_layer if c.qkv_bias is False else 0),
        ),
        Mistake(
            "With bias=False the norms lose their shift, too: a scale is left of each.",
            _count(less=lambda c: _off(c, shifts=False)),
        ),
        Mistake(
            "qkv_bias=False takes the biases of queries, keys and values away, 3·d in each block.",
            _count(less=lambda c: _off(c, qkv=lambda c: c.bias)),
        ),
        Mistake(
            "qkv_bias=True gives queries, keys and values their biases with bias=False, too: 3·d "
            "in each block.",
            _count(less=lambda c: _off(c, qkv=lambda c: c.bias and c.qkv_bias is not False)),
        ),
        Mistake(
            "qkv_bias=None means: as bias. None is no False here.",
            _count(less=lambda c: _off(c, qkv=lambda c: bool(c.qkv_bias))),
        ),
    ),
    right=(_count(), _summed),
)


def costs(seed: int) -> Iterator[tuple[Any, ...]]:
    """A small model in both senses of `training`, then GPT-2 small."""
    draw = Random(seed)
    # Layers, heads and the twos of the formula are told apart: 3, 4 and 2.
    small = GPTConfig(n_layer=3, n_head=4, n_embd=8, vocab_size=29, context_length=5)
    other = GPTConfig(n_layer=draw.randrange(1, 9), n_head=4, n_embd=4 * draw.randrange(1, 99))
    yield small, False
    yield small, True
    yield GPTConfig(), False
    yield other, True
    yield (other,)


def _flops(
    each: int = 2,
    back: int = 3,
    weights: Callable[[GPTConfig], int] = lambda c: 12 * c.n_layer * c.n_embd**2,
    table: Callable[[GPTConfig], int] = lambda c: c.vocab_size * c.n_embd,
    scores: Callable[[GPTConfig], int] = lambda c: 4 * c.n_layer * c.context_length * c.n_embd,
) -> Callable[..., int]:
    """The whole sum, with one part of it exchanged."""
    return lambda c, training=True: (
        (each * (weights(c) + table(c)) + scores(c)) * (back if training else 1)
    )


FLOPS_PER_TOKEN = Task(
    name="gpt.flops_per_token",
    asks="Count the floating-point operations that a token costs at full context.",
    reference=flops_per_token,
    inputs=costs,
    kind="stretch",
    hints=(
        "Which weights stand in a matrix that meets the token, and which in a table that is only "
        "looked up?",
        "Forward: two operations for each weight of the blocks' matrices, 12·d² a block, and of "
        "the head. Attention's scores and sums: 4·T·d a layer. Backward costs twice the forward.",
        "forward = 2 * (12 * n_layer * d * d + vocab_size * d) + 4 * n_layer * T * d; three times "
        "that with training.",
    ),
    mistakes=(
        Mistake(
            "A weight costs two operations, a multiplication and an addition; one is counted.",
            _flops(each=1),
        ),
        Mistake(
            "The head is missing: a matrix product like the others.", _flops(table=lambda c: 0)
        ),
        Mistake(
            "The tables at the bottom are counted as products. Looking a row up costs nothing.",
            _flops(table=lambda c: (2 * c.vocab_size + c.context_length) * c.n_embd),
        ),
        Mistake(
            "Attention's own work is missing: scores and sums have no weights, and cost all the "
            "same.",
            _flops(scores=lambda c: 0),
        ),
        Mistake(
            "Attention does two products without weights, the scores and the sums; one is counted.",
            _flops(scores=lambda c: 2 * c.n_layer * c.context_length * c.n_embd),
        ),
        Mistake(
            "Attention's own work is counted for one layer. Each of the n_layer layers does it.",
            _flops(scores=lambda c: 4 * c.context_length * c.n_embd),
        ),
        Mistake(
            "Attention's own work is counted twice over: 4·T·d a layer holds both products, with "
            "two operations for each of their terms.",
            _flops(scores=lambda c: 8 * c.n_layer * c.context_length * c.n_embd),
        ),
        Mistake(
            "Attention's own work is counted once for each head. The heads share the width.",
            _flops(scores=lambda c: 4 * c.n_layer * c.n_head * c.context_length * c.n_embd),
        ),
        Mistake(
            "Attention's own work is counted for all tokens that look; it is asked for one.",
            _flops(scores=lambda c: 4 * c.n_layer * c.context_length**2 * c.n_embd),
        ),
        Mistake(
            "This is one block. There are n_layer of them.",
            _flops(
                weights=lambda c: 12 * c.n_embd**2,
                scores=lambda c: 4 * c.context_length * c.n_embd,
            ),
        ),
        Mistake(
            "The matrices of one block are counted, 12·d². There are n_layer of them.",
            _flops(weights=lambda c: 12 * c.n_embd**2),
        ),
        Mistake(
            "Where nobody says whether it is training, the backward pass counts.",
            lambda c, training=False: flops_per_token(c, training),
        ),
        Mistake("training=True changes nothing.", _flops(back=1)),
        Mistake(
            "The backward pass costs twice the forward pass, and comes on top of it: three times.",
            _flops(back=2),
        ),
    ),
    right=(
        _flops(),
        lambda c, training=True: (
            (2 + 4 * training)
            * c.n_embd
            * (2 * c.n_layer * (6 * c.n_embd + c.context_length) + c.vocab_size)
        ),
    ),
)

TASKS = (TOTAL_PARAMETERS, FLOPS_PER_TOKEN)

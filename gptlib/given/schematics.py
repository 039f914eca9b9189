"""Drawings of what a model does, from real numbers: attention, heads, the block, the whole GPT.

Given, not built. Chapter 3 draws attention with it, chapter 5 the block, chapter 6 the whole GPT:

    from gptlib.given import plots, schematics
    plots.show(*schematics.causal_mask(words, scores))

Each drawing is made from the numbers that it is given, and comes with the words for those who
cannot see it: (figure, alt). It is as narrow as a telephone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gptlib.given.drawing import (
    MONO,
    ROW,
    SMALL,
    TINTS,
    Table,
    area,
    arrow,
    box,
    canvas,
    names,
    plus,
    table,
    words,
    written,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    Drawing = tuple[Figure, str]  # and the words that tell what is in it


def numbers(rows: Table) -> list[list[float]]:
    """A table as lists of Python's own numbers."""
    return [[float(value) for value in row] for row in rows]


def softmax(scores: Sequence[float]) -> list[float]:
    """The shares of a row of scores, written out: softmax([0, 0]) is [0.5, 0.5]."""
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


def lookup(
    tokens: Sequence[str], query: Sequence[float], keys: Table, values: Table,
    key_names: Sequence[str] = (), value_names: Sequence[str] = (), decimals: int = 0,
) -> Drawing:  # fmt: skip
    """What the last token receives: its query beside all keys, weights, the mixture of values."""
    (query,), keys, values = numbers([query]), numbers(keys), numbers(values)
    scores = [sum(q * k for q, k in zip(query, key, strict=True)) for key in keys]
    weights, columns = softmax(scores), zip(*values, strict=True)
    mixed = [sum(w * v for w, v in zip(weights, column, strict=True)) for column in columns]
    narrow, wide, top = 0.7 + 0.1 * (decimals > 0), 0.9, 4.6
    score_x = 3.1 + narrow * len(query)
    k, s, w, v = 2.7, score_x, score_x + 1.6, score_x + 3.5  # left edges
    k_middle, v_middle = k + narrow * len(query) / 2, v + wide * len(mixed) / 2
    fig, ax = canvas(v + wide * len(mixed) + 0.1, top + ROW * len(tokens) + 1.9)
    names(ax, k, 0.1, [f"query of “{tokens[-1]}”"])
    table(ax, k, 0.1, [query], decimals, narrow, tint=1)
    arrow(ax, (k_middle, 0.95), (k_middle, 1.6))
    middles = {"key": k_middle, "score": s + 0.55, "weight": w + 0.7, "value": v_middle}
    for title, x in middles.items():
        words(ax, x, 2, title, weight="bold")
    names(ax, k, top, tokens)
    for x, across, texts in (
        (k, narrow, key_names), (s, 1.1, ["query · key"]), (w, 1.4, ["softmax"]),
        (v, wide, value_names),
    ):  # fmt: skip
        names(ax, x, top, texts, across)
    table(ax, k, top, keys, decimals, narrow)
    table(ax, s, top, [[score] for score in scores], decimals, 1.1, tint=3)
    table(ax, w, top, [[weight] for weight in weights], 2, 1.4, bars=True)
    end = table(ax, v, top, values, decimals, wide, tint=2)
    arrow(ax, (v_middle, end), (v_middle, end + 0.95))
    words(ax, v - 0.2, end + 1.4, "sum of weight × value", ha="right")
    table(ax, v, end + 1, [mixed], 2, wide, tint=2)
    shares = ", ".join(f"{t} {written(w, 2)}" for t, w in zip(tokens, weights, strict=True))
    return fig, (
        f"The query of “{tokens[-1]}” stands above a table with the key of each token; beside it"
        f" the score, the weight and the value of each. Weights: {shares}. Below, the sum of weight"
        f" times value: {', '.join(written(number, 2) for number in mixed)}."
    )


def causal_mask(tokens: Sequence[str], scores: Table) -> Drawing:
    """The scores (T, T) of a head with the future hidden, and the weights that are left of them."""
    scores, cell, x, y = numbers(scores), 1.4, 2.3, 2.6
    weights = [softmax(row[: i + 1]) + [0.0] * len(row[i + 1 :]) for i, row in enumerate(scores)]
    middle, end = x + cell * len(tokens) / 2, x + cell * len(tokens)
    fig, ax = canvas(end + 1.7, 2 * ROW * len(tokens) + 6)
    words(ax, middle, 0.5, "scores, the future hidden", weight="bold")
    names(ax, x, y, tokens, cell)
    names(ax, x, y, tokens)
    y = table(ax, x, y, scores, 1, cell, causal=True)
    arrow(ax, (middle, y + 0.1), (middle, y + 1.3), label="softmax, row by row")
    words(ax, middle, y + 1.8, "weights", weight="bold")
    y += 2.3
    names(ax, x, y, tokens)
    for i in range(len(tokens)):
        words(ax, end + 0.2, y + (i + 0.5) * ROW, "sum 1", SMALL, ha="left")
    y = table(ax, x, y, weights, 2, cell, bars=True, causal=True)
    words(ax, middle, y + 0.6, "hatched: hidden, weight 0", SMALL)
    rows = "; ".join(
        f"{token}: {', '.join(written(w, 2) for w in weights[i][: i + 1])}"
        for i, token in enumerate(tokens)
    )
    return fig, (
        f"Two tables of {len(tokens)} rows, the tokens that look, and as many columns, the tokens"
        " looked at: scores above, weights below. All above the diagonal is hatched: the future."
        f" The weights that are left: {rows}. Each row sums to 1."
    )


def heads(x: Table, n_head: int) -> Drawing:
    """How the vectors x (T, C) of one text are split into heads and joined again.

    Errors: ValueError if n_head does not divide C.
    """
    x, cell, gap = numbers(x), 0.85, 0.9
    T, C, hs = len(x), len(x[0]), len(x[0]) // n_head
    if C % n_head:
        raise ValueError(f"n_head must divide the {C} numbers of a token; got {n_head}.")
    pieces = [[row[h * hs : (h + 1) * hs] for h in range(n_head)] for row in x]  # (T, n_head, hs)
    by_head = [[token[h] for token in pieces] for h in range(n_head)]  # (n_head, T, hs)
    tokens = [f"token {t}" for t in range(T)]
    wide = max(C * cell + 4, T * (hs * cell + gap), n_head * (hs * cell + gap), 11)
    fig, ax = canvas(wide, ROW * (3 * T + n_head) + 8.9)

    def stage(y: float, shape: str, blocks: Sequence[Table], labels: Sequence[str]) -> float:
        words(ax, wide / 2, y + 0.4, shape, **MONO)
        space, top = (gap, y + 1.6) if labels else (0, y + 1)
        left = (wide - len(blocks) * (hs * cell + space) + space) / 2
        names(ax, left, top, [] if labels else tokens)
        for i, block in enumerate(blocks):
            words(ax, left + hs * cell / 2, top - 0.4, labels[i] if labels else "", SMALL)
            for r, row in enumerate(block):
                head = r if labels == tokens else i
                table(ax, left, top + ROW * r, [row], cell=cell, tint=head % len(TINTS))
            left += hs * cell + space
        return top + ROW * len(blocks[0])

    def step(y: float, label: str) -> float:
        arrow(ax, (wide / 2, y + 0.1), (wide / 2, y + 1.2), label=label)
        return y + 1.2

    whole = f"(B, T, C) = (1, {T}, {C})"
    y = step(stage(0, whole, by_head, []), f"view: cut each row in {n_head}")
    y = stage(y, f"(B, T, n_head, hs) = (1, {T}, {n_head}, {hs})", pieces, tokens)
    y, split = step(y, "transpose(1, 2): sort by head"), f"(1, {n_head}, {T}, {hs})"
    labels = [f"head {h}" for h in range(n_head)]
    y = stage(y, f"(B, n_head, T, hs) = {split}", by_head, labels)
    stage(step(y, "back: transpose(1, 2), reshape"), whole, by_head, [])
    return fig, (
        f"A table of {T} tokens with {C} numbers each, {whole}. An arrow, view, leads to {T} small"
        f" tables, one a token, with a row for each of {n_head} heads. A second, transpose, leads"
        f" to {n_head} tables, one a head, with a row for each token: {split}. A third leads back."
    )


def block(B: int, T: int, C: int, n_head: int) -> Drawing:
    """The Transformer block with its two shortcuts and the shape at each step; norms in front."""
    fig, ax = canvas(9.8, 17.0)
    middle, side, shape, y = 4.2, 8.9, f"({B}, {T}, {C})", 0.4
    words(ax, middle, y, f"x (B, T, C) = {shape}", **MONO)
    parts = (f"{n_head} heads of ({T}, {C // n_head})", f"{C} to {4 * C} to {C} numbers")
    for i, part in enumerate(("attention", "feed_forward")):
        fork, norm = y + 0.9, y + 1.7
        arrow(ax, (middle, y + 0.4), (middle, norm))
        y = box(ax, middle, norm, f"norm_{i + 1}", shape, tint=1)
        arrow(ax, (middle, y), (middle, y + 1))
        y = box(ax, middle, y + 1, part, parts[i], tint=2 * i)
        arrow(ax, (middle, y), (middle, y + 1), label=f"the change {shape}")
        y += 1.4
        plus(ax, middle, y)
        arrow(ax, (middle, fork), (side, fork), (side, y), (middle + 0.4, y))
        words(ax, side + 0.4, (fork + y) / 2, "shortcut", SMALL, rotation=90)
    arrow(ax, (middle, y + 0.4), (middle, y + 1.6))
    words(ax, middle, y + 2, f"x (B, T, C) = {shape}", **MONO)
    return fig, (
        f"From top to bottom: x of shape {shape} forks. One way goes through norm_1 and attention,"
        f" {n_head} heads; the other, the shortcut, goes round them, and a plus adds the two. The"
        f" sum forks again, round norm_2 and feed_forward, which widens each token from {C} to"
        f" {4 * C} numbers and back. A second plus gives x, of the same shape {shape}."
    )


def gpt(
    B: int, T: int, C: int, V: int, n_layer: int, n_head: int, context_length: int,
    tied: bool = False,
) -> Drawing:  # fmt: skip
    """The whole GPT with the shape at each step, from ids to logits."""
    fig, ax = canvas(11.8, 16.0)
    left, right, middle, end = 3.0, 8.8, 5.9, 3.2
    vector, logits = f"({B}, {T}, {C})", f"({B}, {T}, {V:,})"
    words(ax, left, 0.4, f"idx ({B}, {T})", **MONO)
    words(ax, right, 0.4, f"places 0 … {T - 1}", **MONO)
    for x, name, rows in ((left, "token", V), (right, "position", context_length)):
        arrow(ax, (x, 0.8), (x, end - 1.5))
        box(ax, x, end - 1.5, f"{name}_embedding", f"({rows:,}, {C})", tint=1, width=5.4)
    arrow(ax, (left, end), (left, 4.5), (middle - 0.4, 4.5), label=vector)
    arrow(ax, (right, end), (right, 4.5), (middle + 0.4, 4.5), label=f"({T}, {C})")
    plus(ax, middle, 4.5)
    arrow(ax, (middle, 4.9), (middle, 6.2), label=vector)
    for offset in (0.4, 0.2):  # a stack of cards
        area(ax, 2.7 + offset, 6.2 + offset, 6.4, 1.5, facecolor=TINTS[0], linewidth=1.2)
    y = box(ax, middle, 6.2, f"{n_layer} blocks, one after the other", f"{n_head} heads each") + 0.4
    for name, shape, tint in (("final_norm", vector, 3), ("head", f"({C}, {V:,})", 1)):
        arrow(ax, (middle, y), (middle, y + 1.3), label=vector)
        y = box(ax, middle, y + 1.3, name, shape, tint)
    if tied:
        arrow(ax, (0.9, end), (0.9, y - 0.75), (middle - 3.2, y - 0.75), dashed=True)
        words(ax, 0.5, (end + y) / 2, "the same numbers", SMALL, rotation=90)
    arrow(ax, (middle, y), (middle, y + 1.3))
    words(ax, middle, y + 1.7, f"logits {logits}", **MONO)
    return fig, (
        f"From top to bottom: idx ({B}, {T}) goes through token_embedding, ({V:,}, {C}), and the"
        f" places 0 to {T - 1} through position_embedding, ({context_length:,}, {C}). A plus adds"
        f" the two: {vector}. Then {n_layer} blocks of {n_head} heads and final_norm, {vector} all"
        f" the way, and the head, ({C}, {V:,}), which gives logits {logits}."
        + (" The head uses the numbers of token_embedding." if tied else "")
    )

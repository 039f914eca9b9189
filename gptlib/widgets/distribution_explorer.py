"""Logits, probabilities and draws, with temperature, top-k and top-p to turn.

Used in chapters 2 and 8. Given, not built.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import traitlets

from gptlib.generation import next_token_probs
from gptlib.widgets.widget import Widget, bundle

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class DistributionExplorer(Widget):
    """What a model says comes next, and what becomes of it on the way to a drawn token.

    logits: (V) for one place, or (R, V), one row for each of R places, such as the table of a
    bigram model; -inf rules a token out. labels: the V tokens as texts. row_labels: the R places as
    texts. The traits row, temperature, top_k, top_p, n_samples, listed (how many tokens have a line
    of their own) and sought (what those have in their texts, all where it is empty) may be set from
    Python at any time, and follow the reader. Errors: ValueError for shapes that do not fit
    together.

    DistributionExplorer(torch.tensor([1.0, 0.0]), ["red", "blue"]).probs() -> [0.7311, 0.2689]
    """

    _esm = bundle("distribution_explorer.js")
    title = traitlets.Unicode("What comes next?").tag(sync=True)
    logits = traitlets.Bytes().tag(sync=True)
    labels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    row_labels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    row_name = traitlets.Unicode("after").tag(sync=True)
    row = traitlets.Int(0).tag(sync=True)
    temperature = traitlets.Float(1.0, min=0.0).tag(sync=True)
    top_k = traitlets.Int(0, min=0).tag(sync=True)
    top_p = traitlets.Float(1.0, min=0.01, max=1.0).tag(sync=True)
    n_samples = traitlets.Int(0, min=0, max=1_000_000).tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)
    listed = traitlets.Int(12, min=1).tag(sync=True)
    sought = traitlets.Unicode("").tag(sync=True)

    def __init__(
        self,
        logits: torch.Tensor,
        labels: Sequence[str],
        row_labels: Sequence[str] = ("",),
        **settings: Any,
    ) -> None:
        if not isinstance(labels, Sequence):
            raise ValueError(
                f"labels must be the tokens as texts, one a column; got {type(labels).__name__}. "
                "A tokenizer's: [tokenizer.decode([i]) for i in range(tokenizer.vocab_size)]."
            )
        table = torch.as_tensor(logits).detach().float().cpu()
        table = table[None] if table.dim() == 1 else table  # (R, V)
        if table.shape != (len(row_labels), len(labels)):
            raise ValueError(
                f"logits have the shape {tuple(table.shape)}; with {len(row_labels)} row_labels "
                f"and {len(labels)} labels it should be ({len(row_labels)}, {len(labels)})"
            )
        self._table = table
        super().__init__(
            logits=table.contiguous().numpy().tobytes(),
            labels=list(labels),
            row_labels=list(row_labels),
            **settings,
        )

    @traitlets.validate("row")
    def _check_row(self, proposal: Any) -> int:
        row: int = proposal["value"]
        if not 0 <= row < max(1, len(self._table)):
            raise traitlets.TraitError(f"row must be from 0 to {len(self._table) - 1}, not {row}")
        return row

    def probs(self) -> torch.Tensor:
        """What the next token is drawn from with the present settings: (V)."""
        top_k = self.top_k if 0 < self.top_k < len(self.labels) else None
        top_p = self.top_p if self.top_p < 1 else None
        return next_token_probs(self._table[self.row], self.temperature, top_k, top_p)

    def words(self) -> str:
        best = self.probs().topk(min(3, len(self.labels)))
        said = ", ".join(
            f"{self.labels[i]!r} {p:.1%}" for p, i in zip(best.values, best.indices, strict=True)
        )
        return f"Bars of the most likely tokens: {said}."

    def draw(self) -> Figure:
        from matplotlib.figure import Figure

        probs = self.probs()
        best = probs.topk(min(12, len(self.labels)))
        figure = Figure(figsize=(6.4, 3.2))
        ax = figure.subplots()
        names = [repr(self.labels[i])[1:-1].replace(" ", "␣") for i in best.indices]
        ax.barh(range(len(names)), best.values.tolist())
        ax.set_yticks(range(len(names)), names)
        ax.invert_yaxis()
        ax.set_xlabel("probability")
        ax.grid(axis="y", visible=False)
        return figure

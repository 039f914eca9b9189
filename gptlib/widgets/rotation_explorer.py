"""RoPE's turns as clock faces: a query and a key, their places, and the score that they make.

Used in chapter 9. Given, not built.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
import traitlets

from gptlib.given import plots
from gptlib.rope import Rope, check_rope, rope_speeds, rotate, scaled_base
from gptlib.widgets.widget import Widget, bundle, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ROUND = 2 * math.pi
HAIR = 1e-6  # of an angle: what rounding may do is no new angle
REACH = 512  # the last place, where nobody says otherwise
FACES = 8  # clock faces in the figure that stands in
APART = 28  # tokens, where nobody says otherwise: the slower hands have parted, too


class RotationExplorer(Widget):
    """A query and a key, turned pair by pair to their places, and the score that they make there.

    query, key: one vector of head_size numbers each, before they are turned, as tensors or lists.
    What is not given is drawn with `seed`, and so like the other one that they score high where
    both stand at the same place. head_size: as long as the vectors, or 16. query_at and key_at are
    their places, from 0 to `reach`; a query looks back, so it does not stand before the key. base:
    of the speeds, as in `rope_speeds`. scaling: how much the slowest pair is slowed, as in
    `scaled_base`. trained: the tokens of a text of the training, where nothing was slowed. pair:
    the one whose numbers are open, -1 for none. drawn_to: the distance at which the curve ends, 0
    for reach. walking: both walk on, place by place. What the reader moves is a trait, and may be
    set from Python at any time.

    Errors: ValueError for vectors of another length, an odd head_size, a base of 1 or less, a
    scaling below 1; TraitError for places that are out of reach or the wrong way round.

    RotationExplorer(2, query=[1, 0], key=[1, 0], query_at=9, key_at=8).score() -> 0.5403
    """

    _esm = bundle("rotation_explorer.js")
    _css = style("rotation_explorer.css")
    title = traitlets.Unicode("RoPE: positions as turns").tag(sync=True)
    query = traitlets.List(traitlets.Float()).tag(sync=True)
    key = traitlets.List(traitlets.Float()).tag(sync=True)
    base = traitlets.Float(10_000.0).tag(sync=True)
    scaling = traitlets.Float(1.0).tag(sync=True)
    trained = traitlets.Int(128, min=1).tag(sync=True)
    reach = traitlets.Int(REACH, min=1, max=8192).tag(sync=True)
    query_at = traitlets.Int(0, min=0).tag(sync=True)
    key_at = traitlets.Int(0, min=0).tag(sync=True)
    pair = traitlets.Int(-1, min=-1).tag(sync=True)
    drawn_to = traitlets.Int(0, min=0).tag(sync=True)
    walking = traitlets.Bool(False).tag(sync=True)

    def __init__(
        self,
        head_size: int | None = None,
        base: float = 10_000.0,
        query: Any = None,
        key: Any = None,
        seed: int = 0,
        query_at: int | None = None,
        key_at: int | None = None,
        **settings: Any,
    ) -> None:
        q = None if query is None else _vector("query", query)
        k = None if key is None else _vector("key", key)
        if head_size is None:
            head_size = next((len(x) for x in (q, k) if x is not None), 16)
        check_rope(head_size, base)
        for name, x in (("query", q), ("key", k)):
            if x is not None and len(x) != head_size:
                raise ValueError(f"{name} must have head_size {head_size} numbers; got {len(x)}.")
        drawn, little = _drawn(head_size, seed)
        if k is None:
            k = drawn if q is None else rotate(q, little.cos(), -little.sin())
        if q is None:
            q = rotate(k, little.cos(), little.sin())
        reach = settings.setdefault("reach", REACH)
        if key_at is None:
            key_at = max(0, min(12, reach - APART) if query_at is None else query_at - APART)
        query_at = min(key_at + APART, reach) if query_at is None else query_at
        vectors = {"query": q.tolist(), "key": k.tolist()}
        super().__init__(base=base, query_at=query_at, key_at=key_at, **vectors, **settings)

    @traitlets.validate("base")
    def _check_base(self, proposal: Any) -> float:
        base: float = proposal["value"]
        check_rope(2, base)
        return base

    @traitlets.validate("scaling")
    def _check_scaling(self, proposal: Any) -> float:
        scaling: float = proposal["value"]
        scaled_base(10_000.0, scaling, 4)  # says what is wrong
        return scaling

    @traitlets.validate("query_at", "key_at")
    def _check_places(self, proposal: Any) -> int:
        place: int = proposal["value"]
        at = {"query_at": self.query_at, "key_at": self.key_at, proposal["trait"].name: place}
        if not at["key_at"] <= at["query_at"] <= self.reach:
            raise traitlets.TraitError(
                f"places must be 0 <= key_at <= query_at <= reach {self.reach}, for a query looks "
                f"back; got key_at {at['key_at']} and query_at {at['query_at']}."
            )
        return place

    @traitlets.validate("pair")
    def _check_pair(self, proposal: Any) -> int:
        pair: int = proposal["value"]
        if pair >= self.head_size // 2:
            raise traitlets.TraitError(f"pair must be below {self.head_size // 2}; got {pair}.")
        return pair

    @property
    def head_size(self) -> int:
        """How many numbers the query and the key have."""
        return len(self.query)

    def speeds(self) -> torch.Tensor:
        """How far each pair turns from one token to the next, the base stretched: (hs / 2)."""
        return rope_speeds(self.head_size, scaled_base(self.base, self.scaling, self.head_size))

    def contributions(self) -> torch.Tensor:
        """What each pair adds to the score: (hs / 2)."""
        q, k = self._turned(self.query)[self.query_at], self._turned(self.key)[self.key_at]
        return (q * k).view(2, -1).sum(dim=0)

    def score(self) -> float:
        """The turned query times the turned key, not yet divided by √hs."""
        return self.contributions().sum().item()

    def scores(self) -> torch.Tensor:
        """The scores at all distances from 0 to reach: (reach + 1)."""
        return self._turned(self.query) @ torch.tensor(self.key)

    def turns_in_training(self) -> torch.Tensor:
        """How often each pair went round in a text of the training: (hs / 2)."""
        return self.trained * rope_speeds(self.head_size, self.base) / ROUND

    def new_angles(self) -> torch.Tensor:
        """Which pairs stand, at this distance, at an angle that no text of the training had.

        RotationExplorer(4, query_at=200, key_at=0).new_angles() -> [False, True]
        """
        turns = (self.query_at - self.key_at) * self.speeds() / ROUND
        return turns % 1 > self.turns_in_training() * (1 + HAIR)

    def _turned(self, x: list[float]) -> torch.Tensor:
        """The vector at every place from 0 to reach: (reach + 1, hs)."""
        base = scaled_base(self.base, self.scaling, self.head_size)
        rope = Rope(self.head_size, self.reach + 1, base)
        return rope(torch.tensor(x).expand(self.reach + 1, -1))

    def words(self) -> str:
        half, short = self.head_size // 2, int((self.turns_in_training() < 1).sum())
        added = ", ".join(f"{c:+.2f}" for c in self.contributions().tolist())
        slowed = f", the slowest pair slowed {self.scaling:g} times" if self.scaling > 1 else ""
        scores = self.scores()
        return (
            f"{half} clock faces, one for each pair of numbers, base {self.base:,.0f}{slowed}. "
            f"Each has a hand for a query at place {self.query_at} and one for a key at place "
            f"{self.key_at}. {self.query_at - self.key_at} tokens apart they score "
            f"{self.score():.2f}; the pairs add {added}. {short} of {half} pairs went less than "
            f"once round in {self.trained} tokens of training. Below, the score by distance up to "
            f"{self.reach}: {scores[0]:.2f} at 0, from {scores.min():.2f} to {scores.max():.2f}."
        )

    def draw(self) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 5.6), layout="constrained")
        pairs = torch.linspace(0, self.head_size // 2 - 1, min(FACES, self.head_size // 2))
        rows = -(-len(pairs) // 4)
        parts = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.4 * rows, 2.2))
        above, below = parts.flat
        for ax, pair in zip(above.subplots(rows, 4, squeeze=False).flat, pairs, strict=False):
            self._draw_face(ax, int(pair.round()))
        for ax in above.axes[len(pairs) :]:
            ax.set_axis_off()
        hands = above.axes[0].get_legend_handles_labels()
        above.legend(*hands, loc="outside lower center", ncols=2)
        ax, distance = below.subplots(), self.query_at - self.key_at
        ax.plot(self.scores().tolist(), color=plots.BLUE, lw=1.2)
        ax.plot(distance, self.score(), "o", color="black", markersize=6)
        ax.set(xlabel="distance, in tokens", ylabel="score q · k", xlim=(0, self.reach))
        said = f"dot: {self.score():.2f} at distance {distance}"
        if self.trained < self.reach:
            ax.axvspan(self.trained, self.reach, color=plots.GREY, alpha=0.1, lw=0)
            said += f"; grey: beyond the {self.trained:,} tokens of training"
        ax.set_title(said.replace("-", "−"), fontsize=9)
        return figure

    def _draw_face(self, ax: Axes, pair: int) -> None:
        """One pair's hands, as long as its numbers: the query's is filled, the key's is dashed."""
        half = self.head_size // 2
        longest = torch.tensor([self.query, self.key]).view(2, 2, half).norm(dim=1).max() or 1
        looks = (
            ("key", plots.VERMILION, (0, (3, 1.5)), "s", "white"),
            ("query", plots.BLUE, "-", "o", plots.BLUE),
        )
        for name, color, dash, end, fill in looks:
            place = getattr(self, f"{name}_at")
            x, y = self._turned(getattr(self, name))[place, [pair, pair + half]] * 0.85 / longest
            ax.plot(
                [0, x], [0, y], color=color, linestyle=dash, lw=1.5, marker=end, markersize=5,
                markevery=[1], markerfacecolor=fill, label=f"{name} at {place}",
            )  # fmt: skip
        circle = torch.linspace(0, ROUND, 61)
        ax.plot(circle.cos().tolist(), circle.sin().tolist(), color=plots.GREY, lw=0.8, ls="-")
        ax.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal", xticks=[], yticks=[])
        added = f"{self.contributions()[pair]:+.2f}".replace("-", "−")
        ax.set_title(f"pair {pair}: {added}", fontsize=9, loc="center")
        for side in ax.spines.values():
            side.set_visible(False)


def _drawn(head_size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A vector (hs) whose pairs are about 1 long and point anywhere; and small turns (hs / 2)."""
    noise = torch.Generator().manual_seed(seed)
    longs, angles = torch.rand(2, head_size // 2, generator=noise, dtype=torch.float64)
    longs, angles = 0.7 + 0.6 * longs, ROUND * angles
    little = 0.5 * torch.randn(head_size // 2, generator=noise, dtype=torch.float64)
    return torch.cat([longs * angles.cos(), longs * angles.sin()]), little


def _vector(name: str, given: Any) -> torch.Tensor:
    """A query or a key as (hs) numbers."""
    wanted = f"{name} must be one vector of head_size numbers, shape (hs,)"
    try:
        x = torch.as_tensor(given, dtype=torch.float64, device="cpu").detach()
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"{wanted}; got {type(given).__name__}.") from None
    if x.dim() != 1 or not len(x):
        raise ValueError(
            f"{wanted}; got {tuple(x.shape)}. Of x (B, nh, T, hs), x[0, 0, -1] is one."
        )
    if not x.isfinite().all():
        raise ValueError(f"{wanted}; got the number {x[~x.isfinite()][0].item()} among them.")
    return x

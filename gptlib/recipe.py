"""The recipe of a training run: all its settings in one place, and the learning rate they mean.

Built in chapter 7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from gptlib.given.checks.recipe import check_settings

PRESETS: dict[str, dict[str, Any]] = {
    # The book's run: GPTConfig's preset on the stories, within two minutes on two cores.
    "stories": {
        "steps": 3100, "batch_size": 8, "lr": 4e-3, "weight_decay": 0.01, "eval_every": 200,
    },
    # nanoGPT's recipe for a laptop: characters of Tiny Shakespeare, with GPTConfig's preset.
    "nanogpt-cpu": {"steps": 2000, "batch_size": 12, "lr": 1e-3, "betas": (0.9, 0.99)},
}  # fmt: skip


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides a training run, apart from the model and the data.

    One step sees batch_size * grad_accumulation * context_length tokens. warmup_steps None means a
    tenth of the steps, at most 100; `warmup` is the number. grad_clip None means no clipping.
    context_length None means the model's. seed decides the order of the data and, as torch's own
    seed, what dropout drops.

    Errors: ValueError that names the field and the allowed range.
    """

    steps: int = 1000
    batch_size: int = 32
    lr: float = 1e-3
    min_lr_ratio: float = 0.1
    warmup_steps: int | None = None
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    grad_clip: float | None = 1.0
    grad_accumulation: int = 1
    eval_every: int = 100
    eval_batches: int = 20
    seed: int = 0
    device: str = "auto"
    context_length: int | None = None

    def __post_init__(self) -> None:
        for name, value in check_settings(vars(self)).items():
            object.__setattr__(self, name, value)

    @property
    def warmup(self) -> int:
        """How many steps the learning rate climbs: as set, or what None means."""
        return min(100, self.steps // 10) if self.warmup_steps is None else self.warmup_steps

    @classmethod
    def preset(cls, name: str, **changes: Any) -> TrainConfig:
        """A recipe by name, with single fields changed where wanted."""
        if name not in PRESETS:
            raise ValueError(f"name must be one of {', '.join(PRESETS)}; got {name!r}.")
        return cls(**{**PRESETS[name], **changes})


def learning_rate(step: int, config: TrainConfig) -> float:
    """The learning rate of update number `step`, counted from 1.

    It climbs in a straight line to config.lr, reached at config.warmup, then falls along half a
    cosine to lr * min_lr_ratio at the last step (I. Loshchilov, F. Hutter, "SGDR", 2017).

    learning_rate(5, TrainConfig(steps=100, warmup_steps=10, lr=1e-3)) -> 5e-4
    learning_rate(10, TrainConfig(steps=100, warmup_steps=10, lr=1e-3)) -> 1e-3
    learning_rate(55, TrainConfig(steps=100, warmup_steps=10, lr=1e-3)) -> 5.5e-4
    learning_rate(100, TrainConfig(steps=100, warmup_steps=10, lr=1e-3)) -> 1e-4
    """
    if step < config.warmup:
        return config.lr * step / config.warmup
    decay_steps = max(1, config.steps - config.warmup)
    progress = min(1.0, (step - config.warmup) / decay_steps)
    share = 0.5 * (1 + math.cos(math.pi * progress))  # 1 at the peak, 0 at the end
    return config.lr * (config.min_lr_ratio + share * (1 - config.min_lr_ratio))

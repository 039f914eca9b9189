"""How does a model that was trained on short texts read longer ones?

Claim: a GPT with turned positions that was trained on 112 tokens breaks behind them. Turns slowed
down twice carry it twice as far; four times is not enough for four times as far, and the last 112
tokens alone serve it best.

    python experiments/lengths.py            # half an hour; writes data/runs/lengths.json
    python experiments/lengths.py --resume   # only what is not recorded yet

Modern GPTs of the book's size learn from windows of the second volume, cut anywhere, two thirds of
the book's tokens. "short": windows of 112 tokens, "long": of 448, two seeds each; "table": short,
one seed, with the learned positions of the classic, of which those after the 112th are never
trained.
Recorded: the loss (nats per token, 200 windows of unseen text) of places 0 to 111, 112 to 223 and
224 to 447, with the turns as they were and stretched 2 and 4 times (`gptlib.rope.scaled_base`);
"last": of the short model, shown each time the last 112 tokens alone.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from recording import (
    TALES,
    Prepared,
    arguments,
    begin,
    encode,
    few,
    fill,
    prepare,
    shortened,
)
from torch import nn

from gptlib import corpus
from gptlib.batches import get_batch
from gptlib.changes import CHANGES, with_changes
from gptlib.given.models import evaluating
from gptlib.gpt import GPT
from gptlib.modern import ModernConfig, ModernGPT
from gptlib.rope import scaled_base
from gptlib.training import TrainConfig, train

SHORT, LONG = 112, TALES.context_length
EDGES = (0, SHORT, 2 * SHORT, LONG)
BUDGET = 3100 * 8 * 128 * 2 // 3  # two thirds of the tokens of the book's run
STRETCHES = (1, 2, 4)
MODELS = {"short": SHORT, "long": LONG, "table": SHORT}


def recipe(length: int, seed: int) -> TrainConfig:
    """The same tokens a step and in all, in windows of this length."""
    batch = 4 * LONG // length
    steps = BUDGET // (batch * length)
    return TrainConfig.preset(
        "stories", batch_size=batch, steps=steps, eval_every=steps, context_length=length, seed=seed
    )


def stretched(model: ModernGPT, times: float) -> ModernGPT:
    """The same weights with room for a long text, and turns so many times slower."""
    base = scaled_base(model.config.rope_base, times, model.config.head_size)
    longer = ModernGPT(replace(model.config, context_length=LONG, rope_base=base))
    longer.load_state_dict(model.state_dict())
    return longer


def losses(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> list[float]:
    """The mean loss of each stretch of places: x, y (N, LONG)."""
    with torch.no_grad(), evaluating(model):
        rows = [model(part)[0] for part in x.split(8)]
    loss = F.cross_entropy(torch.cat(rows).transpose(1, 2), y, reduction="none")  # (N, LONG)
    return [loss[:, low:high].mean().item() for low, high in pairwise(EDGES)]


def sliding(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> list[float]:
    """The same, where each token is foretold from the last SHORT tokens and no others."""
    columns: list[torch.Tensor] = []
    with torch.no_grad(), evaluating(model):
        columns.append(
            F.cross_entropy(model(x[:, :SHORT])[0].transpose(1, 2), y[:, :SHORT], reduction="none")
        )
        for end in range(SHORT + 1, LONG + 1):
            logits = model(x[:, end - SHORT : end])[0][:, -1]
            columns.append(F.cross_entropy(logits, y[:, end - 1], reduction="none")[:, None])
    loss = torch.cat(columns, dim=1)  # (N, LONG)
    return [loss[:, low:high].mean().item() for low, high in pairwise(EDGES)]


def run(name: str, seed: int, prepared: Prepared, x: torch.Tensor, y: torch.Tensor) -> Any:
    """Train one model on windows of its length, and ask it about longer ones."""
    config = shortened(recipe(MODELS[name], seed))
    torch.manual_seed(seed)
    if name == "table":
        kept = [change for change in CHANGES if change != "rope"]
        model: Any = with_changes(replace(TALES, bias=True, gelu="tanh", waves=False), kept)
    else:
        model = ModernGPT(ModernConfig.preset("stories", context_length=MODELS[name]))
    train(model, prepared.ids, None, config, progress=False, evaluate=lambda _: {"val_loss": 0.0})
    if isinstance(model, GPT):
        return {"1": losses(model, x, y)}
    found = {str(times): losses(stretched(model, times), x, y) for times in STRETCHES}
    few_rows = few(40)
    return found | ({"last": sliding(model, x[:few_rows], y[:few_rows])} if name == "short" else {})


def main() -> None:
    args = arguments("lengths", __doc__)
    prepared = prepare(n_exam=30, volume=2)
    unseen = encode(
        prepared.tokenizer,
        corpus.END.join(s.text for s in corpus.stories(few(1000, 30), seed=1, volume=2)),
    )
    x, y = get_batch(unseen, few(200), LONG, generator=torch.Generator().manual_seed(0))
    jobs: dict[tuple[str, ...], Any] = {
        ("runs", name, str(seed)): partial(run, name, seed, prepared, x, y)
        for seed in few(range(2))
        for name in MODELS
        if seed == 0 or name != "table"
    }
    about = {"edges": EDGES, "units": "loss: nats per token"}
    fill(args, begin(args), jobs, str, **about)


if __name__ == "__main__":
    main()

"""What does short sight in every second layer cost the classic GPT, and what does it spare?

Claim: the cache becomes a good deal smaller; what it does to the loss is told beside seeds that see
everything.

    python experiments/windows.py            # half an hour; writes data/runs/windows.json
    python experiments/windows.py --resume   # only what is not recorded yet

The classic GPT, the text, the recipe and the budget are those of modern.py. "window": every second
layer, the lowest first, sees the last 64 tokens and no others, in the pattern of GPT-OSS and
Gemma 2; "classic": every layer sees everything. The two begin with the same numbers and read the
same batches.

Recorded for each run: parameters, loss beside the floor (nats per token, on 200 stories that no
model saw), accuracy by skill, and of each skill by distance, as in modern.py; "cache": bytes that
are kept of a text of 448 tokens, in float32.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from modern import CLASSIC, RECIPE
from recording import (
    EDGES,
    UNITS,
    Prepared,
    above_floor,
    arguments,
    begin,
    by_distance,
    distance,
    few,
    fill,
    learn,
    prepare,
)

from gptlib.changes import with_changes
from gptlib.gpt import GPT
from gptlib.grouped import GroupedAttention

WINDOW = 64
WINDOWS = {
    "window": [WINDOW if n % 2 == 0 else None for n in range(CLASSIC.n_layer)],
    "classic": [None] * CLASSIC.n_layer,
}


def build(name: str) -> GPT:
    """The classic with the windows of a run; the numbers that it begins with are the classic's."""
    c, model = CLASSIC, with_changes(CLASSIC, ())
    for block, window in zip(model.blocks, WINDOWS[name], strict=True):
        if window is not None:
            old = block.attention.state_dict()
            sizes = (c.n_embd, c.n_head, c.n_head, c.n_embd // c.n_head)
            block.attention = GroupedAttention(*sizes, bias=c.bias, window=window)
            block.attention.load_state_dict(old)
    return model


def cache_bytes(name: str) -> int:
    """What is kept of a whole text: keys and values of so many tokens in each layer, float32."""
    kept = [min(w or CLASSIC.context_length, CLASSIC.context_length) for w in WINDOWS[name]]
    return sum(2 * CLASSIC.n_embd * 4 * tokens for tokens in kept)


def run(name: str, seed: int, prepared: Prepared) -> dict[str, Any]:
    """Train one model from one seed, and say where it ends."""
    model, history = learn(lambda: build(name), prepared, replace(RECIPE, seed=seed))
    score = prepared.key.score(model)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "cache": cache_bytes(name),
        "above_floor": above_floor(history, prepared.key),
        "tokens": history.column("tokens"),
        "loss": history.column("val_loss"),
        "skills": history[-1]["skills"],
        "by_distance": by_distance(score),
        "seconds": history[-1]["seconds"],
    }


def main() -> None:
    args = arguments("windows", __doc__, WINDOWS)
    prepared = prepare(n_exam=200, volume=2)
    jobs: dict[tuple[str, ...], Any] = {
        ("runs", name, str(seed)): partial(run, name, seed, prepared)
        for seed in few(range(3))
        for name in args.names or WINDOWS
    }
    record = begin(args) | {"floor": prepared.key.floor}
    about = {"steps": RECIPE.steps, "batch_size": RECIPE.batch_size, "lr": RECIPE.lr}
    fill(args, record, jobs, distance, units=UNITS, edges=EDGES, window=WINDOW, **about)


if __name__ == "__main__":
    main()

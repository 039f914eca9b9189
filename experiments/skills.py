"""Who learns what, and when: six models on the stories, scored against the answer key.

Claim: a GPT of under a million parameters comes within 10 % of the floor in at most two minutes of
training on two CPU cores; some skills appear only with attention, and the order of words gets far
better with positions.

    python experiments/skills.py            # half an hour; writes data/runs/skills.json
    python experiments/skills.py --resume   # only what is not recorded yet
    python experiments/skills.py gpt        # one or more of the six models below, anew

Recorded for each model, along training: loss beside the floor (nats per token, on 400 stories that
no model saw) and accuracy by skill. For the GPT also what it writes at temperature 0.8, as the
parser judges it. Two more seeds of each model are recorded as they end: differences between models
that are smaller than those between seeds are luck. "apart": the model with norm and feed-forward
network, with one of the two alone, three seeds each, as they end. Losses do not depend on how fast
the machine is; the seconds do and are recorded as such.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from recording import (
    CONFIG,
    UNITS,
    Prepared,
    above_floor,
    arguments,
    begin,
    distance,
    few,
    fill,
    learn,
    points,
    prepare,
)
from torch import nn
from writing import judgement, write

from gptlib.attention import AttentionModel
from gptlib.bigram import BigramModel
from gptlib.gpt import GPT
from gptlib.tokenizer import BPETokenizer
from gptlib.training import History, TrainConfig

TRAINING = TrainConfig.preset("stories")
MORE_SEEDS = (1, 2)
MODELS = {
    "bigram": lambda: BigramModel(CONFIG.vocab_size),
    "attention": lambda: one_layer(positions=False),
    "positions": lambda: one_layer(positions=True),
    "feed_forward": lambda: one_block(shortcut=False),
    "block": lambda: one_block(shortcut=True),
    "gpt": lambda: GPT(CONFIG),
}
HALVES = {
    "norm": lambda: half(network=False),
    "network": lambda: half(network=True),
}
LR = dict.fromkeys([*MODELS, *HALVES], 1e-2) | {"bigram": 3e-2, "gpt": TRAINING.lr}


def one_layer(positions: bool) -> AttentionModel:
    """Embedding, one attention layer, head: chapter 3's model, as wide as the GPT."""
    c = CONFIG
    return AttentionModel(c.vocab_size, c.context_length, c.n_embd, c.n_head, positions)


def one_block(shortcut: bool) -> GPT:
    """The same with norm and feed-forward network, and with shortcuts or without.

    Head, start and positions are those of the model before. Norm and network come together, and
    `half` takes them apart.
    """
    model = GPT(replace(CONFIG, n_layer=1, tied=False, init="torch", waves=False))
    model.blocks[0].shortcut = shortcut
    return model


def half(network: bool) -> GPT:
    """That block without shortcuts, with the network alone behind its attention, or norms alone."""
    model = one_block(shortcut=False)
    block = model.blocks[0]
    if network:
        block.norm_1 = block.norm_2 = model.final_norm = nn.Identity()
    else:
        block.feed_forward = nn.Identity()
    return model


def samples(model: GPT, tokenizer: BPETokenizer, n: int = 200) -> dict:
    """What the parser says of n stories written at temperature 0.8."""
    judged = judgement(write(model, tokenizer, few(n), seed=0, temperature=0.8))
    return {
        "temperature": 0.8,
        "stories": len(judged.verdicts),
        "well_formed": judged.well_formed,
        "new": judged.new,
        "distinct": judged.distinct,
        "broken": judged.broken,
        "messages": [verdict.message for verdict in judged.verdicts if not verdict.ok][:20],
    }


def trained(name: str, prepared: Prepared, seed: int) -> tuple[nn.Module, History]:
    """One model after the book's budget, from one seed."""
    changes = {"lr": LR[name], "context_length": CONFIG.context_length, "seed": seed}
    return learn((MODELS | HALVES)[name], prepared, TrainConfig.preset("stories", **changes))


def run(name: str, prepared: Prepared) -> dict:
    """Train one model and record it."""
    model, history = trained(name, prepared, TRAINING.seed)
    result = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": history[-1]["seconds"],
        **points(history, prepared.key, "step", "tokens", "seconds"),
    }
    if name == "gpt":
        result["samples"] = samples(model, prepared.tokenizer)
    return result


def end(name: str, prepared: Prepared, seed: int) -> dict:
    """How another seed of a model ends."""
    _, history = trained(name, prepared, seed)
    last = history[-1]
    above = above_floor(history, prepared.key)
    return {"loss": last["val_loss"], "above_floor": above, "skills": last["skills"]}


def said(result: dict) -> str:
    """A run in a few lines: loss, skills, and what the parser says."""
    if "curve" not in result:
        return distance(result)
    last = result["curve"][-1]
    skills = {skill: round(share, 2) for skill, share in last["skills"].items()}
    above = f"{result['above_floor']:.1%} above the floor after {result['seconds']:.0f} s"
    return f"loss {last['loss']:.4f}, {above}\n   {skills}\n   {result.get('samples', '')}"


def main() -> None:
    args = arguments("skills", __doc__, MODELS)
    prepared = prepare()
    jobs: dict = {}
    for name in args.names or MODELS:
        jobs[name,] = partial(run, name, prepared)
        for seed in MORE_SEEDS:
            jobs[name, "more", str(seed)] = partial(end, name, prepared, seed)
        if name == "feed_forward":
            for part in HALVES:
                for seed in (TRAINING.seed, *MORE_SEEDS):
                    jobs[name, "apart", part, str(seed)] = partial(end, part, prepared, seed)
    fill(args, begin(args), jobs, said, seed=TRAINING.seed, units=UNITS)


if __name__ == "__main__":
    main()

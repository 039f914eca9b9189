"""Who learns what, and when: six models on the stories, scored against the answer key.

Claim: a GPT of under a million parameters comes within 10 % of the floor in at most two minutes of
training on two CPU cores; some skills appear only with attention, and some only with positions.

    python benchmarks/skills.py            # about ten minutes; writes data/runs/skills.json
    python benchmarks/skills.py gpt        # one or more of the six models below

Recorded for each model, along training: loss beside the floor (nats per token, on stories that no
model saw) and accuracy by skill. For the GPT also what it writes at temperature 0.8, as the parser
judges it. Losses do not depend on how fast the machine is; the seconds do and are recorded as such.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from dataclasses import replace
from datetime import date
from pathlib import Path

import torch
from recording import RUNS, prepare

from gptlib import corpus
from gptlib.attention import AttentionModel
from gptlib.bigram import BigramModel
from gptlib.checkpoint import replacing
from gptlib.generation import generate
from gptlib.gpt import GPT, GPTConfig
from gptlib.scoring import end_id
from gptlib.tokenizer import BPETokenizer
from gptlib.training import TrainConfig, train

CONFIG = GPTConfig.preset("stories")
TRAINING = TrainConfig.preset("stories")
MODELS = {
    "bigram": lambda: BigramModel(CONFIG.vocab_size),
    "attention": lambda: one_layer(positions=False),
    "positions": lambda: one_layer(positions=True),
    "feed_forward": lambda: one_block(shortcut=False),
    "block": lambda: one_block(shortcut=True),
    "gpt": lambda: GPT(CONFIG),
}
LR = dict.fromkeys(MODELS, 1e-2) | {"bigram": 3e-2, "gpt": TRAINING.lr}


def one_layer(positions: bool) -> AttentionModel:
    """Embedding, one attention layer, head: chapter 3's model, as wide as the GPT."""
    c = CONFIG
    return AttentionModel(c.vocab_size, c.context_length, c.n_embd, c.n_head, positions)


def one_block(shortcut: bool) -> GPT:
    """The same with norm and feed-forward network, and with shortcuts or without.

    Head, start and positions are those of the model before, so that one thing changes at a time.
    """
    model = GPT(replace(CONFIG, n_layer=1, tied=False, init="torch", waves=False))
    model.blocks[0].shortcut = shortcut
    return model


def samples(model: GPT, tokenizer: BPETokenizer, n: int = 200) -> corpus.Judgement:
    """What the parser says of n stories written at temperature 0.8."""
    end = end_id(tokenizer)
    idx = torch.full((n, 1), end)
    generator = torch.Generator().manual_seed(0)
    rows = generate(
        model, idx, CONFIG.context_length, temperature=0.8, stop_tokens=[end], generator=generator
    )
    texts = []
    for row in rows[:, 1:].tolist():
        row = row[: row.index(end)] if end in row else row
        texts.append(tokenizer.decode(row))
    known = {story.text for story in corpus.stories(30_000)}
    return corpus.judge(corpus.END.join(texts), known)


def run(name: str, prepared: tuple) -> dict:
    """Train one model and record it."""
    tokenizer, ids, starts, key = prepared
    torch.manual_seed(TRAINING.seed)
    model = MODELS[name]()
    curve = []

    def evaluate(model: torch.nn.Module) -> dict[str, float]:
        score = key.score(model)
        curve.append({"loss": score.loss, "skills": score.skills})
        return {"val_loss": score.loss}

    config = TrainConfig.preset("stories", lr=LR[name], context_length=CONFIG.context_length)
    history = train(model, ids, None, config, starts=starts, evaluate=evaluate)
    for point, record in zip(curve, history, strict=True):
        point |= {"step": record["step"], "tokens": record["tokens"], "seconds": record["seconds"]}
    result = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "floor": key.floor,
        "above_floor": curve[-1]["loss"] / key.floor - 1,
        "seconds": history[-1]["seconds"],
        "curve": rounded(curve),
    }
    if name == "gpt":
        judged = samples(model, tokenizer)
        result["samples"] = {
            "temperature": 0.8,
            "stories": len(judged.verdicts),
            "well_formed": judged.well_formed,
            "new": judged.new,
            "distinct": judged.distinct,
            "broken": judged.broken,
            "messages": [v.message for v in judged.verdicts if not v.ok][:20],
        }
    last = curve[-1]
    print(f"{name}: loss {last['loss']:.4f}, floor {key.floor:.4f}, ", end="")
    print(f"{result['above_floor']:.1%} above it, {result['seconds']:.0f} s of training")
    print("  ", {skill: round(share, 2) for skill, share in last["skills"].items()})
    print("  ", result.get("samples", ""))
    return result


def rounded(thing):
    """Four decimals are more than the text quotes, and keep the file small."""
    if isinstance(thing, float):
        return round(thing, 4)
    if isinstance(thing, list):
        return [rounded(item) for item in thing]
    return {k: rounded(v) for k, v in thing.items()} if isinstance(thing, dict) else thing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="*", metavar="model", help=f"of {', '.join(MODELS)}")
    parser.add_argument("--out", type=Path, default=RUNS / "skills.json")
    args = parser.parse_args()
    if unknown := [name for name in args.models if name not in MODELS]:
        parser.error(f"no model {unknown[0]!r}: choose from {', '.join(MODELS)}")
    prepared = prepare()
    record = json.loads(args.out.read_text(encoding="utf-8")) if args.out.exists() else {}
    for name in args.models or MODELS:
        record[name] = run(name, prepared)
    record["about"] = {
        "date": date.today().isoformat(),
        "command": "python benchmarks/skills.py",
        "torch": torch.__version__.split("+")[0],
        "python": platform.python_version(),
        "cpu_threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "seed": TRAINING.seed,
        "units": "loss, floor: nats per token; skills: share of labels right; seconds: training",
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(args.out) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""The card of a model: what it is, what it learned from, how well, and what not to expect of it.

Given, not built.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gptlib
from gptlib.engine import runs
from gptlib.engine.prepared import Tokenizer
from gptlib.engine.recipes import Model
from gptlib.given.folders import read_json
from gptlib.given.sources import SOURCES

CARD = """---
library_name: transformers
pipeline_tag: text-generation
tags: [gptlib]
---

# {title}

A small language model, trained by gptlib {version} and written in the form of {form}.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{folder}")
model = AutoModelForCausalLM.from_pretrained("{folder}")
ids = tokenizer("{prompt}", return_tensors="pt")
print(tokenizer.decode(model.generate(**ids, max_new_tokens=50)[0]))
```

## Model

{model}

## Data

{data}

## Training

{training}

## Scores

{scores}

## Limits

It sees {context} tokens at once. It has learned from one text, writes like it, and knows nothing
else; what it says is not checked by anybody. It may repeat passages of its training text word for
word. A mark such as the end of a text, typed into a prompt, is read as the mark.
"""


def card(
    model: Model,
    tokenizer: Tokenizer,
    run: str | os.PathLike[str] | None,
    checkpoint: Path,
    config: dict[str, Any],
    scores: dict[str, Any] | None,
) -> str:
    """The README.md of an exported model, filled in from its run."""
    told = facts(model, tokenizer, run, checkpoint, scores)
    char = tokenizer.decode([tokenizer.vocab_size // 2]).strip()
    return CARD.format(
        title=Path(run or checkpoint).name, version=gptlib.__version__, folder=".",
        form=config["architectures"][0], prompt="Once" if can(tokenizer, "Once") else char,
        **{name.lower(): _list(lines) for name, lines in told.items()},
        context=model.config.context_length,
    )  # fmt: skip


def facts(
    model: Model,
    tokenizer: Tokenizer,
    run: str | os.PathLike[str] | None,
    checkpoint: Path,
    scores: dict[str, Any] | None,
) -> dict[str, dict[str, Any]]:
    """What is known of a model, by name and value: of Model, Data, Training, Scores."""
    parts = {
        "kind": f"{type(model).__name__} of gptlib",
        "parameters": f"{model.num_parameters():,}",
        "vocabulary": f"{tokenizer.vocab_size:,} tokens, {type(tokenizer).__name__}",
    }
    parts |= {name: f"{value}" for name, value in vars(model.config).items()}
    training = {"checkpoint": checkpoint.name} | (_training(run, checkpoint) if run else {})
    data = _data(runs.state_of(run)) if run else {}
    data = data or {"not recorded": "these weights came without a run"}
    return {"Model": parts, "Data": data, "Training": training, "Scores": _scores(scores)}


def can(tokenizer: Tokenizer, text: str) -> bool:
    """Whether a tokenizer has the characters of a text."""
    try:
        return bool(tokenizer.encode(text))
    except ValueError:
        return False


def _data(state: dict[str, Any]) -> dict[str, Any]:
    """The text of a run: where it is from, how much of it there is, how it was cut, its sums.

    Of a file the last part of its path alone: the folders are nobody's business. A run that was
    begun by gptlib 0.1.0 or earlier may have the sums alone.
    """
    found: dict[str, Any] = {}
    if text := state.get("text"):
        for number, source in enumerate(text["sources"], 1):
            found[f"source {number}"] = _source(source)
        if text["more_sources"]:
            found["more sources"] = text["more_sources"]
        for part, name in (("train", "learned from"), ("validation", "held out")):
            found[name] = ", ".join(f"{n:,} {what}" for what, n in text[part].items() if n)
        found["cut by"] = f"{text['split']}, {text['held_out']:.4g} held out, seed {text['seed']}"
    return found | {f"SHA-256 of {name}": value for name, value in state["data"].items()}


def _source(about: dict[str, Any]) -> str:
    """One source in a line; of a text that the course fetches also its home and its licence."""
    told = {name: value for name, value in about.items() if name != "name"}
    if known := SOURCES.get(about["name"]):
        told |= {"home": known.url, "licence": known.licence}
    name = Path(about["name"]).name
    return ", ".join([name, *(f"{key} {value}" for key, value in told.items())])


def _training(run: Any, checkpoint: Path) -> dict[str, Any]:
    """How it was trained, by the run's settings, and where it stood."""
    state = runs.state_of(run)
    told = {name: value for name, value in state["settings"].items() if value is not None}
    saved = read_json(checkpoint / "run.json")
    told |= {"steps done": saved["step"], "tokens seen": f"{saved['tokens']:,}"}
    told["seconds of training"] = round(saved["seconds"], 1)
    last = saved["history"][-1] if saved["history"] else {}
    for name in ("train_loss", "val_loss"):
        if last.get(name) is not None:
            told[f"{name}, nats per token, at step {last['step']}"] = round(last[name], 4)
    return told


def _scores(scores: dict[str, Any] | None) -> dict[str, Any]:
    """What `evaluate` measured, or that nobody did."""
    if scores is None:
        return {"not measured": "`gptlib evaluate RUN --data DIR --json FILE`, then export again"}
    found = {f"validation {k}": v for k, v in scores["validation"].items()}
    found |= {k: v for k, v in scores["samples"].items() if k != "first"}
    for name in ("floor", "above_floor", "well_formed", "new"):
        if name in scores.get("stories", {}):
            found[f"stories {name}"] = scores["stories"][name]
    return {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in found.items()}


def _list(told: dict[str, Any]) -> str:
    return "\n".join(f"- {name}: {value}" for name, value in told.items())

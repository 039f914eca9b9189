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
    """What is known of a model, by name and value: of Model, Training and Scores."""
    parts = {
        "kind": f"{type(model).__name__} of gptlib",
        "parameters": f"{model.num_parameters():,}",
        "vocabulary": f"{tokenizer.vocab_size:,} tokens, {type(tokenizer).__name__}",
    }
    parts |= {name: f"{value}" for name, value in vars(model.config).items()}
    training = {"checkpoint": checkpoint.name} | (_training(run, checkpoint) if run else {})
    return {"Model": parts, "Training": training, "Scores": _scores(scores)}


def can(tokenizer: Tokenizer, text: str) -> bool:
    """Whether a tokenizer has the characters of a text."""
    try:
        return bool(tokenizer.encode(text))
    except ValueError:
        return False


def _training(run: Any, checkpoint: Path) -> dict[str, Any]:
    """How it was trained, by the run's settings, and where it stood."""
    state = runs.state_of(run)
    told = {name: value for name, value in state["settings"].items() if value is not None}
    told |= {f"SHA-256 of {name}": value for name, value in state["data"].items()}
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

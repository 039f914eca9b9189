"""What the recording scripts share: the stories and their exam, and a record that grows run by run.

No claim of its own: skills.py, seeds.py, symptoms.py and scaling.py use it.
"""

from __future__ import annotations

import json
import os
import platform
import re
from datetime import date
from pathlib import Path
from typing import Any

import torch

from gptlib import corpus
from gptlib.checkpoint import replacing
from gptlib.gpt import GPTConfig
from gptlib.scoring import AnswerKey, story_starts
from gptlib.tokenizer import BPETokenizer

RUNS = Path(__file__).resolve().parent.parent / "data" / "runs"
CONFIG = GPTConfig.preset("stories")


def prepare(
    n_exam: int = 400,
) -> tuple[BPETokenizer, torch.Tensor, torch.Tensor, AnswerKey]:
    """The tokenizer, the training ids, where windows may begin, and unseen stories as key."""
    tokenizer = BPETokenizer.train(
        corpus.load("stories", n=3000), CONFIG.vocab_size, special_tokens=[corpus.END]
    )
    ids = encode(tokenizer, corpus.load("stories"))
    starts = story_starts(ids, tokenizer, CONFIG.context_length)
    return tokenizer, ids, starts, AnswerKey(corpus.stories(n_exam, seed=1), tokenizer)


def encode(tokenizer: BPETokenizer, text: str) -> torch.Tensor:
    """The ids of stories, an END before the first of them: (N)."""
    ids = tokenizer.to_tiktoken().encode(corpus.END + text, allowed_special="all")
    return torch.tensor(ids)


def rounded(thing: Any, digits: int = 4) -> Any:
    """Four digits that count are more than the text quotes, and keep the file small."""
    if isinstance(thing, float):
        return float(f"{thing:.{digits}g}")
    if isinstance(thing, list):
        return [rounded(item, digits) for item in thing]
    if isinstance(thing, dict):
        return {key: rounded(value, digits) for key, value in thing.items()}
    return thing


def load(path: Path) -> dict[str, Any]:
    """What has been recorded so far; an empty record where there is no file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def save(path: Path, record: dict[str, Any], command: str, **about: Any) -> None:
    """Write the record with a note that says what made it; lists of numbers stay on one line."""
    record["about"] = {
        "date": date.today().isoformat(),
        "command": f"python {command}",
        "torch": torch.__version__.split("+")[0],
        "python": platform.python_version(),
        "cpu_threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        **about,
    }
    text = json.dumps(rounded(record), indent=1)
    text = re.sub(r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), text)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")

"""What a run has become: one dict of numbers, and the table that a person reads.

Given, not built.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from tqdm.auto import tqdm

from gptlib.cache import Cached
from gptlib.corpus import judge, stories
from gptlib.corpus.scoring import AnswerKey
from gptlib.counts import count_parameters
from gptlib.engine.measures import distinct, losses, novelty, repetition
from gptlib.engine.prepared import Prepared, Tokenizer
from gptlib.engine.writer import Writer
from gptlib.generation import generate

FRESH = 987_654_321  # a seed of stories that no run is trained on


def evaluate(
    run: str | os.PathLike[str],
    data: str | os.PathLike[str],
    *,
    which: str = "best",
    samples: int = 20,
    length: int = 200,
    temperature: float = 0.8,
    top_k: int | None = 50,
    seed: int = 0,
    most: int | None = None,
    device: str = "auto",
    progress: bool = False,
) -> dict[str, Any]:
    """Measure a run on the text that it was held out from, and on `samples` texts that it writes.

    `validation`: loss and bits per byte; `samples`: repetition within a text, distinct runs of one
    to three tokens, and the share of runs of eight that the training text does not hold. Of a run
    on the course's stories also `stories`: loss, floor and skills on fresh ones, and the parser's
    verdicts on those it wrote. most: no more windows of validation than that.
    progress: show how far it has come, on the error channel.

    Errors: ValueError for a text with another tokenizer, and where a run cannot be read.
    """
    writer, text = Writer(run, which, device), Prepared.open(data)
    if writer.tokenizer.fingerprint() != text.tokenizer.fingerprint():
        raise ValueError(f"{data} has another tokenizer than {run}: take the text it learned from.")
    if samples < 1 or length < 1:
        raise ValueError(f"samples and length must be 1 or more; got {samples} and {length}.")
    volume = text.stories() if writer.end is not None else None
    wish = {"temperature": temperature, "top_k": top_k}
    written = _write(writer, samples, length, seed, progress, **wish)
    wrote = [ids for ids in written if len(ids) > 1] or written
    found: dict[str, Any] = {
        "run": os.fspath(run), "checkpoint": writer.folder.name, "data": os.fspath(data),
        "parameters": count_parameters(writer.model.config),
        "validation": losses(
            writer.model, text.validation, text.tokenizer, most=most, progress=progress
        ),
        "samples": {
            "n": samples, "length": length, "seed": seed, **wish,
            "repetition_4": repetition(wrote),
            "novel_8": novelty(wrote, text.train, progress=progress),
            **{f"distinct_{n}": distinct(wrote, n) for n in (1, 2, 3)},
            "first": text.tokenizer.decode(written[0])[:500],
        },
    }  # fmt: skip
    if volume is not None:
        found["stories"] = _stories(writer, written, volume, text)
    return found


def _write(
    writer: Writer, samples: int, length: int, seed: int, progress: bool, **wish: Any
) -> list[list[int]]:
    """So many texts, each from the beginning of a document to its end; all at once."""
    start = torch.tensor([writer.start("")], device=writer.device).expand(samples, -1)
    generator = torch.Generator(writer.device).manual_seed(seed)
    if wish["top_k"]:
        wish["top_k"] = min(wish["top_k"], writer.tokenizer.vocab_size)
    stops = [] if writer.end is None else [writer.end]
    model = Cached(writer.model)
    with tqdm(desc="writing", total=length, unit="token", disable=not progress) as bar:
        model.register_forward_hook(lambda *told: bar.update() and None)
        rows = generate(model, start, length, generator=generator, stop_tokens=stops, **wish)
    texts = [row[start.size(1) :] for row in rows.tolist()]
    return [ids[: ids.index(writer.end)] if writer.end in ids else ids for ids in texts]


def _stories(
    writer: Writer, written: list[list[int]], volume: int, text: Prepared
) -> dict[str, Any]:
    """Distance to the floor on fresh stories, and what the parser says of those written."""
    told: dict[str, Any] = {"volume": volume}
    try:
        score = AnswerKey(stories(100, FRESH, volume), text.tokenizer).score(writer.model)
        told |= {
            "loss": score.loss, "floor": score.floor, "above_floor": score.above_floor,
            "skills": score.skills,
        }  # fmt: skip
    except ValueError as error:  # a story does not fit into the model's context
        told["no_score"] = str(error)
    end = text.mark or ""
    judgement = judge("".join(text.tokenizer.decode(ids) + end for ids in written), (), volume)
    fine = [v.text for v in judgement.verdicts if v.ok]
    new = [story for story in fine if not _holds(text, story + end)]
    told |= {
        "well_formed": judgement.well_formed, "new": len(new) / max(1, len(judgement.verdicts)),
        "different": judgement.distinct, "broken": judgement.broken,
    }  # fmt: skip
    return told


def _holds(text: Prepared, story: str) -> bool:
    """Whether the training text holds this story, token by token."""
    ids = encode_whole(text.tokenizer, story)
    return novelty([ids], text.train, n=len(ids)) == 0.0


def encode_whole(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of a text whose marks count as such."""
    if getattr(tokenizer, "special_tokens", None):
        return tokenizer.encode(text, allowed_special="all")  # type: ignore[call-arg]
    return tokenizer.encode(text)


def table(found: dict[str, Any]) -> str:
    """The numbers of `evaluate`, a line each, in words."""
    validation, samples = found["validation"], found["samples"]
    rows = [
        ("checkpoint", found["checkpoint"]),
        ("parameters", f"{found['parameters']:,}"),
        ("validation loss", f"{validation['loss']:.4f} nats per token"),
        ("bits per byte", f"{validation['bits_per_byte']:.4f}, of {validation['bytes']:,} bytes"),
        ("repetition", f"{samples['repetition_4']:.1%} of runs of four were said before"),
        ("distinct", ", ".join(f"{samples[f'distinct_{n}']:.1%}" for n in (1, 2, 3))
         + " of one, two, three tokens"),
        ("novelty", "no text of eight tokens" if samples["novel_8"] is None else
         f"{samples['novel_8']:.1%} of eight tokens are not in the training text"),
    ]  # fmt: skip
    if "stories" in found:
        told = found["stories"]
        if "floor" in told:
            rows.append(("above the floor", f"{told['above_floor']:.1%} ({told['loss']:.4f}, floor "
                         f"{told['floor']:.4f})"))  # fmt: skip
        rows.append(("well formed", f"{told['well_formed']:.1%}; new {told['new']:.1%}"))
        rows += [("broken rule", f"{rule}: {n}") for rule, n in told["broken"].items()]
    lines = [f"{name:<16} {value}" for name, value in rows]
    return "\n".join([*lines, "", "The first text:", samples["first"]])

"""What improves a small model? One thing changed at a time, from the recipe "small".

Claim: from a hundred steps at a low rate on, ten times the steps bring the most, a higher rate and
twice the width about half of that, twice the depth hardly anything, and a tenth of the text costs
little in runs as short as these, and five times as much in runs ten times as long.

    python experiments/capstone.py                     # fetches the text; half an hour on one core
    python experiments/capstone.py --data PATH --children PATH    # the same with copies of yours
    python experiments/capstone.py --resume            # only what is not recorded yet

"runs": characters of Tiny Shakespeare by the recipe "small" of `gptlib train`, with one setting
changed in each, three seeds. Fewer data are a tenth of the training text, another for each seed,
and the same validation text; for a hundred steps and for a thousand. "author": what pairs of
characters reach on that validation text, and what twenty pieces of it have of what is measured of
twenty written texts. "writing": what the model of a thousand steps writes, at several temperatures
and without sampling. "texts": nanoGPT's recipe for a laptop, 2,000 steps, on the first 900,000
characters of Tiny Shakespeare and of TinyStories; what is recorded was made with the beginning of
the training file of its first version, without marks between stories.
"reference": runs on the stories of chapter 12 at a small budget, five seeds each, by which a
reader's own can be judged. "read": how much of what the book's model writes is new against the
30,000 stories that it has read, and how much of stories that it has not. "leak": two hundred
stories, with the forty of the exam among them or not; the loss on the exam and on fresh stories,
beside their floors.
"times": one run of each kind once more, with nothing beside it in its process: seconds of the
processor on one thread, evaluations included, and the tokens read.

Recorded: loss on the first windows of training and validation text in nats per token, bits per byte
of validation, tokens seen, seconds of training by the clock, and of twenty texts written what
`gptlib evaluate` measures. (The runs of 2026-11-28 were made before the clock was read.)
"""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from recording import CONFIG, Machine, Rehearsal, arguments, begin, book_tokenizer, few, fill

from gptlib import corpus
from gptlib.checkpoint import save_checkpoint
from gptlib.corpus import Story
from gptlib.corpus.scoring import AnswerKey
from gptlib.engine.evaluation import evaluate
from gptlib.engine.learn import learn
from gptlib.engine.measures import distinct, losses, novelty, repetition
from gptlib.engine.prepare import prepare
from gptlib.engine.prepared import Prepared
from gptlib.engine.recipes import settings_of
from gptlib.engine.runs import checkpoints, load, state_of
from gptlib.given.folders import read_json
from gptlib.given.records import load_recorded
from gptlib.gpt import GPT
from gptlib.rubric import counting

SEEDS, ONE = range(3), range(1)
LONG = {"steps": 1000}
RUNS: dict[str, dict[str, Any]] = {
    "small": {},
    "rate 1e-3": {"lr": 1e-3},
    "rate 3e-3": {"lr": 3e-3},
    "width 64": {"n_embd": 64},
    "width 256": {"n_embd": 256},
    "layers 1": {"n_layer": 1},
    "layers 6": {"n_layer": 6},
    "a tenth of the text": {"tenth": True},
    "steps 1,000": LONG,
    "1,000, a tenth": {"tenth": True, **LONG},
}
WRITING: dict[str, dict[str, Any]] = {
    "temperature 0.3": {"temperature": 0.3},
    "temperature 0.8": {"temperature": 0.8},
    "temperature 1.2": {"temperature": 1.2},
    "sampling off": {"temperature": 0.0},
}
REFERENCE = ("stories", "modern-stories")  # presets, with 200 steps in the place of 3,100
STORIES = 12  # the seed of the stories of chapter 12: the book's models have read those of seed 0
LEAKS = ("held out", "leaked")
TEXTS = ("Tiny Shakespeare", "TinyStories")  # of each the same number of characters
CHARACTERS = 900_000
TIMED = ("small", "width 256", "layers 6", *REFERENCE, "Tiny Shakespeare", "steps 1,000")


def shakespeare(text: str, folder: Path, tenth: int | None = None) -> Path:
    """The text made ready; tenth: of its training part no more than this tenth."""
    cut = int(len(text) * 0.9)
    part, rest = text[:cut], text[cut:]
    whole = folder / "whole"
    if not whole.exists():
        (folder / "whole.txt").write_text(text, encoding="utf-8")
        prepare([folder / "whole.txt"], whole, split="position")
    if tenth is None:
        return whole
    out, size = folder / f"tenth{tenth}", len(part) // 10
    if not out.exists():
        file = folder / f"tenth{tenth}.txt"
        part = part[size * tenth : size * (tenth + 1)]
        file.write_text(part + rest, encoding="utf-8")
        share, chars = len(rest) / (len(part) + len(rest)), whole / "tokenizer.json"
        prepare([file], out, split="position", validation=share, tokenizer=chars)
    return out


def tales(folder: Path, told: Sequence[Story], held_out: Sequence[Story]) -> Path:
    """Stories made ready with the book's tokenizer, the second ones held out."""
    out, file = folder / f"tales{len(told)}", folder / "tales.txt"
    if not out.exists():
        book_tokenizer().save(folder / "book.json")
        train, held = ("".join(s.text + corpus.END for s in part) for part in (told, held_out))
        file.write_text(train + held, encoding="utf-8")
        prepare(
            [file], out, split="position", validation=len(held) / len(train + held),
            tokenizer=folder / "book.json",
        )  # fmt: skip
    return out


def train(data: Path, folder: Path, seed: int, preset: str = "small", **changes: Any) -> Path:
    """A run by a recipe, with its last weights alone kept."""
    out = folder / f"run {preset} {seed} {' '.join(map(str, changes.values()))} {data.name}"
    changes = {"seed": seed, "device": Machine.device, "save_every": 10**6, **changes}
    if Rehearsal.steps is not None:
        changes |= {"steps": Rehearsal.steps, "batch_size": 2, "eval_batches": 2}
    if not out.exists():
        learn(data, out, preset=preset, log=lambda line: None, **changes)
    return out


def measured(run: Path, data: Path) -> dict[str, Any]:
    """The losses of a run at its end, and what it writes."""
    text, (model, _, _, _) = Prepared.open(data), load(run, "last")
    settings, most = state_of(run)["settings"], few(400)
    told = look(run, data, most)
    a_step = settings["batch_size"] * settings["context_length"]
    found = {
        "parameters": told["parameters"],
        "tokens": a_step * settings["steps"],
        "seconds": read_json(checkpoints(run)[0] / "run.json")["seconds"],
        "train_loss": losses(model, text.train, text.tokenizer, most=most)["loss"],
        "val_loss": told["validation"]["loss"],
        "bits_per_byte": told["validation"]["bits_per_byte"],
        **samples(told),
    }
    kept = ("loss", "floor", "above_floor", "well_formed", "new")
    return found | {name: told["stories"][name] for name in kept if "stories" in told}


def look(run: Path, data: Path, most: int | None, **wish: Any) -> dict[str, Any]:
    """What `gptlib evaluate` says of the last weights."""
    how = {"samples": few(20), "length": few(200, 20), "device": Machine.device}
    return evaluate(run, data, which="last", most=most, **how, **wish)


def samples(told: dict[str, Any]) -> dict[str, Any]:
    """The measures of what was written, and the beginning of the first text."""
    return {name: told["samples"][name] for name in WRITTEN} | {
        "first": told["samples"]["first"][:200]
    }


WRITTEN = ("repetition_4", "distinct_1", "distinct_2", "distinct_3", "novel_8")


def changed(name: str, seed: int, text: str, folder: Path) -> dict[str, Any]:
    """One of the runs on Tiny Shakespeare."""
    changes = dict(RUNS[name])
    data = shakespeare(text, folder, seed if changes.pop("tenth", False) else None)
    return measured(train(data, folder, seed, **changes), data)


def author(name: str, seed: int, text: str, folder: Path) -> dict[str, Any]:
    """What the held-out text has itself: what pairs reach on it, and the measures of writing."""
    data = Prepared.open(shakespeare(text, folder))
    size, asked = few(200, 20), data.validation[: 400 * settings_of("small")["context_length"] + 1]
    starts = range(0, size * few(20), size)
    pieces = [data.validation[i : i + size].tolist() for i in starts]
    return {
        **counting(data.train, asked, data.tokenizer.vocab_size),
        "repetition_4": repetition(pieces), "distinct_3": distinct(pieces, 3),
        "novel_8": novelty(pieces, data.train),
    }  # fmt: skip


def written(name: str, seed: int, text: str, folder: Path) -> dict[str, Any]:
    """What the model of a thousand steps writes by these settings."""
    data = shakespeare(text, folder)
    return samples(look(train(data, folder, seed, **LONG), data, 1, **WRITING[name]))


def few_stories(folder: Path) -> Path:
    """Three thousand stories made ready with the book's tokenizer."""
    data = folder / "stories"
    if not data.exists():
        book_tokenizer().save(folder / "book.json")
        n, known = few(3000, 300), folder / "book.json"
        prepare(["stories"], data, tokenizer=known, stories=n, validation=0.05, seed=STORIES)
    return data


def reference(preset: str, seed: int, folder: Path) -> dict[str, Any]:
    """A run on three thousand stories at a small budget."""
    data = few_stories(folder)
    return measured(train(data, folder, seed, preset, steps=200), data)


def read(name: str, seed: int, folder: Path) -> dict[str, Any]:
    """How much the book's model recites of its own training text."""
    model, data = GPT(CONFIG), folder / "all"
    load_recorded(model, name)
    save_checkpoint(folder / "book", model, tokenizer=book_tokenizer())
    book_tokenizer().save(folder / "book.json")
    n, known = few(30_000, 300), folder / "book.json"
    text = prepare(["stories"], data, tokenizer=known, stories=n, validation=1 / n)
    told = evaluate(folder / "book", data, length=150, most=1, device=Machine.device)
    fresh = [text.tokenizer.encode(story.text) for story in corpus.stories(20, seed=STORIES)]
    return {"novel_8": told["samples"]["novel_8"], "author_novel_8": novelty(fresh, text.train)}


def compared(name: str, seed: int, texts: dict[str, str], folder: Path) -> dict[str, Any]:
    """One recipe on two texts of equal length."""
    data = beginning(name, texts, folder)
    return measured(train(data, folder, seed, "nanogpt-cpu"), data)


def beginning(name: str, texts: dict[str, str], folder: Path) -> Path:
    """The first characters of a text made ready."""
    data, file = folder / name, folder / f"{name}.txt"
    if not data.exists():
        file.write_text(corpus.load(texts[name])[:CHARACTERS], encoding="utf-8")
        prepare([file], data, split="position")
    return data


def timed(name: str, seed: int, text: str, texts: dict[str, str], folder: Path) -> dict[str, float]:
    """What one run of a kind takes of the processor."""
    preset, data, changes = "small", folder / "whole", dict(RUNS.get(name, {}))
    if name in REFERENCE:
        preset, data, changes = name, few_stories(folder), {"steps": 200}
    elif name in TEXTS:
        preset, data = "nanogpt-cpu", beginning(name, texts, folder)
    else:
        shakespeare(text, folder)
    place = folder / "timed"
    place.mkdir(exist_ok=True)
    began = time.process_time()
    settings = state_of(train(data, place, seed, preset, **changes))["settings"]
    took = time.process_time() - began
    a_step = settings["batch_size"] * settings["context_length"]
    return {"seconds": took, "tokens": a_step * settings["steps"]}


def processor() -> str:
    """The name of the processor, as Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def leak(name: str, seed: int, folder: Path) -> dict[str, Any]:
    """Two hundred stories are learned; the forty of the exam are among them, or are not."""
    told = corpus.stories(240)
    data = tales(folder, told if name == "leaked" else told[:200], told[200:])
    run = train(data, folder, seed, "modern-stories", steps=400)
    model, tokenizer, _, _ = load(run, "last")
    exam, fresh = (AnswerKey(part, tokenizer) for part in (told[200:], corpus.stories(40, 1)))
    return {
        "exam": exam.score(model).loss, "floor": exam.floor,
        "fresh": fresh.score(model).loss, "fresh_floor": fresh.floor,
    }  # fmt: skip


def seeds_of(part: str, name: str) -> range:
    """As many as there was time for."""
    if part == "reference":
        return few(range(5))
    return ONE if part in ("author", "read", "writing", "times") else few(SEEDS)


def main() -> None:
    data = {"default": "tinyshakespeare", "help": "name or path of the text"}
    children = {"default": "tinystories", "help": "name or path of TinyStories"}
    args = arguments("capstone", __doc__, data=data, children=children)
    text = corpus.load(args.data)
    texts = dict(zip(TEXTS, (args.data, args.children), strict=True))
    with TemporaryDirectory() as place:
        folder = Path(place)
        parts = (
            ("leak", LEAKS, leak),
            ("reference", REFERENCE, reference),
            ("read", ("stories",), read),
            ("author", TEXTS[:1], partial(author, text=text)),
            ("runs", RUNS, partial(changed, text=text)),
            ("writing", WRITING, partial(written, text=text)),
            ("texts", TEXTS, partial(compared, texts=texts)),
            ("times", TIMED, partial(timed, text=text, texts=texts)),
        )
        jobs: dict[tuple[str, ...], Any] = {
            (part, name, str(seed)): partial(run, name, seed, folder=folder)
            for part, names, run in parts
            for name in names
            for seed in seeds_of(part, name)
        }
        units = "loss, floor: nats per token; shares from 0 to 1; times: of one processor core"
        fill(args, begin(args), jobs, said, units=units, processor=processor())


def said(found: dict[str, Any]) -> str:
    """One number of what was found."""
    name = next(
        name
        for name in ("exam", "val_loss", "bigram", "repetition_4", "novel_8", "seconds")
        if name in found
    )
    return f"{name} {found[name]:.4f}"


if __name__ == "__main__":
    main()

"""What the recording scripts share: the command line, the stories and their exam, the record.

No claim of its own. A record is data/runs/<script>.json; it grows run by run and is written whole
after each, so that nothing is lost where a script is stopped.

With --steps a script only rehearses: every line of it runs, on few stories and for so many steps,
and the record goes to a file of its own. What is to be small then asks `few` and `shortened`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import date
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

import torch
from torch import nn

from gptlib import corpus
from gptlib.corpus.scoring import AnswerKey, Score, story_starts
from gptlib.given.files import write_text
from gptlib.given.folders import is_saved
from gptlib.gpt import GPTConfig
from gptlib.tokenizer import BPETokenizer
from gptlib.training import Evaluate, History, TrainConfig, train

ROOT = Path(__file__).resolve().parent.parent
RUNS = ROOT / "data" / "runs"
CHECKPOINTS = ROOT / "runs"
CONFIG = GPTConfig.preset("stories")
TALES = GPTConfig.preset("stories", context_length=448)  # a tale of the second volume, whole
EDGES = [32, 128]  # tokens back: near, farther, far
UNITS = "loss, floor: nats per token; skills: share of labels right; seconds: training"
Many = TypeVar("Many", int, tuple, list, range)
Way = tuple[str, ...]  # to a place in a record: ("seeds", "0") -> record["seeds"]["0"]

# The command line --------------------------------------------------------------------------------


def arguments(
    script: str, doc: str, names: Collection[str] = (), resume: bool = True, **options: dict
) -> argparse.Namespace:
    """Read the command line of experiments/<script>.py, and give torch its threads.

    doc: the script's docstring, its first line is shown. names: the runs that can be asked for by
    name. resume: whether the record has parts to keep. options: more of them, each with what
    `add_argument` takes.
    """

    def name_of_a_run(word: str) -> str:
        if word not in names:
            raise argparse.ArgumentTypeError(f"no run {word!r}: choose from {', '.join(names)}")
        return word

    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.set_defaults(command=f"python experiments/{script}.py", names=[], resume=False)
    if names:
        listed = f"only these, of {', '.join(names)}"
        parser.add_argument("names", nargs="*", metavar="run", type=name_of_a_run, help=listed)
    if resume:
        kept = "keep what is recorded already"
        parser.add_argument("--resume", action="store_true", help=kept)
    for option, settings in options.items():
        parser.add_argument(f"--{option}", **settings)
    parser.add_argument("--out", type=Path, default=RUNS / f"{script}.json")
    quick = "one is quicker on a busy machine"
    parser.add_argument("--threads", type=int, default=2, help=quick)
    at_once = "so many runs at once, a process with one thread for each"
    parser.add_argument("--workers", type=int, default=1, help=at_once)
    parser.add_argument("--device", default="cpu", help="where to train: cpu, cuda or mps")
    rehearse = "only rehearse: so many steps of each run on a few stories; needs --out"
    parser.add_argument("--steps", type=int, help=rehearse)
    args = parser.parse_args()
    if args.steps is not None:
        if args.steps < 1:
            parser.error(f"--steps must be 1 or more; got {args.steps}")
        if args.out.resolve().is_relative_to(RUNS):
            parser.error("--steps writes no record of the book: name a file elsewhere with --out")
        args.command += f" --steps {args.steps}"
    Rehearsal.steps = args.steps
    Machine.device = args.device
    if args.device != "cpu":
        args.command += f" --device {args.device}"
    torch.set_num_threads(args.threads if args.workers == 1 else 1)
    return args


class Rehearsal:
    """Whether this is one, and of how many steps: `arguments` says so for the whole script."""

    steps: int | None = None


class Machine:
    """Where the runs are trained: `arguments` says so for the whole script. And what is to do."""

    device: str = "cpu"
    jobs: ClassVar[dict[Way, Callable[[], Any]]] = {}


def few(many: Many, enough: int = 2) -> Many:
    """A number, or things in a row; in a rehearsal at most so many, or the first so many."""
    if Rehearsal.steps is None:
        return many
    return min(many, enough) if isinstance(many, int) else many[:enough]


def shortened(config: TrainConfig) -> TrainConfig:
    """The recipe; in a rehearsal that of a few steps."""
    if Rehearsal.steps is None:
        return config
    ends = {"steps": Rehearsal.steps, "eval_every": Rehearsal.steps, "warmup_steps": None}
    return replace(config, batch_size=2, eval_batches=2, **ends)


# The stories and their exam ----------------------------------------------------------------------


class Prepared(NamedTuple):
    """The tokenizer, the training ids (N), where windows may begin, and unseen stories as key."""

    tokenizer: BPETokenizer
    ids: torch.Tensor
    starts: torch.Tensor
    key: AnswerKey


def prepare(n_exam: int = 400, volume: int = 1) -> Prepared:
    """What a run on the stories of a volume needs: 30,000 to learn from, n_exam others as key."""
    tokenizer = tokenizer_of(few(3000, 300), volume)
    ids = encode(tokenizer, corpus.load("stories", n=few(30_000, 300), volume=volume))
    starts = story_starts(ids, tokenizer, (CONFIG if volume == 1 else TALES).context_length)
    exam_stories = corpus.stories(few(n_exam, 30), seed=1, volume=volume)
    return Prepared(tokenizer, ids, starts, AnswerKey(exam_stories, tokenizer))


def book_tokenizer() -> BPETokenizer:
    """The tokenizer of the book's models."""
    return tokenizer_of(few(3000, 300))


@cache
def tokenizer_of(n: int, volume: int = 1) -> BPETokenizer:
    """The tokenizer that n stories of a volume make."""
    text = corpus.load("stories", n=n, volume=volume)
    return BPETokenizer.train(text, CONFIG.vocab_size, special_tokens=[corpus.END])


def encode(tokenizer: BPETokenizer, text: str) -> torch.Tensor:
    """The ids of stories, an END before the first of them: (N)."""
    ids = tokenizer.to_tiktoken().encode(corpus.END + text, allowed_special="all")
    return torch.tensor(ids)


def exam(key: AnswerKey) -> Evaluate:
    """What `train` calls to have a model scored: its loss, and the accuracy of each skill."""

    def evaluate(model: nn.Module) -> dict[str, Any]:
        score = key.score(model)
        return {"val_loss": score.loss, "skills": score.skills}

    return evaluate


def learn(
    build: Callable[[], nn.Module],
    prepared: Prepared,
    config: TrainConfig,
    evaluate: Evaluate | None = None,
    checkpoint: Path | None = None,
) -> tuple[nn.Module, History]:
    """Build a model and train it on the stories, both from the seed of the config.

    evaluate: the exam, if nothing else is given. checkpoint: a folder that the run is kept in;
    where it is there already, the run goes on from it. A rehearsal keeps none.
    """
    config = replace(shortened(config), device=Machine.device)
    if Rehearsal.steps is not None:
        checkpoint = None
    torch.manual_seed(config.seed)
    model = build()
    if checkpoint is not None:
        checkpoint.parent.mkdir(exist_ok=True)
    history = train(
        model, prepared.ids, None, config, starts=prepared.starts, progress=False,
        evaluate=evaluate or exam(prepared.key), checkpoint=checkpoint,
        resume=checkpoint if checkpoint is not None and is_saved(checkpoint) else None,
    )  # fmt: skip
    return model, history


def above_floor(history: History, key: AnswerKey) -> float:
    """How far the last loss lies above the floor, as a share of the floor."""
    return history[-1]["val_loss"] / key.floor - 1


def columns(history: History, key: AnswerKey) -> dict[str, Any]:
    """A run as columns: the loss at each evaluation, and where and when the run ended."""
    return {
        "step": history.column("step"),
        "loss": history.column("val_loss"),
        "above_floor": above_floor(history, key),
        "seconds": history[-1]["seconds"],
    }


def points(history: History, key: AnswerKey, *more: str) -> dict[str, Any]:
    """A run as points: loss, skills and more at each evaluation, beside the floor."""
    curve = [
        {
            "loss": point["val_loss"],
            "skills": point["skills"],
            **{name: point[name] for name in more},
        }
        for point in history
    ]
    return {"floor": key.floor, "above_floor": above_floor(history, key), "curve": curve}


def by_distance(score: Score) -> dict[str, list[list[float]]]:
    """Of each skill near, farther and far: the share that is right, and the number of places."""
    return {
        skill: [list(part) if part[1] else [0, 0] for part in score.by_distance(skill, EDGES)]
        for skill in score.skills
    }


# The record --------------------------------------------------------------------------------------


def begin(args: argparse.Namespace) -> dict[str, Any]:
    """The record to go on with: the old one where it is resumed or only some runs are named."""
    return load(args.out) if args.resume or args.names else {}


def fill(
    args: argparse.Namespace,
    record: dict[str, Any],
    jobs: dict[Way, Callable[[], Any]],
    say: Callable[[Any], str],
    **about: Any,
) -> None:
    """Do each job that is not to be kept, save the record after it, and say how it went."""

    def place_of(way: Way) -> dict[str, Any]:
        place = record
        for key in way[:-1]:
            place = place.setdefault(key, {})
        return place

    wanted = {
        way: job for way, job in jobs.items() if not (args.resume and way[-1] in place_of(way))
    }
    for way, result in results(wanted, args.workers):
        place_of(way)[way[-1]] = result
        save(args, record, **about)
        print(f"{' '.join(way)}: {say(result)}", flush=True)


def results(jobs: dict[Way, Callable[[], Any]], workers: int) -> Iterator[tuple[Way, Any]]:
    """What comes of each job, in their order; with workers above 1, so many are at work at once."""
    if workers == 1:
        for way, job in jobs.items():
            yield way, job()
        return
    Machine.jobs = jobs  # the workers are forked with it: what is prepared is there, uncopied
    # One thread each: a fork of a process whose threads have computed waits for them for ever.
    one = {"initializer": torch.set_num_threads, "initargs": (1,)}
    with ProcessPoolExecutor(workers, get_context("fork"), **one) as pool:
        yield from zip(jobs, pool.map(do, jobs), strict=True)


def do(way: Way) -> Any:
    """Do one of the jobs, in a worker."""
    return Machine.jobs[way]()


def record_each(
    script: str, doc: str, part: str, run: Callable[[Any, Prepared], dict], things: Iterable[Any]
) -> None:
    """A whole script: one run on the stories for each thing, in the named part of the record."""
    args = arguments(script, doc)
    prepared = prepare()
    record = begin(args) | {"floor": prepared.key.floor}
    jobs = {(part, str(thing)): partial(run, thing, prepared) for thing in things}
    fill(args, record, jobs, distance, units=UNITS)


def distance(result: dict[str, Any]) -> str:
    """What most scripts say of a run that has ended."""
    return f"{result['above_floor']:.1%} above the floor"


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


def save(args: argparse.Namespace, record: dict[str, Any], **about: Any) -> None:
    """Write the record with a note that says what made it; lists of numbers stay on one line."""
    record["about"] = {
        "date": date.today().isoformat(),
        "command": args.command,
        "torch": torch.__version__.split("+")[0],
        "python": platform.python_version(),
        "cpu_threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name() if Machine.device == "cuda" else Machine.device,
        **about,
    }
    text = json.dumps(rounded(record), indent=1)
    text = re.sub(r'\[[^\[\]{}"]*\]', lambda found: " ".join(found[0].split()), text)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(args.out, text + "\n")

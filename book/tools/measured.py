"""The page of measurements: its tables and figures, written from benchmarks/results.

One section is of recorded runs, from data/runs.

    .venv/bin/python book/tools/measured.py     # after a benchmark has kept new figures

The page stores them as plain Markdown between two marks, so that JupyterLab shows them, too. A test
holds the page to the records: no figure in it is typed by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

from chapterfiles import ROOT

PAGE = Path("book", "benchmarks.md")
BLOCK = re.compile(
    r"(<!-- From (?:benchmarks/results|data/runs)/(\w+)\.json\. -->\n).*?"
    r"(<!-- End of what was measured\. -->)",
    flags=re.DOTALL,
)
BESIDE = {"speed": ("seeds", "page_training")}  # records that a section quotes, too
NAMES = {
    "ours": "ours",
    "ours_again": "ours, words known",
    "ours_cached": "ours, cache",
    "ours_tiktoken": "ours as a tiktoken encoding",
    "tiktoken": "tiktoken, GPT-2's pattern",
    "hf_tokenizers": "HF tokenizers",
    "nanogpt": "nanoGPT",
    "same_optimizer": "our model, nanoGPT's optimiser",
    "transformers": "Transformers",
    "transformers_cached": "Transformers, cache",
    "nanogpt-cpu": "nanoGPT's recipe for a laptop",
    "gpt2-small": "GPT-2 small",
    "stories": "the book's model",
}


def named(name: str) -> str:
    """What a reader calls a run.

    >>> named("ours_cached")
    'ours, cache'
    """
    return NAMES.get(name, name)


def table(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table in Markdown; numbers to the right.

    >>> print(table(["who", "ms"], [["ours", 1]]))
    | who | ms |
    | --- | ---: |
    | ours | 1 |
    """
    lines = [list(head), *([str(cell) for cell in row] for row in rows)]
    rule = ["---", *["---:"] * (len(lines[0]) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


def when(record: dict[str, Any]) -> str:
    """The day, the machine and the versions of a record, in one line.

    >>> when({"date": "2026-11-20", "versions": {"torch": "2.13.0", "threads": 1}})
    'Measured on 2026-11-20, one thread, with torch 2.13.0.'
    """
    versions, machine = dict(record["versions"]), record.get("machine", {})
    threads = versions.pop("threads", machine.get("threads_used"))
    processor = versions.pop("gpu", versions.pop("machine", machine.get("cpu")))
    words = [f"Measured on {record['date']}"]
    words += [processor] if processor else []
    words += ["one thread"] if threads == 1 else []
    words += [f"{machine['cores']} cores"] if machine and threads is None else []
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"{', '.join(words)}, with {listed}."


def verdict(reached: bool, goal: str) -> str:
    """Whether a goal was reached.

    >>> verdict(False, "ten times")
    'The goal, ten times, is missed.'
    """
    return f"The goal, {goal}, is {'reached' if reached else 'missed'}."


# One section each --------------------------------------------------------------------------------


def bpe_train(record: dict[str, Any]) -> str:
    """Seconds to learn merges."""
    whole, part = record["whole_text"], record["slice"]
    rows = [
        [named(name), whole["seconds"].get(name, "–"), part["seconds"][name]]
        for name in part["seconds"]
    ]
    head = ["seconds", f"{whole['characters']:,} characters", f"{part['characters']:,}"]
    ratio, slice_ratio = (one["ratio_ours_over"] for one in (whole, part))
    return (
        f"{table(head, rows)}\n\n"
        f"On the whole text ours takes {ratio['hf_tokenizers']} times as long as HF tokenizers, "
        f"which are compiled. {verdict(ratio['hf_tokenizers'] <= 2, 'at most twice')} On the slice "
        f"it takes {slice_ratio['minbpe']} of minbpe's time."
    )


def bpe_encode(record: dict[str, Any]) -> str:
    """Seconds to encode, and the memory of learning and encoding."""
    python, compiled, mb = record["python"], record["compiled"], record["memory_mb"]
    rows = [
        [named(name), seconds, one[f"times_{first}"].get(name, 1)]
        for one, first in ((python, "ours"), (compiled, "ours_tiktoken"))
        for name, seconds in one["cpu_seconds"].items()
    ]
    times = python["times_ours"]["minbpe"]
    memory = [
        [named(name), *(mb[what].get(name, "–") for what in ("encode", "train", "train_slice"))]
        for name in dict.fromkeys([*mb["encode"], *mb["train"]])
    ]
    slice_ = f"learning, {record['slice']:,} characters"
    return (
        f"{table(['encoding', 'seconds', 'times ours'], rows)}\n\n"
        f"The first three are Python, the others compiled, and each group is compared with its "
        f"first. minbpe takes {times} times as long as ours on a text that ours has not met. "
        f"{verdict(times >= record['target'], 'ten times')} Where it has met the words it is "
        f"{times / python['times_ours']['ours_again']:.1f} times: what is missing is spent on "
        f"words that are new. What was tried stands in `benchmarks/README.md`.\n\n"
        f"{table(['MB added', 'encoding', 'learning', slice_], memory)}"
    )


def step_time(record: dict[str, Any]) -> str:
    """Milliseconds of a training step."""
    rows = [[named(n), record[f"{n}_ms"]] for n in ("ours", "same_optimizer", "nanogpt")]
    ratio, (low, high) = record["ratio"], record["ratio_middle_half"]
    return (
        f"{table(['a training step', 'ms'], rows)}\n\n"
        f"Ours takes {ratio} of nanoGPT's time (the middle half of {record['rounds']} rounds: "
        f"{low} to {high}), and {record['ratio_same_optimizer']} with the same optimiser. "
        f"{verdict(ratio <= record['target'], 'at most its time')}"
    )


def speed(record: dict[str, Any]) -> str:
    """How near the floor of the stories runs come in what share of the book's time."""
    slow, page = record["beside"]
    book, ratio = list(slow["seeds"].values()), record["step"]["ratio"]
    whole = book[0]["step"][-1]
    tried: list[tuple[str, int, float, list[dict[str, Any]]]] = [
        ("the book's recipe", whole, 1.0, book)
    ]
    for rate, by_seed in record["runs"]["muon"].items():
        runs = list(by_seed.values())
        steps = runs[0]["step"][-1]
        tried.append((f"Muon at {rate}, the rest as it is", steps, ratio * steps / whole, runs))
    quick = [run for run in page["runs"] if "quick" in run["name"]]
    steps = quick[0]["steps"]
    tried.append(("the page's quick recipe", steps, ratio * steps / whole, quick))
    for name, by_steps in record.get("whole", {}).items():
        for steps, by_seed in by_steps.items():
            spent = [
                one["seconds"] / record["whole"]["adamw"][str(whole)][seed]["seconds"]
                for seed, one in by_seed.items()
            ]
            title = f"the {'book' if name == 'adamw' else 'page'}'s, by the processor's time"
            tried.append((title, int(steps), median(spent), list(by_seed.values())))
    rows, near = [], []
    for title, steps, share, runs in tried:
        ends = sorted(run["above_floor"] for run in runs)
        span = " to ".join(dict.fromkeys(f"{end:.1%}" for end in (ends[0], ends[-1])))
        rows.append([title, len(runs), f"{steps:,}", f"{share:.1%}", span])
        near += [share] if median(ends) <= 0.03 else []
    head = ["run", "seeds", "steps", "share of the time", "above the floor"]
    return (
        f"The goal: 3% above the floor, where the book's recipe ends, in at most a third of its "
        f"time. A step of Muon takes {ratio} times as long as one of AdamW.\n\n{table(head, rows)}"
        f"\n\n{verdict(min(near) <= 1 / 3, '3% in a third of the time')} Of these runs the middle "
        f"seed is that near from {min(near):.0%} of the time on."
    )


def generation(record: dict[str, Any]) -> str:
    """Tokens a second, and what a token costs."""
    lengths = record["by_length"]
    names = list(next(iter(lengths.values()))["tokens_per_second"])
    speeds = [[named(n), *(one["tokens_per_second"][n] for one in lengths.values())] for n in names]
    costs = [[named(n), *(one[n] for one in record["ms_per_token"].values())] for n in names]
    longest, last = list(lengths.items())[-1]
    times = last["times_ours_cached"]
    others = [f"{named(name)} {ratio}" for name, ratio in times.items()]
    return (
        f"{table(['tokens a second', *(f'to {n} tokens' for n in lengths)], speeds)}\n\n"
        f"To {longest} tokens, each in times of ours with the cache: {', '.join(others)}. From one "
        f"length to the next, a token costs:\n\n"
        f"{table(['ms a token', *record['ms_per_token']], costs)}\n\n"
        f"To write {longest} tokens added to what a process held, at the most: "
        f"{', '.join(f'{named(n)} {mb} MB' for n, mb in record['memory_mb'].items())}."
    )


def memory(record: dict[str, Any]) -> str:
    """MB of training."""
    rows = [
        [named(size), one["mb"]["ours"], one["mb"]["nanogpt"], one["ratio"], one["formula_mb"]]
        for size, one in record["sizes"].items()
    ]
    reached = all(one["ratio"] <= record["target"] for one in record["sizes"].values())
    return (
        f"{table(['training, MB added', 'ours', 'nanoGPT', 'ratio', 'by our formula'], rows)}\n\n"
        f"Processes of each: {record['rounds']}. {verdict(reached, 'at most as much as nanoGPT')}"
    )


def int8(record: dict[str, Any]) -> str:
    """What int8 brings and costs."""
    exam, speed = record["exam"], record["speed"]
    size = exam["file_bytes"]
    rows = []
    for name, loss in exam["loss"].items():
        worst = min(exam["skills"][name], key=exam["skills"][name].get)
        lost = [
            exam["skills"]["float32"][skill] - share
            for skill, share in exam["skills"][name].items()
        ]
        rows.append(
            [name, loss, f"{exam['above_floor'][name]:.2%}",
             f"{worst} {exam['skills'][name][worst]}", f"{max(lost):.4f}"]
        )  # fmt: skip
    names = list(next(iter(speed.values()))["tokens_per_second"])
    speeds = [
        [n, *(cell for one in speed.values()
              for cell in (one["tokens_per_second"][n], one["times_float32"].get(n, 1)))]
        for n in names
    ]  # fmt: skip
    columns = ["weights", "loss", "above the floor", "weakest skill", "most a skill lost"]
    head = [cell for s in speed for cell in (f"{named(s)}, tokens a second", "time of float32's")]
    return (
        f"The file of the book's model has {size['float32']:,} bytes in float32, "
        f"{size['float16']:,} in float16 and {size['int8']:,} in int8, its tokenizer included. At "
        f"the exam of {exam['stories']} stories, whose floor is {exam['floor']} nats per token:\n\n"
        f"{table(columns, rows)}"
        f"\n\n{table(['writing with the cache', *head], speeds)}"
    )


def gpu_step(record: dict[str, Any]) -> str:
    """Tokens a second of GPT-2 small on a GPU."""
    rows = [
        [named(name), f"{one['tokens_a_second']:,}", f"{one['utilisation']:.1%}"]
        for name, one in record.items()
        if isinstance(one, dict) and "utilisation" in one
    ]
    times, (low, high) = record["ours"]["times_nanogpt"], record["ours"]["middle_half"]
    return (
        f"{table(['training', 'tokens a second', 'of the rate of a large product'], rows)}\n\n"
        f"Ours takes {times} times nanoGPT's tokens in the same time (the middle half of "
        f"{record['rounds']} rounds: {low} to {high}). {verdict(times >= 1.1, '1.1 times')}"
    )


def speedrun(record: dict[str, Any]) -> str:
    """How far entries of the speedrun come, in what share of nanoGPT's time."""
    peer, entries = record["nanogpt"], record["entries"]
    rows = [
        [name, f"{one['goal']['loss']} in {100 * one['goal']['share']:g}%", one["worst_loss"],
         f"{one['worst_share']:.1%}", record["memory_mb"][name]]
        for name, one in entries.items()
    ]  # fmt: skip
    missed = [name for name, one in entries.items() if not one["reached"]]
    return (
        f"nanoGPT's {peer['steps']:,} steps took {peer['seconds']} seconds and ended at "
        f"{peer['loss']} nats a character. Of each entry the worst of its seeds:\n\n"
        f"{table(['entry', 'goal', 'loss', 'share of that time', 'MB added'], rows)}\n\n"
        f"nanoGPT's training added {record['memory_mb']['nanogpt']} MB to what its process "
        f"held, at the most. "
        f"{'Goals missed: ' + ', '.join(missed) if missed else 'Every goal is reached'}."
    )


def grading(record: dict[str, Any]) -> str:
    """Seconds of the clock to mark a submission."""
    seconds = {"ours": record["ours_s"], "nbgrader": record["nbgrader_s"]}
    whole = [round(each * record["submissions"]) for each in seconds.values()]
    same = "Both gave" if record["same"] else "They did not give"
    return (
        f"{table(['marking', 'seconds a submission'], ([named(n), s] for n, s in seconds.items()))}"
        f"\n\n{record['submissions']} submissions of chapter {record['chapter']}, {whole[0]} and "
        f"{whole[1]} seconds in all: nbgrader takes {record['ratio']} times as long. {same} the "
        f"same marks. {verdict(record['ratio'] > 1, 'less time than nbgrader')}"
    )


SECTIONS: dict[str, Callable[[dict[str, Any]], str]] = {
    one.__name__: one
    for one in (
        bpe_train,
        bpe_encode,
        step_time,
        gpu_step,
        speedrun,
        speed,
        generation,
        memory,
        int8,
        grading,
    )
}


def place(name: str, root: Path = ROOT) -> Path:
    """Where a record lies: a measurement, or runs that are recorded."""
    kept = root / "benchmarks" / "results" / f"{name}.json"
    return kept if kept.is_file() else root / "data" / "runs" / f"{name}.json"


def read(name: str, root: Path = ROOT) -> dict[str, Any]:
    """A record, with its day and versions as the measurements have them, and those beside it."""
    record = json.loads(place(name, root).read_text(encoding="utf-8"))
    if about := record.pop("about", None):
        versions = {key: about[key] for key in ("python", "torch")}
        record |= {"date": about["date"], "versions": {"threads": about["cpu_threads"], **versions}}
    return record | {"beside": [read(other, root) for other in BESIDE.get(name, ())]}


def written(page: str, root: Path = ROOT) -> str:
    """The page with every block between two marks written anew from its record."""

    def block(found: re.Match[str]) -> str:
        record = read(found[2], root)
        return f"{found[1]}\n{SECTIONS[found[2]](record)}\n\n{when(record)}\n\n{found[3]}"

    return BLOCK.sub(block, page)


def main() -> None:
    """Write the page."""
    path = ROOT / PAGE
    path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()

"""Write with a run at a console: it asks for a start text and how to go on, until you leave."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

EXAMPLE = "gptlib chat runs/book"
LEAVE = ("exit", "quit", "leave", "bye")
HELP = "Leave: exit. What was written: history. Go on with the last text: +. Enter keeps [a value]."
SHOWN = 20  # texts of the history, the last ones


def add_words(parser: argparse.ArgumentParser) -> None:
    """What the verb understands."""
    parser.add_argument("model", nargs="?", metavar="RUN", help="a run, or one of its checkpoints")
    parser.add_argument("--length", type=int, default=50, help="the first length offered")
    parser.add_argument("--seed", type=int, help="the same answers, the same texts")
    parser.add_argument(
        "--history", action=argparse.BooleanOptionalAction, default=True,
        help="keep what is written in the run's folder, in chat.jsonl, for the next time",
    )  # fmt: skip
    parser.add_argument("--checkpoint", default="best", help="best, last, or a step")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")


class Left(Exception):
    """Somebody wants to leave."""


@dataclass
class Console:
    """The questions, with what was answered last as what is offered next."""

    ask: Callable[[str], str]
    say: Callable[[str], Any]
    offered: dict[str, Any] = field(default_factory=dict)

    def words(self, question: str) -> str:
        """An answer. Errors: Left for one of LEAVE, and at the end of the input."""
        try:
            answer = self.ask(question)
        except EOFError:
            raise Left from None
        if answer.strip().lower() in LEAVE:
            raise Left
        return answer

    def number(self, name: str, low: float, high: float, kind: type = int) -> Any:
        """A number in its range; what is none is asked for again."""
        while True:
            answer = self.words(f"{name}, {low} to {high} [{self.offered[name]}]: ").strip()
            value = None
            with suppress(ValueError):
                value = kind(answer.replace(",", ".")) if answer else self.offered[name]
            if value is not None and low <= value <= high:
                self.offered[name] = value
                return value
            self.say(f"{answer!r} is no {'whole ' * (kind is int)}number from {low} to {high}.\n")

    def yes(self, name: str) -> bool:
        """Yes or no."""
        known = {"y": True, "yes": True, "n": False, "no": False}
        while True:
            offered = "yes" if self.offered[name] else "no"
            answer = self.words(f"{name}, yes or no [{offered}]: ").strip().lower()
            if not answer or answer in known:
                self.offered[name] = known.get(answer, self.offered[name])
                return self.offered[name]
            self.say(f"{answer!r} is neither yes nor no.\n")


def run(told: argparse.Namespace) -> str:
    """Ask and write until somebody leaves."""
    from gptlib.engine.conversation import Conversation, place_of
    from gptlib.engine.writer import Writer

    if not told.model:
        raise ValueError(f"name a run: {EXAMPLE}")
    writer = Writer(told.model, told.checkpoint, told.device)
    kept = Conversation(place_of(told.model) if told.history else None)
    with suppress(ImportError):
        import readline  # noqa: F401 # arrows bring back what was typed
    return talk(writer, Console(input, say), told.length, told.seed, kept)


def say(text: str) -> None:
    """A piece of text at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def talk(
    writer: Any, console: Console, length: int = 50, seed: int | None = None, kept: Any = None
) -> str:
    """The conversation; what is said when it ends. kept: the Conversation of all sessions."""
    from gptlib.engine.conversation import Conversation
    from gptlib.engine.writer import Wish

    kept = Conversation() if kept is None else kept
    console.offered = {"length": length, "temperature": 0.8, "top-k": 50, "sampling": True}
    console.say(f"{HELP}\n")
    if kept.texts:
        console.say(f"{len(kept.texts)} texts of earlier sessions are in the history.\n")
    written = 0
    try:
        while True:
            while kept.faults:
                console.say(f"{kept.faults.pop(0)}\n")
            prompt = console.words("\nstart text: ")
            if prompt.strip() == "history":
                console.say("\n---\n".join(kept.texts[-SHOWN:] or ["Nothing yet."]) + "\n")
                continue
            if prompt.strip() == "+":
                prompt = kept.texts[-1] if kept.texts else ""
            try:
                writer.start(prompt)
            except ValueError as error:
                console.say(f"{error}\n")
                continue
            wish = Wish(console.number("length", 1, 10_000), seed=seed)
            if console.yes("sampling"):
                wish.temperature = console.number("temperature", 0.1, 1.5, float)
                wish.top_k = console.number("top-k", 10, 100)
            else:
                wish.sampling = False
            text = _write(writer, console, prompt, wish)
            kept.add(text, prompt=prompt, checkpoint=writer.folder.name, **vars(wish))
            written += 1
    except Left:
        while kept.faults:
            console.say(f"{kept.faults.pop(0)}\n")
        return f"{written} texts written."


def _write(writer: Any, console: Console, prompt: str, wish: Any) -> str:
    """Write one text piece by piece; Ctrl-C ends this text alone."""
    text, began = prompt, time.perf_counter()
    console.say(prompt)
    try:
        for piece in writer.stream(prompt, wish):
            text += piece
            console.say(piece)
    except KeyboardInterrupt:
        console.say(" …")
    rate = writer.tokens / (time.perf_counter() - began)
    console.say(f"\n({writer.tokens} tokens, {rate:,.0f} tokens/s)\n")
    return text

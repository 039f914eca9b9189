"""The verbs of the command `gptlib`, and what is said of a user's mistake."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import ModuleType

from gptlib import __version__
from gptlib.cli import (
    chat,
    completion,
    evaluate,
    export,
    generate,
    info,
    prepare,
    progress,
    train,
)
from gptlib.cli.words import add_config, as_toml, options, understood

VERBS: dict[str, ModuleType] = {
    "prepare": prepare, "train": train, "generate": generate, "chat": chat, "evaluate": evaluate,
    "export": export, "info": info, "progress": progress, "completion": completion,
}  # fmt: skip


def parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The command's parser, and by name that of each verb."""
    parser = argparse.ArgumentParser(prog="gptlib", description="A GPT, built step by step.")
    parser.add_argument("--version", action="version", version=f"gptlib {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
    found = {}
    for name, verb in VERBS.items():
        says = (verb.__doc__ or "").strip().splitlines()[0]
        example = getattr(verb, "EXAMPLE", None)
        found[name] = verbs.add_parser(
            name,
            help=says,
            description=says,
            epilog=example and f"For example: {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb.add_words(found[name])
        if example:
            add_config(found[name])
    return parser, found


def complain(verb: str, error: BaseException, said: str) -> None:
    """Say what went wrong, unless another process of the run does."""
    if not getattr(error, "told", False):
        rank = os.environ.get("RANK", "0")  # of several that torchrun has started
        who = f"gptlib {verb}" if rank == "0" else f"gptlib {verb}, rank {rank}"
        print(f"{who}: {said}", file=sys.stderr, flush=True)


def main(words: Sequence[str] | None = None) -> int:
    """Do what the command line asks; the exit status.

    A user's mistake is one line, and 2; a run that a signal stopped ends with 128 and its number.
    """
    parser, verbs = parsers()
    given = sys.argv[1:] if words is None else words
    verb = given[0] if given else ""
    try:
        told = understood(parser, verbs, given)
        told.parsers = verbs  # of which completion tells
        if getattr(told, "print_config", False):
            settings = getattr(VERBS[told.verb], "settings", vars)(told)
            said = as_toml({name: settings.get(name) for name in options(verbs[told.verb])})
        else:
            said = VERBS[told.verb].run(told)
    except (OSError, ValueError, FloatingPointError) as error:
        complain(verb, error, str(error))
        return getattr(error, "status", 2)
    except KeyboardInterrupt as stopped:  # with what to do next, where a run has said so
        complain(verb, stopped, str(stopped) or "stopped.")
        return 128 + int(getattr(stopped, "signal", 2))
    with suppress(BrokenPipeError):  # who reads it has had enough
        if said:
            print(said, flush=True)
    return 0


if __name__ == "__main__":  # torchrun -m gptlib.cli.main
    sys.exit(main())

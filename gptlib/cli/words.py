"""Settings from a TOML file, which the words on the command line override."""

from __future__ import annotations

import argparse
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

OWN = ("help", "config", "print_config")  # words that are no settings


class PrintConfig(argparse.Action):
    """A switch after which a verb's plain words may be missing: nothing is done with them."""

    def __call__(self, parser: Any, told: Any, values: Any, option_string: Any = None) -> None:
        setattr(told, self.dest, True)
        for action in parser._actions:
            action.required = False


def add_config(parser: argparse.ArgumentParser) -> None:
    """The two words that every verb with settings has."""
    group = parser.add_argument_group("settings from a file")
    group.add_argument("--config", metavar="FILE", help="a TOML file; words given here override it")
    group.add_argument(
        "--print-config", action=PrintConfig, nargs=0, default=False,
        help="print the settings as such a file, do nothing",
    )  # fmt: skip


def options(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """The settings of a verb by the names that they have in a file: its words with two dashes."""
    found = {action.dest: action for action in parser._actions if action.option_strings}
    return {name: action for name, action in found.items() if name not in OWN}


def from_file(parser: argparse.ArgumentParser, path: str) -> dict[str, Any]:
    """The settings in a TOML file, each as if it had been given on the command line.

    Errors: ValueError names the file and what in it is not understood.
    """
    try:
        told = tomllib.loads(Path(path).expanduser().read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not TOML: {error}") from None
    known, found = options(parser), {}
    for name, value in told.items():
        if name not in known:
            near = ", ".join(sorted(known))
            raise ValueError(f"{path} has {name!r}, which is no setting here; there are {near}.")
        found[name] = _value(path, known[name], value)
    return found


def _value(path: str, action: argparse.Action, value: Any) -> Any:
    """A value of the file, of the kind that the word takes."""
    kind, switch = action.type or str, action.nargs == 0
    switch |= isinstance(action, argparse.BooleanOptionalAction)
    wanted = bool if switch else kind
    if wanted is float and type(value) is int:
        value = float(value)
    if not isinstance(wanted, type) or type(value) is not wanted:
        name = getattr(wanted, "__name__", "text")
        raise ValueError(f"{path}: {action.dest} must be of the kind {name}; got {value!r}.")
    if action.choices is not None and value not in action.choices:
        raise ValueError(
            f"{path}: {action.dest} must be one of {', '.join(map(str, action.choices))}; got "
            f"{value!r}."
        )
    return value


def as_toml(settings: dict[str, Any]) -> str:
    """Settings as a TOML file; what is None is left out.

    as_toml({"steps": 100, "device": "cpu", "out": None}) -> 'steps = 100\\ndevice = "cpu"'
    """
    lines = []
    for name, value in settings.items():
        if value is not None:
            text = json.dumps(value, ensure_ascii=False) if isinstance(value, str | bool) else value
            lines.append(f"{name} = {text}")
    return "\n".join(lines)


def understood(
    parser: argparse.ArgumentParser, verbs: dict[str, argparse.ArgumentParser], words: Sequence[str]
) -> argparse.Namespace:
    """What a command line says, with the settings of the file that `--config` names below it."""
    told = parser.parse_args(words)
    if getattr(told, "config", None):
        verb = verbs[told.verb]
        verb.set_defaults(**from_file(verb, told.config))
        told = parser.parse_args(words)
    return told

"""Print what makes a shell complete the command's words: bash, zsh or fish."""

from __future__ import annotations

import argparse

EXAMPLE = 'eval "$(gptlib completion bash)"'
SHELLS = ("bash", "zsh", "fish")


def add_words(parser: argparse.ArgumentParser) -> None:
    """What the verb understands."""
    parser.add_argument("shell", nargs="?", choices=SHELLS, help="the shell that you use")


def run(told: argparse.Namespace) -> str:
    """The script for one shell, made from the verb table: told.parsers, a parser for each verb."""
    if told.shell is None:
        raise ValueError(f"name one of {', '.join(SHELLS)}: {EXAMPLE}")
    return SCRIPTS[told.shell](told.parsers)


def words_of(verb: argparse.ArgumentParser) -> dict[str, str]:
    """A verb's words with two dashes, each with what is said of it."""
    found = {}
    for action in verb._actions:
        for word in action.option_strings:
            if word.startswith("--"):
                found[word] = (action.help or "").replace("%%", "%")
    return found


def choices_of(verb: argparse.ArgumentParser) -> list[str]:
    """What a verb's first plain word may be, where there is a list of it."""
    return [str(c) for a in verb._actions if not a.option_strings for c in (a.choices or ())]


def bash(verbs: dict[str, argparse.ArgumentParser]) -> str:
    """bash: one function that looks at the second word."""
    cases = "\n".join(
        f'    {name}) words="{" ".join([*choices_of(verb), *words_of(verb)])}" ;;'
        for name, verb in verbs.items()
    )
    return f"""_gptlib() {{
  local words word="${{COMP_WORDS[COMP_CWORD]}}"
  if [ "$COMP_CWORD" = 1 ]; then words="{" ".join([*verbs, "--help", "--version"])}"
  else case "${{COMP_WORDS[1]}}" in
{cases}
  esac; fi
  COMPREPLY=($(compgen -W "$words" -- "$word"))
  case "$word" in -*) ;; *) [ "$COMP_CWORD" = 1 ] || COMPREPLY+=($(compgen -f -- "$word")) ;; esac
}}
complete -o filenames -F _gptlib gptlib"""


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "’").replace("[", "(").replace("]", ")")


def zsh(verbs: dict[str, argparse.ArgumentParser]) -> str:
    """zsh: the verbs with what is said of them, then the words of the verb."""
    table = " ".join(f"'{name}:{_quoted(verb.description or '')}'" for name, verb in verbs.items())
    cases = []
    for name, verb in verbs.items():
        words = [f"'{word}[{_quoted(says)}]'" for word, says in words_of(verb).items()]
        first = (
            f"'1:which:({' '.join(choices_of(verb))})'" if choices_of(verb) else "'*:file:_files'"
        )
        cases.append(f"    {name}) _arguments {' '.join([*words, first])} ;;")
    lines = "\n".join(cases)
    return f"""#compdef gptlib
_gptlib() {{
  local -a verbs=({table})
  if (( CURRENT == 2 )); then _describe verb verbs; return; fi
  local verb=$words[2]
  shift words; (( CURRENT-- ))
  case $verb in
{lines}
  esac
}}
compdef _gptlib gptlib"""


def fish(verbs: dict[str, argparse.ArgumentParser]) -> str:
    """fish: a line a word."""
    lines = []
    for name, verb in verbs.items():
        says = _quoted(verb.description or "")
        lines.append(f"complete -c gptlib -n __fish_use_subcommand -a {name} -d '{says}'")
        seen = f"-n '__fish_seen_subcommand_from {name}'"
        if choices_of(verb):
            lines.append(f"complete -c gptlib {seen} -f -a '{' '.join(choices_of(verb))}'")
        for word, told in words_of(verb).items():
            lines.append(f"complete -c gptlib {seen} -l {word[2:]} -d '{_quoted(told)}'")
    return "\n".join(lines)


SCRIPTS = {"bash": bash, "zsh": zsh, "fish": fish}

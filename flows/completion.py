"""Completion for a shell: the commands of ``tandem``, their flags, and else the files that are there."""

import argparse
import shlex
from collections.abc import Iterator

_BASH = """\
_tandem() {{
  local words
  case "${{COMP_WORDS[1]}} ${{COMP_WORDS[2]}}" in
{cases}
    *) words={commands} ;;
  esac
  case "$COMP_CWORD $2" in
    1\\ *|*\\ -*) COMPREPLY=($(compgen -W "$words" -- "$2")) ;;
    *) COMPREPLY=() ;;
  esac
}}
complete -o default -F _tandem tandem
"""


def bash_completion(parser: argparse.ArgumentParser) -> str:
    """The script that bash, or zsh after ``bashcompinit``, evaluates."""
    commands = dict(_commands(parser))
    cases = [
        f"    {shlex.quote(name)}\\ {'*' if not rest else shlex.quote(rest)}) words={shlex.quote(' '.join(flags))} ;;"
        for (name, rest), flags in commands.items()
    ]
    first = dict.fromkeys(name for name, _ in commands)
    return _BASH.format(cases="\n".join(cases), commands=shlex.quote(" ".join(first)))


def _commands(parser: argparse.ArgumentParser) -> Iterator[tuple[tuple[str, str], list[str]]]:
    """Every command, with the second word that it may have, and its flags; the longer ones first."""
    for name, command in _within(parser):
        for second, inner in _within(command):
            yield (name, second), _flags(inner)
        yield (name, ""), [*(second for second, _ in _within(command)), *_flags(command)]


def _within(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:  # pyright: ignore[reportPrivateUsage]  (argparse has no other way to ask)
        if isinstance(action, argparse._SubParsersAction):  # pyright: ignore[reportPrivateUsage]
            yield from action.choices.items()


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    actions = parser._actions  # pyright: ignore[reportPrivateUsage]
    return [flag for action in actions for flag in action.option_strings if flag.startswith("--")]

"""Flags from dataclasses: a field is a parameter of a command, and its annotation says how it is asked for.

``Annotated[str, Argument(…)]`` is given by its place, ``Annotated[int, Flag(…)]`` by its name. These are dataclasses,
not models of pydantic, because importing pydantic alone takes longer than ``tandem --help`` may.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, Literal, NoReturn, TypeVar, cast, get_args, get_origin

_FILES = {"bash": "_shtab_compgen_files", "zsh": "_files"}  # shtab.FILE, without importing it for every command

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Argument:
    """A parameter that is given by its place; ``is_file`` lets a shell complete the names of files."""

    help: str
    metavar: str | None = None
    is_file: bool = False


@dataclass(frozen=True, slots=True)
class Flag:
    """A parameter that is given by its name.

    Attributes:
        help: What ``--help`` says of it. The default is added, and the choices of a ``Literal``.
        metavar: What stands for the value in ``--help``.
        name: The flag, where it is not the name of the field.
        group: Of the flags of one group, only one may be given.
        convert: Makes the value of what is typed; raises ``argparse.ArgumentTypeError``.
    """

    help: str
    metavar: str | None = None
    name: str | None = None
    group: str | None = None
    convert: Callable[[str], object] | None = None


class AlignedHelp(argparse.HelpFormatter):
    """Help in which each command has its explanation beside it; argparse forgets how far the names are indented."""

    def add_argument(self, action: argparse.Action) -> None:
        """As its base, with room for the indentation of the names below an action."""
        super().add_argument(action)
        for each in self._iter_indented_subactions(action):
            length = len(self._format_action_invocation(each)) + self._current_indent
            self._action_max_length = max(self._action_max_length, length)


class FlagParser(argparse.ArgumentParser):
    """Takes every flag with dashes or with underscores between its words, whichever of them ``--help`` shows."""

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride] (its base is overloaded)
        self, args: Iterable[str] | None = None, namespace: Any = None
    ) -> Any:
        """As its base, of words that are spelt as the flags are."""
        words = sys.argv[1:] if args is None else args
        return super().parse_known_args([self._spelt(word) for word in words], namespace)

    def _spelt(self, word: str) -> str:
        if not word.startswith("--"):
            return word
        flag, equals, value = word.partition("=")
        known = {_dashed(each): each for each in self._option_string_actions}
        return known.get(_dashed(flag), flag) + equals + value


class CommandParser(FlagParser):
    """Parser of a command: says which is the nearest command, flag or choice to one that is not known."""

    def parse_known_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> Any:
        """As its base. A parser that leaves the words to those of its commands refuses none."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown and self._subparsers is None:
            if unknown[0].startswith("-"):
                self.error(no_such_flag(unknown[0], self._option_string_actions))
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        """Print usage and message, with the nearest right choice to a wrong one, and end with the exit code 2."""
        if wrong := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)$", message):
            from flows.spec.text.words import did_you_mean

            choices = re.findall(r"[\w.-]+", wrong[2])
            message = f"{message} {did_you_mean(wrong[1], choices)}".rstrip()
        super().error(message)


def no_such_flag(word: str, flags: Iterable[str]) -> str:
    """Say that there is no such flag, and which is the nearest."""
    from flows.spec.text.words import did_you_mean

    flag = word.partition("=")[0]
    return f"There is no flag {flag}. {did_you_mean(flag, flags) or 'See --help for those there are.'}"


def _dashed(flag: str) -> str:
    return flag.replace("_", "-")


def add_flags(parser: argparse.ArgumentParser, options: type[Any]) -> None:
    """Add an argument or a flag to the parser for every field of a dataclass."""
    groups: dict[str, argparse._MutuallyExclusiveGroup] = {}  # pyright: ignore[reportPrivateUsage] (it has no other name)
    for field in fields(options):
        kind, asked = get_args(field.type)
        settings: dict[str, Any] = {"help": asked.help, "metavar": asked.metavar}
        if choices := _choices(kind):
            settings["choices"] = choices
        if isinstance(asked, Argument):
            settings["nargs"] = "+" if get_origin(kind) is tuple else None if field.default is MISSING else "?"
            added = parser.add_argument(field.name, **settings)
            if asked.is_file:
                added.complete = _FILES  # pyright: ignore[reportAttributeAccessIssue] (shtab's way)
            continue
        if asked.group is not None and asked.group not in groups:
            groups[asked.group] = parser.add_mutually_exclusive_group()
        taker = parser if asked.group is None else groups[asked.group]
        name = asked.name or f"--{field.name.replace('_', '-')}"
        taker.add_argument(name, dest=field.name, **_of_flag(field, kind, asked, settings))


def options_of(options: type[T], parsed: argparse.Namespace) -> T:
    """The dataclass with what was given on the command line."""
    given = {field.name: getattr(parsed, field.name) for field in fields(cast(Any, options))}
    return options(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def _of_flag(field: "Field[Any]", kind: Any, asked: Flag, settings: Mapping[str, Any]) -> dict[str, Any]:
    if kind is bool:
        return {"help": asked.help, "action": "store_true"}
    if get_origin(kind) is tuple:
        return {**settings, "action": "append", "default": []}
    settings = {**settings, "type": asked.convert or (int if kind is int else str)}
    if field.default is MISSING:
        return {**settings, "help": asked.help, "required": True}
    told = asked.help if field.default is None else f"{asked.help} Default: {field.default}."
    return {**settings, "help": told, "default": field.default}


def _choices(kind: Any) -> tuple[str, ...]:
    """The values that a ``Literal``, or one that may be None, allows."""
    for each in (kind, *get_args(kind)):
        if get_origin(each) is Literal:
            return get_args(each)
    return ()

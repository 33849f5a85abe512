"""Flags from dataclasses: a field is a parameter of a command, and its annotation says how it is asked for.

``Annotated[str, Argument(…)]`` is given by its place, ``Annotated[int, Flag(…)]`` by its name. These are dataclasses,
not models of pydantic, because importing pydantic alone takes longer than ``tandem --help`` may.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

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
    told = asked.help if field.default is None else f"{asked.help} Default: {field.default}."
    return {**settings, "help": told, "default": field.default, "type": asked.convert or (int if kind is int else str)}


def _choices(kind: Any) -> tuple[str, ...]:
    """The values that a ``Literal``, or one that may be None, allows."""
    for each in (kind, *get_args(kind)):
        if get_origin(each) is Literal:
            return get_args(each)
    return ()

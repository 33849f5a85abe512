"""Reads a YAML mapping key by key. A value of a wrong type is noted as a fault, and reading goes on."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from flows.errors import Fault, Place
from flows.spec.text.limits import MAX_NAMES
from flows.spec.text.locations import exists, is_remote, local
from flows.spec.text.names import MAX_NAME_BYTES, shown
from flows.spec.text.words import a, did_you_mean
from flows.spec.text.yaml_lines import Node

T = TypeVar("T")


def nearest(name: str, known: list[str] | frozenset[str], noun: str) -> str:
    """A remedy that names the nearest right name, or all of them where none is near.

    Args:
        name: What the person wrote.
        known: The names that would be right.
        noun: What they are, in the plural, such as ``inputs``.
    """
    if len(known) > MAX_NAMES:
        return f"There are {len(known)} {noun}, and none is called so."
    if question := did_you_mean(name, known):
        return question
    names = ", ".join(shown(name, MAX_NAME_BYTES) for name in sorted(known))
    return f"The {noun} are: {names}." if known else f"There are no {noun}."


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping, the faults that reading it notes, and the place of each of its keys."""

    node: Node
    faults: list[Fault]

    @property
    def entries(self) -> Mapping[str, Node]:
        """The keys and their values; empty where the YAML gives no mapping."""
        return self.node.value if isinstance(self.node.value, Mapping) else {}

    @property
    def file(self) -> Path:
        """The file that this stands in."""
        return self.node.place.file

    @property
    def folder(self) -> Path:
        """The folder that paths in this file are relative to."""
        return self.node.place.file.parent

    def __contains__(self, key: str) -> bool:
        return key in self.entries

    def without(self, key: str) -> "Section":
        """The same mapping without a key."""
        entries = {name: node for name, node in self.entries.items() if name != key}
        return Section(Node(entries, self.node.place), self.faults)

    def place(self, key: str) -> Place:
        """Where a key stands; one that is not there stands where the mapping does."""
        if key in self.entries:
            return self.entries[key].place
        here = self.node.place
        return Place(here.file, here.line, f"{here.key}.{key}" if here.key else key)

    def fault(self, key: str, message: str, remedy: str = "") -> None:
        """Note a fault at a key, or at the mapping itself where the key is empty."""
        self.faults.append(Fault(self.place(key) if key else self.node.place, message, remedy))

    def warn(self, key: str, message: str, remedy: str = "") -> None:
        """Note at a key what is valid, but probably not meant."""
        self.faults.append(Fault(self.place(key) if key else self.node.place, message, remedy, warning=True))

    def missing(self, keys: str | Sequence[str], message: str, remedy: str) -> None:
        """Note that a key is not there, unless it was found misspelt: then that is all that is wrong.

        Args:
            keys: The key; or several, one of which has to be there, whose absence is a fault of the mapping itself.
            message: What is missing.
            remedy: What to add.
        """
        names = [keys] if isinstance(keys, str) else keys
        here, misspelt = self.node.place, [f"Did you mean {name}?" for name in names]
        if not any(
            fault.remedy in misspelt
            and fault.place.file == here.file
            and fault.place.key.rpartition(".")[0] == here.key
            for fault in self.faults
        ):
            self.fault(keys if isinstance(keys, str) else "", message, remedy)

    def text(self, key: str) -> str | None:
        """Text, or None where the key is left out."""
        return self._read(key, "text", lambda value: value if isinstance(value, str) else None)

    def label(self, key: str) -> str | None:
        """Text that may be written as a number, such as a version."""
        return self._read(key, "text", _label)

    def path(self, key: str, text: str | None = None) -> Path | None:
        """The local file or folder that a key names; None, with a fault, where it is not there, and for a URL.

        Args:
            key: The key.
            text: One of several paths that stand at the key; the only one where it is left out.
        """
        path = self.text(key) if text is None else text
        if path is None or is_remote(path):
            return None
        found = local(path, self.folder)
        if not exists(found):
            self.fault(key, f"there is no file or folder {path}", f"It is looked for at {found}.")
            return None
        if found == Path(found.anchor):
            self.fault(key, f"{path} is the whole file system", "Name a folder in it.")
            return None
        return found

    def texts(self, key: str) -> tuple[str, ...]:
        """The texts of a list."""
        for item in self.items(key):
            if not isinstance(item.value, str):
                self.fault(key, f"an entry of {key} is {item.kind}", "Make every entry text.")
        return tuple(item.value for item in self.items(key) if isinstance(item.value, str))

    def flag(self, key: str, default: bool) -> bool:
        """True or false, which may stand in quotes, as the Azure ML client lets it."""
        value = self._read(key, "true or false", _flag)
        return default if value is None else value

    def integer(self, key: str, minimum: int | None = None) -> int | None:
        """A whole number, which may stand in quotes, as the Azure ML client lets it."""
        value = self._read(key, "a whole number", _integer)
        if value is not None and minimum is not None and value < minimum:
            self.fault(key, f"{key} is {value}", f"Make it {minimum} or more.")
            return None
        return value

    def number(self, key: str) -> float | None:
        """A finite number, which may stand in quotes."""
        return self._read(key, "a number", finite_number)

    def choice(self, key: str, known: frozenset[str], noun: str, exact: bool = False) -> str | None:
        """One of the known words, in whichever case unless ``exact``; None where it is left out or is another.

        Args:
            key: The key.
            known: The words.
            noun: What each is: ``type``.
            exact: Whether capital letters matter.
        """
        text = self.text(key)
        word = text if text is None or exact else text.lower()
        if word is not None and word not in known:
            self.fault(
                key,
                f"{text} is not {a(noun)} that can stand here",
                nearest(word, known, f"{noun}s"),
            )
            return None
        return word

    def plain(self, known: frozenset[str]) -> dict[str, Any]:
        """Those of the known keys that the file gives, as plain values."""
        return {key: node.plain() for key, node in self.entries.items() if key in known}

    def section(self, key: str) -> "Section":
        """A nested mapping; an empty one where the key is left out."""
        node = self.entries.get(key)
        if node is not None and not isinstance(node.value, Mapping):
            self._refuse(key, node, "a mapping")
        return Section(node or Node({}, self.place(key)), self.faults)

    def sections(self) -> Iterator[tuple[str, "Section"]]:
        """Every nested mapping under its key. What is no mapping is a fault, and left out."""
        for key, node in self.entries.items():
            section = self.section(key)
            if isinstance(node.value, Mapping):
                yield key, section

    def items(self, key: str) -> tuple[Node, ...]:
        """The items of a list."""
        node = self.entries.get(key)
        if node is None or isinstance(node.value, tuple):
            return () if node is None else cast("tuple[Node, ...]", node.value)
        self._refuse(key, node, "a list")
        return ()

    def _read(self, key: str, wanted: str, take: Callable[[object], T | None]) -> T | None:
        node = self.entries.get(key)
        if node is None:
            return None
        value = take(node.value)
        if value is None:
            self._refuse(key, node, wanted)
        return value

    def _refuse(self, key: str, node: Node, wanted: str) -> None:
        if node.value is None:
            self.fault(key, f"{key} is empty", f"Make it {wanted}, or leave it out.")
        else:
            quoted = wanted == "text" and isinstance(node.value, int | float)
            self.fault(key, f"{key} is {node.kind}", f"Make it {wanted}{', in quotes' if quoted else ''}.")


def _flag(value: object) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


def _label(value: object) -> str | None:
    return str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None


def _integer(value: object) -> int | None:
    found = finite_number(value)
    return int(found) if found is not None and found.is_integer() else None


def finite_number(value: object) -> float | None:
    """The finite number that a value is, or a text says; None for anything else, and for true and false."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None

"""YAML as values that know their line.

PyYAML composes the nodes and resolves the scalars just as ``yaml.safe_load`` does for the Azure ML client (YAML 1.1:
``010`` is 8, ``1e-3`` is a string). What the client cannot send, such as a date, is a fault here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

import yaml

from flows.errors import Fault, Place

# libyaml composes recursively, on the C stack: deeper text would end the process, not raise.
MAX_DEPTH = 100
# Aliases of aliases grow exponentially; no job of this world has as many values.
MAX_VALUES = 100_000

_Loader = cast("type[yaml.SafeLoader]", getattr(yaml, "CSafeLoader", yaml.SafeLoader))
_TIMESTAMP = "tag:yaml.org,2002:timestamp"
_MERGE = "tag:yaml.org,2002:merge"

Scalar: TypeAlias = bool | int | float | str | None
Value: TypeAlias = "Scalar | Mapping[str, Node] | tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Node:
    """A value of the YAML, and where it stands."""

    value: Value
    place: Place

    @property
    def kind(self) -> str:
        """What a person calls the value: ``a mapping``, ``a list``, ``text`` and so on."""
        match self.value:
            case None:
                return "nothing"
            case bool():
                return "true or false"
            case int() | float():
                return "a number"
            case str():
                return "text"
            case tuple():
                return "a list"
            case _:
                return "a mapping"

    def plain(self) -> Any:
        """The value as plain Python, without lines."""
        match self.value:
            case None | bool() | int() | float() | str():
                return self.value
            case tuple():
                return [item.plain() for item in self.value]
            case _:
                return {key: item.plain() for key, item in self.value.items()}


def load(path: Path, faults: list[Fault]) -> Node | None:
    """Read one YAML file whose top level is a mapping.

    Args:
        path: The file.
        faults: Where every fault that is found is noted.

    Returns:
        The mapping, or None where there is none to read.
    """
    text = _text(path, faults)
    if text is None:
        return None
    try:
        return _Reading(path, faults).tree(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = ", ".join(filter(None, (error.context, error.problem)))
        faults.append(Fault(Place(path, line, ""), f"this is not YAML, at column {column}: {problem}"))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        code = f"#x{error.character:04x}" if isinstance(error.character, int) else error.character
        faults.append(Fault(Place(path, line, ""), f"this is not YAML: {error.reason}: {code}"))
    except _TooMuchError as error:
        faults.append(Fault(Place(path, 1, ""), str(error)))
    return None


class _TypedLoader(Protocol):
    """The methods of PyYAML's loader whose types its stubs leave out."""

    def construct_object(self, node: yaml.Node) -> object: ...

    def get_event(self) -> yaml.Event | None: ...


class _TooMuchError(Exception):
    """The text is nested deeper, or grows larger by its aliases, than any job is."""


def _text(path: Path, faults: list[Fault]) -> str | None:
    place = Place(path, 1, "")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        faults.append(Fault(place, "there is no such file"))
    except IsADirectoryError:
        faults.append(Fault(place, "this is a folder", "Name the YAML file in it."))
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        faults.append(Fault(Place(path, line, ""), "the text is not UTF-8", "Save the file as UTF-8."))
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        faults.append(Fault(place, f"the file cannot be read: {getattr(error, 'strerror', None) or error}"))
    return None


class _Reading:
    """One file on its way from PyYAML's nodes to ours."""

    def __init__(self, path: Path, faults: list[Fault]) -> None:
        self._path = path
        self._faults = faults
        self._values = 0
        self._open: set[int] = set()

    def tree(self, text: str) -> Node | None:
        _refuse_depth(text)
        loader = _Loader(text)
        root = loader.get_single_node()
        if isinstance(root, yaml.MappingNode):
            return self._node(loader, root, "")
        message = "the file is empty" if root is None else "the file does not hold a mapping"
        self._faults.append(Fault(Place(self._path, 1, ""), message, "Write the keys of an Azure ML YAML file."))
        return None

    def _node(self, loader: yaml.SafeLoader, node: yaml.Node, key: str) -> Node:
        self._values += 1
        if self._values > MAX_VALUES:
            raise _TooMuchError(f"the file grows to more than {MAX_VALUES} values by its aliases")
        if id(node) in self._open:
            raise _TooMuchError("an alias stands inside of what it names")
        place = Place(self._path, node.start_mark.line + 1, key)
        self._open.add(id(node))
        try:
            return Node(self._value(loader, node, place), place)
        finally:
            self._open.discard(id(node))

    def _value(self, loader: yaml.SafeLoader, node: yaml.Node, place: Place) -> Value:
        if isinstance(node, yaml.MappingNode):
            return self._mapping(loader, node, place)
        if isinstance(node, yaml.SequenceNode):
            items = cast("list[yaml.Node]", node.value)
            return tuple(self._node(loader, item, f"{place.key}.{at}") for at, item in enumerate(items))
        return self._scalar(loader, cast("yaml.ScalarNode", node), place)

    def _mapping(self, loader: yaml.SafeLoader, node: yaml.MappingNode, place: Place) -> Mapping[str, Node]:
        own = cast("list[tuple[yaml.Node, yaml.Node]]", node.value)
        self._refuse_duplicates([name for name, _ in own if name.tag != _MERGE], place.key)
        loader.flatten_mapping(node)  # ``<<: *defaults``, as safe_load does it
        entries: dict[str, Node] = {}
        for name, item in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
            key = f"{place.key}.{name.value}" if place.key else str(name.value)
            if not isinstance(name, yaml.ScalarNode) or not name.tag.endswith(":str"):
                self._fault(name, place.key, f"the key {_shown(name)} is not text", "Put it in quotes.")
                continue
            entry = self._node(loader, item, key)
            # A nested mapping begins on the line after its key; a person looks for the key.
            entries[name.value] = Node(entry.value, Place(self._path, name.start_mark.line + 1, key))
        return entries

    def _scalar(self, loader: yaml.SafeLoader, node: yaml.ScalarNode, place: Place) -> Scalar:
        text = cast(str, node.value)
        if node.tag == _TIMESTAMP:
            self._fault(node, place.key, f"{text} is a date, which Azure ML refuses", f'Put it in quotes: "{text}".')
            return text
        try:
            value = cast("_TypedLoader", loader).construct_object(node)
            if value is None or isinstance(value, bool | int | float | str):
                str(value)  # raises for an integer of more digits than Python writes
                return value
        except (yaml.constructor.ConstructorError, ValueError, LookupError, OverflowError):
            pass  # an unknown tag, or a tag such as !!int on a text that is none
        self._fault(node, place.key, f"{_shown(node)} is not a value that Azure ML takes", "Write text or a number.")
        return text

    def _refuse_duplicates(self, names: list[yaml.Node], parent: str) -> None:
        first: dict[str, int] = {}
        for name in names:
            if not isinstance(name, yaml.ScalarNode):
                continue
            if name.value in first:
                message = f"the key {name.value} is there twice, first on line {first[name.value]}"
                self._fault(name, f"{parent}.{name.value}" if parent else name.value, message, "Keep one of the two.")
            first.setdefault(name.value, name.start_mark.line + 1)

    def _fault(self, node: yaml.Node, key: str, message: str, remedy: str) -> None:
        self._faults.append(Fault(Place(self._path, node.start_mark.line + 1, key), message, remedy))


def _refuse_depth(text: str) -> None:
    loader, depth = cast("_TypedLoader", _Loader(text)), 0
    while (event := loader.get_event()) is not None:
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise _TooMuchError(f"the file is nested deeper than {MAX_DEPTH} levels")


def _shown(node: yaml.Node) -> str:
    text = str(node.value) if isinstance(node, yaml.ScalarNode) else "of a mapping or list"
    return text if len(text) <= 40 else f"{text[:40]}…"

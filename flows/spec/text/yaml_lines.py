"""YAML values with their line numbers.

PyYAML composes the nodes and resolves the scalars just as ``yaml.safe_load`` does for the Azure ML client (YAML 1.1:
``010`` is 8, ``1e-3`` is a string). What the client cannot send, such as a date, is a fault here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import yaml

from flows.errors import Fault, Place
from flows.spec.text.faults import Findings
from flows.spec.text.limits import MAX_CHARACTERS, MAX_DEPTH, MAX_KEY_BYTES, MAX_TEXT_BYTES, MAX_VALUES
from flows.spec.text.names import shown
from flows.spec.text.yaml_text import Loader, TooMuchError, TypedLoader, measured, text_of

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

    @property
    def size(self) -> int:
        """How many values it has, itself among them."""
        match self.value:
            case tuple():
                return 1 + sum(item.size for item in self.value)
            case None | bool() | int() | float() | str():
                return 1
            case _:
                return 1 + sum(item.size for item in self.value.values())

    def plain(self) -> Any:
        """The value as plain Python, without lines."""
        match self.value:
            case None | bool() | int() | float() | str():
                return self.value
            case tuple():
                return [item.plain() for item in self.value]
            case _:
                return {key: item.plain() for key, item in self.value.items()}


def load_yaml(path: Path, faults: list[Fault]) -> Node | None:
    """Read one YAML file whose top level is a mapping.

    Args:
        path: The file.
        faults: Where every fault that is found is noted.

    Returns:
        The mapping, or None where there is none to read.
    """
    text = text_of(path, faults)
    if text is None:
        return None
    try:
        reading = _Reading(path, faults)
        node = reading.tree(text)
        if isinstance(faults, Findings):
            faults.take(reading.values)
        return node
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = ", ".join(filter(None, (error.context, error.problem)))
        faults.append(Fault(Place(path, line, ""), f"this is not YAML, at column {column}: {problem}"))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        code = f"#x{error.character:04x}" if isinstance(error.character, int) else error.character
        faults.append(Fault(Place(path, line, ""), f"this is not YAML: {error.reason}: {code}"))
    except TooMuchError as error:
        faults.append(Fault(Place(path, 1, ""), str(error)))
    return None


class _Reading:
    """Reads one file: makes a :class:`Node` of each of PyYAML's nodes, and notes what is wrong."""

    def __init__(self, path: Path, faults: list[Fault]) -> None:
        self._path = path
        self._faults = faults
        self._open: set[int] = set()
        self._characters = 0
        self._has_aliases = False
        self.values = 0

    def tree(self, text: str) -> Node | None:
        self._has_aliases = measured(text)
        loader = Loader(text)
        root = loader.get_single_node()
        if isinstance(root, yaml.MappingNode):
            return self._node(loader, root, "")
        message = "the file is empty" if root is None else "the file does not hold a mapping"
        self._faults.append(Fault(Place(self._path, 1, ""), message, "Write the keys of an Azure ML YAML file."))
        return None

    def _node(self, loader: yaml.SafeLoader, node: yaml.Node, key: str) -> Node:
        self._count(1, len(key))
        if id(node) in self._open:
            raise TooMuchError("an alias stands inside of what it names")
        place = Place(self._path, node.start_mark.line + 1, key)
        self._open.add(id(node))
        try:
            return Node(self._value(loader, node, place), place)
        finally:
            self._open.discard(id(node))

    def _count(self, values: int, characters: int) -> None:
        self.values += values
        self._characters += characters
        cause = ", as its aliases repeat them" if self._has_aliases else ""
        if self.values > MAX_VALUES:
            raise TooMuchError(f"the file has more than {MAX_VALUES:,} values{cause}")
        if self._characters > MAX_CHARACTERS:
            raise TooMuchError(f"the keys and texts of the file have more than {MAX_CHARACTERS:,} characters{cause}")

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
        entries: dict[str, Node] = {}
        for name, item in self._merged(node):
            if not isinstance(name, yaml.ScalarNode) or not name.tag.endswith((":str", ":value")):
                self._fault(name, place.key, f"the key {_shown(name)} is not text", "Put it in quotes.")
                continue
            if not self._is_text(name, name.value, place.key, MAX_KEY_BYTES):
                continue
            key = f"{place.key}.{name.value}" if place.key else str(name.value)
            entry = self._node(loader, item, key)
            # A nested mapping begins on the line after its key; a person looks for the key.
            entries[name.value] = Node(entry.value, Place(self._path, name.start_mark.line + 1, key))
        return entries

    def _merged(self, node: yaml.MappingNode, depth: int = 0) -> list[tuple[yaml.Node, yaml.Node]]:
        """The entries of a mapping after those of ``<<: *defaults``, which they win over, as ``safe_load`` has them.

        Of several mappings that are merged, the first wins.
        """
        own = cast("list[tuple[yaml.Node, yaml.Node]]", node.value)
        if all(name.tag != _MERGE for name, _ in own):
            return own
        if depth > MAX_DEPTH:
            raise TooMuchError(f"mappings are merged (<<) through more than {MAX_DEPTH} others, or into themselves")
        merged: list[tuple[yaml.Node, yaml.Node]] = []
        for value in [value for name, value in own if name.tag == _MERGE]:
            for source in reversed(value.value) if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(source, yaml.MappingNode):
                    problem = "expected a mapping or a list of mappings for merging"
                    raise yaml.constructor.ConstructorError(None, None, problem, source.start_mark)
                merged += self._merged(source, depth + 1)
                self._count(len(source.value), 0)
        return [*merged, *((name, value) for name, value in own if name.tag != _MERGE)]

    def _is_text(self, node: yaml.Node, text: str, key: str, most_bytes: int = MAX_TEXT_BYTES) -> bool:
        """Whether a text can be given to a program; notes why not."""
        self._count(0, len(text))
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            self._fault(node, key, f"{_shown(node)} has an incomplete character in it", "Save the file as UTF-8.")
            return False
        if size > most_bytes == MAX_TEXT_BYTES:
            message = f"a text has {size:,} bytes, and no program is given more than {most_bytes:,} at once"
            self._fault(node, key, message, "Put it into a file.")
        elif size > most_bytes:
            self._fault(node, key, f"a key has {size:,} bytes, and may have {most_bytes:,} at most", "Shorten it.")
        elif "\0" in text:
            message = f"{_shown(node)!r} has the character U+0000 in it, which no command, variable or path can have"
            self._fault(node, key, message, "Remove it.")
        else:
            return True
        return False

    def _scalar(self, loader: yaml.SafeLoader, node: yaml.ScalarNode, place: Place) -> Scalar:
        text = cast(str, node.value)
        if not self._is_text(node, text, place.key):
            return "x"  # a stand-in: without a value the reader would report a missing key as well
        if node.tag == _TIMESTAMP:
            self._fault(node, place.key, f"{text} is a date, which Azure ML refuses", f'Put it in quotes: "{text}".')
            return text
        try:
            value = cast("TypedLoader", loader).construct_object(node)
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


def _shown(node: yaml.Node) -> str:
    return shown(str(node.value)) if isinstance(node, yaml.ScalarNode) else "of a mapping or list"

"""Reads the text of a YAML file up to a limit, and measures it before values are made of it."""

from pathlib import Path
from typing import Protocol, cast

import yaml

from flows.errors import Fault, Place
from flows.spec.text.limits import MAX_DEPTH, MAX_DIRECTIVES, MAX_FILE_BYTES, MAX_VALUES
from flows.spec.text.locations import kind_of_file

Loader = cast("type[yaml.SafeLoader]", getattr(yaml, "CSafeLoader", yaml.SafeLoader))


class TooMuchError(Exception):
    """A text is deeper or larger than any job is. The text of the error says how."""


class TypedLoader(Protocol):
    """The methods of PyYAML's loader whose types its stubs leave out."""

    def construct_object(self, node: yaml.Node) -> object:
        """The value of a node."""
        ...

    def get_event(self) -> yaml.Event | None:
        """The next event of the text; None at its end."""
        ...


def text_of(path: Path, faults: list[Fault]) -> str | None:
    """The text of a file; None, with a fault, where it cannot be read or is larger than :data:`MAX_FILE_BYTES`."""
    place = Place(path, None, "")
    try:
        if kind_of_file(path) is not None and not path.is_dir():
            faults.append(Fault(place, "this is no file but a pipe, a device or a socket", "Name a YAML file."))
            return None
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            message = f"the file has more than {MAX_FILE_BYTES >> 20} MiB, which no YAML file of a job has"
            faults.append(Fault(place, message, "Name the YAML file. Data belongs in a file of its own."))
            return None
        return content.decode("utf-8-sig")
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


def check_size(text: str) -> None:
    """Check that a YAML text is not too deep or too large, with all that its aliases repeat.

    Raises:
        TooMuchError: It is.
    """
    try:
        root = Loader(text).get_single_node() if measured(text) else None
    except yaml.YAMLError:
        return  # the reader of the text reports this
    waiting, values = [root] if root is not None else [], 0
    while waiting:
        node, values = waiting.pop(), values + 1
        if values > 2 * MAX_VALUES:
            raise TooMuchError(f"the file has more than {MAX_VALUES:,} values, as its aliases repeat them")
        if isinstance(node, yaml.MappingNode):
            pairs = cast("list[tuple[yaml.Node, yaml.Node]]", node.value)
            waiting += [item for pair in pairs for item in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += cast("list[yaml.Node]", node.value)


def measured(text: str) -> bool:
    """Whether a text has aliases, which may let it grow.

    Raises:
        TooMuchError: It is deeper or larger than a YAML text may be.
        yaml.YAMLError: It is not YAML.
    """
    if text.count("\n%") > MAX_DIRECTIVES:
        raise TooMuchError(f"the file has more than {MAX_DIRECTIVES} lines that begin with a percent sign")
    loader, depth, nodes, has_aliases = cast("TypedLoader", Loader(text)), 0, 0, False
    while (event := loader.get_event()) is not None:
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.NodeEvent):
            nodes += 1
            has_aliases = has_aliases or isinstance(event, yaml.AliasEvent)
            depth += isinstance(event, yaml.CollectionStartEvent)
        if depth > MAX_DEPTH:
            raise TooMuchError(f"the file is nested deeper than {MAX_DEPTH} levels")
        if nodes > 2 * MAX_VALUES:  # each value, and its key
            raise TooMuchError(f"the file has more than {MAX_VALUES:,} values")
    return has_aliases

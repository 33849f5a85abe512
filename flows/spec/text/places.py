"""File and line of each dotted key of a mapping."""

from collections.abc import Iterator, Mapping

from flows.errors import Place
from flows.spec.text.yaml_lines import Node


def places_within(node: Node) -> dict[str, Place]:
    """The file and line of every dotted key of a mapping. The empty key is the mapping itself."""
    return dict(_places(node, ""))


def _places(node: Node, key: str) -> Iterator[tuple[str, Place]]:
    yield key, node.place
    if isinstance(node.value, Mapping):
        for name, entry in node.value.items():
            yield from _places(entry, f"{key}.{name}" if key else name)

"""Where each dotted key of a mapping stands."""

from collections.abc import Iterator, Mapping

from flows.errors import Place
from flows.spec.text.yaml_lines import Node


def places_within(node: Node) -> dict[str, Place]:
    """The place of every key in a mapping, by its dotted key in that mapping; the mapping itself is the empty key."""
    return dict(_places(node, ""))


def _places(node: Node, key: str) -> Iterator[tuple[str, Place]]:
    yield key, node.place
    if isinstance(node.value, Mapping):
        for name, entry in node.value.items():
            yield from _places(entry, f"{key}.{name}" if key else name)

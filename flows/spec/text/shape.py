"""Checks the keys and values of a mapping against those that Azure ML knows."""

import re
from collections.abc import Callable, Mapping

from flows.spec.text.keys import SHOWN, ByType, Each, Kind, OneOf, Open, Shape, Value
from flows.spec.text.section import Section, nearest
from flows.spec.text.words import a, did_you_mean
from flows.spec.text.yaml_lines import Node

# Where the words of a type meet that is written in camel case: ``ManagedIdentity``, ``AMLToken``.
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def of_shape(section: Section, shape: Shape, owner: str, ignored: bool = False) -> Section:
    """Check the keys and values of a mapping, and return it without the keys that Azure ML does not know.

    Args:
        section: The mapping.
        shape: The keys that it knows, with what may stand at each.
        owner: Whose keys they are: ``a command job``.
        ignored: Whether Azure ML ignores a key that it does not know. One that is nearly a known key is a fault.
    """
    unknown = [key for key in section.entries if key not in shape]
    names = frozenset(shape.keys() - SHOWN)
    for key in unknown:
        if ignored and not did_you_mean(key, names, likeness=0.8):
            section.warn(key, f"{owner} has the key {key}, which Azure ML does not know", "It is ignored.")
        else:
            section.fault(key, f"{owner} cannot have the key {key}", nearest(key, names, "keys"))
    for key in section.entries:
        if key in shape:
            _check(section, key, shape[key])
    if not unknown:
        return section
    entries = {key: node for key, node in section.entries.items() if key in shape}
    return Section(Node(entries, section.node.place), section.faults)


def by_type(section: Section, key: str, kinds: ByType, ignored: bool = False) -> str | None:
    """The type of a nested mapping whose keys depend on it, in small letters; None where it has none, or no right one.

    Args:
        section: The mapping that it stands in.
        key: The key of the nested mapping.
        kinds: Its shape for each type.
        ignored: Whether Azure ML ignores a key that it does not know.
    """
    node = section.entries.get(key)
    inner = section.section(key)
    if node is None or not isinstance(node.value, Mapping):
        return None
    written = inner.text("type")
    kind = None if written is None else written.lower()
    if written is not None and kind not in kinds.shapes:
        kind = _CAMEL.sub("_", written).lower()
    shape = kinds.untyped if "type" not in inner else kinds.shapes.get(kind or "", kinds.other)
    if shape is not None:
        of_shape(inner, shape, f"{a(kinds.noun)} of type {kind}" if kind else a(kinds.noun), ignored)
    elif "type" not in inner:
        inner.fault("", f"the {kinds.noun} has no type", nearest("", frozenset(kinds.shapes), "types"))
    elif written is not None:
        remedy = nearest(kind or "", frozenset(kinds.shapes), "types")
        inner.fault("type", f"{written} is not a type that can stand here", remedy)
    return kind if kind in kinds.shapes else None


def _check(section: Section, key: str, kind: Value) -> None:
    match kind:
        case OneOf(noun, words):
            section.choice(key, words, noun)
        case ByType():
            by_type(section, key, kind)
        case Open(shape):
            of_shape(section.section(key), shape, key, ignored=True)
        case Each(inner):
            within = section.section(key)
            for name in within.entries:
                by_type(within, name, inner)
        case Kind.READ:
            pass
        case Kind.SHOWN:
            if section.entries[key].value is None:
                section.fault(key, f"{key} is empty", "Leave it out.")
        case Kind():
            _CHECKS[kind](section, key)
        case _:
            of_shape(section.section(key), kind, key)


def _text_or_texts(section: Section, key: str) -> None:
    if isinstance(section.entries[key].value, tuple):
        section.texts(key)
    else:
        section.text(key)


def _filled(section: Section, key: str) -> None:
    inner = section.section(key)
    for name, node in inner.entries.items():
        if node.value is None:
            inner.fault(name, f"{name} is empty", "Give it a value, or leave it out.")


def _notes(section: Section, key: str) -> None:
    inner = section.section(key)
    for name, node in inner.entries.items():
        if node.value is not None:
            inner.text(name)


def _labels(section: Section, key: str) -> None:
    inner = section.section(key)
    for name in inner.entries:
        inner.text(name)


# How what stands at a key is checked by its kind.
_CHECKS: Mapping[Kind, Callable[[Section, str], object]] = {
    Kind.TEXT: Section.text,
    Kind.PATH: Section.path,
    Kind.FLAG: lambda section, key: section.flag(key, False),
    Kind.WHOLE: Section.integer,
    Kind.TEXTS: Section.texts,
    Kind.TEXT_OR_TEXTS: _text_or_texts,
    Kind.MAPPING: Section.section,
    Kind.FILLED: _filled,
    Kind.NOTES: _notes,
    Kind.LABELS: _labels,
}

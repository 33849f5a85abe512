"""Find the keys of a job's files that this machine ignores or emulates."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.engines.local.keys.table import Row, Treatment, has_rows_below, row_of
from flows.errors import Place
from flows.spec.model.job import JobSpec
from flows.spec.text.yaml_lines import Node, load_yaml

# The keys that hold mappings whose keys are names that a person gives.
_NAMING = frozenset({"jobs", "inputs", "outputs", "search_space", "services"})
_TOLD = frozenset({Treatment.EMULATED, Treatment.IGNORED})


@dataclass(frozen=True, slots=True)
class KeyUse:
    """A key of a file that is not honoured here.

    Attributes:
        place: The file, the line and the whole key.
        path: The key as a person looks it up in the table: ``compute``, ``inputs.*.mode``.
        row: What is done with it, and why.
    """

    place: Place
    path: str
    row: Row


def unlike_azure_ml(spec: JobSpec) -> tuple[KeyUse, ...]:
    """The keys of a job's file, and of the components that it names, which are ignored or emulated on this machine.

    They are in the order of the files. Those of a step that does not run here at all are left out.
    """
    components = {step.component.source for step in spec.steps.values() if step.refusal is None}
    pipelines = {nested.source for nested in spec.nested.values()}
    others = sorted((components | pipelines) - {spec.source, Path()})
    found = list(_in_file(spec.source, "component" if spec.is_component else "", spec))
    for file in others:
        found += _in_file(file, "component", None)
    return tuple(dict.fromkeys(found))


def _in_file(file: Path, at: str, spec: JobSpec | None) -> Iterator[KeyUse]:
    node = load_yaml(file, [])
    if node is not None:
        for use in _within(node, at):
            if spec is None or not _is_refused(spec, use.place.key):
                yield use


def _is_refused(spec: JobSpec, key: str) -> bool:
    """Whether a key of the job's file is one of a step that does not run here."""
    parts = key.split(".")
    nodes = [part for name, part in zip(parts[::2], parts[1::2], strict=False) if name == "jobs"]
    inside = [step for step in spec.steps.values() if not nodes or step.node[: len(nodes)] == tuple(nodes)]
    is_of_step = bool(nodes) or len(spec.steps) == 1
    return is_of_step and bool(inside) and all(step.refusal is not None for step in inside)


def _within(node: Node, at: str) -> Iterator[KeyUse]:
    if not isinstance(node.value, Mapping):
        return
    names_are_given = at.rpartition(".")[2] in _NAMING
    for name, item in node.value.items():
        key = "*" if names_are_given else name
        path = f"{at}.{key}" if at else key
        if isinstance(item.value, Mapping) and has_rows_below(path):
            yield from _within(item, path)
        elif (found := row_of(path)) is not None:
            known_as, row = found
            if row.treatment in _TOLD and row.holds(item.value):
                yield KeyUse(item.place, known_as, row)

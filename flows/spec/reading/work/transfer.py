"""Checks of data transfer steps and components: what the Azure ML client refuses of them before it sends anything."""

from collections.abc import Mapping

from flows.spec.model.job import DATA_TYPES, LITERAL_TYPES
from flows.spec.reading.ports.bindings import expression
from flows.spec.text import keys
from flows.spec.text.section import Section
from flows.spec.text.shape import of_shape
from flows.spec.text.yaml_lines import Node

_TASKS = frozenset({"copy_data", "import_data", "export_data"})
_PORTS_OF_DATA = DATA_TYPES | {"path"}
_COPY_MODES = frozenset({"merge_with_overwrite", "fail_if_conflict"})
# By task: where data comes from or goes to, the one port on the other side, and its type by the type of the former.
_ENDS: Mapping[str, tuple[str, str, str, Mapping[str, str]]] = {
    "import_data": ("source", "outputs", "sink", {"database": "mltable", "file_system": "uri_folder"}),
    "export_data": ("sink", "inputs", "source", {"database": "uri_file"}),
}
# The same of a component: the type of the one port is not by that of the end there.
_DECLARED_TYPES: Mapping[str, frozenset[str]] = {
    "import_data": frozenset({"mltable", "uri_folder"}),
    "export_data": frozenset({"uri_file", "uri_folder"}),
}


def check_transfer(section: Section, component: Section | None = None) -> None:
    """Note what is wrong with a data transfer step.

    Args:
        section: The step.
        component: The component in a file that it names; None where it declares its work in place.
    """
    task = _task(section)
    if component is not None:
        if task in _ENDS:
            section.fault("component", f"a step that is to {task} names no component in a file", "Declare it in place.")
        return
    section.choice("data_copy_mode", _COPY_MODES, "mode")
    if task == "copy_data":
        if len(section.section("outputs").entries) > 1:
            section.fault("outputs", "a step that is to copy_data has more than one output", "Keep one.")
        given = section.section("inputs")
        for name, node in given.entries.items():
            if _is_literal(node):
                given.fault(name, f"{name} is no data, which is all that copy_data moves", "Write {path: …}.")
    if task is not None and task in _ENDS:
        _check_ends(section, task, *_ENDS[task])


def _check_ends(section: Section, task: str, end: str, key: str, name: str, types: Mapping[str, str]) -> None:
    if end not in section:
        section.missing(end, f"a step that is to {task} has no {end}", f"Add {end}: with type and connection.")
        return
    kind = section.section(end).choice("type", frozenset(types), "type", exact=True)
    if "connection" not in section.section(end):
        section.section(end).missing("connection", f"the {end} has no connection", "Add connection: azureml:<name>.")
    given = section.section(key)
    if list(given.entries) != [name]:
        message = f"a step that is to {task} has one of the {key}, {name}"
        section.fault(key if key in section else "", message, f"Write {key}: {{{name}: …}}.")
        return
    if kind is None or not isinstance(given.entries[name].value, Mapping):
        return
    port, wanted = given.section(name), types[kind]
    if "value" not in port and (found := (port.text("type") or "uri_folder").lower()) != wanted:
        port.fault("type" if "type" in port else "", f"{name} is {found}, and of a {kind} {wanted}", f"Write {wanted}.")


def check_transfer_component(section: Section) -> None:
    """Note what is wrong with a component of a data transfer, registered or named by a step."""
    task = _task(section)
    if task == "copy_data":
        section.choice("data_copy_mode", _COPY_MODES, "mode")
        if "outputs" in section and len(section.section("outputs").entries) != 1:
            section.fault("outputs", "a component that is to copy_data has one output", "Keep one.")
        for name, port in section.section("inputs").sections():
            _check_type(port, name, _PORTS_OF_DATA, task)
    elif task is not None:
        _check_declared_ends(section, task)


def check_copies(section: Section) -> None:
    """Note what keeps a component that is to copy data from being registered; a step may name it all the same."""
    inputs, outputs = section.section("inputs").entries, section.section("outputs").entries
    task = section.entries.get("task")
    if task is None or task.value != "copy_data":
        return
    if not inputs:
        section.missing("inputs", "a component that is to copy_data has no inputs", "Declare what it copies.")
    if "outputs" not in section:
        section.missing("outputs", "a component that is to copy_data has no output", "Declare where it copies to.")
    if len(outputs) != 1 or not inputs:
        return
    (to,), of = map(_type, outputs.values()), [_type(node) for node in inputs.values()]
    wanted = of[0] if len(of) == 1 else "uri_folder"
    if to is not None and wanted is not None and to != wanted:
        (name,) = outputs
        message = f"{name} is {to}, and what is copied there {wanted}"
        section.section("outputs").section(name).fault("type", message, f"Write type: {wanted}.")


def _task(section: Section) -> str | None:
    if "task" not in section:
        section.missing("task", "a data transfer has no task", "Add task: copy_data.")
    return section.choice("task", _TASKS, "task", exact=True)


def _check_declared_ends(section: Section, task: str) -> None:
    end, key, name, _ = _ENDS[task]
    if end not in section:
        section.missing(end, f"a component that is to {task} has no {end}", f"Add {end}: with a type.")
    else:
        declared = of_shape(section.section(end), keys.TRANSFER_END, f"the {end} of a component")
        if section.entries[end].value is not None and "type" not in declared:
            declared.missing("type", f"the {end} has no type", "Add type: database, or type: file_system.")
        declared.choice("type", frozenset({"database", "file_system"}), "type")
    other = "inputs" if key == "outputs" else "outputs"
    if other in section:
        section.fault(other, f"a component that is to {task} has no {other}", "Leave it out.")
    if key not in section:
        return
    given = section.section(key)
    if list(given.entries) != [name]:
        section.fault(
            key, f"a component that is to {task} has one of the {key}, {name}", f"Write {key}: {{{name}: …}}."
        )
        return
    port = of_shape(given.section(name), keys.TRANSFER_END, f"the port {name} of a component that is to {task}")
    _check_type(port, name, _DECLARED_TYPES[task], task)


def _check_type(port: Section, name: str, types: frozenset[str], task: str) -> None:
    """Note a type that a port can have, and not in such a component; what is no type at all is noted elsewhere."""
    kind = _type(port.node)
    if kind in (_PORTS_OF_DATA | LITERAL_TYPES) - types:
        remedy = f"The types are: {', '.join(sorted(types))}."
        port.fault("type", f"{name} is {kind}, and a component that is to {task} cannot have it so", remedy)


def _type(node: Node) -> str | None:
    kind = node.value.get("type") if isinstance(node.value, Mapping) else None
    return kind.value if kind is not None and isinstance(kind.value, str) else None


def _is_literal(node: Node) -> bool:
    if isinstance(node.value, Mapping):
        return "value" in node.value
    return isinstance(node.value, bool | int | float) or (
        isinstance(node.value, str) and expression(node.value) is None
    )

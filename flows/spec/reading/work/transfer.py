"""Checks of data transfer steps: what the Azure ML client refuses of them before it sends anything."""

from collections.abc import Mapping

from flows.spec.text.section import Section

_TASKS = frozenset({"copy_data", "import_data", "export_data"})
_COPY_MODES = frozenset({"merge_with_overwrite", "fail_if_conflict"})
# By task: where data comes from or goes to, the one port on the other side, and its type by the type of the former.
_ENDS: Mapping[str, tuple[str, str, str, Mapping[str, str]]] = {
    "import_data": ("source", "outputs", "sink", {"database": "mltable", "file_system": "uri_folder"}),
    "export_data": ("sink", "inputs", "source", {"database": "uri_file"}),
}


def check_transfer(section: Section, component: Section | None = None) -> None:
    """Note what is wrong with a data transfer step.

    Args:
        section: The step.
        component: The component in a file that it names; None where it declares its work in place.
    """
    if "task" not in section:
        section.missing("task", "a data transfer has no task", "Add task: copy_data.")
    task = section.choice("task", _TASKS, "task", exact=True)
    if component is not None:
        if task in _ENDS:
            section.fault("component", f"a step that is to {task} names no component in a file", "Declare it in place.")
        return
    section.choice("data_copy_mode", _COPY_MODES, "mode", exact=True)
    if task == "copy_data" and len(section.section("outputs").entries) > 1:
        section.fault("outputs", "a step that is to copy_data has more than one output", "Keep one.")
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

"""Reader of the values of inputs in jobs and steps: literals, data and bindings."""

import re
from collections.abc import Mapping

from flows.spec.literals import type_of
from flows.spec.model.job import (
    DATA_TYPES,
    LITERAL_TYPES,
    DataReference,
    InputBinding,
    InputPort,
    JobInput,
    Literal,
    ParentInput,
    StepOutput,
)
from flows.spec.reading.ports.bindings import StepInputBinding, expression, input_binding
from flows.spec.reading.ports.port_names import KEY, check_names
from flows.spec.text import keys
from flows.spec.text.locations import is_remote, local
from flows.spec.text.section import Section, finite_number
from flows.spec.text.shape import of_shape
from flows.spec.text.yaml_lines import Node

DEFAULT_TYPE = "uri_folder"


def job_inputs(section: Section, rule: re.Pattern[str] = KEY) -> dict[str, JobInput]:
    """The inputs of a job with their values, from its ``inputs``; ``rule`` says what they may be called."""
    check_names(section, rule, "input")
    found: dict[str, JobInput] = {}
    for name, node in section.entries.items():
        kind = open_type(section, name, node)
        if kind is not None:
            found[name] = JobInput(InputPort(name, kind, place=section.place(name)), None)
            continue
        value = input_value(section, name, node, None)
        if isinstance(value, ParentInput | StepOutput | StepInputBinding):
            section.fault(name, "an input of a job has no parent to be bound to", "Give it a value.")
        given = value if isinstance(value, Literal | DataReference) else None
        port = InputPort(name, value_type(value, node), inferred=True, place=section.place(name))
        found[name] = JobInput(port, given)
    return found


def open_type(section: Section, name: str, node: Node) -> str | None:
    """The type of data whose path the file leaves open; None for an input that has a value.

    Args:
        section: The ``inputs`` that it stands in.
        name: Its name.
        node: What stands there.
    """
    if not isinstance(node.value, Mapping) or not node.value or {"path", "value"} & node.value.keys():
        return None
    declared = node.value.get("type")
    if declared is not None and isinstance(declared.value, str) and declared.value in LITERAL_TYPES:
        return None
    inner = section.section(name)
    _check_keys(inner)
    inner.choice("mode", keys.INPUT_MODES, "mode")
    return inner.choice("type", DATA_TYPES, "type") or DEFAULT_TYPE


def component_inputs(ports: Mapping[str, InputPort]) -> dict[str, JobInput]:
    """The inputs of a component as those of a job: each with its default, if it has one."""
    return {
        name: JobInput(port, None if port.default is None else Literal(port.default)) for name, port in ports.items()
    }


def input_value(
    section: Section, name: str, node: Node, port: InputPort | None
) -> InputBinding | StepInputBinding | None:
    """What an input is given: a literal, data, or a binding.

    Args:
        section: The ``inputs`` that it stands in.
        name: Its name.
        node: What stands there.
        port: The port that the component declares for it, where there is one: text at a data port is a path.

    Returns:
        The value, or None where there is a fault, which is then noted.
    """
    match node.value:
        case None:
            section.fault(name, "the input has no value", "Give it a value, or leave the key out.")
        case bool() | int() | float() if finite_number(str(node.value)) is not None or isinstance(node.value, bool):
            return Literal(str(node.value))
        case int() | float():
            section.fault(name, f"{node.value} is not a finite number", "Azure ML takes finite numbers only.")
        case str():
            return _from_text(section, name, node.value, port)
        case tuple():
            section.fault(name, "an input cannot be a list", "Give a number, text, or a mapping with type and path.")
        case _:
            return _from_mapping(section, name, port)
    return None


def value_type(value: object, node: Node) -> str:
    """The port type that Azure ML infers for a value that no component declares."""
    if isinstance(value, DataReference):
        return value.type
    inner = node
    if isinstance(node.value, Mapping) and _is_wrapped(node):
        inner = node.value["value"]
        if isinstance(inner.value, int | float):
            return "boolean" if inner.value in (0, 1) else "integer"
    return type_of(inner.value) if isinstance(inner.value, bool | int | float | str) else DEFAULT_TYPE


def _from_text(
    section: Section, name: str, text: str, port: InputPort | None
) -> InputBinding | StepInputBinding | None:
    path = expression(text)
    if path is not None:
        binding = input_binding(path)
        if binding is None:
            remedy = "Write ${{parent.inputs.<name>}} or ${{parent.jobs.<step>.outputs.<name>}}."
            if input_binding(f"parent.{path}") is not None:  # the spelling of the preview
                remedy = f"Write ${{{{parent.{path}}}}}."
            section.fault(name, f"{text} names nothing that an input can be bound to", remedy)
        return binding
    if port is not None and not port.is_literal:
        return DataReference(port.type, _path(section, text))
    return Literal(text)


def _from_mapping(section: Section, name: str, port: InputPort | None) -> InputBinding | StepInputBinding | None:
    inner = section.section(name)
    declared = inner.entries.get("type")
    if declared is not None and isinstance(declared.value, str) and declared.value in LITERAL_TYPES:
        inner.fault("", "only a component declares the type of a literal", f"Write the value itself, as in {name}: 1.")
        return None
    if _is_wrapped(inner.node):
        of_shape(inner, {"value": keys.Kind.READ}, "a literal input")
        wrapped = inner.entries["value"]
        if isinstance(wrapped.value, int | float) and finite_number(str(wrapped.value)) is not None:
            return _wrapped_number(section, name, wrapped.value)
        if not isinstance(wrapped.value, Mapping):
            return input_value(inner, "value", wrapped, port)
        inner.fault("value", "a literal cannot be a mapping", "Give a number or text.")
        return None
    _check_keys(inner)
    kind = inner.choice("type", DATA_TYPES, "type")
    mode = inner.choice("mode", keys.INPUT_MODES, "mode")
    path = inner.text("path")
    if path is None:
        if "path" not in inner:
            section.fault(name, "the data input has no path", "Add path: azureml:<name>:<version>.")
        return None
    if (bound := expression(path)) is not None:
        return _from_text(inner, "path", path, port) if bound else None
    return DataReference(kind or DEFAULT_TYPE, _path(section, path), mode)


def _check_keys(inner: Section) -> None:
    kind = inner.entries.get("type")
    is_model = kind is not None and isinstance(kind.value, str) and kind.value.lower().endswith("_model")
    of_shape(inner, keys.MODEL_VALUE if is_model else keys.DATA_VALUE, "a model input" if is_model else "a data input")


def _wrapped_number(section: Section, name: str, value: bool | int | float) -> Literal:
    """A number in ``{value: …}``, as the client sends it: 1 and 0 as True and False, any other without its fraction."""
    sent = str(bool(value)) if value in (0, 1) else str(int(value))
    if sent != str(value):
        section.warn(name, f"Azure ML sends {sent} for {{value: {value}}}", f"Write the value itself: {name}: {value}.")
    return Literal(sent)


def _is_wrapped(node: Node) -> bool:
    return isinstance(node.value, Mapping) and "value" in node.value and "path" not in node.value


def _path(section: Section, path: str) -> str:
    return path if is_remote(path) else str(local(path, section.folder))

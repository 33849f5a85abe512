"""The inputs and outputs of components and jobs, from YAML."""

from collections.abc import Mapping

from flows.spec import keys
from flows.spec.bindings import expression, input_binding, output_binding
from flows.spec.literals import default_text, number, type_of
from flows.spec.locations import is_remote, local
from flows.spec.model import (
    DATA_TYPES,
    LITERAL_TYPES,
    DataReference,
    InputBinding,
    InputPort,
    JobInput,
    Literal,
    OutputPort,
    ParentInput,
    ParentOutput,
    StepOutput,
)
from flows.spec.section import Section, a, nearest
from flows.spec.yaml_lines import Node

# ``path`` is the older name of uri_folder; the client still takes it in components.
_PORT_TYPES = LITERAL_TYPES | DATA_TYPES | {"path"}
DEFAULT_TYPE = "uri_folder"


def declared_inputs(section: Section) -> dict[str, InputPort]:
    """The input ports of a component, from its ``inputs``."""
    return {name: _input_port(name, port) for name, port in section.sections()}


def declared_outputs(section: Section) -> dict[str, OutputPort]:
    """The output ports of a component, from its ``outputs``."""
    return {name: _output_port(name, port) for name, port in section.sections()}


def job_inputs(section: Section) -> dict[str, JobInput]:
    """The inputs of a job with their values, from its ``inputs``."""
    found: dict[str, JobInput] = {}
    for name, node in section.entries.items():
        value = input_value(section, name, node, None)
        if isinstance(value, ParentInput | StepOutput):
            section.fault(name, "an input of a job has no parent to be bound to", "Give it a value.")
        given = value if isinstance(value, Literal | DataReference) else None
        found[name] = JobInput(
            InputPort(name, value_type(value, node), inferred=True, place=section.place(name)), given
        )
    return found


def job_outputs(section: Section) -> dict[str, OutputPort]:
    """The outputs of a job, or of a step that declares its command in place."""
    found: dict[str, OutputPort] = {}
    for name, node in section.entries.items():
        if node.value is None or isinstance(node.value, str):  # a bare ``name:``, or a binding
            found[name] = OutputPort(name, DEFAULT_TYPE, place=section.place(name))
            continue
        output = section.section(name)
        output.refuse_unknown(keys.OUTPUT_VALUE, "an output")
        path = output.text("path")
        path = None if path is None or expression(path) else path
        kind = _type(output, DATA_TYPES) or DEFAULT_TYPE
        found[name] = OutputPort(name, kind, path, output.text("mode"), section.place(name))
    return found


def output_bindings(section: Section) -> dict[str, ParentOutput]:
    """The outputs of a step that are delivered as outputs of the job, from the step's ``outputs``."""
    found: dict[str, ParentOutput] = {}
    for name, node in section.entries.items():
        text = node.value if isinstance(node.value, str) else _bound_path(section, name, node)
        if text is None:
            continue
        binding = output_binding(expression(text) or "")
        if binding is None:
            section.fault(name, f"{text} is not an output of the job", "Write ${{parent.outputs.<name>}}.")
        else:
            found[name] = binding
    return found


def _bound_path(section: Section, name: str, node: Node) -> str | None:
    """The binding of an output that is written as a mapping; None where it has none."""
    path = None if node.value is None else section.section(name).text("path")
    return path if path is not None and expression(path) is not None else None


def input_value(section: Section, name: str, node: Node, port: InputPort | None) -> InputBinding | None:
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
        case bool() | int() | float() if number(str(node.value)) is not None or isinstance(node.value, bool):
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


def value_type(value: InputBinding | None, node: Node) -> str:
    """The port type that Azure ML infers for a value that no component declares."""
    if isinstance(value, DataReference):
        return value.type
    inner = node.value["value"] if isinstance(node.value, Mapping) and _is_wrapped(node) else node
    return type_of(inner.value) if isinstance(inner.value, bool | int | float | str) else DEFAULT_TYPE


def _from_text(section: Section, name: str, text: str, port: InputPort | None) -> InputBinding | None:
    path = expression(text)
    if path is not None:
        binding = input_binding(path)
        if binding is None:
            remedy = "Write ${{parent.inputs.<name>}} or ${{parent.jobs.<step>.outputs.<name>}}."
            section.fault(name, f"{text} names nothing that an input can be bound to", remedy)
        return binding
    if port is not None and not port.is_literal:
        return DataReference(port.type, _path(section, text))
    return Literal(text)


def _from_mapping(section: Section, name: str, port: InputPort | None) -> InputBinding | None:
    inner = section.section(name)
    if _is_wrapped(inner.node):
        inner.refuse_unknown(frozenset({"value"}), "a literal input")
        wrapped = inner.entries["value"]
        if not isinstance(wrapped.value, Mapping):
            return input_value(inner, "value", wrapped, port)
        inner.fault("value", "a literal cannot be a mapping", "Give a number or text.")
        return None
    declared = inner.entries.get("type")
    if declared is not None and declared.value in LITERAL_TYPES:
        inner.fault("", "only a component declares the type of a literal", f"Write the value itself, as in {name}: 1.")
        return None
    inner.refuse_unknown(keys.DATA_VALUE, "a data input")
    kind = _type(inner, DATA_TYPES)
    path = inner.text("path")
    if path is None:
        if "path" not in inner:
            section.fault(name, "the data input has no path", "Add path: azureml:<name>:<version>.")
        return None
    if (bound := expression(path)) is not None:
        return _from_text(inner, "path", path, port) if bound else None
    return DataReference(kind or DEFAULT_TYPE, _path(section, path), inner.text("mode"))


def _is_wrapped(node: Node) -> bool:
    return isinstance(node.value, Mapping) and "value" in node.value and "path" not in node.value


def _path(section: Section, path: str) -> str:
    return path if is_remote(path) else str(local(path, section.folder))


def _type(section: Section, known: frozenset[str]) -> str | None:
    kind = section.text("type")
    if kind is not None and kind not in known:
        section.fault("type", f"{kind} is not a type that can stand here", nearest(kind, known, "types"))
        return None
    return kind


def _input_port(name: str, section: Section) -> InputPort:
    kind = _type(section, _PORT_TYPES)
    if kind is None and "type" not in section:
        section.fault("", f"the input {name} has no type", "Add type: string, number, uri_file, uri_folder, ….")
    literal = kind is None or kind in LITERAL_TYPES
    if kind is not None:
        section.refuse_unknown(keys.LITERAL_PORT if literal else keys.DATA_PORT, f"{a(kind)} input")
    return InputPort(
        name=name,
        type=kind or "string",
        optional=section.flag("optional", False),
        default=_default(section, kind or "string"),
        enum=tuple(_choice(section, item) for item in section.items("enum")),
        minimum=_bound(section, "min"),
        maximum=_bound(section, "max"),
        description=section.text("description") or "",
        place=section.node.place,
    )


def _output_port(name: str, section: Section) -> OutputPort:
    section.refuse_unknown(keys.OUTPUT_PORT, "an output")
    kind = _type(section, DATA_TYPES | {"path"})
    if kind is None and "type" not in section:
        section.fault("", f"the output {name} has no type", "Add type: uri_file, uri_folder, mlflow_model, ….")
    return OutputPort(name, kind or DEFAULT_TYPE, mode=section.text("mode"), place=section.node.place)


def _default(section: Section, kind: str) -> str | None:
    node = section.entries.get("default")
    if node is None:
        return None
    if kind not in LITERAL_TYPES:
        section.fault("default", f"an input of type {kind} has no default", "Make it optional instead.")
        return ""
    value = node.value
    text = default_text(value, kind) if isinstance(value, bool | int | float | str) else None
    if text is None:
        section.fault("default", f"the default {node.plain()} is not of type {kind}", f"Give {a(kind)}.")
    # A default that cannot be read is still one: the input is not required.
    return text or ""


def _choice(section: Section, item: Node) -> str:
    if isinstance(item.value, str):
        return item.value
    section.fault("enum", f"the choice {item.plain()} is {item.kind}", "Put every choice of an enum in quotes.")
    return str(item.plain())


def _bound(section: Section, key: str) -> float | None:
    node = section.entries.get(key)
    if node is None:
        return None
    value = None if isinstance(node.value, bool) else number(str(node.plain()))
    if value is None:
        section.fault(key, f"{key} is not a number", "Give a number.")
    return value

"""Reader of the declared inputs and outputs of components and jobs."""

import re
from collections.abc import Mapping
from dataclasses import replace

from flows.spec.literals import default_text
from flows.spec.model.job import DATA_TYPES, LITERAL_TYPES, InputPort, OutputPort, ParentOutput
from flows.spec.reading.ports.bindings import expression, output_binding
from flows.spec.reading.ports.input_values import DEFAULT_TYPE
from flows.spec.reading.ports.port_names import GROUPED, KEY, check_names
from flows.spec.text import keys
from flows.spec.text.locations import is_remote, local
from flows.spec.text.names import MAX_NAME_BYTES, shown, unfit
from flows.spec.text.section import Section
from flows.spec.text.shape import of_shape
from flows.spec.text.words import a
from flows.spec.text.yaml_lines import Node

_ASSET_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{MAX_NAME_BYTES}}}")
_ASSET_VERSION = re.compile(r"[\w.-]+")
# ``path`` is the older name of uri_folder; the client still takes it in components.
_PORT_TYPES = LITERAL_TYPES | DATA_TYPES | {"path"}
_WITH_RANGE = frozenset({"number", "integer"})
_WITHOUT_RANGE = {key: kind for key, kind in keys.LITERAL_PORT.items() if key not in ("min", "max")}


def declared_inputs(section: Section) -> dict[str, InputPort]:
    """The input ports of a component, from its ``inputs``."""
    check_names(section, GROUPED, "input", alike=True)
    return {name: _input_port(name, port) for name, port in section.sections()}


def declared_outputs(section: Section) -> dict[str, OutputPort]:
    """The output ports of a component, from its ``outputs``."""
    check_names(section, GROUPED, "output", alike=True)
    return {name: _output_port(name, port) for name, port in section.sections()}


def job_outputs(section: Section) -> dict[str, OutputPort]:
    """The outputs of a job, or of a step that declares its command in place."""
    check_names(section, KEY, "output", alike=True)
    return {name: _given_output(section, name, OutputPort(name, DEFAULT_TYPE)) for name in section.entries}


def with_settings(ports: Mapping[str, OutputPort], section: Section) -> dict[str, OutputPort]:
    """The outputs of a component, with what a step's ``outputs`` say of their path, mode and registration."""
    given = {
        name: _given_output(section, name, ports.get(name, OutputPort(name, DEFAULT_TYPE)), is_of_step=True)
        for name in section.entries
    }
    known = {name: ports[name] for name in given if name in ports}
    return {**ports, **{name: replace(given[name], type=port.type, place=port.place) for name, port in known.items()}}


def output_bindings(section: Section) -> dict[str, ParentOutput]:
    """The outputs of a step that are delivered as outputs of the job, from the step's ``outputs``."""
    found: dict[str, ParentOutput] = {}
    for name, node in section.entries.items():
        text = node.value if isinstance(node.value, str) else _bound_path(section, name, node)
        if text is None:
            continue
        path = expression(text) or ""
        binding = output_binding(path)
        if binding is None:
            remedy = f"Write ${{{{parent.{path}}}}}." if output_binding(f"parent.{path}") else _BIND
            section.fault(name, f"{text} is not an output of the job", remedy)
        else:
            found[name] = binding
    return found


# With one of these, an output that is bound by its path is read key by key.
_BESIDE_A_BINDING = frozenset({"mode", "name", "version"})
_BIND = "Write ${{parent.outputs.<name>}}."


def _bound_path(section: Section, name: str, node: Node) -> str | None:
    """The binding of an output that is written as a mapping; None where it has none."""
    if not isinstance(node.value, Mapping):
        return None
    path = section.section(name).text("path")
    return path if path is not None and expression(path) is not None else None


def _given_output(section: Section, name: str, port: OutputPort, is_of_step: bool = False) -> OutputPort:
    """A port with what the file says of the output; a bare ``name:`` or a binding says nothing."""
    node = section.entries[name]
    port = replace(port, place=section.place(name))
    if node.value is None or isinstance(node.value, str):
        return port
    output = section.section(name)
    path = output.text("path")
    path = None if path is None or expression(path) else path
    # Of an output that a step only binds, the client reads the path and no more.
    is_bound = "path" in output and path is None and not _BESIDE_A_BINDING & output.entries.keys()
    of_shape(output, keys.OUTPUT_VALUE, "an output", ignored=is_of_step and is_bound)
    return replace(
        port,
        type=output.choice("type", DATA_TYPES, "type") or port.type,
        path=path if path is None or is_remote(path) else str(local(path, section.folder)),
        mode=output.choice("mode", keys.OUTPUT_MODES, "mode") or port.mode,
        **_asset(output),
    )


def _asset(output: Section) -> dict[str, str | None]:
    """The name and version that an output is registered under."""
    name, version = output.text("name") or None, output.label("version") or None
    if name is not None and not _ASSET_NAME.fullmatch(name):
        remedy = f"Use letters, digits, - and _, {MAX_NAME_BYTES} at most."
        output.fault("name", f"no asset can be called {shown(name)!r}", remedy)
    if version is not None and name is None:
        output.fault("version", "an output with a version has no name", "Add name:, or remove version:.")
    elif version is not None and (unfit(f"{version}.yml") is not None or not _ASSET_VERSION.fullmatch(version)):
        output.fault("version", f"{shown(version)!r} cannot be a version of an asset", "Use a number, such as 1.")
    return {"asset_name": name, "asset_version": version}


def _input_port(name: str, section: Section) -> InputPort:
    kind = section.choice("type", _PORT_TYPES, "type", exact=True)
    if kind is None and "type" not in section:
        section.fault("", f"the input {name} has no type", "Add type: string, number, uri_file, uri_folder, ….")
    literal = kind is None or kind in LITERAL_TYPES
    if kind is not None:
        shape = keys.DATA_PORT if not literal else keys.LITERAL_PORT if kind in _WITH_RANGE else _WITHOUT_RANGE
        section = of_shape(section, shape, f"{a(kind)} input")
        section.choice("mode", keys.PORT_MODES, "mode", exact=True)
    return InputPort(
        name=name,
        type=kind or "string",
        optional=section.flag("optional", False),
        default=_default(section, kind or "string"),
        enum=tuple(_choice(section, item) for item in section.items("enum")),
        minimum=section.number("min"),
        maximum=section.number("max"),
        description=section.text("description") or "",
        place=section.node.place,
    )


def _output_port(name: str, section: Section) -> OutputPort:
    kind = section.choice("type", _PORT_TYPES, "type", exact=True)
    literal = kind in LITERAL_TYPES
    of_shape(section, keys.LITERAL_OUTPUT_PORT if literal else keys.OUTPUT_PORT, "an output", ignored=literal)
    if kind is None and "type" not in section:
        section.fault("", f"the output {name} has no type", "Add type: uri_file, uri_folder, mlflow_model, ….")
    mode = section.choice("mode", keys.PORT_MODES, "mode", exact=True)
    return OutputPort(name, kind or DEFAULT_TYPE, mode=mode, place=section.node.place)


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

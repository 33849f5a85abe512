"""A command component, from its own YAML file or from the step or job that declares it in place."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from flows.spec import keys
from flows.spec.environments import environment_from
from flows.spec.locations import is_remote, local
from flows.spec.model import Component, InputPort, OutputPort
from flows.spec.ports import declared_inputs, declared_outputs
from flows.spec.section import Section


def component_from(section: Section, fallback_name: str) -> Component | None:
    """The component that a component YAML declares; None, with a fault, where it is of another kind."""
    kind = section.text("type")
    if kind is not None and kind.lower() != "command":
        section.fault("type", f"a component of type {kind} is not supported", "Tandem runs command components.")
        return None
    section.refuse_unknown(keys.COMMAND_COMPONENT, "a command component")
    inputs = declared_inputs(section.section("inputs"))
    outputs = declared_outputs(section.section("outputs"))
    return command_from(section, fallback_name, inputs, outputs)


def command_from(
    section: Section, name: str, inputs: Mapping[str, InputPort], outputs: Mapping[str, OutputPort]
) -> Component:
    """What a component, a command job and a step with its command in place have in common."""
    command = section.text("command")
    if "command" not in section or command == "":
        section.fault("command", "there is no command", "Add command: with what the step runs.")
    environment = environment_from(section)
    if "environment" not in section:
        section.fault("environment", "there is no environment", "Add environment: azureml:<name>@latest.")
    return Component(
        name=section.text("name") or name,
        command=command or "",
        source=Path(local(section.file.name, section.folder)),
        version=section.label("version"),
        display_name=section.text("display_name"),
        code=_code(section),
        additional_includes=_includes(section),
        environment=environment,
        environment_variables=environment_variables(section),
        inputs=MappingProxyType(dict(inputs)),
        outputs=MappingProxyType(dict(outputs)),
        is_deterministic=section.flag("is_deterministic", True),
    )


def environment_variables(section: Section) -> Mapping[str, str]:
    """The environment variables, each as text; values are not substituted, as in Azure ML."""
    found: dict[str, str] = {}
    variables = section.section("environment_variables")
    for name, node in variables.entries.items():
        if isinstance(node.value, bool | int | float | str):
            found[name] = str(node.value)
        else:
            variables.fault(name, f"the variable {name} is {node.kind}", "Give it text.")
    return MappingProxyType(found)


def timeout(section: Section) -> int | None:
    """The seconds after which a step is to be stopped, from its ``limits``."""
    limits = section.section("limits")
    limits.refuse_unknown(frozenset({"timeout"}), "limits")
    return limits.integer("timeout")


def _code(section: Section) -> Path | None:
    code = section.text("code")
    if code is None:
        return None
    if is_remote(code):
        section.fault("code", f"{code} is not on this machine", "Name a local folder.")
        return None
    return _existing(section, "code", code)


def _includes(section: Section) -> tuple[Path, ...]:
    found: list[Path] = []
    for item in section.items("additional_includes"):
        if not isinstance(item.value, str):
            section.fault("additional_includes", f"an entry is {item.kind}", "Make every entry a path.")
        elif (path := _existing(section, "additional_includes", item.value)) is not None:
            found.append(path)
    return tuple(found)


def _existing(section: Section, key: str, path: str) -> Path | None:
    found = local(path, section.folder)
    try:
        exists = found.exists()
    except (OSError, ValueError):  # a name that no file can have
        exists = False
    if not exists:
        section.fault(key, f"there is no file or folder {path}", f"It is looked for at {found}.")
    return found if exists else None

"""The steps of a pipeline job, from YAML. A kind of step that is to be supported gets its reader here."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from flows.spec import keys
from flows.spec.component import command_from, component_from, environment_variables, timeout
from flows.spec.environments import environment_from
from flows.spec.locations import beside, is_remote
from flows.spec.model import (
    Component,
    InputBinding,
    InputPort,
    JobInput,
    OutputPort,
    ParentInput,
    Place,
    Step,
    StepOutput,
)
from flows.spec.ports import DEFAULT_TYPE, input_value, job_outputs, output_bindings, value_type
from flows.spec.section import Section
from flows.spec.yaml_lines import Node, load

_STEP_NAME = re.compile(r"[a-z_][a-z0-9_]*")


def steps_from(section: Section, job_inputs: Mapping[str, JobInput]) -> tuple[dict[str, Step], dict[str, Place]]:
    """Read the steps of a pipeline job, from its ``jobs``.

    Args:
        section: ``jobs``.
        job_inputs: The inputs of the job, which a command in place takes its types from.

    Returns:
        The steps in the order of the file, and where the command of each stands.
    """
    return _Steps(section, job_inputs).read()


class _Steps:
    def __init__(self, section: Section, job_inputs: Mapping[str, JobInput]) -> None:
        self._section = section
        self._job_inputs = job_inputs
        self._files: dict[Path, Section | None] = {}
        self._places: dict[str, Place] = {}

    def read(self) -> tuple[dict[str, Step], dict[str, Place]]:
        read = {name: self._step(name, step) for name, step in self._section.sections()}
        steps = {name: step for name, step in read.items() if step is not None}
        return {name: steps.get(name) or _stand_in(name, steps) for name in self._section.entries}, self._places

    def _step(self, name: str, section: Section) -> Step | None:
        if not _STEP_NAME.fullmatch(name):
            section.fault("", f"{name} cannot name a step", "Use small letters, digits and underscores.")
        kind = (section.text("type") or "command").lower()
        if kind != "command":
            section.fault("type", f"the step {name} is of type {kind}, which is not supported", "Make it a command.")
            return None
        section.refuse_unknown(keys.COMMAND_STEP, f"the step {name}")
        component = self._component(name, section)
        if component is None:
            return None
        environment = environment_from(section) if "component" in section else None
        return Step(
            name=name,
            component=replace(component, environment=environment) if environment else component,
            inputs=MappingProxyType(_bindings(section.section("inputs"), component.inputs)),
            outputs=MappingProxyType(output_bindings(section.section("outputs"))),
            environment_variables=environment_variables(section),
            compute=section.text("compute"),
            timeout_seconds=timeout(section),
            place=section.node.place,
        )

    def _component(self, name: str, section: Section) -> Component | None:
        node = section.entries.get("component")
        if node is None:
            return self._inline(name, section)
        declared = section.section("component") if isinstance(node.value, Mapping) else self._file(name, section)
        if declared is None:
            return None
        kind = declared.text("type") or "command"
        if kind.lower() != "command":
            message = f"the step {name} runs a component of type {kind}, which is not supported"
            section.fault("component", message, "Make it a command component.")
            return None
        self._places[f"jobs.{name}.command"] = declared.place("command")
        return component_from(declared, name)

    def _file(self, name: str, section: Section) -> Section | None:
        reference = section.text("component")
        if reference is None:
            return None
        if is_remote(reference):
            remedy = "Name the component's YAML file."
            section.fault("component", f"the step {name} runs {reference}, which is not on this machine", remedy)
            return None
        path = beside(reference, section.folder)
        if path not in self._files:
            node = load(path, section.faults) if _is_file(path) else None
            if not _is_file(path):
                section.fault("component", f"there is no file {path}", "A path is relative to the file that names it.")
            self._files[path] = Section(node, section.faults) if node else None
        return self._files[path]

    def _inline(self, name: str, section: Section) -> Component | None:
        if "command" not in section:
            section.fault("", f"the step {name} has neither component nor command", "Add component: ./<file>.yml.")
            return None
        given = section.section("inputs")
        inputs = {
            port: InputPort(port, self._type(given, port, node), inferred=True, place=node.place)
            for port, node in given.entries.items()
        }
        outputs = job_outputs(section.section("outputs"))
        # ``name`` at a step is that of its job; the component has none of its own.
        return replace(
            command_from(section, name, inputs, outputs), name=name, environment_variables=MappingProxyType({})
        )

    def _type(self, given: Section, name: str, node: Node) -> str:
        """The type of an input that no component declares: its own word, else that of what it is bound to."""
        if isinstance(node.value, Mapping) and "type" in node.value:
            kind = node.value["type"].value
            return kind if isinstance(kind, str) else DEFAULT_TYPE
        # What is wrong with the value is noted when it is read as a value.
        value = input_value(Section(given.node, []), name, node, None)
        if isinstance(value, ParentInput) and value.name in self._job_inputs:
            return self._job_inputs[value.name].port.type
        return DEFAULT_TYPE if isinstance(value, ParentInput | StepOutput) else value_type(value, node)


def _bindings(section: Section, ports: Mapping[str, InputPort]) -> dict[str, InputBinding]:
    found = {name: input_value(section, name, node, ports.get(name)) for name, node in section.entries.items()}
    return {name: value for name, value in found.items() if value is not None}


def _stand_in(name: str, steps: Mapping[str, Step]) -> Step:
    """A step in place of one that could not be read, with every output that others ask of it: one fault, not two."""
    asked = {
        binding.output
        for step in steps.values()
        for binding in step.inputs.values()
        if isinstance(binding, StepOutput) and binding.step == name
    }
    outputs = {output: OutputPort(output, "path") for output in asked}
    return Step(name, Component(name, "", Path(), outputs=outputs))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False

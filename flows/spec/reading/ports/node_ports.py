"""Reader of the inputs and outputs of a pipeline's nodes, also where no component declares them."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from flows.spec.model.job import InputBinding, InputPort, JobInput, OutputPort, ParentInput, Step, StepOutput
from flows.spec.reading.ports.bindings import StepInputBinding, expression, output_binding
from flows.spec.reading.ports.input_values import DEFAULT_TYPE, input_value, value_type
from flows.spec.reading.ports.port_names import NAMED, check_names
from flows.spec.reading.ports.ports import job_outputs
from flows.spec.text.section import Section
from flows.spec.text.yaml_lines import Node


def inferred_inputs(section: Section, above: Mapping[str, JobInput]) -> dict[str, InputPort]:
    """The inputs of a node that no component declares, each of the type of its value.

    Args:
        section: The node.
        above: The inputs of the pipeline.
    """
    given = section.section("inputs")
    check_names(given, NAMED, "input")
    return {
        name: InputPort(name, _type(given, name, node, above), inferred=True, place=node.place)
        for name, node in given.entries.items()
    }


def inferred_outputs(section: Section, above: Mapping[str, OutputPort]) -> dict[str, OutputPort]:
    """The outputs of a node that no component declares.

    One that is nothing but a binding has the type of the pipeline's output that it is bound to.
    """
    given = section.section("outputs")
    found = job_outputs(given)
    for name, node in given.entries.items():
        bound = output_binding(expression(node.value) or "") if isinstance(node.value, str) else None
        if bound is not None and bound.name in above:
            found[name] = replace(found[name], type=above[bound.name].type)
    return found


def bindings(section: Section, ports: Mapping[str, InputPort]) -> dict[str, InputBinding | StepInputBinding]:
    """What the inputs of a node are given, from its ``inputs``; one that a sweep searches is given nothing."""
    found = {
        name: input_value(section, name, node, ports.get(name))
        for name, node in section.entries.items()
        if not _is_searched(node)
    }
    return {name: value for name, value in found.items() if value is not None}


def with_asked_outputs(steps: Mapping[str, Step]) -> dict[str, Step]:
    """The steps of a pipeline: each whose component is not known here has every output that others ask of it."""
    asked: dict[str, dict[str, OutputPort]] = {}
    for step in steps.values():
        for binding in step.inputs.values():
            if isinstance(binding, StepOutput):
                asked.setdefault(binding.step, {})[binding.output] = OutputPort(binding.output, "path")

    def whole(step: Step) -> Step:
        if not step.component.is_open:
            return step
        outputs = MappingProxyType({**asked.get(step.name, {}), **step.component.outputs})
        return replace(step, component=replace(step.component, outputs=outputs))

    return {name: whole(step) for name, step in steps.items()}


def _type(given: Section, name: str, node: Node, above: Mapping[str, JobInput]) -> str:
    """The type of an input that no component declares: its own word, else that of what it is bound to."""
    if isinstance(node.value, Mapping) and "type" in node.value:
        kind = node.value["type"].value
        return kind.lower() if isinstance(kind, str) else DEFAULT_TYPE
    # What is wrong with the value is noted when it is read as a value.
    value = input_value(Section(given.node, []), name, node, None)
    if isinstance(value, ParentInput) and value.name in above:
        return above[value.name].port.type
    return DEFAULT_TYPE if isinstance(value, ParentInput | StepOutput | StepInputBinding) else value_type(value, node)


def _is_searched(node: Node) -> bool:
    path = expression(node.value) if isinstance(node.value, str) else None
    return path is not None and path.startswith("search_space.")

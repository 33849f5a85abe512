"""Resolves settings that are bound to inputs of the pipeline: ``instance_count: ${{parent.inputs.nodes}}``."""

from collections.abc import Mapping

from flows.spec.model.job import JobInput, Literal, ParentInput
from flows.spec.reading.ports.bindings import expression, input_binding
from flows.spec.text.section import Section, nearest
from flows.spec.text.yaml_lines import Node

# What is read as a binding, or cannot hold one. A compute is only a name.
_UNBOUND = frozenset(
    {"inputs", "outputs", "component", "trial", "type", "jobs", "task", "environment_variables", "compute"}
)


def with_bound_settings(section: Section, inputs: Mapping[str, JobInput], is_component: bool = False) -> Section:
    """A node with the values of the pipeline's inputs in its settings; what has no value yet is left out.

    Args:
        section: The node.
        inputs: The inputs of the pipeline.
        is_component: Whether the pipeline is a component, in which Azure ML takes a setting that names no input.
    """
    bound = {key for key, node in section.entries.items() if key not in _UNBOUND and _is_bound(node)}
    if not bound:
        return section
    found = {
        key: _substituted(section, key, node, inputs, is_component) if key in bound else node
        for key, node in section.entries.items()
    }
    entries = {key: node for key, node in found.items() if node is not None}
    return Section(Node(entries, section.node.place), section.faults)


def _substituted(
    section: Section, key: str, node: Node, inputs: Mapping[str, JobInput], is_component: bool
) -> Node | None:
    if isinstance(node.value, Mapping):
        inner = {name: _substituted(section, key, item, inputs, is_component) for name, item in node.value.items()}
        return Node({name: item for name, item in inner.items() if item is not None}, node.place)
    bound = input_binding(expression(node.value) or "") if isinstance(node.value, str) else None
    if not isinstance(bound, ParentInput):
        return node
    above = inputs.get(bound.name)
    if above is None:
        remedy = nearest(bound.name, frozenset(inputs), "inputs of the job")
        if is_component:
            section.warn(key, f"the pipeline component has no input {bound.name}, so {key} is left open", remedy)
        else:
            section.fault(key, f"the job has no input {bound.name}", remedy)
        return None
    return Node(above.value.text, node.place) if isinstance(above.value, Literal) else None


def _is_bound(node: Node) -> bool:
    if isinstance(node.value, Mapping):
        return any(_is_bound(item) for item in node.value.values())
    return isinstance(node.value, str) and "${{" in node.value

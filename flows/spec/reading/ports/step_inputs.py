"""Resolves inputs that are bound to the inputs of other steps."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from flows.spec.model.job import InputBinding, Literal, Step
from flows.spec.reading.ports.bindings import StepInputBinding
from flows.spec.text.section import Section, nearest

Deferred = Mapping[str, Mapping[str, StepInputBinding]]


def resolved(steps: Mapping[str, Step], deferred: Deferred, section: Section) -> dict[str, Step]:
    """The steps, with every input bound that is deferred to another step's input.

    Args:
        steps: The steps that could be read.
        deferred: By step and input, the other step's input that it is bound to.
        section: ``jobs``, where what is wrong is noted.
    """
    found, known = dict(steps), dict[StepInputBinding, InputBinding]()
    for name, inputs in deferred.items():
        for port, binding in inputs.items():
            value = _given(steps, deferred, section, name, port, binding, known)
            if value is not None:
                found[name] = replace(found[name], inputs=MappingProxyType({**found[name].inputs, port: value}))
    return found


def _given(
    steps: Mapping[str, Step],
    deferred: Deferred,
    section: Section,
    name: str,
    port: str,
    binding: StepInputBinding,
    known: dict[StepInputBinding, InputBinding],
) -> InputBinding | None:
    """The value that an input has; None, with a fault, where it cannot be found. ``known`` has what was found."""
    inputs = Section(section.entries[name], section.faults).section("inputs")
    seen: set[StepInputBinding] = set()
    while binding not in seen:
        if binding in known:
            known.update(dict.fromkeys(seen, known[binding]))
            return known[binding]
        seen.add(binding)
        step = steps.get(binding.step)
        if step is None:
            if binding.step not in section.entries:
                remedy = nearest(binding.step, frozenset(section.entries), "steps")
                inputs.fault(port, f"the job has no step {binding.step}", remedy)
            return None
        further = deferred.get(step.name, {}).get(binding.name)
        if further is None:
            declared = step.component.inputs.get(binding.name)
            if declared is None and not step.component.is_open:
                remedy = nearest(binding.name, frozenset(step.component.inputs), "inputs")
                inputs.fault(port, f"the step {binding.step} has no input {binding.name}", remedy)
            default = None if declared is None or declared.default is None else Literal(declared.default)
            value = step.inputs.get(binding.name, default)
            if value is not None:
                known.update(dict.fromkeys(seen, value))
            return value
        binding = further
    inputs.fault(port, "the inputs of the steps are bound in a circle", "Give one of them a value.")
    return None

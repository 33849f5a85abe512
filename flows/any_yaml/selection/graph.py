"""Selection of steps: the part of a job that is to be run, as a smaller job. Pure.

A selection is a function from a job to a smaller job. The steps that are chosen stay as they are, but for one thing: an
input that reads the output of a step that is left out is bound to the data which that output is, as an earlier job has
left it. Such data is a path on this machine or an address in a workspace, so that the smaller job is a job like any
other: it can be planned, run and submitted, and is reused by content. The rest goes: inputs of the job with data that
only steps read which are left out, and outputs of the job that none of the chosen steps delivers.

1. Which steps are chosen: :func:`steps_named` for ``--only``; those and :func:`downstream` for ``--from``; and for
   ``--resume`` all that are not finished, with what reads from them.
2. What these :func:`need` of the steps that are left out. Where it comes from is no matter of this module.
3. :func:`selected` makes the smaller job.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from flows.errors import ParameterError
from flows.spec.graph import order
from flows.spec.model.job import DataReference, InputBinding, JobKind, JobSpec, ParentInput, Step, StepOutput
from flows.spec.text.section import nearest


@dataclass(frozen=True, slots=True)
class Need:
    """An output of a step that is left out, and the inputs that read it, as ``step.input``.

    ``optional``: every step that reads it can do without. ``literal``: some input receives it as a value, not as data.
    """

    output: StepOutput
    readers: tuple[str, ...]
    optional: bool
    literal: bool = False

    def __str__(self) -> str:
        return f"{self.output.output} of {self.output.step}"


def steps_named(spec: JobSpec, name: str, flag: str) -> frozenset[str]:
    """The steps that a name stands for: one, or all steps of a nested pipeline.

    Args:
        spec: The job, whole.
        name: The name, such as ``train`` or ``outer.train``.
        flag: What the name was given by, for the message.

    Raises:
        ParameterError: The job has no such step, or its steps cannot be run one by one.
    """
    what = f"{flag} {name}"
    if spec.kind is not JobKind.PIPELINE:
        raise ParameterError(f"{what}: {spec.source.name} is no pipeline, so it has one step. Run it without {flag}.")
    if control := next((step for step in spec.steps.values() if step.control is not None), None):
        raise ParameterError(
            f"{what}: {spec.source.name} has the {control.kind} {control.name}, which decides while the pipeline runs "
            f"what else runs, and how often. Such a pipeline runs as a whole: leave out {flag}."
        )
    found = frozenset(step for step in spec.steps if step == name or step.startswith(f"{name}."))
    if not found:
        known = frozenset({*spec.steps, *spec.nested})
        raise ParameterError(f"{what}: {spec.source.name} has no step {name}. {nearest(name, known, 'steps')}")
    return found


def downstream(spec: JobSpec, steps: Collection[str]) -> frozenset[str]:
    """These steps, and all that read what they deliver, directly or by others."""
    found: set[str] = set()
    for name in order(spec):
        if name in steps or spec.steps[name].upstream & found:
            found.add(name)
    return frozenset(found)


def need(spec: JobSpec, chosen: Collection[str]) -> tuple[Need, ...]:
    """What the chosen steps read of those that are left out, in the order of the file."""
    readers: dict[StepOutput, list[tuple[Step, str]]] = {}
    for step in spec.steps.values():
        for name, binding in step.inputs.items() if step.name in chosen else ():
            if isinstance(binding, StepOutput) and binding.step not in chosen:
                readers.setdefault(binding, []).append((step, name))
    return tuple(
        Need(
            output,
            tuple(f"{step.name}.{name}" for step, name in found),
            optional=all(step.component.inputs[name].optional for step, name in found),
            literal=any(step.component.inputs[name].is_literal for step, name in found),
        )
        for output, found in readers.items()
    )


def selected(spec: JobSpec, chosen: Collection[str], delivered: Mapping[StepOutput, str]) -> JobSpec:
    """The job with the chosen steps alone.

    Args:
        spec: The job, whole.
        chosen: The names of the steps that stay.
        delivered: Where the outputs of steps that are left out are. An optional input whose output is not among them
            has no value.
    """
    if spec.steps.keys() <= set(chosen):
        return spec
    steps = {name: _fed(spec, step, chosen, delivered) for name, step in spec.steps.items() if name in chosen}
    read = {value.name for step in steps.values() for value in step.inputs.values() if isinstance(value, ParentInput)}
    written = {target.name for step in steps.values() for target in step.outputs.values()}
    # A literal input stays: a compute or a number of instances may be bound to it.
    inputs = {
        name: given for name, given in spec.inputs.items() if name in read or not isinstance(given.value, DataReference)
    }
    nodes = {step.node[0] for step in steps.values()}
    return replace(
        spec,
        steps=MappingProxyType(steps),
        inputs=MappingProxyType(inputs),
        outputs=MappingProxyType({name: port for name, port in spec.outputs.items() if name in written}),
        nested=MappingProxyType({name: node for name, node in spec.nested.items() if _has(steps, name)}),
        left_out=frozenset(step.node[0] for step in spec.steps.values()) - nodes,
    )


def cut_pipelines(spec: JobSpec, whole: JobSpec) -> tuple[str, ...]:
    """The nested pipelines that a selection takes only a part of, or that read data in place of what was left out."""
    cut = {
        name
        for name in spec.nested
        if any(step not in spec.steps for step in whole.steps if step.startswith(f"{name}."))
        or any(
            whole.steps[step.name].inputs != step.inputs
            for step in spec.steps.values()
            if step.name.startswith(f"{name}.")
        )
    }
    return tuple(sorted(cut))


def _fed(spec: JobSpec, step: Step, chosen: Collection[str], delivered: Mapping[StepOutput, str]) -> Step:
    def fed(name: str, binding: InputBinding) -> InputBinding | None:
        if not isinstance(binding, StepOutput) or binding.step in chosen:
            return binding
        path = delivered.get(binding)
        return None if path is None else DataReference(data_type(spec, step, name), path)

    bound = {name: fed(name, binding) for name, binding in step.inputs.items()}
    return replace(step, inputs=MappingProxyType({name: value for name, value in bound.items() if value is not None}))


def data_type(spec: JobSpec, step: Step, name: str) -> str:
    """The type of what an input reads from another step: as the step declares it, but a file stays a file."""
    binding, port = step.inputs[name], step.component.inputs[name]
    made = spec.steps[binding.step].component.outputs.get(binding.output) if isinstance(binding, StepOutput) else None
    return "uri_file" if made is not None and made.type == "uri_file" else port.type


def _has(steps: Collection[str], node: str) -> bool:
    return any(step.startswith(f"{node}.") for step in steps)

"""Resolves a step's input to its value, whichever way it is bound."""

from flows.spec.literals import as_sent
from flows.spec.model.job import (
    DataReference,
    InputBinding,
    InputValue,
    JobKind,
    JobSpec,
    Literal,
    ParentInput,
    Step,
    StepOutput,
)


def source(spec: JobSpec, binding: InputBinding | None) -> InputValue | StepOutput | None:
    """Where the value of a binding comes from: the job's own value where it is bound to an input of the job."""
    if isinstance(binding, ParentInput):
        parent = spec.inputs.get(binding.name)
        return None if parent is None else parent.value
    return binding


def literal_text(spec: JobSpec, step: Step, input_name: str) -> str | None:
    """The text that a literal input receives: what it is bound to, else the component's default, else None."""
    port = step.component.inputs[input_name]
    value = source(spec, step.inputs.get(input_name))
    return as_sent(value.text, port.type) if isinstance(value, Literal) else port.default


def data_source(spec: JobSpec, step: Step, input_name: str) -> DataReference | StepOutput | None:
    """Where a data input comes from: data, another step's output, or None for an optional input without either."""
    value = source(spec, step.inputs.get(input_name))
    return value if isinstance(value, DataReference | StepOutput) else None


def input_key(spec: JobSpec, step: Step, input_name: str) -> str:
    """The dotted key under which the file gives a step's input: of the step, or of the job where it is no pipeline."""
    prefix = f"jobs.{step.name}." if spec.kind is JobKind.PIPELINE else ""
    return f"{prefix}{input_name}" if step.control else f"{prefix}inputs.{input_name}"
